//! Reads a `GenerateContentResponse`: a whole answer, or one event of a stream. Parts come in Google's order, their
//! texts borrowed from the bytes; what is not known is kept raw. Both formats' answers are made of it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::GoogleFailure;
use crate::finish::FinishReason;
use crate::json::{FirstOf, JsonStr};
use crate::usage::TokenUsage;

/// What one `GenerateContentResponse` says.
#[derive(Debug, Default)]
pub struct AnswerChunk<'a> {
    /// The parts of the first candidate (more are never asked for).
    pub parts: Vec<AnswerPart<'a>>,
    /// `finishReason`, in the last chunk.
    pub finish: Option<FinishReason>,
    /// `finishMessage`: what went wrong, in words.
    pub finish_message: Option<Cow<'a, str>>,
    /// `usageMetadata`, cumulative: the last one counts.
    pub usage: Option<TokenUsage>,
    /// `promptFeedback.blockReason`: the prompt was refused.
    pub block_reason: Option<Cow<'a, str>>,
    /// `groundingMetadata` of the candidate, for `Grounding::read`.
    pub grounding: Option<&'a RawValue>,
    /// `modelVersion`.
    pub model_version: Option<Cow<'a, str>>,
    /// An error in place of an answer.
    pub error: Option<GoogleFailure>,
}

/// One part of an answer.
#[derive(Clone, Debug)]
pub struct AnswerPart<'a> {
    /// What it is.
    pub kind: AnswerPartKind<'a>,
    /// `thoughtSignature`, as it came.
    pub signature: Option<Cow<'a, str>>,
}

/// What a part of an answer is.
#[derive(Clone, Debug)]
pub enum AnswerPartKind<'a> {
    /// Text for the user; may be empty, mostly with a signature at an answer's end.
    Text(Cow<'a, str>),
    /// A summary of what the model thought, not meant as answer.
    Thought(Cow<'a, str>),
    /// `functionCall`.
    Call {
        /// Google's id of it: Gemini 3 and later.
        id: Option<Cow<'a, str>>,
        /// Google's name of the function.
        name: Cow<'a, str>,
        /// `args`: the object as it came, `None` where there is none.
        args: Option<&'a RawValue>,
    },
    /// `inlineData`.
    Inline {
        /// Its MIME type.
        mime_type: Cow<'a, str>,
        /// The bytes in base64.
        base64: Cow<'a, str>,
    },
    /// A part that is nothing but a signature.
    Bare,
    /// Any other part, whole.
    Other(&'a RawValue),
}

/// The bytes are no `GenerateContentResponse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChunk;

impl fmt::Display for BadChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the upstream's answer could not be read")
    }
}

impl std::error::Error for BadChunk {}

/// A response whose parts are read as `P`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "P: Deserialize<'de>"))]
struct WireChunk<'a, P> {
    #[serde(borrow)]
    candidates: Option<FirstOf<WireCandidate<'a, P>>>,
    usage_metadata: Option<TokenUsage>,
    prompt_feedback: Option<WireFeedback<'a>>,
    model_version: Option<JsonStr<'a>>,
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireFeedback<'a> {
    #[serde(borrow)]
    block_reason: Option<JsonStr<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "P: Deserialize<'de>"))]
struct WireCandidate<'a, P> {
    content: Option<WireContent<P>>,
    #[serde(borrow)]
    finish_reason: Option<JsonStr<'a>>,
    finish_message: Option<JsonStr<'a>>,
    grounding_metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireContent<P> {
    parts: Option<Vec<P>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePart<'a> {
    #[serde(borrow)]
    text: Option<JsonStr<'a>>,
    thought: Option<bool>,
    thought_signature: Option<JsonStr<'a>>,
    function_call: Option<WireCall<'a>>,
    inline_data: Option<WireBlob<'a>>,
}

#[derive(Deserialize)]
struct WireCall<'a> {
    #[serde(borrow)]
    id: Option<JsonStr<'a>>,
    name: Option<JsonStr<'a>>,
    args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBlob<'a> {
    #[serde(borrow)]
    mime_type: Option<JsonStr<'a>>,
    data: Option<JsonStr<'a>>,
}

