//! Uploads through the gateway: both protocols, the URLs that clients are given, who may go on with one, what a broken
//! connection or a killed gateway leaves, and what large files cost.

use crate::{
    projects::{Answer, CHUNK, Caller, Projects, tokens},
    support::{Options, secret, wait_for},
    wire::{Wire, request},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::Utc;
use gemini_balance_store::{Sqlite, Upkeep};
use gemini_simulator::{End, Lifecycle, Simulator};
use serde_json::{Value, json};
use std::time::Instant;

const MIB: usize = 1024 * 1024;
const FILES: &str = "/upload/v1beta/files";
const GOOGLE: &str = "googleapis.com";

async fn pool_with(set: impl FnOnce(Options, &Simulator) -> Options) -> Projects {
    Projects::start_with(3, 2, &tokens(&["alice", "bob"], &[]), |_| {}, set).await
}

async fn pool() -> Projects {
    pool_with(|options, _| options).await
}

/// Bytes of which no two blocks are alike.
fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|n| u8::try_from((n ^ (n >> 8) ^ (n >> 16)) & 0xff).unwrap()).collect()
}

fn url_of(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-goog-upload-url").expect("an upload's URL")
}

/// Google's digest of a file: base64 of hex.
fn digest(bytes: &[u8]) -> String {
    STANDARD.encode(crate::support::sha256(bytes))
}

fn is_whole(answer: &Answer, bytes: &[u8]) -> String {
    assert_eq!(
        (answer.status, answer.header("x-goog-upload-status")),
        (200, Some("final")),
        "{}",
        answer.text()
    );
    let file = &answer.json()["file"];
    assert_eq!(
        (&file["sizeBytes"], &file["sha256Hash"]),
        (&json!(bytes.len().to_string()), &json!(digest(bytes)))
    );
    file["name"].as_str().unwrap().to_owned()
}

