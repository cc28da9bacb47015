//! Who is let in at the operator's listener, and the form of its short answers.

use super::{Desk, audit};
use actix_web::{HttpRequest, HttpResponse, http::header};
use serde_json::json;

/// Why the caller is not let in: nobody is but the operator, and no browser, whoever sits before it.
pub(super) fn refusal(request: &HttpRequest, desk: &Desk) -> Option<HttpResponse> {
    if request.headers().contains_key(header::ORIGIN) {
        return Some(not_for_browsers());
    }
    let (_, caller) = desk.gate.admit(request.headers(), None);
    if caller.is_err() {
        return Some(answer(401, "send the operator's token (admin.token) as Authorization: Bearer"));
    }
    audit::admit(request, "token");
    None
}

pub(super) fn not_for_browsers() -> HttpResponse {
    answer(403, "this listener is not for browsers")
}

/// Answers with a message.
pub(super) fn answer(status: u16, message: &str) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
    HttpResponse::build(status).json(json!({ "error": message }))
}
