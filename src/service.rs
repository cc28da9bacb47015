//! Wires the service up and runs it until it is told to stop: logging, the key manager under its supervisor, the HTTP
//! server with one upstream client a worker, the signals, the drain.

use crate::{
    command::failure::Failure,
    http::{AppState, BodyBudget, BodyLog, CorsOrigins, Gate, Guesses, Origins, told_of},
    inflight::InFlight,
    logging::{Logging, TRANSACTION, transaction_line},
    metrics::{self, Metrics},
    operator, seeding,
    server::{ClientListener, Serving},
    settings::{self, Settings, SettingsError},
    signals::Signals,
    tls::Certificate,
    tokens::{Enrolment, Tokens},
};
use actix_web::dev::ServerHandle;
use callers::Directory;
use gemini_balance_actors::{
    KeyManager,
    accounting::{Accounts, CallerNames},
    clock::Clock,
    forward::{Forwarder, Limits},
    health::Health,
    key_checker::KeyCheckerActor,
    ledger::Ledger,
    live::Live,
    store::{Memory, Store},
    transaction::{Listeners, Transaction},
    upstream::UpstreamSettings,
};
use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    process::ExitCode,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// After the last answer's last byte was handed to its socket, connections get this long to take it.
const FAREWELL: Duration = Duration::from_millis(200);

/// After the drain's time, Live sessions get this long to hear that they end.
const GOODBYE: Duration = Duration::from_millis(500);

/// How long the store may take for its last write.
const FLUSH: Duration = Duration::from_secs(5);

/// The service. See the module.
pub struct Service;

/// What each worker makes its face from.
#[derive(Clone)]
struct Plan {
    gate: Arc<Gate>,
    clock: Clock,
    prices: usage::Prices,
    guesses: Arc<Guesses>,
    cors: Arc<CorsOrigins>,
    keys: KeyManager,
    #[cfg(debug_assertions)]
    store: Store,
    health: Arc<Health>,
    in_flight: InFlight,
    budget: BodyBudget,
    bodies: Option<Arc<BodyLog>>,
    upstream: UpstreamSettings,
    limits: Limits,
    ledger: Ledger,
    origins: Arc<Origins>,
    server: settings::Server,
    accounts: Option<Accounts>,
}

