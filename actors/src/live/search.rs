//! The search for an upstream that takes a session: which keys may serve it, and one attempt after another until there
//! is an answer or no use in trying. The client hears nothing of it before its end.

use super::{
    Live,
    attempt::{self, Failed, Open, Words},
    close::{Close, Notice},
    job::LiveJob,
    line::Leaving,
};
use crate::{
    attempts::{Step, Tries},
    failure::Failure,
    forward::Forwarder,
    key_manager::{Lease, LeaseError},
    ledger::{self, Holding, LedgerSilent},
    transaction::Attempt,
};
use gemini::{
    fault::{Fault, Scope},
    live::Setup,
    names::in_request,
};
use http::StatusCode;
use keypool::{Avoid, LeaseRequest, Outcome, Reach, Retry};
use std::{collections::BTreeSet, sync::Arc, time::Instant};
use tokio_tungstenite::tungstenite::Message;

/// What a handle's name begins with.
const HANDLES: &str = "liveHandles/";

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

/// A resumption handle's name, as `gemini::names` has it.
pub(super) fn handle_name(handle: &str) -> String {
    format!("{HANDLES}{handle}")
}

/// A name as its caller is told of it; a handle is a secret, and no name to anybody.
pub(super) fn shown(name: &str) -> String {
    if name.starts_with(HANDLES) { "the resumption handle".to_owned() } else { name.to_owned() }
}

impl Live {
    /// Which keys can serve the session: any, unless its setup names what the ledger knows, which binds it to one
    /// project. What nobody here has heard of cannot be asked for before the session, so Google has the word on it.
    pub(super) async fn reach(&self, job: &LiveJob, setup: &[u8], asked: &Setup) -> Result<Reach, NoSession> {
        let ledger = &self.forwarder.ledger;
        // A handle is read twice: as long as it may be, and wherever a name may stand.
        let mentioned = in_request(setup).into_iter().map(|mention| mention.name.to_string());
        let names: BTreeSet<String> =
            asked.handles.iter().map(|handle| handle_name(handle)).chain(mentioned).collect();
        let entries: Vec<String> = names.iter().map(|name| ledger::entry(name).into_owned()).collect();
        let found = ledger.find_all(&entries).await;
        let found = found.map_err(|LedgerSilent| NoSession::Failure(Failure::PoolSilent))?;
        let mut bound: Option<(&str, Holding)> = None;
        for (name, holding) in names.iter().zip(found) {
            let Some(holding) = holding else { continue };
            if !job.caller.sees(holding.caller.as_deref()) {
                return Err(NoSession::Notice(Notice::NotYours));
            }
            match &bound {
                Some((other, first)) if !ledger.same_project(first, &holding) => {
                    let (one, other) = (shown(other), shown(name));
                    return Err(NoSession::Notice(Notice::TwoProjects { one, other }));
                }
                Some(_) => {}
                None => bound = Some((name, holding)),
            }
        }
        // What the token's project does not have, Google itself refuses.
        if let Some(ephemeral) = &job.ephemeral {
            return Ok(Reach::ProjectOf(ephemeral.owner.clone()));
        }
        let Some((name, holding)) = bound else { return Ok(Reach::Any) };
        match ledger.owner(&holding) {
            Some(key) => Ok(Reach::ProjectOf(key)),
            None => Err(NoSession::Notice(Notice::OwnerGone { name: shown(name) })),
        }
    }

    /// Tries until the upstream begins, or there is no use in trying.
    pub(super) async fn search(
        &self,
        job: &LiveJob,
        mut request: LeaseRequest,
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
            let lease = keys.lease(request.clone(), deadline).await;
            request.waited += asked.elapsed();
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
            lease.settle(fault.map_or(Outcome::Abandoned, |fault| job.blame(fault)), None);
            request.retry = if scope == Some(Scope::Model) { Retry::ModelFault } else { Retry::No };
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
                    request.tried.insert(key.id().clone());
                    request.avoid = match scope {
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
