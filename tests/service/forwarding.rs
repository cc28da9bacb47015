//! What is forwarded arrives as it was sent, and comes back as it was answered.

use crate::{
    raw,
    support::{Options, TOKEN, arrived, bearer, chat, client, prompt, sha256, simulator},
};
use gemini_simulator::{Fault, LoggedRequest, Rule, Shape, Simulator};
use reqwest::{Client, Method, Response};
use serde_json::json;

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";
const SSE: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
const EMBED: &str = "/v1beta/models/gemini-embedding-001:embedContent";
const BATCH_EMBED: &str = "/v1beta/models/gemini-embedding-001:batchEmbedContents";
const PREDICT: &str = "/v1beta/models/imagen-4.0-generate-001:predict";
const COUNT: &str = "/v1alpha/models/gemini-2.5-flash:countTokens";
const CHAT: &str = "/v1beta/openai/chat/completions";

async fn post(client: &Client, url: String, body: impl Into<reqwest::Body>) -> Response {
    client.post(url).header("content-type", "application/json").body(body).send().await.unwrap()
}

/// The one request since the last call, ended.
fn only(simulator: &Simulator) -> LoggedRequest {
    let request = arrived(simulator, 1).remove(0);
    simulator.reset();
    request
}

/// Every operation that the simulator has an answer for: the path, a body, the path upstream.
fn operations() -> Vec<(&'static str, String, &'static str)> {
    let native = || prompt("\\u00fcber  das Wetter \u{1f980}");
    let embed = r#"{"content" : {"parts":[{"text":"e"}]},"outputDimensionality":128}"#;
    let batch =
        r#"{"requests":[{"model":"models/gemini-embedding-001","content":{"parts":[{"text":"e"}]}}]}"#;
    vec![
        (GENERATE, native(), GENERATE),
        (STREAM, native(), STREAM),
        (SSE, native(), STREAM),
        (COUNT, native(), COUNT),
        (EMBED, embed.to_owned(), EMBED),
        (BATCH_EMBED, batch.to_owned(), BATCH_EMBED),
        (PREDICT, r#"{"instances":[{"prompt":"a cat"}] }"#.to_owned(), PREDICT),
        (CHAT, chat("hello  there", false), CHAT),
        ("/v1/chat/completions", chat("hello", true), CHAT),
        ("/openai/v1/chat/completions", chat("hello", false), CHAT),
        (
            "/v1/embeddings",
            r#"{"model":"gemini-embedding-001","input":"x" }"#.to_owned(),
            "/v1beta/openai/embeddings",
        ),
        (
            "/v1/images/generations",
            r#"{"model":"imagen-4.0-generate-001","prompt":"x"  }"#.to_owned(),
            "/v1beta/openai/images/generations",
        ),
    ]
}

#[tokio::test]
async fn both_dialects_pass_byte_for_byte_streamed_and_not_compressed_and_not() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).start();
    for (path, body, upstream) in operations() {
        for coding in [None, Some("gzip"), Some("gzip, deflate;q=0.5")] {
            let client = if path.contains("/v1/") { bearer() } else { client() };
            let mut request = client.post(gateway.url(path)).header("content-type", "application/json");
            if let Some(coding) = coding {
                request = request.header("accept-encoding", coding);
            }
            let response = request.body(body.clone()).send().await.unwrap();
            assert_eq!(response.status(), 200, "{path}");
            let compressed =
                response.headers().get("content-encoding").map(|coding| coding.as_bytes().to_vec());
            let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
            let answer = response.bytes().await.unwrap();
            let arrived = only(&simulator);
            assert_eq!(arrived.path, upstream);
            assert_eq!(arrived.body_sha256, Some(sha256(body.as_bytes())), "{path}");
            assert_eq!(arrived.answer_sha256, Some(sha256(&answer)), "{path} {coding:?}");
            // No coding is asked for that cannot be looked through.
            assert_eq!(arrived.header("accept-encoding"), coding.map(|_| "gzip"), "{path}");
            assert_eq!(compressed.as_deref(), coding.map(|_| &b"gzip"[..]), "{path}");
            assert_eq!(answer.starts_with(b"\x1f\x8b"), coding.is_some(), "{path}");
            let is_event_stream = path == SSE || body.contains("\"stream\":true");
            assert_eq!(kind == "text/event-stream", is_event_stream, "{path}: {kind}");
        }
    }
}

