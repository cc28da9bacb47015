//! The query of a request target: which parameters are credentials, what the rest says. Nothing else of a query is
//! looked at or changed: unknown parameters go upstream byte for byte, in their order.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The parameters by which Google takes a credential, or a header that could be one. `$key` and the like are the same
/// system parameters under the names that cannot collide with a method's own
/// (<https://cloud.google.com/apis/docs/system-parameters>). Compared without case: a client's secret that Google
/// would ignore must still not reach it.
const CREDENTIALS: [&str; 7] =
    ["key", "$key", "access_token", "$access_token", "oauth_token", "bearer_token", "$httpHeaders"];

/// Every API key that a query holds, percent-decoded, in order: a client may send several.
pub fn query_credentials(raw_query: &str) -> impl Iterator<Item = Cow<'_, str>> {
    values(raw_query, |name| name.eq_ignore_ascii_case("key") || name.eq_ignore_ascii_case("$key"))
}

/// Every access token that a query holds, percent-decoded, in order: the Live API takes ephemeral ones so.
pub fn query_access_tokens(raw_query: &str) -> impl Iterator<Item = Cow<'_, str>> {
    values(raw_query, |name| {
        name.eq_ignore_ascii_case("access_token") || name.eq_ignore_ascii_case("$access_token")
    })
}

/// The query without its credentials, everything else as it came; `None` when nothing is left.
pub(crate) fn without_credentials(raw_query: &str) -> Option<String> {
    let mut rest = String::with_capacity(raw_query.len());
    let mut kept = 0_usize;
    for pair in raw_query.split('&') {
        if is_credential(&name_of(pair)) {
            continue;
        }
        if kept > 0 {
            rest.push('&');
        }
        rest.push_str(pair);
        kept += 1;
    }
    (!rest.is_empty()).then_some(rest)
}

/// The decoded values of the parameters that `wanted` picks by their decoded names.
pub(crate) fn values(raw_query: &str, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = Cow<'_, str>> {
    raw_query.split('&').filter(move |pair| wanted(&name_of(pair))).map(|pair| {
        let value = pair.split_once('=').map_or("", |(_, value)| value);
        decoded(value)
    })
}

fn is_credential(name: &str) -> bool {
    CREDENTIALS.iter().any(|credential| credential.eq_ignore_ascii_case(name))
}

pub(crate) fn name_of(pair: &str) -> Cow<'_, str> {
    decoded(pair.split_once('=').map_or(pair, |(name, _)| name))
}

fn decoded(text: &str) -> Cow<'_, str> {
    // Hardly any parameter has an escape.
    match memchr::memchr(b'%', text.as_bytes()) {
        None => Cow::Borrowed(text),
        Some(_) => percent_decode(text.as_bytes()).decode_utf8_lossy(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_dropped_and_the_rest_is_kept_byte_for_byte() {
        for (query, rest) in [
            ("key=abc", None),
            ("", None),
            ("alt=sse&key=abc", Some("alt=sse")),
            ("key=abc&alt=sse", Some("alt=sse")),
            ("a=1&key=abc&b=%2f+%zz", Some("a=1&b=%2f+%zz")),
            ("%6bey=abc&%6B%65%79=def&b", Some("b")),
            ("KEY=abc&b=", Some("b=")),
            ("key&b=2", Some("b=2")),
            ("access_token=auth_tokens/xyz&x=y", Some("x=y")),
            ("%24key=abc&$key=d&oauth_token=e&bearer_token=f&$httpHeaders=g&$access_token=h", None),
            ("keys=1&mykey=2&key2=3", Some("keys=1&mykey=2&key2=3")),
            ("a=1&&b=2&", Some("a=1&&b=2&")),
            ("pageToken=key=1", Some("pageToken=key=1")),
        ] {
            assert_eq!(without_credentials(query).as_deref(), rest, "{query}");
        }
    }

    #[test]
    fn every_key_of_a_query_is_offered_decoded() {
        let found: Vec<_> = query_credentials("key=&alt=sse&%6bey=a%2Bb&access_token=no&key=c+d").collect();
        assert_eq!(found, ["", "a+b", "c+d"]);
        let found: Vec<_> = query_access_tokens("key=no&access_token=auth_tokens%2Fx&a=b").collect();
        assert_eq!(found, ["auth_tokens/x"]);
    }
}
