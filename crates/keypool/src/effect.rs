//! What the pool wants done: answers to those who waited, records to keep, the next alarm, lines for the operator. The
//! pool only says so; its owner does it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use meter::Gauge;

use crate::answer::{Refusal, Ticket};
use crate::key::{KeyId, ProjectNumber};
use crate::lease::Grant;
use crate::reason::Reason;
use crate::record::{Record, Subject};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A waiting request gets its key. If its client is gone, settle the lease as abandoned.
    Granted(Ticket, Grant),
    /// A waiting request gets none.
    Refused(Ticket, Refusal),
    /// Keep this, in place of any earlier record of the same subject.
    Persist(Record),
    /// Tell the other nodes of the cluster, in place of what they were told of the subject before. Only a pool in company says
    /// so, and only what it found out itself: see [`Pool::heard`](crate::Pool::heard) for what others do with it.
    Tell(Record),
    /// Ask the cluster for the probe of this, which is to end after so long by itself; the answer goes to
    /// [`Pool::claimed`](crate::Pool::claimed). Only a pool in company says so.
    Claim(Subject, Duration),
    /// Give back what was claimed, if this node still has it; what was told before is to be told first.
    Release(Subject),
    /// Somebody waits for a slice: make a call to the store with [`Pool::draws`](crate::Pool::draws) now, or when the one that is
    /// under way is answered. Only a pool in company says so.
    Draw,
    /// Call [`Pool::wake`](crate::Pool::wake) at this monotonic time; replaces the alarm set before. Too early or too
    /// often is harmless.
    WakeAt(Duration),
    /// Worth a line for the operator.
    Log(Event),
}

/// The effects of one call, in order. The owner keeps one and drains it after each call, so that the common path
/// allocates nothing.
#[derive(Debug, Default)]
pub struct Effects(Vec<Effect>);

impl Effects {
    /// Makes an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes them out, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.0.drain(..)
    }

    /// Looks at them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Effect> {
        self.0.iter()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    pub(crate) fn log(&mut self, event: Event) {
        self.push(Effect::Log(event));
    }
}

