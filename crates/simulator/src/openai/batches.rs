//! `batches` of the OpenAI layer: the same batches as the native ones, in OpenAI's words. Their input is a native file.

use chrono::DateTime;
use serde_json::{Value, json};

use super::chat;
use crate::answer::Answer;
use crate::call::{Call, only_fields};
use crate::error::ApiError;
use crate::resources::batches;
use crate::route::{Act, Kind, Place};

/// Batches of a page: unless asked otherwise, and at most.
const PAGE: (usize, usize) = (20, 100);

pub(super) fn answer(call: &Call<'_>, place: &Place) -> Result<Answer, ApiError> {
    let (registry, now) = (&call.world.resources, call.world.clock());
    let what = (call.key.project.as_str(), Kind::Batch, place.name.as_str());
    match &place.act {
        Act::Create => create(call),
        Act::List => list(call),
        Act::Get => registry.poll(what, now).map(|batch| Answer::line(&told(&batch))),
        Act::Verb(_) => batches::cancel(call, &place.name).map(|batch| Answer::line(&told(&batch))),
        Act::Delete | Act::Patch => Ok(Answer::no_such_page(call.path)),
    }
}

fn create(call: &Call<'_>) -> Result<Answer, ApiError> {
    only_fields(&call.json, &["input_file_id", "endpoint", "completion_window", "metadata", "extra_body"])?;
    let text = |name: &str| call.json.get(name).and_then(Value::as_str);
    let Some(file) = text("input_file_id") else {
        return Err(ApiError::new(400, "input_file_id is not specified"));
    };
    let endpoint = text("endpoint").unwrap_or("/v1/chat/completions");
    if endpoint != "/v1/chat/completions" {
        return Err(ApiError::new(400, format!("Unsupported endpoint: {endpoint}")));
    }
    let lines = batches::lines(call, file)?;
    let answers = lines.iter().map(|line| answered(call, line)).collect();
    let model = lines.first().and_then(|line| line.pointer("/body/model")?.as_str()).unwrap_or_default();
    let asked = batches::BatchDetails {
        form: batches::BatchForm::Generate,
        model: model.strip_prefix("models/").unwrap_or(model),
        display_name: None,
        more: json!({
            "inputConfig": {"fileName": file},
            "openai": {"endpoint": endpoint, "metadata": call.json.get("metadata")},
        }),
    };
    let batch = batches::begin(call, &asked, batches::Output::Lines(answers));
    Ok(Answer::line(&told(&batch)))
}

/// The answer to one line of the input.
fn answered(call: &Call<'_>, line: &Value) -> Value {
    let request = line.get("body").unwrap_or(line);
    let answered = batches::check(call, request).and_then(|()| chat::offline(call.world, request));
    let (status, body) = match answered {
        Ok(body) => (200, body),
        Err(error) => (error.code().as_u16(), serde_json::from_str(&error.line()).unwrap_or_default()),
    };
    json!({"custom_id": line.get("custom_id"), "response": {"status_code": status, "body": body}, "error": null})
}

/// A batch as OpenAI's clients know it.
fn told(batch: &Value) -> Value {
    let metadata = &batch["metadata"];
    let seconds = |name: &str| {
        let time = metadata.get(name).and_then(Value::as_str);
        time.and_then(|time| DateTime::parse_from_rfc3339(time).ok()).map(|time| time.timestamp())
    };
    let (status, ended) = match metadata["state"].as_str().unwrap_or_default() {
        "BATCH_STATE_PENDING" => ("validating", None),
        "BATCH_STATE_RUNNING" => ("in_progress", None),
        "BATCH_STATE_CANCELLED" => ("cancelled", Some("cancelled_at")),
        _ => ("completed", Some("completed_at")),
    };
    let count = |name: &str| {
        let count = metadata.pointer(&format!("/batchStats/{name}")).and_then(Value::as_str);
        count.and_then(|count| count.parse::<u64>().ok()).unwrap_or_default()
    };
    let mut told = json!({
        "id": batch["name"],
        "object": "batch",
        "endpoint": metadata["openai"]["endpoint"],
        "input_file_id": metadata["inputConfig"]["fileName"],
        "completion_window": "24h",
        "status": status,
        "output_file_id": metadata["output"]["responsesFile"],
        "created_at": seconds("createTime"),
        "request_counts": {
            "total": count("requestCount"),
            "completed": count("successfulRequestCount"),
            "failed": 0,
        },
        "metadata": metadata["openai"]["metadata"],
    });
    if let Some(ended) = ended {
        told[ended] = json!(seconds("endTime"));
    }
    told
}

/// `after` and `limit` where the native lists have tokens.
fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (registry, now) = (&call.world.resources, call.world.clock());
    let project = call.key.project.as_str();
    let limit = match call.parameter("limit").map(|text| text.parse::<usize>()) {
        None => PAGE.0,
        Some(Ok(limit)) if limit > 0 => limit.min(PAGE.1),
        Some(_) => return Err(ApiError::new(400, "Invalid limit")),
    };
    let before = match call.parameter("after").filter(|after| !after.is_empty()) {
        None => u64::MAX,
        Some(id) => {
            let name = format!("batches/{}", id.trim_start_matches("batches/"));
            registry.with((project, Kind::Batch, &name), now, |batch| batch.serial())?
        }
    };
    let mut found = registry.newest((project, "batches"), now, before, limit + 1, |batch| told(&batch.body));
    let more = found.len() > limit;
    found.truncate(limit);
    let data: Vec<Value> = found.into_iter().map(|(_, batch)| batch).collect();
    let id = |batch: Option<&Value>| batch.map(|batch| batch["id"].clone());
    Ok(Answer::line(&json!({
        "object": "list",
        "first_id": id(data.first()),
        "last_id": id(data.last()),
        "data": data,
        "has_more": more,
    })))
}
