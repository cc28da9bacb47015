//! What projects own: files, and all that lives longer than a request. Each kind answers in a module of its own; the
//! world's registry knows the owners, and refuses the keys of other projects as Google does.

pub(crate) mod batches;
mod caches;
mod collections;
mod command;
mod files;
mod interactions;
mod mentions;
mod multipart;
mod operations;
mod paging;
mod stores;
mod uploads;

use serde_json::{Value, json};

pub(crate) use mentions::check as check_mentions;
pub(crate) use operations::video;
pub(crate) use uploads::Upload;

use crate::answer::{Answer, MEDIA};
use crate::call::Call;
use crate::error::ApiError;
use crate::route::{Kind, Place, Target};
use crate::world::{Announced, Content, Whole, World};

/// The answer at a place.
pub(crate) fn answer(call: &Call<'_>, place: &Place) -> Result<Answer, ApiError> {
    match place.kind {
        Kind::File => files::answer(call, place),
        Kind::Batch => batches::answer(call, place),
        Kind::Cache => caches::answer(call, place),
        Kind::Interaction => interactions::answer(call, place),
        Kind::Operation => operations::answer(call, place),
        Kind::Store => stores::answer(call, place),
        _ => collections::answer(call, place),
    }
}

/// What a collection is part of must be the caller's.
fn parent(call: &Call<'_>, place: &Place) -> Result<(), ApiError> {
    let segments: Vec<&str> = place.name.split('/').collect();
    if segments.len() < 3 || place.kind == Kind::Operation {
        return Ok(());
    }
    let name = segments[..2].join("/");
    call.world.resources.with((&call.key.project, place.kind, &name), call.world.clock(), |_| ())
}

/// `/download/{v}/{name}:download`.
pub(crate) fn download(call: &Call<'_>, name: &str) -> Result<Answer, ApiError> {
    files::fetch(call, name)
}

/// `/media/{name}`, which asks for no key.
pub(crate) fn media(world: &World, name: &str) -> Result<Answer, ApiError> {
    files::open(world, name)
}

/// Whether the project may upload there.
fn check_target(world: &World, target: &Target, project: &str) -> Result<(), ApiError> {
    let (kind, name) = match target {
        Target::Files => return Ok(()),
        Target::Store(store) => (Kind::Store, store.as_str()),
        Target::Environment(path) => {
            (Kind::Environment, path.split_once("/files/").map_or(path.as_str(), |(name, _)| name))
        }
    };
    world.resources.with((project, kind, name), world.clock(), |_| ())
}

/// Takes in what was uploaded; returns the answer that the last chunk gets.
fn uploaded(world: &World, announced: &Announced, whole: Whole) -> Result<Value, ApiError> {
    check_target(world, &announced.target, &announced.project)?;
    match &announced.target {
        Target::Files => Ok(json!({"file": files::uploaded(world, announced, &whole)?})),
        Target::Environment(path) => {
            let mime_type = announced.mime_type.clone().unwrap_or_else(|| MEDIA.to_owned());
            let content = whole.content.map(|bytes| Content { mime_type, bytes });
            let (project, now) = (&announced.project, world.clock());
            let file = collections::environment_file(world, project, path, content, whole.size, now);
            Ok(json!({"file": file}))
        }
        Target::Store(store) => Ok(stores::uploaded(world, store, announced, &whole)),
    }
}
