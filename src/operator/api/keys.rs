//! `/keys` and `/api/keys`: how the keys are, verbs on one of them, and keys that are added, checked and removed. A pasted
//! text is read and not repeated; no answer holds a key, nor a part of one.

mod export;
mod listing;

pub(super) use listing::state_of;

use super::{
    Desk, PATIENCE, RouteTable,
    cluster::with_reach,
    gate::answer,
    parameters::{DRY_RUN, is_dry_run},
};
use crate::{
    keys::{Added, KeyChange, KeysError, Paste},
    operator::audit,
    tokens::Done,
    usage_report::Format,
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web,
};
use gemini_balance_actors::{
    Secret,
    key_manager::VerbKind,
    upstream::probe::{KeyHealth, KeyVerdict},
};
use keypool::{KeyId, Snapshot};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use tokio::time::Instant;

/// The most bytes of a paste: the text, in JSON a little longer.
const MAX_PASTE: usize = gemini::pasted::MAX_PASTED_BYTES + 2 * 1024 * 1024;

/// Adds the paths of this resource.
pub(super) fn routes(table: &mut RouteTable) {
    table
        .get("/keys", list)
        .post("/keys/{key}/{verb}", act)
        .get("/api/keys", page)
        .post("/api/keys", add)
        .take_up_to(MAX_PASTE, "/api/keys")
        .heed(&[DRY_RUN], "/api/keys")
        .get("/api/keys/export", take_away)
        .add(Method::DELETE, "/api/keys/{key}", remove)
        .post("/api/keys/{key}/{verb}", act);
}

/// A paste, in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PasteBody {
    text: String,
    project: Option<String>,
    /// Only tells what would become of it.
    #[serde(default)]
    dry_run: bool,
    /// Asks Google about the chosen keys; with `dry_run`.
    #[serde(default)]
    check: bool,
    /// The fingerprints of the keys that are meant.
    choose: Option<HashSet<String>>,
}

/// What is said with a verb that changes something of a key. Which field is there tells nothing; the verb does.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct VerbBody {
    label: Option<String>,
    project: Option<String>,
    weight: Option<u32>,
}

