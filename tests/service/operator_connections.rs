//! The connections of the operator's listener: framed as the clients' are, and nobody's who holds many of them.

use crate::{
    raw,
    support::{Gateway, Options, fingerprint, free_port, simulator},
};
use gemini_simulator::Simulator;
use std::time::{Duration, Instant};

const ADMIN: &str = "operator-token-5b1e";
/// How long a silent connection is listened to: requests here are answered within milliseconds or never.
const SILENCE: Duration = Duration::from_secs(1);

/// A gateway, where its operator's listener is, and how a request to it begins.
struct Site {
    _simulator: Simulator,
    gateway: Gateway,
    authority: String,
}

impl Site {
    async fn start() -> Self {
        let simulator = simulator(1).await;
        let port = free_port();
        let options = Options::new(&simulator.url(), 1).env("ADMIN_TOKEN", ADMIN).set("admin.port", port);
        let gateway = options.start();
        Self { _simulator: simulator, gateway, authority: format!("127.0.0.1:{port}") }
    }

    fn request(&self, line: &str, lines: &str) -> String {
        format!("{line} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {ADMIN}\r\n{lines}\r\n", self.authority)
    }

    fn converse(&self, requests: &[&str]) -> Vec<raw::Answer> {
        raw::converse(&self.authority, requests.concat().as_bytes(), SILENCE)
    }

    /// Whether the one key is disabled.
    fn is_disabled(&self) -> bool {
        let answers = self.converse(&[&self.request("GET /api/keys", "connection: close\r\n")]);
        assert_eq!(answers[0].status, 200, "{answers:?}");
        let keys: serde_json::Value = serde_json::from_slice(&answers[0].body).unwrap();
        keys["keys"][0]["state"] == "disabled"
    }
}

fn statuses(answers: &[raw::Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

#[tokio::test]
async fn each_of_two_requests_at_once_is_answered_on_its_own_terms() {
    let site = Site::start().await;
    let get = site.request("GET /api/keys", "");
    let disable =
        site.request(&format!("POST /api/keys/{}/disable", fingerprint(0)), "content-length: 0\r\n");
    // An answer without a body behind it.
    let answers = site.converse(&[&get, &site.request("HEAD /health", "connection: close\r\n")]);
    assert_eq!(statuses(&answers), [200, 200], "{answers:?}");
    assert!(answers[0].whole && !answers[0].body.is_empty() && answers[1].body.is_empty(), "{answers:?}");
    // The end of the connection, in each version's way, and what can be read in two ways: what comes behind is not served.
    let ends = [
        (site.request("GET /api/keys", "connection: close\r\n"), [200, 200]),
        (get.replace("HTTP/1.1", "HTTP/1.0"), [200, 200]),
        (
            site.request("POST /session", "content-length: 0\r\ntransfer-encoding: chunked\r\n")
                + "0\r\n\r\n",
            [400, 400],
        ),
        // Health reads no body, so it may have answered before the trailers come.
        (site.request("GET /health", "transfer-encoding: chunked\r\n") + "0\r\nnonsense\r\n\r\n", [200, 400]),
        ("nonsense\r\n\r\n".to_owned(), [400, 400]),
    ];
    for (last, allowed) in ends {
        let begun = Instant::now();
        let answers = site.converse(&[&last, &disable]);
        assert!(answers.len() <= 1, "{last:?}: {answers:?}");
        assert!(answers.iter().all(|answer| allowed.contains(&answer.status)), "{last:?}: {answers:?}");
        assert!(begun.elapsed() < SILENCE, "{last:?}: it stayed open");
        assert!(!site.is_disabled(), "{last:?}: what came behind it was served");
        let answers = site.converse(&[&get, &last]);
        assert!(answers[0].status == 200 && answers[0].whole, "{last:?}: {answers:?}");
    }
    // A connection that goes on serves them all, however they are cut.
    let mut connection = raw::Connection::open(&site.authority);
    for piece in [get, disable].concat().repeat(10).as_bytes().chunks(7) {
        connection.send(piece);
    }
    for _ in 0..20 {
        let answer = connection.answer_or_end();
        assert!(answer.status == 200 && answer.whole, "{answer:?}");
    }
    assert!(site.is_disabled());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_holds_connections_keeps_the_operator_from_nothing() {
    let site = Site::start().await;
    let starts: [&[u8]; 3] = [
        b"",
        b"GET /api/keys HTTP/1.1\r\nhost: x\r\n",
        b"POST /session HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{",
    ];
    let mut own = raw::Connection::open(&site.authority);
    own.send(site.request("GET /api/keys", "").as_bytes());
    assert_eq!(own.answer_or_end().status, 200);
    let mut held = Vec::new();
    for start in starts {
        for _ in 0..400 {
            let mut connection = raw::Connection::open(&site.authority);
            connection.send(start);
            held.push(connection);
        }
        let oldest = held.len() - 400;
        assert!(!held[oldest].is_open(Duration::from_millis(500)), "the oldest is still held");
        assert!(!site.is_disabled());
        // One that somebody was let in on stays.
        own.send(site.request("GET /api/keys", "").as_bytes());
        assert_eq!(own.answer_or_end().status, 200);
    }
    drop(held);
    drop(site.gateway);
}
