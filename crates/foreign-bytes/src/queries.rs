//! Queries: the credentials in one are those that a slow reading finds, and whatever else is in it goes on without them, byte
//! for byte.

use crate::SECRET;
use gemini::{
    path::{CredentialForm, parse},
    query::{query_access_tokens, query_credentials},
};

/// Every name of a parameter that is a credential.
const CREDENTIALS: [&str; 7] =
    ["key", "$key", "access_token", "$access_token", "oauth_token", "bearer_token", "$httpheaders"];

/// Undoes `%41` and nothing else, one byte at a time.
fn decoded(text: &str) -> String {
    let (bytes, mut at, mut out) = (text.as_bytes(), 0, Vec::new());
    while at < bytes.len() {
        let escape = bytes.get(at + 1..at + 3).filter(|hex| bytes[at] == b'%' && hex.is_ascii());
        let escaped = escape
            .map(|hex| std::str::from_utf8(hex).expect("ASCII"))
            .filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The decoded name and value of each parameter, with the parameter as it stands.
fn parameters(query: &str) -> Vec<(String, String, &str)> {
    let split = |pair: &'_ str| {
        let at = pair.find('=').unwrap_or(pair.len());
        (decoded(&pair[..at]).to_ascii_lowercase(), decoded(pair.get(at + 1..).unwrap_or("")))
    };
    query.split('&').map(|pair| (split(pair).0, split(pair).1, pair)).collect()
}

/// See the module.
pub fn run(input: &[u8]) {
    let [at, query @ ..] = input else { return };
    let Ok(query) = std::str::from_utf8(query) else { return };
    let of = |names: [&str; 2]| -> Vec<String> {
        parameters(query).into_iter().filter(|it| names.contains(&&*it.0)).map(|it| it.1).collect()
    };
    assert_eq!(query_credentials(query).collect::<Vec<_>>(), of(["key", "$key"]));
    assert_eq!(query_access_tokens(query).collect::<Vec<_>>(), of(["access_token", "$access_token"]));

    // With a credential put between its parameters, under each of the names.
    let mut pairs: Vec<&str> = query.split('&').collect();
    let name = CREDENTIALS[usize::from(*at) % CREDENTIALS.len()];
    let credential = format!("{}={SECRET}", if at % 2 == 0 { name.to_owned() } else { escaped(name) });
    pairs.insert(usize::from(*at) % (pairs.len() + 1), &credential);
    for query in [query, &pairs.join("&")] {
        let Ok(target) =
            parse("POST", "/v1beta/models/m:generateContent", Some(query), CredentialForm::QueryKey)
        else {
            continue;
        };
        let kept: Vec<_> = parameters(query)
            .into_iter()
            .filter(|it| !CREDENTIALS.contains(&&*it.0))
            .map(|it| it.2)
            .collect();
        assert_eq!(target.query.as_deref().unwrap_or(""), kept.join("&"));
    }
}

/// A name with each of its bytes escaped.
fn escaped(name: &str) -> String {
    name.bytes().fold(String::new(), |escaped, byte| format!("{escaped}%{byte:02x}"))
}
