//! The operator's listener: what an operator sees and steers over HTTP. Apart from the clients' listener, on loopback,
//! with a token of its own that no client token opens, and not there at all without one. Its paths are in `api`, who is
//! let in in `gate`.

mod api;
mod gate;

use crate::{
    command::failure::Failure,
    http::Gate,
    inflight::InFlight,
    metrics::Metrics,
    settings::{Settings, SettingsError},
    tokens::Tokens,
};
use actix_web::{App, HttpServer, web};
use gemini_balance_actors::{KeyManager, Secret, accounting::Accounts, health::Health};
use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

/// What the operator sees and steers.
#[derive(Clone)]
pub(crate) struct Operated {
    pub(crate) keys: KeyManager,
    pub(crate) health: Arc<Health>,
    pub(crate) in_flight: InFlight,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) accounts: Option<Accounts>,
    pub(crate) metrics: Arc<Metrics>,
}

/// What the handlers share.
#[derive(Clone)]
struct Desk {
    gate: Arc<Gate>,
    operated: Operated,
}

/// The address to listen on, refused unless it is this machine's own.
pub(crate) fn address(settings: &Settings) -> Result<SocketAddr, SettingsError> {
    let refused = |why| settings.name_source(SettingsError::refused("admin.host", why));
    let address = (settings.admin.host.as_str(), settings.admin.port)
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .ok_or_else(|| refused("is not an address"))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(refused(
            "must be a loopback address such as 127.0.0.1: the listener has no TLS; use a tunnel from elsewhere",
        ))
    }
}

/// Starts the listener on this thread.
pub(crate) fn start(address: SocketAddr, token: &Secret, operated: Operated) -> Result<(), Failure> {
    let desk = Desk { gate: Arc::new(Gate::of_one("admin", token)), operated };
    let server =
        HttpServer::new(move || App::new().app_data(web::Data::new(desk.clone())).configure(api::routes))
            .workers(1)
            .disable_signals()
            .bind(address)
            .map_err(|error| {
                Failure::new(format!("cannot listen on {address} (admin.host, admin.port): {error}"))
            })?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    log::info!(target: "service", "the operator's listener is at http://{bound}");
    actix_rt::spawn(server.run());
    Ok(())
}
