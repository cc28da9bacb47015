//! `cachedContents`: prompts kept for a while, and what using one means for the request that names it.

use std::time::Duration;

use chrono::DateTime;
use serde_json::{Value, json};

use super::paging;
use crate::answer::Answer;
use crate::call::{Call, only_fields};
use crate::error::ApiError;
use crate::models::ModelKind;
use crate::prompt::{Prompt, field, tokens};
use crate::route::{Act, Kind, Place};
use crate::world::{LOWER, Resource, stamp};

const FIELDS: &[&str] = &[
    "name",
    "model",
    "displayName",
    "display_name",
    "contents",
    "systemInstruction",
    "system_instruction",
    "tools",
    "toolConfig",
    "tool_config",
    "ttl",
    "expireTime",
    "expire_time",
];

pub(super) fn answer(call: &Call<'_>, place: &Place) -> Result<Answer, ApiError> {
    let (registry, now) = (&call.world.resources, call.world.clock());
    let what = (call.key.project.as_str(), Kind::Cache, place.name.as_str());
    match &place.act {
        Act::List => paging::page(call, Kind::Cache, &place.name, None, |cache| cache.body.clone()),
        Act::Create => create(call).map(|cache| Answer::pretty(&cache)),
        Act::Get => Ok(Answer::pretty(&registry.poll(what, now)?)),
        Act::Delete => registry.remove(what, now).map(|()| Answer::pretty(&json!({}))),
        Act::Patch => patch(call, place).map(|cache| Answer::pretty(&cache)),
        Act::Verb(_) => Ok(Answer::no_such_page(call.path)),
    }
}

fn invalid(what: &str) -> ApiError {
    ApiError::new(400, format!("* CachedContent.{what}\n"))
}

/// When it is to go: `ttl` (a protobuf Duration) from now, or `expireTime`. None if the request says nothing of it.
fn end(request: &Value, now: Duration) -> Result<Option<Duration>, ApiError> {
    let at = match (request.get("ttl"), field(request, "expireTime", "expire_time")) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(invalid("expiration: ttl and expire_time cannot both be set")),
        (Some(ttl), None) => {
            let seconds = ttl.as_str().and_then(|ttl| ttl.strip_suffix('s')?.parse::<f64>().ok());
            let ttl = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            now.saturating_add(ttl.ok_or_else(|| invalid("ttl: Invalid duration"))?)
        }
        (None, Some(time)) => {
            let time = time.as_str().and_then(|time| DateTime::parse_from_rfc3339(time).ok());
            let ms = time.and_then(|time| u64::try_from(time.timestamp_millis()).ok());
            Duration::from_millis(ms.ok_or_else(|| invalid("expire_time: Invalid time"))?)
        }
    };
    if at <= now {
        return Err(invalid("expire_time: the time must be in the future"));
    }
    Ok(Some(at))
}

fn create(call: &Call<'_>) -> Result<Value, ApiError> {
    only_fields(&call.json, FIELDS)?;
    let (world, now) = (call.world, call.world.clock());
    let Some(name) = call.json.get("model").and_then(Value::as_str) else {
        return Err(invalid("model: model is required"));
    };
    let id = name.strip_prefix("models/").unwrap_or(name);
    let model = call.model(id, &[ModelKind::Generate], "createCachedContent")?;
    let size = match call.json.get("contents") {
        Some(_) => Prompt::native(&call.json)?.tokens,
        None => tokens(call.body.len()),
    };
    let id = world.resources.ids.id(LOWER, 40);
    let mut cache = Resource::new(Kind::Cache, "cachedContents", &id, &call.key.project, now);
    cache.expires = end(&call.json, now)?.or(cache.expires);
    cache.body = json!({
        "name": cache.name,
        "model": format!("models/{}", model.id),
        "createTime": stamp(now),
        "updateTime": stamp(now),
        "expireTime": stamp(cache.expires.unwrap_or(now)),
        "usageMetadata": {"totalTokenCount": size},
    });
    if let Some(display_name) = field(&call.json, "displayName", "display_name") {
        cache.body["displayName"] = display_name.clone();
    }
    let body = cache.body.clone();
    world.resources.insert(cache, now);
    Ok(body)
}

/// Only the end can be changed.
fn patch(call: &Call<'_>, place: &Place) -> Result<Value, ApiError> {
    let mask = call.parameter("updateMask").or_else(|| call.parameter("update_mask")).unwrap_or_default();
    let changeable = |path: &str| matches!(path, "" | "ttl" | "expireTime" | "expire_time");
    if !mask.split(',').map(str::trim).all(changeable) {
        return Err(ApiError::new(400, "Only the expiration of a CachedContent can be updated."));
    }
    let now = call.world.clock();
    let end = end(&call.json, now)?;
    let what = (call.key.project.as_str(), Kind::Cache, place.name.as_str());
    call.world.resources.with(what, now, |cache| {
        cache.expires = end.or(cache.expires);
        cache.body["expireTime"] = json!(stamp(cache.expires.unwrap_or(now)));
        cache.body["updateTime"] = json!(stamp(now));
        cache.body.clone()
    })
}
