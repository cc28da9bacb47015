//! Other vendors' formats, as a client without an SDK sees them: paths, credentials, errors, streams as they come; below, what
//! is asked once more and what is kept. Their SDKs and agents are in `tests/clients`.

mod repeats;
mod state;

use crate::support::{Gateway, Options, client, prompt, simulator, simulator_with, stranger};
use futures_util::StreamExt;
use gemini_simulator::{
    AfterSteps, Fault, GoogleError, Model, ModelKind, Rule, ScriptedConversation, ScriptedStep,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const TOKEN: &str = "alice-token-of-thirty-two-characters";

fn message(model: &str, text: &str) -> Value {
    json!({"model": model, "max_tokens": 1000, "messages": [{"role": "user", "content": text}]})
}

fn streamed(mut body: Value) -> Value {
    body["stream"] = json!(true);
    body
}

/// Posts a body and returns the answer as it begins.
async fn send(gateway: &Gateway, path: &str, body: &Value) -> reqwest::Response {
    let request = client().post(gateway.url(path)).header("content-type", "application/json");
    request.body(body.to_string()).send().await.unwrap()
}

async fn post(gateway: &Gateway, path: &str, body: &Value) -> (u16, reqwest::header::HeaderMap, Value) {
    let answer = send(gateway, path, body).await;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let bytes = answer.bytes().await.unwrap();
    let body =
        serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&bytes)));
    (status, headers, body)
}

/// The events of a stream: name and data; whether it ended cleanly.
async fn events(gateway: &Gateway, path: &str, body: &Value) -> (Vec<(String, Value)>, bool) {
    let answer = send(gateway, path, body).await;
    assert_eq!(answer.status().as_u16(), 200, "{}", answer.text().await.unwrap());
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let (mut text, mut clean) = (Vec::new(), true);
    let mut body = answer.bytes_stream();
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => text.extend_from_slice(&piece),
            Err(_) => clean = false,
        }
    }
    let text = String::from_utf8(text).unwrap();
    let events = text.split("\n\n").filter(|event| !event.is_empty()).map(|event| {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        let name = name.strip_prefix("event: ").unwrap().to_owned();
        assert_eq!(data["type"], json!(name));
        (name, data)
    });
    (events.collect(), clean)
}

fn text_of(events: &[(String, Value)]) -> String {
    let deltas = events.iter().filter_map(|(_, data)| match data["type"].as_str()? {
        "content_block_delta" => data["delta"]["text"].as_str(),
        "response.output_text.delta" => data["delta"].as_str(),
        _ => None,
    });
    deltas.collect()
}

#[tokio::test]
async fn both_formats_are_answered_whole_and_streamed_and_the_log_has_both_names_of_the_model() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let (status, headers, answer) =
        post(&gateway, "/v1/messages?beta=true", &message("claude-sonnet-4-5", "hello")).await;
    assert_eq!(
        (status, &answer["type"], &answer["model"]),
        (200, &json!("message"), &json!("claude-sonnet-4-5"))
    );
    assert!(answer["content"][0]["text"].as_str().unwrap().contains("hello"), "{answer}");
    assert_eq!(headers["request-id"], headers["x-request-id"]);
    assert!(answer["usage"]["input_tokens"].as_u64().unwrap() > 0);
    let (status, _, answer) =
        post(&gateway, "/v1/responses", &json!({"model": "gpt-5.5", "input": "hello"})).await;
    assert_eq!((status, &answer["status"], &answer["model"]), (200, &json!("completed"), &json!("gpt-5.5")));
    let (told, clean) =
        events(&gateway, "/anthropic/v1/messages", &streamed(message("claude-x", "hello"))).await;
    assert!(clean && text_of(&told).contains("hello"), "{told:?}");
    assert_eq!((&*told[0].0, &*told.last().unwrap().0), ("message_start", "message_stop"));
    let (told, clean) = events(
        &gateway,
        "/v1/responses",
        &json!({"model": "gemini-2.5-flash", "input": "hello", "stream": true}),
    )
    .await;
    assert!(clean && text_of(&told).contains("hello"), "{told:?}");
    assert_eq!((&*told[0].0, &*told.last().unwrap().0), ("response.created", "response.completed"));
    let lines = gateway.transactions(4);
    let named = |line: &Value| {
        ["dialect", "asked_model", "model"].map(|name| line[name].as_str().unwrap().to_owned())
    };
    assert_eq!(named(&lines[0]), ["anthropic", "claude-sonnet-4-5", "gemini-flash-latest"]);
    assert_eq!(named(&lines[1]), ["responses", "gpt-5.5", "gemini-flash-latest"]);
    assert_eq!(named(&lines[3]), ["responses", "gemini-2.5-flash", "gemini-2.5-flash"]);
    assert!(lines.iter().all(|line| line["usage"]["prompt"].as_u64().unwrap() > 0), "{lines:?}");
    for request in simulator.requests() {
        assert!(request.path.starts_with("/v1beta/models/"), "{}", request.path);
        let names: Vec<&str> = request.headers.iter().map(|(name, _)| &**name).collect();
        assert!(!names.iter().any(|name| name.starts_with("anthropic") || *name == "x-api-key"), "{names:?}");
    }
}

