//! What a format is: the shape that every format's request and answers follow. The forward actor sends a
//! [`GeminiCall`] to Google and feeds what comes back to a [`UnaryAnswer`] or an [`AnswerStream`], which the formats
//! implement. Nothing of one vendor is here.

use std::fmt;

use bytes::Bytes;
use twox_hash::XxHash3_64;

use crate::finish::FinishReason;
use crate::gemini::GoogleFailure;
use crate::names::NameTable;

/// A client's request as Google is to be asked.
#[derive(Debug)]
pub struct GeminiCall {
    /// Google's name of the model, without `models/`: what token lists, limits and the path speak of.
    pub model: String,
    /// Whether the client wants events: `streamGenerateContent?alt=sse` rather than `generateContent`.
    pub streamed: bool,
    /// The body, JSON. Equal requests give equal bytes, so that Google's implicit cache finds the prefix.
    pub body: Bytes,
    /// What names the conversation, so that its next step may go to the same key.
    pub sticky: Option<StickyHint>,
    /// What the answer's translation has to know of the request.
    pub memory: AnswerMemory,
}

/// What of a request its answer's translation needs.
#[derive(Clone, Debug, Default)]
pub struct AnswerMemory {
    /// The model as the client asked for it: the answer repeats it.
    pub asked_model: String,
    /// The way back from Google's tool names to the client's.
    pub names: NameTable,
    /// Whether the client sees thoughts.
    pub thoughts: ThoughtDisplay,
    /// Members of the request that the answer repeats, as a JSON object; `None` where the format repeats none.
    pub echo: Option<Bytes>,
}

/// What a client is shown of the model's thoughts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ThoughtDisplay {
    /// Nothing, not even that there were some: it did not ask for thinking.
    #[default]
    Hidden,
    /// A block with its signature, but without text.
    Omitted,
    /// The summaries that Google gives.
    Shown,
}

/// A fingerprint of what names a conversation: never the client's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StickyHint(u64);

impl StickyHint {
    /// The hint of what the client calls its conversation; `None` for an empty name.
    pub fn of(conversation: &str) -> Option<Self> {
        (!conversation.is_empty()).then(|| Self(XxHash3_64::oneshot(conversation.as_bytes())))
    }

    /// Returns the fingerprint, which the pool keeps the conversation's steps together by.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// What makes an answer's ids, which the pure code cannot make up: unique per answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerSeed {
    id: String,
    /// When the answer was begun, in seconds since 1970.
    pub created_s: u64,
}

impl AnswerSeed {
    /// A seed of `id`, of which all but ASCII letters and digits is left out.
    pub fn new(id: &str, created_s: u64) -> Self {
        Self { id: id.chars().filter(char::is_ascii_alphanumeric).collect(), created_s }
    }

    /// The answer's own id: `msg_…`, `resp_…`.
    pub fn id(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.id)
    }

    /// The id of the answer's `index`th item of a kind, different from all its others.
    pub fn item(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}{}{index:02}", self.id)
    }
}

/// How the events from Google ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// Google closed the stream cleanly.
    Complete,
    /// The stream broke off, or was silent too long; what the client may be told.
    Broken(String),
}

/// Why an answer of Google's is no answer to the client.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerFault {
    /// The model failed to form a call or an answer, and said nothing else. As long as the client was sent nothing,
    /// one more try is worth it.
    Misformed(FinishReason),
    /// Google says an error in place of an answer or an event.
    Google(GoogleFailure),
    /// What came is not Google's JSON.
    Unreadable,
    /// The stream ended before the answer did; what the client may be told.
    Broken(String),
}

impl AnswerFault {
    /// Whether asking once more is worth it, as long as the client was sent nothing.
    pub fn may_be_retried(&self) -> bool {
        matches!(self, Self::Misformed(_) | Self::Broken(_))
    }
}

impl fmt::Display for AnswerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misformed(reason) => {
                write!(f, "the model's answer could not be used ({reason}); ask again")
            }
            Self::Google(failure) => f.write_str(&failure.message),
            Self::Unreadable => f.write_str("the upstream's answer could not be read"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for AnswerFault {}

/// Translates an answer that comes whole.
pub trait UnaryAnswer: Send {
    /// Returns the client's body for Google's `GenerateContentResponse`.
    fn translate(&self, google: &[u8]) -> Result<Bytes, AnswerFault>;
}

/// Translates an answer that comes in events. One machine an answer; what it holds is bounded.
pub trait AnswerStream: Send {
    /// Takes the JSON of Google's next event and writes the client's events for it behind what `into` holds, framed and
    /// ready to send. It writes nothing until it is sure of an answer, so that an error before it still has its own status.
    fn push_into(&mut self, event: &[u8], into: &mut Vec<u8>);

    /// Ends the answer: writes the client's last events, those of a failure included if the client was sent any before.
    fn end_into(&mut self, how: StreamEnd, into: &mut Vec<u8>);

    /// Takes an event as [`AnswerStream::push_into`] does, and returns what it writes: one piece, or none.
    fn push(&mut self, event: &[u8]) -> Vec<Bytes> {
        piece_of(|into| self.push_into(event, into))
    }

    /// Ends the answer as [`AnswerStream::end_into`] does, and returns what it writes: one piece, or none.
    fn end(&mut self, how: StreamEnd) -> Vec<Bytes> {
        piece_of(|into| self.end_into(how, into))
    }

    /// Whether the client was sent anything.
    fn has_begun(&self) -> bool;

    /// Why the answer failed, if it did. Before the client was sent anything, the caller answers with the format's
    /// error (or asks again, [`AnswerFault::may_be_retried`]); afterwards the machine has told the client itself.
    fn fault(&self) -> Option<&AnswerFault>;

    /// The whole answer once it has ended well, in the formats whose clients may go on from it by its id.
    fn response(&self) -> Option<&Bytes> {
        None
    }
}

/// What is written, if it is anything.
fn piece_of(write: impl FnOnce(&mut Vec<u8>)) -> Vec<Bytes> {
    let mut written = Vec::new();
    write(&mut written);
    if written.is_empty() { Vec::new() } else { vec![Bytes::from(written)] }
}
