//! What `gemini::names` is checked against, by its tests and by the fuzz target: a whole parse, and walks that follow the
//! tables of names to the letter, with no thought of speed.
#![allow(dead_code, reason = "some of its users check one half")]

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// JSON with the members of its objects in their order, repeated ones too.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Other,
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

#[derive(Clone, Copy)]
enum Form {
    /// With its collection.
    Named,
    /// With or without.
    Bare,
    /// An id, or an operation.
    Video,
    Opaque,
    /// Of the resource itself or of what lies under it.
    Given,
}

use Form::{Bare, Given, Named, Opaque, Video};

/// Keys, collection, form, whether it is certain.
const REQUEST: &[(&[&str], &str, Form, bool)] = &[
    (
        &["fileUri", "file_uri", "uri", "fileName", "file_name", "inputFileId", "input_file_id"],
        "files",
        Named,
        true,
    ),
    (&["cachedContent", "cached_content"], "cachedContents", Named, true),
    (&["fileSearchStoreNames", "file_search_store_names"], "fileSearchStores", Named, true),
    (&["previousInteractionId", "previous_interaction_id"], "interactions", Bare, true),
    (&["environmentId", "environment_id", "fromEnvironment", "from_environment"], "environments", Bare, true),
    (&["environment", "baseEnvironment", "base_environment"], "environments", Bare, false),
    (&["agent", "baseAgent", "base_agent"], "agents", Bare, false),
    (&["credential", "credentialId", "credential_id"], "credentials", Bare, true),
    (&["voice", "voiceId", "voice_id", "baseVoice", "base_voice"], "voices", Bare, false),
    (&["extendVideoId", "extend_video_id"], "videos", Video, true),
    (&["continuationToken", "continuation_token"], "continuationTokens", Opaque, false),
];

const CALLERS_OWN: &[&str] = &[
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
    "_responseJsonSchema",
    "inputSchema",
    "input_schema",
    "jsonSchema",
    "json_schema",
    "schema",
    "metadata",
    "labels",
    "customMetadata",
    "custom_metadata",
    "headers",
];

/// The names in a request and whether each is certain; `None` where the body is no JSON that a parser takes.
pub(crate) fn in_request(body: &[u8]) -> Option<Vec<(String, bool)>> {
    let mut found = Vec::new();
    walk_request(&serde_json::from_slice(body).ok()?, "", "", &mut found);
    let mut once: Vec<(String, bool)> = Vec::new();
    for (name, certain) in found {
        match once.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known |= certain,
            None => once.push((name, certain)),
        }
    }
    Some(once)
}

/// `key` is the one above the value, `parent` the one above that; an array has its elements' key.
fn walk_request(tree: &Tree, key: &str, parent: &str, found: &mut Vec<(String, bool)>) {
    match tree {
        Tree::Other => {}
        Tree::Array(elements) => {
            // A function's result that is a list holds content.
            let key = if key == "result" { "" } else { key };
            for element in elements {
                walk_request(element, key, parent, found);
            }
        }
        Tree::Object(_) if key == "result" => {}
        Tree::Object(members) => {
            for (member, value) in members {
                if !CALLERS_OWN.contains(&member.as_str()) {
                    walk_request(value, member, key, found);
                }
            }
        }
        Tree::Text(text) => {
            let resumption = matches!(parent, "sessionResumption" | "session_resumption");
            if key == "handle" && resumption {
                found.extend(name("liveHandles", Opaque, text).map(|name| (name, false)));
            }
            if let Some((_, collection, form, certain)) = REQUEST.iter().find(|rule| rule.0.contains(&key)) {
                found.extend(name(collection, *form, text).map(|name| (name, *certain)));
            }
        }
    }
}

/// What an answer may be of: the keys that lead to a resource, then those that lead on to a name, its collection, form.
pub(crate) struct Answers(&'static [&'static str], &'static [(&'static str, &'static str, Form)]);

pub(crate) const BATCHES: Answers = Answers(
    &["", "operations/", "data/", "documents/", "batches/"],
    &[
        ("name", "batches", Given),
        ("id", "batches", Bare),
        ("output_file_id", "files", Named),
        ("error_file_id", "files", Named),
        ("metadata/output/responsesFile", "files", Named),
        ("response/responsesFile", "files", Named),
        ("response/name", "batches", Given),
        ("response/documentName", "fileSearchStores", Given),
        ("response/generateVideoResponse/generatedSamples/video/uri", "files", Named),
        ("response/generatedVideos/video/uri", "files", Named),
    ],
);

