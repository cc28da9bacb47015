//! Keys as an operator adds them while the gateway runs: by a paste, after a look at it and a word of Google's; used at once,
//! kept through a kill, sealed if there is a master key, removed while their streams go on; and written down nowhere else.

use crate::{
    support::{
        Gateway, Options, client, fingerprint, free_port, prompt, secret, sha256, simulator, simulator_with,
        stranger,
    },
    wire::{Wire, request},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gemini_simulator::{KeyState, Shape, Simulator};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io::Write as _,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

const ADMIN: &str = "operator-token-5b1e";
const FLASH: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

/// With an operator's listener, and its port. The first `keys` of the simulator's keys are configured.
fn options(simulator: &Simulator, keys: usize) -> (Options, u16) {
    let port = free_port();
    (Options::new(&simulator.url(), keys).env("ADMIN_TOKEN", ADMIN).set("admin.port", port), port)
}

/// Whether a text shows a key or the operator's token.
fn tells(text: &str) -> bool {
    text.contains("Canary") || text.contains("AIza") || text.contains(ADMIN)
}

/// Runs a command of the gateway's, with a text as its input: whether it succeeded, and all it printed.
fn run_with(options: &Options, folder: &Path, arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = options.command(folder);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who reads nothing leaves a broken pipe behind.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(!tells(&text), "a secret: {text}");
    (output.status.success(), text)
}

fn run(options: &Options, folder: &Path, arguments: &[&str]) -> (bool, String) {
    run_with(options, folder, arguments, "")
}

/// Runs a command that has to succeed.
fn done(options: &Options, folder: &Path, arguments: &[&str]) -> String {
    let (done, text) = run(options, folder, arguments);
    assert!(done, "{arguments:?}: {text}");
    text
}

/// The operator's listener, asked as scripts do. No answer of it shows a key.
async fn operator(port: u16, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let request = stranger().request(method, format!("http://127.0.0.1:{port}{path}")).bearer_auth(ADMIN);
    let request = match body {
        Value::String(text) => request.header("content-type", "text/plain").body(text.clone()),
        Value::Null => request,
        json => request.header("content-type", "application/json").body(json.to_string()),
    };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert!(!tells(&text), "{text}");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn get(port: u16, path: &str) -> Value {
    let (status, answer) = operator(port, Method::GET, path, &Value::Null).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// The keys of the list that fit a question, with one of their fields.
async fn listed(port: u16, question: &str, field: &str) -> Vec<(String, Value)> {
    let page = get(port, &format!("/api/keys?{question}")).await;
    let keys = page["keys"].as_array().unwrap().iter();
    keys.map(|key| (key["id"].as_str().unwrap().to_owned(), key[field].clone())).collect()
}

async fn send(gateway: &Gateway) -> u16 {
    client().post(gateway.url(FLASH)).body(prompt("x")).send().await.unwrap().status().as_u16()
}

fn calls(simulator: &Simulator, n: usize) -> u64 {
    simulator.stats().by_key.get(&secret(n)).copied().unwrap_or(0)
}

fn keys_file(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("data/keys.json")).unwrap_or_default()
}

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
    assert!(done && text.contains("1 keys were added"), "{text}");
    gateway.signal("KILL");
    gateway.wait(Duration::from_secs(5));
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
    gateway.wait(Duration::from_secs(5));
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
    assert!(text.contains("1 keys") && text.contains(&format!("key {}: well", fingerprint(1))), "{text}");
    std::fs::remove_file(folder.path().join("data/keys.json")).unwrap();
    let (status, text) = none.run_in(folder.path());
    assert!(!status.success() && text.contains("no key"), "{text}");
}

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
    gateway.wait(Duration::from_secs(5));
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
    gateway.wait(Duration::from_secs(5));
    // Now the configuration names it as well.
    let (two, port) = options(&simulator, 2);
    let mut gateway = two.start_in(folder.path());
    let mut states = listed(port, &format!("q={}", fingerprint(1)), "state").await;
    states.sort_by_key(|(_, state)| state.to_string());
    assert_eq!(states, [(fingerprint(1), json!("available")), (fingerprint(1), json!("shadowed"))]);
    assert_eq!(get(port, "/api/keys").await["counts"]["total"], 2);
    assert!(keys_file(folder.path()).contains(&secret(1)), "it stays kept");
    let shadowed = format!("/api/keys/{}", fingerprint(1));
    assert_eq!(operator(port, Method::DELETE, &shadowed, &Value::Null).await.0, 200, "what is shadowed");
    assert_eq!(operator(port, Method::DELETE, &shadowed, &Value::Null).await.0, 409);
    assert_eq!(send(&gateway).await, 200);
    gateway.signal("TERM");
    gateway.wait(Duration::from_secs(5));
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
    assert!(added && shown.contains("1 keys were added"), "{shown}");
    let (added, shown) = add(&["--yes"], "");
    assert!(added && shown.contains("nothing to add") && shown.contains("2 here already"), "{shown}");
    let (added, shown) = add(&["--unusual", "--yes"], "");
    assert!(added && shown.contains("1 keys were added"), "{shown}");
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
    gateway.wait(Duration::from_secs(5));
    assert_eq!(keys_file(folder.path()).matches("AIzaSyCanaryNumber").count(), 20_000);
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
    let now = [
        (fingerprint(1), file.clone()),
        (fingerprint(3), file.clone()),
        (fingerprint(2), added.clone()),
        (fingerprint(1), added.clone()),
    ];
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

const MASTER: [&str; 2] = [
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_master_key_the_file_is_sealed_and_another_one_starts_nothing() {
    let simulator = simulator(3).await;
    let (plain, port) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let stop = |mut gateway: Gateway| {
        gateway.signal("TERM");
        gateway.wait(Duration::from_secs(5));
    };
    let gateway = plain.start_in(folder.path());
    assert_eq!(operator(port, Method::POST, "/api/keys", &json!(secret(1))).await.0, 201);
    stop(gateway);
    assert!(keys_file(folder.path()).contains(&secret(1)));
    // The next write seals it.
    let (sealed, port) = options(&simulator, 1);
    let sealed = sealed.env("MASTER_KEY", MASTER[0]);
    let gateway = sealed.start_in(folder.path());
    assert_eq!(operator(port, Method::POST, "/api/keys", &json!(secret(2))).await.0, 201);
    stop(gateway);
    let file = keys_file(folder.path());
    assert!(file.contains("sealed") && !tells(&file), "{file}");
    for (options, word) in [
        (options(&simulator, 1).0, "is sealed"),
        (options(&simulator, 1).0.env("MASTER_KEY", MASTER[1]), "another master key"),
        (options(&simulator, 1).0.env("MASTER_KEY", "short-canary"), "32 bytes"),
    ] {
        let (status, text) = options.run_in(folder.path());
        let line = text.lines().last().unwrap_or_default();
        assert!(!status.success() && line.contains(word) && line.contains("MASTER_KEY"), "{text}");
        assert!(!text.contains("canary") && !tells(&text), "{text}");
        assert_eq!(keys_file(folder.path()), file, "it was touched");
    }
    // From one key to another, and the file says nothing to the old one.
    let (failed, text) = run(&sealed, folder.path(), &["vault", "rekey"]);
    assert!(!failed && text.contains("NEW_MASTER_KEY") && text.lines().count() == 1, "{text}");
    std::fs::write(folder.path().join("new.key"), MASTER[1]).unwrap();
    let text = done(&sealed, folder.path(), &["vault", "rekey", "--new-key-file", "new.key"]);
    assert!(text.contains("2 keys are sealed"), "{text}");
    assert!(!sealed.command(folder.path()).output().unwrap().status.success());
    let (renewed, port) = options(&simulator, 1);
    let renewed = renewed.set("store.master_key_file", "new.key");
    let gateway = renewed.start_in(folder.path());
    assert_eq!(get(port, "/api/keys").await["matched"], 3);
    // What somebody else writes while it runs is not written over.
    done(&renewed, folder.path(), &["vault", "rekey", "--unsealed"]);
    let (status, answer) =
        operator(port, Method::DELETE, &format!("/api/keys/{}", fingerprint(1)), &Value::Null).await;
    assert!(status == 409 && answer["error"].as_str().unwrap().contains("restart"), "{answer}");
    assert_eq!(get(port, "/api/keys").await["matched"], 3);
    assert!(keys_file(folder.path()).contains(&secret(1)));
    stop(gateway);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_keys_that_others_can_read_or_that_is_damaged_starts_nothing() {
    let simulator = simulator(2).await;
    let (options, port) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    assert_eq!(operator(port, Method::POST, "/api/keys", &json!(secret(1))).await.0, 201);
    gateway.signal("TERM");
    gateway.wait(Duration::from_secs(5));
    let path = folder.path().join("data/keys.json");
    let whole = keys_file(folder.path());
    let refused = |word: &str| {
        let output = options.command(folder.path()).output().unwrap();
        let line = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && line.contains("store.vault_file"), "{line}");
        assert!(line.contains(word) && line.lines().count() == 1 && !tells(&line), "{line}");
    };
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused("chmod 600");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    refused("damaged");
    std::fs::write(&path, whole.replace("Canary", "canary")).unwrap();
    refused("checksum");
    std::fs::write(&path, "# my keys").unwrap();
    refused("does not hold keys");
    std::fs::write(&path, &whole).unwrap();
    let _gateway = options.start_in(folder.path());
    assert_eq!(get(port, "/api/keys").await["matched"], 2);
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
    gateway.wait(Duration::from_secs(5));
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
            "nobody POST  - refused 404".to_owned(),
            "nobody DELETE /api/keys/{key} - refused 401".to_owned(),
        ]
    );
}
