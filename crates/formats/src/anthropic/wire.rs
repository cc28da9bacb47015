//! The members of a Messages request that are read, each as its own bytes: what is not named here is ignored, and what is
//! ignored is never a reason to refuse a request. `null` counts as absent.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The body of `POST /v1/messages`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WireRequest<'a> {
    #[serde(borrow)]
    pub(super) model: Option<&'a RawValue>,
    pub(super) messages: Option<&'a RawValue>,
    pub(super) system: Option<&'a RawValue>,
    pub(super) tools: Option<&'a RawValue>,
    pub(super) tool_choice: Option<&'a RawValue>,
    pub(super) max_tokens: Option<&'a RawValue>,
    pub(super) temperature: Option<&'a RawValue>,
    pub(super) top_p: Option<&'a RawValue>,
    pub(super) top_k: Option<&'a RawValue>,
    pub(super) stop_sequences: Option<&'a RawValue>,
    pub(super) stream: Option<&'a RawValue>,
    pub(super) thinking: Option<&'a RawValue>,
    pub(super) output_config: Option<&'a RawValue>,
    pub(super) output_format: Option<&'a RawValue>,
    pub(super) metadata: Option<&'a RawValue>,
    pub(super) thread: Option<&'a RawValue>,
    pub(super) mcp_servers: Option<&'a RawValue>,
    pub(super) container: Option<&'a RawValue>,
}

/// One of `messages`.
#[derive(Debug, Deserialize)]
pub(super) struct WireMessage<'a> {
    #[serde(borrow)]
    pub(super) role: Option<&'a RawValue>,
    pub(super) content: Option<&'a RawValue>,
}

/// A content block of any type.
#[derive(Debug, Deserialize)]
pub(super) struct WireBlock<'a> {
    #[serde(borrow)]
    pub(super) r#type: Option<&'a RawValue>,
    pub(super) text: Option<&'a RawValue>,
    pub(super) source: Option<&'a RawValue>,
    pub(super) title: Option<&'a RawValue>,
    pub(super) context: Option<&'a RawValue>,
    pub(super) content: Option<&'a RawValue>,
    pub(super) id: Option<&'a RawValue>,
    pub(super) name: Option<&'a RawValue>,
    pub(super) input: Option<&'a RawValue>,
    pub(super) tool_use_id: Option<&'a RawValue>,
    pub(super) is_error: Option<&'a RawValue>,
    pub(super) signature: Option<&'a RawValue>,
    pub(super) tool_name: Option<&'a RawValue>,
}

/// `source` of an image or a document.
#[derive(Debug, Deserialize)]
pub(super) struct WireSource<'a> {
    #[serde(borrow)]
    pub(super) r#type: Option<&'a RawValue>,
    pub(super) media_type: Option<&'a RawValue>,
    pub(super) data: Option<&'a RawValue>,
    pub(super) url: Option<&'a RawValue>,
    pub(super) content: Option<&'a RawValue>,
}

/// One of `tools`.
#[derive(Debug, Deserialize)]
pub(super) struct WireTool<'a> {
    #[serde(borrow)]
    pub(super) r#type: Option<&'a RawValue>,
    pub(super) name: Option<&'a RawValue>,
    pub(super) description: Option<&'a RawValue>,
    pub(super) input_schema: Option<&'a RawValue>,
    pub(super) strict: Option<&'a RawValue>,
    pub(super) allowed_domains: Option<&'a RawValue>,
    pub(super) blocked_domains: Option<&'a RawValue>,
    pub(super) user_location: Option<&'a RawValue>,
}

/// `tool_choice`.
#[derive(Debug, Deserialize)]
pub(super) struct WireToolChoice<'a> {
    #[serde(borrow)]
    pub(super) r#type: Option<&'a RawValue>,
    pub(super) name: Option<&'a RawValue>,
    pub(super) disable_parallel_tool_use: Option<&'a RawValue>,
}

/// `thinking`.
#[derive(Debug, Deserialize)]
pub(super) struct WireThinking<'a> {
    #[serde(borrow)]
    pub(super) r#type: Option<&'a RawValue>,
    pub(super) budget_tokens: Option<&'a RawValue>,
    pub(super) display: Option<&'a RawValue>,
}

/// `output_config`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WireOutput<'a> {
    #[serde(borrow)]
    pub(super) effort: Option<&'a RawValue>,
    pub(super) format: Option<&'a RawValue>,
}

/// `output_config.format`.
#[derive(Debug, Deserialize)]
pub(super) struct WireFormat<'a> {
    #[serde(borrow)]
    pub(super) r#type: Option<&'a RawValue>,
    pub(super) schema: Option<&'a RawValue>,
}

/// `metadata`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WireMetadata<'a> {
    #[serde(borrow)]
    pub(super) user_id: Option<&'a RawValue>,
}

/// `thread`.
#[derive(Debug, Deserialize)]
pub(super) struct WireThread<'a> {
    #[serde(borrow)]
    pub(super) r#type: Option<&'a RawValue>,
    pub(super) previous_message_id: Option<&'a RawValue>,
}
