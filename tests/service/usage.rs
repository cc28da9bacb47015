//! Usage accounting: the sums against the simulator's own journal and the transaction log, across kills, restarts and a disk
//! in trouble; and what operators are shown.
//!
//! `USAGE_TEST_REQUESTS` and `USAGE_TEST_KILLS` set how many requests and kills there are, for a longer run.

use crate::{
    live::Session,
    support::{
        Gateway, Options, TOKEN, bearer, chat, client, fingerprint, free_port, prompt, secret, simulator,
        simulator_with,
    },
};
use gemini_simulator::{Fault, Rule, Simulator};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const ADMIN: &str = "operators-token-77c2";
const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
/// Who calls, and with what.
const CALLERS: [(&str, &str); 3] =
    [("tester", TOKEN), ("alice", "alices-token-9d41"), ("bob", "bobs-token-0f77")];

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// With all callers and the operator's listener.
fn options(simulator: &Simulator, keys: usize) -> (Options, u16) {
    let port = free_port();
    let tokens: Vec<_> = CALLERS.iter().map(|(name, token)| format!("{name}={token}")).collect();
    let options = Options::new(&simulator.url(), keys)
        .without_token()
        .env("ACCESS_TOKENS", tokens.join(","))
        .env("ADMIN_TOKEN", ADMIN)
        .set("admin.port", port);
    (options, port)
}

