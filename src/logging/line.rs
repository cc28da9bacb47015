//! What the lines of all logs are made of: times, and texts as JSON strings, written straight into a line's text.

use crate::printable::acts_on_a_terminal;
use chrono::{DateTime, Utc};
use std::{
    cell::RefCell,
    fmt::{self, Write as _},
};

/// `text` as a JSON string, quotes included.
pub(super) struct JsonText<'a>(pub(super) &'a str);

impl fmt::Display for JsonText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_to(f)
    }
}

impl JsonText<'_> {
    /// Writes it where a line is put together: most texts hold nothing odd, and are one piece.
    pub(super) fn write_to(&self, f: &mut impl fmt::Write) -> fmt::Result {
        f.write_char('"')?;
        let mut rest = self.0;
        if rest.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
            f.write_str(rest)?;
            return f.write_char('"');
        }
        while let Some(at) = rest.find(|sign: char| matches!(sign, '"' | '\\') || acts_on_a_terminal(sign)) {
            f.write_str(&rest[..at])?;
            let odd = rest[at..].chars().next().unwrap_or_default();
            match odd {
                '"' | '\\' => write!(f, "\\{odd}")?,
                '\n' => f.write_str("\\n")?,
                _ => {
                    for unit in odd.encode_utf16(&mut [0; 2]) {
                        write!(f, "\\u{unit:04x}")?;
                    }
                }
            }
            rest = &rest[at + odd.len_utf8()..];
        }
        f.write_str(rest)?;
        f.write_char('"')
    }
}

thread_local! {
    /// The second last formatted, and its text: most lines of a busy worker share it.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// Now, in RFC 3339 with milliseconds, UTC.
pub(crate) fn timestamp() -> impl fmt::Display {
    timestamp_of(Utc::now())
}

/// A time in the same form.
pub(super) fn timestamp_of(time: DateTime<Utc>) -> impl fmt::Display {
    struct Timestamp(DateTime<Utc>);
    impl fmt::Display for Timestamp {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            SECOND.with_borrow_mut(|(second, text)| {
                if *second != self.0.timestamp() {
                    *second = self.0.timestamp();
                    text.clear();
                    write!(text, "{}", self.0.format("%Y-%m-%dT%H:%M:%S"))?;
                }
                write!(f, "{text}.{:03}Z", self.0.timestamp_subsec_millis())
            })
        }
    }
    Timestamp(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_json_string() {
        for text in [
            "plain",
            "a\"b\\c",
            "line\nbreak\r\t",
            "\u{0}\u{1f}\u{7f}\u{9b}",
            "ünïcødé 🦀",
            "\u{202e}\u{2028}\u{e0041}",
        ] {
            let json = JsonText(text).to_string();
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            assert!(!json.contains(acts_on_a_terminal), "{json:?}");
        }
    }

    #[test]
    fn a_timestamp_is_rfc_3339() {
        assert!(chrono::DateTime::parse_from_rfc3339(&timestamp().to_string()).is_ok());
    }
}
