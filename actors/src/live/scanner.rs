//! What is looked for in the upstream's messages as they pass: the key, which must not; handles it gives out; the tokens
//! it says were used.

use crate::key_ring::Key;
use gemini::{
    classify::redact,
    live::new_handle,
    usage::{Usage, UsageForm, UsageKey, UsageScanner},
};
use memchr::memmem::Finder;
use tokio_tungstenite::tungstenite::Message;

/// See the module.
pub struct MessageScanner<'k> {
    key: &'k Key,
    finder: Finder<'k>,
    /// Of all turns together: each tells its own.
    pub(super) usage: Option<Usage>,
    /// Of a turn that nobody has counted yet.
    pub(super) turn: Option<Usage>,
}

impl<'k> MessageScanner<'k> {
    /// Looks for this key, at the start of a session.
    pub fn new(key: &'k Key) -> Self {
        Self { key, finder: Finder::new(key.secret().expose()), usage: None, turn: None }
    }

    /// The handle that a message gives out.
    pub fn handle(&mut self, message: &Message) -> Option<String> {
        let bytes = content(message);
        let mut scanner = UsageScanner::new(UsageKey::Metadata);
        scanner.push(bytes);
        if let Some(turn) = scanner.finish() {
            self.usage = Some(sum(self.usage.unwrap_or_default(), turn));
            self.turn = Some(Usage { form: UsageForm::Live, ..turn });
        }
        new_handle(bytes)
    }

    /// The message as it goes on: as it came, unless the key is in it.
    pub fn pass(&self, message: Message) -> Message {
        if self.finder.find(content(&message)).is_none() {
            return message;
        }
        let redacted = redact(content(&message), &[self.key.secret().expose()]).into_owned();
        match (message, String::from_utf8(redacted)) {
            (Message::Text(_), Ok(text)) => Message::text(text),
            (_, Ok(text)) => Message::binary(text),
            (_, Err(bytes)) => Message::binary(bytes.into_bytes()),
        }
    }
}

/// A message's own bytes, whichever its opcode.
pub(super) fn content(message: &Message) -> &[u8] {
    match message {
        Message::Text(text) => text.as_str().as_bytes(),
        Message::Binary(bytes) => bytes,
        _ => &[],
    }
}

fn sum(all: Usage, turn: Usage) -> Usage {
    let add = |all: Option<u64>, turn: Option<u64>| match (all, turn) {
        (Some(all), Some(turn)) => Some(all.saturating_add(turn)),
        (all, turn) => all.or(turn),
    };
    Usage {
        prompt_tokens: add(all.prompt_tokens, turn.prompt_tokens),
        output_tokens: add(all.output_tokens, turn.output_tokens),
        thoughts_tokens: add(all.thoughts_tokens, turn.thoughts_tokens),
        cached_tokens: add(all.cached_tokens, turn.cached_tokens),
        tool_tokens: add(all.tool_tokens, turn.tool_tokens),
        total_tokens: add(all.total_tokens, turn.total_tokens),
        form: UsageForm::Live,
    }
}
