//! The log of requests, the counters and the control endpoint.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gemini_simulator::{Config, End, Fault, Rule, Shape, Simulator};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::*;

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

#[tokio::test]
async fn a_request_is_logged_as_it_came_and_as_it_was_answered() {
    let sim = simulator().await;
    let target = "/v1beta/models/gemini-2.5-flash%3AstreamGenerateContent?alt=sse&x=%41";
    let body = hello().to_string();
    let headers = [("X-GOOG-Api-Key", KEY), ("x-Twice", "1"), ("Accept-Encoding", "gzip"), ("X-twice", "2")];
    let reply = call(&sim, "POST", target, &headers, &body).await;
    assert_eq!(reply.status, 200);
    let request = logged(&sim, |request| request.end == End::Complete).await;
    assert_eq!(request.seq, 1);
    assert_eq!((request.method.as_str(), request.http.as_str()), ("POST", "1.1"));
    assert_eq!(request.path, "/v1beta/models/gemini-2.5-flash%3AstreamGenerateContent");
    assert_eq!(request.query.as_deref(), Some("alt=sse&x=%41"));
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
    let sent = [
        "Host",
        "Connection",
        "X-GOOG-Api-Key",
        "x-Twice",
        "Accept-Encoding",
        "X-twice",
        "Content-Type",
        "Content-Length",
    ];
    assert_eq!(names, sent, "order, case and repetition are kept");
    assert_eq!(request.headers[5].1, "2");
    assert_eq!(request.header("HOST"), Some("simulator"));
    assert_eq!((request.key.as_deref(), request.project.as_deref()), (Some(KEY), Some("alpha")));
    assert_eq!(request.model.as_deref(), Some("gemini-2.5-flash"));
    assert_eq!(request.body_bytes, body.len() as u64);
    assert_eq!(request.body_sha256, Some(hex(body.as_bytes())));
    assert_eq!(request.status, Some(200));
    assert_eq!(request.answer_bytes, reply.body().len() as u64);
    assert_eq!(request.answer_sha256, Some(hex(&reply.body())), "as sent, after compression");
    assert!(request.ended_at_ms.unwrap() >= request.at_ms);
    assert_eq!(request.fault, None);
    let shown = format!("{request:?}{:?}{:?}", sim.stats(), config().keys);
    assert!(!shown.contains(KEY), "{shown}");
}

#[tokio::test]
async fn a_client_that_leaves_a_running_stream_is_noticed_at_once() {
    let sim = simulator().await;
    sim.set_shape(Shape { events: u64::MAX, interval_ms: 20, text_bytes: 0 });
    let mut tcp = TcpStream::connect(sim.addr()).await.unwrap();
    tcp.write_all(&request("POST", STREAM, &[("x-goog-api-key", KEY)], &hello().to_string())).await.unwrap();
    let mut got = Vec::new();
    while got.len() < 2000 {
        assert!(tcp.read_buf(&mut got).await.unwrap() > 0);
    }
    let left = Instant::now();
    drop(tcp);
    let request = logged(&sim, |request| request.end == End::ClientLeft).await;
    assert!(left.elapsed() < Duration::from_millis(100), "{:?}", left.elapsed());
    assert_eq!(request.status, Some(200));
    assert!(request.answer_bytes > 1000);
}

#[tokio::test]
async fn a_client_that_leaves_while_it_sends_is_logged_too() {
    let sim = simulator().await;
    let mut tcp = TcpStream::connect(sim.addr()).await.unwrap();
    let bytes = request("POST", FLASH, &[("x-goog-api-key", KEY)], &hello().to_string());
    tcp.write_all(&bytes[..bytes.len() - 10]).await.unwrap();
    logged(&sim, |request| request.body_bytes > 0).await;
    drop(tcp);
    let request = logged(&sim, |request| request.end == End::ClientLeft).await;
    assert_eq!(request.body_sha256, None);
}

