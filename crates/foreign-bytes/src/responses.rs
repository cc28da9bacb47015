//! OpenAI's Responses: whatever a client sends is translated or refused, what is translated is JSON, and what is kept of it
//! is read again; whatever Google answers becomes events that a client can read, the last of which says how it ended.

use crate::told::{ends_in_one_of, is_json};
use formats::{
    AnswerMemory, AnswerSeed, UnaryAnswer,
    models::ModelMap,
    responses::{
        ResponsesAnswer, ResponsesStream, StoredResponse, create, input_tokens, previous_id, referenced_ids,
    },
};

/// See the module.
pub fn run(input: &[u8]) {
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
    ends_in_one_of(
        &mut ResponsesStream::new(memory, seed),
        input,
        &["response.completed", "response.incomplete", "response.failed"],
    );
}
