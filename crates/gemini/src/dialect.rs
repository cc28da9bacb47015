//! The two formats a caller may speak, and the errors that the gateway makes itself in each of them, as a whole
//! answer and inside a stream that has begun. Google's own errors never pass through here: they are relayed.

use std::borrow::Cow;

use serde::Serialize;

/// The format a caller speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Google's own: errors are `google.rpc.Status` in JSON.
    Gemini,
    /// OpenAI's: errors are OpenAI's error object.
    OpenAi,
}

/// How a streamed answer that has begun is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamForm {
    /// Native `alt=sse`.
    Sse,
    /// Native without `alt`: one JSON array, an element an event.
    JsonArray,
    /// The OpenAI layer's server-sent events.
    OpenAi,
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
}

#[derive(Serialize)]
struct OpenAi<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl GatewayError<'_> {
    /// The body of an answer, as JSON.
    pub fn body(&self, dialect: Dialect) -> String {
        let json = match dialect {
            Dialect::Gemini => serde_json::to_string(&Envelope {
                error: Native { code: self.status, message: &self.message, status: self.grpc_status },
            }),
            Dialect::OpenAi => {
                let (r#type, code) = openai_words(self.status);
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
            StreamForm::Sse => format!("data: {}\r\n\r\n", self.body(Dialect::Gemini)),
            StreamForm::JsonArray => format!(",{}", self.body(Dialect::Gemini)),
            StreamForm::OpenAi => format!("data: {}\n\n", self.body(Dialect::OpenAi)),
        }
    }
}

/// The body of an error answer that the gateway makes itself: [`GatewayError::body`] in one call.
pub fn error_body(dialect: Dialect, status: u16, grpc_status: &str, message: &str) -> String {
    GatewayError { status, grpc_status, message: Cow::Borrowed(message) }.body(dialect)
}

/// The `type` and the `code` that OpenAI's API gives an error of this status.
fn openai_words(status: u16) -> (&'static str, Option<&'static str>) {
    match status {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        403 => ("permission_error", None),
        404 => ("invalid_request_error", Some("not_found")),
        429 => ("rate_limit_error", Some("rate_limit_exceeded")),
        400..=499 => ("invalid_request_error", None),
        503 => ("server_error", Some("service_unavailable")),
        504 => ("server_error", Some("timeout")),
        _ => ("server_error", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable() -> GatewayError<'static> {
        GatewayError { status: 503, grpc_status: "UNAVAILABLE", message: "upstream \"broke\"\n off".into() }
    }

    #[test]
    fn a_native_error_is_a_google_rpc_status_with_its_text_escaped() {
        assert_eq!(
            unavailable().body(Dialect::Gemini),
            r#"{"error":{"code":503,"message":"upstream \"broke\"\n off","status":"UNAVAILABLE"}}"#
        );
    }

    #[test]
    fn an_openai_error_has_openais_four_members() {
        assert_eq!(
            error_body(Dialect::OpenAi, 401, "UNAUTHENTICATED", "no such token"),
            r#"{"error":{"message":"no such token","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#
        );
        assert_eq!(
            error_body(Dialect::OpenAi, 429, "RESOURCE_EXHAUSTED", "wait"),
            r#"{"error":{"message":"wait","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}"#
        );
        assert_eq!(
            error_body(Dialect::OpenAi, 400, "INVALID_ARGUMENT", "no"),
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
