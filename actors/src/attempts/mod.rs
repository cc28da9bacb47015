//! The attempt loop: lease a key, try, judge, again, until there is an answer or no use in trying. Requests, lists,
//! questions to projects and Live sessions differ only in what a try is ([`Try`]) and in what they make of the end; what
//! follows a fault is said by `retry`, and what was tried is written down by `record`.

mod last_answers;
mod record;
mod retry;
#[cfg(test)]
mod tests;

pub(crate) use last_answers::{ErrorAnswer, LastAnswers};
pub(crate) use record::AttemptRecord;
pub(crate) use retry::Repeat;
pub use retry::RetryLimits;

use crate::{
    failure::Failure,
    key_manager::{KeyManager, Lease, LeaseError},
    key_ring::Key,
};
use gemini::{
    fault::{Fault, Kind, Proof, Scope},
    usage::Usage,
};
use http::StatusCode;
use keypool::{KeyId, LeaseRequest, Outcome, Reach, Refusal, Retry};
use retry::{Step, Tries};
use std::sync::Arc;
use tokio::time::{Instant, sleep, timeout_at};

/// What one attempt is.
pub(crate) trait Try {
    /// An answer that is a success.
    type Success;
    /// An answer that is an error.
    type Answer: ErrorAnswer;

    /// Makes an attempt on this key.
    async fn attempt(&self, key: &Arc<Key>) -> Attempted<Self::Success, Self::Answer>;

    /// Returns the status of a success.
    fn status(&self, success: &Self::Success) -> StatusCode;

    /// Makes an answer of a success that says nothing, should no better one come, and says what it used.
    fn set_aside(&self, success: Self::Success) -> (Option<Self::Answer>, Option<Usage>) {
        drop(success);
        (None, None)
    }

    /// Asks whether Google refuses this key whatever is asked for, where an attempt's answer may speak of the request.
    async fn is_refused(&self, key: &Arc<Key>) -> bool {
        let _ = key;
        false
    }

    /// Returns how the lease of an attempt with this fault has ended.
    fn outcome(&self, fault: Fault) -> Outcome {
        Outcome::Fault(fault)
    }
}

/// What an attempt came to.
pub(crate) enum Attempted<S, A> {
    /// A success.
    Success(S),
    /// A success that says nothing without giving a reason: another attempt may have more to say.
    Empty(S),
    /// The upstream's answer, which speaks of no key, project or model. It ends the search.
    Refused(A, Option<StatusCode>),
    /// A fault.
    Failed(Failed<A>),
}

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

/// An attempt whose answer does not show whom it speaks of: its lease stays open until the next ones tell.
struct Suspect {
    lease: Lease,
    fault: Fault,
}

/// How attempts ended that came to no success.
#[derive(Debug)]
pub(crate) struct Ended<A> {
    /// The last answer of the upstream's own, whatever came after it.
    pub(crate) answer: Option<A>,
    /// Why there is none.
    pub(crate) failure: Failure,
    /// Why the pool gave no key for another attempt, if that was the end.
    pub(crate) refusal: Option<Refusal>,
    /// The last attempt's fault, if there was one.
    pub(crate) fault: Option<Kind>,
}

impl<A> Ended<A> {
    /// Tells whether the model as a whole was at fault in the end.
    pub(crate) fn is_of_model(&self) -> bool {
        matches!(self.refusal, Some(Refusal::ModelDown { .. }))
            || self.fault.map(Kind::scope) == Some(Scope::Model)
    }
}

/// What is to be tried.
pub(crate) struct Goal {
    /// What is asked of the pool for the first attempt.
    pub(crate) request: LeaseRequest,
    /// A key whose project serves the first attempt, if that can be at once.
    pub(crate) prefer: Option<KeyId>,
    /// When it may be sent again.
    pub(crate) repeat: Repeat,
}

/// What all attempts of one worker's requests of a kind need.
pub(crate) struct Attempts<'a, A> {
    /// Where keys are leased.
    pub(crate) keys: &'a KeyManager,
    /// How often, and how long.
    pub(crate) limits: RetryLimits,
    /// What is answered while the pool leaves a model alone.
    pub(crate) last_answers: &'a LastAnswers<A>,
    /// Where each attempt is written down.
    pub(crate) record: &'a AttemptRecord,
}

