//! Lists in pages, the same for every collection: newest first, with tokens that only this project's same list takes.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::answer::Answer;
use crate::call::Call;
use crate::error::ApiError;
use crate::route::Kind;
use crate::world::Resource;

/// A token that Google did not give for this list.
fn bad_token() -> ApiError {
    ApiError::new(400, "Page token is not valid.")
}

/// Which list a token belongs to.
fn list_id(project: &str, collection: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one((project, collection))
}

fn token(list: u64, serial: u64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list:x}.{serial:x}"))
}

fn read_token(text: &str, list: u64) -> Option<u64> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let (of, serial) = text.split_once('.')?;
    if u64::from_str_radix(of, 16) != Ok(list) {
        return None;
    }
    u64::from_str_radix(serial, 16).ok()
}

/// How many items a page holds, by the query.
fn page_size(call: &Call<'_>, kind: Kind) -> Result<usize, ApiError> {
    let (usual, largest) = kind.page_sizes();
    let Some(text) = call.parameter("pageSize").or_else(|| call.parameter("page_size")) else {
        return Ok(usual);
    };
    match text.parse::<i32>() {
        Ok(0) => Ok(usual),
        Ok(size) => usize::try_from(size)
            .map(|size| size.min(largest))
            .map_err(|_| ApiError::new(400, "* ListRequest.page_size: page_size must not be negative\n")),
        Err(_) => Err(ApiError::new(400, format!("Invalid value at 'page_size' (TYPE_INT32), \"{text}\""))),
    }
}

/// The page asked for of a collection, each item shown by `show`, under the collection's own name or another.
pub(super) fn page(
    call: &Call<'_>,
    kind: Kind,
    collection: &str,
    key: Option<&str>,
    show: impl Fn(&Resource) -> Value,
) -> Result<Answer, ApiError> {
    let size = page_size(call, kind)?;
    let project = &call.key.project;
    let list = list_id(project, collection);
    let before = match call.parameter("pageToken").or_else(|| call.parameter("page_token")) {
        None => u64::MAX,
        Some(text) if text.is_empty() => u64::MAX,
        Some(text) => read_token(&text, list).ok_or_else(bad_token)?,
    };
    let registry = &call.world.resources;
    let mut found = registry.newest((project, collection), call.world.clock(), before, size + 1, show);
    let more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| more).map(|(serial, _)| token(list, *serial));
    let items: Vec<Value> = found.into_iter().map(|(_, item)| item).collect();
    let mut answer = Map::new();
    if !items.is_empty() {
        // An empty list is protobuf's default and not written.
        let key = key.or_else(|| collection.rsplit('/').next()).unwrap_or_default();
        answer.insert(key.to_owned(), items.into());
    }
    if let Some(next) = next {
        answer.insert("nextPageToken".to_owned(), next.into());
    }
    Ok(Answer::pretty(&Value::Object(answer)))
}
