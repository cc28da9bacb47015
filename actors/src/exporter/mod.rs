//! Traces: what finished requests look like in OpenTelemetry, for whoever collects them. Workers leave finished transactions
//! in a bounded queue, those that are sampled; the [`TraceExporterActor`] makes spans of them (`spans`) and posts them
//! (`posting`) to the collector that is configured at the time, if there is one. Nothing of it is on a request's way, and
//! nothing of what a client or Google says is in it.

mod actor;
mod posting;
mod spans;

pub use actor::TraceExporterActor;

use crate::{
    failure::Failure,
    health::{Health, State},
    listeners::TransactionListener,
    supervisor::{Intensity, Link},
    transaction::{End, Transaction},
    upstream::{UpstreamError, UpstreamSettings},
};
use actix_rt::ArbiterHandle;
use actor::{NAME, Send512, SendLast};
use arc_swap::ArcSwapOption;
use gemini::fault::Scope;
use http::HeaderMap;
use posting::Poster;
use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use url::Url;

/// How many transactions wait at most; more are dropped, and counted.
const QUEUE: usize = 4_096;
/// How many are posted at once.
const BATCH: usize = 512;

/// Where traces go, and which.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSettings {
    /// Where they are posted: the whole URL, `/v1/traces` included.
    pub endpoint: Url,
    /// What is sent with each post, such as a collector's credential.
    pub headers: HeaderMap,
    /// The share of requests without a parent that is kept, from 0 to 1. Errors are always kept.
    pub sample: f64,
}

/// Returns the status with which a client is told of a failure: the HTTP face's to say.
pub type StatusOf = fn(&Failure) -> u16;

/// What became of traces so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TracesState {
    /// Requests whose spans a collector has taken.
    pub sent: u64,
    /// Requests whose spans were lost: there were too many, or nobody took them.
    pub dropped: u64,
    /// Requests that wait to be sent.
    pub waiting: usize,
}

/// The handle: made once, shared by all. The exporter itself is started when there is a collector for the first time.
#[derive(Clone)]
pub struct Traces {
    shared: Arc<TraceQueue>,
    exporter: Arc<OnceLock<Link<TraceExporterActor>>>,
    arbiter: ArbiterHandle,
    intensity: Intensity,
    /// Certificates (PEM) that a collector may have besides the system's.
    extra_roots: Arc<[Vec<u8>]>,
}

/// Where traces are to go from now on, made ready by [`Traces::prepare`].
pub struct NextCollector(Option<Arc<Collector>>);

/// What outlives the actor: it lies outside, so that one that dies loses at most what it was sending.
struct TraceQueue {
    /// Where traces go at the moment.
    collector: ArcSwapOption<Collector>,
    hosts: UpstreamHosts,
    status_of: StatusOf,
    queue: Mutex<Vec<Transaction>>,
    sent: AtomicU64,
    dropped: AtomicU64,
    health: Arc<Health>,
}

/// A collector that traces are posted to.
struct Collector {
    settings: TraceSettings,
    poster: Poster,
    /// Whether the health board says that it does not take them.
    is_degraded: AtomicBool,
}

/// The hosts that requests go to.
struct UpstreamHosts {
    gemini: String,
    openai: String,
}

impl Traces {
    /// Makes the handle of an exporter that will run on `arbiter`, for requests that go to this upstream. No traces are made
    /// until [`Traces::put`].
    pub fn new(
        arbiter: ArbiterHandle,
        upstream: &UpstreamSettings,
        status_of: StatusOf,
        intensity: Intensity,
        health: Arc<Health>,
    ) -> Self {
        let hosts = UpstreamHosts {
            gemini: upstream.gemini_base.host().to_owned(),
            openai: upstream.openai_base.host().to_owned(),
        };
        let shared = Arc::new(TraceQueue {
            collector: ArcSwapOption::empty(),
            hosts,
            status_of,
            queue: Mutex::default(),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            health,
        });
        let extra_roots = upstream.extra_roots.clone().into();
        Self { shared, exporter: Arc::default(), arbiter, intensity, extra_roots }
    }

    /// Makes ready what [`Traces::put`] takes, and changes nothing: `None` for no traces. Fails when no client can be built
    /// to post with.
    pub fn prepare(&self, settings: Option<&TraceSettings>) -> Result<NextCollector, UpstreamError> {
        let Some(settings) = settings else { return Ok(NextCollector(None)) };
        let same = self.shared.collector.load_full().filter(|collector| collector.settings == *settings);
        let next = match same {
            Some(collector) => collector,
            None => Arc::new(Collector {
                settings: settings.clone(),
                poster: Poster::new(settings, &self.extra_roots)?,
                is_degraded: AtomicBool::new(false),
            }),
        };
        Ok(NextCollector(Some(next)))
    }

