//! The native surface over real sockets: answers, framing and errors, byte by byte where clients depend on bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use gemini_simulator::{Config, Shape, Simulator};
use serde_json::{Value, json};
use wire::*;

#[tokio::test]
async fn a_unary_answer_echoes_the_prompt() {
    let sim = simulator().await;
    let reply = native(&sim, FLASH, &hello()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-length"), Some(reply.raw.len().to_string().as_str()));
    let answer = reply.json();
    assert_eq!(answer["candidates"][0]["content"]["parts"][0]["text"], "You said: hello over there");
    assert_eq!(answer["candidates"][0]["finishReason"], "STOP");
    assert_eq!(answer["usageMetadata"]["promptTokenCount"], 4);
    assert_eq!(answer["usageMetadata"]["candidatesTokenCount"], 7);
    assert_eq!(answer["usageMetadata"]["totalTokenCount"], 11);
    assert_eq!(answer["modelVersion"], "gemini-2.5-flash");
    assert!(reply.text().starts_with("{\n  \"candidates\": [\n"), "{}", reply.text());
}

#[tokio::test]
async fn an_sse_stream_is_framed_as_googles() {
    let sim = simulator().await;
    let reply = native(&sim, STREAM, &hello()).await;
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    let (chunks, ended) = reply.chunks();
    assert!(ended);
    assert_eq!(chunks.len(), 5, "each event is written by itself");
    let mut text = String::new();
    let mut last_tokens = 0;
    for (n, chunk) in chunks.iter().enumerate() {
        let event = std::str::from_utf8(chunk).unwrap();
        let json = event.strip_prefix("data: ").unwrap().strip_suffix("\r\n\r\n").unwrap();
        assert!(!json.contains('\n'));
        let event: Value = serde_json::from_str(json).unwrap();
        text += event["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap();
        let tokens = event["usageMetadata"]["candidatesTokenCount"].as_u64().unwrap();
        assert!(tokens >= last_tokens, "usage is cumulative");
        last_tokens = tokens;
        assert_eq!(event["candidates"][0]["finishReason"] == "STOP", n == 4);
    }
    assert_eq!(text, "You said: hello over there");
    assert!(!reply.text().contains("[DONE]"));
}

#[tokio::test]
async fn a_stream_without_alt_is_one_json_array() {
    let sim = simulator().await;
    let target = "/v1/models/gemini-2.5-flash:streamGenerateContent";
    let reply = native(&sim, target, &hello()).await;
    assert_eq!(reply.header("content-type"), Some("application/json; charset=UTF-8"));
    let (chunks, ended) = reply.chunks();
    assert!(ended);
    assert!(chunks[0].starts_with(b"[{\n  \"candidates\""));
    assert!(chunks[1].starts_with(b",\r\n{\n"));
    assert_eq!(chunks.last().unwrap(), b"]");
    assert_eq!(reply.json().as_array().unwrap().len(), 5);

    let error = native(&sim, target, &json!({"contents": []})).await;
    assert_eq!((error.status, error.json()[0]["error"]["status"].as_str()), (400, Some("INVALID_ARGUMENT")));
}

#[tokio::test]
async fn the_headers_are_googles() {
    let sim = simulator().await;
    let good = native(&sim, FLASH, &hello()).await;
    for (name, value) in [
        ("server", "scaffolding on HTTPServer2"),
        ("server-timing", "gfet4t7; dur=12"),
        ("vary", "Origin, X-Origin, Referer"),
        ("x-gemini-service-tier", "standard"),
    ] {
        assert_eq!(good.header(name), Some(value), "{}", good.head);
    }
    assert!(good.header("alt-svc").unwrap().starts_with("h3="));
    assert!(good.header("set-cookie").is_some());
    let bad = native(&sim, FLASH, &json!({"x": 1})).await;
    assert_eq!(bad.header("x-gemini-service-tier"), None);
}

#[tokio::test]
async fn models_are_listed_in_pages() {
    let sim = simulator().await;
    let mut names = Vec::new();
    let mut target = "/v1beta/models?pageSize=5".to_owned();
    loop {
        let page = get(&sim, &target).await.json();
        let models = page["models"].as_array().unwrap();
        assert!(models.len() <= 5);
        names.extend(models.iter().map(|model| model["name"].as_str().unwrap().to_owned()));
        let Some(token) = page["nextPageToken"].as_str() else { break };
        target = format!("/v1beta/models?pageSize=5&pageToken={token}");
    }
    assert!(names.contains(&"models/gemini-3.7-flash".to_owned()));
    assert!(names.contains(&"models/imagen-4.0-generate-001".to_owned()));
    let all = get(&sim, "/v1beta/models").await.json();
    assert_eq!(all["models"].as_array().unwrap().len(), names.len());
    let one = get(&sim, "/v1/models/gemini-2.5-pro").await.json();
    assert_eq!(one["name"], "models/gemini-2.5-pro");
}

#[tokio::test]
async fn what_does_not_exist_is_404_in_googles_words() {
    let sim = simulator().await;
    let text = "models/gemini-9 is not found for API version v1beta, or is not supported for generateContent. Call ListModels";
    for reply in [
        native(&sim, "/v1beta/models/gemini-9:generateContent", &hello()).await,
        get(&sim, "/v1beta/models/gemini-9").await,
    ] {
        assert_eq!(reply.status, 404);
        assert_eq!(reply.json()["error"]["status"], "NOT_FOUND");
        assert!(reply.json()["error"]["message"].as_str().unwrap().starts_with(text), "{}", reply.text());
    }
    let wrong_kind = native(&sim, "/v1beta/models/gemini-embedding-001:generateContent", &hello()).await;
    assert_eq!(wrong_kind.status, 404);
    for target in ["/v1beta/models/gemini-2.5-flash:dream", "/v2/models", "/", "/v1beta//models"] {
        let reply = native(&sim, target, &hello()).await;
        assert_eq!(reply.status, 404, "{target}");
        assert!(reply.text().starts_with("<!DOCTYPE html>"), "{target}");
    }
    assert_eq!(get(&sim, "/v1beta/files").await.json(), json!({}));
}

#[tokio::test]
async fn malformed_requests_are_told_what_is_wrong() {
    let sim = simulator().await;
    let bad = call(&sim, "POST", FLASH, &[("x-goog-api-key", KEY)], "{\"contents\": [").await;
    assert_eq!(bad.status, 400);
    let message = bad.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("Invalid JSON payload received."), "{message}");

    let unknown = native(&sim, FLASH, &json!({"contents": [], "x": 1})).await.json();
    let text = "Invalid JSON payload received. Unknown name \"x\": Cannot find field.";
    assert_eq!(unknown["error"]["message"], text);
    assert_eq!(unknown["error"]["details"][0]["@type"], "type.googleapis.com/google.rpc.BadRequest");
    assert_eq!(unknown["error"]["details"][0]["fieldViolations"][0]["description"], text);
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused_after_it_was_read() {
    let sim = Simulator::start(Config { max_body_bytes: 1000, ..config() }).await.unwrap();
    let body = json!({"contents": [{"parts": [{"text": "x".repeat(200_000)}]}]});
    let reply = native(&sim, FLASH, &body).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.json()["error"]["message"], "Request payload size exceeds the limit: 1000 bytes.");
    assert_eq!(sim.requests()[0].body_bytes, body.to_string().len() as u64);
}

#[tokio::test]
async fn tokens_are_counted() {
    let sim = simulator().await;
    let target = "/v1beta/models/gemini-2.5-flash:countTokens";
    assert_eq!(native(&sim, target, &hello()).await.json()["totalTokens"], 4);
    let mut whole = hello();
    whole["systemInstruction"] = json!({"parts": [{"text": "be brief"}]});
    let wrapped = |whole: &Value| json!({"generateContentRequest": whole});
    let nameless = native(&sim, target, &wrapped(&whole)).await;
    assert_eq!(nameless.status, 400);
    assert!(nameless.text().contains("generate_content_request.model: unexpected model name format"));
    whole["model"] = json!("models/gemini-2.5-flash");
    assert_eq!(native(&sim, target, &wrapped(&whole)).await.json()["totalTokens"], 6);
    // Beside the contents there is no place for instructions and tools.
    for field in ["systemInstruction", "tools"] {
        let mut bare = hello();
        bare[field] = json!({});
        let refused = native(&sim, target, &bare).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains(&format!("Unknown name \\\"{field}\\\": Cannot find field.")));
    }
}

