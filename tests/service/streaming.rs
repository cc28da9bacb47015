//! Streams leave as they come: each event at once, nothing added, and never a clean end where the upstream broke off.

use crate::{
    raw,
    support::{
        Gateway, Options, TOKEN, arrived, chat, client, key_counts, prompt, secret, sha256, simulator,
        simulator_with,
    },
    wire::{Wire, request},
};
use futures_util::future::join_all;
use gemini_simulator::{End, Fault, Rule, Shape, Simulator, Tls};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A kind of stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Sse,
    JsonArray,
    OpenAi,
}

const FORMS: [Form; 3] = [Form::Sse, Form::JsonArray, Form::OpenAi];
const UNARY: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

impl Form {
    fn path(self) -> &'static str {
        match self {
            Self::Sse => "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            Self::JsonArray => "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
            Self::OpenAi => "/v1/chat/completions",
        }
    }

    fn body(self) -> String {
        let text = "count with me: one two three four five six seven";
        if self == Self::OpenAi { chat(text, true) } else { prompt(text) }
    }

    /// What an error event of the gateway's own begins with.
    fn error_begins(self) -> &'static str {
        match self {
            Self::Sse => "data: {\"error\":{\"code\":503,",
            Self::JsonArray => ",{\"error\":{\"code\":503,",
            Self::OpenAi => "data: {\"error\":{\"message\":",
        }
    }

    /// A broken stream as Google sent it, and the gateway's own last event if there is one.
    fn split(self, body: &[u8]) -> (&[u8], Option<Value>) {
        let text = std::str::from_utf8(body).unwrap();
        let Some(at) = text.rfind(self.error_begins()) else { return (body, None) };
        let event = text[at..].trim_start_matches("data: ").trim_start_matches(',').trim_end();
        (&body[..at], Some(serde_json::from_str(event).unwrap()))
    }

    async fn send(self, gateway: &Gateway, coding: &str) -> reqwest::Response {
        let request = client().post(gateway.url(self.path())).header("accept-encoding", coding);
        request.body(self.body()).send().await.unwrap()
    }

    fn ask(self, gateway: &Gateway, coding: &str) -> raw::Answer {
        ask(gateway, self.path(), &self.body(), coding)
    }
}

fn ask(gateway: &Gateway, path: &str, body: &str, coding: &str) -> raw::Answer {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\naccept-encoding: {coding}\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    raw::ask(gateway.authority(), request.as_bytes())
}

fn shape(events: u64, interval_ms: u64) -> Shape {
    Shape { events, interval_ms, text_bytes: 0 }
}

/// A gateway whose keys do not cool down however often the upstream breaks off.
fn patient(simulator: &Simulator, keys: usize) -> Options {
    Options::new(&simulator.url(), keys).set("pool.failure_threshold", 100_000)
}

#[tokio::test]
async fn each_event_leaves_as_soon_as_it_is_there() {
    let simulator = simulator_with(1, |config| config.shape = shape(6, 150)).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let watch = async |form: Form, coding: &str| {
        let mut response = form.send(&gateway, coding).await;
        let mut arrivals = Vec::new();
        while let Some(chunk) = response.chunk().await.unwrap() {
            assert!(!chunk.is_empty());
            arrivals.push(Instant::now());
        }
        assert!(arrivals.len() >= 5, "{form:?} {coding}: {} pieces of six events", arrivals.len());
        let spread = *arrivals.last().unwrap() - arrivals[0];
        assert!(spread > Duration::from_millis(400), "{form:?} {coding}: all within {spread:?}");
    };
    tokio::join!(
        watch(Form::Sse, "identity"),
        watch(Form::JsonArray, "identity"),
        watch(Form::OpenAi, "identity"),
        watch(Form::Sse, "gzip"),
        watch(Form::JsonArray, "gzip"),
        watch(Form::OpenAi, "gzip"),
    );
}

