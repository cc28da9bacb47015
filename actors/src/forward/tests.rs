//! Attempts against upstreams that answer by a script, without a pool: what each answer is taken for, and what of it a client
//! gets.

use super::{
    answer::{FailedAttempt, OpenAnswer},
    attempt,
    job::{Job, Piece},
    observe::Observed,
    relay,
};
use crate::{
    failure::Failure,
    transaction::End,
    upstream::{
        Upstream, headers,
        probe::{KeyHealth, Prober},
        scripted::{Http2End, SECRET, Script, answer, answering, ending, key, serve, settings},
    },
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use gemini::{
    dialect::StreamForm,
    fault::{Fault, Kind},
    path::{CredentialForm, parse},
};
use http::Method;
use std::{io::Write, sync::Mutex, time::Duration};
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::mpsc};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
const ARRAY: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";
const JSON: &str = "200 OK\r\nContent-Type: application/json";
const EVENTS: &str = "200 OK\r\nContent-Type: text/event-stream";

fn job(method: &str, path: &str) -> Job {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let target = parse(method, path, query, CredentialForm::GoogHeader).unwrap();
    let mut job = Job::question("id", &target);
    job.method = Method::from_bytes(method.as_bytes()).unwrap();
    if method == "POST" {
        job.body = Bytes::from_static(b"{}");
    }
    job
}

async fn open(upstream: &Upstream, job: &Job) -> Result<OpenAnswer, FailedAttempt> {
    attempt::open(upstream, job, &key(), job.target.operation.streaming, false).await
}

async fn failed(upstream: &Upstream, job: &Job) -> FailedAttempt {
    match open(upstream, job).await {
        Ok(answer) => panic!("a success: {}", answer.status),
        Err(failed) => failed,
    }
}