async fn get(port: u16, query: &str) -> (u16, Value) {
    let request = client().get(format!("http://127.0.0.1:{port}/api/usage?{query}")).bearer_auth(ADMIN);
    let answer = request.header("x-goog-api-key", "").send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

/// The rows of an answer.
async fn rows(port: u16, query: &str) -> Vec<Value> {
    let (status, body) = get(port, query).await;
    assert_eq!(status, 200, "{query}: {body}");
    body["rows"].as_array().unwrap().clone()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// A row's cost in billionths.
fn cost(row: &Value) -> u64 {
    format!("{:.9}", row["cost"].as_f64().unwrap()).replace('.', "").parse().unwrap()
}

/// A count of all rows together.
async fn total(port: u16, count: &str) -> u64 {
    rows(port, "by=&step=all&from=-1d").await.iter().map(|row| number(&row[count])).sum()
}

/// Waits until so many requests are counted, and no more.
async fn counted(port: u16, requests: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = total(port, "requests").await;
        assert!(found <= requests, "{found} counted of {requests}");
        if found == requests {
            return;
        }
        assert!(Instant::now() < deadline, "{found} counted of {requests}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends the `n`th of mixed requests, whatever comes of it.
async fn send(gateway: &Gateway, http: &reqwest::Client, n: usize) {
    let token = CALLERS[n % CALLERS.len()].1;
    let plain = |path: &str, body: String| http.post(gateway.url(path)).bearer_auth(token).body(body);
    let native =
        |path: &str, body: String| http.post(gateway.url(path)).header("x-goog-api-key", token).body(body);
    let text = format!("request {n} {}", "word ".repeat(n % 7));
    match n % 10 {
        0..3 => drop(native(GENERATE, prompt(&text)).send().await.unwrap().bytes().await),
        3 => drop(native(STREAM, prompt(&text)).send().await.unwrap().bytes().await),
        4 => {
            // A client that leaves after the first bytes.
            let mut answer =
                native(STREAM, prompt(&"tell me a long story ".repeat(40))).send().await.unwrap();
            let _ = answer.chunk().await;
        }
        5 => drop(plain("/v1/chat/completions", chat(&text, false)).send().await.unwrap().bytes().await),
        6 => drop(plain("/v1/chat/completions", chat(&text, true)).send().await.unwrap().bytes().await),
        7 => {
            let body = serde_json::json!({ "model": "gemini-embedding-001", "input": text }).to_string();
            drop(plain("/v1/embeddings", body).send().await.unwrap().bytes().await);
        }
        8 => {
            let failing = "/v1beta/models/gemini-2.5-pro:generateContent";
            drop(native(failing, prompt(&text)).send().await.unwrap().bytes().await);
        }
        _ if n % 100 == 9 => {
            let mut session = Session::begin(gateway).await;
            for _ in 0..2 {
                session.ask(&text).await;
            }
        }
        _ => {
            let missing = "/v1beta/models/no-such-model:generateContent";
            drop(native(missing, prompt(&text)).send().await.unwrap().bytes().await);
        }
    }
}

/// What of a line of the transaction log adds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Added {
    requests: u64,
    attempts: u64,
    left: u64,
    input: u64,
    cached: u64,
    output: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Added {
    fn line(&mut self, line: &Value) {
        let usage = &line["usage"];
        let cached = number(&usage["cached"]);
        self.requests += 1;
        self.attempts += line["attempts"].as_array().unwrap().len() as u64;
        self.left += u64::from(line["end"] == "client_left" || line["end"] == "client_stalled");
        self.input += number(&usage["prompt"]) - cached;
        self.cached += cached;
        self.output += number(&usage["output"]);
        self.bytes_in += number(&line["bytes_in"]);
        self.bytes_out += number(&line["bytes_out"]);
    }

    fn row(row: &Value) -> Self {
        Self {
            requests: number(&row["requests"]),
            attempts: number(&row["attempts"]),
            left: number(&row["left"]),
            input: number(&row["input_tokens"]),
            cached: number(&row["cached_tokens"]),
            output: number(&row["output_tokens"]),
            bytes_in: number(&row["bytes_in"]),
            bytes_out: number(&row["bytes_out"]),
        }
    }
}

fn by_name(lines: &[Value], name: &str) -> BTreeMap<String, Added> {
    let mut sums = BTreeMap::<String, Added>::new();
    for line in lines {
        sums.entry(line[name].as_str().unwrap_or_default().to_owned()).or_default().line(line);
    }
    sums
}

fn rows_by_name(rows: &[Value], name: &str) -> BTreeMap<String, Added> {
    rows.iter().map(|row| (row[name].as_str().unwrap().to_owned(), Added::row(row))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_equal_the_simulators_journal_and_the_transaction_log_and_outlive_a_restart() {
    let requests = setting("USAGE_TEST_REQUESTS", 400);
    let overloaded = Fault::Status { status: 503, headers: [].into(), body: None };
    let simulator = simulator_with(3, |config| {
        config.faults = vec![Rule::new(overloaded).on_model("gemini-2.5-pro")];
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let (options, port) = options(&simulator, 3);
    let options = options.set("log.rotate_bytes", 1_000_000_000);
    let mut gateway = options.start_in(folder.path());
    let next = AtomicU64::new(0);
    drop(client()); // for the TLS provider
    // Without a token of its own: each request shows its caller's.
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
    let workers = (0..8).map(|_| async {
        loop {
            let n = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
            if n >= requests {
                break;
            }
            send(&gateway, &http, n).await;
        }
    });
    futures_util::future::join_all(workers).await;
    counted(port, requests as u64).await;

    let lines = gateway.transactions(requests);
    assert_eq!(lines.len(), requests);
    let mut all = Added::default();
    for line in &lines {
        all.line(line);
    }
    let whole = rows(port, "by=&step=all&from=-1d").await;
    assert_eq!(Added::row(&whole[0]), all);
    assert_eq!(rows_by_name(&rows(port, "by=caller&step=all").await, "caller"), by_name(&lines, "caller"));

    // Each try by its key, as the simulator has seen them.
    let by_key = rows(port, "by=key&step=all").await;
    let stats = simulator.stats();
    for n in 0..3 {
        let tries =
            by_key.iter().find(|row| row["key"] == fingerprint(n)).map_or(0, |row| number(&row["attempts"]));
        assert_eq!(tries, stats.by_key.get(&secret(n)).copied().unwrap_or(0), "key {n}");
    }
    assert_eq!(by_key.iter().map(|row| number(&row["requests"])).sum::<u64>(), requests as u64);
    assert_eq!(by_key.iter().map(|row| number(&row["input_tokens"])).sum::<u64>(), all.input);

    // By model: one that never answered does not count by itself, and what is charged is charged by the list.
    let by_model = rows(port, "by=model&step=all").await;
    let models: Vec<_> = by_model.iter().map(|row| row["model"].as_str().unwrap()).collect();
    assert_eq!(models, ["gemini-2.5-flash", "gemini-embedding-001", "other"]);
    let flash = Added::row(&by_model[0]);
    assert_eq!(
        cost(&by_model[0]),
        flash.input * 300 + flash.cached * 30 + flash.output * 2_500,
        "{}",
        by_model[0]
    );
    assert_eq!(cost(&by_model[1]), Added::row(&by_model[1]).input * 150, "{}", by_model[1]);
    assert!(
        cost(&by_model[2]) == 0 && by_model[2]["unpriced"] == 0,
        "what failed cost nothing: {}",
        by_model[2]
    );
    let ends: u64 = [
        "answered",
        "client_errors",
        "refused_caller",
        "refused_pool",
        "refused_google",
        "failed",
        "left",
        "broken",
    ]
    .iter()
    .map(|end| number(&whole[0][*end]))
    .sum();
    assert_eq!(ends, requests as u64);
    assert!(
        all.left > 0 && number(&whole[0]["failed"]) > 0 && number(&whole[0]["client_errors"]) > 0,
        "{}",
        whole[0]
    );

    gateway.signal("TERM");
    gateway.wait(Duration::from_secs(20));
    let again = options.start_in(folder.path());
    counted(port, requests as u64).await;
    assert_eq!(
        Added::row(&rows(port, "by=&step=all&from=-1d").await[0]),
        all,
        "an orderly end loses nothing"
    );
    drop(again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_at_most_the_last_second_and_never_counts_twice() {
    // Longer than the second and a quarter by which sums may be behind, for machines that are slow.
    const BEHIND: Duration = Duration::from_millis(2_500);
    let kills = setting("USAGE_TEST_KILLS", 4);
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    let (options, port) = options(&simulator, 1);
    let (mut sent, mut surely_kept) = (0, 0);
    for kill in 0..kills {
        let mut gateway = options.start_in(folder.path());
        let found = found_at_start(port).await;
        assert!(
            (surely_kept..=sent).contains(&found),
            "kill {kill}: {found} found, {surely_kept} to {sent} expected"
        );
        // What is lost is lost: from here on it is not expected.
        (sent, surely_kept) = (found, found);
        let (started, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let url = gateway.url(GENERATE);
        let sending = tokio::spawn({
            let (started, ended) = (Arc::clone(&started), Arc::clone(&ended));
            async move {
                let client = client();
                loop {
                    started.fetch_add(1, Ordering::SeqCst);
                    let Ok(answer) = client.post(&url).body(prompt("x")).send().await else { break };
                    if answer.status() != 200 || answer.bytes().await.is_err() {
                        break;
                    }
                    ended.lock().unwrap().push(Instant::now());
                }
            }
        });
        tokio::time::sleep(BEHIND + Duration::from_millis(jitter_ms(kill as u64))).await;
        let killed = Instant::now();
        gateway.signal("KILL");
        gateway.wait_for_end();
        sending.await.unwrap();
        sent += started.load(Ordering::SeqCst);
        let ended = ended.lock().unwrap();
        let kept = ended.iter().filter(|&&at| at + BEHIND < killed).count() as u64;
        assert!(!ended.is_empty());
        surely_kept += kept;
    }
    let _gateway = options.start_in(folder.path());
    let found = found_at_start(port).await;
    assert!((surely_kept..=sent).contains(&found), "{found} found, {surely_kept} to {sent} expected");
    assert!(found > 0);
}

/// Milliseconds up to a second, other ones for each number.
fn jitter_ms(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54
}

/// The sums that a gateway has found, once it has opened its book.
async fn found_at_start(port: u16) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(10);
    while get(port, "by=&step=all&from=-1d").await.0 != 200 {
        assert!(Instant::now() < deadline, "the book does not open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    total(port, "requests").await
}

async fn component(gateway: &Gateway) -> Value {
    let response = client().get(gateway.url("/health/ready")).send().await.unwrap();
    let ready: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    ready["components"]["accountant"].clone()
}

async fn becomes(gateway: &Gateway, state: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = component(gateway).await;
        if found["state"] == state {
            return found;
        }
        assert!(Instant::now() < deadline, "{found}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_place_for_the_sums_serving_goes_on_and_nothing_is_lost_once_there_is_one() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    // Nothing can be made below a file.
    let place = folder.path().join("books");
    std::fs::write(&place, "a file").unwrap();
    let (options, port) = options(&simulator, 1);
    let gateway = options.set("usage.path", "\"books/usage.db\"").start_in(folder.path());
    let reason = becomes(&gateway, "degraded").await["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("books"), "{reason}");
    for _ in 0..5 {
        assert_eq!(
            client().post(gateway.url(GENERATE)).body(prompt("x")).send().await.unwrap().status(),
            200
        );
    }
    assert_eq!(client().get(gateway.url("/health/ready")).send().await.unwrap().status(), 200);
    let (status, body) = get(port, "").await;
    assert!(status == 503 && body["error"].as_str().unwrap().contains("cannot be read"), "{status} {body}");
    std::fs::remove_file(&place).unwrap();
    becomes(&gateway, "up").await;
    counted(port, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_that_is_removed_or_replaced_under_the_gateway_is_noticed_and_counting_goes_on_in_what_is_there()
 {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    let (options, port) = options(&simulator, 1);
    let mut gateway = options.start_in(folder.path());
    let book = folder.path().join("data/usage.db");
    let send = async |gateway: &Gateway| {
        let sent = client().post(gateway.url(GENERATE)).body(prompt("x")).send().await.unwrap();
        assert_eq!(sent.status(), 200);
    };
    send(&gateway).await;
    counted(port, 1).await;
    for is_replaced in [false, true] {
        if is_replaced {
            let other = folder.path().join("data/other.db");
            drop(gemini_balance_store::UsageFile::open(&other).unwrap());
            std::fs::rename(&other, &book).unwrap();
        } else {
            std::fs::remove_file(&book).unwrap();
        }
        for sidecar in ["data/usage.db-wal", "data/usage.db-shm"] {
            let _ = std::fs::remove_file(folder.path().join(sidecar));
        }
        let reason = becomes(&gateway, "degraded").await["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("usage.db was removed or replaced"), "{reason}");
        send(&gateway).await;
        let found = becomes(&gateway, "up").await;
        assert!(found["reason"].as_str().unwrap().contains("usage.db was removed or replaced"), "{found}");
        assert!(book.exists());
        let before = total(port, "requests").await;
        send(&gateway).await;
        counted(port, before + 1).await;
    }
    // What was under way to the former file when that went may be there too.
    let kept = total(port, "requests").await;
    assert!((2..=5).contains(&kept), "{kept}");
    assert!(gateway.output().contains("usage.db was removed or replaced"));
    gateway.signal("TERM");
    gateway.wait_for_end();
    let _gateway = options.start_in(folder.path());
    assert_eq!(found_at_start(port).await, kept, "what was counted since is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_book_is_put_aside_and_a_new_one_begun() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/usage.db"), "no pages of a database ".repeat(300)).unwrap();
    let (options, port) = options(&simulator, 1);
    let gateway = options.start_in(folder.path());
    assert_eq!(client().post(gateway.url(GENERATE)).body(prompt("x")).send().await.unwrap().status(), 200);
    counted(port, 1).await;
    let found = component(&gateway).await;
    assert!(
        found["state"] == "up" && found["reason"].as_str().unwrap().contains("usage.db.damaged-"),
        "{found}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_models_count_as_other_and_no_more_than_the_bound_by_themselves() {
    let simulator = simulator(1).await;
    let (options, port) = options(&simulator, 1);
    // One worker, so that requests are counted in their order.
    let gateway = options.set("usage.max_models", 2).set("server.workers", 1).start();
    let models = [
        "gemini-2.5-flash",
        "made-up-1",
        "made-up-2",
        "gemini-2.5-pro",
        "gemini-2.5-flash-lite",
        "made-up-3",
    ];
    for model in models {
        let url = gateway.url(&format!("/v1beta/models/{model}:generateContent"));
        client().post(url).body(prompt("x")).send().await.unwrap().bytes().await.unwrap();
    }
    counted(port, 6).await;
    let rows = rows(port, "by=model&step=day").await;
    let found: HashMap<_, _> =
        rows.iter().map(|row| (row["model"].as_str().unwrap(), number(&row["requests"]))).collect();
    assert_eq!(found, HashMap::from([("gemini-2.5-flash", 1), ("gemini-2.5-pro", 1), ("other", 4)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_again_is_used_once_by_caller_and_by_key() {
    let simulator = simulator(1).await;
    let (options, port) = options(&simulator, 1);
    let gateway = options.start();
    let body = json!({ "model": "gemini-2.5-flash", "input": "What is read again is used once." });
    let ask = |method: Method, path: String, body: String| {
        let asked = client().request(method, gateway.url(&path)).header("x-goog-api-key", TOKEN).body(body);
        async move {
            let answer = asked.send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap()
        }
    };
    let made = ask(Method::POST, "/v1beta/interactions".into(), body.to_string()).await;
    let id = made["id"].as_str().unwrap();
    let used = number(&made["usage"]["total_input_tokens"]);
    assert!(used > 0, "{made}");
    for _ in 0..3 {
        let read = ask(Method::GET, format!("/v1beta/interactions/{id}"), String::new()).await;
        assert_eq!(read["usage"], made["usage"], "it names what its making used");
    }
    counted(port, 4).await;
    assert_eq!(total(port, "input_tokens").await, used);
    let exported = client().get(format!("http://127.0.0.1:{port}/api/keys/export?format=json"));
    let exported = exported.bearer_auth(ADMIN).header("x-goog-api-key", "").send().await.unwrap();
    let exported: Value = serde_json::from_slice(&exported.bytes().await.unwrap()).unwrap();
    assert_eq!(
        (number(&exported["keys"][0]["served"]), number(&exported["keys"][0]["input_tokens"])),
        (4, used)
    );
    let lines = gateway.transactions(4);
    let naming: Vec<_> = lines.iter().filter(|line| line.get("usage").is_some()).collect();
    assert!(naming.len() == 1 && naming[0]["method"] == "POST", "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_ask_by_command_and_over_http_and_nobody_else_does() {
    let simulator = simulator(1).await;
    let (options, port) = options(&simulator, 1);
    let gateway = options.start();
    for _ in 0..3 {
        assert_eq!(
            client().post(gateway.url(GENERATE)).body(prompt("x")).send().await.unwrap().status(),
            200
        );
    }
    let answer =
        bearer().post(gateway.url("/v1/chat/completions")).body(chat("x", false)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    counted(port, 4).await;

    let command = |arguments: &[&str]| {
        let output = options.command(&gateway.folder()).arg("usage").args(arguments).output().unwrap();
        let text =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(!text.contains(ADMIN) && !text.contains(TOKEN) && !text.contains("AIza"), "a secret: {text}");
        (output.status.success(), text)
    };
    let (done, table) = command(&[]);
    assert!(done && table.starts_with("FROM"), "{table}");
    let row = table.lines().nth(1).unwrap();
    assert!(row.contains("gemini-2.5-flash") && row.contains(" 4 ") && row.contains("USD"), "{table}");
    let (done, csv) = command(&[
        "--from",
        "-24h",
        "--to",
        "1h",
        "--by",
        "caller,model",
        "--step",
        "day",
        "--format",
        "csv",
    ]);
    let lines: Vec<_> = csv.lines().collect();
    assert!(
        done && lines.len() == 2 && lines[0].starts_with("from,to,caller,model,requests,answered,"),
        "{csv}"
    );
    assert!(lines[1].contains(",tester,gemini-2.5-flash,4,4,0,"), "{csv}");
    let (done, json) = command(&["--by", "project", "--step", "all", "--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(done && json["rows"][0]["requests"] == 4, "{json}");
    let (done, nothing) = command(&["--caller", "nobody"]);
    assert!(done && nothing.contains("nothing was used"), "{nothing}");
    assert!(nothing.contains("no caller in the usage book is called nobody"), "{nothing}");
    let (done, nothing) = command(&["--caller", "tester", "--to", "-1d"]);
    assert!(done && nothing.contains("nothing was used"), "{nothing}");
    // The row of a whole span says what was read for it: whole hours, of which the last is under way.
    let (done, all) = command(&["--from", "-5s", "--step", "all"]);
    assert!(done && all.starts_with("FROM") && all.lines().next().unwrap().contains(" TO "), "{all}");
    assert!(
        all.lines().nth(1).unwrap().split_whitespace().take(2).all(|time| time.ends_with(":00:00Z")),
        "{all}"
    );
    for format in ["table", "csv", "json"] {
        let (done, text) =
            command(&["--from", "2020-01-01", "--by", "model", "--caller", "nöbody", "--format", format]);
        let (missing, kept) = ("no caller in the usage book is called nöbody", "days are kept since 20");
        assert!(done && text.contains(missing) && text.contains(kept), "{format}: {text}");
    }
    let (_, told) = get(port, "from=2020-01-01&step=hour&caller=nobody").await;
    assert_eq!(
        (&told["kept_since"]["step"], &told["not_found"]["caller"]),
        (&"hour".into(), &"nobody".into())
    );
    for (wrong, word) in [
        (&["--step", "week"][..], "minute"),
        (&["--by", "colour"], "caller"),
        (&["--by", "caller,key"], "kept"),
        (&["--from", "yesterday"], "span"),
        (&["--by", "caller,model", "--step", "minute"], "hour"),
    ] {
        let (done, line) = command(wrong);
        assert!(!done && line.contains(word) && line.trim_end().lines().count() == 1, "{line}");
    }

    let url = format!("http://127.0.0.1:{port}/api/usage");
    let ask = |token: &str, origin: bool| {
        let request = client().get(&url).bearer_auth(token).header("x-goog-api-key", "");
        if origin { request.header("origin", "http://127.0.0.1") } else { request }
    };
    assert_eq!(ask(TOKEN, false).send().await.unwrap().status(), 401);
    assert_eq!(ask(ADMIN, true).send().await.unwrap().status(), 403);
    assert_eq!(ask(ADMIN, false).send().await.unwrap().status(), 200);
    // The clients' listener knows no such path but as Google's.
    assert_ne!(client().get(gateway.url("/api/usage")).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prices_of_the_operators_own_go_before_the_list() {
    let simulator = simulator(1).await;
    let (options, port) = options(&simulator, 1);
    let gateway =
        options.set("prices", "[{model=\"gemini-2.5-*\",input=1000,output=0,currency=\"EUR\"}]").start();
    client().post(gateway.url(GENERATE)).body(prompt("x")).send().await.unwrap().bytes().await.unwrap();
    counted(port, 1).await;
    let row = rows(port, "by=model&step=all").await[0].clone();
    assert_eq!(cost(&row), number(&row["input_tokens"]) * 1_000_000, "{row}");
    assert_eq!(row["currency"], "EUR");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_counted_where_usage_is_off() {
    let simulator = simulator(1).await;
    let (options, port) = options(&simulator, 1);
    let gateway = options.set("usage.enabled", false).start();
    assert_eq!(client().post(gateway.url(GENERATE)).body(prompt("x")).send().await.unwrap().status(), 200);
    assert_eq!(get(port, "").await.0, 404);
    assert_eq!(component(&gateway).await, Value::Null);
    assert!(!gateway.folder().join("data/usage.db").exists());
}

#[test]
fn settings_that_make_no_sense_are_refused_in_one_line() {
    for (setting, value, word) in [
        ("usage.day_zone", "\"Mars/Olympus\"", "IANA"),
        ("usage.keep_days_d", "-1", "whole number"),
        ("prices", "[{model=\"m\"}]", "neither"),
        ("prices", "[{model=\"m\",input=-1}]", "input"),
        ("prices", "[{model=\"a\",input=1,currency=\"EUR\"},{model=\"b\",input=1}]", "currency"),
    ] {
        let options = Options::new("http://127.0.0.1:9", 1).set(setting, value);
        let line = crate::settings::refusal(&options);
        assert!(line.contains(setting) && line.contains(word), "{line}");
    }
}
