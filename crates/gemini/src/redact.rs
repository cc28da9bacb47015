//! Google echoes the key in some errors (`CONSUMER_SUSPENDED`, `DebugInfo`). Before such a body reaches a client the
//! key is struck out here.

use std::borrow::Cow;

use memchr::memmem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const STRUCK: &[u8] = b"***";

/// What `encodeURIComponent` and its like leave as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Replaces every occurrence of a secret, as it is, as JSON escapes it or as a URL encodes it, and the key of any
/// `api_key:KEY`, by `***`. Borrowed when nothing was found, so that an answer usually passes byte for byte. The
/// length changes where something was: any `Content-Length` is then wrong.
pub fn redact<'a>(body: &'a [u8], secrets: &[&str]) -> Cow<'a, [u8]> {
    let mut body = Cow::Borrowed(body);
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        strike(&mut body, secret.as_bytes());
        let plain = secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        if !plain {
            strike_encoded(&mut body, secret);
        }
    }
    strike_named(&mut body);
    body
}

/// A secret's other spellings. Google's keys have none: letters, digits, `-`, `_` and `.` go unencoded everywhere.
fn strike_encoded(body: &mut Cow<'_, [u8]>, secret: &str) {
    let json = serde_json::to_string(secret).unwrap_or_default();
    let json = json.trim_start_matches('"').strip_suffix('"').unwrap_or_default();
    let url = utf8_percent_encode(secret, UNRESERVED).to_string();
    let spellings = [json.to_owned(), json.replace('/', "\\/"), lower_escapes(&url), url];
    for spelling in spellings.iter().filter(|spelling| !spelling.is_empty()) {
        strike(body, spelling.as_bytes());
    }
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
    let name = b"api_key:";
    replace(body, name, |found| {
        let key = &found[name.len()..];
        let len =
            key.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte)).count();
        (len > 0).then_some((name.len(), len))
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
