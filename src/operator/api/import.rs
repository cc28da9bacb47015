//! `/api/import`: takes what another gateway has into the keys and tokens that are kept beside the configuration. Settings and
//! limits are shown and belong into `config.toml`. What was sent is not repeated: places, lengths and fingerprints are.

use super::{
    Desk, RouteTable, audit,
    gate::answer,
    keys,
    parameters::{DRY_RUN, is_dry_run},
    tokens,
};
use crate::{
    import::{self, Document, Import, ImportError, ImportedKey, ImportedToken, Vendor},
    keys::KeysTaken,
    tokens::Done,
};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gemini_balance_actors::{Secret, key_ring::fingerprint};
use keypool::KeyId;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The most bytes of a request's body.
const MAX_BODY: usize = 32 * 1024 * 1024;
/// The most documents of a request.
const MAX_DOCUMENTS: usize = 16;
/// The longest name of one, which stands in the place of each of its keys.
const MAX_NAME_BYTES: usize = 255;
/// What a body must be.
const BODY: &str = r#"the body must be {"files": [{"name": ".env", "text": "..."}, {"name": "x.db", "base64": "..."}], "from": "snailyp", "dry_run": true, "check": true}, the last three optional; "from" is one of snailyp, gpt-load, litellm, keys"#;

/// Adds the path of this resource.
pub(super) fn routes(table: &mut RouteTable) {
    table.post("/api/import", take).take_up_to(MAX_BODY, "/api/import").heed(&[DRY_RUN], "/api/import");
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    files: Vec<File>,
    from: Option<Vendor>,
    /// Only tells what would become of it.
    #[serde(default)]
    dry_run: bool,
    /// Asks Google about the keys; with `dry_run`.
    #[serde(default)]
    check: bool,
}

/// One document: a text, or bytes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    text: Option<String>,
    base64: Option<String>,
}

#[derive(Serialize)]
struct KeyView<'a> {
    place: &'a str,
    length: usize,
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    enabled: bool,
    /// Whether it looks as Google's keys do.
    usual: bool,
    /// Whether it is one of the gateway's keys already.
    here: bool,
}

#[derive(Serialize)]
struct TokenView<'a> {
    place: &'a str,
    length: usize,
    /// Whether it is too short to be taken.
    short: bool,
}

#[derive(Serialize)]
struct SettingView<'a> {
    setting: &'a str,
    value: &'a str,
    origin: &'a str,
}

async fn take(
    request: HttpRequest,
    body: Result<web::Bytes, actix_web::Error>,
    desk: web::Data<Desk>,
) -> HttpResponse {
    let Ok(body) = body else {
        return answer(413, &format!("the body is longer than {} MiB", MAX_BODY >> 20));
    };
    let Ok(Body { files, from, dry_run, check }) = serde_json::from_slice(&body) else {
        return answer(400, BODY);
    };
    drop(body);
    let dry_run = match is_dry_run(request.query_string()) {
        Ok(asked) => asked || dry_run,
        Err(why) => return answer(400, why),
    };
    if files.len() > MAX_DOCUMENTS || files.iter().any(|file| file.name.len() > MAX_NAME_BYTES) {
        let why =
            format!("at most {MAX_DOCUMENTS} files at once, with names of at most {MAX_NAME_BYTES} bytes");
        return answer(400, &why);
    }
    if check && !dry_run {
        return answer(400, "check goes with dry_run");
    }
    audit::note(&request, if dry_run { "import preview" } else { "import" }, None);
    // Opening sealed keys takes its time.
    let import = match web::block(move || read(files, from)).await {
        Ok(Ok(import)) => import,
        Ok(Err(error)) => return answer(400, &error.to_string()),
        Err(_) => return answer(503, "the import was not read"),
    };
    let preview = preview(&import, &desk);
    if dry_run && check {
        audit::note(&request, "import check", None);
        return match desk.operated.runtime_keys.check_import(&import.keys).await {
            Ok(checks) => {
                HttpResponse::Ok().json(json!({ "preview": preview, "checks": keys::check_views(checks) }))
            }
            Err(error) => keys::failed(&error),
        };
    }
    if dry_run {
        return HttpResponse::Ok().json(json!({ "preview": preview }));
    }
    let Import { keys: found, tokens: shown, .. } = import;
    let long = shown.into_iter().filter(|token| !token.is_short());
    let secrets: Vec<Secret> = long.map(|token| token.secret).collect();
    let mut is_kept = true;
    let KeysTaken { added, disabled } = if found.is_empty() {
        KeysTaken::default()
    } else {
        match desk.operated.runtime_keys.import(found).await {
            Ok(Done { result, is_kept: keys_are_kept }) => {
                is_kept &= keys_are_kept;
                result
            }
            Err(error) => return keys::failed(&error),
        }
    };
    audit::note(&request, "import", Some(&audit::listed(added.iter().map(KeyId::as_str))));
    let names = if secrets.is_empty() {
        Vec::new()
    } else {
        match desk.operated.tokens.take_over(&secrets).await {
            Ok(Done { result, is_kept: tokens_are_kept }) => {
                is_kept &= tokens_are_kept;
                result
            }
            Err(error) => return tokens::failed(&error),
        }
    };
    let subjects = added.iter().map(KeyId::as_str).chain(names.iter().map(String::as_str));
    audit::note(&request, "import", Some(&audit::listed(subjects.collect::<Vec<_>>().into_iter())));
    HttpResponse::Created().json(
        json!({ "preview": preview, "added": added, "disabled": disabled, "tokens": names, "kept": is_kept }),
    )
}

/// Reads what was sent. The environment of this process is nobody else's.
fn read(files: Vec<File>, from: Option<Vendor>) -> Result<Import, ImportError> {
    let documents = files.into_iter().map(|File { name, text, base64 }| {
        let bytes = match (text, base64) {
            (Some(text), None) => Some(text.into_bytes()),
            (None, Some(text)) => STANDARD.decode(text).ok(),
            _ => None,
        };
        match bytes {
            Some(bytes) => Document::of_bytes(name, bytes),
            None => Err(ImportError::new(&name, "needs a text, or its bytes in base64")),
        }
    });
    import::read(&documents.collect::<Result<Vec<_>, _>>()?, from, &|_| None)
}

/// What may be shown of an import.
fn preview(import: &Import, desk: &Desk) -> serde_json::Value {
    let inventory = desk.operated.runtime_keys.inventory();
    let key = |key: &ImportedKey| {
        let fingerprint = fingerprint(&key.secret);
        let here = inventory.with_fingerprint(&fingerprint).is_some();
        json!(KeyView {
            place: &key.place,
            length: key.secret.expose().len(),
            fingerprint,
            label: key.label.as_deref(),
            enabled: key.enabled,
            usual: key.is_usual(),
            here,
        })
    };
    let token = |token: &ImportedToken| {
        let length = token.secret.expose().chars().count();
        json!(TokenView { place: &token.place, length, short: token.is_short() })
    };
    let settings = import.settings.iter().map(|setting| {
        json!(SettingView { setting: setting.setting, value: &setting.shown, origin: &setting.origin })
    });
    json!({
        "sources": import.sources,
        "keys": import.keys.iter().map(key).collect::<Vec<_>>(),
        "tokens": import.tokens.iter().map(token).collect::<Vec<_>>(),
        "not_taken_here": { "settings": settings.collect::<Vec<_>>(), "limits": import.limits },
        "repeated": import.repeated,
        "warnings": import.warnings,
        "left": import.left,
        "unnamed": import.unnamed,
    })
}
