//! The attempts of one request, of every kind, as its transaction shows them: each stands there from its start, so that
//! one that was cut short, as when its client left, is there as well.

use crate::transaction::Attempt;
use gemini::fault::Kind;
use http::StatusCode;
use keypool::KeyId;
use std::{cell::RefCell, time::Instant};

/// The attempts made so far. Shared by those that are made at once, on one thread.
#[derive(Debug, Default)]
pub(crate) struct AttemptRecord {
    attempts: RefCell<Vec<Attempt>>,
}

/// An attempt that is being made. Dropped without an end, it was cut short.
pub(crate) struct BegunAttempt<'a> {
    record: &'a AttemptRecord,
    place: usize,
    begun: Instant,
}

impl AttemptRecord {
    /// Writes down that an attempt begins on this key.
    pub(crate) fn begin(&self, key: &KeyId) -> BegunAttempt<'_> {
        let mut attempts = self.attempts.borrow_mut();
        if attempts.is_empty() {
            attempts.reserve_exact(1); // most requests have one
        }
        attempts.push(Attempt {
            key: key.clone(),
            status: None,
            fault: None,
            took: std::time::Duration::ZERO,
        });
        BegunAttempt { record: self, place: attempts.len() - 1, begun: Instant::now() }
    }

    /// Returns them in the order in which they began.
    pub(crate) fn into_attempts(self) -> Vec<Attempt> {
        self.attempts.into_inner()
    }
}

impl BegunAttempt<'_> {
    /// Writes down how it ended.
    pub(crate) fn end(self, status: Option<StatusCode>, fault: Option<Kind>) {
        if let Some(attempt) = self.record.attempts.borrow_mut().get_mut(self.place) {
            attempt.status = status.map(|status| status.as_u16());
            attempt.fault = fault;
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
