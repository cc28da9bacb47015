//! The search for an upstream that takes a session: which keys may serve it, and one attempt after another until there
//! is an answer or no use in trying. The client hears nothing of it before its end.

use super::{
    Live,
    attempt::{self, Failed, Open, Words},
    bindings::Owner,
    close::{Close, Notice},
    job::LiveJob,
    line::Leaving,
};
use crate::{
    forward::{Failure, Forwarder, Step, Tries},
    key_manager::{Lease, LeaseError},
    transaction::Attempt,
};
use gemini::{
    fault::{Fault, Scope},
    live::Setup,
};
use http::StatusCode;
use keypool::{Avoid, Outcome, Reach, Retry, Wish};
use std::{sync::Arc, time::Instant};
use tokio_tungstenite::tungstenite::Message;

/// Why there is no session.
pub(super) enum NoSession {
    /// The client ended it.
    Client(Leaving),
    /// The gateway has a reason of its own.
    Notice(Notice),
    /// The upstream's words; `None` is a close without a code.
    Upstream(Option<Close>, Option<StatusCode>),
    /// No key, or no upstream.
    Failure(Failure),
}

impl Live {
    /// Which keys can serve the session.
    pub(super) fn reach(&self, job: &LiveJob, asked: &Setup) -> Result<Reach, NoSession> {
        let mut reach = Reach::Any;
        for handle in &asked.handles {
            match self.bindings.handle(handle, &job.caller.name, job.caller.sight == crate::Sight::All) {
                Owner::Project(key) => reach = Reach::ProjectOf(key),
                Owner::NotYours => return Err(NoSession::Notice(Notice::NotYours)),
                Owner::Unknown => {}
            }
        }
        // What the token's project does not have, Google itself refuses.
        Ok(job.ephemeral.as_ref().map_or(reach, |ephemeral| Reach::ProjectOf(ephemeral.owner)))
    }

    /// Tries until the upstream begins, or there is no use in trying.
    pub(super) async fn search(
        &self,
        job: &LiveJob,
        mut wish: Wish,
        setup: &Message,
        attempts: &mut Vec<Attempt>,
    ) -> Result<(Open, Lease), NoSession> {
        let Forwarder { upstream, keys, limits, .. } = &*self.forwarder;
        // A token's use may be spent by an attempt, and no other key has it.
        let max_attempts = if job.ephemeral.is_some() { 1 } else { limits.max_attempts };
        let mut tries = Tries::new(max_attempts, &http::Method::GET, &job.target);
        let mut last = None;
        loop {
            let deadline = tokio::time::Instant::now() + limits.lease_deadline;
            let asked = Instant::now();
            let lease = keys.lease(wish.clone(), deadline).await;
            wish.waited += asked.elapsed();
            let lease = lease.map_err(|error| {
                last.take().unwrap_or_else(|| {
                    NoSession::Failure(match error {
                        LeaseError::Refused(refusal) => Failure::NoKey(refusal),
                        LeaseError::Unanswered(_) => Failure::PoolSilent,
                    })
                })
            })?;
            tries.begin();
            let begun = Instant::now();
            let key = Arc::clone(lease.key());
            let opened = attempt::open(upstream, job, &key, setup).await;
            let mut record =
                Attempt { key: key.id().clone(), status: None, fault: None, took: begun.elapsed() };
            let Failed { fault, status, words, failure } = match opened {
                Ok(open) => {
                    record.status = Some(StatusCode::SWITCHING_PROTOCOLS.as_u16());
                    attempts.push(record);
                    lease.vouch();
                    return Ok((open, lease));
                }
                Err(failed) => failed,
            };
            record.status = status.map(|status| status.as_u16());
            record.fault = fault.as_ref().map(|fault| fault.kind);
            attempts.push(record);
            let step = match &fault {
                // Its time is spent: another attempt would take as long again.
                Some(_) if failure == Failure::HeadTimeout => Step::GiveUp,
                Some(fault) => tries.after(fault, fastrand::f64()),
                None => Step::GiveUp,
            };
            let scope = fault.as_ref().map(Fault::scope);
            let key_ix = lease.key_ix();
            lease.settle(fault.map_or(Outcome::Abandoned, |fault| job.blame(fault)), None);
            wish.retry = if scope == Some(Scope::Model) { Retry::ModelFault } else { Retry::No };
            // The upstream's own words outlive a later attempt that brought none.
            match (words, &last) {
                (Words::Close(close), _) => last = Some(NoSession::Upstream(Some(close), status)),
                (Words::Bare, _) => last = Some(NoSession::Upstream(None, status)),
                (Words::None, Some(NoSession::Upstream(..))) => {}
                (Words::None, _) => last = Some(NoSession::Failure(failure)),
            }
            match step {
                Step::GiveUp => return Err(last.unwrap_or(NoSession::Failure(Failure::HeadLost))),
                Step::OtherKey => {
                    wish.tried.insert(key_ix);
                    wish.avoid = match scope {
                        Some(Scope::Project | Scope::ProjectModel | Scope::ProjectTool | Scope::Billing) => {
                            Avoid::TriedProjects
                        }
                        _ => Avoid::Nothing,
                    };
                }
                Step::AfterPause(pause) => tokio::time::sleep(pause).await,
            }
        }
    }
}
