//! The Live API's messages, as far as a proxy must know them: what a setup names, which handle a server gives out, and
//! what the reason of a close says. A close's code says little (1011 stands for quota, credits, a bad key and Google's
//! own failures alike), so its reason is read, by the rules by which `classify` reads an error's message.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;

use crate::classify::{Answer, kind};
use crate::error_body::Said;
use crate::fault::{Fault, Kind};

/// The most bytes of a close's reason (RFC 6455 §5.5: a control frame's 125, less the code).
pub const MAX_REASON_BYTES: usize = 123;

/// What a session's first message asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// The model, without `models/`.
    pub model: Option<String>,
    /// The handle of an earlier session, which belongs to a project.
    pub handle: Option<String>,
}

#[derive(Deserialize)]
struct First<'a> {
    #[serde(borrow)]
    setup: Option<SetupFields<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SetupFields<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "sessionResumption", alias = "session_resumption")]
    resumption: Option<Resumption<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resumption<'a> {
    #[serde(borrow)]
    handle: Option<Cow<'a, str>>,
}

impl Setup {
    /// Reads a client's first message. Of one that is no setup, nothing: Google says what is wrong with it.
    pub fn read(message: &[u8]) -> Self {
        let Ok(First { setup: Some(setup) }) = serde_json::from_slice(message) else {
            return Self::default();
        };
        let model = setup.model.map(|model| model.strip_prefix("models/").unwrap_or(&model).to_owned());
        let handle = setup.resumption.and_then(|resumption| resumption.handle);
        Self {
            model: model.filter(|model| !model.is_empty()),
            handle: handle.filter(|handle| !handle.is_empty()).map(Cow::into_owned),
        }
    }
}

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow, rename = "sessionResumptionUpdate")]
    update: Option<Update<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Update<'a> {
    #[serde(borrow, rename = "newHandle")]
    new_handle: Option<Cow<'a, str>>,
}

/// The handle that a server's message gives out. Costs a search for its name where there is none.
pub fn new_handle(message: &[u8]) -> Option<String> {
    memmem::find(message, b"\"sessionResumptionUpdate\"")?;
    let Told { update } = serde_json::from_slice(message).ok()?;
    update?.new_handle.filter(|handle| !handle.is_empty()).map(Cow::into_owned)
}

/// How a reason begins, in small letters, and the HTTP status with which the same words come elsewhere.
const BEGINNINGS: &[(&str, u16)] = &[
    ("api key ", 400),
    ("please pass a valid api key", 400),
    ("multiple authentication credentials", 400),
    ("user location is not supported", 400),
    ("request had invalid authentication credentials", 401),
    ("your api key was reported as leaked", 403),
    ("permission denied: consumer", 403),
    ("method doesn't allow unregistered callers", 403),
    ("requests to this api", 403),
    ("requests from ", 403),
    ("generative language api has not been used in project", 403),
    ("you do not have permission to access", 403),
    ("requested entity was not found", 404),
    ("models/", 404),
    ("this model models/", 404),
    ("you exceeded your current quota", 429),
    ("resource has been exhausted", 429),
    ("resource_exhausted", 429),
    ("your prepayment credits are depleted", 429),
    ("your project has exceeded its monthly spending cap", 429),
    ("internal error", 500),
    ("an internal error", 500),
    ("the model is overloaded", 503),
    ("this model is currently experiencing high demand", 503),
    ("the service is currently unavailable", 503),
    ("deadline expired", 504),
];

/// What a close's reason says of the key, the project or the model; `None` when it says nothing of them.
pub fn close_fault(reason: &str) -> Option<Fault> {
    let message = reason.to_ascii_lowercase();
    let words = plain(&message);
    let (_, status) = BEGINNINGS.iter().find(|(beginning, _)| words.starts_with(beginning))?;
    let said = Said { is_google: true, message: words.to_owned(), ..Said::default() };
    let kind = kind(&Answer { status: *status, retry_after: None, body: &[], tools: false }, &said);
    // A reason has no details, so what elsewhere would be a 400 about the request tells nothing here.
    (kind != Kind::Client).then(|| Fault::plain(kind))
}

/// A reason without what Google's servers sometimes put before it: `generic::resource_exhausted: `, a status' name.
fn plain(reason: &str) -> &str {
    let rest = reason.strip_prefix("generic::").unwrap_or(reason);
    match rest.split_once(": ") {
        Some((word, rest))
            if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') =>
        {
            rest
        }
        _ => reason,
    }
}

/// The close code that stands for an HTTP answer to the upgrade, for a client whose own upgrade has been answered.
pub fn code_of_status(status: u16) -> u16 {
    match status {
        400 | 401 => 1007,
        402 | 429 | 500..=599 => 1011,
        _ => 1008,
    }
}

/// As much of a reason as a close holds.
pub fn fitting_reason(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}
