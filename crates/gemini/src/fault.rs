//! What an upstream answer that is not a success says, and what it asks for: the words of the blame table.
//!
//! The rows themselves, and how an answer is read to find its row, are in `classify`. The key pool acts on a
//! [`Fault`]'s treatment, the forward actor on its [`Next`]; neither looks at a status or a message text again.

use std::time::Duration;

/// One row of the blame table, found for one answer (or for the lack of one).
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The row of the blame table.
    pub kind: Kind,
    /// How long what the row blames should be left alone. `Wait::None` where the row blames nobody, and as long as the answer
    /// alone does not show that it speaks of whom the row blames: see [`Kind::proof`].
    pub wait: Wait,
    /// Every quota that a `QuotaFailure` detail names; empty for all but quota faults.
    pub quotas: Vec<Quota>,
    /// The project number of `projects/N`, when the answer names one.
    pub project: Option<Box<str>>,
}

/// The rows of the blame table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// 400 `API_KEY_INVALID`, in any wording; the compatibility layer's "Please pass a valid API key".
    KeyInvalid,
    /// 400 "Multiple authentication credentials received".
    CredentialsMultiple,
    /// 400 `FAILED_PRECONDITION`, "User location is not supported".
    LocationUnsupported,
    /// 400 `FAILED_PRECONDITION` of the project: its tier, its billing, its country.
    ProjectUnfit,
    /// Any other answer that speaks of the request itself (400, 404 of a model or method, 413, 405, 411 ...).
    Client,
    /// 401 `UNAUTHENTICATED`.
    KeyUnauthenticated,
    /// 402, or 429 in its older form: the prepaid credits are gone.
    CreditsGone,
    /// 403: leaked, suspended, `CONSUMER_INVALID`.
    KeySuspended,
    /// 403 `BILLING_DISABLED`.
    BillingDisabled,
    /// 403 `SERVICE_DISABLED`.
    ServiceDisabled,
    /// 403 `API_KEY_HTTP_REFERRER_BLOCKED`, `..._IP_ADDRESS_BLOCKED` and their like.
    KeyRestricted,
    /// 403 `API_KEY_SERVICE_BLOCKED` that names a method: the key may be good for others.
    MethodBlocked,
    /// 403 "unregistered callers": no credential arrived.
    CredentialMissing,
    /// 403 or 404 about a file, a cached content or another resource: wrong project, or gone.
    ResourceUnreachable,
    /// 403 of any other form: of the key's project, of the model, or of what the request asks for.
    Forbidden,
    /// 404 model "no longer available to new users".
    ModelWithheld,
    /// 429 with a per-minute quota.
    QuotaMinute,
    /// 429 with a per-day quota, `quota_exceeded`.
    QuotaDay,
    /// 429 whose quota's limit is zero: the model is not in this tier.
    QuotaZero,
    /// 429 "exceeded your current quota" with nothing but a `Help` detail.
    QuotaUnnamed,
    /// 429 that says nothing in Google's form and is no page either: of Google's own front end, or of something on the way that
    /// meters requests.
    RateLimited,
    /// 429 "monthly spending cap".
    SpendingCap,
    /// 429 of any other form ("Resource has been exhausted (e.g. check quota).").
    QuotaBare,
    /// 499 `CANCELLED`.
    Cancelled,
    /// 500 `INTERNAL`, and any 5xx not named elsewhere.
    Internal,
    /// 503 `UNAVAILABLE`: overloaded, high demand.
    Overloaded,
    /// 504 `DEADLINE_EXCEEDED`.
    DeadlineExceeded,
    /// No connection to the upstream (refused, DNS, TLS, proxy): nothing was sent.
    ConnectFailed,
    /// The connection broke or went silent after the request went out and before the answer's head was whole.
    HeadLost,
    /// HTTP/2 says that the request was not processed (a GOAWAY below its stream, `REFUSED_STREAM`), or a pooled connection
    /// closed before a byte of it went out.
    NotDone,
    /// An answer that is not Google's: a middlebox's page, a captive portal.
    NotGoogle,
    /// The connection broke or went silent inside the answer's body.
    BodyLost,
}

/// What it takes to hold an answer against whom its row blames. A request can be such that Google refuses it on every key, and
/// some of its answers do not tell that from a bad key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// The answer itself: it says whom it speaks of.
    Answer,
    /// Another key has served the same request; for what blames a project, a key of another project.
    OtherKey,
    /// Google refuses the key in the cheapest request there is as well.
    KeyCheck,
}

/// Whose fault it is: what the wait applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The one key.
    Key,
    /// The key's project: all its keys.
    Project,
    /// The model, for all keys of the project.
    ProjectModel,
    /// A tool of the request (`google_search`, `url_context`), for all keys of the project; the model stays usable.
    ProjectTool,
    /// The billing account: all that is known of it is the key's project.
    Billing,
    /// The model as a whole, on every key.
    Model,
    /// A resource that another project owns, or nobody: nobody is to blame.
    Binding,
    /// The request.
    Client,
    /// This gateway.
    Gateway,
    /// The way to the upstream, which all keys share.
    Route,
    /// Nobody: nothing was done, and nothing is wrong.
    Nobody,
}

/// How long to leave what a fault blames alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    None,
    /// What the upstream named, in `RetryInfo.retryDelay` or `Retry-After`.
    For(Duration),
    /// Until the next midnight in `America/Los_Angeles`, when daily quotas reset.
    DailyReset,
    /// The pool's own default for a rate limit without a hint, then growing.
    Backoff,
    /// A condition that only a person or a day changes.
    Long,
    /// For good: until the operator resets it or a check finds it well.
    Retire,
}

/// What may be done next for the request, as long as its client has seen no byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// Give the client this answer.
    Return,
    /// Try on another key.
    OtherKey,
    /// Try on another key, one time only.
    OtherKeyOnce,
    /// Try again after a short jittered pause; another key gains nothing.
    Pause,
    /// The same, one time only.
    PauseOnce,
}

/// One violation of a `QuotaFailure` detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// `quotaId`, such as `GenerateRequestsPerMinutePerProjectPerModel-FreeTier`; empty when absent.
    pub id: Box<str>,
    /// What it counts.
    pub unit: QuotaUnit,
    /// Over which window.
    pub window: QuotaWindow,
    /// `quotaValue`: the limit itself, in units a window.
    pub limit: Option<u64>,
    /// `quotaDimensions.model`.
    pub model: Option<Box<str>>,
}

/// What a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuotaUnit {
    /// Requests.
    Requests,
    /// Input tokens.
    InputTokens,
    /// Anything else.
    Other,
}

/// The window a quota counts over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuotaWindow {
    /// A minute.
    Minute,
    /// A day that ends at midnight `America/Los_Angeles`.
    Day,
    /// Anything else.
    Other,
}
