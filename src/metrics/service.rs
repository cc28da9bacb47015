//! How the service itself stands: its components, what is under way, what was lost, its certificate, its version.

use super::{
    family::{Families, NO_LABELS, Title},
    scrape::Scrape,
};
use crate::reload::ReloadReport;
use gemini_balance_actors::health::State;
use std::fmt;

/// Writes it down.
pub(super) fn encode(families: &mut Families<'_>, scrape: &Scrape) -> fmt::Result {
    families.gauges(
        Title::new("requests_in_flight", "Requests under way"),
        scrape.in_flight.map(|(kind, count)| ([("kind", kind.word())], count)),
    )?;
    families.gauges(
        Title::new("component_up", "1 while a component works as it should, 0 while it is degraded or away"),
        scrape
            .components
            .iter()
            .map(|(name, component)| ([("component", *name)], u32::from(component.state == State::Up))),
    )?;
    families.counters(
        Title::new("component_restarts", "Times that a component has died and was started again"),
        scrape.components.iter().map(|(name, component)| ([("component", *name)], component.restarts)),
    )?;
    families.counters(
        Title::new("translation_repeats", "Translated requests for which Google was asked once more, by why"),
        scrape.repeats.map(|(reason, count)| ([("reason", reason.word())], count)),
    )?;
    encode_losses(families, scrape)?;
    encode_reloads(families, &scrape.reloads)?;
    if let Some(not_after) = scrape.not_after {
        families.gauges(
            Title::seconds(
                "tls_certificate_not_after_timestamp",
                "When the first of the listeners' certificates ends",
            ),
            [(NO_LABELS, not_after)],
        )?;
    }
    families.gauges(
        Title::new("build_info", "1, with the version that runs"),
        [([("version", env!("CARGO_PKG_VERSION"))], 1_u32)],
    )
}

fn encode_reloads(families: &mut Families<'_>, reloads: &ReloadReport) -> fmt::Result {
    families.counters(
        Title::new("config_reloads", "Reloads of the configuration by what came of them"),
        [("applied", reloads.applied), ("unchanged", reloads.unchanged), ("refused", reloads.refused)]
            .map(|(result, count)| ([("result", result)], count)),
    )?;
    families.gauges(
        Title::new(
            "config_last_reload_successful",
            "1 unless the last reload was refused; the start counts as one",
        ),
        [(NO_LABELS, u32::from(reloads.last_successful))],
    )?;
    families.gauges(
        Title::seconds(
            "config_last_reload_success_timestamp",
            "When the last reload was that was not refused",
        ),
        [(NO_LABELS, reloads.last_success.timestamp())],
    )
}

fn encode_losses(families: &mut Families<'_>, scrape: &Scrape) -> fmt::Result {
    families.counters(
        Title::new("log_lines_dropped", "Lines that no log has"),
        [(NO_LABELS, scrape.lines_lost)],
    )?;
    if let Some(dropped) = scrape.spans_dropped {
        families.counters(
            Title::new("trace_spans_dropped", "Requests whose spans no collector has"),
            [(NO_LABELS, dropped)],
        )?;
    }
    let Some(usage) = &scrape.usage else { return Ok(()) };
    families.counters(
        Title::new("usage_lost", "Requests that the usage has not counted"),
        [(NO_LABELS, usage.state.lost)],
    )?;
    families.counters(
        Title::new("series_dropped", "Requests that count under `other` in a family that has no room"),
        [(NO_LABELS, usage.running.dropped())],
    )?;
    families.gauges(Title::new("usage_rows", "Sums in the usage book"), [(NO_LABELS, usage.state.rows)])
}
