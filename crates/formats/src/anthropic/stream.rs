//! A streamed answer as events of Messages. One block is open at a time; texts are passed on as they come and never kept.
//! Nothing is sent before there is something to say, so that an error before it keeps its status; a failure afterwards is
//! an `error` event, and never a `message_stop`, which clients would take for a whole answer.

use std::borrow::Cow;

use serde::Serialize;

use super::answer::{
    AnswerMessage, ContentBlock, MESSAGE_ID, MessageEnd, MessageHead, SearchInput, WEB_SEARCH,
};
use super::blocks::{AnswerBlocks, BlockSink, BlockStep};
use super::error::{ErrorObject, fault_error};
use super::search::{SearchCitation, SearchFindings};
use crate::call::{AnswerFault, AnswerMemory, AnswerSeed, AnswerStream, StreamEnd};
use crate::finish::{FinishReason, StopCause};
use crate::gemini::{AnswerChunk, AnswerPart, AnswerPartKind};
use crate::json::{empty_object, raw_of};
use crate::sse::{EventFrame, append_event};
use crate::usage::{MessagesUsage, TokenUsage};

/// The event that keeps proxies and clients awake while nothing is said, framed. Only after the answer has begun.
pub const PING: &[u8] = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";

/// Translates an answer that comes in events.
#[derive(Debug)]
pub struct MessagesStream {
    memory: AnswerMemory,
    seed: AnswerSeed,
    blocks: AnswerBlocks,
    found: SearchFindings,
    usage: TokenUsage,
    finish: Option<FinishReason>,
    /// Why the prompt was refused, if it was.
    blocked: Option<String>,
    /// Where the next block will be; `None` before `message_start`.
    next: Option<usize>,
    fault: Option<AnswerFault>,
    has_ended: bool,
}

impl MessagesStream {
    /// A translation of the answer to the request that `memory` is of.
    pub fn new(memory: AnswerMemory, seed: AnswerSeed) -> Self {
        Self {
            blocks: AnswerBlocks::new(memory.thoughts),
            memory,
            seed,
            found: SearchFindings::default(),
            usage: TokenUsage::default(),
            finish: None,
            blocked: None,
            next: None,
            fault: None,
            has_ended: false,
        }
    }

    /// Whether Google has said how the answer ends.
    fn has_finished(&self) -> bool {
        self.finish.is_some() || self.blocked.is_some()
    }

    /// What the end means, as far as it is known. `calls` is whether there are calls that were not told yet.
    fn stop(&self, calls: bool) -> StopCause {
        StopCause::of(self.finish.as_ref(), self.blocked.is_some(), calls || self.blocks.has_calls())
    }

    /// Notes why the answer failed, and tells the client if it was sent anything.
    fn fail(&mut self, fault: AnswerFault, into: &mut Vec<u8>) {
        if self.next.is_some() {
            let (_, kind, message) = fault_error(&fault);
            let error = ErrorObject { r#type: kind, message: &message, details: None };
            write_event(into, &StreamEvent::Error { error });
        }
        self.fault = Some(fault);
    }

    /// The blocks, and a sink that writes their steps behind `into`.
    fn sink<'s>(&'s mut self, into: &'s mut Vec<u8>) -> (&'s mut AnswerBlocks, EventSink<'s>) {
        let (memory, seed) = (&self.memory, &self.seed);
        let usage = self.usage.of_messages();
        (&mut self.blocks, EventSink { into, next: &mut self.next, memory, seed, usage })
    }
}

impl AnswerStream for MessagesStream {
    fn push_into(&mut self, event: &[u8], into: &mut Vec<u8>) {
        if self.fault.is_some() || self.has_ended {
            return;
        }
        let Ok(chunk) = AnswerChunk::read(event) else {
            // Behind the end of an answer it is no loss.
            if self.has_finished() {
                return;
            }
            return self.fail(AnswerFault::Unreadable, into);
        };
        if let Some(failure) = chunk.error {
            // Nor is this one.
            if self.has_finished() {
                return;
            }
            return self.fail(AnswerFault::Google(failure), into);
        }
        self.usage = chunk.usage.unwrap_or(self.usage);
        self.blocked = chunk.block_reason.map(Cow::into_owned).or(self.blocked.take());
        if let Some(grounding) = chunk.grounding {
            self.found.take(grounding);
        }
        self.finish = chunk.finish.or(self.finish.take());
        let is_call = |part: &AnswerPart<'_>| matches!(part.kind, AnswerPartKind::Call { .. });
        // Before anything of this event is told: one that fails at once can still be asked for again.
        if let StopCause::Misformed(reason) = self.stop(chunk.parts.iter().any(is_call)) {
            return self.fail(AnswerFault::Misformed(reason), into);
        }
        let (blocks, mut sink) = self.sink(into);
        for part in &chunk.parts {
            blocks.part(part, &sink.memory.names, sink.seed, &mut sink);
        }
    }

