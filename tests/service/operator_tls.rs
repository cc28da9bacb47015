//! TLS on the operator's listener: what is served with which certificate, what has to be there for an address that others can
//! reach, and that the commands speak to it and tell nobody else their token.

use crate::{
    settings::refusal,
    support::{Gateway, Options, client, fingerprint, free_port, simulator, wait_for},
    tls::{Pair, trusting, write},
    wire::{Wire, request},
};
use gemini_simulator::Simulator;
use serde_json::Value;
use std::time::Duration;

const ADMIN: &str = "operator-token-of-forty-characters-5b1e9";

/// With an operator's listener at this host, and its port.
fn options(simulator: &Simulator, host: &str) -> (Options, u16) {
    let port = free_port();
    let options = Options::new(&simulator.url(), 1).env("ADMIN_TOKEN", ADMIN);
    (options.set("admin.host", host).set("admin.port", port), port)
}

/// Runs a command with the gateway's settings: whether it succeeded, and all it printed.
fn run(options: &Options, gateway: &Gateway, arguments: &[&str]) -> (bool, String) {
    let output = options.command(&gateway.folder()).args(arguments).output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(!text.contains("Canary") && !text.contains(ADMIN), "a secret: {text}");
    (output.status.success(), text)
}

/// Whether a handshake with the listener shows a certificate of this one's.
async fn shows(port: u16, root: &reqwest::Certificate) -> bool {
    trusting(root).get(format!("https://127.0.0.1:{port}/health")).send().await.is_ok()
}

