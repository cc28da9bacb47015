//! The cached content that a request for an answer names.

use serde_json::Value;

use crate::call::Call;
use crate::error::ApiError;
use crate::models::Model;
use crate::prompt::field;
use crate::route::Kind;

/// The tokens of the cache a request names, if it names one; its owner has been checked.
pub(crate) fn used(call: &Call<'_>, named: Option<&Value>, model: &Model) -> Result<u64, ApiError> {
    let Some(name) = named.and_then(Value::as_str).filter(|name| !name.is_empty()) else { return Ok(0) };
    let own =
        [("systemInstruction", "system_instruction"), ("tools", "tools"), ("toolConfig", "tool_config")];
    if own.iter().any(|(camel, snake)| field(&call.json, camel, snake).is_some()) {
        return Err(ApiError::new(
            400,
            "CachedContent can not be used with GenerateContent request setting system_instruction, tools or tool_config.\n\nProposed fix: move those values to CachedContent from GenerateContent request.",
        ));
    }
    let what = (call.key.project.as_str(), Kind::Cache, name);
    let cache = call.world.resources.with(what, call.world.clock(), |cache| cache.body.clone())?;
    let asked = format!("models/{}", model.id);
    let cached = cache["model"].as_str().unwrap_or_default();
    if cached != asked {
        let message = format!(
            "Model used by GenerateContent request ({asked}) and CachedContent ({cached}) has to be the same."
        );
        return Err(ApiError::new(400, message));
    }
    Ok(cache["usageMetadata"]["totalTokenCount"].as_u64().unwrap_or_default())
}
