//! `/api/settings`: every setting with its value, where it is from, and its default. Keys, tokens and certificates are not
//! among them; a value that may hold a credential is not shown.

use super::{Desk, RouteTable};
use actix_web::{HttpResponse, web};
use serde_json::json;

/// Adds the paths of this resource.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/api/settings", list);
}

async fn list(desk: web::Data<Desk>) -> HttpResponse {
    let settings = &desk.operated.current.load().shown;
    HttpResponse::Ok().json(json!({ "settings": **settings, "reload": desk.operated.reloads.state.report() }))
}