    fn end_into(&mut self, how: StreamEnd, into: &mut Vec<u8>) {
        if self.fault.is_some() || std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        // Google has said why it ended, so that it does not matter how the connection did.
        if !self.has_finished() {
            let why = match how {
                StreamEnd::Broken(why) => why,
                StreamEnd::Complete => "the upstream's stream ended before the answer did".to_owned(),
            };
            return self.fail(AnswerFault::Broken(why), into);
        }
        let found = std::mem::take(&mut self.found);
        let (blocks, mut sink) = self.sink(into);
        sink.begin();
        blocks.finish(&found, sink.seed, &mut sink);
        let delta = MessageEnd::of(&self.stop(false), self.finish.as_ref(), self.blocked.as_deref());
        write_event(into, &StreamEvent::MessageDelta { delta, usage: self.usage.of_messages() });
        write_event(into, &StreamEvent::MessageStop);
    }

    fn has_begun(&self) -> bool {
        self.next.is_some()
    }

    fn fault(&self) -> Option<&AnswerFault> {
        self.fault.as_ref()
    }
}

/// One event. Its name is its `type`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum StreamEvent<'e> {
    MessageStart { message: AnswerMessage<'e> },
    ContentBlockStart { index: usize, content_block: ContentBlock<'e> },
    ContentBlockDelta { index: usize, delta: BlockDelta<'e> },
    ContentBlockStop { index: usize },
    MessageDelta { delta: MessageEnd, usage: MessagesUsage },
    MessageStop,
    Error { error: ErrorObject<'e> },
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum BlockDelta<'e> {
    #[serde(rename = "signature_delta")]
    Signature { signature: &'e str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'e str },
    #[serde(rename = "citations_delta")]
    Citations { citation: SearchCitation<'e> },
}

impl StreamEvent<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
            Self::Error { .. } => "error",
        }
    }
}

fn write_event(into: &mut Vec<u8>, event: &StreamEvent<'_>) {
    append_event(into, event.name(), event);
}

/// Writes steps as events, `message_start` before the first.
struct EventSink<'s> {
    into: &'s mut Vec<u8>,
    next: &'s mut Option<usize>,
    memory: &'s AnswerMemory,
    seed: &'s AnswerSeed,
    usage: MessagesUsage,
}

impl EventSink<'_> {
    /// Writes `message_start`, once, and returns where the next block will be.
    fn begin(&mut self) -> usize {
        if let Some(next) = *self.next {
            return next;
        }
        let head = MessageHead { id: self.seed.id(MESSAGE_ID), model: &self.memory.asked_model };
        let message = head.message(&[], MessageEnd::default(), self.usage);
        write_event(self.into, &StreamEvent::MessageStart { message });
        *self.next = Some(0);
        0
    }

    fn start(&mut self, content_block: ContentBlock<'_>) {
        let index = self.begin();
        write_event(self.into, &StreamEvent::ContentBlockStart { index, content_block });
    }

    /// Writes more of the open block's text: what most events of a stream are, and no shape of serde's therefore.
    fn text_delta(&mut self, kind: &str, member: &str, text: &str) {
        const AROUND: usize = 96;
        let index = self.begin();
        let mut frame = EventFrame::begin(self.into, "content_block_delta", AROUND + text.len());
        frame.value("index", &index).object("delta", kind).text(member, text).end_object();
        frame.end();
    }

    fn delta(&mut self, delta: BlockDelta<'_>) {
        let index = self.begin();
        write_event(self.into, &StreamEvent::ContentBlockDelta { index, delta });
    }

    fn stop(&mut self) {
        let index = self.begin();
        write_event(self.into, &StreamEvent::ContentBlockStop { index });
        *self.next = Some(index + 1);
    }
}

impl BlockSink for EventSink<'_> {
    fn step(&mut self, step: BlockStep<'_>) {
        match step {
            BlockStep::Text => self.start(ContentBlock::Text { text: "", citations: &[] }),
            BlockStep::Thinking => self.start(ContentBlock::Thinking { thinking: "", signature: "" }),
            BlockStep::MoreText(text) => self.text_delta("text_delta", "text", text),
            BlockStep::MoreThinking(text) => self.text_delta("thinking_delta", "thinking", text),
            BlockStep::Citation(citation) => self.delta(BlockDelta::Citations { citation }),
            BlockStep::Signature(signature) => self.delta(BlockDelta::Signature { signature }),
            BlockStep::End => self.stop(),
            BlockStep::Call { id, name, input } => {
                self.start(ContentBlock::ToolUse { id, name, input: &empty_object() });
                self.delta(BlockDelta::InputJson { partial_json: input.get() });
                self.stop();
            }
            BlockStep::Search { id, query } => {
                let nothing = SearchInput { query: None };
                self.start(ContentBlock::ServerToolUse { id, name: WEB_SEARCH, input: nothing });
                let input = raw_of(&SearchInput { query: Some(query) });
                self.delta(BlockDelta::InputJson { partial_json: input.get() });
                self.stop();
            }
            BlockStep::Found { id, results } => {
                self.start(ContentBlock::WebSearchToolResult { tool_use_id: id, content: &results });
                self.stop();
            }
        }
    }
}
