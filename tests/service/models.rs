//! A model as a whole: what happens when it fails on every key, which model answers in its place, answers that say nothing,
//! and conversations that stay on one project.

use crate::support::{Gateway, Options, client, prompt, resident_kib, simulator, simulator_with};
use gemini_simulator::{Fault, PrefixCache, Rule};
use serde_json::{Value, json};

/// An answer's JSON.
async fn said(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

const MODEL: &str = "/v1beta/models/gemini-2.5-pro:generateContent";

#[tokio::test]
async fn a_model_that_fails_everywhere_is_left_alone_and_answered_with_googles_own_words() {
    let simulator = simulator(3).await;
    let gateway = Options::new(&simulator.url(), 3).set("server.workers", 1).start();
    simulator.set_faults([Rule::new(Fault::status(503)).on_model("gemini-2.5-pro")]);
    let mut last = Value::Null;
    for _ in 0..30 {
        let response = client().post(gateway.url(MODEL)).body(prompt("x")).send().await.unwrap();
        assert_eq!(response.status(), 503);
        last = said(response).await;
    }
    assert_eq!(last["error"]["status"], "UNAVAILABLE");
    let calls = simulator.requests().len();
    for _ in 0..20 {
        let response = client().post(gateway.url(MODEL)).body(prompt("x")).send().await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(said(response).await, last, "the last that Google has said");
    }
    let more = simulator.requests().len() - calls;
    assert!(more <= 4, "{more} calls for a model that is down: a probe now and then is enough");
    // Other models and all keys are as they were.
    let other =
        client().post(gateway.url("/v1beta/models/gemini-2.5-flash:generateContent")).body(prompt("x"));
    assert_eq!(other.send().await.unwrap().status(), 200);
    let ready: Value = said(client().get(gateway.url("/health/ready")).send().await.unwrap()).await;
    assert_eq!(ready["keys"]["available"], 3);
}

#[tokio::test]
async fn a_model_that_fails_is_stood_in_for_where_the_operator_has_said_so() {
    let simulator = simulator(2).await;
    let fallback = r#"{"gemini-2.5-pro"="gemini-2.5-flash"}"#;
    let gateway = Options::new(&simulator.url(), 2).set("models.fallback", fallback).start();
    let ask = async || client().post(gateway.url(MODEL)).body(prompt("x")).send().await.unwrap();
    let own = ask().await;
    assert!(!own.headers().contains_key("x-gemini-balance-fallback"));
    // A retry that succeeds needs no other model.
    simulator.set_faults([Rule::new(Fault::status(503)).times(1)]);
    let again = ask().await;
    assert_eq!(again.status(), 200);
    assert!(!again.headers().contains_key("x-gemini-balance-fallback"));
    assert_eq!(said(again).await["modelVersion"], "gemini-2.5-pro");
    simulator.set_faults([Rule::new(Fault::status(503)).on_model("gemini-2.5-pro")]);
    let stood_in = ask().await;
    assert_eq!(stood_in.status(), 200);
    assert_eq!(stood_in.headers()["x-gemini-balance-fallback"], "gemini-2.5-flash");
    assert_eq!(said(stood_in).await["modelVersion"], "gemini-2.5-flash");

    let body = json!({"model": "gemini-2.5-pro", "messages": [{"role": "user", "content": "x"}]});
    let request = client().post(gateway.url("/v1beta/openai/chat/completions")).body(body.to_string());
    let chat = request.send().await.unwrap();
    assert_eq!(chat.status(), 200);
    assert_eq!(chat.headers()["x-gemini-balance-fallback"], "gemini-2.5-flash");

    // When both fail the client hears of its own.
    simulator.set_faults([Rule::new(Fault::status(503))]);
    assert_eq!(ask().await.status(), 503);
}

#[tokio::test]
async fn an_answer_that_says_nothing_is_tried_again_where_the_operator_has_said_so() {
    let empty = json!({"candidates": [{"content": {"role": "model"}, "finishReason": "STOP", "index": 0}]});
    let rule =
        || Rule::new(Fault::Status { status: 200, headers: [].into(), body: Some(empty.clone()) }).times(1);
    for (setting, calls) in [(true, 2), (false, 1)] {
        let simulator = simulator(2).await;
        let gateway = Options::new(&simulator.url(), 2).set("retry.empty_answers", setting).start();
        simulator.set_faults([rule()]);
        let response = client().post(gateway.url(MODEL)).body(prompt("x")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let answer: Value = said(response).await;
        assert_eq!(answer["candidates"][0]["content"]["parts"].is_array(), setting, "{answer}");
        assert_eq!(simulator.requests().len(), calls);
    }
}

#[tokio::test]
async fn an_answer_that_says_nothing_is_given_when_no_better_one_comes() {
    let empty = json!({"candidates": [{"content": {"role": "model"}, "finishReason": "STOP", "index": 0}]});
    // The one key is full after the first attempt.
    let simulator = simulator(1).await;
    let options = Options::new(&simulator.url(), 1).set("retry.empty_answers", true);
    let gateway = options.set("pool.max_wait_ms", 0).set("limits", "[{rpm=1}]").start();
    let fault = Fault::Status { status: 200, headers: [].into(), body: Some(empty.clone()) };
    simulator.set_faults([Rule::new(fault)]);
    let response = client().post(gateway.url(MODEL)).body(prompt("x")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), said(response).await), (200, empty));
    assert_eq!(simulator.requests().len(), 1);
}

