//! Each fault as the other end of a socket sees it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use gemini_simulator::{End, Fault, Rule, Simulator};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::*;

async fn with(fault: Value) -> Simulator {
    let sim = simulator().await;
    let rule: Rule = serde_json::from_value(json!({"fault": fault})).unwrap();
    sim.set_faults([rule]);
    sim
}

/// What comes back for a prompt, before anything is made of it.
async fn bytes(sim: &Simulator, target: &str) -> (Vec<u8>, std::io::Result<()>) {
    let body = hello().to_string();
    raw(sim.addr(), &request("POST", target, &[("x-goog-api-key", KEY)], &body)).await
}

async fn reply(sim: &Simulator, target: &str) -> Reply {
    let (bytes, end) = bytes(sim, target).await;
    Reply::of(&bytes, end)
}

fn kind(end: &std::io::Result<()>) -> Option<ErrorKind> {
    end.as_ref().err().map(std::io::Error::kind)
}

/// The events of an intact stream.
async fn events() -> Vec<Vec<u8>> {
    reply(&simulator().await, STREAM).await.chunks().0
}

/// Events differ in their response id only.
fn same(chunks: &[Vec<u8>], events: &[Vec<u8>]) {
    let without_id = |chunk: &Vec<u8>| {
        let text = String::from_utf8(chunk.clone()).unwrap();
        text.split("\"responseId\"").next().unwrap().to_owned()
    };
    assert_eq!(
        chunks.iter().map(without_id).collect::<Vec<_>>(),
        events.iter().map(without_id).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_status_comes_with_googles_body_or_the_given_one() {
    let sim = with(json!({"kind": "status", "status": 503, "headers": {"retry-after": "7"}})).await;
    let answer = reply(&sim, FLASH).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("7")));
    assert_eq!(
        answer.json(),
        json!({"error": {"code": 503, "message": "The model is overloaded. Please try again later.", "status": "UNAVAILABLE"}})
    );
    let compat = openai(&sim, CHAT, &chat()).await;
    assert_eq!(compat.json()[0]["error"]["status"], "UNAVAILABLE");

    sim.set_faults([Rule::new(Fault::status(429))]);
    let answer = reply(&sim, FLASH).await;
    assert_eq!(answer.json()["error"]["message"], "Resource has been exhausted (e.g. check quota).");
    let text: Rule =
        serde_json::from_value(json!({"fault": {"kind": "status", "status": 502, "body": "<html>"}}))
            .unwrap();
    let given: Rule =
        serde_json::from_value(json!({"fault": {"kind": "status", "status": 418, "body": {"a": 1}}}))
            .unwrap();
    sim.set_faults([text.times(1), given]);
    assert_eq!(reply(&sim, FLASH).await.text(), "<html>");
    let answer = reply(&sim, FLASH).await;
    assert_eq!((answer.status, answer.json()), (418, json!({"a": 1})));
    let logged = sim.requests().pop().unwrap();
    assert_eq!((logged.fault.as_deref(), logged.end), (Some("status"), End::Complete));
}

#[tokio::test]
async fn a_delayed_head_comes_late_and_whole() {
    let sim = with(json!({"kind": "delay_head", "ms": 80})).await;
    let start = Instant::now();
    assert_eq!(reply(&sim, FLASH).await.status, 200);
    assert!(start.elapsed() >= Duration::from_millis(80));
}

