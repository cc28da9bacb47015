//! What is written down: everything an operator needs, never a secret, and never at the cost of a request.

use crate::{
    binary,
    secrets::{files, random, spellings},
    support::{Gateway, Options, TOKEN, client, prompt, simulator, simulator_with, wait_for},
    wire::{Wire, exchange, request},
};
use gemini_simulator::{Coding, Fault, Key, KeyState, Model, ModelKind, Page, Rule, Shape};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

/// Models whose streams tell a key when they have begun.
const LATE: [&str; 3] = ["late-in-a-frame", "late-and-bare", "blocked-on-the-way"];

fn native_stream(model: &str) -> String {
    format!("/v1beta/models/{model}:streamGenerateContent")
}

/// An error of the model's that quotes the key, after so many events; one of the key's would retire it.
fn late_echo(after_events: u64, framed: bool) -> Fault {
    let message = "An internal error has occurred while serving 'api_key:{{key}}'.";
    let error = json!({"code": 500, "message": message, "status": "INTERNAL", "details": [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "X", "metadata": {"containerInfo": "{{key}}"}}]});
    Fault::ErrorEvent { after_events, body: Some(json!({ "error": error })), framed }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_found_anywhere_after_everything_went_wrong() {
    let randoms: Vec<String> = (0..7).map(|_| random(35)).collect();
    let secrets: Vec<String> = randoms.iter().map(|text| format!("AIza{text}")).collect();
    let states = [
        KeyState::Valid,
        KeyState::Suspended,
        KeyState::Invalid,
        KeyState::Leaked,
        KeyState::Restricted,
        KeyState::Valid,
        KeyState::Valid,
    ];
    let token_random = random(30);
    let token = format!("tok_{token_random}");
    let simulator = simulator_with(0, |config| {
        config.keys = secrets
            .iter()
            .zip(states)
            .enumerate()
            .map(|(n, (secret, state))| Key::valid(secret, format!("p{n}")).in_state(state))
            .collect();
        // Google has been seen to echo keys in headers and bodies of all kinds.
        let echo = |secret: &String, status| Fault::Status {
            status,
            headers: [("x-debug".to_owned(), format!("consumer=api_key:{secret}"))].into(),
            body: Some(json!({"error": {"code": status, "status": "X", "message": format!("'api_key:{secret}' and {secret}")}})),
        };
        config.faults = vec![
            Rule::new(echo(&secrets[0], 500)).on_key(&secrets[0]).times(2),
            Rule::new(echo(&secrets[5], 400)).on_key(&secrets[5]).after(1).times(1),
            Rule::new(Fault::ErrorEvent {
                after_events: 0,
                body: Some(json!({"error": {"code": 503, "message": format!("api_key:{}", secrets[6])}})),
                framed: true,
            })
            .on_key(&secrets[6])
            .on_path("/v1beta/models/gemini-2.5-pro:streamGenerateContent")
            .times(1),
            Rule::new(Fault::ResetHead).on_model("gemini-3.5-flash").times(3),
            Rule::new(Fault::PartialHead).on_model("gemini-3.7-flash").times(3),
            Rule::new(Fault::Reset { after_events: 2 }).on_model("gemini-3.8-flash"),
            Rule::new(Fault::Redirect { location: format!("https://elsewhere.example/?key={}", secrets[0]) })
                .on_model("gemini-2.5-flash-lite"),
            Rule::new(Fault::BadGzip).on_model("gemini-flash-latest"),
            // After events, in a frame and bare.
            Rule::new(late_echo(1, true)).on_model(LATE[0]).on_path(native_stream(LATE[0])),
            Rule::new(late_echo(2, true)).on_model(LATE[0]).on_path("/v1beta/openai/"),
            Rule::new(late_echo(2, false)).on_model(LATE[1]).on_path(native_stream(LATE[1])),
            // By a middlebox that has read the request.
            Rule::new(Fault::Middlebox {
                status: 403,
                page: Page::Html,
                headers: [("x-blocked".to_owned(), "key={{key}}".to_owned())].into(),
                body: Some("<p>x-goog-api-key: {{key}}</p>".to_owned()),
            })
            .on_model(LATE[2])
            .times(1),
        ];
        config.models.extend(LATE.map(|id| Model::new(id, ModelKind::Generate)));
        config.codings = vec![Coding::Gzip, Coding::Deflate];
    })
    .await;
    let gateway = Options::new(&simulator.url(), 0)
        .env("GOOGLE_API_KEYS", secrets.join(","))
        .env("ACCESS_TOKENS", format!("canary={token}"))
        .set("log.level", "trace")
        .set("log.debug_enabled", true)
        .set("retry.max_attempts", 4)
        .set("pool.failure_threshold", 1000)
        .start();
    let bearer = format!("Bearer {token}");
    let credentials: [&[(&str, &str)]; 5] = [
        &[("x-goog-api-key", &token)],
        &[("Authorization", &bearer)],
        &[("x-goog-api-key", &token), ("Accept-Encoding", "gzip")],
        &[("x-goog-api-key", &token), ("Accept-Encoding", "deflate")],
        &[("x-goog-api-key", &token), ("Accept-Encoding", "br, zstd, deflate")],
    ];
    let mut answers = Vec::new();
    let models = [
        "gemini-2.5-flash",
        "gemini-2.5-pro",
        LATE[0],
        LATE[1],
        LATE[2],
        "no-such-model",
        "gemini-flash-latest",
        "gemini-3.5-flash",
        "gemini-3.7-flash",
        "gemini-3.8-flash",
        // The last, as nothing goes through once the way is taken for closed.
        "gemini-2.5-flash-lite",
    ];
    for model in models {
        // What broke for the last one may have closed the way for a second.
        let list = request("GET", "/v1beta/models", credentials[0], "");
        while exchange(gateway.authority(), &list).await.status == 502 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for credential in credentials {
            let with_secret = json!({"contents": [{"parts": [{"text": "hello"}]}]}).to_string();
            let chat =
                json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "x"}]})
                    .to_string();
            let native = format!("/v1beta/models/{model}");
            for text in [
                request("POST", &format!("{native}:generateContent"), credential, &with_secret),
                request(
                    "POST",
                    &format!("{native}:streamGenerateContent?alt=sse&key={token}"),
                    &[],
                    &with_secret,
                ),
                request("POST", &format!("{native}:streamGenerateContent"), credential, &with_secret),
                request("POST", "/v1/chat/completions", credential, &chat),
                request("GET", &format!("/nowhere?key={token}"), &[], ""),
                request("POST", &format!("{native}:generateContent"), credential, "not json"),
            ] {
                answers.push(exchange(gateway.authority(), text).await);
            }
        }
    }
    for method in ["TRACE", "OPTIONS", "PROPFIND", "PUT", "HEAD"] {
        let headers = [("x-goog-api-key", token.as_str()), ("Connection", "close")];
        let mut wire = Wire::connect(gateway.authority()).await;
        wire.send(request(method, GENERATE, &headers, "")).await.unwrap();
        // Of HEAD there is a head.
        answers.extend(wire.head().await);
    }
    let panicking = [("x-goog-api-key", token.as_str()), ("x-test-panic", "1")];
    answers.push(exchange(gateway.authority(), request("POST", GENERATE, &panicking, &prompt("x"))).await);
    answers.push(exchange(gateway.authority(), request("POST", "/debug/panic/key_manager", &[], "")).await);
    for path in ["/health", "/health/ready", "/openapi.json"] {
        answers.push(exchange(gateway.authority(), request("GET", path, &[], "")).await);
    }
    gateway.transactions(models.len() * credentials.len() * 6);

    // The run met what it was made for.
    let applied = simulator.faults();
    assert!(applied.iter().all(|rule| rule.applied > 0), "{applied:?}");
    let used = simulator.stats().by_key;
    assert!(secrets.iter().all(|secret| used.contains_key(secret)), "not every key was used");
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    for status in [200, 400, 404, 502] {
        assert!(statuses.contains(&status), "no {status} among {statuses:?}");
    }

    let folder = gateway.folder();
    let mut gateway = gateway;
    gateway.signal("TERM");
    gateway.wait_for_end();
    let mut places = files(&folder);
    assert!(
        places.iter().any(|(name, text)| name.ends_with("gemini_debug.log") && !text.is_empty()),
        "no bodies were logged"
    );
    places.push(("the console".to_owned(), gateway.output().into_bytes()));
    for (n, answer) in answers.iter().enumerate() {
        places.push((format!("answer {n}"), answer.body.clone()));
        places.push((format!("answer {n}'s headers"), format!("{:?}", answer.headers).into_bytes()));
    }
    let mut needles: Vec<String> =
        randoms.iter().zip(&secrets).flat_map(|(random, whole)| spellings(random, whole)).collect();
    needles.extend(spellings(&token_random, &token));
    for (place, text) in places {
        for needle in &needles {
            let found = memchr::memmem::find(&text, needle.as_bytes());
            assert!(
                found.is_none(),
                "{needle} in {place}, at {found:?}: ...{}",
                String::from_utf8_lossy(&text[found.unwrap_or(0).saturating_sub(200)..found.unwrap_or(0)])
            );
        }
    }
}

