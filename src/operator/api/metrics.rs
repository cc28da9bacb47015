//! `/metrics`: what monitoring reads. The one path that the metrics' own token opens as well.

use super::{Desk, RouteTable, gate};
use actix_web::{HttpRequest, HttpResponse, http::header, web};

/// Adds the paths of this resource.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/metrics", scrape);
}

async fn scrape(request: HttpRequest, desk: web::Data<Desk>) -> HttpResponse {
    let metrics = &desk.operated.metrics;
    let is_for_metrics =
        !request.headers().contains_key(header::ORIGIN) && metrics.opens_to(request.headers());
    if !is_for_metrics && let Some(refusal) = gate::refusal(&request, &desk) {
        return refusal;
    }
    gate::knows(&request);
    metrics.answer(request.headers()).await
}
