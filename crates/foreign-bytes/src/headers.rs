//! Headers, of a client and of an upstream: credentials and what belongs to one connection stay, what passes is as it came,
//! nothing comes down that holds the key or leads around the gateway, and an origin read out of them is one.

use crate::SECRET;
use actix_web::test::TestRequest;
use gemini_balance::http::{Origins, TrustedProxies};
use gemini_balance_actors::{
    trace_parent::TraceParent,
    upstream::headers::{down, up},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::{collections::HashSet, net::SocketAddr};

const UPSTREAM: &str = "https://generativelanguage.googleapis.com";
const ORIGIN: &str = "https://gate.example";

/// What may never pass to the upstream, among much else.
const NEVER_UP: &[&str] = &[
    "authorization",
    "connection",
    "cookie",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-goog-api-key",
];

/// What may never pass to the client.
const NEVER_DOWN: &[&str] =
    &["alt-svc", "connection", "server", "set-cookie", "trailer", "transfer-encoding"];

/// Reads lines of `name: value` as an HTTP library does: names in small letters, only what can be one.
fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(at + 1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..at]), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// The names that `Connection` nominates.
fn nominated(headers: &HeaderMap) -> HashSet<String> {
    let lines = headers.get_all("connection").iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

/// See the module.
pub fn run(input: &[u8]) {
    let headers = headers(input);
    goes_up(&headers);
    comes_down(&headers);
    origin(&headers);
    if let Some(parent) = TraceParent::of(&headers) {
        let text = format!(
            "00-{:032x}-{:016x}-{:02x}",
            parent.trace_id,
            parent.span_id,
            u8::from(parent.is_sampled)
        );
        assert_eq!(TraceParent::parse(&text), Some(parent));
    }
}

fn goes_up(headers: &HeaderMap) {
    let passed = up(|| headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
    let nominated = nominated(headers);
    for name in passed.keys() {
        let (name, text) = (name, name.as_str());
        assert!(!NEVER_UP.contains(&text) && !text.contains('_') && !nominated.contains(text), "{text}");
        assert!(!text.starts_with("x-forwarded-"), "{text}");
        if text == "accept-encoding" {
            assert_eq!(passed.get_all(name).iter().count(), 1);
        } else {
            assert!(passed.get_all(name).iter().eq(headers.get_all(name)), "{text} is not as it came");
        }
    }
}

fn comes_down(headers: &HeaderMap) {
    let nominated = nominated(headers);
    for origin in [Some(ORIGIN), None] {
        passes_down(&nominated, &down(headers.clone(), SECRET, UPSTREAM, origin));
    }
}

fn passes_down(nominated: &HashSet<String>, passed: &HeaderMap) {
    for (name, value) in passed {
        let text = name.as_str();
        assert!(!NEVER_DOWN.contains(&text) && !nominated.contains(text), "{text}");
        let holds_key = value.as_bytes().windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
        assert!(!holds_key, "{text}");
        if matches!(text, "location" | "content-location" | "x-goog-upload-url" | "x-goog-upload-control-url")
        {
            let address = value.to_str().expect("an address is text");
            let base = url::Url::parse(ORIGIN).expect("a URL");
            let led = base.join(address).expect("a URL");
            assert_eq!(led.origin(), base.origin(), "{address} leads around the gateway");
        }
    }
}

fn origin(headers: &HeaderMap) {
    let trusted = TrustedProxies::parse(&["10.0.0.0/8".to_owned()]).expect("a network");
    let origins = Origins::new(None, trusted);
    for peer in ["10.1.2.3:9", "192.0.2.1:9"] {
        let mut request = TestRequest::default().peer_addr(peer.parse::<SocketAddr>().expect("an address"));
        for (name, value) in headers {
            request = request.append_header((name.as_str(), value.as_bytes()));
        }
        if let Some(origin) = origins.of(&request.to_http_request()) {
            let text = origin.to_string();
            // Not as browsers read it: they know hosts that cannot be resolved from their names, and refuse to.
            let uri: http::Uri = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            let authority = uri.authority().expect("an authority");
            assert!(!authority.host().is_empty() && !authority.as_str().contains('@'), "{text}");
            assert!(uri.query().is_none(), "{text}");
            assert!(
                text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'#<>\\".contains(&byte)),
                "{text}"
            );
        }
    }
}
