//! Google's signatures through a client of each format and back: each returns with the part that it came with, none moves to
//! another or takes another's place, and what has lost its own gets the placeholder where the model insists.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

use formats::anthropic::{self, MessagesAnswer};
use formats::models::ModelMap;
use formats::responses::{ResponsesAnswer, ResponsesStream, create};
use formats::signature::PLACEHOLDER;
use formats::{AnswerSeed, AnswerStream, StreamEnd, UnaryAnswer};
use serde_json::{Value, json};

const THREE: &str = "gemini-3-pro-preview";
const PICTURES: &str = "gemini-3-pro-image-preview";

fn seed() -> AnswerSeed {
    AnswerSeed::new("abc123", 1_700_000_000)
}

fn google(parts: &Value, finish: Option<&str>) -> Vec<u8> {
    let mut candidate = json!({"content": {"role": "model", "parts": parts}});
    if let Some(finish) = finish {
        candidate["finishReason"] = json!(finish);
    }
    json!({"candidates": [candidate]}).to_string().into_bytes()
}

fn parts_of(body: &[u8]) -> Value {
    serde_json::from_slice::<Value>(body).unwrap()["contents"][1]["parts"].clone()
}

/// The parts of the model's turn as they are after a client of Responses has sent back what `keeps` says of its output.
fn through_responses(model: &str, parts: &Value, keeps: impl Fn(&Value) -> bool) -> Value {
    let models = ModelMap::default();
    let asked = json!({"model": model, "input": "draw"}).to_string();
    let memory = create(asked.as_bytes(), &models, &|_| true, None).unwrap().call.memory;
    let whole = ResponsesAnswer::new(memory.clone(), seed()).translate(&google(parts, Some("STOP"))).unwrap();
    let mut stream = ResponsesStream::new(memory, seed());
    for part in parts.as_array().unwrap() {
        stream.push(&google(&json!([part]), None));
    }
    stream.push(&google(&json!([]), Some("STOP")));
    stream.end(StreamEnd::Complete);
    let [whole, streamed] = [&whole, stream.response().unwrap()]
        .map(|body| serde_json::from_slice::<Value>(body).unwrap()["output"].as_array().unwrap().clone());
    assert_eq!(whole, streamed, "{parts}");
    let mut input = vec![json!({"role": "user", "content": "draw"})];
    input.extend(whole.into_iter().filter(keeps));
    input.push(json!({"role": "user", "content": "more"}));
    let next = json!({"model": model, "input": input}).to_string();
    parts_of(&create(next.as_bytes(), &models, &|_| true, None).unwrap().call.body)
}

/// The same through a client of Messages that thinks or does not.
fn through_messages(model: &str, parts: &Value, thinks: bool) -> Value {
    let thinking = if thinks { "adaptive" } else { "disabled" };
    let request = |messages: &[Value]| {
        let body =
            json!({"model": model, "max_tokens": 9, "thinking": {"type": thinking}, "messages": messages});
        anthropic::messages(body.to_string().as_bytes(), &ModelMap::default(), &|_| true, None).unwrap()
    };
    let mut messages = vec![json!({"role": "user", "content": "draw"})];
    let memory = request(&messages).memory;
    let answer = MessagesAnswer::new(memory, seed()).translate(&google(parts, Some("STOP"))).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    messages.push(json!({"role": "assistant", "content": answer["content"]}));
    messages.push(json!({"role": "user", "content": "more"}));
    parts_of(&request(&messages).body)
}

fn picture(signature: &str) -> Value {
    json!({"inlineData": {"mimeType": "image/png", "data": "QUJD"}, "thoughtSignature": signature})
}

fn call(id: &str, signature: Option<&str>) -> Value {
    let mut part = json!({"functionCall": {"id": id, "name": "f", "args": {}}});
    if let Some(signature) = signature {
        part["thoughtSignature"] = json!(signature);
    }
    part
}

