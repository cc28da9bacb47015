//! Wires the service up and runs it until it is told to stop: logging, the key manager under its supervisor, the operator's
//! listener. The clients' listener with its workers is in `serve`, how it ends in `drain`.

mod drain;
mod serve;

use crate::{
    command::failure::Failure,
    http::{BodyBudget, BodyLog, Gate, Guesses},
    inflight::InFlight,
    keys::{KeySources, PoolKeys},
    logging::Logging,
    operator, seeding,
    settings::Settings,
    signals::Signals,
    tokens::{Enrolment, Tokens},
};
use callers::Directory;
use gemini_balance_actors::{
    CurrentKeys, KeyManager,
    accounting::{Accounts, CallerNames},
    clock::Clock,
    health::Health,
    key_checker::KeyCheckerActor,
    ledger::Ledger,
    store::{Memory, Store},
};
use serve::{Plan, serve};
use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long the store may take for its last write.
const FLUSH: Duration = Duration::from_secs(5);

/// The service. See the module.
pub struct Service;

impl Service {
    /// Serves until SIGTERM or SIGINT, or until a component is given up. `ready` is called with the address once
    /// connections are accepted.
    pub(crate) fn run(settings: &Settings, ready: impl FnOnce(SocketAddr)) -> Result<ExitCode, Failure> {
        let key_sources = KeySources::read(settings)?;
        let ring = key_sources.ring(settings)?;
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
        let enrolment = Enrolment::new(settings, &tokens, &ring)?;
        let gate = Arc::new(Gate::new(Arc::clone(&enrolment.directory)));
        let clock = Clock::start();
        let prices = settings.price_table()?;
        let pool_keys = CurrentKeys::new(ring);
        let bodies = BodyLog::new(&settings.log, &pool_keys);
        let result = actix_rt::System::new().block_on(async {
            let arbiter = actix_rt::Arbiter::new();
            let health = Arc::new(Health::default());
            let signals = Signals::take(logging.clone(), certificate.is_some())?;
            actix_rt::spawn(logging.clone().report(Arc::clone(&health)));
            let in_flight = InFlight::default();
            let count = pool_keys.ring().keys().len();
            let intensity = settings.supervisor.intensity();
            // An arbiter of its own, whose thread may wait for the disk.
            let disk = actix_rt::Arbiter::new();
            let ledger = Ledger::new(pool_keys.clone(), Duration::from_secs(settings.affinity.window_s));
            let memory = Arc::new(Memory::new(pool_keys.clone()));
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
                let (keys, health) = (pool_keys.clone(), Arc::clone(&health));
                Accounts::start(&books.handle(), accounting, keys, intensity, health)
            });
            if let Some(accounts) = &accounts {
                seeding::seed(&directory, accounts, clock).await;
            }
            let directory = Arc::clone(&enrolment.directory);
            let tokens_made = Arc::new(Tokens::new(enrolment, store.clone(), clock));
            let keys = KeyManager::start(
                &arbiter.handle(),
                pool_keys,
                memory,
                settings.pool.rules(&settings.limits),
                intensity,
                Arc::clone(&health),
            )?;
            let (_, every) = watch::channel(Duration::from_secs(settings.pool.check_retired_s));
            let checker = KeyCheckerActor::start(
                &arbiter.handle(),
                keys.clone(),
                upstream.clone(),
                every,
                intensity,
                Arc::clone(&health),
            );
            if let Some((address, token)) = &admin {
                let pool_keys =
                    PoolKeys::new(key_sources, keys.clone(), checker, store.clone(), directory);
                let operated = operator::Operated {
                    keys: keys.clone(),
                    pool_keys: Arc::new(pool_keys),
                    health: Arc::clone(&health),
                    in_flight: in_flight.clone(),
                    tokens: Arc::clone(&tokens_made),
                    accounts: accounts.clone(),
                };
                operator::start(*address, token, operated)?;
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

/// Warns of a gateway that is open to whoever knows a pool key, or to nobody.
fn tell_who_is_let_in(directory: &Directory, given: usize) {
    if directory.opens_to_pool_keys() {
        log::warn!(target: "service", "no client token is configured: whoever knows a pool key may call; set ACCESS_TOKENS or auth.tokens, or make one with `gemini-balance tokens add`");
    } else if given == 0 && directory.callers().is_empty() {
        log::warn!(target: "service", "nobody may call: tokens were made once, so pool keys open nothing, and there is none now; make one with `gemini-balance tokens add`");
    }
}
