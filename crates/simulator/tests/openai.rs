//! The OpenAI-compatible layer over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wire::*;

#[tokio::test]
async fn a_completion_echoes_the_prompt() {
    let sim = simulator().await;
    for model in ["gemini-2.5-flash", "models/gemini-2.5-flash"] {
        let mut body = chat();
        body["model"] = json!(model);
        let reply = openai(&sim, CHAT, &body).await.json();
        assert_eq!(reply["object"], "chat.completion");
        assert_eq!(reply["choices"][0]["message"]["content"], "You said: hello over there");
        assert_eq!(reply["choices"][0]["finish_reason"], "stop");
        assert_eq!(reply["usage"]["total_tokens"], 11);
    }
    assert_eq!(sim.requests()[1].model.as_deref(), Some("gemini-2.5-flash"));
}

#[tokio::test]
async fn a_streamed_completion_ends_with_done_and_counts_in_every_chunk() {
    let sim = simulator().await;
    let mut body = chat();
    body["stream"] = json!(true);
    let reply = openai(&sim, CHAT, &body).await;
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    let (mut chunks, ended) = reply.chunks();
    assert!(ended);
    assert_eq!(chunks.pop().unwrap(), b"data: [DONE]\n\n");
    let mut text = String::new();
    for chunk in &chunks {
        let event = std::str::from_utf8(chunk).unwrap();
        let event = event.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap();
        let event: Value = serde_json::from_str(event).unwrap();
        assert_eq!(event["object"], "chat.completion.chunk");
        assert!(event["usage"]["total_tokens"].as_u64().unwrap() > 4);
        text += event["choices"][0]["delta"]["content"].as_str().unwrap();
    }
    assert_eq!((chunks.len(), text.as_str()), (5, "You said: hello over there"));
}

#[tokio::test]
async fn a_tool_call_comes_whole_and_must_come_back_signed() {
    let sim = simulator().await;
    let mut body = chat();
    body["model"] = json!("gemini-3.7-flash");
    body["tool_choice"] = json!("required");
    body["tools"] = json!([{"type": "function", "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    }}]);
    body["stream"] = json!(true);
    let (chunks, _) = openai(&sim, CHAT, &body).await.chunks();
    assert_eq!(chunks.len(), 2);
    let event: Value = serde_json::from_slice(&chunks[0][6..]).unwrap();
    let delta = &event["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!(delta["function"]["arguments"], "{\"city\":\"hello over there\"}");
    assert_eq!(delta.get("index"), None);

    body["stream"] = json!(false);
    let message = openai(&sim, CHAT, &body).await.json()["choices"][0]["message"].clone();
    assert!(message["tool_calls"][0]["extra_content"]["google"]["thought_signature"].is_string());
    let result = json!({"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "grey"});
    let messages = body["messages"].as_array_mut().unwrap();
    messages.extend([message.clone(), result]);
    let good = openai(&sim, CHAT, &body).await;
    assert_eq!(
        good.json()["choices"][0]["message"]["content"],
        "You said: hello over there The function said: grey"
    );
    body["messages"][1]["tool_calls"][0].as_object_mut().unwrap().remove("extra_content");
    assert_eq!(openai(&sim, CHAT, &body).await.status, 400);
}

#[tokio::test]
async fn embeddings_come_as_numbers_or_as_base64_of_the_same() {
    let sim = simulator().await;
    let body = json!({"model": "gemini-embedding-001", "input": ["a", "b"], "dimensions": 4});
    let floats = openai(&sim, "/v1beta/openai/embeddings", &body).await.json();
    let mut body = body;
    body["encoding_format"] = json!("base64");
    let packed = openai(&sim, "/v1beta/openai/embeddings", &body).await.json();
    for n in 0..2 {
        let bytes = STANDARD.decode(packed["data"][n]["embedding"].as_str().unwrap()).unwrap();
        let unpacked: Vec<f32> = bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let plain: Vec<f32> = serde_json::from_value(floats["data"][n]["embedding"].clone()).unwrap();
        assert_eq!(unpacked, plain);
        assert_eq!(packed["data"][n]["index"], n);
    }
}

#[tokio::test]
async fn models_pictures_and_videos_answer() {
    let sim = simulator().await;
    let bearer = [("Authorization", "Bearer AIzaAlpha")];
    let models = call(&sim, "GET", "/v1beta/openai/models", &bearer, "").await.json();
    assert_eq!(models["data"][0]["id"], "models/gemini-2.5-flash");
    let model = call(&sim, "GET", "/v1beta/openai/models/gemini-2.5-pro", &bearer, "").await.json();
    assert_eq!(model["object"], "model");

    let image = json!({"model": "imagen-4.0-generate-001", "prompt": "a cat", "n": 2});
    let reply = openai(&sim, "/v1beta/openai/images/generations", &image).await.json();
    let png = STANDARD.decode(reply["data"][1]["b64_json"].as_str().unwrap()).unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n"));

    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nveo-3.0-generate-001\r\n--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na cat\r\n--b--\r\n";
    let json = json!({"model": "veo-3.0-generate-001", "prompt": "a cat"}).to_string();
    for body in [form, &json] {
        let made = call(&sim, "POST", "/v1beta/openai/videos", &bearer, body).await.json();
        let target = format!("/v1beta/openai/videos/{}", made["id"].as_str().unwrap());
        let done = call(&sim, "GET", &target, &bearer, "").await.json();
        assert_eq!((done["status"].as_str(), &done["id"]), (Some("completed"), &made["id"]));
        let stranger = [("Authorization", "Bearer AQ.Beta")];
        assert_eq!(call(&sim, "GET", &target, &stranger, "").await.status, 404, "it belongs to a project");
        let extend = form.replace(
            "\r\n--b--",
            &format!(
                "\r\n--b\r\nContent-Disposition: form-data; name=\"extend_video_id\"\r\n\r\n{}\r\n--b--",
                made["id"].as_str().unwrap()
            ),
        );
        let in_json = json!({"model": "veo-3.0-generate-001", "prompt": "on", "extend_video_id": made["id"]})
            .to_string();
        for body in [&extend, &in_json] {
            assert_eq!(call(&sim, "POST", "/v1beta/openai/videos", &bearer, body).await.status, 200);
            assert_eq!(call(&sim, "POST", "/v1beta/openai/videos", &stranger, body).await.status, 404);
        }
    }
}

#[tokio::test]
async fn what_the_layer_lacks_is_404_and_what_it_does_not_know_is_400() {
    let sim = simulator().await;
    for path in ["responses", "audio/speech", "images/edits", "files"] {
        assert_eq!(openai(&sim, &format!("/v1beta/openai/{path}"), &chat()).await.status, 404, "{path}");
    }
    let mut body = chat();
    body["model"] = json!("gpt-4");
    assert_eq!(openai(&sim, CHAT, &body).await.json()[0]["error"]["code"], 404);
    let mut body = chat();
    body["x"] = json!(1);
    assert!(openai(&sim, CHAT, &body).await.text().contains("Unknown name \\\"x\\\": Cannot find field."));
}