#[tokio::test]
async fn a_credential_is_good_in_every_form_and_errors_come_in_the_formats_own_words() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1)
        .env("ACCESS_TOKENS", format!("alice={TOKEN}"))
        .without_token()
        .start();
    for (name, value) in [
        ("x-api-key", TOKEN.to_owned()),
        ("authorization", format!("Bearer {TOKEN}")),
        ("x-goog-api-key", TOKEN.to_owned()),
    ] {
        for path in ["/v1/messages", "/v1beta/models/gemini-2.5-flash:generateContent"] {
            let body =
                if path == "/v1/messages" { message("claude-x", "hi").to_string() } else { prompt("hi") };
            let answer = stranger()
                .post(gateway.url(path))
                .header(name, &value)
                .header("content-type", "application/json")
                .body(body);
            assert_eq!(answer.send().await.unwrap().status().as_u16(), 200, "{name} {path}");
        }
    }
    let ask = async |path: &str, credential: Option<&str>, body: String| {
        let mut request = stranger().post(gateway.url(path)).body(body);
        if let Some(credential) = credential {
            request = request.header("x-api-key", credential);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap())
    };
    for (path, credential, body, status, kind) in [
        ("/v1/messages", None, "{}", 401, "authentication_error"),
        ("/v1/messages", Some("wrong"), "{}", 401, "authentication_error"),
        ("/v1/messages", Some(TOKEN), "{", 400, "invalid_request_error"),
        (
            "/v1/messages",
            Some(TOKEN),
            r#"{"model":"mistral","max_tokens":1,"messages":[{"role":"user","content":"x"}]}"#,
            404,
            "not_found_error",
        ),
        ("/v1/messages/batches", Some(TOKEN), "{}", 404, "not_found_error"),
        ("/anthropic/v1/files", Some(TOKEN), "{}", 404, "not_found_error"),
        ("/v1/responses", None, "{}", 401, "invalid_request_error"),
        (
            "/v1/responses",
            Some(TOKEN),
            r#"{"model":"gemini-2.5-flash","input":"x","background":true}"#,
            400,
            "invalid_request_error",
        ),
        ("/v1/responses/resp_1/cancel", Some(TOKEN), "{}", 404, "invalid_request_error"),
        ("/v1/responses/compact", Some(TOKEN), "{}", 404, "invalid_request_error"),
    ] {
        let (found, answer) = ask(path, credential, body.to_owned()).await;
        assert_eq!(
            (found, answer["error"]["type"].as_str()),
            (status, Some(kind)),
            "{path} {body}: {answer}"
        );
        assert!(!answer["error"]["message"].as_str().unwrap().is_empty());
        assert_eq!(
            answer["type"] == "error",
            path.contains("messages") || path.contains("files"),
            "{answer}"
        );
    }
    let (_, answer) = ask(
        "/v1/responses",
        Some(TOKEN),
        r#"{"model":"x","input":"x","previous_response_id":"resp_none"}"#.to_owned(),
    )
    .await;
    assert_eq!(answer["error"]["code"], "previous_response_not_found", "{answer}");
    let thread = json!({"model": "claude-x", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}], "thread": {"type": "create"}});
    let (status, answer) = ask("/v1/messages", Some(TOKEN), thread.to_string()).await;
    assert_eq!(
        (status, &answer["error"]["details"]["error_code"]),
        (400, &json!("thread_unsupported_request")),
        "{answer}"
    );
}

