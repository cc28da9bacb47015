//! From an upstream answer that is not a success to its row of the blame table. Reasons and details decide; a
//! message's text is matched only where Google sends nothing else, and from its start where it could quote a client,
//! so that no request can be worded to cost a key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error_body::{Said, believed, mended};
use crate::fault::{Fault, Kind, Proof, Quota, QuotaWindow, Wait};

pub use crate::blame::{Hint, Row, TABLE};
pub use crate::error_body::{error_message, error_message_of_part, error_words};
pub use crate::error_start::{ErrorStart, Start};
pub use crate::late_error::{ErrorMentions, LateError, LateErrors};
pub use crate::redact::{NamedKeys, ends_in_part_of, redact, redact_in_place};
pub use crate::stream_error::{StreamError, stream_error};

use crate::blame::Hint::Heeded;

/// An upstream answer that is not a success.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The HTTP status; of an error inside a stream, the one that it states.
    pub status: u16,
    /// The `Retry-After` header.
    pub retry_after: Option<&'a str>,
    /// The body, its content coding undone.
    pub body: &'a [u8],
    /// Whether the request asked for a tool that Google runs, such as `google_search`.
    pub tools: bool,
}

/// Finds the row of a whole answer. One that would blame a key, a project or a model is believed only in Google's own
/// form; in any other something on the way has made it. `now_wall_secs` is seconds since 1970, to read a date in
/// `Retry-After` against.
pub fn classify(answer: &Answer<'_>, now_wall_secs: i64) -> Fault {
    let said = Said::read(answer.body);
    if is_not_googles(answer, &said) {
        return Fault::not_google();
    }
    let kind = if answer.status == 429 && !said.is_google { Kind::RateLimited } else { kind(answer, &said) };
    found(answer, kind, said, now_wall_secs)
}

/// Finds the row of an error whose form does not tell who made it: an event of Google's own stream, or an answer whose
/// body broke off. What can be read of the body counts, then the status.
pub fn classify_by_status(answer: &Answer<'_>, now_wall_secs: i64) -> Fault {
    let whole = Said::read(answer.body);
    let said =
        if whole.is_google { whole } else { mended(answer.body).map_or(whole, |body| Said::read(&body)) };
    found(answer, kind(answer, &said), said, now_wall_secs)
}

/// Whether an answer is one of a middlebox: in a form that Google's errors never have, with a status that would blame
/// somebody. Other statuses (400, 404, 413 ...) speak of the request, whoever says them: Google's own front end answers
/// some paths with pages, and sheds load in few words or none. What is said of load is heeded unless it is a page.
fn is_not_googles(answer: &Answer<'_>, said: &Said) -> bool {
    let is_page = || answer.body.trim_ascii_start().starts_with(b"<");
    match answer.status {
        // Google has no proxies to authenticate at, and no network to log in to.
        407 | 511 => true,
        429 | 500 | 503 => !said.is_google && is_page(),
        401..=403 | 502..=599 => !said.is_google,
        _ => false,
    }
}

fn found(answer: &Answer<'_>, kind: Kind, said: Said, now_wall_secs: i64) -> Fault {
    let row = kind.row();
    let named = || said.retry_delay.max(retry_after(answer.retry_after, now_wall_secs)).or(said.told_delay);
    let wait = match row.hint {
        _ if kind.proof() != Proof::Answer => Wait::None,
        Heeded => named().map_or(row.wait, Wait::For),
        Hint::Ignored => row.wait,
    };
    Fault { kind, wait, quotas: said.quotas, project: said.project }
}

pub(crate) fn kind(answer: &Answer<'_>, said: &Said) -> Kind {
    match answer.status {
        429 => quota(answer, said),
        402 => Kind::CreditsGone,
        400 => reason(said).unwrap_or_else(|| bad_request(said)),
        401 => reason(said).unwrap_or_else(|| unauthenticated(said)),
        403 => reason(said).unwrap_or_else(|| permission_denied(said)),
        404 => reason(said).unwrap_or_else(|| not_found(said)),
        499 => Kind::Cancelled,
        503 => Kind::Overloaded,
        504 => Kind::DeadlineExceeded,
        // Nobody will have implemented it by the next try.
        501 => Kind::Client,
        500..=599 => Kind::Internal,
        _ => Kind::Client,
    }
}

/// The reasons of Google's `error_reason.proto` that speak of the key or its project.
fn reason(said: &Said) -> Option<Kind> {
    Some(match said.reason.as_deref()? {
        "API_KEY_INVALID" => Kind::KeyInvalid,
        "ACCESS_TOKEN_TYPE_UNSUPPORTED" => Kind::KeyUnauthenticated,
        "CONSUMER_SUSPENDED" | "CONSUMER_INVALID" => Kind::KeySuspended,
        "BILLING_DISABLED" => Kind::BillingDisabled,
        "SERVICE_DISABLED" => Kind::ServiceDisabled,
        "API_KEY_SERVICE_BLOCKED" if said.names_method => Kind::MethodBlocked,
        "API_KEY_SERVICE_BLOCKED"
        | "API_KEY_HTTP_REFERRER_BLOCKED"
        | "API_KEY_IP_ADDRESS_BLOCKED"
        | "API_KEY_ANDROID_APP_BLOCKED"
        | "API_KEY_IOS_APP_BLOCKED" => Kind::KeyRestricted,
        _ => return None,
    })
}

