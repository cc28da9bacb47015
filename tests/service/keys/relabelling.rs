//! What is known of a key stays known when it is called otherwise: at once, after a kill, and where the configuration has been
//! changed between two lives of the gateway.

use super::{FLASH, calls, get, operator, options, send};
use crate::support::{
    Options, client, exhausted, fingerprint, secret, simulator, simulator_with, until_written,
};
use gemini_simulator::{KeyState, Rule};
use reqwest::Method;
use serde_json::{Value, json};

/// How a key stands: of a key that is called so, all that outlives the process.
async fn standing(port: u16, name: &str) -> Value {
    let page = get(port, &format!("/api/keys?q={name}")).await;
    let key = &page["keys"][0];
    assert_eq!((&page["matched"], &key["id"]), (&json!(1), &json!(name)), "{page}");
    let models: Vec<_> =
        key["models"].as_array().unwrap().iter().map(|model| (&model["model"], &model["state"])).collect();
    json!({
        "state": key["state"], "reason": key["reason"], "since": key["since"], "models": models,
        "totals": key["totals"], "fingerprint": key["fingerprint"],
    })
}

async fn said(port: u16, id: &str, verb: &str, body: Value) {
    let (status, answer) = operator(port, Method::POST, &format!("/api/keys/{id}/{verb}"), &body).await;
    assert_eq!(status, 200, "{verb} {id}: {answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_takes_what_is_known_of_it_to_another_label_and_over_a_kill() {
    let faults = vec![Rule::new(exhausted()).on_key(secret(1))];
    let simulator = simulator_with(4, |config| config.faults = faults).await;
    simulator.set_key_state(&secret(2), KeyState::Suspended);
    let (options, port) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    said(port, &fingerprint(0), "disable", Value::Null).await;
    let text = (1..4).map(secret).collect::<Vec<_>>().join("\n");
    assert_eq!(operator(port, Method::POST, "/api/keys", &json!(text)).await.0, 201);
    let mut made = String::new();
    until_written(folder.path(), async {
        for _ in 0..3 {
            assert_eq!(send(&gateway).await, 200);
        }
        let contents = json!([{"role": "user", "parts": [{"text": "x ".repeat(5_000)}]}]);
        let cache = json!({"model": "models/gemini-2.5-flash", "contents": contents}).to_string();
        let answer = client().post(gateway.url("/v1beta/cachedContents")).body(cache).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        answer["name"].as_str().unwrap().clone_into(&mut made);
        said(port, &fingerprint(1), "disable", Value::Null).await;
    })
    .await;

    let names = ["one", "two", "three"];
    let mut known = Vec::new();
    for n in 1..4 {
        known.push(standing(port, &fingerprint(n)).await);
    }
    assert_eq!((&known[0]["state"], &known[1]["state"]), (&json!("disabled"), &json!("retired")));
    assert!(known[0]["models"].as_array().unwrap().contains(&json!(["gemini-2.5-flash", "cooling"])));
    assert!(known[0]["since"].is_string() && known[1]["since"].is_string(), "{known:?}");
    assert!(known[2]["totals"]["successes"].as_u64().unwrap() >= 3);
    for (n, name) in (1..4).zip(names) {
        said(port, &fingerprint(n), "label", json!({ "label": name })).await;
    }
    said(port, "three", "project", json!({ "project": "team" })).await;
    said(port, "three", "weight", json!({ "weight": 5 })).await;
    let asked = [calls(&simulator, 1), calls(&simulator, 2)];
    for life in ["this", "the next"] {
        for (name, known) in names.iter().zip(&known) {
            assert_eq!(&standing(port, name).await, known, "{name} in {life} life");
        }
        let seen = simulator.requests().len();
        let answer = client().get(gateway.url(&format!("/v1beta/{made}"))).send().await.unwrap();
        assert_eq!(answer.status(), 200, "what a key has made stays its own");
        let asked: Vec<_> = simulator.requests()[seen..].iter().map(|it| it.key.clone()).collect();
        assert_eq!(asked, [Some(secret(3))]);
        gateway.signal("KILL");
        gateway.wait_for_end();
        gateway = options.start_in(folder.path());
    }
    said(port, "one", "enable", Value::Null).await;
    assert_eq!(send(&gateway).await, 200);
    assert_eq!([calls(&simulator, 1), calls(&simulator, 2)], asked, "the model cools still");

    let table = get(port, "/api/keys/export?format=json").await;
    let rows = table["keys"].as_array().unwrap();
    let row = |id: &str| rows.iter().find(|row| row["id"] == id).unwrap();
    assert_eq!((&row("two")["state"], &row("two")["since"]), (&json!("retired"), &known[1]["since"]));
    assert_eq!((&row("three")["project"], &row("three")["since"]), (&json!("team"), &Value::Null));
    let since = row(&fingerprint(0))["since"].as_str().unwrap().to_owned();
    let since: chrono::DateTime<chrono::Utc> = since.parse().unwrap();
    let age = chrono::Utc::now() - since;
    assert!(age >= chrono::TimeDelta::zero() && age < chrono::TimeDelta::minutes(5), "{since}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_labels_and_projects_in_the_configuration_of_the_next_life_forget_nothing() {
    let simulator = simulator(3).await;
    simulator.set_faults([Rule::new(exhausted())]);
    let options = Options::new(&simulator.url(), 0);
    let folder = tempfile::tempdir().unwrap();
    let configure = |keys: [(&str, &str); 3]| {
        let keys = keys.iter().enumerate().map(|(n, (label, project))| {
            format!("[[keys]]\nlabel = \"{label}\"\nsecret = \"{}\"\n{project}\n", secret(n))
        });
        std::fs::write(folder.path().join("config.toml"), keys.collect::<String>()).unwrap();
    };
    configure([("a", ""), ("b", "project = \"p\""), ("c", "project = \"p\"")]);
    let mut gateway = options.start_in(folder.path());
    until_written(folder.path(), async {
        for _ in 0..2 {
            assert_eq!(send(&gateway).await, 429);
        }
    })
    .await;
    let asked = simulator.requests().len();
    assert!(asked >= 2, "both projects have refused it");
    gateway.signal("KILL");
    gateway.wait_for_end();
    // The labels of the first two are swapped, and the project has another name.
    configure([("b", ""), ("a", "project = \"q\""), ("d", "project = \"q\"")]);
    for _ in 0..2 {
        let mut gateway = options.start_in(folder.path());
        assert_eq!(send(&gateway).await, 429, "{FLASH}");
        assert_eq!(simulator.requests().len(), asked, "they cool still");
        gateway.signal("TERM");
        gateway.wait_for_end();
    }
}
