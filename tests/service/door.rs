//! Strangers at the door: who guesses credentials, and who holds connections so that others find none.

use crate::{
    raw::{self, Connection},
    support::{Options, TOKEN, free_port, prompt, simulator, stranger},
};
use gemini_simulator::{Fault, Rule};
use std::time::Duration;

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_guesses_is_told_to_wait_and_nothing_is_compared() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("server.max_guesses_per_minute", 5).start();
    let ask = async |name: &str, value: &str, path: &str| {
        let answer = stranger().get(gateway.url(path)).header(name, value).send().await.unwrap();
        let wait = answer.headers().get("retry-after").map(|wait| wait.to_str().unwrap().to_owned());
        (answer.status().as_u16(), wait, answer.text().await.unwrap())
    };
    let guesses = [
        ("x-goog-api-key", "guess-1", "/v1beta/models"),
        ("authorization", "Bearer guess-2", "/v1/models"),
        ("x-goog-api-key", "guess-3", "/nowhere"),
        ("authorization", "Bearer guess-4", "/v1beta/files"),
        ("x-goog-api-key", "guess-5", "/v1beta/models"),
    ];
    for (name, value, path) in guesses {
        assert_eq!(ask(name, value, path).await.0, 401, "{value}");
    }
    for (name, value, path) in [
        ("x-goog-api-key", "guess-6", "/v1beta/models"),
        ("authorization", "Bearer guess-7", "/v1/models"),
        // Or a right guess could be told from a wrong one.
        ("x-goog-api-key", TOKEN, "/v1beta/models"),
    ] {
        let (status, wait, body) = ask(name, value, path).await;
        assert_eq!(status, 429, "{value}");
        assert!((1..=60).contains(&wait.unwrap().parse::<u64>().unwrap()));
        assert_eq!(body.contains("RetryInfo"), path.starts_with("/v1beta"), "{body}");
    }
    // Who shows nothing guesses nothing.
    let answer = stranger().get(gateway.url("/v1beta/models")).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(stranger().get(gateway.url("/health")).send().await.unwrap().status(), 200);
    assert!(simulator.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_guesses_in_one_request_count_each() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let guesses = (0..50).map(|n| format!("x-goog-api-key: guess-{n}\r\n")).collect::<String>();
    let request =
        format!("GET /v1beta/models HTTP/1.1\r\nhost: x\r\n{guesses}x-goog-api-key: {TOKEN}\r\n\r\n");
    let statuses: Vec<_> = (0..4).map(|_| raw::ask(gateway.authority(), request.as_bytes()).status).collect();
    assert_eq!(statuses, [401, 401, 401, 429], "eight of a request are looked at");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_trusted_proxy_the_clients_are_told_apart() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1)
        .set("server.max_guesses_per_minute", 2)
        .set("server.trusted_proxies", "[\"127.0.0.1\", \"10.0.0.0/8\"]")
        .start();
    let ask = async |header: &str, from: &str, token: &str| {
        let request = stranger().get(gateway.url("/v1beta/models")).header(header, from);
        request.header("x-goog-api-key", token).send().await.unwrap().status().as_u16()
    };
    let xff = "x-forwarded-for";
    for from in ["192.0.2.1", "198.51.100.7, 192.0.2.1", "192.0.2.1, 10.1.2.3", "192.0.2.1:4711"] {
        ask(xff, from, "guess").await;
    }
    assert_eq!(ask(xff, "192.0.2.1", TOKEN).await, 429);
    assert_eq!(ask("forwarded", "for=192.0.2.1;proto=https", TOKEN).await, 429);
    assert_eq!(ask(xff, "192.0.2.2", TOKEN).await, 200);
    assert_eq!(ask(xff, "192.0.2.1, 192.0.2.3", TOKEN).await, 200, "what a client claims of itself");
    // Of IPv6 a network is one client.
    for from in ["2001:db8::1", "2001:db8::2"] {
        ask(xff, from, "guess").await;
    }
    assert_eq!(ask("forwarded", "for=\"[2001:db8::3]:80\"", TOKEN).await, 429);
    assert_eq!(ask(xff, "2001:db8:0:1::1", TOKEN).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_bound_nobody_waits() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("server.max_guesses_per_minute", 0).start();
    for _ in 0..30 {
        let answer =
            stranger().get(gateway.url("/v1beta/models")).header("x-goog-api-key", "guess").send().await;
        assert_eq!(answer.unwrap().status(), 401);
    }
}

