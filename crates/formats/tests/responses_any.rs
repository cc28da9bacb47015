//! Whatever a client or Google sends: no panic, every refusal of a request has a status, and every answer's events end.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

use formats::models::ModelMap;
use formats::responses::{
    ItemOrder, ResponsesAnswer, ResponsesStream, StoredResponse, create, create_with, fault_error,
    input_tokens, input_tokens_answer, previous_id, referenced_ids, refusal_message, refusal_of,
};
use formats::{AnswerMemory, AnswerSeed, AnswerStream, StreamEnd, UnaryAnswer};
use proptest::prelude::*;
use serde_json::Value;

const NAMES: [&str; 40] = [
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "type",
    "role",
    "content",
    "text",
    "call_id",
    "name",
    "namespace",
    "arguments",
    "output",
    "id",
    "encrypted_content",
    "image_url",
    "file_data",
    "filename",
    "input_audio",
    "format",
    "data",
    "schema",
    "parameters",
    "strict",
    "reasoning",
    "effort",
    "summary",
    "stream",
    "store",
    "previous_response_id",
    "mode",
    "result",
    "output_format",
    "definition",
    "syntax",
    "description",
    "max_output_tokens",
    "temperature",
    "refusal",
];

const WORDS: [&str; 36] = [
    "gpt-5",
    "function",
    "custom",
    "namespace",
    "web_search",
    "tool_search",
    "allowed_tools",
    "message",
    "user",
    "assistant",
    "system",
    "developer",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "reasoning",
    "item_reference",
    "additional_tools",
    "image_generation_call",
    "configuration_update",
    "input_text",
    "output_text",
    "input_image",
    "input_file",
    "input_audio",
    "grammar",
    "auto",
    "required",
    "none",
    "json_schema",
    "{}",
    "rs_a_0",
    "call_a_s1_",
    "data:image/png;base64,QQ==",
    "f",
    "wav",
];

const GOOGLES: [&str; 26] = [
    "candidates",
    "content",
    "parts",
    "text",
    "thought",
    "thoughtSignature",
    "functionCall",
    "args",
    "id",
    "name",
    "inlineData",
    "mimeType",
    "data",
    "finishReason",
    "usageMetadata",
    "promptTokenCount",
    "error",
    "code",
    "message",
    "groundingMetadata",
    "groundingChunks",
    "web",
    "uri",
    "groundingSupports",
    "segment",
    "promptFeedback",
];

const GOOGLES_WORDS: [&str; 10] =
    ["STOP", "MAX_TOKENS", "SAFETY", "MALFORMED_FUNCTION_CALL", "f", "", "image/png", "U0lH", "é", "input"];

fn wild(names: &'static [&'static str], words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(words).prop_map(Value::from),
        proptest::sample::select(words).prop_map(Value::from),
        ".{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            object(names, inner.clone()),
            object(names, inner),
        ]
    })
}

fn object(
    names: &'static [&'static str],
    inner: impl Strategy<Value = Value>,
) -> impl Strategy<Value = Value> {
    proptest::collection::vec((proptest::sample::select(names), inner), 0..7).prop_map(|members| {
        Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    })
}

/// A request of wild members, mostly with a model and a list of wild items.
fn request() -> impl Strategy<Value = Value> {
    let value = || wild(&NAMES, &WORDS);
    (object(&NAMES, value()), proptest::collection::vec(value(), 0..5), any::<bool>()).prop_map(
        |(mut body, items, is_sound)| {
            if is_sound {
                body["model"] = "gpt-5".into();
                body["input"] = items.into();
            }
            body
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_request_and_no_cut_of_it_is_a_panic(body in request(), stored in request(), cut in 0_usize..300) {
        let models = ModelMap::new([("gpt-*", "gemini-3-pro")]).unwrap();
        let text = body.to_string();
        let kept = serde_json::json!({"history": [stored.clone()], "input": [body.clone()], "response": {"output": [stored]}});
        let kept = StoredResponse::decode(kept.to_string().as_bytes()).unwrap();
        let _ = kept.input_items_body(Some(cut), ItemOrder::Descending, Some("f"));
        for bytes in [text.as_bytes(), &text.as_bytes()[..cut.min(text.len())]] {
            let _ = (previous_id(bytes), referenced_ids(bytes));
            let _ = StoredResponse::decode(bytes);
            let _ = input_tokens(bytes, &models, &|_| true);
            let _ = input_tokens_answer(bytes);
            let _ = create_with(bytes, &models, &|_| true, Some(&kept), std::slice::from_ref(&kept));
            match create(bytes, &models, &|_| false, None) {
                Ok(made) => {
                    let made: Value = serde_json::from_slice(&made.call.body).unwrap();
                    prop_assert!(!made["contents"].as_array().unwrap().is_empty());
                }
                Err(error) => {
                    prop_assert!((400..500).contains(&refusal_of(&error).0));
                    prop_assert!(!refusal_message(&error).is_empty());
                }
            }
        }
    }

    #[test]
    fn every_answer_ends_in_one_way(
        chunks in proptest::collection::vec(object(&GOOGLES, wild(&GOOGLES, &GOOGLES_WORDS)), 0..5),
        parts in proptest::collection::vec(object(&GOOGLES, wild(&GOOGLES, &GOOGLES_WORDS)), 0..4),
        cut in 0_usize..100,
        is_broken: bool,
    ) {
        let sound = serde_json::json!({"candidates": [{"content": {"parts": parts}}]});
        let memory = AnswerMemory { thoughts: formats::ThoughtDisplay::Shown, ..AnswerMemory::default() };
        let mut stream = ResponsesStream::new(memory, AnswerSeed::new("a", 1));
        let mut frames = Vec::new();
        for chunk in std::iter::once(&sound).chain(&chunks) {
            let text = chunk.to_string();
            frames.extend(stream.push(text.as_bytes()));
            let whole = ResponsesAnswer::new(AnswerMemory::default(), AnswerSeed::new("a", 1));
            for bytes in [text.as_bytes(), &text.as_bytes()[..cut.min(text.len())]] {
                if let Err(fault) = whole.translate(bytes) {
                    prop_assert!(fault_error(&fault).0 >= 400);
                }
            }
        }
        frames.extend(stream.end(if is_broken { StreamEnd::Broken("cut".to_owned()) } else { StreamEnd::Complete }));
        prop_assert_eq!(frames.is_empty(), !stream.has_begun());
        prop_assert_eq!(stream.fault().is_some(), stream.response().is_none());
        // Events of one moment may be in one frame.
        let text = String::from_utf8(frames.concat()).unwrap();
        let events: Vec<_> = text.split("\n\n").filter_map(|event| event.lines().next()).collect();
        let ends = ["event: response.completed", "event: response.incomplete", "event: response.failed"];
        let is_end = |event: &&&str| ends.contains(*event);
        prop_assert_eq!(events.iter().filter(is_end).count(), usize::from(stream.has_begun()), "{}", text);
        prop_assert_eq!(events.last().as_ref().is_some_and(is_end), stream.has_begun());
    }
}
