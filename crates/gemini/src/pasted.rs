//! Keys in a text that a person has pasted: a list, a `.env`, a JSON array, a table, a letter. Finds what can be a key and
//! says where it stands. Whether a key is here already, and what its fingerprint is, is the caller's to say; nothing of the
//! text is in what can be printed.

use std::{collections::HashSet, fmt};

/// The longest text that is read, in bytes.
pub const MAX_PASTED_BYTES: usize = 6 * 1024 * 1024;
/// The most words of a text that can be keys.
pub const MAX_PASTED_KEYS: usize = 20_000;
/// How many of the other words are named by their places.
const MAX_NAMED_WORDS: usize = 1_000;
/// How long a key can be, in bytes.
pub const LENGTHS: std::ops::RangeInclusive<usize> = 20..=256;

/// What was found in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pasted<'a> {
    /// The words that can be keys, in their order.
    pub keys: Vec<PastedKey<'a>>,
    /// The first of those that cannot.
    pub others: Vec<PastedWord>,
    /// How many cannot.
    pub other_count: usize,
}

/// A word that can be a key.
#[derive(Clone, PartialEq, Eq)]
pub struct PastedKey<'a> {
    /// The word itself.
    pub text: &'a str,
    /// The line it stands on, from 1.
    pub line: usize,
    /// Whether Google's keys look like this.
    pub form: KeyForm,
    /// Whether the text has it before.
    pub is_repeated: bool,
}

/// A word that cannot be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastedWord {
    /// The line it stands on, from 1.
    pub line: usize,
    /// Its length in characters.
    pub length: usize,
}

/// How a key looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// As Google's API keys do: `AIza...`, or `AQ....` for those bound to a service account.
    Usual,
    /// In another way, so that it may be no key at all.
    Unusual,
}

/// Why a text is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasteError {
    /// It is longer than [`MAX_PASTED_BYTES`].
    TooLong,
    /// It has more than [`MAX_PASTED_KEYS`].
    TooManyKeys,
}

impl fmt::Display for PasteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => {
                write!(f, "the text is longer than {} MiB: paste it in parts", MAX_PASTED_BYTES >> 20)
            }
            Self::TooManyKeys => {
                write!(f, "the text holds more than {MAX_PASTED_KEYS} keys: paste it in parts")
            }
        }
    }
}

impl std::error::Error for PasteError {}

impl fmt::Debug for PastedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PastedKey")
            .field("line", &self.line)
            .field("length", &self.text.len())
            .field("form", &self.form)
            .field("is_repeated", &self.is_repeated)
            .finish_non_exhaustive()
    }
}

/// Finds the keys in a text.
pub fn read(text: &str) -> Result<Pasted<'_>, PasteError> {
    if text.len() > MAX_PASTED_BYTES {
        return Err(PasteError::TooLong);
    }
    let mut finder = Finder::default();
    for (line, words) in (1..).zip(text.split('\n')) {
        for word in words.split(separates).map(|word| word.trim_matches('\\')) {
            finder.word(line, word)?;
        }
    }
    Ok(finder.pasted)
}

#[derive(Default)]
struct Finder<'a> {
    pasted: Pasted<'a>,
    seen: HashSet<&'a str>,
}

impl<'a> Finder<'a> {
    fn word(&mut self, line: usize, word: &'a str) -> Result<(), PasteError> {
        let value = value_of(word);
        if can_be_key(value) {
            return self.key(line, value);
        }
        // One that is a part of more, as in a URL or a table, is told from the rest by its form.
        let mut is_known = false;
        for part in parts(value).filter(|part| form_of(part) == KeyForm::Usual) {
            is_known = true;
            if can_be_key(part) {
                self.key(line, part)?;
            } else {
                self.other(line, part);
            }
        }
        if !is_known && value.contains(char::is_alphanumeric) {
            self.other(line, value);
        }
        Ok(())
    }

    fn key(&mut self, line: usize, word: &'a str) -> Result<(), PasteError> {
        if self.pasted.keys.len() == MAX_PASTED_KEYS {
            return Err(PasteError::TooManyKeys);
        }
        let text = word.strip_suffix('.').unwrap_or(word);
        let (form, is_repeated) = (form_of(text), !self.seen.insert(text));
        self.pasted.keys.push(PastedKey { text, line, form, is_repeated });
        Ok(())
    }

    fn other(&mut self, line: usize, word: &str) {
        self.pasted.other_count += 1;
        if self.pasted.others.len() < MAX_NAMED_WORDS {
            self.pasted.others.push(PastedWord { line, length: word.chars().count() });
        }
    }
}

/// Tells whether a key looks as Google's do.
pub fn form_of(key: &str) -> KeyForm {
    if key.starts_with("AIza") || key.starts_with("AQ.") { KeyForm::Usual } else { KeyForm::Unusual }
}

/// What stands between words: space, commas, semicolons, quotation marks and brackets, in any script, and what cannot be
/// seen.
fn separates(sign: char) -> bool {
    match sign {
        ',' | ';' | '"' | '\'' | '`' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' => true,
        _ if sign.is_ascii() => sign.is_ascii_whitespace() || sign.is_ascii_control(),
        '\u{ab}'
        | '\u{bb}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{201f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2032}'
        | '\u{2033}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{3001}'
        | '\u{3008}'..='\u{3011}'
        | '\u{ff08}'
        | '\u{ff09}'
        | '\u{ff0c}'
        | '\u{ff1b}' => true,
        _ => sign.is_whitespace() || sign.is_control(),
    }
}

/// What a word names: the value of `NAME=value`, such as of a variable or a flag, else the word itself. A key is no name.
fn value_of(word: &str) -> &str {
    match word.split_once('=') {
        Some((name, value))
            if !name.is_empty() && name.bytes().all(is_key_sign) && form_of(name) == KeyForm::Unusual =>
        {
            value
        }
        _ => word,
    }
}

/// What stands between the signs of a word that no key can hold, escapes (`\n`, `\u0026`, `%0A`) among them.
fn parts(word: &str) -> impl Iterator<Item = &str> {
    let is_sign = |sign: char| u8::try_from(sign).is_ok_and(is_key_sign);
    word.split_inclusive(move |sign| !is_sign(sign)).scan(None, move |before, part| {
        let sign = part.chars().next_back().filter(|sign| !is_sign(*sign));
        let text = sign.and_then(|sign| part.strip_suffix(sign)).unwrap_or(part);
        let before = std::mem::replace(before, sign);
        Some(if form_of(text) == KeyForm::Usual { text } else { after_escape(before, text) })
    })
}

/// The rest of a part, without what belongs to an escape that the sign before it has begun.
fn after_escape(sign: Option<char>, part: &str) -> &str {
    let is_hex = |digits: Option<&str>| {
        digits.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    match (sign, part.as_bytes().first()) {
        (Some('%'), _) if is_hex(part.get(..2)) => &part[2..],
        (Some('\\'), Some(b'u')) if is_hex(part.get(1..5)) => &part[5..],
        (Some('\\'), Some(b'n' | b'r' | b't')) => &part[1..],
        _ => part,
    }
}

/// A word that begins with a dot, or ends with more than the one that ends a sentence, is a key that was cut short.
fn can_be_key(word: &str) -> bool {
    let whole = word.strip_suffix('.').unwrap_or(word);
    LENGTHS.contains(&whole.len())
        && whole.bytes().all(is_key_sign)
        && !whole.starts_with('.')
        && !whole.ends_with('.')
}

fn is_key_sign(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}
