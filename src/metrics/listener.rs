//! An address of its own for the metrics, if `metrics.listen` names one. It serves `GET /metrics` to who has the metrics'
//! token and nothing else. Names of hosts are not looked at: monitoring calls it by whatever name it knows.

use super::Metrics;
use crate::command::failure::Failure;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::header, web};
use std::{net::SocketAddr, sync::Arc};

/// Starts it on this thread.
pub(crate) fn start(address: SocketAddr, metrics: &Arc<Metrics>) -> Result<(), Failure> {
    let shared = web::Data::from(Arc::clone(metrics));
    let server =
        HttpServer::new(move || App::new().app_data(shared.clone()).route("/metrics", web::get().to(scrape)))
            .workers(1)
            .disable_signals()
            .bind(address)
            .map_err(|error| Failure::new(format!("cannot listen on {address} (metrics.listen): {error}")))?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    log::info!(target: "service", "the metrics are at http://{bound}/metrics");
    actix_rt::spawn(server.run());
    Ok(())
}

async fn scrape(request: HttpRequest, metrics: web::Data<Metrics>) -> HttpResponse {
    if request.headers().contains_key(header::ORIGIN) {
        return HttpResponse::Forbidden().body("this address is not for browsers");
    }
    if !metrics.opens_to(request.headers()) {
        return HttpResponse::Unauthorized().body("send metrics.token as Authorization: Bearer");
    }
    metrics.answer(request.headers()).await
}