/// What Google's API has natively beside what the simulator answers: methods and the path under a version.
const NATIVE: &[(&str, &str)] = &[
    ("GET", "models"),
    ("GET", "models/gemini-2.5-flash"),
    ("POST", "models/gemini-2.5-flash:generateContent"),
    ("POST", "models/gemini-2.5-flash:streamGenerateContent"),
    ("POST", "models/gemini-2.5-flash:countTokens"),
    ("POST", "models/gemini-2.5-flash:embedContent"),
    ("POST", "models/gemini-2.5-flash:batchEmbedContents"),
    ("POST", "models/gemini-2.5-flash:predict"),
    ("POST", "models/veo-3.0-generate-001:predictLongRunning"),
    ("POST", "models/gemini-2.5-flash:batchGenerateContent"),
    ("POST", "models/gemini-embedding-001:asyncBatchEmbedContent"),
    ("POST", "models/aqa:generateAnswer"),
    ("POST", "models/text-bison-001:generateText"),
    ("POST", "models/chat-bison-001:generateMessage"),
    ("POST", "models/embedding-gecko-001:embedText"),
    ("POST", "models/embedding-gecko-001:batchEmbedText"),
    ("POST", "models/text-bison-001:countTextTokens"),
    ("POST", "models/chat-bison-001:countMessageTokens"),
    ("GET", "models/veo-3.0-generate-001/operations"),
    ("GET", "models/veo-3.0-generate-001/operations/abc"),
    ("POST", "dynamic/some-id:generateContent"),
    ("POST", "dynamic/some-id:streamGenerateContent"),
    ("GET", "files"),
    ("POST", "files"),
    ("GET", "files/abc"),
    ("DELETE", "files/abc"),
    ("GET", "files/abc:download"),
    ("POST", "files:register"),
    ("GET", "generatedFiles"),
    ("GET", "generatedFiles/a/operations/b"),
    ("GET", "cachedContents"),
    ("POST", "cachedContents"),
    ("PATCH", "cachedContents/abc"),
    ("DELETE", "cachedContents/abc"),
    ("GET", "batches"),
    ("POST", "batches/abc:cancel"),
    ("PATCH", "batches/abc:updateGenerateContentBatch"),
    ("POST", "fileSearchStores"),
    ("POST", "fileSearchStores/a:importFile"),
    ("DELETE", "fileSearchStores/a/documents/d"),
    ("GET", "fileSearchStores/a/upload/operations/o"),
    ("GET", "fileSearchStores/a/media/m"),
    ("POST", "tunedModels"),
    ("POST", "tunedModels/t:generateContent"),
    ("POST", "corpora/c/permissions"),
    ("POST", "interactions"),
    ("GET", "interactions/i"),
    ("POST", "interactions/i/cancel"),
    ("GET", "agents"),
    ("POST", "triggers/t/executions"),
    ("POST", "webhooks/w:rotateSigningSecret"),
    ("GET", "voices/v"),
    ("PUT", "environments/e/files/dir/a.b:c.txt"),
    ("POST", "environments:create"),
    ("POST", "decisions"),
    ("POST", "auth_tokens"),
    ("PUT", "things/yet/to:come"),
    ("HEAD", "models"),
    ("OPTIONS", "models"),
    ("REPORT", "models"),
];