#[tokio::test]
async fn what_google_refuses_is_told_with_the_status_that_the_vendors_clients_know() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).set("pool.max_wait_ms", 0).start();
    let (messages, responses) =
        (message("gemini-2.5-flash", "x"), json!({"model": "gemini-2.5-flash", "input": "x"}));
    for (error, status, kind, code) in [
        (GoogleError::InputTooLong, 400, "invalid_request_error", "context_length_exceeded"),
        (GoogleError::QuotaDay, 429, "rate_limit_error", "insufficient_quota"),
    ] {
        simulator.set_faults([Rule::new(Fault::google(error))]);
        let (found, headers, answer) = post(&gateway, "/v1/messages", &messages).await;
        assert_eq!((found, answer["error"]["type"].as_str()), (status, Some(kind)), "{answer}");
        assert_eq!(headers.contains_key("retry-after"), status == 429, "{headers:?} {answer}");
        let text = answer["error"]["message"].as_str().unwrap();
        assert_eq!(
            status == 400,
            text.starts_with("prompt is too long: ") && text.ends_with(" maximum"),
            "{text}"
        );
        let (found, _, answer) = post(&gateway, "/v1/responses", &responses).await;
        let told = answer["error"]["code"].as_str();
        assert_eq!((found, told), (status, Some(code)), "{answer}");
    }
    simulator.set_faults([Rule::new(Fault::status(503))]);
    let gateway = Options::new(&simulator.url(), 2).start();
    for body in [messages.clone(), streamed(messages)] {
        let (status, _, answer) = post(&gateway, "/v1/messages", &body).await;
        assert_eq!((status, answer["error"]["type"].as_str()), (529, Some("overloaded_error")), "{answer}");
    }
    let (status, _, answer) = post(&gateway, "/v1/responses", &responses).await;
    assert_eq!((status, answer["error"]["type"].as_str()), (503, Some("server_error")), "{answer}");
}

