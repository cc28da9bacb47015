//! A whole answer as a Messages body. [`MessageHead`] is what a stream begins with, too.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::blocks::{AnswerBlocks, BlockSink, BlockStep};
use super::search::{SearchCitation, SearchFindings, SearchResult};
use crate::call::{AnswerFault, AnswerMemory, AnswerSeed, UnaryAnswer};
use crate::finish::{FinishReason, StopCause};
use crate::gemini::AnswerChunk;
use crate::usage::MessagesUsage;

/// The prefix of a message's id.
pub(super) const MESSAGE_ID: &str = "msg_";

/// Translates an answer that comes whole.
#[derive(Debug)]
pub struct MessagesAnswer {
    memory: AnswerMemory,
    seed: AnswerSeed,
}

impl MessagesAnswer {
    /// A translation of the answer to the request that `memory` is of.
    pub fn new(memory: AnswerMemory, seed: AnswerSeed) -> Self {
        Self { memory, seed }
    }
}

impl UnaryAnswer for MessagesAnswer {
    fn translate(&self, google: &[u8]) -> Result<Bytes, AnswerFault> {
        let chunk = AnswerChunk::read(google).map_err(|_| AnswerFault::Unreadable)?;
        if let Some(failure) = chunk.error {
            return Err(AnswerFault::Google(failure));
        }
        if chunk.parts.is_empty() && chunk.finish.is_none() && chunk.block_reason.is_none() {
            return Err(AnswerFault::Broken("the upstream gave no answer".to_owned()));
        }
        let mut content = ContentList::default();
        let mut blocks = AnswerBlocks::new(self.memory.thoughts);
        for part in &chunk.parts {
            blocks.part(part, &self.memory.names, &self.seed, &mut content);
        }
        let mut found = SearchFindings::default();
        if let Some(grounding) = chunk.grounding {
            found.take(grounding);
        }
        blocks.finish(&found, &self.seed, &mut content);
        let blocked = chunk.block_reason.as_deref();
        let cause = StopCause::of(chunk.finish.as_ref(), blocked.is_some(), blocks.has_calls());
        if let StopCause::Misformed(reason) = cause {
            return Err(AnswerFault::Misformed(reason));
        }
        let stop = MessageEnd::of(&cause, chunk.finish.as_ref(), blocked);
        let usage = chunk.usage.unwrap_or_default().of_messages();
        let head = MessageHead { id: self.seed.id(MESSAGE_ID), model: &self.memory.asked_model };
        let body = head.message(&content.blocks, stop, usage);
        Ok(Bytes::from(serde_json::to_vec(&body).map_err(|_| AnswerFault::Unreadable)?))
    }
}

/// What names a message.
pub(super) struct MessageHead<'m> {
    pub(super) id: String,
    pub(super) model: &'m str,
}

/// `message`.
#[derive(Serialize)]
pub(super) struct AnswerMessage<'m> {
    id: &'m str,
    r#type: &'static str,
    role: &'static str,
    model: &'m str,
    content: &'m [Box<RawValue>],
    #[serde(flatten)]
    end: MessageEnd,
    usage: MessagesUsage,
}

/// How a message ended, in the message and in `message_delta`. Of one that is under way, nothing.
#[derive(Debug, Default, Serialize)]
pub(super) struct MessageEnd {
    #[serde(rename = "stop_reason")]
    reason: Option<&'static str>,
    /// Google does not say which sequence it was, nor whether one was met.
    #[serde(rename = "stop_sequence")]
    sequence: Option<&'static str>,
    #[serde(rename = "stop_details")]
    details: Option<RefusalDetails>,
}

#[derive(Debug, Serialize)]
struct RefusalDetails {
    r#type: &'static str,
    /// Google's categories are none of Anthropic's.
    category: Option<&'static str>,
    explanation: String,
}

