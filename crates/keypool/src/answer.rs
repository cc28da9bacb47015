//! The ways in which the pool answers a request for a key: a grant, a place in line, or the reason why there is none.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::lease::Grant;
use crate::quota::NamedQuota;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Every key it may use is cooling, for longer than it may wait.
    Cooling {
        /// Until the first is back.
        back_in: Duration,
        /// The quota for which the request's model cools where it is back first, if a refusal of Google's named it.
        quota: Option<Arc<NamedQuota>>,
    },
    /// Every key it may use is retired, but for those that are disabled.
    AllRetired,
    /// Every key it may use is disabled.
    AllDisabled,
    /// There is no key that it may use.
    NoneAllowed,
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
    /// The upstream cannot be reached, on whichever key.
    RouteDown {
        /// Until the next request may find out whether it is back.
        back_in: Duration,
    },
}

impl Refusal {
    /// When asking again makes sense, if time alone can help.
    pub fn back_in(&self) -> Option<Duration> {
        match self {
            Self::Cooling { back_in, .. }
            | Self::QueueFull { back_in }
            | Self::WaitedTooLong { back_in }
            | Self::ModelDown { back_in }
            | Self::RouteDown { back_in } => Some(*back_in),
            Self::AllRetired | Self::AllDisabled | Self::NoneAllowed | Self::NoneLeft | Self::RetryBudget => {
                None
            }
        }
    }

    /// Whether no key can serve it before an operator does something.
    pub fn is_for_operator(&self) -> bool {
        matches!(self, Self::AllRetired | Self::AllDisabled | Self::NoneAllowed)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cooling { .. } => "every key that may serve the request is cooling",
            Self::AllRetired => "every key that may serve the request is retired or disabled",
            Self::AllDisabled => "every key that may serve the request is disabled",
            Self::NoneAllowed => "no key may serve the request",
            Self::QueueFull { .. } => "too many requests are waiting for a key",
            Self::WaitedTooLong { .. } => "no key became free in time",
            Self::ModelDown { .. } => "the model fails on every key",
            Self::RetryBudget => "the model fails, and as many requests as may are being tried again",
            Self::RouteDown { .. } => "the upstream cannot be reached",
            Self::NoneLeft => "the request has tried every key that may serve it",
        })?;
        match self.back_in() {
            // Rounded up, so that whoever waits that long finds the key back.
            Some(back_in) => write!(f, "; the next is back in {} s", back_in.as_millis().div_ceil(1_000)),
            None => Ok(()),
        }
    }
}

/// The place of a waiting request. It carries the incarnation of the pool that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub(crate) epoch: u64,
    pub(crate) number: u64,
}