#[tokio::test]
async fn heads_that_never_come() {
    for (fault, sent, end) in [
        ("reset_head", &b""[..], Some(ErrorKind::ConnectionReset)),
        ("close_head", b"", None),
        ("partial_head", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nserver-tim", None),
    ] {
        let sim = with(json!({"kind": fault})).await;
        let (got, ended) = bytes(&sim, FLASH).await;
        assert_eq!(got, sent, "{fault}");
        assert_eq!(kind(&ended), end, "{fault}");
        let logged = logged(&sim, |request| request.end != End::Open).await;
        assert_eq!((logged.end, logged.status, logged.fault.as_deref()), (End::Faulted, None, Some(fault)));
        assert!(logged.body_sha256.is_some(), "the request was read");
    }
}

#[tokio::test]
async fn a_stalled_head_holds_until_the_client_leaves() {
    let sim = with(json!({"kind": "stall_head"})).await;
    let mut tcp = TcpStream::connect(sim.addr()).await.unwrap();
    tcp.write_all(&request("POST", FLASH, &[("x-goog-api-key", KEY)], &hello().to_string())).await.unwrap();
    logged(&sim, |request| request.fault.is_some()).await;
    let silence = timeout(Duration::from_millis(150), tcp.read(&mut [0; 8])).await;
    assert!(silence.is_err(), "{silence:?}");
    assert_eq!(sim.requests()[0].end, End::Open);
    assert_eq!(sim.stats().open_requests, 1);
    let left = Instant::now();
    drop(tcp);
    logged(&sim, |request| request.end == End::ClientLeft).await;
    assert!(left.elapsed() < Duration::from_millis(100), "{:?}", left.elapsed());
    assert_eq!(sim.stats().open_requests, 0);
}

#[tokio::test]
async fn streams_break_after_so_many_events_and_never_end_cleanly() {
    let events = events().await;
    for after in [0, 1, 3, 5, 99] {
        let sent = after.min(5);
        let sim = with(json!({"kind": "reset", "after_events": after})).await;
        let broken = reply(&sim, STREAM).await;
        assert_eq!(kind(&broken.end), Some(ErrorKind::ConnectionReset));
        let (chunks, ended) = broken.chunks();
        assert!(!ended);
        same(&chunks, &events[..sent]);

        let sim = with(json!({"kind": "truncate", "after_events": after})).await;
        let cut = reply(&sim, STREAM).await;
        assert_eq!(kind(&cut.end), None);
        let (chunks, ended) = cut.chunks();
        assert!(!ended, "without the final chunk");
        same(&chunks, &events[..sent]);
        let logged = logged(&sim, |request| request.end == End::Faulted).await;
        assert_eq!(logged.answer_bytes, chunks.concat().len() as u64);
    }
}

#[tokio::test]
async fn unary_answers_break_off_short_of_their_length() {
    let whole = reply(&simulator().await, FLASH).await.raw.len();
    for (fault, end) in [("reset", Some(ErrorKind::ConnectionReset)), ("truncate", None)] {
        for (after, sent) in [(0, 0), (1, whole / 2), (9, whole / 2)] {
            let sim = with(json!({"kind": fault, "after_events": after})).await;
            let broken = reply(&sim, FLASH).await;
            assert_eq!(kind(&broken.end), end);
            assert_eq!(broken.header("content-length"), Some(whole.to_string().as_str()));
            assert_eq!(broken.raw.len(), sent);
        }
    }
}

#[tokio::test]
async fn a_compat_stream_that_is_cut_has_no_done() {
    let sim = with(json!({"kind": "truncate", "after_events": 5})).await;
    let mut body = chat();
    body["stream"] = json!(true);
    let cut = openai(&sim, CHAT, &body).await;
    let (chunks, ended) = cut.chunks();
    assert_eq!((chunks.len(), ended), (5, false));
    assert!(!cut.text().contains("[DONE]"));
}

#[tokio::test]
async fn a_stalled_stream_stays_open_until_the_client_leaves() {
    let sim = with(json!({"kind": "stall", "after_events": 2})).await;
    let mut tcp = TcpStream::connect(sim.addr()).await.unwrap();
    tcp.write_all(&request("POST", STREAM, &[("x-goog-api-key", KEY)], &hello().to_string())).await.unwrap();
    let mut got = Vec::new();
    while timeout(Duration::from_millis(200), tcp.read_buf(&mut got)).await.is_ok() {}
    let stalled = Reply::of(&got, Ok(()));
    assert_eq!(stalled.chunks().0.len(), 2);
    let left = Instant::now();
    drop(tcp);
    let logged = logged(&sim, |request| request.end == End::ClientLeft).await;
    assert!(left.elapsed() < Duration::from_millis(100), "{:?}", left.elapsed());
    assert_eq!((logged.status, logged.fault.as_deref()), (Some(200), Some("stall")));
    assert_eq!(sim.stats().clients_left, 1);
}

#[tokio::test]
async fn a_slow_body_trickles_and_is_whole() {
    let sim = with(json!({"kind": "slow", "bytes": 100, "every_ms": 10})).await;
    let start = Instant::now();
    let unary = reply(&sim, FLASH).await;
    assert_eq!(unary.raw.len().to_string(), unary.header("content-length").unwrap());
    let pauses = u32::try_from(unary.raw.len() / 100).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(10) * pauses, "{:?}", start.elapsed());
    let stream = reply(&sim, STREAM).await;
    let (chunks, ended) = stream.chunks();
    assert!(ended && chunks.iter().all(|chunk| chunk.len() <= 100));
    same(&[chunks.concat()[..50].to_vec()], &[events().await.concat()[..50].to_vec()]);
}

