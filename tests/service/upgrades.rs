//! Clients that offer another protocol, or speak an older one: what they read is plain HTTP/1.1 (or 1.0), framed so that
//! they can read it, and the connection goes on or says that it ends.

use crate::{
    raw,
    support::{Options, TOKEN, prompt, simulator},
};
use std::time::Duration;

const SILENCE: Duration = Duration::from_millis(400);

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

/// Offers that are never taken, as clients write them.
const OFFERS: &[&str] = &[
    "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
    "Connection: upgrade\r\nUpgrade: TLS/1.3, foo/2\r\n",
    "Connection: keep-alive, UPGRADE\r\nUpgrade: websocket\r\n",
    "Upgrade: websocket\r\n",
    "Connection: Upgrade\r\n",
    "connection: upgrade\r\nupgrade: irc/6.9\r\nconnection: keep-alive\r\n",
];

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\ncontent-type: application/json\r\n{headers}{length}\r\n{body}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_that_is_not_taken_costs_neither_the_answer_nor_the_connection() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let body = prompt("hello");
    for offer in OFFERS {
        for (method, path, body, status) in [
            ("GET", "/v1beta/models", "", 200),
            ("POST", GENERATE, &*body, 200),
            ("POST", STREAM, &*body, 200),
            (
                "POST",
                "/v1/chat/completions",
                r#"{"model":"gemini-2.5-flash","messages":[{"role":"user","content":"hi"}]}"#,
                200,
            ),
            ("GET", "/nowhere", "", 404),
            ("GET", "/health", "", 200),
            ("GET", "/openapi.json", "", 200),
            ("GET", "/docs", "", 307),
        ] {
            let mut connection = raw::Connection::open(gateway.authority());
            for turn in 0..2 {
                let answer = connection.ask(request(method, path, offer, body).as_bytes());
                assert_eq!(answer.status, status, "{offer} {path} {turn}");
                assert!(answer.whole);
                assert_eq!(answer.header("upgrade"), None);
                let said = answer.header("connection").unwrap_or_default();
                assert_eq!(said, "", "the connection goes on: {offer} {path} {turn}");
            }
        }
    }
    let upstream = simulator.requests();
    for request in &upstream {
        for name in ["upgrade", "connection", "http2-settings", "trailer"] {
            assert!(request.headers.iter().all(|(header, _)| header != name), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_whose_head_comes_in_pieces_is_answered_and_the_end_is_said() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let body = prompt("hello");
    for (offer, method, path, body) in [
        ("connection: upgrade\r\nupgrade: h2c\r\n", "GET", "/v1beta/models", ""),
        ("connection: upgrade\r\nupgrade: h2c\r\n", "POST", GENERATE, &*body),
        ("connection: upgrade\r\nupgrade: websocket\r\n", "POST", GENERATE, &*body),
        ("connection: upgrade\r\nupgrade: websocket\r\n", "GET", "/nowhere", ""),
    ] {
        let mut connection = raw::Connection::open(gateway.authority());
        let request = request(method, path, offer, body);
        let (first, rest) = request.split_at(20);
        connection.send(first.as_bytes());
        std::thread::sleep(Duration::from_millis(50));
        let answer = connection.ask(rest.as_bytes());
        assert!(answer.status == 200 || answer.status == 404, "{answer:?}");
        assert!(answer.whole);
        // In one piece after all, if the gateway was slow to read the first.
        match answer.header("connection") {
            Some("close") => assert!(connection.is_ended(), "{offer} {path}"),
            None => assert!(connection.is_open(Duration::from_millis(50)), "{offer} {path}"),
            other => panic!("{other:?}: {offer} {path}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_request_that_came_with_the_first_is_answered_or_the_end_is_said() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let offer = "connection: upgrade\r\nupgrade: h2c\r\n";
    let both = [request("GET", "/health", offer, ""), request("GET", "/health", offer, "")].concat();
    let answers = raw::converse(gateway.authority(), both.as_bytes(), SILENCE);
    let last = answers.last().unwrap();
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert!(answers.len() == 2 || last.header("connection") == Some("close"), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_http_1_0_reads_no_chunks_and_its_connection_ends_or_goes_on_as_it_is_told() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let body = prompt("hello");
    let old = |method: &str, path: &str, headers: &str, body: &str| {
        request(method, path, headers, body).replace("HTTP/1.1", "HTTP/1.0").replace("host: x\r\n", "")
    };
    for (method, path, body) in [
        ("POST", STREAM, &*body),
        ("POST", GENERATE, &*body),
        ("GET", "/health", ""),
        ("GET", "/nowhere", ""),
    ] {
        for headers in ["", "Connection: keep-alive\r\n"] {
            let mut connection = raw::Connection::open(gateway.authority());
            connection.send(old(method, path, headers, body).as_bytes());
            let answer = connection.answer_or_end();
            assert_eq!(answer.header("transfer-encoding"), None, "{path}");
            assert!(!answer.body.is_empty());
            assert!(answer.body.starts_with(b"data: ") || answer.body.starts_with(b"{"), "{path}");
            let goes_on = answer.header("connection").is_some_and(|said| said.contains("keep-alive"));
            assert_eq!(goes_on, !headers.is_empty() && answer.header("content-length").is_some(), "{path}");
            if goes_on {
                connection.send(old("GET", "/health", "", "").as_bytes());
                assert_eq!(connection.answer_or_end().status, 200);
            }
            assert!(connection.is_ended(), "{path} {headers}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_that_are_never_served_are_refused_before_anything_else() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    for (method, target) in [
        ("TRACE", "/v1beta/models"),
        ("TRACK", "/v1/chat/completions"),
        ("trace", "/v1beta/models"),
        ("Connect", "/v1beta/models"),
        ("TRACE", "/health"),
        ("TRACE", "/docs/"),
        ("CONNECT", "generativelanguage.googleapis.com:443"),
        ("CONNECT", "/v1beta/models"),
    ] {
        for credential in [format!("x-goog-api-key: {TOKEN}\r\n"), String::new()] {
            let request =
                format!("{method} {target} HTTP/1.1\r\nhost: x\r\nx-canary: Canary\r\n{credential}\r\n");
            let answers = raw::converse(gateway.authority(), request.as_bytes(), SILENCE);
            assert_eq!(answers.len(), 1, "{method} {target}");
            assert_eq!(answers[0].status, 405, "{method} {target}");
            assert!(answers[0].header("allow").is_some_and(|allow| !allow.contains(method)));
            assert!(!String::from_utf8_lossy(&answers[0].body).contains("Canary"));
        }
    }
    let long = request(&"M".repeat(1000), "/v1beta/models", "", "");
    assert_eq!(raw::ask(gateway.authority(), long.as_bytes()).status, 405);
    assert!(simulator.requests().is_empty());
    // Any other that is not known goes up as ever.
    let answers =
        raw::converse(gateway.authority(), request("PURGE", "/v1beta/models", "", "").as_bytes(), SILENCE);
    assert_eq!((answers.len(), simulator.requests().len()), (1, 1));
}
