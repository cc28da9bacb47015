//! A reader of SQL dumps: the rows of one table, out of a text that may hold many. Strings and comments are told apart from
//! statements, so that what another table's rows quote is never taken for a statement; everything else is passed over. Knows no
//! table by name.

use std::fmt;

/// The longest value that is read, in bytes.
const MAX_VALUE_BYTES: usize = 8 * 1024 * 1024;

/// A row: each wanted column's text, `None` for NULL or where the row has no such column.
pub(super) type DumpRow<const COLUMNS: usize> = [Option<String>; COLUMNS];

/// Why a dump is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DumpError {
    /// It ends in the midst of the table.
    CutOff,
    /// What follows the table's name is no list of rows.
    NotRows,
    /// The table has more rows than are wanted, or a value is longer.
    TooMuch,
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CutOff => "the dump is cut off in the midst of the table",
            Self::NotRows => "the dump inserts something into the table that is no list of rows",
            Self::TooMuch => "the table is larger than any that is read",
        })
    }
}

/// Tells whether a text may be a dump with rows of `table`: a quick look before it is read.
pub(super) fn may_be_one(text: &[u8], table: &str) -> bool {
    let has = |word: &str| memchr::memmem::find(text, word.as_bytes()).is_some();
    has(table) && (has("INSERT INTO") || has("insert into") || has("REPLACE INTO"))
}

/// Reads the rows that are inserted into `table`. `wanted` names columns; `usual` is the order of the table's columns where the
/// dump does not say it.
pub(super) fn rows<const COLUMNS: usize>(
    text: &str,
    table: &str,
    wanted: [&str; COLUMNS],
    usual: &[&str],
    most: usize,
) -> Result<Vec<DumpRow<COLUMNS>>, DumpError> {
    let mut scanner = Scanner { text, at: 0 };
    let mut columns: Vec<String> = usual.iter().map(|name| (*name).to_owned()).collect();
    let mut rows = Vec::new();
    loop {
        scanner.skip_blank();
        let Some(first) = scanner.peek() else { return Ok(rows) };
        if first == b';' {
            scanner.at += 1;
            continue;
        }
        let verb = scanner.word().to_ascii_uppercase();
        match verb.as_str() {
            "CREATE" if scanner.names_after("TABLE", table) => {
                if let Some(found) = scanner.column_definitions() {
                    columns = found;
                }
            }
            "INSERT" | "REPLACE" if scanner.names_after("INTO", table) => {
                let listed = scanner.column_list()?;
                let columns = listed.as_ref().unwrap_or(&columns);
                let places = wanted.map(|name| columns.iter().position(|column| column == name));
                scanner.value_rows(&places, &mut rows, most)?;
            }
            _ => {}
        }
        scanner.skip_statement();
    }
}

