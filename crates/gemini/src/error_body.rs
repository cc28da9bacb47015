//! Google's error bodies, read leniently: an object or a one-element array, a numeric or a string `code`, details that
//! may be missing or odd, or no JSON at all. What was said is collected here; what it means is `classify`'s business.

use std::time::Duration;

use serde_json::Value;

use crate::fault::{Quota, QuotaUnit, QuotaWindow};

/// The longest wait that is believed.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// A body beyond this is no error of Google's: its text is not read, its status decides.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// An error that is nested deeper is none of Google's.
const MAX_DEPTH: usize = 64;

/// `QuotaFailure` violations kept of one answer. Google sends one to four.
const MAX_QUOTAS: usize = 16;

/// What an error body says.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Whether it was an error object as Google writes them.
    pub(crate) is_google: bool,
    /// `code`, when it is one of the Interactions API's words.
    pub(crate) word: Option<String>,
    /// Whether `status` is `FAILED_PRECONDITION`.
    pub(crate) failed_precondition: bool,
    /// `message`, in small letters. Of a body that is not JSON, nothing.
    pub(crate) message: String,
    /// `reason` of an `ErrorInfo`.
    pub(crate) reason: Option<String>,
    /// Whether that names the method which is refused.
    pub(crate) names_method: bool,
    /// The number of `projects/N`.
    pub(crate) project: Option<Box<str>>,
    /// Every violation of every `QuotaFailure`.
    pub(crate) quotas: Vec<Quota>,
    /// The longest `retryDelay` of a `RetryInfo`.
    pub(crate) retry_delay: Option<Duration>,
    /// The wait that the message names, as Google's do: "Please retry in 34.07s."
    pub(crate) told_delay: Option<Duration>,
    /// The quota that an `ErrorInfo` names.
    pub(crate) info_quota: Option<Quota>,
    /// Whether there is a `BadRequest` detail, which quotes the request.
    pub(crate) quotes_request: bool,
}

impl Said {
    /// Reads a decoded body.
    pub(crate) fn read(body: &[u8]) -> Self {
        if body.len() > MAX_BODY_BYTES {
            return Self::default();
        }
        let Ok(document) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        let Some(error) = error_of(&document) else { return Self::default() };
        let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();

        let mut said = Self {
            is_google: is_googles_form(error),
            word: error.get("code").and_then(Value::as_str).map(str::to_owned),
            failed_precondition: text("status") == "FAILED_PRECONDITION",
            message: text("message").to_ascii_lowercase(),
            ..Self::default()
        };
        if let Some(words) = error.as_str() {
            said.message = words.to_ascii_lowercase();
        }
        for detail in error.get("details").and_then(Value::as_array).into_iter().flatten() {
            said.add(detail);
        }
        // What is explicit goes first.
        if said.quotas.is_empty() {
            said.quotas.extend(said.info_quota.take().or_else(|| told_quota(&said.message)));
        }
        said.told_delay = told_delay(&said.message);
        said
    }

    /// The HTTP status that the error states in itself, by number or by name.
    fn stated_status(error: &Value) -> u16 {
        let name = |key: &str| error.get(key).and_then(Value::as_str);
        let number = match error.get("code") {
            Some(Value::String(digits)) => digits.parse().ok(),
            Some(code) => code.as_u64(),
            None => None,
        };
        match number {
            Some(number @ 400..=599) => u16::try_from(number).unwrap_or(500),
            _ => name("status").or(name("code")).and_then(status_of_word).unwrap_or(500),
        }
    }

    fn add(&mut self, detail: &Value) {
        let kind = detail.get("@type").and_then(Value::as_str).unwrap_or_default();
        let kind = kind.rsplit(['.', '/']).next().unwrap_or_default();
        match kind {
            "ErrorInfo" => {
                let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
                self.reason = self.reason.take().or(text(detail.get("reason")));
                self.names_method |= detail.pointer("/metadata/methodName").is_some();
                let consumer = text(detail.pointer("/metadata/consumer"));
                let project = consumer.as_deref().and_then(|consumer| consumer.strip_prefix("projects/"));
                self.project = self.project.take().or(project.map(Box::from));
                let text = |name: &str| detail.get("metadata")?.get(name)?.as_str();
                if let Some(id) = text("quota_limit") {
                    let limit = text("quota_limit_value").and_then(|digits| digits.parse().ok());
                    let metric = text("quota_metric").unwrap_or_default();
                    self.info_quota = Some(named_quota(id, metric, limit, None));
                }
            }
            "QuotaFailure" => {
                let violations = detail.get("violations").and_then(Value::as_array);
                let room = MAX_QUOTAS.saturating_sub(self.quotas.len());
                self.quotas.extend(violations.into_iter().flatten().take(room).map(quota));
            }
            "RetryInfo" => {
                self.retry_delay = self.retry_delay.max(detail.get("retryDelay").and_then(duration));
            }
            "BadRequest" => self.quotes_request = true,
            _ => {}
        }
    }
}

