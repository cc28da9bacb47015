//! Requests that mean to be read in two ways: whatever they are, the upstream sees no request but the one that was
//! meant, on its own authority, and the client is told what is wrong in its own dialect.

use crate::{
    ambiguous::{
        DOUBLED_SLASHES, Framing, PATH, RAW_TARGETS, TARGETS, framings, heads_that_lead_elsewhere,
        with_bare_line_feeds,
    },
    raw,
    support::{Options, TOKEN, arrived, bearer, client, prompt, secret, simulator},
};
use gemini_simulator::{Fault, KeyState, Rule, Simulator};
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long a silent connection is listened to: requests here are answered within milliseconds or never.
const SILENCE: Duration = Duration::from_secs(1);

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\nconnection: close\r\n\r\n").into()
}

/// That this is the gateway's own error in the native format (or OpenAI's), well-formed and helpful.
fn check_error(status: u16, head_and_body: (Option<&str>, &[u8]), openai: bool) {
    let (kind, body) = head_and_body;
    assert!(kind.is_some_and(|kind| kind.starts_with("application/json")), "{kind:?}");
    let answer: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    let error = answer["error"].as_object().unwrap();
    if openai {
        let members = ["message", "type", "param", "code"];
        assert!(error.len() == 4 && members.iter().all(|name| error.contains_key(*name)), "{answer}");
    } else {
        assert_eq!(error["code"], status, "{answer}");
        let word = error["status"].as_str().unwrap();
        assert!(word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{answer}");
    }
    let message = error["message"].as_str().unwrap();
    let advice = ["send", "try again", "ask", "Served are", "remove", "encode", "operator", "wait"];
    assert!(advice.iter().any(|words| message.contains(words)), "says not what to do: {message}");
    assert!(!message.contains(TOKEN) && !message.contains("Canary"));
}

fn check_raw_error(answer: &raw::Answer, status: u16, openai: bool, what: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert!(answer.header("x-request-id").is_some(), "{what}");
    check_error(status, (answer.header("content-type"), &answer.body), openai);
}

/// The paths (and queries) that have reached the upstream since the last call.
fn seen(simulator: &Simulator) -> Vec<String> {
    let requests = simulator.requests();
    simulator.reset();
    let target =
        |path: &str, query: Option<&str>| query.map_or(path.to_owned(), |query| format!("{path}?{query}"));
    requests.iter().map(|request| target(&request.path, request.query.as_deref())).collect()
}

#[tokio::test]
async fn a_path_that_could_mean_another_one_is_refused() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    for &(target, status) in TARGETS {
        let answers = raw::converse(gateway.authority(), &get(target), SILENCE);
        assert_eq!(answers.len(), 1, "{target}: {answers:?}");
        let openai = target.contains("openai");
        check_raw_error(&answers[0], status, openai, target);
        assert_eq!(seen(&simulator), [""; 0], "{target}");
    }
}

