//! OpenAI's Responses: whatever a client sends is translated or refused, what is translated is JSON, and what is kept of it
//! is read again; whatever Google answers becomes events that a client can read, the last of which says how it ended.

#![no_main]

use formats::{
    AnswerMemory, AnswerSeed, AnswerStream, StreamEnd, UnaryAnswer,
    models::ModelMap,
    responses::{ResponsesAnswer, ResponsesStream, StoredResponse, create, input_tokens, previous_id, referenced_ids},
};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

fuzz_target!(|input: &[u8]| {
    let models = ModelMap::new([("gpt-*", "gemini-3.7-flash")]).unwrap();
    let _ = (previous_id(input), referenced_ids(input));
    let previous = StoredResponse::decode(input);
    if let Some(previous) = &previous {
        assert!(is_json(&previous.response_body()) && StoredResponse::decode(&previous.encode()).is_some());
    }
    let _ = input_tokens(input, &models, &|_| true).map(|call| assert!(is_json(&call.body)));
    let (memory, draft) = match create(input, &models, &|_| true, previous.as_ref()) {
        Ok(call) => {
            assert!(is_json(&call.call.body), "{:?}", call.call.body);
            (call.call.memory, call.draft)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            (AnswerMemory::default(), None)
        }
    };
    let seed = AnswerSeed::new("0123456789abcdef", 1);
    if let Ok(answer) = ResponsesAnswer::new(memory.clone(), seed.clone()).translate(input) {
        assert!(is_json(&answer));
        if let Some(draft) = draft {
            let stored = draft.finish(&answer).unwrap();
            assert!(StoredResponse::decode(&stored.encode()).is_some());
        }
    }
    let mut stream = ResponsesStream::new(memory, seed);
    let mut told = Vec::new();
    for event in input.split(|byte| *byte == b'\n') {
        told.extend(stream.push(event));
    }
    told.extend(stream.end(StreamEnd::Complete));
    let text: Vec<u8> = told.concat();
    if text.is_empty() {
        assert!(stream.fault().is_some(), "a stream that says nothing has failed");
    } else {
        let text = std::str::from_utf8(&text).unwrap();
        let last = text.trim_end().rsplit("\n\n").next().unwrap();
        let ends = ["completed", "incomplete", "failed"];
        assert!(ends.iter().any(|end| last.starts_with(&format!("event: response.{end}\n"))), "{last}");
    }
});
