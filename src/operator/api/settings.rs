//! `/api/settings`: every setting with its value, where it is from, and its default. Keys, tokens and certificates are not
//! among them; a value that may hold a credential is not shown.

use super::{Desk, gate::refusal};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

/// Adds the paths of this resource.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/api/settings", web::get().to(list));
}

async fn list(request: HttpRequest, desk: web::Data<Desk>) -> HttpResponse {
    if let Some(refusal) = refusal(&request, &desk) {
        return refusal;
    }
    let settings = &desk.operated.current.load().shown;
    HttpResponse::Ok().json(json!({ "settings": **settings, "reload": desk.operated.reloads.state.report() }))
}
