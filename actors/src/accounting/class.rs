//! What of a finished request decides where it counts, beside its caller and its keys: which model, how each try ended, how it
//! ended itself, what it was charged for. Requests of one class add up on their worker, before the accountant sees them.

use super::operation::operation;
use crate::{
    failure::Failure,
    transaction::{End, Refuser, Transaction},
};
use gemini::{fault::Kind, path::Dialect};
use smallvec::SmallVec;
use std::{sync::Arc, time::Duration};
use usage::{Billable, Processing, RequestOutcome};

/// What a request of its kind costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charge {
    /// Nothing: it reads or arranges something.
    None,
    /// What the model uses.
    Tokens(Processing),
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct RequestClass {
    /// The model asked for.
    pub(super) model: Option<Arc<str>>,
    /// The fault of each attempt, in order.
    pub(super) faults: SmallVec<[Option<Kind>; 2]>,
    pub(super) traits: ClassTraits,
}

/// What of a class is of closed sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClassTraits {
    /// Whether Google answered with success, which proves that there is such a model.
    pub(super) proven: bool,
    pub(super) streamed: bool,
    pub(super) outcome: RequestOutcome,
    /// The status that the client was answered with; 0 where there was none.
    pub(super) code: u16,
    /// What was asked for.
    pub(super) operation: &'static str,
    /// The limit of its caller's own that refused it.
    pub(super) limit: Option<&'static str>,
    pub(super) charge: Charge,
    pub(super) use_kind: UseKind,
}

/// What is known of what was used, as far as prices depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UseKind {
    /// Nothing was said of it.
    Unsaid,
    /// Which kinds of tokens there were, a bit each, and how many of the bounds between prices the prompt was beyond.
    Said { tokens: u8, beyond: u8 },
}

impl UseKind {
    fn of(billable: Option<&Billable>, prompt_bounds: &[u64]) -> Self {
        let Some(&Billable { input, cached, output, thoughts, tool, prompt }) = billable else {
            return Self::Unsaid;
        };
        let bit = |at: u8, tokens: u64| u8::from(tokens > 0) << at;
        let tokens = bit(0, input) | bit(1, cached) | bit(2, output) | bit(3, thoughts) | bit(4, tool);
        let beyond = prompt_bounds.iter().filter(|&&bound| prompt > bound).count();
        Self::Said { tokens, beyond: u8::try_from(beyond).unwrap_or(u8::MAX) }
    }
}

impl ClassTraits {
    /// Reads them from a transaction that used `billable`.
    pub(super) fn of(
        transaction: &Transaction,
        billable: Option<&Billable>,
        prompt_bounds: &[u64],
        status_of: fn(&Failure) -> u16,
    ) -> Self {
        Self {
            proven: was_answered(transaction),
            streamed: transaction.streamed,
            outcome: outcome(transaction),
            code: transaction.answered_failure().map_or(transaction.status, status_of),
            operation: operation(transaction),
            limit: transaction.refuser().and_then(Refuser::limit),
            charge: charge(transaction),
            use_kind: UseKind::of(billable, prompt_bounds),
        }
    }
}

impl RequestClass {
    /// The class of a transaction with these traits.
    pub(super) fn of(transaction: &Transaction, traits: ClassTraits) -> Self {
        let faults = transaction.attempts.iter().map(|attempt| attempt.fault);
        Self { model: transaction.model.clone(), faults: faults.collect(), traits }
    }

    /// Whether a transaction with these traits is of this class.
    pub(super) fn has(&self, transaction: &Transaction, traits: &ClassTraits) -> bool {
        self.traits == *traits
            && self.model == transaction.model
            && self.faults.iter().copied().eq(transaction.attempts.iter().map(|attempt| attempt.fault))
    }
}

/// How long a request waited for a key, if it came so far.
pub(super) fn waited(transaction: &Transaction) -> Option<Duration> {
    let asked_the_pool =
        !transaction.attempts.is_empty() || matches!(transaction.failure, Some(Failure::NoKey(_)));
    asked_the_pool.then_some(transaction.queued)
}

/// From a request's arrival to sending it up, without waiting, if it came so far.
pub(super) fn overhead(transaction: &Transaction) -> Option<Duration> {
    let start = transaction.attempts.first()?.start;
    let before = transaction.delays().iter().filter(|delay| delay.start < start);
    Some(start.saturating_sub(before.map(|delay| delay.took).sum()))
}