#[tokio::test]
async fn embeddings_depend_on_the_text_alone() {
    let sim = simulator().await;
    let one = |text: &str| json!({"content": {"parts": [{"text": text}]}, "outputDimensionality": 8});
    let target = "/v1beta/models/gemini-embedding-001:embedContent";
    let first = native(&sim, target, &one("a")).await.json()["embedding"]["values"].clone();
    assert_eq!(first.as_array().unwrap().len(), 8);
    let norm: f64 = first.as_array().unwrap().iter().map(|v| v.as_f64().unwrap().powi(2)).sum();
    assert!((norm - 1.0).abs() < 1e-3, "{norm}");
    assert_ne!(native(&sim, target, &one("b")).await.json()["embedding"]["values"], first);

    let batch = json!({"requests": [one("b"), one("a")]});
    let target = "/v1beta/models/gemini-embedding-001:batchEmbedContents";
    assert_eq!(native(&sim, target, &batch).await.json()["embeddings"][1]["values"], first);
    let too_many = json!({"requests": vec![one("a"); 101]});
    assert_eq!(native(&sim, target, &too_many).await.status, 400);
}

#[tokio::test]
async fn predict_answers_with_pictures() {
    let sim = simulator().await;
    let body = json!({"instances": [{"prompt": "a cat"}], "parameters": {"sampleCount": 2}});
    let reply = native(&sim, "/v1beta/models/imagen-4.0-generate-001:predict", &body).await.json();
    assert_eq!(reply["predictions"].as_array().unwrap().len(), 2);
    assert_eq!(reply["predictions"][0]["mimeType"], "image/png");
}

