//! generateContent, streamGenerateContent and countTokens.

use serde::Serialize;
use serde_json::{Value, json};

use super::turn::{AnswerPart, Speaker, TurnEvent, TurnEvents, merged};
use super::{rules, used_cache};
use crate::answer::{Answer, Framing};
use crate::call::{Call, only_fields};
use crate::echo::Reply;
use crate::error::ApiError;
use crate::models::{Model, ModelKind};
use crate::prompt::{Prompt, field, tokens};
use crate::quota::Metered;
use crate::rule::Subject;
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
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<[Candidate; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_feedback: Option<Value>,
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
    finish_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_message: Option<String>,
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    grounding_metadata: Option<Value>,
}

#[derive(Serialize)]
struct Content {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<AnswerPart>,
    role: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    prompt_token_count: u64,
    // Zero is protobuf's default and not written.
    #[serde(skip_serializing_if = "is_zero")]
    candidates_token_count: u64,
    total_token_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_content_token_count: Option<u64>,
    prompt_tokens_details: [Details; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_tokens_details: Option<[Details; 1]>,
    #[serde(skip_serializing_if = "is_zero")]
    tool_use_prompt_token_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    thoughts_token_count: u64,
    service_tier: &'static str,
}

// By reference, as serde asks.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u64) -> bool {
    *count == 0
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
    /// Of these; none if nothing was cached.
    cached_tokens: Option<u64>,
}

/// Bytes said so far, which usage counts.
#[derive(Default)]
struct Spoken {
    answer: usize,
    thoughts: usize,
    /// Tokens that a search of the web has read.
    searched: u64,
}

impl Spoken {
    fn add(&mut self, event: &TurnEvent) {
        for part in &event.parts {
            match part {
                AnswerPart::Text { text, thought: true, .. } => self.thoughts += text.len(),
                AnswerPart::Text { text, .. } => self.answer += text.len(),
                AnswerPart::Call { function_call, .. } => self.answer += function_call.to_string().len(),
                AnswerPart::Raw(part) => self.answer += part.to_string().len(),
            }
        }
        if let Some(grounding) = &event.grounding {
            self.searched = tokens(grounding["groundingChunks"].to_string().len());
        }
    }
}

impl AnswerFrame {
    fn chunk(&self, event: TurnEvent, spoken: &mut Spoken) -> Response {
        spoken.add(&event);
        let (answer, thoughts) = (tokens(spoken.answer), tokens(spoken.thoughts));
        let prompt_feedback = event.block.map(|reason| json!({"blockReason": reason}));
        let candidate = Candidate {
            content: Content { parts: event.parts, role: "model" },
            finish_reason: event.finish,
            finish_message: event.finish_message,
            index: 0,
            grounding_metadata: event.grounding,
        };
        let candidates = prompt_feedback.is_none().then_some([candidate]);
        Response {
            candidates,
            prompt_feedback,
            usage_metadata: Usage {
                prompt_token_count: self.prompt_tokens,
                candidates_token_count: answer,
                total_token_count: self.prompt_tokens + answer + thoughts + spoken.searched,
                cached_content_token_count: self.cached_tokens,
                prompt_tokens_details: [Details { modality: "TEXT", token_count: self.prompt_tokens }],
                cache_tokens_details: self
                    .cached_tokens
                    .map(|token_count| [Details { modality: "TEXT", token_count }]),
                tool_use_prompt_token_count: spoken.searched,
                thoughts_token_count: thoughts,
                service_tier: "standard",
            },
            model_version: self.model.clone(),
            id: self.id.clone(),
        }
    }

    fn whole(&self, events: TurnEvents) -> Response {
        self.chunk(merged(events), &mut Spoken::default())
    }
}

/// The prompt of a request that keeps the rules.
fn prompt(world: &World, model: &Model, request: &Value) -> Result<Prompt, ApiError> {
    only_fields(request, FIELDS)?;
    rules::readable(request)?;
    let prompt = Prompt::native(request)?;
    rules::kept(request, model, world.strictness(), &mut |counts| world.count_signatures(counts))?;
    Ok(prompt)
}

fn answered(
    call: &Call<'_>,
    id: &str,
    verb: &str,
    streamed: bool,
) -> Result<(AnswerFrame, TurnEvents), ApiError> {
    let model = call.model(id, &[ModelKind::Generate], verb)?;
    let world = call.world;
    let prompt = prompt(world, model, &call.json)?;
    let named = used_cache(call, field(&call.json, "cachedContent", "cached_content"), model)?;
    let size = named + prompt.tokens;
    if let Some(limit) = world.input_limit(id).filter(|limit| size > *limit) {
        return Err(ApiError::input_too_long(size, limit));
    }
    world.meter(&call.key.project, id, Metered::Generate, prompt.tokens)?;
    let cached = named + world.cached_tokens(&call.key.project, id, &call.json, &prompt);
    let subject = Subject {
        key: Some(&call.key.secret),
        project: Some(&call.key.project),
        model: Some(id),
        path: call.path,
        method: "POST",
    };
    let step = world.scripted(&subject, &prompt, &call.json, call.body.len());
    let serial = world.next_answer();
    let frame = AnswerFrame {
        model: model.id.clone(),
        id: format!("sim{serial:017x}"),
        prompt_tokens: size,
        cached_tokens: (cached > 0).then_some(cached),
    };
    let speaker = Speaker { world, modern: model.wants_signatures(), thoughts: prompt.thoughts, serial };
    let events = match step {
        Some(step) if !step.echo => speaker.scripted(step),
        _ => speaker.echo(&prompt, Reply::to(&prompt, world.shape()), streamed),
    };
    Ok((frame, events))
}

pub(super) fn unary(call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    let (frame, events) = answered(call, id, "generateContent", false)?;
    Ok(Answer::pretty(&frame.whole(events)))
}

/// The answer to a request that nobody waits for.
pub(crate) fn generated(world: &World, model: &Model, request: &Value) -> Result<Value, ApiError> {
    let prompt = prompt(world, model, request)?;
    let serial = world.next_answer();
    let frame = AnswerFrame {
        model: model.id.clone(),
        id: format!("sim{serial:017x}"),
        prompt_tokens: prompt.tokens,
        cached_tokens: None,
    };
    let speaker = Speaker { world, modern: model.wants_signatures(), thoughts: prompt.thoughts, serial };
    Ok(json!(frame.whole(speaker.echo(&prompt, Reply::to(&prompt, world.shape()), false))))
}

pub(super) fn stream(call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    let sse = call.parameter("alt").as_deref() == Some("sse");
    let framing = if sse { Framing::Sse } else { Framing::JsonArray };
    let (frame, events) = answered(call, id, "streamGenerateContent", true)?;
    let mut spoken = Spoken::default();
    Ok(Answer::events(framing, events.map(move |event| frame.chunk(event, &mut spoken))))
}

pub(super) fn count(call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    let model: &Model = call.model(id, &[ModelKind::Generate, ModelKind::Embed], "countTokens")?;
    only_fields(&call.json, &["model", "contents", "generateContentRequest", "generate_content_request"])?;
    let whole = field(&call.json, "generateContentRequest", "generate_content_request");
    if let Some(whole) = whole {
        only_fields(whole, FIELDS)?;
        rules::counted(&call.json, whole, model)?;
    }
    let request = whole.unwrap_or(&call.json);
    rules::readable(request)?;
    let prompt = Prompt::native(request)?;
    Ok(Answer::pretty(&json!({
        "totalTokens": prompt.tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt.tokens}],
    })))
}
