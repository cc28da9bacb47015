//! What is recorded of one request: made up by the `ForwardActor` or `LiveActor` as it goes (or by the HTTP face, for a
//! request that never came so far), handed to the `Listeners` at its end. It holds ids and counts, never a secret or a
//! body.

use crate::{failure::Failure, trace_parent::TraceParent};
use callers::Denial;
use chrono::{DateTime, Utc};
use gemini::{fault::Kind, operation::Verb, path::Dialect, usage::Usage};
use keypool::{Choice, PassedOver, Project, Refusal};
use std::{sync::Arc, time::Duration};

/// One request, from its arrival to its last byte.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The request's id, also in its `x-request-id` header.
    pub id: String,
    /// Who called; `None` when nobody was let in.
    pub caller: Option<Arc<str>>,
    /// The format spoken.
    pub dialect: Dialect,
    /// The HTTP method.
    pub method: http::Method,
    /// The custom method that the path names, such as `generateContent`.
    pub verb: Option<Verb>,
    /// Whether the answer was asked for as a stream, or is a session.
    pub streamed: bool,
    /// The path without its query, which could hold a credential.
    pub path: String,
    /// The model asked for.
    pub model: Option<Arc<str>>,
    /// Each attempt upstream, in order.
    pub attempts: Vec<Attempt>,
    /// The status of the answer that was passed on; 0 when there was none.
    pub status: u16,
    /// Why the gateway answered itself, if it did; the HTTP face knows the status of that.
    pub failure: Option<Failure>,
    /// How it ended.
    pub end: End,
    /// From arrival to the first byte of the answer's body or its head.
    pub first_byte: Option<Duration>,
    /// From arrival to the end.
    pub total: Duration,
    /// When it ended; set as it is handed to its listeners.
    pub ended: DateTime<Utc>,
    /// The time in which it had no key, of all its attempts together.
    pub queued: Duration,
    /// The request body's length.
    pub bytes_in: u64,
    /// How much of the answer's body was passed on.
    pub bytes_out: u64,
    /// What the upstream said it used, where that is charged to this request.
    pub usage: Option<Usage>,
    /// What few requests have; none of one that is answered at once.
    pub detail: Option<Box<Detail>>,
}

/// What is told of a request that was not simply answered.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// The times in which it could not go on.
    pub delays: Vec<Delay>,
    /// The resource that binds it to a project, as its caller may be told of it.
    pub bound_to: Option<Box<str>>,
    /// The client's span that the request belongs to, where traces are made.
    pub trace_parent: Option<TraceParent>,
    /// What was asked for in a format that is none of Google's, if it was.
    pub translated: Option<Box<Translated>>,
    /// What the client was told by the gateway, of what was refused before anybody worked on it.
    pub told: Option<Box<str>>,
}

/// What a client asked for in a format that is none of Google's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    /// The word for the format.
    pub format: &'static str,
    /// The model that the client named.
    pub asked_model: Box<str>,
}

/// A time in which a request could not go on. One that ended with a refusal may have taken none.
#[derive(Clone, Debug)]
pub struct Delay {
    /// From arrival to its beginning.
    pub start: Duration,
    /// How long it was.
    pub took: Duration,
    /// What the request waited for.
    pub cause: DelayCause,
    /// The pool's refusal, if that ended it.
    pub refusal: Option<Refusal>,
}

/// Why a request could not go on.
#[derive(Clone, Debug)]
pub enum DelayCause {
    /// There was no key for it. With what kept the keys away as it began.
    NoKey(Option<Box<PassedOver>>),
    /// A pause after this fault, before another try.
    AfterFault(Kind),
}

/// Who refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuser {
    /// What its caller's own token allows.
    Caller(Denial),
    /// The pool: it had no key.
    Pool,
    /// Google: a quota is spent.
    Google,
}

impl Refuser {
    /// The words that there are.
    pub const WORDS: [&str; 3] = ["caller", "pool", "google"];

    /// Returns the word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller(_) => "caller",
            Self::Pool => "pool",
            Self::Google => "google",
        }
    }

    /// Returns what of its caller's token stands against it: a limit, the model, the surface.
    pub fn limit(self) -> Option<&'static str> {
        match self {
            Self::Caller(denial) => denial.limit_word(),
            Self::Pool | Self::Google => None,
        }
    }
}

