//! Which key is blamed for what, whether another is tried, and what the client is told when none is left.

use crate::support::{
    Gateway, Options, TOKEN, arrived, bearer, chat, client, key_counts, prompt, secret, sha256, simulator,
    simulator_with,
};
use gemini_simulator::{Fault, GoogleError, KeyState, LoggedRequest, Rule, Simulator};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::Path,
    time::{Duration, Instant},
};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const OTHER_MODEL: &str = "/v1beta/models/gemini-2.5-pro:generateContent";
const SSE: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
const CHAT: &str = "/v1/chat/completions";

async fn post(client: &Client, gateway: &Gateway, path: &str, body: String) -> Response {
    client.post(gateway.url(path)).body(body).send().await.unwrap()
}

/// Status and body of a native request.
async fn generate(gateway: &Gateway) -> (u16, Vec<u8>) {
    let response = post(&client(), gateway, GENERATE, prompt("x")).await;
    (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
}

fn calls_on(simulator: &Simulator, key: usize) -> Vec<LoggedRequest> {
    simulator.requests().into_iter().filter(|request| request.key == Some(secret(key))).collect()
}

/// Google's answer when a minute's quota is spent.
fn quota(retry_delay: &str) -> Fault {
    let body = json!({"error": {
        "code": 429, "message": format!("You exceeded your current quota. Please retry in {retry_delay}."),
        "status": "RESOURCE_EXHAUSTED", "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{
                "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
                "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
                "quotaDimensions": {"location": "global", "model": "gemini-2.5-flash"}, "quotaValue": "5"}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": retry_delay}]}});
    Fault::Status { status: 429, headers: BTreeMap::new(), body: Some(body) }
}

#[tokio::test]
async fn a_key_without_quota_rests_for_as_long_as_google_says_and_the_other_serves() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).start();
    simulator.set_faults([Rule::new(quota("2s")).on_key(secret(0)).times(1)]);
    while calls_on(&simulator, 0).is_empty() {
        assert_eq!(generate(&gateway).await.0, 200);
    }
    let spent_at_ms = calls_on(&simulator, 0)[0].at_ms;
    for _ in 0..10 {
        assert_eq!(generate(&gateway).await.0, 200);
    }
    assert_eq!(calls_on(&simulator, 0).len(), 1);
    // The quota was this model's: the key is not cooling for others.
    for _ in 0..4 {
        assert_eq!(post(&client(), &gateway, OTHER_MODEL, prompt("x")).await.status(), 200);
    }
    let for_flash = || {
        let calls = calls_on(&simulator, 0).into_iter();
        calls.filter(|call| call.model.as_deref() == Some("gemini-2.5-flash")).collect::<Vec<_>>()
    };
    assert_eq!((calls_on(&simulator, 0).len(), for_flash().len()), (3, 1));
    let deadline = Instant::now() + Duration::from_secs(10);
    while for_flash().len() < 2 {
        assert!(Instant::now() < deadline, "the key never came back");
        assert_eq!(generate(&gateway).await.0, 200);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert!(for_flash()[1].at_ms >= spent_at_ms + 2000);
}

#[tokio::test]
async fn a_key_that_google_does_not_accept_is_never_called_again() {
    let states = [
        KeyState::Invalid,
        KeyState::Expired,
        KeyState::Unauthenticated,
        KeyState::Suspended,
        KeyState::Leaked,
        KeyState::BillingDisabled,
    ];
    let bad = states.len();
    for (client, path, body) in [
        (client(), GENERATE, prompt("x")),
        (client(), SSE, prompt("x")),
        (bearer(), CHAT, chat("x", false)),
        (bearer(), CHAT, chat("x", true)),
    ] {
        let simulator = simulator(bad + 1).await;
        for (n, state) in states.iter().enumerate() {
            assert!(simulator.set_key_state(&secret(n), *state));
        }
        let gateway = Options::new(&simulator.url(), bad + 1).set("retry.max_attempts", 10).start();
        for _ in 0..20 {
            let response = post(&client, &gateway, path, body.clone()).await;
            assert_eq!(response.status(), 200, "{path}");
            response.bytes().await.unwrap();
        }
        for (n, state) in states.iter().enumerate() {
            // Whom a 401 speaks of is asked.
            let calls = if *state == KeyState::Unauthenticated { 2 } else { 1 };
            assert_eq!(calls_on(&simulator, n).len(), calls, "{state:?} on {path}");
        }
        assert_eq!(calls_on(&simulator, bad).len(), 20);
        let counts = key_counts(&gateway).await;
        assert_eq!((&counts["retired"], &counts["available"]), (&json!(bad), &json!(1)), "{counts}");
    }
}

#[tokio::test]
async fn what_google_refuses_on_every_key_costs_none_of_them() {
    let simulator = simulator(6).await;
    let gateway = Options::new(&simulator.url(), 6).start();
    let requests = [
        (client(), "GET", "/v1beta/tunedModels/foo", String::new()),
        (client(), "GET", "/v1beta/corpora/x", String::new()),
        (client(), "HEAD", "/v1beta/models/gemini-2.5-flash", String::new()),
        (client(), "POST", "/v1beta/models/gemini-3.1-pro-preview:generateContent", prompt("x")),
        (client(), "POST", GENERATE, prompt("x")),
        (client(), "POST", "/v1beta/files:register", "{}".to_owned()),
        (bearer(), "POST", CHAT, chat("x", true)),
    ];
    let errors = [
        GoogleError::Forbidden,
        GoogleError::KeyRestricted,
        GoogleError::ReferrerBlocked,
        GoogleError::Unauthenticated,
    ];
    for error in errors {
        for (client, method, path, body) in &requests {
            // The list of models, by which keys are asked about, is served.
            let upstream = if *path == CHAT { "/v1beta/openai/chat/completions" } else { path };
            simulator.set_faults([Rule::new(Fault::google(error)).on_path(upstream)]);
            for _ in 0..7 {
                let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
                let request = client.request(method, gateway.url(path)).body(body.clone());
                let status = request.send().await.unwrap().status();
                assert!(matches!(status.as_u16(), 401 | 403), "{error:?} {path}: {status}");
            }
            simulator.set_faults([]);
            let counts = key_counts(&gateway).await;
            assert_eq!(counts["available"], 6, "{error:?} {path}: {counts}");
            assert_eq!(generate(&gateway).await.0, 200, "{error:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_clients_mistake_touches_no_key() {
    let simulator = simulator(3).await;
    let gateway = Options::new(&simulator.url(), 3).start();
    let one = client();
    for status in [400, 404, 409, 413] {
        simulator.reset();
        simulator.set_faults([Rule::new(Fault::status(status))]);
        for _ in 0..250 {
            assert_eq!(post(&one, &gateway, GENERATE, prompt("x")).await.status(), status);
        }
        arrived(&simulator, 250); // each once
    }
    simulator.set_faults([]);
    simulator.reset();
    let mistakes = [
        (GENERATE, r#"{"contents":[],"nonsense":1}"#, 400),
        (GENERATE, "{", 400),
        ("/v1beta/models/no-such-model:generateContent", "{}", 404),
        ("/v1beta/no/such/path", "{}", 404),
        (CHAT, r#"{"model":"no-such-model","messages":[{"role":"user","content":"x"}]}"#, 404),
        // A client cannot word a request so that it costs a key.
        (GENERATE, r#"{"API key not valid. Please pass a valid API key.":1}"#, 400),
    ];
    for (path, body, status) in mistakes {
        assert_eq!(post(&client(), &gateway, path, body.to_owned()).await.status(), status, "{path} {body}");
    }
    // No project is asked for what an unknown path seems to name.
    arrived(&simulator, mistakes.len());
    let counts = key_counts(&gateway).await;
    assert_eq!((&counts["total"], &counts["available"]), (&json!(3), &json!(3)), "{counts}");
}

#[tokio::test]
async fn an_overloaded_model_is_asked_again_after_a_pause_and_no_key_is_blamed() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).start();
    simulator.set_faults([Rule::new(Fault::status(503)).times(2)]);
    assert_eq!(generate(&gateway).await.0, 200);
    let calls = arrived(&simulator, 3);
    for pair in calls.windows(2) {
        assert!(pair[1].at_ms >= pair[0].at_ms + 90, "no pause: {calls:?}");
    }
    simulator.reset();
    simulator.set_faults([Rule::new(Fault::status(503))]);
    // Another gateway: the first one's retries for this model are rationed by now.
    let gateway = Options::new(&simulator.url(), 2).start();
    let (status, answer) = generate(&gateway).await;
    assert_eq!(status, 503);
    assert_eq!(arrived(&simulator, 3)[2].answer_sha256, Some(sha256(&answer)));
    let counts = key_counts(&gateway).await;
    assert_eq!(counts["available"], 2, "{counts}");
}

#[tokio::test]
async fn an_internal_error_is_tried_again_once() {
    let simulator = simulator(3).await;
    let gateway = Options::new(&simulator.url(), 3).start();
    simulator.set_faults([Rule::new(Fault::status(500)).times(1)]);
    assert_eq!(generate(&gateway).await.0, 200);
    arrived(&simulator, 2);
    simulator.reset();
    simulator.set_faults([Rule::new(Fault::status(500))]);
    let (status, answer) = generate(&gateway).await;
    assert_eq!(status, 500);
    assert_eq!(arrived(&simulator, 2)[1].answer_sha256, Some(sha256(&answer)));
    assert_eq!(key_counts(&gateway).await["available"], 3);
}

#[tokio::test]
async fn an_upstream_that_refuses_connections_is_a_fast_502_and_blames_no_key() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Options::new(&format!("http://{nobody}"), 2).start();
    for _ in 0..10 {
        let begun = Instant::now();
        let (status, answer) = generate(&gateway).await;
        assert_eq!(status, 502);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["error"]["status"], "UNAVAILABLE");
    }
    for line in gateway.transactions(10) {
        assert!(line["attempts"].as_array().unwrap().len() <= 3, "{line}");
    }
    assert_eq!(key_counts(&gateway).await["available"], 2);
}

#[tokio::test]
async fn an_answer_lost_before_its_head_is_asked_for_once_more() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).set("pool.failure_threshold", 1000).start();
    // With one project nobody has to be asked whose a file is.
    let one_key = Options::new(&simulator.url(), 1).set("pool.failure_threshold", 1000).start();
    let requests = [
        ("POST", GENERATE, prompt("x")),
        ("POST", SSE, prompt("x")),
        ("POST", CHAT, chat("x", false)),
        ("GET", "/v1beta/models", String::new()),
        ("GET", "/v1beta/files/abc", String::new()),
    ];
    for fault in [Fault::ResetHead, Fault::CloseHead, Fault::PartialHead] {
        for (method, path, body) in &requests {
            let send = async || {
                let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
                let gateway = if path.contains("files/") { &one_key } else { &gateway };
                let request = client().request(method, gateway.url(path)).body(body.clone());
                request.send().await.unwrap().status()
            };
            simulator.reset();
            simulator.set_faults([Rule::new(fault.clone()).times(1)]);
            assert_ne!(send().await, 502, "{method} {path} {fault:?}");
            arrived(&simulator, 2);
            simulator.reset();
            simulator.set_faults([Rule::new(fault.clone())]);
            assert_eq!(send().await, 502, "{method} {path} {fault:?}");
            arrived(&simulator, 2);
        }
    }
}

#[tokio::test]
async fn what_makes_a_resource_is_never_sent_twice_when_its_fate_is_unknown() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).set("pool.failure_threshold", 1000).start();
    // With one project nobody has to be asked whose a batch is.
    let one_key = Options::new(&simulator.url(), 1).set("pool.failure_threshold", 1000).start();
    for fault in [Fault::ResetHead, Fault::CloseHead, Fault::PartialHead] {
        for path in [
            "/v1beta/batches",
            "/v1/batches",
            "/v1beta/interactions",
            "/v1beta/models/veo-3.0-generate-001:predictLongRunning",
            "/v1beta/models/gemini-2.5-flash:batchGenerateContent",
            "/v1beta/models/gemini-embedding-001:asyncBatchEmbedContent",
            "/v1beta/models/gemini-2.5-flash:somethingNew",
            "/v1beta/cachedContents",
            "/v1beta/fileSearchStores",
            "/v1beta/auth_tokens",
            "/v1beta/files",
            "/upload/v1beta/files",
            "/v1beta/newThings",
            "/v1beta/batches/b:cancel",
            "/v1beta/openai/batches",
            "/v1/videos",
        ] {
            let gateway = if path.contains("/b:") { &one_key } else { &gateway };
            // In between the way is seen to be well, or it would be left alone.
            simulator.set_faults([]);
            assert_eq!(generate(gateway).await.0, 200);
            simulator.reset();
            simulator.set_faults([Rule::new(fault.clone())]);
            let response = post(&client(), gateway, path, r#"{"a":1}"#.to_owned()).await;
            assert_eq!(response.status(), 502, "{path} {fault:?}");
            arrived(&simulator, 1);
        }
    }
    // One that has certainly not been accepted is.
    simulator.reset();
    simulator.set_faults([Rule::new(quota("30s")).times(1)]);
    assert_ne!(post(&client(), &gateway, "/v1beta/batches", "{}".to_owned()).await.status(), 429);
    arrived(&simulator, 2);
}

#[tokio::test]
async fn an_answer_that_never_begins_is_a_504_and_asked_for_once() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).set("upstream.head_timeout_s", 1).start();
    simulator.set_faults([Rule::new(Fault::StallHead)]);
    let (status, answer) = generate(&gateway).await;
    assert_eq!(status, 504);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["error"]["status"], "DEADLINE_EXCEEDED");
    arrived(&simulator, 1); // the upstream sees at once that nobody waits any more
    simulator.reset();
    simulator.set_faults([Rule::new(Fault::DelayHead { ms: 400 })]);
    assert_eq!(generate(&gateway).await.0, 200);
    arrived(&simulator, 1);
}

