//! Anthropic's Messages: whatever a client sends is translated or refused, and what is translated is JSON; whatever Google
//! answers becomes events that a client can read, the last of which says how it ended.

#![no_main]

use formats::{
    AnswerMemory, AnswerSeed, AnswerStream, StreamEnd, UnaryAnswer,
    anthropic::{MessagesAnswer, MessagesStream, count_tokens, messages},
    models::ModelMap,
};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

fuzz_target!(|input: &[u8]| {
    let models = ModelMap::new([("claude-*", "gemini-3.7-flash")]).unwrap();
    for memory in [messages(input, &models, &|_| true, None), count_tokens(input, &models, &|_| true)].map(|call| {
        call.map(|call| {
            assert!(is_json(&call.body), "{:?}", call.body);
            call.memory
        })
        .unwrap_or_else(|error| {
            assert!(!error.to_string().is_empty());
            AnswerMemory::default()
        })
    }) {
        let seed = AnswerSeed::new("0123456789abcdef", 1);
        if let Ok(answer) = MessagesAnswer::new(memory.clone(), seed.clone()).translate(input) {
            assert!(is_json(&answer));
        }
        let mut stream = MessagesStream::new(memory, seed);
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
            assert!(last.starts_with("event: message_stop\n") || last.starts_with("event: error\n"), "{last}");
        }
    }
});