#[tokio::test]
async fn events_are_there_while_the_upstream_keeps_silent_about_the_rest() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    for events in [1_u64, 2, 3] {
        simulator.set_faults([Rule::new(Fault::Stall { after_events: events })]);
        for form in FORMS {
            simulator.reset();
            let mut response = form.send(&gateway, "identity").await;
            assert_eq!(response.status(), 200);
            let mut body = Vec::new();
            let count = |body: &[u8]| {
                let marker = if form == Form::OpenAi { "chat.completion.chunk" } else { "usageMetadata" };
                std::str::from_utf8(body).unwrap().matches(marker).count() as u64
            };
            while count(&body) < events {
                let next = tokio::time::timeout(Duration::from_secs(10), response.chunk());
                body.extend_from_slice(&next.await.expect("an event that was sent").unwrap().unwrap());
            }
            assert_eq!(simulator.requests()[0].end, End::Open);
        }
    }
}

#[tokio::test]
async fn nothing_is_added_to_a_stream() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    for form in FORMS {
        simulator.reset();
        let body = form.send(&gateway, "identity").await.bytes().await.unwrap();
        assert_eq!(arrived(&simulator, 1)[0].answer_sha256, Some(sha256(&body)));
        let text = std::str::from_utf8(&body).unwrap();
        match form {
            Form::Sse => {
                for line in text.split("\r\n").filter(|line| !line.is_empty()) {
                    serde_json::from_str::<Value>(line.strip_prefix("data: ").unwrap()).unwrap();
                }
                assert!(text.ends_with("}\r\n\r\n"), "{text}");
            }
            Form::JsonArray => assert_eq!(serde_json::from_str::<Vec<Value>>(text).unwrap().len(), 5),
            Form::OpenAi => {
                assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
                assert_eq!(text.matches("[DONE]").count(), 1);
            }
        }
    }
}

#[tokio::test]
async fn slow_bytes_pass_one_by_one() {
    let simulator = simulator_with(1, |config| config.shape = shape(2, 0)).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    simulator.set_faults([Rule::new(Fault::Slow { bytes: 1, every_ms: 2 })]);
    let url = gateway.url("/v1beta/models/gemini-2.5-flash:countTokens");
    let count = async |mut response: reqwest::Response| {
        let mut pieces = Vec::new();
        while let Some(chunk) = response.chunk().await.unwrap() {
            pieces.push(chunk.len());
        }
        pieces
    };
    let (unary, stream) = tokio::join!(
        async { count(client().post(url).body(prompt("x")).send().await.unwrap()).await },
        async {
            // The first event is held until it is whole, the others are not.
            count(Form::Sse.send(&gateway, "identity").await).await
        }
    );
    let length: usize = unary.iter().sum();
    assert!(unary.len() > length / 2, "{} pieces of {length} bytes", unary.len());
    let (first, rest) = (stream[0], &stream[1..]);
    let length: usize = rest.iter().sum();
    assert!(first < length, "the first piece is no more than the first event");
    assert!(rest.len() > length / 2, "{} pieces of {length} bytes", rest.len());
}

fn quota_error() -> Value {
    json!({"error": {"code": 429, "message": "You exceeded your current quota. Please retry in 30s.",
        "status": "RESOURCE_EXHAUSTED", "details": [
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "30s"}]}})
}

fn first_error(body: Option<Value>, framed: bool) -> Fault {
    Fault::ErrorEvent { after_events: 0, body, framed }
}

