//! What orchestrators and people ask: whether requests can be served, whether the process lives, and how each part is.

use super::AppState;
use crate::inflight::InFlight;
use actix_web::{HttpResponse, web};
use gemini_balance_actors::{
    KeyManager,
    health::{Component, Health},
};
use serde::Serialize;
use std::{collections::BTreeMap, rc::Rc, time::Duration};
use tokio::time::Instant;

/// How long the key manager may take to say how the pool is.
const PATIENCE: Duration = Duration::from_millis(500);

/// The answer of `/health/ready`.
#[derive(Serialize)]
struct Ready {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    components: BTreeMap<&'static str, Component>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<keypool::Counts>,
    requests_in_flight: usize,
    /// The settings that have changed and take another process.
    restart_needed: Vec<String>,
}

/// `GET /health`: 200 while requests can be served, else 503 with the reason.
pub(super) async fn health(face: web::Data<Rc<AppState>>) -> HttpResponse {
    health_of(&face.keys, &face.health, &face.in_flight).await
}

/// The same, for the operator's listener as well: strangers who hold all connections do not hold that.
pub(crate) async fn health_of(keys: &KeyManager, health: &Health, in_flight: &InFlight) -> HttpResponse {
    match reason(keys, health, in_flight).await.0 {
        None => HttpResponse::Ok().json(serde_json::json!({ "status": "ok" })),
        Some(reason) => HttpResponse::ServiceUnavailable()
            .json(serde_json::json!({ "status": "unavailable", "reason": reason })),
    }
}

/// `GET /health/live`: 200 while the process answers at all.
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "ok" }))
}

/// `GET /health/ready`: like `/health`, with every component's state and the pool's counts.
pub(super) async fn ready(face: web::Data<Rc<AppState>>) -> HttpResponse {
    let (reason, keys) = reason(&face.keys, &face.health, &face.in_flight).await;
    let mut response = if reason.is_none() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(Ready {
        status: if reason.is_none() { "ok" } else { "unavailable" },
        reason,
        components: face.health.components(),
        keys,
        requests_in_flight: face.in_flight.count(),
        restart_needed: face.current.restart_needed.clone(),
    })
}

/// Why requests cannot be served, and the pool's counts when it answers.
async fn reason(
    keys: &KeyManager,
    health: &Health,
    in_flight: &InFlight,
) -> (Option<&'static str>, Option<keypool::Counts>) {
    let counts = keys.snapshot(Instant::now() + PATIENCE).await.ok().map(|snapshot| snapshot.counts);
    let reason = if in_flight.is_draining() {
        Some("shutting down")
    } else if !health.all_up() {
        Some("a component is being restarted")
    } else {
        match &counts {
            None => Some("the key manager does not answer"),
            Some(counts) if counts.retired + counts.disabled == counts.total => {
                Some("every key is retired or disabled")
            }
            Some(_) => None,
        }
    };
    (reason, counts)
}