fn with_weather(text: &str) -> Value {
    json!({
        "contents": [{"role": "user", "parts": [{"text": text}]}],
        "tools": [{"functionDeclarations": [{
            "name": "get_weather",
            "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}, "days": {"type": "INTEGER"}}},
        }]}],
    })
}

#[tokio::test]
async fn a_function_is_called_when_the_prompt_names_it_or_the_mode_demands_it() {
    let sim = simulator().await;
    let part = async |body: &Value| {
        native(&sim, FLASH, body).await.json()["candidates"][0]["content"]["parts"][0].clone()
    };
    let named = part(&with_weather("use get_weather for Oslo")).await;
    assert_eq!(named["functionCall"]["name"], "get_weather");
    assert_eq!(named["functionCall"]["args"], json!({"city": "use get_weather for Oslo", "days": 1}));
    assert!(named["thoughtSignature"].is_string());
    assert!(part(&with_weather("hello")).await["text"].is_string());
    let mut forced = with_weather("hello");
    forced["tool_config"] = json!({"function_calling_config": {"mode": "ANY"}});
    assert_eq!(part(&forced).await["functionCall"]["name"], "get_weather");

    let streamed = native(&sim, STREAM, &forced).await;
    assert_eq!(streamed.chunks().0.len(), 1, "a call comes whole");
    assert!(streamed.text().contains("\"finishReason\":\"STOP\""));
}

