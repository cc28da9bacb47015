//! As many models and callers as an operator may ever have, each of them served once: what is kept of them stays bounded.

#![allow(clippy::cast_precision_loss, reason = "a test's counts are small")]

use crate::{
    metrics::{self, scrape_after},
    support::{client, prompt, simulator_with, stranger},
};
use gemini_simulator::{Model, ModelKind};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    time::{Duration, Instant},
};

const MANY: usize = 10_000;
/// What `usage.max_models` is by default, and `other`.
const CELLS: usize = 501;

fn model(n: usize) -> String {
    format!("gemini-9.{n}-flash")
}

fn token(n: usize) -> String {
    format!("made-up-token-{n:05}")
}

/// Sends one request of each caller, each to a model of its own.
async fn serve(url: impl Fn(&str) -> String) {
    drop(client()); // for the TLS provider
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
    let (http, url) = (&http, &url);
    let workers = (0..16).map(|worker| async move {
        for n in (worker..MANY).step_by(16) {
            let path = url(&format!("/v1beta/models/{}:generateContent", model(n)));
            let request = http.post(path).header("x-goog-api-key", token(n)).body(prompt("x"));
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200, "{n}");
            answer.bytes().await.unwrap();
        }
    });
    futures_util::future::join_all(workers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_models_and_callers_stay_bounded_in_metrics_and_usage() {
    let models = (0..MANY).map(|n| Model::new(model(n), ModelKind::Generate)).collect();
    let simulator = simulator_with(1, |config| config.models = models).await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = String::from("[auth]\ntokens = [\n");
    for n in 0..MANY {
        let _ = writeln!(config, "{{ name = \"caller-{n}\", secret = \"{}\", rpm = 1000 }},", token(n));
    }
    std::fs::write(folder.path().join("config.toml"), config + "]\n").unwrap();
    let (options, ports) = metrics::options(&simulator, 1);
    let gateway = options.without_token().start_in(folder.path());
    let begun = Instant::now();
    serve(|path| gateway.url(path)).await;
    println!("{MANY} requests: {:?}", begun.elapsed());

    let exposition = scrape_after(ports, MANY as f64).await;
    for (family, series) in exposition.series() {
        assert!(series <= 10_000, "{family}: {series}");
    }
    let named = |label: &str| -> BTreeSet<&str> {
        exposition.samples.iter().filter_map(|sample| Some(sample.labels.get(label)?.as_str())).collect()
    };
    assert!(named("model").len() <= CELLS + 1, "{}: the models, `other` and `none`", named("model").len());
    assert_eq!(named("model").iter().filter(|model| model.starts_with("gemini-9.")).count(), CELLS - 1);
    for (name, least) in [("caller_requests_total", 1_000), ("caller_tokens_total", 1_000)] {
        let name = format!("gemini_balance_{name}");
        let callers: BTreeSet<_> = exposition.of(&name, &[]).map(|sample| &sample.labels["caller"]).collect();
        assert!(callers.len() <= least && callers.iter().any(|caller| *caller == "other"), "{name}");
    }
    let all = exposition.sum("gemini_balance_caller_requests_total", &[]);
    assert!((all - MANY as f64).abs() < 1e-9, "{all}");

    // How long one takes, with all of this in it.
    let mut times = Vec::new();
    for _ in 0..5 {
        let asked = Instant::now();
        let request = stranger().get(format!("http://127.0.0.1:{}/metrics", ports.metrics));
        let text = request.bearer_auth(metrics::METRICS).send().await.unwrap().text().await.unwrap();
        times.push((asked.elapsed(), text.lines().count(), text.len()));
    }
    times.sort();
    let (fastest, lines, bytes) = times[0];
    println!("a scrape of {lines} lines, {bytes} bytes: {fastest:?} at best, {:?} at worst", times[4].0);
    assert!(fastest < Duration::from_secs(2), "{fastest:?} in a build that is not optimized");

    let usage = async |by: &str| -> Vec<Value> {
        let url = format!("http://127.0.0.1:{}/api/usage?by={by}&step=all&from=-1d", ports.admin);
        let answer = stranger().get(url).bearer_auth(metrics::ADMIN).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        body["rows"].as_array().unwrap().clone()
    };
    let requests = |rows: &[Value]| rows.iter().map(|row| row["requests"].as_u64().unwrap()).sum::<u64>();
    let by_model = usage("model").await;
    assert_eq!((by_model.len(), requests(&by_model)), (CELLS, MANY as u64));
    let others: Vec<_> = by_model.iter().filter(|row| row["model"] == "other").collect();
    assert_eq!(others.len(), 1);
    assert_eq!(others[0]["requests"], MANY - (CELLS - 1));
    let by_caller = usage("caller").await;
    assert_eq!(
        (by_caller.len(), requests(&by_caller)),
        (MANY, MANY as u64),
        "callers are the operator's own"
    );
}
