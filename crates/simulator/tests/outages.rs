//! A way that is down, connections that end between requests, and answers that are not Google's.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use std::io::ErrorKind;
use std::time::Duration;

use gemini_simulator::{End, Fault, Outage, Page, Refusal, Rule};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// A request that leaves the connection open.
fn kept() -> Vec<u8> {
    let body = hello().to_string();
    let length = body.len();
    format!(
        "POST {FLASH} HTTP/1.1\r\nHost: x\r\nX-Goog-Api-Key: {KEY}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends one request on a connection that is kept and reads its answer.
async fn ask(tcp: &mut TcpStream) -> std::io::Result<Reply> {
    tcp.write_all(&kept()).await?;
    let mut got = Vec::new();
    while !got.ends_with(b"}\n") {
        if tcp.read_buf(&mut got).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Reply::of(&got, Ok(())))
}

#[tokio::test]
async fn a_way_that_is_down_refuses_or_resets_everyone_and_comes_back_at_the_same_address() {
    let sim = simulator().await;
    for (how, met) in [
        (Refusal::Refuse, ErrorKind::ConnectionRefused),
        (Refusal::Reset, ErrorKind::ConnectionReset),
        (Refusal::Refuse, ErrorKind::ConnectionRefused),
    ] {
        let mut open = TcpStream::connect(sim.addr()).await.unwrap();
        assert_eq!(ask(&mut open).await.unwrap().status, 200);
        sim.set_outage(Outage::new(how)).unwrap();
        let broken = timeout(PATIENCE, open.read(&mut [0; 8])).await.unwrap();
        assert_eq!(broken.unwrap_err().kind(), ErrorKind::ConnectionReset, "an idle connection");
        for _ in 0..3 {
            let error = match TcpStream::connect(sim.addr()).await {
                Ok(mut tcp) => ask(&mut tcp).await.unwrap_err(),
                Err(error) => error,
            };
            let kinds = [met, ErrorKind::BrokenPipe];
            assert!(kinds.contains(&error.kind()), "{how:?}: {error}");
        }
        sim.end_outage().unwrap();
        let mut tcp = TcpStream::connect(sim.addr()).await.unwrap();
        assert_eq!(ask(&mut tcp).await.unwrap().status, 200);
    }
    assert_eq!(sim.stats().turned_away, 3);
    assert_eq!(sim.stats().requests, 6, "what was turned away is no request");
}

#[tokio::test]
async fn an_outage_may_spare_open_connections_and_end_by_itself() {
    let sim = simulator().await;
    let mut open = TcpStream::connect(sim.addr()).await.unwrap();
    assert_eq!(ask(&mut open).await.unwrap().status, 200);
    let text = json!({"how": "refuse", "for_ms": 50, "keep_open": true}).to_string();
    assert_eq!(call(&sim, "PUT", "/_simulator/outage", &[], &text).await.status, 200);
    assert_eq!(ask(&mut open).await.unwrap().status, 200);
    let back = async {
        loop {
            if let Ok(tcp) = TcpStream::connect(sim.addr()).await {
                return tcp;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let mut tcp = timeout(PATIENCE, back).await.unwrap();
    assert_eq!(ask(&mut tcp).await.unwrap().status, 200);
    assert_eq!(get(&sim, "/_simulator/outage").await.json(), Value::Null);
    // One that ends does not end the next.
    sim.set_outage(Outage { for_ms: Some(20), ..Outage::new(Refusal::Refuse) }).unwrap();
    sim.set_outage(Outage::new(Refusal::Refuse)).unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(TcpStream::connect(sim.addr()).await.is_err());
}

#[tokio::test]
async fn a_kept_connection_closes_as_the_next_request_arrives_or_before() {
    let sim = simulator().await;
    for (reset, after_ms, met) in [
        (false, None, ErrorKind::UnexpectedEof),
        (true, None, ErrorKind::ConnectionReset),
        (false, Some(0), ErrorKind::UnexpectedEof),
    ] {
        sim.reset();
        sim.set_faults([Rule::new(Fault::CloseKept { after_ms, reset }).times(1)]);
        let mut tcp = TcpStream::connect(sim.addr()).await.unwrap();
        let answer = ask(&mut tcp).await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (200, None));
        if after_ms.is_none() {
            let error = ask(&mut tcp).await.unwrap_err();
            assert!([met, ErrorKind::ConnectionReset].contains(&error.kind()), "{error}");
        } else {
            assert_eq!(timeout(PATIENCE, tcp.read(&mut [0; 8])).await.unwrap().unwrap(), 0, "an idle one");
        }
        assert_eq!(sim.requests().len(), 1, "a second was never read");
        assert_eq!(sim.requests()[0].end, End::Complete);
        let mut tcp = TcpStream::connect(sim.addr()).await.unwrap();
        assert_eq!(ask(&mut tcp).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_middlebox_answers_with_any_status_and_nothing_of_googles() {
    let sim = simulator().await;
    for status in [200, 302, 401, 403, 407, 429, 502, 503] {
        for page in [Page::Html, Page::Json, Page::Text, Page::Empty] {
            sim.set_faults([Rule::new(Fault::Middlebox { status, page, headers: [].into(), body: None })]);
            for target in [FLASH, STREAM] {
                let headers = [("x-goog-api-key", KEY), ("accept-encoding", "gzip")];
                let answer = call(&sim, "POST", target, &headers, &hello().to_string()).await;
                assert_eq!(answer.status, status);
                for name in ["server-timing", "x-gemini-service-tier", "vary", "alt-svc", "content-encoding"]
                {
                    assert_eq!(answer.header(name), None, "{name}");
                }
                assert_eq!(answer.header("location").is_some(), status == 302);
                assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
                assert_eq!(answer.header("proxy-authenticate").is_some(), status == 407);
                assert_eq!(answer.raw.is_empty(), page == Page::Empty);
                assert!(!answer.text().contains("\"error\""));
            }
        }
    }
    let own: Rule = serde_json::from_value(json!({"fault": {
        "kind": "middlebox", "status": 403, "headers": {"content-type": "text/html", "x-firewall": "1"},
        "body": "<h1>{{key}}</h1>",
    }}))
    .unwrap();
    sim.set_faults([own]);
    let answer = native(&sim, FLASH, &hello()).await;
    assert_eq!((answer.text(), answer.header("x-firewall")), (format!("<h1>{KEY}</h1>"), Some("1")));
}
