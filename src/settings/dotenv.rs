//! The grammar of `.env`, as python-dotenv reads it: the files that people have were written for that. Pure: what the text
//! says, with what is known of other variables passed in. `dotenv_file` reads the file and puts it into the environment.

use gemini::pasted;
use std::{collections::HashMap, fmt};

/// One assignment. A name that stands alone has no value, and takes back one that was given before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

/// A line that assigns nothing and is no comment. Says where it is, never what its value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    line: usize,
    /// What stands before the `=`, if that can be a name.
    name: Option<String>,
    slip: Slip,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slip {
    /// It has no name, or something after it that is no `=`.
    NotAssignment,
    /// The quote that opens its value is never closed.
    OpenQuote,
    /// Something follows the quote that closes its value.
    AfterQuote,
    /// No variable can hold what it says.
    ZeroByte,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        f.write_str(match self.slip {
            Slip::NotAssignment => " is not of the form NAME=value",
            Slip::OpenQuote => " opens a quote that is never closed",
            Slip::AfterQuote => " goes on after the quote that closes its value",
            Slip::ZeroByte => " holds a zero byte",
        })
    }
}

/// Reads a whole text. `environment` knows the variables that are set already; it goes before the text's own in `${NAME}`.
/// Of several assignments of one name the last counts; each is returned where its name first stood.
pub(crate) fn parse(
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Assignment>, BadLine> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
    let mut reader = Reader { rest: &text, line: 1 };
    let mut found: Vec<Assignment> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    loop {
        reader.skip(is_space);
        if reader.rest.is_empty() {
            return Ok(found);
        }
        let (line, start) = (reader.line, reader.rest);
        let bad = |slip| BadLine { line, name: name_before_equals(start), slip };
        let Some((name, value)) = reader.assignment().map_err(bad)? else { continue };
        let value = value.map(|value| {
            expand(&value, |name| {
                environment(name).or_else(|| found[*places.get(name)?].value.clone().or(Some(String::new())))
            })
        });
        if name.contains('\0') || value.as_ref().is_some_and(|value| value.contains('\0')) {
            return Err(bad(Slip::ZeroByte));
        }
        if let Some(place) = places.get(&name) {
            found[*place].value = value;
        } else {
            places.insert(name.clone(), found.len());
            found.push(Assignment { name, value });
        }
    }
}

/// A name, and its value if one is assigned.
type Parsed = (String, Option<String>);

/// What is left to read.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    /// Takes the signs that are so.
    fn skip(&mut self, is_so: fn(char) -> bool) -> &'a str {
        self.take(self.rest.find(|sign| !is_so(sign)).unwrap_or(self.rest.len()))
    }

    /// Reads one line, or several where a quoted value goes over them. `None` is a comment.
    fn assignment(&mut self) -> Result<Option<Parsed>, Slip> {
        if let Some(after) = self.rest.strip_prefix("export")
            && after.starts_with(is_blank)
        {
            self.take("export".len());
            self.skip(is_blank);
        }
        let name = self.name()?;
        self.skip(is_blank);
        let (value, is_quoted) = if name.is_some() && self.rest.starts_with('=') {
            self.take(1);
            let has_gap = !self.skip(is_blank).is_empty();
            match self.rest.chars().next() {
                Some('#') if has_gap => (Some(String::new()), false),
                Some(quote @ ('"' | '\'')) => (Some(self.quoted(quote)?), true),
                _ => (Some(self.unquoted()), false),
            }
        } else {
            (None, false)
        };
        self.skip(is_blank);
        if self.rest.starts_with('#') {
            self.skip(|sign| sign != '\n');
        }
        if !self.rest.is_empty() && !self.rest.starts_with('\n') {
            return Err(if is_quoted { Slip::AfterQuote } else { Slip::NotAssignment });
        }
        Ok(name.map(|name| (name.to_owned(), value)))
    }

    /// Reads the name; `None` at the start of a comment.
    fn name(&mut self) -> Result<Option<&'a str>, Slip> {
        if self.rest.starts_with('#') {
            return Ok(None);
        }
        if let Some(after) = self.rest.strip_prefix('\'') {
            let end = after.find('\'').filter(|end| *end > 0).ok_or(Slip::NotAssignment)?;
            self.take(end + 2);
            return Ok(Some(&after[..end]));
        }
        let name = self.skip(|sign| !(is_space(sign) || matches!(sign, '=' | '#')));
        if name.is_empty() { Err(Slip::NotAssignment) } else { Ok(Some(name)) }
    }

    /// Reads a value in quotes, which may go over several lines.
    fn quoted(&mut self, quote: char) -> Result<String, Slip> {
        let mut value = String::new();
        let mut signs = self.rest.char_indices().skip(1);
        while let Some((at, sign)) = signs.next() {
            if sign == quote {
                self.take(at + 1);
                return Ok(value);
            }
            if sign != '\\' {
                value.push(sign);
                continue;
            }
            let (_, escaped) = signs.next().ok_or(Slip::OpenQuote)?;
            match unescaped(escaped, quote) {
                Some(meant) => value.push(meant),
                None => value.extend(['\\', escaped]),
            }
        }
        Err(Slip::OpenQuote)
    }

    /// Reads a value without quotes: to the end of the line, or to a `#` with a space before it.
    fn unquoted(&mut self) -> String {
        let line = self.skip(|sign| sign != '\n');
        let mut before = ' ';
        let comment = line.char_indices().find_map(|(at, sign)| {
            let begins = sign == '#' && at > 0 && is_space(before);
            before = sign;
            begins.then_some(at)
        });
        line[..comment.unwrap_or(line.len())].trim_end_matches(is_space).to_owned()
    }
}

