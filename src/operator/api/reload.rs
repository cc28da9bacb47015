//! `/api/reload`: has the configuration read again, or says what that would change; and how the reloads went so far. The
//! revision in use is the answers' `ETag`; a write that names another one in `If-Match` is refused.

use super::{
    Desk, RouteTable,
    gate::answer,
    parameters::{DRY_RUN, is_dry_run},
    revision::{etag, known_revision},
};
use crate::reload::{ReloadError, ReloadRequest, Reloaded};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

/// Adds the paths of this resource.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/api/reload", tell).post("/api/reload", reload).heed(&[DRY_RUN], "/api/reload");
}

async fn tell(desk: web::Data<Desk>) -> HttpResponse {
    let report = desk.operated.reloads.state.report();
    HttpResponse::Ok().insert_header(etag(report.revision)).json(report)
}

async fn reload(request: HttpRequest, desk: web::Data<Desk>) -> HttpResponse {
    let dry_run = match is_dry_run(request.query_string()) {
        Ok(dry_run) => dry_run,
        Err(why) => return answer(400, why),
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