/// What Google says of a key.
#[derive(Serialize)]
pub(super) struct CheckView {
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_number: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl CheckView {
    fn of(fingerprint: Option<String>, health: KeyHealth) -> Self {
        let verdict: KeyVerdict = health.verdict();
        let (status, fault, project_number, why) = match health {
            KeyHealth::Well => (None, None, None, None),
            KeyHealth::Unwell { status, fault, project } => {
                (Some(status), Some(format!("{fault:?}")), project, Some(fault.words().to_owned()))
            }
            KeyHealth::NotGoogle { status } => {
                let why = "it is not Google that answers, but something on the way there";
                (Some(status), None, None, Some(why.to_owned()))
            }
            KeyHealth::Unreachable { why } => (None, None, None, Some(why)),
        };
        Self { fingerprint, verdict: verdict.as_str(), status, fault, project_number, why }
    }
}

/// What Google says of keys, each by its fingerprint.
pub(super) fn check_views(checks: Vec<(String, KeyHealth)>) -> Vec<CheckView> {
    checks.into_iter().map(|(key, health)| CheckView::of(Some(key), health)).collect()
}

async fn list(desk: web::Data<Desk>) -> HttpResponse {
    match desk.operated.keys.snapshot(Instant::now() + PATIENCE).await {
        Ok(mut snapshot) => {
            let left_out = shorten(&mut snapshot);
            HttpResponse::Ok().json(Listing { snapshot, left_out })
        }
        Err(_) => answer(503, "the key manager does not answer"),
    }
}

/// How many models are told of in one answer, over all keys: some megabytes.
const MODELS: usize = 20_000;

/// The keys, as far as there is room for what is said of their models.
#[derive(Serialize)]
struct Listing {
    #[serde(flatten)]
    snapshot: Snapshot,
    /// How many entries of models there would be besides.
    left_out: usize,
}

/// Gives each key its share of the room; returns how much was left out. Clients name models, the operator names keys.
fn shorten(snapshot: &mut Snapshot) -> usize {
    let most = share(snapshot.keys.len());
    let of_keys = snapshot
        .keys
        .iter_mut()
        .map(|key| cut(&mut key.models, most) + cut(&mut key.limits, most) + cut(&mut key.usage, most));
    of_keys.sum::<usize>() + cut(&mut snapshot.models_down, MODELS)
}

/// How many entries each of the three lists of each key may have.
fn share(keys: usize) -> usize {
    (MODELS / 3 / keys.max(1)).max(10)
}

/// Cuts a list; returns how much of it is gone.
fn cut<T>(list: &mut Vec<T>, most: usize) -> usize {
    let before = list.len();
    list.truncate(most);
    before - list.len()
}

async fn page(
    question: Result<web::Query<listing::Question>, actix_web::Error>,
    desk: web::Data<Desk>,
) -> HttpResponse {
    let Ok(question) = question else {
        return answer(400, "ask with q, state, sort, limit, cursor and offset, each at most once");
    };
    let asked = match question.read() {
        Ok(asked) => asked,
        Err(why) => return answer(400, &why),
    };
    match desk.operated.keys.page(asked.of_pool(), Instant::now() + PATIENCE).await {
        Ok(of_pool) => {
            let mut page = asked.page(&of_pool, &desk.operated.runtime_keys.inventory());
            if let Some(accounts) = &desk.operated.accounts {
                page.tell_last_hour(accounts);
            }
            HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(page)
        }
        Err(_) => answer(503, "the key manager does not answer"),
    }
}

async fn take_away(
    request: HttpRequest,
    parameters: web::Query<HashMap<String, String>>,
    desk: web::Data<Desk>,
) -> HttpResponse {
    let format = match parameters.get("format").map(String::as_str) {
        None | Some("json") => Format::Json,
        Some("csv") => Format::Csv,
        Some(_) => return answer(400, "format must be csv or json"),
    };
    match desk.operated.keys.snapshot(Instant::now() + PATIENCE).await {
        Ok(snapshot) => export::answer(&request, format, &snapshot, &desk.operated.runtime_keys.inventory()),
        Err(_) => answer(503, "the key manager does not answer"),
    }
}

async fn add(
    request: HttpRequest,
    body: Result<web::Bytes, actix_web::Error>,
    desk: web::Data<Desk>,
) -> HttpResponse {
    let Ok(body) = body else {
        return answer(413, &gemini::pasted::PasteError::TooLong.to_string());
    };
    let read = read_paste(&request, &body);
    drop(body);
    let (paste, is_body_dry_run, is_check) = match read {
        Ok(read) => read,
        Err(why) => return answer(400, why),
    };
    let is_dry_run = match is_dry_run(request.query_string()) {
        Ok(asked) => asked || is_body_dry_run,
        Err(why) => return answer(400, why),
    };
    let paste = match paste {
        Ok(paste) => paste,
        Err(error) => return failed(&error),
    };
    let keys = &desk.operated.runtime_keys;
    if is_check && !is_dry_run {
        return answer(400, "check goes with dry_run; then choose what to add by fingerprint");
    }
    if is_dry_run {
        audit::note(&request, "keys preview", None);
        let preview = match keys.preview(&paste) {
            Ok(preview) => preview,
            Err(error) => return failed(&error),
        };
        if !is_check {
            return HttpResponse::Ok().json(json!({ "preview": preview }));
        }
        audit::note(&request, "keys check", None);
        return match keys.check_paste(&paste).await {
            Ok(checks) => {
                HttpResponse::Ok().json(json!({ "preview": preview, "checks": check_views(checks) }))
            }
            Err(error) => failed(&error),
        };
    }
    audit::note(&request, "keys add", None);
    match keys.add(paste).await {
        Ok(Done { result: Added { preview, added }, is_kept }) => {
            audit::note(&request, "keys add", Some(&audit::listed(added.iter().map(KeyId::as_str))));
            HttpResponse::Created().json(json!({ "preview": preview, "added": added, "kept": is_kept }))
        }
        Err(error) => failed(&error),
    }
}

/// Reads a paste: a text as it is, or with what is said of it in JSON. What is wrong with it is not repeated.
fn read_paste(
    request: &HttpRequest,
    body: &[u8],
) -> Result<(Result<Paste, KeysError>, bool, bool), &'static str> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_json = content_type.is_some_and(|kind| kind.trim_start().starts_with("application/json"));
    if is_json {
        let body: PasteBody = serde_json::from_slice(body).map_err(
            |_| r#"the body must be {"text": "...", "project": "...", "dry_run": true, "check": true, "choose": ["key-..."]}, all but the text optional"#,
        )?;
        let paste = Paste::new(Secret::new(body.text), body.project.as_deref(), body.choose);
        return Ok((paste, body.dry_run, body.check));
    }
    let text = std::str::from_utf8(body).map_err(|_| "the text must be UTF-8")?;
    Ok((Paste::new(Secret::new(text), None, None), false, false))
}

async fn remove(request: HttpRequest, path: web::Path<String>, desk: web::Data<Desk>) -> HttpResponse {
    let id = KeyId::from(path.into_inner());
    note(&request, &desk, "keys remove", &id);
    done(desk.operated.runtime_keys.remove(id).await)
}