#[tokio::test]
async fn when_all_keys_are_spent_the_client_hears_google_first_and_the_gateway_afterwards() {
    for keys in [2, 3] {
        let simulator = simulator(keys).await;
        let gateway = Options::new(&simulator.url(), keys).set("pool.max_wait_ms", 200).start();
        simulator.set_faults([Rule::new(quota("30s"))]);
        let (status, answer) = generate(&gateway).await;
        assert_eq!(status, 429);
        let calls = arrived(&simulator, keys);
        assert_eq!(calls.last().unwrap().answer_sha256, Some(sha256(&answer)));
        let mut called: Vec<_> = calls.into_iter().map(|call| call.key).collect();
        called.dedup();
        assert_eq!(called.len(), keys, "each key once");

        for (client, path, body) in [(client(), GENERATE, prompt("x")), (bearer(), CHAT, chat("x", true))] {
            let begun = Instant::now();
            let response = post(&client, &gateway, path, body).await;
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
            assert_eq!(response.status(), 429);
            let retry_after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((28..=32).contains(&retry_after), "{retry_after}");
            let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
            if path == CHAT {
                assert_eq!(answer["error"]["type"], "rate_limit_error", "{answer}");
            } else {
                assert_eq!(answer["error"]["status"], "RESOURCE_EXHAUSTED", "{answer}");
            }
            arrived(&simulator, keys); // none more
        }
        let counts = key_counts(&gateway).await;
        assert_eq!(counts["retired"], 0, "{counts}");
    }
}

