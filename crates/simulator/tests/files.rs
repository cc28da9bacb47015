//! Files and the upload protocols over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gemini_simulator::{Fault, Key, Lifecycle, Rule, Simulator};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::*;

const BETA: &str = "AQ.Beta";
const GRANULE: usize = 8 * 1024 * 1024;

/// As Google writes it: base64 of the hex digits.
fn digest(bytes: &[u8]) -> String {
    let digits: Vec<String> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    STANDARD.encode(digits.concat())
}

async fn siblings() -> Simulator {
    let mut config = config();
    config.keys.push(Key::valid("AIzaSibling", "alpha"));
    Simulator::start(config).await.unwrap()
}

/// A request with a body of bytes; `key` may be empty.
async fn send(
    sim: &Simulator,
    method: &str,
    target: &str,
    key: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let length = body.len().to_string();
    let mut lines = vec![("Content-Length", length.as_str())];
    if !key.is_empty() {
        lines.push(("x-goog-api-key", key));
    }
    lines.extend(headers);
    let mut bytes = request(method, target, &lines, "");
    bytes.extend_from_slice(body);
    let (got, end) = raw(sim.addr(), &bytes).await;
    Reply::of(&got, end)
}

/// Path and query of the URL that the start gave.
async fn start(sim: &Simulator, key: &str, file: &Value, headers: &[(&str, &str)]) -> String {
    let mut lines = vec![("X-Goog-Upload-Protocol", "resumable"), ("X-Goog-Upload-Command", "start")];
    lines.extend(headers);
    let body = json!({"file": file}).to_string();
    let reply = send(sim, "POST", "/upload/v1beta/files", key, &lines, body.as_bytes()).await;
    assert_eq!((reply.status, reply.raw.len()), (200, 0), "{}", reply.text());
    assert_eq!(reply.header("x-goog-upload-status"), Some("active"));
    assert_eq!(reply.header("x-goog-upload-chunk-granularity"), Some("8388608"));
    let url = reply.header("x-goog-upload-url").unwrap();
    assert_eq!(reply.header("x-goog-upload-control-url"), Some(url));
    assert_eq!(reply.header("location"), Some(url));
    url.strip_prefix("http://simulator").unwrap().to_owned()
}

async fn chunk(sim: &Simulator, url: &str, command: &str, offset: usize, bytes: &[u8]) -> Reply {
    let offset = offset.to_string();
    let headers = [("X-Goog-Upload-Command", command), ("X-Goog-Upload-Offset", offset.as_str())];
    send(sim, "POST", url, "", &headers, bytes).await
}

async fn upload(sim: &Simulator, key: &str, file: &Value, bytes: &[u8]) -> Value {
    let url = start(sim, key, file, &[("X-Goog-Upload-Header-Content-Type", "text/plain")]).await;
    let reply = chunk(sim, &url, "upload, finalize", 0, bytes).await;
    assert_eq!((reply.status, reply.header("x-goog-upload-status")), (200, Some("final")));
    reply.json()["file"].clone()
}

async fn ask(sim: &Simulator, method: &str, target: &str, key: &str) -> Reply {
    call(sim, method, target, &[("x-goog-api-key", key)], "").await
}

#[tokio::test]
async fn a_file_is_uploaded_seen_and_deleted_by_its_project_alone() {
    let sim = siblings().await;
    let file = upload(&sim, KEY, &json!({"displayName": "letter"}), b"dear simulator").await;
    let name = file["name"].as_str().unwrap();
    let id = name.strip_prefix("files/").unwrap();
    assert_eq!(id.len(), 12);
    assert_eq!(file["uri"], format!("https://generativelanguage.googleapis.com/v1beta/{name}"));
    assert_eq!((&file["sizeBytes"], &file["state"]), (&json!("14"), &json!("ACTIVE")));
    assert_eq!((&file["mimeType"], &file["displayName"]), (&json!("text/plain"), &json!("letter")));
    assert_eq!(file["source"], "UPLOADED");
    assert_eq!(file["sha256Hash"], digest(b"dear simulator"));

    let target = format!("/v1beta/{name}");
    assert_eq!(ask(&sim, "GET", &target, KEY).await.json(), file);
    assert_eq!(ask(&sim, "GET", &target, "AIzaSibling").await.json(), file);
    assert_eq!(sim.stats().wrong_owner, 0);
    for method in ["GET", "DELETE"] {
        let refused = ask(&sim, method, &target, BETA).await;
        assert_eq!(refused.status, 403);
        let error = &refused.json()["error"];
        assert_eq!(error["status"], "PERMISSION_DENIED");
        let message = format!("You do not have permission to access the File {id} or it may not exist.");
        assert_eq!(error["message"], message);
    }
    assert_eq!(sim.stats().wrong_owner, 2);
    assert_eq!(ask(&sim, "GET", "/v1beta/files/nobodys", KEY).await.status, 403);
    assert_eq!(sim.stats().wrong_owner, 2, "nobody owns that one");
    let owned = ask(&sim, "GET", "/_simulator/resources", "").await.json();
    assert_eq!((&owned[0]["name"], &owned[0]["project"]), (&json!(name), &json!("alpha")));
    assert_eq!(sim.resources()[0].name, name);
    let wrong = &sim.wrong_owners()[1];
    assert_eq!((&*wrong.name, &*wrong.owner, &*wrong.caller), (name, "alpha", "beta"));
    assert_eq!(ask(&sim, "GET", "/_simulator/wrong_owners", "").await.json()[0]["caller"], "beta");

    let download = ask(&sim, "GET", &format!("{target}:download?alt=media"), KEY).await;
    assert_eq!(download.status, 400, "what was uploaded cannot be fetched");
    assert_eq!(ask(&sim, "DELETE", &target, "AIzaSibling").await.json(), json!({}));
    assert_eq!(ask(&sim, "GET", &target, KEY).await.status, 403);
    assert!(sim.resources().is_empty());
}