/// No header leads around the gateway, or shows a key.
fn tells_nothing(pool: &Projects, answer: &Answer) {
    let upstream = pool.simulator.addr().to_string();
    for (name, value) in &answer.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        for told in [GOOGLE, upstream.as_str(), "AIza"] {
            assert!(!value.contains(told), "{name}: {value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_file_is_uploaded_in_one_chunk() {
    let pool = pool().await;
    let alice = pool.caller("alice-token");
    let started = alice.begin_upload(FILES, "text/plain", 5).await;
    tells_nothing(&pool, &started);
    assert_eq!(started.header("x-goog-upload-status"), Some("active"));
    assert_eq!(started.header("x-goog-upload-chunk-granularity"), Some("8388608"));
    assert!(started.body.is_empty());
    let origin = pool.gateway.url("/");
    for name in ["x-goog-upload-url", "x-goog-upload-control-url", "location"] {
        let url = started.header(name).unwrap();
        assert!(url.starts_with(&origin), "{name}: {url}");
    }
    let done = alice.chunk(url_of(&started), "upload, finalize", 0, "hello").await;
    tells_nothing(&pool, &done);
    let name = is_whole(&done, b"hello");
    let shown = alice.get(&format!("/v1beta/{name}")).await;
    assert_eq!((&shown["displayName"], &shown["mimeType"]), (&json!("a file"), &json!("text/plain")));
    assert_eq!(pool.simulator.wrong_owners(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_chunks_are_one_file() {
    let pool = pool().await;
    let alice = pool.caller("alice-token");
    let file = bytes(2 * CHUNK);
    let started = alice.begin_upload(FILES, "application/octet-stream", file.len()).await;
    let url = url_of(&started);
    let first = alice.chunk(url, "upload", 0, file[..CHUNK].to_vec()).await;
    tells_nothing(&pool, &first);
    assert_eq!(
        (first.status, first.header("x-goog-upload-status")),
        (200, Some("active")),
        "{}",
        first.text()
    );
    assert_eq!(first.header("x-goog-upload-size-received"), Some("8388608"));
    // Other requests do not draw the upload to another key.
    for _ in 0..4 {
        alice.generate().await;
    }
    let asked = alice.chunk(url, "query", 0, "").await;
    assert_eq!(asked.header("x-goog-upload-size-received"), Some("8388608"));
    let done = alice.chunk(url, "upload, finalize", CHUNK, file[CHUNK..].to_vec()).await;
    tells_nothing(&pool, &done);
    is_whole(&done, &file);
    assert_eq!(pool.simulator.wrong_owners(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_multipart_upload_passes_in_either_form() {
    let pool = pool().await;
    let alice = pool.caller("alice-token");
    let related = "--b\r\nContent-Type: application/json\r\n\r\n{\"file\":{\"display_name\":\"d\"}}\r\n--b\r\nContent-Type: image/png\r\n\r\npicture\r\n--b--\r\n";
    let form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: image/png\r\n\r\npicture\r\n--b--\r\n";
    let cases = [
        (
            related,
            vec![("x-goog-upload-protocol", "multipart"), ("content-type", "multipart/related; boundary=b")],
        ),
        (form, vec![("content-type", "multipart/form-data; boundary=b")]),
    ];
    for (body, headers) in cases {
        let answer = alice.send_with("POST", FILES, &headers, body).await;
        tells_nothing(&pool, &answer);
        let file = &answer.json()["file"];
        assert_eq!((&file["sizeBytes"], &file["mimeType"]), (&json!("7"), &json!("image/png")));
        for _ in 0..3 {
            alice.get(&format!("/v1beta/{}", file["name"].as_str().unwrap())).await;
        }
    }
    assert_eq!(pool.simulator.wrong_owners(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_sent_to_where_they_see_the_gateway() {
    let public = pool_with(|options, _| options.set("server.public_url", "https://gw.example/gemini")).await;
    let alice = public.caller("alice-token");
    let started = alice.begin_upload(FILES, "text/plain", 5).await;
    tells_nothing(&public, &started);
    for name in ["x-goog-upload-url", "x-goog-upload-control-url"] {
        let url = started.header(name).unwrap();
        assert!(url.starts_with("https://gw.example/gemini/upload/v1beta/files?"), "{name}: {url}");
    }
    // As a proxy would hand it on, without the prefix.
    let handed_on = url_of(&started).replace("https://gw.example/gemini", &public.gateway.url(""));
    is_whole(&alice.chunk(&handed_on, "upload, finalize", 0, "hello").await, b"hello");

    let proxied = pool_with(|options, _| options.set("server.trusted_proxies", "[\"127.0.0.1\"]")).await;
    let headers = [
        ("x-goog-upload-protocol", "resumable"),
        ("x-goog-upload-command", "start"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "seen.example"),
    ];
    let started = proxied.caller("alice-token").send_with("POST", FILES, &headers, "{}").await;
    assert!(url_of(&started).starts_with("https://seen.example/upload/"), "{}", url_of(&started));
    // From anybody else these headers are not believed.
    let started = public.caller("alice-token").send_with("POST", FILES, &headers, "{}").await;
    assert!(url_of(&started).starts_with("https://gw.example/gemini/"), "{}", url_of(&started));
    let plain = pool().await;
    let started = plain.caller("alice-token").send_with("POST", FILES, &headers, "{}").await;
    assert!(url_of(&started).starts_with(&plain.gateway.url("/")), "{}", url_of(&started));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_googles_host_nor_a_key_is_in_any_header() {
    let pool = pool().await;
    // Nor where Google's address is not the one by which the gateway reaches it.
    let upload_base = Some("https://generativelanguage.googleapis.com".to_owned());
    pool.simulator.set_lifecycle(Lifecycle { upload_base, ..Lifecycle::default() });
    let alice = pool.caller("alice-token");
    tells_nothing(&pool, &alice.begin_upload(FILES, "text/plain", 5).await);
    pool.simulator.set_lifecycle(Lifecycle::default());
    // A client that shows its credential in the query does not get it back in the URL, nor a key in its place.
    let target = format!("{FILES}?key=alice-token");
    let headers = [("x-goog-upload-protocol", "resumable"), ("x-goog-upload-command", "start")];
    let started = alice.bare("POST", &target, &headers, "{}").await;
    tells_nothing(&pool, &started);
    assert!(!url_of(&started).contains("alice-token"), "{}", url_of(&started));
    is_whole(&alice.chunk(url_of(&started), "upload, finalize", 0, "hello").await, b"hello");
}

/// The URL with one letter of its longest parameter changed.
fn forged(url: &str) -> String {
    let mut letters: Vec<char> = url.chars().collect();
    let token = url.split(['?', '&', '=', '/']).max_by_key(|part| part.len()).unwrap();
    let at = url.find(token).unwrap() + token.len() / 2;
    letters[at] = if letters[at] == 'a' { 'b' } else { 'a' };
    letters.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_token_of_the_upload_goes_on_with_it() {
    let pool = pool().await;
    let (alice, bob) = (pool.caller("alice-token"), pool.caller("bob-token"));
    let started = alice.begin_upload(FILES, "text/plain", 5).await;
    let url = url_of(&started);
    let without = url.split('?').next().unwrap();
    let wrong = [
        forged(url),
        format!("{without}?upload_id=made-up&upload_protocol=resumable"),
        format!("{without}?upload_protocol=resumable"),
        url.replace("/files?", "/fileSearchStores/x:uploadToFileSearchStore?"),
    ];
    for command in ["query", "upload, finalize", "cancel"] {
        for url in &wrong {
            let before = pool.count();
            let answer = alice.chunk(url, command, 0, "hello").await;
            assert!(
                matches!(answer.status, 401 | 404),
                "{command} {url}: {} {}",
                answer.status,
                answer.text()
            );
            assert_eq!(pool.count(), before, "{command} {url} reached Google");
        }
        let before = pool.count();
        let headers = [("x-goog-upload-command", command), ("x-goog-upload-offset", "0")];
        let answer = bob.send_with("POST", url, &headers, "hello").await;
        assert!(matches!(answer.status, 401 | 403 | 404), "{command}: {}", answer.status);
        assert_eq!(pool.count(), before, "{command} reached Google");
    }
    let before = pool.count();
    let headers = [("x-goog-upload-command", "upload, finalize"), ("x-goog-upload-offset", "0")];
    let known = pool.caller("nobodys-token").send_with("POST", url, &headers, "hello").await;
    assert!(matches!(known.status, 401 | 403), "{}", known.status);
    assert_eq!(pool.count(), before);
    // By the token alone, and it is alice's own: with her credential as well.
    let asked = alice.send_with("POST", url, &[("x-goog-upload-command", "query")], "").await;
    assert_eq!((asked.status, asked.header("x-goog-upload-size-received")), (200, Some("0")));
    is_whole(&alice.chunk(url, "upload, finalize", 0, "hello").await, b"hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_uploads_are_not_alike() {
    let pool = pool().await;
    let alice = pool.caller("alice-token");
    let mut urls = std::collections::BTreeSet::new();
    for _ in 0..20 {
        urls.insert(url_of(&alice.begin_upload(FILES, "text/plain", 5).await).to_owned());
    }
    assert_eq!(urls.len(), 20);
}

/// Sends the head of a chunk and a part of its bytes, and goes away once they have arrived.
async fn break_off(pool: &Projects, url: &str, offset: usize, length: usize, part: &[u8]) {
    let target = url.strip_prefix(&pool.gateway.url("")).unwrap();
    let headers = [
        ("x-goog-upload-command", "upload"),
        ("x-goog-upload-offset", &offset.to_string()),
        ("content-length", &length.to_string()),
    ];
    let before = pool.count();
    let mut wire = Wire::connect(pool.gateway.authority()).await;
    wire.send(request("POST", target, &headers, "")).await.unwrap();
    wire.send(part).await.unwrap();
    // What is on its way has to arrive before the end does.
    let whole = u64::try_from(part.len()).unwrap() / 262_144 * 262_144;
    wait_for("bytes upstream", || {
        pool.arrived_after(before).first().is_some_and(|chunk| chunk.body_bytes >= whole).then_some(())
    });
    drop(wire);
    wait_for("end upstream", || (pool.arrived_after(before)[0].end == End::ClientLeft).then_some(()));
}

/// Asks how much has arrived, which is not less than whole blocks of what was sent.
async fn received(caller: &Caller, url: &str) -> usize {
    let asked = caller.chunk(url, "query", 0, "").await;
    assert_eq!(
        (asked.status, asked.header("x-goog-upload-status")),
        (200, Some("active")),
        "{}",
        asked.text()
    );
    asked.header("x-goog-upload-size-received").unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_chunk_is_gone_on_with_after_a_query() {
    let pool = pool().await;
    let alice = pool.caller("alice-token");
    let file = bytes(CHUNK + 1000);
    let started = alice.begin_upload(FILES, "application/octet-stream", file.len()).await;
    let url = url_of(&started);
    break_off(&pool, url, 0, CHUNK, &file[..3 * MIB + 10]).await;
    let offset = received(&alice, url).await;
    assert!((2 * MIB..=3 * MIB).contains(&offset), "{offset}");
    is_whole(&alice.chunk(url, "upload, finalize", offset, file[offset..].to_vec()).await, &file);
    assert_eq!(pool.simulator.wrong_owners(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_upload_is_over() {
    let pool = pool().await;
    let alice = pool.caller("alice-token");
    let started = alice.begin_upload(FILES, "text/plain", 5).await;
    let url = url_of(&started);
    let cancelled = alice.chunk(url, "cancel", 0, "").await;
    assert_eq!((cancelled.status, cancelled.header("x-goog-upload-status")), (200, Some("cancelled")));
    let refused = alice.chunk(url, "upload, finalize", 0, "hello").await;
    assert!((400..500).contains(&refused.status), "{}", refused.text());
    assert!(pool.simulator.resources().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_over_is_known_for_another_hour_only() {
    let mut pool = pool().await;
    let alice = pool.caller("alice-token");
    let mut urls = Vec::new();
    for end in ["upload, finalize", "cancel", "query"] {
        let started = alice.begin_upload(FILES, "text/plain", 5).await;
        let url = url_of(&started).to_owned();
        let body = if end == "upload, finalize" { "hello" } else { "" };
        assert_eq!(alice.chunk(&url, end, 0, body).await.status, 200);
        urls.push(url);
    }
    // Who has not got the answer to the last chunk asks for it.
    let asked = alice.chunk(&urls[0], "query", 0, "").await;
    assert_eq!((asked.status, asked.header("x-goog-upload-status")), (200, Some("final")));
    pool.gateway.signal("TERM");
    pool.gateway.wait_for_end();
    let mut store = Sqlite::open(&pool.gateway.folder().join("data/state.db")).unwrap().store;
    let mut lives: Vec<_> = store
        .newest(100, Utc::now())
        .unwrap()
        .into_iter()
        .filter(|holding| holding.name.starts_with("uploads/"))
        .map(|holding| (holding.expires.unwrap() - holding.made).num_minutes())
        .collect();
    lives.sort_unstable();
    assert_eq!(lives, [60, 60, 2 * 24 * 60]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_on_after_a_sigkill() {
    // On the same port, as the URL says.
    let port = crate::support::free_port();
    let mut pool = pool_with(|options, _| options.set("server.port", port)).await;
    let alice = pool.caller("alice-token");
    let file = bytes(2 * CHUNK);
    let mut url = String::new();
    crate::support::until_written(&pool.gateway.folder(), async {
        let started = alice.begin_upload(FILES, "application/octet-stream", file.len()).await;
        url = url_of(&started).to_owned();
        assert_eq!(alice.chunk(&url, "upload", 0, file[..CHUNK].to_vec()).await.status, 200);
        break_off(&pool, &url, CHUNK, CHUNK, &file[CHUNK..CHUNK + MIB]).await;
    })
    .await;
    pool.restart("KILL");
    let (alice, bob) = (pool.caller("alice-token"), pool.caller("bob-token"));
    let headers = [("x-goog-upload-command", "query")];
    let stranger = bob.send_with("POST", &url, &headers, "").await;
    assert!(matches!(stranger.status, 401 | 403 | 404), "{}", stranger.status);
    let offset = received(&alice, &url).await;
    let name = is_whole(&alice.chunk(&url, "upload, finalize", offset, file[offset..].to_vec()).await, &file);
    alice.get(&format!("/v1beta/{name}")).await;
    assert_eq!(bob.send("GET", &format!("/v1beta/{name}"), &Value::Null).await.status, 403);
    assert_eq!(pool.simulator.wrong_owners(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_of_an_upload_stands_in_a_log_or_the_store() {
    let pool = pool().await;
    let alice = pool.caller("alice-token");
    let started = alice.begin_upload(FILES, "text/plain", 5).await;
    let url = url_of(&started);
    is_whole(&alice.chunk(url, "upload, finalize", 0, "hello").await, b"hello");
    pool.gateway.transactions(2);
    let token = url.split(['?', '&', '=', '/']).max_by_key(|part| part.len()).unwrap();
    let logs = std::fs::read_dir(pool.gateway.folder().join("logs")).unwrap();
    for path in logs.map(|entry| entry.unwrap().path()) {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        assert!(!text.contains(token), "{}", path.display());
    }
    assert!(!pool.gateway.output().contains(token));
}

/// A figure of the process's memory in KiB.
fn memory(pool: &Projects, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pool.gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gigabytes_pass_without_being_held() {
    const SIZE: usize = 2048 * MIB;
    let pool = pool().await;
    let alice = pool.caller("alice-token");
    // The first of its kind sets up what all need.
    alice.file("v1beta", "text/plain", "warm").await;
    alice.upload_to(FILES, "application/octet-stream", &bytes(CHUNK)).await;
    let before = memory(&pool, "VmHWM:");
    let started = alice.begin_upload(FILES, "application/octet-stream", SIZE).await;
    let url = url_of(&started);
    let target = url.strip_prefix(&pool.gateway.url("")).unwrap();
    let headers = [
        ("x-goog-upload-command", "upload, finalize"),
        ("x-goog-upload-offset", "0"),
        ("content-length", &SIZE.to_string()),
    ];
    let mut wire = Wire::connect(pool.gateway.authority()).await;
    wire.send(request("POST", target, &headers, "")).await.unwrap();
    let block = bytes(MIB);
    let begun = Instant::now();
    for _ in 0..SIZE / MIB {
        wire.send(&block).await.unwrap();
    }
    let answer = wire.answer().await.expect("an answer");
    assert_eq!(
        (answer.status, answer.header("x-goog-upload-status")),
        (200, Some("final")),
        "{}",
        answer.text()
    );
    assert_eq!(answer.json()["file"]["sizeBytes"], SIZE.to_string());
    let grown = memory(&pool, "VmHWM:") - before;
    assert!(grown < 32 * 1024, "memory grew by {grown} KiB in {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_too_large_is_refused() {
    let limit = 2 * MIB;
    let pool = pool_with(|options, _| options.set("server.max_upload_bytes", limit)).await;
    let alice = pool.caller("alice-token");
    let exact = bytes(limit);
    let started = alice.begin_upload(FILES, "application/octet-stream", limit).await;
    is_whole(&alice.chunk(url_of(&started), "upload, finalize", 0, exact).await, &bytes(limit));

    let headers = [("x-goog-upload-protocol", "resumable"), ("x-goog-upload-command", "start")];
    let started = alice.send_with("POST", FILES, &headers, "{}").await;
    let refused = alice.chunk(url_of(&started), "upload, finalize", 0, bytes(limit + 1)).await;
    assert_eq!(refused.status, 413, "{}", refused.text());
    let headers = [("x-goog-upload-protocol", "raw"), ("content-type", "application/octet-stream")];
    let refused = alice.send_with("POST", FILES, &headers, bytes(limit + 1)).await;
    assert_eq!(refused.status, 413, "{}", refused.text());
    assert_eq!(pool.simulator.resources().len(), 1, "something too large is stored");

    // A client that does not say how much it sends hears it in the middle.
    let started = alice.begin_upload(FILES, "application/octet-stream", limit + 1).await;
    if started.status == 413 {
        return;
    }
    let target = url_of(&started).strip_prefix(&pool.gateway.url("")).unwrap();
    let headers = [
        ("x-goog-upload-command", "upload, finalize"),
        ("x-goog-upload-offset", "0"),
        ("transfer-encoding", "chunked"),
    ];
    let mut wire = Wire::connect(pool.gateway.authority()).await;
    wire.send(request("POST", target, &headers, "")).await.unwrap();
    let mut sent = 0;
    while sent <= limit {
        let mut chunk = format!("{MIB:x}\r\n").into_bytes();
        chunk.extend(bytes(MIB));
        chunk.extend(b"\r\n");
        // It may be closed before all is sent.
        if wire.send(chunk).await.is_err() {
            break;
        }
        sent += MIB;
    }
    let _ = wire.send("0\r\n\r\n").await;
    if let Some(answer) = wire.answer().await {
        assert_eq!(answer.status, 413, "{}", answer.text());
    }
    assert_eq!(pool.simulator.resources().len(), 1, "something too large is stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_to_stores_and_environments_pass_on_their_project() {
    let pool = Projects::start(3, 2).await;
    let caller = pool.caller(&secret(0));
    let store = caller.post("/v1beta/fileSearchStores", &json!({"displayName": "books"})).await;
    let store = store["name"].as_str().unwrap();
    let environment = caller.post("/v1beta/environments", &json!({})).await;
    let environment = environment["id"].as_str().unwrap();
    for _ in 0..3 {
        let target = format!("/upload/v1beta/{store}:uploadToFileSearchStore");
        let operation = caller.upload_to(&target, "text/plain", b"a book").await;
        let name = operation["name"].as_str().unwrap();
        assert!(name.starts_with(&format!("{store}/upload/operations/")), "{name}");
        caller.done(&format!("/v1beta/{name}")).await;
    }
    let headers = [("x-goog-upload-protocol", "resumable"), ("x-goog-upload-command", "start")];
    let target = format!("/upload/v1beta/environments/{environment}/files/a/b.txt");
    for _ in 0..3 {
        let started = caller.send_with("PUT", &target, &headers, "").await;
        let done = caller.chunk(url_of(&started), "upload, finalize", 0, "text").await;
        assert_eq!(done.status, 200, "{}", done.text());
        let bytes = caller
            .well("GET", &format!("/v1beta/environments/{environment}/files/a/b.txt?alt=media"), &Value::Null)
            .await;
        assert_eq!(bytes.body, b"text");
    }
    assert_eq!(pool.simulator.wrong_owners(), []);
}
