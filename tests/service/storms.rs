//! Many requests at once while the upstream refuses: what goes up all the same, what those are told who get nothing,
//! who waits for how long, and what happens when a key comes back. Counts are asserted, times are reported.

use crate::{
    support::{
        Gateway, Options, TOKEN, arrived, client, key_counts, prompt, secret, sha256, simulator, wait_for,
    },
    wire::{Wire, request},
};
use futures_util::future::join_all;
use gemini_simulator::{Fault, GoogleError, LoggedRequest, Rule, Simulator};
use serde_json::json;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const FLASH: &str = "gemini-2.5-flash";
const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
const OTHER_MODEL: &str = "/v1beta/models/gemini-2.5-pro:generateContent";

/// One request of a storm.
#[derive(Clone, Debug)]
pub(crate) struct Shot {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
    pub(crate) took: Duration,
}

/// So many connections at once, each with so many requests, one every `pace` as long as the answers keep up.
#[derive(Clone, Copy)]
pub(crate) struct Storm {
    pub(crate) connections: usize,
    pub(crate) each: usize,
    pub(crate) pace: Duration,
}

impl Storm {
    /// Breaks loose on a path. Every request is answered, or this panics.
    pub(crate) async fn on(self, gateway: &Gateway, path: &str) -> Vec<Shot> {
        let text = request("POST", path, &[("x-goog-api-key", TOKEN)], &prompt("x"));
        let begun = tokio::time::Instant::now();
        let connection = async |n: usize| {
            let offset = self.pace * u32::try_from(n).unwrap() / u32::try_from(self.connections).unwrap();
            let mut wire = Wire::connect(gateway.authority()).await;
            let mut shots = Vec::with_capacity(self.each);
            for turn in 0..self.each {
                tokio::time::sleep_until(begun + offset + self.pace * u32::try_from(turn).unwrap()).await;
                let sent = Instant::now();
                wire.send(&text).await.unwrap();
                let answer = wire.answer().await.expect("an answer");
                assert!(answer.whole, "{answer:?}");
                let retry_after = answer.header("retry-after").map(|seconds| seconds.parse().unwrap());
                shots.push(Shot { status: answer.status, retry_after, took: sent.elapsed() });
            }
            shots
        };
        let shots = join_all((0..self.connections).map(connection)).await.concat();
        report(path, &shots, begun.elapsed());
        shots
    }

    fn requests(self) -> usize {
        self.connections * self.each
    }
}

/// Tells the figures of a storm, to be read with `--nocapture`.
fn report(path: &str, shots: &[Shot], lasted: Duration) {
    let mut took: Vec<_> = shots.iter().map(|shot| shot.took).collect();
    took.sort_unstable();
    let mut statuses = BTreeMap::new();
    for shot in shots {
        *statuses.entry(shot.status).or_insert(0) += 1;
    }
    let (middle, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    eprintln!(
        "{} requests in {lasted:.1?}: {statuses:?}, p50 {middle:.1?}, p99 {p99:.1?}, {path}",
        took.len()
    );
}

/// How many were answered so.
pub(crate) fn with_status(shots: &[Shot], status: u16) -> usize {
    shots.iter().filter(|shot| shot.status == status).count()
}

/// Google's answer when a minute's quota is spent, which does not say what the quota is.
fn spent(retry_delay: &str) -> Fault {
    quota(retry_delay, None)
}

/// The same, with the quota itself.
pub(crate) fn quota(retry_delay: &str, value: Option<u64>) -> Fault {
    let mut violation = json!({
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
        "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
        "quotaDimensions": {"location": "global", "model": FLASH}});
    if let Some(value) = value {
        violation["quotaValue"] = json!(value.to_string());
    }
    let body = json!({"error": {
        "code": 429, "message": format!("You exceeded your current quota. Please retry in {retry_delay}."),
        "status": "RESOURCE_EXHAUSTED", "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": retry_delay}]}});
    Fault::Status { status: 429, headers: BTreeMap::new(), body: Some(body) }
}

/// Status and `Retry-After` of one request.
pub(crate) async fn ask(gateway: &Gateway, path: &str, text: &str) -> (u16, Option<u64>) {
    let request = client().post(gateway.url(path)).body(prompt(text)).timeout(Duration::from_secs(30));
    let response = request.send().await.expect("an answer");
    let retry_after = response.headers().get("retry-after");
    let retry_after = retry_after.map(|seconds| seconds.to_str().unwrap().parse().unwrap());
    let status = response.status().as_u16();
    response.bytes().await.unwrap();
    (status, retry_after)
}

fn calls_on(requests: &[LoggedRequest], key: usize) -> Vec<&LoggedRequest> {
    requests.iter().filter(|request| request.key == Some(secret(key))).collect()
}

