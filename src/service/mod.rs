//! Wires the service up and runs it until it is told to stop: logging, the key manager under its supervisor, the operator's
//! listener. The clients' listener with its workers is in `serve`, how it ends in `drain`.

mod drain;
mod serve;

use crate::{
    command::failure::Failure,
    counted::counted,
    groundwork::Groundwork,
    http::{BodyBudget, Gate, Guesses, KeptResponses, ListedModels, TranslationRepeats, told_of},
    inflight::InFlight,
    keys::RuntimeKeys,
    logging::Logging,
    metrics::{self, Metrics},
    operator::{self, PageCaller, Sessions},
    prices::RuntimePrices,
    printable::Printable,
    reload::{FlatConfiguration, Parts, Reloader, Reloads, current_settings, settings_print},
    seeding,
    settings::Settings,
    signals::Signals,
    tls::ShownCertificate,
    tokens::{Tokens, tell_who_is_let_in},
};
use arc_swap::ArcSwap;
use gemini_balance_actors::{
    CurrentKeys, KeyManager,
    accounting::Accounts,
    caller_cuts::CallerCuts,
    clock::Clock,
    cluster::{Cluster, ClusterArbiters, ClusterParts},
    exporter::Traces,
    health::Health,
    key_checker::KeyCheckerActor,
    ledger::Ledger,
    store::{KeptPrices, Memory, Store, WriteBehind},
};
use serve::{WorkerParts, serve};
use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long the store may take for its last write.
const FLUSH: Duration = Duration::from_secs(5);

/// How long it may take to tell the other gateways the last words.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long a collector may take for the last traces.
const LAST_TRACES: Duration = Duration::from_secs(2);

/// The service. See the module.
pub struct Service;