#[tokio::test]
async fn another_key_serves_where_one_fails_and_a_break_in_the_middle_ends_with_the_formats_own_error() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).start();
    simulator.set_faults([Rule::new(Fault::google(GoogleError::QuotaMinute)).times(1)]);
    let (told, _) = events(&gateway, "/v1/messages", &streamed(message("gemini-2.5-flash", "hello"))).await;
    assert!(text_of(&told).contains("hello"));
    let steps = [ScriptedStep::texts(["one ", "two ", "three"])];
    simulator.set_conversations([ScriptedConversation::new(steps).then(AfterSteps::Repeat)]);
    for fault in [Fault::Reset { after_events: 1 }, Fault::Truncate { after_events: 1 }] {
        simulator.set_faults([Rule::new(fault)]);
        // The connection ends cleanly behind it: a client that sees it break may drop the error unread.
        let (told, clean) =
            events(&gateway, "/v1/messages", &streamed(message("gemini-2.5-flash", "x"))).await;
        assert_eq!(told.last().unwrap().0, "error", "{told:?}");
        assert!(told.iter().all(|(name, _)| name != "message_stop") && clean);
        let body = json!({"model": "gemini-2.5-flash", "input": "x", "stream": true});
        let (told, clean) = events(&gateway, "/v1/responses", &body).await;
        assert_eq!(told.last().unwrap().0, "response.failed", "{told:?}");
        assert!(told.iter().all(|(name, _)| name != "error" && name != "response.completed") && clean);
    }
    let lines = gateway.transactions(5);
    assert!(lines[1..].iter().all(|line| line["end"] == "upstream_broke"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")] // so that the client can leave while the test waits
async fn the_first_delta_is_there_when_googles_first_event_is() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let steps = [ScriptedStep::texts(["one ", "two"])];
    simulator.set_conversations([ScriptedConversation::new(steps).then(AfterSteps::Repeat)]);
    simulator.set_faults([Rule::new(Fault::Stall { after_events: 1 })]);
    for (path, body) in [
        ("/v1/messages", streamed(message("gemini-2.5-flash", "x"))),
        ("/v1/responses", json!({"model": "gemini-2.5-flash", "input": "x", "stream": true})),
    ] {
        let answer = send(&gateway, path, &body).await;
        let mut pieces = answer.bytes_stream();
        let mut text = String::new();
        let begun = Instant::now();
        while !text.contains("one ") {
            let piece = tokio::time::timeout(Duration::from_secs(10), pieces.next()).await.expect(&text);
            text += std::str::from_utf8(&piece.unwrap().unwrap()).unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(10));
        // The client leaves: nothing is left behind.
    }
    let lines = gateway.transactions(2);
    assert!(lines.iter().all(|line| line["end"] == "client_left"), "{lines:?}");
}

#[tokio::test]
async fn what_is_nobodys_to_serve_is_refused_in_the_format_and_costs_no_key() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    for (method, path, is_anthropics) in [
        ("GET", "/v1/files", true),
        ("POST", "/v1/skills", true),
        ("POST", "/v1/v1/messages", true),
        ("POST", "/v1/v1/responses", false),
        ("POST", "/v1/conversations", false),
        ("GET", "//v1/conversations/conv_1", false),
    ] {
        let mut request = client().request(method.parse().unwrap(), gateway.url(path));
        if is_anthropics {
            request = request.header("anthropic-version", "2023-06-01");
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 404, "{path}");
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(body["type"] == "error", is_anthropics, "{path}: {body}");
        assert!(body["error"]["message"].as_str().unwrap().starts_with("This is not served here"), "{body}");
    }
    assert!(simulator.requests().is_empty());
    let chat = json!({"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]});
    let request =
        client().post(gateway.url("/v1/chat/completions")).header("anthropic-version", "2023-06-01");
    let answer =
        request.header("content-type", "application/json").body(chat.to_string()).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200, "what Google serves passes, whatever the headers");
}

#[tokio::test]
async fn keys_that_google_refuses_are_not_the_clients_fault() {
    let error = |code: u16, status: &str, reason: &str, message: &str| {
        let info = json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"});
        let body = json!({"error": {"code": code, "message": message, "status": status, "details": [info]}});
        Rule::new(Fault::Status { status: code, headers: [].into(), body: Some(body) })
    };
    for refusal in [
        error(400, "INVALID_ARGUMENT", "API_KEY_INVALID", "API key not valid. Please pass a valid API key."),
        error(
            401,
            "UNAUTHENTICATED",
            "ACCESS_TOKEN_TYPE_UNSUPPORTED",
            "Request had invalid authentication credentials.",
        ),
        error(
            403,
            "PERMISSION_DENIED",
            "CONSUMER_SUSPENDED",
            "Permission denied: Consumer has been suspended.",
        ),
    ] {
        for (path, body, status, kind) in [
            ("/v1/messages", message("gemini-2.5-flash", "x"), 529, "overloaded_error"),
            ("/v1/responses", json!({"model": "gemini-2.5-flash", "input": "x"}), 503, "server_error"),
        ] {
            let simulator = simulator(2).await;
            simulator.set_faults([refusal.clone()]);
            let gateway = Options::new(&simulator.url(), 2).start();
            for _ in 0..2 {
                let (found, _, answer) = post(&gateway, path, &body).await;
                assert_eq!(
                    (found, answer["error"]["type"].as_str()),
                    (status, Some(kind)),
                    "{path}: {answer}"
                );
                assert!(
                    answer["error"]["message"].as_str().unwrap().starts_with("No key of the pool is usable")
                );
            }
            // Whether a 401 speaks of the key, it is asked apart.
            let requests = simulator.requests();
            let generating = requests.iter().filter(|request| request.method == "POST");
            assert_eq!(generating.count(), 2, "each key once");
        }
    }
}

#[tokio::test]
async fn a_name_that_google_lists_passes_as_it_is() {
    let models = ["gemini-2.5-flash", "nano-banana-pro-preview"];
    let models = models.map(|name| Model::new(name, ModelKind::Generate)).into();
    let simulator = simulator_with(2, |config| config.models = models).await;
    let gateway = Options::new(&simulator.url(), 2).start();
    let lists = || simulator.requests().iter().filter(|request| request.path == "/v1beta/models").count();
    // The first ones come at once: who does not ask for the list waits for it.
    let asked = message("nano-banana-pro-preview", "x");
    let at_once = (0..8).map(|_| post(&gateway, "/v1/messages", &asked));
    for (status, _, answer) in futures_util::future::join_all(at_once).await {
        assert_eq!((status, &answer["model"]), (200, &json!("nano-banana-pro-preview")), "{answer}");
    }
    let asked = json!({"model": "nano-banana-pro-preview", "input": "x"});
    assert_eq!(post(&gateway, "/v1/responses", &asked).await.0, 200);
    assert_eq!(post(&gateway, "/v1/responses/input_tokens", &asked).await.0, 200);
    // What it does not list is unknown, and the list is not asked for again each time.
    for n in 0..5 {
        let (status, _, answer) =
            post(&gateway, "/v1/messages", &message(&format!("mistral-{n}"), "x")).await;
        assert_eq!((status, &answer["error"]["type"]), (404, &json!("not_found_error")), "{answer}");
    }
    assert_eq!(lists(), 1);
}

#[tokio::test]
async fn a_last_429_says_when_the_pool_has_a_key_again_and_whether_that_is_today() {
    let quota = |id: &str, delay: Option<&str>| {
        let mut details = Vec::new();
        if !id.is_empty() {
            let violation = json!({"quotaId": id, "quotaDimensions": {"model": "gemini-2.5-flash"}});
            details.push(
                json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}),
            );
        }
        if let Some(delay) = delay {
            details.push(json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}));
        }
        let body = json!({"error": {"code": 429, "message": "full", "status": "RESOURCE_EXHAUSTED", "details": details}});
        Rule::new(Fault::Status { status: 429, headers: [].into(), body: Some(body) })
    };
    let minute = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier";
    let day = "GenerateRequestsPerDayPerProjectPerModel-FreeTier";
    for (faults, seconds, code) in [
        (vec![quota("", None)], 1..=120, "rate_limit_exceeded"),
        (
            vec![quota(minute, Some("25s")).times(1), quota(minute, Some("77.2s"))],
            20..=26,
            "rate_limit_exceeded",
        ),
        (
            vec![quota(minute, Some("77.2s")).times(1), quota(minute, Some("25s"))],
            20..=26,
            "rate_limit_exceeded",
        ),
        (vec![quota(day, None)], 1..=25 * 3600, "insufficient_quota"),
    ] {
        for path in ["/v1/messages", "/v1/responses"] {
            let simulator = simulator(2).await;
            simulator.set_faults(faults.clone());
            let gateway = Options::new(&simulator.url(), 2).set("pool.max_wait_ms", 0).start();
            let mut body = message("gemini-2.5-flash", "x");
            if path == "/v1/responses" {
                body = json!({"model": "gemini-2.5-flash", "input": "x"});
            }
            // The first is told what Google said last, the second what the pool knows: they agree.
            for _ in 0..2 {
                let (status, headers, answer) = post(&gateway, path, &body).await;
                assert_eq!(status, 429, "{answer}");
                let after: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
                assert!(seconds.contains(&after), "{path} {after}: {answer}");
                assert!(path == "/v1/messages" || answer["error"]["code"] == code, "{answer}");
            }
            assert_eq!(simulator.requests().len(), 2);
        }
    }
}

