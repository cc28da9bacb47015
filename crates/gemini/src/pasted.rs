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
    let mut pasted = Pasted::default();
    let mut seen = HashSet::new();
    for (line, words) in (1..).zip(text.split('\n')) {
        for word in words.split(separates).map(|word| word.trim_matches('\\')) {
            let value = value_of(word);
            if can_be_key(value) {
                if pasted.keys.len() == MAX_PASTED_KEYS {
                    return Err(PasteError::TooManyKeys);
                }
                let text = value.strip_suffix('.').unwrap_or(value);
                let form = form_of(text);
                pasted.keys.push(PastedKey { text, line, form, is_repeated: !seen.insert(text) });
            } else if value.contains(char::is_alphanumeric) {
                pasted.other_count += 1;
                if pasted.others.len() < MAX_NAMED_WORDS {
                    pasted.others.push(PastedWord { line, length: value.chars().count() });
                }
            }
        }
    }
    Ok(pasted)
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

/// What a word names: the value of `NAME=value`, such as of a variable or a flag, else the word itself.
fn value_of(word: &str) -> &str {
    match word.split_once('=') {
        Some((name, value)) if !name.is_empty() && name.bytes().all(is_key_sign) => value,
        _ => word,
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
