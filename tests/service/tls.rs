//! TLS towards the clients: what is served, what a renewed certificate changes and what it does not, and what is refused.

use crate::{
    settings::refusal,
    support::{Gateway, Options, TOKEN, client, prompt, simulator, simulator_with, wait_for},
    wire::{Wire, request},
};
use gemini_simulator::{Shape, Simulator};
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

/// A certificate for this machine, and its key, in two files.
pub(crate) struct Pair {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) root: reqwest::Certificate,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = write(folder.path());
        Self { folder, root }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn serve(&self, options: Options) -> Options {
        self.serve_as("server.tls", options)
    }

    /// Names the files in this section.
    pub(crate) fn serve_as(&self, section: &str, options: Options) -> Options {
        options
            .set(&format!("{section}.cert_file"), self.file("cert.pem").display())
            .set(&format!("{section}.key_file"), self.file("key.pem").display())
    }
}

/// Makes a certificate in `folder`, in place of the one there.
pub(crate) fn write(folder: &Path) -> reqwest::Certificate {
    let names = ["127.0.0.1", "localhost"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    // Whole in one step each, as who renews certificates does.
    for (name, pem) in [("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())] {
        let new = folder.join(format!("{name}.new"));
        std::fs::write(&new, pem).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(new, folder.join(name)).unwrap();
    }
    reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
}

/// A client that trusts this certificate and nothing else.
pub(crate) fn trusting(root: &reqwest::Certificate) -> reqwest::Client {
    drop(client()); // for the TLS provider
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert("x-goog-api-key", TOKEN.parse().unwrap());
    let builder = reqwest::Client::builder().tls_certs_only([root.clone()]).default_headers(headers);
    builder.no_proxy().build().unwrap()
}

async fn status(client: &reqwest::Client, gateway: &Gateway) -> Option<u16> {
    let answer = client.post(gateway.url(GENERATE)).body(prompt("x")).send().await;
    Some(answer.ok()?.status().as_u16())
}

/// Whether a new handshake shows a certificate of this client's.
async fn shows(gateway: &Gateway, root: &reqwest::Certificate) -> bool {
    trusting(root).get(gateway.url("/health/live")).send().await.is_ok()
}

async fn shown_within_ten_seconds(gateway: &Gateway, root: &reqwest::Certificate) {
    for _ in 0..200 {
        if shows(gateway, root).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the new certificate is not shown");
}

fn said(gateway: &Gateway, words: &[&str]) {
    wait_for("line in the log", || {
        gateway.output().lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
    });
}

async fn start(pair: &Pair, events: u64, interval_ms: u64) -> (Simulator, Gateway) {
    let shape = Shape { events, interval_ms, text_bytes: 0 };
    let simulator = simulator_with(1, |config| config.shape = shape).await;
    let gateway = pair.serve(Options::new(&simulator.url(), 1)).start();
    (simulator, gateway)
}

#[tokio::test]
async fn requests_and_streams_are_served_over_tls() {
    let pair = Pair::new();
    let (_simulator, gateway) = start(&pair, 8, 0).await;
    assert!(gateway.url("").starts_with("https://"), "{}", gateway.url(""));
    let client = trusting(&pair.root);
    assert_eq!(status(&client, &gateway).await, Some(200));
    let answer = client.post(gateway.url(STREAM)).body(prompt("x")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_11));
    let text = answer.text().await.unwrap();
    assert_eq!(text.matches("data: ").count(), 8, "{text}");
    // And to nobody who trusts another certificate.
    assert!(!shows(&gateway, &Pair::new().root).await);
}

#[tokio::test]
async fn plain_http_is_not_answered_on_the_tls_port() {
    let pair = Pair::new();
    let (simulator, gateway) = start(&pair, 1, 0).await;
    let mut wire = Wire::connect(gateway.authority()).await;
    let headers = [("x-goog-api-key", TOKEN)];
    let _ = wire.send(request("POST", GENERATE, &headers, &prompt("x"))).await;
    assert!(wire.answer().await.is_none(), "an answer in plain");
    assert_eq!(simulator.requests().len(), 0);
    assert_eq!(status(&trusting(&pair.root), &gateway).await, Some(200));
}

#[tokio::test]
async fn connections_that_begin_no_handshake_keep_nobody_out() {
    let pair = Pair::new();
    let (_simulator, gateway) = start(&pair, 1, 0).await;
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(tokio::net::TcpStream::connect(gateway.authority()).await.unwrap());
    }
    let asked =
        tokio::time::timeout(Duration::from_secs(3), async { status(&trusting(&pair.root), &gateway).await });
    assert_eq!(asked.await, Ok(Some(200)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_shown_and_no_open_connection_notices() {
    let pair = Pair::new();
    let (_simulator, gateway) = start(&pair, 60, 100).await;
    let old = trusting(&pair.root);
    let mut streams = Vec::new();
    for _ in 0..8 {
        let answer = old.post(gateway.url(STREAM)).body(prompt("x")).send().await.unwrap();
        streams.push(tokio::spawn(answer.text()));
    }
    let renewed = write(pair.folder.path());
    shown_within_ten_seconds(&gateway, &renewed).await;
    assert!(!shows(&gateway, &pair.root).await, "the old certificate is still shown");
    for stream in streams {
        let text = stream.await.unwrap().unwrap();
        assert_eq!(text.matches("data: ").count(), 60);
    }
    // On the connections they had: a handshake would now fail for this client.
    assert_eq!(status(&old, &gateway).await, Some(200));
    said(&gateway, &["INFO", "tls", "is in use"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_takes_a_renewed_certificate_at_once() {
    let pair = Pair::new();
    let (_simulator, gateway) = start(&pair, 1, 0).await;
    assert!(shows(&gateway, &pair.root).await);
    let renewed = write(pair.folder.path());
    gateway.signal("HUP");
    shown_within_ten_seconds(&gateway, &renewed).await;
    assert_eq!(status(&trusting(&renewed), &gateway).await, Some(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_no_good_leave_the_certificate_as_it_is() {
    let pair = Pair::new();
    let (_simulator, gateway) = start(&pair, 1, 0).await;
    let good = std::fs::read(pair.file("key.pem")).unwrap();
    std::fs::write(pair.file("key.pem"), "no key at all").unwrap();
    said(&gateway, &["ERROR", "server.tls.key_file", "stays in use"]);
    assert!(shows(&gateway, &pair.root).await);
    std::fs::remove_file(pair.file("cert.pem")).unwrap();
    gateway.signal("HUP");
    said(&gateway, &["ERROR", "server.tls.cert_file", "cert.pem", "stays in use"]);
    assert!(shows(&gateway, &pair.root).await);
    let text = gateway.output();
    assert!(!text.contains(std::str::from_utf8(&good).unwrap().lines().nth(1).unwrap()), "the key: {text}");
    let renewed = write(pair.folder.path());
    shown_within_ten_seconds(&gateway, &renewed).await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_served_ends_the_start_in_one_line() {
    let (pair, other) = (Pair::new(), Pair::new());
    let nowhere = || Options::new("http://127.0.0.1:9", 1);
    let missing = pair.serve(nowhere()).set("server.tls.cert_file", "/nowhere/cert.pem");
    let line = refusal(&missing);
    assert!(line.contains("server.tls.cert_file") && line.contains("/nowhere/cert.pem"), "{line}");
    assert!(line.contains("GEMINI_BALANCE__SERVER__TLS__CERT_FILE"), "it does not say from where: {line}");
    let alien = pair.serve(nowhere()).set("server.tls.key_file", other.file("key.pem").display());
    let line = refusal(&alien);
    assert!(line.contains("server.tls.key_file") && line.contains("is not the key of"), "{line}");
    let alone = nowhere().set("server.tls.cert_file", pair.file("cert.pem").display());
    let line = refusal(&alone);
    assert!(line.contains("server.tls.key_file") && line.contains("must be set"), "{line}");
    let swapped = nowhere()
        .set("server.tls.cert_file", pair.file("key.pem").display())
        .set("server.tls.key_file", pair.file("cert.pem").display());
    let line = refusal(&swapped);
    assert!(line.contains("server.tls.cert_file") && line.contains("without a certificate"), "{line}");
}

#[tokio::test]
async fn a_key_that_everybody_can_read_is_served_with_a_warning() {
    let pair = Pair::new();
    std::fs::set_permissions(pair.file("key.pem"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let (_simulator, gateway) = start(&pair, 1, 0).await;
    said(&gateway, &["WARN", "server.tls.key_file", "every user"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_health_command_asks_over_tls_whatever_the_certificate_is() {
    let pair = Pair::new();
    let simulator = simulator(1).await;
    let options =
        pair.serve(Options::new(&simulator.url(), 1)).set("server.port", crate::support::free_port());
    let gateway = options.start();
    let health = || {
        let output = options.command(&gateway.folder()).arg("health").output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    assert_eq!(health(), (true, r#"{"status":"ok"}"#.to_owned()));
    // The gateway serves on with what it has; a health check that failed would have it restarted into a refusal.
    std::fs::write(pair.file("cert.pem"), "").unwrap();
    assert_eq!(health(), (true, r#"{"status":"ok"}"#.to_owned()));
    drop(gateway);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_lies_before_a_client_that_does_not_read_is_bounded_under_tls_too() {
    let pair = Pair::new();
    let endless = Shape { events: u64::MAX, interval_ms: 0, text_bytes: 16 * 1024 };
    let simulator = simulator_with(1, |config| config.shape = endless).await;
    let options = Options::new(&simulator.url(), 1).set("server.write_timeout_s", 1);
    let gateway = pair.serve(options).start();
    let answer = trusting(&pair.root).post(gateway.url(STREAM)).body(prompt("x")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    // Nothing is read, and nothing else is said: the gateway cuts it off by itself.
    let line = &gateway.transactions(1)[0];
    assert_eq!(line["end"], "client_stalled", "{line}");
    assert!(line["bytes_out"].as_u64().unwrap() < 32 * 1024 * 1024, "{line}");
    drop(answer);
}