#[tokio::test]
async fn an_error_inside_a_200_is_bare_or_framed() {
    let events = events().await;
    let bare = "{\n  \"error\": {\n    \"code\": 503,\n    \"message\": \"The model is overloaded. Please try again later.\",\n    \"status\": \"UNAVAILABLE\"\n  }\n}";
    for after in [0, 2] {
        let sim = with(json!({"kind": "error_event", "after_events": after})).await;
        let broken = reply(&sim, STREAM).await;
        let (chunks, ended) = broken.chunks();
        assert_eq!((broken.status, ended), (200, true));
        same(&chunks[..after], &events[..after]);
        assert_eq!(std::str::from_utf8(&chunks[after]).unwrap(), bare);
        assert_eq!(chunks.len(), after + 1);
    }
    let body = json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}});
    let fault = json!({"kind": "error_event", "after_events": 1, "framed": true, "body": body});
    let sim = with(fault).await;
    let (chunks, _) = reply(&sim, STREAM).await.chunks();
    assert_eq!(chunks[1], b"data: {\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\"}}\r\n\r\n");

    let array = reply(&sim, "/v1/models/gemini-2.5-flash:streamGenerateContent").await.json();
    assert_eq!((array.as_array().unwrap().len(), &array[1]), (2, &body));

    let mut request = chat();
    request["stream"] = json!(true);
    let (chunks, _) = openai(&sim, CHAT, &request).await.chunks();
    assert_eq!(chunks.len(), 2, "no [DONE]");
    assert_eq!(chunks[1], b"data: {\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\"}}\n\n");

    let unary = reply(&sim, FLASH).await;
    assert_eq!((unary.status, unary.json()), (200, body));
}

#[tokio::test]
async fn bad_gzip_cannot_be_inflated() {
    let sim = with(json!({"kind": "bad_gzip"})).await;
    for target in [FLASH, STREAM] {
        let answer = reply(&sim, target).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, Some("gzip")));
        let inflated = flate2::read::GzDecoder::new(&answer.body()[..]).read_to_end(&mut Vec::new());
        assert!(inflated.is_err());
    }
}

#[tokio::test]
async fn a_gzip_bomb_is_small_valid_and_large_inside() {
    let sim = with(json!({"kind": "gzip_bomb", "mib": 20})).await;
    let answer = reply(&sim, STREAM).await;
    assert!(answer.raw.len() < 64 * 1024, "{}", answer.raw.len());
    let mut inflated = Vec::new();
    flate2::read::GzDecoder::new(&answer.body()[..]).read_to_end(&mut inflated).unwrap();
    assert_eq!(inflated.len(), 20 * 1024 * 1024);
}

#[tokio::test]
async fn heads_can_be_too_large() {
    let sim = with(json!({"kind": "big_headers", "kib": 100})).await;
    let answer = reply(&sim, FLASH).await;
    assert_eq!(answer.header("x-big").unwrap().len(), 100 * 1024);
    let sim = with(json!({"kind": "many_headers", "count": 500})).await;
    let answer = reply(&sim, FLASH).await;
    assert_eq!(answer.head.lines().filter(|line| line.starts_with("x-many-")).count(), 500);
}

/// A rule whose answer's body comes so.
fn delivered(fault: &Value, delivery: &Value) -> Rule {
    serde_json::from_value(json!({"fault": fault, "delivery": delivery})).unwrap()
}

#[tokio::test]
async fn any_body_can_be_cut_after_so_many_bytes() {
    let sim = simulator().await;
    for fault in [
        json!({"kind": "none"}),
        json!({"kind": "status", "status": 429}),
        json!({"kind": "google", "error": "key_suspended"}),
        json!({"kind": "middlebox", "status": 502}),
    ] {
        for (kind_of_cut, met) in [("cut", None), ("reset", Some(ErrorKind::ConnectionReset))] {
            for after in [0, 9, 1_000_000] {
                sim.set_faults([delivered(&fault, &json!({"kind": kind_of_cut, "after_bytes": after}))]);
                let answer = reply(&sim, FLASH).await;
                let length: usize = answer.header("content-length").unwrap().parse().unwrap();
                assert_eq!(answer.raw.len(), after.min(length - 1), "{fault} {kind_of_cut}");
                assert_eq!(kind(&answer.end), met);
            }
        }
    }
}

