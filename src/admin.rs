//! The operator's listener: how the keys are, and verbs on one of them. Apart from the clients' listener, on loopback,
//! with a token of its own that no client token opens, and not there at all without one.

mod tokens;

use crate::{
    command::failure::Failure,
    http::{Gate, health_of},
    inflight::InFlight,
    settings::{Settings, SettingsError},
    tokens::Tokens,
    usage_report,
};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::header, web};
use gemini_balance_actors::{
    KeyManager, Secret,
    accounting::Accounts,
    health::Health,
    key_manager::{Verb, VerbKind},
};
use keypool::{KeyId, PoolError, Snapshot};
use serde::Serialize;
use serde_json::json;
use std::{
    collections::HashMap,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// How long the key manager may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the operator sees and steers.
#[derive(Clone)]
pub(crate) struct Operated {
    pub(crate) keys: KeyManager,
    pub(crate) health: Arc<Health>,
    pub(crate) in_flight: InFlight,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) accounts: Option<Accounts>,
}

/// What the handlers share.
#[derive(Clone)]
struct Desk {
    gate: Arc<Gate>,
    operated: Operated,
}

/// The address to listen on, refused unless it is this machine's own.
pub(crate) fn address(settings: &Settings) -> Result<SocketAddr, SettingsError> {
    let refused = |why| settings.name_source(SettingsError::refused("admin.host", why));
    let address = (settings.admin.host.as_str(), settings.admin.port)
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .ok_or_else(|| refused("is not an address"))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(refused(
            "must be a loopback address such as 127.0.0.1: the listener has no TLS; use a tunnel from elsewhere",
        ))
    }
}

/// Starts the listener on this thread.
pub(crate) fn start(address: SocketAddr, token: &Secret, operated: Operated) -> Result<(), Failure> {
    let desk = Desk { gate: Arc::new(Gate::of_one("admin", token)), operated };
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(desk.clone()))
            .route("/health", web::get().to(ask_health))
            .route("/health", web::head().to(ask_health))
            .route("/keys", web::get().to(list))
            .route("/api/usage", web::get().to(used))
            .route("/keys/{key}/{verb}", web::post().to(act))
            .configure(tokens::routes)
    })
    .workers(1)
    .disable_signals()
    .bind(address)
    .map_err(|error| Failure::new(format!("cannot listen on {address} (admin.host, admin.port): {error}")))?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    log::info!(target: "service", "the operator's listener is at http://{bound}");
    actix_rt::spawn(server.run());
    Ok(())
}

/// Why the caller is not let in: nobody is but the operator, and no browser, whoever sits before it.
fn refusal(request: &HttpRequest, desk: &Desk) -> Option<HttpResponse> {
    if request.headers().contains_key(header::ORIGIN) {
        return Some(not_for_browsers());
    }
    let (_, caller) = desk.gate.admit(request.headers(), None);
    caller.is_err().then(|| answer(401, "send the operator's token (admin.token) as Authorization: Bearer"))
}

/// Whether requests can be served, told without the token as on the clients' listener.
async fn ask_health(request: HttpRequest, desk: web::Data<Desk>) -> HttpResponse {
    if request.headers().contains_key(header::ORIGIN) {
        return not_for_browsers();
    }
    health_of(&desk.operated.keys, &desk.operated.health, &desk.operated.in_flight).await
}

fn not_for_browsers() -> HttpResponse {
    answer(403, "this listener is not for browsers")
}

async fn list(request: HttpRequest, desk: web::Data<Desk>) -> HttpResponse {
    if let Some(refusal) = refusal(&request, &desk) {
        return refusal;
    }
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

async fn act(request: HttpRequest, path: web::Path<(String, String)>, desk: web::Data<Desk>) -> HttpResponse {
    if let Some(refusal) = refusal(&request, &desk) {
        return refusal;
    }
    let (key, verb) = path.into_inner();
    let kind = match verb.as_str() {
        "enable" => VerbKind::Enable,
        "disable" => VerbKind::Disable,
        "reset" => VerbKind::Reset,
        _ => return answer(404, "the verbs are enable, disable and reset"),
    };
    let verb = Verb { kind, key: KeyId::from(key.as_str()) };
    match desk.operated.keys.verb(verb, Instant::now() + PATIENCE).await {
        Ok(Ok(())) => HttpResponse::Ok().json(json!({ "status": "ok" })),
        Ok(Err(PoolError::UnknownKey(_))) => answer(404, "no key has this id; see `gemini-balance keys`"),
        Ok(Err(error)) => answer(400, &error.to_string()),
        Err(_) => answer(503, "the key manager does not answer"),
    }
}

async fn used(
    request: HttpRequest,
    parameters: web::Query<HashMap<String, String>>,
    desk: web::Data<Desk>,
) -> HttpResponse {
    if let Some(refusal) = refusal(&request, &desk) {
        return refusal;
    }
    let Some(accounts) = desk.operated.accounts.clone() else {
        return answer(404, "usage is not counted here: usage.enabled is false");
    };
    // On a thread that may wait for the disk.
    let now = chrono::Utc::now().timestamp();
    match web::block(move || usage_report::answer(&accounts, &parameters, now)).await {
        Ok(answer) => {
            HttpResponse::build(actix_web::http::StatusCode::from_u16(answer.status).unwrap_or_default())
                .content_type(answer.content_type)
                .insert_header((header::CACHE_CONTROL, "no-store"))
                .body(answer.body)
        }
        Err(_) => answer(503, "too much is asked at once"),
    }
}

fn answer(status: u16, message: &str) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
    HttpResponse::build(status).json(json!({ "error": message }))
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