/// The HTTP status that an error document states, or `None` when the document is no error.
pub(crate) fn stated_status(document: &[u8]) -> Option<u16> {
    let document = serde_json::from_slice::<Value>(document).ok()?;
    error_of(&document).map(Said::stated_status)
}

/// The message of an error document, as Google has written it.
pub fn error_message(body: &[u8]) -> Option<String> {
    let document = serde_json::from_slice::<Value>(body).ok()?;
    let error = error_of(&document)?;
    error.as_str().or_else(|| error.get("message")?.as_str()).map(str::to_owned)
}

/// The message of an error document that broke off, as far as it came.
pub fn error_message_of_part(body: &[u8]) -> Option<String> {
    error_message(body).or_else(|| error_message(&mended(body)?))
}

/// Returns what an error document says, for people: its status or code in words, and its message. `None` of what is no error.
pub fn error_words(body: &[u8]) -> Option<String> {
    let message = error_message_of_part(body)?;
    let document = serde_json::from_slice::<Value>(body).ok();
    let error = document.as_ref().and_then(error_of);
    let word = |name: &str| error.and_then(|error| error.get(name)).and_then(Value::as_str);
    Some(match word("status").or_else(|| word("code")) {
        Some(status) => format!("{status}: {message}"),
        None => message,
    })
}

/// A JSON document that broke off, as whole as can be: cut after the last value that was whole, and closed. `None` for
/// what is no beginning of a document.
pub(crate) fn mended(body: &[u8]) -> Option<Vec<u8>> {
    let body = &body[..body.len().min(MAX_BODY_BYTES)];
    let mut closers = Vec::new();
    let mut cut = None;
    let (mut in_string, mut escaped, mut is_value) = (false, false, false);
    for (at, &byte) in body.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    in_string = false;
                    if is_value {
                        cut = Some(at + 1);
                    }
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b':' => is_value = true,
            b',' => {
                is_value = closers.last() == Some(&b']');
                cut = Some(at);
            }
            b'{' | b'[' => {
                if closers.len() >= MAX_DEPTH {
                    return None;
                }
                closers.push(if byte == b'{' { b'}' } else { b']' });
                is_value = byte == b'[';
                cut = Some(at + 1);
            }
            b'}' | b']' => {
                closers.pop();
                cut = Some(at + 1);
            }
            _ => {}
        }
    }
    let mut whole = body[..cut?].to_vec();
    whole.extend(closers.iter().rev());
    Some(whole)
}

/// Google's errors are objects with a message, a code by number or by word, or a status by name. A middlebox's
/// `{"error":"blocked"}` is not.
fn is_googles_form(error: &Value) -> bool {
    let has = |name: &str, is: fn(&Value) -> bool| error.get(name).is_some_and(is);
    let is_text = Value::is_string;
    has("code", |code| code.is_u64() || code.is_string()) || has("message", is_text) || has("status", is_text)
}

/// The error of `{"error":...}` or `[{"error":...}]`. OpenAI's objects may hold `"error":null`.
fn error_of(document: &Value) -> Option<&Value> {
    let object = match document {
        Value::Array(elements) => elements.first()?,
        other => other,
    };
    object.get("error").filter(|error| error.is_object() || error.is_string())
}

/// The words for which Google's HTTP mapping of `google.rpc.Code` and the Interactions API's notes give a status.
fn status_of_word(word: &str) -> Option<u16> {
    Some(match word {
        "INVALID_ARGUMENT"
        | "FAILED_PRECONDITION"
        | "OUT_OF_RANGE"
        | "invalid_request"
        | "parameter_unknown" => 400,
        "UNAUTHENTICATED" | "authentication" => 401,
        "payment_required" => 402,
        "PERMISSION_DENIED" | "permission_denied" => 403,
        "NOT_FOUND" | "not_found" | "model_not_found" => 404,
        "ALREADY_EXISTS" | "ABORTED" | "aborted" => 409,
        "out_of_range" => 416,
        "RESOURCE_EXHAUSTED" | "rate_limit_exceeded" | "quota_exceeded" | "too_many_requests" => 429,
        "CANCELLED" => 499,
        "INTERNAL" | "UNKNOWN" | "DATA_LOSS" | "api_error" => 500,
        "UNIMPLEMENTED" | "unimplemented" => 501,
        "UNAVAILABLE" | "service_unavailable" => 503,
        "DEADLINE_EXCEEDED" | "deadline_exceeded" => 504,
        _ => return None,
    })
}

