//! What every request of one worker shares: the way to the upstream, the pool, the ledger, and how hard a request is tried.

use super::upload;
use crate::{
    attempts::{LastAnswers, RetryLimits},
    caller_cuts::WorkerCuts,
    failure::Failure,
    key_manager::KeyManager,
    ledger::{Holding, Ledger, LedgerSilent},
    listeners::Listeners,
    upstream::{Upstream, UpstreamError, UpstreamSettings, WholeAnswer},
};
use gemini::path::Target;
use keypool::ProjectView;
use std::{collections::HashMap, rc::Rc, sync::Arc};
use tokio::time::Instant;

/// How hard a request is tried.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How often, and how long.
    pub retry: RetryLimits,
    /// Whether an answer that says nothing, without a reason, is tried again.
    pub empty_answers: bool,
    /// Whether the pool wants to know how a request begins.
    pub prefixes: bool,
    /// The model to ask in place of one that fails as a whole.
    pub fallback: Arc<HashMap<String, String>>,
}

/// What every request of one worker shares.
pub struct Forwarder {
    pub(crate) upstream: Upstream,
    pub(crate) keys: KeyManager,
    pub(crate) ledger: Ledger,
    pub(crate) limits: Limits,
    pub(crate) listeners: Listeners,
    pub(crate) cuts: WorkerCuts,
    pub(super) last_answers: Rc<LastAnswers<WholeAnswer>>,
}

impl Forwarder {
    /// Makes a worker's own upstream client.
    pub fn new(
        upstream: UpstreamSettings,
        keys: KeyManager,
        ledger: Ledger,
        limits: Limits,
        listeners: Listeners,
        cuts: WorkerCuts,
    ) -> Result<Self, UpstreamError> {
        Ok(Self {
            upstream: Upstream::new(upstream)?,
            keys,
            ledger,
            limits,
            listeners,
            cuts,
            last_answers: Rc::default(),
        })
    }

    /// Returns what requests share that begin under settings that have changed: the same connections, the same pool.
    #[must_use]
    pub fn revised(&self, upstream: &UpstreamSettings, limits: Limits) -> Self {
        Self {
            upstream: self.upstream.revised(upstream),
            keys: self.keys.clone(),
            ledger: self.ledger.clone(),
            limits,
            listeners: self.listeners.clone(),
            cuts: self.cuts.clone(),
            last_answers: Rc::clone(&self.last_answers),
        }
    }

    /// The upload session behind a target's token, where there is one; the target then carries Google's own id.
    pub async fn upload_session(&self, target: &mut Target) -> Result<Option<Holding>, LedgerSilent> {
        upload::session(&self.ledger, target).await
    }

    /// Asks the pool for the projects in it.
    pub(super) async fn projects(&self) -> Result<Vec<ProjectView>, Failure> {
        let deadline = Instant::now() + self.limits.retry.lease_deadline;
        self.keys.projects(deadline).await.map_err(|_| Failure::PoolSilent)
    }
}
