//! What one transaction looks like in `logs/transactions.log`: a JSON object a line, written straight into its text.

use crate::printable::acts_on_a_terminal;
use gemini_balance_actors::transaction::Transaction;
use std::{
    cell::RefCell,
    fmt::{self, Write as _},
};

/// `text` as a JSON string, quotes included.
pub(super) struct JsonText<'a>(pub(super) &'a str);

impl fmt::Display for JsonText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        let mut rest = self.0;
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
    struct Timestamp(chrono::DateTime<chrono::Utc>);
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
    Timestamp(chrono::Utc::now())
}

/// The transaction's line.
pub fn transaction_line(transaction: &Transaction, status: u16) -> impl fmt::Display {
    struct Line<'a>(&'a Transaction, u16);
    impl fmt::Display for Line<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let Self(t, status) = self;
            write!(f, r#"{{"time":"{}","id":"{}","caller":"#, timestamp(), t.id)?;
            match &t.caller {
                Some(caller) => write!(f, "{}", JsonText(caller))?,
                None => f.write_str("null")?,
            }
            let dialect = match t.dialect {
                gemini::path::Dialect::Gemini => "gemini",
                gemini::path::Dialect::OpenAi => "openai",
            };
            write!(
                f,
                r#","dialect":"{dialect}","method":"{}","path":{},"model":"#,
                t.method,
                JsonText(&t.path)
            )?;
            match &t.model {
                Some(model) => write!(f, "{}", JsonText(model))?,
                None => f.write_str("null")?,
            }
            f.write_str(r#","attempts":["#)?;
            for (position, attempt) in t.attempts.iter().enumerate() {
                let comma = if position == 0 { "" } else { "," };
                write!(
                    f,
                    r#"{comma}{{"key":{},"status":{}"#,
                    JsonText(attempt.key.as_str()),
                    attempt.status.unwrap_or(0)
                )?;
                if let Some(fault) = attempt.fault {
                    write!(f, r#","fault":"{fault:?}""#)?;
                }
                write!(f, r#","ms":{}}}"#, Millis(attempt.took))?;
            }
            write!(f, r#"],"status":{status},"end":"{}""#, t.end.as_str())?;
            if let Some(first_byte) = t.first_byte {
                write!(f, r#","first_byte_ms":{}"#, Millis(first_byte))?;
            }
            write!(
                f,
                r#","total_ms":{},"bytes_in":{},"bytes_out":{}"#,
                Millis(t.total),
                t.bytes_in,
                t.bytes_out
            )?;
            if let Some(usage) = &t.usage {
                f.write_str(r#","usage":{"#)?;
                let counts = [
                    ("prompt", usage.prompt_tokens),
                    ("output", usage.output_tokens),
                    ("thoughts", usage.thoughts_tokens),
                    ("cached", usage.cached_tokens),
                    ("total", usage.total_tokens),
                ];
                let mut comma = "";
                for (name, count) in counts {
                    if let Some(count) = count {
                        write!(f, r#"{comma}"{name}":{count}"#)?;
                        comma = ",";
                    }
                }
                f.write_char('}')?;
            }
            f.write_char('}')
        }
    }
    Line(transaction, status)
}

/// Milliseconds with three decimals.
struct Millis(std::time::Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
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
