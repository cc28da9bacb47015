//! What other gateways have, imported: the folder that is written, what is said of it, and that a gateway in this folder serves
//! each imported token on the imported keys. The documents are in `tests/import`, all made up.

use crate::support::{Options, free_port, key_counts, prompt, secret, simulator, stranger, wait_for};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gemini_simulator::{KeyState, Simulator};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

const FLASH: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const ADMIN: &str = "operator-token-5b1e";
/// Set to write the expected texts anew, to be read before they are kept.
const WRITE: &str = "WRITE_EXPECTED";

fn document(name: &str) -> String {
    format!("{}/tests/import/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// No key, no token: whatever the gateway has, it has from the import.
fn options(simulator: &Simulator) -> Options {
    Options::new(&simulator.url(), 0).without_token()
}

/// Runs the import: whether it succeeded, and all it printed, in which no secret is.
fn run(options: &Options, folder: &Path, arguments: &[&str], input: impl AsRef<[u8]>) -> (bool, String) {
    let mut command = options.command(folder);
    command.arg("import").args(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Who reads nothing leaves a broken pipe behind.
    let _ = child.stdin.take().unwrap().write_all(input.as_ref());
    let output = child.wait_with_output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(!text.contains("Canary") && !text.contains("AIza"), "a secret: {text}");
    (output.status.success(), text)
}

/// Imports documents of `tests/import` into `folder/imported`; what was said.
fn import(options: &Options, folder: &Path, documents: &[&str]) -> String {
    let paths: Vec<String> = documents.iter().map(|name| document(name)).collect();
    let arguments: Vec<&str> = paths.iter().map(String::as_str).chain(["--yes"]).collect();
    let (done, text) = run(options, folder, &arguments, "");
    assert!(done, "{documents:?}: {text}");
    text
}

/// Compares with a file of `tests/import/expected`.
#[track_caller]
fn assert_expected(name: &str, text: &str) {
    let path = PathBuf::from(document("expected")).join(name);
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{name} differs:\n{text}\n--- expected ---\n{expected}");
}

/// Each file of a folder of secrets with its text, in the order of their names.
fn secrets(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder.join("secrets")).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600, "{}", path.display());
        (
            path.file_name().unwrap().to_str().unwrap().to_owned(),
            fs::read_to_string(&path).unwrap().trim_end().to_owned(),
        )
    };
    let mut all: Vec<_> = entries.map(text).collect();
    all.sort();
    all
}

async fn send(url: String, token: &str) -> u16 {
    let request = stranger().post(url).header("x-goog-api-key", token).body(prompt("x"));
    request.send().await.unwrap().status().as_u16()
}

/// What came of an import: the expected texts, then a gateway in the folder, which is asked once with each token.
async fn round_trip(
    name: &str,
    documents: &[&str],
    environment: &[(&str, &str)],
    keys: &[usize],
    disabled: &[usize],
    tokens: usize,
) {
    let simulator = simulator(10).await;
    let mut options = options(&simulator);
    for (name, value) in environment {
        options = options.env(name, value);
    }
    let folder = tempfile::tempdir().unwrap();
    let said = import(&options, folder.path(), documents);
    let imported = folder.path().join("imported");
    assert_expected(&format!("{name}.txt"), &said);
    assert_expected(&format!("{name}.toml"), &fs::read_to_string(imported.join("config.toml")).unwrap());
    for path in [&imported, &imported.join("secrets")] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o700);
    }
    assert_eq!(fs::metadata(imported.join("config.toml")).unwrap().permissions().mode() & 0o7777, 0o600);
    let config = fs::read_to_string(imported.join("config.toml")).unwrap();
    for word in ["AIzaTest", "CanaryToken", "CanaryProxy", "CanaryMaster"] {
        assert!(!config.contains(word), "secrets are in files of their own: {config}");
    }
    let all = secrets(&imported);
    let of = |kind: &str| -> Vec<String> {
        let of_kind = all.iter().filter(|(file, _)| file.starts_with(kind));
        of_kind.map(|(_, secret)| secret.clone()).collect()
    };
    let known: Vec<String> = keys.iter().chain(disabled).map(|n| secret(*n)).collect();
    let mut found = of("key-");
    found.sort();
    let mut wanted = known;
    wanted.sort();
    assert_eq!(found, wanted);
    let imported_tokens = of("token-");
    assert_eq!(imported_tokens.len(), tokens);

    // The proxy of the documents leads nowhere, and its level would not say where the gateway listens.
    let gateway = options
        .set("admin.port", free_port())
        .set("upstream.proxy", "")
        .set("log.level", "info")
        .start_in(&imported);
    assert_eq!(key_counts(&gateway).await["available"], keys.len(), "{}", key_counts(&gateway).await);
    if tokens == 0 {
        assert_eq!(send(gateway.url(FLASH), &secret(keys[0])).await, 200);
    }
    for token in &imported_tokens {
        assert_eq!(send(gateway.url(FLASH), token).await, 200, "{token}");
    }
    if tokens > 0 {
        assert_eq!(send(gateway.url(FLASH), &secret(keys[0])).await, 401, "a key is no credential any more");
    }
    let calls = simulator.stats().by_key;
    assert_eq!(calls.values().sum::<u64>(), u64::try_from(tokens.max(1)).unwrap());
    for key in calls.keys() {
        assert!(keys.iter().any(|n| secret(*n) == *key), "{key} is not to be used");
    }
}