fn quota(violation: &Value) -> Quota {
    let text = |name: &str| violation.get(name).and_then(Value::as_str).unwrap_or_default();
    let id = text("quotaId");
    let limit = match violation.get("quotaValue") {
        Some(Value::String(digits)) => digits.parse().ok(),
        Some(number) => number.as_u64(),
        None => None,
    };
    let model = violation.pointer("/quotaDimensions/model").and_then(Value::as_str);
    named_quota(id, text("quotaMetric"), limit, model)
}

/// The quota that a message names where there are no details: "Quota exceeded for metric: M, limit: 20, model: gemini-x".
fn told_quota(message: &str) -> Option<Quota> {
    let after = |words: &str| {
        let rest = &message[message.find(words)? + words.len()..];
        rest.split([',', '\n', ' ']).next().map(|value| value.trim_end_matches('.'))
    };
    let metric = after("metric: ")?;
    let limit = after("limit: ").and_then(|digits| digits.parse().ok());
    let model = after("model: ").filter(|model| !model.is_empty());
    Some(named_quota("", metric, limit, model))
}

/// The wait of "Please retry in 34.07s.", "in 1h2m3.5s." or "in 563.2ms."
fn told_delay(message: &str) -> Option<Duration> {
    let words = "please retry in ";
    let text = message[message.find(words)? + words.len()..].split([' ', '\n', ',']).next()?;
    let mut rest = text.trim_end_matches('.');
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|sign: char| !sign.is_ascii_digit() && sign != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, of_seconds) = [("ms", 0.001), ("h", 3600.0), ("m", 60.0), ("s", 1.0)]
            .into_iter()
            .find(|(unit, _)| rest.starts_with(unit))?;
        seconds += number * of_seconds;
        rest = &rest[unit.len()..];
    }
    believed(Duration::try_from_secs_f64(seconds).ok()?)
}

/// A quota by its id, such as `GenerateRequestsPerDayPerProjectPerModel-FreeTier`, or by its metric where that says more.
fn named_quota(id: &str, metric: &str, limit: Option<u64>, model: Option<&str>) -> Quota {
    // The metric's spelling has no capitals.
    let per = |window: &str, in_metric: &str| id.contains(window) || metric.contains(in_metric);
    let unit = if id.contains("InputTokens") || metric.contains("input_token") {
        QuotaUnit::InputTokens
    } else if id.contains("Requests") || metric.contains("requests") {
        QuotaUnit::Requests
    } else {
        QuotaUnit::Other
    };
    let window = if per("PerDay", "per_day") {
        QuotaWindow::Day
    } else if per("PerMinute", "per_minute") {
        QuotaWindow::Minute
    } else {
        QuotaWindow::Other
    };
    Quota { id: id.into(), unit, window, limit, model: model.map(Box::from) }
}

/// A protobuf Duration in JSON: `"34s"`, `"38.2s"`; its `{seconds, nanos}` form is taken too. Nothing of zero, of
/// less, or that cannot be read.
fn duration(value: &Value) -> Option<Duration> {
    let wait = match value {
        Value::String(text) => {
            let text = text.strip_suffix('s')?;
            let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            if seconds.is_empty() || !digits(seconds) || !digits(fraction) {
                return None;
            }
            // Digits that overflow are a long time.
            let seconds = seconds.parse().unwrap_or(u64::MAX);
            let nanos = format!("{fraction:0<9.9}").parse().ok()?;
            Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos))
        }
        Value::Object(fields) => {
            let number = |name: &str| match fields.get(name) {
                Some(Value::String(digits)) => digits.parse().ok(),
                Some(number) => number.as_u64(),
                None => Some(0),
            };
            Duration::from_secs(number("seconds")?).saturating_add(Duration::from_nanos(number("nanos")?))
        }
        _ => return None,
    };
    believed(wait)
}

/// A wait worth heeding: not zero, and no longer than a day.
pub(crate) fn believed(wait: Duration) -> Option<Duration> {
    (!wait.is_zero()).then(|| wait.min(MAX_WAIT))
}
