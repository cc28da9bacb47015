//! Google's quotas as the gateway keeps them: a day's, a tool's, a project's, limits that are configured and limits that
//! refusals teach; and, for each of Google's errors, what the pool holds against whom afterwards.

use crate::{
    storms::{Storm, ask, quota, with_status},
    support::{Gateway, Options, bearer, chat, client, key_counts, prompt, secret, simulator, wait_for},
};
use gemini_simulator::{Fault, GoogleError, Quota, Rule, Simulator};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

const FLASH: &str = "gemini-2.5-flash";
const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const OTHER_MODEL: &str = "/v1beta/models/gemini-2.5-pro:generateContent";
const CHAT: &str = "/v1/chat/completions";
const ADMIN: &str = "operators-token-51ab";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The operator's listener of a gateway that was started with [`Operator::options`].
struct Operator {
    url: String,
    client: reqwest::Client,
}

impl Operator {
    fn options(options: Options) -> Options {
        options.env("ADMIN_TOKEN", ADMIN).set("admin.port", 0)
    }

    fn of(gateway: &Gateway) -> Self {
        let url = wait_for("operator's listener", || {
            let output = gateway.output();
            let (_, rest) = output.split_once("operator's listener is at ")?;
            Some(rest.split(char::is_whitespace).next()?.to_owned())
        });
        Self { url, client: client() }
    }

    /// Each key as the pool sees it, in the order of the configuration.
    async fn keys(&self) -> Vec<Value> {
        let request = self.client.get(format!("{}/keys", self.url)).bearer_auth(ADMIN);
        let answer = request.header("x-goog-api-key", "").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        answer["keys"].as_array().unwrap().clone()
    }

