//! `/api/callers`: who has called in the last day, and who may: how their requests have ended, the state of their token, and what is
//! used of its limits.

use super::{
    Desk, RouteTable,
    gate::answer,
    listed::{self, Asked, Listed},
    tokens::{STATES, word_of},
    used::{DAY_S, used_by},
};
use crate::caller_view::UseView;
use actix_web::{HttpResponse, web};
use gemini_balance_actors::cluster::Cluster;
use serde::Serialize;
use std::collections::BTreeMap;
use usage::{Column, Counters};

/// Adds the path.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/api/callers", list);
}

/// A caller in the list.
#[derive(Default, Serialize)]
struct CallerRow {
    caller: String,
    /// The state of its token; nothing where it has none, such as one on a key of the pool's.
    state: Option<&'static str>,
    requests: u64,
    answered: u64,
    client_errors: u64,
    refused_caller: u64,
    refused_pool: u64,
    refused_google: u64,
    failed: u64,
    left: u64,
    broken: u64,
    /// Requests whose cost is not known.
    unpriced: u64,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    used: Option<UseView>,
}

impl Listed for CallerRow {
    fn name(&self) -> &str {
        &self.caller
    }

    fn state(&self) -> Option<&str> {
        self.state
    }
}

impl CallerRow {
    fn count(&mut self, counters: &Counters) {
        self.requests = counters.requests;
        self.answered = counters.answered;
        self.client_errors = counters.client_errors;
        self.refused_caller = counters.refused_caller;
        self.refused_pool = counters.refused_pool;
        self.refused_google = counters.refused_google;
        self.failed = counters.failed;
        self.left = counters.left;
        self.broken = counters.broken;
        self.unpriced = counters.unpriced;
    }
}

async fn list(asked: Asked, desk: web::Data<Desk>) -> HttpResponse {
    let mut callers: BTreeMap<String, CallerRow> = BTreeMap::new();
    let used = match used_by(Column::Caller, DAY_S, &desk).await {
        Ok(used) => used,
        Err(why) => return answer(503, &why),
    };
    for (name, counters) in used {
        callers.entry(name).or_default().count(&counters);
    }
    let gateways = desk.operated.cluster.as_ref().map(|cluster: &Cluster| cluster.counted().gateways);
    for token in desk.operated.tokens.list() {
        let row = callers.entry(token.spec.name.to_string()).or_default();
        row.state = Some(word_of(token.state));
        row.used = token.reading.as_ref().map(|reading| UseView::of(reading, gateways));
    }
    let rows = callers.into_iter().map(|(caller, row)| CallerRow { caller, ..row });
    match listed::page(asked, rows.collect(), &STATES.map(word_of)) {
        Ok(page) => HttpResponse::Ok().json(serde_json::json!({ "callers": page.rows, "next": page.next })),
        Err(why) => answer(400, &why),
    }
}
