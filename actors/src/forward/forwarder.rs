//! What every request of one worker shares: the way to the upstream, the pool, the ledger, and how hard a request is tried.

use super::{last_words::LastWords, upload};
use crate::{
    key_manager::KeyManager,
    ledger::{Holding, Ledger, LedgerSilent},
    transaction::Listeners,
    upstream::{Upstream, UpstreamError, UpstreamSettings},
};
use gemini::path::Target;
use std::{collections::HashMap, sync::Arc, time::Duration};

/// How hard a request is tried.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Attempts for one request, the first included.
    pub max_attempts: u32,
    /// How long one request may wait for a lease before the key manager counts as silent.
    pub lease_deadline: Duration,
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
    pub(super) last_words: LastWords,
}

impl Forwarder {
    /// Makes a worker's own upstream client.
    pub fn new(
        upstream: UpstreamSettings,
        keys: KeyManager,
        ledger: Ledger,
        limits: Limits,
        listeners: Listeners,
    ) -> Result<Self, UpstreamError> {
        Ok(Self {
            upstream: Upstream::new(upstream)?,
            keys,
            ledger,
            limits,
            listeners,
            last_words: LastWords::default(),
        })
    }

    /// The upload session behind a target's token, where there is one; the target then carries Google's own id.
    pub async fn upload_session(&self, target: &mut Target) -> Result<Option<Holding>, LedgerSilent> {
        upload::session(&self.ledger, target).await
    }
}
