//! The operator's listener: what an operator sees and steers over HTTP. Apart from the clients' listener, on loopback or under
//! TLS, with a token of its own that no client token opens, and not there at all without one. Its paths are in `api`, who is
//! let in in `gate`, what is written down of their changes in `audit`. The page is in `assets`, what it is told as it happens
//! in `events`, who is logged in on it in `session`; the connections are in `serving`.

mod api;
mod assets;
mod audit;
mod events;
mod gate;
mod host;
mod openapi;
mod page_caller;
mod parameters;
mod resource;
mod serving;
mod session;
mod table;

pub(crate) use page_caller::PageCaller;
pub(crate) use session::Sessions;

use crate::{
    command::failure::Failure,
    http::{Gate, Guesses, SharedSettings},
    inflight::InFlight,
    keys::RuntimeKeys,
    metrics::Metrics,
    prices::RuntimePrices,
    reload::Reloads,
    tokens::Tokens,
};
use actix_web::{App, middleware::from_fn, web};
use events::Listeners;
use gemini_balance_actors::{KeyManager, accounting::Accounts, cluster::Cluster, health::Health};
use host::OwnNames;
use rustls::ServerConfig;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Instant};
use table::RouteTable;

/// How many wrong tokens an address may show on the page in a minute.
const MOST_GUESSES: u32 = 5;

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
    pub(crate) prices: Arc<RuntimePrices>,
    /// Those that share the pool, if there are any.
    pub(crate) cluster: Option<Cluster>,
    pub(crate) reloads: Reloads,
    pub(crate) current: SharedSettings,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) page: Option<PageCaller>,
    /// The file that their changes are written down in.
    pub(crate) audit_log: PathBuf,
}

/// Where the listener is.
#[derive(Clone, Debug)]
pub(crate) struct OperatorAddress {
    pub(crate) listen: SocketAddr,
    /// The same as the operator wrote it, perhaps a name.
    pub(crate) name: String,
    /// The origin by which browsers know it, if a proxy is before it.
    pub(crate) public: Option<String>,
}

/// What the handlers share.
#[derive(Clone)]
struct Desk {
    gate: Arc<Gate>,
    operated: Operated,
    sessions: Arc<Sessions>,
    guesses: Arc<Guesses>,
    listeners: Listeners,
    names: Arc<OwnNames>,
    /// The listener's port.
    port: u16,
}

/// Starts the listener on this thread.
pub(crate) fn start(
    place: OperatorAddress,
    tls: Option<ServerConfig>,
    gate: Arc<Gate>,
    operated: Operated,
) -> Result<(), Failure> {
    let OperatorAddress { listen: address, name, public } = place;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let refused =
        |error| Failure::new(format!("cannot listen on {address} (admin.host, admin.port): {error}"));
    let socket = std::net::TcpListener::bind(address).map_err(refused)?;
    let bound = socket.local_addr().unwrap_or(address);
    let desk = Desk {
        gate,
        sessions: Arc::clone(&operated.sessions),
        operated,
        guesses: Arc::new(Guesses::new(MOST_GUESSES, Instant::now())),
        listeners: Listeners::default(),
        names: Arc::new(OwnNames::new(scheme, bound, name, public)),
        port: bound.port(),
    };
    let server = serving::serve(socket, tls, move || {
        let app = App::new().app_data(web::Data::new(desk.clone()));
        let app =
            app.configure(|config| routes().install(config)).default_service(web::to(resource::no_such_path));
        let app = app.wrap(from_fn(gate::let_in)).wrap(from_fn(audit::write)).wrap(from_fn(gate::guard));
        app.wrap(from_fn(serving::exchange))
    })
    .map_err(refused)?;
    log::info!(target: "service", "the operator's listener is at {scheme}://{bound} with its page");
    actix_rt::spawn(server);
    Ok(())
}

/// Every route of the listener.
fn routes() -> RouteTable {
    let mut table = RouteTable::default();
    api::routes(&mut table);
    events::routes(&mut table);
    openapi::routes(&mut table);
    assets::routes(&mut table);
    table
}
