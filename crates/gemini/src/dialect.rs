//! The two formats a caller may speak, and the errors that the gateway makes itself in each of them, as a whole
//! answer and inside a stream that has begun. Google's own errors never pass through here: they are relayed.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

/// The format a caller speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Google's own: errors are `google.rpc.Status` in JSON.
    Gemini,
    /// OpenAI's: errors are OpenAI's error object.
    OpenAi,
}

/// The JSON form of an error, which clients decide by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorForm {
    /// `google.rpc.Status`, with its `details`.
    Status,
    /// `{"error": {"code": "not_found", "message": ...}}`: Google's of interactions and what has come with them.
    Worded,
    /// OpenAI's error object.
    OpenAi,
}

/// How a streamed answer that has begun is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamForm {
    /// Native `alt=sse`.
    Sse,
    /// Native without `alt`: one JSON array, an element an event.
    JsonArray,
    /// An interaction's server-sent events, each with its type.
    Interaction,
    /// The OpenAI layer's server-sent events.
    OpenAi,
}

/// Returns what `Retry-After` says of a wait: whole seconds, rounded up, at least one.
pub fn whole_seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
}

/// An error that the gateway makes itself.
#[derive(Clone, Debug)]
pub struct GatewayError<'a> {
    /// The HTTP status it is answered with.
    pub status: u16,
    /// The canonical code of `google.rpc.Code`, such as `UNAVAILABLE`.
    pub grpc_status: &'a str,
    /// What is wrong and what to do, for a person.
    pub message: Cow<'a, str>,
    /// When to try again, if that is known: `Retry-After` for those who read headers.
    pub retry_in: Option<Duration>,
    /// The quota of Google's that is spent, if it is known which.
    pub quota: Option<SpentQuota<'a>>,
    /// The `type` and the `code` in OpenAI's form, where they are not those that go with the status.
    pub openai: Option<(&'static str, Option<&'static str>)>,
}

/// A quota that stands in the way of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentQuota<'a> {
    /// As Google wrote it, such as `GenerateRequestsPerDayPerProjectPerModel-FreeTier`.
    pub id: Cow<'a, str>,
    /// The model it is of.
    pub model: Option<Cow<'a, str>>,
}

impl SpentQuota<'_> {
    /// Whether it comes back with a new day or month and not before: clients give up on such a one.
    pub fn is_daily(&self) -> bool {
        self.id.contains("PerDay") || self.id.contains("PerMonth")
    }
}

#[derive(Serialize)]
struct Envelope<T> {
    error: T,
}

#[derive(Serialize)]
struct Native<'a> {
    code: u16,
    message: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Detail<'a>>,
}

/// What Google's clients decide by, rather than by headers.
#[derive(Serialize)]
#[serde(tag = "@type")]
enum Detail<'a> {
    #[serde(rename = "type.googleapis.com/google.rpc.QuotaFailure")]
    QuotaFailure { violations: [Violation<'a>; 1] },
    #[serde(rename = "type.googleapis.com/google.rpc.RetryInfo", rename_all = "camelCase")]
    RetryInfo { retry_delay: String },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Violation<'a> {
    quota_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota_dimensions: Option<Dimensions<'a>>,
}

#[derive(Serialize)]
struct Dimensions<'a> {
    model: &'a str,
}

#[derive(Serialize)]
struct Worded<'a> {
    code: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct ErrorEvent<'a> {
    event_type: &'static str,
    error: Worded<'a>,
}

#[derive(Serialize)]
struct OpenAi<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl<'a> GatewayError<'a> {
    /// An error of which no more is known.
    pub fn new(status: u16, grpc_status: &'a str, message: impl Into<Cow<'a, str>>) -> Self {
        Self { status, grpc_status, message: message.into(), retry_in: None, quota: None, openai: None }
    }

