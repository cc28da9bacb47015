//! Asks each project for a resource that the ledger does not hold: made outside the gateway, or forgotten. One GET a
//! project, which spends no generation quota; the owner is remembered, and for a while that nobody has it.

use super::{Forwarder, answer::FailedAttempt, attempt, binding::ledger_name, job::Job, search::Found};
use crate::{failure::Failure, key_manager::LeaseError, ledger::Holding};
use bytes::Bytes;
use futures_util::future::join_all;
use gemini::{
    fault::Scope,
    names::OwnedName,
    operation::Streaming,
    path::{self, CredentialForm, Surface, Target},
};
use http::{HeaderMap, Method};
use keypool::{KeyId, LeaseRequest, Outcome, Reach, Refusal};

/// How a question to all projects ended.
pub(super) enum Asked {
    /// This one has it.
    Found(Holding),
    /// None has it.
    Nobody,
    /// None said that it has it, and one could not say. This is what came of asking it.
    Unclear(Found),
}

/// What one project says.
enum Word {
    Here(KeyId),
    NotHere,
    Unclear(Box<Found>),
}

impl Forwarder {
    /// Asks every project for `name`, unless that was done a moment ago.
    pub(super) async fn ask_projects(&self, job: &Job, name: &OwnedName) -> Asked {
        let projects = self.keys.ring().projects();
        // With one project there is nothing to choose.
        if projects.len() < 2 {
            return Asked::Nobody;
        }
        let Some(target) = question(job, name) else { return Asked::Nobody };
        let held_as = ledger_name(name);
        let turn = self.ledger.asking(&held_as);
        let _turn = turn.lock().await;
        if let Ok(Some(holding)) = self.ledger.find(&held_as).await {
            return Asked::Found(holding);
        }
        if self.ledger.is_absent(&held_as) {
            return Asked::Nobody;
        }
        let question = Job {
            id: job.id.clone(),
            caller: job.caller.clone(),
            method: Method::GET,
            target,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            stream: None,
            upload: None,
            origin: None,
            arrived: job.arrived,
        };
        let words = join_all(projects.into_iter().map(|project| self.ask(&question, project))).await;
        let mut unclear = None;
        for word in words {
            match word {
                Word::Here(key) => {
                    self.ledger.learn(held_as.clone(), self.keys.ring().key(&key), None, None);
                    return match self.ledger.find(&held_as).await {
                        Ok(Some(holding)) => Asked::Found(holding),
                        _ => Asked::Nobody,
                    };
                }
                Word::NotHere => {}
                Word::Unclear(found) => unclear = Some(*found),
            }
        }
        if let Some(found) = unclear {
            return Asked::Unclear(found);
        }
        self.ledger.note_absence(&held_as);
        Asked::Nobody
    }

    async fn ask(&self, question: &Job, project: KeyId) -> Word {
        let mut request = LeaseRequest { reach: Reach::ProjectOf(project), ..LeaseRequest::any(None) };
        let mut last = None;
        for _ in 0..self.limits.max_attempts {
            let deadline = tokio::time::Instant::now() + self.limits.lease_deadline;
            let lease = match self.keys.lease(request.clone(), deadline).await {
                Ok(lease) => lease,
                // It cannot be asked, now or before its operator does something.
                Err(LeaseError::Refused(Refusal::AllRetired)) => return Word::NotHere,
                Err(LeaseError::Refused(refusal)) => {
                    return Word::Unclear(Box::new(last.unwrap_or(Found::Nothing(Failure::NoKey(refusal)))));
                }
                Err(LeaseError::Unanswered(_)) => {
                    return Word::Unclear(Box::new(Found::Nothing(Failure::PoolSilent)));
                }
            };
            let result = attempt::open(&self.upstream, question, lease.key(), Streaming::No, false).await;
            let Err(failed) = result else {
                let key = lease.key().id().clone();
                lease.settle(Outcome::Success, None);
                return Word::Here(key);
            };
            let FailedAttempt { fault, status, answer, failure } = failed;
            let key = lease.key().id().clone();
            let scope = fault.scope();
            lease.settle(Outcome::Fault(fault), None);
            match (scope, status.map(|status| status.as_u16())) {
                (Scope::Key, _) => {}
                (_, Some(400 | 403 | 404)) => return Word::NotHere,
                _ => {}
            }
            last = Some(answer.map_or(Found::Nothing(failure), Found::Whole));
            if scope == Scope::Key {
                request.tried.insert(key);
            }
        }
        Word::Unclear(Box::new(last.unwrap_or(Found::Nothing(Failure::HeadLost))))
    }
}

/// Where to ask for it; `None` for what has no address of its own.
fn question(job: &Job, name: &OwnedName) -> Option<Target> {
    if matches!(name.collection(), "auth_tokens" | "liveHandles" | "continuationTokens") {
        return None;
    }
    let version = job.target.operation.version.as_str();
    let is_in_path = job.target.operation.resource.as_ref().and_then(OwnedName::of).as_ref() == Some(name);
    let path = if job.target.surface == Surface::OpenAi && is_in_path {
        format!("/{version}/openai/{name}")
    } else {
        format!("/{version}/{name}")
    };
    path::parse("GET", &path, None, CredentialForm::GoogHeader).ok()
}