#[tokio::test]
async fn slashes_too_many_lead_to_the_formats_as_they_do_everywhere() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let body = message("gemini-2.5-flash", "hello");
    for path in ["//v1/messages", "/v1//messages", "/v1///messages/", "/anthropic//v1/messages"] {
        let (status, _, answer) = post(&gateway, path, &body).await;
        assert_eq!((status, &answer["type"]), (200, &json!("message")), "{path}: {answer}");
    }
    for path in ["//v1/messages/count_tokens", "/v1/messages//count_tokens"] {
        let (status, _, answer) = post(&gateway, path, &body).await;
        assert!(status == 200 && answer["input_tokens"].is_u64(), "{path}: {answer}");
    }
    let asked = json!({"model": "gemini-2.5-flash", "input": "hello"});
    let (status, _, answer) = post(&gateway, "//v1//responses", &asked).await;
    assert_eq!((status, &answer["object"]), (200, &json!("response")), "{answer}");
    let kept = format!("//v1/responses//{}", answer["id"].as_str().unwrap());
    let get = async |path: &str, header: &str| {
        let answer = client().get(gateway.url(path)).header(header, "2023-06-01").send().await.unwrap();
        serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap()
    };
    assert_eq!(get(&kept, "x-other").await["id"], answer["id"]);
    assert_eq!(get("//v1/models", "anthropic-version").await["data"][0]["type"], "model");
    let others = get("//v1/models", "x-other").await;
    assert!(others["data"][0]["type"].is_null(), "{others}");
    let (status, _, answer) = post(&gateway, "//v1/messages/batches", &body).await;
    assert_eq!((status, &answer["error"]["type"]), (404, &json!("not_found_error")), "{answer}");
}

