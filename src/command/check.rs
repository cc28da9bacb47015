//! `gemini-balance check`: validates the configuration, and asks Google about each key with a request that spends no
//! quota. Says one line a key; a key that is not well makes the command fail.

use super::failure::Failure;
use crate::{
    configuration::Configuration, counted::counted, groundwork::Groundwork, printable::Printable,
    settings::Settings,
};
use gemini_balance_actors::upstream::probe::{KeyHealth, Prober};
use std::{process::ExitCode, sync::Arc};

/// Runs the check.
pub(crate) fn run(settings: Settings) -> Result<ExitCode, Failure> {
    let groundwork = Groundwork::of(settings)?;
    let without_keys = groundwork.projects_without_keys();
    let Groundwork { configuration, key_sources, .. } = groundwork;
    let ring = key_sources.ring();
    let Configuration { settings, tokens, upstream, model_maps, cluster, .. } = configuration;
    let (keys, clients) = (counted(ring.keys().len(), "key"), counted(tokens.len(), "client token"));
    out_line!("configuration: well ({keys}, {clients})");
    if tokens.is_empty() {
        out_line!("warning: no client token is configured, so whoever knows a pool key may call");
    }
    for line in settings.exposed_files() {
        out_line!("warning: {}", Printable(line));
    }
    if let Some(line) = settings.cluster_warning() {
        out_line!("warning: {line}");
    }
    for line in without_keys {
        out_line!("warning: {}", Printable(line));
    }
    for (setting, path) in [("store.path", &settings.store.path), ("usage.path", &settings.usage.path)] {
        if let Err(why) = gemini_balance_store::look(path) {
            out_line!("warning: {setting}: {}; nothing of it would outlive the process", Printable(why));
        }
    }
    let mut all_well = true;
    if let Some(cluster) = &cluster {
        match cluster.look() {
            Ok(gateways) => out_line!("cluster: Redis answers; {} there", counted(gateways, "gateway")),
            Err(why) => {
                all_well = false;
                out_line!("cluster: NOT WELL: {why}");
            }
        }
    }
    out_line!("upstream: {}", upstream.gemini_base.origin());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let prober = Prober::new(upstream).map_err(|error| settings.upstream_refused(&error))?;
    let mut good = None;
    runtime.block_on(prober.ask_each(ring.keys(), |key, health| {
        let text = match health {
            KeyHealth::Well => "well".to_owned(),
            KeyHealth::Unwell { status, fault, .. } => format!("NOT WELL: Google answers {status} ({fault:?})"),
            KeyHealth::NotGoogle { status } => {
                format!(
                    "NOT KNOWN: it is not Google that answers, but something on the way there (status {status})"
                )
            }
            KeyHealth::Unreachable { ref why } => format!("NOT KNOWN: Google cannot be reached: {why}"),
        };
        all_well &= matches!(health, KeyHealth::Well);
        if matches!(health, KeyHealth::Well) {
            good.get_or_insert_with(|| Arc::clone(key));
        }
        out_line!("key {}: {text}", Printable(key.id()));
    }));
    if let Some(key) = good
        && !settings.formats.enabled.is_empty()
    {
        for model in model_maps.targets() {
            if runtime.block_on(prober.knows_model(&key, model)) == Some(false) {
                out_line!(
                    "warning: formats.models or formats.callers leads to {}, which Google does not know",
                    Printable(model)
                );
            }
        }
    }
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