#[tokio::test]
async fn a_request_waits_for_a_key_that_is_soon_back() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("pool.max_wait_ms", 15_000).start();
    simulator.set_faults([Rule::new(quota("1s")).times(1)]);
    assert_eq!(generate(&gateway).await.0, 429); // it has tried the only key
    let spent = arrived(&simulator, 1).remove(0);
    // These wait, and one after the other finds the key well.
    let waiting: Vec<_> = futures_util::future::join_all((0..5).map(|_| generate(&gateway))).await;
    assert!(waiting.iter().all(|(status, _)| *status == 200), "{waiting:?}");
    let calls = arrived(&simulator, 6);
    assert!(calls[1].at_ms >= spent.at_ms + 1000, "{calls:?}");
}

#[tokio::test]
async fn when_all_keys_are_retired_the_gateway_is_unavailable_and_says_so() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).start();
    for n in 0..2 {
        simulator.set_key_state(&secret(n), KeyState::Leaked);
    }
    let (status, answer) = generate(&gateway).await;
    assert_eq!(status, 403);
    assert_eq!(arrived(&simulator, 2)[1].answer_sha256, Some(sha256(&answer)));
    for (client, path, body) in [(client(), GENERATE, prompt("x")), (bearer(), CHAT, chat("x", true))] {
        let response = post(&client, &gateway, path, body).await;
        assert_eq!(response.status(), 503);
        let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert!(answer["error"]["message"].as_str().unwrap().contains("operator"), "{answer}");
    }
    arrived(&simulator, 2);
    for (path, status) in [("/health", 503), ("/health/ready", 503), ("/health/live", 200)] {
        let response = client().get(gateway.url(path)).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert_eq!(answer["reason"].is_string(), status == 503, "{answer}");
    }
}