#[tokio::test]
async fn a_transaction_has_everything_an_operator_asks_for() {
    let simulator = simulator_with(2, |config| {
        config.faults = vec![Rule::new(Fault::status(503)).times(1)];
    })
    .await;
    let gateway = Options::new(&simulator.url(), 2).start();
    let body = prompt("hello");
    let answer =
        exchange(gateway.authority(), request("POST", STREAM, &[("x-goog-api-key", TOKEN)], &body)).await;
    let refused =
        exchange(gateway.authority(), request("POST", "/v1/chat/completions?key=wrong", &[], "")).await;
    let lines = gateway.transactions(2);
    let line = &lines[0];
    assert!(chrono::DateTime::parse_from_rfc3339(line["time"].as_str().unwrap()).is_ok());
    assert_eq!(line["id"], answer.header("x-request-id").unwrap());
    for (field, value) in [
        ("caller", json!("tester")),
        ("dialect", json!("gemini")),
        ("method", json!("POST")),
        ("path", json!("/v1beta/models/gemini-2.5-flash:streamGenerateContent")),
        ("model", json!("gemini-2.5-flash")),
        ("status", json!(200)),
        ("end", json!("complete")),
        ("bytes_in", json!(body.len())),
        ("bytes_out", json!(answer.body.len())),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    let attempts = line["attempts"].as_array().unwrap();
    assert_eq!((&attempts[0]["status"], &attempts[1]["status"]), (&json!(503), &json!(200)));
    assert!(attempts[0]["fault"].is_string() && attempts[1].get("fault").is_none(), "{line}");
    assert!(
        attempts.iter().all(|attempt| attempt["key"].as_str().unwrap().starts_with("key-")
            && attempt["ms"].as_f64() > Some(0.0))
    );
    let (first, total) = (line["first_byte_ms"].as_f64().unwrap(), line["total_ms"].as_f64().unwrap());
    assert!(0.0 < first && first <= total, "{line}");
    let usage = &line["usage"];
    assert!(
        usage["prompt"].as_u64() > Some(0)
            && usage["output"].as_u64() > Some(0)
            && usage["total"].as_u64() > usage["output"].as_u64(),
        "{line}"
    );

    let line = &lines[1];
    assert_eq!(line["id"], refused.header("x-request-id").unwrap());
    assert_eq!(
        (&line["caller"], &line["dialect"], &line["status"], &line["end"], &line["path"]),
        (&Value::Null, &json!("openai"), &json!(401), &json!("refused"), &json!("/v1/chat/completions")),
    );
}

#[tokio::test]
async fn bodies_are_logged_on_request_up_to_a_length_and_in_the_clear() {
    let simulator =
        simulator_with(1, |config| config.shape = Shape { events: 3, interval_ms: 0, text_bytes: 600 }).await;
    let gateway = Options::new(&simulator.url(), 1)
        .set("log.debug_enabled", true)
        .set("log.debug_file", "logs/bodies.log")
        .set("log.debug_body_bytes", 1000)
        .start();
    let long = prompt(&"y".repeat(5000));
    let headers = [("x-goog-api-key", TOKEN), ("Accept-Encoding", "gzip")];
    let answer = exchange(gateway.authority(), request("POST", GENERATE, &headers, &long)).await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let path = gateway.folder().join("logs/bodies.log");
    let lines = wait_for("bodies", || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines.len() == 2).then_some(lines)
    });
    let id = answer.header("x-request-id").unwrap();
    assert!(lines.iter().all(|line| line["id"] == id));
    assert_eq!((&lines[0]["of"], &lines[1]["of"]), (&json!("request"), &json!("answer")));
    assert_eq!(lines[0]["body"].as_str().unwrap(), &long[..1000]);
    assert_eq!((&lines[0]["bytes"], &lines[1]["bytes"]), (&json!(long.len()), &json!(answer.body.len())));
    assert_eq!(lines[1]["status"], 200);
    let shown = lines[1]["body"].as_str().unwrap();
    assert!(shown.len() == 1000 && shown.contains("\"candidates\""), "{shown}");
}