fn bad_request(said: &Said) -> Kind {
    let starts = |words: &str| said.message.starts_with(words);
    if said.reason.is_none()
        && !said.quotes_request
        && ["api key not valid", "api key not found", "api key expired", "please pass a valid api key"]
            .into_iter()
            .any(starts)
    {
        Kind::KeyInvalid
    } else if starts("multiple authentication credentials") {
        Kind::CredentialsMultiple
    } else if starts("user location is not supported") {
        Kind::LocationUnsupported
    } else if said.failed_precondition && !said.quotes_request && speaks_of_project(&said.message) {
        Kind::ProjectUnfit
    } else {
        Kind::Client
    }
}

/// Whether a precondition is one that another project may meet.
fn speaks_of_project(message: &str) -> bool {
    const WORDS: [&str; 7] = ["billing", "billed", " tier", "country", "countries", "location", "region"];
    WORDS.into_iter().any(|word| message.contains(word))
}

fn unauthenticated(said: &Said) -> Kind {
    if said.message.starts_with("api keys are not supported by this api") {
        // A method that takes OAuth only, such as `files:register`: the key is well.
        Kind::Client
    } else if said.reason.as_deref() == Some("CREDENTIALS_MISSING") {
        Kind::CredentialMissing
    } else if said.is_google {
        Kind::KeyUnauthenticated
    } else {
        // What could not be read is not a reason to retire a key.
        Kind::Forbidden
    }
}

fn permission_denied(said: &Said) -> Kind {
    let starts = |words: &str| said.message.starts_with(words);
    if starts("your api key was reported as leaked") {
        Kind::KeySuspended
    } else if starts("method doesn't allow unregistered callers") {
        Kind::CredentialMissing
    } else if said.reason.is_some() {
        Kind::Forbidden
    } else if starts("permission denied: consumer") && said.message.contains("has been suspended") {
        Kind::KeySuspended
    } else if starts("requests to this api") && said.message.contains("are blocked") {
        Kind::MethodBlocked
    } else if starts("requests ") && said.message.contains("are blocked") {
        Kind::KeyRestricted
    } else if starts("you do not have permission to access") {
        // First, since it goes on with a name that the client has chosen.
        Kind::ResourceUnreachable
    } else if is_disabled(&said.message) {
        Kind::ServiceDisabled
    } else if said.message.contains("may not exist") || said.message.contains("or permission denied") {
        Kind::ResourceUnreachable
    } else {
        Kind::Forbidden
    }
}

/// Whether it says that the project does not use an API: "Generative Language API has not been used in project 1 before ...".
/// Before these words stands the API's title and nothing else.
fn is_disabled(message: &str) -> bool {
    let title = message.split_once(" has not been used in project ").map(|(title, _)| title);
    let is_title = |title: &str| title.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b' ');
    title.is_some_and(|title| title.ends_with(" api") && title.len() < 64 && is_title(title))
}

fn not_found(said: &Said) -> Kind {
    if said.message.contains("no longer available to new users") {
        Kind::ModelWithheld
    } else if !said.is_google
        || said.word.as_deref() == Some("model_not_found")
        || said.message.starts_with("models/")
        || said.message.contains("for api version")
    {
        Kind::Client
    } else {
        Kind::ResourceUnreachable
    }
}

fn quota(answer: &Answer<'_>, said: &Said) -> Kind {
    let window = |wanted| said.quotas.iter().any(|quota: &Quota| quota.window == wanted);
    let says = |words: &str| said.message.contains(words);
    // Of several the longest wait: a limit of zero, a day, a minute.
    if says("prepayment credits") {
        Kind::CreditsGone
    } else if says("spending cap") {
        Kind::SpendingCap
    } else if said.quotas.iter().any(|quota| quota.limit == Some(0))
        || says_limit_zero(&said.message)
        || says("doesn't have a free quota tier")
    {
        Kind::QuotaZero
    } else if window(QuotaWindow::Day) || said.word.as_deref() == Some("quota_exceeded") {
        Kind::QuotaDay
    } else if window(QuotaWindow::Minute) {
        Kind::QuotaMinute
    } else if answer.tools
        && says("exceeded your current quota")
        && said.quotas.is_empty()
        && said.retry_delay.is_none()
    {
        Kind::QuotaUnnamed
    } else {
        Kind::QuotaBare
    }
}

/// Google leaves `quotaValue` out when it is zero (protobuf's default); the message still has it.
fn says_limit_zero(message: &str) -> bool {
    let words = "limit: 0";
    message.match_indices(words).any(|(at, _)| {
        !message[at + words.len()..].starts_with(|next: char| next.is_ascii_digit() || next == '.')
    })
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(header: Option<&str>, now_wall_secs: i64) -> Option<Duration> {
    let header = header?.trim();
    let wait = if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(header.parse().unwrap_or(u64::MAX))
    } else {
        let now = Duration::from_secs(u64::try_from(now_wall_secs).ok()?);
        let then: SystemTime = httpdate::parse_http_date(header).ok()?;
        then.duration_since(UNIX_EPOCH).ok()?.checked_sub(now)?
    };
    believed(wait)
}
