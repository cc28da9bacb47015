//! How the cluster stands, as this gateway sees it. Not there where it is alone by its settings.

use super::{
    family::{Families, NO_LABELS, Title},
    scrape::Scrape,
};
use std::fmt;

/// Writes it down.
pub(super) fn encode(families: &mut Families<'_>, scrape: &Scrape) -> fmt::Result {
    let Some(cluster) = &scrape.cluster else { return Ok(()) };
    families.gauges(
        Title::new(
            "cluster_together",
            "1 while this gateway shares its pool with the others, 0 while it goes on alone",
        ),
        [(NO_LABELS, u32::from(cluster.alone.is_none()))],
    )?;
    let there = cluster.gateways.iter().filter(|gateway| gateway.is_there).count();
    families.gauges(
        Title::new(
            "cluster_gateways",
            "Gateways that are there, this one included, as far as it is known here",
        ),
        [(NO_LABELS, there.max(1))],
    )?;
    let differ = cluster.gateways.iter().filter(|gateway| !gateway.differs_in.is_empty()).count();
    families.gauges(
        Title::new("cluster_gateways_that_differ", "Gateways whose settings differ from this one's"),
        [(NO_LABELS, differ)],
    )?;
    let own = cluster.gateways.iter().find(|gateway| gateway.is_this);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a lag")]
    families.gauges(
        Title::seconds("cluster_lag", "By how much this gateway is behind the one that has heard most"),
        [(NO_LABELS, own.map_or(0.0, |own| own.behind_ms as f64 / 1_000.0))],
    )?;
    families.counters(
        Title::new("cluster_facts", "Facts that this gateway has told, and heard"),
        [("told", cluster.told), ("heard", cluster.heard)].map(|(way, count)| ([("way", way)], count)),
    )?;
    families.gauges(
        Title::new("cluster_facts_untold", "Facts that this gateway has still to tell"),
        [(NO_LABELS, cluster.untold)],
    )?;
    families.counters(
        Title::new("cluster_calls_failed", "Calls to Redis that failed"),
        [(NO_LABELS, cluster.failed)],
    )
}