#[tokio::test]
async fn no_body_is_logged_unless_it_is_asked_for() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("log.level", "trace").start();
    let text = request("POST", GENERATE, &[("x-goog-api-key", TOKEN)], &prompt("a private matter"));
    assert_eq!(exchange(gateway.authority(), text).await.status, 200);
    gateway.transactions(1);
    for (name, text) in files(&gateway.folder()) {
        assert!(!String::from_utf8_lossy(&text).contains("a private matter"), "{name}");
    }
    assert!(!gateway.output().contains("a private matter"));
}

#[tokio::test]
async fn the_application_log_is_one_json_object_a_line_if_so_wished() {
    let simulator = simulator_with(1, |config| config.faults = vec![Rule::new(Fault::ResetHead)]).await;
    let mut gateway =
        Options::new(&simulator.url(), 1).set("log.format", "json").set("log.level", "debug").start();
    exchange(gateway.authority(), request("POST", GENERATE, &[("x-goog-api-key", TOKEN)], &prompt("x")))
        .await;
    exchange(gateway.authority(), request("POST", "/debug/panic/key_manager", &[], "")).await;
    gateway.transactions(1);
    gateway.signal("TERM");
    gateway.wait_for_end();
    let file = std::fs::read_to_string(gateway.folder().join("logs/app.log")).unwrap();
    for text in [file, gateway.output()] {
        assert!(text.lines().count() > 5, "{text}");
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            assert!(chrono::DateTime::parse_from_rfc3339(line["time"].as_str().unwrap()).is_ok());
            assert!(["ERROR", "WARN", "INFO", "DEBUG"].contains(&line["level"].as_str().unwrap()), "{line}");
            assert!(line["target"].is_string() && line["message"].is_string(), "{line}");
        }
        // Only a debug build can be asked to.
        assert_eq!(text.contains("a test asked for this panic"), binary::doors());
        assert!(text.lines().last().unwrap().contains("shut down"), "the last line was lost");
    }
}

