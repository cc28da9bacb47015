//! Five times as many clients as a bound lets in: those who are let in are served as many a second as without the others, and
//! the others are refused at once.

use super::{
    Baseline, GENERATE, Row, Size,
    figures::{number, percentile},
    status,
};
use crate::{
    storms,
    support::{Gateway, Options, TOKEN, prompt, resident_kib, simulator, simulator_with},
    wire::{Wire, exchange, request},
};
use gemini_simulator::{Fault, Rule};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Notify, task::JoinSet};

/// How many times what is let in comes.
const TIMES: usize = 5;
/// What an answer of Google's takes: much longer than what the gateway does for it.
const ANSWER_MS: u64 = 200;
/// A client that is refused asks again after this, which is sooner than `Retry-After` says.
const PAUSE: Duration = Duration::from_millis(200);
const REFUSED_WITHIN: Duration = Duration::from_millis(10);
const MEMORY_MIB: f64 = 64.0;
const HEALTH_WITHIN: Duration = Duration::from_millis(100);

/// How the requests of a load ended.
#[derive(Debug, Default)]
struct Ends {
    /// How many were served while it lasted.
    served: usize,
    /// How many were served after.
    served_late: usize,
    /// How long those took that the bound refused.
    refused: Vec<Duration>,
    /// Other answers than these.
    others: usize,
}

/// So many clients, each on its own connection, that ask again once they are served, and after a pause once refused.
#[derive(Clone)]
struct Load {
    clients: usize,
    body: String,
    refusal: u16,
    lasts: Duration,
}

impl Load {
    async fn on(&self, gateway: &Gateway) -> Ends {
        let text: Arc<str> = request("POST", GENERATE, &[("x-goog-api-key", TOKEN)], &self.body).into();
        let mut wires = Vec::with_capacity(self.clients);
        for _ in 0..self.clients {
            wires.push(Wire::connect(gateway.authority()).await);
        }
        let (begun, refusal, lasts) = (Instant::now(), self.refusal, self.lasts);
        let mut running = JoinSet::new();
        for (n, mut wire) in wires.into_iter().enumerate() {
            let authority = gateway.authority().to_owned();
            let (text, offset) = (Arc::clone(&text), PAUSE.mul_f64(number(n) / number(self.clients)));
            running.spawn(async move {
                let mut ends = Ends::default();
                tokio::time::sleep(offset).await;
                while begun.elapsed() < lasts {
                    let sent = Instant::now();
                    wire.send(text.as_ref()).await.unwrap();
                    let answer = wire.answer().await.expect("an answer");
                    let took = sent.elapsed();
                    if answer.header("connection") == Some("close") {
                        wire = Wire::connect(&authority).await;
                    }
                    match answer.status {
                        200 if begun.elapsed() <= lasts => ends.served += 1,
                        200 => ends.served_late += 1,
                        it if it == refusal => {
                            ends.refused.push(took);
                            assert!(answer.header("retry-after").is_some(), "{answer:?}");
                            tokio::time::sleep(PAUSE).await;
                        }
                        _ => ends.others += 1,
                    }
                }
                ends
            });
        }
        let mut all = Ends::default();
        while let Some(ends) = running.join_next().await {
            let ends = ends.unwrap();
            all.served += ends.served;
            all.served_late += ends.served_late;
            all.refused.extend(ends.refused);
            all.others += ends.others;
        }
        all
    }

    /// The same, with how long the slowest look at the health took meanwhile, and the most memory that there was, in KiB.
    async fn watched_on(&self, gateway: &Gateway) -> (Ends, Duration, u64) {
        let over = Notify::new();
        let look = async {
            let (mut slowest, mut most) = (Duration::ZERO, 0);
            while tokio::time::timeout(Duration::from_millis(50), over.notified()).await.is_err() {
                let since = Instant::now();
                let health = exchange(gateway.authority(), request("GET", "/health", &[], "")).await;
                assert_eq!(health.status, 200, "{}", health.text());
                slowest = slowest.max(since.elapsed());
                most = most.max(resident_kib(gateway));
            }
            (slowest, most)
        };
        let load = async {
            let ends = self.on(gateway).await;
            over.notify_one();
            ends
        };
        let (ends, (slowest, most)) = tokio::join!(load, look);
        (ends, slowest, most)
    }
}

