//! The shapes of a response as OpenAI writes it: output items, the response object, events. Only shapes: `output` knows
//! when which is written.

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::json::RawObject;
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

/// A part of a message or of a reasoning item.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum OutputPart<'s> {
    OutputText { text: &'s str, annotations: &'s [UrlCitation], logprobs: [(); 0] },
    SummaryText { text: &'s str },
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
    pub(super) output: &'s [Box<RawValue>],
    pub(super) usage: Option<TokenUsage>,
    /// What of the request is repeated.
    pub(super) repeated: RawObject<'s>,
}

impl Serialize for ResponseObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct ResponseFailure<'s> {
            code: &'s str,
            message: &'s str,
        }
        #[derive(Serialize)]
        struct IncompleteDetails<'s> {
            reason: &'s str,
        }
        let (incomplete, error) = match self.status {
            ResponseStatus::InProgress | ResponseStatus::Completed => (None, None),
            ResponseStatus::Incomplete(reason) => (Some(IncompleteDetails { reason }), None),
            ResponseStatus::Failed(code, message) => (None, Some(ResponseFailure { code, message })),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", self.id)?;
        map.serialize_entry("object", "response")?;
        map.serialize_entry("created_at", &self.created_s)?;
        map.serialize_entry("status", self.status.name())?;
        map.serialize_entry("error", &error)?;
        map.serialize_entry("incomplete_details", &incomplete)?;
        map.serialize_entry("model", self.model)?;
        map.serialize_entry("output", self.output)?;
        map.serialize_entry("usage", &self.usage.map(TokenUsage::of_responses))?;
        for (name, value) in &self.repeated.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// One event. Which members it has depends on its type.
#[derive(Debug, Default, Serialize)]
pub(super) struct ResponseEvent<'s> {
    /// `response.…`
    pub(super) r#type: &'s str,
    /// From 0, without gaps.
    pub(super) sequence_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<&'s RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) item_id: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) summary_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) annotation_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) item: Option<&'s RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<OutputPart<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delta: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) arguments: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) annotation: Option<&'s UrlCitation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs: Option<[(); 0]>,
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