#[tokio::test]
async fn a_file_goes_after_two_days_and_a_video_takes_a_moment() {
    let sim = simulator().await;
    let text = upload(&sim, KEY, &json!({}), b"x").await;
    let video = upload(&sim, KEY, &json!({"mime_type": "video/mp4"}), b"x").await;
    let target = format!("/v1beta/{}", video["name"].as_str().unwrap());
    let mut states = Vec::new();
    for _ in 0..3 {
        states.push(ask(&sim, "GET", &target, KEY).await.json()["state"].as_str().unwrap().to_owned());
    }
    assert_eq!(states, ["PROCESSING", "PROCESSING", "ACTIVE"]);
    let slow = upload(&sim, KEY, &json!({"mimeType": "video/mp4"}), b"x").await;
    sim.set_clock_offset_s(31);
    let target = format!("/v1beta/{}", slow["name"].as_str().unwrap());
    assert_eq!(ask(&sim, "GET", &target, KEY).await.json()["state"], "ACTIVE", "by the clock");
    sim.set_lifecycle(Lifecycle { file_polls: 0, ..Lifecycle::default() });
    assert_eq!(upload(&sim, KEY, &json!({"mimeType": "video/mp4"}), b"x").await["state"], "ACTIVE");

    let target = format!("/v1beta/{}", text["name"].as_str().unwrap());
    sim.set_clock_offset_s(48 * 3600 - 60);
    assert_eq!(ask(&sim, "GET", &target, KEY).await.status, 200);
    sim.set_clock_offset_s(48 * 3600);
    assert_eq!(ask(&sim, "GET", &target, KEY).await.status, 403);
    assert_eq!(ask(&sim, "GET", &target, BETA).await.status, 403);
    assert_eq!(sim.stats().wrong_owner, 0, "it is nobody's any more");
}

#[tokio::test]
async fn chunks_are_checked_and_put_together() {
    let sim = simulator().await;
    let bytes: Vec<u8> = (0..GRANULE + 5).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let length = bytes.len().to_string();
    let url = start(&sim, KEY, &json!({}), &[("X-Goog-Upload-Header-Content-Length", &length)]).await;
    let refused = chunk(&sim, &url, "upload", 0, &bytes[..100]).await;
    assert_eq!((refused.status, refused.header("x-goog-upload-size-received")), (400, Some("0")));
    assert_eq!(chunk(&sim, &url, "upload", 5, &bytes[..GRANULE]).await.status, 400, "a wrong offset");
    let first = chunk(&sim, &url, "upload", 0, &bytes[..GRANULE]).await;
    assert_eq!((first.status, first.header("x-goog-upload-status")), (200, Some("active")));
    let query = chunk(&sim, &url, "query", 0, b"").await;
    assert_eq!(query.header("x-goog-upload-size-received"), Some("8388608"));
    let few = chunk(&sim, &url, "upload, finalize", GRANULE, b"12").await;
    assert_eq!(few.status, 400, "fewer than announced");
    assert_eq!(few.header("x-goog-upload-size-received"), Some("8388608"), "nothing of it stays");
    assert_eq!(chunk(&sim, &url, "upload, finalize", GRANULE, b"123456").await.status, 400, "more");
    let last = chunk(&sim, &url, "upload, finalize", GRANULE, &bytes[GRANULE..]).await;
    assert_eq!(last.json()["file"]["sizeBytes"], length);
    assert_eq!(last.json()["file"]["sha256Hash"], digest(&bytes));
    let query = chunk(&sim, &url, "query", 0, b"").await;
    assert_eq!((query.header("x-goog-upload-status"), query.json()), (Some("final"), last.json()));
    assert_eq!(chunk(&sim, &url, "upload, finalize", 0, b"x").await.status, 400, "it is over");

    let url = start(&sim, KEY, &json!({}), &[]).await;
    let cancelled = chunk(&sim, &url, "cancel", 0, b"").await;
    assert_eq!((cancelled.status, cancelled.header("x-goog-upload-status")), (200, Some("cancelled")));
    assert_eq!(chunk(&sim, &url, "upload, finalize", 0, b"x").await.status, 400);
    assert_eq!(chunk(&sim, "/upload/v1beta/files?upload_id=none", "query", 0, b"").await.status, 404);
    assert_eq!(sim.resources().len(), 1);
}