#[tokio::test]
async fn every_native_path_reaches_the_same_path_upstream_under_every_version() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).seeing_all().start();
    let client = client();
    for version in ["v1", "v1beta", "v1alpha", "v2", "v1main7"] {
        for (method, path) in NATIVE {
            let path = format!("/{version}/{path}");
            let body = if matches!(*method, "GET" | "HEAD" | "OPTIONS") { "" } else { r#"{"x" : 1}"# };
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let request = client.request(method.clone(), gateway.url(&path)).body(body);
            let response = request.send().await.unwrap();
            let status = response.status();
            let answer = response.bytes().await.unwrap();
            let arrived = only(&simulator);
            assert_eq!((arrived.method.as_str(), arrived.path.as_str()), (method.as_str(), path.as_str()));
            assert_eq!(arrived.status, Some(status.as_u16()), "{method} {path}");
            assert_eq!(arrived.body_sha256, Some(sha256(body.as_bytes())), "{method} {path}");
            assert_eq!(arrived.answer_sha256, Some(sha256(&answer)), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn paths_outside_the_versions_reach_the_same_path_upstream() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    for (method, path, upstream) in [
        ("POST", "/upload/v1beta/files", "/upload/v1beta/files"),
        (
            "POST",
            "/upload/v1/fileSearchStores/s:uploadToFileSearchStore",
            "/upload/v1/fileSearchStores/s:uploadToFileSearchStore",
        ),
        ("PUT", "/upload/v1alpha/environments/e/files/a/b", "/upload/v1alpha/environments/e/files/a/b"),
        // What the JavaScript SDK up to 1.34 made of a base URL.
        ("POST", "/v1beta/upload/v1beta/files", "/upload/v1beta/files"),
        ("GET", "/download/v1beta/files/abc:download?alt=media", "/download/v1beta/files/abc:download"),
        ("GET", "/$discovery/rest?version=v1beta", "/$discovery/rest"),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let response = client().request(method, gateway.url(path)).send().await.unwrap();
        let arrived = only(&simulator);
        assert_eq!(arrived.path, upstream);
        assert_eq!(arrived.status, Some(response.status().as_u16()), "{path}");
        assert_eq!(arrived.query.as_deref(), path.split_once('?').map(|(_, query)| query), "{path}");
    }
}

/// Google's OpenAI layer, with what it does not have (yet).
const OPENAI: &[(&str, &str)] = &[
    ("POST", "chat/completions"),
    ("POST", "embeddings"),
    ("GET", "models"),
    ("GET", "models/gemini-2.5-flash"),
    ("GET", "models/models/gemini-2.5-flash"),
    ("POST", "images/generations"),
    ("POST", "images/edits"),
    ("POST", "videos"),
    ("GET", "videos/v-1"),
    ("POST", "batches"),
    ("GET", "batches"),
    ("GET", "batches/b-1"),
    ("POST", "batches/b-1/cancel"),
    ("POST", "audio/speech"),
    ("POST", "audio/transcriptions"),
    ("GET", "files"),
    ("DELETE", "files/f-1"),
];

#[tokio::test]
async fn every_openai_path_reaches_the_openai_layer_from_every_root() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).seeing_all().start();
    let client = bearer();
    for (root, upstream) in [
        ("/v1/", "/v1beta/openai/"),
        ("/v1beta/openai/", "/v1beta/openai/"),
        ("/openai/v1/", "/v1beta/openai/"),
        ("/openai/", "/v1beta/openai/"),
        ("/v1/openai/", "/v1/openai/"),
        ("/v1alpha/openai/", "/v1alpha/openai/"),
    ] {
        for (method, path) in OPENAI {
            let body = if *method == "POST" { r#"{"model": "nobody-knows"}"# } else { "" };
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let url = gateway.url(&format!("{root}{path}?unknown=1"));
            let response = client.request(method, url).body(body).send().await.unwrap();
            let status = response.status().as_u16();
            let answer = response.bytes().await.unwrap();
            let arrived = only(&simulator);
            assert_eq!(arrived.path, format!("{upstream}{path}"), "{root}{path}");
            assert_eq!(arrived.query.as_deref(), Some("unknown=1"));
            assert_eq!(arrived.status, Some(status), "{root}{path}");
            assert_eq!(arrived.body_sha256, Some(sha256(body.as_bytes())), "{root}{path}");
            assert_eq!(arrived.answer_sha256, Some(sha256(&answer)), "{root}{path}");
        }
    }
}

#[tokio::test]
async fn a_path_that_both_dialects_know_goes_where_its_credential_points() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).seeing_all().start();
    drop(client());
    let bare = Client::builder().no_proxy().build().unwrap();
    for path in ["models", "models/gemini-2.5-flash", "files", "batches"] {
        let url = gateway.url(&format!("/v1/{path}"));
        let answers = [
            (bare.get(&url).header("authorization", format!("Bearer {TOKEN}")), "/v1beta/openai"),
            (bare.get(&url).header("x-goog-api-key", TOKEN), "/v1"),
            (bare.get(format!("{url}?key={TOKEN}")), "/v1"),
        ];
        for (request, root) in answers {
            let response = request.send().await.unwrap();
            let status = response.status();
            let answer = response.bytes().await.unwrap();
            let arrived = only(&simulator);
            assert_eq!(arrived.path, format!("{root}/{path}"));
            assert_eq!(arrived.query, None);
            if path.starts_with("models") {
                assert_eq!(status, 200);
                let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
                let is_openai = answer["object"] == "list" || answer["object"] == "model";
                assert_eq!(is_openai, root != "/v1", "{answer}");
            }
        }
    }
    // A verb is Google's own, whatever the credential.
    let url = gateway.url("/v1/models/gemini-2.5-flash:generateContent");
    assert_eq!(post(&bearer(), url, prompt("x")).await.status(), 200);
    assert_eq!(only(&simulator).path, "/v1/models/gemini-2.5-flash:generateContent");
}

