//! Finished requests that count in the same places, in the words in which they are counted.

use crate::{
    amounts::{Times, Totals},
    billable::Billable,
    cell::{Cell, Counters},
    count::MOST,
    prices::Cost,
};
use std::sync::Arc;

/// How a request ended. Each ended in exactly one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestOutcome {
    /// Answered with success, to its last byte.
    Answered,
    /// The request's own fault.
    ClientError,
    /// Refused by the caller's own limits.
    RefusedCaller,
    /// The pool had no key for it.
    RefusedPool,
    /// Google refused it for a quota, on the last key that was tried.
    RefusedGoogle,
    /// The upstream failed it.
    Failed,
    /// The gateway itself failed it.
    GatewayFailed,
    /// The client left, or stopped reading.
    Left,
    /// The answer broke off in the middle.
    Broken,
}

impl RequestOutcome {
    /// Every outcome, in the order of their counters.
    pub const ALL: [Self; 9] = [
        Self::Answered,
        Self::ClientError,
        Self::RefusedCaller,
        Self::RefusedPool,
        Self::RefusedGoogle,
        Self::Failed,
        Self::GatewayFailed,
        Self::Left,
        Self::Broken,
    ];

    /// The word in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::ClientError => "client_error",
            Self::RefusedCaller => "limited_caller",
            Self::RefusedPool => "limited_pool",
            Self::RefusedGoogle => "limited_google",
            Self::Failed => "upstream_error",
            Self::GatewayFailed => "gateway_error",
            Self::Left => "client_left",
            Self::Broken => "broken",
        }
    }
}

/// One try upstream: on which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key's id.
    pub key: Arc<str>,
    /// Its project at the time.
    pub project: Arc<str>,
}

/// Some finished requests of one model that ended alike, as they count under any one set of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// How they ended.
    pub outcome: RequestOutcome,
    /// What all of them cost together.
    pub cost: Cost,
    /// How many they are, and what of them adds up.
    pub totals: Totals,
}

impl Counted {
    /// What they count, tries apart.
    pub(crate) fn cell(&self) -> Cell {
        let totals = &self.totals;
        let requests = totals.requests.min(MOST);
        let Billable { input, cached, output, thoughts, tool, .. } = totals.billable;
        let mut counters = Counters {
            requests,
            input_tokens: input.min(MOST),
            cached_tokens: cached.min(MOST),
            output_tokens: output.min(MOST),
            thoughts_tokens: thoughts.min(MOST),
            tool_tokens: tool.min(MOST),
            bytes_in: totals.bytes_in.min(MOST),
            bytes_out: totals.bytes_out.min(MOST),
            duration_us: totals.duration_us.min(MOST),
            first_event_us: totals.first_event_us.min(MOST),
            ..Counters::default()
        };
        match self.cost {
            Cost::Free => {}
            Cost::Known(money) => counters.cost_billionths = money.billionths(),
            Cost::Unknown => counters.unpriced = requests,
        }
        let outcome = match self.outcome {
            RequestOutcome::Answered => &mut counters.answered,
            RequestOutcome::ClientError => &mut counters.client_errors,
            RequestOutcome::RefusedCaller => &mut counters.refused_caller,
            RequestOutcome::RefusedPool => &mut counters.refused_pool,
            RequestOutcome::RefusedGoogle => &mut counters.refused_google,
            RequestOutcome::Failed | RequestOutcome::GatewayFailed => &mut counters.failed,
            RequestOutcome::Left => &mut counters.left,
            RequestOutcome::Broken => &mut counters.broken,
        };
        *outcome = requests;
        Cell { counters, ..Cell::default() }
    }

    /// The same, with so many tries each.
    pub(crate) fn cell_with_tries(&self, tries: usize) -> Cell {
        let mut cell = self.cell();
        let (requests, tries) = (cell.counters.requests, tries as u64);
        cell.counters.attempts = requests.saturating_mul(tries);
        cell.counters.retries = requests.saturating_mul(tries.saturating_sub(1));
        cell
    }
}

/// Some finished requests of one caller that were tried on the same keys: all that is counted of them.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Who called; [`NONE`](crate::NONE) where nobody was let in.
    pub caller: Arc<str>,
    /// The model asked for.
    pub model: Option<Arc<str>>,
    /// Whether Google answered with success, which proves that there is such a model.
    pub proven: bool,
    /// Each try, in order. A request itself counts under the last one's key.
    pub tries: Vec<KeyUse>,
    /// How they ended, and what of them adds up.
    pub counted: Counted,
    /// How their times spread.
    pub times: Times,
}
