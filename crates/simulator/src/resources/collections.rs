//! Collections of which it is enough that they are owned: agents, triggers, webhooks, credentials, voices, environments and
//! their files, tuned models, corpora, generated files. What is put in comes out again.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::paging;
use super::{files, parent};
use crate::answer::Answer;
use crate::call::Call;
use crate::error::ApiError;
use crate::route::{Act, Kind, Place};
use crate::world::{Content, LOWER, Resource, World, merge, stamp};

pub(super) fn answer(call: &Call<'_>, place: &Place) -> Result<Answer, ApiError> {
    let (registry, now) = (&call.world.resources, call.world.clock());
    let what = (call.key.project.as_str(), place.kind, place.name.as_str());
    match &place.act {
        Act::List => {
            parent(call, place)?;
            paging::page(call, place.kind, &place.name, None, |resource| resource.body.clone())
        }
        Act::Create => {
            parent(call, place)?;
            create(call, place).map(|made| Answer::pretty(&made))
        }
        Act::Get if registry.with(what, now, |resource| resource.content.is_some())? => {
            files::fetch(call, &place.name)
        }
        Act::Get => Ok(Answer::pretty(&registry.poll(what, now)?)),
        Act::Delete => registry.remove(what, now).map(|()| Answer::pretty(&json!({}))),
        Act::Patch => patch(call, place).map(|changed| Answer::pretty(&changed)),
        Act::Verb(verb) => {
            registry.with(what, now, |_| ())?;
            match (place.kind, verb.as_str()) {
                (Kind::Webhook, "ping") => Ok(Answer::pretty(&json!({}))),
                (Kind::Webhook, "rotateSigningSecret") => {
                    Ok(Answer::pretty(&json!({"secret": registry.ids.id(LOWER, 32)})))
                }
                (Kind::Trigger, "run") => {
                    let collection = format!("{}/executions", place.name);
                    let place = Place { kind: place.kind, name: collection, act: Act::Create };
                    create(call, &place).map(|made| Answer::pretty(&made))
                }
                _ => Ok(Answer::no_such_page(call.path)),
            }
        }
    }
}

/// The id wished for: in the query (`tunedModelId=`), or in the body.
fn wished(call: &Call<'_>, place: &Place) -> Option<String> {
    let collection = place.name.rsplit('/').next().unwrap_or_default();
    let singular = collection.strip_suffix('s').unwrap_or(collection);
    let from_body = || {
        // The `name` of a modern resource is a label.
        let name = call.json.get(if place.kind.modern() { "id" } else { "name" })?.as_str()?;
        let id = name.rsplit('/').next()?;
        let of_collection = name == id || name == format!("{}/{id}", place.name);
        (of_collection && !id.contains(char::is_whitespace)).then(|| id.to_owned())
    };
    call.parameter(&format!("{singular}Id")).or_else(from_body).filter(|id| !id.is_empty())
}

/// A new resource, of which nothing is known but what was said.
pub(super) fn create(call: &Call<'_>, place: &Place) -> Result<Value, ApiError> {
    let (registry, now) = (&call.world.resources, call.world.clock());
    let id = match wished(call, place) {
        Some(id) if registry.exists(&format!("{}/{id}", place.name), now) => {
            return Err(ApiError::new(409, "Requested entity already exists").status("ALREADY_EXISTS"));
        }
        Some(id) => id,
        None => registry.ids.id(LOWER, 12),
    };
    let mut resource = Resource::new(place.kind, place.name.as_str(), &id, &call.key.project, now);
    let mut body = call.json.as_object().cloned().unwrap_or_default();
    if place.kind.modern() {
        body.insert("id".to_owned(), json!(id));
        body.insert("created".to_owned(), json!(stamp(now)));
        body.insert("updated".to_owned(), json!(stamp(now)));
    } else {
        body.insert("name".to_owned(), json!(resource.name));
        body.insert("createTime".to_owned(), json!(stamp(now)));
        body.insert("updateTime".to_owned(), json!(stamp(now)));
    }
    resource.body = Value::Object(body);
    let body = resource.body.clone();
    registry.insert(resource, now);
    Ok(body)
}

/// The resource with the fields of the request in the place of its own; its names and times are not to be changed.
pub(super) fn patch(call: &Call<'_>, place: &Place) -> Result<Value, ApiError> {
    let now = call.world.clock();
    let mut new: Map<String, Value> = call.json.as_object().cloned().unwrap_or_default();
    new.retain(|name, _| !matches!(name.as_str(), "name" | "id" | "createTime" | "created"));
    let updated = if place.kind.modern() { "updated" } else { "updateTime" };
    new.insert(updated.to_owned(), json!(stamp(now)));
    let what = (call.key.project.as_str(), place.kind, place.name.as_str());
    call.world.resources.with(what, now, |resource| {
        merge(&mut resource.body, Value::Object(new));
        resource.body.clone()
    })
}

/// A file put into an environment.
pub(super) fn environment_file(
    world: &World,
    project: &str,
    name: &str,
    content: Option<Content>,
    size: u64,
    now: Duration,
) -> Value {
    let (environment, path) = name.split_once("/files/").unwrap_or((name, ""));
    let collection = format!("{environment}/files");
    let mut file = Resource::new(Kind::Environment, collection, path, project, now);
    file.body = json!({"name": name, "path": path, "size_bytes": size.to_string(), "updated": stamp(now)});
    file.content = content;
    let body = file.body.clone();
    world.resources.insert(file, now);
    body
}
