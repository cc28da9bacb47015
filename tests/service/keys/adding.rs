//! Keys that are added: by a paste, after a look at it and a word of Google's; used at once, and kept through a kill.

use super::{calls, done, get, keys_file, listed, operator, options, run, run_with, send};
use crate::support::{fingerprint, secret, simulator};
use gemini_simulator::KeyState;
use reqwest::Method;
use serde_json::{Value, json};
use std::{collections::BTreeSet, os::unix::fs::PermissionsExt};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pasted_key_is_used_at_once_and_outlives_a_kill() {
    let simulator = simulator(3).await;
    let (options, port) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    assert!(!folder.path().join("data/keys.json").exists(), "it is made with the first key");
    simulator.set_key_state(&secret(0), KeyState::Suspended);
    assert_ne!(send(&gateway).await, 200);
    let (status, answer) =
        operator(port, Method::POST, "/api/keys", &json!(format!("NEW={}", secret(1)))).await;
    assert_eq!((status, &answer["added"], &answer["kept"]), (201, &json!([fingerprint(1)]), &json!(true)));
    assert_eq!(send(&gateway).await, 200);
    assert_eq!(calls(&simulator, 1), 1);
    let mode =
        |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("data/keys.json"), 0o600);
    // A second one, by the command; then the kill, with no time to spare.
    let (done, text) =
        run_with(&options, folder.path(), &["keys", "add", "--yes", "--project", "p"], &secret(2));
    assert!(done && text.contains("1 key was added"), "{text}");
    gateway.signal("KILL");
    gateway.wait_for_end();
    let gateway = options.start_in(folder.path());
    let all = listed(port, "", "source").await;
    let expected: BTreeSet<_> =
        [(fingerprint(0), "configuration"), (fingerprint(1), "runtime"), (fingerprint(2), "runtime")]
            .map(|(id, source)| (id, source.to_owned()))
            .into();
    assert_eq!(
        all.into_iter()
            .map(|(id, source)| (id, source.as_str().unwrap().to_owned()))
            .collect::<BTreeSet<_>>(),
        expected
    );
    for _ in 0..4 {
        assert_eq!(send(&gateway).await, 200);
    }
    assert!(calls(&simulator, 1) > 1 && calls(&simulator, 2) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_other_key_those_that_were_added_are_enough_to_start() {
    let simulator = simulator(2).await;
    let (one, _) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = one.start_in(folder.path());
    let (added, text) = run_with(&one, folder.path(), &["keys", "add", "--yes", "-"], &secret(1));
    assert!(added, "{text}");
    gateway.signal("TERM");
    gateway.wait_for_end();
    let (none, port) = options(&simulator, 0);
    let gateway = none.start_in(folder.path());
    assert_eq!(send(&gateway).await, 200);
    assert_eq!(listed(port, "", "source").await, [(fingerprint(1), json!("runtime"))]);
    let (status, answer) =
        operator(port, Method::DELETE, &format!("/api/keys/{}", fingerprint(1)), &Value::Null).await;
    assert_eq!(status, 409, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("last key"), "{answer}");
    assert_eq!(send(&gateway).await, 200);
    drop(gateway);
    // And a check of the configuration knows it too.
    let text = done(&none, folder.path(), &["check"]);
    assert!(text.contains("1 key,") && text.contains(&format!("key {}: well", fingerprint(1))), "{text}");
    std::fs::remove_file(folder.path().join("data/keys.json")).unwrap();
    let (status, text) = none.run_in(folder.path());
    assert!(!status.success() && text.contains("no key"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn google_is_asked_about_keys_without_spending_quota() {
    let simulator = simulator(6).await;
    for (n, state) in
        [(1, KeyState::Valid), (2, KeyState::Invalid), (3, KeyState::Suspended), (4, KeyState::Restricted)]
    {
        simulator.set_key_state(&secret(n), state);
    }
    let (options, port) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let gateway = options.start_in(folder.path());
    let all = (1..6).map(secret).collect::<Vec<_>>().join("\n");
    let chosen: Vec<String> = (1..5).map(fingerprint).collect();
    let body = json!({ "text": all, "choose": chosen, "dry_run": true, "check": true });
    let (status, answer) = operator(port, Method::POST, "/api/keys", &body).await;
    assert_eq!(status, 200, "{answer}");
    let told: Vec<_> = answer["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| (check["fingerprint"].as_str().unwrap(), check["verdict"].as_str().unwrap()))
        .collect();
    let words = ["good", "invalid", "suspended", "restricted"];
    assert_eq!(told, chosen.iter().map(String::as_str).zip(words).collect::<Vec<_>>());
    for request in simulator.requests() {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/v1beta/models"));
        assert_ne!(request.key, Some(secret(5)), "it was not chosen");
    }
    assert_eq!(simulator.requests().len(), 4);
    let (status, answer) =
        operator(port, Method::POST, "/api/keys", &json!({ "text": all, "check": true })).await;
    assert_eq!((status, keys_file(folder.path()).as_str()), (400, ""), "{answer}");

    // By the command: those that Google accepts are added.
    let file = folder.path().join("pasted.txt");
    std::fs::write(&file, &all).unwrap();
    let text = done(&options, folder.path(), &["keys", "add", "pasted.txt", "--check", "--yes"]);
    assert!(text.contains("Google accepts 2 of 5") && text.contains("2 keys were added"), "{text}");
    assert!(text.contains(&format!("{}: invalid (400)", fingerprint(2))), "{text}");
    let added: BTreeSet<_> = listed(port, "", "source").await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(added, [0, 1, 5].map(fingerprint).into());

    // A retired key that is well again is used again.
    simulator.set_key_state(&secret(1), KeyState::Suspended);
    for _ in 0..3 {
        assert_eq!(send(&gateway).await, 200);
    }
    assert_eq!(listed(port, "state=retired", "reason").await, [(fingerprint(1), json!("key_suspended"))]);
    let (failed, text) = run(&options, folder.path(), &["keys", "check", &fingerprint(1)]);
    assert!(!failed && text.contains("suspended (403)"), "{text}");
    simulator.set_key_state(&secret(1), KeyState::Valid);
    assert!(done(&options, folder.path(), &["keys", "check", &fingerprint(1)]).contains("good"));
    assert!(listed(port, "state=retired", "reason").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_shows_what_it_found_and_adds_nothing_unasked() {
    let simulator = simulator(3).await;
    let (options, port) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let _gateway = options.start_in(folder.path());
    let odd = "sk-odd-0123456789-0123456789";
    let text = format!("# mine\nA={}\nB={}\n{}\n{odd}\n", secret(0), secret(1), secret(1));
    std::fs::write(folder.path().join("keys.txt"), &text).unwrap();
    let add = |arguments: &[&str], answer: &str| {
        run_with(&options, folder.path(), &[&["keys", "add", "keys.txt"], arguments].concat(), answer)
    };
    for answer in ["", "n\n", "no\n"] {
        let (added, shown) = add(&[], answer);
        assert!(!added && shown.contains("nothing was added"), "{shown}");
        for part in ["1 new", "1 here already", "1 twice", "1 unusual", "1 words are no keys", "[y/N]"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(
            shown.contains(&format!("line 3, {} characters  {}", secret(1).len(), fingerprint(1))),
            "{shown}"
        );
    }
    assert_eq!(get(port, "/api/keys").await["matched"], 1);
    let (added, shown) = add(&[], "y\n");
    assert!(added && shown.contains("1 key was added"), "{shown}");
    let (added, shown) = add(&["--yes"], "");
    assert!(added && shown.contains("nothing to add") && shown.contains("2 here already"), "{shown}");
    let (added, shown) = add(&["--unusual", "--yes"], "");
    assert!(added && shown.contains("1 key was added"), "{shown}");
    assert_eq!(get(port, "/api/keys").await["matched"], 3);
    let (added, shown) = run(&options, folder.path(), &["keys", "add", "no-such-file"]);
    assert!(!added && shown.contains("no-such-file") && shown.lines().count() == 1, "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_cannot_be_added_are_refused_in_one_line() {
    let simulator = simulator(2).await;
    let (options, port) = options(&simulator, 1);
    let gateway = options.start();
    let too_many: String = (0..20_001).map(|n| format!("AIzaSyTooMany{n:010}\n")).collect();
    for (body, status, word) in [
        (json!(too_many), 413, "20000 keys"),
        (json!(" ".repeat(6 * 1024 * 1024 + 1)), 413, "6 MiB"),
        (json!(" ".repeat(9 * 1024 * 1024)), 413, "6 MiB"),
        (json!({"text": 7}), 400, "the body must be"),
        (json!({"text": "", "secret": "AIzaCanary"}), 400, "the body must be"),
        (json!({"text": "", "dry_run": "AIzaCanary"}), 400, "the body must be"),
        (json!({"text": "", "project": secret(1)}), 400, "looks like a key"),
        (json!({"text": too_many[..150 * 24], "dry_run": true, "check": true}), 400, "at most 100"),
    ] {
        let (answered, answer) = operator(port, Method::POST, "/api/keys", &body).await;
        let why = answer["error"].as_str().unwrap_or_default();
        assert!(answered == status && why.contains(word) && why.lines().count() == 1, "{answered}: {answer}");
    }
    let id = fingerprint(0);
    for (path, body, status) in [
        ("/api/keys/nobody/label", json!({"label": "x"}), 404),
        ("/api/keys/nobody/check", Value::Null, 404),
        (&*format!("/api/keys/{id}/burn"), Value::Null, 404),
        (&*format!("/api/keys/{id}/label"), json!({"weight": 1}), 400),
        (&*format!("/api/keys/{id}/weight"), json!({"weight": "AIzaCanary"}), 400),
    ] {
        assert_eq!(operator(port, Method::POST, path, &body).await.0, status, "{path}");
    }
    for question in ["limit=0", "limit=201", "sort=secret", "state=odd", "cursor=x", "page=2"] {
        let (status, answer) =
            operator(port, Method::GET, &format!("/api/keys?{question}"), &Value::Null).await;
        assert_eq!(status, 400, "{question}: {answer}");
    }
    assert_eq!(get(port, "/api/keys").await["matched"], 1);
    drop(gateway);
    let off = options.set("pool.runtime_keys", "off");
    let _gateway = off.start();
    let (status, answer) = operator(port, Method::POST, "/api/keys", &json!(secret(1))).await;
    assert!(status == 409 && answer["error"].as_str().unwrap().contains("pool.runtime_keys"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_keys_as_a_text_may_hold_are_added_at_once_while_requests_are_served() {
    let simulator = simulator(1).await;
    let (options, port) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    let text: String = (0..20_000).map(|n| format!("AIzaSyCanaryNumber{n:010}\n")).collect();
    std::fs::write(folder.path().join("all.txt"), text).unwrap();
    let adding = {
        let (options, folder) = (options, folder.path().to_owned());
        tokio::task::spawn_blocking(move || done(&options, &folder, &["keys", "add", "all.txt", "--yes"]))
    };
    // Whoever is served meanwhile may get one of the new ones, which the simulator does not know, and then the old one.
    let mut served = 0;
    while !adding.is_finished() {
        let status = send(&gateway).await;
        assert!(status == 200 || status == 400, "{status}");
        served += 1;
    }
    let shown = adding.await.unwrap();
    assert!(shown.contains("20000 keys were added") && served > 0, "{shown}");
    assert_eq!(get(port, "/api/keys?limit=1").await["matched"], 20_001);
    gateway.signal("KILL");
    gateway.wait_for_end();
    assert_eq!(keys_file(folder.path()).matches("AIzaSyCanaryNumber").count(), 20_000);
}