fn tell(row: &mut Row, ends: &Ends, health: Duration, grown_kib: u64) {
    eprintln!("{} served, {} refused", ends.served, ends.refused.len());
    row.exactly("other answers", ends.others, 0);
    row.within("refused: 99 of 100", percentile(ends.refused.clone(), 99), REFUSED_WITHIN);
    row.amount("more memory", number(grown_kib) / 1024.0, MEMORY_MIB, "MiB");
    row.within("the slowest /health", health, HEALTH_WITHIN);
}

/// As many clients as a bound lets in, then five times as many.
async fn beyond(
    name: &'static str,
    size: Size,
    refusal: u16,
    options: impl FnOnce(Options, usize, usize) -> Options,
) -> Row {
    let capacity = size.of(20, 100);
    let simulator = simulator_with(2, |config| config.log_capacity = 1).await;
    let body = prompt(&"x".repeat(4 * 1024));
    let gateway = options(Options::new(&simulator.url(), 2), capacity, body.len()).start();
    assert_eq!(status(&gateway).await, 200);
    let before = Baseline::of(&gateway);
    let memory = resident_kib(&gateway);
    simulator.set_faults([Rule::new(Fault::DelayHead { ms: ANSWER_MS })]);
    let fits = Load {
        clients: capacity,
        body,
        refusal,
        lasts: size.of(Duration::from_secs(2), Duration::from_secs(6)),
    };
    let peak = fits.on(&gateway).await;
    let load = Load { clients: TIMES * capacity, lasts: 2 * fits.lasts, ..fits.clone() };
    let (ends, health, most) = load.watched_on(&gateway).await;
    let mut row = Row::new(name);
    let a_second = |ends: &Ends, load: &Load| number(ends.served) / load.lasts.as_secs_f64();
    let (at_most, kept) = (a_second(&peak, &fits), a_second(&ends, &load));
    eprintln!("{at_most:.0} a second of {capacity} clients, {kept:.0} of {TIMES} times as many");
    row.at_least("served, of what as many as fit are", 100.0 * kept / at_most, 90.0, "%");
    // Whatever else is slow, most of those who come are too many.
    row.exactly("more are refused than served", ends.refused.len() > ends.served, true);
    tell(&mut row, &ends, health, most.saturating_sub(memory));
    simulator.set_faults([]);
    before.returns(&gateway, 2 * capacity).await;
    row
}

pub(super) async fn of_bodies(size: Size) -> Row {
    let bound = |options: Options, capacity: usize, body: usize| {
        options.set("server.max_buffered_bytes", capacity * body)
    };
    beyond("More bodies than there is memory for", size, 503, bound).await
}

pub(super) async fn of_a_caller(size: Size) -> Row {
    let bound = |options: Options, capacity: usize, _: usize| {
        let tokens = format!("[{{name=\"tester\",secret=\"{TOKEN}\",concurrent={capacity}}}]");
        options.without_token().set("auth.tokens", tokens)
    };
    beyond("More at once than a token may", size, 429, bound).await
}

/// The only key rests for a while, in which as many wait for it as may.
pub(super) async fn of_the_line(size: Size) -> Row {
    let capacity = size.of(20, 100);
    let rests = size.of(4, 8);
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1)
        .set("pool.max_waiting", capacity)
        .set("pool.max_wait_ms", 20_000)
        .start();
    assert_eq!(status(&gateway).await, 200);
    let before = Baseline::of(&gateway);
    let memory = resident_kib(&gateway);
    simulator.set_faults([Rule::new(storms::quota(&format!("{rests}s"), None)).times(1)]);
    assert_eq!(status(&gateway).await, 429);
    let lasts = Duration::from_secs(rests - 2);
    let load = Load { clients: TIMES * capacity, body: prompt("x"), refusal: 429, lasts };
    let (ends, health, most) = load.watched_on(&gateway).await;
    let mut row = Row::new("More than the line for a key takes");
    row.exactly("served of those who wait", ends.served_late, capacity);
    row.exactly("served before the key is back", ends.served, 0);
    tell(&mut row, &ends, health, most.saturating_sub(memory));
    before.returns(&gateway, 2 * capacity).await;
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_five_times_the_bodies_that_fit_the_others_are_refused() {
    of_bodies(Size::Small).await.counts_are_met();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_five_times_what_a_token_may_the_others_are_refused() {
    of_a_caller(Size::Small).await.counts_are_met();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_five_times_what_the_line_takes_the_others_are_refused() {
    of_the_line(Size::Small).await.counts_are_met();
}
