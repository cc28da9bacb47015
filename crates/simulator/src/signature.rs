//! Thought signatures: opaque bytes that the model gives with a part and wants back with the very same part. What they are
//! bound to can be told from the part alone, so nothing is remembered. Pure; asked by `native` and `prompt`.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

const SEED_BYTES: usize = 16;
const LEAST_BYTES: usize = 180;

/// The part that a signature belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signed<'a> {
    /// A function call, with all that it says.
    Call { id: Option<&'a str>, name: &'a str, args: &'a Value },
    /// A text. Clients join what came in pieces, so its words do not count.
    Text,
}

/// What a signature that has come back is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Genuineness {
    /// It was issued with this part.
    Genuine,
    /// One of the words that Google documents for parts which no model of its made.
    Skipped,
    /// It is another part's, or nobody's.
    Corrupted,
}

impl Signed<'_> {
    /// Returns a new signature of this part; two with the same `serial` are equal. Base64 in either alphabet, as Google's.
    pub(crate) fn issue(self, serial: u64) -> String {
        let mut hash = Sha256::new();
        hash.update(b"seed");
        hash.update(serial.to_le_bytes());
        hash.update(self.digest());
        let seed = hash.finalize();
        let bytes = self.bytes(&seed[..SEED_BYTES]);
        if bytes[1] & 1 == 0 { STANDARD.encode(bytes) } else { URL_SAFE.encode(bytes) }
    }

    /// Judges what came back with this part. Clients decode it and encode it again as they like.
    pub(crate) fn judge(self, returned: &str) -> Genuineness {
        if matches!(returned, "skip_thought_signature_validator" | "context_engineering_is_the_way_to_go") {
            return Genuineness::Skipped;
        }
        let plain = returned.trim_end_matches('=').replace('-', "+").replace('_', "/");
        match STANDARD_NO_PAD.decode(plain) {
            Ok(bytes) if bytes.len() >= SEED_BYTES && bytes == self.bytes(&bytes[..SEED_BYTES]) => {
                Genuineness::Genuine
            }
            _ => Genuineness::Corrupted,
        }
    }

    /// The seed, and bytes that only this part has with it: 180 to 690 in all.
    fn bytes(self, seed: &[u8]) -> Vec<u8> {
        let length = LEAST_BYTES + 2 * usize::from(seed[0]);
        let subject = self.digest();
        let mut bytes = seed.to_vec();
        for block in 0_u32.. {
            if bytes.len() >= length {
                break;
            }
            let mut hash = Sha256::new();
            hash.update(seed);
            hash.update(subject);
            hash.update(block.to_le_bytes());
            bytes.extend_from_slice(&hash.finalize());
        }
        bytes.truncate(length);
        bytes
    }

    fn digest(self) -> [u8; 32] {
        let text = match self {
            Self::Call { id, name, args } => {
                let mut text = format!("call {id:?} {name:?} ", id = id.filter(|id| !id.is_empty()));
                write(args, &mut text);
                text
            }
            Self::Text => "text".to_owned(),
        };
        Sha256::digest(text).into()
    }
}

/// Writes a value so that neither the order of fields nor the spelling of a number matters. No arguments are `{}`.
fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null if out.ends_with(' ') => out.push_str("{}"),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| name.as_str());
            out.push('{');
            for (name, value) in fields {
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Number(number) => out.push_str(&spelt(number)),
        other => out.push_str(&other.to_string()),
    }
}

/// One spelling for `1`, `1.0` and `1e0`; integers keep all their digits.
fn spelt(number: &Number) -> String {
    if let Some(whole) = number.as_i64() {
        return whole.to_string();
    }
    if let Some(whole) = number.as_u64() {
        return whole.to_string();
    }
    number.as_f64().map_or_else(|| number.to_string(), |float| float.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call<'a>(id: &'a str, name: &'a str, args: &'a Value) -> Signed<'a> {
        Signed::Call { id: Some(id), name, args }
    }

    #[test]
    fn a_signature_is_good_for_its_own_part_alone() {
        let (args, others) = (json!({"a": 1, "b": [true, "x"]}), json!({"a": 2, "b": [true, "x"]}));
        for serial in 0..200 {
            let signature = call("id", "f", &args).issue(serial);
            assert_eq!(call("id", "f", &args).judge(&signature), Genuineness::Genuine);
            for other in
                [call("id", "g", &args), call("di", "f", &args), call("id", "f", &others), Signed::Text]
            {
                assert_eq!(other.judge(&signature), Genuineness::Corrupted);
            }
            let text = Signed::Text.issue(serial);
            assert_eq!(Signed::Text.judge(&text), Genuineness::Genuine);
            assert!((240..=1000).contains(&text.len()), "{}", text.len());
        }
    }

    #[test]
    fn both_alphabets_appear_and_either_is_taken_back() {
        let all: Vec<String> = (0..50).map(|serial| Signed::Text.issue(serial)).collect();
        assert!(all.iter().any(|text| text.contains(['-', '_'])));
        assert!(all.iter().any(|text| text.contains(['+', '/'])));
        for text in all {
            let standard = text.replace('-', "+").replace('_', "/");
            let safe = text.replace('+', "-").replace('/', "_");
            for spelling in [standard.as_str(), safe.as_str(), safe.trim_end_matches('=')] {
                assert_eq!(Signed::Text.judge(spelling), Genuineness::Genuine, "{spelling}");
            }
        }
    }

    #[test]
    fn arguments_may_be_written_anew_but_not_changed() {
        let issued = json!({"n": 1, "big": 9_007_199_254_740_993_u64, "text": "ü"});
        let signature = call("", "f", &issued).issue(7);
        let anew: Value =
            serde_json::from_str(r#"{"text":"\u00fc", "big":9007199254740993, "n":1.0}"#).unwrap();
        let bare = Signed::Call { id: None, name: "f", args: &anew };
        assert_eq!(bare.judge(&signature), Genuineness::Genuine);
        let rounded = json!({"n": 1, "big": 9_007_199_254_740_992_u64, "text": "ü"});
        assert_eq!(call("", "f", &rounded).judge(&signature), Genuineness::Corrupted);
        let nothing = call("", "f", &Value::Null).issue(7);
        assert_eq!(call("", "f", &json!({})).judge(&nothing), Genuineness::Genuine);
    }

    #[test]
    fn the_placeholder_is_no_signature() {
        assert_eq!(Signed::Text.judge("skip_thought_signature_validator"), Genuineness::Skipped);
        for wrong in ["", "AAAA", "skip_thought_signature", "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="] {
            assert_eq!(Signed::Text.judge(wrong), Genuineness::Corrupted, "{wrong}");
        }
    }
}