#[tokio::test]
async fn an_error_as_the_first_event_is_tried_again_on_another_key() {
    let simulator = simulator(2).await;
    for body in [None, Some(quota_error())] {
        for form in FORMS {
            for (framed, coding) in [(true, "identity"), (false, "gzip")] {
                // A pool each: a quota error makes its key cool, and a model's retries are rationed.
                let gateway = Options::new(&simulator.url(), 2).start();
                simulator.reset();
                let fault = first_error(body.clone(), framed);
                simulator.set_faults([Rule::new(fault).on_key(secret(0))]);
                for _ in 0..2 {
                    let response = form.send(&gateway, coding).await;
                    assert_eq!(response.status(), 200, "{form:?} framed: {framed} {coding}");
                    response.bytes().await.unwrap();
                }
                let calls = simulator.requests();
                let on_first = calls.iter().filter(|call| call.key == Some(secret(0))).count();
                let well = calls.iter().filter(|call| call.fault.is_none()).count();
                assert!(on_first >= 1 && well == 2, "{form:?}: {calls:?}");
                if body.is_some() {
                    assert_eq!(on_first, 1, "a key that has spent its quota is left alone: {calls:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_error_as_the_first_event_has_its_true_status_when_all_keys_give_one() {
    let client_error = json!({"error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT"}});
    let simulator = simulator(2).await;
    for (body, status, calls) in [(None, 503, 3), (Some(quota_error()), 429, 2), (Some(client_error), 400, 1)]
    {
        for (form, framed, coding) in [
            (Form::Sse, true, "identity"),
            (Form::Sse, false, "gzip"),
            (Form::JsonArray, true, "gzip"),
            (Form::JsonArray, false, "identity"),
            (Form::OpenAi, true, "identity"),
        ] {
            let gateway = Options::new(&simulator.url(), 2).start();
            simulator.reset();
            simulator.set_faults([Rule::new(first_error(body.clone(), framed))]);
            let response = form.send(&gateway, coding).await;
            assert_eq!(response.status(), status, "{form:?} framed: {framed} {coding}");
            let kind = response.headers()["content-type"].to_str().unwrap();
            assert!(kind.starts_with("application/json"), "{kind}");
            assert!(!response.headers().contains_key("content-encoding"));
            let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
            assert_eq!(answer["error"]["code"], status);
            if let Some(body) = &body {
                assert_eq!(&answer, body);
            }
            arrived(&simulator, calls);
        }
    }
}

#[tokio::test]
async fn googles_own_error_in_mid_stream_passes_untouched_and_is_not_retried() {
    let simulator = simulator(2).await;
    let mut gateway = Options::new(&simulator.url(), 2).start();
    for form in FORMS {
        for framed in [true, false] {
            for coding in ["identity", "gzip"] {
                for body in [None, Some(quota_error())] {
                    let is_quota = body.is_some();
                    if is_quota {
                        gateway = Options::new(&simulator.url(), 2).start(); // the last one's keys cool
                    }
                    simulator.reset();
                    simulator.set_faults([Rule::new(Fault::ErrorEvent { after_events: 2, body, framed })]);
                    let answer = form.ask(&gateway, coding);
                    assert_eq!(answer.status, 200);
                    assert!(answer.whole, "{form:?} framed: {framed} {coding}");
                    assert_eq!(arrived(&simulator, 1)[0].answer_sha256, Some(sha256(&answer.body)));
                    if is_quota {
                        // The pool hears of it all the same.
                        let transaction = gateway.transactions(1).remove(0);
                        assert_eq!(transaction["attempts"][0]["fault"], "QuotaBare", "{transaction}");
                    }
                }
            }
        }
    }
}

/// That this broken answer holds just what the upstream has sent, and is seen to be broken; the event that the gateway
/// ended it with.
fn broken(form: Form, simulator: &Simulator, answer: &raw::Answer, what: &str) -> Option<Value> {
    assert_eq!(answer.status, 200, "{what}");
    assert!(!answer.whole, "{what}: a clean end of a broken stream");
    let sent = arrived(simulator, 1).remove(0); // one call: no retry
    let (delivered, event) = form.split(&answer.body);
    assert_eq!(
        Some(sha256(delivered)),
        sent.answer_sha256,
        "{what}: {} bytes of {}: {:?}",
        delivered.len(),
        sent.answer_bytes,
        String::from_utf8_lossy(&answer.body)
    );
    assert!(!answer.body.ends_with(b"[DONE]\n\n"));
    event
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_seen_to_and_never_retried() {
    let simulator = simulator(2).await;
    let gateway = patient(&simulator, 2).start();
    for after_events in [1, 2, 4] {
        for fault in [Fault::Reset { after_events }, Fault::Truncate { after_events }] {
            simulator.set_faults([Rule::new(fault.clone())]);
            for form in FORMS {
                for round in 0..10 {
                    // At once, or after the head has left.
                    simulator.set_shape(shape(5, if round % 2 == 0 { 0 } else { 3 }));
                    simulator.reset();
                    let answer = form.ask(&gateway, "identity");
                    let what = format!("{form:?} {fault:?} round {round}");
                    let event = broken(form, &simulator, &answer, &what);
                    let event = event.unwrap_or_else(|| panic!("{what}: no word of the break"));
                    let message = event["error"]["message"].as_str().unwrap();
                    assert!(message.contains("broke off"), "{message}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_streams_that_are_cut_at_once_are_all_seen_to_be_and_cool_no_key() {
    const STREAMS: usize = 100;
    let simulator = simulator_with(3, |config| {
        config.shape = Shape { events: 60, interval_ms: 50, text_bytes: 0 };
    })
    .await;
    let gateway = Options::new(&simulator.url(), 3).start();
    for fault in [Fault::Truncate { after_events: 30 }, Fault::Reset { after_events: 30 }] {
        simulator.reset();
        simulator.set_faults([Rule::new(fault.clone())]);
        let text = request("POST", Form::Sse.path(), &[("x-goog-api-key", TOKEN)], &prompt("x"));
        let cut = join_all((0..STREAMS).map(async |_| {
            let mut wire = Wire::connect(gateway.authority()).await;
            wire.send(&text).await.unwrap();
            wire.answer().await.expect("an answer")
        }))
        .await;
        for answer in cut {
            assert_eq!(answer.status, 200, "{fault:?}");
            assert!(!answer.whole, "a stream that was cut looks whole: {fault:?}");
            // With the one that says so.
            assert!(answer.text().matches("data: ").count() >= 30, "{}", answer.text());
        }
        assert_eq!(simulator.stats().requests, STREAMS as u64, "a stream was tried again");
        simulator.set_faults([]);
        wait_until_served(&gateway).await;
        assert_eq!(key_counts(&gateway).await["available"], 3, "{fault:?}");
    }
}

/// The way up may be closed for a second.
async fn wait_until_served(gateway: &Gateway) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = client().post(gateway.url(UNARY)).body(prompt("x")).send().await.unwrap();
        if answer.status() == 200 {
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_compressed_stream_that_breaks_off_gets_no_foreign_bytes() {
    let simulator = simulator_with(1, |config| config.shape = shape(5, 2)).await;
    let gateway = patient(&simulator, 1).start();
    for fault in [Fault::Reset { after_events: 2 }, Fault::Truncate { after_events: 2 }] {
        simulator.set_faults([Rule::new(fault.clone())]);
        for form in FORMS {
            for _ in 0..10 {
                simulator.reset();
                let answer = form.ask(&gateway, "gzip");
                assert!(!answer.whole, "{form:?} {fault:?}");
                assert_eq!(arrived(&simulator, 1)[0].answer_sha256, Some(sha256(&answer.body)));
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_stalls_is_cut_off_visibly() {
    let simulator = simulator(1).await;
    let gateway = patient(&simulator, 1).set("upstream.idle_timeout_s", 1).start();
    simulator.set_faults([Rule::new(Fault::Stall { after_events: 2 })]);
    for form in FORMS {
        simulator.reset();
        let begun = Instant::now();
        let answers: Vec<_> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..30).map(|_| scope.spawn(|| form.ask(&gateway, "identity"))).collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        assert!(begun.elapsed() > Duration::from_secs(1));
        let calls = arrived(&simulator, 30);
        for answer in answers {
            assert!(!answer.whole, "{form:?}");
            let (delivered, event) = form.split(&answer.body);
            let digest = Some(sha256(delivered));
            assert!(calls.iter().any(|call| call.answer_sha256 == digest), "{form:?}: {answer:?}");
            assert!(event.is_some(), "{form:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_over_http_2_is_seen_to() {
    let simulator = simulator_with(1, |config| {
        config.tls = Some(Tls::default());
        // Far enough apart that the first has reached the client before the break. What has not may be tried again: with
        // the connection h2 drops what it has not handed on.
        config.shape = shape(5, 30);
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, simulator.ca_pem().unwrap()).unwrap();
    let gateway = patient(&simulator, 1).set("upstream.ca_file", ca_file.display()).start();
    for form in FORMS {
        simulator.reset();
        assert!(form.ask(&gateway, "identity").whole);
        assert_eq!(arrived(&simulator, 1)[0].http, "2");
    }
    for fault in [Fault::Truncate { after_events: 2 }, Fault::Reset { after_events: 2 }] {
        simulator.set_faults([Rule::new(fault.clone())]);
        for form in FORMS {
            for _ in 0..5 {
                simulator.reset();
                let answer = form.ask(&gateway, "identity");
                let event = broken(form, &simulator, &answer, &format!("{form:?} {fault:?}"));
                assert!(event.is_some());
            }
        }
    }
}

#[tokio::test]
async fn an_event_that_breaks_off_in_its_middle_is_left_as_it_is() {
    // The brace ends an object, not the event.
    let event = "data: {\"candidates\":[{}";
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let whole = "data: {\"a\":1}\r\n\r\n";
    let upstream = raw::Upstream::start(format!(
        "{head}{:x}\r\n{whole}\r\n{:x}\r\n{event}\r\n",
        whole.len(),
        event.len()
    ));
    let gateway = Options::new(&upstream.url, 1).start();
    let answer = Form::Sse.ask(&gateway, "identity");
    assert!(!answer.whole);
    assert_eq!(String::from_utf8(answer.body).unwrap(), format!("{whole}{event}"));
}

#[tokio::test]
async fn a_stream_that_breaks_before_its_first_event_is_tried_once_more() {
    let simulator = simulator(2).await;
    let gateway = patient(&simulator, 2).start();
    for fault in [Fault::Reset { after_events: 0 }, Fault::Truncate { after_events: 0 }] {
        for form in FORMS {
            simulator.reset();
            simulator.set_faults([Rule::new(fault.clone()).times(1)]);
            let answer = form.ask(&gateway, "identity");
            assert_eq!((answer.status, answer.whole), (200, true), "{form:?} {fault:?}");
            let calls = arrived(&simulator, 2);
            assert_eq!(calls[1].answer_sha256, Some(sha256(&answer.body)));

            simulator.reset();
            simulator.set_faults([Rule::new(fault.clone())]);
            let answer = form.ask(&gateway, "identity");
            assert_eq!((answer.status, answer.whole), (502, true), "{form:?} {fault:?}");
            arrived(&simulator, 2);
        }
    }
}

#[tokio::test]
async fn a_unary_answer_that_breaks_off_is_seen_to_and_never_retried() {
    let simulator = simulator(2).await;
    let gateway = patient(&simulator, 2).start();
    let chat = chat("a whole answer", false);
    let native = prompt("a whole answer");
    for fault in [Fault::Reset { after_events: 1 }, Fault::Truncate { after_events: 1 }] {
        simulator.set_faults([Rule::new(fault.clone())]);
        for (path, body) in [(UNARY, &native), ("/v1/chat/completions", &chat)] {
            for coding in ["identity", "gzip"] {
                for _ in 0..30 {
                    simulator.reset();
                    let answer = ask(&gateway, path, body, coding);
                    assert_eq!(answer.status, 200);
                    assert!(!answer.whole, "{path} {fault:?} {coding}");
                    let sent = arrived(&simulator, 1).remove(0);
                    assert!(sent.answer_bytes > 0);
                    assert_eq!(sent.answer_sha256, Some(sha256(&answer.body)), "{path} {fault:?} {coding}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_unary_answer_that_stalls_is_cut_off_visibly() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("upstream.idle_timeout_s", 1).start();
    simulator.set_faults([Rule::new(Fault::Stall { after_events: 1 })]);
    let answer = ask(&gateway, UNARY, &prompt("x"), "identity");
    assert_eq!((answer.status, answer.whole), (200, false));
    assert_eq!(arrived(&simulator, 1)[0].answer_sha256, Some(sha256(&answer.body)));
    let line = gateway.transactions(1).remove(0);
    assert_eq!((line["end"].as_str(), line["status"].as_u64()), (Some("upstream_broke"), Some(200)));
}