#[tokio::test]
async fn a_chunk_that_breaks_off_goes_on_where_a_query_says() {
    let sim = simulator().await;
    let bytes = vec![7; GRANULE];
    let url = start(&sim, KEY, &json!({}), &[]).await;
    let headers = [
        ("X-Goog-Upload-Command", "upload, finalize"),
        ("X-Goog-Upload-Offset", "0"),
        ("Content-Length", "8388608"),
    ];
    let mut tcp = TcpStream::connect(sim.addr()).await.unwrap();
    tcp.write_all(&request("POST", &url, &headers, "")).await.unwrap();
    tcp.write_all(&bytes[..1_000_000]).await.unwrap();
    logged(&sim, |request| request.body_bytes == 1_000_000).await;
    drop(tcp);
    eventually(|| sim.stats().clients_left == 1).await;
    let query = chunk(&sim, &url, "query", 0, b"").await;
    let received: usize = query.header("x-goog-upload-size-received").unwrap().parse().unwrap();
    assert_eq!(received, 3 * 256 * 1024, "whole blocks");
    let rest = chunk(&sim, &url, "upload, finalize", received, &bytes[received..]).await;
    assert_eq!(rest.json()["file"]["sizeBytes"], "8388608");
}

#[tokio::test]
async fn a_chunk_needs_no_key_but_takes_none_of_another_project() {
    let sim = siblings().await;
    let url = start(&sim, KEY, &json!({}), &[]).await;
    let last = [("X-Goog-Upload-Command", "upload, finalize"), ("X-Goog-Upload-Offset", "0")];
    assert_eq!(send(&sim, "POST", &url, BETA, &last, b"x").await.status, 403);
    assert_eq!(sim.stats().wrong_owner, 1);
    assert_eq!(send(&sim, "POST", &url, "AIzaWrong", &last, b"x").await.status, 400);
    assert_eq!(send(&sim, "POST", &url, "AIzaSibling", &last, b"x").await.status, 200);
    let refused = send(&sim, "POST", "/upload/v1beta/files", "", &[("X-Goog-Upload-Protocol", "raw")], b"x");
    assert_eq!(refused.await.status, 403, "a start needs one");
    let query = format!("/upload/v1/files?key={KEY}");
    let reply = send(&sim, "POST", &query, "", &[("X-Goog-Upload-Protocol", "resumable")], b"").await;
    let url = reply.header("x-goog-upload-url").unwrap();
    assert!(url.starts_with(&format!("http://simulator/upload/v1/files?key={KEY}&upload_id=")), "{url}");
    sim.set_lifecycle(Lifecycle { upload_base: Some("https://other".to_owned()), ..Lifecycle::default() });
    let reply = send(&sim, "POST", &query, "", &[("X-Goog-Upload-Protocol", "resumable")], b"").await;
    assert!(reply.header("x-goog-upload-url").unwrap().starts_with("https://other/upload/v1/files?"));
}

