//! How often and for how much a token may call: limits and budgets to the last cent, how they are told and counted.

use super::{ADMIN, CHAT, FLASH, LIMIT, PRO, add, chat, get, operator, send, status, told, with_tokens};
use crate::support::{Gateway, Options, free_port, prompt, secret, simulator, simulator_with, stranger};
use gemini_simulator::{Fault, Rule};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_reached_is_told_in_each_dialect() {
    // The first request fits into each budget, and uses it up.
    let simulator = simulator_with(1, |config| config.shape.text_bytes = 400).await;
    let entry = |name: &str, more: &str| format!("{{name=\"{name}\",secret=\"{name}-secret\",{more}}},");
    let all = [
        ("rpm", entry("rpm", "rpm=1"), "requests", "rate_limit_exceeded", 61),
        ("rpd", entry("rpd", "rpd=1"), "requests", "rate_limit_exceeded", 90_000),
        ("tpm", entry("tpm", "tpm=2"), "tokens", "rate_limit_exceeded", 61),
        (
            "tokens_day",
            entry("tokens_day", "budget={tokens_day=20}"),
            "insufficient_quota",
            "insufficient_quota",
            90_000,
        ),
        (
            "tokens_month",
            entry("tokens_month", "budget={tokens_month=20}"),
            "insufficient_quota",
            "insufficient_quota",
            2_700_000,
        ),
        (
            "money_day",
            entry("money_day", "budget={money_day=0.000006}"),
            "insufficient_quota",
            "insufficient_quota",
            90_000,
        ),
        (
            "money_month",
            entry("money_month", "budget={money_month=0.000006}"),
            "insufficient_quota",
            "insufficient_quota",
            2_700_000,
        ),
    ];
    let gateway =
        with_tokens(&simulator, 1, &all.iter().map(|(_, entry, ..)| entry.as_str()).collect::<String>())
            .start();
    for (name, _, kind, code, at_most_s) in all {
        let token = format!("{name}-secret");
        assert_eq!(send(&gateway, &token, FLASH, prompt("first")).await.status(), 200, "{name}");
        let native = send(&gateway, &token, FLASH, prompt("second")).await;
        let retry: u64 = native.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=at_most_s).contains(&retry), "{name}: {retry}");
        let gives_up = native.headers().get("x-should-retry").map(|value| value == "false");
        assert_eq!(gives_up, (kind == "insufficient_quota").then_some(true), "{name}");
        let (status, limit, error) = told(native).await;
        assert_eq!((status, limit.as_deref()), (429, Some(name)));
        assert_eq!(error["status"], "RESOURCE_EXHAUSTED");
        let details: Vec<_> =
            error["details"].as_array().unwrap().iter().map(|one| one["@type"].as_str().unwrap()).collect();
        assert!(details.contains(&"type.googleapis.com/google.rpc.RetryInfo"), "{name}: {details:?}");
        let has_quota = details.contains(&"type.googleapis.com/google.rpc.QuotaFailure");
        assert_eq!(has_quota, kind == "insufficient_quota", "{name}: {details:?}");
        let (status, limit, error) = told(send(&gateway, &token, CHAT, chat("gemini-2.5-flash")).await).await;
        assert_eq!((status, limit.as_deref()), (429, Some(name)));
        assert_eq!((&error["type"], &error["code"]), (&json!(kind), &json!(code)), "{name}");
        // What was refused reached nobody, and `/me` says when it opens, whatever is reached.
        let me = get(&gateway, &token, "/me").await;
        let limit = &me["use"]["limits"][0];
        assert_eq!((&me["name"], &limit["name"]), (&json!(name), &json!(name)));
        assert!(limit["opens_in_s"].as_u64().unwrap() > 0, "{me}");
    }
    assert_eq!(simulator.requests().len(), 7);
    let lines = gateway.transactions(21);
    assert!(lines.iter().filter(|line| line["status"] == 429).all(|line| line["caller"].is_string()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_larger_than_a_whole_budget_is_refused_for_good_and_told_so() {
    let simulator = simulator(1).await;
    let gateway =
        with_tokens(&simulator, 1, "{name=\"alice\",secret=\"alice-secret\",budget={tokens_day=50}}").start();
    let refused = send(&gateway, "alice-secret", FLASH, prompt(&"word ".repeat(100))).await;
    assert!(!refused.headers().contains_key("retry-after"), "no time makes room");
    assert_eq!(refused.headers()["x-should-retry"], "false");
    let (status, limit, error) = told(refused).await;
    assert_eq!((status, limit.as_deref()), (429, Some("tokens_day")));
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("This request is too large for this token"), "{message}");
    assert!(simulator.requests().is_empty());
    // What is guessed of its answer is no reason to refuse a smaller one.
    assert_eq!(send(&gateway, "alice-secret", FLASH, prompt("x")).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_with_room_serves_on_after_a_restart() {
    let simulator = simulator(1).await;
    let options =
        with_tokens(&simulator, 1, "{name=\"alice\",secret=\"alice-secret\",budget={tokens_day=520}}");
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    for _ in 0..3 {
        assert_eq!(send(&gateway, "alice-secret", FLASH, prompt("x")).await.status(), 200);
    }
    gateway.signal("TERM");
    gateway.wait_for_end();
    let gateway = options.start_in(folder.path());
    assert_eq!(send(&gateway, "alice-secret", FLASH, prompt("x")).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_gateway_or_google_refuses_is_not_held_against_a_caller() {
    let simulator = simulator(1).await;
    let entry = "{name=\"alice\",secret=\"alice-secret\",rpm=3,tpm=100000}";
    let gateway = with_tokens(&simulator, 1, entry).set("server.max_body_bytes", 1_000).start();
    let used = async || {
        let me = get(&gateway, "alice-secret", "/me").await;
        let of = |at: usize| me["use"]["limits"][at]["used"].as_u64().unwrap();
        (of(0), of(1), me["use"]["in_flight"].as_u64().unwrap())
    };
    for _ in 0..5 {
        let too_long = send(&gateway, "alice-secret", FLASH, prompt(&"x".repeat(2_000))).await;
        assert_eq!(too_long.status(), 413);
    }
    assert_eq!(used().await, (0, 0, 0), "the gateway itself has refused");
    simulator.set_faults([Rule::new(Fault::status(400))]);
    assert_eq!(send(&gateway, "alice-secret", FLASH, prompt("x")).await.status(), 400);
    assert_eq!(used().await, (1, 0, 0), "Google has refused: a request, and no token");
    simulator.set_faults([]);
    let response = send(&gateway, "alice-secret", FLASH, prompt("x")).await;
    let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    let total = answer["usageMetadata"]["totalTokenCount"].as_u64().unwrap();
    assert_eq!(used().await, (2, total, 0), "as Google says");
}

/// Sends 200 requests at once, and returns how many tokens those that were served have used.
async fn rush(gateway: &Gateway, token: &str) -> (u64, u64) {
    let (served, tokens) = (AtomicU64::new(0), AtomicU64::new(0));
    let client = stranger();
    let requests = (0..200).map(|_| async {
        let request = client.post(gateway.url(FLASH)).header("x-goog-api-key", token).body(prompt("x"));
        let response = request.send().await.unwrap();
        if response.status() == 200 {
            let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
            served.fetch_add(1, Ordering::Relaxed);
            tokens.fetch_add(answer["usageMetadata"]["totalTokenCount"].as_u64().unwrap(), Ordering::Relaxed);
        } else {
            assert_eq!(response.headers()[LIMIT], "tokens_day");
        }
    });
    futures_util::future::join_all(requests).await;
    (served.into_inner(), tokens.into_inner())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_requests_at_the_last_cent_spend_no_more_than_is_left() {
    const BUDGET: u64 = 3_000;
    let simulator = simulator_with(1, |config| config.shape.interval_ms = 20).await;
    let entry = format!("{{name=\"alice\",secret=\"alice-secret\",budget={{tokens_day={BUDGET}}}}}");
    let gateway = with_tokens(&simulator, 1, &entry).start();
    let (mut spent, mut rounds) = (0, 0);
    loop {
        let (served, tokens) = rush(&gateway, "alice-secret").await;
        spent += tokens;
        rounds += 1;
        assert!(spent <= BUDGET, "{spent} after {rounds} rounds");
        let me = get(&gateway, "alice-secret", "/me").await;
        let limit = &me["use"]["limits"][0];
        assert_eq!(
            (&limit["used"], &limit["limit"]),
            (&json!(spent), &json!(BUDGET)),
            "settled to Google's word"
        );
        if served == 0 {
            break;
        }
    }
    assert!(rounds > 1, "what was set aside and not used is there for others");
    // What is left is less than one request is thought to need: its body's bytes by four, and the answers' mean.
    assert!(BUDGET - spent < 40, "{spent} of {BUDGET}");
    let (status, limit, _) = told(send(&gateway, "alice-secret", FLASH, prompt("x")).await).await;
    assert_eq!((status, limit.as_deref()), (429, Some("tokens_day")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_the_same_time_are_counted_to_their_last_byte() {
    let simulator = simulator_with(1, |config| config.shape.interval_ms = 100).await;
    let entry = "{name=\"alice\",secret=\"alice-secret\",concurrent=2},{name=\"bob\",secret=\"bob-secret\"}";
    let gateway = with_tokens(&simulator, 1, entry).start();
    let stream = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
    let mut open = Vec::new();
    for _ in 0..2 {
        let response = send(&gateway, "alice-secret", stream, prompt("x")).await;
        assert_eq!(response.status(), 200);
        open.push(response);
    }
    let (status_is, limit, error) = told(send(&gateway, "alice-secret", FLASH, prompt("x")).await).await;
    assert_eq!((status_is, limit.as_deref()), (429, Some("concurrent")));
    assert!(error["message"].as_str().unwrap().contains("2 requests at the same time"), "{error}");
    assert_eq!(status(&gateway, "bob-secret").await, 200, "another caller's is no matter");
    for response in open {
        response.bytes().await.unwrap();
    }
    let me = async || get(&gateway, "alice-secret", "/me").await["use"]["in_flight"].clone();
    for _ in 0..200 {
        if me().await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(status(&gateway, "alice-secret").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_gives_nobody_a_fresh_minute_or_budget() {
    let simulator = simulator(1).await;
    let entry = "{name=\"alice\",secret=\"alice-secret\",rpm=5,rpd=100,tpm=100000,budget={tokens_month=100000,money_day=1}},\
                 {name=\"bob\",secret=\"bob-secret\",rpm=5}";
    let options = with_tokens(&simulator, 1, entry);
    let folder = tempfile::tempdir().unwrap();
    let used = async |gateway: &Gateway| {
        let me = get(gateway, "alice-secret", "/me").await;
        let limits = me["use"]["limits"].as_array().unwrap().iter();
        limits.map(|limit| limit["used"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    let mut gateway = options.start_in(folder.path());
    for _ in 0..4 {
        assert_eq!(status(&gateway, "alice-secret").await, 200);
    }
    let before = used(&gateway).await;
    assert_eq!((before[0], before[2]), (4.0, 4.0));
    assert!(before[1] > 4.0 && before[3] > 0.0 && before[4] > 0.0, "{before:?}");
    gateway.signal("TERM");
    gateway.wait_for_end();
    let gateway = options.start_in(folder.path());
    assert_eq!(used(&gateway).await, before);
    assert_eq!(status(&gateway, "alice-secret").await, 200);
    let (status_is, limit, _) = told(send(&gateway, "alice-secret", FLASH, prompt("x")).await).await;
    assert_eq!((status_is, limit.as_deref()), (429, Some("rpm")));
    assert_eq!(status(&gateway, "bob-secret").await, 200, "another caller has its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_forgives_no_limit_more_than_its_last_second() {
    /// By which the book may be behind, on a slow machine.
    const BEHIND: Duration = Duration::from_millis(2_500);
    let simulator = simulator(1).await;
    let limits = [
        ("rpm", "rpm=12"),
        ("rpd", "rpd=12"),
        ("tpm", "tpm=100"),
        ("tokens_day", "budget={tokens_day=100}"),
        ("tokens_month", "budget={tokens_month=100}"),
        ("money_day", "budget={money_day=0.00005}"),
        ("money_month", "budget={money_month=0.00005}"),
    ];
    let entries = limits.map(|(name, limit)| format!("{{name=\"{name}\",secret=\"{name}-secret\",{limit}}}"));
    let options = with_tokens(&simulator, 1, &entries.join(","));
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    let used = async |gateway: &Gateway, name: &str| {
        let me = get(gateway, &format!("{name}-secret"), "/me").await;
        me["use"]["limits"][0]["used"].as_f64().unwrap()
    };
    let mut before = Vec::new();
    for (name, _) in limits {
        let mut refused = None;
        for _ in 0..100 {
            let answer = send(&gateway, &format!("{name}-secret"), FLASH, prompt("x")).await;
            if answer.status() != 200 {
                refused = told(answer).await.1;
                break;
            }
            answer.bytes().await.unwrap();
        }
        assert_eq!(refused.as_deref(), Some(name));
        before.push(used(&gateway, name).await);
    }
    tokio::time::sleep(BEHIND).await;
    gateway.signal("KILL");
    gateway.wait_for_end();
    let gateway = options.start_in(folder.path());
    for ((name, _), before) in limits.iter().zip(before) {
        let now = used(&gateway, name).await;
        assert!((now - before).abs() < 1e-9, "{name}: {now} of {before}");
        let (status, limit, _) =
            told(send(&gateway, &format!("{name}-secret"), FLASH, prompt("x")).await).await;
        assert_eq!((status, limit.as_deref()), (429, Some(*name)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_knows_callers_by_their_tokens_and_what_their_limits_refused() {
    let simulator = simulator(1).await;
    let port = free_port();
    let options =
        Options::new(&simulator.url(), 1).without_token().env("ADMIN_TOKEN", ADMIN).set("admin.port", port);
    let folder = tempfile::tempdir().unwrap();
    let gateway = options.start_in(folder.path());
    assert_eq!(status(&gateway, &secret(0)).await, 200);
    let alice = add(&options, folder.path(), &["alice", "--rpd", "2", "--models", "gemini-2.5-flash"]);
    for expected in [200, 200, 429, 429] {
        assert_eq!(status(&gateway, &alice).await, expected);
    }
    assert_eq!(send(&gateway, &alice, PRO, prompt("x")).await.status(), 403);
    let asked = async || {
        let (_, rows) = operator(port, Method::GET, "/api/usage?by=caller&step=all", "").await;
        let rows = rows.as_array().or(rows["rows"].as_array()).cloned().unwrap_or_default();
        let of = |name: &str| rows.iter().find(|row| row["caller"] == name).cloned().unwrap_or_default();
        (of("alice"), of("pool"))
    };
    let mut rows = asked().await;
    for _ in 0..100 {
        if rows.0["requests"] == 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        rows = asked().await;
    }
    let (of_alice, of_pool) = rows;
    assert_eq!(
        (&of_alice["requests"], &of_alice["answered"], &of_alice["refused_caller"]),
        (&json!(5), &json!(2), &json!(3)),
        "{of_alice}"
    );
    assert_eq!(of_pool["requests"], 1, "whoever called on a key");
    let me = get(&gateway, &alice, "/me").await;
    let today = me["days"].as_array().unwrap().last().unwrap();
    assert_eq!((&today["requests"], &today["currency"]), (&json!(5), &json!("USD")));
    assert_eq!(today["input_tokens"], of_alice["input_tokens"]);
}
