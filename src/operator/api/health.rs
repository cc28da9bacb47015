//! `/health` at the operator's listener.

use super::{Desk, RouteTable, gate::not_for_browsers};
use crate::http::health_of;
use actix_web::{HttpRequest, HttpResponse, http::header, web};

/// Adds the paths of this resource.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/health", ask_health);
}

/// Whether requests can be served, told without the token as on the clients' listener.
async fn ask_health(request: HttpRequest, desk: web::Data<Desk>) -> HttpResponse {
    if request.headers().contains_key(header::ORIGIN) {
        return not_for_browsers();
    }
    health_of(&desk.operated.keys, &desk.operated.health, &desk.operated.in_flight).await
}
