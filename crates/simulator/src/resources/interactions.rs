//! `interactions`: asked and kept, streamed and resumed, in the background and cancelled.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::paging;
use crate::answer::{Answer, Events, Framing, Payload, SSE};
use crate::call::Call;
use crate::echo::Reply;
use crate::error::ApiError;
use crate::models::ModelKind;
use crate::prompt::{Prompt, tokens};
use crate::quota::Metered;
use crate::route::{Act, Kind, Place};
use crate::world::{Event, LOWER, MIXED, Resource, merge, stamp};

/// More pieces of an answer are not kept, and so not told.
const MOST_PIECES: u64 = 1000;

pub(super) fn answer(call: &Call<'_>, place: &Place) -> Result<Answer, ApiError> {
    let (registry, now) = (&call.world.resources, call.world.clock());
    let what = (call.key.project.as_str(), Kind::Interaction, place.name.as_str());
    match &place.act {
        Act::List => {
            paging::page(call, Kind::Interaction, &place.name, None, |it| shown(it.body.clone(), false))
        }
        Act::Create => create(call),
        Act::Get => {
            let interaction = registry.poll(what, now)?;
            if call.flag("stream") {
                return resume(call, place);
            }
            let with_input = call.flag("include_input");
            Ok(Answer::pretty(&shown(interaction, with_input)))
        }
        Act::Delete => registry.remove(what, now).map(|()| Answer::pretty(&json!({}))),
        Act::Verb(verb) if verb == "cancel" => {
            let cancelled = registry.with(what, now, |interaction| {
                let running = interaction.work.take().is_some();
                if running {
                    interaction.body["status"] = json!("cancelled");
                    interaction.body["updated"] = json!(stamp(now));
                }
                running.then(|| interaction.body.clone())
            })?;
            let cancelled = cancelled.ok_or_else(|| {
                ApiError::new(400, "Only interactions that are in progress can be cancelled.")
            })?;
            Ok(Answer::pretty(&shown(cancelled, false)))
        }
        _ => Ok(Answer::no_such_page(call.path)),
    }
}

/// An interaction as answers show it: what was asked only on request.
fn shown(mut interaction: Value, with_input: bool) -> Value {
    if !with_input && let Some(fields) = interaction.as_object_mut() {
        fields.remove("input");
    }
    interaction
}

