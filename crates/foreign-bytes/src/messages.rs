//! Anthropic's Messages: whatever a client sends is translated or refused, and what is translated is JSON; whatever Google
//! answers becomes events that a client can read, the last of which says how it ended.

use crate::told::{ends_in_one_of, is_json};
use formats::{
    AnswerMemory, AnswerSeed, UnaryAnswer,
    anthropic::{MessagesAnswer, MessagesStream, count_tokens, messages},
    models::ModelMap,
};

/// See the module.
pub fn run(input: &[u8]) {
    let models = ModelMap::new([("claude-*", "gemini-3.7-flash")]).unwrap();
    for memory in
        [messages(input, &models, &|_| true, None), count_tokens(input, &models, &|_| true)].map(|call| {
            if let Err(error) = &call {
                assert!(!error.to_string().is_empty());
            }
            let Ok(call) = call else { return AnswerMemory::default() };
            assert!(is_json(&call.body), "{:?}", call.body);
            call.memory
        })
    {
        let seed = AnswerSeed::new("0123456789abcdef", 1);
        if let Ok(answer) = MessagesAnswer::new(memory.clone(), seed.clone()).translate(input) {
            assert!(is_json(&answer));
        }
        ends_in_one_of(&mut MessagesStream::new(memory, seed), input, &["message_stop", "error"]);
    }
}
