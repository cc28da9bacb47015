//! Texts as JSON strings. What a stream repeats is escaped once, as it comes, and copied from then on; and most of it needs
//! no escape, which is found out many bytes at a time. `serde_json` writes the same, byte by byte.

use serde_json::value::RawValue;

/// So many bytes are looked at together.
const BLOCK_BYTES: usize = 32;

/// Appends a text as it stands between the quotes of a JSON string.
pub fn append_escaped(into: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    loop {
        let (plain, marked) = rest.split_at(plain_bytes(rest));
        into.extend_from_slice(plain);
        let Some((&byte, after)) = marked.split_first() else { return };
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\t' => b't',
            b'\r' => b'r',
            0x08 => b'b',
            0x0c => b'f',
            _ => b'u',
        };
        into.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            let digit = |shift: u8| DIGITS[usize::from(byte >> shift & 15)];
            into.extend_from_slice(&[b'0', b'0', digit(4), digit(0)]);
        }
        rest = after;
    }
}

/// How many bytes stand before the first that has to be escaped.
fn plain_bytes(bytes: &[u8]) -> usize {
    let is_marked = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    let mut plain = 0;
    let mut blocks = bytes.chunks_exact(BLOCK_BYTES);
    for block in &mut blocks {
        // Without a branch for each byte, so that the compiler can compare them all at once.
        if block.iter().fold(false, |any, byte| any | is_marked(byte)) {
            return plain + block.iter().position(is_marked).unwrap_or(BLOCK_BYTES);
        }
        plain += BLOCK_BYTES;
    }
    let rest = blocks.remainder();
    plain + rest.iter().position(is_marked).unwrap_or(rest.len())
}

/// A text that grows, held as the JSON string that it will be.
#[derive(Debug)]
pub struct EscapedText {
    /// With the quote before it, and without the one behind.
    json: Vec<u8>,
    plain_bytes: usize,
}

impl Default for EscapedText {
    fn default() -> Self {
        Self { json: vec![b'"'], plain_bytes: 0 }
    }
}

impl EscapedText {
    /// Appends to it, and returns what was appended as it stands in JSON.
    pub fn push(&mut self, text: &str) -> &[u8] {
        let start = self.json.len();
        append_escaped(&mut self.json, text);
        self.plain_bytes += text.len();
        &self.json[start..]
    }

    /// Returns the length of the text itself, in bytes.
    pub fn plain_bytes(&self) -> usize {
        self.plain_bytes
    }

    /// Returns the string as a JSON value.
    pub fn into_json(mut self) -> Box<RawValue> {
        self.json.push(b'"');
        // Neither can fail: what was escaped is what a string was made of.
        let json = String::from_utf8(self.json).unwrap_or_default();
        RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json_of(texts: &[String]) -> String {
        let mut json = EscapedText::default();
        for text in texts {
            json.push(text);
        }
        assert_eq!(json.plain_bytes(), texts.concat().len());
        json.into_json().get().to_owned()
    }

    #[test]
    fn every_letter_below_space_is_escaped_as_serde_json_does() {
        let text: String = (0..0x100_u32).filter_map(char::from_u32).chain(['😀', '\u{2028}']).collect();
        for padding in [0, 1, 31, 32, 33] {
            let text = format!("{}{text}", "x".repeat(padding));
            assert_eq!(json_of(std::slice::from_ref(&text)), serde_json::to_string(&text).unwrap());
        }
    }

    proptest! {
        #[test]
        fn any_text_in_any_pieces_is_the_string_that_serde_json_writes(
            texts in proptest::collection::vec("[a-z]{0,70}[\"\\\\\n\t\u{0}-\u{1f}é😀]{0,3}.{0,40}", 0..5),
        ) {
            prop_assert_eq!(json_of(&texts), serde_json::to_string(&texts.concat()).unwrap());
        }
    }
}
