//! Why a request went where it went: what its transaction holds, what the operator's API tells of it, and what
//! `gemini-balance explain` says, of each kind of request and of each way to end; from memory, and from the log later.

use crate::{
    live::Session,
    projects::{cache_of, contents},
    support::{
        Gateway, Options, TOKEN, client, exhausted, fingerprint, free_port, prompt, secret, simulator,
        simulator_with, wait_for,
    },
};
use gemini_simulator::{Fault, Rule, Simulator};
use serde_json::{Value, json};
use std::time::Duration;

const ADMIN: &str = "operator-token-0e41";
const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

/// A gateway with the operator's listener.
struct Explained {
    options: Options,
    gateway: Gateway,
    port: u16,
}

impl Explained {
    fn start(options: Options) -> Self {
        let port = free_port();
        let options = options.env("ADMIN_TOKEN", ADMIN).set("admin.port", port);
        Self { gateway: options.start(), options, port }
    }

    fn of(simulator: &Simulator, keys: usize) -> Self {
        Self::start(Options::new(&simulator.url(), keys))
    }

    /// Sends a request to its end; its id and status.
    async fn send(&self, path: &str, body: &Value) -> (String, u16) {
        let method = if body.is_null() { reqwest::Method::GET } else { reqwest::Method::POST };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = client().request(method, self.gateway.url(path)).body(body).send().await.unwrap();
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let status = answer.status().as_u16();
        let _ = answer.bytes().await;
        (id, status)
    }

    async fn generate(&self) -> (String, u16) {
        self.send(GENERATE, &serde_json::from_str(&prompt("x")).unwrap()).await
    }

