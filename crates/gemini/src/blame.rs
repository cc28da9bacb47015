//! The blame table: what each kind of fault means for keys and for the request. One row a line, in the order of
//! [`Kind`], to be read beside the wire notes' table of errors. How an answer's row is found is in `classify`.

use std::time::Duration;

use crate::fault::{Fault, Kind, Next, Proof, Scope, Wait};

/// Whether a row's wait gives way to one that the answer names (`RetryInfo.retryDelay`, `Retry-After`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// It does: the pool waits for as long as the answer says.
    Heeded,
    /// It does not: the answer's figure is wrong for this kind, or nothing is to wait.
    Ignored,
}

/// One row of the blame table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What was said.
    pub kind: Kind,
    /// Whose fault it is.
    pub scope: Scope,
    /// How long to leave that alone.
    pub wait: Wait,
    /// Whether the answer may name another wait.
    pub hint: Hint,
    /// What may be done for the request.
    pub next: Next,
    /// Google's words, or what happened.
    pub words: &'static str,
}

const fn row(kind: Kind, scope: Scope, wait: Wait, hint: Hint, next: Next, words: &'static str) -> Row {
    Row { kind, scope, wait, hint, next, words }
}

use Hint::{Heeded, Ignored};
use Next::{OtherKey, OtherKeyOnce, Pause, PauseOnce, Return};
use Wait::{Backoff, DailyReset, Long, Retire};

/// Where something asks for fewer requests and does not say for how long.
const A_MOMENT: Wait = Wait::For(Duration::from_secs(5));

/// Every kind of fault, in the order of [`Kind`].
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    row(Kind::KeyInvalid,          Scope::Key,          Retire,     Ignored, OtherKey,     "API key not valid. Please pass a valid API key."),
    row(Kind::CredentialsMultiple, Scope::Gateway,      Wait::None, Ignored, OtherKey,     "Multiple authentication credentials received."),
    row(Kind::LocationUnsupported, Scope::Gateway,      Wait::None, Ignored, OtherKeyOnce, "User location is not supported for the API use."),
    row(Kind::ProjectUnfit,        Scope::Project,      Wait::None, Ignored, OtherKeyOnce, "The project's tier, billing or country does not allow it."),
    row(Kind::Client,              Scope::Client,       Wait::None, Ignored, Return,       "Invalid JSON payload received."),
    row(Kind::KeyUnauthenticated,  Scope::Key,          Retire,     Ignored, OtherKey,     "Request had invalid authentication credentials."),
    row(Kind::CreditsGone,         Scope::Billing,      Long,       Ignored, OtherKey,     "Your prepayment credits are depleted."),
    row(Kind::KeySuspended,        Scope::Key,          Retire,     Ignored, OtherKey,     "Consumer has been suspended; API key was reported as leaked."),
    row(Kind::BillingDisabled,     Scope::Project,      Retire,     Ignored, OtherKey,     "This API method requires billing to be enabled."),
    row(Kind::ServiceDisabled,     Scope::Project,      Long,       Ignored, OtherKey,     "The API has not been used in the project or it is disabled."),
    row(Kind::KeyRestricted,       Scope::Key,          Backoff,    Ignored, OtherKey,     "Requests from this address or referer are blocked."),
    row(Kind::MethodBlocked,       Scope::ProjectModel, Backoff,    Ignored, OtherKey,     "Requests to this API method are blocked."),
    row(Kind::CredentialMissing,   Scope::Gateway,      Wait::None, Ignored, Return,       "Method doesn't allow unregistered callers."),
    row(Kind::ResourceUnreachable, Scope::Binding,      Wait::None, Ignored, Return,       "You do not have permission to access the File or it may not exist."),
    row(Kind::Forbidden,           Scope::ProjectModel, Backoff,    Ignored, OtherKeyOnce, "The caller does not have permission."),
    row(Kind::ModelWithheld,       Scope::ProjectModel, Long,       Ignored, OtherKey,     "This model is no longer available to new users."),
    row(Kind::QuotaMinute,         Scope::ProjectModel, Backoff,    Heeded,  OtherKey,     "You exceeded your current quota (per minute)."),
    row(Kind::QuotaDay,            Scope::ProjectModel, DailyReset, Ignored, OtherKey,     "You exceeded your current quota (per day)."),
    row(Kind::QuotaZero,           Scope::ProjectModel, Long,       Ignored, OtherKey,     "You exceeded your current quota (limit: 0)."),
    row(Kind::QuotaUnnamed,        Scope::ProjectTool,  Backoff,    Heeded,  OtherKey,     "You exceeded your current quota (of a tool)."),
    row(Kind::RateLimited,         Scope::ProjectModel, A_MOMENT,   Heeded,  OtherKey,     "Too many requests, in no words of Google's."),
    row(Kind::SpendingCap,         Scope::Project,      Long,       Ignored, OtherKey,     "The project has reached its monthly spending cap."),
    row(Kind::QuotaBare,           Scope::ProjectModel, Backoff,    Heeded,  OtherKey,     "Resource has been exhausted (e.g. check quota)."),
    row(Kind::Cancelled,           Scope::Client,       Wait::None, Ignored, Return,       "The operation was cancelled."),
    row(Kind::Internal,            Scope::Model,        Wait::None, Ignored, PauseOnce,    "An internal error has occurred."),
    row(Kind::Overloaded,          Scope::Model,        Wait::None, Heeded,  Pause,        "The model is overloaded. Please try again later."),
    row(Kind::DeadlineExceeded,    Scope::Client,       Wait::None, Ignored, Return,       "Deadline expired before operation could complete."),
    row(Kind::ConnectFailed,       Scope::Route,        Wait::None, Ignored, Pause,        "No connection to the upstream."),
    row(Kind::HeadLost,            Scope::Route,        Wait::None, Ignored, PauseOnce,    "The connection was lost before the answer's head."),
    row(Kind::NotDone,             Scope::Nobody,       Wait::None, Ignored, Pause,        "The upstream said that it has not processed the request."),
    row(Kind::NotGoogle,           Scope::Route,        Wait::None, Ignored, PauseOnce,    "An answer that is not Google's: something on the way made it."),
    row(Kind::BodyLost,            Scope::Route,        Wait::None, Ignored, PauseOnce,    "The connection was lost inside the answer's body."),
];

