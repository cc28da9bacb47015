//! Debian's Prometheus against the gateway: it scrapes it with the shipped configuration, and runs every query of the alerts
//! and of the dashboard; promtool checks and tests the rules. A Prometheus that is not there fails the test, with the line
//! that brings it. It speaks to this machine only.

use crate::{
    metrics::{METRICS, load, options, overloaded, scrape_after},
    support::{exhausted, free_port, secret, simulator_with, stranger},
};
use gemini_balance_cluster::conformance::RedisServer;
use gemini_simulator::Rule;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

const BRING: &str = "these tests need Prometheus: apt-get install prometheus; or, without installing it, \
     `apt-get download prometheus && dpkg -x prometheus_*.deb DIR` with DIR/usr/bin in PATH";

fn docker(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker").join(file)
}

fn promtool(arguments: &[&str]) -> Output {
    let output = Command::new("promtool").args(arguments).current_dir(docker("")).output();
    output.unwrap_or_else(|error| panic!("promtool: {error}; {BRING}"))
}

#[test]
fn the_shipped_rules_are_good_and_fire_when_they_should() {
    for arguments in [
        &["check", "rules", "alerts.yml"][..],
        &["test", "rules", "alerts_test.yml"],
        &["check", "config", "--syntax-only", "prometheus.yml"],
    ] {
        let output = promtool(arguments);
        let said =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success(), "promtool {}: {said}", arguments.join(" "));
    }
}

#[test]
fn each_alert_has_its_words_its_test_and_its_entry_of_what_to_do() {
    let (alerts, tests) =
        (include_str!("../../docker/alerts.yml"), include_str!("../../docker/alerts_test.yml"));
    let operations = include_str!("../../docs/operations.md");
    let mut rules = alerts.split("- alert: ").skip(1).peekable();
    assert!(rules.peek().is_some());
    for rule in rules {
        let name = rule.lines().next().unwrap();
        for annotation in
            ["summary:", "description:", &format!("runbook: docs/operations.md#{}", name.to_lowercase())]
        {
            assert!(rule.contains(annotation), "{name} has no {annotation}");
        }
        assert!(tests.matches(&format!("alertname: {name}\n")).count() >= 1, "no test has {name} fire");
        assert!(
            operations.contains(&format!("\n### {name}\n\n")),
            "docs/operations.md does not say what to do on {name}"
        );
    }
}

/// A Prometheus that runs until it is dropped.
struct Prometheus {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts it with the shipped configuration, but for the places of the gateway, of the token and of time.
    fn start(target: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("token"), METRICS).unwrap();
        std::fs::copy(docker("alerts.yml"), file("alerts.yml")).unwrap();
        let shipped = std::fs::read_to_string(docker("prometheus.yml")).unwrap();
        let mut changed = shipped.clone();
        for (from, to) in [
            ("gateway:9464", format!("127.0.0.1:{target}")),
            ("/run/metrics.token", file("token").display().to_string()),
            ("scrape_interval: 15s", "scrape_interval: 1s".to_owned()),
            ("evaluation_interval: 15s", "evaluation_interval: 1s".to_owned()),
        ] {
            assert!(changed.contains(from), "{from} is not in docker/prometheus.yml");
            changed = changed.replace(from, &to);
        }
        std::fs::write(file("prometheus.yml"), changed).unwrap();
        let port = free_port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", file("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--log.level=warn", "--storage.tsdb.retention.time=1h"])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(file("log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus: {error}; {BRING}"));
        Self { child, port, folder }
    }

    /// Asks its API; `None` while it does not answer.
    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let url = reqwest::Url::parse_with_params(
            &format!("http://127.0.0.1:{}/api/v1/{path}", self.port),
            parameters,
        );
        let answer = stranger().get(url.unwrap()).send().await.ok()?;
        serde_json::from_slice(&answer.bytes().await.ok()?).ok()
    }

    /// The series that a query finds now.
    async fn query(&self, query: &str) -> Vec<Value> {
        let answer =
            self.ask("query", &[("query", query)]).await.unwrap_or_else(|| panic!("no answer to {query}"));
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{query}: {answer}")).clone()
    }

    /// Waits until a query finds something; a minute at most.
    async fn wait_for(&self, query: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.ask("query", &[("query", query)]).await;
            if answer.is_some_and(|answer| !answer["data"]["result"].as_array().is_none_or(Vec::is_empty)) {
                return;
            }
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "nothing for {query}: {}", log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Every query of the dashboard, with its variables filled in.
fn queries_of_the_dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(include_str!("../../docker/grafana/dashboard.json")).unwrap();
    let targets =
        dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array());
    let queries = targets.flatten().map(|target| {
        let query = target["expr"].as_str().unwrap();
        let filled = ["$instance", "$model", "$caller"]
            .iter()
            .fold(query.to_owned(), |text, name| text.replace(name, ".*"));
        filled.replace("$__rate_interval", "1m")
    });
    queries.collect()
}

