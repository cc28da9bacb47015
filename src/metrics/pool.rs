//! How the pool stands: its keys, its cooldowns, its quotas, the models that are down.

use super::{
    family::{Families, NO_LABELS, NONE, Title},
    scrape::Scrape,
};
use keypool::{Gauge, PoolReading};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    sync::Arc,
};
use usage::{MOST_SERIES, OTHER};

/// Writes it down.
pub(super) fn encode(families: &mut Families<'_>, scrape: &Scrape) -> fmt::Result {
    if let Some(pool) = &scrape.pool {
        encode_states(families, pool)?;
        encode_quotas(families, pool, &scrape.models)?;
        encode_models_down(families, pool, &scrape.models)?;
    }
    let events = &scrape.pool_events;
    families.counters(
        Title::new("cooldowns", "Times that a key, a project, a model or a tool in a project began to cool"),
        events
            .cooldowns
            .iter()
            .map(|((scope, reason), count)| ([("scope", *scope), ("reason", *reason)], *count)),
    )?;
    families.counters(
        Title::new("retirements", "Keys and projects that were retired"),
        events.retirements.iter().map(|(reason, count)| ([("reason", *reason)], *count)),
    )
}

fn encode_states(families: &mut Families<'_>, pool: &PoolReading) -> fmt::Result {
    let counts = &pool.counts;
    families.gauges(
        Title::new("keys", "Keys in each state"),
        [
            ("available", counts.available),
            ("probation", counts.probation),
            ("cooling", counts.cooling),
            ("retired", counts.retired),
            ("disabled", counts.disabled),
        ]
        .map(|(state, count)| ([("state", state)], count)),
    )?;
    families
        .gauges(Title::new("requests_waiting", "Requests in line for a key"), [(NO_LABELS, counts.waiting)])
}

/// The name under which a model may be told of.
fn model_name<'a>(model: Option<&'a Arc<str>>, known: &HashSet<Arc<str>>) -> &'a str {
    model.map_or(NONE, |model| if known.contains(model) { model } else { OTHER })
}

fn encode_quotas(families: &mut Families<'_>, pool: &PoolReading, known: &HashSet<Arc<str>>) -> fmt::Result {
    // Of models that go by one name the fullest counts.
    let mut fullest: BTreeMap<(&str, &str, &str), f64> = BTreeMap::new();
    for quota in &pool.quotas {
        let labels = (&*quota.project, model_name(quota.model.as_ref(), known), gauge_word(quota.gauge));
        let used = fullest.entry(labels).or_default();
        *used = used.max(quota.used);
    }
    families.gauges(
        Title::new("quota_used_ratio", "Used of a known limit of a project, 1 when it is spent"),
        fullest.into_iter().map(|((project, model, limit), used)| {
            ([("project", project), ("model", model), ("limit", limit)], used)
        }),
    )
}

fn gauge_word(gauge: Gauge) -> &'static str {
    match gauge {
        Gauge::Rpm => "rpm",
        Gauge::Tpm => "tpm",
        Gauge::Rpd => "rpd",
    }
}

fn encode_models_down(
    families: &mut Families<'_>,
    pool: &PoolReading,
    known: &HashSet<Arc<str>>,
) -> fmt::Result {
    let down: BTreeSet<&str> = pool.models_down.iter().map(|model| model_name(Some(model), known)).collect();
    let up = known.iter().map(|model| &**model).filter(|model| !down.contains(model));
    let all = down.iter().map(|model| (*model, 1_u32)).chain(up.map(|model| (model, 0)));
    families.gauges(
        Title::new("model_down", "1 while a model fails on every key and is left alone"),
        all.take(MOST_SERIES).map(|(model, is_down)| ([("model", model)], is_down)),
    )
}