#[tokio::test]
async fn a_stream_that_says_nothing_is_tried_again_as_well() {
    let nothing = r#"data: {"candidates":[{"content":{"role":"model"},"finishReason":"STOP","index":0}]}"#;
    let headers = [("content-type".to_owned(), "text/event-stream".to_owned())].into();
    let body = Some(json!(format!("{nothing}\r\n\r\n")));
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).set("retry.empty_answers", true).start();
    simulator.set_faults([Rule::new(Fault::Status { status: 200, headers, body }).times(1)]);
    let url = gateway.url("/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse");
    let response = client().post(url).body(prompt("x")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let text = String::from_utf8(response.bytes().await.unwrap().to_vec()).unwrap();
    assert!(text.contains("\"text\""), "{text}");
    assert_eq!(simulator.requests().len(), 2);
}

/// Bytes that a gateway has handed to `write` and its kin, to whatever file or socket.
fn written(gateway: &Gateway) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{}/io", gateway.pid())).unwrap();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

/// What a gateway keeps on disk, in bytes.
fn stored(gateway: &Gateway) -> u64 {
    let files = std::fs::read_dir(gateway.folder().join("data")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// Requests for other models, ten a second for three seconds, in which several writes of what is known fall due: what is
/// written for each.
async fn written_for_each(gateway: &Gateway) -> u64 {
    const REQUESTS: u64 = 30;
    let before = written(gateway);
    let client = client();
    for _ in 0..REQUESTS {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert_eq!(client.post(gateway.url(MODEL)).body(prompt("x")).send().await.unwrap().status(), 200);
    }
    (written(gateway) - before) / REQUESTS
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_clients_make_up_cost_no_memory_no_disk_and_no_later_request() {
    const KEYS: usize = 3;
    let simulator = simulator(KEYS).await;
    let gateway = Options::new(&simulator.url(), KEYS).start();
    let client = client();
    let calm = written_for_each(&gateway).await;
    let (memory, disk) = (resident_kib(&gateway), stored(&gateway));
    let long = "x".repeat(60);
    for n in 0..1500 {
        let name = format!("made-up-{n}-{long}");
        let native = client.post(gateway.url(&format!("/v1beta/models/{name}:generateContent")));
        assert_eq!(native.body(prompt("x")).send().await.unwrap().status(), 404);
        let chat = json!({"model": name, "messages": [{"role": "user", "content": "x"}]});
        let openai = client.post(gateway.url("/v1beta/openai/chat/completions")).body(chat.to_string());
        assert_eq!(openai.send().await.unwrap().status(), 404);
    }
    // A name may have any length, and any letters.
    for n in 0..10 {
        let name = format!("{n}\n\u{1b}[31m{}", "ä".repeat(500_000));
        let chat = json!({"model": name, "messages": [{"role": "user", "content": "x"}]});
        let openai = client.post(gateway.url("/v1beta/openai/chat/completions")).body(chat.to_string());
        assert_eq!(openai.send().await.unwrap().status(), 404);
    }
    let later = written_for_each(&gateway).await;
    let (memory, disk) = (resident_kib(&gateway).saturating_sub(memory), stored(&gateway) - disk);
    eprintln!("bytes written a request: {calm}, later {later}; {memory} KiB and {disk} bytes more");
    assert!(later <= 2 * calm + 16 * 1024, "{later} bytes are written for each request, {calm} before");
    assert!(disk <= 8 * 1024 * 1024, "{disk} bytes more on disk");
    assert!(memory <= 48 * 1024, "{memory} KiB more");
}

/// The share of prompt tokens that Google had cached, over conversations of six turns each, taking turns. Their number is
/// no multiple of the projects', or round robin would by chance bring each back to where it was.
async fn cached_share(strategy: &str) -> f64 {
    let simulator = simulator_with(5, |config| config.prefix_cache = Some(PrefixCache::default())).await;
    let gateway = Options::new(&simulator.url(), 5).set("pool.strategy", strategy).start();
    let client = client();
    let (mut cached, mut all) = (0, 0);
    for turn in 0..6 {
        for conversation in 0..23 {
            let mut contents = Vec::new();
            for earlier in 0..=turn {
                let text = format!(
                    "conversation {conversation} says in turn {earlier} what it has to say at some length"
                );
                contents.push(json!({"role": "user", "parts": [{"text": text}]}));
                if earlier < turn {
                    contents.push(json!({"role": "model", "parts": [{"text": "I see."}]}));
                }
            }
            let system = format!("You are assistant number {conversation}, and you answer briefly.");
            let body = json!({"systemInstruction": {"parts": [{"text": system}]}, "contents": contents});
            let request = client.post(gateway.url(MODEL)).body(body.to_string());
            let answer: Value = said(request.send().await.unwrap()).await;
            let usage = &answer["usageMetadata"];
            cached += usage["cachedContentTokenCount"].as_u64().unwrap_or(0);
            all += usage["promptTokenCount"].as_u64().unwrap();
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a share of some thousands")]
    let share = cached as f64 / all as f64;
    share
}

#[tokio::test]
async fn conversations_that_stay_on_a_project_find_its_cache() {
    let (prefix, round_robin) = (cached_share("prefix").await, cached_share("round_robin").await);
    println!(
        "cached share of prompt tokens over 5 projects: prefix {prefix:.2}, round robin {round_robin:.2}"
    );
    assert!(prefix > 0.5, "{prefix}");
    assert!(prefix > 2.0 * round_robin, "prefix {prefix}, round robin {round_robin}");
}
