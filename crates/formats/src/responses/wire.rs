//! The shapes of a response as OpenAI writes it: output items, the response object. Only shapes: `output` knows when which
//! is written, `events` how it is told.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::usage::TokenUsage;

/// The `status` of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ItemStatus {
    InProgress,
    Completed,
    Incomplete,
}

/// One item of `output`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum OutputItem<'s> {
    Message {
        id: &'s str,
        status: ItemStatus,
        role: &'static str,
        content: &'s [OutputPart<'s>],
    },
    Reasoning {
        id: &'s str,
        summary: &'s [OutputPart<'s>],
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<&'s str>,
    },
    FunctionCall {
        id: &'s str,
        status: ItemStatus,
        call_id: &'s str,
        name: &'s str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'s str>,
        arguments: &'s str,
    },
    CustomToolCall {
        id: &'s str,
        status: ItemStatus,
        call_id: &'s str,
        name: &'s str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'s str>,
        input: &'s str,
    },
    ImageGenerationCall {
        id: &'s str,
        status: ItemStatus,
        result: Option<&'s str>,
        output_format: &'s str,
    },
    WebSearchCall {
        id: &'s str,
        status: ItemStatus,
        action: SearchAction<'s>,
    },
}

/// A part of a message or of a reasoning item. Its text is a JSON string, since it is told several times.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum OutputPart<'s> {
    OutputText { text: &'s RawValue, annotations: &'s [UrlCitation], logprobs: [(); 0] },
    SummaryText { text: &'s RawValue },
}

/// A part of a message that a string stands for.
#[derive(Debug, Serialize)]
pub(super) struct InputText<'s> {
    pub(super) r#type: &'static str,
    pub(super) text: &'s str,
}

/// What an annotation says: which stretch of the text rests on which page. Offsets count characters.
#[derive(Clone, Debug, Serialize)]
pub(super) struct UrlCitation {
    pub(super) r#type: &'static str,
    pub(super) start_index: usize,
    pub(super) end_index: usize,
    pub(super) url: String,
    pub(super) title: String,
}

/// What was searched for, and what was found.
#[derive(Debug, Serialize)]
pub(super) struct SearchAction<'s> {
    pub(super) r#type: &'static str,
    pub(super) query: &'s str,
    pub(super) queries: &'s [String],
    pub(super) sources: Vec<SearchSource<'s>>,
}

/// A page that was found.
#[derive(Debug, Serialize)]
pub(super) struct SearchSource<'s> {
    pub(super) r#type: &'static str,
    pub(super) url: &'s str,
}

/// How a response stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum ResponseStatus<'s> {
    InProgress,
    Completed,
    /// With `incomplete_details.reason`.
    Incomplete(&'s str),
    /// With `error.code` and `error.message`.
    Failed(&'s str, &'s str),
}

impl ResponseStatus<'_> {
    /// The name of the status, and of the event that ends with it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(..) => "failed",
        }
    }
}

/// The response object.
pub(super) struct ResponseObject<'s> {
    pub(super) id: &'s str,
    /// In seconds since 1970.
    pub(super) created_s: u64,
    pub(super) status: ResponseStatus<'s>,
    pub(super) model: &'s str,
    /// The items of its output as JSON, with commas between.
    pub(super) output: &'s [u8],
    pub(super) usage: Option<TokenUsage>,
    /// What of the request is repeated: the members as JSON, with commas between.
    pub(super) repeated: &'s [u8],
}

impl ResponseObject<'_> {
    /// Writes it down.
    pub(super) fn write(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct ResponseFailure<'s> {
            code: &'s str,
            message: &'s str,
        }
        #[derive(Serialize)]
        struct IncompleteDetails<'s> {
            reason: &'s str,
        }
        #[derive(Serialize)]
        struct ResponseHead<'s> {
            id: &'s str,
            object: &'static str,
            created_at: u64,
            status: &'static str,
            error: Option<ResponseFailure<'s>>,
            incomplete_details: Option<IncompleteDetails<'s>>,
            model: &'s str,
        }
        const HEAD_BYTES: usize = 640;

        let (incomplete_details, error) = match self.status {
            ResponseStatus::InProgress | ResponseStatus::Completed => (None, None),
            ResponseStatus::Incomplete(reason) => (Some(IncompleteDetails { reason }), None),
            ResponseStatus::Failed(code, message) => (None, Some(ResponseFailure { code, message })),
        };
        let head = ResponseHead {
            id: self.id,
            object: "response",
            created_at: self.created_s,
            status: self.status.name(),
            error,
            incomplete_details,
            model: self.model,
        };
        let mut json = Vec::with_capacity(HEAD_BYTES + self.output.len() + self.repeated.len());
        append_json(&mut json, &head);
        // The brace that ends the head: the rest of the members follow.
        json.pop();
        json.extend_from_slice(br#","output":["#);
        json.extend_from_slice(self.output);
        json.extend_from_slice(br#"],"usage":"#);
        append_json(&mut json, &self.usage.map(TokenUsage::of_responses));
        json.push(b',');
        json.extend_from_slice(self.repeated);
        json.push(b'}');
        json
    }
}

/// Appends a value of a type whose serialisation cannot fail.
fn append_json(into: &mut Vec<u8>, value: &impl Serialize) {
    let written = serde_json::to_writer(into, value);
    debug_assert!(written.is_ok());
}

/// Arguments without the spaces and line breaks that Google's indented answers have between their tokens.
pub(super) fn compact(json: &str) -> Cow<'_, str> {
    if !json.contains(['\n', '\r']) {
        return Cow::Borrowed(json);
    }
    let mut compact = String::with_capacity(json.len());
    let (mut in_string, mut is_escaped) = (false, false);
    for letter in json.chars() {
        if in_string {
            in_string = is_escaped || letter != '"';
            is_escaped = !is_escaped && letter == '\\';
        } else if letter.is_ascii_whitespace() {
            continue;
        } else {
            in_string = letter == '"';
        }
        compact.push(letter);
    }
    Cow::Owned(compact)
}
