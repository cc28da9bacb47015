//! Google's parts as output items of a response, in Google's order, with the events that tell of them. The same machine
//! makes an answer that comes whole, only that nobody hears its events; so both are one answer. It knows items alone:
//! the response around them is `stream`'s and `answer`'s.

mod done;
mod whole;

use std::collections::HashSet;

use serde_json::value::RawValue;

use self::done::DoneItems;
use super::RESPONSE_ID;
use super::events::{EventAudience, EventLog, EventPlace};
use super::items::REASONING_ID;
use super::search::FoundPages;
use super::wire::{ItemStatus, OutputItem, OutputPart};
use crate::call::{AnswerFault, AnswerMemory, AnswerSeed, ThoughtDisplay};
use crate::finish::{FinishReason, StopCause};
use crate::gemini::{AnswerChunk, AnswerPart, AnswerPartKind, Grounding};
use crate::json::{as_str, empty_text};
use crate::json_text::EscapedText;
use crate::media::uncarried;
use crate::signature::{SignedPart, block};
use crate::usage::TokenUsage;

/// The most that an answer may hold, in bytes: its last event repeats all of it, so it is kept until then. Twenty times
/// what a model says at most; what remains is for pictures.
pub(super) const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// The output of one answer under construction.
#[derive(Debug)]
pub(super) struct OutputWriter {
    seed: AnswerSeed,
    events: EventLog,
    done: DoneItems,
    open: Option<OpenItem>,
    held_bytes: usize,
    /// Bytes of the texts of messages that are done: Google's offsets count from the first.
    told_bytes: usize,
    /// Whether the last that was said, thoughts aside, is a text without a signature.
    ends_unsigned: bool,
    /// Signatures of parts that said nothing else, before anything was said.
    early: Vec<String>,
    has_call: bool,
    /// Google's ids of the calls so far.
    google_ids: HashSet<String>,
    has_said: bool,
    is_blocked: bool,
    finish: Option<FinishReason>,
    found: Option<FoundPages>,
    /// What was used, as far as it is known.
    pub(super) usage: Option<TokenUsage>,
}

/// An item that more may be added to.
#[derive(Debug)]
struct OpenItem {
    id: String,
    place: EventPlace,
    text: EscapedText,
    kind: OpenItemKind,
}

