//! `/api/usage`: what was used, by whom, on all gateways.

use super::{Desk, RouteTable, gate::answer};
use crate::usage_report;
use actix_web::{HttpResponse, http::header, web};
use std::collections::HashMap;

/// Adds the paths of this resource.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/api/usage", used);
}

async fn used(parameters: web::Query<HashMap<String, String>>, desk: web::Data<Desk>) -> HttpResponse {
    let Some(accounts) = desk.operated.accounts.clone() else {
        return answer(404, "usage is not counted here: usage.enabled is false");
    };
    let shared = desk.operated.cluster.as_ref().and_then(|cluster| cluster.usage().cloned());
    // On a thread that may wait for the disk.
    let now = chrono::Utc::now().timestamp();
    match web::block(move || usage_report::answer(&accounts, shared.as_ref(), &parameters, now)).await {
        Ok(answer) => {
            let status = actix_web::http::StatusCode::from_u16(answer.status).unwrap_or_default();
            let mut response = HttpResponse::build(status);
            response.content_type(answer.content_type).insert_header((header::CACHE_CONTROL, "no-store"));
            for (name, value) in answer.beside {
                if let Ok(value) = header::HeaderValue::from_str(&value) {
                    response.insert_header((name, value));
                }
            }
            response.body(answer.body)
        }
        Err(_) => answer(503, "too much is asked at once"),
    }
}
