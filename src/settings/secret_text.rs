//! What can be a key or a token, wherever it is read from. What surrounds a whole value (quotes, a JSON list, separators at
//! its end) is taken off; what no key has ever held is a slip of the hand, and is refused without being repeated.

use super::SettingsError;
use callers::{CallerSpec, SpecError};
use std::fmt;

/// What a text is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretKind {
    /// A key of Google's making.
    Key,
    /// A token of the operator's making, in which people put more signs.
    Token,
}

/// What is wrong with a text that should be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slip {
    Empty,
    Quote,
    Bracket,
    Placeholder,
    Shortened,
    Separator(char),
    Space,
    LineBreak,
    Control,
    Invisible,
    NotAscii,
    Sign(char),
}

impl fmt::Display for Slip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing is in it"),
            Self::Quote => f.write_str("it holds a quotation mark"),
            Self::Bracket => f.write_str("it holds a bracket"),
            Self::Placeholder => {
                f.write_str("it stands in <>, so it still is what an example has in a key's place")
            }
            Self::Shortened => f.write_str("it ends in dots, so it is cut short"),
            Self::Separator(sign) => write!(f, "it holds {sign:?}; entries are separated by commas"),
            Self::Space => f.write_str("it holds a space"),
            Self::LineBreak => f.write_str("it holds a line break; entries are separated by commas"),
            Self::Control => f.write_str("it holds a control character"),
            Self::Invisible => f.write_str("it holds an invisible character"),
            Self::NotAscii => f.write_str("it holds a character that is not ASCII"),
            Self::Sign(sign) => write!(f, "it holds {sign:?}"),
        }
    }
}

/// One entry of a list, with its place in it from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) place: usize,
    pub(crate) text: &'a str,
}

/// Splits a list of secrets, separated by commas, and takes off what surrounds it and each of its entries. Entries without
/// text are left out.
pub(crate) fn entries(list: &str) -> impl Iterator<Item = Entry<'_>> {
    let list = unwrapped(list);
    let list = list.strip_prefix('[').and_then(|inside| inside.strip_suffix(']')).unwrap_or(list);
    (1..)
        .zip(list.split(','))
        .map(|(place, text)| Entry { place, text: unwrapped(text) })
        .filter(|entry| !entry.text.is_empty())
}

/// Takes spaces, separators at the end, and quotes off that surround the whole text.
pub(super) fn unwrapped(text: &str) -> &str {
    let mut text = text;
    loop {
        let bare = text
            .trim_matches(|sign: char| sign.is_whitespace() || sign == '\u{feff}')
            .trim_end_matches(|sign: char| sign.is_whitespace() || matches!(sign, ',' | ';'));
        let inside = ['"', '\''].into_iter().find_map(|quote| {
            let inside = bare.strip_prefix(quote)?.strip_suffix(quote)?;
            (!inside.contains(quote)).then_some(inside)
        });
        match inside {
            Some(inside) => text = inside,
            None => return bare,
        }
    }
}

/// Returns the one secret that a value holds. `place` is what people call the value.
pub(super) fn one(place: &str, kind: SecretKind, value: &str) -> Result<String, SettingsError> {
    let text = entries(value).next().map_or("", |first| first.text);
    // A list of one, or what is no list.
    let text = if entries(value).nth(1).is_some() { unwrapped(value) } else { text };
    checked(place, kind, text).map(str::to_owned)
}

/// Returns the text if it can be a secret.
pub(crate) fn checked<'a>(place: &str, kind: SecretKind, text: &'a str) -> Result<&'a str, SettingsError> {
    match slip_in(kind, text) {
        None => Ok(text),
        Some(slip) => {
            let what = match kind {
                SecretKind::Key => "key",
                SecretKind::Token => "token",
            };
            Err(SettingsError::refused(place, format!("is not a {what}: {slip}")))
        }
    }
}

