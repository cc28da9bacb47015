//! Keys that were added, and what becomes of them: removed, renamed, listed, and beside a configuration that goes before them.

use super::{STREAM, calls, done, get, keys_file, listed, operator, options, run, send};
use crate::support::{fingerprint, prompt, secret, simulator, simulator_with};
use crate::wire::{Wire, request};
use gemini_simulator::Shape;
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_key_is_used_no_more_while_its_stream_goes_on() {
    let simulator =
        simulator_with(2, |config| config.shape = Shape { events: 40, interval_ms: 50, text_bytes: 0 }).await;
    let (options, port) = options(&simulator, 1);
    let gateway = options.start();
    let (status, _) = operator(port, Method::POST, "/api/keys", &json!(secret(1))).await;
    assert_eq!(status, 201);
    let disable = |n| format!("/api/keys/{}/disable", fingerprint(n));
    assert_eq!(operator(port, Method::POST, &disable(0), &Value::Null).await.0, 200);
    let mut wire = Wire::connect(gateway.authority()).await;
    let token = [("x-goog-api-key", crate::support::TOKEN)];
    wire.send(request("POST", STREAM, &token, &prompt("x"))).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while simulator.requests().iter().all(|request| request.answer_bytes == 0) {
        assert!(Instant::now() < deadline, "the stream did not begin");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let remove = format!("/api/keys/{}", fingerprint(1));
    assert_eq!(operator(port, Method::DELETE, &remove, &Value::Null).await.0, 200);
    assert_eq!(simulator.requests()[0].answer_sha256, None, "the stream has ended already");
    // The one that is left is disabled, so nobody serves.
    assert_ne!(send(&gateway).await, 200);
    assert_eq!(calls(&simulator, 1), 1);
    let answer = wire.answer().await.unwrap();
    assert_eq!((answer.status, answer.whole, answer.text().matches("data: ").count()), (200, true, 40));
    assert_eq!(operator(port, Method::DELETE, &remove, &Value::Null).await.0, 404);
    assert!(!keys_file(&gateway.folder()).contains(&secret(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_of_a_key_is_changed_and_kept() {
    let simulator = simulator(3).await;
    let (options, port) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    let paste = json!({ "text": format!("{}\n{}", secret(1), secret(2)), "project": "team" });
    let (status, answer) = operator(port, Method::POST, "/api/keys", &paste).await;
    assert_eq!((status, answer["added"].as_array().unwrap().len()), (201, 2));
    let command = |arguments: &[&str]| done(&options, folder.path(), &[&["keys"], arguments].concat());
    command(&["disable", &fingerprint(1)]);
    command(&["label", &fingerprint(1), "spare one"]);
    command(&["project", "spare one", "other"]);
    command(&["weight", "spare one", "7"]);
    let (failed, why) = run(&options, folder.path(), &["keys", "label", &fingerprint(2), "spare one"]);
    assert!(!failed && why.contains("409") && why.contains("another key has this label"), "{why}");
    let (failed, why) = run(&options, folder.path(), &["keys", "label", &fingerprint(2), "two\u{202e}owt"]);
    assert!(!failed && why.contains("400"), "{why}");
    let (failed, why) = run(&options, folder.path(), &["keys", "weight", &fingerprint(2), "0"]);
    assert!(!failed && why.contains("weight"), "{why}");
    let look = async || {
        let page = get(port, "/api/keys?q=spare").await;
        let key = &page["keys"][0];
        assert_eq!((&page["matched"], &key["fingerprint"]), (&json!(1), &json!(fingerprint(1))));
        assert_eq!((&key["project"], &key["weight"]), (&json!("other"), &json!(7)));
        assert_eq!(key["state"], "disabled", "another name makes it no other key");
    };
    look().await;
    gateway.signal("TERM");
    gateway.wait_for_end();
    let gateway = options.start_in(folder.path());
    look().await;
    for _ in 0..4 {
        assert_eq!(send(&gateway).await, 200);
    }
    assert_eq!(calls(&simulator, 1), 0);
    command(&["enable", "spare one"]);
    command(&["label", "spare one"]);
    assert_eq!(listed(port, "q=other", "state").await, [(fingerprint(1), json!("available"))]);
    assert_eq!(listed(port, "q=team", "project").await, [(fingerprint(2), json!("team"))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_configuration_says_wins_and_its_keys_are_its_own() {
    let simulator = simulator(3).await;
    let (one, port) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = one.start_in(folder.path());
    let paste = json!({ "text": format!("{} {} {}", secret(0), secret(1), secret(1)), "dry_run": true });
    let (status, answer) = operator(port, Method::POST, "/api/keys", &paste).await;
    assert_eq!(status, 200);
    let part = |name: &str| answer["preview"][name].as_array().unwrap().clone();
    assert_eq!((part("here")[0]["id"].as_str(), part("here").len()), (Some(fingerprint(0).as_str()), 1));
    assert_eq!((part("new").len(), part("repeated").len(), part("unusual").len()), (1, 1, 0));
    assert!(!folder.path().join("data/keys.json").exists(), "a look changes nothing");
    let text = format!("{} {}", secret(0), secret(1));
    assert_eq!(
        operator(port, Method::POST, "/api/keys", &json!(text)).await.1["added"],
        json!([fingerprint(1)])
    );
    assert_eq!(operator(port, Method::POST, "/api/keys", &json!(text)).await.1["added"], json!([]));
    let own = format!("/api/keys/{}", fingerprint(0));
    for (verb, body) in [
        ("label", json!({"label": "x"})),
        ("project", json!({"project": "x"})),
        ("weight", json!({"weight": 2})),
    ] {
        let (status, answer) = operator(port, Method::POST, &format!("{own}/{verb}"), &body).await;
        assert_eq!(status, 409, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains("configuration"), "{answer}");
    }
    assert_eq!(operator(port, Method::DELETE, &own, &Value::Null).await.0, 409);
    for verb in ["disable", "enable", "reset", "check"] {
        let (status, answer) = operator(port, Method::POST, &format!("{own}/{verb}"), &Value::Null).await;
        assert_eq!(status, 200, "{verb}: {answer}");
    }
    gateway.signal("TERM");
    gateway.wait_for_end();
    // Now the configuration names it as well.
    let (two, port) = options(&simulator, 2);
    let mut gateway = two.start_in(folder.path());
    let question = format!("q={}", fingerprint(1));
    assert_eq!(listed(port, &question, "state").await, [(fingerprint(1), json!("available"))]);
    let shadowed = format!("{question}&state=shadowed");
    assert_eq!(listed(port, &shadowed, "source").await, [(fingerprint(1), json!("runtime"))]);
    assert_eq!(get(port, "/api/keys").await["shadowed"], 1);
    assert_eq!(get(port, "/api/keys").await["counts"]["total"], 2);
    assert!(keys_file(folder.path()).contains(&secret(1)), "it stays kept");
    let shadowed = format!("/api/keys/{}", fingerprint(1));
    assert_eq!(operator(port, Method::DELETE, &shadowed, &Value::Null).await.0, 200, "what is shadowed");
    assert_eq!(operator(port, Method::DELETE, &shadowed, &Value::Null).await.0, 409);
    assert_eq!(send(&gateway).await, 200);
    gateway.signal("TERM");
    gateway.wait_for_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_leaves_added_keys_where_they_are_and_lets_the_configuration_win() {
    let simulator = simulator(4).await;
    let (options, port) = options(&simulator, 0);
    let folder = tempfile::tempdir().unwrap();
    let options = options.set("pool.keys_file", "keys.txt");
    let write = |keys: &[usize]| {
        let text = keys.iter().map(|n| secret(*n)).collect::<Vec<_>>().join("\n");
        std::fs::write(folder.path().join("keys.txt"), text).unwrap();
    };
    write(&[0]);
    let gateway = options.start_in(folder.path());
    let text = json!(format!("{} {}", secret(1), secret(2)));
    assert_eq!(operator(port, Method::POST, "/api/keys", &text).await.0, 201);
    // One of the added ones is named by the file now, and the one that was there is gone.
    write(&[1, 3]);
    done(&options, folder.path(), &["reload"]);
    let used = async || {
        let all = listed(port, "", "source").await.into_iter();
        all.map(|(id, source)| (id, source.as_str().unwrap().to_owned())).collect::<BTreeSet<_>>()
    };
    let (file, added) = ("configuration".to_owned(), "runtime".to_owned());
    let now =
        [(fingerprint(1), file.clone()), (fingerprint(3), file.clone()), (fingerprint(2), added.clone())];
    assert_eq!(used().await, now.into());
    assert_eq!(listed(port, "state=shadowed", "source").await, [(fingerprint(1), json!("runtime"))]);
    for _ in 0..6 {
        assert_eq!(send(&gateway).await, 200);
    }
    assert!(calls(&simulator, 0) == 0 && (1..4).all(|n| calls(&simulator, n) > 0));
    // Without any key in the file those that were added serve.
    write(&[]);
    done(&options, folder.path(), &["reload"]);
    assert_eq!(used().await, [(fingerprint(1), added.clone()), (fingerprint(2), added)].into());
    assert_eq!(send(&gateway).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_are_listed_by_pages_and_exported_whole() {
    let simulator = simulator(1).await;
    let (options, port) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let _gateway = options.start_in(folder.path());
    let text: String = (0..450).map(|n| format!("AIzaSyCanaryNumber{n:010}\n")).collect();
    let (status, answer) =
        operator(port, Method::POST, "/api/keys", &json!({ "text": text, "project": "=1+1" })).await;
    assert_eq!((status, answer["added"].as_array().unwrap().len()), (201, 450));
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(port, &format!("/api/keys?limit=200&sort=-id{cursor}")).await;
        seen.extend(
            page["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 451);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "in their order, none twice");
    let csv = done(&options, folder.path(), &["keys", "export"]);
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    let head: Vec<String> = rows.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(head[..5], ["id", "source", "project", "project_number", "state"]);
    let rows: Vec<_> = rows.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 451);
    assert_eq!(rows.iter().filter(|row| row[2] == *"'=1+1").count(), 450, "no formula");
    let json = get(port, "/api/keys/export?format=json").await;
    let exported: BTreeSet<_> =
        json["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(exported, seen.into_iter().collect());
    assert_eq!(operator(port, Method::GET, "/api/keys/export?format=xml", &Value::Null).await.0, 400);
}
