//! Long-running operations of models, and what comes of them: videos, as generated files of the project.

use bytes::Bytes;
use serde_json::{Value, json};

use super::files::{self, download_uri};
use super::paging;
use crate::answer::Answer;
use crate::call::Call;
use crate::error::ApiError;
use crate::models::ModelKind;
use crate::prompt::tokens;
use crate::quota::Metered;
use crate::route::{Act, Kind, Place};
use crate::world::{Finish, LOWER, Resource, World};

/// The beginning of an MP4 file: a `ftyp` box.
const MP4: &[u8] = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2";

pub(super) fn answer(call: &Call<'_>, place: &Place) -> Result<Answer, ApiError> {
    let (registry, now) = (&call.world.resources, call.world.clock());
    let what = (call.key.project.as_str(), Kind::Operation, place.name.as_str());
    match &place.act {
        Act::List => {
            paging::page(call, Kind::Operation, &place.name, None, |operation| operation.body.clone())
        }
        Act::Get => Ok(Answer::pretty(&registry.poll(what, now)?)),
        Act::Delete => registry.remove(what, now).map(|()| Answer::pretty(&json!({}))),
        Act::Verb(verb) if verb == "predictLongRunning" => film(call, place),
        Act::Verb(verb) if verb == "cancel" => {
            registry.with(what, now, |operation| operation.work = None).map(|()| Answer::pretty(&json!({})))
        }
        Act::Verb(verb) if place.model().is_some() && verb != "cancel" => super::batches::answer(call, place),
        _ => Ok(Answer::no_such_page(call.path)),
    }
}

/// A video of a project, put on the shelf when it is done; `told` says the rest.
pub(crate) fn video(
    world: &World,
    project: &str,
    told: impl FnOnce(&str) -> Value + Send + 'static,
) -> Finish {
    let id = world.resources.ids.id(LOWER, 12);
    let project = project.to_owned();
    Box::new(move |shelf, now| {
        let file = files::generated(&id, &project, "video/mp4", &Bytes::from_static(MP4), now);
        let uri = download_uri(&file.name);
        shelf.insert(file, now);
        told(&uri)
    })
}

/// `models/{m}:predictLongRunning`.
fn film(call: &Call<'_>, place: &Place) -> Result<Answer, ApiError> {
    let id = place.model().unwrap_or_default();
    let model = call.model(id, &[ModelKind::Video], "predictLongRunning")?;
    let prompt = call.json.pointer("/instances/0/prompt").and_then(Value::as_str).unwrap_or_default();
    let (world, project, now) = (call.world, call.key.project.as_str(), call.world.clock());
    world.meter(project, &model.id, Metered::Generate, tokens(prompt.len()))?;
    let collection = format!("{}/operations", place.name);
    let id = world.resources.ids.id(LOWER, 12);
    let mut operation = Resource::new(Kind::Operation, collection, &id, project, now);
    operation.body = json!({"name": operation.name});
    let answer = Answer::pretty(&operation.body);
    let finish = video(world, project, |uri| {
        json!({
            "done": true,
            "response": {
                "@type": "type.googleapis.com/google.ai.generativelanguage.v1beta.PredictLongRunningResponse",
                "generateVideoResponse": {"generatedSamples": [{"video": {"uri": uri}}]},
            },
        })
    });
    operation.work = Some(world.work(now, finish));
    world.resources.insert(operation, now);
    Ok(answer)
}
