//! Google echoes the key in some errors (`CONSUMER_SUSPENDED`, `DebugInfo`). Before such a body reaches a client the
//! key is struck out here.

use std::borrow::Cow;

use crate::pasted::{KeyForm, form_of};
use memchr::memmem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const STRUCK: &[u8] = b"***";

/// What Google writes before a key.
const NAMED: &[u8] = b"api_key:";

/// What `encodeURIComponent` and its like leave as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Replaces every occurrence of a secret, as it is, as JSON escapes it or as a URL encodes it, and the key of any
/// `api_key:KEY`, by `***`. Borrowed when nothing was found, so that an answer usually passes byte for byte. The
/// length changes where something was: any `Content-Length` is then wrong.
pub fn redact<'a>(body: &'a [u8], secrets: &[&str]) -> Cow<'a, [u8]> {
    let mut body = Cow::Borrowed(body);
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        strike(&mut body, secret.as_bytes());
        if !is_plain(secret) {
            for spelling in encoded(secret).iter().filter(|spelling| !spelling.is_empty()) {
                strike(&mut body, spelling.as_bytes());
            }
        }
    }
    strike_named(&mut body);
    body
}

/// The longest run behind `api_key:` that is waited for.
const MAX_NAMED: usize = 512;

/// Which keys go that a body names by `api_key:`, but for the secret itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedKeys {
    /// All of them, in an error.
    All,
    /// Those that begin as Google's do: in a success, which may have such words of a user's or a model's own.
    Googles,
    /// None: in a file, whose bytes are somebody's own.
    None,
}

/// Strikes out what [`redact`] does, sign by sign, so that the length stays: for a stream, whose length may have been
/// announced. What goes besides the secret is for `named` to say. Whether something was found.
pub fn redact_in_place(body: &mut [u8], secret: &str, named: NamedKeys) -> bool {
    let mut struck = Vec::new();
    for spelling in spellings(secret) {
        struck.extend(memmem::find_iter(body, &spelling).map(|at| at..at + spelling.len()));
    }
    for at in memmem::find_iter(body, NAMED).map(|at| at + NAMED.len()) {
        let key = at..at + named_len(&body[at..]);
        let is_googles =
            || std::str::from_utf8(&body[key.clone()]).is_ok_and(|key| form_of(key) == KeyForm::Usual);
        let is_struck = match named {
            NamedKeys::All => true,
            NamedKeys::Googles => is_googles(),
            NamedKeys::None => false,
        };
        if is_struck {
            struck.push(key);
        }
    }
    for range in &struck {
        body[range.clone()].fill(b'*');
    }
    struck.iter().any(|range| !range.is_empty())
}

/// Whether more must come before `body` can be looked through: it ends inside what could become a secret.
pub fn ends_in_part_of(body: &[u8], secret: &str) -> bool {
    let begins = |spelling: &[u8]| {
        let longest = spelling.len().saturating_sub(1).min(body.len());
        (1..=longest).any(|len| body.ends_with(&spelling[..len]))
    };
    let tail = &body[body.len().saturating_sub(MAX_NAMED)..];
    let is_named = memmem::rfind(tail, NAMED).is_some_and(|at| {
        let key = &tail[at + NAMED.len()..];
        named_len(key) == key.len()
    });
    is_named || begins(NAMED) || spellings(secret).iter().any(|spelling| begins(spelling))
}

/// A secret as it is and as JSON and URLs spell it.
fn spellings(secret: &str) -> Vec<Vec<u8>> {
    let mut spellings = vec![secret.as_bytes().to_vec()];
    if !is_plain(secret) {
        spellings.extend(encoded(secret).into_iter().map(String::into_bytes));
    }
    spellings.retain(|spelling| !spelling.is_empty());
    spellings
}

/// Whether a secret is spelt alike everywhere.
fn is_plain(secret: &str) -> bool {
    secret.bytes().all(is_plain_byte)
}

fn is_plain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn named_len(key: &[u8]) -> usize {
    key.iter().take_while(|byte| is_plain_byte(**byte)).count()
}

/// A secret's other spellings. Google's keys have none: letters, digits, `-`, `_` and `.` go unencoded everywhere.
fn encoded(secret: &str) -> [String; 4] {
    let json = serde_json::to_string(secret).unwrap_or_default();
    let json = json.trim_start_matches('"').strip_suffix('"').unwrap_or_default();
    let url = utf8_percent_encode(secret, UNRESERVED).to_string();
    [json.to_owned(), json.replace('/', "\\/"), lower_escapes(&url), url]
}

/// `%2F` as `%2f`.
fn lower_escapes(url: &str) -> String {
    let mut parts = url.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(part.len().min(2));
        lower.push('%');
        lower.push_str(&digits.to_ascii_lowercase());
        lower.push_str(rest);
    }
    lower
}

fn strike(body: &mut Cow<'_, [u8]>, needle: &[u8]) {
    replace(body, needle, |_| Some((0, needle.len())));
}

/// Whatever key it is that `api_key:` names, even one that is not the pool's.
fn strike_named(body: &mut Cow<'_, [u8]>) {
    replace(body, NAMED, |found| {
        let len = named_len(&found[NAMED.len()..]);
        (len > 0).then_some((NAMED.len(), len))
    });
}

/// At each `needle`, strikes out the range that `span` gives as offset and length from the needle's start.
fn replace(body: &mut Cow<'_, [u8]>, needle: &[u8], span: impl Fn(&[u8]) -> Option<(usize, usize)>) {
    let mut struck = Vec::new();
    let mut copied = 0;
    for at in memmem::find_iter(body, needle) {
        if let Some((offset, len)) = span(&body[at..])
            && at >= copied
        {
            struck.extend_from_slice(&body[copied..at + offset]);
            struck.extend_from_slice(STRUCK);
            copied = at + offset + len;
        }
    }
    if copied > 0 {
        struck.extend_from_slice(&body[copied..]);
        *body = Cow::Owned(struck);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(body: &str, secrets: &[&str]) -> String {
        String::from_utf8(redact(body.as_bytes(), secrets).into_owned()).unwrap()
    }

    #[test]
    fn a_body_without_a_secret_is_borrowed() {
        for body in ["", "nothing here", "api_key: spaced", "api_key:***"] {
            assert!(
                matches!(redact(body.as_bytes(), &["AIzaKEY", ""]), Cow::Borrowed(it) if it == body.as_bytes())
            );
        }
    }

    #[test]
    fn every_occurrence_of_every_secret_is_struck_out() {
        assert_eq!(
            redacted("AIzaKEY and AQ.k-1_2 and AIzaKEYAIzaKEY", &["AIzaKEY", "AQ.k-1_2"]),
            "*** and *** and ******"
        );
    }

    #[test]
    fn a_secret_is_struck_out_as_json_and_urls_spell_it() {
        let secret = "a/b\"c+d";
        for body in [r#"a/b"c+d"#, r#"a/b\"c+d"#, r#"a\/b\"c+d"#, "a%2Fb%22c%2Bd", "a%2fb%22c%2bd"] {
            assert_eq!(redacted(&format!("<{body}>"), &[secret]), "<***>", "{body}");
        }
    }

    #[test]
    fn any_key_that_is_named_as_one_is_struck_out() {
        assert_eq!(
            redacted("Consumer 'api_key:AIzaKEY' {\"containerInfo\":\"api_key:AQ.other\"}", &["AIzaKEY"]),
            "Consumer 'api_key:***' {\"containerInfo\":\"api_key:***\"}"
        );
    }
}