impl Service {
    /// Serves until SIGTERM or SIGINT, or until a component is given up. `ready` is called with the address once
    /// connections are accepted.
    pub(crate) fn run(settings: &Settings, ready: impl FnOnce(SocketAddr)) -> Result<ExitCode, Failure> {
        let ring = settings.key_ring()?;
        let tokens = settings.tokens()?;
        let upstream = settings.upstream()?;
        let certificate = settings.certificate()?;
        let accounting = settings.accounting()?;
        let origins = Arc::new(settings.origins()?);
        let cors = Arc::new(settings.cors()?);
        let logging = Logging::start(&settings.log).map_err(|error| settings.name_source(error))?;
        for line in settings.exposed_files() {
            log::warn!(target: "service", "{line}");
        }
        let admin = settings
            .admin_token()?
            .map(|token| Ok::<_, Failure>((operator::address(settings)?, token)))
            .transpose()?;
        let (metrics_token, metrics_listen) = (settings.metrics_token()?, settings.metrics_listen()?);
        let enrolment = Enrolment::new(settings, &tokens, &ring)?;
        let gate = Arc::new(Gate::new(Arc::clone(&enrolment.directory)));
        let clock = Clock::start();
        let prices = settings.price_table()?;
        let ring = Arc::new(ring);
        let bodies = BodyLog::new(&settings.log, &ring);
        let result = actix_rt::System::new().block_on(async {
            let arbiter = actix_rt::Arbiter::new();
            let health = Arc::new(Health::default());
            let signals = Signals::take(logging.clone(), certificate.is_some())?;
            actix_rt::spawn(logging.clone().report(Arc::clone(&health)));
            let in_flight = InFlight::default();
            let count = ring.keys().len();
            let intensity = settings.supervisor.intensity();
            // An arbiter of its own, whose thread may wait for the disk.
            let disk = actix_rt::Arbiter::new();
            let ledger = Ledger::new(Arc::clone(&ring), Duration::from_secs(settings.affinity.window_s));
            let memory = Arc::new(Memory::new(Arc::clone(&ring)));
            let store = Store::start(
                &disk.handle(),
                settings.store.path.clone(),
                vec![Arc::clone(&memory) as _, Arc::new(ledger.clone()), Arc::clone(&enrolment.kept) as _],
                intensity,
                Arc::clone(&health),
            );
            ledger.connect(store.clone());
            tell_who_is_let_in(&enrolment.directory, tokens.len());
            // Its own too: it waits for another file.
            let books = actix_rt::Arbiter::new();
            let directory = Arc::clone(&enrolment.directory);
            let accounts = accounting.map(|mut accounting| {
                if directory.opens_to_pool_keys() {
                    accounting.callers = CallerNames::PoolKeys;
                }
                let (ring, health) = (Arc::clone(&ring), Arc::clone(&health));
                Accounts::start(&books.handle(), accounting, ring, intensity, health)
            });
            if let Some(accounts) = &accounts {
                seeding::seed(&directory, accounts, clock).await;
            }
            let directory = Arc::clone(&enrolment.directory);
            let tokens_made = Arc::new(Tokens::new(enrolment, store.clone(), clock));
            let keys = KeyManager::start(
                &arbiter.handle(),
                ring,
                memory,
                settings.pool.rules(&settings.limits),
                intensity,
                Arc::clone(&health),
            )?;
            let sources = metrics::Sources {
                keys: keys.clone(),
                health: Arc::clone(&health),
                in_flight: in_flight.clone(),
                directory,
                accounts: accounts.clone(),
                clock,
                logging: logging.clone(),
                certificate: certificate.as_ref().map(Certificate::in_use),
            };
            let metrics = Arc::new(Metrics::new(sources, metrics_token.as_ref()));
            if let Some(address) = metrics_listen {
                metrics::start(address, &metrics)?;
            }
            if let Some((address, token)) = &admin {
                let operated = operator::Operated {
                    keys: keys.clone(),
                    health: Arc::clone(&health),
                    in_flight: in_flight.clone(),
                    tokens: Arc::clone(&tokens_made),
                    accounts: accounts.clone(),
                    metrics,
                };
                operator::start(*address, token, operated)?;
            }
            if settings.pool.check_retired_s > 0 {
                let every = Duration::from_secs(settings.pool.check_retired_s);
                let (keys, upstream) = (keys.clone(), upstream.clone());
                KeyCheckerActor::start(&arbiter.handle(), keys, upstream, every, intensity, Arc::clone(&health));
            }
            log::info!(target: "service", "gemini-balance {} with {count} keys, {} client tokens", env!("CARGO_PKG_VERSION"), tokens.len());
            let plan = Plan {
                gate,
                clock,
                prices,
                guesses: Arc::new(Guesses::new(settings.server.max_guesses_per_minute, Instant::now())),
                cors,
                keys,
                #[cfg(debug_assertions)]
                store: store.clone(),
                health,
                in_flight,
                budget: BodyBudget::new(settings.server.max_buffered_bytes),
                bodies,
                upstream,
                limits: settings.limits(),
                ledger,
                origins,
                server: settings.server.clone(),
                accounts: accounts.clone(),
            };
            let code = serve(settings, plan, certificate, signals, ready).await;
            if let Some(accounts) = &accounts
                && !accounts.flush(FLUSH).await
            {
                log::error!(target: "accountant", "the last second of the usage could not be written");
            }
            books.stop();
            let _ = books.join();
            if store.flush(FLUSH).await {
                // With its actor the store is closed, and its log copied into the file, which then is whole by itself.
                disk.stop();
                let _ = disk.join();
            } else {
                log::error!(target: "store", "the last changes could not be written");
            }
            arbiter.stop();
            code
        });
        logging.flush();
        result
    }
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

/// Warns of a gateway that is open to whoever knows a pool key, or to nobody.
fn tell_who_is_let_in(directory: &Directory, given: usize) {
    if directory.opens_to_pool_keys() {
        log::warn!(target: "service", "no client token is configured: whoever knows a pool key may call; set ACCESS_TOKENS or auth.tokens, or make one with `gemini-balance tokens add`");
    } else if given == 0 && directory.callers().is_empty() {
        log::warn!(target: "service", "nobody may call: tokens were made once, so pool keys open nothing, and there is none now; make one with `gemini-balance tokens add`");
    }
}

fn write_transaction(transaction: &Transaction) {
    let told = transaction.failure.as_ref().map(told_of);
    log::info!(target: TRANSACTION, "{}", transaction_line(transaction, told));
}

async fn serve(
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

/// Lets running answers finish: readiness says no at once, connections are taken a little longer, then no more.
async fn drain(handle: &ServerHandle, in_flight: &InFlight, settings: &settings::Server) {
    log::info!(target: "service", "shutting down: {} requests under way", in_flight.count());
    in_flight.drain();
    tokio::time::sleep(Duration::from_millis(settings.drain_accept_ms)).await;
    let stopped = handle.stop(true); // closes the listener at once, then waits for connections
    let finished = async {
        in_flight.idle().await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        () = stopped => {}
        () = finished => {}
        () = tokio::time::sleep(Duration::from_secs(settings.drain_s)) => {
            log::warn!(target: "service", "{} requests did not finish within server.drain_s and are cut off", in_flight.count());
            in_flight.cut_off();
            if tokio::time::timeout(GOODBYE, in_flight.idle()).await.is_ok() {
                tokio::time::sleep(FAREWELL).await;
            }
        }
    }
    log::info!(target: "service", "shut down");
}