/// Health and a caller get in.
async fn others_get_in(gateway: &crate::support::Gateway) {
    for _ in 0..5 {
        assert_eq!(stranger().get(gateway.url("/health")).send().await.unwrap().status(), 200);
        let answer = stranger()
            .post(gateway.url(GENERATE))
            .header("x-goog-api-key", TOKEN)
            .header("content-type", "application/json")
            .body(prompt("hello"))
            .send()
            .await;
        assert_eq!(answer.unwrap().status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_hold_connections_keep_nobody_out() {
    let simulator = simulator(1).await;
    let gateway =
        Options::new(&simulator.url(), 1).set("server.max_connections", 8).set("server.workers", 1).start();
    let starts: [&[u8]; 4] = [
        b"",
        b"GET /v1beta/models HTTP/1.1\r\nhost: x\r\n",
        b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /v1beta/models/x:generateContent HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{",
    ];
    let mut held = Vec::new();
    for start in starts {
        for _ in 0..40 {
            let mut connection = Connection::open(gateway.authority());
            connection.send(start);
            held.push(connection);
        }
        others_get_in(&gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_keeps_its_connection_and_its_streams_while_strangers_come() {
    let simulator = simulator(1).await;
    simulator.set_faults([Rule::new(Fault::DelayHead { ms: 1500 })]);
    let gateway =
        Options::new(&simulator.url(), 1).set("server.max_connections", 8).set("server.workers", 1).start();
    let body = prompt("hello");
    let request = format!(
        "POST {GENERATE} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut callers: Vec<_> = (0..6).map(|_| Connection::open(gateway.authority())).collect();
    for caller in &mut callers {
        caller.send(request.as_bytes());
    }
    std::thread::sleep(Duration::from_millis(300));
    let _strangers: Vec<_> = (0..60).map(|_| Connection::open(gateway.authority())).collect();
    for caller in &mut callers {
        let answer = caller.answer_or_end();
        assert!(answer.status == 200 && answer.whole, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_holds_so_many_connections_before_anybody_was_let_in() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1)
        .set("server.max_unknown_connections", 4)
        .set("server.workers", 1)
        .start();
    let mut known = Connection::open(gateway.authority());
    let request = format!("GET /v1beta/models HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\n\r\n");
    assert_eq!(known.ask(request.as_bytes()).status, 200);
    let mut strangers: Vec<_> = (0..10)
        .map(|_| {
            let mut connection = Connection::open(gateway.authority());
            assert_eq!(connection.ask(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").status, 200);
            connection
        })
        .collect();
    let silence = Duration::from_millis(100);
    let open =
        strangers.iter_mut().filter_map(|connection| connection.is_open(silence).then_some(())).count();
    assert_eq!(open, 4);
    assert!(strangers.last_mut().unwrap().is_open(silence), "the oldest go first");
    assert!(known.is_open(silence));
    assert_eq!(known.ask(request.as_bytes()).status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_not_kept_as_long_as_a_caller() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("server.head_timeout_s", 1).start();
    let mut known = Connection::open(gateway.authority());
    let request = format!("GET /v1beta/models HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\n\r\n");
    assert_eq!(known.ask(request.as_bytes()).status, 200);
    let mut strangers: Vec<_> = (0..3).map(|_| Connection::open(gateway.authority())).collect();
    for (place, stranger) in strangers.iter_mut().enumerate() {
        assert_eq!(stranger.ask(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").status, 200);
        // A head that never ends is none.
        stranger.send(if place == 0 { b"" } else { b"GET /health HTTP/1.1\r\n" });
    }
    for stranger in &mut strangers {
        assert!(stranger.is_ended());
    }
    assert!(known.is_open(Duration::from_millis(10)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_told_on_the_operators_listener_as_well() {
    let simulator = simulator(1).await;
    let port = free_port();
    let gateway =
        Options::new(&simulator.url(), 1).env("ADMIN_TOKEN", "op-token-7").set("admin.port", port).start();
    for method in [reqwest::Method::GET, reqwest::Method::HEAD] {
        let answer =
            stranger().request(method, format!("http://127.0.0.1:{port}/health")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let own =
        stranger().get(format!("http://127.0.0.1:{port}/health")).send().await.unwrap().text().await.unwrap();
    assert_eq!(own, stranger().get(gateway.url("/health")).send().await.unwrap().text().await.unwrap());
}
