//! A lease: the right to use one key for one attempt. It settles itself as abandoned when dropped, so it cannot leak,
//! whatever becomes of the request that holds it.

use super::inbox::{Inbox, Note};
use crate::{
    key_ring::{Key, KeyRing},
    supervisor::LinkError,
};
use gemini::usage::Usage;
use keypool::{Grant, Outcome, Refusal, Role, Ticket};
use std::{fmt, sync::Arc};
use tokio::sync::oneshot;

/// The right to use one key for one attempt.
pub struct Lease {
    grant: Option<Grant>,
    model: Option<Arc<str>>,
    key: Arc<Key>,
    inbox: Arc<Inbox>,
}

impl Lease {
    /// Makes a lease of the key that the grant names. One whose key the ring does not have is given back as it was.
    pub(super) fn new(
        grant: Grant,
        model: Option<Arc<str>>,
        ring: &KeyRing,
        inbox: &Arc<Inbox>,
    ) -> Option<Self> {
        let Some(key) = ring.find(&grant.key).cloned() else {
            inbox.leave(Note::settled(grant, model, Outcome::Unused, None));
            return None;
        };
        Some(Self { grant: Some(grant), model, key, inbox: Arc::clone(inbox) })
    }

    /// The key, with its secret.
    pub fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// The head of a good answer has come, long perhaps before its end. Others wait for this word when the lease is the
    /// first after a cooldown, or while the upstream may be out of reach; otherwise nobody does, and it is not passed on.
    pub fn vouch(&self) {
        let is_awaited = |grant: &&Grant| grant.role == Role::Probe || self.inbox.hears_heads();
        if let Some(grant) = self.grant.as_ref().filter(is_awaited) {
            self.inbox.leave(Note::Vouched(grant.clone(), self.model.clone()));
        }
    }

    /// Reports how the attempt ended, and what it used if the upstream has said so.
    pub fn settle(mut self, outcome: Outcome, usage: Option<&Usage>) {
        self.leave(outcome, usage);
    }

    fn leave(&mut self, outcome: Outcome, usage: Option<&Usage>) {
        if let Some(grant) = self.grant.take() {
            self.inbox.leave(Note::settled(grant, self.model.take(), outcome, usage));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leave(Outcome::Abandoned, None);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("key", &self.key.id()).finish_non_exhaustive()
    }
}

/// A place in the line for a key. Dropping it leaves the line.
pub struct WaitingLease {
    ticket: Option<Ticket>,
    granted: oneshot::Receiver<Result<Lease, Refusal>>,
    inbox: Arc<Inbox>,
}

impl WaitingLease {
    pub(super) fn new(
        ticket: Ticket,
        granted: oneshot::Receiver<Result<Lease, Refusal>>,
        inbox: &Arc<Inbox>,
    ) -> Self {
        Self { ticket: Some(ticket), granted, inbox: Arc::clone(inbox) }
    }

    /// Resolves with the end of the wait; `None` when the actor that kept the line has died.
    pub async fn granted(mut self) -> Option<Result<Lease, Refusal>> {
        let result = (&mut self.granted).await.ok();
        self.ticket = None; // out of the line, whichever way
        result
    }
}

impl Drop for WaitingLease {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.inbox.leave(Note::Left(ticket));
        }
    }
}

/// Why there is no lease.
#[derive(Clone, Debug, PartialEq)]
pub enum LeaseError {
    /// The pool's own answer.
    Refused(Refusal),
    /// The key manager did not answer in time, or is no more.
    Unanswered(LinkError),
}

impl From<LinkError> for LeaseError {
    fn from(error: LinkError) -> Self {
        Self::Unanswered(error)
    }
}
