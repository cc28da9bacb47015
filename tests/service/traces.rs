//! Traces, as a collector gets them: parents, kinds, attributes, and no content; which are kept; and a collector that is not
//! there, which costs no request.

#![allow(clippy::cast_precision_loss, reason = "a test's counts are small")]

use crate::{
    exposition::Exposition,
    metrics::METRICS,
    support::{
        Gateway, Options, TOKEN, client, fingerprint, free_port, prompt, secret, simulator, simulator_with,
        stranger, wait_for,
    },
};
use gemini_simulator::{Fault, Rule, Simulator};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Attribute},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// What a collector was sent.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    /// The request's head, in small letters.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// A collector of traces.
pub(crate) struct Collector {
    port: u16,
    posts: Arc<Mutex<Vec<Post>>>,
}

impl Collector {
    /// One that answers each post with 200.
    pub(crate) fn start() -> Self {
        Self::answering("200 OK")
    }

    fn answering(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, posts) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<Post>>>::default());
        let taken = Arc::clone(&posts);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut stream = BufReader::new(stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).is_ok_and(|read| read > 0) {}
                let head = head.to_lowercase();
                let length =
                    head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                if stream.read_exact(&mut body).is_ok() {
                    taken.lock().unwrap().push(Post { head, body });
                }
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.get_mut().write_all(answer.as_bytes());
            }
        });
        Self { port, posts }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    /// All spans that came, each with the name of its service.
    pub(crate) fn spans(&self) -> Vec<(String, Span)> {
        let mut spans = Vec::new();
        for post in self.posts() {
            for of_resource in ExportTraceServiceRequest::decode(&*post.body).unwrap().resource_spans {
                let resource = of_resource.resource.unwrap_or_default();
                let service = text(&resource.attributes, "service.name").unwrap_or_default();
                let found = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.extend(found.map(|span| (service.clone(), span)));
            }
        }
        spans
    }
}

fn attribute(attributes: &[KeyValue], name: &str) -> Option<Attribute> {
    attributes.iter().find(|attribute| attribute.key == name)?.value.clone()?.value
}

pub(crate) fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    match attribute(attributes, name)? {
        Attribute::StringValue(text) => Some(text),
        other => panic!("{name}: {other:?}"),
    }
}