async fn act(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    body: web::Bytes,
    desk: web::Data<Desk>,
) -> HttpResponse {
    let (id, verb) = path.into_inner();
    let id = KeyId::from(id);
    let keys = &desk.operated.runtime_keys;
    match verb.as_str() {
        "enable" => {
            note(&request, &desk, "keys enable", &id);
            done_everywhere(&desk, keys.verb(VerbKind::Enable, id).await).await
        }
        "disable" => {
            note(&request, &desk, "keys disable", &id);
            done_everywhere(&desk, keys.verb(VerbKind::Disable, id).await).await
        }
        "reset" => {
            note(&request, &desk, "keys reset", &id);
            done_everywhere(&desk, keys.verb(VerbKind::Reset, id).await).await
        }
        "check" => {
            note(&request, &desk, "keys check", &id);
            match keys.check(&id).await {
                Ok(health) => HttpResponse::Ok().json(json!({ "check": CheckView::of(None, health) })),
                Err(error) => failed(&error),
            }
        }
        "label" | "project" | "weight" => {
            let audited = match verb.as_str() {
                "label" => "keys label",
                "project" => "keys project",
                _ => "keys weight",
            };
            note(&request, &desk, audited, &id);
            match change_of(&verb, &body) {
                Ok(change) => match keys.revise(id, change).await {
                    Ok(Done { result, is_kept }) => {
                        HttpResponse::Ok().json(json!({ "status": "ok", "id": result, "kept": is_kept }))
                    }
                    Err(error) => failed(&error),
                },
                Err(why) => answer(400, why),
            }
        }
        _ => answer(404, "the verbs are enable, disable, reset, check, label, project and weight"),
    }
}

/// Names a key in the audit log if there is one of this id: what is none may be anything, even a secret.
fn note(request: &HttpRequest, desk: &Desk, verb: &'static str, id: &KeyId) {
    let inventory = desk.operated.runtime_keys.inventory();
    let is_known = inventory.source(id).is_some() || inventory.shadowed().any(|key| key.id() == id);
    audit::note(request, verb, is_known.then_some(id.as_str()));
}

fn change_of(verb: &str, body: &[u8]) -> Result<KeyChange, &'static str> {
    let why = match verb {
        "label" => {
            r#"the body must be {"label": "..."}, or {"label": null} to call the key by its fingerprint"#
        }
        "project" => r#"the body must be {"project": "..."}, or {"project": null} for a project of its own"#,
        _ => r#"the body must be {"weight": 1}, a whole number"#,
    };
    let body: VerbBody = serde_json::from_slice(body).map_err(|_| why)?;
    match (verb, body) {
        ("label", VerbBody { label, project: None, weight: None }) => Ok(KeyChange::Label(label)),
        ("project", VerbBody { label: None, project, weight: None }) => Ok(KeyChange::Project(project)),
        ("weight", VerbBody { label: None, project: None, weight: Some(weight) }) => {
            Ok(KeyChange::Weight(weight))
        }
        _ => Err(why),
    }
}

fn done(result: Result<Done<()>, KeysError>) -> HttpResponse {
    match result {
        Ok(Done { is_kept, .. }) => HttpResponse::Ok().json(json!({ "status": "ok", "kept": is_kept })),
        Err(error) => failed(&error),
    }
}

/// The same for a word that holds on all gateways.
async fn done_everywhere(desk: &Desk, result: Result<Done<()>, KeysError>) -> HttpResponse {
    match result {
        Ok(Done { is_kept, .. }) => {
            HttpResponse::Ok().json(with_reach(desk, json!({ "status": "ok", "kept": is_kept })).await)
        }
        Err(error) => failed(&error),
    }
}

pub(super) fn failed(error: &KeysError) -> HttpResponse {
    use gemini_balance_store::vault::VaultError;
    let status = match error {
        KeysError::Unknown => 404,
        KeysError::Configured
        | KeysError::LabelTaken
        | KeysError::LastKey
        | KeysError::Off
        | KeysError::Vault(VaultError::TooMany | VaultError::Changed(_)) => 409,
        KeysError::Paste(_) => 413,
        KeysError::BadText(..)
        | KeysError::BadWeight
        | KeysError::TooManyToCheck
        | KeysError::Unusable(_)
        | KeysError::Refused(_) => 400,
        KeysError::Vault(_) | KeysError::Unanswered | KeysError::CheckUnanswered | KeysError::NoWay(_) => 503,
    };
    answer(status, &error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_keys_is_bounded_however_many_models_clients_name() {
        for keys in [0, 1, 3, 100, 600] {
            assert!(keys * share(keys) * 3 <= MODELS, "{keys}");
        }
        assert_eq!(share(100_000), 10);
        for (there, most, left_out) in [(10_000, 6_666, 3_334), (5, 6_666, 0), (0, 10, 0)] {
            let mut list = vec![0_u8; there];
            assert_eq!((cut(&mut list, most), list.len()), (left_out, there - left_out));
        }
    }
}