#[tokio::test]
async fn the_older_protocols_work_too() {
    let sim = simulator().await;
    let body = "--b\r\nContent-Type: application/json\r\n\r\n{\"file\":{\"display_name\":\"d\",\"name\":\"files/mine\"}}\r\n--b\r\nContent-Type: image/png\r\n\r\npicture\r\n--b--\r\n";
    let headers =
        [("X-Goog-Upload-Protocol", "multipart"), ("Content-Type", "multipart/related; boundary=b")];
    let file = send(&sim, "POST", "/upload/v1beta/files", KEY, &headers, body.as_bytes()).await.json();
    assert_eq!((&file["file"]["name"], &file["file"]["sizeBytes"]), (&json!("files/mine"), &json!("7")));
    assert_eq!(file["file"]["mimeType"], "image/png");
    let again = send(&sim, "POST", "/upload/v1beta/files", BETA, &headers, body.as_bytes()).await;
    assert_eq!((again.status, &again.json()["error"]["status"]), (409, &json!("ALREADY_EXISTS")));
    let form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nabc\r\n--b--\r\n";
    let headers = [("Content-Type", "multipart/form-data; boundary=b")];
    let file = send(&sim, "POST", "/upload/v1beta/files", KEY, &headers, form.as_bytes()).await.json();
    assert_eq!((&file["file"]["sizeBytes"], &file["file"]["mimeType"]), (&json!("3"), &json!("text/plain")));

    let target = "/upload/v1beta/files?uploadType=resumable";
    let begun = send(&sim, "POST", target, KEY, &[("X-Upload-Content-Type", "text/plain")], b"{}").await;
    let url = begun.header("location").unwrap().strip_prefix("http://simulator").unwrap().to_owned();
    let part = send(&sim, "PUT", &url, KEY, &[("Content-Range", "bytes 0-3/6")], b"abcd").await;
    assert_eq!((part.status, part.header("range")), (308, Some("bytes=0-3")));
    let asked = send(&sim, "PUT", &url, KEY, &[("Content-Range", "bytes */6")], b"").await;
    assert_eq!((asked.status, asked.header("range")), (308, Some("bytes=0-3")));
    let done = send(&sim, "PUT", &url, KEY, &[("Content-Range", "bytes 4-5/6")], b"ef").await;
    assert_eq!((done.status, &done.json()["file"]["sizeBytes"]), (200, &json!("6")));
}

#[tokio::test]
async fn a_large_upload_is_not_held_in_memory() {
    let sim = simulator().await;
    let url = start(&sim, KEY, &json!({}), &[]).await;
    let size: usize = 2 * 1024 * 1024 * 1024;
    let length = size.to_string();
    let headers = [
        ("X-Goog-Upload-Command", "upload, finalize"),
        ("X-Goog-Upload-Offset", "0"),
        ("Content-Length", &length),
    ];
    let before = resident_kib();
    let mut tcp = TcpStream::connect(sim.addr()).await.unwrap();
    tcp.write_all(&request("POST", &url, &headers, "")).await.unwrap();
    let piece = vec![1; 1024 * 1024];
    for _ in 0..size / piece.len() {
        tcp.write_all(&piece).await.unwrap();
    }
    let mut got = Vec::new();
    tcp.read_to_end(&mut got).await.unwrap();
    let reply = Reply::of(&got, Ok(()));
    assert_eq!(reply.json()["file"]["sizeBytes"], length);
    assert!(resident_kib() < before + 64 * 1024, "{before} KiB before, {} after", resident_kib());
}

/// The most memory this process has had.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_list_comes_in_pages_and_shows_one_project() {
    let sim = simulator().await;
    for n in 0..12 {
        upload(&sim, KEY, &json!({"name": format!("files/f{n:02}")}), b"x").await;
    }
    upload(&sim, BETA, &json!({"name": "files/strangers"}), b"x").await;
    let page = ask(&sim, "GET", "/v1beta/files", KEY).await.json();
    let names = |page: &Value| -> Vec<String> {
        let files = page["files"].as_array().unwrap().iter();
        files.map(|file| file["name"].as_str().unwrap()[6..].to_owned()).collect()
    };
    assert_eq!(page["files"].as_array().unwrap().len(), 10);
    assert_eq!(names(&page)[..2], ["f11", "f10"], "newest first");
    let token = page["nextPageToken"].as_str().unwrap();
    upload(&sim, KEY, &json!({}), b"x").await;
    ask(&sim, "DELETE", "/v1beta/files/f02", KEY).await;
    let second = format!("/v1beta/files?pageSize=5&pageToken={token}");
    let rest = ask(&sim, "GET", &second, KEY).await.json();
    assert_eq!(names(&rest), ["f01", "f00"], "nothing twice, nothing missing");
    assert_eq!(rest.get("nextPageToken"), None);
    assert_eq!(ask(&sim, "GET", &second, BETA).await.status, 400, "another project's token");
    for wrong in ["pageToken=x", "pageSize=x", "pageSize=-1"] {
        assert_eq!(ask(&sim, "GET", &format!("/v1beta/files?{wrong}"), KEY).await.status, 400, "{wrong}");
    }
    let all = ask(&sim, "GET", "/v1beta/files?pageSize=1000", KEY).await.json();
    assert_eq!(names(&all).len(), 12);
    let register = send(&sim, "POST", "/v1beta/files:register", KEY, &[], b"{}").await;
    assert_eq!(register.status, 401);
    let reason = &register.json()["error"]["details"][0]["reason"];
    assert_eq!(reason, "CREDENTIALS_MISSING", "the key itself is good");
}