/// Where the reader is.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at.min(self.text.len())..]
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    /// Passes white space and comments. Those that MySQL carries out are passed as well: no rows are in them.
    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            if blank > 0 {
                self.at += blank;
            } else if rest.starts_with(b"#")
                || (rest.starts_with(b"--") && rest.get(2).is_none_or(u8::is_ascii_whitespace))
            {
                self.at += memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            } else if rest.starts_with(b"/*") {
                self.at += memchr::memmem::find(&rest[2..], b"*/").map_or(rest.len(), |end| end + 4);
            } else {
                return;
            }
        }
    }

    /// Takes a word of letters; none where something else stands.
    fn word(&mut self) -> &'a str {
        let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_' || **byte == b'$';
        let length = self.rest().iter().take_while(is_part).count();
        let word = &self.text[self.at..self.at + length];
        self.at += length;
        word
    }

    /// Takes a name, with or without quotes.
    fn name(&mut self) -> Option<String> {
        self.skip_blank();
        match self.peek()? {
            quote @ (b'`' | b'"') => self.quoted(quote),
            _ => Some(self.word().to_owned()).filter(|word| !word.is_empty()),
        }
    }

    /// Passes words up to `word`, and tells whether the name after it, of a table in whatever database, is `table`.
    fn names_after(&mut self, word: &str, table: &str) -> bool {
        const MOST_WORDS: usize = 4;
        for _ in 0..MOST_WORDS {
            self.skip_blank();
            let found = self.word();
            if found.is_empty() {
                return false;
            }
            if found.eq_ignore_ascii_case(word) {
                break;
            }
        }
        loop {
            let start = self.at;
            self.skip_blank();
            let word = self.word();
            if !["IF", "NOT", "EXISTS"].iter().any(|part| word.eq_ignore_ascii_case(part)) {
                self.at = start;
                break;
            }
        }
        let Some(mut name) = self.name() else { return false };
        self.skip_blank();
        if self.peek() == Some(b'.') {
            self.at += 1;
            let Some(second) = self.name() else { return false };
            name = second;
        }
        name == table
    }

    /// Takes the names in a parenthesis, if one follows.
    fn column_list(&mut self) -> Result<Option<Vec<String>>, DumpError> {
        self.skip_blank();
        if self.peek() != Some(b'(') {
            return Ok(None);
        }
        let mut names = Vec::new();
        loop {
            self.at += 1;
            names.push(self.name().ok_or(DumpError::NotRows)?);
            self.skip_blank();
            match self.peek() {
                Some(b',') => {}
                Some(b')') => {
                    self.at += 1;
                    return Ok(Some(names));
                }
                Some(_) => return Err(DumpError::NotRows),
                None => return Err(DumpError::CutOff),
            }
        }
    }

    /// Takes the names of the columns that a table is made with.
    fn column_definitions(&mut self) -> Option<Vec<String>> {
        const NO_COLUMNS: [&str; 8] =
            ["PRIMARY", "KEY", "UNIQUE", "CONSTRAINT", "INDEX", "FOREIGN", "CHECK", "FULLTEXT"];
        self.skip_blank();
        if self.peek() != Some(b'(') {
            return None;
        }
        let mut names = Vec::new();
        loop {
            self.at += 1;
            self.skip_blank();
            let is_quoted = matches!(self.peek(), Some(b'`' | b'"'));
            let name = self.name()?;
            if is_quoted || !NO_COLUMNS.iter().any(|word| name.eq_ignore_ascii_case(word)) {
                names.push(name);
            }
            self.skip_value();
            match self.peek()? {
                b',' => {}
                b')' => return Some(names),
                _ => return None,
            }
        }
    }

    /// Takes `VALUES (...), (...)`.
    fn value_rows<const COLUMNS: usize>(
        &mut self,
        places: &[Option<usize>; COLUMNS],
        rows: &mut Vec<DumpRow<COLUMNS>>,
        most: usize,
    ) -> Result<(), DumpError> {
        self.skip_blank();
        if !matches!(self.word().to_ascii_uppercase().as_str(), "VALUES" | "VALUE") {
            return Err(DumpError::NotRows);
        }
        loop {
            self.skip_blank();
            match self.peek() {
                Some(b'(') => {}
                Some(_) => return Err(DumpError::NotRows),
                None => return Err(DumpError::CutOff),
            }
            let mut row: DumpRow<COLUMNS> = std::array::from_fn(|_| None);
            let mut column = 0;
            loop {
                self.at += 1;
                let value = self.value()?;
                for (place, text) in places.iter().zip(&mut row) {
                    if *place == Some(column) {
                        text.clone_from(&value);
                    }
                }
                column += 1;
                match self.peek() {
                    Some(b',') => {}
                    Some(b')') => break,
                    Some(_) => return Err(DumpError::NotRows),
                    None => return Err(DumpError::CutOff),
                }
            }
            self.at += 1;
            if rows.len() == most {
                return Err(DumpError::TooMuch);
            }
            rows.push(row);
            self.skip_blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                // The end, or what is to be done with a row that is there already.
                _ => return Ok(()),
            }
        }
    }

    /// Takes a value, up to the comma or parenthesis that ends it.
    fn value(&mut self) -> Result<Option<String>, DumpError> {
        self.skip_blank();
        let start = self.at;
        let word = self.word();
        // A character set may be named before a string.
        let is_prefix = word.is_empty() || word.starts_with('_') || word.eq_ignore_ascii_case("N");
        if word.starts_with('_') {
            self.skip_blank();
        }
        let value = match self.peek() {
            Some(b'\'' | b'"') if is_prefix => {
                let quote = if self.peek() == Some(b'"') { b'"' } else { b'\'' };
                Some(self.quoted(quote).ok_or(DumpError::CutOff)?)
            }
            _ => {
                self.at = start;
                self.skip_value();
                let text = self.text[start..self.at].trim();
                (!text.eq_ignore_ascii_case("NULL")).then(|| text.to_owned())
            }
        };
        if value.as_ref().is_some_and(|text| text.len() > MAX_VALUE_BYTES) {
            return Err(DumpError::TooMuch);
        }
        self.skip_blank();
        Ok(value)
    }

    /// Takes what stands between two of a quote; `None` where the second is missing.
    fn quoted(&mut self, quote: u8) -> Option<String> {
        let mut text: Vec<u8> = Vec::new();
        self.at += 1;
        loop {
            let rest = self.rest();
            let next = memchr::memchr2(quote, b'\\', rest)?;
            text.extend_from_slice(&rest[..next]);
            self.at += next + 1;
            let following = rest.get(next + 1).copied();
            if rest[next] == quote {
                if following != Some(quote) {
                    return Some(String::from_utf8_lossy(&text).into_owned());
                }
                text.push(quote);
            } else if quote == b'`' {
                text.push(b'\\');
                continue;
            } else {
                match following? {
                    b'0' => {}
                    b'b' => text.push(8),
                    b'n' => text.push(b'\n'),
                    b'r' => text.push(b'\r'),
                    b't' => text.push(b'\t'),
                    b'Z' => text.push(26),
                    sign @ (b'%' | b'_') => text.extend([b'\\', sign]),
                    sign => text.push(sign),
                }
            }
            self.at += 1;
        }
    }

    /// Passes what stands up to the next comma or closing parenthesis that belongs to no parenthesis of its own.
    fn skip_value(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'\'' | b'"' | b'`' => {
                    if self.quoted(byte).is_none() {
                        self.at = self.text.len();
                    }
                    continue;
                }
                b'(' => depth += 1,
                b')' | b',' | b';' if depth == 0 => return,
                b')' => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Passes what is left of a statement, with the semicolon at its end.
    fn skip_statement(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'\'' | b'"' | b'`' => {
                    if self.quoted(byte).is_none() {
                        self.at = self.text.len();
                    }
                }
                b';' => {
                    self.at += 1;
                    return;
                }
                _ => {
                    let is_sign = |byte: &u8| matches!(byte, b'\'' | b'"' | b'`' | b';');
                    self.at += self.rest().iter().position(is_sign).unwrap_or(self.rest().len());
                }
            }
        }
    }
}
