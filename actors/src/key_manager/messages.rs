//! What can be said to the `KeyManagerActor`.

use super::lease::{Lease, WaitingLease};
use crate::key_ring::KeyRing;
use actix::Message;
use keypool::{
    KeyId, KeyPage, LeaseRequest, PageRequest, PassedOver, PoolError, PoolReading, ProjectView, Reconciled,
    Refusal, Settings, Snapshot,
};
use std::sync::Arc;

/// Asks for a key for one attempt.
#[derive(Clone, Debug, Message)]
#[rtype(result = "LeaseReply")]
pub struct LeaseKey(pub LeaseRequest);

/// The answer to [`LeaseKey`].
pub enum LeaseReply {
    /// A key, at once.
    Granted(Lease),
    /// A place in line.
    Waiting(WaitingLease),
    /// No key, and no use in waiting; with what keeps the keys away.
    Refused(Refusal, Option<Box<PassedOver>>),
}

/// Reports lie in the inbox that should be taken now.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Reports;

/// Asks for the pool as it stands.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Snapshot")]
pub struct TakeSnapshot;

/// Asks for the pool in figures, with at most so many known limits.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "PoolReading")]
pub(super) struct TakeReading(pub(super) usize);

/// Asks for a page of the keys, and how the pool stands as a whole.
#[derive(Clone, Debug, Message)]
#[rtype(result = "KeyPage")]
pub struct TakePage(pub PageRequest);

/// Asks for the projects in the pool.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<ProjectView>")]
pub struct TakeProjects;

/// Asks whether two keys are of one project.
#[derive(Clone, Debug, Message)]
#[rtype(result = "bool")]
pub(super) struct ShareAProject(pub(super) KeyId, pub(super) KeyId);

/// An operator's word on one key.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), PoolError>")]
pub struct Verb {
    /// What to do.
    pub kind: VerbKind,
    /// With which key.
    pub key: KeyId,
}

/// What an operator can do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerbKind {
    /// Lease it again after `Disable`.
    Enable,
    /// Lease it no more.
    Disable,
    /// Forget its cooldowns, faults and retirement.
    Reset,
}

/// Asks for another set of keys, and perhaps other rules. Either all of it is done or nothing.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Reconciled, PoolError>")]
pub struct Reconcile {
    /// All keys that there shall be, in the order of the configuration; those that it does not have are removed.
    pub ring: Arc<KeyRing>,
    /// The rules and limits; `None` leaves them as they are.
    pub rules: Option<Settings>,
}

/// Makes the actor panic.
#[cfg(debug_assertions)]
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Panic;