fn google_error(status: u16, message: &str) -> String {
    format!(r#"{{"error":{{"code":{status},"message":"{message}","status":"S"}}}}"#)
}

#[tokio::test]
async fn what_something_on_the_way_answers_is_the_routes_fault_and_no_answer() {
    const PAGE: &str = "<!doctype html><title>Blocked</title>";
    const HTML: &str = "Content-Type: text/html";
    for (head, body) in [
        (format!("401 Unauthorized\r\n{HTML}"), PAGE),
        (format!("402 Payment Required\r\n{HTML}"), PAGE),
        (format!("403 Forbidden\r\n{HTML}"), PAGE),
        ("403 Forbidden\r\nContent-Type: application/json".to_owned(), r#"{"error":"blocked by policy"}"#),
        ("403 Forbidden\r\nContent-Type: application/json".to_owned(), r#"{"message":"Forbidden"}"#),
        ("407 Proxy Authentication Required".to_owned(), ""),
        (format!("429 Too Many Requests\r\n{HTML}"), PAGE),
        ("502 Bad Gateway".to_owned(), ""),
        (format!("503 Service Unavailable\r\n{HTML}"), PAGE),
        ("504 Gateway Timeout\r\nContent-Type: text/plain".to_owned(), "upstream request timeout"),
        (format!("511 Network Authentication Required\r\n{HTML}"), PAGE),
        (format!("200 OK\r\n{HTML}; charset=utf-8"), PAGE),
        ("200 OK".to_owned(), PAGE),
        ("200 OK\r\nContent-Type: text/plain".to_owned(), "log in"),
        ("302 Found\r\nLocation: http://portal.example/login".to_owned(), ""),
        ("307 Temporary Redirect\r\nLocation: https://portal.example/".to_owned(), PAGE),
        ("302 Found".to_owned(), PAGE),
        (format!("799 Odd\r\n{HTML}"), PAGE),
    ] {
        let upstream = answering(&head, body).await;
        for path in [GENERATE, STREAM] {
            let failed = failed(&upstream, &job("POST", path)).await;
            assert_eq!(failed.fault, Fault::not_google(), "{head} {body}");
            assert!(failed.answer.is_none(), "{head} {body}");
            let status = head[..3].parse().unwrap();
            assert_eq!(failed.failure, Failure::NotGoogle(status), "{head}");
        }
    }
}

#[tokio::test]
async fn what_asks_for_fewer_requests_is_told_with_its_status_and_its_time_in_whatever_form() {
    for (status, kind) in [
        ("429 Too Many Requests", Kind::RateLimited),
        ("503 Busy", Kind::Overloaded),
        ("500 Oh", Kind::Internal),
    ] {
        for body in ["", "slow down", r#"{"error":"rate limited"}"#, r#"{"message":"rate limited"}"#] {
            let upstream = answering(&format!("{status}\r\nRetry-After: 7"), body).await;
            let failed = failed(&upstream, &job("POST", GENERATE)).await;
            assert_eq!(failed.fault.kind, kind, "{status} {body}");
            let answer = failed.answer.unwrap();
            assert_eq!((&answer.status.as_str(), &answer.body[..]), (&&status[..3], body.as_bytes()));
            assert_eq!(answer.headers["retry-after"], "7");
        }
    }
}

#[tokio::test]
async fn a_models_answer_is_more_than_a_head() {
    for head in ["200 OK", "200 OK\r\nContent-Type: application/json"] {
        let upstream = answering(head, "").await;
        assert_eq!(failed(&upstream, &job("POST", GENERATE)).await.fault, Fault::not_google(), "{head}");
        assert!(open(&upstream, &job("DELETE", "/v1beta/files/abc")).await.is_ok(), "{head}");
    }
}

#[tokio::test]
async fn a_stream_is_more_than_a_head() {
    for (path, head) in [(STREAM, EVENTS), (ARRAY, JSON), (CHAT, EVENTS), ("/v1beta/interactions", EVENTS)] {
        for body in ["", "\r\n", ": ping\n\n", "retry: 100\n\n", "data:\n\n"] {
            let upstream = answering(head, body).await;
            let failed = failed(&upstream, &job("POST", path)).await;
            assert_eq!(failed.fault, Fault::not_google(), "{path} {body:?}");
        }
    }
    for said in ["data: [DONE]\n\n", "data: {}"] {
        assert!(open(&answering(EVENTS, said).await, &job("POST", CHAT)).await.is_ok(), "{said}");
    }
    assert!(open(&answering(JSON, "[]").await, &job("POST", ARRAY)).await.is_ok());
    // Whatever is asked for with GET may have nothing to add.
    let resumed = job("GET", "/v1beta/interactions/i?stream=true&last_event_id=7");
    assert!(open(&answering(EVENTS, "").await, &resumed).await.is_ok());
}

#[tokio::test]
async fn an_error_behind_what_is_no_event_is_the_first_event() {
    let error = google_error(429, "spent");
    for before in ["retry: 100\n\n", "data:\n\n", ": ping\n\nid: 1\n\n"] {
        let body = format!("{before}data: {error}\n\n");
        let upstream = cut_at(EVENTS, body.as_bytes(), before.len()).await;
        for path in [STREAM, CHAT] {
            let failed = failed(&upstream, &job("POST", path)).await;
            assert_eq!((failed.status.unwrap().as_u16(), failed.fault.kind), (429, Kind::QuotaBare));
            assert_eq!(failed.answer.unwrap().body, error, "{before:?}");
        }
    }
}

#[tokio::test]
async fn data_is_an_answer_whatever_its_type_is_called() {
    let answer = r#" {"candidates":[{"content":{"parts":[{"text":"hi"}]}}]}"#;
    let events = format!("data: {}\r\n\r\n", answer.trim());
    for kind in ["text/plain", "text/html; charset=utf-8"] {
        let head = format!("200 OK\r\nContent-Type: {kind}");
        for (path, body) in
            [(GENERATE, answer), (STREAM, &events), (CHAT, &events), ("/v1beta/batches", answer)]
        {
            for cut in [0, 1, 4, body.len()] {
                let upstream = cut_at(&head, body.as_bytes(), cut).await;
                let (got, end, _) = relayed(&upstream, path, StreamForm::Sse).await;
                assert_eq!(
                    (String::from_utf8(got).unwrap(), end),
                    (body.to_owned(), End::Complete),
                    "{path}"
                );
            }
            let coded = gzipped(body);
            let upstream = cut_at(&format!("{head}\r\nContent-Encoding: gzip"), &coded, 3).await;
            let (got, ..) = relayed(&upstream, path, StreamForm::Sse).await;
            assert_eq!(got, coded, "{path} in gzip");
        }
        // It is read as such, too.
        let error = google_error(429, "spent");
        for (path, body) in [(GENERATE, error.clone()), (STREAM, format!("data: {error}\n\n"))] {
            let failed = failed(&cut_at(&head, body.as_bytes(), 16).await, &job("POST", path)).await;
            assert_eq!(
                (failed.status.unwrap().as_u16(), failed.fault.kind),
                (429, Kind::QuotaBare),
                "{body}"
            );
        }
        for other in ["<p>{}", "log in", "", "   ", "date: today"] {
            let failed = failed(&answering(&head, other).await, &job("POST", GENERATE)).await;
            assert_eq!(failed.fault, Fault::not_google(), "{other:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_broken_from_the_start_is_lost_and_no_answer() {
    let head = format!("HTTP/1.1 {JSON}\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (body, begins) in [("no size\r\n", false), ("2\r\n{}\r\nno size\r\n", true)] {
        let script = Script { writes: vec![format!("{head}{body}").into_bytes()], stays: true };
        let upstream = Upstream::new(settings(&serve(script).await)).unwrap();
        for (method, path) in [("POST", GENERATE), ("GET", "/v1beta/files/abc:download?alt=media")] {
            match open(&upstream, &job(method, path)).await {
                Err(failed) => {
                    assert_eq!((failed.fault.kind, failed.status.unwrap().as_u16()), (Kind::BodyLost, 200));
                    assert!(!begins, "{path}");
                }
                // What has come passes, and so does the break.
                Ok(answer) => assert!(begins && answer.begun == "{}" && answer.rest.is_some(), "{path}"),
            }
        }
    }
}

#[tokio::test]
async fn what_speaks_of_the_request_passes_as_it_came_whoever_says_it() {
    for status in ["400 Bad Request", "404 Not Found", "413 Content Too Large", "405 Method Not Allowed"] {
        let upstream = answering(&format!("{status}\r\nContent-Type: text/html"), "<p>no").await;
        let failed = failed(&upstream, &job("POST", GENERATE)).await;
        assert_eq!(failed.fault.kind, Kind::Client, "{status}");
        assert_eq!(failed.answer.unwrap().body, "<p>no", "{status}");
    }
}

#[tokio::test]
async fn googles_errors_pass_in_all_their_forms() {
    let object = google_error(429, "m");
    let worded = r#"{"error":{"code":"rate_limit_exceeded","message":"m"}}"#.to_owned();
    for body in [object.clone(), format!("[{object}]"), worded] {
        let upstream = answering("429 Too Many Requests\r\nContent-Type: application/json", &body).await;
        let failed = failed(&upstream, &job("POST", GENERATE)).await;
        assert_eq!(failed.fault.kind, Kind::QuotaBare, "{body}");
        assert_eq!(failed.answer.unwrap().body, body);
    }
}

#[tokio::test]
async fn a_head_request_has_no_body_to_tell_google_by() {
    let upstream = answering("403 Forbidden\r\nContent-Type: application/json", "").await;
    let failed = failed(&upstream, &job("HEAD", "/v1beta/models")).await;
    assert_eq!(failed.fault.kind, Kind::Forbidden);
}

#[tokio::test]
async fn a_page_can_be_what_is_downloaded() {
    let upstream = answering("200 OK\r\nContent-Type: text/html", "<p>mine").await;
    let answer = open(&upstream, &job("GET", "/v1beta/files/abc:download?alt=media")).await;
    assert_eq!(answer.unwrap().begun, "<p>mine");
    let upstream = answering("200 OK\r\nContent-Type: text/plain\r\nX-Goog-Upload-Status: active", "").await;
    assert!(open(&upstream, &job("POST", "/upload/v1beta/files")).await.is_ok());
}

#[tokio::test]
async fn how_far_an_upload_has_come_is_an_answer() {
    let upload = job("PUT", "/upload/v1beta/files?uploadType=resumable&upload_id=u-1");
    for range in ["Range: bytes=0-4\r\n", ""] {
        let upstream = answering(&format!("308 Resume Incomplete\r\n{range}X-Other: 1"), "").await;
        let answer = open(&upstream, &upload).await.expect("an answer");
        assert_eq!((answer.status.as_u16(), answer.length), (308, Some(0)));
        let came = answer.headers.get("range").map(|range| range.to_str().unwrap());
        assert_eq!(came, (!range.is_empty()).then_some("bytes=0-4"));
        assert!(answer.rest.is_none());
        // Nowhere else does a 308 say anything but where to go.
        assert_eq!(failed(&upstream, &job("POST", GENERATE)).await.fault, Fault::not_google());
    }
    for elsewhere in ["301 Moved", "302 Found", "308 Permanent Redirect\r\nLocation: http://portal.example/"]
    {
        let upstream = answering(elsewhere, "").await;
        assert_eq!(failed(&upstream, &upload).await.fault, Fault::not_google(), "{elsewhere}");
    }
}

#[tokio::test]
async fn an_error_answer_that_breaks_off_keeps_its_status_and_what_came() {
    let whole = google_error(429, "spent");
    let gzip = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.flush().unwrap();
        encoder.get_ref().clone()
    };
    let usual = "Resource has been exhausted (e.g. check quota).";
    let coded = "Content-Encoding: gzip\r\n";
    for (coding, came, told) in [
        ("", b"{\"error\":".to_vec(), usual),
        ("", Vec::new(), usual),
        ("", whole.clone().into_bytes(), &*whole),
        ("", whole.as_bytes()[..whole.len() - 4].to_vec(), &whole[..whole.len() - 4]),
        (coded, gzip(&whole), &*whole),
        (coded, gzip("{\"err"), usual),
        (coded, b"\x1f\x8b".to_vec(), usual),
        ("Content-Encoding: br\r\n", b"whatever".to_vec(), usual),
    ] {
        let mut bytes = format!(
            "HTTP/1.1 429 Too Many Requests\r\n{coding}Content-Type: application/json\r\nContent-Length: 500\r\n\r\n"
        )
        .into_bytes();
        bytes.extend(&came);
        let script = Script { writes: vec![bytes], stays: false };
        let upstream = Upstream::new(settings(&serve(script).await)).unwrap();
        let failed = failed(&upstream, &job("POST", GENERATE)).await;
        assert_eq!((failed.status.unwrap().as_u16(), failed.fault.kind), (429, Kind::QuotaBare), "{told}");
        let answer = failed.answer.unwrap();
        let body = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(body.contains(told), "{body}");
        assert!(!answer.headers.contains_key("content-encoding"), "{told}");
    }
}

#[tokio::test]
async fn an_error_in_a_coding_that_was_not_asked_for_is_told_in_googles_usual_words() {
    for coding in ["br", "zstd", "deflate", "gzip, br"] {
        let head = format!("403 Forbidden\r\nContent-Type: application/json\r\nContent-Encoding: {coding}");
        let upstream = answering(&head, SECRET).await;
        let failed = failed(&upstream, &job("POST", "/v1beta/openai/chat/completions")).await;
        let body = String::from_utf8(failed.answer.unwrap().body.to_vec()).unwrap();
        assert!(body.contains("The caller does not have permission."), "{body}");
        assert!(body.contains("\"type\""), "in OpenAI's form: {body}");
    }
}

#[tokio::test]
async fn an_error_body_has_ten_seconds_stalled_or_dripping() {
    for drips in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream =
            Upstream::new(settings(&format!("http://{}", listener.local_addr().unwrap()))).unwrap();
        let (written, mut begun) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            crate::upstream::scripted::request(&mut stream).await.unwrap();
            let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n";
            stream.write_all(format!("{head}{}", google_error(503, "overloaded")).as_bytes()).await.unwrap();
            let _ = written.send(());
            loop {
                tokio::time::sleep(Duration::from_secs(3)).await;
                if drips && stream.write_all(b" ").await.is_err() {
                    return;
                }
            }
        });
        let job = job("POST", GENERATE);
        let failing = failed(&upstream, &job);
        tokio::pin!(failing);
        let mut is_paused = false;
        let begun_at = loop {
            tokio::select! {
                failed = &mut failing => panic!("too soon: {:?}", failed.fault),
                _ = &mut begun, if !is_paused => is_paused = true,
                () = tokio::time::sleep(Duration::from_millis(50)), if is_paused => {
                    tokio::time::pause(); // what came has been read
                    break tokio::time::Instant::now();
                }
            }
        };
        let failed = failing.await;
        let took = begun_at.elapsed();
        assert!(took > Duration::from_secs(9) && took < Duration::from_secs(11), "{took:?}");
        assert_eq!((failed.status.unwrap().as_u16(), failed.fault.kind), (503, Kind::Overloaded));
        assert!(String::from_utf8_lossy(&failed.answer.unwrap().body).contains("overloaded"));
        tokio::time::resume();
    }
}

#[tokio::test]
async fn what_http2_says_was_not_processed_is_not_done() {
    const NO_ERROR: u32 = 0;
    const INTERNAL_ERROR: u32 = 2;
    const REFUSED_STREAM: u32 = 7;
    const ENHANCE_YOUR_CALM: u32 = 11;
    for (end, kind) in [
        (Http2End::GoAway { last_stream: 0, code: NO_ERROR }, Kind::NotDone),
        (Http2End::GoAway { last_stream: 0, code: ENHANCE_YOUR_CALM }, Kind::NotDone),
        (Http2End::GoAway { last_stream: 0, code: INTERNAL_ERROR }, Kind::NotDone),
        (Http2End::Reset { code: REFUSED_STREAM }, Kind::NotDone),
        (Http2End::Reset { code: INTERNAL_ERROR }, Kind::HeadLost),
        (Http2End::Reset { code: ENHANCE_YOUR_CALM }, Kind::HeadLost),
        (Http2End::Close, Kind::HeadLost),
    ] {
        let upstream = ending(end).await;
        for path in [GENERATE, "/v1beta/batches"] {
            let failed = failed(&upstream, &job("POST", path)).await;
            assert_eq!(failed.fault.kind, kind, "{end:?} {path}");
            assert!(failed.answer.is_none());
        }
    }
}

#[tokio::test]
async fn a_connection_that_closed_while_it_was_idle_costs_nothing() {
    let script = Script { writes: vec![answer(JSON, "{}")], stays: false };
    let upstream = Upstream::new(settings(&serve(script).await)).unwrap();
    for _ in 0..5 {
        assert!(open(&upstream, &job("POST", "/v1beta/batches")).await.is_ok());
        // The upstream closes in a moment; what is sent before that has an unknown fate.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn no_connection_is_told_from_a_lost_one() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for base in [format!("http://{nobody}"), format!("https://{nobody}"), "http://nowhere.invalid".to_owned()]
    {
        let upstream = Upstream::new(settings(&base)).unwrap();
        let failed = failed(&upstream, &job("POST", GENERATE)).await;
        assert_eq!(
            (failed.fault.kind, failed.failure),
            (Kind::ConnectFailed, Failure::Unreachable),
            "{base}"
        );
    }
}

#[tokio::test]
async fn nothing_is_added_to_what_a_client_says() {
    static SEEN: Mutex<String> = Mutex::new(String::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Upstream::new(settings(&format!("http://{}", listener.local_addr().unwrap()))).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        *SEEN.lock().unwrap() = crate::upstream::scripted::request(&mut stream).await.unwrap();
        stream.write_all(&answer(JSON, "{}")).await.unwrap();
    });
    let mut job = job("POST", GENERATE);
    job.headers = headers::up(|| [("user-agent", &b"sdk/1"[..])].into_iter());
    assert!(open(&upstream, &job).await.is_ok());
    let mut names: Vec<String> = SEEN
        .lock()
        .unwrap()
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':').map(|(name, _)| name.to_owned()))
        .collect();
    names.sort();
    assert_eq!(names, ["content-length", "host", "user-agent", "x-goog-api-key"]);
}

