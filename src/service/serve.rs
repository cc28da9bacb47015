//! Serves the clients: what each worker's handlers share, the listener, and what ends it. Called by `service` once all else
//! runs.

use super::drain::{GOODBYE, drain};
use crate::{
    command::failure::Failure,
    http::{
        AppState, BodyBudget, Gate, Guesses, KeptResponses, ListedModels, SharedSettings, TranslationRepeats,
        WorkerState, told_of,
    },
    inflight::InFlight,
    logging::{TRANSACTION, transaction_line},
    server::{ClientListener, Serving},
    settings::{Settings, SettingsError},
    signals::Signals,
    tls::ShownCertificate,
};
#[cfg(debug_assertions)]
use gemini_balance_actors::store::Store;
use gemini_balance_actors::{
    KeyManager,
    accounting::Accounts,
    caller_cuts::CallerCuts,
    clock::Clock,
    cluster::SharedCallers,
    exporter::Traces,
    forward::Forwarder,
    health::Health,
    ledger::Ledger,
    listeners::{Listeners, TransactionListener},
    live::Live,
    transaction::Transaction,
    upstream::UpstreamError,
};
use std::{cell::RefCell, io, net::SocketAddr, process::ExitCode, rc::Rc, sync::Arc};

/// The server's own time for ending: the drain's, which may change, always comes first.
const SHUTDOWN_S: u64 = 30 * 24 * 60 * 60;

/// What each worker makes its state from.
#[derive(Clone)]
pub(super) struct WorkerParts {
    pub(super) gate: Arc<Gate>,
    pub(super) clock: Clock,
    pub(super) guesses: Arc<Guesses>,
    pub(super) keys: KeyManager,
    #[cfg(debug_assertions)]
    pub(super) store: Store,
    pub(super) health: Arc<Health>,
    pub(super) in_flight: InFlight,
    pub(super) budget: BodyBudget,
    pub(super) responses: KeptResponses,
    pub(super) listed: ListedModels,
    pub(super) repeats: TranslationRepeats,
    pub(super) ledger: Ledger,
    pub(super) current: SharedSettings,
    pub(super) accounts: Option<Accounts>,
    pub(super) together: Option<SharedCallers>,
    pub(super) traces: Traces,
    pub(super) cuts: CallerCuts,
}

impl WorkerParts {
    /// Makes a worker's own, on that worker.
    fn state(&self) -> Result<WorkerState, UpstreamError> {
        let account = self.accounts.as_ref().map(Accounts::account);
        let told: Vec<Box<dyn TransactionListener>> =
            vec![Box::new(write_transaction), Box::new(self.traces.clone())];
        let listeners = Listeners::new(told, account);
        let current = self.current.load_full();
        let forwarder = Rc::new(Forwarder::new(
            current.upstream.clone(),
            self.keys.clone(),
            self.ledger.clone(),
            current.limits.clone(),
            listeners.clone(),
            self.cuts.on_this_worker(),
        )?);
        let state = AppState {
            gate: Arc::clone(&self.gate),
            clock: self.clock,
            accounts: self.accounts.clone(),
            prices: Rc::new(RefCell::new(current.prices.clone())),
            together: self.together.clone(),
            guesses: Arc::clone(&self.guesses),
            cors: Arc::clone(&current.cors),
            live: Rc::new(Live::new(Rc::clone(&forwarder))),
            forwarder,
            keys: self.keys.clone(),
            health: Arc::clone(&self.health),
            in_flight: self.in_flight.clone(),
            budget: self.budget.clone(),
            responses: self.responses.clone(),
            listed: self.listed.clone(),
            repeats: self.repeats.clone(),
            bodies: current.bodies.clone(),
            listeners,
            origins: Arc::clone(&current.origins),
            settings: Arc::clone(&current.server),
            #[cfg(debug_assertions)]
            test_panics: std::env::var_os("GEMINI_BALANCE_TEST_PANICS").is_some(),
            #[cfg(debug_assertions)]
            store: self.store.clone(),
            current,
        };
        Ok(WorkerState::new(Arc::clone(&self.current), state))
    }
}

fn write_transaction(transaction: &Transaction) {
    let told = transaction.failure.as_ref().map(told_of);
    log::info!(target: TRANSACTION, "{}", transaction_line(transaction, told));
}

pub(super) async fn serve(
    all: &Settings,
    parts: WorkerParts,
    certificate: Option<Arc<ShownCertificate>>,
    mut signals: Signals,
    ready: impl FnOnce(SocketAddr),
) -> Result<ExitCode, Failure> {
    let WorkerParts { health, in_flight, current, .. } = parts.clone();
    let settings = &all.server;
    let state = move || {
        #[expect(
            clippy::expect_used,
            reason = "a client of the same settings was built when they were checked"
        )]
        let state = parts.state().expect("an upstream client");
        Rc::new(state)
    };
    let refused = |error: io::Error| {
        let (host, port) = (&settings.host, settings.port);
        let why = format!("or server.host cannot be used: listening on {host}:{port}: {error}");
        all.name_source(SettingsError::refused("server.port", why))
    };
    let listener = ClientListener::bind(&settings.host, settings.port).map_err(refused)?;
    let bound = listener.address();
    let (server, closing) = listener
        .serve(Serving {
            settings: settings.clone(),
            shutdown_timeout_s: SHUTDOWN_S,
            tls: certificate.as_ref().map(ShownCertificate::server_config).transpose()?,
            state,
        })
        .map_err(refused)?;
    let handle = server.handle();
    let running = actix_rt::spawn(server);
    let scheme = if certificate.is_some() { "https" } else { "http" };
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
    let server = Arc::clone(&current.load().server);
    let cut = tokio::select! {
        () = drain(&handle, closing, &in_flight, &server) => return Ok(ExitCode::SUCCESS),
        () = signals.end() => in_flight.count(),
    };
    log::warn!(target: "service", "told to end a second time: {cut} requests are cut off");
    in_flight.cut_off();
    let _ = tokio::time::timeout(GOODBYE, in_flight.idle()).await;
    Ok(if cut == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
