//! `/api/models`: the models that were asked for in the last day, with what became of them, which are down, what they cost, and
//! what is asked in their place.

use super::{
    Desk, PATIENCE,
    gate::{answer, refusal},
};
use actix_web::{HttpRequest, HttpResponse, web};
use keypool::PageRequest;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use tokio::time::Instant;
use usage::{Column, Query, QueryStep};

/// How many models an answer has at most.
const MOST: usize = 500;
const DAY_S: i64 = 24 * 60 * 60;

/// Adds the paths of this resource.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/api/models", web::get().to(list));
}

async fn list(request: HttpRequest, desk: web::Data<Desk>) -> HttpResponse {
    if let Some(refusal) = refusal(&request, &desk) {
        return refusal;
    }
    let Ok(pool) = desk.operated.keys.page(PageRequest::default(), Instant::now() + PATIENCE).await else {
        return answer(503, "the key manager does not answer");
    };
    let mut models: BTreeMap<String, Value> = BTreeMap::new();
    if let Some(accounts) = desk.operated.accounts.clone() {
        let to = chrono::Utc::now().timestamp() + 1;
        let query = Query {
            from: to - DAY_S,
            to,
            step: QueryStep::All,
            by: vec![Column::Model],
            filter: Vec::new(),
            most_rows: Query::MOST_ROWS,
        };
        // On a thread that may wait for the disk.
        let rows = match web::block(move || accounts.query(&query)).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => return answer(503, &error.to_string()),
            Err(_) => return answer(503, "too much is asked at once"),
        };
        for row in rows.into_iter().take(MOST) {
            let counters = &row.cell.counters;
            let name = row.labels.first().map(ToString::to_string).unwrap_or_default();
            models.insert(
                name,
                json!({
                    "requests": counters.requests,
                    "answered": counters.answered,
                    "attempts": counters.attempts,
                    "retries": counters.retries,
                    "unpriced": counters.unpriced,
                }),
            );
        }
    }
    let in_trouble = in_trouble(&desk);
    for (name, faults) in in_trouble {
        if let Some(model) = models.get_mut(&name) {
            model["faults"] = json!(faults);
        }
    }
    let down: HashMap<&str, u64> =
        pool.overview.models_down.iter().map(|down| (&*down.model, down.back_in_ms)).collect();
    let list: Vec<Value> = models
        .into_iter()
        .map(|(name, mut model)| {
            model["down_for_ms"] = json!(down.get(name.as_str()));
            model["model"] = Value::String(name);
            model
        })
        .collect();
    HttpResponse::Ok().json(json!({ "models": list }))
}

/// The kinds of faults of each model, among the newest requests.
fn in_trouble(desk: &Desk) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut models: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let Some(accounts) = &desk.operated.accounts else { return models };
    let has_fault = |it: &gemini_balance_actors::transaction::Transaction| {
        it.attempts.iter().any(|attempt| attempt.fault.is_some())
    };
    for (_, request) in accounts.recent(None, usize::MAX, has_fault) {
        let Some(name) = &request.model else { continue };
        let faults = models.entry(name.to_string()).or_default();
        for fault in request.attempts.iter().filter_map(|attempt| attempt.fault) {
            *faults.entry(format!("{fault:?}")).or_default() += 1;
        }
    }
    models
}
