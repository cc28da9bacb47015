//! `/session`: logs the page's browser in, for the operator's token or for a code that opens one session, and out.

use super::{
    Desk, RouteTable, audit,
    gate::{admit, answer, cookie_name, is_secure, refusal, refuse_foreign, session_id},
};
use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite, time},
    http::{
        Method,
        header::{self, HeaderValue},
    },
    web,
};
use serde::Deserialize;
use serde_json::json;
use std::time::Instant;

/// The most bytes of a login.
const MAX_BODY: usize = 8 * 1024;
/// How long a browser keeps the cookie; the session itself may end before.
const COOKIE_DAYS: i64 = 7;

/// Adds the paths of this resource.
pub(super) fn routes(table: &mut RouteTable) {
    table
        .get("/session", tell)
        .post("/session", log_in)
        .add(Method::DELETE, "/session", log_out)
        .take_up_to(MAX_BODY, "/session");
}

/// What is shown to be let in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: Option<String>,
    /// A code that opens one session.
    code: Option<String>,
}

/// Whether the page is logged in: an answer, not an error, so that a first visit is not one.
async fn tell(request: HttpRequest, desk: web::Data<Desk>) -> HttpResponse {
    let is_open = session_id(&request, &desk).is_some() && refusal(&request, &desk).is_none();
    HttpResponse::Ok().json(json!({ "open": is_open, "version": env!("CARGO_PKG_VERSION") }))
}

async fn log_in(request: HttpRequest, body: web::Bytes, desk: web::Data<Desk>) -> HttpResponse {
    audit::note(&request, "log in", None);
    if let Some(refusal) = refuse_foreign(&request) {
        return refusal;
    }
    let Ok(login) = serde_json::from_slice::<Login>(&body) else {
        return answer(400, r#"the body must be {"token": "..."}"#);
    };
    let (address, now) = (request.peer_addr().map(|peer| peer.ip()), Instant::now());
    if let Some(wait) = address.and_then(|address| desk.guesses.wait(address, now)) {
        let seconds = wait.as_secs() + 1;
        let mut refused = answer(429, &format!("too many wrong tokens: try again in {seconds} s"));
        refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        return refused;
    }
    let is_known = match (&login.token, &login.code) {
        (Some(token), None) => desk.gate.knows(token.as_bytes()),
        (None, Some(code)) => desk.sessions.take_code(code, now),
        _ => return answer(400, r#"the body must be {"token": "..."}"#),
    };
    if !is_known {
        if let Some(address) = address {
            desk.guesses.failed(address, 1, now);
        }
        let what = if login.code.is_some() {
            "this link was used already, or is an hour old: log in with the operator's token"
        } else {
            "this is not the operator's token (admin.token)"
        };
        return answer(401, what);
    }
    let Some(id) = desk.sessions.begin(now) else {
        return answer(503, "the system has no random bytes");
    };
    // Whoever logs in again leaves the session before.
    if let Some(old) = session_id(&request, &desk) {
        desk.sessions.end(&old);
    }
    admit(&request, "session");
    HttpResponse::Ok()
        .cookie(cookie(&request, &desk, &id, time::Duration::days(COOKIE_DAYS)))
        .json(json!({ "open": true }))
}

async fn log_out(request: HttpRequest, desk: web::Data<Desk>) -> HttpResponse {
    audit::note(&request, "log out", None);
    if let Some(refusal) = refusal(&request, &desk) {
        return refusal;
    }
    if let Some(id) = session_id(&request, &desk) {
        desk.sessions.end(&id);
    }
    HttpResponse::Ok()
        .cookie(cookie(&request, &desk, "", time::Duration::ZERO))
        .json(json!({ "open": false }))
}

fn cookie(request: &HttpRequest, desk: &Desk, id: &str, age: time::Duration) -> Cookie<'static> {
    let is_secure = is_secure(request);
    Cookie::build(cookie_name(desk.port, is_secure), id.to_owned())
        .path("/")
        .http_only(true)
        .secure(is_secure)
        .same_site(SameSite::Strict)
        .max_age(age)
        .finish()
}
