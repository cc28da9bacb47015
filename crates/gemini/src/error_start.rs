//! Whether a body begins as an error document does: `{"error":{` or `"error":"`, bare or in an array. Told by the first bytes,
//! so that a success costs one look. Whoever reads the body decides what follows.

/// No beginning is longer; more white space than this is nobody's.
const LONGEST: usize = 256;

/// The look at one body's first bytes, its content coding undone.
#[derive(Clone, Debug, Default)]
pub struct ErrorStart {
    /// What came so far and tells nothing yet.
    seen: Vec<u8>,
}

/// What the first bytes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Not enough of them are there.
    Unclear,
    /// The body is an error. These bytes came before the last ones.
    Error(Vec<u8>),
    /// The body is something else.
    Other,
}

impl ErrorStart {
    /// Looks at the next bytes; to be asked no more once it is clear.
    pub fn see(&mut self, bytes: &[u8]) -> Start {
        let begun = &bytes[..bytes.len().min(LONGEST)];
        let told =
            if self.seen.is_empty() { is_error(begun) } else { is_error(&[&self.seen, begun].concat()) };
        match told {
            Some(true) => Start::Error(std::mem::take(&mut self.seen)),
            None if self.seen.len() + begun.len() < LONGEST => {
                self.seen.extend_from_slice(begun);
                Start::Unclear
            }
            _ => Start::Other,
        }
    }
}

/// `None` where the text is too short to tell.
fn is_error(text: &[u8]) -> Option<bool> {
    let text = text.trim_ascii_start();
    let mut rest = text.strip_prefix(b"[").unwrap_or(text);
    for token in [&b"{"[..], b"\"error\"", b":"] {
        rest = rest.trim_ascii_start();
        rest = match rest.strip_prefix(token) {
            Some(rest) => rest,
            None if token.starts_with(rest) => return None,
            None => return Some(false),
        };
    }
    // OpenAI's objects may have an error of null.
    rest.trim_ascii_start().first().map(|first| matches!(first, b'{' | b'"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_wherever_its_beginning_is_cut() {
        for text in [
            r#"{"error":{"code":403"#,
            "{\n  \"error\": {\n    \"code\": 403",
            "[{\n  \"error\": {\n    \"code\": 403",
            " \r\n[ { \"error\" : \"blocked\"",
        ] {
            for cut in 0..text.len() {
                let (one, other) = text.split_at(cut);
                let mut start = ErrorStart::default();
                match start.see(one.as_bytes()) {
                    Start::Unclear => {
                        assert_eq!(start.see(other.as_bytes()), Start::Error(one.as_bytes().to_vec()));
                    }
                    told => assert_eq!(told, Start::Error(Vec::new()), "{one}"),
                }
            }
        }
    }

    #[test]
    fn what_begins_otherwise_is_none() {
        for text in [
            r#"{"candidates":[{"error":{"#,
            r#"{"error":null,"id":"x"}"#,
            r#"{"name":"operations/1","done":true,"error":{"#,
            r#"{"errors":{"#,
            "[1",
            "[[",
            "PK",
            "error",
            "data: {\"error\":{",
        ] {
            assert_eq!(ErrorStart::default().see(text.as_bytes()), Start::Other, "{text}");
        }
        let mut start = ErrorStart::default();
        assert_eq!(start.see(&[b' '; 200]), Start::Unclear);
        assert_eq!(start.see(&[b' '; 200]), Start::Other);
    }
}
