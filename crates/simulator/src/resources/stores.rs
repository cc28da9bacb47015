//! `fileSearchStores`: stores, their documents, and the operations by which files get into them.

use std::time::Duration;

use serde_json::{Value, json};

use super::files;
use super::paging;
use super::parent;
use crate::answer::Answer;
use crate::call::Call;
use crate::error::ApiError;
use crate::prompt::field;
use crate::route::{Act, Kind, Place};
use crate::world::{Content, LOWER, Resource, Shelf, World, merge, stamp};

/// The protobuf message of the answer to an import or an upload.
const MESSAGES: &str = "type.googleapis.com/google.ai.generativelanguage.v1main";

pub(super) fn answer(call: &Call<'_>, place: &Place) -> Result<Answer, ApiError> {
    let (registry, now) = (&call.world.resources, call.world.clock());
    let what = (call.key.project.as_str(), Kind::Store, place.name.as_str());
    let below = place.name.split('/').nth(2);
    match &place.act {
        Act::List => {
            parent(call, place)?;
            paging::page(call, Kind::Store, &place.name, None, |resource| resource.body.clone())
        }
        Act::Create if below.is_none() => Ok(Answer::pretty(&create(call))),
        Act::Get if below == Some("media") => files::fetch(call, &place.name),
        Act::Get => {
            let mut body = registry.poll(what, now)?;
            if below.is_none() {
                let documents = format!("{}/documents", place.name);
                let count = registry.newest((what.0, &documents), now, u64::MAX, usize::MAX, |_| ()).len();
                if count > 0 {
                    merge(&mut body, json!({"activeDocumentsCount": count.to_string()}));
                }
            }
            Ok(Answer::pretty(&body))
        }
        Act::Delete => delete(call, place).map(|()| Answer::pretty(&json!({}))),
        Act::Verb(verb) if verb == "importFile" && below.is_none() => {
            import(call, place).map(|operation| Answer::pretty(&operation))
        }
        _ => Ok(Answer::no_such_page(call.path)),
    }
}

/// Google makes the id of a store of its display name and something random.
fn create(call: &Call<'_>) -> Value {
    let (registry, now) = (&call.world.resources, call.world.clock());
    let display_name = field(&call.json, "displayName", "display_name").and_then(Value::as_str);
    let slug: String = display_name
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii)
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
        .take(20)
        .collect();
    let id = format!("{slug}-{}", registry.ids.id(LOWER, 12));
    let id = id.trim_start_matches('-');
    let mut store = Resource::new(Kind::Store, "fileSearchStores", id, &call.key.project, now);
    store.body = json!({"name": store.name, "createTime": stamp(now), "updateTime": stamp(now)});
    if let Some(name) = display_name {
        store.body["displayName"] = json!(name);
    }
    let body = store.body.clone();
    registry.insert(store, now);
    body
}

/// What has something in it goes only by force: a store with documents, a document with chunks.
fn delete(call: &Call<'_>, place: &Place) -> Result<(), ApiError> {
    let (registry, now) = (&call.world.resources, call.world.clock());
    let what = (call.key.project.as_str(), Kind::Store, place.name.as_str());
    let filled = registry.with(what, now, |resource| resource.body.get("sizeBytes").is_some())?;
    let documents = format!("{}/documents", place.name);
    let filled = filled || !registry.newest((what.0, &documents), now, u64::MAX, 1, |_| ()).is_empty();
    if filled && !call.flag("force") {
        let noun = if place.name.contains("/documents/") { "Document" } else { "FileSearchStore" };
        let message = format!("Cannot delete non-empty {noun}.");
        return Err(ApiError::new(400, message).status("FAILED_PRECONDITION"));
    }
    registry.remove(what, now)?;
    if let Some((store, id)) = place.name.split_once("/documents/") {
        // The bytes go with the document; a document without any has none to lose.
        let media = format!("{store}/media/{id}");
        let _: Result<(), ApiError> = registry.remove((what.0, Kind::Store, &media), now);
    }
    Ok(())
}

/// A document on its way into a store.
struct Draft {
    store: String,
    project: String,
    id: String,
    size: String,
    mime_type: String,
    display_name: Option<Value>,
    custom: Option<Value>,
    content: Option<Content>,
}

