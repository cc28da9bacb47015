//! The native surface over real sockets: answers, framing and errors, byte by byte where clients depend on bytes.

mod wire;

use serde_json::Value;
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
