//! One scrape: all that is known at this moment, gathered first, written down afterwards.

use super::{
    Form, Sources,
    callers::{self, LimitUse},
    family::Families,
    pool, process, requests, service,
};
use crate::{inflight::RequestKind, reload::ReloadReport};
use gemini_balance_actors::{accounting::AccountingState, health::Component, key_manager::PoolEventCounts};
use keypool::PoolReading;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, prometheus_text, text},
    registry::Registry,
};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use usage::RunningCounts;

/// Before all names but those of the process.
const PREFIX: &str = "gemini_balance";
/// How long the key manager may take to say how the pool is.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of usage.
#[derive(Debug)]
pub(super) struct UsageFigures {
    pub(super) running: Arc<RunningCounts>,
    pub(super) state: AccountingState,
    pub(super) currency: String,
}

/// All that is told. What has no source at the moment is absent, and so are its series.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) usage: Option<UsageFigures>,
    pub(super) pool: Option<PoolReading>,
    pub(super) pool_events: PoolEventCounts,
    /// The models that may be named.
    pub(super) models: HashSet<Arc<str>>,
    pub(super) caller_limits: Vec<LimitUse>,
    pub(super) components: BTreeMap<&'static str, Component>,
    pub(super) in_flight: [(RequestKind, usize); RequestKind::ALL.len()],
    pub(super) lines_lost: u64,
    pub(super) not_after: Option<i64>,
    pub(super) reloads: ReloadReport,
    pub(super) process: process::Figures,
}

/// Gathers.
pub(super) async fn gather(sources: &Sources, process: &process::Beginning) -> Scrape {
    let pool = sources.keys.reading(pool::MOST_QUOTAS, Instant::now() + PATIENCE).await.ok();
    let accounts = sources.accounts.as_ref();
    Scrape {
        usage: accounts.map(|accounts| UsageFigures {
            running: accounts.running(),
            state: accounts.state(),
            currency: accounts.currency().to_owned(),
        }),
        pool,
        pool_events: sources.keys.event_counts(),
        models: accounts.map(|accounts| accounts.models()).unwrap_or_default(),
        caller_limits: callers::limits_used(&sources.directory, sources.clock.now()),
        components: sources.health.components(),
        in_flight: sources.in_flight.by_kind(),
        lines_lost: sources.logging.lines_lost(),
        not_after: sources.certificate.as_ref().and_then(|certificate| certificate.not_after()),
        reloads: sources.reloads.report(),
        process: process.figures(),
    }
}

impl Scrape {
    /// Writes everything down.
    pub(super) fn encode(self, form: Form) -> Result<String, fmt::Error> {
        let mut process = Registry::default();
        process.register_collector(Box::new(self.process));
        let mut own = Registry::with_prefix(PREFIX);
        own.register_collector(Box::new(self));
        let mut out = String::new();
        match form {
            Form::OpenMetrics => {
                text::encode_registry(&mut out, &own)?;
                text::encode_registry(&mut out, &process)?;
                text::encode_eof(&mut out)?;
            }
            Form::Plain => {
                prometheus_text::encode(&mut out, &own)?;
                prometheus_text::encode(&mut out, &process)?;
            }
        }
        Ok(out)
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        if let Some(usage) = &self.usage {
            requests::encode(&mut families, usage)?;
            callers::encode_counts(&mut families, &usage.running)?;
        }
        callers::encode_limits(&mut families, &self.caller_limits)?;
        pool::encode(&mut families, self)?;
        service::encode(&mut families, self)
    }
}