#[tokio::test]
async fn a_callers_limits_and_models_hold_and_are_told_in_the_vendors_headers() {
    let simulator = simulator(1).await;
    let tokens = format!(
        r#"[{{name="alice",secret="{TOKEN}",models=["gemini-2.5-*"],rpm=3}},{{name="bob",secret="bob-{TOKEN}",surfaces=["openai"]}}]"#
    );
    let gateway = Options::new(&simulator.url(), 1).set("auth.tokens", tokens).without_token().start();
    let ask = async |token: &str, path: &str, body: Value| {
        let answer = stranger()
            .post(gateway.url(path))
            .header("x-api-key", token)
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        (status, headers, serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap())
    };
    let (status, headers, _) = ask(TOKEN, "/v1/messages", message("gemini-2.5-flash", "x")).await;
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(
        (
            status,
            header("anthropic-ratelimit-requests-limit"),
            header("anthropic-ratelimit-requests-remaining")
        ),
        (200, "3".into(), "2".into())
    );
    // The mapped name counts.
    let (status, _, answer) = ask(TOKEN, "/v1/messages", message("claude-sonnet-4-5", "x")).await;
    assert_eq!((status, answer["error"]["type"].as_str()), (403, Some("permission_error")), "{answer}");
    let (status, headers, _) =
        ask(TOKEN, "/v1/responses", json!({"model": "gemini-2.5-flash", "input": "x"})).await;
    assert_eq!((status, headers["x-ratelimit-limit-requests"].to_str().unwrap()), (200, "3"));
    let mut last = (0, Value::Null);
    for _ in 0..3 {
        let (status, headers, answer) = ask(TOKEN, "/v1/messages", message("gemini-2.5-flash", "x")).await;
        last = (status, answer);
        if status == 429 {
            assert!(headers.contains_key("retry-after") && headers["x-gemini-balance-limit"] == "rpm");
            assert_eq!(headers["anthropic-ratelimit-requests-remaining"], "0");
            assert!(headers.contains_key("anthropic-ratelimit-requests-reset"));
        }
    }
    assert_eq!((last.0, last.1["error"]["type"].as_str()), (429, Some("rate_limit_error")), "{}", last.1);
    let bob = format!("bob-{TOKEN}");
    assert_eq!(ask(&bob, "/v1/responses", json!({"model": "gemini-2.5-flash", "input": "x"})).await.0, 200);
    let (status, _, answer) = ask(&bob, "/v1/messages", message("gemini-2.5-flash", "x")).await;
    assert_eq!((status, answer["error"]["type"].as_str()), (403, Some("permission_error")), "{answer}");
}