#[tokio::test]
async fn an_errors_body_can_stall_or_drip() {
    let sim = simulator().await;
    let error = json!({"kind": "status", "status": 429});
    sim.set_faults([delivered(&error, &json!({"kind": "stall", "after_bytes": 9}))]);
    let mut tcp = TcpStream::connect(sim.addr()).await.unwrap();
    tcp.write_all(&request("POST", FLASH, &[("x-goog-api-key", KEY)], &hello().to_string())).await.unwrap();
    let mut got = Vec::new();
    while timeout(Duration::from_millis(200), tcp.read_buf(&mut got)).await.is_ok() {}
    let stalled = Reply::of(&got, Ok(()));
    assert_eq!((stalled.status, stalled.raw.len()), (429, 9));
    assert_eq!(sim.requests()[0].end, End::Open);
    drop(tcp);
    logged(&sim, |request| request.end == End::ClientLeft).await;

    sim.set_faults([delivered(&error, &json!({"kind": "drip", "bytes": 50, "every_ms": 2}))]);
    let start = Instant::now();
    let dripped = reply(&sim, FLASH).await;
    assert_eq!(dripped.raw.len().to_string(), dripped.header("content-length").unwrap());
    let pauses = u32::try_from(dripped.raw.len() / 50).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(2) * pauses);
}

#[tokio::test]
async fn an_error_after_events_can_name_the_key_plain_and_coded() {
    let sim = with(json!({
        "kind": "error_event", "after_events": 2, "framed": true,
        "body": {"error": {"code": 403, "message": "Consumer 'api_key:{{key}}' has been suspended."}},
    }))
    .await;
    sim.set_codings([gemini_simulator::Coding::Gzip, gemini_simulator::Coding::Deflate]);
    let body = hello().to_string();
    for accept in ["identity", "gzip", "deflate"] {
        let headers = [("x-goog-api-key", KEY), ("accept-encoding", accept)];
        let answer = call(&sim, "POST", STREAM, &headers, &body).await;
        let mut text = Vec::new();
        let raw = answer.body();
        match answer.header("content-encoding") {
            Some("gzip") => flate2::read::GzDecoder::new(&raw[..]).read_to_end(&mut text).unwrap(),
            Some("deflate") => flate2::read::ZlibDecoder::new(&raw[..]).read_to_end(&mut text).unwrap(),
            other => {
                assert_eq!((accept, other), ("identity", None));
                text.extend_from_slice(&raw);
                text.len()
            }
        };
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.matches("data: ").count(), 3, "{accept}");
        assert!(text.contains(&format!("api_key:{KEY}")), "{accept}: {text}");
    }
}

#[tokio::test]
async fn comments_come_before_the_first_event() {
    let sim = with(json!({"kind": "comments", "count": 3, "every_ms": 10})).await;
    let start = Instant::now();
    let (chunks, ended) = reply(&sim, STREAM).await.chunks();
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert!(ended);
    assert_eq!(chunks[..3], [b": keep-alive\n\n"; 3]);
    same(&chunks[3..], &events().await);
    let array = reply(&sim, "/v1/models/gemini-2.5-flash:streamGenerateContent").await.json();
    assert_eq!(array.as_array().unwrap().len(), 5, "JSON has no comments");
}

#[tokio::test]
async fn a_request_that_is_not_read_on_is_stuck_and_a_small_one_is_answered() {
    let sim = with(json!({"kind": "stall_request", "after_bytes": 65536})).await;
    assert_eq!(reply(&sim, FLASH).await.status, 200);
    let mut tcp = TcpStream::connect(sim.addr()).await.unwrap();
    let big = json!({"contents": [{"parts": [{"text": "x".repeat(64 * 1024 * 1024)}]}]}).to_string();
    let bytes = request("POST", FLASH, &[("x-goog-api-key", KEY)], &big);
    let sent = timeout(Duration::from_millis(300), tcp.write_all(&bytes)).await;
    assert!(sent.is_err(), "the window is shut");
    let logged = sim.requests().pop().unwrap();
    assert_eq!((logged.end, logged.fault.as_deref()), (End::Open, Some("stall_request")));
    assert!(logged.body_bytes < 1024 * 1024, "{}", logged.body_bytes);
}

