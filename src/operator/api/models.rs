//! `/api/models`: the models that were asked for in the last day, with what became of their requests and whether all of those
//! have a price; which are down; and their times and faults among the newest requests.

use super::{
    Desk, PATIENCE, RouteTable,
    gate::answer,
    listed::{self, Asked, Listed},
    overview::quantile,
    used::{DAY_S, used_by},
};
use actix_web::{HttpResponse, web};
use keypool::PageRequest;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};
use tokio::time::Instant;
use usage::Column;

/// How many models an answer has at most.
const MOST: usize = 500;

/// Adds the paths of this resource.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/api/models", list);
}

/// A model with what is told of it.
struct Model(String, Value);

impl Listed for Model {
    fn name(&self) -> &str {
        &self.0
    }

    fn state(&self) -> Option<&str> {
        None
    }
}

async fn list(asked: Asked, desk: web::Data<Desk>) -> HttpResponse {
    let Ok(pool) = desk.operated.keys.page(PageRequest::default(), Instant::now() + PATIENCE).await else {
        return answer(503, "the key manager does not answer");
    };
    let mut models: BTreeMap<String, Value> = BTreeMap::new();
    let used = match used_by(Column::Model, DAY_S, &desk).await {
        Ok(used) => used,
        Err(why) => return answer(503, &why),
    };
    for (name, counters) in used.into_iter().take(MOST) {
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
    for (name, mut recent) in recent(&desk) {
        if let Some(model) = models.get_mut(&name) {
            model["first_byte_p50_ms"] = json!(quantile(&mut recent.first_bytes, 50));
            model["first_byte_p95_ms"] = json!(quantile(&mut recent.first_bytes, 95));
            model["faults"] = json!(recent.faults);
        }
    }
    let down: HashMap<&str, u64> =
        pool.overview.models_down.iter().map(|down| (&*down.model, down.back_in_ms)).collect();
    let models = models.into_iter().map(|(name, mut model)| {
        model["down_for_ms"] = json!(down.get(name.as_str()));
        model["model"] = json!(name);
        Model(name, model)
    });
    match listed::page(asked, models.collect(), &[]) {
        Ok(page) => {
            let models: Vec<Value> = page.rows.into_iter().map(|Model(_, model)| model).collect();
            HttpResponse::Ok().json(json!({ "models": models, "next": page.next }))
        }
        Err(why) => answer(400, &why),
    }
}

/// What is known of a model from the newest requests.
#[derive(Default)]
struct Recent {
    first_bytes: Vec<Duration>,
    /// How many faults there were, by kind.
    faults: BTreeMap<String, u64>,
}

fn recent(desk: &Desk) -> BTreeMap<String, Recent> {
    let mut models: BTreeMap<String, Recent> = BTreeMap::new();
    let Some(accounts) = &desk.operated.accounts else { return models };
    for (_, request) in accounts.recent(None, usize::MAX, |it| it.model.is_some()) {
        let Some(name) = &request.model else { continue };
        let recent = models.entry(name.to_string()).or_default();
        recent.first_bytes.extend(request.first_byte);
        for fault in request.attempts.iter().filter_map(|attempt| attempt.fault) {
            *recent.faults.entry(format!("{fault:?}")).or_default() += 1;
        }
    }
    models
}
