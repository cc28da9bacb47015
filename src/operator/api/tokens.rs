//! `/api/tokens`: makes, lists, limits, rotates, disables and removes the clients' tokens. A new token is in the answer that
//! made it, and nowhere else.

use super::{
    Desk, RouteTable, audit,
    cluster::with_reach_of_token,
    gate::answer,
    listed::{self, Asked, Listed},
};
use crate::{
    caller_view::{SpecView, UseView},
    settings::{Expiry, TokenEntry, client_spec, span},
    tokens::{Done, RequestsUnderWay, TokensError},
};
use actix_web::{HttpRequest, HttpResponse, http::Method, web};
use callers::{CallerSpec, DirectoryError, NewToken, Provenance, TokenListing, TokenState};
use chrono::{DateTime, Utc};
use gemini_balance_actors::cluster::{CallersCounted, Cluster};
use gemini_balance_store::instance_key::InstanceKeyError;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a replaced secret is let in where nothing is said.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

const NO_REMOVAL: &str = "cut must be true or false; the body is {\"cut\": true}, or empty";

pub(super) fn routes(table: &mut RouteTable) {
    table
        .get("/api/tokens", list)
        .post("/api/tokens", add)
        .add(Method::PUT, "/api/tokens/{name}", revise)
        .add(Method::DELETE, "/api/tokens/{name}", remove)
        .post("/api/tokens/{name}/{verb}", act);
}

/// The states that a token can be in.
pub(super) const STATES: [TokenState; 4] =
    [TokenState::Active, TokenState::Disabled, TokenState::Expired, TokenState::Shadowed];

/// Returns a state's word.
pub(super) fn word_of(state: TokenState) -> &'static str {
    match state {
        TokenState::Active => "active",
        TokenState::Disabled => "disabled",
        TokenState::Expired => "expired",
        TokenState::Shadowed => "shadowed",
    }
}

/// A token in the list.
#[derive(Serialize)]
struct TokenView {
    #[serde(flatten)]
    spec: SpecView,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
    /// `configuration` or `runtime`.
    source: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    made: Option<DateTime<Utc>>,
    /// Until when the last of its replaced secrets is let in.
    #[serde(skip_serializing_if = "Option::is_none")]
    former_until: Option<DateTime<Utc>>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    used: Option<UseView>,
}

impl TokenView {
    fn of(listing: TokenListing, gateways: Option<usize>) -> Self {
        Self {
            spec: SpecView::of(&listing.spec),
            note: listing.spec.note,
            source: match listing.provenance {
                Provenance::Given | Provenance::PoolKey => "configuration",
                Provenance::Made => "runtime",
            },
            state: word_of(listing.state),
            made: listing.made,
            former_until: listing.former_until,
            used: listing.reading.as_ref().map(|reading| UseView::of(reading, gateways)),
        }
    }
}

/// What is said with a rotation.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    grace: Option<String>,
}

/// What is said with a removal, or with the word to disable.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Removal {
    /// Whether what the caller has under way is to end, too.
    #[serde(default)]
    cut: bool,
}

impl Listed for TokenListing {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn state(&self) -> Option<&str> {
        Some(word_of(self.state))
    }
}

async fn list(asked: Asked, desk: web::Data<Desk>) -> HttpResponse {
    let page = match listed::page(asked, desk.operated.tokens.list(), &STATES.map(word_of)) {
        Ok(page) => page,
        Err(why) => return answer(400, &why),
    };
    let counted = desk.operated.cluster.as_ref().map(Cluster::counted);
    let gateways = counted.as_ref().map(|counted| counted.gateways);
    let view = |token| TokenView::of(token, gateways);
    let tokens: Vec<TokenView> = page.rows.into_iter().map(view).collect();
    let mut answer = serde_json::json!({ "tokens": tokens, "next": page.next });
    if let Some(CallersCounted { gateways, alone }) = counted {
        answer["gateways"] = serde_json::json!({ "counted": gateways, "alone": alone });
    }
    HttpResponse::Ok().json(answer)
}

async fn add(request: HttpRequest, body: web::Bytes, desk: web::Data<Desk>) -> HttpResponse {
    let spec = match read_spec(&body, None) {
        Ok(spec) if spec.expires.is_some_and(|at| at <= Utc::now()) => {
            return answer(400, "the token: expires: that has passed, and the token would let nobody in");
        }
        Ok(spec) => spec,
        Err(why) => return answer(400, &why),
    };
    let name = spec.name.to_string();
    audit::note(&request, "tokens add", Some(&name));
    let without_keys = desk.operated.tokens.projects_without_keys(&spec);
    shown_once(&desk, &name, desk.operated.tokens.add(spec).await, without_keys).await
}

async fn revise(
    request: HttpRequest,
    path: web::Path<String>,
    body: web::Bytes,
    desk: web::Data<Desk>,
) -> HttpResponse {
    let name = path.into_inner();
    note(&request, &desk, "tokens revise", &name);
    match read_spec(&body, Some(&name)) {
        Ok(spec) => {
            let without_keys = desk.operated.tokens.projects_without_keys(&spec);
            done_but(&desk, desk.operated.tokens.revise(spec).await, without_keys).await
        }
        Err(why) => answer(400, &why),
    }
}

async fn remove(
    request: HttpRequest,
    path: web::Path<String>,
    body: web::Bytes,
    desk: web::Data<Desk>,
) -> HttpResponse {
    note(&request, &desk, "tokens remove", &path);
    match under_way(&body) {
        Some(under_way) => done(&desk, desk.operated.tokens.remove(&path, under_way).await).await,
        None => answer(400, NO_REMOVAL),
    }
}

