//! What callers' accounts take over from the usage book when the service starts, so that a restart gives nobody a fresh
//! minute, day or month.

use callers::{Directory, Seed, Used};
use gemini_balance_actors::{accounting::Accounts, clock::Clock};
use std::{collections::HashMap, sync::Arc, time::Duration};
use usage::{Cell, Column, Query, QueryStep, ReportRow};

/// How long the book may take to be opened.
const OPENED_WITHIN: Duration = Duration::from_secs(5);
/// Minutes slide, so two of them reach into the last one.
const MINUTES_S: i64 = 2 * 60;

/// Lets every caller's account begin with what the book says of its day, its month and its last minute.
pub(crate) async fn seed(directory: &Directory, accounts: &Accounts, clock: Clock) {
    accounts.flush(OPENED_WITHIN).await;
    let now = clock.now();
    let at = now.wall.timestamp();
    let days = accounts.days();
    let ask = |from, step| {
        let by = vec![Column::Caller];
        accounts.query(&Query { from, to: at + 1, step, by, filter: Vec::new(), most_rows: Query::MOST_ROWS })
    };
    let asked = (
        ask(days.start(at), QueryStep::Day),
        ask(days.month_start(at), QueryStep::Month),
        ask(at - MINUTES_S, QueryStep::Minute),
    );
    let (day, month, minutes) = match asked {
        (Ok(day), Ok(month), Ok(minutes)) => (day, month, minutes),
        (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
            log::warn!(target: "service", "limits and budgets begin anew, as the usage book cannot say what was used: {error}");
            return;
        }
    };
    let mut seeds: HashMap<Arc<str>, Seed> = HashMap::new();
    let named = |row: &ReportRow| row.labels.first().map(Arc::clone);
    for row in &day {
        if let Some(name) = named(row) {
            seeds.entry(name).or_default().day = used(&row.cell);
        }
    }
    for row in &month {
        if let Some(name) = named(row) {
            seeds.entry(name).or_default().month = used(&row.cell);
        }
    }
    for row in &minutes {
        if let Some(name) = named(row) {
            seeds.entry(name).or_default().seconds.extend(seconds(row, at));
        }
    }
    for caller in directory.callers() {
        if let Some(seed) = seeds.get(&caller.spec().name) {
            caller.seed(seed, now);
        }
    }
}

/// What of a cell counts against limits: nothing that the gateway itself has refused.
fn used(cell: &Cell) -> Used {
    let counters = &cell.counters;
    let input = counters.input_tokens + counters.cached_tokens + counters.tool_tokens;
    Used {
        requests: counters.requests.saturating_sub(counters.refused_caller + counters.refused_pool),
        tokens: input + counters.output_tokens + counters.thoughts_tokens,
        money: counters.cost_billionths,
    }
}

/// A minute of the book, spread over its seconds: which of them used how much is not kept.
fn seconds(row: &ReportRow, now: i64) -> Vec<(Duration, Used)> {
    let seconds = row.from..row.to.min(now + 1);
    let count = u64::try_from(seconds.end - seconds.start).unwrap_or(0).max(1);
    let whole = used(&row.cell);
    let mut place = 0;
    seconds
        .map(|second| {
            place += 1;
            // So that the parts make up the whole.
            let part = |sum: u64| sum * place / count - sum * (place - 1) / count;
            let used =
                Used { requests: part(whole.requests), tokens: part(whole.tokens), money: part(whole.money) };
            (Duration::from_secs(u64::try_from(now - second).unwrap_or(0)), used)
        })
        .filter(|(_, used)| *used != Used::default())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use usage::Counters;

    #[test]
    fn a_minute_is_spread_over_its_seconds_and_nothing_of_it_is_lost() {
        for (from, now, requests, tokens) in [(600, 700, 60, 6_000), (600, 629, 7, 1_001), (660, 660, 3, 5)] {
            let counters =
                Counters { requests, refused_caller: 1, input_tokens: tokens, ..Counters::default() };
            let cell = Cell { counters, ..Cell::default() };
            let row = ReportRow { from, to: from + 60, labels: Vec::new(), cell };
            let seconds = seconds(&row, now);
            assert_eq!(seconds.iter().map(|(_, used)| used.requests).sum::<u64>(), requests - 1);
            assert_eq!(seconds.iter().map(|(_, used)| used.tokens).sum::<u64>(), tokens);
            let oldest = Duration::from_secs(u64::try_from(now - from).unwrap());
            assert!(seconds.iter().all(|(age, _)| *age <= oldest));
        }
    }
}