/// Sends so many, and returns the id of the last.
async fn some_requests(gateway: &Gateway, count: usize) -> String {
    let client = client();
    let mut last = String::new();
    for n in 0..count {
        let answer = client.post(gateway.url(GENERATE)).body(prompt(&n.to_string())).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.headers()["x-request-id"].to_str().unwrap().clone_into(&mut last);
        answer.bytes().await.unwrap();
    }
    last
}

#[tokio::test]
async fn files_rotate_by_size_and_old_ones_go() {
    let simulator = simulator(1).await;
    let gateway =
        Options::new(&simulator.url(), 1).set("log.rotate_bytes", 2000).set("log.keep_files", 2).start();
    let logs = gateway.folder().join("logs");
    for _ in 0..8 {
        let last = some_requests(&gateway, 10).await;
        // A burst may be one write, which is not torn between two files: the next one waits for it.
        wait_for("the burst's last line", || {
            let texts = ["transactions.log", "transactions.log.1"]
                .map(|name| std::fs::read_to_string(logs.join(name)));
            texts.iter().flatten().any(|text| text.contains(&last)).then_some(())
        });
    }
    let mut names: Vec<_> =
        files(&logs).into_iter().filter(|(name, _)| name.contains("transactions")).collect();
    names.sort();
    let short: Vec<_> = names.iter().map(|(name, _)| name.rsplit('/').next().unwrap()).collect();
    assert_eq!(short, ["transactions.log", "transactions.log.1", "transactions.log.2"]);
    for (name, text) in names {
        assert!(text.len() < 2000 + 20 * 600, "{name} has {} bytes", text.len());
        for line in String::from_utf8(text).unwrap().lines() {
            assert!(serde_json::from_str::<Value>(line).is_ok(), "a torn line in {name}: {line}");
        }
    }
}

