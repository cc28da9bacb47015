//! What a secret looks like wherever it might be found, and every place beside the logs and the answers to clients in which it
//! is not: the operator's listener, the commands, metrics, traces, and what gateways tell each other.

use crate::{
    binary,
    metrics::METRICS,
    support::{Options, free_port, prompt, simulator_with, wait_for},
    traces::Collector,
    wire::{Answer, Wire, exchange, request},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use gemini_balance_cluster::conformance::RedisServer;
use gemini_simulator::{Fault, Key, KeyState, Rule};
use serde_json::json;
use std::{
    io::{Read, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

/// All files below a folder, with what is in them.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

/// The spellings of a secret that must not be found anywhere: every eight bytes of its random part, raw, and the whole
/// in base64 (at each of the three alignments) and in percent-encoding.
pub(crate) fn spellings(random: &str, whole: &str) -> Vec<String> {
    let mut all: Vec<String> =
        random.as_bytes().windows(8).map(|part| String::from_utf8(part.to_vec()).unwrap()).collect();
    for shift in 0..3 {
        let encoded = STANDARD.encode(format!("{}{whole}", &"xxx"[..shift]));
        // Without the ends, which depend on what is around.
        all.push(encoded[4..encoded.len() - 4].to_owned());
    }
    let everything: Vec<_> = whole.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let everything = everything.concat();
    all.extend([everything.to_lowercase(), everything]);
    all
}

/// Random text that only this run knows.
pub(crate) fn random(length: usize) -> String {
    let mut state = [0; 64];
    let mut bytes = std::fs::File::open("/dev/urandom").unwrap();
    std::io::Read::read_exact(&mut bytes, &mut state).unwrap();
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..length).map(|n| char::from(letters[usize::from(state[n]) % letters.len()])).collect()
}

/// Everything that is sent to a Redis from now on, as it tells it itself.
fn overheard(port: u16, password: &str) -> Arc<Mutex<Vec<u8>>> {
    let heard = Arc::<Mutex<Vec<u8>>>::default();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(format!("AUTH {password}\r\nMONITOR\r\n").as_bytes()).unwrap();
    let into = Arc::clone(&heard);
    std::thread::spawn(move || {
        let mut piece = [0; 8192];
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            into.lock().unwrap().extend_from_slice(&piece[..count]);
        }
    });
    heard
}

/// What is searched, each place with its name.
#[derive(Default)]
struct Places(Vec<(String, Vec<u8>)>);

impl Places {
    fn add(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), bytes.into()));
    }

    fn answer(&mut self, place: &str, answer: &Answer) {
        self.add(place, answer.body.clone());
        self.add(format!("{place}: headers"), format!("{:?}", answer.headers));
    }

    /// Fails where one of these is found.
    fn hold_none_of(&self, needles: &[String]) {
        for (place, bytes) in &self.0 {
            for needle in needles {
                let found = memchr::memmem::find(bytes, needle.as_bytes());
                let before = found.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(200)..at]));
                assert!(found.is_none(), "{needle} in {place}: ...{}", before.unwrap_or_default());
            }
        }
    }
}