/// What a backslash before `sign` makes of it in a value between two of `quote`.
fn unescaped(sign: char, quote: char) -> Option<char> {
    match (sign, quote) {
        ('\\' | '\'', _) | ('"', '"') => Some(sign),
        ('a', '"') => Some('\u{7}'),
        ('b', '"') => Some('\u{8}'),
        ('f', '"') => Some('\u{c}'),
        ('n', '"') => Some('\n'),
        ('r', '"') => Some('\r'),
        ('t', '"') => Some('\t'),
        ('v', '"') => Some('\u{b}'),
        _ => None,
    }
}

/// Puts variables in the place of `${NAME}` and `${NAME:-default}`. One that is not known is its default, or nothing.
fn expand(value: &str, known: impl Fn(&str) -> Option<String>) -> String {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(start) = rest.find("${") {
        let inside = &rest[start + 2..];
        let name_end = inside.find([':', '}']).unwrap_or(inside.len());
        let (name, after) = inside.split_at(name_end);
        let found = if let Some(after) = after.strip_prefix('}') {
            Some(("", after))
        } else {
            after.strip_prefix(":-").and_then(|default| default.split_once('}'))
        };
        text.push_str(&rest[..start]);
        if let Some((default, after)) = found {
            text.push_str(&known(name).unwrap_or_else(|| default.to_owned()));
            rest = after;
        } else {
            text.push_str("${");
            rest = inside;
        }
    }
    text.push_str(rest);
    text
}

/// Returns what stands before the first `=` of the line, if no secret can stand there: a name, or words.
fn name_before_equals(text: &str) -> Option<String> {
    let line = text.lines().next().unwrap_or_default();
    let (before, _) = line.split_once('=')?;
    let before = before.trim();
    // A key that stands there by mistake is as long as one, and holds small letters.
    let is_variable = |word: &str| {
        word.bytes().all(|sign| sign.is_ascii_uppercase() || sign.is_ascii_digit() || sign == b'_')
    };
    let may_be_secret = |word: &str| word.len() >= *pasted::LENGTHS.start() && !is_variable(word);
    let is_name = !before.is_empty()
        && before.len() <= 64
        && !before.split_whitespace().any(may_be_secret)
        && before.chars().all(|sign| sign.is_ascii_alphanumeric() || matches!(sign, '_' | '-' | '.' | ' '));
    is_name.then(|| before.to_owned())
}

/// What Python takes for white space.
fn is_space(sign: char) -> bool {
    sign.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&sign)
}

/// White space within a line.
fn is_blank(sign: char) -> bool {
    is_space(sign) && sign != '\n' && sign != '\r'
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// What python-dotenv itself makes of these texts, written by `tests/dotenv/generate.py`.
    const REFERENCE: &str = include_str!("../../tests/dotenv/reference.json");

    #[test]
    fn every_text_is_read_as_python_dotenv_reads_it() {
        let reference: serde_json::Value = serde_json::from_str(REFERENCE).unwrap();
        let environment: BTreeMap<String, String> =
            serde_json::from_value(reference["environment"].clone()).unwrap();
        let cases = reference["cases"].as_array().unwrap();
        assert!(cases.len() > 1000, "the table is cut");
        let (mut refused, mut read) = (0, 0);
        for case in cases {
            let text = case["text"].as_str().unwrap();
            let found = parse(text, |name| environment.get(name).cloned());
            if let Some(line) = case["bad_line"].as_u64() {
                // python-dotenv goes on after such a line. Its number is where its white space began.
                refused += 1;
                let error = found.expect_err(&format!("{text:?}"));
                assert!(error.line as u64 >= line, "{text:?}: {error}");
                continue;
            }
            read += 1;
            let found: BTreeMap<String, Option<String>> = found
                .unwrap_or_else(|error| panic!("{text:?}: {error}"))
                .into_iter()
                .map(|a| (a.name, a.value))
                .collect();
            let wanted: BTreeMap<String, Option<String>> =
                serde_json::from_value(case["values"].clone()).unwrap();
            assert_eq!(found, wanted, "{text:?}");
        }
        assert!(refused > 100 && read > 500, "{refused} refused, {read} read");
    }

    #[test]
    fn a_bad_line_is_named_by_its_number_and_what_stands_before_the_equals_sign() {
        for (text, said) in [
            ("A=b\n\n  KEY 2 = canary\n", "line 3 (KEY 2) is not of the form NAME=value"),
            ("A=b\nKEY=\"canary\nB=c\n", "line 2 (KEY) opens a quote that is never closed"),
            ("KEY='canary' canary\n", "line 1 (KEY) goes on after the quote that closes its value"),
            ("A=\"1\n2\n3\"\ncanary canary\n", "line 4 is not of the form NAME=value"),
            ("=canary\n", "line 1 is not of the form NAME=value"),
            ("ca/nary+ x=1\n", "line 1 is not of the form NAME=value"),
            ("A=b\0canary\n", "line 1 (A) holds a zero byte"),
            ("AIzaSy-canary-canary='x", "line 1 opens a quote that is never closed"),
            (
                "RATE_LIMIT_DEFAULT_WAIT_SECONDS='x",
                "line 1 (RATE_LIMIT_DEFAULT_WAIT_SECONDS) opens a quote that is never closed",
            ),
        ] {
            let error = parse(text, |_| None).unwrap_err().to_string();
            assert_eq!(error, said, "{text:?}");
        }
    }
}
