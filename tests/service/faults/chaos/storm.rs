//! What goes wrong: faults of the upstream drawn at random, its outages, its end and return, and the gateway's.

use super::{
    Pool,
    judging::GARBAGE,
    operating::Doors,
    stage::{Hour, Stage},
};
use crate::support::{Gateway, Options, secret};
use gemini_simulator::{Config, Fault, Outage, Page, Refusal, Rule, Simulator};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

const ASKS: [&str; 2] = ["/v1beta/models/", "/v1beta/openai/chat"];
const STREAMS: &str = "/v1beta/models/gemini-2.5-flash-lite:streamGenerateContent";

/// The upstream, which may be begun anew on the same port.
pub(super) struct Upstream {
    simulator: Option<Simulator>,
    config: Config,
    /// How many requests for content it has answered with 200, by model, as far as they are counted.
    served: BTreeMap<String, u64>,
    /// How often which fault was met.
    pub(super) met: BTreeMap<String, u64>,
}

impl Upstream {
    pub(super) async fn start(config: Config) -> Self {
        let simulator = Simulator::start(config.clone()).await.unwrap();
        let config = Config { listen: simulator.addr(), ..config };
        Self { simulator: Some(simulator), config, served: BTreeMap::new(), met: BTreeMap::new() }
    }

    pub(super) fn get(&self) -> &Simulator {
        self.simulator.as_ref().unwrap()
    }

    /// Counts what has arrived, and forgets it.
    pub(super) fn served(&mut self) -> &BTreeMap<String, u64> {
        for request in self.get().requests() {
            if let Some(fault) = request.fault {
                *self.met.entry(fault).or_default() += 1;
            }
            let is_content = request.path.contains("enerateContent") || request.path.ends_with("completions");
            if let (Some(200), Some(model), true) = (request.status, request.model, is_content) {
                *self.served.entry(model).or_default() += 1;
            }
        }
        self.get().reset();
        &self.served
    }

    /// Ends it, with all it knew, and begins it anew.
    async fn restart(&mut self, stage: &Stage, away: Duration) {
        stage.upstream_lives.fetch_add(1, Ordering::SeqCst);
        // Nothing arrives any more that would not be counted.
        self.get().set_outage(Outage::new(Refusal::Refuse)).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.served();
        if let Some(simulator) = self.simulator.take() {
            simulator.stop().await;
        }
        tokio::time::sleep(away).await;
        self.simulator = Some(Simulator::start(self.config.clone()).await.unwrap());
        stage.upstream_lives.fetch_add(1, Ordering::SeqCst);
        *self.met.entry("begun anew".to_owned()).or_default() += 1;
    }
}

