//! Resources that a request's body names, and Google's check that they are the caller's. A body that names none costs one
//! search of its bytes.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use serde_json::Value;
use url::Url;

use crate::call::Call;
use crate::error::{ApiError, SERVICE};
use crate::route::Operation;
use crate::route::{Act, Kind};
use crate::world::World;

/// No body names a resource without one of these. A name may be spelt with escapes, so they count too.
static NEEDLES: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let needles = ["ileUri", "ile_uri", "achedContent", "ached_content", "toreNames", "tore_names", "\\u"];
    AhoCorasick::new(needles).ok()
});

/// Where JSON is the user's own and its names mean nothing.
const OPAQUE: [&str; 12] = [
    "args",
    "arguments",
    "response",
    "parameters",
    "parametersJsonSchema",
    "parameters_json_schema",
    "responseSchema",
    "response_schema",
    "responseJsonSchema",
    "response_json_schema",
    "labels",
    "metadata",
];

/// A resource named in a body.
#[derive(Debug, PartialEq, Eq)]
struct Mention {
    kind: Kind,
    name: String,
    /// The same field also takes names that are no resources: of Google's own agents, of common voices.
    maybe: bool,
}

/// Refuses a body that names what the caller's project does not own.
pub(crate) fn check(call: &Call<'_>) -> Result<(), ApiError> {
    let looked_at = match &call.route.operation {
        Operation::Generate(_)
        | Operation::StreamGenerate(_)
        | Operation::CountTokens(_)
        | Operation::Embed(_)
        | Operation::BatchEmbed(_)
        | Operation::ChatCompletions => NEEDLES.as_ref().is_none_or(|needles| needles.is_match(call.body)),
        Operation::Owned(place) => !matches!(place.act, Act::List | Act::Get | Act::Delete),
        Operation::Predict(_) | Operation::Images | Operation::CreateVideo => true,
        _ => false,
    };
    if !looked_at {
        return Ok(());
    }
    let modern = matches!(&call.route.operation, Operation::Owned(place) if place.kind.modern());
    check_body(call.world, &call.key.project, &call.json, modern)
}

/// The same for any JSON. `modern`: the names of what came with the interactions count as well.
pub(super) fn check_body(world: &World, project: &str, body: &Value, modern: bool) -> Result<(), ApiError> {
    let mut mentions = Vec::new();
    collect(body, modern, &mut mentions);
    let (registry, now) = (&world.resources, world.clock());
    for Mention { kind, name, maybe } in mentions {
        if maybe && !registry.exists(&name, now) {
            continue;
        }
        let active = registry.with((project, kind, &name), now, |resource| {
            kind != Kind::File || resource.body.get("state").is_none_or(|state| state == "ACTIVE")
        })?;
        if !active {
            let id = name.trim_start_matches("files/");
            let message = format!("The File {id} is not in an ACTIVE state and usage is not allowed.");
            return Err(ApiError::new(400, message).status("FAILED_PRECONDITION"));
        }
    }
    Ok(())
}

/// The name of a file of Google's in any form in which requests carry it.
fn file(uri: &str) -> Option<String> {
    let path = if uri.starts_with("files/") {
        uri.to_owned()
    } else {
        let url = Url::parse(uri).ok().filter(|url| url.host_str() == Some(SERVICE))?;
        let (version, rest) = url.path().trim_start_matches('/').split_once('/')?;
        let rest = if version == "download" { rest.split_once('/')?.1 } else { rest };
        rest.to_owned()
    };
    let path = path.strip_prefix("files/")?;
    let id = path.split([':', '?', '#', '/']).next().filter(|id| !id.is_empty())?;
    Some(format!("files/{id}"))
}

/// `id` as a full name.
fn full(kind: Kind, id: &str) -> String {
    let collection = kind.collection();
    if id.split('/').next() == Some(collection) { id.to_owned() } else { format!("{collection}/{id}") }
}

