//! `GET /me`: what a caller may, what it has used, when its limits open again, and its last days. Counts against no limit,
//! so that one who is refused can ask why.

use super::{AppState, arrival::Arrival, auth::Refused, error::GatewayError};
use crate::caller_view::{SpecView, UseView};
use actix_web::{HttpRequest, HttpResponse, web};
use callers::Provenance;
use chrono::{NaiveDate, Utc};
use gemini_balance_actors::accounting::Accounts;
use serde::Serialize;
use std::{rc::Rc, sync::Arc};
use usage::{Column, Counters, Query, QueryStep, ReportRow};

/// So many days are told.
const DAYS: i64 = 31;

#[derive(Serialize)]
struct Me {
    #[serde(flatten)]
    token: SpecView,
    #[serde(rename = "use")]
    used: UseView,
    /// The last days on which it has used anything, the oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<Vec<DayView>>,
}

/// One day, by the usage book.
#[derive(Serialize)]
struct DayView {
    date: NaiveDate,
    requests: u64,
    input_tokens: u64,
    cached_tokens: u64,
    output_tokens: u64,
    thoughts_tokens: u64,
    tool_tokens: u64,
    /// By the list price, with nine decimals, of what has one; `None` where nothing of it has.
    cost: Option<String>,
    currency: String,
    /// Requests that cost something unknown.
    unpriced: u64,
}

impl DayView {
    fn of(date: NaiveDate, counters: &Counters, currency: String) -> Self {
        let is_unknown = counters.unpriced > 0 && counters.cost_billionths == 0;
        Self {
            date,
            requests: counters.requests,
            input_tokens: counters.input_tokens,
            cached_tokens: counters.cached_tokens,
            output_tokens: counters.output_tokens,
            thoughts_tokens: counters.thoughts_tokens,
            tool_tokens: counters.tool_tokens,
            cost: (!is_unknown).then(|| counters.cost().to_string()),
            currency,
            unpriced: counters.unpriced,
        }
    }
}

pub(super) async fn me(request: HttpRequest, state: web::Data<Rc<AppState>>) -> HttpResponse {
    let arrival = Arrival::of(&request, &state);
    let caller = match &arrival.caller {
        Ok(caller) => caller.token().ok_or(GatewayError::CredentialUnknown),
        Err(refused) => Err(Refused::clone(refused).into()),
    };
    let token = match caller {
        Ok(token) => token,
        Err(error) => return arrival.refuse(&request, &state, &error),
    };
    if let Some(together) = &state.together {
        together.look(token).await;
    }
    let used = UseView::of(&token.read(state.clock.now()), None);
    let days = match &state.accounts {
        // Whoever calls on a key of the pool is counted together with all the others.
        Some(accounts) if token.provenance() != Provenance::PoolKey => {
            days(accounts.clone(), Arc::clone(&token.spec().name)).await
        }
        _ => None,
    };
    HttpResponse::Ok()
        .insert_header(("cache-control", "no-store"))
        .insert_header(("x-request-id", arrival.id.as_str()))
        .json(Me { token: SpecView::of(token.spec()), used, days })
}

/// Asks the book, on a thread that may wait for the disk. `None` when it cannot say.
async fn days(accounts: Accounts, caller: Arc<str>) -> Option<Vec<DayView>> {
    let ask = move || {
        let days = accounts.days();
        let now = Utc::now().timestamp();
        let query = Query {
            from: now - (DAYS - 1) * 86_400,
            to: now + 1,
            step: QueryStep::Day,
            by: Vec::new(),
            filter: vec![(Column::Caller, caller.to_string())],
            most_rows: Query::MOST_ROWS,
        };
        let rows = accounts.query(&query).ok()?;
        let day = |row: &ReportRow| DayView::of(days.date(row.from), &row.cell.counters, accounts.currency());
        Some(rows.iter().map(day).collect())
    };
    web::block(ask).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_that_is_not_known_is_never_nothing() {
        let shown = |cost_billionths, unpriced| {
            let counters = Counters { requests: 3, cost_billionths, unpriced, ..Counters::default() };
            serde_json::to_value(DayView::of(NaiveDate::MIN, &counters, "USD".to_owned())).unwrap()
        };
        for (day, cost, unpriced) in [
            (shown(0, 0), Some("0.000000000"), 0),
            (shown(0, 2), None, 2),
            (shown(1_500_000_000, 1), Some("1.500000000"), 1),
        ] {
            assert_eq!((day["cost"].as_str(), day["unpriced"].as_u64()), (cost, Some(unpriced)));
        }
    }
}