#[tokio::test]
async fn the_variables_of_snailyp_are_imported() {
    round_trip("snailyp-env", &["snailyp.env"], &[], &[0, 1], &[], 3).await;
}

#[tokio::test]
async fn the_database_of_snailyp_goes_before_its_variables() {
    round_trip("snailyp-db", &["snailyp.db", "snailyp.env"], &[], &[3, 4], &[], 2).await;
}

#[tokio::test]
async fn a_dump_of_snailyps_database_is_imported() {
    round_trip("snailyp-dump", &["snailyp.sql"], &[], &[5, 6], &[], 2).await;
}

#[tokio::test]
async fn keys_exported_from_gpt_load_are_imported() {
    round_trip("gpt-load-keys", &["keys-team-active.txt"], &[], &[0, 1], &[], 0).await;
}

#[tokio::test]
async fn the_database_of_gpt_load_is_imported() {
    round_trip("gpt-load-db", &["gpt-load.db"], &[], &[0, 1], &[2], 3).await;
}

#[tokio::test]
async fn the_sealed_database_of_gpt_load_is_imported() {
    let key = [("ENCRYPTION_KEY", "made-up encryption key")];
    round_trip("gpt-load-sealed", &["gpt-load-sealed.db"], &key, &[0, 1], &[2], 3).await;
}

#[tokio::test]
async fn the_configuration_of_litellm_is_imported() {
    round_trip("litellm", &["litellm.yaml", "litellm.env"], &[], &[0, 1], &[], 1).await;
}

#[tokio::test]
async fn the_keys_of_any_text_are_imported() {
    round_trip("keys", &["keys.txt"], &[], &[0, 1, 2], &[], 0).await;
}

