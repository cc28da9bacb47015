//! Google's error bodies: the `google.rpc.Status` envelope in the frames Google uses. Who is at fault is decided by the callers.

use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

/// The service name in Google's error details.
pub(crate) const SERVICE: &str = "generativelanguage.googleapis.com";

/// How an error body is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// `{"error": {...}}`: the native surface.
    Object,
    /// `[{"error": {...}}]`: the OpenAI layer, and `streamGenerateContent` without `alt=sse`.
    Array,
    /// `{"error": {"code": "not_found", "message": ...}}`: interactions and what came with them.
    Worded,
}

/// An error as Google reports it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ApiError {
    code: u16,
    message: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Value>,
}

#[derive(Serialize)]
struct Envelope<T> {
    error: T,
}

/// The error of a resource that has come with the interactions.
#[derive(Serialize)]
struct Worded<'a> {
    code: &'static str,
    message: &'a str,
}

impl ApiError {
    /// An error of HTTP status `code`, with the `status` word that goes with it and no details.
    pub(crate) fn new(code: u16, message: impl Into<String>) -> Self {
        let status = match code {
            400 => "INVALID_ARGUMENT",
            401 => "UNAUTHENTICATED",
            402 | 429 => "RESOURCE_EXHAUSTED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            409 => "ABORTED",
            416 => "OUT_OF_RANGE",
            499 => "CANCELLED",
            501 => "UNIMPLEMENTED",
            503 => "UNAVAILABLE",
            504 => "DEADLINE_EXCEEDED",
            500..=599 => "INTERNAL",
            _ => "UNKNOWN",
        };
        Self { code, message: message.into(), status, details: Vec::new() }
    }

    /// What Google usually says with this status when nothing more is known.
    pub(crate) fn usual(code: u16) -> Self {
        match code {
            400 => Self::new(400, "Request contains an invalid argument."),
            401 => Self::unauthenticated("google.ai.generativelanguage.v1beta.GenerativeService"),
            402 => Self::new(402, "Your prepayment credits are depleted."),
            403 => Self::new(403, "The caller does not have permission"),
            404 => Self::new(404, "Requested entity was not found."),
            429 => Self::new(429, "Resource has been exhausted (e.g. check quota)."),
            500 => Self::new(
                500,
                "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/troubleshooting",
            ),
            503 => Self::new(503, "The model is overloaded. Please try again later."),
            504 => Self::new(504, "Deadline expired before operation could complete."),
            _ => Self::new(code, "The request failed."),
        }
    }

    pub(crate) fn status(mut self, status: &'static str) -> Self {
        self.status = status;
        self
    }

    /// Adds any detail object.
    pub(crate) fn detail(mut self, detail: Value) -> Self {
        self.details.push(detail);
        self
    }

    /// Adds a `google.rpc.ErrorInfo`.
    pub(crate) fn info(self, reason: &str, metadata: &Value) -> Self {
        self.detail(json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "googleapis.com",
            "metadata": metadata,
        }))
    }

    /// Adds a `google.rpc.Help` with one link.
    pub(crate) fn help(self, description: &str, url: &str) -> Self {
        self.detail(json!({
            "@type": "type.googleapis.com/google.rpc.Help",
            "links": [{"description": description, "url": url}],
        }))
    }

    pub(crate) fn key_invalid(message: &str) -> Self {
        Self::new(400, message).info("API_KEY_INVALID", &json!({"service": SERVICE}))
    }

    pub(crate) fn unauthenticated(method: &str) -> Self {
        Self::new(
            401,
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        )
        .info("ACCESS_TOKEN_TYPE_UNSUPPORTED", &json!({"method": method, "service": SERVICE}))
    }

    /// A good key where only OAuth will do (recorded on Vertex AI, Apr 2025).
    pub(crate) fn keys_unsupported(method: &str) -> Self {
        Self::new(
            401,
            "API keys are not supported by this API. Expected OAuth2 access token or other authentication credentials that assert a principal. See https://cloud.google.com/docs/authentication",
        )
        .info("CREDENTIALS_MISSING", &json!({"method": method, "service": SERVICE}))
    }

    pub(crate) fn multiple_credentials() -> Self {
        Self::new(400, "Multiple authentication credentials received. Please pass only one.")
    }

    pub(crate) fn unregistered() -> Self {
        Self::new(
            403,
            "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API.",
        )
    }

    /// A field of the request that Google has never heard of.
    pub(crate) fn unknown_field(name: &str) -> Self {
        let description =
            format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field.");
        Self::new(400, description.clone()).detail(json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"description": description}],
        }))
    }

    /// Fields of the request that cannot be read: where each is, and what is wrong with it.
    pub(crate) fn unreadable_fields(violations: &[(String, String)]) -> Self {
        let descriptions: Vec<&str> = violations.iter().map(|(_, wrong)| wrong.as_str()).collect();
        let violations: Vec<Value> = violations
            .iter()
            .map(|(field, description)| json!({"field": field, "description": description}))
            .collect();
        Self::new(400, descriptions.join("\n")).detail(json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": violations,
        }))
    }

    /// A function call of the turn under way without its signature; `position` counts contents from 1.
    pub(crate) fn signature_missing(function: &str, position: Option<usize>) -> Self {
        let position = position.map(|position| format!(" , position {position}")).unwrap_or_default();
        Self::new(
            400,
            format!(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance. Additional data, function call `default_api:{function}`{position}. Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
            ),
        )
    }

    pub(crate) fn signature_corrupted() -> Self {
        Self::new(400, "Corrupted thought signature.")
    }

    /// A prompt over the model's limit.
    pub(crate) fn input_too_long(tokens: u64, limit: u64) -> Self {
        Self::new(
            400,
            format!(
                "The input token count ({tokens}) exceeds the maximum number of tokens allowed ({limit})."
            ),
        )
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn code(&self) -> StatusCode {
        StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Indented by two spaces and ended by a newline, as Google writes its bodies.
    pub(crate) fn pretty(&self, frame: Frame) -> String {
        let envelope = Envelope { error: self };
        let text = match frame {
            Frame::Object => serde_json::to_string_pretty(&envelope),
            Frame::Array => serde_json::to_string_pretty(&[envelope]),
            // What is said of a key comes from the front end, which all surfaces share.
            Frame::Worded if self.is_of_key() => serde_json::to_string_pretty(&envelope),
            Frame::Worded => {
                let error = Worded { code: self.word(), message: &self.message };
                serde_json::to_string_pretty(&Envelope { error })
            }
        };
        text.unwrap_or_default() + "\n"
    }

    fn is_of_key(&self) -> bool {
        let info = "type.googleapis.com/google.rpc.ErrorInfo";
        self.details.iter().any(|detail| detail.get("@type").is_some_and(|kind| kind == info))
    }

    /// The code in words (Google's page on interactions, Sep 2026).
    fn word(&self) -> &'static str {
        match self.code {
            400 if self.message.contains("Unknown name") => "parameter_unknown",
            400 => "invalid_request",
            401 => "authentication",
            402 => "payment_required",
            403 => "permission_denied",
            404 if self.message.starts_with("models/") => "model_not_found",
            404 => "not_found",
            409 => "aborted",
            416 => "out_of_range",
            429 if self.details.iter().any(|detail| detail.to_string().contains("PerDay")) => {
                "quota_exceeded"
            }
            429 => "rate_limit_exceeded",
            501 => "unimplemented",
            503 => "service_unavailable",
            504 => "deadline_exceeded",
            _ => "api_error",
        }
    }

    /// On one line, as an event of a stream needs it.
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(&Envelope { error: self }).unwrap_or_default()
    }
}
