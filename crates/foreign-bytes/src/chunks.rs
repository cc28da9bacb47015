//! Google's streamed answers, as the clients of other formats get them: the same however the body is cut, in events that such a
//! client can read, and with an end that says how it was.

use crate::{
    pieces,
    told::{ends_well, is_json},
};
use formats::{
    AnswerMemory, AnswerSeed, AnswerStream, StreamEnd,
    anthropic::{MessagesStream, messages},
    models::ModelMap,
    responses::{ResponsesStream, create},
};
use gemini::event_data::EventData;
use std::sync::LazyLock;

#[path = "../../formats/tests/messages_client/mod.rs"]
mod messages_client;

/// Requests with tools, whose names an answer may have to be given back.
const MESSAGES: &[u8] = br#"{"model":"claude-x","max_tokens":9,"thinking":{"type":"enabled","budget_tokens":1024},"messages":[{"role":"user","content":"u"}],"tools":[{"name":"get weather!","input_schema":{"type":"object","properties":{"a":{"type":"string"}}}},{"type":"web_search_20250305","name":"web_search"}]}"#;
const RESPONSES: &[u8] = br#"{"model":"gpt-x","input":"u","stream":true,"tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{}}},{"type":"custom","name":"c"},{"type":"web_search"}]}"#;

static MODELS: LazyLock<ModelMap> = LazyLock::new(|| {
    ModelMap::new([("claude-*", "gemini-3.7-flash"), ("gpt-*", "gemini-3.7-flash")]).unwrap()
});
static OF_MESSAGES: LazyLock<AnswerMemory> =
    LazyLock::new(|| messages(MESSAGES, &MODELS, &|_| true, None).unwrap().memory);
static OF_RESPONSES: LazyLock<AnswerMemory> =
    LazyLock::new(|| create(RESPONSES, &MODELS, &|_| true, None).unwrap().call.memory);

/// What a client is told of a body that comes in pieces and ends so.
fn told(mut stream: impl AnswerStream, body: &[u8], size: u8, end: StreamEnd) -> (Vec<u8>, bool) {
    let (mut out, mut data) = (Vec::new(), EventData::default());
    for piece in pieces(body, size) {
        data.push(piece, |event| stream.push_into(event, &mut out)).expect("no event is so long");
    }
    data.finish(|event| stream.push_into(event, &mut out));
    stream.end_into(end, &mut out);
    assert_eq!(stream.has_begun(), !out.is_empty());
    assert!(!out.is_empty() || stream.fault().is_some(), "a stream that says nothing has failed");
    if let Some(response) = stream.response() {
        assert!(is_json(response));
    }
    (out, stream.fault().is_some())
}

/// See the module.
pub fn run(input: &[u8]) {
    let [choice, size, body @ ..] = input else { return };
    let seed = AnswerSeed::new("0123456789abcdef", 1);
    let end = if choice & 1 == 0 { StreamEnd::Complete } else { StreamEnd::Broken("it broke".to_owned()) };
    let memory = |of: &AnswerMemory| if choice & 2 == 0 { of.clone() } else { AnswerMemory::default() };

    let stream = || MessagesStream::new(memory(&OF_MESSAGES), seed.clone());
    let (whole, has_failed) = told(stream(), body, 0, end.clone());
    for size in [1, *size] {
        assert_eq!(told(stream(), body, size, end.clone()), (whole.clone(), has_failed));
    }
    let received = messages_client::ReceivedMessage::of(&whole);
    assert!(whole.is_empty() || received.is_whole != received.error.is_some(), "it ends in one way");

    let stream = || ResponsesStream::new(memory(&OF_RESPONSES), seed.clone());
    let (whole, has_failed) = told(stream(), body, 0, end.clone());
    for size in [1, *size] {
        assert_eq!(told(stream(), body, size, end.clone()), (whole.clone(), has_failed));
    }
    ends_well(&whole, &["response.completed", "response.incomplete", "response.failed"]);
    numbers_are_whole(&whole);
}

/// Each event of Responses has the next number.
fn numbers_are_whole(events: &[u8]) {
    let text = std::str::from_utf8(events).expect("events are UTF-8");
    for (number, event) in text.split_terminator("\n\n").enumerate() {
        let (name, data) = event.split_once('\n').expect("an event has two lines");
        let data: serde_json::Value =
            serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("data is JSON");
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
        assert_eq!(data["sequence_number"], number, "{data}");
    }
}