#[tokio::test]
async fn the_log_keeps_the_newest_and_a_reset_forgets_it() {
    let sim = Simulator::start(Config { log_capacity: 3, ..config() }).await.unwrap();
    for _ in 0..5 {
        get(&sim, "/v1beta/models").await;
    }
    let kept: Vec<u64> = sim.requests().iter().map(|request| request.seq).collect();
    assert_eq!(kept, [3, 4, 5]);
    assert_eq!(sim.stats().requests, 5);
    sim.reset();
    assert!(sim.requests().is_empty());
    assert_eq!(sim.stats().requests, 0);
    get(&sim, "/v1beta/models").await;
    assert_eq!(sim.requests()[0].seq, 1);
}

#[tokio::test]
async fn counters_tell_keys_statuses_models_and_connections() {
    let sim = simulator().await;
    native(&sim, FLASH, &hello()).await;
    native(&sim, STREAM, &hello()).await;
    openai(&sim, CHAT, &json!({"model": "nothing", "messages": []})).await;
    call(&sim, "POST", FLASH, &[("x-goog-api-key", "wrong")], "{}").await;
    let stats = sim.stats();
    assert_eq!(stats.requests, 4);
    assert_eq!((stats.by_key[KEY], stats.by_key["wrong"]), (3, 1));
    assert_eq!((stats.by_status[&200], stats.by_status[&404], stats.by_status[&400]), (2, 1, 1));
    assert_eq!((stats.by_model["gemini-2.5-flash"], stats.by_model["nothing"]), (3, 1));
    assert_eq!(stats.connections, 4);
    let idle = TcpStream::connect(sim.addr()).await.unwrap();
    eventually(|| sim.stats().open_connections == 1).await;
    drop(idle);
    let (refusal, _) = raw(sim.addr(), b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n").await;
    assert!(refusal.starts_with(b"HTTP/1.1 400"));
    eventually(|| sim.stats().malformed == 1).await;
}

#[tokio::test]
async fn calls_are_told_by_key_model_and_status_with_their_times() {
    let sim = simulator().await;
    let pro = "/v1beta/models/gemini-2.5-pro:generateContent";
    sim.set_faults([
        Rule::new(Fault::status(429)).on_model("gemini-2.5-pro").times(1),
        Rule::new(Fault::CloseHead).on_model("gemini-2.5-pro").times(1),
    ]);
    for target in [FLASH, FLASH, pro] {
        native(&sim, target, &hello()).await;
    }
    let before = sim.stats().calls[KEY].clone();
    assert_eq!(before.models["gemini-2.5-flash"].by_status, BTreeMap::from([(200, 2)]));
    assert_eq!(before.models["gemini-2.5-pro"].by_status, BTreeMap::from([(429, 1)]));

    tokio::time::sleep(Duration::from_millis(30)).await;
    let body = hello().to_string();
    let (unanswered, _) = raw(sim.addr(), &request("POST", pro, &[("x-goog-api-key", KEY)], &body)).await;
    assert_eq!(unanswered, b"");
    get(&sim, "/v1beta/models").await;
    call(&sim, "POST", FLASH, &[("x-goog-api-key", "AQ.Beta")], &body).await;
    let after = sim.stats().calls;
    let (flash, pro) = (&after[KEY].models["gemini-2.5-flash"], &after[KEY].models["gemini-2.5-pro"]);
    assert_eq!(*flash, before.models["gemini-2.5-flash"], "it was not called again");
    assert_eq!((pro.requests, &pro.by_status), (2, &BTreeMap::from([(429, 1)])), "one had no answer");
    assert!(pro.last_at_ms >= pro.first_at_ms + 30 && pro.first_at_ms >= flash.last_at_ms, "{pro:?}");
    assert_eq!(after[KEY].models[""].by_status, BTreeMap::from([(200, 1)]), "no model was named");
    assert_eq!(after[KEY].first_at_ms, flash.first_at_ms);
    assert!(after[KEY].last_at_ms >= pro.last_at_ms);
    assert_eq!(after["AQ.Beta"].models["gemini-2.5-flash"].requests, 1);
    let over_http = get(&sim, "/_simulator/stats").await.json();
    assert_eq!(over_http["calls"][KEY]["models"]["gemini-2.5-pro"]["by_status"]["429"], 1);
    sim.reset();
    assert!(sim.stats().calls.is_empty());
}

#[tokio::test]
async fn the_control_endpoint_does_what_the_methods_do() {
    let sim = simulator().await;
    let put = async |resource: &str, body: Value| {
        call(&sim, "PUT", &format!("/_simulator/{resource}"), &[], &body.to_string()).await
    };
    let rule =
        json!({"match": {"path": "/v1beta/models/"}, "times": 1, "fault": {"kind": "status", "status": 500}});
    assert_eq!(put("faults", json!([rule])).await.status, 200);
    assert_eq!(native(&sim, FLASH, &hello()).await.status, 500);
    assert_eq!(native(&sim, FLASH, &hello()).await.status, 200);
    let listed = get(&sim, "/_simulator/faults").await.json();
    assert_eq!(
        (&listed[0]["fault"], &listed[0]["applied"], &listed[0]["matched"]),
        (&rule["fault"], &json!(1), &json!(2))
    );
    assert_eq!(call(&sim, "DELETE", "/_simulator/faults", &[], "").await.status, 200);
    assert_eq!(get(&sim, "/_simulator/faults").await.json(), json!([]));

    assert_eq!(put("shape", json!({"events": 2})).await.status, 200);
    assert_eq!(native(&sim, STREAM, &hello()).await.chunks().0.len(), 2);
    assert_eq!(
        put("keys", json!([{"secret": KEY, "project": "gamma", "state": "leaked"}])).await.status,
        200
    );
    assert_eq!(native(&sim, FLASH, &hello()).await.status, 403);
    assert_eq!(put("keys", json!([{"secret": KEY, "project": "gamma"}])).await.status, 200);
    assert_eq!(put("quotas", json!([{"rpm": 0}])).await.status, 200);
    assert_eq!(native(&sim, FLASH, &hello()).await.status, 429);

    let requests = get(&sim, "/_simulator/requests").await.json();
    let statuses: Vec<u64> =
        requests.as_array().unwrap().iter().map(|r| r["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [500, 200, 200, 403, 429], "the endpoint's own requests are not among them");
    assert_eq!(requests[4]["project"], "gamma");
    assert_eq!(requests[4]["end"], "complete");
    let newer = get(&sim, "/_simulator/requests?since=4").await.json();
    assert_eq!((newer.as_array().unwrap().len(), &newer[0]["seq"]), (1, &json!(5)));
    assert_eq!(get(&sim, "/_simulator/stats").await.json()["by_status"]["429"], 1);
    assert_eq!(call(&sim, "POST", "/_simulator/reset", &[], "").await.status, 200);
    assert_eq!(get(&sim, "/_simulator/requests").await.json(), json!([]));

    let wrong = put("faults", json!([{"fault": {"kind": "earthquake"}}])).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.json()["error"].as_str().unwrap().contains("earthquake"));
    assert_eq!(get(&sim, "/_simulator/moon").await.status, 404);
}

#[tokio::test]
async fn a_stopped_simulator_listens_no_more() {
    let sim = simulator().await;
    let addr = sim.addr();
    let mut idle = TcpStream::connect(addr).await.unwrap();
    sim.stop().await;
    assert_eq!(TcpStream::connect(addr).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    let ended = idle.read(&mut [0; 1]).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test]
async fn an_address_in_use_is_an_error() {
    let sim = simulator().await;
    let again = Simulator::start(Config { listen: sim.addr(), ..config() }).await;
    assert_eq!(again.err().map(|error| error.kind()), Some(std::io::ErrorKind::AddrInUse));
}