/// Google repeats the key where it can: in an error's header and text, in a stream's first event and in a later one.
fn echoes(secrets: &[String]) -> Vec<Rule> {
    let error = |status: u16| json!({"error": {"code": status, "status": "X", "message": "'api_key:{{key}}' and {{key}}"}});
    let status = |status| Fault::Status {
        status,
        headers: [("x-debug".to_owned(), "consumer=api_key:{{key}}".to_owned())].into(),
        body: Some(error(status)),
    };
    let event = |after_events| Fault::ErrorEvent { after_events, body: Some(error(500)), framed: true };
    vec![
        Rule::new(status(500)).on_key(&secrets[0]).times(2),
        Rule::new(status(400)).on_key(&secrets[0]).after(3).times(2),
        Rule::new(event(0)).on_key(&secrets[2]).times(2),
        Rule::new(event(2)).on_key(&secrets[3]).times(2),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_is_in_what_the_operator_sees_or_in_what_is_sent_to_others() {
    let randoms: Vec<String> = (0..9).map(|_| random(35)).collect();
    let secrets: Vec<String> = randoms[..4].iter().map(|text| format!("AIza{text}")).collect();
    let [token, wrong, admin, pasted, password] =
        [4, 5, 6, 7, 8].map(|n: usize| format!("AIza{}", randoms[n]));
    let states = [KeyState::Valid, KeyState::Suspended, KeyState::Valid, KeyState::Valid];
    let simulator = simulator_with(0, |config| {
        let keys = secrets.iter().zip(states).enumerate();
        config.keys =
            keys.map(|(n, (secret, state))| Key::valid(secret, format!("p{n}")).in_state(state)).collect();
        config.faults = echoes(&secrets);
    })
    .await;
    let redis = RedisServer::start(&["--requirepass", &password]);
    let heard = overheard(redis.port(), &password);
    let collector = Collector::start();
    let port = free_port();
    let options = Options::new(&simulator.url(), 0)
        .env("GOOGLE_API_KEYS", secrets.join(","))
        .env("ACCESS_TOKENS", format!("canary={token}"))
        .env("ADMIN_TOKEN", &admin)
        .set("admin.port", port)
        .set("metrics.token", METRICS)
        .set("log.level", "trace")
        .set("cluster.url", format!("redis://:{password}@127.0.0.1:{}", redis.port()))
        .set("cluster.node", "gw-1")
        .set("traces.endpoint", collector.url())
        .set("traces.sample", "1.0");
    let mut gateway = options.start();
    let mut places = Places::default();

    // Requests of every kind, each way of showing a credential among them.
    let (bearer, wrong_bearer) = (format!("Bearer {token}"), format!("Bearer {wrong}"));
    let chat =
        json!({"model": "gemini-2.5-flash", "stream": true, "messages": [{"role": "user", "content": "x"}]});
    let messages =
        json!({"model": "gemini-2.5-flash", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]});
    let native = "/v1beta/models/gemini-2.5-flash";
    let good = [("x-goog-api-key", token.as_str())];
    for _ in 0..6 {
        for text in [
            request("POST", &format!("{native}:generateContent"), &good, &prompt("x")),
            request(
                "POST",
                &format!("{native}:streamGenerateContent?alt=sse&key={token}"),
                &[],
                &prompt("x"),
            ),
            request("POST", "/v1/chat/completions", &[("authorization", &bearer)], &chat.to_string()),
            request("POST", "/v1/messages", &[("x-api-key", &token)], &messages.to_string()),
            request("GET", "/v1beta/models", &good, ""),
            request("GET", &format!("/v1beta/models?key={token}&key={wrong}"), &[], ""),
        ] {
            let head = text.lines().next().unwrap_or_default().replace(&token, "T").replace(&wrong, "W");
            let answer = exchange(gateway.authority(), &text).await;
            places.answer(&head, &answer);
        }
    }
    for headers in [[("x-goog-api-key", wrong.as_str())], [("authorization", wrong_bearer.as_str())]] {
        places.answer(
            "a stranger's answer",
            &exchange(gateway.authority(), request("GET", native, &headers, "")).await,
        );
    }
    for method in ["HEAD", "OPTIONS"] {
        let mut wire = Wire::connect(gateway.authority()).await;
        wire.send(request(method, native, &[good[0], ("connection", "close")], "")).await.unwrap();
        places.answer(method, &wire.head().await.unwrap());
    }
    assert!(simulator.faults().iter().all(|rule| rule.applied > 0), "{:?}", simulator.faults());

    // What the operator sees: every route that is read, and what is answered to what is pasted.
    let authority = format!("127.0.0.1:{port}");
    let to_operator = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        request(method, path, headers, body).replacen("Host: gateway", &format!("Host: {authority}"), 1)
    };
    let document = exchange(&authority, to_operator("GET", "/openapi.json", &[], "")).await.json();
    let operator = format!("Bearer {admin}");
    let shown = [("authorization", operator.as_str())];
    let lines = gateway.transactions(36);
    let id =
        lines.iter().find(|line| line["attempts"].as_array().is_some_and(|it| it.len() > 1)).unwrap()["id"]
            .as_str()
            .unwrap();
    for (template, operations) in document["paths"].as_object().unwrap() {
        if operations.get("get").is_none() || template == "/events" {
            continue;
        }
        let path = template.replace("{id}", id).replace("{file}", "app.js");
        for method in ["GET", "HEAD", "OPTIONS"] {
            let mut wire = Wire::connect(&authority).await;
            wire.send(to_operator(method, &path, &shown, "")).await.unwrap();
            let answer = if method == "HEAD" { wire.head().await } else { wire.answer().await }.unwrap();
            assert!(method != "GET" || answer.status == 200, "{path}: {} {}", answer.status, answer.text());
            places.answer(&format!("{method} {path}"), &answer);
        }
    }
    for query in
        ["/api/requests?limit=100", "/api/errors?limit=100", "/api/usage?by=caller,key,project,model"]
    {
        places.answer(query, &exchange(&authority, to_operator("GET", query, &shown, "")).await);
    }
    let paste =
        json!({"text": format!("{pasted}\n{}", secrets[2]), "dry_run": true, "check": true}).to_string();
    places.answer("a paste", &exchange(&authority, to_operator("POST", "/api/keys", &shown, &paste)).await);
    let broken = format!("{{\"text\": {pasted}");
    places.answer(
        "a broken paste",
        &exchange(&authority, to_operator("POST", "/api/keys", &shown, &broken)).await,
    );
    let guess = [("authorization", wrong_bearer.as_str())];
    places.answer("a guess", &exchange(&authority, to_operator("GET", "/keys", &guess, "")).await);
    let mut events = Wire::connect(&authority).await;
    events.send(to_operator("GET", "/events?topics=overview,requests", &shown, "")).await.unwrap();
    let head = events.head().await.unwrap();
    places.answer("events", &head);
    assert_eq!(head.status, 200);
    events.until(b"data:").await;
    places.add("events", events.taken());
    for arguments in
        [&["keys"][..], &["check"], &["usage"], &["tokens"], &["cluster"], &["keys", "export"], &["health"]]
    {
        let output = options.command(&gateway.folder()).args(arguments).output().unwrap();
        places.add(format!("{arguments:?}"), [output.stdout, output.stderr].concat());
    }

    // What is sent to others and what is left behind.
    wait_for("spans", || (collector.spans().len() > 36).then_some(()));
    gateway.signal("TERM");
    gateway.wait(Duration::from_secs(20));
    for post in collector.posts() {
        places.add("a trace", [post.head.as_bytes(), &post.body].concat());
    }
    let heard = heard.lock().unwrap().clone();
    assert!(heard.len() > 1_000, "nothing was told to Redis");
    places.add("what Redis was told", heard);
    places.0.extend(files(&gateway.folder()));
    places.add("the console", gateway.output());
    let needles: Vec<String> =
        randoms.iter().flat_map(|random| spellings(random, &format!("AIza{random}"))).collect();
    places.hold_none_of(&needles);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_core_is_written() {
    let simulator = simulator_with(1, |_| {}).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{cores}");
}

/// A debug build lets itself be debugged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_not_shown_to_others() {
    if !binary::has_no_doors("memory_is_not_shown_to_others") {
        return;
    }
    let simulator = simulator_with(1, |_| {}).await;
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(&simulator.url(), 1);
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        // What is root's own says nothing: it runs as somebody else, from where that one may read it.
        let copy = folder.path().join("program");
        std::fs::copy(binary::path(), &copy).unwrap();
        std::os::unix::fs::chown(folder.path(), Some(65_534), None).unwrap();
        let script = "program=$1; shift 2; exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$program\" \"$@\"";
        options = options.under(&["sh", "-c", script, "sh", &copy.display().to_string()]);
    }
    let gateway = options.start_in(folder.path());
    // What the kernel tells of a process is root's where nobody else may read its memory.
    let owner = std::fs::metadata(format!("/proc/{}/environ", gateway.pid())).unwrap().uid();
    assert_eq!(owner, 0);
}