fn quota() -> Value {
    json!({"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}]}})
}

fn answered(status: u16, body: Option<Value>) -> Fault {
    Fault::Status { status, headers: BTreeMap::new(), body }
}

/// A fault, and whether only what asks a model may meet it: nobody could tell a file from what is no answer.
fn fault(rng: &mut fastrand::Rng) -> (Fault, bool) {
    let after_events = rng.u64(0..7);
    let middlebox = |status| {
        let (page, headers) = (Page::Html, BTreeMap::new());
        Fault::Middlebox { status, page, headers, body: None }
    };
    let fault = match rng.u8(0..24) {
        0 => answered(429, Some(quota())),
        1 => answered(429, None),
        2 | 3 => answered(500, None),
        4 | 5 => answered(503, None),
        6 => return (answered(500, Some(json!(GARBAGE))), true),
        7 => return (answered(200, Some(json!(GARBAGE))), true),
        8 => return (Fault::BadGzip, true),
        9 => return (Fault::GzipBomb { mib: 1 }, true),
        10 => middlebox(502),
        11 => middlebox(200),
        12 => Fault::ResetHead,
        13 => Fault::CloseHead,
        14 => Fault::PartialHead,
        15 => Fault::StallHead,
        16 => Fault::DelayHead { ms: rng.u64(1..1_000) },
        17 => Fault::Reset { after_events },
        18 => Fault::Truncate { after_events },
        19 => Fault::Stall { after_events },
        20 => Fault::Slow { bytes: rng.usize(16..200), every_ms: 5 },
        21 => Fault::CloseKept { after_ms: None, reset: rng.bool() },
        22 => Fault::BigHeaders { kib: 80 },
        _ => Fault::ManyHeaders { count: 200 },
    };
    (fault, false)
}

/// A few rules, each for a few requests.
fn rules(rng: &mut fastrand::Rng) -> Vec<Rule> {
    let mut rules = Vec::new();
    for _ in 0..rng.usize(1..5) {
        let (fault, is_for_models) = fault(rng);
        let rule = Rule::new(fault).times(rng.u64(1..5)).after(rng.u64(0..6));
        rules.push(match rng.u8(0..4) {
            _ if is_for_models => rule.on_path(ASKS[rng.usize(0..ASKS.len())]),
            0 => rule.on_key(secret(rng.usize(0..super::KEYS))),
            1 => rule.on_path(ASKS[rng.usize(0..ASKS.len())]),
            _ => rule,
        });
    }
    rules.push(match rng.u8(0..4) {
        0 => {
            let (after_messages, code) = (rng.u64(0..3), Some(1011));
            Rule::new(Fault::LiveClose { after_messages, code, reason: "no more".to_owned() }).on_path("/ws/")
        }
        1 => Rule::new(Fault::LiveGoAway { after_messages: 1 }).on_path("/ws/"),
        _ => {
            let (after_events, framed) = (rng.u64(0..7), rng.bool());
            Rule::new(Fault::ErrorEvent { after_events, body: None, framed }).on_path(STREAMS)
        }
    });
    if let Some(last) = rules.last_mut() {
        last.times = Some(rng.u64(1..4));
    }
    rules
}

/// What a storm has besides the upstream's faults.
#[derive(Clone, Copy, Debug)]
pub(super) struct Severity {
    pub(super) lasts: Duration,
    /// The gateway is killed.
    pub(super) kills: bool,
    /// The upstream ends, and comes back without its memory.
    pub(super) restarts: bool,
}

/// Throws in what is drawn until the time is over; then all is well again.
pub(super) async fn storm(pool: &mut Pool, rng: &mut fastrand::Rng, severity: Severity) {
    let begun = Instant::now();
    let at = |rng: &mut fastrand::Rng| severity.lasts.mul_f64(0.2 + 0.6 * rng.f64());
    let mut kill = severity.kills.then(|| at(rng));
    let mut restart = severity.restarts.then(|| at(rng));
    let mut doors = if severity.kills { Doors::none() } else { Doors::drawn(|| at(rng)) };
    pool.stage.hour.send_replace(Hour::Storm);
    while begun.elapsed() < severity.lasts {
        let due = |at: &mut Option<Duration>| at.take_if(|at| *at < begun.elapsed()).is_some();
        pool.upstream.get().set_faults(rules(rng));
        if rng.u8(0..12) == 0 {
            let how = if rng.bool() { Refusal::Refuse } else { Refusal::Reset };
            let for_ms = Some(rng.u64(50..800));
            let outage = Outage { how, for_ms, keep_open: rng.bool() };
            pool.upstream.get().set_outage(outage).unwrap();
            *pool.upstream.met.entry("outage".to_owned()).or_default() += 1;
        }
        if due(&mut restart) {
            pool.upstream.restart(&pool.stage, Duration::from_millis(rng.u64(50..800))).await;
        }
        if due(&mut kill) {
            kill_and_start(&mut pool.gateway, &pool.options, pool.folder.path(), &pool.stage);
            pool.kills += 1;
        }
        doors.open_those_due(&pool.stage, begun.elapsed()).await;
        tokio::time::sleep(Duration::from_millis(rng.u64(100..500))).await;
    }
    pool.panics += doors.opened;
    pool.upstream.get().set_faults([]);
    pool.upstream.get().end_outage().unwrap();
}

fn kill_and_start(gateway: &mut Gateway, options: &Options, folder: &Path, stage: &Stage) {
    stage.lives.fetch_add(1, Ordering::SeqCst);
    stage.forget_newest();
    tokio::task::block_in_place(|| {
        gateway.signal("KILL");
        gateway.wait_for_end();
        *gateway = options.start_in(folder);
    });
    stage.pid.store(gateway.pid(), Ordering::SeqCst);
    stage.lives.fetch_add(1, Ordering::SeqCst);
}