#[derive(Debug)]
enum OpenItemKind {
    Message {
        /// The text's signature. It ends the text, since no two signed parts may become one.
        signature: Option<String>,
    },
    Reasoning,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputEnd {
    Completed,
    /// With the reason.
    Incomplete(&'static str),
}

impl OutputWriter {
    /// A writer of an answer, whose events `audience` hears.
    pub(super) fn new(seed: AnswerSeed, audience: EventAudience) -> Self {
        Self {
            seed,
            events: EventLog::new(audience),
            done: DoneItems::default(),
            open: None,
            held_bytes: 0,
            told_bytes: 0,
            ends_unsigned: false,
            early: Vec::new(),
            has_call: false,
            google_ids: HashSet::new(),
            has_said: false,
            is_blocked: false,
            finish: None,
            found: None,
            usage: None,
        }
    }

    /// The response's id.
    pub(super) fn response_id(&self) -> String {
        self.seed.id(RESPONSE_ID)
    }

    /// When the response was begun, in seconds since 1970.
    pub(super) fn created_s(&self) -> u64 {
        self.seed.created_s
    }

    /// The items that are done.
    pub(super) fn done(&self) -> &DoneItems {
        &self.done
    }

    /// The events, of which the response's own are told by who owns it.
    pub(super) fn events(&mut self) -> &mut EventLog {
        &mut self.events
    }

    /// Whether a chunk's answer would fail for want of anything said, so that nothing of it is to be sent.
    pub(super) fn is_misformed_by(&self, chunk: &AnswerChunk<'_>) -> Option<FinishReason> {
        let calls = || chunk.parts.iter().any(|part| matches!(part.kind, AnswerPartKind::Call { .. }));
        match &chunk.finish {
            Some(reason @ FinishReason::Misformed(_)) if !self.has_call && !calls() => Some(reason.clone()),
            _ => None,
        }
    }

    /// Takes what the next chunk says.
    pub(super) fn take(&mut self, chunk: AnswerChunk<'_>, memory: &AnswerMemory) -> Result<(), AnswerFault> {
        self.usage = chunk.usage.or(self.usage);
        self.is_blocked |= chunk.block_reason.is_some();
        self.finish = chunk.finish.or(self.finish.take());
        if let Some(found) = chunk.grounding.map(Grounding::read).and_then(FoundPages::of) {
            self.found = Some(found);
        }
        for part in chunk.parts {
            self.take_part(part, memory);
            if self.held_bytes > MAX_ANSWER_BYTES {
                let most = MAX_ANSWER_BYTES / 1024 / 1024;
                return Err(AnswerFault::Broken(format!("the answer is larger than {most} MiB")));
            }
        }
        Ok(())
    }

    /// Whether Google has said how the answer ends.
    pub(super) fn has_finished(&self) -> bool {
        self.finish.is_some() || self.is_blocked
    }

    /// How the answer ends, if it is one. An answer that comes whole may lack its reason, as long as it says something.
    pub(super) fn end_of(&self) -> Result<OutputEnd, AnswerFault> {
        if !self.has_finished() && !self.has_said {
            return Err(AnswerFault::Broken("the upstream's answer ended before it began".to_owned()));
        }
        let cause = StopCause::of(self.finish.as_ref(), self.is_blocked, self.has_call);
        match (&cause, cause.responses_incomplete()) {
            (StopCause::Misformed(reason), _) => Err(AnswerFault::Misformed(reason.clone())),
            (_, Some(reason)) => Ok(OutputEnd::Incomplete(reason)),
            (_, None) => Ok(OutputEnd::Completed),
        }
    }

    /// Ends the last item, and tells of the search if there was one.
    pub(super) fn close_with(&mut self, end: OutputEnd) {
        let found = self.found.take();
        let status = if end == OutputEnd::Completed { ItemStatus::Completed } else { ItemStatus::Incomplete };
        self.close(status, None, found.as_ref());
        if let Some(found) = found {
            self.add_search(&found);
        }
    }

    /// Whether a part is something that the client is told.
    pub(super) fn is_told(part: &AnswerPartKind<'_>, memory: &AnswerMemory) -> bool {
        match part {
            AnswerPartKind::Text(text) => !text.is_empty(),
            AnswerPartKind::Thought(text) => !text.is_empty() && memory.thoughts == ThoughtDisplay::Shown,
            AnswerPartKind::Call { .. } | AnswerPartKind::Inline { .. } => true,
            AnswerPartKind::Bare | AnswerPartKind::Other(_) => false,
        }
    }

    fn take_part(&mut self, part: AnswerPart<'_>, memory: &AnswerMemory) {
        let signature = part.signature.as_deref();
        let is_told = Self::is_told(&part.kind, memory);
        if is_told {
            for early in std::mem::take(&mut self.early) {
                self.add_carrier(&block(SignedPart::Apart, &early));
            }
        }
        match part.kind {
            AnswerPartKind::Thought(text) => {
                self.has_said = true;
                if is_told {
                    self.add_thought(&text);
                }
            }
            AnswerPartKind::Text(text) if !text.is_empty() => {
                self.has_said = true;
                self.add_text(&text, signature);
            }
            AnswerPartKind::Text(_) | AnswerPartKind::Bare => {
                if let Some(signature) = signature {
                    self.sign(signature);
                }
            }
            AnswerPartKind::Call { id, name, args } => {
                self.has_said = true;
                self.close_signed(signature.map(|signature| block(SignedPart::Call, signature)));
                self.add_call(id.as_deref(), &name, args, signature, memory);
            }
            AnswerPartKind::Inline { mime_type, base64 } => {
                self.has_said = true;
                if let Some(format) = mime_type.strip_prefix("image/") {
                    self.held_bytes += signature.map_or(0, str::len);
                    self.close_signed(signature.map(|signature| block(SignedPart::Picture, signature)));
                    self.add_picture(format, &base64);
                } else {
                    // A text of the gateway's own: what is not carried keeps its signature.
                    self.add_text(&uncarried(&mime_type), None);
                    self.ends_unsigned = false;
                }
            }
            // Nothing was asked for that such parts could answer.
            AnswerPartKind::Other(_) => {}
        }
    }

    fn add_thought(&mut self, text: &str) {
        if !matches!(&self.open, Some(OpenItem { kind: OpenItemKind::Reasoning, .. })) {
            self.close(ItemStatus::Completed, None, None);
            let id = self.item_id(REASONING_ID);
            self.open_reasoning(&id);
            let place = EventPlace::of_part(self.done.count(), &id, "summary_index");
            self.events.emit_at("response.reasoning_summary_part.added", &place, 64, |event| {
                event.value("part", &OutputPart::SummaryText { text: empty_text() });
            });
            self.open =
                Some(OpenItem { id, place, text: EscapedText::default(), kind: OpenItemKind::Reasoning });
        }
        self.append(text);
    }

    fn add_text(&mut self, text: &str, signature: Option<&str>) {
        let is_open =
            matches!(&self.open, Some(OpenItem { kind: OpenItemKind::Message { signature: None }, .. }));
        if !is_open {
            self.close(ItemStatus::Completed, None, None);
            self.open_message();
        }
        self.ends_unsigned = signature.is_none();
        self.append(text);
        if let (Some(signature), Some(open)) = (signature, &mut self.open) {
            open.kind = OpenItemKind::Message { signature: Some(signature.to_owned()) };
        }
    }

    /// Takes the signature of a part that says nothing else. The text which it ends has it, if that has none of its own.
    fn sign(&mut self, signature: &str) {
        self.held_bytes += signature.len();
        if !std::mem::take(&mut self.ends_unsigned) {
            if self.open.is_none() && self.done.count() == 0 {
                self.early.push(signature.to_owned());
            } else {
                self.close_signed(Some(block(SignedPart::Apart, signature)));
            }
        } else if let Some(OpenItem { kind: OpenItemKind::Message { signature: free }, .. }) = &mut self.open
        {
            *free = Some(signature.to_owned());
        } else {
            self.close_signed(Some(block(SignedPart::Text, signature)));
        }
    }

    fn open_message(&mut self) {
        let id = self.item_id("msg_");
        let item =
            OutputItem::Message { id: &id, status: ItemStatus::InProgress, role: "assistant", content: &[] };
        self.events.emit_item("response.output_item.added", self.done.count(), &item);
        let place = EventPlace::of_part(self.done.count(), &id, "content_index");
        self.events.emit_at("response.content_part.added", &place, 64, |event| {
            let part = OutputPart::OutputText { text: empty_text(), annotations: &[], logprobs: [] };
            event.value("part", &part);
        });
        let kind = OpenItemKind::Message { signature: None };
        self.open = Some(OpenItem { id, place, text: EscapedText::default(), kind });
    }

    fn open_reasoning(&mut self, id: &str) {
        let item = OutputItem::Reasoning { id, summary: &[], encrypted_content: None };
        self.events.emit_item("response.output_item.added", self.done.count(), &item);
    }

    /// Adds to the open item's text.
    fn append(&mut self, text: &str) {
        self.held_bytes += text.len();
        let Some(OpenItem { place, text: told, kind, .. }) = &mut self.open else { return };
        let delta = told.push(text);
        let (event, behind) = match kind {
            OpenItemKind::Message { .. } => ("response.output_text.delta", r#","logprobs":[]"#),
            OpenItemKind::Reasoning => ("response.reasoning_summary_text.delta", ""),
        };
        self.events.emit_at(event, place, 32 + delta.len(), |event| {
            event.escaped("delta", delta).written(behind);
        });
    }

    /// Ends the open item, and lets a reasoning item carry `carrier`: the one that is open, or one without text.
    fn close_signed(&mut self, carrier: Option<String>) {
        let carrier = match &self.open {
            Some(OpenItem { kind: OpenItemKind::Reasoning, .. }) => {
                self.close(ItemStatus::Completed, carrier.as_deref(), None);
                return;
            }
            _ => carrier,
        };
        self.close(ItemStatus::Completed, None, None);
        if let Some(carrier) = carrier {
            self.add_carrier(&carrier);
        }
    }

    /// Adds a reasoning item that says nothing and carries a signature.
    fn add_carrier(&mut self, carrier: &str) {
        let id = self.item_id(REASONING_ID);
        self.open_reasoning(&id);
        let item = OutputItem::Reasoning { id: &id, summary: &[], encrypted_content: Some(carrier) };
        self.finish_item(&item, carrier.len());
    }

    /// Ends the open item, if there is one. `carrier` is for a reasoning item, `found` for a message.
    fn close(&mut self, status: ItemStatus, carrier: Option<&str>, found: Option<&FoundPages>) {
        let Some(OpenItem { id, place, text, kind }) = self.open.take() else { return };
        let plain_bytes = text.plain_bytes();
        let text = text.into_json();
        match kind {
            OpenItemKind::Reasoning => self.close_reasoning(&id, &place, &text, carrier),
            OpenItemKind::Message { signature } => {
                self.close_message(&id, &place, &text, status, found);
                self.told_bytes += plain_bytes;
                if let Some(signature) = signature {
                    self.add_carrier(&block(SignedPart::Text, &signature));
                }
            }
        }
    }

    fn close_reasoning(&mut self, id: &str, place: &EventPlace, text: &RawValue, carrier: Option<&str>) {
        let (part, room) = (OutputPart::SummaryText { text }, text.get().len());
        self.events.emit_at("response.reasoning_summary_text.done", place, 16 + room, |event| {
            event.json("text", text.get().as_bytes());
        });
        self.events.emit_at("response.reasoning_summary_part.done", place, 64 + room, |event| {
            event.value("part", &part);
        });
        let item = OutputItem::Reasoning { id, summary: &[part], encrypted_content: carrier };
        self.finish_item(&item, room + carrier.map_or(0, str::len));
    }

    fn close_message(
        &mut self,
        id: &str,
        place: &EventPlace,
        text: &RawValue,
        status: ItemStatus,
        found: Option<&FoundPages>,
    ) {
        let citations =
            |found: &FoundPages| found.citations(&as_str(text).unwrap_or_default(), self.told_bytes);
        let annotations = found.map(citations).unwrap_or_default();
        let part = OutputPart::OutputText { text, annotations: &annotations, logprobs: [] };
        let room = text.get().len();
        self.events.emit_at("response.output_text.done", place, 32 + room, |event| {
            event.json("text", text.get().as_bytes()).written(r#","logprobs":[]"#);
        });
        for (index, annotation) in annotations.iter().enumerate() {
            self.events.emit_at("response.output_text.annotation.added", place, 256, |event| {
                event.value("annotation_index", &index).value("annotation", annotation);
            });
        }
        self.events.emit_at("response.content_part.done", place, 96 + room, |event| {
            event.value("part", &part);
        });
        let item = OutputItem::Message { id, status, role: "assistant", content: &[part] };
        self.finish_item(&item, room);
    }

    /// Ends an item, of which `room` bytes are what varies in size.
    fn finish_item(&mut self, item: &OutputItem<'_>, room: usize) {
        const AROUND: usize = 256;
        let output_index = self.done.count();
        let json = self.done.add(item, AROUND + room);
        self.events.emit_written_item("response.output_item.done", output_index, json);
    }

    /// The id of the item that comes next. The response's id can be read from it: `references` does.
    fn item_id(&self, prefix: &str) -> String {
        format!("{}_{}", self.seed.id(prefix), self.done.count())
    }
}