/// The text of an input: a string, blocks, or turns of blocks.
fn text(input: &Value) -> String {
    match input {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            items.iter().map(text).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
        }
        Value::Object(block) => {
            block.get("text").or_else(|| block.get("content")).map(text).unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// What was asked for, checked.
struct InteractionRequest {
    /// `model` or `agent`, and which.
    by: (&'static str, Value),
    pieces: Vec<String>,
    input_tokens: u64,
    stored: bool,
    streamed: bool,
    background: bool,
}

fn asked(call: &Call<'_>) -> Result<InteractionRequest, ApiError> {
    let request = &call.json;
    let flag = |name: &str| request.get(name).and_then(Value::as_bool);
    let (stored, streamed) = (flag("store").unwrap_or(true), flag("stream").unwrap_or(false));
    let background = flag("background").unwrap_or(false);
    if background && !stored {
        return Err(ApiError::new(400, "background interactions must be stored."));
    }
    let by = match (request.get("model"), request.get("agent")) {
        (Some(model), None) => {
            let id = model.as_str().unwrap_or_default();
            let id = id.strip_prefix("models/").unwrap_or(id);
            call.model(id, &[ModelKind::Generate], "interactions")?;
            ("model", json!(id))
        }
        (None, Some(agent)) => ("agent", agent.clone()),
        _ => return Err(ApiError::new(400, "Exactly one of model and agent is required.")),
    };
    let said = request.get("input").map(text).unwrap_or_default();
    if request.get("input").is_none() {
        return Err(ApiError::new(400, "input is required."));
    }
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": said}]}]});
    let prompt = Prompt::native(&contents)?;
    let project = call.key.project.as_str();
    // What was said before is read again.
    let before = match request.get("previous_interaction_id").and_then(Value::as_str) {
        Some(id) if !id.is_empty() => {
            let name = format!("interactions/{}", id.trim_start_matches("interactions/"));
            let what = (project, Kind::Interaction, name.as_str());
            let usage = call.world.resources.with(what, call.world.clock(), |it| it.body["usage"].clone())?;
            usage["total_tokens"].as_u64().unwrap_or_default()
        }
        _ => 0,
    };
    let input_tokens = before + prompt.tokens;
    call.world.meter(project, by.1.as_str().unwrap_or_default(), Metered::Generate, input_tokens)?;
    let pieces = match Reply::to(&prompt, call.world.shape()) {
        Reply::Text(pieces) => {
            let count = pieces.count.min(MOST_PIECES);
            (0..count).map(|n| pieces.piece(n).into_owned()).collect()
        }
        Reply::Calls(_) => Vec::new(),
    };
    Ok(InteractionRequest { by, pieces, input_tokens, stored, streamed, background })
}

fn create(call: &Call<'_>) -> Result<Answer, ApiError> {
    let asked = asked(call)?;
    let (world, project, now) = (call.world, call.key.project.as_str(), call.world.clock());
    let id = format!("v1_{}", world.resources.ids.id(MIXED, 61));
    let mut body = json!({
        "id": id,
        "object": "interaction",
        "role": "model",
        "status": "in_progress",
        "created": stamp(now),
        "updated": stamp(now),
        "input": call.json["input"],
    });
    body[asked.by.0] = asked.by.1.clone();
    if let Some(previous) = call.json.get("previous_interaction_id") {
        body["previous_interaction_id"] = previous.clone();
    }
    if let Some(environment) = call.json.get("environment") {
        body["environment_id"] = json!(environment_id(call, environment, now));
    }
    let text = asked.pieces.concat();
    let output_tokens = tokens(text.len());
    let done = json!({
        "status": "completed",
        "steps": [{"type": "model_output", "content": [{"type": "text", "text": text}]}],
        "usage": {
            "total_input_tokens": asked.input_tokens,
            "total_output_tokens": output_tokens,
            "total_thought_tokens": 0,
            "total_cached_tokens": 0,
            "total_tool_use_tokens": 0,
            "total_tokens": asked.input_tokens + output_tokens,
        },
    });
    let mut finished = body.clone();
    merge(&mut finished, done.clone());
    let events = events(&body, &finished, &asked.pieces);
    let answer = match (asked.streamed, asked.background) {
        (true, _) => streamed(events.clone()),
        (false, true) => Answer::pretty(&shown(body.clone(), false)),
        (false, false) => Answer::pretty(&shown(finished.clone(), false)),
    };
    if asked.stored {
        let mut interaction = Resource::new(Kind::Interaction, "interactions", &id, project, now);
        interaction.events = events;
        if asked.background {
            interaction.body = body;
            interaction.work = Some(world.work(now, Box::new(|_, _| done)));
        } else {
            interaction.body = finished;
        }
        world.resources.insert(interaction, now);
    }
    Ok(answer)
}

/// The environment named, or a new one of the kind asked for.
fn environment_id(call: &Call<'_>, environment: &Value, now: Duration) -> String {
    let (world, project) = (call.world, call.key.project.as_str());
    let named = environment.as_str().or_else(|| environment.get("environment_id")?.as_str());
    if let Some(name) = named {
        let id = name.trim_start_matches("environments/");
        if world.resources.exists(&format!("environments/{id}"), now) {
            return id.to_owned();
        }
    }
    let id = world.resources.ids.id(LOWER, 16);
    let mut new = Resource::new(Kind::Environment, "environments", &id, project, now);
    new.body = json!({"id": id, "created": stamp(now), "updated": stamp(now)});
    world.resources.insert(new, now);
    id
}

/// The stream of an interaction, each event with an id of its own.
fn events(begun: &Value, finished: &Value, pieces: &[String]) -> Vec<Event> {
    let id = begun["id"].as_str().unwrap_or_default();
    let (begun, finished) = (shown(begun.clone(), false), shown(finished.clone(), false));
    let mut told = vec![
        ("interaction.created", json!({"interaction": begun})),
        ("interaction.status_update", json!({"interaction_id": id, "status": "in_progress"})),
        ("step.start", json!({"index": 0, "step": {"type": "model_output"}})),
    ];
    told.extend(
        pieces
            .iter()
            .map(|piece| ("step.delta", json!({"index": 0, "delta": {"type": "text", "text": piece}}))),
    );
    told.push(("step.stop", json!({"index": 0})));
    told.push(("interaction.completed", json!({"interaction": finished})));
    let event = |(number, (kind, mut event)): (usize, (&str, Value))| {
        // Ids say nothing to the client and differ from one interaction to the next.
        let event_id = format!("{}{number:04x}", id.get(3..23).unwrap_or(id));
        event["event_type"] = json!(kind);
        event["event_id"] = json!(event_id);
        Event { id: event_id, frame: Bytes::from(format!("event: {kind}\ndata: {event}\n\n")) }
    };
    told.into_iter().enumerate().map(event).collect()
}

fn streamed(events: Vec<Event>) -> Answer {
    let frames = Box::new(events.into_iter().map(|event| event.frame));
    let payload = Payload::Events(Events { framing: Framing::OpenAi, frames, closing: None });
    Answer { status: StatusCode::OK, content_type: SSE, payload, headers: Vec::new(), foreign: false }
}

/// `GET ?stream=true&last_event_id=`: what came after that event.
fn resume(call: &Call<'_>, place: &Place) -> Result<Answer, ApiError> {
    let what = (call.key.project.as_str(), Kind::Interaction, place.name.as_str());
    let mut events = call.world.resources.with(what, call.world.clock(), |it| it.events.clone())?;
    if let Some(last) = call.parameter("last_event_id").filter(|id| !id.is_empty()) {
        let Some(at) = events.iter().position(|event| event.id == last) else {
            return Err(ApiError::new(400, "last_event_id is not an event of this interaction."));
        };
        events.drain(..=at);
    }
    Ok(streamed(events))
}
