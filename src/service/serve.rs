//! Serves the clients: what each worker's handlers share, the listener, and what ends it. Called by `service` once all else
//! runs.

use super::drain::{GOODBYE, drain};
use crate::{
    command::failure::Failure,
    http::{AppState, BodyBudget, BodyLog, CorsOrigins, Gate, Guesses, Origins, status_of},
    inflight::InFlight,
    logging::{TRANSACTION, transaction_line},
    server::{ClientListener, Serving},
    settings::{self, Settings, SettingsError},
    signals::Signals,
    tls::Certificate,
};
#[cfg(debug_assertions)]
use gemini_balance_actors::store::Store;
use gemini_balance_actors::{
    KeyManager,
    accounting::Accounts,
    clock::Clock,
    forward::{Forwarder, Limits},
    health::Health,
    ledger::Ledger,
    live::Live,
    transaction::{Listeners, Transaction},
    upstream::UpstreamSettings,
};
use std::{cell::RefCell, io, net::SocketAddr, process::ExitCode, rc::Rc, sync::Arc};

/// What each worker makes its face from.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) gate: Arc<Gate>,
    pub(super) clock: Clock,
    pub(super) prices: usage::Prices,
    pub(super) guesses: Arc<Guesses>,
    pub(super) cors: Arc<CorsOrigins>,
    pub(super) keys: KeyManager,
    #[cfg(debug_assertions)]
    pub(super) store: Store,
    pub(super) health: Arc<Health>,
    pub(super) in_flight: InFlight,
    pub(super) budget: BodyBudget,
    pub(super) bodies: Option<Arc<BodyLog>>,
    pub(super) upstream: UpstreamSettings,
    pub(super) limits: Limits,
    pub(super) ledger: Ledger,
    pub(super) origins: Arc<Origins>,
    pub(super) server: settings::Server,
    pub(super) accounts: Option<Accounts>,
}

impl Plan {
    fn face(&self) -> Result<AppState, gemini_balance_actors::upstream::UpstreamError> {
        let account = self.accounts.as_ref().map(Accounts::account);
        let listeners = Listeners::new(vec![Box::new(write_transaction)], account);
        let forwarder = Rc::new(Forwarder::new(
            self.upstream.clone(),
            self.keys.clone(),
            self.ledger.clone(),
            self.limits.clone(),
            listeners.clone(),
        )?);
        Ok(AppState {
            gate: Arc::clone(&self.gate),
            clock: self.clock,
            accounts: self.accounts.clone(),
            prices: Rc::new(RefCell::new(self.prices.clone())),
            guesses: Arc::clone(&self.guesses),
            cors: Arc::clone(&self.cors),
            live: Rc::new(Live::new(Rc::clone(&forwarder))),
            forwarder,
            keys: self.keys.clone(),
            health: Arc::clone(&self.health),
            in_flight: self.in_flight.clone(),
            budget: self.budget.clone(),
            bodies: self.bodies.clone(),
            listeners,
            origins: Arc::clone(&self.origins),
            settings: self.server.clone(),
            #[cfg(debug_assertions)]
            test_panics: std::env::var_os("GEMINI_BALANCE_TEST_PANICS").is_some(),
            #[cfg(debug_assertions)]
            store: self.store.clone(),
        })
    }
}

fn write_transaction(transaction: &Transaction) {
    let status = transaction.failure.as_ref().map_or(transaction.status, status_of);
    log::info!(target: TRANSACTION, "{}", transaction_line(transaction, status));
}

pub(super) async fn serve(
    all: &Settings,
    plan: Plan,
    certificate: Option<Certificate>,
    mut signals: Signals,
    ready: impl FnOnce(SocketAddr),
) -> Result<ExitCode, Failure> {
    plan.face().map_err(|error| all.upstream_refused(&error))?; // a client that cannot be built is told here, once, rather than by each worker
    let Plan { health, in_flight, origins, server: settings, .. } = plan.clone();
    let state = move || {
        #[expect(clippy::expect_used, reason = "it was built before from the same settings")]
        let state = plan.face().expect("an upstream client");
        Rc::new(state)
    };
    let refused = |error: io::Error| {
        let (host, port) = (&settings.host, settings.port);
        let why = format!("or server.host cannot be used: listening on {host}:{port}: {error}");
        all.name_source(SettingsError::refused("server.port", why))
    };
    let listener = ClientListener::bind(&settings.host, settings.port).map_err(refused)?;
    let bound = listener.address();
    let server = listener
        .serve(Serving {
            settings: settings.clone(),
            shutdown_timeout_s: settings.drain_s + GOODBYE.as_secs() + 1, // the drain's own time comes first
            tls: certificate.as_ref().map(Certificate::server_config).transpose()?,
            origins,
            state,
        })
        .map_err(refused)?;
    let handle = server.handle();
    let running = actix_rt::spawn(server);
    let scheme = if certificate.is_some() { "https" } else { "http" };
    if let Some(certificate) = certificate {
        actix_rt::spawn(certificate.watch());
    }
    log::info!(target: "service", "listening on {scheme}://{bound}");
    ready(bound);
    tokio::select! {
        () = signals.end() => {}
        given_up = health.failed() => {
            log::error!(target: "service", "{} was given up after {} restarts: ending", given_up.name, given_up.component.restarts);
            in_flight.drain();
            handle.stop(false).await;
            return Ok(ExitCode::FAILURE);
        }
        ended = running => {
            return Err(Failure::new(format!("the server ended by itself: {ended:?}")));
        }
    }
    let cut = tokio::select! {
        () = drain(&handle, &in_flight, &settings) => return Ok(ExitCode::SUCCESS),
        () = signals.end() => in_flight.count(),
    };
    log::warn!(target: "service", "told to end a second time: {cut} requests are cut off");
    in_flight.cut_off();
    let _ = tokio::time::timeout(GOODBYE, in_flight.idle()).await;
    Ok(if cut == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
