//! Errors in Anthropic's words: its types, its body, and which of them a translation's, an answer's or Google's error is.
//! The HTTP face sends them, and chooses its own statuses for what is wrong with the gateway.

use serde::{Serialize, Serializer};

use crate::call::AnswerFault;
use crate::error::{FieldPath, TranslationError};
use crate::gemini::{GoogleFailure, PromptTooLong, without_projects};

/// `error.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// 400: the request cannot be served as it is.
    InvalidRequest,
    /// 401: the credential is none of ours.
    Authentication,
    /// 402: the account has nothing left.
    Billing,
    /// 403: the credential may not do this.
    Permission,
    /// 404: there is no such model, path or thing.
    NotFound,
    /// 413.
    RequestTooLarge,
    /// 429.
    RateLimit,
    /// 500, and what has no type of its own.
    Api,
    /// 504.
    Timeout,
    /// 529: try later.
    Overloaded,
}

impl ErrorType {
    /// Anthropic's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request_error",
            Self::Authentication => "authentication_error",
            Self::Billing => "billing_error",
            Self::Permission => "permission_error",
            Self::NotFound => "not_found_error",
            Self::RequestTooLarge => "request_too_large",
            Self::RateLimit => "rate_limit_error",
            Self::Api => "api_error",
            Self::Timeout => "timeout_error",
            Self::Overloaded => "overloaded_error",
        }
    }

    /// The type that goes with a status.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Authentication,
            402 => Self::Billing,
            403 => Self::Permission,
            404 => Self::NotFound,
            413 => Self::RequestTooLarge,
            429 => Self::RateLimit,
            408 | 504 => Self::Timeout,
            503 | 529 => Self::Overloaded,
            400..=499 => Self::InvalidRequest,
            _ => Self::Api,
        }
    }
}

impl Serialize for ErrorType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// `error.details`: the words on which the vendor's SDKs send the whole conversation without a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "error_code")]
pub enum ErrorDetails {
    /// Threads are not served.
    #[serde(rename = "thread_unsupported_request")]
    ThreadUnsupported {
        /// The fields that are not: `["thread"]`.
        unsupported: [&'static str; 1],
    },
    /// The thread that is to go on is not here.
    #[serde(rename = "thread_not_found")]
    ThreadNotFound,
}

/// `error` of an error's body and of a stream's `error` event.
#[derive(Debug, Serialize)]
pub(super) struct ErrorObject<'e> {
    pub(super) r#type: ErrorType,
    pub(super) message: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) details: Option<ErrorDetails>,
}

