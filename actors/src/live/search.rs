//! The search for an upstream that takes a session: what one attempt of it is, and what becomes of an attempt loop that
//! came to none. The client hears nothing of it before its end.

use super::{
    Live,
    attempt::{self, LiveFailed, Open, SetupAnswer},
    close::{Close, Notice},
    job::LiveJob,
    line::Leaving,
};
use crate::{
    attempts::{AttemptRecord, Attempted, Attempts, Ended, Goal, Repeat, Try},
    binding::{Asker, Binding, Unbound},
    failure::Failure,
    key_manager::Lease,
    key_ring::Key,
    upstream::{WholeAnswer, probe},
};
use gemini::{
    classify::error_message,
    fault::Fault,
    live::{Setup, code_of_status},
    names::{Certainty, Mention, OwnedName, in_request},
};
use http::StatusCode;
use keypool::{LeaseRequest, Outcome, Reach};
use std::sync::Arc;
use tokio_tungstenite::tungstenite::Message;

/// What a handle's name begins with.
const HANDLES: &str = "liveHandles/";

/// What the session itself is called where a name is of another project.
const THIS_SESSION: &str = "this session";

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

impl From<Unbound> for NoSession {
    fn from(unbound: Unbound) -> Self {
        match unbound {
            Unbound::NotVisible(_) => Self::Notice(Notice::NotYours),
            Unbound::TwoProjects(names) => {
                let [one, other] = *names;
                Self::Notice(Notice::TwoProjects { one, other })
            }
            Unbound::Elsewhere(one) => {
                Self::Notice(Notice::TwoProjects { one, other: THIS_SESSION.to_owned() })
            }
            Unbound::OwnerGone(name) => Self::Notice(Notice::OwnerGone { name }),
            Unbound::LedgerSilent => Self::Failure(Failure::LedgerSilent),
            Unbound::Unclear(ended) => match ended.answer {
                Some(WholeAnswer { status, body, .. }) => {
                    let reason = error_message(&body).unwrap_or_else(|| attempt::reason_of(status));
                    let close = Close { code: code_of_status(status.as_u16()), reason };
                    Self::Upstream(Some(close), Some(status))
                }
                None => Self::Failure(ended.failure),
            },
        }
    }
}

/// A resumption handle's name, as `gemini::names` has it.
pub(super) fn handle_name(handle: &str) -> String {
    format!("{HANDLES}{handle}")
}

/// An attempt to open a session.
struct Opening<'a> {
    live: &'a Live,
    job: &'a LiveJob,
    setup: &'a Message,
}

impl Try for Opening<'_> {
    type Success = Open;
    type Answer = SetupAnswer;

    async fn attempt(&self, key: &Arc<Key>) -> Attempted<Open, SetupAnswer> {
        match attempt::open(&self.live.forwarder.upstream, self.job, key, self.setup).await {
            Ok(open) => Attempted::Success(open),
            Err(LiveFailed::Fault(failed)) => Attempted::Failed(failed),
            Err(LiveFailed::Closed(answer)) => {
                let status = answer.status;
                Attempted::Refused(answer, status)
            }
        }
    }

    async fn is_refused(&self, key: &Arc<Key>) -> bool {
        // A token was shown, and not the key.
        self.job.ephemeral.is_none() && probe::refuses(&self.live.forwarder.upstream, key).await
    }

    fn status(&self, _: &Open) -> StatusCode {
        StatusCode::SWITCHING_PROTOCOLS
    }

    fn outcome(&self, fault: Fault) -> Outcome {
        self.job.blame(fault)
    }
}

impl Live {
    /// Finds what binds the session to a project: what its setup names.
    pub(super) async fn bind(
        &self,
        job: &LiveJob,
        setup: &[u8],
        asked: &Setup,
        record: &AttemptRecord,
    ) -> Result<Binding, NoSession> {
        // A handle is read twice: as long as it may be, and wherever a name may stand.
        let handles = asked.handles.iter().filter_map(|handle| OwnedName::parse(&handle_name(handle)));
        let mut mentions: Vec<_> =
            handles.map(|name| Mention { name, certainty: Certainty::Possible }).collect();
        mentions.extend(in_request(setup));
        let rule = self.forwarder.binding_rule(record);
        let asker = asker(job);
        let Some(ephemeral) = &job.ephemeral else { return Ok(rule.bind(asker, &mentions).await?) };
        // The token's project is chosen already.
        rule.check(asker, &ephemeral.owner, &mentions).await?;
        Ok(Binding { reach: Reach::ProjectOf(ephemeral.owner.clone()), ..Binding::default() })
    }

    /// Tries until the upstream begins, or there is no use in trying.
    pub(super) async fn search(
        &self,
        job: &LiveJob,
        model: Option<Arc<str>>,
        binding: Binding,
        setup: &Message,
        record: &AttemptRecord,
    ) -> Result<(Open, Lease), NoSession> {
        // A token's use may be spent by an attempt, and no other key has it.
        let repeat = if job.ephemeral.is_some() { Repeat::IfUnprocessed } else { Repeat::Freely };
        let request = LeaseRequest {
            reach: binding.reach.clone(),
            among: job.caller.served_by(),
            ..LeaseRequest::any(model)
        };
        let goal = Goal { request, prefer: binding.prefer.clone(), repeat };
        let attempts = Attempts {
            keys: &self.forwarder.keys,
            limits: self.forwarder.limits.retry,
            last_answers: &self.last_answers,
            record,
        };
        let found = attempts.run(goal, &Opening { live: self, job, setup }).await;
        found.map_err(|Ended { answer, failure, .. }| match (answer, binding.failure(failure)) {
            (Some(SetupAnswer { close, status }), _) => NoSession::Upstream(close, status),
            (None, Failure::OwnerGone(name)) => {
                NoSession::Notice(Notice::OwnerGone { name: name.into_string() })
            }
            (None, failure) => NoSession::Failure(failure),
        })
    }
}

/// Whose session it is.
pub(super) fn asker(job: &LiveJob) -> Asker<'_> {
    Asker { id: &job.id, caller: &job.caller, target: &job.target }
}