#[tokio::test]
async fn bytes_that_no_target_may_hold_are_refused() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    for &target in RAW_TARGETS {
        let mut request = b"GET ".to_vec();
        request.extend_from_slice(target);
        request.extend_from_slice(
            format!(" HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        );
        let answers = raw::converse(gateway.authority(), &request, SILENCE);
        let what = String::from_utf8_lossy(target);
        let requests = simulator.requests();
        for request in &requests {
            assert_eq!(request.header("x-evil"), None);
        }
        let seen = seen(&simulator);
        if seen.is_empty() {
            assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [400], "{what}");
        } else {
            // A fragment is no part of what is asked for.
            assert!(what.contains('#') && seen == ["/v1beta/models"], "{what}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn doubled_slashes_are_folded() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    for &(target, path) in DOUBLED_SLASHES {
        let answers = raw::converse(gateway.authority(), &get(target), SILENCE);
        assert_eq!((answers.len(), answers[0].status), (1, 200), "{target}");
        assert_eq!(seen(&simulator), [path], "{target}");
    }
}

#[tokio::test]
async fn no_request_target_or_host_chooses_where_a_request_goes() {
    let canary = raw::Upstream::start("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let elsewhere = canary.authority();
    let own = gateway.authority();
    for head in heads_that_lead_elsewhere(own, elsewhere) {
        let request = format!("{head}x-goog-api-key: {TOKEN}\r\nconnection: close\r\n\r\n");
        let answers = raw::converse(gateway.authority(), request.as_bytes(), SILENCE);
        assert_eq!(answers.len(), 1, "{head}: {answers:?}");
        let requests = simulator.requests();
        for request in &requests {
            assert_eq!(request.header("host"), Some(simulator.addr().to_string().as_str()), "{head}");
            assert_eq!(request.key, Some(secret(0)));
        }
        if answers[0].status == 200 {
            assert_eq!(seen(&simulator), ["/v1beta/models"], "{head}");
        } else {
            assert!(matches!(answers[0].status, 400 | 404 | 405), "{head}: {answers:?}");
            assert_eq!(seen(&simulator), [""; 0], "{head}");
        }
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn no_request_is_smuggled_past_the_framing_of_another() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let smuggled =
        format!("GET /v1beta/models?smuggled=1 HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\n\r\n");
    let start = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\n");
    for Framing { name, bytes, is_malformed } in framings() {
        // Behind a malformed request comes one that only a second reading of it would find.
        let (last, behind) =
            if is_malformed { ("", smuggled.as_str()) } else { ("connection: close\r\n", "") };
        let request = format!("{start}{last}{bytes}{behind}");
        let answers = raw::converse(gateway.authority(), request.as_bytes(), SILENCE);
        let seen = seen(&simulator);
        if is_malformed {
            assert_eq!(seen, [""; 0], "{name}: {answers:?}");
            assert!(answers.len() <= 1, "{name}: {answers:?}");
            for answer in answers {
                assert!(matches!(answer.status, 400 | 413 | 501), "{name}: {answer:?}");
            }
        } else {
            assert_eq!(seen, [PATH], "{name}");
            assert_eq!((answers.len(), answers[0].status), (1, 200), "{name}");
        }
    }
}

#[tokio::test]
async fn lines_that_end_in_a_bare_line_feed_mean_the_same_request_or_none() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let request = String::from_utf8(get("/v1beta/models")).unwrap();
    for request in with_bare_line_feeds(&request) {
        let answers = raw::converse(gateway.authority(), request.as_bytes(), SILENCE);
        let seen = seen(&simulator);
        match answers.as_slice() {
            [] => assert!(seen.is_empty()),
            [answer] if answer.status == 200 => assert_eq!(seen, ["/v1beta/models"]),
            [answer] => assert!(answer.status == 400 && seen.is_empty(), "{answer:?}"),
            more => panic!("{more:?}"),
        }
    }
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_their_order() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let one = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\n\r\n");
    let last = String::from_utf8(get("/v1beta/models/gemini-2.5-pro")).unwrap();
    let requests =
        [one("/v1beta/models/gemini-2.5-flash"), one("/v1beta/a%2fb"), one("/v1beta/models"), last].concat();
    let answers = raw::converse(gateway.authority(), requests.as_bytes(), SILENCE);
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 400, 200, 200]);
    assert!(answers.iter().all(|answer| answer.whole));
    let expected = ["/v1beta/models/gemini-2.5-flash", "/v1beta/models", "/v1beta/models/gemini-2.5-pro"];
    assert_eq!(seen(&simulator), expected);
}

/// actix-http reads the second one before it answers the first.
#[tokio::test]
async fn each_of_two_requests_at_once_is_answered_on_its_own_terms() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let models = "/v1beta/models/gemini-2.5-flash";
    let request = |start: &str, lines: &str| {
        format!("{start} {models} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\n{lines}\r\n")
    };
    let converse =
        |requests: [String; 2]| raw::converse(gateway.authority(), requests.concat().as_bytes(), SILENCE);
    // An answer without a body behind it.
    let answers = converse([request("GET", ""), request("HEAD", "connection: close\r\n")]);
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert!(answers[0].whole && !answers[0].body.is_empty(), "{answers:?}");
    assert_eq!(answers[0].header("connection"), None);
    assert!(answers[1].body.is_empty() && answers[1].header("connection") == Some("close"), "{answers:?}");
    // The end of the connection, in each version's way. What comes behind is not looked at (RFC 9112 §9.6).
    let before_1_1 = request("GET", "").replace("HTTP/1.1", "HTTP/1.0");
    for last in [request("GET", "connection: close\r\n"), before_1_1.clone()] {
        seen(&simulator);
        let begun = Instant::now();
        let answers = converse([last, request("GET", "")]);
        assert_eq!((answers.len(), answers[0].status), (1, 200), "{answers:?}");
        assert!(begun.elapsed() < SILENCE, "it stayed open");
        assert_eq!(seen(&simulator), [models]);
    }
    let connect = format!("CONNECT {models} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\n");
    for body in ["content-length: 3\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n0\r\n\r\n", "\r\n"] {
        let answers = converse([format!("{connect}{body}"), request("GET", "")]);
        assert_eq!((answers.len(), answers[0].status), (1, 405), "{body:?}: {answers:?}");
        assert_eq!(seen(&simulator), [""; 0], "{body:?}");
    }
    // The version.
    let answers = converse([request("GET", ""), before_1_1]);
    assert!(answers[0].head.starts_with("HTTP/1.1 "), "{answers:?}");
    // What cannot be read, in pieces and at once.
    for behind in ["nonsense\r\n\r\n", "\0"] {
        let answers = converse([request("GET", ""), behind.to_owned()]);
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200, 400], "{behind:?}");
    }
    // More of them than are read at once, of which each piece is a few bytes.
    let many = 40;
    let one = format!("{}{}", request("POST", "content-length: 0\r\n"), request("GET", ""));
    let mut connection = raw::Connection::open(gateway.authority());
    for piece in one.repeat(many / 2).as_bytes().chunks(7) {
        connection.send(piece);
    }
    for _ in 0..many {
        assert!(connection.answer_or_end().whole);
    }
}

