//! Requests, attempts, tokens and money, as the accountant has counted them since the process began.

use super::{
    family::{Families, NO_LABELS, NONE, Title, name_or_none},
    scrape::UsageFigures,
};
use gemini::fault::Kind;
use std::{borrow::Cow, fmt};
use usage::FaultLabels;

/// Writes them down.
pub(super) fn encode(families: &mut Families<'_>, usage: &UsageFigures) -> fmt::Result {
    let running = &usage.running;
    families.counters(
        Title::new("requests", "Requests that have ended"),
        running.requests().map(|(labels, count)| {
            let code = if labels.code == 0 { NONE.into() } else { Cow::Owned(labels.code.to_string()) };
            let labels = [
                ("operation", Cow::Borrowed(labels.operation)),
                ("model", name_or_none(&labels.model).into()),
                ("outcome", labels.outcome.word().into()),
                ("code", code),
            ];
            (labels, *count)
        }),
    )?;
    families.histograms(
        Title::seconds("request_duration", "From arrival to the last byte"),
        running.durations().map(|(labels, histogram)| {
            ([("operation", labels.operation), ("model", name_or_none(&labels.model))], histogram)
        }),
    )?;
    families.histograms(
        Title::seconds("first_event", "From arrival to the first event or byte of the answer"),
        running.first_events().map(|(labels, histogram)| {
            let streamed = if labels.streamed { "true" } else { "false" };
            ([("model", name_or_none(&labels.model)), ("streamed", streamed)], histogram)
        }),
    )?;
    encode_waits(families, usage)?;
    encode_attempts(families, usage)?;
    encode_use(families, usage)
}

fn encode_waits(families: &mut Families<'_>, usage: &UsageFigures) -> fmt::Result {
    families.histograms(
        Title::seconds("key_wait", "Waiting for a key of the pool"),
        usage.running.waits().map(|(model, histogram)| ([("model", name_or_none(model))], histogram)),
    )?;
    families.histograms(
        Title::seconds("overhead", "From arrival to sending up, without waiting for a key"),
        [(NO_LABELS, usage.running.overheads())],
    )
}

fn encode_attempts(families: &mut Families<'_>, usage: &UsageFigures) -> fmt::Result {
    let by_fault = |(labels, count): (&FaultLabels, &u64)| {
        ([("model", name_or_none(&labels.model).to_owned()), ("fault", fault_word(labels.fault))], *count)
    };
    families.counters(
        Title::new("attempts", "Attempts on keys, by what was wrong with the answer"),
        usage.running.attempts().map(by_fault),
    )?;
    families.counters(
        Title::new("retries", "Attempts after a request's first, by the fault that they followed"),
        usage.running.retries().map(by_fault),
    )?;
    let Some(keys) = usage.running.keys() else { return Ok(()) };
    families.counters(
        Title::new("key_attempts", "Attempts by key, by what was wrong with the answer"),
        keys.map(|(labels, count)| {
            let labels = [
                ("key", name_or_none(&labels.key).to_owned()),
                ("project", name_or_none(&labels.project).to_owned()),
                ("fault", fault_word(labels.fault)),
            ];
            (labels, *count)
        }),
    )
}

fn encode_use(families: &mut Families<'_>, usage: &UsageFigures) -> fmt::Result {
    let models = || usage.running.models().map(|(model, counts)| (name_or_none(model), counts));
    families.counters(
        Title::new("tokens", "Tokens used, each in one type"),
        models().flat_map(|(model, counts)| {
            counts.tokens.by_type().map(move |(kind, count)| ([("model", model), ("type", kind)], count))
        }),
    )?;
    families.counters(
        Title::new("cost", "List price of what was used, in whole units of the currency"),
        models().map(|(model, counts)| {
            #[expect(clippy::cast_precision_loss, reason = "a counter is a float to its readers")]
            let units = counts.cost.billionths() as f64 / 1e9;
            ([("model", model), ("currency", usage.currency.as_str())], units)
        }),
    )?;
    families.counters(
        Title::new("unpriced_requests", "Requests that cost something unknown"),
        models().map(|(model, counts)| ([("model", model)], counts.unpriced)),
    )
}

/// The word for a fault: as in the transaction log and in the blame table.
fn fault_word(fault: Option<Kind>) -> String {
    fault.map_or_else(|| NONE.to_owned(), |kind| format!("{kind:?}"))
}
