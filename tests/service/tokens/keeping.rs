//! Tokens while the gateway runs and after: made, disabled, rotated and removed, kept over a restart, and written down nowhere.

use super::{ADMIN, CHAT, FLASH, PRO, add, chat, operator, options, send, status, tokens, told};
use crate::support::{Options, TOKEN, free_port, prompt, secret, simulator, stranger, wait_for};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::json;
use std::{os::unix::fs::PermissionsExt, path::Path};

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
        (401, 401, 200),
        "without a grace none of those before is let in"
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
async fn a_token_that_is_made_anew_under_a_name_goes_on_with_what_was_used_under_it() {
    let simulator = simulator(1).await;
    let (options, _) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    let token = add(&options, folder.path(), &["alice"]);
    for _ in 0..3 {
        assert_eq!(status(&gateway, &token).await, 200);
    }
    assert!(tokens(&options, folder.path(), &["remove", "alice"]).0);
    for (limit, is_restarted) in [("4", false), ("5", true)] {
        if is_restarted {
            gateway.signal("TERM");
            gateway.wait_for_end();
            gateway = options.start_in(folder.path());
        }
        let token = add(&options, folder.path(), &["alice", "--rpd", limit]);
        assert_eq!([status(&gateway, &token).await, status(&gateway, &token).await], [200, 429], "{limit}");
        assert!(tokens(&options, folder.path(), &["remove", "alice"]).0);
    }
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
    gateway.wait_for_end();
    let mut gateway = options.start_in(folder.path());
    assert_eq!((status(&gateway, &secret(0)).await, status(&gateway, &alice).await), (401, 200));
    assert_eq!(send(&gateway, &alice, PRO, prompt("x")).await.status(), 403);
    let (done, text) = tokens(&options, folder.path(), &["remove", "alice"]);
    assert!(done, "{text}");
    gateway.signal("TERM");
    gateway.wait_for_end();
    let mut gateway = options.start_in(folder.path());
    assert_eq!((status(&gateway, &secret(0)).await, status(&gateway, &alice).await), (401, 401));
    assert!(gateway.output().contains("nobody may call"), "{}", gateway.output());
    gateway.signal("TERM");
    gateway.wait_for_end();
    // Without the store the key's file is witness enough.
    std::fs::remove_file(folder.path().join("data/state.db")).unwrap();
    let gateway = options.start_in(folder.path());
    assert_eq!(status(&gateway, &secret(0)).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_key_that_is_put_there_while_the_gateway_runs_is_taken_by_its_next_start() {
    let simulator = simulator(1).await;
    let (options, port) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    let key_file = folder.path().join("data/instance.key");
    std::fs::write(&key_file, [7; 32]).unwrap();
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (done, text) = tokens(&options, folder.path(), &["add", "alice"]);
    assert!(!done && text.contains("instance.key") && text.contains("restart the gateway"), "{text}");
    let (code, answer) = operator(port, Method::POST, "/api/tokens", r#"{"name":"alice"}"#).await;
    assert_eq!(code, 409, "{answer}");
    assert_eq!(std::fs::read(&key_file).unwrap(), [7; 32], "it is left as it is");
    gateway.signal("TERM");
    gateway.wait_for_end();
    let gateway = options.start_in(folder.path());
    let alice = add(&options, folder.path(), &["alice"]);
    assert_eq!(status(&gateway, &alice).await, 200);
    assert_eq!(std::fs::read(&key_file).unwrap(), [7; 32]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_written_anew_where_the_store_is_removed_under_the_gateway() {
    let simulator = simulator(1).await;
    let (options, _) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    let alice = add(&options, folder.path(), &["alice"]);
    let store = folder.path().join("data/state.db");
    std::fs::remove_file(&store).unwrap();
    // Nobody asks for anything meanwhile.
    wait_for("a new store", || store.exists().then_some(()));
    gateway.signal("TERM");
    gateway.wait_for_end();
    assert!(gateway.output().contains("state.db was removed or replaced"), "{}", gateway.output());
    let gateway = options.start_in(folder.path());
    assert_eq!(status(&gateway, &alice).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_key_that_others_can_read_is_refused_and_another_one_is_noticed() {
    let simulator = simulator(1).await;
    let (options, _) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    let alice = add(&options, folder.path(), &["alice"]);
    gateway.signal("TERM");
    gateway.wait_for_end();
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
    gateway.wait_for_end();
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
        (Method::POST, "/api/tokens", r#"{"name":"a","expires":"2020-01-01"}"#, 400, "has passed"),
        (Method::PUT, "/api/tokens/alice", r#"{"name":"bob"}"#, 400, "keeps its name"),
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
