//! Everything at once, while everything goes wrong: all that clients and the operator do, under faults that are drawn from a
//! seed. The time is divided into rounds: a storm, a calm in which each request has to be served, and a rest in which nothing
//! may be left. `CHAOS_SEED` draws the same again, as far as time allows, and `MINUTES` says how long the long run takes.

mod asking;
mod flows;
mod judging;
mod operating;
mod stage;
mod storm;

use super::{Baseline, Row, Size, ready};
use crate::support::{Gateway, Options, free_port, resident_kib, secret};
use gemini_simulator::{Config, Key, Shape};
use serde_json::Value;
use stage::{Hour, Stage};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use storm::{Severity, Upstream};

/// Of three projects.
const KEYS: usize = 6;
/// How long until what a storm has left is over: pauses of keys and models, which here last a second, and one more.
const SETTLING: Duration = Duration::from_secs(3);

/// The gateway with what is around it.
struct Pool {
    stage: Arc<Stage>,
    upstream: Upstream,
    gateway: Gateway,
    options: Options,
    folder: tempfile::TempDir,
    kills: usize,
    /// How many panics were ordered in the gateway's present life.
    panics: usize,
}

impl Pool {
    async fn start() -> Self {
        let keys = (0..KEYS).map(|n| Key::valid(secret(n), format!("project-{}", n / 2))).collect();
        let shape = Shape { events: 6, interval_ms: 20, text_bytes: 0 };
        let upstream = Upstream::start(Config { keys, shape, ..Config::default() }).await;
        let (port, admin) = (free_port(), free_port());
        let options = Options::new(&upstream.get().url(), KEYS)
            .env("ADMIN_TOKEN", operating::ADMIN)
            .set("server.port", port)
            .set("admin.port", admin)
            // What a removed token asks is no guess.
            .set("server.max_guesses_per_minute", 0)
            .set("pool.cooldown_initial_s", 1)
            .set("pool.cooldown_max_s", 1)
            .set("pool.rate_limit_wait_s", 1)
            .set("upstream.head_timeout_s", 3)
            .set("upstream.idle_timeout_s", 3);
        let folder = tempfile::tempdir().unwrap();
        let gateway = options.start_in(folder.path());
        let stage = Arc::new(Stage::new(gateway.authority().to_owned(), admin));
        stage.pid.store(gateway.pid(), Ordering::SeqCst);
        Self { stage, upstream, gateway, options, folder, kills: 0, panics: 0 }
    }

    /// A storm, and what has to hold after it.
    async fn round(&mut self, rng: &mut fastrand::Rng, severity: Severity, calm: Duration) {
        if severity.kills {
            self.panics = 0;
        }
        storm::storm(self, rng, severity).await;
        self.stage.hour.send_replace(Hour::Settling);
        operating::enable_all(&self.stage).await;
        tokio::time::sleep(SETTLING).await;
        self.stage.hour.send_replace(Hour::Calm);
        tokio::time::sleep(calm).await;
        self.stage.rest().await;
    }

