//! Google's thought signatures on their way through clients that know nothing of them: in a tool call's id, with Google's
//! own id, and in a thinking block or reasoning item. Only `[A-Za-z0-9_-]` is used, since clients' vendors refuse other
//! ids. A signature is an opaque string: exactly the one that came goes back, or none. `conversation` decides where.

use std::fmt::Write as _;

use twox_hash::XxHash3_64;

/// What Google takes in place of the signature of a call that its model did not sign (its page on thought signatures).
/// It costs quality, so it is the last resort.
pub const PLACEHOLDER: &str = "skip_thought_signature_validator";

/// What stands before a call's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallIdPrefix {
    /// `toolu_`, as Anthropic's.
    Toolu,
    /// `call_`, as OpenAI's.
    Call,
}

impl CallIdPrefix {
    const ALL: [Self; 2] = [Self::Toolu, Self::Call];

    /// Returns what ids begin with.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Toolu => "toolu_",
            Self::Call => "call_",
        }
    }
}

/// After Google's id as it is.
const PLAIN: &str = "_s1_";
/// After Google's id in hexadecimal.
const HEX: &str = "_x1_";
/// After a word of ours: Google gave no id.
const NONE: &str = "_n1_";

/// Bytes of the check that stands before a signature.
const CHECK_BYTES: usize = 5;

/// Writes the id that a client gets for a call: Google's id and its signature inside. `unique` stands for an id that
/// Google does not give, and must differ from call to call.
pub fn call_id(
    prefix: CallIdPrefix,
    google_id: Option<&str>,
    signature: Option<&str>,
    unique: &str,
) -> String {
    let mut id = String::with_capacity(48 + signature.map_or(0, str::len));
    id.push_str(prefix.as_str());
    match google_id.filter(|id| !id.is_empty()) {
        Some(google) if is_plain(google) => id.extend([google, PLAIN]),
        Some(google) => {
            push_hex(&mut id, google);
            id.push_str(HEX);
        }
        None => {
            id.extend(unique.chars().filter(char::is_ascii_alphanumeric));
            id.push_str(NONE);
        }
    }
    if let Some(signature) = signature {
        push_signature(&mut id, signature);
    }
    id
}

/// What a client's id of a call says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallIdContent {
    /// The id was made here.
    Ours {
        /// Google's id, if it gave one.
        google_id: Option<String>,
        /// The call's signature, if it had one and it is unharmed.
        signature: Option<String>,
    },
    /// The call was made elsewhere.
    Foreign,
}

/// Reads a client's id of a call, of whichever prefix.
pub fn read_call_id(id: &str) -> CallIdContent {
    let Some(rest) = CallIdPrefix::ALL.iter().find_map(|prefix| id.strip_prefix(prefix.as_str())) else {
        return CallIdContent::Foreign;
    };
    // Neither an id nor a word before the mark contains one, so the first is it; a signature may contain another.
    let first = rest.as_bytes().windows(PLAIN.len()).position(|four| {
        let is = |mark: &str| four == mark.as_bytes();
        is(PLAIN) || is(HEX) || is(NONE)
    });
    let Some((named, marked)) = first.and_then(|at| Some((rest.get(..at)?, rest.get(at..)?))) else {
        return CallIdContent::Foreign;
    };
    let (mark, carried) = marked.split_at(PLAIN.len());
    let google_id = match mark {
        PLAIN if named.is_empty() => return CallIdContent::Foreign,
        PLAIN => Some(named.to_owned()),
        HEX => match read_hex(named) {
            Some(id) => Some(id),
            None => return CallIdContent::Foreign,
        },
        _ => None,
    };
    CallIdContent::Ours { google_id, signature: read_signature(carried) }
}

/// Which part a block's signature belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedPart {
    /// The call that follows the block.
    Call,
    /// The picture that follows the block.
    Picture,
    /// The text before the block or, where none is right before it, the turn's last.
    Text,
    /// A part that says nothing else, where the block stands.
    Apart,
}

impl SignedPart {
    const ALL: [Self; 4] = [Self::Call, Self::Picture, Self::Text, Self::Apart];

    /// Returns what blocks begin with.
    fn prefix(self) -> &'static str {
        match self {
            Self::Call => "gemini-c1-",
            Self::Picture => "gemini-p1-",
            Self::Text => "gemini-t1-",
            Self::Apart => "gemini-a1-",
        }
    }
}

/// Writes what a thinking block's `signature` or a reasoning item's `encrypted_content` is.
pub fn block(part: SignedPart, signature: &str) -> String {
    let mut block = String::with_capacity(24 + signature.len());
    block.push_str(part.prefix());
    push_signature(&mut block, signature);
    block
}

/// Reads a block's signature; `None` for one that was made elsewhere or was changed.
pub fn read_block(text: &str) -> Option<(SignedPart, String)> {
    let read = |part: &SignedPart| Some((*part, text.strip_prefix(part.prefix())?));
    let (part, carried) = SignedPart::ALL.iter().find_map(read)?;
    Some((part, read_signature(carried)?))
}

/// Whether Google's id can stand in an id as it is.
fn is_plain(id: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    // Half a mark at the end would be one together with the real mark.
    let has_mark = [PLAIN, HEX, NONE].iter().any(|mark| id.contains(&mark[..mark.len() - 1]));
    id.bytes().all(is_fit) && !has_mark
}

