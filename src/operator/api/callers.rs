//! `/api/callers`: who has called in the last day, and who may: how their requests have ended, the state of their token, and what is
//! used of its limits.

use super::{
    Desk, RouteTable,
    gate::answer,
    listed::{self, Asked, Listed},
    tokens::{STATES, word_of},
};
use crate::caller_view::UseView;
use actix_web::{HttpResponse, web};
use gemini_balance_actors::cluster::Cluster;
use serde::Serialize;
use std::collections::BTreeMap;
use usage::{Column, Counters, Query, QueryStep};

const DAY_S: i64 = 24 * 60 * 60;

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
    if let Some(accounts) = desk.operated.accounts.clone() {
        let to = chrono::Utc::now().timestamp() + 1;
        let query = Query {
            from: to - DAY_S,
            to,
            step: QueryStep::All,
            by: vec![Column::Caller],
            filter: Vec::new(),
            most_rows: Query::MOST_ROWS,
        };
        // On a thread that may wait for the disk.
        let rows = match web::block(move || accounts.query(&query)).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => return answer(503, &error.to_string()),
            Err(_) => return answer(503, "too much is asked at once"),
        };
        for row in rows {
            let name = row.labels.first().map(ToString::to_string).unwrap_or_default();
            callers.entry(name).or_default().count(&row.cell.counters);
        }
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