/// All that a client gets of a stream.
async fn relayed(upstream: &Upstream, path: &str, form: StreamForm) -> (Vec<u8>, End, Observed) {
    let mut answer = open(upstream, &job("POST", path)).await.expect("a success");
    let mut got = answer.begun.to_vec();
    let Some(rest) = answer.rest else { return (got, End::Complete, answer.observer.end()) };
    let (sender, mut pieces) = mpsc::channel(relay::PIECES);
    let framing = relay::Framing { form: Some(form), coding: answer.coding };
    let tail = relay::Tail::of(&answer.begun);
    let relaying = relay::relay(
        rest,
        sender,
        Duration::from_secs(5),
        framing,
        tail,
        &mut answer.observer,
        std::future::pending(),
    );
    let reading = async {
        while let Some(piece) = pieces.recv().await {
            let (Piece::Chunk(bytes) | Piece::Last(bytes)) = piece;
            got.extend_from_slice(&bytes);
        }
    };
    let (relayed, ()) = tokio::join!(relaying, reading);
    (got, relayed.end, relayed.observed)
}

fn suspended() -> String {
    google_error(403, &format!("Consumer 'api_key:{SECRET}' has been suspended."))
}

#[tokio::test]
async fn a_late_error_comes_without_the_key_in_every_framing_wherever_it_is_cut() {
    let error = suspended();
    let pretty = error.replace("{\"error\":", "{\n  \"error\": ");
    for (path, form, first, rest) in [
        (STREAM, StreamForm::Sse, "data: {\"a\":1}\r\n\r\n", format!("data: {error}\r\n\r\n")),
        (STREAM, StreamForm::Sse, "data: {\"a\":1}\r\n\r\n", format!("{pretty}\n")),
        (ARRAY, StreamForm::JsonArray, "[{\"a\":1}", format!(",\r\n{pretty}]")),
        ("/v1beta/openai/chat/completions", StreamForm::OpenAi, "data: {}\n\n", format!("data: {error}\n\n")),
        (
            "/v1beta/interactions",
            StreamForm::Sse,
            "event: a\ndata: {}\n\n",
            format!("event: error\ndata: {error}\n\n"),
        ),
    ] {
        let at = rest.find(SECRET).unwrap();
        for cut in [0, 1, at, at + 1, at + SECRET.len() - 1, at + SECRET.len(), rest.len()] {
            let head = if path == ARRAY { JSON } else { EVENTS };
            let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", first.len() + rest.len());
            let writes = vec![
                format!("{head}{first}").into_bytes(),
                rest.as_bytes()[..cut].to_vec(),
                rest.as_bytes()[cut..].to_vec(),
            ];
            let upstream = Upstream::new(settings(&serve(Script { writes, stays: true }).await)).unwrap();
            let (got, end, observed) = relayed(&upstream, path, form).await;
            let text = String::from_utf8(got).unwrap();
            let stars = "*".repeat(SECRET.len());
            assert_eq!(text, format!("{first}{rest}").replace(SECRET, &stars), "{path} cut at {cut}");
            assert_eq!(end, End::Complete);
            assert_eq!(observed.late_error.unwrap().status, 403, "{path} cut at {cut}");
        }
    }
}