#[tokio::test]
async fn each_format_may_be_left_out_and_three_kinds_of_clients_read_the_models() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("formats.enabled", r#"["responses"]"#).start();
    let (status, _, answer) = post(&gateway, "/v1/messages", &message("claude-x", "x")).await;
    assert_eq!((status, answer["error"]["type"].as_str()), (404, Some("not_found_error")));
    assert_eq!(post(&gateway, "/v1/responses", &json!({"model": "gpt-5", "input": "x"})).await.0, 200);
    let gateway = Options::new(&simulator.url(), 1).start();
    let models = async |path: &str, anthropic: bool| {
        let mut request = client().get(gateway.url(path));
        if anthropic {
            request = request.header("anthropic-version", "2026-10-21");
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap())
    };
    let (_, native) = models("/v1/models", false).await;
    assert!(native["models"][0]["name"].as_str().unwrap().starts_with("models/"), "{native}");
    let (_, listed) = models("/v1/models?limit=2", true).await;
    assert_eq!(
        (listed["data"].as_array().unwrap().len(), &listed["has_more"]),
        (2, &json!(true)),
        "{listed}"
    );
    assert_eq!(listed["data"][0]["type"], "model");
    let (_, one) = models("/v1/models/gemini-2.5-flash", true).await;
    assert_eq!((&one["id"], &one["type"]), (&json!("gemini-2.5-flash"), &json!("model")));
    let (status, one) = models("/v1/models/claude-sonnet-4-5", true).await;
    assert_eq!((status, &one["id"]), (200, &json!("claude-sonnet-4-5")), "{one}");
    assert_eq!(models("/v1/models/mistral", true).await.0, 404);
    for path in ["/v1/messages/count_tokens", "/v1/responses/input_tokens"] {
        let body = if path.contains("messages") {
            message("claude-x", "one two three")
        } else {
            json!({"model": "gpt-5", "input": "one two three"})
        };
        let (status, _, counted) = post(&gateway, path, &body).await;
        assert!(status == 200 && counted["input_tokens"].as_u64().unwrap() > 0, "{counted}");
    }
}

#[tokio::test]
async fn names_may_stand_for_other_models_for_single_callers_and_by_a_reload() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1)
        .env("ACCESS_TOKENS", format!("alice={TOKEN},bob=bob-{TOKEN}"))
        .without_token()
        .set("formats.models", r#"{"claude-sonnet-4-5" = "gemini-3.7-flash"}"#)
        .set("formats.callers", r#"{alice = {"claude-*" = "gemini-2.5-pro"}}"#)
        .start();
    for (token, asked) in [
        (TOKEN.to_owned(), "claude-sonnet-4-5"),
        (TOKEN.to_owned(), "claude-x"),
        (format!("bob-{TOKEN}"), "claude-sonnet-4-5"),
        (format!("bob-{TOKEN}"), "claude-x"),
    ] {
        let body = message(asked, "x").to_string();
        let answer =
            stranger().post(gateway.url("/v1/messages")).header("x-api-key", token).body(body).send();
        assert_eq!(answer.await.unwrap().status().as_u16(), 200);
    }
    let lines = gateway.transactions(4);
    let models: Vec<_> = lines.iter().map(|line| line["model"].as_str().unwrap()).collect();
    // An exact name goes before a pattern, whoever wrote it.
    assert_eq!(models, ["gemini-3.7-flash", "gemini-2.5-pro", "gemini-3.7-flash", "gemini-flash-latest"]);
}

#[test]
fn a_map_of_models_that_makes_no_sense_is_refused_in_one_line() {
    let (status, output) = Options::new("http://127.0.0.1:9", 1)
        .set("formats.models", r#"{"claude-*" = "no such model!"}"#)
        .args(&["check"])
        .run();
    assert!(
        !status.success() && output.contains("formats.models") && output.contains("no such model!"),
        "{output}"
    );
    let (status, output) =
        Options::new("http://127.0.0.1:9", 1).set("formats.enabled", r#"["mistral"]"#).args(&["check"]).run();
    assert!(!status.success() && output.contains("formats.enabled"), "{output}");
}
