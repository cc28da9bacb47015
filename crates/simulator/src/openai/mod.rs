//! Google's OpenAI-compatible layer, `/v1beta/openai/`.

mod batches;
mod chat;
mod media;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::{Call, only_fields};
use crate::error::ApiError;
use crate::models::{Model, ModelKind};
use crate::native;
use crate::prompt::tokens;
use crate::quota::Metered;
use crate::route::Operation;

pub(crate) fn answer(call: &Call<'_>) -> Result<Answer, ApiError> {
    match &call.route.operation {
        Operation::ChatCompletions => chat::complete(call),
        Operation::OpenAiEmbeddings => embed(call),
        Operation::OpenAiModels => {
            let models: Vec<Value> = call.world.models.iter().map(Model::openai).collect();
            Ok(Answer::line(&json!({"object": "list", "data": models})))
        }
        Operation::OpenAiModel(id) => {
            let model = call.world.model(id);
            let model =
                model.ok_or_else(|| ApiError::new(404, format!("Model is not found: models/{id}")))?;
            Ok(Answer::line(&model.openai()))
        }
        Operation::Images => media::image(call),
        Operation::CreateVideo => media::create_video(call),
        Operation::Owned(place) => batches::answer(call, place),
        Operation::GetVideo(id) => media::video(call, id),
        _ => Ok(Answer::no_such_page(call.path)),
    }
}

/// The model named in the body, with or without `models/`.
fn model<'a>(call: &Call<'a>, kind: ModelKind, verb: &str) -> Result<&'a Model, ApiError> {
    let Some(id) = call.json.get("model").and_then(Value::as_str) else {
        return Err(ApiError::new(400, "model is not specified"));
    };
    call.model(id.strip_prefix("models/").unwrap_or(id), &[kind], verb)
}

fn embed(call: &Call<'_>) -> Result<Answer, ApiError> {
    let model = model(call, ModelKind::Embed, "embedContent")?;
    only_fields(&call.json, &["model", "input", "dimensions", "encoding_format", "user", "extra_body"])?;
    let texts: Vec<&str> = match call.json.get("input") {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if texts.is_empty() {
        return Err(ApiError::new(400, "* EmbedContentRequest.content: content is not specified\n"));
    }
    let spent = texts.iter().map(|text| tokens(text.len())).sum::<u64>();
    call.world.meter(&call.key.project, &model.id, Metered::Embed, spent)?;
    let dimensions = call.json.get("dimensions").and_then(Value::as_u64).unwrap_or(native::DIMENSIONS);
    let as_base64 = call.json.get("encoding_format").is_some_and(|format| format == "base64");
    let mut data = Vec::with_capacity(texts.len());
    for (index, text) in texts.into_iter().enumerate() {
        let vector = native::vector(text, dimensions)?;
        let embedding = if as_base64 {
            // Little-endian float32, what OpenAI's SDKs ask for unless told otherwise.
            json!(STANDARD.encode(vector.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()))
        } else {
            json!(vector)
        };
        data.push(json!({"object": "embedding", "embedding": embedding, "index": index}));
    }
    Ok(Answer::line(&json!({
        "object": "list",
        "data": data,
        "model": model.id,
        "usage": {"prompt_tokens": spent, "total_tokens": spent},
    })))
}