    /// The body of an answer, as JSON.
    pub fn body(&self, form: ErrorForm) -> String {
        let json = match form {
            ErrorForm::Status => serde_json::to_string(&Envelope {
                error: Native {
                    code: self.status,
                    message: &self.message,
                    status: self.grpc_status,
                    details: self.details(),
                },
            }),
            ErrorForm::Worded => serde_json::to_string(&Envelope { error: self.worded() }),
            ErrorForm::OpenAi => {
                let (r#type, code) = self.openai_words();
                serde_json::to_string(&Envelope {
                    error: OpenAi { message: &self.message, r#type, param: None, code },
                })
            }
        };
        // Strings and integers always serialise.
        json.unwrap_or_default()
    }

    /// The last thing a client reads of a stream that cannot go on. Google's SDKs and OpenAI's raise on each of these
    /// forms. A JSON array is left open on purpose: a closed one would read as a whole answer.
    pub fn stream_event(&self, form: StreamForm) -> String {
        match form {
            StreamForm::Sse => format!("data: {}\r\n\r\n", self.body(ErrorForm::Status)),
            StreamForm::JsonArray => format!(",{}", self.body(ErrorForm::Status)),
            StreamForm::Interaction => {
                let event = ErrorEvent { event_type: "error", error: self.worded() };
                format!("event: error\ndata: {}\n\n", serde_json::to_string(&event).unwrap_or_default())
            }
            StreamForm::OpenAi => format!("data: {}\n\n", self.body(ErrorForm::OpenAi)),
        }
    }

    /// What `Retry-After` says: whole seconds, at least one.
    pub fn retry_after_s(&self) -> Option<u64> {
        self.retry_in.map(whole_seconds)
    }

    fn details(&self) -> Vec<Detail<'_>> {
        let quota = self.quota.as_ref().map(|quota| Detail::QuotaFailure {
            violations: [Violation {
                quota_id: &quota.id,
                quota_dimensions: quota.model.as_deref().map(|model| Dimensions { model }),
            }],
        });
        let retry = self.retry_after_s().map(|s| Detail::RetryInfo { retry_delay: format!("{s}s") });
        quota.into_iter().chain(retry).collect()
    }

    fn is_spent_for_the_day(&self) -> bool {
        self.quota.as_ref().is_some_and(SpentQuota::is_daily)
    }

    fn worded(&self) -> Worded<'_> {
        let code = match self.status {
            401 => "authentication",
            402 => "payment_required",
            403 => "permission_denied",
            404 => "not_found",
            409 => "aborted",
            416 => "out_of_range",
            429 if self.is_spent_for_the_day() => "quota_exceeded",
            429 => "rate_limit_exceeded",
            400..=499 => "invalid_request",
            501 => "unimplemented",
            503 => "service_unavailable",
            504 => "deadline_exceeded",
            _ => "api_error",
        };
        Worded { code, message: &self.message }
    }

