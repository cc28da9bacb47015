//! Asks each project for a resource that the ledger does not hold: made outside the gateway, or forgotten. One GET a
//! project, which spends no generation quota; the owner is remembered, and for a while that nobody has it.

use super::{Asker, BindingRule, ledger_name};
use crate::{
    attempts::{Attempted, Attempts, Ended, Failed, Goal, Repeat, Try},
    failure::Failure,
    key_ring::Key,
    ledger::Holding,
    upstream::WholeAnswer,
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use gemini::{
    fault::{Kind, Scope},
    names::OwnedName,
    path::{self, CredentialForm, Surface, Target},
};
use http::StatusCode;
use keypool::{KeyId, LeaseRequest, Outcome, Reach, Refusal};
use std::sync::Arc;
use tokio::time::Instant;

/// Puts a question to a project: a GET, on one of its keys.
pub(crate) trait AskProject {
    /// Asks for what is at `target`, on behalf of the request `id`. A success is that it is there.
    async fn ask(&self, id: &str, target: &Target, key: &Arc<Key>)
    -> Result<StatusCode, Failed<WholeAnswer>>;
}

/// How a question to all projects was answered.
pub(super) enum Answered {
    /// This one has it.
    Held(Holding),
    /// None has it.
    Nobody,
    /// None said that it has it, and one could not say. This is what came of asking it.
    Unclear(Ended<WholeAnswer>),
}

/// What one project says.
enum Answer {
    Has(Arc<Key>),
    HasNot,
    Unclear(Ended<WholeAnswer>),
}

/// A question as an attempt makes it.
struct Question<'a, Q> {
    id: &'a str,
    target: &'a Target,
    questions: &'a Q,
}

impl<Q: AskProject> Try for Question<'_, Q> {
    type Success = StatusCode;
    type Answer = WholeAnswer;

    async fn attempt(&self, key: &Arc<Key>) -> Attempted<StatusCode, WholeAnswer> {
        match self.questions.ask(self.id, self.target, key).await {
            Ok(status) => Attempted::Success(status),
            Err(failed) => Attempted::Failed(failed),
        }
    }

    fn status(&self, success: &StatusCode) -> StatusCode {
        *success
    }
}

impl<Q: AskProject> BindingRule<'_, Q> {
    /// Asks every project for `name`, unless that was done a moment ago. `may_wait` says whether for a project that
    /// cannot be asked at once.
    pub(super) async fn ask_projects(&self, asker: Asker<'_>, name: &OwnedName, may_wait: bool) -> Answered {
        let Some(target) = question(asker.target, name) else { return Answered::Nobody };
        let Ok(projects) = self.keys.projects(Instant::now() + self.limits.lease_deadline).await else {
            let (answer, refusal, fault) = (None, None, None);
            return Answered::Unclear(Ended { answer, failure: Failure::PoolSilent, refusal, fault });
        };
        // With one project there is nothing to choose.
        if projects.len() < 2 {
            return Answered::Nobody;
        }
        let held_as = ledger_name(name);
        let turn = self.ledger.asking(&held_as);
        let _turn = turn.lock().await;
        if let Ok(Some(holding)) = self.ledger.find(&held_as).await {
            return Answered::Held(holding);
        }
        if self.ledger.is_absent(&held_as) {
            return Answered::Nobody;
        }
        let question = Question { id: asker.id, target: &target, questions: self.questions };
        let mut answers: FuturesUnordered<_> = projects
            .into_iter()
            .filter(|project| project.usable)
            .map(|project| self.ask(&question, project.key, may_wait))
            .collect();
        let mut unclear = None;
        while let Some(answer) = answers.next().await {
            match answer {
                Answer::Has(key) => {
                    self.ledger.learn(&held_as, &key, None, None);
                    return match self.ledger.find(&held_as).await {
                        Ok(Some(holding)) => Answered::Held(holding),
                        _ => Answered::Nobody,
                    };
                }
                Answer::HasNot => {}
                Answer::Unclear(ended) => unclear = Some(ended),
            }
        }
        if let Some(ended) = unclear {
            return Answered::Unclear(ended);
        }
        self.ledger.note_absence(&held_as);
        Answered::Nobody
    }

    async fn ask(&self, question: &Question<'_, Q>, project: KeyId, may_wait: bool) -> Answer {
        let Self { keys, limits, last_answers, record, .. } = *self;
        let reach = Reach::ProjectOf(project);
        let request = LeaseRequest { reach, may_wait, ..LeaseRequest::any(None) };
        let goal = Goal { request, prefer: None, repeat: Repeat::Freely };
        match (Attempts { keys, limits, last_answers, record }).run(goal, question).await {
            Ok((_, lease)) => {
                let key = Arc::clone(lease.key());
                lease.settle(Outcome::Success, None);
                Answer::Has(key)
            }
            Err(ended) if says_no(&ended) => Answer::HasNot,
            Err(ended) => Answer::Unclear(ended),
        }
    }
}

/// Tells whether a project that did not say yes has said no. What it says of one key says nothing of the resource.
fn says_no(ended: &Ended<WholeAnswer>) -> bool {
    // It cannot be asked, now or before its operator does something.
    if ended.refusal.as_ref().is_some_and(Refusal::is_for_operator) {
        return true;
    }
    let of_key = ended.fault.is_some_and(|kind| kind.scope() == Scope::Key || kind == Kind::MethodBlocked);
    let status = ended.answer.as_ref().map(|answer| answer.status.as_u16());
    !of_key && matches!(status, Some(400 | 403 | 404))
}

/// Where to ask for it; `None` for what has no address of its own.
fn question(asked: &Target, name: &OwnedName) -> Option<Target> {
    if matches!(name.collection(), "auth_tokens" | "liveHandles" | "continuationTokens") {
        return None;
    }
    let version = asked.operation.version.as_str();
    let is_in_path = asked.operation.resource.as_ref().and_then(OwnedName::of).as_ref() == Some(name);
    let path = if asked.surface == Surface::OpenAi && is_in_path {
        format!("/{version}/openai/{name}")
    } else {
        format!("/{version}/{name}")
    };
    path::parse("GET", &path, None, CredentialForm::GoogHeader).ok()
}