impl Transaction {
    /// Returns who refused it, if it was refused for want of something that is counted or given out.
    pub fn refuser(&self) -> Option<Refuser> {
        match &self.failure {
            // Nobody is let in; or the way to Google is gone, and no pool of keys, however large, would have served it.
            Some(
                Failure::Denied(Denial::Disabled | Denial::Expired | Denial::Cut)
                | Failure::NoKey(Refusal::RouteDown { .. }),
            ) => None,
            Some(Failure::Denied(denial)) => Some(Refuser::Caller(*denial)),
            Some(Failure::NoKey(_) | Failure::OwnerGone(_)) => Some(Refuser::Pool),
            Some(_) => None,
            None => {
                let fault = self.attempts.last().and_then(|last| last.fault);
                let is_refused = self.end == End::Complete && self.status >= 400;
                fault.filter(|kind| is_refused && kind.is_quota()).map(|_| Refuser::Google)
            }
        }
    }

    /// Returns whether it was cut off in the middle of its answer, with its caller's token.
    pub fn was_cut_off(&self) -> bool {
        self.status != 0 && matches!(self.failure, Some(Failure::Denied(Denial::Cut)))
    }

    /// Returns why the gateway answered itself, where that gave the client its status.
    pub fn answered_failure(&self) -> Option<&Failure> {
        self.failure.as_ref().filter(|_| !self.was_cut_off())
    }

    /// Returns the fault that Google told of in the middle of an answer that had begun as a success.
    pub fn fault_in_answer(&self) -> Option<Kind> {
        self.attempts.last().filter(|_| (200..300).contains(&self.status))?.fault
    }

    /// Returns the detail, which comes into being if need be.
    pub fn detail_mut(&mut self) -> &mut Detail {
        self.detail.get_or_insert_default()
    }

    /// Returns the times in which it could not go on.
    pub fn delays(&self) -> &[Delay] {
        self.detail.as_ref().map(|detail| detail.delays.as_slice()).unwrap_or_default()
    }
}

/// One try on one key.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The key's id.
    pub key: keypool::KeyId,
    /// The operator's label of the key's project.
    pub project: Option<Project>,
    /// What decided for the key.
    pub choice: Choice,
    /// Whether it was the first on this key, project or model after a cooldown, or found out about the way to Google.
    pub is_probe: bool,
    /// From arrival to its beginning.
    pub start: Duration,
    /// The upstream's status; `None` when no answer came.
    pub status: Option<u16>,
    /// The fault found, if any.
    pub fault: Option<gemini::fault::Kind>,
    /// How long it took to know.
    pub took: Duration,
    /// The keys whose turn it was before this one's, and Google's words; none of an attempt that simply succeeded.
    pub detail: Option<Box<AttemptDetail>>,
}

/// What is told of an attempt that was not simply the next key's, or did not succeed.
#[derive(Clone, Debug, Default)]
pub struct AttemptDetail {
    /// The keys that were passed over.
    pub passed_over: Option<Box<PassedOver>>,
    /// Google's error in its own words, without any key, cut to [`WORDS`] signs.
    pub words: Option<Box<str>>,
}

/// How many signs of Google's words are kept.
pub const WORDS: usize = 300;

impl Attempt {
    /// Writes down what Google has said.
    pub(crate) fn say(&mut self, words: &str) {
        let end = words.char_indices().nth(WORDS).map_or(words.len(), |(at, _)| at);
        self.detail.get_or_insert_default().words = Some(words[..end].into());
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The answer was passed on to its last byte.
    Complete,
    /// The gateway answered itself.
    Refused,
    /// The client went away.
    ClientLeft,
    /// The client stopped reading for too long and was cut off.
    ClientStalled,
    /// The upstream broke off in the middle, and the client was shown so.
    UpstreamBroke,
}

impl End {
    /// Every end.
    pub const ALL: [Self; 5] =
        [Self::Complete, Self::Refused, Self::ClientLeft, Self::ClientStalled, Self::UpstreamBroke];

    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Refused => "refused",
            Self::ClientLeft => "client_left",
            Self::ClientStalled => "client_stalled",
            Self::UpstreamBroke => "upstream_broke",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_request_moves_stays_small() {
        // Each is moved several times.
        let sizes = (size_of::<Transaction>(), size_of::<Attempt>(), size_of::<Option<Box<Detail>>>());
        assert!(sizes.0 <= 392 && sizes.1 <= 80 && sizes.2 == 8, "{sizes:?}");
    }
}