/// Whether Google answered with success, however the answer then ended.
fn was_answered(transaction: &Transaction) -> bool {
    let (status, attempts) = (transaction.status, &transaction.attempts);
    if status == http::StatusCode::SWITCHING_PROTOCOLS.as_u16() {
        // Of a Live session this is what the client's upgrade was answered with.
        return attempts.last().is_some_and(|last| last.fault.is_none() && last.status.is_some())
            || transaction.usage.is_some();
    }
    !attempts.is_empty() && (200..300).contains(&status)
}

fn outcome(transaction: &Transaction) -> RequestOutcome {
    match transaction.end {
        End::ClientLeft | End::ClientStalled => return RequestOutcome::Left,
        End::UpstreamBroke => return RequestOutcome::Broken,
        End::Refused if transaction.was_cut_off() => return RequestOutcome::Broken,
        End::Complete if transaction.fault_in_answer().is_some() => return RequestOutcome::Broken,
        End::Complete | End::Refused => {}
    }
    match transaction.refuser() {
        Some(Refuser::Caller(_)) => return RequestOutcome::RefusedCaller,
        Some(Refuser::Pool) => return RequestOutcome::RefusedPool,
        Some(Refuser::Google) => return RequestOutcome::RefusedGoogle,
        None => {}
    }
    if let Some(failure) = &transaction.failure {
        return match failure {
            Failure::PoolSilent | Failure::LedgerSilent => RequestOutcome::GatewayFailed,
            Failure::Denied(_) | Failure::TwoProjects(_) | Failure::BadPage(_) => RequestOutcome::ClientError,
            Failure::NoKey(_)
            | Failure::OwnerGone(_)
            | Failure::Unreachable
            | Failure::HeadLost
            | Failure::HeadTimeout
            | Failure::BodyLost
            | Failure::NotGoogle(_)
            | Failure::NoPage => RequestOutcome::Failed,
        };
    }
    if transaction.end == End::Refused {
        // The HTTP face refused it before anything was tried.
        return if transaction.status < 500 {
            RequestOutcome::ClientError
        } else {
            RequestOutcome::GatewayFailed
        };
    }
    if transaction.status < 400 {
        return RequestOutcome::Answered;
    }
    match transaction.attempts.last().and_then(|last| last.fault) {
        Some(Kind::Client | Kind::ResourceUnreachable | Kind::Cancelled | Kind::CredentialsMultiple) => {
            RequestOutcome::ClientError
        }
        None if transaction.status < 500 => RequestOutcome::ClientError,
        _ => RequestOutcome::Failed,
    }
}

/// Whether a request is charged what its answer says was used. Otherwise that was used by another, which has paid for it: a
/// batch that is read again names what its making used.
pub(crate) fn is_charged(transaction: &Transaction) -> bool {
    charge(transaction) != Charge::None
}

fn charge(transaction: &Transaction) -> Charge {
    let path = transaction.path.as_str();
    if transaction.status == http::StatusCode::SWITCHING_PROTOCOLS.as_u16() {
        return Charge::Tokens(Processing::Standard);
    }
    if transaction.method != http::Method::POST {
        // What is read again was charged when it was made.
        return Charge::None;
    }
    if let Some((_, verb)) = path.rsplit_once(':').filter(|(_, verb)| !verb.contains('/')) {
        return match verb {
            "countTokens" | "countTextTokens" | "countMessageTokens" | "cancel" | "importFile" => {
                Charge::None
            }
            "batchGenerateContent" | "asyncBatchEmbedContent" => Charge::Tokens(Processing::Batch),
            _ if path.contains("/models/")
                || path.contains("/tunedModels/")
                || path.contains("/dynamic/") =>
            {
                Charge::Tokens(Processing::Standard)
            }
            _ => Charge::None,
        };
    }
    let rest = path.trim_end_matches('/');
    let ends = |names: &[&str]| names.iter().any(|name| rest.ends_with(name));
    match transaction.dialect {
        Dialect::OpenAi if ends(&["/batches"]) => Charge::Tokens(Processing::Batch),
        Dialect::OpenAi if ends(&["/files"]) => Charge::None,
        Dialect::OpenAi
            if ends(&[
                "/completions",
                "/embeddings",
                "/generations",
                "/edits",
                "/speech",
                "/videos",
                "/responses",
            ]) =>
        {
            Charge::Tokens(Processing::Standard)
        }
        Dialect::Gemini if ends(&["/interactions"]) => Charge::Tokens(Processing::Standard),
        _ if transaction.model.is_some() && transaction.usage.is_some() => {
            Charge::Tokens(Processing::Standard)
        }
        _ => Charge::None,
    }
}