#[tokio::test]
async fn a_field_that_google_does_not_know_is_googles_to_refuse() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).start();
    let mut native: serde_json::Value = serde_json::from_str(&prompt("x")).unwrap();
    native["brandNew"] = json!({"a": [1, 2.50, null]});
    let mut openai: serde_json::Value = serde_json::from_str(&chat("x", false)).unwrap();
    openai["brand_new"] = json!(true);
    for (client, path, body) in [(client(), GENERATE, native), (bearer(), CHAT, openai)] {
        let response = post(&client, gateway.url(path), body.to_string()).await;
        assert_eq!(response.status(), 400);
        let answer = response.bytes().await.unwrap();
        assert!(String::from_utf8_lossy(&answer).contains("Cannot find field"), "{answer:?}");
        let arrived = only(&simulator); // once: the client's mistake is not tried again
        assert_eq!(arrived.body_sha256, Some(sha256(body.to_string().as_bytes())));
        assert_eq!(arrived.answer_sha256, Some(sha256(&answer)));
    }
}

#[tokio::test]
async fn large_bodies_pass_whole() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let body = prompt(&"0123456789abcdef".repeat(20 * 1024 * 1024 / 16));
    let response = post(&client(), gateway.url(GENERATE), body.clone()).await;
    assert_eq!(response.status(), 200);
    response.bytes().await.unwrap();
    assert_eq!(only(&simulator).body_sha256, Some(sha256(body.as_bytes())));

    simulator.set_shape(Shape { events: 80, interval_ms: 0, text_bytes: 64 * 1024 });
    for path in [GENERATE, STREAM, SSE] {
        for coding in ["identity", "gzip"] {
            let request = client().post(gateway.url(path)).header("accept-encoding", coding);
            let response = request.body(prompt("much")).send().await.unwrap();
            assert_eq!(response.status(), 200);
            let answer = response.bytes().await.unwrap();
            let arrived = only(&simulator);
            assert_eq!(arrived.answer_bytes, answer.len() as u64);
            assert_eq!(arrived.answer_sha256, Some(sha256(&answer)), "{path} {coding}");
            assert!(coding == "gzip" || answer.len() > 5 * 1024 * 1024, "{path}: {}", answer.len());
        }
    }
}

#[tokio::test]
async fn empty_bodies_stay_empty() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    for (method, framing) in [
        ("POST", "content-length: 0\r\n"),
        ("POST", ""),
        ("POST", "transfer-encoding: chunked\r\n"),
        ("DELETE", ""),
        ("GET", ""),
        ("PATCH", "content-length: 0\r\n"),
    ] {
        let end = if framing.starts_with("transfer") { "0\r\n\r\n" } else { "" };
        let request = format!(
            "{method} /v1beta/files/abc HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\n{framing}\r\n{end}"
        );
        let answer = raw::ask(gateway.authority(), request.as_bytes());
        let arrived = only(&simulator);
        assert_eq!(arrived.method, method);
        assert_eq!(arrived.body_bytes, 0);
        assert_eq!(arrived.header("transfer-encoding"), None);
        assert_eq!(arrived.status, Some(answer.status));
        // Where a body is expected, its absence is announced (RFC 9110 §8.6).
        let announced = matches!(method, "POST" | "PATCH").then_some("0");
        assert_eq!(arrived.header("content-length"), announced, "{method} {framing:?}");
    }
}