/// Returns what people call an entry of a list.
pub(super) fn place_in(list: &str, place: usize) -> String {
    const NAMES: [&str; 10] =
        ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];
    match NAMES.get(place.wrapping_sub(1)) {
        Some(name) => format!("the {name} entry of {list}"),
        None => format!("entry {place} of {list}"),
    }
}

fn slip_in(kind: SecretKind, text: &str) -> Option<Slip> {
    if text.is_empty() {
        return Some(Slip::Empty);
    }
    if text.starts_with('<') && text.ends_with('>') {
        return Some(Slip::Placeholder);
    }
    if text.ends_with("...") {
        return Some(Slip::Shortened);
    }
    text.chars().find_map(|sign| slip_of(kind, sign))
}

fn slip_of(kind: SecretKind, sign: char) -> Option<Slip> {
    match sign {
        '0'..='9' | 'a'..='z' | 'A'..='Z' | '|' | '+' | '/' | '=' | '.' | '_' | '-' | '~' | ':' => None,
        '"' | '\'' | '`' | '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{2032}' | '\u{2033}' => {
            Some(Slip::Quote)
        }
        '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' => Some(Slip::Bracket),
        ',' | ';' | '\u{ff0c}' | '\u{3001}' | '\u{ff1b}' => Some(Slip::Separator(sign)),
        '\n' | '\r' | '\u{2028}' | '\u{2029}' | '\u{85}' => Some(Slip::LineBreak),
        ' ' | '\t' => Some(Slip::Space),
        _ if sign.is_control() => Some(Slip::Control),
        _ if is_invisible(sign) || sign.is_whitespace() => Some(Slip::Invisible),
        _ if !sign.is_ascii() => Some(Slip::NotAscii),
        _ => (kind == SecretKind::Key).then_some(Slip::Sign(sign)),
    }
}

