//! `files`: what was uploaded and what was generated. Uploaded ones cannot be fetched back, generated ones can.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::paging;
use crate::answer::{Answer, MEDIA};
use crate::call::Call;
use crate::error::{ApiError, SERVICE};
use crate::journal::hex;
use crate::prompt::field;
use crate::route::{Act, Kind, Place};
use crate::world::{Announced, Content, Intake, LOWER, Resource, Whole, Work, World, stamp};

/// Google's limit of a file.
pub(super) const LARGEST: u64 = 2 * 1024 * 1024 * 1024;

/// Google's address of a file, as its answers give it whoever asks.
pub(super) fn uri(name: &str) -> String {
    format!("https://{SERVICE}/v1beta/{name}")
}

pub(super) fn answer(call: &Call<'_>, place: &Place) -> Result<Answer, ApiError> {
    let (registry, now) = (&call.world.resources, call.world.clock());
    let what = (call.key.project.as_str(), Kind::File, place.name.as_str());
    match &place.act {
        Act::List => paging::page(call, Kind::File, &place.name, None, |file| file.body.clone()),
        Act::Create => {
            let announced = Announced {
                project: call.key.project.clone(),
                target: super::Target::Files,
                metadata: call.json.clone(),
                mime_type: None,
                size: None,
            };
            let empty = Intake::default().finish();
            Ok(Answer::pretty(&json!({"file": uploaded(call.world, &announced, &empty)?})))
        }
        Act::Get => Ok(Answer::pretty(&registry.poll(what, now)?)),
        Act::Delete => registry.remove(what, now).map(|()| Answer::pretty(&json!({}))),
        Act::Verb(verb) if verb == "download" => download(call, &place.name),
        // Files of Cloud Storage are registered with OAuth, never with an API key.
        Act::Verb(verb) if verb == "register" => Err(ApiError::keys_unsupported(&call.route.rpc())),
        _ => Ok(Answer::no_such_page(call.path)),
    }
}

/// The name the client wants, if it wants one.
fn wanted(metadata: &Value) -> Result<Option<&str>, ApiError> {
    let Some(name) = metadata.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let id = name.strip_prefix("files/").unwrap_or(name);
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if id.is_empty() || id.len() > 40 || !id.bytes().all(allowed) || id.starts_with('-') || id.ends_with('-')
    {
        return Err(ApiError::new(
            400,
            "* CreateFileRequest.file.name: The file name must be 40 characters or fewer, of lowercase letters, digits and dashes\n",
        ));
    }
    Ok(Some(id))
}

/// Takes a file in; returns its JSON.
pub(super) fn uploaded(world: &World, announced: &Announced, whole: &Whole) -> Result<Value, ApiError> {
    let metadata = announced.metadata.get("file").unwrap_or(&announced.metadata);
    let (registry, now) = (&world.resources, world.clock());
    let id = match wanted(metadata)? {
        Some(id) if registry.exists(&format!("files/{id}"), now) => {
            return Err(ApiError::new(409, "Requested entity already exists").status("ALREADY_EXISTS"));
        }
        Some(id) => id.to_owned(),
        None => registry.ids.id(LOWER, 12),
    };
    let text = |camel, snake| field(metadata, camel, snake).and_then(Value::as_str).map(str::to_owned);
    let mime_type = text("mimeType", "mime_type").or_else(|| announced.mime_type.clone());
    let mime_type = mime_type.unwrap_or_else(|| "application/octet-stream".to_owned());
    let mut file = resource(&id, &announced.project, &mime_type, whole, now);
    file.body["source"] = json!("UPLOADED");
    if let Some(name) = text("displayName", "display_name") {
        file.body["displayName"] = json!(name);
    }
    let lifecycle = world.lifecycle();
    if mime_type.starts_with("video/") && lifecycle.file_polls > 0 {
        file.body["state"] = json!("PROCESSING");
        file.work = Some(Work {
            polls: lifecycle.file_polls,
            due: now + Duration::from_secs(lifecycle.work_s),
            meanwhile: None,
            finish: Box::new(|_, now| {
                json!({
                    "state": "ACTIVE",
                    "updateTime": stamp(now),
                    "videoMetadata": {"videoDuration": "1s"},
                })
            }),
        });
    }
    let body = file.body.clone();
    registry.insert(file, now);
    Ok(body)
}

fn resource(id: &str, project: &str, mime_type: &str, whole: &Whole, now: Duration) -> Resource {
    let mut file = Resource::new(Kind::File, "files", id, project, now);
    // Google encodes the digest twice: base64 of its hex digits.
    file.body = json!({
        "name": file.name,
        "mimeType": mime_type,
        "sizeBytes": whole.size.to_string(),
        "createTime": stamp(now),
        "updateTime": stamp(now),
        "expirationTime": stamp(file.expires.unwrap_or(now)),
        "sha256Hash": STANDARD.encode(hex(&whole.sha256)),
        "uri": uri(&file.name),
        "state": "ACTIVE",
    });
    let mime_type = mime_type.to_owned();
    file.content = whole.content.clone().map(|bytes| Content { mime_type, bytes });
    file
}

/// Google's address of the bytes of a generated file.
pub(super) fn download_uri(name: &str) -> String {
    format!("{}:download?alt=media", uri(name))
}

/// A file that Google has made for a project, to be put on the shelf.
pub(super) fn generated(id: &str, project: &str, mime_type: &str, bytes: &Bytes, now: Duration) -> Resource {
    let mut intake = Intake::default();
    intake.add(bytes);
    intake.settle();
    let mut file = resource(id, project, mime_type, &intake.finish(), now);
    file.body["source"] = json!("GENERATED");
    file.body["downloadUri"] = json!(download_uri(&file.name));
    file
}

/// `files/ID:download`, by the native path.
fn download(call: &Call<'_>, name: &str) -> Result<Answer, ApiError> {
    let fetched = fetch(call, name)?;
    match call.world.lifecycle().download_redirect {
        Some(template) if fetched.status == StatusCode::OK => {
            let page = Answer::new(StatusCode::FOUND, "text/html; charset=UTF-8", "");
            Ok(page.header("location", template.replace("{name}", name)))
        }
        _ => Ok(fetched),
    }
}

/// The bytes of a generated file, or of a store's document.
pub(super) fn fetch(call: &Call<'_>, name: &str) -> Result<Answer, ApiError> {
    let kind = name.split('/').next().and_then(Kind::of).ok_or_else(|| ApiError::usual(404))?;
    let what = (call.key.project.as_str(), kind, name);
    let (content, uploaded) = call.world.resources.with(what, call.world.clock(), |resource| {
        (resource.content.clone(), resource.body.get("source").is_some_and(|source| source == "UPLOADED"))
    })?;
    if uploaded {
        return Err(ApiError::new(400, "Only generated files can be downloaded."));
    }
    if call.parameter("alt").as_deref() != Some("media") {
        return Ok(Answer::pretty(&json!({})));
    }
    content.map(media).ok_or_else(|| kind.missing(name))
}

/// The bytes of a resource to whoever asks, as the target of a redirect gives them.
pub(super) fn open(world: &World, name: &str) -> Result<Answer, ApiError> {
    world.resources.content(name, world.clock()).map(media).ok_or_else(|| ApiError::usual(404))
}

fn media(content: Content) -> Answer {
    Answer::new(StatusCode::OK, MEDIA, content.bytes).header("content-type", content.mime_type)
}