#[tokio::test]
async fn a_refused_chunk_leaves_nothing_and_a_broken_one_is_taken_in() {
    let sim = simulator().await;
    let url = start(&sim, KEY, &json!({}), &[]).await;
    sim.set_faults([
        Rule::new(Fault::status(503)).on_path("/upload/").times(1),
        Rule::new(Fault::CloseHead).on_path("/upload/").times(1),
    ]);
    assert_eq!(chunk(&sim, &url, "upload, finalize", 0, b"x").await.status, 503);
    let query = [("X-Goog-Upload-Command", "upload, finalize"), ("X-Goog-Upload-Offset", "0")];
    let mut bytes = request("POST", &url, &[&query[..], &[("Content-Length", "1")]].concat(), "");
    bytes.push(b'x');
    let (nothing, _) = raw(sim.addr(), &bytes).await;
    assert_eq!(nothing, b"");
    let after = chunk(&sim, &url, "query", 0, b"").await;
    assert_eq!(after.header("x-goog-upload-status"), Some("final"), "only the answer was lost");
    assert_eq!(sim.resources().len(), 1);
    assert_eq!(sim.stats().by_fault["close_head"], 1);
}

#[tokio::test]
async fn a_file_is_used_by_its_project_alone_whatever_names_it() {
    let sim = siblings().await;
    let file = upload(&sim, KEY, &json!({}), b"x").await;
    let (name, uri) = (file["name"].as_str().unwrap(), file["uri"].as_str().unwrap());
    let with = |part: Value| {
        let mut body = hello();
        body["contents"][0]["parts"].as_array_mut().unwrap().push(part);
        body
    };
    // A function's answer follows upon its call.
    let mut answered = hello();
    let response =
        json!({"functionResponse": {"name": "f", "response": {}, "parts": [{"fileData": {"fileUri": uri}}]}});
    answered["contents"].as_array_mut().unwrap().extend([
        json!({"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}),
        json!({"role": "user", "parts": [response]}),
    ]);
    let bodies = [
        with(json!({"fileData": {"fileUri": uri, "mimeType": "text/plain"}})),
        with(json!({"file_data": {"file_uri": name}})),
        answered,
    ];
    let count = "/v1beta/models/gemini-2.5-flash:countTokens";
    let mut refused = 0;
    for body in &bodies {
        let spelt = body.to_string().replace("ile", "\\u0069le");
        for target in [FLASH, STREAM, count] {
            for body in [&body.to_string(), &spelt] {
                let answer =
                    async |key: &str| call(&sim, "POST", target, &[("x-goog-api-key", key)], body).await;
                assert_eq!(answer("AIzaSibling").await.status, 200, "{target} {body}");
                assert_eq!(answer(BETA).await.status, 403, "{target} {body}");
                refused += 1;
                assert_eq!(sim.stats().wrong_owner, refused);
            }
        }
    }
    let request = json!({"generateContentRequest": bodies[0]}).to_string();
    let answer = call(&sim, "POST", count, &[("x-goog-api-key", BETA)], &request).await;
    let id = name.trim_start_matches("files/");
    let message = format!("You do not have permission to access the File {id} or it may not exist.");
    assert_eq!((answer.status, &answer.json()["error"]["message"]), (403, &json!(message)));
    for free in ["https://youtu.be/abc", "gs://files/abc", "https://example.com/v1beta/files/abc"] {
        let body = with(json!({"fileData": {"fileUri": free}}));
        assert_eq!(native(&sim, FLASH, &body).await.status, 200, "{free}");
    }
    let unknown = native(&sim, FLASH, &with(json!({"fileData": {"fileUri": "files/unknown"}}))).await;
    assert_eq!(unknown.status, 403);
    let video = upload(&sim, KEY, &json!({"mimeType": "video/mp4"}), b"x").await;
    let early = native(&sim, FLASH, &with(json!({"fileData": {"fileUri": video["uri"]}}))).await;
    assert_eq!((early.status, &early.json()["error"]["status"]), (400, &json!("FAILED_PRECONDITION")));
    assert_eq!(sim.stats().wrong_owner, refused + 1, "only what another project owns is counted");
    sim.reset();
    assert_eq!((sim.stats().wrong_owner, sim.resources().len()), (0, 2));
}
