//! `/api/reload`: has the configuration read again, or says what that would change; and how the reloads went so far. The
//! revision in use is the answers' `ETag`; a write that names another one in `If-Match` is refused.

use super::{Desk, RouteTable, gate::answer};
use crate::reload::{ReloadError, ReloadRequest, Reloaded};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderMap},
    web,
};
use serde::Deserialize;
use serde_json::json;

/// Adds the paths of this resource.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/api/reload", tell).post("/api/reload", reload);
}

/// What is asked for in the query.
#[derive(Default, Deserialize)]
struct Parameters {
    dry_run: Option<String>,
}

async fn tell(desk: web::Data<Desk>) -> HttpResponse {
    let report = desk.operated.reloads.state.report();
    HttpResponse::Ok().insert_header(etag(report.revision)).json(report)
}

async fn reload(
    request: HttpRequest,
    parameters: web::Query<Parameters>,
    desk: web::Data<Desk>,
) -> HttpResponse {
    let dry_run = match parameters.dry_run.as_deref() {
        None | Some("0" | "false") => false,
        Some("" | "1" | "true") => true,
        Some(_) => return answer(400, "dry_run is 1 or 0"),
    };
    let revision = match known_revision(request.headers()) {
        Ok(revision) => revision,
        Err(why) => return answer(400, why),
    };
    match desk.operated.reloads.ask(ReloadRequest { dry_run, revision }).await {
        Ok(Reloaded { revision, changes, restart_needed }) => {
            HttpResponse::Ok().insert_header(etag(revision)).json(json!({
                "status": "ok",
                "dry_run": dry_run,
                "revision": revision,
                "changes": changes,
                "restart_needed": restart_needed,
            }))
        }
        Err(ReloadError::Refused(why)) => answer(422, &why),
        Err(ReloadError::Stale(revision)) => {
            answer(409, &format!("the configuration has changed meanwhile: revision {revision} is in use"))
        }
        Err(ReloadError::Ended) => answer(503, "the gateway is going down"),
    }
}

fn etag(revision: u64) -> (header::HeaderName, String) {
    (header::ETAG, format!("\"{revision}\""))
}

/// The revision that whoever writes knows, if a write to any other is to be refused.
fn known_revision(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let Some(known) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = known.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let revision = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    revision.parse().map(Some).map_err(|_| "If-Match names a revision, such as \"3\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    #[test]
    fn a_write_may_name_the_revision_that_it_knows() {
        for (text, known) in
            [(Some("\"3\""), Ok(Some(3))), (Some("3"), Ok(Some(3))), (Some("*"), Ok(None)), (None, Ok(None))]
        {
            let mut headers = HeaderMap::new();
            if let Some(text) = text {
                headers.insert(header::IF_MATCH, HeaderValue::from_static(text));
            }
            assert_eq!(known_revision(&headers), known);
        }
        for text in ["", "W/\"3\"", "\"a\"", "\"3\", \"4\""] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, HeaderValue::from_static(text));
            assert!(known_revision(&headers).is_err(), "{text}");
        }
    }
}
