//! What a client may send: how much, how long it may take, and that what is inside is its own business.

use crate::{
    support::{Options, TOKEN, prompt, secret, simulator, simulator_with, wait_for},
    wire::{Wire, exchange, request},
};
use futures_util::future::join_all;
use gemini_simulator::{Fault, Rule};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const CHAT: &str = "/v1/chat/completions";
const MIB: usize = 1024 * 1024;

fn head(path: &str, rest: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: gateway\r\nx-goog-api-key: {TOKEN}\r\nContent-Type: application/json\r\n{rest}\r\n\r\n"
    )
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn assert_too_long(answer: &crate::wire::Answer, path: &str) {
    assert_eq!(answer.status, 413, "{path}: {}", answer.text());
    let error = &answer.json()["error"];
    assert!(error["message"].as_str().unwrap().contains("1048576"), "{error}");
    if path == CHAT {
        assert_eq!(error["type"], "invalid_request_error");
    } else {
        assert_eq!(error["status"], "INVALID_ARGUMENT");
    }
}

#[tokio::test]
async fn a_body_declared_too_long_is_refused_before_it_is_read() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("server.max_body_bytes", MIB).start();
    for path in [GENERATE, CHAT] {
        for length in ["1048577", "9999999999999"] {
            let mut wire = Wire::connect(gateway.authority()).await;
            wire.send(head(path, &format!("Content-Length: {length}"))).await.unwrap();
            assert_too_long(&wire.answer().await.unwrap(), path);
            assert!(
                wire.is_closed_within(Duration::from_secs(4)).await,
                "the body would be read as a request"
            );
        }
    }
    // Exactly the limit passes.
    let text = "x".repeat(MIB - prompt("").len());
    let answer = exchange(
        gateway.authority(),
        request("POST", GENERATE, &[("x-goog-api-key", TOKEN)], &prompt(&text)),
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(simulator.stats().requests, 1);
}

#[tokio::test]
async fn a_chunked_body_is_refused_at_the_limit() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("server.max_body_bytes", MIB).start();
    join_all([GENERATE, CHAT].map(async |path| {
        let mut wire = Wire::connect(gateway.authority()).await;
        wire.send(head(path, "Transfer-Encoding: chunked")).await.unwrap();
        // The first byte too many, and not the end.
        for _ in 0..16 {
            wire.send(chunk(&vec![b' '; MIB / 16])).await.unwrap();
        }
        wire.send(chunk(b"x")).await.unwrap();
        assert_too_long(&wire.answer().await.unwrap(), path);
        assert!(wire.is_closed_within(Duration::from_secs(4)).await, "the rest is read to no end");
    }))
    .await;
    assert_eq!(simulator.stats().requests, 0);
    let mut wire = Wire::connect(gateway.authority()).await;
    wire.send(head(GENERATE, "Transfer-Encoding: chunked")).await.unwrap();
    for piece in prompt("in pieces").as_bytes().chunks(7) {
        wire.send(chunk(piece)).await.unwrap();
    }
    wire.send("0\r\n\r\n").await.unwrap();
    assert_eq!(wire.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_sends_all_of_a_body_that_is_too_long_reads_the_refusal() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("server.max_body_bytes", MIB).start();
    let answer =
        crate::support::client().post(gateway.url(GENERATE)).body(vec![b' '; MIB + MIB / 2]).send().await;
    assert_eq!(answer.expect("an answer, not a broken connection").status(), 413);
}

#[tokio::test]
async fn bodies_together_have_a_budget_that_is_given_back() {
    let simulator =
        simulator_with(1, |config| config.faults = vec![Rule::new(Fault::DelayHead { ms: 700 }).times(1)])
            .await;
    let gateway = Options::new(&simulator.url(), 1).set("server.max_buffered_bytes", 3 * MIB / 2).start();
    let large = request("POST", GENERATE, &[("x-goog-api-key", TOKEN)], &prompt(&"x".repeat(MIB)));
    let mut first = Wire::connect(gateway.authority()).await;
    first.send(&large).await.unwrap();
    wait_for("first request", || (simulator.stats().requests == 1).then_some(()));
    for path in [GENERATE, CHAT] {
        let second = request("POST", path, &[("x-goog-api-key", TOKEN)], &prompt(&"x".repeat(MIB)));
        let answer = exchange(gateway.authority(), second).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains("request bodies"));
    }
    // Small ones still pass.
    let small = request("POST", GENERATE, &[("x-goog-api-key", TOKEN)], &prompt("small"));
    assert_eq!(exchange(gateway.authority(), small).await.status, 200);
    assert_eq!(first.answer().await.unwrap().status, 200);
    // Given back after an answer, after a refusal, and when a client left in the middle.
    let mut leaving = Wire::connect(gateway.authority()).await;
    leaving.send(&large.as_bytes()[..MIB]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(leaving);
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..3 {
        assert_eq!(exchange(gateway.authority(), &large).await.status, 200);
    }
}

#[tokio::test]
async fn a_body_that_nobody_is_let_in_with_is_not_read() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let text = "POST /v1beta/models HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut wire = Wire::connect(gateway.authority()).await;
    wire.send(text).await.unwrap();
    wire.send(chunk(b"x")).await.unwrap();
    assert_eq!(wire.answer().await.unwrap().status, 401);
    assert!(wire.is_closed_within(Duration::from_secs(4)).await, "the rest is waited for");
}

