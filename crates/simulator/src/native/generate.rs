//! generateContent, streamGenerateContent and countTokens.

use serde::Serialize;
use serde_json::{Value, json};

use super::used_cache;
use crate::answer::{Answer, Framing};
use crate::call::{Call, only_fields};
use crate::echo::Reply;
use crate::error::ApiError;
use crate::models::{Model, ModelKind};
use crate::prompt::{Prompt, field, tokens};
use crate::quota::Metered;
use crate::world::World;

const FIELDS: &[&str] = &[
    "model",
    "contents",
    "systemInstruction",
    "system_instruction",
    "tools",
    "toolConfig",
    "tool_config",
    "safetySettings",
    "safety_settings",
    "generationConfig",
    "generation_config",
    "cachedContent",
    "cached_content",
    "serviceTier",
    "service_tier",
    "labels",
    "store",
];

/// A `GenerateContentResponse`, its fields in Google's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    candidates: [Candidate; 1],
    usage_metadata: Usage,
    model_version: String,
    #[serde(rename = "responseId")]
    id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    content: Content,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<&'static str>,
    index: u32,
}

#[derive(Serialize)]
struct Content {
    parts: [Part; 1],
    role: &'static str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Part {
    Text {
        text: String,
    },
    #[serde(rename_all = "camelCase")]
    Call {
        function_call: Value,
        thought_signature: String,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    prompt_token_count: u64,
    candidates_token_count: u64,
    total_token_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_content_token_count: Option<u64>,
    prompt_tokens_details: [Details; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_tokens_details: Option<[Details; 1]>,
    service_tier: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    modality: &'static str,
    token_count: u64,
}

/// What stays the same in every chunk of an answer.
struct AnswerFrame {
    model: String,
    id: String,
    prompt_tokens: u64,
    /// Of these; none if nothing was cached, for zero is protobuf's default and not written.
    cached_tokens: Option<u64>,
}

impl AnswerFrame {
    fn chunk(&self, part: Part, answer_tokens: u64, last: bool) -> Response {
        Response {
            candidates: [Candidate {
                content: Content { parts: [part], role: "model" },
                finish_reason: last.then_some("STOP"),
                index: 0,
            }],
            usage_metadata: Usage {
                prompt_token_count: self.prompt_tokens,
                candidates_token_count: answer_tokens,
                total_token_count: self.prompt_tokens + answer_tokens,
                cached_content_token_count: self.cached_tokens,
                prompt_tokens_details: [Details { modality: "TEXT", token_count: self.prompt_tokens }],
                cache_tokens_details: self
                    .cached_tokens
                    .map(|token_count| [Details { modality: "TEXT", token_count }]),
                service_tier: "standard",
            },
            model_version: self.model.clone(),
            id: self.id.clone(),
        }
    }

    fn call(&self, name: &str, args: &Value, signature: String) -> Response {
        let call = json!({"name": name, "args": args});
        let spent = tokens(call.to_string().len());
        self.chunk(Part::Call { function_call: call, thought_signature: signature }, spent, true)
    }
}

fn reply(call: &Call<'_>, id: &str, verb: &str) -> Result<(AnswerFrame, Reply), ApiError> {
    let model = call.model(id, &[ModelKind::Generate], verb)?;
    only_fields(&call.json, FIELDS)?;
    let prompt = Prompt::native(&call.json, model.wants_signatures())?;
    let named = used_cache(call, field(&call.json, "cachedContent", "cached_content"), model)?;
    call.world.meter(&call.key.project, id, Metered::Generate, prompt.tokens)?;
    let known = call.world.cached_tokens(&call.key.project, id, &call.json, &prompt);
    let cached = named + known;
    let frame = AnswerFrame {
        model: model.id.clone(),
        id: format!("sim{:017x}", call.world.next_answer()),
        prompt_tokens: named + prompt.tokens,
        cached_tokens: (cached > 0).then_some(cached),
    };
    Ok((frame, Reply::to(&prompt, call.world.shape())))
}

fn whole(frame: &AnswerFrame, reply: Reply) -> Response {
    match reply {
        Reply::Call { name, args, signature } => frame.call(&name, &args, signature),
        Reply::Text(pieces) => {
            let text = pieces.whole();
            let spent = tokens(text.len());
            frame.chunk(Part::Text { text }, spent, true)
        }
    }
}

pub(super) fn unary(call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    let (frame, reply) = reply(call, id, "generateContent")?;
    Ok(Answer::pretty(&whole(&frame, reply)))
}

/// The answer to a request that nobody waits for.
pub(crate) fn generated(world: &World, model: &Model, request: &Value) -> Result<Value, ApiError> {
    only_fields(request, FIELDS)?;
    let prompt = Prompt::native(request, model.wants_signatures())?;
    let frame = AnswerFrame {
        model: model.id.clone(),
        id: format!("sim{:017x}", world.next_answer()),
        prompt_tokens: prompt.tokens,
        cached_tokens: None,
    };
    Ok(json!(whole(&frame, Reply::to(&prompt, world.shape()))))
}

pub(super) fn stream(call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    let sse = call.parameter("alt").as_deref() == Some("sse");
    let framing = if sse { Framing::Sse } else { Framing::JsonArray };
    let (frame, reply) = reply(call, id, "streamGenerateContent")?;
    Ok(match reply {
        Reply::Call { name, args, signature } => {
            Answer::events(framing, std::iter::once(frame.call(&name, &args, signature)))
        }
        Reply::Text(pieces) => {
            let mut said = 0;
            let chunks = (0..pieces.count).map(move |n| {
                let text = pieces.piece(n).into_owned();
                said += text.len();
                frame.chunk(Part::Text { text }, tokens(said), n + 1 == pieces.count)
            });
            Answer::events(framing, chunks)
        }
    })
}

pub(super) fn count(call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    let model: &Model = call.model(id, &[ModelKind::Generate, ModelKind::Embed], "countTokens")?;
    only_fields(&call.json, &["model", "contents", "generateContentRequest", "generate_content_request"])?;
    let inner = field(&call.json, "generateContentRequest", "generate_content_request");
    let prompt = Prompt::native(inner.unwrap_or(&call.json), model.wants_signatures())?;
    Ok(Answer::pretty(&json!({
        "totalTokens": prompt.tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt.tokens}],
    })))
}
