//! `GET /me`: what a caller may, what it has used, and when its limits open again. Counts against no limit, so that one who
//! is refused can ask why.

use super::{AppState, arrival::Arrival, auth::Refused, error::GatewayError};
use crate::caller_view::{SpecView, UseView};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use std::rc::Rc;

#[derive(Serialize)]
struct Me {
    #[serde(flatten)]
    token: SpecView,
    #[serde(rename = "use")]
    used: UseView,
}

pub(super) async fn me(request: HttpRequest, state: web::Data<Rc<AppState>>) -> HttpResponse {
    let arrival = Arrival::of(&request, &state);
    let caller = match &arrival.caller {
        Ok(caller) => caller.token().ok_or(GatewayError::CredentialUnknown),
        Err(refused) => Err(Refused::clone(refused).into()),
    };
    match caller {
        Ok(token) => HttpResponse::Ok()
            .insert_header(("cache-control", "no-store"))
            .insert_header(("x-request-id", arrival.id.as_str()))
            .json(Me {
                token: SpecView::of(token.spec()),
                used: UseView::of(&token.read(state.clock.now())),
            }),
        Err(error) => arrival.refuse(&request, &state, &error),
    }
}
