//! What was used of late by each model or caller: the one question that several of the lists begin with.

use super::Desk;
use actix_web::web;
use usage::{Column, Counters, Query, QueryStep};

/// A day, in seconds.
pub(super) const DAY_S: i64 = 24 * 60 * 60;

/// Returns the sums of the last so many seconds by the names of a column; none where usage is not counted. An error says why they
/// cannot be had.
pub(super) async fn used_by(
    column: Column,
    look_back_s: i64,
    desk: &Desk,
) -> Result<Vec<(String, Counters)>, String> {
    let Some(accounts) = desk.operated.accounts.clone() else { return Ok(Vec::new()) };
    let to = chrono::Utc::now().timestamp() + 1;
    let query = Query {
        from: to - look_back_s,
        to,
        step: QueryStep::All,
        by: vec![column],
        filter: Vec::new(),
        most_rows: Query::MOST_ROWS,
    };
    // On a thread that may wait for the disk.
    let rows = web::block(move || accounts.query(&query)).await;
    let rows =
        rows.map_err(|_| "too much is asked at once".to_owned())?.map_err(|error| error.to_string())?;
    let named = rows.into_iter().map(|row| {
        let name = row.labels.first().map(ToString::to_string).unwrap_or_default();
        (name, row.cell.counters)
    });
    Ok(named.collect())
}