impl Service {
    /// Serves until SIGTERM or SIGINT, or until a component is given up. `ready` is called with the address once
    /// connections are accepted.
    pub(crate) fn run(
        settings: Settings,
        sessions: Arc<Sessions>,
        ready: impl FnOnce(SocketAddr),
    ) -> Result<ExitCode, Failure> {
        let groundwork = Groundwork::of(settings)?;
        let without_keys = groundwork.projects_without_keys();
        let Groundwork { configuration, key_sources, enrolment } = groundwork;
        let pool_keys = CurrentKeys::new(key_sources.ring());
        let settings = &configuration.settings;
        let logging = Logging::start(&settings.log).map_err(|error| settings.name_source(error))?;
        for line in settings.exposed_files() {
            log::warn!(target: "service", "{line}");
        }
        for line in without_keys {
            log::warn!(target: "service", "{}", Printable(line));
        }
        if let Some(line) = settings.cluster_warning() {
            log::warn!(target: "service", "{line}");
        }
        let page = PageCaller::new();
        let gate = Gate::new(Arc::clone(&enrolment.directory));
        let gate = Arc::new(match &page {
            Some(page) => gate.with_page(page.credential()),
            None => gate,
        });
        let clock = Clock::start();
        let result = actix_rt::System::new().block_on(async {
            let arbiter = actix_rt::Arbiter::new();
            let health = Arc::new(Health::default());
            let (reloads, reload_inbox) = Reloads::new();
            let signals = Signals::take(logging.clone(), reloads.clone())?;
            actix_rt::spawn(logging.clone().report(Arc::clone(&health)));
            let in_flight = InFlight::default();
            let count = configuration.ring.keys().len();
            let intensity = settings.supervisor.intensity();
            // An arbiter of its own, whose thread may wait for the disk.
            let disk = actix_rt::Arbiter::new();
            let ledger = Ledger::new(pool_keys.clone(), Duration::from_secs(settings.affinity.window_s));
            let memory = Arc::new(Memory::new(pool_keys.clone()));
            let kept_prices = Arc::new(KeptPrices::default());
            let mut written: Vec<Arc<dyn WriteBehind>> =
                vec![Arc::clone(&memory) as _, Arc::clone(&enrolment.kept) as _, Arc::clone(&kept_prices) as _];
            // That of a cluster is shared, and not this machine's.
            if configuration.cluster.is_none() {
                written.push(Arc::new(ledger.clone()));
            }
            let (path, board) = (settings.store.path.clone(), Arc::clone(&health));
            let store = Store::start(&disk.handle(), path, written, intensity, board);
            if configuration.cluster.is_none() {
                ledger.connect(store.clone());
            }
            tell_who_is_let_in(&enrolment.directory, configuration.tokens.len());
            // Its own too: it waits for another file.
            let books = actix_rt::Arbiter::new();
            let directory = Arc::clone(&enrolment.directory);
            let accounts = configuration.accounting.clone().map(|mut accounting| {
                accounting.callers = enrolment.caller_names();
                let (keys, health) = (pool_keys.clone(), Arc::clone(&health));
                Accounts::start(&books.handle(), accounting, keys, intensity, health)
            });
            if let Some(accounts) = &accounts {
                seeding::seed(&directory, accounts, clock).await;
            }
            let posts = actix_rt::Arbiter::new();
            let status_of = |failure: &_| told_of(failure).0;
            let (on, upstream) = (posts.handle(), &configuration.upstream);
            let traces = Traces::new(on, upstream, status_of, intensity, Arc::clone(&health));
            let collector = traces.prepare(configuration.tracing.as_ref());
            traces.put(collector.map_err(|error| settings.upstream_refused(&error))?);
            let directory = Arc::clone(&enrolment.directory);
            let cuts = CallerCuts::default();
            let known = Arc::clone(&memory);
            let keys = KeyManager::start(
                &arbiter.handle(),
                pool_keys.clone(),
                memory,
                configuration.rules.clone(),
                intensity,
                Arc::clone(&health),
            )?;
            let cluster_on = configuration.cluster.as_ref().map(|_| ClusterArbiters::start());
            let cluster = configuration.cluster.clone().zip(cluster_on.as_ref()).map(|(found, on)| {
                let parts = ClusterParts {
                    keys: pool_keys.clone(),
                    manager: keys.clone(),
                    memory: known,
                    ledger: ledger.clone(),
                    store: store.clone(),
                    directory: Arc::clone(&directory),
                    kept_tokens: Arc::clone(&enrolment.kept),
                    cuts: cuts.clone(),
                    accounts: accounts.clone(),
                    clock,
                    print: settings_print(&FlatConfiguration::of(&configuration)),
                    version: env!("CARGO_PKG_VERSION"),
                };
                Cluster::start(on, found, parts, intensity, Arc::clone(&health))
            });
            let tokens_made =
                Tokens::new(enrolment, store.clone(), clock, cuts.clone(), cluster.clone());
            let tokens_made = Arc::new(tokens_made);
            let (check_every, every) = watch::channel(Duration::from_secs(settings.pool.check_retired_s));
            // An arbiter of its own: to make its client takes a while, and the key manager is not to wait for that.
            let checks = actix_rt::Arbiter::new();
            let checker = KeyCheckerActor::start(
                &checks.handle(),
                keys.clone(),
                configuration.upstream.clone(),
                every,
                intensity,
                Arc::clone(&health),
            );
            let runtime_keys =
                RuntimeKeys::new(key_sources, keys.clone(), checker, store.clone(), Arc::clone(&directory));
            let runtime_keys = Arc::new(runtime_keys);
            let certificate = configuration.certificate.as_ref().map(ShownCertificate::new);
            let repeats = TranslationRepeats::default();
            let operator_certificate = configuration.operator_certificate.as_ref().map(ShownCertificate::new);
            let sources = metrics::Sources {
                keys: keys.clone(),
                health: Arc::clone(&health),
                in_flight: in_flight.clone(),
                directory,
                accounts: accounts.clone(),
                clock,
                logging: logging.clone(),
                certificates: certificate.iter().chain(&operator_certificate).map(Arc::clone).collect(),
                reloads: Arc::clone(&reloads.state),
                traces: traces.clone(),
                repeats: repeats.clone(),
                cluster: cluster.clone(),
            };
            let metrics = Arc::new(Metrics::new(sources, configuration.metrics_token.as_ref()));
            if let Some(address) = configuration.metrics_listen {
                metrics::start(address, &metrics)?;
            }
            let operator = configuration.operator.as_ref();
            let operators_gate = Arc::new(Gate::of_operator(operator.map(|(_, token)| token)));
            let current = Arc::new(ArcSwap::from_pointee(current_settings(&configuration, &pool_keys)));
            let prices = RuntimePrices::new(
                kept_prices,
                store.clone(),
                accounts.clone(),
                Arc::clone(&current),
                settings.prices.clone(),
            );
            actix_rt::spawn(Arc::clone(&prices).follow_store());
            if let Some((place, _)) = operator {
                let operated = operator::Operated {
                    keys: keys.clone(),
                    runtime_keys: Arc::clone(&runtime_keys),
                    health: Arc::clone(&health),
                    in_flight: in_flight.clone(),
                    tokens: Arc::clone(&tokens_made),
                    accounts: accounts.clone(),
                    reloads: reloads.clone(),
                    current: Arc::clone(&current),
                    sessions: Arc::clone(&sessions),
                    page: page.clone(),
                    audit_log: settings.log.dir.join("audit.log"),
                    metrics: Arc::clone(&metrics),
                    prices: Arc::clone(&prices),
                    cluster: cluster.clone(),
                };
                let tls = operator_certificate.as_ref().map(ShownCertificate::server_config).transpose()?;
                operator::start(place.clone(), tls, Arc::clone(&operators_gate), operated)?;
            }
            log::info!(target: "service", "gemini-balance {} with {}, {}", env!("CARGO_PKG_VERSION"), counted(count, "key"), counted(configuration.tokens.len(), "client token"));
            let guesses = Arc::new(Guesses::new(settings.server.max_guesses_per_minute, Instant::now()));
            let budget = BodyBudget::new(settings.server.max_buffered_bytes);
            let responses = KeptResponses::new(&settings.formats.responses, &settings.responses_file());
            let parts = Parts {
                current: Arc::clone(&current),
                pool_keys,
                runtime_keys,
                tokens: tokens_made,
                accounts: accounts.clone(),
                ledger: ledger.clone(),
                logging: logging.clone(),
                guesses: Arc::clone(&guesses),
                budget: budget.clone(),
                responses: responses.clone(),
                check_every,
                certificate: certificate.clone(),
                operator_certificate,
                operators_gate,
                sessions,
                metrics,
                prices,
                traces: traces.clone(),
                cluster: cluster.clone(),
            };
            actix_rt::spawn(Reloader::new(parts, &reloads, &configuration).run(reload_inbox));
            let parts = WorkerParts {
                gate,
                clock,
                guesses,
                keys,
                #[cfg(debug_assertions)]
                store: store.clone(),
                health,
                in_flight,
                budget,
                responses,
                listed: ListedModels::default(),
                repeats,
                ledger,
                current,
                accounts: accounts.clone(),
                together: cluster.as_ref().map(Cluster::callers),
                traces: traces.clone(),
                cuts,
            };
            let ready = |address: SocketAddr| {
                if let Some(page) = page.filter(|_| !settings.server.has_tls()) {
                    page.reaches(address);
                }
                ready(address);
            };
            let code = serve(settings, parts, certificate, signals, ready).await;
            if let Some(accounts) = &accounts
                && !accounts.flush(FLUSH).await
            {
                log::error!(target: "accountant", "the last second of the usage could not be written");
            }
            traces.flush(LAST_TRACES).await;
            if let Some(cluster) = &cluster {
                cluster.leave(FAREWELL).await;
            }
            if let Some(on) = cluster_on {
                on.stop();
            }
            posts.stop();
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
            checks.stop();
            code
        });
        logging.flush();
        result
    }
}