/// Writes an error's body.
pub fn error_body(kind: ErrorType, message: &str, request_id: &str, details: Option<ErrorDetails>) -> String {
    #[derive(Serialize)]
    struct Body<'e> {
        r#type: &'static str,
        error: ErrorObject<'e>,
        request_id: &'e str,
    }

    let error = ErrorObject { r#type: kind, message, details };
    crate::json::raw_of(&Body { r#type: "error", error, request_id }).get().to_owned()
}

/// Returns the status, the type and the details of the answer to a request that cannot be translated. Its message is the
/// error's own text.
pub fn refusal_of(error: &TranslationError) -> (u16, ErrorType, Option<ErrorDetails>) {
    match error {
        TranslationError::UnknownModel(_) => (404, ErrorType::NotFound, None),
        // This pair of status and code is the one that the SDKs know.
        TranslationError::UnknownState { .. } => {
            (404, ErrorType::NotFound, Some(ErrorDetails::ThreadNotFound))
        }
        TranslationError::Unsupported { at, .. } if *at == FieldPath::of("thread") => {
            let details = ErrorDetails::ThreadUnsupported { unsupported: ["thread"] };
            (400, ErrorType::InvalidRequest, Some(details))
        }
        TranslationError::NotJson(_)
        | TranslationError::Invalid { .. }
        | TranslationError::Unsupported { .. } => (400, ErrorType::InvalidRequest, None),
    }
}

/// Returns the status, the type and the message for an error of Google's, by its status (0 if it named none) and its
/// message. Google's words stay, without the numbers of projects; those who hold the keys have struck these out.
pub fn google_error(status: u16, message: &str) -> (u16, ErrorType, String) {
    if let 400 | 413 = status {
        let failure = GoogleFailure { message: message.to_owned(), ..GoogleFailure::default() };
        if let Some(message) = too_long(&failure) {
            return (400, ErrorType::InvalidRequest, message);
        }
        if failure.payload_too_large() {
            return (413, ErrorType::RequestTooLarge, message.to_owned());
        }
    }
    let status = match status {
        // Clients know this one as a reason to try later.
        503 => 529,
        400..=599 => status,
        _ => 500,
    };
    (status, ErrorType::of_status(status), without_projects(message))
}

/// Returns the status, the type and the message for an answer that is none, if the client was sent nothing yet.
pub fn fault_error(fault: &AnswerFault) -> (u16, ErrorType, String) {
    match fault {
        AnswerFault::Google(failure) => google_error(failure.code, &failure.message),
        AnswerFault::Misformed(_) => (500, ErrorType::Api, fault.to_string()),
        AnswerFault::Unreadable | AnswerFault::Broken(_) => (502, ErrorType::Api, fault.to_string()),
    }
}

/// The text by which Claude Code knows that it has to compact, if Google says that the input is too long.
fn too_long(failure: &GoogleFailure) -> Option<String> {
    Some(match failure.prompt_too_long()? {
        PromptTooLong { tokens: Some(tokens), most: Some(most) } => {
            format!("prompt is too long: {tokens} tokens > {most} maximum")
        }
        PromptTooLong { most: Some(most), .. } => {
            format!("prompt is too long: over {most} tokens > {most} maximum")
        }
        PromptTooLong { .. } => format!("prompt is too long: {}", without_projects(&failure.message)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finish::FinishReason;

    #[test]
    fn googles_statuses_are_what_clients_know() {
        for (status, expected) in [
            (400, (400, "invalid_request_error")),
            (403, (403, "permission_error")),
            (404, (404, "not_found_error")),
            (413, (413, "request_too_large")),
            (429, (429, "rate_limit_error")),
            (499, (499, "invalid_request_error")),
            (500, (500, "api_error")),
            (502, (502, "api_error")),
            (503, (529, "overloaded_error")),
            (504, (504, "timeout_error")),
            (0, (500, "api_error")),
            (200, (500, "api_error")),
        ] {
            let (answered, kind, message) = google_error(status, "as Google says");
            assert_eq!((answered, kind.as_str()), expected, "{status}");
            assert_eq!(message, "as Google says");
        }
    }

    #[test]
    fn a_prompt_that_is_too_long_has_the_text_on_which_clients_compact() {
        for (google, ours) in [
            (
                "The input token count (1196265) exceeds the maximum number of tokens allowed (1048576).",
                "prompt is too long: 1196265 tokens > 1048576 maximum",
            ),
            (
                "The input token count exceeds the maximum number of tokens allowed 1048576.",
                "prompt is too long: over 1048576 tokens > 1048576 maximum",
            ),
            (
                "It exceeds the maximum number of tokens.",
                "prompt is too long: It exceeds the maximum number of tokens.",
            ),
        ] {
            assert_eq!(google_error(400, google), (400, ErrorType::InvalidRequest, ours.to_owned()));
        }
        let large = google_error(400, "Request payload size exceeds the limit: 20971520 bytes.");
        assert_eq!((large.0, large.1), (413, ErrorType::RequestTooLarge));
    }

    #[test]
    fn a_refusal_has_its_status_and_threads_their_details() {
        let body = |error: &TranslationError| {
            let (status, kind, details) = refusal_of(error);
            (status, error_body(kind, "m", "req_1", details))
        };
        assert_eq!(
            body(&TranslationError::unsupported("thread", "no")),
            (
                400,
                concat!(
                    r#"{"type":"error","error":{"type":"invalid_request_error","message":"m","details":"#,
                    r#"{"error_code":"thread_unsupported_request","unsupported":["thread"]}},"request_id":"req_1"}"#
                )
                .to_owned()
            )
        );
        let at = FieldPath::of("thread").member("previous_message_id");
        assert_eq!(
            body(&TranslationError::UnknownState { at, id: "msg_1".to_owned() }),
            (
                404,
                concat!(
                    r#"{"type":"error","error":{"type":"not_found_error","message":"m","details":"#,
                    r#"{"error_code":"thread_not_found"}},"request_id":"req_1"}"#
                )
                .to_owned()
            )
        );
        assert_eq!(refusal_of(&TranslationError::UnknownModel("x".to_owned())).0, 404);
        assert_eq!(refusal_of(&TranslationError::invalid("model", "is required")).0, 400);
    }

    #[test]
    fn an_answer_that_is_none_is_an_error_worth_another_try() {
        let misformed = AnswerFault::Misformed(FinishReason::parse("MALFORMED_FUNCTION_CALL"));
        assert_eq!(fault_error(&misformed).0, 500);
        let failure =
            GoogleFailure { code: 503, status: "UNAVAILABLE".to_owned(), message: "busy".to_owned() };
        let overloaded = fault_error(&AnswerFault::Google(failure));
        assert_eq!(overloaded, (529, ErrorType::Overloaded, "busy".to_owned()));
        assert_eq!(fault_error(&AnswerFault::Unreadable).0, 502);
    }
}
