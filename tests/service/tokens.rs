//! Tokens as an operator makes them, by file and while the gateway runs: who is let in, to what, how often, and for how much;
//! how a client is told; and that no token is written down anywhere.

use crate::{
    live::Session,
    support::{Gateway, Options, TOKEN, free_port, prompt, secret, simulator, simulator_with, stranger},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gemini_simulator::{Fault, Rule, Simulator};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

const ADMIN: &str = "operator-token-5b1e";
const FLASH: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const PRO: &str = "/v1beta/models/gemini-2.5-pro:generateContent";
const CHAT: &str = "/v1/chat/completions";
const LIMIT: &str = "x-gemini-balance-limit";

/// With an operator's listener, and its port.
fn options(simulator: &Simulator, keys: usize) -> (Options, u16) {
    let port = free_port();
    (Options::new(&simulator.url(), keys).env("ADMIN_TOKEN", ADMIN).set("admin.port", port), port)
}

/// With these tokens of the configuration, as the entries of a TOML list.
fn with_tokens(simulator: &Simulator, keys: usize, tokens: &str) -> Options {
    Options::new(&simulator.url(), keys).without_token().set("auth.tokens", format!("[{tokens}]"))
}

/// Runs `gemini-balance tokens` with the gateway's settings: whether it succeeded, and all it printed.
fn tokens(options: &Options, folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = options.command(folder).arg("tokens").args(arguments).output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), text.trim().to_owned())
}

/// Makes one.
fn add(options: &Options, folder: &Path, arguments: &[&str]) -> String {
    let (done, token) = tokens(options, folder, &[&["add"], arguments].concat());
    assert!(done && token.starts_with("gbt_") && token.len() == 47, "{token}");
    token
}

async fn send(gateway: &Gateway, token: &str, path: &str, body: String) -> Response {
    let request = stranger().post(gateway.url(path)).header("x-goog-api-key", token).body(body);
    request.send().await.unwrap()
}

async fn status(gateway: &Gateway, token: &str) -> u16 {
    send(gateway, token, FLASH, prompt("x")).await.status().as_u16()
}