    async fn reset(&self, id: &str) {
        let request = self.client.post(format!("{}/keys/{id}/reset", self.url)).bearer_auth(ADMIN);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
}

/// A configuration file with keys of these projects, and more; `None` is a key without a label.
fn configuration(projects: &[Option<&str>], more: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for (n, project) in projects.iter().enumerate() {
        writeln!(text, "[[keys]]\nlabel = \"k{n}\"\nsecret = \"{}\"", secret(n)).unwrap();
        if let Some(project) = project {
            writeln!(text, "project = \"{project}\"").unwrap();
        }
    }
    text.push_str(more);
    let file = folder.path().join("keys.toml");
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap().to_owned();
    (folder, path)
}

/// A simulator whose keys are of these projects, and a gateway that knows no more than the labels.
async fn projects(of_google: &[&str], labels: &[Option<&str>]) -> (Simulator, Gateway) {
    let simulator = crate::support::simulator_with(of_google.len(), |config| {
        for (key, project) in config.keys.iter_mut().zip(of_google) {
            (*project).clone_into(&mut key.project);
        }
    })
    .await;
    let (_folder, file) = configuration(labels, "");
    let options = Options::new(&simulator.url(), 0).args(&["--config", &file]);
    let gateway = Operator::options(options.set("pool.cooldown_initial_s", 1)).start();
    (simulator, gateway)
}

/// How many calls a key has had for a model.
fn calls(simulator: &Simulator, key: usize, model: &str) -> u64 {
    let stats = simulator.stats();
    stats.calls.get(&secret(key)).and_then(|calls| calls.models.get(model)).map_or(0, |calls| calls.requests)
}

/// What day it is in Los Angeles, so many milliseconds from now.
async fn los_angeles_date(simulator: &Simulator, in_ms: i64) -> String {
    simulator.set_clock_offset_s(in_ms / 1000);
    let clock = client().get(format!("{}/_simulator/clock", simulator.url())).send().await.unwrap();
    simulator.set_clock_offset_s(0);
    let clock: Value = serde_json::from_slice(&clock.bytes().await.unwrap()).unwrap();
    clock["los_angeles_date"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_has_a_quota_of_its_own_is_not_closed_with_the_models() {
    let of_model = |verb: &str| format!("/v1beta/models/{FLASH}:{verb}");
    let (count, batch) = (of_model("countTokens"), of_model("batchGenerateContent"));
    let caches = "/v1beta/cachedContents";
    for (closed, open) in [
        (GENERATE, [("POST", &*count), ("POST", OTHER_MODEL), ("GET", "/v1beta/files")]),
        (&count, [("POST", GENERATE), ("POST", OTHER_MODEL), ("GET", "/v1beta/models")]),
        (&batch, [("POST", GENERATE), ("POST", &count), ("GET", "/v1beta/models")]),
        (caches, [("POST", GENERATE), ("GET", caches), ("GET", "/v1beta/models")]),
    ] {
        let simulator = simulator(2).await;
        let gateway = Options::new(&simulator.url(), 2).start();
        let fault = Fault::google(GoogleError::QuotaDay);
        simulator.set_faults([Rule::new(fault).on_path(closed).on_method("POST")]);
        assert_eq!(ask(&gateway, closed, "x").await.0, 429, "{closed}");
        let before = simulator.stats().requests;
        assert_eq!(ask(&gateway, closed, "x").await.0, 429, "{closed}");
        assert_eq!(simulator.stats().requests, before, "{closed} is asked again");
        for (method, path) in open {
            let request = client().request(method.parse().unwrap(), gateway.url(path));
            let request = if method == "POST" { request.body(prompt("x")) } else { request };
            assert_eq!(request.send().await.unwrap().status(), 200, "{method} {path} after {closed}");
        }
    }
}

#[tokio::test]
async fn a_project_whose_day_is_spent_rests_until_midnight_in_los_angeles_for_that_model_only() {
    let labels = [Some("a"), Some("a"), Some("b"), Some("c")];
    let (simulator, gateway) = projects(&["a", "a", "b", "c"], &labels).await;
    let operator = Operator::of(&gateway);
    simulator.set_faults([Rule::new(Fault::google(GoogleError::QuotaDay)).on_project("a").on_model(FLASH)]);
    for _ in 0..8 {
        assert_eq!(ask(&gateway, GENERATE, "x").await.0, 200);
    }
    assert_eq!(calls(&simulator, 0, FLASH) + calls(&simulator, 1, FLASH), 1);
    let storm = Storm { connections: 20, each: 20, pace: Duration::from_millis(50) };
    assert_eq!(with_status(&storm.on(&gateway, GENERATE).await, 200), 400);
    assert_eq!(calls(&simulator, 0, FLASH) + calls(&simulator, 1, FLASH), 1);
    assert_eq!(with_status(&storm.on(&gateway, OTHER_MODEL).await, 200), 400);
    for key in 0..4 {
        assert!(calls(&simulator, key, "gemini-2.5-pro") >= 90, "all keys serve the other model");
    }
    let ready = client().get(gateway.url("/health/ready")).send().await.unwrap();
    assert_eq!(ready.status(), 200);
    let counts = key_counts(&gateway).await;
    assert_eq!((&counts["available"], &counts["cooling"]), (&json!(4), &json!(0)), "{counts}");

    // The other projects' day ends too, and all is said that there is to say.
    simulator.set_faults([Rule::new(Fault::google(GoogleError::QuotaDay)).on_model(FLASH)]);
    let (status, _) = ask(&gateway, GENERATE, "x").await;
    assert_eq!(status, 429);
    let before = simulator.stats().requests;
    let (status, retry_after) = ask(&gateway, GENERATE, "x").await;
    assert_eq!((status, simulator.stats().requests), (429, before));
    for key in operator.keys().await {
        let model = &key["models"][0];
        assert_eq!((&model["model"], &model["reason"]), (&json!(FLASH), &json!("quota_day")), "{key}");
        let back_ms = model["back_in_ms"].as_i64().unwrap();
        assert!(retry_after.unwrap().abs_diff(back_ms.unsigned_abs() / 1000) < 10, "{retry_after:?} {key}");
        let today = los_angeles_date(&simulator, 0).await;
        assert_eq!(los_angeles_date(&simulator, (back_ms - 60_000).max(0)).await, today, "{key}");
        assert_ne!(los_angeles_date(&simulator, back_ms + 60_000).await, today, "{key}");
    }
    assert_eq!(ask(&gateway, OTHER_MODEL, "x").await.0, 200);
}

#[tokio::test]
async fn keys_are_known_for_siblings_once_google_has_named_their_project() {
    let (simulator, gateway) = projects(&["123456789", "123456789", "987654321"], &[None; 3]).await;
    let operator = Operator::of(&gateway);
    // A restriction of the method's; its refusal names the project by the way.
    let restricted = |key| Rule::new(Fault::google(GoogleError::KeyRestricted)).on_key(secret(key)).times(1);
    simulator.set_faults([restricted(0), restricted(1)]);
    assert_eq!(ask(&gateway, GENERATE, "x").await.0, 200);
    assert_eq!(ask(&gateway, GENERATE, "x").await.0, 200);
    let numbers: Vec<_> = operator.keys().await.iter().map(|key| key["project_number"].to_string()).collect();
    assert_eq!(numbers, ["123456789", "123456789", "null"]);
    // The restriction rests the model there for a second.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let keys = operator.keys().await;
        let models = keys.iter().flat_map(|key| key["models"].as_array().unwrap());
        if !models.into_iter().any(|model| model["state"] == "cooling") {
            break;
        }
        assert!(Instant::now() < deadline, "{keys:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    simulator.reset();
    simulator.set_faults([Rule::new(quota("30s", None)).on_project("123456789")]);
    for _ in 0..12 {
        assert_eq!(ask(&gateway, GENERATE, "x").await.0, 200);
    }
    let calls: Vec<_> = (0..3).map(|key| calls(&simulator, key, FLASH)).collect();
    assert_eq!((calls[0] + calls[1], calls[2]), (1, 12), "{calls:?}");
}

#[tokio::test]
async fn what_two_keys_of_one_project_made_goes_together_once_google_has_named_it() {
    let (simulator, gateway) = projects(&["123456789", "123456789", "987654321"], &[None; 3]).await;
    let caller = crate::projects::Caller::new(&gateway.url(""), crate::support::TOKEN);
    let mut files = Vec::new();
    for key in 0..3 {
        let direct = crate::projects::Caller::new(&simulator.url(), &secret(key));
        files.push(direct.file("v1beta", "text/plain", "one").await.uri);
    }
    // Each is asked for, and found on the first key that has it.
    for uri in &files {
        caller.post(GENERATE, &crate::projects::contents(&[uri])).await;
    }
    let restricted = |key| Rule::new(Fault::google(GoogleError::KeyRestricted)).on_key(secret(key)).times(1);
    simulator.set_faults([restricted(0), restricted(1)]);
    for _ in 0..3 {
        assert_eq!(ask(&gateway, GENERATE, "x").await.0, 200);
    }
    tokio::time::sleep(Duration::from_millis(1300)).await;
    caller.post(GENERATE, &crate::projects::contents(&[&files[0], &files[1]])).await;
    let apart = caller.send("POST", GENERATE, &crate::projects::contents(&[&files[0], &files[2]])).await;
    assert_eq!(apart.status, 400, "{}", apart.text());
    // One project's list stands in it once.
    let list = caller.get("/v1beta/files?pageSize=100").await;
    assert_eq!(list["files"].as_array().map_or(0, Vec::len), 0, "made outside, so nobody's");
    let lists = simulator.requests().into_iter().filter(|request| request.path == "/v1beta/files");
    assert_eq!(lists.filter(|request| request.method == "GET").count(), 2);
}

#[tokio::test]
async fn a_project_that_google_closes_closes_for_all_its_keys() {
    let labels = [Some("a"), Some("a"), None];
    for (error, state) in [
        (GoogleError::ServiceDisabled, "cooling"),
        (GoogleError::BillingDisabled, "retired"),
        (GoogleError::SpendingCap, "cooling"),
        (GoogleError::CreditsGone, "cooling"),
    ] {
        let (simulator, gateway) = projects(&["123456789", "123456789", "987654321"], &labels).await;
        simulator.set_faults([Rule::new(Fault::google(error)).on_project("123456789")]);
        for path in [GENERATE, OTHER_MODEL] {
            for _ in 0..6 {
                assert_eq!(ask(&gateway, path, "x").await.0, 200);
            }
        }
        let stats = simulator.stats();
        let on_project: u64 = (0..2).filter_map(|key| stats.by_key.get(&secret(key))).sum();
        assert_eq!((on_project, stats.by_key[&secret(2)]), (1, 12), "{error:?}");
        let counts = key_counts(&gateway).await;
        assert_eq!((&counts[state], &counts["available"]), (&json!(2), &json!(1)), "{error:?}: {counts}");
    }
}

#[tokio::test]
async fn a_tool_whose_quota_is_spent_rests_and_its_project_serves_what_needs_no_tool() {
    let simulator = simulator(2).await;
    let gateway = Operator::options(Options::new(&simulator.url(), 2)).start();
    let operator = Operator::of(&gateway);
    let searching = |tool: &str| {
        let contents = json!([{ "role": "user", "parts": [{ "text": "x" }] }]);
        json!({ "contents": contents, "tools": [{ tool: {} }] }).to_string()
    };
    let search = async |tool: &str| {
        client().post(gateway.url(GENERATE)).body(searching(tool)).send().await.unwrap().status().as_u16()
    };
    let rule = Rule::new(Fault::google(GoogleError::ToolQuota)).on_key(secret(0)).times(1);
    simulator.set_faults([rule]);
    for _ in 0..10 {
        assert_eq!(search("google_search").await, 200);
        assert_eq!(search("googleSearch").await, 200);
    }
    assert_eq!((calls(&simulator, 0, FLASH), calls(&simulator, 1, FLASH)), (1, 20));
    for _ in 0..10 {
        assert_eq!(ask(&gateway, GENERATE, "x").await.0, 200);
        assert_eq!(search("url_context").await, 200);
    }
    assert!(calls(&simulator, 0, FLASH) >= 10, "{}", calls(&simulator, 0, FLASH));
    let keys = operator.keys().await;
    assert_eq!((&keys[0]["state"], &keys[0]["models"]), (&json!("available"), &json!([])), "{}", keys[0]);
    let tool = &keys[0]["tools"][0];
    assert_eq!((&tool["tool"], &tool["state"]), (&json!("google_search"), &json!("cooling")), "{tool}");
    assert_eq!(keys[1]["tools"], json!([]));
    // The other project's too: then there is no key for it, and plenty without it.
    simulator.set_faults([Rule::new(Fault::google(GoogleError::ToolQuota)).times(1)]);
    assert_eq!(search("google_search").await, 429);
    let before = simulator.stats().requests;
    assert_eq!(search("google_search").await, 429);
    assert_eq!(simulator.stats().requests, before);
    assert_eq!(ask(&gateway, GENERATE, "x").await.0, 200);
    assert_eq!(key_counts(&gateway).await["available"], 2);
}

#[tokio::test]
async fn a_configured_limit_is_used_up_to_the_last_request_and_never_beyond() {
    const RPM: u64 = 40;
    for share in [1_usize, 2] {
        let keys = 3 * share;
        let simulator = crate::support::simulator_with(keys, |config| {
            config.quotas = vec![Quota { rpm: Some(RPM), ..Quota::default() }];
            for (n, key) in config.keys.iter_mut().enumerate() {
                key.project = format!("p{}", n % 3);
            }
        })
        .await;
        let labels = ["p0", "p1", "p2"].map(Some).repeat(share);
        let (_folder, file) = configuration(&labels, &format!("[[limits]]\nrpm = {RPM}\n"));
        let gateway = Options::new(&simulator.url(), 0).args(&["--config", &file]).start();
        let storm = Storm { connections: 30, each: 20, pace: Duration::from_millis(60) };
        let shots = storm.on(&gateway, GENERATE).await;
        let stats = simulator.stats();
        assert_eq!(stats.by_status, [(200, 3 * RPM)].into(), "{keys} keys");
        assert_eq!((with_status(&shots, 200), with_status(&shots, 429)), (120, 480));
        let mut refused = shots.iter().filter(|shot| shot.status == 429);
        assert!(refused.all(|shot| shot.retry_after.is_some_and(|seconds| (50..=62).contains(&seconds))));
        // Another model has limits of its own.
        assert_eq!(ask(&gateway, OTHER_MODEL, "x").await.0, 200);
    }
}

#[tokio::test]
async fn the_first_refusal_teaches_a_limit_and_nothing_goes_up_beyond_it() {
    const LIMIT: u64 = 7;
    let simulator = simulator(1).await;
    let gateway = Operator::options(Options::new(&simulator.url(), 1)).start();
    let operator = Operator::of(&gateway);
    // The cooldown is over in a second; what holds the rest back is what was learnt.
    simulator.set_faults([Rule::new(quota("1s", Some(LIMIT))).times(1)]);
    assert_eq!(ask(&gateway, GENERATE, "x").await.0, 429);
    assert_eq!(operator.keys().await[0]["limits"][0]["rpm"], LIMIT);
    let mut statuses = Vec::new();
    for _ in 0..2 * LIMIT {
        let (status, retry_after) = ask(&gateway, GENERATE, "x").await;
        assert_eq!(retry_after.is_some_and(|seconds| (45..=62).contains(&seconds)), status == 429);
        statuses.push(status);
    }
    let served = usize::try_from(LIMIT).unwrap();
    assert_eq!(statuses, [vec![200; served], vec![429; served]].concat());
    assert_eq!(simulator.stats().requests, 1 + LIMIT);
    assert_eq!(ask(&gateway, OTHER_MODEL, "x").await.0, 200);
}

#[tokio::test]
async fn what_googles_refusals_teach_ends_a_storm_for_the_rest_of_the_minute() {
    const RPM: u64 = 25;
    let quotas = vec![Quota { rpm: Some(RPM), ..Quota::default() }];
    let simulator = crate::support::simulator_with(3, |config| config.quotas = quotas).await;
    let gateway = Options::new(&simulator.url(), 3).start();
    let storm = Storm { connections: 20, each: 20, pace: Duration::from_millis(50) };
    let shots = storm.on(&gateway, GENERATE).await;
    let stats = simulator.stats();
    assert_eq!(with_status(&shots, 200), 75, "all there was");
    assert_eq!(stats.by_status[&200], 75);
    let refused = stats.by_status[&429];
    eprintln!("{refused} refusals of Google's for {} connections on 3 keys", storm.connections);
    // Those that were under way when a project's limit was reached, and each at most once a project.
    assert!(refused <= 3 * storm.connections as u64, "{refused}");
    let requests = simulator.requests();
    for key in 0..3 {
        let on_key = || requests.iter().filter(|request| request.key == Some(secret(key)));
        let known_at =
            on_key().filter(|call| call.status == Some(429)).filter_map(|call| call.ended_at_ms).min();
        let last_at = on_key().map(|call| call.at_ms).max();
        assert!(last_at.unwrap() < known_at.unwrap() + 1000, "{last_at:?} {known_at:?}");
    }
    storm.on(&gateway, GENERATE).await;
    assert_eq!(simulator.stats().requests, stats.requests);
}

/// What the pool holds against the key that met an error.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Held {
    Nothing,
    Retired,
    /// The key or its whole project, for so many milliseconds.
    Cooling(u64, u64),
    /// Its project, for the model.
    Model(u64, u64),
    /// Its project, for the tool.
    Tool(u64, u64),
}

/// Each of Google's errors met once on a pool of three: what the client is told, in how many calls, what the error is
/// called, and what is held against whom.
const BLAME: &[(GoogleError, u16, u64, &str, Held)] = {
    use GoogleError as E;
    use Held::{Cooling, Model, Nothing, Retired, Tool};
    // A backoff begins with `cooldown_initial_s` or `rate_limit_wait_s`, a tenth more or less.
    const KEY: (u64, u64) = (269_000, 331_000);
    const LONG: (u64, u64) = (DAY_MS - 60_000, DAY_MS);
    &[
        (E::KeyInvalid, 200, 2, "KeyInvalid", Retired),
        (E::KeyExpired, 200, 2, "KeyInvalid", Retired),
        (E::CredentialsMultiple, 200, 2, "CredentialsMultiple", Nothing),
        (E::LocationUnsupported, 200, 2, "LocationUnsupported", Nothing),
        (E::UnknownField, 400, 1, "Client", Nothing),
        (E::PayloadTooLarge, 400, 1, "Client", Nothing),
        // Asked about at once, and well.
        (E::Unauthenticated, 200, 3, "KeyUnauthenticated", Nothing),
        (E::CreditsGone, 200, 2, "CreditsGone", Cooling(LONG.0, LONG.1)),
        (E::CreditsDepleted, 200, 2, "CreditsGone", Cooling(LONG.0, LONG.1)),
        (E::KeySuspended, 200, 2, "KeySuspended", Retired),
        (E::KeyLeaked, 200, 2, "KeySuspended", Retired),
        (E::KeyRestricted, 200, 2, "MethodBlocked", Model(KEY.0, KEY.1)),
        (E::ReferrerBlocked, 200, 2, "KeyRestricted", Cooling(KEY.0, KEY.1)),
        (E::ServiceDisabled, 200, 2, "ServiceDisabled", Cooling(LONG.0, LONG.1)),
        (E::BillingDisabled, 200, 2, "BillingDisabled", Retired),
        (E::UnregisteredCaller, 403, 1, "CredentialMissing", Nothing),
        (E::FileUnreachable, 403, 1, "ResourceUnreachable", Nothing),
        (E::Forbidden, 200, 2, "Forbidden", Model(KEY.0, KEY.1)),
        (E::ModelWithheld, 200, 2, "ModelWithheld", Model(LONG.0, LONG.1)),
        (E::ModelNotFound, 404, 1, "Client", Nothing),
        (E::NotFound, 404, 1, "ResourceUnreachable", Nothing),
        (E::QuotaMinute, 200, 2, "QuotaMinute", Model(33_000, 36_000)),
        (E::QuotaTokens, 200, 2, "QuotaMinute", Model(33_000, 36_000)),
        // Until midnight in Los Angeles, whenever the test runs.
        (E::QuotaDay, 200, 2, "QuotaDay", Model(0, DAY_MS + 3_600_000)),
        (E::QuotaDayAndMinute, 200, 2, "QuotaDay", Model(0, DAY_MS + 3_600_000)),
        (E::QuotaZero, 200, 2, "QuotaZero", Model(LONG.0, LONG.1)),
        (E::ToolQuota, 200, 2, "QuotaUnnamed", Tool(79_000, 100_000)),
        (E::SpendingCap, 200, 2, "SpendingCap", Cooling(LONG.0, LONG.1)),
        (E::QuotaBare, 200, 2, "QuotaBare", Model(79_000, 100_000)),
        (E::Cancelled, 499, 1, "Cancelled", Nothing),
        (E::Internal, 200, 2, "Internal", Nothing),
        (E::Overloaded, 200, 2, "Overloaded", Nothing),
        (E::HighDemand, 200, 2, "Overloaded", Nothing),
        (E::DeadlineExceeded, 504, 1, "DeadlineExceeded", Nothing),
    ]
};

fn is_held(key: &Value, expected: Held) -> bool {
    let (models, tools) = (key["models"].as_array().unwrap(), key["tools"].as_array().unwrap());
    let within = |view: &Value, least, most| {
        view["back_in_ms"].as_u64().is_some_and(|back_ms| (least..=most).contains(&back_ms))
    };
    match expected {
        Held::Nothing => key["state"] == "available" && models.is_empty() && tools.is_empty(),
        Held::Retired => key["state"] == "retired" && models.is_empty() && tools.is_empty(),
        Held::Cooling(least, most) => {
            key["state"] == "cooling" && within(key, least, most) && models.is_empty() && tools.is_empty()
        }
        Held::Model(least, most) => {
            let cools = |model: &Value| model["model"] == FLASH && within(model, least, most);
            key["state"] == "available" && tools.is_empty() && models.len() == 1 && cools(&models[0])
        }
        Held::Tool(least, most) => {
            let cools = |tool: &Value| tool["tool"] == "google_search" && within(tool, least, most);
            key["state"] == "available" && models.is_empty() && tools.len() == 1 && cools(&tools[0])
        }
    }
}

#[tokio::test]
async fn each_of_googles_errors_is_held_against_whom_it_speaks_of_and_nobody_else() {
    const KEYS: usize = 3;
    let simulator = simulator(KEYS).await;
    let labels = [Some("a"), Some("b"), Some("c")];
    let (_folder, file) = configuration(&labels, "");
    let options = Options::new(&simulator.url(), 0).args(&["--config", &file]);
    let gateway = Operator::options(options).start();
    let operator = Operator::of(&gateway);
    let body = json!({
        "contents": [{ "role": "user", "parts": [{ "text": "x" }] }], "tools": [{ "google_search": {} }]
    });
    let mut lines = 0;
    for &(error, status, calls, fault, held) in BLAME {
        for (client, path, body) in
            [(client(), GENERATE, body.to_string()), (bearer(), CHAT, chat("x", false))]
        {
            if error == GoogleError::ToolQuota && path == CHAT {
                continue; // in which no such tool can be asked for
            }
            let what = format!("{error:?} on {path}");
            simulator.reset();
            simulator.set_faults([Rule::new(Fault::google(error)).times(1)]);
            let response = client.post(gateway.url(path)).body(body).send().await.unwrap();
            assert_eq!(response.status(), status, "{what}");
            response.bytes().await.unwrap();
            assert_eq!(simulator.stats().requests, calls, "{what}");
            lines += 1;
            let line = gateway.transactions(lines).swap_remove(lines - 1);
            assert_eq!(line["attempts"][0]["fault"], fault, "{what}: {line}");
            let blamed = &line["attempts"][0]["key"];
            for key in operator.keys().await {
                let expected = if key["id"] == *blamed { held } else { Held::Nothing };
                assert!(is_held(&key, expected), "{what}: not {expected:?}: {key}");
            }
            let counts = key_counts(&gateway).await;
            let (cooling, retired) = match held {
                Held::Retired => (0, 1),
                Held::Cooling(..) => (1, 0),
                Held::Nothing | Held::Model(..) | Held::Tool(..) => (0, 0),
            };
            let expected = (json!(KEYS - cooling - retired), json!(cooling), json!(retired));
            let counts = (&counts["available"], &counts["cooling"], &counts["retired"]);
            assert_eq!(counts, (&expected.0, &expected.1, &expected.2), "{what}");
            operator.reset(blamed.as_str().unwrap()).await;
        }
    }
}

#[tokio::test]
async fn none_of_googles_errors_shows_a_key_to_a_client() {
    let simulator = simulator(2).await;
    let (_folder, file) = configuration(&[None; 2], "");
    let options = Options::new(&simulator.url(), 0).args(&["--config", &file]);
    let gateway = Operator::options(options.set("retry.max_attempts", 2)).start();
    let operator = Operator::of(&gateway);
    for &(error, ..) in BLAME {
        for (client, path, body) in [
            (client(), GENERATE, prompt("x")),
            (client(), "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", prompt("x")),
            (bearer(), CHAT, chat("x", true)),
        ] {
            simulator.set_faults([Rule::new(Fault::google(error))]);
            let response = client.post(gateway.url(path)).body(body).send().await.unwrap();
            let head = format!("{:?}", response.headers());
            let text = format!("{head}{}", response.text().await.unwrap());
            assert!(text.contains("error"), "{error:?}: {text}");
            for shown in ["CanaryCanary", "AIzaTestKey"] {
                assert!(!text.contains(shown), "{error:?} on {path}: {text}");
            }
            for id in ["k0", "k1"] {
                operator.reset(id).await;
            }
        }
    }
}
