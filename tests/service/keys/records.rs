//! What is written down of keys: each change in the audit log, and no secret anywhere but in its file.

use super::{FLASH, MASTER, operator, options};
use crate::support::{
    Options, client, fingerprint, prompt, secret, sha256, simulator, simulator_with, stranger,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gemini_simulator::{KeyState, Simulator};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;

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

/// Adds keys, uses and misuses them in every way there is, and returns all that is left on the disk and was said.
async fn leftovers(
    options: Options,
    port: u16,
    simulator: &Simulator,
    canaries: &[String],
) -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let options =
        options.set("log.level", "debug").set("log.debug_enabled", "true").set("pool.check_retired_s", 1);
    let mut gateway = options.start_in(folder.path());
    let mut said = String::new();
    let mut ask = async |method: Method, path: String, body: Value| {
        said += &operator(port, method, &path, &body).await.1.to_string();
    };
    let all = canaries.join("\n");
    ask(Method::POST, "/api/keys".into(), json!({ "text": all, "dry_run": true, "check": true })).await;
    ask(Method::POST, "/api/keys".into(), json!({ "text": all, "project": "p" })).await;
    ask(Method::GET, "/api/keys".into(), Value::Null).await;
    ask(Method::GET, "/api/keys/export?format=csv".into(), Value::Null).await;
    for secret in canaries {
        // As an operator might by mistake.
        for (method, path) in [
            (Method::DELETE, format!("/api/keys/{secret}")),
            (Method::POST, format!("/api/keys/{secret}/check")),
            (Method::POST, format!("/api/keys/{secret}/label")),
            (Method::POST, format!("/keys/{secret}/disable")),
            (Method::DELETE, format!("/api/tokens/{secret}")),
            (Method::GET, format!("/api/keys?q={secret}")),
        ] {
            ask(method, path, json!({ "label": secret })).await;
        }
    }
    // The suspended one's answers echo it.
    simulator.set_key_state(&canaries[0], KeyState::Suspended);
    for n in 0..8 {
        let _ =
            client().post(gateway.url(FLASH)).body(prompt(&format!("say {}", canaries[n % 2]))).send().await;
    }
    let id = |secret: &String| format!("key-{}", &sha256(secret.as_bytes())[..12]);
    ask(Method::POST, format!("/api/keys/{}/check", id(&canaries[0])), Value::Null).await;
    ask(Method::POST, format!("/api/keys/{}/label", id(&canaries[1])), json!({ "label": "b" })).await;
    gateway.signal("TERM");
    gateway.wait_for_end();
    said += &gateway.output();
    let mut places = files(folder.path());
    for name in
        ["app.log", "audit.log", "transactions.log", "gemini_debug.log", "state.db", "usage.db", "keys.json"]
    {
        assert!(
            places.iter().any(|(place, _)| place.ends_with(name)),
            "{name} is not among {:?}",
            places.iter().map(|(place, _)| place).collect::<Vec<_>>()
        );
    }
    places.push(("what was said".to_owned(), said.into_bytes()));
    places
}

/// Asserts that no canary is in there: plain, in base64, or a fragment of eight.
fn assert_silent(place: &str, bytes: &[u8], canaries: &[String]) {
    for secret in canaries {
        let mut forms: Vec<Vec<u8>> = secret.as_bytes().windows(8).map(<[u8]>::to_vec).collect();
        // Of base64 the parts that do not hang on what stands before.
        for shift in 0..3 {
            forms.push(STANDARD.encode(&secret.as_bytes()[shift..]).as_bytes()[..12].to_vec());
        }
        for form in &forms {
            let found = memchr::memmem::find(bytes, form);
            assert_eq!(found, None, "{:?} is in {place}", String::from_utf8_lossy(form));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_added_key_is_written_down_anywhere_but_in_its_file_and_a_sealed_file_tells_nothing() {
    let canaries = ["AIzaQ7wZx93Kp-one_Lm4vT8sRb2Yc6Nd1Hg5Jf", "AIzaU0eGi84Xo-two_Wk7zB3qSn9Pa2Mv6Ct1Lr"]
        .map(str::to_owned);
    let simulator = simulator_with(1, |config| {
        for secret in &canaries {
            let mut key = config.keys[0].clone();
            key.secret.clone_from(secret);
            config.keys.push(key);
        }
    })
    .await;
    for master in [None, Some(MASTER[0])] {
        simulator.set_key_state(&canaries[0], KeyState::Valid);
        let (options, port) = options(&simulator, 1);
        let options = match master {
            Some(key) => options.env("MASTER_KEY", key),
            None => options,
        };
        let places = leftovers(options, port, &simulator, &canaries).await;
        let mut kept = 0;
        for (place, bytes) in &places {
            if place.ends_with("keys.json") && master.is_none() {
                kept += canaries
                    .iter()
                    .filter(|secret| memchr::memmem::find(bytes, secret.as_bytes()).is_some())
                    .count();
            } else {
                assert_silent(place, bytes, &canaries);
            }
        }
        assert_eq!(kept, if master.is_none() { 2 } else { 0 });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_an_operator_is_a_line_of_the_audit_log() {
    let simulator = simulator(2).await;
    let (options, port) = options(&simulator, 1);
    let gateway = options.start();
    let id = fingerprint(1);
    assert_eq!(operator(port, Method::POST, "/api/keys", &json!(secret(1))).await.0, 201);
    let key = format!("/api/keys/{id}");
    for (method, path, body) in [
        (Method::GET, "/api/keys".to_owned(), Value::Null),
        (Method::POST, format!("{key}/weight"), json!({"weight": 2})),
        (Method::POST, format!("/keys/{id}/disable"), Value::Null),
        (Method::POST, "/api/keys/nobody/disable".to_owned(), Value::Null),
        (Method::POST, "/api/tokens".to_owned(), json!({"name": "alice"})),
        (Method::DELETE, "/api/tokens/alice".to_owned(), Value::Null),
        (Method::DELETE, key, Value::Null),
        (Method::POST, "/nowhere/AIzaCanary".to_owned(), Value::Null),
    ] {
        operator(port, method, &path, &body).await;
    }
    let stranger = stranger().delete(format!("http://127.0.0.1:{port}/api/keys/{id}")).bearer_auth("no");
    assert_eq!(stranger.send().await.unwrap().status(), 401);
    let path = gateway.folder().join("logs/audit.log");
    let lines = crate::support::wait_for("lines", || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines.len() >= 9).then_some(lines)
    });
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            assert!(
                line["time"].as_str().unwrap().ends_with('Z') && line["address"] == "127.0.0.1",
                "{line}"
            );
            let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
            format!(
                "{} {} {} {} {}",
                text("by"),
                text("verb"),
                text("subject"),
                text("result"),
                line["status"]
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            format!("token keys add {id} ok 201"),
            format!("token keys weight {id} ok 200"),
            format!("token keys disable {id} ok 200"),
            "token keys disable - refused 404".to_owned(),
            "token tokens add alice ok 201".to_owned(),
            "token tokens remove alice ok 200".to_owned(),
            format!("token keys remove {id} ok 200"),
            "token POST  - refused 404".to_owned(),
            "nobody DELETE /api/keys/{key} - refused 401".to_owned(),
        ]
    );
}
