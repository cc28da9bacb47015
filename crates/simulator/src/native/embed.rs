//! Embeddings and pictures: the unary verbs that are not text.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::answer::Answer;
use crate::call::{Call, only_fields};
use crate::error::ApiError;
use crate::models::ModelKind;
use crate::prompt::{field, tokens};
use crate::quota::Metered;

/// Length of a vector of gemini-embedding-001.
pub(crate) const DIMENSIONS: u64 = 3072;
/// Google's limit of a batch.
const BATCH: usize = 100;
/// A PNG of one pixel.
pub(crate) const PNG_BASE64: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

const FIELDS: &[&str] = &[
    "model",
    "content",
    "taskType",
    "task_type",
    "title",
    "outputDimensionality",
    "output_dimensionality",
    "embedContentConfig",
    "embed_content_config",
];

/// A unit vector that depends on the text alone.
pub(crate) fn vector(text: &str, dimensions: u64) -> Result<Vec<f32>, ApiError> {
    if !(1..=DIMENSIONS).contains(&dimensions) {
        return Err(ApiError::new(400, format!("output_dimensionality must be between 1 and {DIMENSIONS}.")));
    }
    let digest = Sha256::digest(text);
    let mut seed = digest.iter().take(8).fold(1, |seed, &byte| seed << 8 | u64::from(byte)) | 1;
    let mut values = Vec::new();
    for _ in 0..dimensions {
        // Marsaglia's xorshift: any spread-out sequence will do.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let sixteen_bits = u16::try_from(seed & 0xffff).unwrap_or_default();
        values.push(f32::from(sixteen_bits) / 32_768.0 - 1.0);
    }
    let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    Ok(values.into_iter().map(|value| value / norm).collect())
}

struct Request {
    text: String,
    dimensions: u64,
}

fn request(value: &Value) -> Result<Request, ApiError> {
    only_fields(value, FIELDS)?;
    let parts = value.pointer("/content/parts").and_then(Value::as_array);
    let Some(parts) = parts.filter(|parts| !parts.is_empty()) else {
        return Err(ApiError::new(400, "* EmbedContentRequest.content: content is not specified\n"));
    };
    let text = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
    let dimensions = field(value, "outputDimensionality", "output_dimensionality").and_then(Value::as_u64);
    Ok(Request { text, dimensions: dimensions.unwrap_or(DIMENSIONS) })
}

pub(super) fn one(call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    call.model(id, &[ModelKind::Embed], "embedContent")?;
    let request = request(&call.json)?;
    call.world.meter(&call.key.project, id, Metered::Embed, tokens(request.text.len()))?;
    let values = vector(&request.text, request.dimensions)?;
    Ok(Answer::pretty(&json!({"embedding": {"values": values}})))
}

/// The answer to a request that nobody waits for.
pub(crate) fn embedded(value: &Value) -> Result<Value, ApiError> {
    let request = request(value)?;
    Ok(json!({"embedding": {"values": vector(&request.text, request.dimensions)?}}))
}

pub(super) fn batch(call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    call.model(id, &[ModelKind::Embed], "batchEmbedContents")?;
    only_fields(&call.json, &["model", "requests"])?;
    let requests = call.json.get("requests").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if requests.is_empty() || requests.len() > BATCH {
        let message = format!(
            "* BatchEmbedContentsRequest.requests: at least one and at most {BATCH} requests can be in one batch\n"
        );
        return Err(ApiError::new(400, message));
    }
    let requests = requests.iter().map(request).collect::<Result<Vec<_>, _>>()?;
    let spent = requests.iter().map(|request| tokens(request.text.len())).sum();
    call.world.meter(&call.key.project, id, Metered::Embed, spent)?;
    let embeddings = requests
        .iter()
        .map(|request| Ok(json!({"values": vector(&request.text, request.dimensions)?})))
        .collect::<Result<Vec<_>, ApiError>>()?;
    Ok(Answer::pretty(&json!({"embeddings": embeddings})))
}

pub(super) fn predict(call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    call.model(id, &[ModelKind::Image], "predict")?;
    only_fields(&call.json, &["instances", "parameters", "labels"])?;
    let prompt = call.json.pointer("/instances/0/prompt").and_then(Value::as_str);
    let Some(prompt) = prompt else {
        return Err(ApiError::new(400, "* PredictRequest.instances: instances is not specified\n"));
    };
    call.world.meter(&call.key.project, id, Metered::Generate, tokens(prompt.len()))?;
    let count = call.json.pointer("/parameters/sampleCount").and_then(Value::as_u64).unwrap_or(1).clamp(1, 4);
    let pictures: Vec<Value> =
        (0..count).map(|_| json!({"mimeType": "image/png", "bytesBase64Encoded": PNG_BASE64})).collect();
    Ok(Answer::pretty(&json!({"predictions": pictures})))
}