#[tokio::test]
async fn standard_input_is_read_and_nothing_is_written_without_consent() {
    let simulator = simulator(1).await;
    let options = options(&simulator);
    let folder = tempfile::tempdir().unwrap();
    let input = fs::read_to_string(document("snailyp.env")).unwrap();
    for arguments in [&[][..], &["-"]] {
        let (done, text) = run(&options, folder.path(), arguments, &input);
        assert!(!done && (text.contains("nobody to ask") || text.contains("nothing was written")), "{text}");
    }
    assert!(
        text_after(&options, folder.path(), &[&document("keys.txt")], "n\n").contains("nothing was written")
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    let (done, _) = run(&options, folder.path(), &[&document("keys.txt"), "--out", "a"], "y\n");
    assert!(done && folder.path().join("a/config.toml").exists());
    let database = fs::read(document("gpt-load.db")).unwrap();
    let (done, text) = run(&options, folder.path(), &["-", "--yes", "--out", "c"], database);
    assert!(done && text.contains("standard input is the database of gpt-load"), "{text}");
    let (done, text) = run(&options, folder.path(), &["--yes", "--out", "b"], &input);
    assert!(done && text.contains("standard input is the variables of snailyp's gemini-balance"), "{text}");
}

fn text_after(options: &Options, folder: &Path, arguments: &[&str], input: &str) -> String {
    let (done, text) = run(options, folder, arguments, input);
    assert!(!done, "{text}");
    text
}

#[tokio::test]
async fn what_is_there_is_never_written_over() {
    let simulator = simulator(1).await;
    let options = options(&simulator);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("file"), "mine").unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
    for out in ["empty", "file", "link"] {
        let text = text_after(&options, folder.path(), &[&document("keys.txt"), "--yes", "--out", out], "");
        assert!(text.contains("there already") && text.lines().count() == 1, "{text}");
    }
    assert_eq!(fs::read_dir(folder.path().join("empty")).unwrap().count(), 0);
    assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"mine");
    let text =
        text_after(&options, folder.path(), &[&document("keys.txt"), "--yes", "--out", "none/here"], "");
    assert!(text.contains("none/here: cannot be written"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_read_is_one_line_that_says_what_to_do() {
    let simulator = simulator(1).await;
    let options = options(&simulator);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let broken = fs::read_to_string(document("snailyp.sql")).unwrap();
    let broken = &broken[..broken.find("0006Canary").unwrap()];
    for (arguments, words) in [
        (vec![document("gpt-load-sealed.db")], &["gpt-load-sealed.db", "set ENCRYPTION_KEY"][..]),
        (
            vec![document("gpt-load.db"), "--from".into(), "snailyp".into()],
            &["the database of gpt-load", "--from"],
        ),
        (vec![file("none.txt", b"no word of it is a key\n")], &["neither a key nor a token"]),
        (vec![file("empty", b"")], &["neither a key nor a token"]),
        (vec![file("cut.sql", broken.as_bytes())], &["cut.sql", "t_settings", "cut off"]),
        (
            vec![file("bad.yaml", b"model_list:\n  - a: [AIzaCanary\n b: {AIzaCanary")],
            &["bad.yaml", "YAML", "line"],
        ),
        (vec![file("bad.env", b"API_KEYS=[]\nX='AIzaCanary\n")], &["bad.env", "line 2 (X)"]),
        (vec![file("wide.env", b"\xff\xfeA\0")], &["wide.env", "UTF-16"]),
        (vec![file("x.db", b"SQLite format 3\0 and no more")], &["x.db", "SQLite"]),
        (vec![folder.path().join("gone").to_str().unwrap().to_owned()], &["gone", "No such file"]),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--yes"]).collect();
        let text = text_after(&options, folder.path(), &arguments, "");
        let line = text.lines().last().unwrap();
        assert!(words.iter().all(|word| line.contains(word)), "{arguments:?}: {text}");
    }
    let wrong = options.env("ENCRYPTION_KEY", "Canary of another gateway");
    let text = text_after(&wrong, folder.path(), &[&document("gpt-load-sealed.db"), "--yes"], "");
    assert!(text.contains("ENCRYPTION_KEY opens none of its keys"), "{text}");
    assert!(!folder.path().join("imported").exists());
}

#[tokio::test]
async fn keys_that_google_refuses_are_disabled_when_it_is_asked_first() {
    let simulator = simulator(2).await;
    simulator.set_key_state(&secret(1), KeyState::Suspended);
    let options = options(&simulator);
    let folder = tempfile::tempdir().unwrap();
    let (done, text) =
        run(&options, folder.path(), &[&document("keys-team-active.txt"), "--check", "--yes"], "");
    assert!(done && text.contains("Google refuses 1 of 2"), "{text}");
    let calls = simulator.requests();
    assert!(calls.iter().all(|request| request.method == "GET"), "a check spends no quota: {calls:?}");
    let imported = folder.path().join("imported");
    let config = fs::read_to_string(imported.join("config.toml")).unwrap();
    assert_eq!(config.matches("enabled = false").count(), 1, "{config}");
    let gateway = options.start_in(&imported);
    assert_eq!(key_counts(&gateway).await["available"], 1);
}

#[tokio::test]
async fn keys_that_are_all_disabled_are_counted_with_what_to_do() {
    let simulator = simulator(3).await;
    let options = options(&simulator);
    let folder = tempfile::tempdir().unwrap();
    for (count, words) in [
        (1, "the one key is disabled, and a gateway does not start without a key"),
        (2, "all 2 keys are disabled, and a gateway does not start without a key"),
    ] {
        let keys: String = (0..count).map(|n| format!("{}\n", secret(n))).collect();
        fs::write(folder.path().join("keys-team-invalid.txt"), keys).unwrap();
        let out = format!("out-{count}");
        let (done, text) =
            run(&options, folder.path(), &["keys-team-invalid.txt", "--yes", "--out", &out], "");
        let what_to_do = format!("take `enabled = false` out of {out}/config.toml");
        assert!(done && text.contains(words) && text.contains(&what_to_do), "{text}");
        let started = options.command(&folder.path().join(&out)).arg("check").output().unwrap();
        let why = String::from_utf8_lossy(&started.stderr).into_owned();
        let has = if count == 1 { "1 key under [[keys]] has" } else { "2 keys under [[keys]] have" };
        assert!(!started.status.success() && why.contains(has), "{why}");
    }
    // Nor is there a key, or a token, where none could be taken.
    for (document, words) in [
        (
            "AUTH_TOKEN=client-token-0123456789\nAPI_KEYS=[]\n",
            "no key was found, and a gateway does not start",
        ),
        (
            &format!("API_KEYS=[\"{}\"]\nAUTH_TOKEN=one two\n", secret(0)),
            "no token was taken, and clients are let in by",
        ),
    ] {
        fs::write(folder.path().join("snailyp.env"), document).unwrap();
        let (done, text) = run(&options, folder.path(), &["snailyp.env", "--yes", "--out", "found"], "");
        fs::remove_dir_all(folder.path().join("found")).unwrap();
        assert!(done && text.contains(words), "{text}");
        assert_eq!(text.contains("is a client's now"), document.contains("client-token"), "{text}");
    }
    // Some of them are.
    simulator.set_key_state(&secret(1), KeyState::Suspended);
    let (_, text) =
        run(&options, folder.path(), &[&document("keys-team-active.txt"), "--check", "--yes"], "");
    assert!(text.contains("1 of 2 keys is disabled and not used"), "{text}");
}

#[tokio::test]
async fn keys_that_a_running_gateway_takes_as_disabled_are_named() {
    let simulator = simulator(3).await;
    let port = free_port();
    let options = Options::new(&simulator.url(), 1).env("ADMIN_TOKEN", ADMIN).set("admin.port", port);
    let gateway = options.start();
    let keys = [1, 2].map(secret).join("\n");
    let files = json!([{ "name": "keys-team-invalid.txt", "text": keys }]);
    let (status, answer) = post(port, &json!({ "files": files })).await;
    assert_eq!((status, answer["added"].as_array().map(Vec::len)), (201, Some(2)), "{answer}");
    assert_eq!(answer["disabled"], answer["added"]);
    assert_eq!(key_counts(&gateway).await["available"], 1);
}

/// The operator's listener, of which no answer shows a secret.
async fn operator(port: u16, method: reqwest::Method, path: &str, body: &Value) -> (u16, Value) {
    let request = stranger().request(method, format!("http://127.0.0.1:{port}{path}")).bearer_auth(ADMIN);
    let response = request.body(body.to_string()).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert!(!text.contains("Canary") && !text.contains("AIza"), "{text}");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn post(port: u16, body: &Value) -> (u16, Value) {
    operator(port, reqwest::Method::POST, "/api/import", body).await
}

#[tokio::test]
async fn a_running_gateway_takes_the_same_documents() {
    let simulator = simulator(6).await;
    let port = free_port();
    let options = Options::new(&simulator.url(), 1).env("ADMIN_TOKEN", ADMIN).set("admin.port", port);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    let text = fs::read_to_string(document("snailyp.env")).unwrap();
    let database = STANDARD.encode(fs::read(document("gpt-load.db")).unwrap());
    let files = json!([{ "name": ".env", "text": text }, { "name": "gpt-load.db", "base64": database }]);
    let proxy_key = "sk-CanaryProxyKeyOfAllGroups-01";

    // A look changes nothing.
    let (status, answer) = post(port, &json!({ "files": files, "dry_run": true })).await;
    let preview = &answer["preview"];
    assert_eq!((status, preview["keys"].as_array().unwrap().len()), (200, 3), "{answer}");
    let here: Vec<&Value> = preview["keys"].as_array().unwrap().iter().map(|key| &key["here"]).collect();
    assert_eq!(here, [true, false, false]);
    assert_eq!(
        preview["tokens"].as_array().unwrap().iter().filter(|token| token["short"] == true).count(),
        1
    );
    assert_eq!(preview["not_taken_here"]["settings"].as_array().unwrap().len(), 6);
    assert_eq!(key_counts(&gateway).await["available"], 1);
    assert_eq!(send(gateway.url(FLASH), proxy_key).await, 401);

    let (status, answer) = post(port, &json!({ "files": files })).await;
    assert_eq!((status, &answer["kept"]), (201, &json!(true)), "{answer}");
    assert_eq!(answer["added"].as_array().unwrap().len(), 2);
    let names: Vec<String> = (1..=5).map(|n| format!("import-{n}")).collect();
    assert_eq!(answer["tokens"], json!(names));
    assert_eq!(key_counts(&gateway).await["available"], 2, "the invalid one is disabled");
    for token in [
        "sk-CanaryTokenOfTheFirst-01",
        "sk-CanaryTokenOfTheOperator-1",
        "sk-CanaryProxyKeyOfOneGroup-02",
        proxy_key,
    ] {
        assert_eq!(send(gateway.url(FLASH), token).await, 200, "{token}");
    }
    assert_eq!(send(gateway.url(FLASH), "Canary7").await, 401, "one that is so short is not taken");
    assert!(!simulator.stats().by_key.contains_key(&secret(2)));

    // Again, and after a kill, all is there once.
    let (status, answer) = post(port, &json!({ "files": files })).await;
    assert_eq!((status, &answer["added"], &answer["tokens"]), (201, &json!([]), &json!([])));
    let audit = wait_for("three lines of the audit log", || {
        let text = fs::read_to_string(folder.path().join("logs/audit.log")).unwrap_or_default();
        (text.lines().count() == 3).then_some(text)
    });
    let verbs: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verbs: Vec<&str> = verbs.iter().map(|line| line["verb"].as_str().unwrap()).collect();
    assert_eq!(verbs, ["import preview", "import", "import"]);
    assert!(!audit.contains("Canary") && audit.contains("import-5"), "{audit}");
    gateway.signal("KILL");
    gateway.wait_for_end();
    let gateway = options.start_in(folder.path());
    assert_eq!(key_counts(&gateway).await["available"], 2);
    assert_eq!(send(gateway.url(FLASH), proxy_key).await, 200);

    for (body, words) in [
        (json!({}), "the body must be"),
        (json!({ "files": files, "from": "nobody" }), "the body must be"),
        (json!({ "files": [{ "name": "x" }] }), "x: needs a text"),
        (json!({ "files": [{ "name": "x", "base64": "?" }] }), "x: needs a text"),
        (json!({ "files": vec![json!({ "name": "x", "text": "" }); 17] }), "at most 16"),
        (json!({ "files": [{ "name": "x".repeat(256), "text": "" }] }), "at most 255"),
        (json!({ "files": files, "from": "litellm" }), "the database of gpt-load"),
    ] {
        let (status, answer) = post(port, &body).await;
        assert!(status == 400 && answer["error"].as_str().unwrap().contains(words), "{words}: {answer}");
    }
}