/// A change that an operator may want to read of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something is left alone for a while.
    Cooling {
        /// What is meant: a key, a project, a model or a tool of one.
        subject: Subject,
        /// The key whose request met the fault.
        key: KeyId,
        /// For how long from now.
        wait: Duration,
        /// The fault that led to it.
        reason: Reason,
    },
    /// Something is left alone until the operator resets it.
    Retired {
        /// What is meant: a key, a project, a model or a tool of one.
        subject: Subject,
        /// The key whose request met the fault.
        key: KeyId,
        /// The fault that led to it.
        reason: Reason,
    },
    /// Something is left alone for a while, since another node was refused.
    CoolingElsewhere {
        /// What is meant: a key, a project, a model or a tool of one.
        subject: Subject,
        /// For how long from now.
        wait: Duration,
        /// The fault that led to it.
        reason: Reason,
    },
    /// Something is left alone until the operator resets it, since another node was refused.
    RetiredElsewhere {
        /// What is meant: a key, a project, a model or a tool of one.
        subject: Subject,
        /// The fault that led to it.
        reason: Reason,
    },
    /// A cooldown is over; the next request is the probe.
    CooldownOver {
        /// What is in use again as a probe.
        subject: Subject,
    },
    /// The probe came back well: in full use again.
    Back {
        /// What is meant: a key, a project, a model or a tool of one.
        subject: Subject,
    },
    /// A model fails on all keys: it is left alone for a while.
    ModelDown {
        /// The model that all keys share.
        model: Arc<str>,
        /// For how long from now.
        pause: Duration,
    },
    /// The same, since another node was answered so.
    ModelDownElsewhere {
        /// The model that all keys share.
        model: Arc<str>,
        /// For how long from now.
        pause: Duration,
    },
    /// A model that failed on all keys serves again.
    ModelBack {
        /// The model that all keys share.
        model: Arc<str>,
    },
    /// The upstream cannot be reached on any key: one request a second goes through to find out when it can.
    RouteDown,
    /// The upstream has answered again.
    RouteBack,
    /// A refusal named a limit that was not known.
    LimitLearnt {
        /// Of which model on which project.
        subject: Subject,
        /// What the limit bounds: requests or tokens, by minute or day.
        gauge: Gauge,
        /// The limit, in what its gauge counts.
        limit: u64,
    },
    /// Google named the number of a key's project.
    NumberLearnt {
        /// The key whose answer named it.
        key: KeyId,
        /// The project's number at Google.
        number: ProjectNumber,
    },
    /// Two keys with different labels are of one project: they share what is counted by project.
    LabelsJoined {
        /// The key whose number was just learnt.
        key: KeyId,
        /// The key that it is compared with.
        other: KeyId,
        /// The number that both have.
        number: ProjectNumber,
    },
    /// Two keys with the same label are of different projects: they share nothing.
    LabelSplit {
        /// The one whose number was just learnt.
        key: KeyId,
        /// The key that it is compared with.
        other: KeyId,
        /// Of the first.
        number: ProjectNumber,
    },
    /// The operator disabled a key.
    Disabled {
        /// The key that the operator named.
        key: KeyId,
    },
    /// The operator enabled a key.
    Enabled {
        /// The key that the operator named.
        key: KeyId,
    },
    /// The operator reset a key, with its project.
    Reset {
        /// The key that the operator named.
        key: KeyId,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cooling { subject, key, wait, reason } => {
                write!(f, "{subject} cools for {:.1} s: {reason}", wait.as_secs_f64())?;
                met_by(f, subject, key)
            }
            Self::Retired { subject, key, reason } => {
                write!(f, "{subject} is retired until it is reset: {reason}")?;
                met_by(f, subject, key)
            }
            Self::CoolingElsewhere { subject, wait, reason } => {
                write!(f, "{subject} cools for {:.1} s: {reason} (met by another gateway)", wait.as_secs_f64())
            }
            Self::RetiredElsewhere { subject, reason } => {
                write!(f, "{subject} is retired until it is reset: {reason} (met by another gateway)")
            }
            Self::CooldownOver { subject } => write!(f, "{subject} may be tried again"),
            Self::Back { subject } => write!(f, "{subject} is back"),
            Self::ModelDown { model, pause } => {
                write!(
                    f,
                    "model {model} fails on every key, and is left alone for {:.1} s",
                    pause.as_secs_f64()
                )
            }
            Self::ModelDownElsewhere { model, pause } => {
                write!(
                    f,
                    "model {model} fails on every key, and is left alone for {:.1} s (met by another gateway)",
                    pause.as_secs_f64()
                )
            }
            Self::ModelBack { model } => write!(f, "model {model} serves again"),
            Self::RouteDown => f.write_str(
                "the upstream cannot be reached on any key: one request a second is let through until it answers",
            ),
            Self::RouteBack => f.write_str("the upstream answers again"),
            Self::LimitLearnt { subject, gauge, limit } => {
                write!(f, "{subject} is limited to {limit} {gauge}, says Google")
            }
            Self::NumberLearnt { key, number } => write!(f, "key {key} is of project number {number}"),
            Self::LabelsJoined { key, other, number } => {
                write!(f, "keys {key} and {other} are of one project, number {number}, against their labels")
            }
            Self::LabelSplit { key, other, number } => {
                write!(
                    f,
                    "key {key} is of project number {number} and key {other} is not, against their label"
                )
            }
            Self::Disabled { key } => write!(f, "key {key} is disabled"),
            Self::Enabled { key } => write!(f, "key {key} is enabled"),
            Self::Reset { key } => write!(f, "key {key} is reset"),
        }
    }
}

fn met_by(f: &mut fmt::Formatter<'_>, subject: &Subject, key: &KeyId) -> fmt::Result {
    match subject {
        Subject::Key { .. } => Ok(()),
        _ => write!(f, " (met by key {key})"),
    }
}
