//! The metrics: which there are, of which types, that they agree with what the simulator has seen, that clients cannot make
//! them grow, that no secret is in them, and who may read them.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test's counts are small"
)]

use crate::{
    binary,
    exposition::Exposition,
    live::Session,
    support::{
        Gateway, Options, TOKEN, bearer, chat, client, exhausted, fingerprint, free_port, prompt, secret,
        simulator, simulator_with, stranger,
    },
    wire::{exchange, request},
};
use gemini_simulator::{Fault, KeyState, Rule, Simulator};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

pub(crate) const METRICS: &str = "metrics-token-CANARY-41d7";
pub(crate) const ADMIN: &str = "operators-token-CANARY-77c2";
const MODEL: &str = "gemini-2.5-flash";
const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

/// What exists only where a certificate, or a collector of traces, does.
const ELSEWHERE: [&str; 9] = [
    "gemini_balance_cluster_calls_failed_total",
    "gemini_balance_cluster_facts_total",
    "gemini_balance_cluster_facts_untold",
    "gemini_balance_cluster_gateways",
    "gemini_balance_cluster_gateways_that_differ",
    "gemini_balance_cluster_lag_seconds",
    "gemini_balance_cluster_together",
    "gemini_balance_tls_certificate_not_after_timestamp_seconds",
    "gemini_balance_trace_spans_dropped_total",
];

/// The documents that name metrics.
const OPERATIONS: &str = include_str!("../../docs/operations.md");
const ALERTS: &str = include_str!("../../docker/alerts.yml");
const DASHBOARD: &str = include_str!("../../docker/grafana/dashboard.json");

/// Where a gateway's metrics are.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) admin: u16,
    pub(crate) metrics: u16,
}

/// With both listeners.
pub(crate) fn options(simulator: &Simulator, keys: usize) -> (Options, Ports) {
    let ports = Ports { admin: free_port(), metrics: free_port() };
    let options = Options::new(&simulator.url(), keys)
        .env("ADMIN_TOKEN", ADMIN)
        .set("admin.port", ports.admin)
        .set("metrics.token", METRICS)
        .set("metrics.listen", format!("127.0.0.1:{}", ports.metrics));
    (options, ports)
}

async fn text(port: u16, token: &str, accept: &str) -> (u16, String, String) {
    let request = stranger().get(format!("http://127.0.0.1:{port}/metrics")).bearer_auth(token);
    let answer = request.header("accept", accept).send().await.unwrap();
    let content_type =
        answer.headers().get("content-type").map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
    (answer.status().as_u16(), content_type, answer.text().await.unwrap())
}

async fn scrape(ports: Ports) -> Exposition {
    let (status, _, text) = text(ports.metrics, METRICS, "application/openmetrics-text").await;
    assert_eq!(status, 200, "{text}");
    Exposition::read(&text)
}