async fn shown_within_ten_seconds(port: u16, root: &reqwest::Certificate) {
    for _ in 0..200 {
        if shows(port, root).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the new certificate is not shown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_and_its_session_are_served_under_tls() {
    let (simulator, pair) = (simulator(1).await, Pair::new());
    let (options, port) = options(&simulator, "0.0.0.0");
    let _gateway = pair.serve_as("admin.tls", options).start();
    drop(client()); // for the TLS provider
    let builder = reqwest::Client::builder().tls_certs_only([pair.root.clone()]).no_proxy();
    let browser = builder.build().unwrap();
    let origin = format!("https://127.0.0.1:{port}");
    let page = browser.get(&origin).send().await.unwrap();
    assert_eq!((page.status().as_u16(), page.version()), (200, reqwest::Version::HTTP_11));
    assert!(page.headers().contains_key("content-security-policy"));
    let log_in = |origin: &str| {
        let post = browser.post(format!("https://127.0.0.1:{port}/session")).header("origin", origin);
        let post = post.header("sec-fetch-site", "same-origin").header("x-gemini-balance", "1");
        post.body(format!("{{\"token\":\"{ADMIN}\"}}")).send()
    };
    assert_eq!(log_in(&format!("http://127.0.0.1:{port}")).await.unwrap().status(), 403, "another origin");
    let answer = log_in(&origin).await.unwrap();
    assert_eq!(answer.status(), 200);
    let set = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.starts_with(&format!("__Host-gemini-balance-{port}=")), "{set}");
    for part in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.split("; ").any(|it| it == part), "{part}: {set}");
    }
    let cookie = set.split(';').next().unwrap();
    let ask = async |cookie: &str, host: &str| {
        let get = browser.get(format!("{origin}/api/overview")).header("cookie", cookie);
        get.header("sec-fetch-site", "same-origin").header("host", host).send().await.unwrap()
    };
    let own = format!("127.0.0.1:{port}");
    let overview: Value = serde_json::from_str(&ask(cookie, &own).await.text().await.unwrap()).unwrap();
    assert_eq!(overview["keys"]["total"], 1);
    // A cookie that anybody could have set who answers for this name without TLS is none.
    assert_eq!(ask(cookie.strip_prefix("__Host-").unwrap(), &own).await.status(), 401);
    assert_eq!(ask(cookie, "evil.example").await.status(), 403);
    // In plain nothing is said on this port.
    let mut wire = Wire::connect(&own).await;
    let bearer = format!("Bearer {ADMIN}");
    let _ = wire.send(request("GET", "/api/keys", &[("authorization", &bearer)], "")).await;
    assert!(wire.answer().await.is_none(), "an answer in plain");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_others_reach_needs_tls_and_a_long_token() {
    let (simulator, pair) = (simulator(1).await, Pair::new());
    for host in ["0.0.0.0", "::", "192.0.2.1"] {
        let line = refusal(&options(&simulator, host).0);
        assert!(line.contains("admin.host (from ") && line.contains("GEMINI_BALANCE__ADMIN__HOST"), "{line}");
        assert!(line.contains("needs TLS") && line.contains("admin.tls"), "{line}");
        for section in ["admin.tls", "server.tls"] {
            let short =
                pair.serve_as(section, options(&simulator, host).0).env("ADMIN_TOKEN", "t".repeat(31));
            let line = refusal(&short);
            assert!(line.contains("admin.host") && line.contains("32 characters"), "{line}");
        }
    }
    // On loopback neither is asked for, but half a certificate is still a mistake.
    let alone =
        options(&simulator, "127.0.0.1").0.set("admin.tls.cert_file", pair.file("cert.pem").display());
    let line = refusal(&alone);
    assert!(line.contains("admin.tls.key_file must be set as well as admin.tls.cert_file"), "{line}");
    let swapped = pair.serve_as("admin.tls", options(&simulator, "127.0.0.1").0);
    let line = refusal(&swapped.set("admin.tls.cert_file", pair.file("key.pem").display()));
    assert!(line.contains("admin.tls.cert_file") && line.contains("without a certificate"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_speak_to_the_listener_under_tls_and_tell_nobody_else_the_token() {
    let (simulator, pair, other) = (simulator(1).await, Pair::new(), Pair::new());
    let (plain, port) = options(&simulator, "0.0.0.0");
    // The clients' certificate serves for both.
    let options = pair.serve_as("server.tls", plain.clone());
    let gateway = options.start();
    assert!(shows(port, &pair.root).await);
    let (done, list) = run(&options, &gateway, &["keys"]);
    assert!(done && list.contains(&fingerprint(0)), "{list}");
    for arguments in [&["usage"][..], &["tokens"], &["reload", "--dry-run"], &["tokens", "add", "alice"]] {
        let (done, text) = run(&options, &gateway, arguments);
        assert!(done, "{arguments:?}: {text}");
    }
    // Of a server that shows another certificate it is not known who it is.
    let mistaken = other.serve_as("admin.tls", plain);
    let (done, text) = run(&mistaken, &gateway, &["keys"]);
    assert!(!done && text.lines().count() == 1 && text.contains("another certificate"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loopback_has_tls_only_where_it_is_given_a_certificate_of_its_own() {
    let (simulator, pair) = (simulator(1).await, Pair::new());
    let (options, port) = options(&simulator, "127.0.0.1");
    let options = pair.serve_as("server.tls", options);
    let gateway = options.start();
    let plain = client().get(format!("http://127.0.0.1:{port}/health")).send().await.unwrap();
    assert_eq!(plain.status(), 200);
    assert!(run(&options, &gateway, &["keys"]).0);
    let options = pair.serve_as("admin.tls", options).set("admin.port", free_port());
    let gateway = options.start();
    assert!(run(&options, &gateway, &["keys"]).0);
    assert!(gateway.output().contains("the operator's listener is at https://"), "{}", gateway.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewed_certificates_of_either_listener_are_shown_without_a_restart() {
    let (simulator, clients, own) = (simulator(1).await, Pair::new(), Pair::new());
    let (options, port) = options(&simulator, "0.0.0.0");
    let options = clients.serve_as("server.tls", own.serve_as("admin.tls", options));
    let gateway = options.start();
    assert!(shows(port, &own.root).await && !shows(port, &clients.root).await);
    let renewed = write(own.folder.path());
    shown_within_ten_seconds(port, &renewed).await;
    assert!(run(&options, &gateway, &["keys"]).0, "the command knows the renewed one");
    // The clients' is as it was, and its own to renew.
    let asked = trusting(&clients.root).get(gateway.url("/health/live")).send().await;
    assert_eq!(asked.unwrap().status(), 200);
    std::fs::write(own.file("key.pem"), "no key at all").unwrap();
    wait_for("line in the log", || {
        let text = gateway.output();
        let is_it = |line: &str| line.contains("admin.tls.key_file") && line.contains("stays in use");
        text.lines().any(is_it).then_some(())
    });
    assert!(shows(port, &renewed).await);
}
