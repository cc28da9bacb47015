//! Errors in OpenAI's words: what a client is told of its own mistakes, of Google's refusals and of answers that failed.
//! Statuses are proposed here, since they belong to the format; the HTTP face sends them.

use serde::Serialize;

use crate::call::AnswerFault;
use crate::error::{FieldPath, TranslationError};
use crate::gemini::{GoogleFailure, without_projects};
use crate::json::raw_of;

/// The client's own mistake.
const INVALID_REQUEST: &str = "invalid_request_error";
/// The service's.
const SERVER_ERROR: &str = "server_error";

/// The field that names a response to go on from.
const PREVIOUS_ID: &str = "previous_response_id";

/// Writes an error's body: `{"error":{"message","type","param","code"}}`.
pub fn error_body(kind: &str, message: &str, param: Option<&str>, code: Option<&str>) -> String {
    #[derive(Serialize)]
    struct ErrorEnvelope<'s> {
        error: ErrorMembers<'s>,
    }
    #[derive(Serialize)]
    struct ErrorMembers<'s> {
        message: &'s str,
        r#type: &'s str,
        param: Option<&'s str>,
        code: Option<&'s str>,
    }
    let error = ErrorMembers { message, r#type: kind, param, code };
    raw_of(&ErrorEnvelope { error }).get().to_owned()
}

/// What a request that cannot be translated is answered with: status, type, param, code. The message is
/// [`refusal_message`].
pub fn refusal_of(error: &TranslationError) -> (u16, &'static str, Option<String>, Option<&'static str>) {
    let param = error.field().map(FieldPath::bracketed);
    match error {
        TranslationError::NotJson(_) => (400, INVALID_REQUEST, None, None),
        TranslationError::Invalid { .. } => (400, INVALID_REQUEST, param, Some("invalid_value")),
        TranslationError::Unsupported { .. } => (400, INVALID_REQUEST, param, Some("unsupported_parameter")),
        TranslationError::UnknownModel(_) => {
            (404, INVALID_REQUEST, Some("model".to_owned()), Some("model_not_found"))
        }
        TranslationError::UnknownState { at, .. } if *at == FieldPath::of(PREVIOUS_ID) => {
            (400, INVALID_REQUEST, param, Some("previous_response_not_found"))
        }
        TranslationError::UnknownState { .. } => (400, INVALID_REQUEST, param, Some("item_not_found")),
    }
}

/// The message of a request that cannot be translated, with the field as OpenAI writes it.
pub fn refusal_message(error: &TranslationError) -> String {
    match error {
        TranslationError::Invalid { at, why } | TranslationError::Unsupported { at, why } => {
            format!("'{}' {why}", at.bracketed())
        }
        TranslationError::UnknownState { at, id } if *at == FieldPath::of(PREVIOUS_ID) => {
            format!("Previous response with id '{id}' not found.")
        }
        TranslationError::UnknownState { id, .. } => {
            format!("Item with id '{id}' not found; send the item itself in place of a reference.")
        }
        other => other.to_string(),
    }
}

/// What an error of Google's is to the client: status, type, code, message. `status` is Google's; `message` its words,
/// without keys, which is the caller's duty.
pub fn google_error(status: u16, message: &str) -> (u16, &'static str, Option<&'static str>, String) {
    let failure = GoogleFailure { code: status, message: message.to_owned(), ..GoogleFailure::default() };
    let (status, kind, code) = match status {
        400 if failure.prompt_too_long().is_some() => (400, INVALID_REQUEST, Some("context_length_exceeded")),
        400 if failure.payload_too_large() => (413, INVALID_REQUEST, Some("request_too_large")),
        // The client's own credential was good: it is the pool's that Google refuses.
        400 if message.contains("API key") => (503, SERVER_ERROR, Some(SERVER_ERROR)),
        401 => (503, SERVER_ERROR, Some(SERVER_ERROR)),
        404 => (404, INVALID_REQUEST, Some("model_not_found")),
        413 => (413, INVALID_REQUEST, Some("request_too_large")),
        429 => (429, "rate_limit_error", Some("rate_limit_exceeded")),
        400..=499 => (status, INVALID_REQUEST, None),
        500..=599 => (status, SERVER_ERROR, Some(SERVER_ERROR)),
        // An error that names no status of HTTP's.
        _ => (500, SERVER_ERROR, Some(SERVER_ERROR)),
    };
    let message = if message.is_empty() { "the upstream gave no reason" } else { message };
    (status, kind, code, without_projects(message))
}

/// What an answer that failed is to the client: status, type, code, message.
pub fn fault_error(fault: &AnswerFault) -> (u16, &'static str, Option<&'static str>, String) {
    match fault {
        AnswerFault::Google(failure) => google_error(failure.code, &failure.message),
        AnswerFault::Misformed(_) => (500, SERVER_ERROR, Some(SERVER_ERROR), fault.to_string()),
        AnswerFault::Unreadable | AnswerFault::Broken(_) => {
            (502, SERVER_ERROR, Some(SERVER_ERROR), fault.to_string())
        }
    }
}