impl<'a> AnswerChunk<'a> {
    /// Reads one response. An error may also come in a list of one, as Google's OpenAI layer and streams without
    /// `alt=sse` have it.
    pub fn read(json: &'a [u8]) -> Result<Self, BadChunk> {
        // In one pass, unless there is a part that only its bytes can tell: an answer has few of those.
        let (mut chunk, parts) = Self::read_around::<WirePart<'a>>(json)?;
        chunk.parts.reserve_exact(parts.len());
        for part in parts {
            let Some(part) = AnswerPart::known(part) else { return Self::read_raw(json) };
            chunk.parts.push(part);
        }
        Ok(chunk)
    }

    /// Reads a response whose parts are read each from its own bytes.
    fn read_raw(json: &'a [u8]) -> Result<Self, BadChunk> {
        let (mut chunk, parts) = Self::read_around::<&'a RawValue>(json)?;
        chunk.parts = parts.into_iter().map(AnswerPart::read).collect::<Result<_, _>>()?;
        Ok(chunk)
    }

    /// Reads all but the parts, which it returns as they are.
    fn read_around<P: Deserialize<'a>>(json: &'a [u8]) -> Result<(Self, Vec<P>), BadChunk> {
        let wire: WireChunk<'a, P> = if json.trim_ascii_start().starts_with(b"[") {
            let mut list: Vec<WireChunk<'a, P>> = parsed(json)?;
            if list.len() != 1 {
                return Err(BadChunk);
            }
            list.pop().ok_or(BadChunk)?
        } else {
            parsed(json)?
        };
        let mut chunk = Self {
            usage: wire.usage_metadata,
            block_reason: wire
                .prompt_feedback
                .and_then(|feedback| feedback.block_reason)
                .map(JsonStr::into_inner),
            model_version: wire.model_version.map(JsonStr::into_inner),
            error: wire.error.map(GoogleFailure::of_value),
            ..Self::default()
        };
        let Some(candidate) = wire.candidates.and_then(|candidates| candidates.0) else {
            return Ok((chunk, Vec::new()));
        };
        chunk.finish = candidate.finish_reason.map(|word| FinishReason::parse(&word));
        chunk.finish_message = candidate.finish_message.map(JsonStr::into_inner);
        chunk.grounding = candidate.grounding_metadata;
        Ok((chunk, candidate.content.and_then(|content| content.parts).unwrap_or_default()))
    }
}

/// Parses a document. Text that is known to be UTF-8 is not looked at again string by string.
fn parsed<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, BadChunk> {
    match std::str::from_utf8(json) {
        Ok(text) => serde_json::from_str(text),
        // It may be in what nobody reads.
        Err(_) => serde_json::from_slice(json),
    }
    .map_err(|_| BadChunk)
}

impl<'a> AnswerPart<'a> {
    /// Returns what a part is, if its members that are known tell.
    fn known(part: WirePart<'a>) -> Option<Self> {
        let kind = if let Some(call) = part.function_call {
            AnswerPartKind::Call {
                id: call.id.map(JsonStr::into_inner).filter(|id| !id.is_empty()),
                name: call.name.unwrap_or_default().into_inner(),
                args: call.args.filter(|args| args.get().starts_with('{')),
            }
        } else if part.thought == Some(true) && (part.text.is_some() || part.inline_data.is_some()) {
            // A picture among the thoughts is a draft: no text, and no part of the answer.
            AnswerPartKind::Thought(part.text.unwrap_or_default().into_inner())
        } else if let Some(text) = part.text {
            AnswerPartKind::Text(text.into_inner())
        } else if let Some(WireBlob { mime_type, data: Some(data) }) = part.inline_data {
            AnswerPartKind::Inline {
                mime_type: mime_type.unwrap_or_default().into_inner(),
                base64: data.into_inner(),
            }
        } else {
            return None;
        };
        Some(Self { kind, signature: signature_of(part.thought_signature) })
    }

    /// Reads any part.
    fn read(raw: &'a RawValue) -> Result<Self, BadChunk> {
        let part: WirePart<'_> = serde_json::from_str(raw.get()).map_err(|_| BadChunk)?;
        let (signature, is_thought) = (part.thought_signature.clone(), part.thought == Some(true));
        if let Some(known) = Self::known(part) {
            return Ok(known);
        }
        let kind = if is_thought && signature.is_some() {
            // A thought's signature is no other part's, and thoughts do not go back.
            AnswerPartKind::Thought(Cow::Borrowed(""))
        } else if signature.is_some()
            && crate::json::RawObject::of(raw).is_some_and(|part| {
                part.0.iter().all(|(name, _)| matches!(&**name, "thoughtSignature" | "thought"))
            })
        {
            AnswerPartKind::Bare
        } else {
            AnswerPartKind::Other(raw)
        };
        Ok(Self { kind, signature: signature_of(signature) })
    }
}

