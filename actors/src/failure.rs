//! Why a request has no answer of the upstream's: found by whoever works on it, turned into a status by the HTTP face.

use callers::Denial;
use gemini::listing::BadPage;
use keypool::Refusal;

/// Why the gateway has no upstream answer to pass on.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// Its caller's token does not allow it, or not now.
    Denied(Denial),
    /// The pool has no key for it.
    NoKey(Refusal),
    /// The pool did not answer.
    PoolSilent,
    /// The resources it names belong to different projects: no key reaches both.
    TwoProjects(Box<[String; 2]>),
    /// Of the project that owns what it names, the pool has no usable key.
    OwnerGone(Box<str>),
    /// The ledger could not be asked whose the resources are that it names.
    LedgerSilent,
    /// No connection to the upstream.
    Unreachable,
    /// The upstream broke off, or sent something that is not HTTP, before its answer's head was whole.
    HeadLost,
    /// The upstream did not begin to answer in time.
    HeadTimeout,
    /// Something on the way answered in the upstream's place, with this status.
    NotGoogle(u16),
    /// The upstream did not begin the body of its answer in time, or broke off before the first event.
    BodyLost,
    /// It lists what all projects own, and names no page that there is.
    BadPage(BadPage),
    /// The upstream answered it with what is no page of a list.
    NoPage,
}
