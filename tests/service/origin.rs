//! The gateway's own address in the headers of answers: from the request, from `server.public_url`, and from what proxies
//! say, if they are to be believed.

use crate::{
    settings::refusal,
    support::{Options, TOKEN, prompt, simulator},
    wire::{exchange, request},
};
use gemini_simulator::{Fault, Rule, Simulator};
use std::collections::BTreeMap;

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const UPLOAD: &str = "/upload/v1beta/files?upload_id=1&upload_protocol=resumable";
const NAMES: [&str; 4] = ["x-goog-upload-url", "x-goog-upload-control-url", "location", "content-location"];

/// What a client that sends these headers is told of where to go.
async fn told(simulator: &Simulator, options: &Options, headers: &[(&str, &str)]) -> String {
    let address = format!("{}{UPLOAD}", simulator.url());
    let set: BTreeMap<_, _> = NAMES.iter().map(|name| ((*name).to_owned(), address.clone())).collect();
    simulator.set_faults([Rule::new(Fault::Headers { set })]);
    let gateway = options.start();
    let headers: Vec<_> = [("x-goog-api-key", TOKEN)].iter().chain(headers).copied().collect();
    let answer = exchange(gateway.authority(), request("POST", GENERATE, &headers, &prompt("x"))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let found: Vec<_> = NAMES.iter().map(|name| answer.header(name).unwrap_or_default().to_owned()).collect();
    assert!(found.iter().all(|other| *other == found[0]), "{found:?}");
    let sent = simulator.requests();
    let up = &sent.last().unwrap().headers;
    let is_forwarding = |name: &str| name.starts_with("x-forwarded-") || name == "forwarded";
    assert!(!up.iter().any(|(name, _)| is_forwarding(name)), "a forwarding header went up: {up:?}");
    found[0].strip_suffix(UPLOAD).unwrap_or_else(|| panic!("{found:?}")).to_owned()
}

const SAID: [(&str, &str); 3] =
    [("x-forwarded-proto", "https"), ("x-forwarded-host", "gw.example"), ("x-forwarded-prefix", "/gemini")];

#[tokio::test]
async fn the_public_url_is_where_clients_are_sent_with_its_prefix() {
    let simulator = simulator(1).await;
    let options =
        Options::new(&simulator.url(), 1).set("server.public_url", "https://gw.example:8443/gemini/");
    assert_eq!(told(&simulator, &options, &[]).await, "https://gw.example:8443/gemini");
    assert_eq!(told(&simulator, &options, &SAID).await, "https://gw.example:8443/gemini");
}

#[tokio::test]
async fn forwarding_headers_of_a_peer_that_is_not_trusted_say_nothing() {
    let simulator = simulator(1).await;
    let options = Options::new(&simulator.url(), 1);
    assert_eq!(told(&simulator, &options, &SAID).await, "http://gateway");
    let options = options.set("server.trusted_proxies", r#"["192.0.2.1", "10.0.0.0/8"]"#);
    assert_eq!(told(&simulator, &options, &SAID).await, "http://gateway");
    let forwarded = [("forwarded", "proto=https;host=gw.example")];
    assert_eq!(told(&simulator, &options, &forwarded).await, "http://gateway");
}

#[tokio::test]
async fn forwarding_headers_of_a_trusted_proxy_name_the_origin() {
    let simulator = simulator(1).await;
    let options = Options::new(&simulator.url(), 1).set("server.trusted_proxies", r#"["127.0.0.0/8"]"#);
    assert_eq!(told(&simulator, &options, &SAID).await, "https://gw.example/gemini");
    assert_eq!(told(&simulator, &options, &SAID[..1]).await, "https://gateway");
    let forwarded = [("forwarded", "for=192.0.2.60;proto=https;host=\"gw.example:8443\"")];
    assert_eq!(told(&simulator, &options, &forwarded).await, "https://gw.example:8443");
    // What is not a host, or not a path, is as if it were not said.
    let unusable = [("x-forwarded-host", "gw.example/x"), ("x-forwarded-prefix", "//evil.example")];
    assert_eq!(told(&simulator, &options, &unusable).await, "http://gateway");
}

#[tokio::test]
async fn a_public_url_or_a_proxy_that_cannot_be_one_is_refused_at_the_start() {
    let options = || Options::new("http://127.0.0.1:9", 1);
    for bad in ["gw.example", "ftp://gw.example", "https://alice:pass@gw.example", "https://gw.example/?x"] {
        let line = refusal(&options().set("server.public_url", bad));
        assert!(line.contains("server.public_url"), "{line}");
        assert!(line.contains("GEMINI_BALANCE__SERVER__PUBLIC_URL"), "it does not say from where: {line}");
        assert!(!line.contains("pass@"), "{line}");
    }
    for bad in [r#"["gw.example"]"#, r#"["10.0.0.0/33"]"#] {
        let line = refusal(&options().set("server.trusted_proxies", bad));
        assert!(line.contains("server.trusted_proxies") && line.contains("10.0.0.0/8"), "{line}");
    }
    let line = refusal(&options().set("server.trusted_proxies", "10.0.0.1"));
    assert!(line.contains("server.trusted_proxies") && line.contains("must be a list"), "{line}");
}
