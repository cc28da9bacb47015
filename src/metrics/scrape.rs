//! One scrape: all that is known at this moment, gathered first. `exposition` writes it down afterwards.

use super::{
    Sources,
    callers::{self, LimitUse},
    process,
};
use crate::{http::RepeatReason, inflight::RequestKind, reload::ReloadReport};
use gemini_balance_actors::{
    accounting::{AccountingState, Accounts},
    cluster::{Cluster, ClusterView},
    health::Component,
    key_manager::PoolEventCounts,
};
use keypool::PoolReading;
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use usage::RunningCounts;

/// How long the key manager may take to say how the pool is.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many known limits are told of at most: the fullest.
pub(super) const MOST_QUOTAS: usize = 2_000;

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
    /// Requests whose spans no collector has, where traces are sent.
    pub(super) spans_dropped: Option<u64>,
    /// How often Google was asked once more for a translated request.
    pub(super) repeats: [(RepeatReason, u64); 3],
    /// Who else is there, where this gateway is one of several.
    pub(super) cluster: Option<ClusterView>,
    pub(super) not_after: Option<i64>,
    pub(super) reloads: ReloadReport,
    pub(super) process: process::Figures,
}

/// Asks every source for what a scrape tells.
pub(super) async fn gather(sources: &Sources, process: &process::Beginning) -> Scrape {
    let pool = sources.keys.reading(MOST_QUOTAS, Instant::now() + PATIENCE).await.ok();
    let accounts = sources.accounts.as_ref();
    Scrape {
        usage: accounts.map(|accounts| UsageFigures {
            running: accounts.running(),
            state: accounts.state(),
            currency: accounts.currency(),
        }),
        pool,
        pool_events: sources.keys.event_counts(),
        models: accounts.map(Accounts::models).unwrap_or_default(),
        caller_limits: callers::limits_used(&sources.directory, sources.clock.now()),
        components: sources.health.components(),
        in_flight: sources.in_flight.by_kind(),
        lines_lost: sources.logging.lines_lost(),
        spans_dropped: sources.traces.state().map(|traces| traces.dropped),
        repeats: sources.repeats.by_reason(),
        cluster: sources.cluster.as_ref().map(Cluster::view),
        not_after: sources.certificates.iter().filter_map(|certificate| certificate.not_after()).min(),
        reloads: sources.reloads.report(),
        process: process.figures(),
    }
}