#[tokio::test]
async fn a_head_beyond_all_measure_is_refused() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let credential = format!("x-goog-api-key: {TOKEN}\r\n");
    let long = "x".repeat(300 * 1024);
    let many: String = (0..300).map(|n| format!("x-{n}: {n}\r\n")).collect();
    for (target, lines) in [
        ("/v1beta/models".to_owned(), format!("{credential}x-long: {long}\r\n")),
        ("/v1beta/models".to_owned(), format!("{credential}{many}")),
        (format!("/v1beta/models?{long}"), credential.clone()),
        (format!("/v1beta/models?{}", &long[..70_000]), credential.clone()),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\n{lines}connection: close\r\n\r\n");
        let answers = raw::converse(gateway.authority(), request.as_bytes(), SILENCE);
        assert!(answers.len() <= 1);
        for answer in answers {
            assert!(matches!(answer.status, 400 | 413 | 414 | 431), "{answer:?}");
        }
        assert_eq!(seen(&simulator), [""; 0]);
    }
    for (openai, root) in [(false, "/v1beta/models"), (true, "/v1beta/openai/models")] {
        let answers = raw::converse(gateway.authority(), &get(&format!("{root}?{}", &long[..9000])), SILENCE);
        check_raw_error(&answers[0], 400, openai, root);
    }
    assert_eq!(seen(&simulator), [""; 0]);
    // What is long and within measure passes.
    let lines = format!("{credential}x-long: {}\r\nconnection: close\r\n", &long[..30_000]);
    let request = format!("GET /v1beta/models?{} HTTP/1.1\r\nhost: x\r\n{lines}\r\n", &long[..8000]);
    let answers = raw::converse(gateway.authority(), request.as_bytes(), SILENCE);
    assert_eq!(answers[0].status, 200);
    assert_eq!(arrived(&simulator, 1)[0].header("x-long").unwrap().len(), 30_000);
}

#[tokio::test]
async fn every_error_of_the_gateways_own_speaks_the_callers_dialect_and_says_what_to_do() {
    let simulator = simulator(1).await;
    let options = Options::new(&simulator.url(), 1).set("server.max_body_bytes", 1000);
    let gateway = options.set("upstream.head_timeout_s", 1).set("pool.failure_threshold", 1000).start();
    let native = "/v1beta/models/gemini-2.5-flash:generateContent";
    let long = prompt(&"x".repeat(2000));
    let short = prompt("x");
    let bare = || reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
    drop(client()); // for the TLS provider
    for openai in [false, true] {
        let path = if openai { "/v1/chat/completions" } else { native };
        let known = || if openai { bearer() } else { client() };
        let post = |client: reqwest::Client, path: &str, body: &str| {
            client.post(gateway.url(path)).body(body.to_owned())
        };
        let bad_path = if openai { "/openai/v1/a%2fb" } else { "/v1beta/a%2fb" };
        let stranger = if openai { ("authorization", "Bearer nobody") } else { ("x-goog-api-key", "nobody") };
        for (request, fault, status) in [
            (post(bare(), path, &short), None, 401),
            (post(bare(), path, &short).header(stranger.0, stranger.1), None, 401),
            (post(known(), bad_path, &short), None, 400),
            (post(known(), "/nothing/here", &short), None, 404),
            (post(known(), path, &long), None, 413),
            (post(known(), path, &short), Some(Fault::ResetHead), 502),
            (post(known(), path, &short), Some(Fault::StallHead), 504),
        ] {
            simulator.set_faults(fault.into_iter().map(Rule::new));
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), status, "{path}");
            assert!(response.headers().contains_key("x-request-id"));
            assert_eq!(response.headers().contains_key("www-authenticate"), status == 401);
            let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
            let body = response.bytes().await.unwrap();
            check_error(status, (Some(&kind), &body), openai);
        }
    }
    simulator.set_faults([]);
    simulator.set_key_state(&secret(0), KeyState::Leaked);
    client().post(gateway.url(native)).body(short.clone()).send().await.unwrap();
    for (client, path, openai) in [(client(), native, false), (bearer(), "/v1/embeddings", true)] {
        let response = client.post(gateway.url(path)).body(short.clone()).send().await.unwrap();
        assert_eq!(response.status(), 503);
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        check_error(503, (Some(&kind), &response.bytes().await.unwrap()), openai);
    }
}