/// Appends a letter for its form, a check and the signature itself. Google sends base64 of both alphabets, with and
/// without padding; the letter says which, so that it is not coded a second time.
fn push_signature(into: &mut String, signature: &str) {
    let body = signature.trim_end_matches('=');
    let padding = signature.len() - body.len();
    let is = |extra: [u8; 2]| {
        padding <= 2 && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
    };
    let (standard, url) = (is(*b"+/"), is(*b"-_"));
    let form = match padding {
        _ if !standard && !url => 'x',
        0 if standard => 'a',
        1 if standard => 'b',
        2 if standard => 'c',
        0 => 'd',
        1 => 'e',
        _ => 'f',
    };
    into.push(form);
    into.push_str(&check(signature));
    if form == 'x' {
        push_hex(into, signature);
    } else {
        into.extend(body.chars().map(|letter| match letter {
            '+' => '-',
            '/' => '_',
            other => other,
        }));
    }
}

/// Reads what [`push_signature`] wrote. The check finds what a client has cut or changed, which Google would answer with
/// "Corrupted thought signature".
fn read_signature(carried: &str) -> Option<String> {
    let (form, rest) = (carried.chars().next()?, carried.get(1..)?);
    let (checked, body) = (rest.get(..CHECK_BYTES)?, rest.get(CHECK_BYTES..)?);
    let mut signature = match form {
        'x' => read_hex(body)?,
        'a' | 'b' | 'c' => body
            .chars()
            .map(|letter| match letter {
                '-' => '+',
                '_' => '/',
                other => other,
            })
            .collect(),
        'd' | 'e' | 'f' => body.to_owned(),
        _ => return None,
    };
    signature.push_str(match form {
        'b' | 'e' => "=",
        'c' | 'f' => "==",
        _ => "",
    });
    (!signature.is_empty() && check(&signature) == checked).then_some(signature)
}

/// 30 bits of a hash. It guards against accidents, not against forgery, which would only harm the forger.
fn check(signature: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let hash = XxHash3_64::oneshot(signature.as_bytes());
    (0..CHECK_BYTES).map(|place| char::from(LETTERS[(hash >> (6 * place) & 63) as usize])).collect()
}

fn push_hex(into: &mut String, text: &str) {
    for byte in text.bytes() {
        // Writing to a string cannot fail.
        let _ = write!(into, "{byte:02x}");
    }
}

fn read_hex(hex: &str) -> Option<String> {
    if hex.is_empty() || !hex.len().is_multiple_of(2) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok());
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ours(google_id: Option<&str>, signature: Option<&str>) -> CallIdContent {
        CallIdContent::Ours {
            google_id: google_id.map(ToOwned::to_owned),
            signature: signature.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn an_id_shows_what_is_in_it() {
        let id = call_id(CallIdPrefix::Toolu, Some("ab12cd34"), Some("Cg+/=="), "x");
        assert!(id.starts_with("toolu_ab12cd34_s1_c"), "{id}");
        assert!(id.ends_with("Cg-_"), "{id}");
        assert_eq!(read_call_id(&id), ours(Some("ab12cd34"), Some("Cg+/==")));
        let id = call_id(CallIdPrefix::Call, Some("call_4162774"), None, "x");
        assert_eq!(id, "call_call_4162774_s1_");
        assert_eq!(read_call_id(&id), ours(Some("call_4162774"), None));
        let id = call_id(CallIdPrefix::Call, None, None, "abc01");
        assert_eq!(id, "call_abc01_n1_");
        assert_eq!(read_call_id(&id), ours(None, None));
    }

    #[test]
    fn ids_and_blocks_of_others_are_foreign() {
        for id in [
            "toolu_01A09q90qw90lq917835lq9",
            "call_abc",
            "",
            "ab_s1_a",
            "functions.read:0",
            "toolu__s1_",
            "toolu_é_x1_",
        ] {
            assert_eq!(read_call_id(id), CallIdContent::Foreign, "{id}");
        }
        for block in
            ["", "ErUBCkYIBxgCIkDq+/==", "gAAAAABm", "gemini-c1-", "gemini-c1-aAAAAA", "gemini-z1-aAAAAAx"]
        {
            assert_eq!(read_block(block), None, "{block}");
        }
    }

    #[test]
    fn a_signature_that_was_cut_is_none_and_the_id_still_holds() {
        let id = call_id(CallIdPrefix::Call, Some("ab12"), Some(&"QUJD".repeat(100)), "x");
        assert_eq!(read_call_id(&id[..64]), ours(Some("ab12"), None));
        let block = block(SignedPart::Call, "QUJDREVG");
        assert_eq!(read_block(&block[..block.len() - 1]), None);
    }

    proptest! {
        #[test]
        fn any_id_and_any_signature_come_back_exactly(
            google_id in proptest::option::of("[A-Za-z0-9_-]{1,20}|.{1,12}|[snx1_]{1,12}"),
            signature in proptest::option::of("[A-Za-z0-9+/]{1,90}={0,3}|[A-Za-z0-9_-]{1,90}={0,2}|.{1,20}|[snx1_]{1,30}"),
            toolu: bool,
        ) {
            let prefix = if toolu { CallIdPrefix::Toolu } else { CallIdPrefix::Call };
            let id = call_id(prefix, google_id.as_deref(), signature.as_deref(), "u1");
            prop_assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'), "{}", id);
            prop_assert_eq!(read_call_id(&id), ours(google_id.as_deref(), signature.as_deref()));
            // An id that went round twice does not gather signatures.
            let again = call_id(prefix, Some(&id), None, "u2");
            prop_assert_eq!(read_call_id(&again), ours(Some(&id), None));
            if let Some(signature) = signature {
                for part in SignedPart::ALL {
                    prop_assert_eq!(read_block(&block(part, &signature)), Some((part, signature.clone())));
                }
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,60}", tail in "[a-fx]?[A-Za-z0-9_é-]{0,12}") {
            let _ = read_call_id(&text);
            let _ = read_call_id(&format!("toolu_a_s1_{tail}"));
            let _ = read_block(&text);
            let _ = read_block(&format!("gemini-t1-{tail}"));
        }
    }
}