impl Draft {
    fn put(self, shelf: &mut Shelf, now: Duration) -> String {
        let collection = format!("{}/documents", self.store);
        let mut document = Resource::new(Kind::Store, collection, &self.id, &self.project, now);
        let name = document.name.clone();
        document.body = json!({
            "name": name,
            "mimeType": self.mime_type,
            "sizeBytes": self.size,
            "state": "STATE_ACTIVE",
            "createTime": stamp(now),
            "updateTime": stamp(now),
        });
        for (field, value) in [("displayName", self.display_name), ("customMetadata", self.custom)] {
            if let Some(value) = value {
                document.body[field] = value;
            }
        }
        shelf.insert(document, now);
        if let Some(content) = self.content {
            let collection = format!("{}/media", self.store);
            let mut media = Resource::new(Kind::Store, collection, &self.id, &self.project, now);
            media.body = json!({"name": media.name});
            media.content = Some(content);
            shelf.insert(media, now);
        }
        name
    }
}

/// The operation at whose end the document is in the store.
fn operation(world: &World, collection: &str, message: &'static str, draft: Draft) -> Value {
    let now = world.clock();
    let id = world.resources.ids.id(LOWER, 12);
    let collection = format!("{}/{collection}", draft.store);
    // Google's operations of stores begin with the document's name.
    let id = format!("{}-{id}", draft.id);
    let mut operation = Resource::new(Kind::Store, collection, &id, &draft.project, now);
    operation.body = json!({"name": operation.name});
    let body = operation.body.clone();
    let finish = Box::new(move |shelf: &mut Shelf, now| {
        let parent = draft.store.clone();
        let document = draft.put(shelf, now);
        json!({
            "done": true,
            "response": {
                "@type": format!("{MESSAGES}.{message}"),
                "parent": parent,
                "documentName": document,
            },
        })
    });
    operation.work = Some(world.work(now, finish));
    world.resources.insert(operation, now);
    body
}

/// `:importFile`: the file has been looked at before, with all that bodies name.
fn import(call: &Call<'_>, place: &Place) -> Result<Value, ApiError> {
    let (world, project, now) = (call.world, call.key.project.as_str(), call.world.clock());
    world.resources.with((project, Kind::Store, &place.name), now, |_| ())?;
    let Some(name) = field(&call.json, "fileName", "file_name").and_then(Value::as_str) else {
        return Err(ApiError::new(400, "* ImportFileRequest.file_name: file_name is not specified\n"));
    };
    let what = (project, Kind::File, name);
    let (body, content) =
        world.resources.with(what, now, |file| (file.body.clone(), file.content.clone()))?;
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let draft = Draft {
        store: place.name.clone(),
        project: project.to_owned(),
        id: format!("{}-{}", name.trim_start_matches("files/"), world.resources.ids.id(LOWER, 12)),
        size: text("sizeBytes"),
        mime_type: text("mimeType"),
        display_name: body.get("displayName").cloned(),
        custom: field(&call.json, "customMetadata", "custom_metadata").cloned(),
        content,
    };
    Ok(operation(world, "operations", "ImportFileResponse", draft))
}

/// `:uploadToFileSearchStore`, once the bytes are there.
pub(super) fn uploaded(
    world: &World,
    store: &str,
    announced: &super::Announced,
    whole: &super::Whole,
) -> Value {
    let metadata = &announced.metadata;
    let mime_type = field(metadata, "mimeType", "mime_type").and_then(Value::as_str).map(str::to_owned);
    let mime_type = mime_type.or_else(|| announced.mime_type.clone());
    let mime_type = mime_type.unwrap_or_else(|| "application/octet-stream".to_owned());
    let draft = Draft {
        store: store.to_owned(),
        project: announced.project.clone(),
        id: world.resources.ids.id(LOWER, 12),
        size: whole.size.to_string(),
        display_name: field(metadata, "displayName", "display_name").cloned(),
        custom: field(metadata, "customMetadata", "custom_metadata").cloned(),
        content: whole.content.clone().map(|bytes| Content { mime_type: mime_type.clone(), bytes }),
        mime_type,
    };
    operation(world, "upload/operations", "UploadToFileSearchStoreResponse", draft)
}
