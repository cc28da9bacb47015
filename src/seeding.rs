//! What callers' accounts take over from the usage book when they are entered, at the start or later, so that neither a restart
//! nor a token that is removed and made again gives anybody a fresh minute, day or month.

use callers::{Directory, FormerUse, Seed, Used};
use gemini_balance_actors::{accounting::Accounts, clock::Clock};
use std::{collections::HashMap, sync::Arc, time::Duration};
use usage::{Cell, Column, Counters, Filter, Query, QueryStep, ReportRow};

/// How long the book may take to be opened.
const OPENED_WITHIN: Duration = Duration::from_secs(5);
/// Minutes slide, so two of them reach into the last one.
const MINUTES_S: i64 = 2 * 60;
/// Over how long the mean of a model's answers is taken.
const MEANS_OVER_S: i64 = 30 * 24 * 60 * 60;

/// Lets every caller's account begin with what the book says of its day, its month and its last minute.
pub(crate) async fn seed(directory: &Directory, accounts: &Accounts, clock: Clock) {
    accounts.flush(OPENED_WITHIN).await;
    let accounts = accounts.clone();
    directory.begin_with(Box::new(move |names| {
        let now = clock.now();
        FormerUse { now, by_name: seeds(&accounts, names, now.wall.timestamp()) }
    }));
}

/// Asks the book what callers of these names have used, and perhaps others. Blocks on the disk.
fn seeds(accounts: &Accounts, names: &[Arc<str>], at: i64) -> HashMap<Arc<str>, Seed> {
    let mut seeds: HashMap<Arc<str>, Seed> = HashMap::new();
    let days = accounts.days();
    let filter: Filter = match names {
        [] => return seeds,
        [name] => vec![(Column::Caller, name.to_string())],
        _ => Vec::new(),
    };
    let ask = |from, step| {
        let (by, filter) = (vec![Column::Caller], filter.clone());
        accounts.query(&Query { from, to: at + 1, step, by, filter, most_rows: Query::MOST_ROWS })
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
            return seeds;
        }
    };
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
            seeds.entry(name).or_default().seconds.push(latest(row, at));
        }
    }
    // Without it what answers will have is guessed, which is better than to count nothing.
    for (name, outputs) in means(&answers(accounts, filter, at).unwrap_or_default()) {
        seeds.entry(name).or_default().outputs = outputs;
    }
    seeds
}

/// Asks for what each caller had of each model, by day.
fn answers(accounts: &Accounts, filter: Filter, at: i64) -> Option<Vec<ReportRow>> {
    let query = Query {
        from: at - MEANS_OVER_S,
        to: at + 1,
        step: QueryStep::Day,
        by: vec![Column::Caller, Column::Model],
        filter,
        most_rows: Query::MOST_ROWS,
    };
    let rows = accounts.query(&query);
    if let Err(error) = &rows {
        log::warn!(target: "service", "how long answers are is learned anew, as the usage book cannot say it: {error}");
    }
    rows.ok()
}

/// Returns how many tokens an answer had in the mean, by caller and model, the one that was used last at the end. The rows
/// come by time.
fn means(rows: &[ReportRow]) -> HashMap<Arc<str>, Vec<(Arc<str>, u64)>> {
    let mut sums: HashMap<Arc<str>, Vec<(Arc<str>, Counters)>> = HashMap::new();
    for row in rows {
        let ([caller, model], counters) = (&row.labels[..], &row.cell.counters) else { continue };
        if counters.answered == 0 || used(&row.cell).tokens == 0 {
            continue;
        }
        let models = sums.entry(Arc::clone(caller)).or_default();
        let mut sum = match models.iter().position(|(name, _)| name == model) {
            Some(at) => models.remove(at).1,
            None => Counters::default(),
        };
        sum.merge(counters);
        models.push((Arc::clone(model), sum));
    }
    let mean = |(model, sum): (Arc<str>, Counters)| {
        let output = sum.output_tokens.saturating_add(sum.thoughts_tokens);
        (model, output.div_ceil(sum.answered))
    };
    sums.into_iter().map(|(caller, models)| (caller, models.into_iter().map(mean).collect())).collect()
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

/// Returns how long ago a minute of the book was used at the latest, and how much: in which of its seconds is not kept, and
/// whoever used it all in the last one must not have a second minute for it.
fn latest(row: &ReportRow, now: i64) -> (Duration, Used) {
    let second = (row.to - 1).clamp(row.from, now.max(row.from));
    (Duration::from_secs(u64::try_from(now - second).unwrap_or(0)), used(&row.cell))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_answers_is_that_of_the_book_by_caller_and_model() {
        let row = |caller: &str, model: &str, answered, output_tokens, thoughts_tokens| ReportRow {
            from: 0,
            to: 86_400,
            labels: vec![caller.into(), model.into()],
            cell: Cell {
                counters: Counters {
                    requests: answered + 3,
                    answered,
                    input_tokens: 9,
                    output_tokens,
                    thoughts_tokens,
                    ..Counters::default()
                },
                ..Cell::default()
            },
        };
        let means = means(&[
            row("alice", "a", 2, 10, 0),
            row("alice", "b", 1, 7, 0),
            row("bob", "a", 1, 0, 0),
            row("alice", "c", 0, 0, 0),
            row("alice", "a", 1, 20, 6),
        ]);
        assert_eq!(means["alice"], [("b".into(), 7), ("a".into(), 12)], "the last one used is the last");
        assert_eq!(means["bob"], [("a".into(), 0)]);
    }

    #[test]
    fn whenever_in_its_minute_something_was_used_it_counts_for_a_minute_from_then() {
        for (from, now) in [(600, 600), (600, 629), (600, 659), (600, 660), (600, 718)] {
            let counters =
                Counters { requests: 7, refused_caller: 1, input_tokens: 5, ..Counters::default() };
            let cell = Cell { counters, ..Cell::default() };
            let row = ReportRow { from, to: from + 60, labels: Vec::new(), cell };
            let (age, used) = latest(&row, now);
            assert_eq!((used.requests, used.tokens), (6, 5));
            let counts_as_of = now - i64::try_from(age.as_secs()).unwrap();
            assert!((from..from + 60).contains(&counts_as_of) && counts_as_of <= now);
            for second in from..=now.min(from + 59) {
                assert!(counts_as_of >= second, "what was used at {second} is forgiven at {now}");
            }
        }
    }
}