/// The names of metrics in a query.
fn names(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
    words.filter(|word| word.starts_with("gemini_balance_") || word.starts_with("process_"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_scrapes_the_gateway_and_every_query_of_alerts_and_dashboard_can_be_asked() {
    // So that there are retries and cooldowns to tell of.
    let simulator = simulator_with(3, |config| {
        config.faults = vec![overloaded(), Rule::new(exhausted()).on_key(secret(0))];
    })
    .await;
    let (options, ports) = options(&simulator, 3);
    let redis = RedisServer::start(&[]);
    let options = options.set("cluster.url", format!("redis://127.0.0.1:{}", redis.port()));
    let gateway = options.set("limits", "[{model=\"gemini-2.5-flash\",rpm=100,rpd=1000}]").start();
    let requests = load(&gateway).await;
    scrape_after(ports, f64::from(requests)).await;
    let prometheus = Prometheus::start(ports.metrics);
    prometheus.wait_for("up{job=\"gemini-balance\"} == 1").await;
    // Rates need two points of time.
    prometheus.wait_for("count_over_time(gemini_balance_build_info[1m]) > 2").await;
    load(&gateway).await;
    prometheus.wait_for("sum(rate(gemini_balance_requests_total[1m])) > 0").await;

    let dashboard = queries_of_the_dashboard();
    assert!(dashboard.len() >= 45, "{}", dashboard.len());
    for query in &dashboard {
        assert!(!query.contains('$'), "a variable that nobody fills in: {query}");
        let found = prometheus.query(query).await;
        // What exists only elsewhere, what compares, and what only trouble makes may be nothing at the moment.
        let may_be_empty = ["tls_certificate", "trace_spans", "> 0", "caller_refusals", "caller_limit_used"];
        assert!(
            !found.is_empty() || may_be_empty.iter().any(|part| query.contains(part)),
            "nothing: {query}"
        );
        for name in names(query) {
            let elsewhere = ["tls_certificate", "trace_spans"].iter().any(|part| name.contains(part));
            let base = name.strip_suffix("_bucket").unwrap_or(name);
            let known = include_str!("../../docs/operations.md").contains(&format!("| `{base}` | "));
            assert!(known || elsewhere, "{name} is no metric: {query}");
        }
    }
    // The alerts, as Prometheus itself has read and run them.
    let deadline = Instant::now() + Duration::from_secs(60);
    let rules = loop {
        let answer = prometheus.ask("rules", &[]).await.unwrap();
        let rules = answer["data"]["groups"][0]["rules"].as_array().unwrap().clone();
        assert!(rules.len() >= 15, "{answer}");
        if rules.iter().all(|rule| rule["health"] != "unknown") {
            break rules;
        }
        assert!(Instant::now() < deadline, "the rules were not run: {answer}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        prometheus.query(rule["query"].as_str().unwrap()).await;
        let is_quiet = rule["state"] == "inactive";
        let is_of_the_load = ["SuccessLow"].contains(&rule["name"].as_str().unwrap());
        assert!(is_quiet || is_of_the_load, "a gateway that is well alerts: {rule}");
    }
    let targets = prometheus.ask("targets", &[]).await.unwrap();
    let target = &targets["data"]["activeTargets"][0];
    assert_eq!((&target["health"], &target["lastError"]), (&Value::from("up"), &Value::from("")));
}
