//! One attempt after another: what follows a failed one, and when there is no use in trying.

mod retry;

pub(crate) use retry::{Step, Tries};

use crate::failure::Failure;
use gemini::fault::Fault;
use http::StatusCode;

/// An attempt that did not succeed.
#[derive(Debug)]
pub(crate) struct Failed<A> {
    /// What went wrong, and whom it blames.
    pub(crate) fault: Fault,
    /// The upstream's status; `None` when no answer came.
    pub(crate) status: Option<StatusCode>,
    /// The upstream's own answer, when a whole one came.
    pub(crate) answer: Option<A>,
    /// What the client is told when there is none.
    pub(crate) failure: Failure,
}

impl<A> Failed<A> {
    /// Makes the failure of an attempt to which the upstream has said nothing.
    pub(crate) fn without_answer(fault: Fault, failure: Failure) -> Self {
        Self { fault, status: None, answer: None, failure }
    }
}