impl<A: ErrorAnswer> Attempts<'_, A> {
    /// Tries until there is a success, or no use in trying. The lease of a success is the caller's to settle.
    pub(crate) async fn run<T: Try<Answer = A>>(
        &self,
        goal: Goal,
        tried: &T,
    ) -> Result<(T::Success, Lease), Ended<A>> {
        let mut suspects = Vec::new();
        let found = self.search(goal, tried, &mut suspects).await;
        let served = found.as_ref().ok().map(|(_, lease)| lease);
        for suspect in suspects {
            Box::pin(self.judge(suspect, served, tried)).await;
        }
        found
    }

    /// Settles the lease of an attempt whose answer did not show whom it speaks of. What another key has served was not the
    /// request's fault; where that key is of the same project, it was not the project's either.
    async fn judge<T: Try<Answer = A>>(&self, suspect: Suspect, served: Option<&Lease>, tried: &T) {
        let Suspect { lease, fault } = suspect;
        let is_proven = match served {
            None => false,
            Some(_) if fault.scope() == Scope::Key => true,
            // What is asked for without a model can be one project's own, and all else would be left alone for it.
            Some(served) => {
                lease.model().is_some()
                    && !self.keys.share_a_project(lease.key().id(), served.key().id()).await
            }
        };
        lease.settle(tried.outcome(if is_proven { fault.proven() } else { fault }), None);
    }

    async fn search<T: Try<Answer = A>>(
        &self,
        goal: Goal,
        tried: &T,
        suspects: &mut Vec<Suspect>,
    ) -> Result<(T::Success, Lease), Ended<A>> {
        let Goal { mut request, mut prefer, repeat } = goal;
        let mut tries = Tries::new(self.limits, repeat, request.reach != Reach::Any);
        let mut ended = Ended { answer: None, failure: Failure::HeadLost, refusal: None, fault: None };
        loop {
            let mut lease = match self.lease(&mut request, prefer.take(), tries.lease_until()).await {
                Ok(lease) => lease,
                Err(Some(error)) => return Err(self.without_lease(ended, &error, &request)),
                Err(None) => return Err(ended),
            };
            tries.begin(Instant::now());
            let begun = self.record.begin(&mut lease);
            let failed = match tried.attempt(lease.key()).await {
                Attempted::Success(success) => {
                    begun.end(Some(tried.status(&success)), None, None);
                    return Ok((success, lease));
                }
                Attempted::Empty(success) => {
                    begun.end(Some(tried.status(&success)), None, None);
                    if !tries.again_for_nothing() {
                        return Ok((success, lease));
                    }
                    // Nobody is to blame, and the quota is spent. Should no better answer come, this is the one.
                    let (answer, usage) = tried.set_aside(success);
                    lease.settle(Outcome::Success, usage.as_ref());
                    ended = Ended { answer: answer.or(ended.answer), fault: None, ..ended };
                    continue;
                }
                Attempted::Refused(answer, status) => {
                    begun.end(status, None, answer.words().as_deref());
                    return Err(Ended { answer: Some(answer), fault: None, ..ended });
                }
                Attempted::Failed(failed) => failed,
            };
            let words = failed.answer.as_ref().and_then(ErrorAnswer::words);
            begun.end(failed.status, Some(failed.fault.kind), words.as_deref());
            let step = tries.after(&failed, Instant::now(), fastrand::f64());
            let Failed { mut fault, answer, failure, .. } = failed;
            let of_model = fault.scope() == Scope::Model;
            if of_model && let (Some(model), Some(answer)) = (&request.model, &answer) {
                self.last_answers.keep(model, answer);
            }
            ended =
                Ended { answer: answer.or(ended.answer), failure, refusal: None, fault: Some(fault.kind) };
            let key = lease.key().id().clone();
            request.heed(&key, &fault);
            match fault.kind.proof() {
                Proof::OtherKey => suspects.push(Suspect { lease, fault }),
                Proof::KeyCheck => {
                    if Box::pin(tried.is_refused(lease.key())).await {
                        fault = fault.proven();
                    }
                    lease.settle(tried.outcome(fault), None);
                }
                Proof::Answer => lease.settle(tried.outcome(fault), None),
            }
            request.retry = if of_model { Retry::ModelFault } else { Retry::No };
            match step {
                Step::GiveUp => return Err(ended),
                Step::OtherKey(avoid) => {
                    request.tried.insert(key);
                    request.avoid = avoid;
                }
                Step::AnyKey(pause) if pause.is_zero() => {}
                Step::AnyKey(pause) => {
                    let _pause = ended.fault.map(|fault| self.record.pause(fault));
                    sleep(pause).await;
                }
            }
        }
    }

    /// Leases a key that is there: one that left the pool between its grant and now is given back as it was, and another
    /// is leased. `None` is the end of `until`.
    async fn lease(
        &self,
        request: &mut LeaseRequest,
        prefer: Option<KeyId>,
        until: Option<Instant>,
    ) -> Result<Lease, Option<LeaseError>> {
        let mut prefer = prefer;
        loop {
            let lease = self.lease_any(request, prefer.take(), until).await?;
            if self.keys.has(lease.key()) {
                return Ok(lease);
            }
            lease.settle(Outcome::Unused, None);
        }
    }

    async fn lease_any(
        &self,
        request: &mut LeaseRequest,
        prefer: Option<KeyId>,
        until: Option<Instant>,
    ) -> Result<Lease, Option<LeaseError>> {
        let asked = Instant::now();
        let queued = self.record.queue(asked);
        let deadline = asked + self.limits.lease_deadline;
        // Only while its project can take it at once; else anywhere.
        if let Some(key) = prefer {
            let near = LeaseRequest { reach: Reach::ProjectOf(key), may_wait: false, ..request.clone() };
            if let Ok(lease) = self.keys.lease(near, deadline).await {
                return Ok(lease);
            }
        }
        let leasing = self.keys.lease_or_tell(request.clone(), deadline, &self.record);
        let lease = match until {
            None => leasing.await,
            Some(until) => timeout_at(until, leasing).await.map_err(|_| None)?,
        };
        request.waited += queued.so_far();
        lease.map_err(Some)
    }

    /// Ends where the pool has no key for another attempt.
    fn without_lease(&self, ended: Ended<A>, error: &LeaseError, request: &LeaseRequest) -> Ended<A> {
        let LeaseError::Refused(refusal) = error else {
            let failure = if ended.fault.is_some() { ended.failure } else { Failure::PoolSilent };
            return Ended { failure, ..ended };
        };
        // That the way is gone tells a client more than how its own attempt got lost: when to come back.
        let tells_more = ended.fault.is_none() || matches!(refusal, Refusal::RouteDown { .. });
        let failure = if tells_more { Failure::NoKey(refusal.clone()) } else { ended.failure };
        let answer = ended.answer.or_else(|| {
            // What was said of the model last, rather than words of our own.
            let model = request.model.as_ref().filter(|_| matches!(refusal, Refusal::ModelDown { .. }))?;
            self.last_answers.of(model)
        });
        Ended { answer, failure, refusal: Some(refusal.clone()), ..ended }
    }
}
