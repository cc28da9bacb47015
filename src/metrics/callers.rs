//! What callers have asked for, and how much of their limits is used.

use super::family::{Families, Title, name_or_none};
use callers::{Directory, LimitReading};
use meter::Now;
use std::{fmt, sync::Arc};
use usage::{MOST_SERIES, RunningCounts};

/// How much of one limit of one caller is used.
#[derive(Debug)]
pub(super) struct LimitUse {
    caller: Arc<str>,
    limit: &'static str,
    used: f64,
}

/// Returns how much of each limit is used; where there are too many, the fullest.
pub(super) fn limits_used(directory: &Directory, now: Now) -> Vec<LimitUse> {
    let mut used = Vec::new();
    for caller in directory.callers() {
        let name = &caller.spec().name;
        let of_limit = |reading: &LimitReading| LimitUse {
            caller: Arc::clone(name),
            limit: reading.name.as_str(),
            used: ratio(reading),
        };
        used.extend(caller.read(now).limits.iter().map(of_limit));
    }
    used.sort_by(|one, other| other.used.total_cmp(&one.used));
    used.truncate(MOST_SERIES);
    used
}

fn ratio(reading: &LimitReading) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a ratio is read to a few digits")]
    let ratio = reading.used as f64 / reading.limit.max(1) as f64;
    ratio
}

/// Writes down what callers have asked for.
pub(super) fn encode_counts(families: &mut Families<'_>, running: &RunningCounts) -> fmt::Result {
    let callers = || running.callers().map(|(caller, counts)| (name_or_none(caller), counts));
    families.counters(
        Title::new("caller_requests", "Requests by caller, refusals included"),
        callers().flat_map(|(caller, counts)| {
            let by_outcome = counts.outcomes();
            by_outcome.map(move |(outcome, count)| ([("caller", caller), ("outcome", outcome.word())], count))
        }),
    )?;
    families.counters(
        Title::new("caller_tokens", "Tokens used by caller, each in one type"),
        callers().flat_map(|(caller, counts)| {
            counts.tokens.by_type().map(move |(kind, count)| ([("caller", caller), ("type", kind)], count))
        }),
    )?;
    families.counters(
        Title::new("caller_refusals", "Requests that their caller's own limits refused"),
        callers().flat_map(|(caller, counts)| {
            counts.refusals.iter().map(move |(limit, count)| ([("caller", caller), ("limit", limit)], *count))
        }),
    )
}

/// Writes down how much of their limits is used.
pub(super) fn encode_limits(families: &mut Families<'_>, limits: &[LimitUse]) -> fmt::Result {
    families.gauges(
        Title::new("caller_limit_used_ratio", "Used of a caller's limit, 1 when it is reached"),
        limits
            .iter()
            .map(|used| ([("caller", name_or_none(&used.caller)), ("limit", used.limit)], used.used)),
    )
}
