//! What a request asks of the pool, and the ways it can be answered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::key::{KeyId, Tried};
use crate::lease::Grant;
use crate::tool::Tools;
use crate::waiting::Ticket;

/// A request for a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The model the request names, if it names one. The same spelling each time, without `models/`.
    pub model: Option<Arc<str>>,
    /// Which keys can serve it at all.
    pub reach: Reach,
    /// The keys it has used already, which are not given again.
    pub tried: Tried,
    /// What is better avoided, where there is a choice.
    pub avoid: Avoid,
    /// Whether it would rather wait than be refused.
    pub may_wait: bool,
    /// A hash of its beginning, by which [`Strategy::Prefix`](crate::Strategy::Prefix) keeps it with its like.
    pub prefix: Option<u64>,
    /// Whether it is another attempt after a fault of the model.
    pub retry: Retry,
    /// The tools it uses that have quotas of their own.
    pub tools: Tools,
    /// How many input tokens it is thought to have; 0 when nothing is known.
    pub input_tokens: u64,
    /// How long it has waited in earlier attempts; counts against `max_wait`.
    pub waited: Duration,
}

impl LeaseRequest {
    /// Any key for this model, now or later.
    pub fn any(model: Option<Arc<str>>) -> Self {
        Self { model, may_wait: true, ..Self::default() }
    }

    /// Whether any key that can serve the one can serve the other at the same time.
    pub(crate) fn wants_the_same(&self, other: &Self) -> bool {
        self.model == other.model
            && self.reach == other.reach
            && self.tried == other.tried
            && self.retry == other.retry
            && self.tools == other.tools
            && self.input_tokens == other.input_tokens
    }
}

/// Which keys can serve a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All of them.
    #[default]
    Any,
    /// Those of this key's project, which owns the resource that the request names.
    ProjectOf(KeyId),
    /// Only this one.
    Only(KeyId),
}

/// What a request had better avoid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Avoid {
    /// Nothing.
    #[default]
    Nothing,
    /// Projects of the keys it has tried: the last fault was the project's.
    TriedProjects,
}

/// Whether a request has been tried before. Retries that a model's own faults cause add to its load when it can bear it
/// least, so the pool allows few of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// It has not, or failed for another reason.
    #[default]
    No,
    /// The last attempt met a fault of the model as a whole.
    ModelFault,
}

/// The pool's answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Here is a key.
    Granted(Grant),
    /// An effect with this ticket will bring a grant or a refusal, exactly once.
    Waiting(Ticket),
    /// There is none.
    Refused(Refusal),
}

/// Why a request gets no key. `back_in` is the time until the first key that it may use is back; while that hangs on a
/// probe's report, it is a guess of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Every key it may use is cooling, for longer than it may wait.
    Cooling {
        /// Until the first is back.
        back_in: Duration,
    },
    /// Every key it may use is retired or disabled.
    AllRetired,
    /// Too many wait already.
    QueueFull {
        /// Until the first is back.
        back_in: Duration,
    },
    /// It has waited as long as it may.
    WaitedTooLong {
        /// Until the first is back.
        back_in: Duration,
    },
    /// It has tried every key it may use that is not retired.
    NoneLeft,
    /// The model as a whole fails, and is left alone on every key.
    ModelDown {
        /// Until it is tried again.
        back_in: Duration,
    },
    /// It is a retry, and the model has too many of them already.
    RetryBudget,
}

impl Refusal {
    /// When asking again makes sense, if time alone can help.
    pub fn back_in(&self) -> Option<Duration> {
        match self {
            Self::Cooling { back_in }
            | Self::QueueFull { back_in }
            | Self::WaitedTooLong { back_in }
            | Self::ModelDown { back_in } => Some(*back_in),
            Self::AllRetired | Self::NoneLeft | Self::RetryBudget => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cooling { .. } => "every key that may serve the request is cooling",
            Self::AllRetired => "every key that may serve the request is retired or disabled",
            Self::QueueFull { .. } => "too many requests are waiting for a key",
            Self::WaitedTooLong { .. } => "no key became free in time",
            Self::ModelDown { .. } => "the model fails on every key",
            Self::RetryBudget => "the model fails, and as many requests as may are being tried again",
            Self::NoneLeft => "the request has tried every key that may serve it",
        })?;
        match self.back_in() {
            // Rounded up, so that whoever waits that long finds the key back.
            Some(back_in) => write!(f, "; the next is back in {} s", back_in.as_millis().div_ceil(1_000)),
            None => Ok(()),
        }
    }
}
