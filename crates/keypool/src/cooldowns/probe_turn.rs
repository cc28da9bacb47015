//! Whose turn it is to see whether a cooldown that is over was long enough: the next lease's of this node, one's that is out
//! already, or, where other nodes share what cooled, whichever node's the cluster gives it to. Asking the cluster is the
//! owner's matter.

use std::time::Duration;

use crate::company::Company;
use crate::ids::Order;

/// How soon an answer to a claim is hoped for.
pub(crate) const CLAIM_HOPE: Duration = Duration::from_millis(100);
/// How long an answer to a claim is awaited before the claim is asked for again.
const CLAIM_AWAITED: Duration = Duration::from_secs(1);
/// How long a claim that was won is kept when no lease comes to use it.
const CLAIM_KEPT: Duration = Duration::from_secs(2);

/// Who probes next, or now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeTurn {
    /// The next lease of this node.
    Next,
    /// This lease, whose report is awaited until then; by a claim or, where none is needed, without.
    Out { lease: Order, until: Duration, claimed: bool },
    /// Whichever node claims it: none has as far as is known, and this one has not asked.
    Unclaimed,
    /// This node has asked for the claim at that time.
    Asked { at: Duration },
    /// The next lease of this node, which has won the claim and keeps it until then.
    Won { until: Duration },
    /// Another node has the claim, until then at the latest.
    Elsewhere { until: Duration },
    /// The next lease of this node, after a pause: it cannot ask the others, who pause as well.
    Paused { until: Duration },
}

impl ProbeTurn {
    /// Returns whose turn it is when a cooldown ends of what this company shares. `pause` is how long a node waits that
    /// cannot ask.
    pub(crate) fn first(company: Company, now: Duration, pause: Duration) -> Self {
        match company {
            Company::None => Self::Next,
            Company::Together => Self::Unclaimed,
            Company::Alone => Self::Paused { until: now + pause },
        }
    }

    /// Whether the next lease of this node may be granted: it will be the probe.
    pub(crate) fn admits(self) -> bool {
        matches!(self, Self::Next | Self::Won { .. })
    }

    /// Whether this node holds the claim.
    pub(crate) fn is_claimed_here(self) -> bool {
        matches!(self, Self::Won { .. } | Self::Out { claimed: true, .. })
    }

    /// Returns when a lease may be hoped for; now, where that hangs on a report.
    pub(crate) fn back_at(self, now: Duration) -> Duration {
        match self {
            Self::Unclaimed => now + CLAIM_HOPE,
            Self::Asked { at } => now.max(at + CLAIM_HOPE),
            Self::Paused { until } => now.max(until),
            Self::Next | Self::Won { .. } | Self::Out { .. } | Self::Elsewhere { .. } => now,
        }
    }

    /// Returns when this turn ends by itself, if it does.
    pub(crate) fn ends_at(self) -> Option<Duration> {
        match self {
            Self::Next | Self::Unclaimed => None,
            Self::Asked { at } => Some(at + CLAIM_AWAITED),
            Self::Out { until, .. }
            | Self::Won { until }
            | Self::Elsewhere { until }
            | Self::Paused { until } => Some(until),
        }
    }

    /// Returns whose turn it is after this one, which nobody used in time.
    pub(crate) fn after(self) -> Self {
        match self {
            Self::Next | Self::Paused { .. } | Self::Out { claimed: false, .. } => Self::Next,
            Self::Unclaimed
            | Self::Asked { .. }
            | Self::Won { .. }
            | Self::Elsewhere { .. }
            | Self::Out { claimed: true, .. } => Self::Unclaimed,
        }
    }

    /// Takes the answer to a claim. Other nodes' claims last for `patience` at most. Returns whether it is of use here.
    pub(crate) fn answer_claim(&mut self, won: bool, now: Duration, patience: Duration) -> bool {
        match self {
            Self::Asked { .. } => {
                *self = if won {
                    Self::Won { until: now + CLAIM_KEPT }
                } else {
                    Self::Elsewhere { until: now + patience }
                };
                true
            }
            Self::Won { .. } | Self::Out { claimed: true, .. } => won,
            Self::Next
            | Self::Unclaimed
            | Self::Elsewhere { .. }
            | Self::Paused { .. }
            | Self::Out { claimed: false, .. } => false,
        }
    }

    /// Goes on in other company. `pause` is how long a node waits that cannot ask.
    pub(crate) fn keep_company(&mut self, company: Company, now: Duration, pause: Duration) {
        *self = match (company, *self) {
            (Company::Together, Self::Next | Self::Paused { .. }) => Self::Unclaimed,
            (Company::Alone, Self::Unclaimed | Self::Asked { .. } | Self::Elsewhere { .. }) => {
                Self::first(company, now, pause)
            }
            (Company::Alone, Self::Won { .. }) => Self::Next,
            (Company::Alone, Self::Out { lease, until, .. }) => Self::Out { lease, until, claimed: false },
            (_, turn) => turn,
        };
    }
}