#[tokio::test]
async fn with_four_of_five_projects_spent_the_first_request_is_served_by_the_fifth() {
    for (spent, attempts) in [(4, 5), (3, 4), (1, 2)] {
        let simulator = simulator(5).await;
        let gateway = Options::new(&simulator.url(), 5).start();
        simulator.set_faults((0..spent).map(|key| Rule::new(quota("34s")).on_key(secret(key))));
        assert_eq!(generate(&gateway).await.0, 200);
        let line = gateway.transactions(1).remove(0);
        assert_eq!(line["attempts"].as_array().unwrap().len(), attempts, "{line}");
        for _ in 0..3 {
            assert_eq!(generate(&gateway).await.0, 200);
        }
        assert!((0..spent).all(|key| calls_on(&simulator, key).len() == 1), "a refusal was forgotten");
    }
}

#[tokio::test]
async fn a_request_larger_than_the_refused_quota_is_sent_to_no_project_of_that_limit() {
    let refusal = |limit: &str| {
        let body = json!({"error": {
            "code": 429, "message": "You exceeded your current quota.", "status": "RESOURCE_EXHAUSTED", "details": [
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{
                    "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_input_token_count",
                    "quotaId": "GenerateContentInputTokensPerModelPerMinute-FreeTier",
                    "quotaDimensions": {"model": "gemini-2.5-flash"}, "quotaValue": limit}]},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "40s"}]}});
        Fault::Status { status: 429, headers: BTreeMap::new(), body: Some(body) }
    };
    let long = prompt(&"word ".repeat(100_000));
    for (limit, calls) in [("2000", 1), ("250", 1), ("4000000", 5)] {
        let simulator = simulator(5).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("limits.toml");
        std::fs::write(&file, format!("[[limits]]\nmodel = \"gemini-2.5-flash\"\ntpm = {limit}\n")).unwrap();
        let options = Options::new(&simulator.url(), 5).args(&["--config", file.to_str().unwrap()]);
        let gateway = options.start();
        simulator.set_faults([Rule::new(refusal(limit))]);
        let path = "/v1beta/models/gemini-2.5-flash:generateContent";
        assert_eq!(post(&client(), &gateway, path, long.clone()).await.status(), 429);
        assert_eq!(simulator.requests().len(), calls, "{limit}");
    }
}