#[tokio::test]
async fn a_compressed_request_is_read() {
    let sim = simulator().await;
    let body = hello().to_string();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, body.as_bytes()).unwrap();
    let coded = encoder.finish().unwrap();
    let send = async |coding: &str, body: &[u8]| {
        let head = format!(
            "POST {FLASH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Goog-Api-Key: {KEY}\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let (bytes, end) = raw(sim.addr(), &[head.as_bytes(), body].concat()).await;
        Reply::of(&bytes, end)
    };
    let answer = send("gzip", &coded).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["usageMetadata"], native(&sim, FLASH, &hello()).await.json()["usageMetadata"]);
    assert_eq!(sim.requests()[0].body_bytes, coded.len() as u64, "the log has what came");
    assert_eq!(send("gzip", &coded[..20]).await.status, 400);
    assert_eq!(send("gzip", body.as_bytes()).await.status, 400);
}

#[tokio::test]
async fn headers_are_set_on_the_normal_answer() {
    let sim = with(
        json!({"kind": "headers", "set": {"connection": "x-secret", "x-secret": "1", "server": "other"}}),
    )
    .await;
    let answer = reply(&sim, FLASH).await;
    assert_eq!(
        (answer.status, answer.header("x-secret"), answer.header("server")),
        (200, Some("1"), Some("other"))
    );
}

#[tokio::test]
async fn a_redirect_points_elsewhere() {
    let sim = with(json!({"kind": "redirect", "location": "http://127.0.0.1:1/x"})).await;
    let answer = reply(&sim, FLASH).await;
    assert_eq!((answer.status, answer.header("location")), (302, Some("http://127.0.0.1:1/x")));
}

#[tokio::test]
async fn faults_choose_their_requests() {
    let sim = simulator().await;
    sim.set_faults([
        Rule::new(Fault::status(500)).on_key(KEY).times(1),
        Rule::new(Fault::status(503)).on_project("beta"),
        Rule::new(Fault::status(504)).on_model("gemini-2.5-pro").after(1),
        Rule::new(Fault::status(404)).on_path("/v1beta/openai/").on_method("POST"),
    ]);
    assert_eq!(reply(&sim, FLASH).await.status, 500);
    assert_eq!(reply(&sim, FLASH).await.status, 200);
    let beta = call(&sim, "POST", FLASH, &[("x-goog-api-key", "AQ.Beta")], &hello().to_string()).await;
    assert_eq!(beta.status, 503);
    let pro = "/v1beta/models/gemini-2.5-pro:generateContent";
    assert_eq!(reply(&sim, pro).await.status, 200);
    assert_eq!(reply(&sim, pro).await.status, 504);
    assert_eq!(openai(&sim, CHAT, &chat()).await.status, 404);
    let mut body = chat();
    body["model"] = json!("models/gemini-2.5-pro");
    assert_eq!(openai(&sim, CHAT, &body).await.status, 504, "the model in a body counts too");
    let applied: Vec<u64> = sim.faults().iter().map(|state| state.applied).collect();
    assert_eq!(applied, [1, 1, 2, 1]);
}

#[tokio::test]
async fn a_fault_breaks_one_connection_only_and_a_kept_one_goes_on_after_a_status() {
    let sim = with(json!({"kind": "status", "status": 500})).await;
    let mut tcp = TcpStream::connect(sim.addr()).await.unwrap();
    let body = hello().to_string();
    let head = format!(
        "POST {FLASH} HTTP/1.1\r\nHost: x\r\nX-Goog-Api-Key: {KEY}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    for _ in 0..3 {
        tcp.write_all(head.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"}\n") {
            assert!(tcp.read_buf(&mut got).await.unwrap() > 0);
        }
        assert_eq!(Reply::of(&got, Ok(())).status, 500);
    }
    assert_eq!(sim.stats().connections, 1);
    let requests = sim.requests();
    assert_eq!(requests.len(), 3);
    for request in requests {
        assert_eq!(request.headers[1], ("X-Goog-Api-Key".to_owned(), KEY.to_owned()), "as on the wire");
    }
}
