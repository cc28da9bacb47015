//! `/api/overview`: how the gateway is at this moment, in one answer that fits a screen. The page has the same from `events`.

use super::{Desk, PATIENCE, RouteTable, gate::answer};
use crate::http::told_of;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use gemini_balance_actors::{accounting::Accounts, transaction::Transaction};
use keypool::PageRequest;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// How many of the newest requests are looked at for the last minute.
const MOST_LOOKED_AT: usize = 5_000;
/// How many callers without room are named.
const MOST_NAMED: usize = 20;

/// Adds the paths of this resource.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/api/overview", overview);
}

async fn overview(desk: web::Data<Desk>) -> HttpResponse {
    match overview_of(&desk).await {
        Some(fields) => HttpResponse::Ok().json(fields),
        None => answer(503, "the key manager does not answer"),
    }
}

/// Returns the overview, field by field; `None` while the key manager does not answer.
pub(in super::super) async fn overview_of(desk: &Desk) -> Option<Map<String, Value>> {
    let operated = &desk.operated;
    let pool = operated.keys.page(PageRequest::default(), Instant::now() + PATIENCE).await.ok()?.overview;
    let restart_needed = operated.reloads.state.report().restart_needed;
    let (minute, lost) = operated
        .accounts
        .as_ref()
        .map_or((None, 0), |accounts| (Some(Minute::of(accounts, Utc::now())), accounts.state().lost));
    let fields = json!({
        "components": operated.health.components(),
        "draining": operated.in_flight.is_draining(),
        "keys": pool.counts,
        "back_in_ms": pool.back_in_ms,
        "in_flight": operated.in_flight.count(),
        "models_down": pool.models_down.iter().take(MOST_NAMED).collect::<Vec<_>>(),
        "minute": minute,
        "lost": lost,
        "spent": spent(desk),
        "restart_needed": restart_needed,
    });
    match fields {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

/// The callers that have no room now, and by which limit.
fn spent(desk: &Desk) -> Vec<Value> {
    let tokens = desk.operated.tokens.list();
    let full = tokens.iter().filter_map(|token| {
        let reading = token.reading.as_ref()?;
        let limit = reading.limits.iter().find(|limit| limit.limit > 0 && limit.used >= limit.limit)?;
        let opens_in_s = limit.opens.ask_again_in().unwrap_or_default().as_secs();
        Some(json!({ "name": token.spec.name, "limit": limit.name.as_str(), "opens_in_s": opens_in_s }))
    });
    full.take(MOST_NAMED).collect()
}

/// What became of the last minute's requests.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(in super::super) struct Minute {
    requests: usize,
    /// In the last ten seconds, of one second.
    per_second: f64,
    answered: usize,
    /// Refused, failed or broken off, but for what the client did wrong or left.
    failed: usize,
    /// Refused by a limit of the caller's own, or by the client's own mistake, or left.
    clients_own: usize,
    first_byte_p50_ms: Option<u64>,
    first_byte_p95_ms: Option<u64>,
    queued_p95_ms: Option<u64>,
}

impl Minute {
    fn of(accounts: &Accounts, now: DateTime<Utc>) -> Self {
        let since = now - TimeDelta::seconds(60);
        let recent = accounts.recent(None, MOST_LOOKED_AT, |it| it.ended >= since);
        Self::of_requests(recent.iter().map(|(_, transaction)| &**transaction), now)
    }

    fn of_requests<'a>(requests: impl Iterator<Item = &'a Transaction>, now: DateTime<Utc>) -> Self {
        let just_now = now - TimeDelta::seconds(10);
        let (mut minute, mut just_ended) = (Self::default(), 0_u32);
        let (mut first_bytes, mut queued) = (Vec::new(), Vec::new());
        for request in requests {
            minute.requests += 1;
            just_ended += u32::from(request.ended >= just_now);
            let status = request.failure.as_ref().map_or(request.status, |failure| told_of(failure).0);
            match (status, request.end.as_str()) {
                (200..400 | 101, "complete") => minute.answered += 1,
                (400..429 | 430..500, _) | (_, "client_left") => minute.clients_own += 1,
                (429, _) if request.refuser().is_some_and(|refuser| refuser.as_str() == "caller") => {
                    minute.clients_own += 1;
                }
                _ => minute.failed += 1,
            }
            first_bytes.extend(request.first_byte);
            queued.push(request.queued);
        }
        minute.per_second = f64::from(just_ended) / 10.0;
        minute.first_byte_p50_ms = quantile(&mut first_bytes, 50);
        minute.first_byte_p95_ms = quantile(&mut first_bytes, 95);
        minute.queued_p95_ms = quantile(&mut queued, 95);
        minute
    }
}

/// Returns the smallest of the times that so many per cent do not pass, in milliseconds.
pub(super) fn quantile(times: &mut [Duration], per_cent: usize) -> Option<u64> {
    let last = times.len().checked_sub(1)?;
    let place = (times.len() * per_cent).div_ceil(100).saturating_sub(1).min(last);
    let (_, time, _) = times.select_nth_unstable(place);
    u64::try_from(time.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_were_taken() {
        let mut times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!((quantile(&mut times, 50), quantile(&mut times, 95)), (Some(50), Some(95)));
        assert_eq!(quantile(&mut [Duration::from_millis(7)], 95), Some(7));
        assert_eq!(quantile(&mut [], 50), None);
    }
}