#[tokio::test]
async fn a_chunked_request_body_arrives_whole_with_its_length() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let body = prompt("a body in pieces");
    let mut request = format!(
        "POST {GENERATE} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    for piece in body.as_bytes().chunks(7) {
        request +=
            &format!("{:x};extension=ignored\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap());
    }
    request += "0\r\n\r\n";
    let answer = raw::ask(gateway.authority(), request.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    let arrived = only(&simulator);
    assert_eq!(arrived.body_sha256, Some(sha256(body.as_bytes())));
    assert_eq!(arrived.header("content-length"), Some(body.len().to_string().as_str()));
    assert_eq!(arrived.header("transfer-encoding"), None);
    assert_eq!(arrived.answer_sha256, Some(sha256(&answer.body)));
}

#[tokio::test]
async fn an_expected_100_continue_is_sent() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let body = prompt("after you");
    let request = format!(
        "POST {GENERATE} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = raw::ask(gateway.authority(), request.as_bytes());
    assert_eq!(answer.status, 200);
    let arrived = only(&simulator);
    assert_eq!(arrived.body_sha256, Some(sha256(body.as_bytes())));
    assert_eq!(arrived.header("expect"), None);
}

#[tokio::test]
async fn the_token_usage_is_logged_whatever_the_dialect_framing_and_coding() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let cases = [
        (GENERATE, prompt("four words of prompt")),
        (SSE, prompt("four words of prompt")),
        (STREAM, prompt("four words of prompt")),
        (CHAT, chat("four words of prompt", false)),
        (CHAT, chat("four words of prompt", true)),
    ];
    let mut count = 0;
    for (path, body) in cases {
        for coding in ["identity", "gzip"] {
            let request = client().post(gateway.url(path)).header("accept-encoding", coding);
            let answer = request.body(body.clone()).send().await.unwrap().bytes().await.unwrap();
            count += 1;
            let line = gateway.transactions(count).pop().unwrap();
            // "You said: four words of prompt" is 30 bytes, the prompt 20; four bytes are a token.
            assert_eq!(line["usage"]["prompt"], 5, "{path} {coding}: {line}");
            assert_eq!(line["usage"]["output"], 8, "{path} {coding}: {line}");
            assert_eq!(line["usage"]["total"], 13, "{path} {coding}: {line}");
            assert_eq!(line["bytes_out"], answer.len(), "{path} {coding}");
            assert_eq!(line["bytes_in"], body.len());
            assert_eq!(line["model"], "gemini-2.5-flash");
            assert_eq!(line["caller"], "tester");
            assert_eq!(line["dialect"], if path == CHAT { "openai" } else { "gemini" });
            assert_eq!(line["status"], 200);
            assert_eq!(line["end"], "complete");
            assert_eq!(line["attempts"].as_array().unwrap().len(), 1);
        }
    }
}

#[tokio::test]
async fn base_urls_may_have_a_path_of_their_own() {
    let simulator = simulator(1).await;
    // The simulator knows no such paths; what it thinks of the credential there is beside the point.
    simulator.set_faults([Rule::new(Fault::status(404)).on_path("/proxy")]);
    let openai = format!("{}/proxy/compat/", simulator.url());
    let gateway = Options::new(&simulator.url(), 1).env("OPENAI_API_BASE_URL", openai).start();
    for path in ["/v1/chat/completions", "/v1beta/openai/chat/completions", "/openai/v1/chat/completions"] {
        post(&bearer(), gateway.url(path), chat("x", false)).await;
        assert_eq!(only(&simulator).path, "/proxy/compat/chat/completions");
    }
    assert_eq!(post(&client(), gateway.url(GENERATE), prompt("x")).await.status(), 200);
    assert_eq!(only(&simulator).path, GENERATE);

    // As people copy it from an SDK's settings.
    let openai = format!("{}/v1beta/openai/", simulator.url());
    let native = format!("{}/v1beta/", simulator.url());
    let gateway = Options::new(&native, 1).env("OPENAI_API_BASE_URL", openai).start();
    assert_eq!(post(&bearer(), gateway.url("/v1/chat/completions"), chat("x", false)).await.status(), 200);
    assert_eq!(only(&simulator).path, CHAT);
    assert_eq!(post(&client(), gateway.url(GENERATE), prompt("x")).await.status(), 200);
    assert_eq!(only(&simulator).path, GENERATE);

    let gateway = Options::new(&format!("{}/proxy", simulator.url()), 1).start();
    post(&client(), gateway.url(GENERATE), prompt("x")).await;
    assert_eq!(only(&simulator).path, format!("/proxy{GENERATE}"));
    post(&bearer(), gateway.url("/v1/chat/completions"), chat("x", false)).await;
    assert_eq!(only(&simulator).path, format!("/proxy{CHAT}"));
}
