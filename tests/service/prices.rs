//! Prices that are set while the service runs: what they change, what they leave as it was, and that the configuration goes
//! before them.

use crate::{
    support::{Gateway, Options, client, free_port, prompt, simulator},
    wire::{Answer, exchange, request},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const ADMIN: &str = "operator-token-5b1e";
const MODEL: &str = "gemini-2.5-flash";

struct Priced {
    gateway: Gateway,
    port: u16,
    sent: u64,
}

impl Priced {
    async fn send(&self, method: &str, path: &str, if_match: Option<&str>, body: &str) -> Answer {
        let bearer = format!("Bearer {ADMIN}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(if_match.map(|revision| ("if-match", revision)));
        exchange(&format!("127.0.0.1:{}", self.port), request(method, path, &headers, body)).await
    }

    async fn set(&self, model: &str, price: &Value) -> Answer {
        self.send("PUT", &format!("/api/prices/{model}"), None, &price.to_string()).await
    }

    async fn list(&self) -> Value {
        let answer = self.send("GET", "/api/prices", None, "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let list = answer.json();
        assert_eq!(answer.header("etag").unwrap(), format!("\"{}\"", list["revision"]));
        list
    }

    /// The first entry of this model.
    async fn listed(&self, model: &str, origin: &str) -> Value {
        let list = self.list().await;
        let prices = list["prices"].as_array().unwrap();
        let found = prices.iter().find(|it| it["model"] == model && it["origin"] == origin);
        found.cloned().unwrap_or_default()
    }

    /// Sends a request; what all of the model's have cost once it is counted, in billionths.
    async fn cost_after_one_more(&mut self) -> i64 {
        let url = self.gateway.url(&format!("/v1beta/models/{MODEL}:generateContent"));
        assert_eq!(client().post(url).body(prompt("x")).send().await.unwrap().status(), 200);
        self.sent += 1;
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let path = format!("/api/usage?by=model&step=all&model={MODEL}");
            let answer = self.send("GET", &path, None, "").await.json();
            let row = &answer["rows"][0];
            if row["requests"].as_u64() == Some(self.sent) {
                #[expect(clippy::cast_possible_truncation, reason = "a few units")]
                return (row["cost"].as_f64().unwrap() * 1e9).round() as i64;
            }
            assert!(Instant::now() < deadline, "{answer}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

fn options(url: &str, port: u16) -> Options {
    Options::new(url, 1).env("ADMIN_TOKEN", ADMIN).set("admin.port", port)
}

const UNIT: i64 = 1_000_000_000;

/// A price for each request, whatever it uses.
fn per_request(price: f64) -> Value {
    json!({ "input": 0.0, "output": 0.0, "per_request": price, "currency": "USD" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_holds_from_then_on_and_in_the_next_process_and_changes_nothing_that_was() {
    let simulator = simulator(1).await;
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let options = options(&simulator.url(), port);
    let mut priced = Priced { gateway: options.start_in(folder.path()), port, sent: 0 };
    let by_list = priced.cost_after_one_more().await;
    assert!(by_list > 0 && by_list < UNIT, "{by_list}");
    assert!(
        priced.listed(MODEL, "built_in").await["source"]
            .as_str()
            .unwrap()
            .starts_with("https://ai.google.dev")
    );

    let set = priced.set(MODEL, &per_request(2.0)).await;
    assert_eq!((set.status, set.json()["kept"].as_bool()), (200, Some(true)), "{}", set.text());
    assert_eq!(priced.cost_after_one_more().await, by_list + 2 * UNIT);
    // A whole name goes before a pattern.
    assert_eq!(priced.set("gemini-*", &per_request(100.0)).await.status, 200);
    assert_eq!(priced.cost_after_one_more().await, by_list + 4 * UNIT);

    // Another configuration leaves it as it is.
    assert_eq!(priced.send("POST", "/api/reload", None, "").await.status, 200);
    std::fs::write(folder.path().join("config.toml"), "[log]\nlevel = \"debug\"\n").unwrap();
    let deadline = Instant::now() + Duration::from_secs(15);
    while priced.send("GET", "/api/reload", None, "").await.json()["revision"] != 2 {
        assert!(Instant::now() < deadline, "the file is not read");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(priced.cost_after_one_more().await, by_list + 6 * UNIT);

    priced.gateway.signal("TERM");
    priced.gateway.wait_for_end();
    let mut priced = Priced { gateway: options.start_in(folder.path()), ..priced };
    assert_eq!(priced.listed(MODEL, "runtime").await["per_request"], 2.0);
    // Nor does the key's last hour begin anew.
    let keys = priced.send("GET", "/api/keys", None, "").await.json();
    assert_eq!(keys["keys"][0]["last_hour"].as_u64(), Some(priced.sent), "{keys}");
    assert_eq!(priced.cost_after_one_more().await, by_list + 8 * UNIT);
    assert_eq!(priced.send("DELETE", &format!("/api/prices/{MODEL}"), None, "").await.status, 200);
    assert_eq!(priced.cost_after_one_more().await, by_list + 108 * UNIT);
    assert_eq!(priced.send("DELETE", "/api/prices/gemini-%2A", None, "").await.status, 200);
    assert_eq!(priced.cost_after_one_more().await, 2 * by_list + 108 * UNIT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_goes_before_what_is_set() {
    let simulator = simulator(1).await;
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let plain = options(&simulator.url(), port);
    let mut priced = Priced { gateway: plain.start_in(folder.path()), port, sent: 0 };
    for model in [MODEL, "other-model"] {
        assert_eq!(priced.set(model, &per_request(2.0)).await.status, 200);
    }
    priced.gateway.signal("TERM");
    priced.gateway.wait_for_end();
    let file = |currency: &str| {
        format!("[{{model=\"{MODEL}\",input=0.0,output=0.0,per_request=5.0,currency=\"{currency}\"}}]")
    };
    let with_file = plain.clone().set("prices", file("USD"));
    let mut priced = Priced { gateway: with_file.start_in(folder.path()), port, sent: 0 };
    assert_eq!(priced.cost_after_one_more().await, 5 * UNIT);
    assert_eq!(priced.listed(MODEL, "runtime").await["shadowed"], true);
    assert_eq!(priced.listed("other-model", "runtime").await["shadowed"], false);
    let refused = priced.set(MODEL, &per_request(3.0)).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("[[prices]]"), "{}", refused.text());
    // One that is shadowed can be forgotten; the file's own cannot.
    assert_eq!(priced.send("DELETE", &format!("/api/prices/{MODEL}"), None, "").await.status, 200);
    assert_eq!(priced.send("DELETE", &format!("/api/prices/{MODEL}"), None, "").await.status, 409);
    assert_eq!(priced.cost_after_one_more().await, 10 * UNIT);
    priced.gateway.signal("TERM");
    priced.gateway.wait_for_end();
    // Sums are in one currency: that of the file.
    let in_euro = plain.set("prices", file("EUR"));
    let priced = Priced { gateway: in_euro.start_in(folder.path()), port, sent: 0 };
    assert_eq!(priced.list().await["currency"], "EUR");
    assert_eq!(priced.listed("other-model", "runtime").await["shadowed"], true);
    assert_eq!(priced.listed("gemini-2.5-pro", "built_in").await["shadowed"], true);
    let dollars = priced.set("third", &json!({ "input": 1.0, "currency": "USD" })).await;
    assert_eq!(dollars.status, 400, "{}", dollars.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_price_is_refused_and_a_stale_revision_too() {
    let simulator = simulator(1).await;
    let port = free_port();
    let mut priced = Priced { gateway: options(&simulator.url(), port).start(), port, sent: 0 };
    for (model, price) in [
        ("x", json!({})),
        ("x", json!({ "input": -1.0 })),
        ("x", json!({ "input": 1.0, "above_tokens": 10 })),
        ("x", json!({ "input": 1.0, "from": "2027-01-01" })),
        ("x", json!({ "input": "1" })),
        ("x", json!({ "inputs": 1.0 })),
        ("x", json!([1])),
        ("a%20b", json!({ "input": 1.0 })),
        ("CANARY%3Cimg%3E", json!({ "input": 1.0 })),
    ] {
        let answer = priced.set(model, &price).await;
        assert_eq!(answer.status, 400, "{model} {price}: {}", answer.text());
    }
    let long = "x".repeat(201);
    assert_eq!(priced.set(&long, &json!({ "input": 1.0 })).await.status, 400);
    let revision = priced.list().await["revision"].as_u64().unwrap();
    let price = json!({ "per_request": 1.0 }).to_string();
    let put = async |if_match: &str| priced.send("PUT", "/api/prices/x", Some(if_match), &price).await.status;
    let known = format!("\"{revision}\"");
    assert_eq!((put(&known).await, put(&known).await, put("\"x\"").await), (200, 409, 400));
    assert_eq!(priced.send("DELETE", "/api/prices/x", Some(&known), "").await.status, 409);
    let now = format!("\"{}\"", revision + 1);
    assert_eq!(priced.send("DELETE", "/api/prices/x", Some(&now), "").await.status, 200);
    // Without a price nothing is made up: the request is told as one of a model without.
    assert_eq!(priced.set("gemini-2.5-fl%3Fsh", &json!({ "input": 1.0 })).await.status, 200);
    priced.cost_after_one_more().await;
    let unpriced = priced.list().await["unpriced"].clone();
    assert_eq!(unpriced, json!([{ "model": MODEL, "requests": 1 }]), "output has no price");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let audit = priced.send("GET", "/api/audit", None, "").await.json();
        let told = |verb: &str, subject: Value| {
            audit["lines"].as_array().unwrap().iter().any(|it| it["verb"] == verb && it["subject"] == subject)
        };
        if told("prices set", json!("gemini-2.5-fl?sh")) {
            assert!(told("prices forget", json!("x")) && told("prices set", Value::Null), "{audit}");
            assert!(!audit.to_string().contains("CANARY"), "{audit}");
            break;
        }
        assert!(Instant::now() < deadline, "{audit}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