/// Marks that have no width, or change the direction of what follows.
fn is_invisible(sign: char) -> bool {
    matches!(sign,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Returns the name of a client if it can be one: logs and tables show it.
pub(super) fn checked_name<'a>(place: &str, name: &'a str) -> Result<&'a str, SettingsError> {
    let refused = |why| Err(SettingsError::refused(place, format!("gives its client a name that {why}")));
    let name = name.trim();
    if name.is_empty() {
        return refused("is empty");
    }
    match CallerSpec::new(name).check_name() {
        Err(SpecError::ReservedName) => return refused("usage counts others under"),
        Err(_) => return refused("is longer than 64 bytes"),
        Ok(()) => {}
    }
    if name
        .chars()
        .any(|sign| sign.is_control() || is_invisible(sign) || matches!(sign, '\u{2028}' | '\u{2029}'))
    {
        return refused("holds an invisible or control character");
    }
    let is_mark = |sign: char| matches!(sign, '"' | '\'' | '`' | '{' | '[' | '<' | '\u{2018}'..='\u{201f}');
    if name.starts_with(is_mark) || name.ends_with(is_mark) {
        return refused("begins or ends with a quotation mark or a bracket");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<&str> {
        entries(text).map(|entry| entry.text).collect()
    }

    #[test]
    fn what_surrounds_a_whole_list_is_taken_off() {
        for text in [
            "k-1,k-2",
            " k-1 , k-2 ",
            "k-1,,k-2,",
            "k-1,k-2;",
            "\"k-1,k-2\"",
            "'k-1,k-2'",
            "\"k-1\",\"k-2\"",
            "'k-1', 'k-2'",
            "[\"k-1\",\"k-2\"]",
            "['k-1', 'k-2']",
            "'[\"k-1\", \"k-2\"]'",
            "\"['k-1','k-2',]\"",
            "[k-1, k-2]",
            "[\n  \"k-1\",\n  \"k-2\"\n]\n",
            "\u{feff}k-1,k-2\r\n",
            "\"k-1\",k-2",
            "k-1,\nk-2",
            "\" k-1 , k-2 \" ",
        ] {
            assert_eq!(list(text), ["k-1", "k-2"], "{text:?}");
        }
        for text in ["", " , ,", "\"\"", "[]", "['']", ";", "\"[]\""] {
            assert!(list(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn every_sign_of_a_key_stays() {
        for text in ["AIzaSyA_1-b", "AQ.Ab8R|x", "a+b/c==", "sk-proj-x~y:z", "0", "a=b=c", "12345678", "a..b"]
        {
            for kind in [SecretKind::Key, SecretKind::Token] {
                assert_eq!(one("x", kind, text).unwrap(), text);
                assert_eq!(one("x", kind, &format!("\"{text}\"\n")).unwrap(), text);
                assert_eq!(one("x", kind, &format!("[\"{text}\"]")).unwrap(), text);
            }
        }
    }

    #[test]
    fn what_no_key_has_ever_held_is_refused_and_not_repeated() {
        for (text, why) in [
            ("canary\"x", "quotation"),
            ("\"canary", "quotation"),
            ("canary'", "quotation"),
            ("\u{201c}canary\u{201d}", "quotation"),
            ("`canary`", "quotation"),
            ("[canary", "bracket"),
            ("{canary}", "bracket"),
            ("canary(1)", "bracket"),
            ("<canary>", "example"),
            ("<canary", "bracket"),
            ("canary...", "cut short"),
            ("canary\u{2026}", "not ASCII"),
            ("canary;x", "commas"),
            ("canary,x", "commas"),
            ("canary\u{ff0c}x", "commas"),
            ("canary x", "space"),
            ("canary\tx", "space"),
            ("canary\u{a0}x", "invisible"),
            ("canary\nx", "line break"),
            ("canary\u{200b}", "invisible"),
            ("can\u{202e}ary", "invisible"),
            ("can\u{feff}ary", "invisible"),
            ("can\u{ad}ary", "invisible"),
            ("canary\u{1b}[0m", "control"),
            ("canary\u{7f}", "control"),
            ("can\u{9b}ary", "control"),
            ("c\u{430}nary", "not ASCII"),
            ("canary\u{1f980}", "not ASCII"),
            ("", "nothing"),
            ("\"\"", "nothing"),
        ] {
            for kind in [SecretKind::Key, SecretKind::Token] {
                let line = one("keys[0]", kind, text).unwrap_err().to_string();
                assert!(line.starts_with("keys[0] is not a ") && line.contains(why), "{text:?}: {line}");
                assert!(!line.contains("canary") && !line.contains("nary"), "{text:?}: {line}");
                assert!(!line.chars().any(char::is_control), "{text:?}: {line}");
            }
        }
        for text in
            ["can!ary", "canary*", "canary$", "can#ary", "can?ary", "100%", "a\\b", "a@b", "a&b", "a^b"]
        {
            assert!(one("x", SecretKind::Key, text).is_err(), "{text:?}");
            assert_eq!(one("x", SecretKind::Token, text).unwrap(), text);
        }
    }

    #[test]
    fn an_entry_is_named_by_its_place() {
        assert_eq!(place_in("GOOGLE_API_KEYS", 2), "the second entry of GOOGLE_API_KEYS");
        assert_eq!(place_in("ACCESS_TOKENS", 10), "the tenth entry of ACCESS_TOKENS");
        assert_eq!(place_in("ACCESS_TOKENS", 11), "entry 11 of ACCESS_TOKENS");
        let places: Vec<usize> = entries("a,,b").map(|entry| entry.place).collect();
        assert_eq!(places, [1, 3]);
    }

    #[test]
    fn a_clients_name_has_no_marks_around_it() {
        for name in ["alice", " Bob O'Brien ", "team (blue)", "\u{5f20}\u{4e09}", "a.b@c"] {
            assert_eq!(checked_name("x", name).unwrap(), name.trim());
        }
        for name in [
            "",
            " ",
            "pool",
            " operator",
            "\"alice",
            "alice'",
            "[alice",
            "<alice",
            "a\u{1b}[31m",
            "a\nb",
            "a\u{202e}b",
            "{\"a",
        ] {
            assert!(checked_name("x", name).is_err(), "{name:?}");
        }
    }
}