#[tokio::test]
async fn from_gemini_3_on_a_call_must_come_back_with_its_signature() {
    let sim = simulator().await;
    let target = "/v1beta/models/gemini-3.7-flash:generateContent";
    let first = native(&sim, target, &with_weather("use get_weather")).await.json();
    let content = first["candidates"][0]["content"].clone();
    let followed = |content: &Value| {
        let mut body = with_weather("use get_weather");
        let contents = body["contents"].as_array_mut().unwrap();
        contents.push(content.clone());
        contents.push(json!({"role": "user", "parts": [
            {"functionResponse": {"name": "get_weather", "response": {"sky": "grey"}}},
        ]}));
        body
    };
    let good = native(&sim, target, &followed(&content)).await;
    assert_eq!(good.status, 200, "{}", good.text());
    assert!(good.text().contains("The function said"), "{}", good.text());

    // Python sends bytes back in the URL-safe alphabet.
    let mut urlsafe = content.clone();
    let signature = content["parts"][0]["thoughtSignature"].as_str().unwrap();
    urlsafe["parts"][0]["thoughtSignature"] = json!(signature.replace('+', "-").replace('/', "_"));
    assert_eq!(native(&sim, target, &followed(&urlsafe)).await.status, 200);

    let mut changed = content.clone();
    changed["parts"][0]["thoughtSignature"] = json!("AAAA");
    let refused = native(&sim, target, &followed(&changed)).await;
    assert_eq!(
        (refused.status, refused.json()["error"]["message"].as_str()),
        (400, Some("Corrupted thought signature."))
    );
    let mut lost = content;
    lost["parts"][0].as_object_mut().unwrap().remove("thoughtSignature");
    let refused = native(&sim, target, &followed(&lost)).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("missing a thought_signature"));
}

#[tokio::test]
async fn the_shape_sets_how_much_and_how_fast() {
    let sim = simulator().await;
    sim.set_shape(Shape { events: 4, interval_ms: 50, text_bytes: 300 });
    let start = std::time::Instant::now();
    let reply = native(&sim, STREAM, &hello()).await;
    assert!(start.elapsed().as_millis() >= 150, "{:?}", start.elapsed());
    let (chunks, _) = reply.chunks();
    assert_eq!(chunks.len(), 4);
    assert!(chunks.iter().all(|chunk| chunk.len() > 300));
    let unary = native(&sim, FLASH, &hello()).await.json();
    assert!(unary["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap().len() >= 1200);
}

#[tokio::test]
async fn gzip_is_used_when_asked_for_and_each_event_can_be_read_at_once() {
    use std::io::{Read, Write};
    let sim = simulator().await;
    sim.set_shape(Shape { interval_ms: 20, ..Shape::default() });
    let headers = [("x-goog-api-key", KEY), ("Accept-Encoding", "gzip, deflate")];
    let plain = native(&sim, FLASH, &hello()).await;
    let unary = call(&sim, "POST", FLASH, &headers, &hello().to_string()).await;
    assert_eq!(unary.header("content-encoding"), Some("gzip"));
    assert!(unary.chunked());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&unary.body()[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text.len(), plain.raw.len());

    let error = call(&sim, "POST", FLASH, &headers, "{}").await;
    assert_eq!((error.status, error.header("content-encoding")), (400, Some("gzip")));

    let stream = call(&sim, "POST", STREAM, &headers, &hello().to_string()).await;
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    let (chunks, _) = stream.chunks();
    for (n, chunk) in chunks.iter().enumerate().take(5) {
        decoder.write_all(chunk).unwrap();
        decoder.flush().unwrap();
        assert_eq!(decoder.get_ref().windows(6).filter(|six| six == b"data: ").count(), n + 1);
        assert!(decoder.get_ref().ends_with(b"\r\n\r\n"));
    }
    decoder.write_all(&chunks[5..].concat()).unwrap();
    decoder.try_finish().unwrap();

    let refused = [("x-goog-api-key", KEY), ("Accept-Encoding", "gzip;q=0, identity")];
    assert_eq!(
        call(&sim, "POST", FLASH, &refused, &hello().to_string()).await.header("content-encoding"),
        None
    );
}
