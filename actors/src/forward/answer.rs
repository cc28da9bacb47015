//! What an attempt to forward a request comes to: an answer whose body is still to be passed on, or a failure.

use super::observe::Observer;
use crate::{
    attempts::{ErrorAnswer, Failed},
    upstream::{Body, Coding, WholeAnswer, decoded},
};
use bytes::Bytes;
use gemini::{answer::is_empty_answer, classify::error_words};
use http::{HeaderMap, StatusCode};

/// How much of an answer is looked at in the clear.
pub(super) const MAX_CLASSIFIED: usize = 256 * 1024;

/// An answer that is a success as far as can be known, its body still to be passed on.
pub(super) struct OpenAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) length: Option<u64>,
    pub(super) coding: Coding,
    /// What was read of the body already.
    pub(super) begun: Bytes,
    /// The rest of it; `None` when there is no more.
    pub(super) rest: Option<Body>,
    /// Boxed: it lives as long as a stream does, and everything that passes it on should stay small.
    pub(super) observer: Box<Observer>,
}

/// An attempt that did not succeed.
pub(super) type FailedAttempt = Failed<WholeAnswer>;

impl ErrorAnswer for WholeAnswer {
    fn bytes(&self) -> usize {
        self.body.len()
    }

    fn words(&self) -> Option<String> {
        error_words(&decoded(Coding::of(&self.headers), &self.body, MAX_CLASSIFIED)?)
    }
}

impl OpenAnswer {
    /// Says whether it is whole already, and says nothing without giving a reason.
    pub(super) fn is_empty(&self) -> bool {
        self.status == StatusCode::OK
            && self.rest.is_none()
            && decoded(self.coding, &self.begun, MAX_CLASSIFIED).is_some_and(|body| is_empty_answer(&body))
    }
}