#[tokio::test]
async fn no_request_is_tried_more_often_than_the_setting_says() {
    for max_attempts in [1, 2, 4] {
        for status in [503, 401] {
            let simulator = simulator(5).await;
            let options = Options::new(&simulator.url(), 5).set("retry.max_attempts", max_attempts);
            let gateway = options.start();
            simulator.set_faults([Rule::new(Fault::status(status))]);
            assert_eq!(generate(&gateway).await.0, status);
            // After a 401 Google is asked about the key, with the list of models.
            let questions = if status == 401 { max_attempts } else { 0 };
            let arrived = arrived(&simulator, max_attempts + questions);
            assert_eq!(arrived.iter().filter(|call| call.method == "GET").count(), questions);
            let line = gateway.transactions(1).remove(0);
            assert_eq!(line["attempts"].as_array().unwrap().len(), max_attempts, "{line}");
        }
    }
}

#[tokio::test]
async fn the_keys_of_one_project_cool_down_together() {
    let simulator = simulator_with(3, |config| {
        for key in &mut config.keys[..2] {
            "team-a".clone_into(&mut key.project);
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let mut text = String::new();
    for (n, (label, project)) in [("a-1", "team-a"), ("a-2", "team-a"), ("b-1", "team-b")].iter().enumerate()
    {
        let secret = secret(n);
        writeln!(text, "[[keys]]\nlabel = \"{label}\"\nsecret = \"{secret}\"\nproject = \"{project}\"")
            .unwrap();
    }
    std::fs::write(&file, text).unwrap();
    let options = Options::new(&simulator.url(), 0).args(&["--config", file.to_str().unwrap()]);
    let gateway = options.start();
    simulator.set_faults([Rule::new(quota("30s")).on_project("team-a")]);
    for _ in 0..12 {
        assert_eq!(generate(&gateway).await.0, 200);
    }
    let on_team_a = calls_on(&simulator, 0).len() + calls_on(&simulator, 1).len();
    assert_eq!((on_team_a, calls_on(&simulator, 2).len()), (1, 12));
    let lines = gateway.transactions(12);
    let attempts: Vec<_> = lines.iter().flat_map(|line| line["attempts"].as_array().unwrap()).collect();
    assert_eq!(attempts.iter().filter(|attempt| attempt["key"] == "b-1").count(), 12);
    assert!(attempts.iter().any(|attempt| attempt["fault"] == "QuotaMinute"), "{attempts:?}");
}

/// Everything the gateway has written: standard output and error, and all files of its folder.
fn everything_written(gateway: &Gateway) -> String {
    fn gather(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                gather(&entry.path(), text);
            } else {
                text.push_str(&String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()));
            }
        }
    }
    let mut text = gateway.output();
    gather(&gateway.folder(), &mut text);
    text
}

