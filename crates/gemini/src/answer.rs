//! Whether a 200 of `generateContent`, `streamGenerateContent` or `chat/completions` says anything. Google's models now
//! and then answer with no text, no call and no reason; the same request made again usually succeeds. An answer that says
//! why it is empty (a block, a safety stop, a limit spent on thoughts) is valid and nobody's fault: it is no empty answer
//! here. Other operations' answers are not to be asked about.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::pieces::pieces;

/// Nothing is said in few words: what is longer than this is not looked at and not called empty.
const MAX_EMPTY_BYTES: usize = 64 * 1024;

/// What a part of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Says {
    /// No word and no reason so far; more may come. A stream that ends after such events only was empty.
    NothingYet,
    /// The model stopped without a word or a reason.
    Nothing,
    /// Something: an answer, a thought, a reason, an error, or whatever cannot be read as nothing.
    Something,
}

/// Whether a whole answer, unary or streamed, in either dialect, says nothing and not why: no candidates (`choices`)
/// and no block reason, or all of them without a part but thoughts and with no other finish reason than `STOP`. The
/// body's content coding must be undone. Cheap on any real answer: only what is shorter than 64 KiB is read, once.
pub fn is_empty_answer(body: &[u8]) -> bool {
    if body.len() > MAX_EMPTY_BYTES {
        return false;
    }
    let start = body.trim_ascii_start();
    let framed = [&b"{"[..], b"[", b"data:", b":"].iter().any(|framing| start.starts_with(framing));
    (framed || start.is_empty()) && pieces(body).all(|piece| read(&piece.data) != Read::Something)
}

/// What one event of a streamed answer says, framed as it came (`data: ...`, or an array's element). A relay that may
/// still retry asks about the first event, and about the next while it is [`Says::NothingYet`].
pub fn event_says(event: &[u8]) -> Says {
    if event.len() > MAX_EMPTY_BYTES {
        return Says::Something;
    }
    let says = pieces(event).map(|piece| match read(&piece.data) {
        Read::NothingYet => Says::NothingYet,
        Read::Nothing => Says::Nothing,
        // Where there are thoughts an answer follows.
        Read::Thoughts | Read::Something => Says::Something,
    });
    says.max().unwrap_or(Says::NothingYet)
}

/// What one document says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    NothingYet,
    Nothing,
    Thoughts,
    Something,
}

fn read(document: &[u8]) -> Read {
    if document.is_empty() {
        return Read::NothingYet;
    }
    if document == b"[DONE]" {
        return Read::Nothing;
    }
    // What does not fit the shape of an empty answer is none: a field that is not known may be what was asked for.
    if let Ok(answer) = serde_json::from_slice::<Native<'_>>(document) {
        answer.says()
    } else if let Ok(answer) = serde_json::from_slice::<Chat<'_>>(document) {
        answer.says()
    } else {
        Read::Something
    }
}

/// Of several candidates the one that says most counts.
fn most(candidates: impl Iterator<Item = Read>) -> Read {
    let mut most = Read::NothingYet;
    for says in candidates {
        most = match (most, says) {
            (Read::Something, _) | (_, Read::Something) => return Read::Something,
            (Read::Thoughts, _) | (_, Read::Thoughts) => Read::Thoughts,
            (Read::Nothing, _) | (_, Read::Nothing) => Read::Nothing,
            _ => Read::NothingYet,
        };
    }
    most
}

/// A candidate that ended for `reason` with no more than thoughts.
fn ended(reason: Option<&RawValue>, thoughts: bool) -> Read {
    match reason.map(RawValue::get) {
        None | Some("\"FINISH_REASON_UNSPECIFIED\"") if thoughts => Read::Thoughts,
        None | Some("\"FINISH_REASON_UNSPECIFIED\"") => Read::NothingYet,
        Some("\"STOP\"" | "\"stop\"") => Read::Nothing,
        // It says why.
        Some(_) => Read::Something,
    }
}

/// A `GenerateContentResponse` with no field but those that say nothing to the user.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "named so that they are known")]
struct Native<'a> {
    #[serde(borrow)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow)]
    prompt_feedback: Option<Feedback<'a>>,
    usage_metadata: Option<IgnoredAny>,
    model_version: Option<IgnoredAny>,
    response_id: Option<IgnoredAny>,
    create_time: Option<IgnoredAny>,
    model_status: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback<'a> {
    #[serde(borrow)]
    block_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "named so that it is known")]
struct Content<'a> {
    #[serde(borrow)]
    parts: Option<Vec<Part<'a>>>,
    role: Option<IgnoredAny>,
}

/// Text, perhaps a thought. Every other kind of part is something.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "named so that it is known")]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    thought: Option<bool>,
    thought_signature: Option<IgnoredAny>,
}

impl Native<'_> {
    fn says(&self) -> Read {
        let reason = self.prompt_feedback.as_ref().and_then(|feedback| feedback.block_reason);
        if reason.is_some_and(|reason| reason.get() != "\"BLOCK_REASON_UNSPECIFIED\"") {
            return Read::Something;
        }
        most(self.candidates.iter().flatten().map(Candidate::says))
    }
}

impl Candidate<'_> {
    fn says(&self) -> Read {
        let mut thoughts = false;
        for part in self.content.iter().flat_map(|content| content.parts.iter().flatten()) {
            if part.text.is_some_and(|text| text.get() != "\"\"") {
                if part.thought != Some(true) {
                    return Read::Something;
                }
                thoughts = true;
            }
        }
        ended(self.finish_reason, thoughts)
    }
}

/// A chat completion, or a chunk of one. Its other fields say nothing to the user.
#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, alias = "delta")]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

/// `extra_content` carries a thought's signature.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "named so that they are known")]
struct Message<'a> {
    role: Option<IgnoredAny>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    refusal: Option<IgnoredAny>,
    tool_calls: Option<Vec<IgnoredAny>>,
    extra_content: Option<IgnoredAny>,
}

impl Chat<'_> {
    fn says(&self) -> Read {
        if self.error.is_some() {
            return Read::Something;
        }
        most(self.choices.iter().map(Choice::says))
    }
}

impl Choice<'_> {
    fn says(&self) -> Read {
        let speaks = self.message.as_ref().is_some_and(|message| {
            message.content.is_some_and(|content| !matches!(content.get(), "\"\"" | "[]"))
                || message.refusal.is_some()
                || message.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty())
        });
        if speaks { Read::Something } else { ended(self.finish_reason, false) }
    }
}
