//! Who is let in at the operator's listener, and the form of its short answers. A program shows the operator's token; the
//! page's browser shows the cookie of a session, which counts only in requests of the page itself.

use super::{Desk, audit, host::OwnOrigin};
use crate::connections::Connection;
use actix_web::{
    Error, HttpMessage as _, HttpRequest, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};
use serde_json::json;
use std::{rc::Rc, time::Instant};

/// What pages of this listener may do: run its own scripts, and nothing of others'.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The header that the page adds to what changes something: no form and no foreign page can.
const OWN_HEADER: &str = "x-gemini-balance";

/// Returns why the caller is not let in: nobody is but the operator.
pub(super) fn refusal(request: &HttpRequest, desk: &Desk) -> Option<HttpResponse> {
    if request.headers().contains_key(header::AUTHORIZATION)
        || request.headers().contains_key("x-goog-api-key")
    {
        // Programs send no Origin: this is a page, whoever sits before it.
        if request.headers().contains_key(header::ORIGIN) {
            return Some(not_for_browsers());
        }
        let (_, caller) = desk.gate.admit(request.headers(), None);
        if caller.is_err() {
            return Some(unknown());
        }
        admit(request, "token");
        return None;
    }
    if let Some(id) = session_id(request, desk) {
        if let Some(refusal) = refuse_foreign(request) {
            return Some(refusal);
        }
        if !desk.sessions.is_open(&id, Instant::now()) {
            return Some(answer(403, "the session has ended; log in again"));
        }
        admit(request, "session");
        return None;
    }
    if request.headers().contains_key(header::ORIGIN) {
        return Some(not_for_browsers());
    }
    Some(unknown())
}

/// Somebody is let in, by what they have shown.
pub(super) fn admit(request: &HttpRequest, by: &'static str) {
    audit::admit(request, by);
    knows(request);
}

/// The connection is one of somebody who was let in, and none of those that are closed first.
pub(super) fn knows(request: &HttpRequest) {
    if let Some(connection) = request.conn_data::<Rc<Connection>>() {
        connection.let_in();
    }
}

/// Wraps every request: nobody goes on but the operator, and nothing of a body is read before. The paths that are open to
/// others ask for themselves.
pub(super) async fn let_in<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let desk = request.app_data::<web::Data<Desk>>().filter(|_| !is_open(request.path()));
    if let Some(refusal) = desk.and_then(|desk| refusal(request.request(), desk)) {
        return Ok(request.into_response(refusal).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

/// Whether a path is there for others as well: health, the page without its data, its login, what the API is, and monitoring, which
/// has a token of its own.
fn is_open(path: &str) -> bool {
    matches!(path, "/" | "/health" | "/metrics" | "/openapi.json" | "/session")
        || path.starts_with("/assets/")
}

fn unknown() -> HttpResponse {
    answer(401, "send the operator's token (admin.token) as Authorization: Bearer")
}

/// Refuses what is not sent by the page of this listener itself.
pub(super) fn refuse_foreign(request: &HttpRequest) -> Option<HttpResponse> {
    let own = request.extensions().get::<OwnOrigin>().cloned();
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let is_own = match (own, text("origin"), text("sec-fetch-site")) {
        (None, ..) => false,
        (Some(own), Some(origin), site) => own.is(origin) && site.is_none_or(|site| site == "same-origin"),
        (Some(_), None, site) => site == Some("same-origin"),
    };
    if !is_own {
        return Some(answer(403, "this was not sent by the page of this listener"));
    }
    let asks = matches!(*request.method(), Method::GET | Method::HEAD);
    (!asks && text(OWN_HEADER) != Some("1"))
        .then(|| answer(403, "what changes something needs the header x-gemini-balance: 1"))
}

/// Returns the id of the session that a request shows.
pub(super) fn session_id(request: &HttpRequest, desk: &Desk) -> Option<String> {
    Some(request.cookie(&cookie_name(desk.port, is_secure(request)))?.value().to_owned())
}

/// Whether the browser came by TLS, as far as it can be told from the name it calls.
pub(super) fn is_secure(request: &HttpRequest) -> bool {
    request.extensions().get::<OwnOrigin>().is_some_and(|own| own.is_secure)
}

/// Returns the name of the session's cookie. Cookies know no ports: two listeners on one machine need two names.
pub(super) fn cookie_name(port: u16, is_secure: bool) -> String {
    let prefix = if is_secure { "__Host-" } else { "" };
    format!("{prefix}gemini-balance-{port}")
}

/// Wraps every request: refuses a browser's that calls the listener by a name that is not its own, and adds to every answer
/// what browsers have to keep to.
pub(super) async fn guard<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let desk = request.app_data::<web::Data<Desk>>();
    let own = desk.and_then(|desk| desk.names.of(request.request()));
    let mut response = if own.is_none() && is_browsers(&request) {
        let why = "this listener is not called by that name; admin.public_url can give it another";
        request.into_response(answer(403, why)).map_into_right_body()
    } else {
        if let Some(own) = own {
            request.extensions_mut().insert(own);
        }
        next.call(request).await?.map_into_left_body()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

/// Whether a browser may have sent this. A program shows the token, which no page has that has its own name point here, and may
/// call the listener as it likes; without a token nothing but the page itself is shown to anybody.
fn is_browsers(request: &ServiceRequest) -> bool {
    let marks = [header::ORIGIN, header::COOKIE, HeaderName::from_static("sec-fetch-site")];
    let is_marked = marks.iter().any(|name| request.headers().contains_key(name));
    let path = request.path();
    is_marked || path == "/" || path.starts_with("/assets/") || path == "/session" || path == "/events"
}

pub(super) fn not_for_browsers() -> HttpResponse {
    answer(403, "this listener is not for browsers but by its own page")
}

/// Answers with a message.
pub(super) fn answer(status: u16, message: &str) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
    HttpResponse::build(status).json(json!({ "error": message }))
}