// `Kind::row` indexes by the kind's number.
const _: () = {
    assert!(TABLE.len() == Kind::BodyLost as usize + 1);
    let mut at = 0;
    while at < TABLE.len() {
        assert!(TABLE[at].kind as usize == at);
        at += 1;
    }
};

impl Kind {
    /// The row of this kind.
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// Whose fault it is: what the wait applies to.
    pub fn scope(self) -> Scope {
        self.row().scope
    }

    /// What may be done next for the request, as long as its client has seen no byte.
    pub fn next(self) -> Next {
        self.row().next
    }

    /// What it takes to hold an answer of this kind against whom its row blames.
    pub fn proof(self) -> Proof {
        match self {
            Self::KeyRestricted | Self::MethodBlocked | Self::Forbidden => Proof::OtherKey,
            Self::KeyUnauthenticated => Proof::KeyCheck,
            _ => Proof::Answer,
        }
    }

    /// Tells whether Google refused the request because the project has used up what it may: a quota, its spending cap, its
    /// credits. Another project may have more.
    pub fn is_quota(self) -> bool {
        matches!(
            self,
            Self::QuotaMinute
                | Self::QuotaDay
                | Self::QuotaZero
                | Self::QuotaUnnamed
                | Self::QuotaBare
                | Self::SpendingCap
                | Self::CreditsGone
        )
    }

    /// Tells whether Google refuses the key or its project as such: whoever has asked could not have asked better.
    pub fn refuses_key(self) -> bool {
        matches!(
            self,
            Self::KeyInvalid
                | Self::KeyUnauthenticated
                | Self::KeySuspended
                | Self::KeyRestricted
                | Self::BillingDisabled
                | Self::ServiceDisabled
        )
    }

    /// Google's words for it, or what happened; for logs.
    pub fn words(self) -> &'static str {
        self.row().words
    }
}

impl Fault {
    /// A fault of this kind about which the answer says nothing more.
    pub(crate) fn plain(kind: Kind) -> Self {
        let wait = if kind.proof() == Proof::Answer { kind.row().wait } else { Wait::None };
        Self { kind, wait, quotas: Vec::new(), project: None }
    }

    /// Returns the fault as it is once its proof is there: it is held against whom its row blames.
    #[must_use]
    pub fn proven(self) -> Self {
        Self { wait: self.kind.row().wait, ..self }
    }

    /// No connection came about: nothing was sent.
    pub fn connect_failed() -> Self {
        Self::plain(Kind::ConnectFailed)
    }

    /// The connection broke or went silent before the answer's head was whole: the upstream may have acted.
    pub fn head_lost() -> Self {
        Self::plain(Kind::HeadLost)
    }

    /// The upstream has shown that it did not process the request: it may be sent again, whatever it is.
    pub fn not_done() -> Self {
        Self::plain(Kind::NotDone)
    }

    /// Something on the way answered in the upstream's place.
    pub fn not_google() -> Self {
        Self::plain(Kind::NotGoogle)
    }

    /// The connection broke or went silent inside the answer's body.
    pub fn body_lost() -> Self {
        Self::plain(Kind::BodyLost)
    }

    /// See [`Kind::scope`].
    pub fn scope(&self) -> Scope {
        self.kind.scope()
    }

    /// See [`Kind::next`].
    pub fn next(&self) -> Next {
        self.kind.next()
    }
}
