//! Pictures and videos of the OpenAI layer. Videos are done as soon as they are asked after, by a key of the same project.

use serde_json::{Value, json};

use super::model;
use crate::answer::Answer;
use crate::call::{Call, only_fields};
use crate::error::ApiError;
use crate::models::ModelKind;
use crate::native::PNG_BASE64;
use crate::prompt::tokens;
use crate::quota::Metered;
use crate::resources;
use crate::route::Kind;
use crate::world::{LOWER, Resource, Work};

pub(super) fn image(call: &Call<'_>) -> Result<Answer, ApiError> {
    let model = model(call, ModelKind::Image, "predict")?;
    let known = ["model", "prompt", "n", "size", "response_format", "quality", "style", "user", "extra_body"];
    only_fields(&call.json, &known)?;
    let prompt = prompt(&call.json)?;
    call.world.meter(&call.key.project, &model.id, Metered::Generate, tokens(prompt.len()))?;
    let count = call.json.get("n").and_then(Value::as_u64).unwrap_or(1).clamp(1, 4);
    let data: Vec<Value> = (0..count).map(|_| json!({"b64_json": PNG_BASE64})).collect();
    Ok(Answer::line(&json!({"created": call.world.now_ms() / 1000, "data": data})))
}

fn prompt(request: &Value) -> Result<&str, ApiError> {
    let prompt = request.get("prompt").and_then(Value::as_str).filter(|prompt| !prompt.is_empty());
    prompt.ok_or_else(|| ApiError::new(400, "prompt is not specified"))
}

pub(super) fn create_video(call: &Call<'_>) -> Result<Answer, ApiError> {
    // Google documents a form; some clients send JSON.
    let form = |name: &str| call.json.is_null().then(|| form_field(call.body, name)).flatten();
    let named =
        |name: &str| call.json.get(name).and_then(Value::as_str).map(str::to_owned).or_else(|| form(name));
    let Some(id) = named("model") else { return Err(ApiError::new(400, "model is not specified")) };
    let id = id.strip_prefix("models/").unwrap_or(&id);
    let model = call.model(id, &[ModelKind::Video], "predictLongRunning")?;
    // In JSON it has been looked at with all that bodies name.
    if let Some(id) = form("extend_video_id") {
        let name = format!("videos/{id}");
        let what = (call.key.project.as_str(), Kind::Video, name.as_str());
        call.world.resources.with(what, call.world.clock(), |_| ())?;
    }
    let Some(prompt) = named("prompt") else { return Err(ApiError::new(400, "prompt is not specified")) };
    call.world.meter(&call.key.project, &model.id, Metered::Generate, tokens(prompt.len()))?;
    let (world, now) = (call.world, call.world.clock());
    let id = format!("video-{}", world.resources.ids.id(LOWER, 12));
    let mut video = Resource::new(Kind::Video, "videos", &id, &call.key.project, now);
    video.body = json!({
        "id": id,
        "object": "video",
        "created_at": now.as_secs(),
        "model": model.id,
        "progress": 0,
        "status": "processing",
    });
    let answer = Answer::line(&video.body);
    let finish = resources::video(
        world,
        &call.key.project,
        |uri| json!({"progress": 100, "status": "completed", "url": uri}),
    );
    // Done as soon as it is asked after.
    video.work = Some(Work { polls: 0, due: now, meanwhile: None, finish });
    world.resources.insert(video, now);
    Ok(answer)
}

pub(super) fn video(call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    let name = format!("videos/{id}");
    let what = (call.key.project.as_str(), Kind::Video, name.as_str());
    call.world.resources.poll(what, call.world.clock()).map(|video| Answer::line(&video))
}

/// A text field of `multipart/form-data`.
fn form_field(body: &[u8], name: &str) -> Option<String> {
    let body = String::from_utf8_lossy(body);
    let (_, after) = body.split_once(&format!("name=\"{name}\""))?;
    let (_, value) = after.split_once("\r\n\r\n")?;
    Some(value.split("\r\n").next()?.to_owned())
}