const CHAT: &str = "/v1beta/openai/chat/completions";
const MODEL: &str = "/v1beta/models/gemini-2.5-flash";

/// A body that comes in two writes, with a pause between.
async fn cut_at(head: &str, body: &[u8], cut: usize) -> Upstream {
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
    let writes = vec![[head.as_bytes(), &body[..cut]].concat(), body[cut..].to_vec()];
    Upstream::new(settings(&serve(Script { writes, stays: true }).await)).unwrap()
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_success_whose_document_is_an_error_is_that_error_wherever_it_is_cut() {
    let error = suspended();
    let pretty = error.replace("{\"error\":", "{\n  \"error\": ") + "\n";
    let openai =
        format!(r#"[{{"error":{{"message":"api_key:{SECRET}","code":403,"status":"PERMISSION_DENIED"}}}}]"#);
    for (path, body) in [(GENERATE, &error), (CHAT, &openai), (MODEL, &pretty), ("/v1beta/batches", &error)] {
        let method = if path == MODEL { "GET" } else { "POST" };
        // The head comes with some of the body, of which the first bytes may be too few to tell.
        for cut in [body.len(), body.find(SECRET).unwrap() + 4, 16] {
            let upstream = cut_at(JSON, body.as_bytes(), cut).await;
            let failed = failed(&upstream, &job(method, path)).await;
            assert_eq!(failed.status.unwrap().as_u16(), 403, "{path} cut at {cut}");
            assert_ne!(failed.fault.kind, Kind::Client, "{path} cut at {cut}");
            let answer = failed.answer.unwrap();
            assert_eq!(answer.body, body.replace(SECRET, "***"), "{path} cut at {cut}");
            assert!(!answer.headers.contains_key("content-length"));
        }
        let coded = gzipped(body);
        let upstream = cut_at(&format!("{JSON}\r\nContent-Encoding: gzip"), &coded, coded.len()).await;
        let answer = failed(&upstream, &job(method, path)).await.answer.unwrap();
        assert_eq!(answer.body, body.replace(SECRET, "***"), "{path} in gzip");
        assert!(!answer.headers.contains_key("content-encoding"));
    }
}

#[tokio::test]
async fn an_error_that_comes_after_its_head_has_gone_comes_without_the_key() {
    let error = suspended();
    for cut in [0, 1, 5] {
        let upstream = cut_at(JSON, error.as_bytes(), cut).await;
        let (got, end, observed) = relayed(&upstream, GENERATE, StreamForm::Sse).await;
        let stars = "*".repeat(SECRET.len());
        assert_eq!(String::from_utf8(got).unwrap(), error.replace(SECRET, &stars), "cut at {cut}");
        assert_eq!((end, observed.late_error.unwrap().status), (End::Complete, 403), "cut at {cut}");
    }
}

#[tokio::test]
async fn what_only_names_an_error_passes_as_it_came_but_for_the_key() {
    let quoted = format!(r#"{{"candidates":[{{"error":{{"message":"{SECRET}"}}}}]}}"#);
    let done = format!(r#"{{"name":"operations/1","done":true,"error":{{"message":"{SECRET}"}}}}"#);
    let null = format!(r#"{{"error":null,"text":"{SECRET}"}}"#);
    let file = suspended();
    for (method, path, body) in [
        ("POST", GENERATE, &quoted),
        ("GET", "/v1beta/operations/1", &done),
        ("POST", CHAT, &null),
        ("GET", "/v1beta/files/abc:download?alt=media", &file),
    ] {
        let upstream = cut_at(JSON, body.as_bytes(), body.len()).await;
        let answer = open(&upstream, &job(method, path)).await.expect("a success");
        let struck = body.replace(SECRET, &"*".repeat(SECRET.len()));
        assert_eq!(answer.begun, struck, "{path}");
        let other = body.replace(SECRET, "AIzaOther-1_2");
        let upstream = cut_at(JSON, other.as_bytes(), other.len()).await;
        let answer = open(&upstream, &job(method, path)).await.expect("a success");
        assert_eq!(answer.begun, other, "{path}");
    }
}

#[tokio::test]
async fn a_late_error_that_hides_the_key_in_gzip_ends_the_stream() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut taken = 0;
    let mut coded = |text: &str| {
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.flush().unwrap();
        let new = encoder.get_ref()[taken..].to_vec();
        taken = encoder.get_ref().len();
        new
    };
    let error = suspended();
    let (one, other) = error.split_at(error.find(SECRET).unwrap() + 5);
    let head = format!("HTTP/1.1 {EVENTS}\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n");
    let first = coded("data: {\"a\":1}\n\n");
    let writes = vec![
        [head.into_bytes(), first.clone()].concat(),
        coded(&format!("data: {one}")),
        coded(&format!("{other}\n\n")),
    ];
    let upstream = Upstream::new(settings(&serve(Script { writes, stays: false }).await)).unwrap();
    let (got, end, observed) = relayed(&upstream, STREAM, StreamForm::Sse).await;
    assert_eq!((got, end), (first, End::UpstreamBroke));
    assert_eq!(observed.late_error.unwrap().status, 403);
}

#[tokio::test]
async fn what_keeps_a_stream_alive_comes_through_before_its_first_event() {
    let head = format!("HTTP/1.1 {EVENTS}\r\nConnection: close\r\n\r\n: ping\n\n");
    let script = Script { writes: vec![head.into_bytes()], stays: true };
    let upstream = Upstream::new(settings(&serve(script).await)).unwrap();
    let answer = open(&upstream, &job("POST", STREAM)).await.expect("a success");
    assert_eq!(answer.begun, ": ping\n\n");
    assert!(answer.rest.is_some());
}

#[tokio::test]
async fn a_key_check_believes_only_google() {
    let health = async |head: &str, body: &str| {
        let script = Script { writes: vec![answer(head, body)], stays: true };
        Prober::new(settings(&serve(script).await)).unwrap().ask(&key()).await
    };
    for body in [r#"{"models":[]}"#, r#"{"models":[{"name":"models/a"}],"nextPageToken":"t"}"#] {
        assert_eq!(health(JSON, body).await, KeyHealth::Well, "{body}");
    }
    for (head, body) in [
        ("200 OK\r\nContent-Type: text/html", "<p>log in"),
        (JSON, "{}"),
        (JSON, r#"{"models":"all"}"#),
        (JSON, r#"["models"]"#),
        ("204 No Content", ""),
        ("302 Found\r\nLocation: http://portal.example/", ""),
        ("403 Forbidden\r\nContent-Type: text/html", "<p>no"),
        ("502 Bad Gateway", ""),
    ] {
        let status = head[..3].parse().unwrap();
        assert_eq!(health(head, body).await, KeyHealth::NotGoogle { status }, "{head} {body}");
    }
    let invalid = google_error(400, "API key not valid. Please pass a valid API key.");
    let unwell = KeyHealth::Unwell { status: 400, fault: Kind::KeyInvalid, project: None };
    assert_eq!(health("400 Bad Request", &invalid).await, unwell);
}
