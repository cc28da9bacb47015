//! Traces: what finished requests look like in OpenTelemetry, for whoever collects them. Workers leave finished transactions
//! in a bounded queue, those that are sampled; the [`TraceExporterActor`] makes spans of them (`spans`) and posts them
//! (`posting`). Nothing of it is on a request's way, and nothing of what a client or Google says is in it.

mod actor;
mod posting;
mod spans;

pub use actor::TraceExporterActor;

use crate::{
    failure::Failure,
    health::Health,
    listeners::TransactionListener,
    supervisor::{Intensity, Link},
    transaction::{End, Transaction},
};
use actor::Send512;
use gemini::fault::Scope;
use http::HeaderMap;
use posting::Poster;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
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
#[derive(Clone, Debug)]
pub struct TraceSettings {
    /// Where they are posted: the whole URL, `/v1/traces` included.
    pub endpoint: Url,
    /// What is sent with each post, such as a collector's credential.
    pub headers: HeaderMap,
    /// Certificates (PEM) to trust besides the system's.
    pub extra_roots: Vec<Vec<u8>>,
    /// The share of requests without a parent that is kept, from 0 to 1. Errors are always kept.
    pub sample: f64,
    /// The host that native requests go to.
    pub gemini_host: String,
    /// The host that requests in OpenAI's format go to.
    pub openai_host: String,
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

/// The handle: made once, shared by all.
#[derive(Clone)]
pub struct Traces {
    shared: Arc<TraceQueue>,
    link: Link<TraceExporterActor>,
}

/// What outlives the actor: it lies outside, so that one that dies loses at most what it was sending.
struct TraceQueue {
    settings: TraceSettings,
    status_of: StatusOf,
    queue: Mutex<Vec<Transaction>>,
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Traces {
    /// Starts the exporter on `arbiter`. Fails when no client can be built to post with.
    pub fn start(
        arbiter: &actix_rt::ArbiterHandle,
        settings: TraceSettings,
        status_of: StatusOf,
        intensity: Intensity,
        health: Arc<Health>,
    ) -> Result<Self, crate::upstream::UpstreamError> {
        let poster = Poster::new(&settings)?;
        let shared = Arc::new(TraceQueue {
            settings,
            status_of,
            queue: Mutex::default(),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        let link = actor::start(arbiter, Arc::clone(&shared), poster, intensity, health);
        Ok(Self { shared, link })
    }

    /// Sends what there is, as far as that is done in time. Returns whether nothing is left.
    pub async fn flush(&self, at_most: Duration) -> bool {
        let deadline = Instant::now() + at_most;
        let sent = self.link.send(actor::Flush, deadline);
        let done = tokio::time::timeout_at(deadline, sent).await;
        done.is_ok_and(|sent| sent.unwrap_or(false))
    }

    /// Returns what became of traces so far.
    pub fn state(&self) -> TracesState {
        TracesState {
            sent: self.shared.sent.load(Ordering::Relaxed),
            dropped: self.shared.dropped.load(Ordering::Relaxed),
            waiting: self.shared.queue().len(),
        }
    }
}

impl TransactionListener for Traces {
    fn ended(&self, transaction: &Transaction) {
        if !is_kept(transaction, self.shared.settings.sample, fastrand::f64()) {
            return;
        }
        if self.shared.leave(transaction.clone()) == BATCH {
            self.link.nudge(Send512);
        }
    }

    fn reads_trace_parents(&self) -> bool {
        true
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