    /// The `type` and the `code` that OpenAI's API gives such an error.
    pub fn openai_words(&self) -> (&'static str, Option<&'static str>) {
        if let Some(words) = self.openai {
            return words;
        }
        match self.status {
            401 => ("invalid_request_error", Some("invalid_api_key")),
            403 => ("permission_error", None),
            404 => ("invalid_request_error", Some("not_found")),
            429 if self.is_spent_for_the_day() => ("insufficient_quota", Some("insufficient_quota")),
            429 => ("rate_limit_error", Some("rate_limit_exceeded")),
            400..=499 => ("invalid_request_error", None),
            503 => ("server_error", Some("service_unavailable")),
            504 => ("server_error", Some("timeout")),
            _ => ("server_error", None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn unavailable() -> GatewayError<'static> {
        GatewayError::new(503, "UNAVAILABLE", "upstream \"broke\"\n off")
    }

    fn spent(id: &'static str) -> GatewayError<'static> {
        let quota = Some(SpentQuota { id: id.into(), model: Some("gemini-x".into()) });
        let retry_in = Some(Duration::from_millis(20_316_001));
        GatewayError { retry_in, quota, ..GatewayError::new(429, "RESOURCE_EXHAUSTED", "spent") }
    }

    #[test]
    fn a_native_error_is_a_google_rpc_status_with_its_text_escaped() {
        assert_eq!(
            unavailable().body(ErrorForm::Status),
            r#"{"error":{"code":503,"message":"upstream \"broke\"\n off","status":"UNAVAILABLE"}}"#
        );
    }

    #[test]
    fn a_native_refusal_says_in_its_details_what_is_spent_and_for_how_long() {
        let id = "GenerateRequestsPerDayPerProjectPerModel-FreeTier";
        let body: Value = serde_json::from_str(&spent(id).body(ErrorForm::Status)).unwrap();
        assert_eq!(
            body["error"]["details"],
            json!([
                {
                    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                    "violations": [{"quotaId": id, "quotaDimensions": {"model": "gemini-x"}}],
                },
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "20317s"},
            ])
        );
        let later = GatewayError { retry_in: Some(Duration::ZERO), ..unavailable() };
        let body: Value = serde_json::from_str(&later.body(ErrorForm::Status)).unwrap();
        assert_eq!(
            body["error"]["details"],
            json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}])
        );
        let event = later.stream_event(StreamForm::Sse);
        assert!(event.contains("RetryInfo"), "{event}");
    }

    #[test]
    fn openai_and_interactions_have_words_of_their_own_for_a_spent_day() {
        for (id, kind, code, word) in [
            (
                "GenerateRequestsPerDayPerProjectPerModel",
                "insufficient_quota",
                "insufficient_quota",
                "quota_exceeded",
            ),
            (
                "GenerateContentInputTokensPerModelPerDay-FreeTier",
                "insufficient_quota",
                "insufficient_quota",
                "quota_exceeded",
            ),
            (
                "GenerateRequestsPerMinutePerProjectPerModel",
                "rate_limit_error",
                "rate_limit_exceeded",
                "rate_limit_exceeded",
            ),
        ] {
            let body: Value = serde_json::from_str(&spent(id).body(ErrorForm::OpenAi)).unwrap();
            assert_eq!(body["error"]["type"], kind);
            assert_eq!(body["error"]["code"], code);
            let body = spent(id).body(ErrorForm::Worded);
            assert_eq!(body, format!(r#"{{"error":{{"code":"{word}","message":"spent"}}}}"#));
        }
    }

    #[test]
    fn an_openai_error_has_openais_four_members() {
        let body = |status, grpc, message| GatewayError::new(status, grpc, message).body(ErrorForm::OpenAi);
        assert_eq!(
            body(401, "UNAUTHENTICATED", "no such token"),
            r#"{"error":{"message":"no such token","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#
        );
        assert_eq!(
            body(429, "RESOURCE_EXHAUSTED", "wait"),
            r#"{"error":{"message":"wait","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}"#
        );
        assert_eq!(
            body(400, "INVALID_ARGUMENT", "no"),
            r#"{"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}"#
        );
    }

    #[test]
    fn a_native_stream_ends_with_an_event_whose_first_key_is_error() {
        assert_eq!(
            unavailable().stream_event(StreamForm::Sse),
            "data: {\"error\":{\"code\":503,\"message\":\"upstream \\\"broke\\\"\\n off\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n"
        );
    }

    #[test]
    fn an_interactions_stream_ends_with_an_error_event() {
        assert_eq!(
            GatewayError::new(503, "UNAVAILABLE", "off").stream_event(StreamForm::Interaction),
            "event: error\ndata: {\"event_type\":\"error\",\"error\":{\"code\":\"service_unavailable\",\"message\":\"off\"}}\n\n"
        );
    }

    #[test]
    fn an_openai_stream_ends_with_an_error_object_and_no_done() {
        let event = unavailable().stream_event(StreamForm::OpenAi);
        assert!(event.starts_with("data: {\"error\":{\"message\":\"upstream"), "{event}");
        assert!(event.ends_with("\"code\":\"service_unavailable\"}}\n\n"), "{event}");
    }

    #[test]
    fn a_json_array_gets_an_error_element_and_stays_open() {
        let event = unavailable().stream_event(StreamForm::JsonArray);
        assert!(event.starts_with(",{\"error\":{\"code\":503,"), "{event}");
        assert!(serde_json::from_str::<serde_json::Value>(&format!("[{{}}{event}")).is_err());
        assert!(serde_json::from_str::<serde_json::Value>(&format!("[{{}}{event}]")).is_ok());
    }
}