async fn get(gateway: &Gateway, token: &str, path: &str) -> Value {
    let response = stranger().get(gateway.url(path)).header("x-goog-api-key", token).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

fn chat(model: &str) -> String {
    json!({"model": model, "messages": [{"role": "user", "content": "x"}]}).to_string()
}

/// What a client is told: the status, the word of the limit, and the error.
async fn told(response: Response) -> (u16, Option<String>, Value) {
    let status = response.status().as_u16();
    let limit = response.headers().get(LIMIT).map(|word| word.to_str().unwrap().to_owned());
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    (status, limit, body["error"].clone())
}

/// The operator's listener, asked as scripts do.
async fn operator(port: u16, method: Method, path: &str, body: &str) -> (u16, Value) {
    let request = stranger().request(method, format!("http://127.0.0.1:{port}{path}"));
    let response = request.bearer_auth(ADMIN).body(body.to_owned()).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_made_disabled_rotated_and_removed_while_the_gateway_runs() {
    let simulator = simulator(1).await;
    let (options, _) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let gateway = options.start_in(folder.path());
    let run = |arguments: &[&str]| {
        let (done, text) = tokens(&options, folder.path(), arguments);
        assert!(done, "{text}");
        text
    };
    let first =
        add(&options, folder.path(), &["alice", "--rpm", "60", "--expires", "90d", "--note", "a friend"]);
    assert_eq!(status(&gateway, &first).await, 200);
    let list = run(&[]);
    assert!(list.contains("alice") && list.contains("active") && list.contains("rpm 1/60"), "{list}");
    assert!(list.contains("tester") && list.contains("configuration"), "{list}");
    assert!(!list.contains(&first[4..12]), "{list}");
    run(&["disable", "alice"]);
    let (code, limit, error) = told(send(&gateway, &first, FLASH, prompt("x")).await).await;
    assert_eq!((code, limit, &error["status"]), (401, None, &json!("UNAUTHENTICATED")));
    assert!(error["message"].as_str().unwrap().contains("disabled"), "{error}");
    run(&["enable", "alice"]);
    assert_eq!(status(&gateway, &first).await, 200);
    let second = run(&["rotate", "alice", "--grace", "1h"]);
    assert_eq!((status(&gateway, &first).await, status(&gateway, &second).await), (200, 200));
    let third = run(&["rotate", "alice", "--grace", "0s"]);
    assert_eq!(
        (status(&gateway, &first).await, status(&gateway, &second).await, status(&gateway, &third).await),
        (200, 401, 200),
        "the first has its hour yet"
    );
    let (done, why) = tokens(&options, folder.path(), &["add", "alice"]);
    assert!(!done && why.contains("409") && why.contains("already"), "{why}");
    let (done, why) = tokens(&options, folder.path(), &["remove", "tester"]);
    assert!(!done && why.contains("409") && why.contains("configuration"), "{why}");
    let (done, why) = tokens(&options, folder.path(), &["add", "bob", "--rpm", "0"]);
    assert!(!done && why.contains("rpm"), "{why}");
    run(&["remove", "alice"]);
    assert_eq!(status(&gateway, &third).await, 401);
    let (done, why) = tokens(&options, folder.path(), &["remove", "alice"]);
    assert!(!done && why.contains("404"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_outlive_the_process_and_keys_of_the_pool_open_nothing_after_the_last() {
    let simulator = simulator(1).await;
    let port = free_port();
    let options =
        Options::new(&simulator.url(), 1).without_token().env("ADMIN_TOKEN", ADMIN).set("admin.port", port);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    assert_eq!(status(&gateway, &secret(0)).await, 200, "a key opens it while no token was ever made");
    let key_file = folder.path().join("data/instance.key");
    assert!(!key_file.exists(), "it is made with the first token");
    let alice = add(&options, folder.path(), &["alice", "--models", "gemini-2.5-flash"]);
    assert_eq!(std::fs::metadata(&key_file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!((status(&gateway, &secret(0)).await, status(&gateway, &alice).await), (401, 200));
    gateway.signal("KILL");
    gateway.wait(Duration::from_secs(5));
    let mut gateway = options.start_in(folder.path());
    assert_eq!((status(&gateway, &secret(0)).await, status(&gateway, &alice).await), (401, 200));
    assert_eq!(send(&gateway, &alice, PRO, prompt("x")).await.status(), 403);
    let (done, text) = tokens(&options, folder.path(), &["remove", "alice"]);
    assert!(done, "{text}");
    gateway.signal("TERM");
    gateway.wait(Duration::from_secs(5));
    let mut gateway = options.start_in(folder.path());
    assert_eq!((status(&gateway, &secret(0)).await, status(&gateway, &alice).await), (401, 401));
    assert!(gateway.output().contains("nobody may call"), "{}", gateway.output());
    gateway.signal("TERM");
    gateway.wait(Duration::from_secs(5));
    // Without the store the key's file is witness enough.
    std::fs::remove_file(folder.path().join("data/state.db")).unwrap();
    let gateway = options.start_in(folder.path());
    assert_eq!(status(&gateway, &secret(0)).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_key_that_others_can_read_is_refused_and_another_one_is_noticed() {
    let simulator = simulator(1).await;
    let (options, _) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    let alice = add(&options, folder.path(), &["alice"]);
    gateway.signal("TERM");
    gateway.wait(Duration::from_secs(5));
    let key_file = folder.path().join("data/instance.key");
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = options.command(folder.path()).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && why.contains("store.instance_key_file") && why.contains("600"),
        "{why}"
    );
    std::fs::remove_file(&key_file).unwrap();
    let gateway = options.start_in(folder.path());
    assert!(gateway.output().contains("another instance key"), "{}", gateway.output());
    assert_eq!(status(&gateway, &alice).await, 401);
    let (done, renewed) = tokens(&options, folder.path(), &["rotate", "alice"]);
    assert!(done, "{renewed}");
    assert_eq!(status(&gateway, &renewed).await, 200);
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![(path.display().to_string(), std::fs::read(&path).unwrap())]
            }
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_is_written_down_anywhere_whole_or_in_part() {
    const GIVEN: &str = "Zq8-given-Wm4-canary-Xv2-token";
    let simulator = simulator(1).await;
    let (options, port) = options(&simulator, 1);
    let options =
        options.env("ACCESS_TOKENS", format!("tester={TOKEN},bob={GIVEN}")).set("log.level", "\"debug\"");
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    let mut canaries = vec![GIVEN.to_owned(), add(&options, folder.path(), &["alice", "--rpd", "4"])];
    let (_, rotated) = tokens(&options, folder.path(), &["rotate", "alice"]);
    canaries.push(rotated);
    let mut said = String::new();
    for token in &canaries {
        for path in [FLASH, PRO, "/v1beta/nothing here", "/v1beta/models/x:generateContent", "/me"] {
            let query = stranger().get(gateway.url(&format!("{path}?key={token}"))).send().await.unwrap();
            said += &query.text().await.unwrap();
            said += &send(&gateway, token, path, prompt("x")).await.text().await.unwrap();
            let wrong = format!("{token}x");
            said += &send(&gateway, &wrong, path, prompt("x")).await.text().await.unwrap();
        }
        let bearer = stranger().post(gateway.url(CHAT)).bearer_auth(token).body(chat("gemini-2.5-flash"));
        said += &bearer.send().await.unwrap().text().await.unwrap();
    }
    for (method, path, body) in [
        (Method::GET, "/api/tokens", ""),
        (Method::POST, "/api/tokens", r#"{"name":"x","secret":"Zq8-given-Wm4-canary-Xv2-token"}"#),
        (Method::POST, "/api/tokens", r#"{"name":"alice"}"#),
        (Method::GET, "/keys", ""),
    ] {
        said += &operator(port, method, path, body).await.1.to_string();
    }
    said += &tokens(&options, folder.path(), &[]).1;
    gateway.signal("TERM");
    gateway.wait(Duration::from_secs(5));
    said += &gateway.output();
    let mut places = files(folder.path());
    assert!(places.iter().any(|(name, _)| name.ends_with("transactions.log")));
    assert!(places.iter().any(|(name, _)| name.ends_with("state.db")));
    places.push(("what was said".to_owned(), said.into_bytes()));
    for token in &canaries {
        let mut forms: Vec<Vec<u8>> = token.as_bytes().windows(8).map(<[u8]>::to_vec).collect();
        // Of base64 the parts that do not hang on what stands before.
        for shift in 0..3 {
            let text = STANDARD.encode(&token.as_bytes()[shift..]);
            forms.push(text.as_bytes()[..12].to_vec());
        }
        for (place, bytes) in &places {
            for form in &forms {
                let found = memchr::memmem::find(bytes, form);
                assert_eq!(found, None, "{:?} is in {place}", String::from_utf8_lossy(form));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_surface_state_and_model_is_allowed_or_refused_as_the_token_says() {
    let simulator = simulator(1).await;
    let entry = |name: &str, more: &str| format!("{{name=\"{name}\",secret=\"{name}-secret\"{more}}},");
    let surfaces = ["native", "openai", "live", "upload"];
    let states = [
        ("on", "", None),
        ("off", ",enabled=false", Some(401)),
        ("past", ",expires=\"2020-01-01\"", Some(401)),
        ("future", ",expires=\"2999-01-01T00:00:00Z\"", None),
    ];
    let globs = [
        ("any", "*", true, true),
        ("flash", "gemini-*-flash", true, false),
        ("pro", "models/gemini-2.5-pro", false, true),
        ("none", "nothing-*", false, false),
    ];
    let mut entries = String::new();
    for surface in surfaces {
        for (state, more, _) in states {
            for (glob, pattern, ..) in globs {
                let name = format!("{surface}-{state}-{glob}");
                entries += &entry(&name, &format!(",surfaces=[\"{surface}\"],models=[\"{pattern}\"]{more}"));
            }
        }
    }
    let gateway = with_tokens(&simulator, 1, &entries).start();
    let mut cases = 0;
    for opened in surfaces {
        for (state, _, refused) in states {
            for (glob, _, flash, pro) in globs {
                let token = format!("{opened}-{state}-{glob}-secret");
                for surface in surfaces {
                    for (model, fits) in [("gemini-2.5-flash", flash), ("gemini-2.5-pro", pro)] {
                        let response = match surface {
                            "native" => {
                                let path = format!("/v1beta/models/{model}:generateContent");
                                send(&gateway, &token, &path, prompt("x")).await
                            }
                            "openai" => send(&gateway, &token, CHAT, chat(model)).await,
                            "live" => {
                                // Without the upgrade: it is forwarded, where it may.
                                let path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
                                send(&gateway, &token, path, String::new()).await
                            }
                            _ => send(&gateway, &token, "/upload/v1beta/files", String::new()).await,
                        };
                        let names_model = matches!(surface, "native" | "openai");
                        // What says no model spends on one that is not shown.
                        let fits = match surface {
                            "live" => glob == "any",
                            _ => fits || !names_model,
                        };
                        let (code, limit) =
                            (response.status().as_u16(), response.headers().get(LIMIT).cloned());
                        let case = format!("{opened} {state} {glob}: {surface} {model} {code} {limit:?}");
                        match refused {
                            Some(expected) => assert_eq!((code, limit), (expected, None), "{case}"),
                            None if opened != surface => {
                                assert_eq!(
                                    (code, limit.unwrap().to_str().unwrap()),
                                    (403, "surface"),
                                    "{case}"
                                );
                            }
                            None if !fits => {
                                assert_eq!(
                                    (code, limit.unwrap().to_str().unwrap()),
                                    (403, "model"),
                                    "{case}"
                                );
                            }
                            None => assert!(code != 401 && code != 403 && limit.is_none(), "{case}"),
                        }
                        cases += 1;
                    }
                }
            }
        }
    }
    assert_eq!(cases, 4 * 4 * 4 * 4 * 2);
    let known = simulator.requests();
    let models: BTreeSet<_> = known.iter().filter_map(|request| request.path.split('/').nth(3)).collect();
    assert!(models.iter().all(|model| !model.contains("nothing")), "{models:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spending_request_that_shows_no_model_needs_a_token_for_all() {
    let simulator = simulator(1).await;
    let gateway = with_tokens(
        &simulator,
        1,
        "{name=\"some\",secret=\"some-secret\",models=[\"gemini-*\"]},{name=\"all\",secret=\"all-secret\"}",
    )
    .start();
    let batch =
        json!({"input_file_id": "files/x", "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    for (path, body) in [
        ("/v1beta/openai/batches", batch.to_string()),
        ("/v1alpha/auth_tokens", "{}".to_owned()),
        ("/v1beta/interactions", json!({"agent": "deep-research", "input": "x"}).to_string()),
        ("/v1beta/openai/audio/transcriptions", "--x\r\n".to_owned()),
    ] {
        let (code, limit, error) = told(send(&gateway, "some-secret", path, body.clone()).await).await;
        assert_eq!((code, limit.as_deref()), (403, Some("model")), "{path}");
        assert!(error["message"].as_str().unwrap().contains("does not show"), "{error}");
        let response = send(&gateway, "all-secret", path, body).await;
        assert!(!response.headers().contains_key(LIMIT), "{path}");
    }
    // Files, lists and counting need none.
    for path in ["/v1beta/files", "/v1beta/models", "/v1beta/batches"] {
        let response = stranger().get(gateway.url(path)).header("x-goog-api-key", "some-secret").send().await;
        assert_eq!(response.unwrap().status(), 200, "{path}");
    }
    let count = "/v1beta/models/gemini-2.5-flash:countTokens";
    assert_eq!(send(&gateway, "some-secret", count, prompt("x")).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_reached_is_told_in_each_dialect() {
    let simulator = simulator(1).await;
    let entry = |name: &str, more: &str| format!("{{name=\"{name}\",secret=\"{name}-secret\",{more}}},");
    let all = [
        ("rpm", entry("rpm", "rpm=1"), "requests", "rate_limit_exceeded", 61),
        ("rpd", entry("rpd", "rpd=1"), "requests", "rate_limit_exceeded", 90_000),
        ("tpm", entry("tpm", "tpm=2"), "tokens", "rate_limit_exceeded", 61),
        (
            "tokens_day",
            entry("tokens_day", "budget={tokens_day=2}"),
            "insufficient_quota",
            "insufficient_quota",
            90_000,
        ),
        (
            "tokens_month",
            entry("tokens_month", "budget={tokens_month=2}"),
            "insufficient_quota",
            "insufficient_quota",
            2_700_000,
        ),
        (
            "money_day",
            entry("money_day", "budget={money_day=0.000001}"),
            "insufficient_quota",
            "insufficient_quota",
            90_000,
        ),
        (
            "money_month",
            entry("money_month", "budget={money_month=0.000001}"),
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
async fn lists_of_models_show_what_a_caller_may_use() {
    let simulator = simulator(1).await;
    let entry = "{name=\"some\",secret=\"some-secret\",models=[\"gemini-2.5-*\"]},{name=\"all\",secret=\"all-secret\"}";
    let gateway = with_tokens(&simulator, 1, entry).start();
    for (path, list, name) in
        [("/v1beta/models?pageSize=1000", "models", "name"), ("/v1beta/openai/models", "data", "id")]
    {
        let names = async |token| {
            let body = get(&gateway, token, path).await;
            let names = body[list].as_array().unwrap().iter();
            names.map(|model| model[name].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
        };
        let (some, all) = (names("some-secret").await, names("all-secret").await);
        let fits = |name: &&String| name.trim_start_matches("models/").starts_with("gemini-2.5-");
        assert_eq!(some, all.iter().filter(fits).cloned().collect(), "{path}");
        assert!(!some.is_empty() && some.len() < all.len(), "{path}: {some:?}");
    }
    let refused = stranger().get(gateway.url("/v1beta/models/gemini-2.0-flash"));
    let (status, limit, _) =
        told(refused.header("x-goog-api-key", "some-secret").send().await.unwrap()).await;
    assert_eq!((status, limit.as_deref()), (403, Some("model")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_served_from_its_projects_only() {
    let simulator = simulator(4).await;
    let keys: Vec<_> = (0..4)
        .map(|n| format!("{{label=\"k{n}\",secret=\"{}\",project=\"team-{}\"}}", secret(n), n % 2))
        .collect();
    let entry = "{name=\"alice\",secret=\"alice-secret\",projects=[\"team-1\"]},{name=\"bob\",secret=\"bob-secret\",projects=[\"no-*\"]}";
    let gateway = with_tokens(&simulator, 0, entry).set("keys", format!("[{}]", keys.join(","))).start();
    for _ in 0..8 {
        assert_eq!(status(&gateway, "alice-secret").await, 200);
        assert_eq!(send(&gateway, "alice-secret", CHAT, chat("gemini-2.5-flash")).await.status(), 200);
    }
    let used: BTreeSet<_> = simulator.stats().by_key.into_keys().collect();
    assert_eq!(used, [secret(1), secret(3)].into());
    assert_eq!(status(&gateway, "bob-secret").await, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_session_is_held_to_its_token() {
    let simulator = simulator(1).await;
    let entry = "{name=\"pro\",secret=\"pro-secret\",models=[\"gemini-2.5-pro\"]},\
                 {name=\"native\",secret=\"native-secret\",surfaces=[\"native\"]},\
                 {name=\"some\",secret=\"some-secret\",budget={tokens_day=3}}";
    let gateway = with_tokens(&simulator, 1, entry).start();
    let (code, reason) = Session::begin_as(&gateway, "pro-secret").await.err().unwrap();
    assert_eq!(code, 1008, "{reason}");
    assert!(reason.starts_with("This token does not allow the model"), "{reason}");
    assert_eq!(Session::upgrade_as(&gateway, "native-secret").await, Err(403));
    // A session counts as it goes, and is not cut; the next one is refused.
    let mut session = Session::begin_as(&gateway, "some-secret").await.ok().unwrap();
    session.ask("one").await;
    session.ask("two").await;
    let me = get(&gateway, "some-secret", "/me").await;
    assert!(me["use"]["limits"][0]["used"].as_u64().unwrap() > 3, "{me}");
    assert_eq!(Session::upgrade_as(&gateway, "some-secret").await, Err(429));
    session.ask("three").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_token_that_may_not_call_is_no_guess() {
    let simulator = simulator(1).await;
    let entry = "{name=\"off\",secret=\"off-secret\",enabled=false},{name=\"on\",secret=\"on-secret\"}";
    let gateway = with_tokens(&simulator, 1, entry).set("server.max_guesses_per_minute", 5).start();
    for _ in 0..20 {
        assert_eq!(status(&gateway, "off-secret").await, 401);
    }
    assert_eq!(status(&gateway, "on-secret").await, 200);
    for _ in 0..5 {
        assert_eq!(status(&gateway, "wrong").await, 401);
    }
    assert_eq!(status(&gateway, "on-secret").await, 429, "its address has guessed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_listener_says_what_is_wrong_with_a_token() {
    let simulator = simulator(1).await;
    let (options, port) = options(&simulator, 1);
    let gateway = options.start();
    let made =
        json!({"name": "alice", "models": ["gemini-2.5-*"], "budget": {"money_day": 0.5}, "expires": "1h"});
    let (status_is, body) = operator(port, Method::POST, "/api/tokens", &made.to_string()).await;
    assert_eq!((status_is, &body["name"], &body["kept"]), (201, &json!("alice"), &json!(true)));
    let token = body["token"].as_str().unwrap().to_owned();
    assert_eq!(status(&gateway, &token).await, 200);
    let (_, list) = operator(port, Method::GET, "/api/tokens", "").await;
    let alice = list["tokens"].as_array().unwrap().iter().find(|token| token["name"] == "alice").unwrap();
    assert_eq!((&alice["source"], &alice["state"]), (&json!("runtime"), &json!("active")));
    assert_eq!(alice["use"]["limits"][0]["limit"], json!(0.5));
    let (status_is, _) =
        operator(port, Method::PUT, "/api/tokens/alice", r#"{"models":["gemini-2.0-*"]}"#).await;
    assert_eq!((status_is, status(&gateway, &token).await), (200, 403));
    for (method, path, body, expected, word) in [
        (Method::POST, "/api/tokens", "{", 400, "JSON"),
        (Method::POST, "/api/tokens", "{}", 400, "name"),
        (Method::POST, "/api/tokens", r#"{"name":"a","rpn":1}"#, 400, "rpn"),
        (Method::POST, "/api/tokens", r#"{"name":"a","secret":"x"}"#, 400, "cannot be chosen"),
        (Method::POST, "/api/tokens", r#"{"name":"a","surfaces":["web"]}"#, 400, "web"),
        (Method::POST, "/api/tokens", r#"{"name":"a","models":[]}"#, 400, "models"),
        (Method::POST, "/api/tokens", r#"{"name":"a","expires":"soon"}"#, 400, "expires"),
        (Method::POST, "/api/tokens", r#"{"name":"pool"}"#, 400, "usage"),
        (Method::POST, "/api/tokens", r#"{"name":"tester"}"#, 409, "configuration"),
        (Method::POST, "/api/tokens/alice/rotate", r#"{"grace":"long"}"#, 400, "grace"),
        (Method::POST, "/api/tokens/alice/melt", "", 404, "verbs"),
        (Method::DELETE, "/api/tokens/nobody", "", 404, "no token"),
    ] {
        let (status, answer) = operator(port, method, path, body).await;
        let why = answer["error"].as_str().unwrap_or_default();
        assert!(status == expected && why.contains(word), "{path} {body}: {status} {why}");
    }
    let client = stranger().get(format!("http://127.0.0.1:{port}/api/tokens")).bearer_auth(&token);
    assert_eq!(client.send().await.unwrap().status(), 401, "a client's token opens nothing here");
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
    gateway.wait(Duration::from_secs(5));
    let gateway = options.start_in(folder.path());
    assert_eq!(used(&gateway).await, before);
    assert_eq!(status(&gateway, "alice-secret").await, 200);
    let (status_is, limit, _) = told(send(&gateway, "alice-secret", FLASH, prompt("x")).await).await;
    assert_eq!((status_is, limit.as_deref()), (429, Some("rpm")));
    assert_eq!(status(&gateway, "bob-secret").await, 200, "another caller has its own");
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