#[tokio::test]
async fn a_log_folder_that_vanishes_fails_no_request_and_comes_back() {
    let simulator = simulator(1).await;
    let mut gateway = Options::new(&simulator.url(), 1).set("log.rotate_bytes", 2000).start();
    some_requests(&gateway, 5).await;
    gateway.transactions(5);
    let logs = gateway.folder().join("logs");
    std::fs::remove_dir_all(&logs).unwrap();
    for _ in 0..3 {
        some_requests(&gateway, 10).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    wait_for("the folder to come back", || std::fs::read_to_string(logs.join("transactions.log")).ok());

    // Something in its place that no folder can be made over.
    std::fs::remove_dir_all(&logs).unwrap();
    std::fs::write(&logs, "in the way").unwrap();
    for _ in 0..3 {
        some_requests(&gateway, 10).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    std::fs::remove_file(&logs).unwrap();
    std::thread::sleep(Duration::from_millis(1200));
    for _ in 0..3 {
        some_requests(&gateway, 10).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    wait_for("the folder to come back", || std::fs::read_to_string(logs.join("transactions.log")).ok());
    gateway.signal("TERM");
    assert_eq!(gateway.wait_for_end().code(), Some(0));
}

#[tokio::test]
async fn a_full_disk_fails_no_request() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    for name in ["app.log", "transactions.log", "debug.log"] {
        // Every write to it says that no space is left.
        std::os::unix::fs::symlink("/dev/full", folder.path().join(name)).unwrap();
    }
    let mut gateway = Options::new(&simulator.url(), 1)
        .set("log.dir", folder.path().display())
        .set("log.debug_enabled", true)
        .set("log.debug_file", folder.path().join("debug.log").display())
        .set("log.level", "debug")
        .start();
    for _ in 0..3 {
        some_requests(&gateway, 20).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let health = exchange(gateway.authority(), request("GET", "/health/ready", &[], "")).await;
    assert_eq!(health.json()["components"]["key_manager"]["restarts"], 0);
    gateway.signal("TERM");
    assert_eq!(gateway.wait_for_end().code(), Some(0));
}

#[tokio::test]
async fn a_console_that_nobody_reads_fails_no_request() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(&simulator.url(), 1).set("log.level", "trace");
    let mut command = options.command(folder.path());
    // A pipe whose other end is never read, and one whose other end is closed.
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let log = folder.path().join("logs/app.log");
    let address = wait_for("address", || {
        let text = std::fs::read_to_string(&log).ok()?;
        Some(text.split_once("listening on http://")?.1.lines().next()?.to_owned())
    });
    for _ in 0..20 {
        let text = request("POST", GENERATE, &[("x-goog-api-key", TOKEN)], &prompt("x"));
        assert_eq!(exchange(&address, text).await.status, 200);
    }
    assert!(child.try_wait().unwrap().is_none(), "it ended");
    let _ = child.kill();
    let _ = child.wait();
}

/// The component of the log files at `/health/ready`, once it is in this state.
async fn logs_become(gateway: &Gateway, state: &str) -> Value {
    let deadline = std::time::Instant::now() + Duration::from_secs(15);
    loop {
        let answer = exchange(gateway.authority(), request("GET", "/health/ready", &[], "")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let logs = answer.json()["components"]["logs"].clone();
        if logs["state"] == state {
            return logs;
        }
        assert!(std::time::Instant::now() < deadline, "{logs} is not {state}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_place_for_logs_that_cannot_be_written_at_the_start_costs_no_request_and_is_tried_again() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    let in_the_way = folder.path().join("file");
    std::fs::write(&in_the_way, "").unwrap();
    for (setting, path) in [
        ("log.dir", in_the_way.join("logs").display().to_string()),
        ("log.dir", "/proc/self/logs".to_owned()),
        ("log.debug_file", "/dev/null/x/debug.log".to_owned()),
        ("log.debug_file", "/sys/debug.log".to_owned()),
    ] {
        let gateway =
            Options::new(&simulator.url(), 1).set("log.debug_enabled", true).set(setting, &path).start();
        some_requests(&gateway, 3).await;
        let logs = logs_become(&gateway, "degraded").await;
        let reason = logs["reason"].as_str().unwrap();
        assert!(reason.contains(setting) && reason.contains(&path), "{reason}");
        // The board has it before the line is written.
        let said = wait_for("the line", || Some(gateway.output()).filter(|said| said.contains(reason)));
        assert_eq!(said.matches("logs is Degraded").count(), 1, "{said}");
    }

    // What is in the way goes: the log is there, and says what is missing.
    let gateway = Options::new(&simulator.url(), 1).set("log.dir", in_the_way.display()).start();
    some_requests(&gateway, 3).await;
    logs_become(&gateway, "degraded").await;
    std::fs::remove_file(&in_the_way).unwrap();
    logs_become(&gateway, "up").await;
    some_requests(&gateway, 1).await;
    let lines = wait_for("the log", || {
        let text = std::fs::read_to_string(in_the_way.join("transactions.log")).ok()?;
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines.len() >= 2).then_some(lines)
    });
    assert_eq!((&lines[0], &lines[1]["status"]), (&json!({"dropped": 3}), &json!(200)));
    assert!(std::fs::read_to_string(in_the_way.join("app.log")).unwrap().contains("log lines were dropped"));
}

#[tokio::test]
async fn who_wants_no_files_gets_none() {
    let simulator = simulator(1).await;
    let mut gateway = Options::new(&simulator.url(), 1)
        .set("log.files", false)
        .set("store.path", "")
        .set("usage.path", "")
        .env("DEBUG_LOG_ENABLED", "true")
        .start();
    some_requests(&gateway, 2).await;
    gateway.signal("TERM");
    gateway.wait_for_end();
    let text = gateway.output();
    assert!(files(&gateway.folder()).is_empty(), "{:?}", files(&gateway.folder()));
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    assert_eq!(records.filter(|line| line["status"] == 200).count(), 2, "{text}");
    assert!(text.contains("log.files is off: no bodies are logged") && !text.contains("contents"), "{text}");
}

/// A disk that is taken away with the test.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").args(["-l".as_ref(), self.0.as_os_str()]).status();
    }
}

#[tokio::test]
async fn a_disk_that_fills_up_and_is_freed_leaves_whole_lines_and_a_true_count() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = |arguments: &[&str]| {
        std::process::Command::new("mount")
            .args(arguments)
            .arg(&disk)
            .output()
            .is_ok_and(|done| done.status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "size=128k", "tmpfs"]) {
        eprintln!("only who may mount can fill a disk: left out");
        return;
    }
    let mounted = Mounted(&disk);
    let ballast = disk.join("ballast");
    std::fs::write(&ballast, vec![0; 64 * 1024]).unwrap();
    let gateway = Options::new(&simulator.url(), 1).set("log.dir", disk.display()).start();
    let count = 400;
    some_requests(&gateway, count).await;
    logs_become(&gateway, "degraded").await;
    std::fs::remove_file(&ballast).unwrap();
    logs_become(&gateway, "up").await;
    some_requests(&gateway, 5).await;
    wait_for("all lines to be there or counted", || {
        let text = std::fs::read_to_string(disk.join("transactions.log")).unwrap();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(lines.len(), text.lines().count(), "a torn line");
        let there = lines.iter().filter(|line| line["status"] == 200).count() as u64;
        let dropped: u64 = lines.iter().filter_map(|line| line["dropped"].as_u64()).sum();
        assert!(there + dropped <= count as u64 + 5, "{there} + {dropped}");
        (dropped > 100 && there + dropped == count as u64 + 5).then_some(())
    });
    drop((gateway, mounted));
}

#[tokio::test]
async fn nothing_a_client_says_can_forge_a_line_or_reach_a_terminal() {
    let simulator = simulator_with(1, |config| config.faults = vec![Rule::new(Fault::status(429))]).await;
    let gateway = Options::new(&simulator.url(), 1)
        .set("log.level", "trace")
        .set("pool.max_wait_ms", 1)
        .set("retry.max_attempts", 1)
        .start();
    let names = [
        "x\n2026-11-27T00:00:00.000Z ERROR pool: forged",
        "\u{1b}[2Jforged",
        "a\r\nforged",
        "\u{9b}31mforged",
        "\u{202e}forged",
    ];
    for name in names {
        let body = json!({"model": name, "messages": [{"role": "user", "content": "x"}]}).to_string();
        let headers = [("authorization", "Bearer test-token-9f3c")];
        exchange(gateway.authority(), request("POST", "/v1/chat/completions", &headers, &body)).await;
        let path = format!("/v1beta/models/{}:generateContent", "%1b[31m%0aforged%e2%80%ae");
        exchange(gateway.authority(), request("POST", &path, &[("x-goog-api-key", TOKEN)], &prompt("x")))
            .await;
    }
    gateway.transactions(2 * names.len());
    let file = std::fs::read_to_string(gateway.folder().join("logs/app.log")).unwrap();
    for text in [
        file,
        gateway.output(),
        std::fs::read_to_string(gateway.folder().join("logs/transactions.log")).unwrap(),
    ] {
        for line in text.lines() {
            assert!(!line.chars().any(|sign| sign.is_control() || sign == '\u{202e}'), "{line:?}");
            assert!(
                !line.starts_with("forged") && !line.contains("ERROR pool: forged") || line.contains("\\n"),
                "{line:?}"
            );
        }
    }
}

#[tokio::test]
async fn logs_are_for_the_owner_and_its_group_and_bodies_for_the_owner() {
    use std::os::unix::fs::PermissionsExt;
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("log.debug_enabled", true).start();
    for (name, mode) in [("app.log", 0o640), ("transactions.log", 0o640), ("gemini_debug.log", 0o600)] {
        let found = std::fs::metadata(gateway.folder().join("logs").join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o777 & !mode, 0, "{name}: {found:o}");
    }
}
