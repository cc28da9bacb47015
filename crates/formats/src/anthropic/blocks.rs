//! An answer's content blocks, step by step: which block is open, where it ends, and what carries a signature. Both a
//! whole answer and a stream are made of these steps, which is why they are equal.
//!
//! A call's signature is in its id and, where the client sees thinking, in the thinking block before it. A text's is in a
//! thinking block after it, and so is one of a part that says nothing else, but only if something follows: clients take what an
//! answer says from its last block.

use serde_json::value::RawValue;
use twox_hash::XxHash3_64;

use super::search::{SearchCitation, SearchFindings, SearchResult};
use crate::call::{AnswerSeed, ThoughtDisplay};
use crate::gemini::{AnswerPart, AnswerPartKind};
use crate::json::empty_object;
use crate::media::uncarried;
use crate::names::NameTable;
use crate::signature::{CallIdPrefix, SignedPart, block, call_id};

/// The `signature` of a thinking block that carries none of Google's. Clients want one; read back it means nothing.
const UNSIGNED: &str = "gemini-n1-";

/// The most signatures that wait for something to follow.
const MAX_WAITING: usize = 16;

/// The most calls of one answer whose ids are compared.
const MAX_COMPARED_CALLS: usize = 1_024;

/// One step of an answer's content.
#[derive(Debug)]
pub(super) enum BlockStep<'s> {
    /// A text block begins.
    Text,
    /// A thinking block begins.
    Thinking,
    /// More of the open text block.
    MoreText(&'s str),
    /// More of the open thinking block.
    MoreThinking(&'s str),
    /// A citation of the open text block.
    Citation(SearchCitation<'s>),
    /// The open thinking block's signature, just before its end.
    Signature(&'s str),
    /// The open block ends.
    End,
    /// A whole `tool_use`.
    Call { id: &'s str, name: &'s str, input: &'s RawValue },
    /// A whole `server_tool_use` of the web search.
    Search { id: &'s str, query: &'s str },
    /// A whole `web_search_tool_result`.
    Found { id: &'s str, results: Vec<SearchResult<'s>> },
}

/// Takes the steps of an answer.
pub(super) trait BlockSink {
    /// Takes the next.
    fn step(&mut self, step: BlockStep<'_>);
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum OpenBlock {
    #[default]
    None,
    Text,
    Thinking,
}

/// The blocks of one answer.
#[derive(Debug, Default)]
pub(super) struct AnswerBlocks {
    thoughts: ThoughtDisplay,
    open: OpenBlock,
    /// Whether the last that was said, thoughts aside, is a text without a signature.
    ends_unsigned: bool,
    /// The signatures of thinking blocks for what was said, until it is known whether something follows.
    waiting: Vec<String>,
    /// Fingerprints of the ids of calls so far.
    call_ids: Vec<u64>,
    calls: usize,
}

impl AnswerBlocks {
    /// No block yet.
    pub(super) fn new(thoughts: ThoughtDisplay) -> Self {
        Self { thoughts, ..Self::default() }
    }

    /// Whether the answer has a call.
    pub(super) fn has_calls(&self) -> bool {
        self.calls > 0
    }

    /// Takes Google's next part.
    pub(super) fn part(
        &mut self,
        part: &AnswerPart<'_>,
        names: &NameTable,
        seed: &AnswerSeed,
        sink: &mut dyn BlockSink,
    ) {
        let signature = part.signature.as_deref();
        match &part.kind {
            AnswerPartKind::Text(text) => self.text(text, signature, sink),
            AnswerPartKind::Bare => self.text("", signature, sink),
            AnswerPartKind::Thought(text) => self.thought(text, sink),
            AnswerPartKind::Call { id, name, args } => {
                let none = empty_object();
                let call = GoogleCall { id: id.as_deref(), name, args: args.unwrap_or(&none), signature };
                self.call(&call, names, seed, sink);
            }
            AnswerPartKind::Inline { mime_type, .. } => {
                // A text of the gateway's own: what is not carried keeps its signature.
                self.text(&uncarried(mime_type), None, sink);
                self.ends_unsigned = false;
            }
            // Only what was never asked for, as code that Google ran.
            AnswerPartKind::Other(_) => {}
        }
    }

    /// Ends the content, with what a search found.
    pub(super) fn finish(&mut self, found: &SearchFindings, seed: &AnswerSeed, sink: &mut dyn BlockSink) {
        if self.open == OpenBlock::Text {
            for citation in found.citations() {
                sink.step(BlockStep::Citation(citation));
            }
        }
        self.close(UNSIGNED, sink);
        if !found.is_empty() {
            let id = seed.item("srvtoolu_", 0);
            sink.step(BlockStep::Search { id: &id, query: &found.query() });
            sink.step(BlockStep::Found { id: &id, results: found.results() });
        }
    }

    fn text(&mut self, text: &str, signature: Option<&str>, sink: &mut dyn BlockSink) {
        if !text.is_empty() {
            self.carry_signatures(sink);
            if self.open != OpenBlock::Text {
                self.close(UNSIGNED, sink);
                sink.step(BlockStep::Text);
                self.open = OpenBlock::Text;
            }
            sink.step(BlockStep::MoreText(text));
            self.ends_unsigned = true;
        }
        if let Some(signature) = signature {
            self.sign(signature);
        }
    }

    /// Takes a signature that no call has. It is that of the text before, if that has none; else it stays apart.
    fn sign(&mut self, signature: &str) {
        let part = if std::mem::take(&mut self.ends_unsigned) { SignedPart::Text } else { SignedPart::Apart };
        if self.thoughts != ThoughtDisplay::Hidden && self.waiting.len() < MAX_WAITING {
            self.waiting.push(block(part, signature));
        }
    }

    fn thought(&mut self, text: &str, sink: &mut dyn BlockSink) {
        if self.thoughts != ThoughtDisplay::Shown || text.is_empty() {
            return;
        }
        self.carry_signatures(sink);
        if self.open != OpenBlock::Thinking {
            self.close(UNSIGNED, sink);
            sink.step(BlockStep::Thinking);
            self.open = OpenBlock::Thinking;
        }
        sink.step(BlockStep::MoreThinking(text));
    }

    fn call(
        &mut self,
        call: &GoogleCall<'_>,
        names: &NameTable,
        seed: &AnswerSeed,
        sink: &mut dyn BlockSink,
    ) {
        self.carry_signatures(sink);
        self.ends_unsigned = false;
        if let Some(signature) = call.signature
            && self.thoughts != ThoughtDisplay::Hidden
        {
            if self.open != OpenBlock::Thinking {
                self.close(UNSIGNED, sink);
                sink.step(BlockStep::Thinking);
                self.open = OpenBlock::Thinking;
            }
            self.close(&block(SignedPart::Call, signature), sink);
        } else {
            self.close(UNSIGNED, sink);
        }
        let unique = seed.item("", self.calls);
        let google_id = call.id.filter(|id| self.is_new(id));
        let id = call_id(CallIdPrefix::Toolu, google_id, call.signature, &unique);
        let name = names.client_tool(call.name).map_or(call.name, |tool| &tool.name);
        sink.step(BlockStep::Call { id: &id, name, input: call.args });
        self.calls += 1;
    }

    /// Whether no call of this answer had this id. A client answers calls by their ids.
    fn is_new(&mut self, id: &str) -> bool {
        let fingerprint = XxHash3_64::oneshot(id.as_bytes());
        if self.call_ids.contains(&fingerprint) {
            return false;
        }
        if self.call_ids.len() < MAX_COMPARED_CALLS {
            self.call_ids.push(fingerprint);
        }
        true
    }

    /// Before anything that follows: ends what is open, and puts a block with each signature that waits after it.
    fn carry_signatures(&mut self, sink: &mut dyn BlockSink) {
        for carrier in std::mem::take(&mut self.waiting) {
            self.close(UNSIGNED, sink);
            sink.step(BlockStep::Thinking);
            self.open = OpenBlock::Thinking;
            self.close(&carrier, sink);
        }
    }

    /// Ends the open block, a thinking block with this signature.
    fn close(&mut self, signature: &str, sink: &mut dyn BlockSink) {
        match std::mem::take(&mut self.open) {
            OpenBlock::None => return,
            OpenBlock::Text => {}
            OpenBlock::Thinking => sink.step(BlockStep::Signature(signature)),
        }
        sink.step(BlockStep::End);
    }
}

struct GoogleCall<'c> {
    id: Option<&'c str>,
    name: &'c str,
    args: &'c RawValue,
    signature: Option<&'c str>,
}