#[tokio::test]
async fn a_key_that_google_echoes_reaches_neither_the_client_nor_a_log() {
    let simulator = simulator(1).await;
    let echo = format!("consumer 'api_key:{}'", secret(0));
    let event = json!({"error": {"code": 403, "status": "PERMISSION_DENIED",
        "message": format!("Permission denied: Consumer 'api_key:{}' has been suspended.", secret(0))}});
    let header = BTreeMap::from([("x-debug-info".to_owned(), echo.clone())]);
    let plain = BTreeMap::from([("x-debug-info".to_owned(), "harmless".to_owned())]);
    let faults = [
        None, // the simulator's own words about a suspended key
        Some(Fault::ErrorEvent { after_events: 0, body: Some(event), framed: true }),
        // Not in Google's own form, which only an answer that speaks of the request may have.
        Some(Fault::Status { status: 400, headers: header, body: Some(json!(echo)) }),
        Some(Fault::Status { status: 403, headers: plain, body: Some(json!({"error": {"message": echo}})) }),
    ];
    for (n, fault) in faults.into_iter().enumerate() {
        for (client, path, body) in [
            (client(), GENERATE, prompt("x")),
            (client(), SSE, prompt("x")),
            (bearer(), CHAT, chat("x", false)),
            (bearer(), CHAT, chat("x", true)),
        ] {
            // An error inside a success is one only where events are.
            if n == 1 && !(path == SSE || body.contains("\"stream\":true")) {
                continue;
            }
            for coding in ["identity", "gzip"] {
                if n > 0 && coding == "gzip" && path == SSE {
                    continue;
                }
                let options = Options::new(&simulator.url(), 1).set("log.level", "trace");
                let gateway = options.set("log.debug_enabled", true).start();
                match &fault {
                    None => assert!(simulator.set_key_state(&secret(0), KeyState::Suspended)),
                    Some(fault) => {
                        simulator.set_key_state(&secret(0), KeyState::Valid);
                        simulator.set_faults([Rule::new(fault.clone())]);
                    }
                }
                let request = client.post(gateway.url(path)).header("accept-encoding", coding);
                let response = request.body(body.clone()).send().await.unwrap();
                let what = format!("fault {n} {path} {coding}");
                let status = if n == 2 { 400 } else { 403 };
                assert_eq!(response.status(), status, "{what}");
                assert!(!response.headers().contains_key("content-encoding"), "{what}");
                assert!(!format!("{:?}", response.headers()).contains("CanaryCanary"), "{what}");
                assert_eq!(n == 3, response.headers().contains_key("x-debug-info"), "{what}");
                let answer = response.bytes().await.unwrap();
                let answer = std::str::from_utf8(&answer).unwrap();
                assert!(answer.contains("api_key:***"), "{what}: {answer}");
                assert!(!answer.contains("Canary"), "{what}: {answer}");
                gateway.transactions(1);
                let written = everything_written(&gateway);
                assert!(written.contains(&format!("\"status\":{status}")), "{what}: {written}");
                for secret in ["CanaryCanary", "AIzaTestKey", TOKEN] {
                    assert!(!written.contains(secret), "{what}: {secret} in {written}");
                }
            }
        }
    }
}