async fn waiting(gateway: &Gateway, count: u64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while key_counts(gateway).await["waiting"] != count {
        assert!(Instant::now() < deadline, "{}", key_counts(gateway).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_storm_on_a_pool_that_is_spent_reaches_no_key_before_its_time() {
    const KEYS: usize = 10;
    let simulator = simulator(KEYS).await;
    let gateway = Options::new(&simulator.url(), KEYS).start();
    simulator.set_faults(
        (0..KEYS).map(|n| Rule::new(spent(&format!("{}s", 58 - 3 * n))).on_key(secret(n)).on_model(FLASH)),
    );
    // Connections first, which take longer to make than an answer takes to come.
    let first = Storm { connections: 100, each: 2, pace: Duration::from_millis(100) };
    let calm = first.on(&gateway, OTHER_MODEL).await;
    assert_eq!(with_status(&calm, 200), first.requests());
    simulator.reset();
    // The first to come find out.
    let spent_at = Instant::now();
    let first = Storm { connections: 100, each: 5, pace: Duration::from_millis(100) };
    let shots = first.on(&gateway, GENERATE).await;
    assert_eq!(with_status(&shots, 429), first.requests());
    let lines = gateway.transactions(calm.len() + shots.len());
    let lines = lines.iter().filter(|line| line["model"] == FLASH);
    let admitted = lines.filter(|line| !line["attempts"].as_array().unwrap().is_empty()).count();
    let stats = simulator.stats();
    let calls = usize::try_from(stats.requests).unwrap();
    eprintln!("{calls} upstream calls for {admitted} admitted of {}", first.requests());
    // Of all who came, those only that were under way together while the pool found out.
    assert!(calls * 10 <= first.connections * 12 + KEYS * 10, "{calls} upstream calls");
    assert_eq!(stats.calls.len(), KEYS, "each key was asked");
    // Whoever comes later is told at once, and when the first key is back: the one that rests the least.
    simulator.reset();
    let storm = Storm { connections: 100, each: 10, pace: Duration::from_millis(100) };
    for path in [GENERATE, STREAM] {
        for shot in storm.on(&gateway, path).await {
            let left = 31_u64.saturating_sub(spent_at.elapsed().as_secs()).saturating_sub(1);
            assert_eq!(shot.status, 429);
            let retry_after = shot.retry_after.expect("a Retry-After");
            assert!((left..=32).contains(&retry_after), "{retry_after}, {left}");
        }
    }
    assert_eq!(simulator.stats().requests, 0, "a call to a key that is cooling");
    // It was one model's quota.
    for _ in 0..KEYS {
        assert_eq!(ask(&gateway, OTHER_MODEL, "x").await.0, 200);
    }
    assert_eq!(simulator.stats().by_key.len(), KEYS);
    assert_eq!(key_counts(&gateway).await["available"], KEYS);
}

/// A storm on a model that is overloaded, while another is not: requests, and upstream calls for them.
async fn overload(error: GoogleError) -> (usize, usize) {
    const KEYS: usize = 5;
    let simulator = simulator(KEYS).await;
    let gateway = Options::new(&simulator.url(), KEYS).start();
    simulator.set_faults([Rule::new(Fault::google(error)).on_model(FLASH)]);
    let storm = Storm { connections: 100, each: 8, pace: Duration::from_millis(300) };
    let calm = Storm { connections: 5, each: 20, pace: Duration::from_millis(120) };
    let (shots, others) = tokio::join!(storm.on(&gateway, GENERATE), calm.on(&gateway, OTHER_MODEL));
    assert_eq!(with_status(&shots, 503), shots.len(), "Google's own word, as long as it says so");
    assert_eq!(with_status(&others, 200), others.len(), "the other model");
    let counts = key_counts(&gateway).await;
    assert_eq!((&counts["available"], &counts["waiting"]), (&json!(KEYS), &json!(0)), "{counts}");
    let stats = simulator.stats();
    assert_eq!(stats.by_key.len(), KEYS);
    assert_eq!(stats.by_model["gemini-2.5-pro"], others.len() as u64, "the other model's, each once");
    // The first probe that finds the model well brings it back for all.
    simulator.set_faults([]);
    let deadline = Instant::now() + Duration::from_secs(40);
    while ask(&gateway, GENERATE, "x").await.0 != 200 {
        assert!(Instant::now() < deadline, "the model does not come back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let calls = usize::try_from(stats.by_model[FLASH]).unwrap();
    eprintln!("{calls} upstream calls for {} requests of {error:?}", shots.len());
    (shots.len(), calls)
}

#[tokio::test]
async fn an_overloaded_model_costs_no_key_and_no_other_model_anything() {
    let (requests, calls) = overload(GoogleError::Overloaded).await;
    assert!(calls * 10 <= requests * 12 + 50, "{calls} upstream calls for {requests}");
}

#[tokio::test]
async fn retries_on_an_overloaded_model_have_a_budget() {
    let (requests, calls) = overload(GoogleError::HighDemand).await;
    assert!(calls * 10 <= requests * 12 + 50, "{calls} upstream calls for {requests}");
}

#[tokio::test]
async fn a_key_that_comes_back_is_probed_once_and_those_who_waited_are_served_in_turn() {
    const KEYS: usize = 4;
    const PROBE_MS: u64 = 2500;
    let delays_ms = [4000, 4700, 5400, 6100];
    let simulator = simulator(KEYS).await;
    let gateway = Options::new(&simulator.url(), KEYS)
        .set("retry.max_attempts", KEYS)
        .set("pool.max_wait_ms", 20_000)
        .start();
    let mut rules: Vec<_> = delays_ms
        .iter()
        .enumerate()
        .map(|(n, ms)| {
            let delay = format!("{}.{:03}s", ms / 1000, ms % 1000);
            Rule::new(spent(&delay)).on_key(secret(n)).times(1)
        })
        .collect();
    rules.push(Rule::new(Fault::DelayHead { ms: PROBE_MS }).times(KEYS as u64));
    simulator.set_faults(rules);
    assert_eq!(ask(&gateway, GENERATE, "first").await.0, 429); // it has tried all four
    let texts: Vec<_> = (0..20).map(|n| format!("waiting {n}")).collect();
    let gateway = &gateway;
    let answers = join_all(texts.iter().enumerate().map(async |(n, text)| {
        // Each once the one before stands in the line.
        while key_counts(gateway).await["waiting"].as_u64().unwrap() < n as u64 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        ask(gateway, GENERATE, text).await
    }))
    .await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    let requests = arrived(&simulator, KEYS + texts.len());
    let mut probes = Vec::new();
    for (key, delay_ms) in delays_ms.into_iter().enumerate() {
        let calls = calls_on(&requests, key);
        assert!(calls[1].at_ms >= calls[0].at_ms + delay_ms, "before its time: {calls:?}");
        if let Some(next) = calls.get(2) {
            assert!(next.at_ms >= calls[1].at_ms + PROBE_MS, "two while it was probed: {calls:?}");
        }
        probes.push(calls[1].body_sha256.clone().unwrap());
    }
    let in_turn: Vec<_> = texts[..KEYS].iter().map(|text| sha256(prompt(text).as_bytes())).collect();
    assert_eq!(probes, in_turn, "not first come, first served");
    assert!(requests[KEYS..].iter().all(|request| request.status == Some(200)));
}

#[tokio::test]
async fn nobody_waits_longer_than_the_setting_says() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("pool.max_wait_ms", 1800).start();
    simulator.set_faults([Rule::new(spent("1s")).times(1), Rule::new(Fault::StallHead)]);
    assert_eq!(ask(&gateway, GENERATE, "x").await.0, 429);
    // One of them becomes the probe, which never comes back.
    let begun = Instant::now();
    let wait = async || {
        let answer = tokio::time::timeout(Duration::from_secs(6), ask(&gateway, GENERATE, "x")).await.ok();
        (answer, begun.elapsed())
    };
    let answers = join_all((0..20).map(|_| wait())).await;
    let told: Vec<_> = answers.iter().filter_map(|(answer, took)| Some((answer.as_ref()?, took))).collect();
    assert_eq!(told.len(), 19, "{answers:?}");
    for ((status, retry_after), took) in told {
        assert_eq!(*status, 429);
        assert!(retry_after.is_some_and(|seconds| seconds >= 1), "{retry_after:?}");
        assert!(took.as_millis() >= 1750, "{took:?}");
    }
    assert_eq!(simulator.stats().requests, 2);
    waiting(&gateway, 0).await;
}

#[tokio::test]
async fn no_more_wait_than_the_setting_says_and_one_who_leaves_makes_room() {
    let simulator = simulator(1).await;
    let options = Options::new(&simulator.url(), 1).set("pool.max_waiting", 5);
    let gateway = options.set("pool.max_wait_ms", 20_000).start();
    simulator.set_faults([Rule::new(spent("4s")).times(1)]);
    assert_eq!(ask(&gateway, GENERATE, "x").await.0, 429);
    let mut line = Vec::new();
    for _ in 0..5 {
        line.push(Wire::connect(gateway.authority()).await);
    }
    let text = request("POST", GENERATE, &[("x-goog-api-key", TOKEN)], &prompt("x"));
    for wire in &mut line {
        wire.send(&text).await.unwrap();
    }
    waiting(&gateway, 5).await;
    for _ in 0..20 {
        let (status, retry_after) = ask(&gateway, GENERATE, "x").await;
        assert_eq!(status, 429);
        assert!((1..=5).contains(&retry_after.unwrap()), "{retry_after:?}");
    }
    line.truncate(3);
    waiting(&gateway, 3).await;
    let later = join_all((0..4).map(|_| ask(&gateway, GENERATE, "x"))).await;
    let served = later.iter().filter(|(status, _)| *status == 200).count();
    assert_eq!((served, later.len() - served), (2, 2), "{later:?}");
    for wire in &mut line {
        assert_eq!(wire.answer().await.unwrap().status, 200);
    }
    assert_eq!(simulator_calls(&simulator, 6), 6);
}

/// How many calls the simulator has had, once there are at least so many.
fn simulator_calls(simulator: &Simulator, count: u64) -> u64 {
    wait_for("calls", || Some(simulator.stats().requests).filter(|calls| *calls >= count))
}