#[tokio::test]
async fn a_body_that_is_slow_is_refused_in_time() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("server.body_timeout_s", 1).start();
    let cases = [(GENERATE, "Content-Length: 1000"), (CHAT, "Transfer-Encoding: chunked")];
    let silent = join_all(cases.map(async |(path, framing)| {
        let mut wire = Wire::connect(gateway.authority()).await;
        wire.send(head(path, framing)).await.unwrap();
        let begun = Instant::now();
        let answer = wire.answer().await.unwrap();
        assert_eq!(answer.status, 408, "{}", answer.text());
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(wire.is_closed_within(Duration::from_secs(4)).await);
    }));
    // A trickle does not buy more time.
    let trickle = async {
        let mut wire = Wire::connect(gateway.authority()).await;
        wire.send(head(GENERATE, "Content-Length: 1000")).await.unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1200) {
            let _ = wire.send(" ").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // The trickle that came after the refusal may have reset the connection with it.
        assert!(wire.answer().await.is_none_or(|answer| answer.status == 408));
    };
    tokio::join!(silent, trickle);
    assert!(gateway.transactions(3).iter().all(|line| line["status"] == 408));
    assert_eq!(simulator.stats().requests, 0);
}

#[tokio::test]
async fn a_head_that_is_slow_ends_the_connection() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("server.head_timeout_s", 1).start();
    let mut wire = Wire::connect(gateway.authority()).await;
    wire.send("GET /v1beta/models HTTP/1.1\r\nHost: gate").await.unwrap();
    let answer = wire.answer().await;
    assert!(answer.is_none_or(|answer| answer.status == 408));
    assert!(wire.is_closed_within(Duration::from_secs(4)).await);
}

#[tokio::test]
async fn what_is_in_a_body_is_nobodys_business_but_googles() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let deep = "[".repeat(10_000);
    let closed = format!("{deep}{}", "]".repeat(10_000));
    let objects = format!("{}1{}", "{\"model\":".repeat(10_000), "}".repeat(10_000));
    let bodies: [&[u8]; 7] = [
        deep.as_bytes(),
        closed.as_bytes(),
        objects.as_bytes(),
        b"\xff\xfe{\"model\":\"\xc3\x28\"}",
        b"{\"model\": \"gemini-2.5-flash\", \"x\": \"\xed\xa0\x80\"}",
        b"not json",
        &[0; 100],
    ];
    let mut wire = Wire::connect(gateway.authority()).await;
    let mut count = 0;
    for path in [GENERATE, CHAT] {
        for body in bodies {
            wire.send(head(path, &format!("Content-Length: {}", body.len()))).await.unwrap();
            wire.send(body).await.unwrap();
            let answer = wire.answer().await.unwrap();
            // Google's own opinion of it.
            assert_eq!(answer.status, 400, "{path}: {}", answer.text());
            count += 1;
            let arrived = simulator.requests().pop().unwrap();
            let digest = Sha256::digest(body).iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            });
            assert_eq!(arrived.body_sha256, Some(digest));
        }
    }
    assert_eq!(simulator.stats().requests, count, "a client's fault was tried again");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let mut wire = Wire::connect(gateway.authority()).await;
    let headers = [("x-goog-api-key", TOKEN)];
    let all = [
        request("POST", GENERATE, &headers, &prompt("one")),
        request("GET", "/v1beta/nothing", &[], ""),
        request("GET", "/v1beta/models/gemini-2.5-pro", &headers, ""),
        request("GET", "/health", &[], ""),
        request("POST", "/v1beta/models/gemini-2.5-flash:countTokens", &headers, &prompt("five")),
    ];
    wire.send(all.concat()).await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(wire.answer().await.unwrap());
    }
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 401, 200, 200, 200]);
    assert!(answers[0].text().contains("candidates"));
    assert_eq!(answers[2].json()["name"], "models/gemini-2.5-pro");
    assert_eq!(answers[3].json()["status"], "ok");
    assert!(answers[4].json()["totalTokens"].is_number());
    assert!(simulator.requests().iter().all(|request| request.key == Some(secret(0))));
}

#[tokio::test]
async fn a_client_that_expects_to_be_told_to_continue_is() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("server.max_body_bytes", MIB).start();
    let body = prompt("after a nod");
    let mut wire = Wire::connect(gateway.authority()).await;
    wire.send(head(GENERATE, &format!("Expect: 100-continue\r\nContent-Length: {}", body.len())))
        .await
        .unwrap();
    assert_eq!(wire.answer().await.unwrap().status, 100);
    wire.send(&body).await.unwrap();
    assert_eq!(wire.answer().await.unwrap().status, 200);
    assert_eq!(simulator.requests()[0].header("expect"), None);
    let mut wire = Wire::connect(gateway.authority()).await;
    wire.send(head(GENERATE, "Expect: 100-continue\r\nContent-Length: 99999999")).await.unwrap();
    let mut answer = wire.answer().await.unwrap();
    if answer.status == 100 {
        answer = wire.answer().await.unwrap();
    }
    assert_eq!(answer.status, 413);
}