#[test]
fn pictures_and_the_texts_around_them_come_back_signed() {
    for parts in [
        json!([{"text": "Here:", "thoughtSignature": "VFhU"}, picture("UElD"), picture("UElE")]),
        json!([picture("UElD"), {"text": "and"}, picture("UElE"), {"text": "done", "thoughtSignature": "RU5E"}]),
        json!([picture("UElD"), {"text": "", "thoughtSignature": "RU5E"}]),
    ] {
        for model in [PICTURES, "nano-banana-pro-preview"] {
            assert_eq!(through_responses(model, &parts, |_| true), parts);
        }
    }
    // Thoughts before a picture are the item that carries its signature.
    let parts = json!([{"text": "a cat", "thought": true}, picture("UElD")]);
    assert_eq!(through_responses(PICTURES, &parts, |_| true), json!([picture("UElD")]));
}

#[test]
fn what_lost_its_signature_gets_the_placeholder_where_the_model_insists() {
    let parts = json!([{"text": "Here:", "thoughtSignature": "VFhU"}, {"text": "two"}, picture("UElD"), picture("UElE")]);
    let is_no_reasoning = |item: &Value| item["type"] != "reasoning";
    let expected = json!([{"text": "Here:", "thoughtSignature": PLACEHOLDER}, {"text": "two"}, picture(PLACEHOLDER), picture(PLACEHOLDER)]);
    assert_eq!(through_responses(PICTURES, &parts, is_no_reasoning), expected);
    let sent = through_responses(THREE, &parts, is_no_reasoning).to_string();
    assert!(!sent.contains("thoughtSignature"), "other models want it of calls alone: {sent}");
    let sent = through_responses("gemini-2.5-flash-image", &parts, is_no_reasoning).to_string();
    assert!(!sent.contains("thoughtSignature"), "{sent}");
    let sent = through_messages(PICTURES, &json!([{"text": "Here:", "thoughtSignature": "VFhU"}]), false);
    assert_eq!(sent, json!([{"text": "Here:", "thoughtSignature": PLACEHOLDER}]));
}

#[test]
fn a_signature_without_a_text_of_its_own_stays_apart_from_every_other_part() {
    let apart = json!({"text": "", "thoughtSignature": "QQ=="});
    for (parts, expected) in [
        // A stream's last text has its signature behind it.
        (
            json!([{"text": "a"}, apart, {"text": "b"}]),
            json!([{"text": "a", "thoughtSignature": "QQ=="}, {"text": "b"}]),
        ),
        // It takes no other's place, and no other part has it.
        (
            json!([{"text": "a", "thoughtSignature": "Qg=="}, apart, {"text": "b"}]),
            json!([{"text": "a", "thoughtSignature": "Qg=="}, apart, {"text": "b"}]),
        ),
        (
            json!([{"text": "a"}, {"text": "", "thoughtSignature": "Qg=="}, apart, {"text": "b"}]),
            json!([{"text": "a", "thoughtSignature": "Qg=="}, apart, {"text": "b"}]),
        ),
        (
            json!([call("x", Some("Qg==")), {"thoughtSignature": "QQ=="}, call("y", None)]),
            json!([call("x", Some("Qg==")), apart, call("y", None)]),
        ),
        (json!([{"thoughtSignature": "QQ=="}, {"text": "b"}]), json!([apart, {"text": "b"}])),
        (
            json!([apart, {"text": "b", "thoughtSignature": "Qg=="}, {"text": "c"}]),
            json!([apart, {"text": "b", "thoughtSignature": "Qg=="}, {"text": "c"}]),
        ),
        // A thought's goes with the thought.
        (
            json!([{"text": "a"}, {"thought": true, "thoughtSignature": "QQ=="}, {"text": "b"}]),
            json!([{"text": "ab"}]),
        ),
    ] {
        assert_eq!(through_responses(THREE, &parts, |_| true), expected, "{parts}");
        assert_eq!(through_messages(THREE, &parts, true), expected, "{parts}");
    }
    // Media that a format does not carry take their signature along.
    let sound = json!({"inlineData": {"mimeType": "audio/L16", "data": "QUJD"}, "thoughtSignature": "QQ=="});
    let parts = json!([sound, {"text": "b"}]);
    for sent in [through_responses(THREE, &parts, |_| true), through_messages(THREE, &parts, true)] {
        assert!(!sent.to_string().contains("QQ=="), "{sent}");
    }
    let sent = through_messages(THREE, &json!([picture("UElD"), {"text": "b"}]), true);
    assert!(!sent.to_string().contains("UElD"), "{sent}");
}
