//! The attempts of one request, of every kind, as its transaction shows them: each stands there from its start, so that
//! one that was cut short, as when its client left, is there as well. Beside them the times in which the request could not
//! go on: for want of a key, or in a pause.

use crate::{
    key_manager::{Lease, WithoutKey},
    transaction::{Attempt, AttemptDetail, Delay, DelayCause, Detail, Transaction},
};
use gemini::fault::Kind;
use http::StatusCode;
use keypool::{KeyId, PassedOver, Refusal};
use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

/// How many delays are kept: a list asks each project, and each may have its own.
const MOST_DELAYS: usize = 16;

/// The attempts made so far. Shared by those that are made at once, on one thread.
#[derive(Debug)]
pub(crate) struct AttemptRecord {
    arrived: Instant,
    attempts: RefCell<Vec<Attempt>>,
    delays: RefCell<Vec<Delay>>,
    queued: Cell<Duration>,
}

/// An attempt that is being made. Dropped without an end, it was cut short.
pub(crate) struct BegunAttempt<'a> {
    record: &'a AttemptRecord,
    place: usize,
    begun: Instant,
}

/// A delay that goes on until it is dropped.
pub(crate) struct BegunDelay<'a> {
    record: &'a AttemptRecord,
    /// `None` where no more are kept.
    place: Option<usize>,
    begun: Instant,
}

/// A request in the queue for a key, until it is dropped.
pub(crate) struct Queued<'a> {
    record: &'a AttemptRecord,
    begun: tokio::time::Instant,
}

impl AttemptRecord {
    /// Begins the record of a request that arrived then.
    pub(crate) fn since(arrived: Instant) -> Self {
        Self { arrived, attempts: RefCell::default(), delays: RefCell::default(), queued: Cell::default() }
    }

    /// Writes down that an attempt begins on this lease.
    pub(crate) fn begin(&self, lease: &mut Lease) -> BegunAttempt<'_> {
        let begun = Instant::now();
        let mut attempts = self.attempts.borrow_mut();
        if attempts.is_empty() {
            attempts.reserve_exact(1); // most requests have one
        }
        let detail = lease
            .take_passed_over()
            .map(|passed_over| Box::new(AttemptDetail { passed_over: Some(passed_over), words: None }));
        attempts.push(Attempt {
            key: lease.key().id().clone(),
            project: lease.key().project_label().cloned(),
            choice: lease.choice(),
            is_probe: lease.is_probe(),
            start: begun.saturating_duration_since(self.arrived),
            status: None,
            fault: None,
            took: Duration::ZERO,
            detail,
        });
        BegunAttempt { record: self, place: attempts.len() - 1, begun }
    }

    /// The key of the attempt that began last.
    pub(crate) fn last_key(&self) -> Option<KeyId> {
        self.attempts.borrow().last().map(|attempt| attempt.key.clone())
    }

    /// Writes down that the request is in the queue for a key from then on.
    pub(crate) fn queue(&self, since: tokio::time::Instant) -> Queued<'_> {
        Queued { record: self, begun: since }
    }

    /// Writes down that the request pauses after a fault.
    pub(crate) fn pause(&self, after: Kind) -> BegunDelay<'_> {
        self.delay(DelayCause::AfterFault(after))
    }

    fn delay(&self, cause: DelayCause) -> BegunDelay<'_> {
        let begun = Instant::now();
        let mut delays = self.delays.borrow_mut();
        let place = (delays.len() < MOST_DELAYS).then_some(delays.len());
        if place.is_some() {
            let start = begun.saturating_duration_since(self.arrived);
            delays.push(Delay { start, took: Duration::ZERO, cause, refusal: None });
        }
        BegunDelay { record: self, place, begun }
    }

    /// Puts all that was written down into the request's transaction, attempts in the order in which they began.
    pub(crate) fn write_into(self, transaction: &mut Transaction) {
        transaction.attempts = self.attempts.into_inner();
        transaction.queued = self.queued.get();
        let delays = self.delays.into_inner();
        if !delays.is_empty() {
            let detail = transaction.detail.take().map_or_else(Detail::default, |detail| *detail);
            transaction.detail = Some(Box::new(Detail { delays, ..detail }));
        }
    }

    #[cfg(test)]
    pub(crate) fn into_attempts(self) -> Vec<Attempt> {
        self.attempts.into_inner()
    }
}

impl BegunAttempt<'_> {
    /// Writes down how it ended, and in Google's words if it has said something.
    pub(crate) fn end(self, status: Option<StatusCode>, fault: Option<Kind>, words: Option<&str>) {
        if let Some(attempt) = self.record.attempts.borrow_mut().get_mut(self.place) {
            attempt.status = status.map(|status| status.as_u16());
            attempt.fault = fault;
            if let Some(words) = words {
                attempt.say(words);
            }
        }
    }
}

impl Drop for BegunAttempt<'_> {
    fn drop(&mut self) {
        if let Some(attempt) = self.record.attempts.borrow_mut().get_mut(self.place) {
            attempt.took = self.begun.elapsed();
        }
    }
}

impl Drop for BegunDelay<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && let Some(delay) = self.record.delays.borrow_mut().get_mut(place)
        {
            delay.took = self.begun.elapsed();
        }
    }
}

impl Queued<'_> {
    /// Returns how long it has been so far.
    pub(crate) fn so_far(&self) -> Duration {
        self.begun.elapsed()
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let queued = &self.record.queued;
        queued.set(queued.get() + self.begun.elapsed());
    }
}

impl<'a> WithoutKey for &'a AttemptRecord {
    type Wait = BegunDelay<'a>;

    fn waits(&self, passed_over: Option<Box<PassedOver>>) -> BegunDelay<'a> {
        self.delay(DelayCause::NoKey(passed_over))
    }

    fn refused(&self, wait: Option<BegunDelay<'a>>, refusal: &Refusal, passed_over: Option<Box<PassedOver>>) {
        let wait = wait.unwrap_or_else(|| self.delay(DelayCause::NoKey(passed_over)));
        if let Some(place) = wait.place
            && let Some(delay) = self.delays.borrow_mut().get_mut(place)
        {
            delay.refusal = Some(refusal.clone());
        }
    }
}