/// Scrapes once so many requests are counted.
pub(crate) async fn scrape_after(ports: Ports, requests: f64) -> Exposition {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let exposition = scrape(ports).await;
        let found = exposition.sum("gemini_balance_requests_total", &[]);
        assert!(found <= requests, "{found} counted of {requests}");
        if found >= requests {
            return exposition;
        }
        assert!(Instant::now() < deadline, "{found} counted of {requests}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The rows of the table of metrics: name, type, labels.
pub(crate) fn documented() -> Vec<(String, String, BTreeSet<String>)> {
    let (_, section) = OPERATIONS.split_once("\n## Metrics\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("| `")?.split('|').map(str::trim).collect();
        let name = cells[0].strip_suffix('`')?;
        let is_metric = ["counter", "gauge", "histogram"].contains(cells.get(1)?);
        let labels = cells[2].split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
        is_metric.then(|| (name.to_owned(), cells[1].to_owned(), labels))
    });
    rows.collect()
}

/// Sends one of each kind, with what goes wrong; returns how many requests that were.
pub(crate) async fn load(gateway: &Gateway) -> u32 {
    let plain = |path: &str| client().post(gateway.url(path));
    for _ in 0..3 {
        plain(GENERATE).body(prompt("one")).send().await.unwrap().bytes().await.unwrap();
    }
    plain(STREAM).body(prompt("two")).send().await.unwrap().bytes().await.unwrap();
    let openai = |body| bearer().post(gateway.url("/v1/chat/completions")).body(body);
    openai(chat("three", false)).send().await.unwrap().bytes().await.unwrap();
    openai(chat("four", true)).send().await.unwrap().bytes().await.unwrap();
    for model in ["gemini-2.5-pro", "no-such-model"] {
        let path = format!("/v1beta/models/{model}:generateContent");
        plain(&path).body(prompt("five")).send().await.unwrap().bytes().await.unwrap();
    }
    client().get(gateway.url("/v1beta/models")).send().await.unwrap().bytes().await.unwrap();
    stranger().post(gateway.url(GENERATE)).body(prompt("six")).send().await.unwrap().bytes().await.unwrap();
    10
}

pub(crate) fn overloaded() -> Rule {
    let overloaded = Fault::Status { status: 503, headers: [].into(), body: None };
    Rule::new(overloaded).on_model("gemini-2.5-pro")
}

/// Of a gateway that has limits, retired and cooling keys, and a caller whose limit refuses.
async fn eventful() -> (Simulator, Gateway, Ports, u32) {
    let simulator = simulator_with(4, |config| {
        config.faults = vec![overloaded(), Rule::new(exhausted()).on_key(secret(2))];
    })
    .await;
    simulator.set_key_state(&secret(1), KeyState::Suspended);
    let (options, ports) = options(&simulator, 4);
    let tokens = format!(
        "[{{name=\"tester\",secret=\"{TOKEN}\",rpm=1000}},{{name=\"small\",secret=\"small-token-CANARY-1\",rpm=1}}]"
    );
    let gateway = options
        .without_token()
        .set("auth.tokens", tokens)
        .set("limits", "[{model=\"gemini-2.5-flash\",rpm=100,rpd=1000}]")
        .set("metrics.per_key", true)
        .start();
    let mut requests = load(&gateway).await;
    for _ in 0..2 {
        let small = stranger().post(gateway.url(GENERATE)).header("x-goog-api-key", "small-token-CANARY-1");
        small.body(prompt("seven")).send().await.unwrap().bytes().await.unwrap();
        requests += 1;
    }
    (simulator, gateway, ports, requests)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_is_there_typed_documented_and_of_use_and_none_is_undocumented() {
    let (_simulator, _gateway, ports, requests) = eventful().await;
    let exposition = scrape_after(ports, f64::from(requests)).await;
    assert!(exposition.is_ended);
    let documented = documented();
    assert!(documented.len() >= 39, "{}", documented.len());
    for (name, kind, labels) in &documented {
        assert!(
            name == "gemini_balance_key_attempts_total" || ALERTS.contains(name) || DASHBOARD.contains(name),
            "neither dashboard nor alerts use {name}"
        );
        if ELSEWHERE.contains(&name.as_str()) {
            continue;
        }
        let family = if kind == "counter" { name.strip_suffix("_total").unwrap() } else { name };
        assert_eq!(exposition.types.get(family), Some(kind), "{name}");
        assert!(exposition.help.get(family).is_some_and(|help| !help.is_empty()), "{name} has no help");
        let samples: Vec<_> =
            exposition.samples.iter().filter(|it| exposition.family_of(&it.name) == family).collect();
        assert!(!samples.is_empty(), "{name} has no series");
        for sample in samples {
            let found: BTreeSet<_> = sample.labels.keys().filter(|label| *label != "le").cloned().collect();
            assert_eq!(&found, labels, "{name}");
        }
    }
    for (family, kind) in &exposition.types {
        let name = if kind == "counter" { format!("{family}_total") } else { family.clone() };
        assert!(documented.iter().any(|(known, ..)| *known == name), "{name} is not documented");
    }
    // In Prometheus' own format there is the same.
    let (status, content_type, plain) = text(ports.admin, ADMIN, "text/plain;version=0.0.4").await;
    assert_eq!((status, content_type.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    let plain = Exposition::read(&plain);
    assert!(!plain.is_ended);
    assert_eq!(plain.samples.len(), exposition.samples.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_agree_with_what_the_simulator_has_seen_and_with_the_transaction_log() {
    let (simulator, gateway, ports, requests) = eventful().await;
    let exposition = scrape_after(ports, f64::from(requests)).await;
    let lines = gateway.transactions(requests as usize);
    assert_eq!(lines.len(), requests as usize);
    let name = "gemini_balance_requests_total";
    for (outcome, expected) in [("client_error", 2), ("limited_caller", 1), ("upstream_error", 1)] {
        assert!(
            (exposition.sum(name, &[("outcome", outcome)]) - f64::from(expected)).abs() < 1e-9,
            "{outcome}"
        );
    }
    assert!((exposition.sum(name, &[("outcome", "answered")]) - f64::from(requests - 4)).abs() < 1e-9);
    // Each attempt, as the simulator has seen it.
    let attempts = exposition.sum("gemini_balance_attempts_total", &[]);
    assert!((attempts - simulator.requests().len() as f64).abs() < 1e-9, "{attempts}");
    let by_key = simulator.stats().by_key;
    for n in 0..4 {
        let id = fingerprint(n);
        let counted = exposition.sum("gemini_balance_key_attempts_total", &[("key", &id)]);
        let seen = by_key.get(&secret(n)).copied().unwrap_or(0);
        assert!((counted - seen as f64).abs() < 1e-9, "key {n}: {counted} of {seen}");
    }
    let logged = lines.iter().map(|line| line["attempts"].as_array().unwrap().len().saturating_sub(1));
    let retries = exposition.sum("gemini_balance_retries_total", &[]);
    assert!((retries - logged.sum::<usize>() as f64).abs() < 1e-9, "{retries}");
    assert!(exposition.sum("gemini_balance_retries_total", &[("fault", "KeySuspended")]) > 0.0);
    assert!(exposition.sum("gemini_balance_retirements_total", &[("reason", "key_suspended")]) > 0.5);
    assert!((exposition.sum("gemini_balance_keys", &[("state", "retired")]) - 1.0).abs() < 1e-9);
    assert!((exposition.sum("gemini_balance_keys", &[]) - 4.0).abs() < 1e-9);
    // Tokens by model and by caller are the same.
    let of_models = exposition.sum("gemini_balance_tokens_total", &[]);
    assert!(
        of_models > 0.0
            && (of_models - exposition.sum("gemini_balance_caller_tokens_total", &[])).abs() < 1e-9
    );
    let cost = exposition.sum("gemini_balance_cost_total", &[("model", MODEL), ("currency", "USD")]);
    assert!(cost > 0.0, "{cost}");
    // A refusal counts among its caller's requests, too.
    let small = [("caller", "small")];
    assert!((exposition.sum("gemini_balance_caller_requests_total", &small) - 2.0).abs() < 1e-9);
    let refused = [("caller", "small"), ("limit", "rpm")];
    assert!((exposition.sum("gemini_balance_caller_refusals_total", &refused) - 1.0).abs() < 1e-9);
    assert!((exposition.sum("gemini_balance_caller_limit_used_ratio", &refused) - 1.0).abs() < 1e-9);
    let day = [("model", MODEL), ("limit", "rpd")];
    assert!(exposition.sum("gemini_balance_quota_used_ratio", &day) > 0.0);
    // Histograms count each request once, and add up.
    for (name, expected) in [
        ("gemini_balance_request_duration_seconds", f64::from(requests)),
        (
            "gemini_balance_overhead_seconds",
            lines.iter().filter(|line| line["attempts"] != serde_json::json!([])).count() as f64,
        ),
    ] {
        let count = exposition.sum(&format!("{name}_count"), &[]);
        assert!((count - expected).abs() < 1e-9, "{name}: {count} of {expected}");
        let all = exposition.sum(&format!("{name}_bucket"), &[("le", "+Inf")]);
        assert!((all - count).abs() < 1e-9, "{name}");
    }
    assert!(exposition.sum("gemini_balance_first_event_seconds_count", &[("streamed", "true")]) > 0.5);
    assert!(exposition.sum("gemini_balance_key_wait_seconds_count", &[("model", MODEL)]) > 0.5);
    assert!(
        (exposition.sum("gemini_balance_component_up", &[("component", "key_manager")]) - 1.0).abs() < 1e-9
    );
    assert!(exposition.sum("process_resident_memory_bytes", &[]) > 1e6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_clients_make_up_come_back_as_other_and_callers_are_bounded() {
    const CALLERS: usize = 1_100;
    let simulator = simulator(1).await;
    let (options, ports) = options(&simulator, 1);
    let tokens: Vec<_> = (0..CALLERS).map(|n| format!("caller-{n}=made-up-token-{n:04}")).collect();
    let gateway = options.without_token().env("ACCESS_TOKENS", tokens.join(",")).start();
    drop(client()); // for the TLS provider
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
    let (http, gateway) = (&http, &gateway);
    let workers = (0..16).map(|worker| async move {
        for n in (worker..CALLERS).step_by(16) {
            let path = format!("/v1beta/models/made-up-{n}:generate{n}");
            let request =
                http.post(gateway.url(&path)).header("x-goog-api-key", format!("made-up-token-{n:04}"));
            request.body(prompt("x")).send().await.unwrap().bytes().await.unwrap();
        }
    });
    futures_util::future::join_all(workers).await;
    let exposition = scrape_after(ports, CALLERS as f64).await;
    for sample in &exposition.samples {
        for label in ["model", "operation"] {
            let value = sample.labels.get(label).map_or("other", String::as_str);
            assert!(["other", "none"].contains(&value), "{sample:?}");
        }
    }
    for (family, series) in exposition.series() {
        assert!(series <= 10_000, "{family}: {series}");
    }
    let callers: BTreeSet<_> =
        exposition.of("gemini_balance_caller_requests_total", &[]).map(|it| &it.labels["caller"]).collect();
    assert_eq!(callers.len(), 1_000);
    let without_room = exposition.sum("gemini_balance_series_dropped_total", &[]);
    assert!((without_room - (CALLERS - 999) as f64).abs() < 1e-9, "{without_room}");
    let all = exposition.sum("gemini_balance_caller_requests_total", &[]);
    assert!((all - CALLERS as f64).abs() < 1e-9, "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_nor_a_part_of_one_is_in_them() {
    let (_simulator, _gateway, ports, requests) = eventful().await;
    scrape_after(ports, f64::from(requests)).await;
    for (port, token) in [(ports.metrics, METRICS), (ports.admin, ADMIN)] {
        let (_, _, text) = text(port, token, "*/*").await;
        for part in
            ["Canary", "CANARY", "AIza", &TOKEN[..8], &ADMIN[..12], &METRICS[..12], "/v1beta", "127.0.0.1"]
        {
            assert!(!text.contains(part), "{part} is in the metrics");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_token_opens_the_metrics_and_nothing_else() {
    let simulator = simulator(1).await;
    let (options, ports) = options(&simulator, 1);
    let gateway = options.start();
    let admin = format!("127.0.0.1:{}", ports.admin);
    let own = format!("127.0.0.1:{}", ports.metrics);
    let ask = async |authority: &str, method: &str, path: &str, token: &str, more: &[(&str, &str)]| {
        let shown = format!("Bearer {token}");
        let headers = [&[("authorization", shown.as_str())], more].concat();
        let answer = exchange(authority, request(method, path, &headers, "")).await;
        let said = answer.text();
        assert!(!said.contains("CANARY"), "{said}");
        answer.status
    };
    for authority in [&admin, &own] {
        assert_eq!(ask(authority, "GET", "/metrics", METRICS, &[]).await, 200);
        for token in ["", "wrong", TOKEN, &secret(0)] {
            assert_eq!(ask(authority, "GET", "/metrics", token, &[]).await, 401, "{token}");
        }
        let origin = [("origin", "http://127.0.0.1")];
        assert_eq!(ask(authority, "GET", "/metrics", METRICS, &origin).await, 403);
        assert_ne!(ask(authority, "POST", "/metrics", METRICS, &[]).await, 200);
    }
    assert_eq!(ask(&admin, "GET", "/metrics", ADMIN, &[]).await, 200);
    assert_eq!(ask(&own, "GET", "/metrics", ADMIN, &[]).await, 401, "its own token only");
    // By whatever name monitoring calls it.
    assert_eq!(ask(&own, "GET", "/metrics", METRICS, &[("x-host", "any.example")]).await, 200);
    let disable = format!("/keys/{}/disable", fingerprint(0));
    for (method, path) in [
        ("GET", "/keys"),
        ("POST", disable.as_str()),
        ("GET", "/api/usage"),
        ("GET", "/api/tokens"),
        ("POST", "/api/tokens"),
        ("POST", "/api/reload"),
    ] {
        assert_eq!(ask(&admin, method, path, METRICS, &[]).await, 401, "{method} {path}");
        assert_eq!(ask(&own, method, path, METRICS, &[]).await, 404, "{method} {path}");
    }
    let as_client = exchange(
        gateway.authority(),
        request("POST", GENERATE, &[("x-goog-api-key", METRICS)], &prompt("x")),
    );
    assert_eq!(as_client.await.status, 401);
    assert_eq!(
        ask(gateway.authority(), "GET", "/metrics", METRICS, &[]).await,
        401,
        "not among the clients' paths"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_is_told_by_kind() {
    let simulator = simulator(1).await;
    let (options, ports) = options(&simulator, 1);
    let gateway = options.start();
    let kinds = |exposition: &Exposition| {
        ["unary", "stream", "live", "upload"]
            .map(|kind| exposition.sum("gemini_balance_requests_in_flight", &[("kind", kind)]) as u32)
    };
    assert_eq!(kinds(&scrape(ports).await), [0; 4]);
    let session = Session::begin(&gateway).await;
    assert_eq!(kinds(&scrape(ports).await), [0, 0, 1, 0]);
    drop(session);
    let deadline = Instant::now() + Duration::from_secs(10);
    while kinds(&scrape(ports).await) != [0; 4] {
        assert!(Instant::now() < deadline, "the session has not ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_only_grow_while_components_die_and_come_back() {
    if !binary::has_doors("counters_only_grow_while_components_die_and_come_back") {
        return;
    }
    let simulator = simulator(2).await;
    let (options, ports) = options(&simulator, 2);
    let gateway = options.start();
    simulator.set_faults([Rule::new(exhausted()).on_key(secret(0))]);
    let requests = load(&gateway).await;
    let before = scrape_after(ports, f64::from(requests)).await;
    assert!(before.sum("gemini_balance_cooldowns_total", &[]) > 0.5);
    client().post(gateway.url("/debug/panic/key_manager")).send().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let after = loop {
        let after = scrape(ports).await;
        if after.sum("gemini_balance_component_restarts_total", &[("component", "key_manager")]) > 0.5 {
            break after;
        }
        assert!(Instant::now() < deadline, "no restart is told of");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for sample in before.samples.iter().filter(|sample| sample.name.ends_with("_total")) {
        let labels: Vec<_> =
            sample.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let now = after.sum(&sample.name, &labels);
        assert!(now >= sample.value, "{sample:?} is now {now}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_certificate_is_told_where_there_is_one() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let (cert_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert_file, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let (options, ports) = options(&simulator, 1);
    let options = options.set("server.tls.cert_file", cert_file.display());
    let _gateway = options.set("server.tls.key_file", key_file.display()).start();
    let ends = scrape(ports).await.sum("gemini_balance_tls_certificate_not_after_timestamp_seconds", &[]);
    assert!((ends - 4_102_444_800.0).abs() < 1e-9, "{ends}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_token_holds_after_a_reload_and_reloads_are_told_of() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let write = |token: &str| {
        let settings = format!("[metrics]\ntoken = \"{token}\"\nlisten = \"127.0.0.1:{port}\"\n");
        std::fs::write(folder.path().join("config.toml"), settings).unwrap();
    };
    write("first-metrics-token");
    let gateway = Options::new(&simulator.url(), 1).start_in(folder.path());
    assert_eq!(text(port, "first-metrics-token", "*/*").await.0, 200);
    write("other-metrics-token");
    gateway.signal("HUP");
    let told = async |token: &str, metric: &str, expected: f64| {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let (status, _, found) = text(port, token, "*/*").await;
            if status == 200 && (Exposition::read(&found).sum(metric, &[]) - expected).abs() < 1e-9 {
                return;
            }
            assert!(Instant::now() < deadline, "{metric} is not {expected}: {status} {found}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    told("other-metrics-token", "gemini_balance_config_reloads_total", 1.0).await;
    assert_eq!(text(port, "first-metrics-token", "*/*").await.0, 401);
    write("other-metrics-token\"\nno_such_setting = \"");
    gateway.signal("HUP");
    told("other-metrics-token", "gemini_balance_config_last_reload_successful", 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_usage_what_stands_without_it_is_told() {
    let simulator = simulator(1).await;
    let (options, ports) = options(&simulator, 1);
    let gateway = options.set("usage.enabled", false).start();
    load(&gateway).await;
    let exposition = scrape(ports).await;
    assert!(exposition.types.contains_key("gemini_balance_keys"));
    assert!(exposition.types.contains_key("gemini_balance_requests_in_flight"));
    for gone in ["gemini_balance_requests", "gemini_balance_usage_rows", "gemini_balance_tokens"] {
        assert!(!exposition.types.contains_key(gone), "{gone} is made up");
    }
}

#[test]
fn settings_that_make_no_sense_are_refused_in_one_line() {
    let options = || Options::new("http://127.0.0.1:9", 1);
    for (options, setting, word) in [
        (options().set("metrics.listen", "127.0.0.1:0"), "metrics.listen", "metrics.token"),
        (options().set("metrics.listen", "nonsense").set("metrics.token", METRICS), "metrics.listen", "port"),
        (options().set("metrics.listen", "0.0.0.0:0").set("metrics.token", "short"), "metrics.listen", "16"),
        (options().set("metrics.token", TOKEN), "metrics.token", "client"),
        (options().env("ADMIN_TOKEN", ADMIN).set("metrics.token", ADMIN), "metrics.token", "operator"),
        (
            options().set("metrics.token", METRICS).set("metrics.token_file", "x"),
            "metrics.token",
            "one is enough",
        ),
        (options().set("metrics.token_file", "no-such-file"), "metrics.token_file", "no-such-file"),
        (options().set("metrics.per_key", "perhaps"), "metrics.per_key", "boolean"),
    ] {
        let line = crate::settings::refusal(&options);
        assert!(line.contains(setting) && line.contains(word), "{line}");
        assert!(!line.contains("CANARY") && !line.contains(TOKEN), "a secret: {line}");
    }
}