    /// Asks the operator's listener.
    async fn ask(&self, path: &str) -> (u16, Value) {
        let request = client().get(format!("http://127.0.0.1:{}{path}", self.port)).bearer_auth(ADMIN);
        let answer = request.header("x-goog-api-key", "").send().await.unwrap();
        let (status, body) = (answer.status().as_u16(), answer.bytes().await.unwrap());
        let text = String::from_utf8_lossy(&body);
        assert!(!text.contains("Canary") && !text.contains(TOKEN), "a secret: {text}");
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// The request as the API tells it, once it is counted.
    async fn request(&self, id: &str) -> Value {
        for _ in 0..400 {
            let (status, request) = self.ask(&format!("/api/requests/{id}")).await;
            if status == 200 {
                return request;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("no request {id}");
    }

    /// Whether the command succeeds, and all it prints.
    fn run(&self, id: &str) -> (bool, String) {
        let output = self.options.command(&self.gateway.folder()).args(["explain", id]).output().unwrap();
        let text =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(
            !text.contains("Canary") && !text.contains(ADMIN) && !text.contains(TOKEN),
            "a secret: {text}"
        );
        (output.status.success(), text)
    }

    /// What the command says of a request that it knows, which is to hold all of this in this order.
    fn story(&self, id: &str, parts: &[&str]) -> String {
        let text = wait_for("the story", || Some(self.run(id)).filter(|(known, _)| *known)).1;
        let mut rest = text.as_str();
        for part in parts {
            let Some(at) = rest.find(part) else { panic!("no {part:?} where it should be in:\n{text}") };
            rest = &rest[at + part.len()..];
        }
        text
    }
}

/// Google's refusal for a spent quota of a minute, with this wait.
fn quota(wait: &str) -> Fault {
    let body = json!({"error": {
        "code": 429, "message": format!("You exceeded your current quota. Please retry in {wait}."),
        "status": "RESOURCE_EXHAUSTED", "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{
                "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
                "quotaDimensions": {"location": "global", "model": "gemini-2.5-flash"}, "quotaValue": "5"}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": wait}]}});
    Fault::Status { status: 429, headers: [].into(), body: Some(body) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_simply_succeeds_has_one_attempt_and_no_delay() {
    let simulator = simulator(2).await;
    let explained = Explained::of(&simulator, 2);
    let (id, status) = explained.generate().await;
    assert_eq!(status, 200);
    let request = explained.request(&id).await;
    assert_eq!((&request["verb"], &request["streamed"]), (&"generateContent".into(), &Value::Null));
    assert_eq!(request["attempts"].as_array().unwrap().len(), 1, "{request}");
    for absent in ["delays", "refused_by", "bound_to", "told"] {
        assert_eq!(request[absent], Value::Null, "{request}");
    }
    let attempt = &request["attempts"][0];
    for absent in ["chosen", "passed_over", "words", "fault"] {
        assert_eq!(attempt[absent], Value::Null, "{attempt}");
    }
    assert!(attempt["start_ms"].as_f64().unwrap() <= request["total_ms"].as_f64().unwrap());
    // The log has the same line.
    assert_eq!(explained.gateway.transactions(1)[0], request);
    explained.story(
        &id,
        &[
            &format!("Request {id} of tester: POST generateContent, model gemini-2.5-flash"),
            &format!("Key {} was next in turn.\n", fingerprint(0)),
            "Google answered 200.",
            "The client got the whole answer: 200.",
        ],
    );
    let (id, _) = explained.send(STREAM, &serde_json::from_str(&prompt("x")).unwrap()).await;
    assert_eq!(explained.request(&id).await["streamed"], true);
    explained.story(&id, &["streamGenerateContent, model gemini-2.5-flash, streamed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_refusals_and_a_success_tell_of_three_keys_and_what_google_said() {
    let rules = [Rule::new(quota("40s")).on_key(secret(0)), Rule::new(quota("50s")).on_key(secret(1))];
    let simulator = simulator_with(3, |config| config.faults = rules.into()).await;
    let explained = Explained::of(&simulator, 3);
    let (id, status) = explained.generate().await;
    assert_eq!(status, 200);
    let request = explained.request(&id).await;
    let attempts = request["attempts"].as_array().unwrap();
    let statuses: Vec<_> = attempts.iter().map(|attempt| attempt["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [429, 429, 200], "{request}");
    let starts: Vec<_> = attempts.iter().map(|attempt| attempt["start_ms"].as_f64().unwrap()).collect();
    assert!(starts.is_sorted(), "{request}");
    assert_eq!(
        attempts[0]["words"],
        "RESOURCE_EXHAUSTED: You exceeded your current quota. Please retry in 40s."
    );
    let [first, second, third] = [0, 1, 2].map(fingerprint);
    explained.story(&id, &[
        &format!("Key {first} was next in turn."),
        "Google answered 429: \"RESOURCE_EXHAUSTED: You exceeded your current quota. Please retry in 40s.\" (QuotaMinute).",
        "Left alone: the model in the project, for as long as Google says",
        "tried on another key",
        &format!("Key {second}"),
        "Please retry in 50s.",
        &format!("Key {third} was the only one left."),
        "Google answered 200.",
        "The client got the whole answer: 200.",
    ]);
    // The next request passes the cooling ones over.
    let (id, status) = explained.generate().await;
    assert_eq!(status, 200);
    explained.story(&id, &[
        &format!("Key {third} was the only one left. Passed over: 2 keys cooling for this model (first {first}, a quota per minute is used up, back in "),
        "Google answered 200.",
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spent_pool_tells_what_every_key_waits_for() {
    let simulator = simulator_with(2, |config| config.faults = vec![Rule::new(exhausted())]).await;
    let explained = Explained::of(&simulator, 2);
    let (by_google, status) = explained.generate().await;
    assert_eq!(status, 429);
    explained.story(
        &by_google,
        &[
            "The pool gave no key: the request has tried every key that may serve it; 2 keys tried already",
            "The client got Google's last answer unchanged: 429. It was refused by Google",
        ],
    );
    let (id, status) = explained.generate().await;
    assert_eq!(status, 429);
    let request = explained.request(&id).await;
    assert_eq!((&request["refused_by"], &request["attempts"]), (&"pool".into(), &json!([])), "{request}");
    explained.story(&id, &[
        "The pool gave no key: every key that may serve the request is cooling; the next is back in 36",
        "2 keys cooling for this model",
        "rate limit, no quota named, back in 6",
        "The gateway told the client 429: \"No key of the pool is free: all that may serve this request are cooling down. Try again in 36",
        "It was refused by the pool",
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_a_key_is_told_with_its_cause_and_its_time() {
    let simulator = simulator_with(1, |config| config.faults = vec![Rule::new(quota("1s")).times(1)]).await;
    let explained = Explained::start(Options::new(&simulator.url(), 1).set("retry.max_attempts", 1));
    assert_eq!(explained.generate().await.1, 429);
    let (id, status) = explained.generate().await;
    assert_eq!(status, 200);
    let request = explained.request(&id).await;
    assert!(request["queued_ms"].as_f64().unwrap() >= 500.0, "{request}");
    assert_eq!(request["delays"][0]["cause"], "no_key", "{request}");
    assert_eq!(request["attempts"][0]["probe"], true, "{request}");
    explained.story(
        &id,
        &[
            "Waited ",
            &format!(
                " ms for a key: 1 key cooling for this model ({}, a quota per minute is used up, back in ",
                fingerprint(0)
            ),
            &format!("Key {} was next in turn, as the first after a cooldown or an outage.", fingerprint(0)),
            "Google answered 200.",
            "It had no key for ",
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callers_own_limit_is_told_from_the_pools_and_googles() {
    let simulator = simulator(1).await;
    let tokens = format!("[{{name=\"alice\",secret=\"{TOKEN}\",rpm=1,models=[\"gemini-2.5-flash\"]}}]");
    let explained =
        Explained::start(Options::new(&simulator.url(), 1).without_token().set("auth.tokens", tokens));
    assert_eq!(explained.generate().await.1, 200);
    let (id, status) = explained.generate().await;
    assert_eq!(status, 429);
    let request = explained.request(&id).await;
    assert_eq!((&request["refused_by"], &request["limit"]), (&"caller".into(), &"rpm".into()), "{request}");
    explained.story(
        &id,
        &[
            "of alice",
            "The gateway told the client 429:",
            "It was refused by what its own token allows: rpm.",
        ],
    );
    let (_, body) = explained.ask("/api/requests?refused_by=caller").await;
    assert_eq!(body["requests"].as_array().unwrap().len(), 1, "{body}");
    let (id, _) = explained.send("/v1beta/models/other:generateContent", &json!({})).await;
    assert_eq!(explained.request(&id).await["limit"], "model");
    // Nobody is let in, so there is nobody to name; what was told is.
    let answer = client().get(explained.gateway.url("/v1beta/models")).header("x-goog-api-key", "x");
    let answer = answer.header("x-goog-api-key", "nobody-knows-it").send().await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap();
    if answer.status() == 401 {
        explained.story(id, &["of somebody unknown", "told the client 401: \"The credential is not known"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_left_is_told_with_how_far_it_came() {
    let rules =
        vec![Rule::new(Fault::Stall { after_events: 1 }).times(1), Rule::new(Fault::StallHead).times(1)];
    let simulator = simulator_with(1, |config| config.faults = rules).await;
    let explained = Explained::of(&simulator, 1);
    let mut answer = client().post(explained.gateway.url(STREAM)).body(prompt("x")).send().await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert!(answer.chunk().await.unwrap().is_some());
    drop(answer);
    explained.story(&id, &["Google answered 200.", "The client left in the middle of the answer."]);
    let gone = client().post(explained.gateway.url(GENERATE)).body(prompt("x"));
    assert!(gone.timeout(Duration::from_millis(300)).send().await.is_err());
    let id = explained.gateway.transactions(2)[1]["id"].as_str().unwrap().to_owned();
    explained.story(&id, &["The attempt was cut short.", "The client left before there was an answer."]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_in_the_middle_of_an_answer_is_no_success() {
    let simulator = simulator(2).await;
    let fault = Fault::ErrorEvent { after_events: 1, body: None, framed: true };
    simulator.set_faults([Rule::new(fault)]);
    let explained = Explained::of(&simulator, 2);
    let asked = json!({"model": "gemini-2.5-flash", "max_tokens": 9, "stream": true,
        "messages": [{"role": "user", "content": "x"}]});
    let native: Value = serde_json::from_str(&prompt("x")).unwrap();
    let formats = [(STREAM, &native, "Gemini's"), ("/v1/messages", &asked, "Anthropic's Messages")];
    for (path, body, format) in formats {
        let (id, status) = explained.send(path, body).await;
        assert_eq!(status, 200, "{path}");
        let request = explained.request(&id).await;
        assert_eq!(request["attempts"].as_array().unwrap().len(), 1, "{request}");
        explained.story(
            &id,
            &[
                &format!("in {format} format"),
                "Google answered 200, and an error in the middle of the answer: \"",
                "The rule for the request: not repeated, as the client had the start of it.",
                "The client got 200, the start of the answer, and Google's error in its middle.",
            ],
        );
    }
    let (_, usage) = explained.ask("/api/usage?by=model&step=all&from=-1d").await;
    let row = &usage["rows"][0];
    assert_eq!((&row["answered"], &row["broken"]), (&0.into(), &2.into()), "{usage}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_request_names_what_binds_it() {
    let simulator = simulator(3).await;
    let explained = Explained::of(&simulator, 3);
    let made = client()
        .post(explained.gateway.url("/v1beta/cachedContents"))
        .body(cache_of(contents(&[])).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(made.status(), 200);
    let made: Value = serde_json::from_slice(&made.bytes().await.unwrap()).unwrap();
    let name = made["name"].as_str().unwrap();
    let mut body = contents(&[]);
    body["cachedContent"] = json!(name);
    let (id, status) = explained.send(GENERATE, &body).await;
    assert_eq!(status, 200);
    let request = explained.request(&id).await;
    assert_eq!((&request["bound_to"], &request["attempts"][0]["chosen"]), (&name.into(), &"bound".into()));
    explained.story(
        &id,
        &[
            &format!("Bound to one project, which has {name}."),
            "is of the project that the request is bound to.",
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_session_tells_of_its_attempts_as_well() {
    let simulator = simulator_with(2, |config| {
        config.faults = vec![Rule::new(exhausted()).on_key(secret(0)).times(1)];
    })
    .await;
    let explained = Explained::of(&simulator, 2);
    let mut session = Session::begin(&explained.gateway).await;
    session.ask("hello").await;
    drop(session);
    let line = explained.gateway.transactions(1).remove(0);
    assert_eq!((&line["streamed"], &line["verb"]), (&true.into(), &"BidiGenerateContent".into()), "{line}");
    explained.story(
        line["id"].as_str().unwrap(),
        &[
            &format!("Key {} was next in turn.", fingerprint(0)),
            "Google answered 429: \"",
            &format!("Key {} was the only one left.", fingerprint(1)),
            "Google began the session.",
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_tells_of_each_project_that_was_asked() {
    let simulator = simulator(3).await;
    let explained = Explained::of(&simulator, 3);
    let (id, status) = explained.send("/v1beta/files", &Value::Null).await;
    assert_eq!(status, 200);
    let request = explained.request(&id).await;
    assert_eq!(request["attempts"].as_array().unwrap().len(), 3, "{request}");
    let text = explained.story(
        &id,
        &["GET", "of the project that was to be asked.", "The client got the whole answer: 200."],
    );
    for n in 0..3 {
        assert!(text.contains(&fingerprint(n)), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn googles_words_are_kept_without_a_key_and_not_without_end() {
    let message = format!("Consumer 'api_key:{}' has been suspended. {}", secret(0), "words ".repeat(200));
    let details =
        [json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "CONSUMER_SUSPENDED"})];
    let body = json!({"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED", "details": details}});
    let fault = Fault::Status { status: 403, headers: [].into(), body: Some(body) };
    let simulator = simulator_with(1, |config| config.faults = vec![Rule::new(fault)]).await;
    let explained = Explained::of(&simulator, 1);
    let (id, status) = explained.generate().await;
    assert_eq!(status, 403);
    let request = explained.request(&id).await;
    let words = request["attempts"][0]["words"].as_str().unwrap();
    assert!(words.starts_with("PERMISSION_DENIED: Consumer 'api_key:***' has been"), "{words}");
    assert_eq!(words.chars().count(), 300);
    explained
        .story(&id, &["Google answered 403: \"PERMISSION_DENIED: Consumer 'api_key:***'", "(KeySuspended)"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_listed_by_what_they_are_and_page_by_page() {
    let rules = vec![Rule::new(quota("60s")).on_key(secret(0)).times(1)];
    let simulator = simulator_with(2, |config| config.faults = rules).await;
    let explained = Explained::of(&simulator, 2);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(explained.generate().await.0);
    }
    let (missing, _) = explained.send("/v1beta/models/no-such-model:generateContent", &json!({})).await;
    explained.request(&missing).await;
    ids.reverse();
    let ask = async |query: &str| {
        let (status, body) = explained.ask(&format!("/api/requests?{query}")).await;
        assert_eq!(status, 200, "{query}: {body}");
        let ids = body["requests"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned());
        (ids.collect::<Vec<_>>(), body["cursor"].as_str().map(str::to_owned))
    };
    let all = [vec![missing.clone()], ids.clone()].concat();
    assert_eq!(ask("").await, (all.clone(), None), "the newest first");
    let (first, cursor) = ask("limit=4").await;
    let (rest, end) = ask(&format!("limit=4&cursor={}", cursor.unwrap())).await;
    assert_eq!((([first, rest].concat()), end), (all, None));
    for (query, expected) in [
        ("model=gemini-2.5-flash&caller=tester&since=-1h&status=2xx&end=complete", ids.clone()),
        ("fault=QuotaMinute", vec![ids[4].clone()]),
        ("status=404", vec![missing.clone()]),
        (&format!("id={missing}"), vec![missing.clone()]),
        ("caller=nobody", vec![]),
        ("key=no-such-key", vec![]),
        ("since=2099-01-01", vec![]),
    ] {
        assert_eq!(ask(query).await.0, expected, "{query}");
    }
    let on_first = ask(&format!("key={}", fingerprint(0))).await.0;
    assert!(on_first.contains(&ids[4]), "{on_first:?}");
    for bad in ["limit=0", "limit=201", "cursor=x", "status=9xx", "fault=Nothing", "since=soon", "colour=red"]
    {
        let (status, body) = explained.ask(&format!("/api/requests?{bad}")).await;
        let name = bad.split('=').next().unwrap();
        assert!(status == 400 && body["error"].as_str().unwrap().starts_with(name), "{bad}: {body}");
    }
    let (status, errors) = explained.ask("/api/errors").await;
    assert_eq!(status, 200);
    let fault = |name: &str| {
        let faults = errors["faults"].as_array().unwrap();
        faults.iter().find(|fault| fault["fault"] == name).unwrap_or_else(|| panic!("no {name}: {errors}"))
    };
    assert_eq!(fault("Client")["left_alone"], "nothing");
    let spent = fault("QuotaMinute");
    assert_eq!((&spent["count"], &spent["last"][0]["id"]), (&1.into(), &ids[4].as_str().into()), "{errors}");
    assert!(spent["last"][0]["words"].as_str().unwrap().starts_with("RESOURCE_EXHAUSTED: You exceeded"));
    assert!(spent["advice"].as_str().unwrap().contains("keys of other projects"), "{errors}");
    // No token, no word.
    let stranger = client().get(format!("http://127.0.0.1:{}/api/requests", explained.port));
    assert_eq!(stranger.send().await.unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_longer_in_memory_is_found_in_the_log_and_what_is_unknown_is_said_in_one_line() {
    let simulator = simulator(1).await;
    let explained = Explained::start(Options::new(&simulator.url(), 1).set("usage.recent", 1));
    let (old, _) = explained.generate().await;
    let (new, _) = explained.generate().await;
    explained.request(&new).await;
    assert_eq!(explained.ask(&format!("/api/requests/{old}")).await.0, 404);
    explained.gateway.transactions(2);
    explained.story(&old, &[&format!("Request {old} of tester"), "The client got the whole answer: 200."]);
    // Put aside by a rotation, and the gateway ended.
    let logs = explained.gateway.folder().join("logs");
    std::fs::rename(logs.join("transactions.log"), logs.join("transactions.log.3")).unwrap();
    explained.story(&old, &[&format!("Request {old} of tester")]);
    let Explained { options, mut gateway, port } = explained;
    gateway.signal("TERM");
    assert!(gateway.wait(Duration::from_secs(20)).success());
    let explained = Explained { options, gateway, port };
    explained.story(&new, &[&format!("Request {new} of tester")]);
    let (known, text) = explained.run("0123456789abcdef");
    assert!(!known && text.lines().count() == 1, "{text}");
    assert!(text.contains("no request 0123456789abcdef in logs/transactions.log"), "{text}");
    for bad in ["x", "../../etc/passwd", "0123456789abcdeg"] {
        let (known, text) = explained.run(bad);
        assert!(!known && text.contains("sixteen hexadecimal digits") && text.lines().count() == 1, "{text}");
    }
}