    /// Compares what usage tells with what the simulator has served and what clients have got whole.
    async fn usage(&mut self, row: &mut BTreeMap<&'static str, u64>) {
        let served = self.upstream.served().clone();
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let path = "/api/usage?by=model&step=all&from=-1d";
            let answer = operating::operator(self.stage.admin, "GET", path, "").await.unwrap().json();
            let rows: Vec<Value> = answer["rows"].as_array().unwrap().clone();
            let input = |row: &Value| {
                row["input_tokens"].as_u64().unwrap() + row["cached_tokens"].as_u64().unwrap_or(0)
            };
            let (mut over, mut under) = (0, 0);
            {
                let mut told = self.stage.told();
                let each = told.each.clone();
                for model in asking::compared() {
                    let booked = rows.iter().find(|row| row["model"] == model).map_or(0, input);
                    let most = served.get(model).unwrap_or(&0) * each.get(model).unwrap_or(&0);
                    let least = told.answered().get(model).copied().unwrap_or(0);
                    if booked > most {
                        eprintln!("{model}: {booked} input tokens are booked, {most} were served");
                    }
                    over += booked.saturating_sub(most);
                    under += least.saturating_sub(booked);
                }
            }
            let requests: u64 = rows.iter().map(|row| row["requests"].as_u64().unwrap()).sum();
            over += requests.saturating_sub(self.stage.sent.load(Ordering::SeqCst));
            // What has just ended is counted within a second.
            if under == 0 || over > 0 || Instant::now() > deadline {
                *row.entry("over").or_default() += over;
                *row.entry("under").or_default() += under;
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The growth of memory in MiB over ten minutes, as a straight line has it that is as near as can be to what was seen.
fn slope(seen: &[(f64, f64)]) -> f64 {
    let count = super::figures::number(seen.len());
    let mean = |of: fn(&(f64, f64)) -> f64| seen.iter().map(of).sum::<f64>() / count;
    let (at, kib) = (mean(|it| it.0), mean(|it| it.1));
    let together: f64 = seen.iter().map(|it| (it.0 - at) * (it.1 - kib)).sum();
    let spread: f64 = seen.iter().map(|it| (it.0 - at).powi(2)).sum();
    if spread > 0.0 { together / spread * 600.0 / 1024.0 } else { 0.0 }
}

fn variable(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// What a round is like, by how much of all the time has gone.
fn severity(size: Size, gone: f64, round: usize) -> (Severity, Duration) {
    let lasts = size.of(Duration::from_secs(2), Duration::from_secs(20));
    let calm = size.of(Duration::from_secs(1), Duration::from_secs(6));
    // Of the last life memory is watched.
    let kills = match size {
        Size::Small => round == 0,
        Size::Table => gone < 1.0 / 6.0,
    };
    (Severity { lasts, kills, restarts: round.is_multiple_of(3) }, calm)
}

pub(super) async fn everything(size: Size) -> Row {
    let seed = variable("CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..));
    let minutes = variable("MINUTES").unwrap_or(30);
    let lasts = size.of(Duration::from_secs(7), Duration::from_secs(60 * minutes));
    eprintln!("CHAOS_SEED={seed} draws the same faults again");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut pool = Pool::start().await;
    let clients = size.of(12, 24);
    let (begun, mut rounds, mut leaked) = (Instant::now(), 0, 0);
    let mut parts = Vec::new();
    for n in 0..clients {
        let stage = Arc::clone(&pool.stage);
        parts.push(tokio::spawn(asking::client(stage, seed ^ (n + 1), size.of(60, 300))));
    }
    let (stage, folder) = (Arc::clone(&pool.stage), pool.folder.path().to_owned());
    parts.push(tokio::spawn(operating::operates(stage, seed ^ 0xff, folder)));
    let (mut seen, mut usage) = (Vec::new(), BTreeMap::new());
    while begun.elapsed() < lasts {
        let gone = begun.elapsed().as_secs_f64() / lasts.as_secs_f64();
        let (severity, calm) = severity(size, gone, rounds);
        let before = Baseline::of(&pool.gateway);
        pool.round(&mut rng, severity, calm).await;
        rounds += 1;
        pool.usage(&mut usage).await;
        // Connections to the upstream that are kept: one for each that asked at once, on each worker.
        if severity.kills {
            seen.clear();
        } else {
            before.is_back(&pool.gateway, 2 * parts.len()).await;
        }
        leaked += ready(&pool.gateway).await["keys"]["in_flight"].as_u64().unwrap();
        let kib = resident_kib(&pool.gateway);
        seen.push((begun.elapsed().as_secs_f64(), f64::from(u32::try_from(kib).unwrap())));
        eprintln!(
            "round {rounds} after {:.0?}: {} MiB, {} sent, {} wrong",
            begun.elapsed(),
            kib / 1024,
            pool.stage.sent.load(Ordering::SeqCst),
            pool.stage.told().wrong.len()
        );
    }
    pool.stage.hour.send_replace(Hour::Over);
    let mut gave_up = 0;
    for part in parts {
        gave_up += usize::from(part.await.is_err());
    }
    let mut row = told(&pool, rounds, &usage, &seen, lasts);
    row.exactly("leases left at a rest", leaked, 0);
    row.exactly("clients that waited in vain for what comes next", gave_up, 0);
    row
}

fn told(
    pool: &Pool,
    rounds: usize,
    usage: &BTreeMap<&'static str, u64>,
    seen: &[(f64, f64)],
    lasts: Duration,
) -> Row {
    let told = pool.stage.told();
    eprintln!("{rounds} rounds, {} kills, the slowest took {:.1?}", pool.kills, told.slowest);
    eprintln!("came: {:#?}\nfaults met: {:#?}", told.came, pool.upstream.met);
    for wrong in told.wrong.iter().take(20) {
        eprintln!("{wrong}\n");
    }
    let mut row = Row::new("Everything at once, faults drawn at random");
    let whole: u64 = told.came.iter().filter(|((_, came), _)| *came == "whole").map(|(_, count)| count).sum();
    row.exactly("whole answers at all", u64::from(whole > 0), 1);
    row.exactly("answers that say what is not so, or nothing", told.wrong.len(), 0);
    row.exactly("tokens and requests booked that nobody served", usage["over"], 0);
    row.exactly("tokens of whole answers not booked", usage["under"], 0);
    row.exactly(
        "panics that were not ordered",
        operating::panics(&pool.gateway).saturating_sub(pool.panics),
        0,
    );
    // The first minutes of the last life fill what is bounded.
    let from = seen.first().map_or(0.0, |first| first.0) + lasts.as_secs_f64() / 6.0;
    let watched: Vec<_> = seen.iter().copied().filter(|(at, _)| *at >= from).collect();
    eprintln!("memory by seconds, KiB: {watched:?}");
    row.amount("memory grows in ten minutes", slope(&watched), 1.0, "MiB");
    row
}

#[test]
fn a_slope_is_told_by_ten_minutes() {
    let steady: Vec<_> = (0..60).map(|n| (f64::from(n) * 30.0, 40_000.0 + f64::from(n) * 512.0)).collect();
    assert!((slope(&steady) - 10.0).abs() < 0.001, "{}", slope(&steady));
    assert!(slope(&[(1.0, 5.0)]).abs() < 0.001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_each_client_is_told_what_is_so() {
    everything(Size::Small).await.counts_are_met();
}