impl MessageEnd {
    /// The end for a cause. `finish` and `blocked` are Google's words, of which a refusal is explained.
    pub(super) fn of(cause: &StopCause, finish: Option<&FinishReason>, blocked: Option<&str>) -> Self {
        let explanation = match (cause, blocked, finish) {
            (StopCause::Refusal, Some(reason), _) => Some(format!("Google refused the prompt: {reason}")),
            (StopCause::Refusal, None, Some(reason)) => {
                Some(format!("Google held the answer back: {reason}"))
            }
            _ => None,
        };
        let details = |explanation| RefusalDetails { r#type: "refusal", category: None, explanation };
        Self { reason: cause.messages_stop_reason(), sequence: None, details: explanation.map(details) }
    }
}

impl MessageHead<'_> {
    /// The message with this content; of one that has just begun there is none.
    pub(super) fn message<'m>(
        &'m self,
        content: &'m [Box<RawValue>],
        end: MessageEnd,
        usage: MessagesUsage,
    ) -> AnswerMessage<'m> {
        AnswerMessage {
            id: &self.id,
            r#type: "message",
            role: "assistant",
            model: self.model,
            content,
            end,
            usage,
        }
    }
}

/// A content block, whole or at its beginning.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ContentBlock<'b> {
    Text {
        text: &'b str,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        citations: &'b [Box<RawValue>],
    },
    Thinking {
        thinking: &'b str,
        signature: &'b str,
    },
    ToolUse {
        id: &'b str,
        name: &'b str,
        input: &'b RawValue,
    },
    ServerToolUse {
        id: &'b str,
        name: &'static str,
        input: SearchInput<'b>,
    },
    WebSearchToolResult {
        tool_use_id: &'b str,
        content: &'b [SearchResult<'b>],
    },
}

/// What a web search is called with; at the beginning of a stream's block nothing yet.
#[derive(Serialize)]
pub(super) struct SearchInput<'b> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) query: Option<&'b str>,
}

/// The name of the tool that searches.
pub(super) const WEB_SEARCH: &str = "web_search";

/// The blocks of a whole answer, each written down when it is whole.
#[derive(Default)]
struct ContentList {
    blocks: Vec<Box<RawValue>>,
    is_thinking: bool,
    text: String,
    signature: String,
    citations: Vec<Box<RawValue>>,
}

impl ContentList {
    fn push(&mut self, block: &ContentBlock<'_>) {
        self.blocks.push(crate::json::raw_of(block));
    }

    fn begin(&mut self, is_thinking: bool) {
        self.is_thinking = is_thinking;
        self.text.clear();
        self.signature.clear();
        self.citations.clear();
    }
}

impl BlockSink for ContentList {
    fn step(&mut self, step: BlockStep<'_>) {
        match step {
            BlockStep::Text => self.begin(false),
            BlockStep::Thinking => self.begin(true),
            BlockStep::MoreText(text) | BlockStep::MoreThinking(text) => self.text.push_str(text),
            BlockStep::Citation(citation) => {
                self.citations.push(crate::json::raw_of::<SearchCitation<'_>>(&citation));
            }
            BlockStep::Signature(signature) => self.signature.push_str(signature),
            BlockStep::End => {
                let block = if self.is_thinking {
                    ContentBlock::Thinking { thinking: &self.text, signature: &self.signature }
                } else {
                    ContentBlock::Text { text: &self.text, citations: &self.citations }
                };
                let block = crate::json::raw_of(&block);
                self.blocks.push(block);
            }
            BlockStep::Call { id, name, input } => self.push(&ContentBlock::ToolUse { id, name, input }),
            BlockStep::Search { id, query } => {
                let input = SearchInput { query: Some(query) };
                self.push(&ContentBlock::ServerToolUse { id, name: WEB_SEARCH, input });
            }
            BlockStep::Found { id, results } => {
                self.push(&ContentBlock::WebSearchToolResult { tool_use_id: id, content: &results });
            }
        }
    }
}