    /// Sends traces there from now on. What waits goes there too; where there is no collector any more, it goes to the last.
    pub fn put(&self, next: NextCollector) {
        let NextCollector(next) = next;
        let last = self.shared.collector.swap(next.clone());
        let (is_same, was_off) = match (&last, &next) {
            (None, None) => return,
            (Some(last), Some(next)) => (Arc::ptr_eq(last, next), false),
            (last, _) => (false, last.is_none()),
        };
        let Some(next) = next else {
            log::info!(target: NAME, "no more traces are made");
            self.shared.health.remove(NAME);
            if let (Some(exporter), Some(last)) = (self.exporter.get(), last) {
                exporter.nudge(SendLast(last));
            }
            return;
        };
        if is_same {
            return;
        }
        log::info!(target: NAME, "traces go to {}", next.settings.endpoint.origin().ascii_serialization());
        if self.exporter.get().is_some() {
            // Of another collector nothing bad is known.
            if was_off || last.is_some_and(|last| last.is_degraded.load(Ordering::Relaxed)) {
                self.shared.health.set(NAME, State::Up, None);
            }
        } else {
            self.exporter
                .get_or_init(|| actor::start(&self.arbiter, Arc::clone(&self.shared), self.intensity));
        }
    }

    /// Sends what there is, as far as that is done in time. Returns whether nothing is left.
    pub async fn flush(&self, at_most: Duration) -> bool {
        let Some(exporter) = self.exporter.get() else { return true };
        let deadline = Instant::now() + at_most;
        let sent = exporter.send(actor::Flush, deadline);
        let done = tokio::time::timeout_at(deadline, sent).await;
        done.is_ok_and(|sent| sent.unwrap_or(false))
    }

    /// Returns what became of traces so far; `None` where there was never a collector.
    pub fn state(&self) -> Option<TracesState> {
        self.exporter.get()?;
        Some(TracesState {
            sent: self.shared.sent.load(Ordering::Relaxed),
            dropped: self.shared.dropped.load(Ordering::Relaxed),
            waiting: self.shared.queue().len(),
        })
    }
}

impl TransactionListener for Traces {
    fn ended(&self, transaction: &Transaction) {
        let collector = self.shared.collector.load();
        let Some(collector) = &*collector else { return };
        if !is_kept(transaction, collector.settings.sample, fastrand::f64()) {
            return;
        }
        if self.shared.leave(transaction.clone()) == BATCH
            && let Some(exporter) = self.exporter.get()
        {
            exporter.nudge(Send512);
        }
    }

    fn reads_trace_parents(&self) -> bool {
        self.shared.collector.load().is_some()
    }
}

impl TraceQueue {
    fn queue(&self) -> std::sync::MutexGuard<'_, Vec<Transaction>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a transaction to be sent, if there is room. Returns how many wait.
    fn leave(&self, transaction: Transaction) -> usize {
        let mut queue = self.queue();
        if queue.len() < QUEUE {
            queue.push(transaction);
            return queue.len();
        }
        drop(queue);
        self.dropped.fetch_add(1, Ordering::Relaxed);
        QUEUE
    }

    /// Takes the oldest, one batch of them.
    fn take(&self) -> Vec<Transaction> {
        let mut queue = self.queue();
        let most = queue.len().min(BATCH);
        queue.drain(..most).collect()
    }
}

/// Says whether a request's trace is kept. A client's word counts for its own trace; a trace that begins here is kept with
/// this probability, `chance` being uniform in 0..1. Errors always are.
fn is_kept(transaction: &Transaction, sample: f64, chance: f64) -> bool {
    if is_error(transaction) {
        return true;
    }
    let parent = transaction.detail.as_ref().and_then(|detail| detail.trace_parent);
    parent.map_or(chance < sample, |parent| parent.is_sampled)
}

/// Says whether a request came to no good, whoever is to blame but its client.
fn is_error(transaction: &Transaction) -> bool {
    let is_refused = match &transaction.failure {
        None | Some(Failure::Denied(_) | Failure::TwoProjects(_) | Failure::BadPage(_)) => false,
        Some(_) => true,
    };
    let faults = transaction.attempts.iter().filter_map(|attempt| attempt.fault);
    let has_faults = faults.into_iter().any(|kind| kind.scope() != Scope::Client);
    transaction.end == End::UpstreamBroke || is_refused || has_faults || transaction.status >= 500
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing::transaction, trace_parent::TraceParent, transaction::Detail};
    use gemini::fault::Kind;

    #[test]
    fn errors_are_kept_always_and_a_clients_word_counts_for_its_own_trace() {
        let plain = transaction("alice", "/v1beta/models/m:generateContent");
        assert!(is_kept(&plain, 0.1, 0.05) && !is_kept(&plain, 0.1, 0.1) && !is_kept(&plain, 0.0, 0.0));
        assert!(is_kept(&plain, 1.0, 0.999));
        let mut failed = plain.clone();
        failed.attempts[0].fault = Some(Kind::QuotaMinute);
        let broken = Transaction { end: End::UpstreamBroke, ..plain.clone() };
        let refused = Transaction { failure: Some(crate::failure::Failure::PoolSilent), ..plain.clone() };
        for error in [failed, broken, refused] {
            assert!(is_kept(&error, 0.0, 0.5));
        }
        for is_sampled in [true, false] {
            let parent = TraceParent { trace_id: 1, span_id: 1, is_sampled };
            let detail = Detail { trace_parent: Some(parent), ..Detail::default() };
            let child = Transaction { detail: Some(Box::new(detail)), ..plain.clone() };
            assert_eq!(is_kept(&child, 0.5, if is_sampled { 0.9 } else { 0.1 }), is_sampled);
        }
    }
}