fn collect(value: &Value, modern: bool, mentions: &mut Vec<Mention>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, modern, mentions)),
        Value::Object(fields) => {
            for (field, value) in fields {
                if OPAQUE.contains(&field.as_str()) {
                    continue;
                }
                if !mentioned(field, value, modern, mentions) {
                    collect(value, modern, mentions);
                }
            }
        }
        _ => {}
    }
}

/// Takes what a field names; false if it is none of those that name something.
fn mentioned(field: &str, value: &Value, modern: bool, mentions: &mut Vec<Mention>) -> bool {
    let mut name = |kind, name, maybe| mentions.push(Mention { kind, name, maybe });
    match (field, value) {
        ("fileUri" | "file_uri" | "fileName" | "file_name" | "input_file_id" | "uri", Value::String(uri)) => {
            if let Some(file) = file(uri) {
                name(Kind::File, file, false);
            }
        }
        ("cachedContent" | "cached_content", Value::String(id)) => {
            name(Kind::Cache, full(Kind::Cache, id), false);
        }
        ("fileSearchStoreNames" | "file_search_store_names", Value::Array(stores)) => {
            for id in stores.iter().filter_map(Value::as_str) {
                name(Kind::Store, full(Kind::Store, id), false);
            }
        }
        ("previous_interaction_id" | "previousInteractionId", Value::String(id)) if !id.is_empty() => {
            name(Kind::Interaction, full(Kind::Interaction, id), false);
        }
        ("extend_video_id", Value::String(id)) => name(Kind::Video, full(Kind::Video, id), false),
        (
            "environment_id" | "environmentId" | "from_environment" | "base_environment" | "environment",
            Value::String(id),
        ) if modern => {
            let maybe = field == "environment" && !id.starts_with("environments/");
            name(Kind::Environment, full(Kind::Environment, id), maybe);
        }
        ("agent", Value::String(id)) if modern => name(Kind::Agent, full(Kind::Agent, id), true),
        ("credential" | "credential_id", Value::String(id)) if modern => {
            name(Kind::Credential, full(Kind::Credential, id), true);
        }
        ("voice" | "voice_id", Value::String(id)) if modern => {
            name(Kind::Voice, full(Kind::Voice, id), true);
        }
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_file_is_known_by_all_its_addresses() {
        let own = [
            "files/abc",
            "https://generativelanguage.googleapis.com/v1beta/files/abc",
            "https://generativelanguage.googleapis.com/v1/files/abc:download?alt=media",
            "https://generativelanguage.googleapis.com/download/v1beta/files/abc:download?alt=media",
        ];
        for uri in own {
            assert_eq!(file(uri).as_deref(), Some("files/abc"), "{uri}");
        }
        for uri in
            ["https://youtu.be/files/abc", "gs://files/abc", "https://elsewhere/v1beta/files/abc", "abc"]
        {
            assert_eq!(file(uri), None, "{uri}");
        }
    }

    #[test]
    fn names_are_found_where_google_reads_them_and_nowhere_else() {
        let body = json!({
            "contents": [{"parts": [
                {"file_data": {"file_uri": "files/a"}},
                {"functionResponse": {"parts": [{"fileData": {"fileUri": "files/b"}}], "response": {"fileUri": "files/x"}}},
                {"functionCall": {"args": {"cachedContent": "cachedContents/x"}}},
            ]}],
            "tools": [{"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/s"]}}],
            "cachedContent": "cachedContents/c",
            "agent": "somebody",
        });
        let mut mentions = Vec::new();
        collect(&body, false, &mut mentions);
        let names: Vec<&str> = mentions.iter().map(|mention| mention.name.as_str()).collect();
        assert_eq!(names, ["cachedContents/c", "files/a", "files/b", "fileSearchStores/s"]);
        let mut modern = Vec::new();
        collect(&json!({"agent": "a", "environment": {"environment_id": "e"}}), true, &mut modern);
        let names: Vec<_> = modern.iter().map(|mention| (mention.name.as_str(), mention.maybe)).collect();
        assert_eq!(names, [("agents/a", true), ("environments/e", false)]);
    }
}