#[tokio::test]
async fn bytes_that_are_not_what_they_say_pass_as_they_are() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    simulator.set_faults([Rule::new(Fault::BadGzip)]);
    for (path, body) in [(GENERATE, prompt("x")), (SSE, prompt("x")), (CHAT, chat("x", true))] {
        simulator.reset();
        let response = post(&client(), &gateway, path, body).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let answer = response.bytes().await.unwrap();
        assert_eq!(arrived(&simulator, 1)[0].answer_sha256, Some(sha256(&answer)));
    }
    assert_eq!(key_counts(&gateway).await["available"], 1);
}

/// The most memory that the process has ever had, in KiB.
fn peak_kib(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_compressed_bomb_passes_and_costs_little_memory() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    generate(&gateway).await;
    let before = peak_kib(&gateway);
    for (path, mib) in [(GENERATE, 1024), (SSE, 64)] {
        simulator.reset();
        simulator.set_faults([Rule::new(Fault::GzipBomb { mib })]);
        let response = post(&client(), &gateway, path, prompt("x")).await;
        assert_eq!(response.status(), 200);
        let answer = response.bytes().await.unwrap();
        assert_eq!(arrived(&simulator, 1)[0].answer_sha256, Some(sha256(&answer)));
        let grown = peak_kib(&gateway).saturating_sub(before);
        assert!(grown < 32 * 1024, "{path}: grown by {grown} KiB");
    }
}

#[tokio::test]
async fn an_answer_with_too_much_of_a_head_is_a_502_and_the_next_one_is_well() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).set("pool.failure_threshold", 1000).start();
    for fault in [
        Fault::BigHeaders { kib: 80 },
        Fault::BigHeaders { kib: 1024 },
        Fault::ManyHeaders { count: 120 },
        Fault::ManyHeaders { count: 900 },
    ] {
        let what = format!("{fault:?}");
        simulator.set_faults([Rule::new(fault)]);
        let (status, answer) = generate(&gateway).await;
        assert_eq!(status, 502, "{what}");
        assert!(serde_json::from_slice::<Value>(&answer).is_ok());
        simulator.set_faults([]);
        assert_eq!(generate(&gateway).await.0, 200, "{what}");
    }
    simulator.set_faults([Rule::new(Fault::ManyHeaders { count: 60 })]);
    let response = post(&client(), &gateway, GENERATE, prompt("x")).await;
    assert!(response.headers().contains_key("x-many-59"));
    simulator.set_faults([Rule::new(Fault::BigHeaders { kib: 20 })]);
    let response = post(&client(), &gateway, GENERATE, prompt("x")).await;
    assert_eq!(response.headers()["x-big"].len(), 20 * 1024);
    assert_eq!(key_counts(&gateway).await["available"], 2);
}