async fn act(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    body: web::Bytes,
    desk: web::Data<Desk>,
) -> HttpResponse {
    let (name, verb) = path.into_inner();
    match verb.as_str() {
        "enable" => {
            note(&request, &desk, "tokens enable", &name);
            done(&desk, desk.operated.tokens.enable(&name).await).await
        }
        "disable" => {
            note(&request, &desk, "tokens disable", &name);
            match under_way(&body) {
                Some(under_way) => done(&desk, desk.operated.tokens.disable(&name, under_way).await).await,
                None => answer(400, NO_REMOVAL),
            }
        }
        "rotate" => {
            note(&request, &desk, "tokens rotate", &name);
            match grace(&body) {
                Some(grace) => {
                    let rotated = desk.operated.tokens.rotate(&name, grace).await;
                    shown_once(&desk, &name, rotated, Vec::new()).await
                }
                None => {
                    answer(400, "grace must be a span such as 24h, or 0s; the body is {\"grace\": \"24h\"}")
                }
            }
        }
        _ => answer(404, "the verbs are enable, disable and rotate"),
    }
}

/// Names a token in the audit log if there is one of this name: what is none may be anything, even a secret.
fn note(request: &HttpRequest, desk: &Desk, verb: &'static str, name: &str) {
    let is_known = desk.operated.tokens.list().iter().any(|token| *token.spec.name == *name);
    audit::note(request, verb, is_known.then_some(name));
}

/// Reads what a token is to say of its caller, in the words of `[[auth.tokens]]`.
fn read_spec(body: &[u8], name: Option<&str>) -> Result<CallerSpec, String> {
    let mut body: serde_json::Value =
        serde_json::from_slice(body).map_err(|_| "the body is not JSON".to_owned())?;
    if let (Some(fields), Some(name)) = (body.as_object_mut(), name)
        && fields.insert("name".to_owned(), name.into()).is_some_and(|named| named != name)
    {
        return Err("a token keeps its name: make another one, and remove this".to_owned());
    }
    // What is wrong with a secret is not repeated, should somebody send one.
    if ["secret", "secret_file"].iter().any(|field| body.get(field).is_some()) {
        return Err("a token is made here, and cannot be chosen".to_owned());
    }
    let entry: TokenEntry = serde_json::from_value(body).map_err(|error| error.to_string())?;
    client_spec("the token", &entry, Expiry::SpanFromNow).map_err(|error| error.to_string())
}

fn grace(body: &[u8]) -> Option<Duration> {
    if body.is_empty() {
        return Some(GRACE);
    }
    let Rotation { grace } = serde_json::from_slice(body).ok()?;
    grace.map_or(Some(GRACE), |text| span(&text)?.to_std().ok())
}

/// Reads what becomes of what is under way; nothing said is that it goes on.
fn under_way(body: &[u8]) -> Option<RequestsUnderWay> {
    let Removal { cut } =
        if body.is_empty() { Removal::default() } else { serde_json::from_slice(body).ok()? };
    Some(if cut { RequestsUnderWay::End } else { RequestsUnderWay::GoOn })
}

/// Answers with a token that was made. `without_keys` are the projects of it that no key is of.
async fn shown_once(
    desk: &Desk,
    name: &str,
    made: Result<Done<NewToken>, TokensError>,
    without_keys: Vec<String>,
) -> HttpResponse {
    match made {
        Ok(Done { result, is_kept }) => {
            let made = serde_json::json!({ "name": name, "token": result.expose(), "kept": is_kept });
            let made = warning_of(made, without_keys);
            HttpResponse::Created()
                .insert_header(("cache-control", "no-store"))
                .json(with_reach_of_token(desk, made).await)
        }
        Err(error) => failed(&error),
    }
}

async fn done(desk: &Desk, result: Result<Done<()>, TokensError>) -> HttpResponse {
    done_but(desk, result, Vec::new()).await
}

fn warning_of(mut answer: serde_json::Value, without_keys: Vec<String>) -> serde_json::Value {
    if !without_keys.is_empty() {
        answer["projects_without_keys"] = without_keys.into();
    }
    answer
}

async fn done_but(
    desk: &Desk,
    result: Result<Done<()>, TokensError>,
    without_keys: Vec<String>,
) -> HttpResponse {
    match result {
        Ok(Done { is_kept, .. }) => {
            let done = serde_json::json!({ "status": "ok", "kept": is_kept });
            let done = warning_of(done, without_keys);
            HttpResponse::Ok().json(with_reach_of_token(desk, done).await)
        }
        Err(error) => failed(&error),
    }
}

pub(super) fn failed(error: &TokensError) -> HttpResponse {
    let status = match error {
        TokensError::Directory(DirectoryError::Unknown) => 404,
        TokensError::Directory(
            DirectoryError::Given
            | DirectoryError::NameTaken
            | DirectoryError::SecretTaken
            | DirectoryError::TooMany,
        )
        // Trying again does not help.
        | TokensError::InstanceKey(InstanceKeyError::Appeared(_)) => 409,
        TokensError::Directory(DirectoryError::Spec(_) | DirectoryError::TooShort) => 400,
        TokensError::InstanceKey(_) | TokensError::NoRandomness => 503,
    };
    answer(status, &error.to_string())
}