pub(crate) const INTERACTIONS: Answers = Answers(
    &["", "operations/", "data/", "documents/", "interactions/", "interaction/"],
    &[
        ("id", "interactions", Bare),
        ("environment_id", "environments", Bare),
        ("continuation_token", "continuationTokens", Opaque),
    ],
);

pub(crate) const FILES: Answers = Answers(
    &["", "operations/", "data/", "documents/", "files/", "file/"],
    &[
        ("name", "files", Given),
        ("uri", "files", Named),
        ("downloadUri", "files", Named),
        ("metadata/output/responsesFile", "files", Named),
        ("response/name", "files", Given),
        ("response/documentName", "fileSearchStores", Given),
        ("response/responsesFile", "files", Named),
        ("response/generateVideoResponse/generatedSamples/video/uri", "files", Named),
        ("response/generatedVideos/video/uri", "files", Named),
    ],
);

/// The names in an answer, each with the expiry beside it, by the end of the object that holds them.
pub(crate) fn in_answer(body: &[u8], answers: &Answers) -> Option<Vec<(String, Option<String>)>> {
    let mut learnt = Vec::new();
    walk_answer(&serde_json::from_slice(body).ok()?, "", answers, &mut learnt);
    Some(learnt)
}

fn walk_answer(tree: &Tree, path: &str, answers: &Answers, learnt: &mut Vec<(String, Option<String>)>) {
    match tree {
        Tree::Other | Tree::Text(_) => {}
        Tree::Array(elements) => {
            for element in elements {
                walk_answer(element, path, answers, learnt);
            }
        }
        Tree::Object(members) => {
            let (mut names, mut expires) = (Vec::new(), None);
            for (key, value) in members {
                let Tree::Text(text) = value else {
                    walk_answer(value, &format!("{path}{key}/"), answers, learnt);
                    continue;
                };
                if ["expireTime", "expire_time", "expirationTime", "expiration_time"].contains(&key.as_str())
                {
                    expires = if text.len() <= 64 { Some(text.clone()) } else { expires };
                }
                let Answers(prefixes, rules) = answers;
                let full = format!("{path}{key}");
                let mut ends = prefixes.iter().filter_map(|prefix| full.strip_prefix(prefix));
                let rule = ends.find_map(|end| rules.iter().find(|rule| rule.0 == end));
                let name = rule.and_then(|(_, collection, form)| name(collection, *form, text));
                names.extend(name.filter(|name| !names.contains(name)));
            }
            // The rest are not Google's.
            learnt.extend(names.into_iter().take(8).map(|name| (name, expires.clone())));
        }
    }
}

fn is_segment(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c == '/' || c.is_whitespace() || c.is_control())
}

fn name(collection: &str, form: Form, text: &str) -> Option<String> {
    match form {
        Given => {
            let mut segments = text.split('/');
            let ours = segments.next() == Some(collection);
            let id = segments.next().filter(|id| ours && is_segment(id))?;
            Some(format!("{collection}/{id}"))
        }
        Opaque if text.is_empty() => None,
        Opaque => Some(format!("{collection}/{text}")),
        Video if text.starts_with("models/") => {
            let parts: Vec<_> = text.splitn(4, '/').collect();
            (parts.len() == 4 && parts[2] == "operations" && !parts[3].is_empty()).then(|| text.to_owned())
        }
        Bare | Video if !text.contains('/') => is_segment(text).then(|| format!("{collection}/{text}")),
        Named | Bare | Video => {
            let text = &text[..text.find(['?', '#']).unwrap_or(text.len())];
            let text = percent_decode_str(text).decode_utf8().ok()?.into_owned();
            let lower = text.to_ascii_lowercase();
            let is_url = lower.starts_with("http://") || lower.starts_with("https://");
            let id = if is_url || text.starts_with('/') {
                let skipped = if is_url { text.find("://")? + 3 } else { 0 };
                let path = &text[skipped..];
                let path = &path[path.find('/')?..];
                let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
                let [.., version, kind, id] = segments.as_slice() else { return None };
                let digits = version.strip_prefix('v')?;
                let is_version = digits.starts_with(|c: char| c.is_ascii_digit())
                    && digits.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase());
                if !is_version || *kind != collection {
                    return None;
                }
                (*id).to_owned()
            } else {
                text.strip_prefix(&format!("{collection}/"))?.to_owned()
            };
            let id = match id.rfind(':') {
                Some(colon)
                    if colon + 1 < id.len() && id[colon + 1..].chars().all(|c| c.is_ascii_alphabetic()) =>
                {
                    &id[..colon]
                }
                _ => &id,
            };
            is_segment(id).then(|| format!("{collection}/{id}"))
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Tree::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Tree::Object(members))
    }
}