fn number(attributes: &[KeyValue], name: &str) -> Option<i64> {
    match attribute(attributes, name)? {
        Attribute::IntValue(number) => Some(number),
        other => panic!("{name}: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Ends a gateway, which sends what waits.
fn end(mut gateway: Gateway) {
    gateway.signal("TERM");
    assert!(gateway.wait(Duration::from_secs(20)).success());
}

async fn send(gateway: &Gateway, traceparent: Option<&str>, path: &str, text: &str) -> u16 {
    let mut request = client().post(gateway.url(path)).body(prompt(text));
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let _ = answer.bytes().await;
    status
}

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_a_server_span_under_its_clients_with_a_client_span_an_attempt() {
    let body = json!({"error": {"code": 429, "message": "googles-words-canary", "status": "RESOURCE_EXHAUSTED", "details": [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "60s"}]}});
    let fault = Fault::Status { status: 429, headers: [].into(), body: Some(body) };
    let rules = vec![Rule::new(fault).on_key(secret(0))];
    let simulator = simulator_with(2, |config| config.faults = rules).await;
    let collector = Collector::start();
    let gateway = Options::new(&simulator.url(), 2)
        .set("traces.endpoint", collector.url())
        .set("traces.sample", "0.0")
        .start();
    assert_eq!(send(&gateway, Some(&parent("01")), GENERATE, "prompt-canary").await, 200);
    let line = gateway.transactions(1).remove(0);
    // What goes up is the client's own header, as it was.
    let up = &simulator.requests()[0].headers;
    assert_eq!(
        up.iter().find(|(name, _)| name == "traceparent").map(|(_, value)| value.as_str()),
        Some(&*parent("01"))
    );
    end(gateway);
    let posts = collector.posts();
    assert_eq!(posts.len(), 1, "{posts:?}");
    assert!(posts[0].head.starts_with("post /v1/traces http/1.1"), "{}", posts[0].head);
    assert!(posts[0].head.contains("content-type: application/x-protobuf"), "{}", posts[0].head);
    let raw = String::from_utf8_lossy(&posts[0].body).into_owned();
    for secret in ["prompt-canary", "googles-words-canary", "CanaryCanary", TOKEN, "contents"] {
        assert!(!raw.contains(secret), "{secret} in {raw:?}");
    }
    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "{spans:#?}");
    assert!(spans.iter().all(|(service, span)| service == "gemini-balance" && hex(&span.trace_id) == TRACE));
    let of_kind = |kind: SpanKind| -> Vec<&Span> {
        spans.iter().map(|(_, span)| span).filter(|span| span.kind == kind as i32).collect()
    };
    let [server] = of_kind(SpanKind::Server)[..] else { panic!("{spans:#?}") };
    assert_eq!(
        (server.name.as_str(), hex(&server.parent_span_id)),
        ("POST generateContent", PARENT.to_owned())
    );
    let of_server = |name: &str| text(&server.attributes, name);
    assert_eq!(of_server("gemini_balance.request_id").as_deref(), line["id"].as_str());
    assert_eq!(of_server("gemini_balance.caller").as_deref(), Some("tester"));
    assert_eq!(of_server("gen_ai.request.model").as_deref(), Some("gemini-2.5-flash"));
    assert_eq!(number(&server.attributes, "http.response.status_code"), Some(200));
    assert_eq!(server.status.clone().unwrap_or_default().code, StatusCode::Unset as i32);
    let [refused, answered] = of_kind(SpanKind::Client)[..] else { panic!("{spans:#?}") };
    for (attempt, key) in [(refused, 0), (answered, 1)] {
        assert_eq!(
            (attempt.name.as_str(), &attempt.parent_span_id),
            ("generate_content gemini-2.5-flash", &server.span_id)
        );
        for (name, value) in [
            ("gen_ai.operation.name", "generate_content"),
            ("gen_ai.provider.name", "gcp.gemini"),
            ("gen_ai.request.model", "gemini-2.5-flash"),
            ("server.address", "127.0.0.1"),
            ("gemini_balance.key", &fingerprint(key)),
        ] {
            assert_eq!(text(&attempt.attributes, name).as_deref(), Some(value), "{name}");
        }
        assert!(attempt.start_time_unix_nano >= server.start_time_unix_nano, "{attempt:#?}");
        assert!(attempt.end_time_unix_nano <= server.end_time_unix_nano, "{attempt:#?}");
    }
    assert_eq!(text(&refused.attributes, "error.type").as_deref(), Some("QuotaBare"));
    assert_eq!(refused.status.clone().unwrap_or_default().code, StatusCode::Error as i32);
    assert_eq!(number(&refused.attributes, "http.response.status_code"), Some(429));
    assert_eq!(
        number(&refused.attributes, "gen_ai.usage.input_tokens"),
        None,
        "of the answering attempt only"
    );
    assert_eq!(text(&answered.attributes, "error.type"), None);
    let used = |name: &str| number(&answered.attributes, name);
    assert_eq!(used("gen_ai.usage.input_tokens"), line["usage"]["prompt"].as_i64());
    assert_eq!(used("gen_ai.usage.output_tokens"), line["usage"]["output"].as_i64());
    assert!(used("gen_ai.usage.input_tokens").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_kept_and_a_client_says_whether_its_own_trace_is() {
    let rules = vec![Rule::new(Fault::status(503)).on_model("gemini-2.5-pro")];
    let simulator = simulator_with(1, |config| config.faults = rules).await;
    let collector = Collector::start();
    let gateway = Options::new(&simulator.url(), 1)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .set("traces.sample", "1.0")
        .set("retry.max_attempts", 1)
        .start();
    assert_eq!(send(&gateway, None, GENERATE, "x").await, 200);
    assert_eq!(send(&gateway, Some(&parent("00")), GENERATE, "x").await, 200);
    assert_eq!(send(&gateway, Some("not a traceparent"), GENERATE, "x").await, 200);
    let failing = "/v1beta/models/gemini-2.5-pro:generateContent";
    assert_eq!(send(&gateway, Some(&parent("00")), failing, "x").await, 503);
    let refused = client().get(gateway.url("/v1beta/../secret")).header("traceparent", parent("00"));
    assert_ne!(refused.send().await.unwrap().status(), 200);
    // A pool that is spent is an error, and its client is told so.
    simulator.set_faults([Rule::new(crate::support::exhausted()).on_model("gemini-3.5-flash")]);
    let spent = "/v1beta/models/gemini-3.5-flash:generateContent";
    for _ in 0..2 {
        assert_eq!(send(&gateway, Some(&parent("00")), spent, "x").await, 429);
    }
    gateway.transactions(7);
    end(gateway);
    let spans = collector.spans();
    let servers: Vec<_> =
        spans.iter().map(|(_, span)| span).filter(|span| span.kind == SpanKind::Server as i32).collect();
    let statuses: Vec<_> =
        servers.iter().map(|span| number(&span.attributes, "http.response.status_code")).collect();
    assert!(statuses.contains(&Some(503)), "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == Some(200)).count(), 2, "{statuses:?}");
    let of_client: Vec<_> = servers.iter().filter(|span| hex(&span.trace_id) == TRACE).collect();
    assert_eq!(of_client.len(), 3, "only what failed of a trace that its client does not keep");
    let of_status = |status: i64| {
        let mut spans = of_client.iter();
        spans.rfind(|span| number(&span.attributes, "http.response.status_code") == Some(status)).unwrap()
    };
    let by_pool = of_status(429);
    assert_eq!(text(&by_pool.attributes, "gemini_balance.refused_by").as_deref(), Some("pool"));
    assert_eq!(text(&by_pool.attributes, "error.type").as_deref(), Some("pool"));
    assert_eq!(by_pool.status.clone().unwrap_or_default().code, StatusCode::Unset as i32);
    let failed = of_status(503);
    assert_eq!(failed.status.clone().unwrap_or_default().code, StatusCode::Error as i32);
    assert_eq!(text(&failed.attributes, "error.type").as_deref(), Some("Overloaded"));
    let roots = servers.iter().filter(|span| span.parent_span_id.is_empty());
    assert_eq!(roots.count(), 2, "who shows no good header begins a trace");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_a_key_is_a_span_of_its_own_and_headers_come_from_a_file() {
    let body = json!({"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED", "details": [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}]}});
    let fault = Fault::Status { status: 429, headers: [].into(), body: Some(body) };
    let simulator = simulator_with(1, |config| config.faults = vec![Rule::new(fault).times(1)]).await;
    let collector = Collector::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("headers"), "x-collector: credential-canary\n").unwrap();
    let gateway = Options::new(&simulator.url(), 1)
        .set("traces.endpoint", format!("{}/own/path", collector.url()))
        .set("traces.headers_file", folder.path().join("headers").display())
        .set("traces.sample", "1.0")
        .set("retry.max_attempts", 1)
        .start();
    assert_eq!(send(&gateway, None, GENERATE, "x").await, 429);
    assert_eq!(send(&gateway, None, GENERATE, "x").await, 200);
    gateway.transactions(2);
    assert!(!gateway.output().contains("credential-canary"));
    end(gateway);
    let posts = collector.posts();
    assert!(posts[0].head.starts_with("post /own/path http/1.1"), "{}", posts[0].head);
    assert!(posts[0].head.contains("x-collector: credential-canary"), "{}", posts[0].head);
    let spans = collector.spans();
    let waits = spans.iter().map(|(_, span)| span).filter(|span| span.kind == SpanKind::Internal as i32);
    let waited = waits
        .filter(|span| span.name == "wait for a key")
        .find(|span| span.end_time_unix_nano - span.start_time_unix_nano > 500_000_000);
    let waited = waited.unwrap_or_else(|| panic!("{spans:#?}"));
    assert_eq!(number(&waited.attributes, "gemini_balance.passed_over.model_cooling"), Some(1));
    let parent = spans.iter().find(|(_, span)| span.span_id == waited.parent_span_id).unwrap();
    assert_eq!(parent.1.kind, SpanKind::Server as i32);
}

/// The components as `/health/ready` shows them.
async fn components(gateway: &Gateway) -> (u16, Value) {
    let answer = client().get(gateway.url("/health/ready")).send().await.unwrap();
    let status = answer.status().as_u16();
    let mut body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    (status, body["components"].take())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_costs_no_request() {
    let simulator = simulator(1).await;
    let nobody = free_port();
    let gateway = Options::new(&simulator.url(), 1)
        .set("traces.endpoint", format!("http://127.0.0.1:{nobody}"))
        .set("traces.sample", "1.0")
        .start();
    for _ in 0..600 {
        assert_eq!(send(&gateway, None, GENERATE, "x").await, 200);
    }
    let handle = tokio::runtime::Handle::current();
    let degraded = tokio::task::block_in_place(|| {
        wait_for("a degraded exporter", || {
            let (status, components) = handle.block_on(components(&gateway));
            assert_eq!(status, 200, "{components}");
            Some(components["exporter"].clone()).filter(|exporter| exporter["state"] == "degraded")
        })
    });
    assert!(degraded["reason"].as_str().unwrap().starts_with("traces cannot be sent: "), "{degraded}");
    assert_eq!(send(&gateway, None, GENERATE, "x").await, 200);
    end(gateway);
}

/// What the metrics say of spans that no collector has.
async fn spans_dropped(metrics_port: u16) -> f64 {
    let metrics = stranger().get(format!("http://127.0.0.1:{metrics_port}/metrics")).bearer_auth(METRICS);
    let exposition = Exposition::read(&metrics.send().await.unwrap().text().await.unwrap());
    exposition.sum("gemini_balance_trace_spans_dropped_total", &[])
}

/// A gateway that keeps every trace, and the port of its metrics.
fn kept_and_counted(simulator: &Simulator, endpoint: &str) -> (Gateway, u16) {
    let port = free_port();
    let options = Options::new(&simulator.url(), 1)
        .set("traces.endpoint", endpoint)
        .set("traces.sample", "1.0")
        .set("metrics.token", METRICS)
        .set("metrics.listen", format!("127.0.0.1:{port}"));
    (options.start(), port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_collector_refuses_is_counted_and_readiness_names_who_sends_and_who_counts() {
    let simulator = simulator(1).await;
    let collector = Collector::answering("400 Bad Request");
    let (gateway, port) = kept_and_counted(&simulator, &collector.url());
    let (status, all) = components(&gateway).await;
    assert_eq!((status, &all["accountant"]["state"]), (200, &json!("up")), "{all}");
    assert_eq!(all["exporter"]["state"], "up", "{all}");
    for _ in 0..7 {
        assert_eq!(send(&gateway, None, GENERATE, "x").await, 200);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while spans_dropped(port).await < 7.0 {
        assert!(Instant::now() < deadline, "{} are counted", spans_dropped(port).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!((spans_dropped(port).await - 7.0).abs() < 1e-9);
    assert_eq!(
        components(&gateway).await.1["exporter"]["reason"],
        "traces cannot be sent: the collector answers 400"
    );
    assert_eq!(send(&gateway, None, GENERATE, "x").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_answers_costs_the_spans_that_find_no_room_and_no_request() {
    const REQUESTS: usize = 5_200;
    /// What waits, and what is being sent.
    const ROOM: usize = 4_096 + 512;
    let simulator = simulator(1).await;
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", deaf.local_addr().unwrap());
    let (gateway, port) = kept_and_counted(&simulator, &endpoint);
    let (http, sent) = (client(), Instant::now());
    let workers = (0..16).map(|worker| {
        let (http, url) = (http.clone(), gateway.url(GENERATE));
        async move {
            for _ in (worker..REQUESTS).step_by(16) {
                let answer = http.post(&url).body(prompt("x")).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                answer.bytes().await.unwrap();
            }
        }
    });
    futures_util::future::join_all(workers).await;
    println!("{REQUESTS} requests beside a collector that is deaf: {:?}", sent.elapsed());
    let deadline = Instant::now() + Duration::from_secs(10);
    while spans_dropped(port).await < (REQUESTS - ROOM) as f64 {
        assert!(Instant::now() < deadline, "{} are counted", spans_dropped(port).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A batch that was sent before it was whole leaves less room; one of which it is certain that it is lost counts, too.
    assert!(spans_dropped(port).await <= (REQUESTS - 4_096) as f64);
    assert_eq!(send(&gateway, None, GENERATE, "x").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_endpoint_there_is_no_exporter_and_a_bad_one_is_refused_at_the_start() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    assert_eq!(components(&gateway).await.1["exporter"], Value::Null);
    for (setting, value, name) in [
        ("traces.endpoint", "localhost:4318", "traces.endpoint"),
        ("traces.endpoint", "http://user:canary@localhost:4318", "traces.endpoint"),
        ("traces.sample", "1.5", "traces.sample"),
        ("traces.headers_file", "no-such-file", "traces.headers_file"),
    ] {
        let options =
            Options::new(&simulator.url(), 1).env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
        let line = crate::settings::refusal(&options.set(setting, value));
        assert!(line.contains(name) && !line.contains("canary"), "{line}");
    }
}
