//! The operator's listener: what an operator sees and steers over HTTP. Apart from the clients' listener, on loopback,
//! with a token of its own that no client token opens, and not there at all without one. Its paths are in `api`, who is
//! let in in `gate`, what is written down of their changes in `audit`.

mod api;
mod audit;
mod gate;

use crate::{
    command::failure::Failure, http::Gate, inflight::InFlight, keys::RuntimeKeys, metrics::Metrics,
    reload::Reloads, tokens::Tokens,
};
use actix_web::{App, HttpServer, middleware::from_fn, web};
use gemini_balance_actors::{KeyManager, accounting::Accounts, health::Health};
use std::{net::SocketAddr, sync::Arc};

/// What the operator sees and steers.
#[derive(Clone)]
pub(crate) struct Operated {
    pub(crate) keys: KeyManager,
    pub(crate) runtime_keys: Arc<RuntimeKeys>,
    pub(crate) health: Arc<Health>,
    pub(crate) in_flight: InFlight,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) accounts: Option<Accounts>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reloads: Reloads,
}

/// What the handlers share.
#[derive(Clone)]
struct Desk {
    gate: Arc<Gate>,
    operated: Operated,
}

/// Starts the listener on this thread.
pub(crate) fn start(address: SocketAddr, gate: Arc<Gate>, operated: Operated) -> Result<(), Failure> {
    let desk = Desk { gate, operated };
    let server = HttpServer::new(move || {
        let app = App::new().app_data(web::Data::new(desk.clone())).configure(api::routes);
        app.wrap(from_fn(audit::write))
    })
    .workers(1)
    .disable_signals()
    .bind(address)
    .map_err(|error| Failure::new(format!("cannot listen on {address} (admin.host, admin.port): {error}")))?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    log::info!(target: "service", "the operator's listener is at http://{bound}");
    actix_rt::spawn(server.run());
    Ok(())
}