/// A signature that says something.
fn signature_of(signature: Option<JsonStr<'_>>) -> Option<Cow<'_, str>> {
    signature.map(JsonStr::into_inner).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_order_with_their_signatures() {
        let json = br#"{"candidates":[{"content":{"role":"model","parts":[
            {"text":"hm","thought":true},{"text":"a\nb"},
            {"functionCall":{"id":"ab12","name":"read","args":{"z":1,"a":12345678901234567890123}},"thoughtSignature":"S+/="},
            {"functionCall":{"name":"list"}},
            {"inlineData":{"mimeType":"image/png","data":"QUJD"}},
            {"inlineData":{"mimeType":"image/png","data":"REVG"},"thought":true,"thoughtSignature":"V"},
            {"executableCode":{"code":"1"}},{"thoughtSignature":"T"},{"text":"","thoughtSignature":"U"}]},
            "finishReason":"STOP","groundingMetadata":{"webSearchQueries":["q"]},"index":0}],
            "usageMetadata":{"promptTokenCount":7},"modelVersion":"gemini-3-pro","responseId":"r"}"#;
        let chunk = AnswerChunk::read(json).unwrap();
        let shown: Vec<_> = chunk
            .parts
            .iter()
            .map(|part| {
                let kind = match &part.kind {
                    AnswerPartKind::Text(text) => format!("text {text}"),
                    AnswerPartKind::Thought(text) => format!("thought {text}"),
                    AnswerPartKind::Call { id, name, args } => {
                        format!("call {:?} {name} {}", id.as_deref(), args.map_or("-", RawValue::get))
                    }
                    AnswerPartKind::Inline { mime_type, base64 } => format!("inline {mime_type} {base64}"),
                    AnswerPartKind::Bare => "bare".to_owned(),
                    AnswerPartKind::Other(raw) => format!("other {}", raw.get()),
                };
                format!("{kind} {}", part.signature.as_deref().unwrap_or("."))
            })
            .collect();
        assert_eq!(
            shown,
            [
                "thought hm .",
                "text a\nb .",
                r#"call Some("ab12") read {"z":1,"a":12345678901234567890123} S+/="#,
                "call None list - .",
                "inline image/png QUJD .",
                "thought  V",
                r#"other {"executableCode":{"code":"1"}} ."#,
                "bare T",
                "text  U",
            ]
        );
        assert_eq!(chunk.finish, Some(FinishReason::Stop));
        assert_eq!(chunk.usage.unwrap().prompt, 7);
        assert_eq!(chunk.model_version.as_deref(), Some("gemini-3-pro"));
        assert_eq!(chunk.grounding.unwrap().get(), r#"{"webSearchQueries":["q"]}"#);
    }

    #[test]
    fn empty_answers_and_blocked_prompts_are_answers() {
        for json in
            ["{}", r#"{"candidates":[]}"#, r#"{"candidates":[{"content":{}}]}"#, r#"{"candidates":null}"#]
        {
            let chunk = AnswerChunk::read(json.as_bytes()).unwrap();
            assert!(chunk.parts.is_empty() && chunk.error.is_none(), "{json}");
        }
        let blocked = AnswerChunk::read(br#"{"promptFeedback":{"blockReason":"SAFETY"}}"#).unwrap();
        assert_eq!(blocked.block_reason.as_deref(), Some("SAFETY"));
    }

    #[test]
    fn an_error_is_read_in_every_form() {
        let object = br#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#;
        let failure = AnswerChunk::read(object).unwrap().error.unwrap();
        assert_eq!((failure.code, failure.status.as_str()), (503, "UNAVAILABLE"));
        let list = br#" [{"error":{"code":"429","message":"quota"}}]"#;
        assert_eq!(AnswerChunk::read(list).unwrap().error.unwrap().code, 429);
        let text = AnswerChunk::read(br#"{"error":"odd"}"#).unwrap().error.unwrap();
        assert_eq!((text.code, text.message.as_str()), (0, "odd"));
        for bad in ["", "<html>", "[]", "[1]", "3", r#"{"candidates":3}"#] {
            assert_eq!(AnswerChunk::read(bad.as_bytes()).unwrap_err(), BadChunk, "{bad}");
        }
    }
}
