//! Several pools on the same limits, with a store between them that gives out slices, and Google as the judge of all: a
//! simulation by events, on the pool itself. What must come of it is for the tests to say.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part of the world")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::unchecked_time_subtraction,
    reason = "loads and times of a simulation"
)]

mod judge;
mod setup;
mod sums;

pub(crate) use setup::{Setup, Trouble, mixed, ms, rpm, secs};
pub(crate) use sums::{Sums, percent, usable};

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use crate::buckets::Buckets;
use chrono::{DateTime, TimeDelta, Utc};
use gemini::fault::{Fault, Kind, Quota, QuotaWindow, Wait};
use judge::Judge;
use keypool::{
    Answer, Draw, Drawn, Effect, Effects, Grant, KeyId, KeySpec, LeaseRequest, Limit, ModelWeight, Now,
    Outcome, Pool, Reach, Record, Settings, Settlement, Subject, Ticket,
};

const MODEL: &str = "m";
/// A call to the store that is not answered in this time has failed.
const TIMEOUT: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(250);
const MAX_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug)]
enum What {
    Arrive { node: usize },
    AtGoogle { node: usize, grant: Grant, request: LeaseRequest, tries: u32 },
    AtStore { node: usize, draws: Vec<Draw>, sent: Duration, answer_takes: Duration, is_lost: bool },
    Reply { node: usize, call: u64, replies: Vec<Drawn> },
    Failed { node: usize, call: u64 },
    Tick { node: usize },
    Wake { node: usize },
    Hear { node: usize, fact: Box<Record> },
    Claimed { node: usize, subject: Subject, won: bool },
    Weigh,
    Begin(Trouble),
    End(Trouble),
}

struct Event {
    at: Duration,
    order: u64,
    what: What,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

struct Node {
    pool: Pool,
    effects: Effects,
    /// What its monotonic clock shows more than the world's.
    ahead: Duration,
    /// What its wall clock shows more, in milliseconds.
    wall_ahead: i64,
    alive: bool,
    cut: bool,
    alone: bool,
    generation: u64,
    /// The call under way.
    call: Option<u64>,
    draw_again: bool,
    alarm: Option<Duration>,
    waiting: HashMap<Ticket, (LeaseRequest, u32, Duration)>,
    weight: f64,
}

pub(crate) struct World {
    pub(crate) setup: Setup,
    now: Duration,
    order: u64,
    events: BinaryHeap<Reverse<Event>>,
    rng: fastrand::Rng,
    store: Buckets,
    generation: u64,
    store_away: bool,
    claims: HashMap<Subject, (usize, Duration)>,
    google: Vec<Judge>,
    nodes: Vec<Node>,
    pub(crate) sums: Sums,
    pub(crate) in_trouble: Sums,
}

fn wall() -> DateTime<Utc> {
    "2026-07-15T09:00:00Z".parse().unwrap()
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let limits = setup.limits.iter().enumerate();
        let limits: Vec<Limit> = limits
            .map(|(at, limit)| Limit { project: Some(format!("p{at}").into()), ..limit.clone() })
            .collect();
        let specs: Vec<_> = (0..limits.len())
            .map(|at| KeySpec { project: Some(format!("p{at}").into()), ..KeySpec::new(format!("k{at}")) })
            .collect();
        let rules = Settings { limits, max_wait: MAX_WAIT, max_waiting: 10_000, ..Settings::default() };
        let mut rng = fastrand::Rng::with_seed(setup.seed);
        let nodes = (0..setup.nodes).map(|at| Node {
            pool: Pool::new(rules.clone(), specs.clone(), setup.seed * 1_000 + at as u64).unwrap(),
            effects: Effects::new(),
            ahead: secs(100) + ms(rng.u64(0..5_000)),
            wall_ahead: rng.i64(-2_000..2_000),
            alive: true,
            cut: false,
            alone: false,
            generation: 0,
            call: None,
            draw_again: false,
            alarm: None,
            waiting: HashMap::new(),
            weight: 1.0 / (at as f64 + 1.0).powf(setup.uneven),
        });
        let mut nodes: Vec<_> = nodes.collect();
        let all: f64 = nodes.iter().map(|node| node.weight).sum();
        for node in &mut nodes {
            node.weight /= all;
        }
        let google = setup.limits.iter().map(|_| Judge::default()).collect();
        let mut world = Self {
            now: Duration::ZERO,
            order: 0,
            events: BinaryHeap::new(),
            rng,
            store: Buckets::default(),
            generation: 0,
            store_away: false,
            claims: HashMap::new(),
            google,
            nodes,
            sums: Sums::default(),
            in_trouble: Sums::default(),
            setup,
        };
        for node in 0..world.nodes.len() {
            let now = world.clock(node);
            let Node { pool, effects, .. } = &mut world.nodes[node];
            pool.weigh(world.setup.nodes as u32, &[]);
            pool.join(now, effects);
            let first = ms(world.rng.u64(0..250));
            world.schedule(first, What::Tick { node });
            world.schedule(first, What::Arrive { node });
        }
        world.schedule(secs(1), What::Weigh);
        match world.setup.fault {
            Some(trouble @ (Trouble::Away { from, lasts, .. } | Trouble::Cut { from, lasts, .. })) => {
                world.schedule(from, What::Begin(trouble));
                world.schedule(from + lasts, What::End(trouble));
            }
            Some(trouble @ Trouble::Kill { at }) => world.schedule(at, What::Begin(trouble)),
            // Whatever comes to it meanwhile waits for its end.
            Some(Trouble::Freeze { .. }) | None => {}
        }
        world
    }

    fn clock(&self, node: usize) -> Now {
        let Node { ahead, wall_ahead, .. } = self.nodes[node];
        // Somebody sets the first node's wall clock.
        let set = self.setup.clock_set && node == 0 && self.now > secs(70);
        let wall_ahead = TimeDelta::milliseconds(wall_ahead + if set { 3_600_000 } else { 0 });
        Now { mono: self.now + ahead, wall: wall() + self.now + wall_ahead }
    }

    fn schedule(&mut self, at: Duration, what: What) {
        self.order += 1;
        self.events.push(Reverse(Event { at, order: self.order, what }));
    }

    fn count(&mut self, count: impl Fn(&mut Sums)) {
        if self.now >= self.setup.warm {
            count(&mut self.sums);
        }
        let (from, lasts) = match self.setup.fault {
            Some(
                Trouble::Away { from, lasts, .. }
                | Trouble::Cut { from, lasts, .. }
                | Trouble::Freeze { from, lasts },
            ) => (from, lasts),
            Some(Trouble::Kill { at }) => (at, secs(0)),
            None => return,
        };
        if (from..from + lasts + secs(70)).contains(&self.now) {
            count(&mut self.in_trouble);
        }
    }

    pub(crate) fn run(mut self) -> Self {
        while let Some(Reverse(Event { at, what, .. })) = self.events.pop() {
            if at > self.setup.time {
                break;
            }
            self.now = at;
            self.happen(what);
        }
        self
    }

    fn exponential(&mut self, rate: f64) -> Duration {
        Duration::from_secs_f64((-(1.0 - self.rng.f64()).ln() / rate.max(1e-6)).min(1e6))
    }

    /// When this can happen, if that is later: what is to be done by a node that stands still.
    fn put_off(&self, what: &What) -> Option<Duration> {
        let Some(Trouble::Freeze { from, lasts }) = self.setup.fault else { return None };
        let is_its_own = matches!(
            what,
            What::Arrive { node: 0 }
                | What::Reply { node: 0, .. }
                | What::Failed { node: 0, .. }
                | What::Tick { node: 0 }
                | What::Wake { node: 0 }
                | What::Hear { node: 0, .. }
                | What::Claimed { node: 0, .. }
        );
        (is_its_own && (from..from + lasts).contains(&self.now)).then_some(from + lasts)
    }

    fn happen(&mut self, what: What) {
        if let Some(until) = self.put_off(&what) {
            return self.schedule(until, what);
        }
        match what {
            What::Arrive { node } => self.arrive(node),
            What::AtGoogle { node, grant, request, tries } => self.at_google(node, &grant, request, tries),
            What::AtStore { node, draws, sent, answer_takes, is_lost } => {
                if self.store_away || self.nodes[node].cut {
                    return;
                }
                self.count(|sums| sums.calls += 1);
                self.count(|sums| sums.buckets += draws.len() as u64);
                let replies = draws.iter().map(|draw| self.store.take(node, draw, self.now)).collect();
                if !is_lost {
                    let call = draws[0].call;
                    self.schedule(sent.max(self.now) + answer_takes, What::Reply { node, call, replies });
                }
            }
            What::Reply { node, call, replies } => {
                let now = self.clock(node);
                let state = &mut self.nodes[node];
                if state.call == Some(call) {
                    state.call = None;
                }
                state.pool.drawn(replies, now, &mut state.effects);
                self.perform(node);
                if std::mem::take(&mut self.nodes[node].draw_again) {
                    self.draw(node);
                }
            }
            What::Failed { node, call } if self.nodes[node].call == Some(call) => {
                let now = self.clock(node);
                let away = self.store_away || self.nodes[node].cut;
                let state = &mut self.nodes[node];
                state.call = None;
                if away {
                    state.alone = true;
                    state.pool.alone(now, &mut state.effects);
                    self.perform(node);
                }
            }
            What::Tick { node } if self.nodes[node].alive => {
                self.schedule(self.now + TICK, What::Tick { node });
                if self.nodes[node].alone {
                    self.come_back(node);
                }
                if !self.nodes[node].alone {
                    self.draw(node);
                }
            }
            What::Wake { node } if self.nodes[node].alive => {
                let now = self.clock(node);
                let Node { pool, effects, alarm, .. } = &mut self.nodes[node];
                if alarm.is_some_and(|alarm| alarm <= now.mono) {
                    *alarm = None;
                    pool.wake(now, effects);
                    self.perform(node);
                }
            }
            What::Hear { node, fact } => {
                let now = self.clock(node);
                let Node { pool, effects, .. } = &mut self.nodes[node];
                pool.heard(*fact, now, effects);
                self.perform(node);
            }
            What::Claimed { node, subject, won } => {
                let now = self.clock(node);
                let Node { pool, effects, .. } = &mut self.nodes[node];
                pool.claimed(subject, won, now, effects);
                self.perform(node);
            }
            What::Weigh => self.weigh(),
            What::Begin(Trouble::Away { .. }) => self.store_away = true,
            What::End(Trouble::Away { forgets, .. }) => {
                self.store_away = false;
                // Nobody was heard for a second: all report before anybody draws.
                self.store.hold_until = self.now + secs(1);
                if forgets {
                    self.generation += 1;
                    self.store.lose(self.now + secs(1));
                }
            }
            What::Begin(Trouble::Cut { nodes, .. }) => {
                for node in self.nodes.iter_mut().take(nodes) {
                    node.cut = true;
                }
            }
            What::End(Trouble::Cut { .. }) => {
                for node in &mut self.nodes {
                    node.cut = false;
                }
            }
            What::Begin(Trouble::Kill { .. }) => {
                self.nodes[0].alive = false;
                self.nodes[0].waiting.clear();
                // The balancer gives its load to the others.
                let left = 1.0 - self.nodes[0].weight;
                self.nodes[0].weight = 0.0;
                for node in &mut self.nodes {
                    node.weight /= left;
                }
            }
            What::Failed { .. }
            | What::Tick { .. }
            | What::Wake { .. }
            | What::Begin(Trouble::Freeze { .. })
            | What::End(Trouble::Kill { .. } | Trouble::Freeze { .. }) => {}
        }
    }

    /// What the members' beats tell each of them: its part of the load, and how full the limits are.
    fn weigh(&mut self) {
        self.schedule(self.now + secs(1), What::Weigh);
        if self.store_away {
            return;
        }
        let mut loads = Vec::new();
        for node in (0..self.nodes.len()).filter(|node| self.nodes[*node].alive) {
            if self.put_off(&What::Tick { node }).is_some() {
                continue;
            }
            let now = self.clock(node);
            loads.push((node, self.nodes[node].pool.loads(now).into_iter().next()));
        }
        let all: f64 = loads.iter().flat_map(|(_, load)| load).map(|load| load.per_second).sum();
        let used: u64 = loads.iter().flat_map(|(_, load)| load).map(|load| load.used).sum();
        let count = loads.len() as u32;
        for (node, load) in loads {
            let Some(load) = load.filter(|_| !self.nodes[node].cut) else { continue };
            let part = load.per_second / all.max(1e-9);
            let full = used as f64 / load.limit.max(1) as f64;
            let weight = ModelWeight { model: load.model, part, full };
            self.nodes[node].pool.weigh(count, &[weight]);
        }
    }

    fn arrive(&mut self, node: usize) {
        if !self.nodes[node].alive {
            return;
        }
        let next = self.exponential(self.setup.rate * self.nodes[node].weight);
        self.schedule(self.now + next, What::Arrive { node });
        self.count(|sums| sums.asked += 1);
        let input_tokens = if self.setup.tokens > 0 { self.rng.u64(1..=self.setup.tokens) } else { 0 };
        let mut request = LeaseRequest { input_tokens, ..LeaseRequest::any(Some(MODEL.into())) };
        if self.rng.f64() < self.setup.bound {
            // As many to each as it can bear.
            let all: u64 = self.setup.limits.iter().map(Setup::weight).sum();
            let mut place = self.rng.u64(..all);
            let chosen = self.setup.limits.iter().position(|limit| {
                let weight = Setup::weight(limit);
                let found = place < weight;
                place = place.saturating_sub(weight);
                found
            });
            let key = chosen.unwrap_or_default();
            request.reach = Reach::ProjectOf(KeyId::from(format!("k{key}").as_str()));
        }
        self.ask(node, request, 1);
    }

    fn ask(&mut self, node: usize, request: LeaseRequest, tries: u32) {
        let now = self.clock(node);
        let Node { pool, effects, .. } = &mut self.nodes[node];
        match pool.lease(&request, now, effects) {
            Answer::Granted(grant) => {
                self.count(|sums| sums.at_once += 1);
                self.send(node, grant, request, tries);
            }
            Answer::Waiting(ticket) => {
                let since = self.now;
                self.nodes[node].waiting.insert(ticket, (request, tries, since));
            }
            Answer::Refused(_) => self.refused(&request),
        }
        self.perform(node);
    }

    fn refused(&mut self, request: &LeaseRequest) {
        self.count(|sums| sums.refused += 1);
        let now = self.now;
        let limits = self.setup.limits.iter().zip(&self.google).enumerate();
        let reaches = |at: usize| match &request.reach {
            Reach::ProjectOf(key) => key.as_str() == format!("k{at}"),
            _ => true,
        };
        let room = limits.into_iter().any(|(at, (limit, judge))| reaches(at) && judge.has_room(limit, now));
        if room {
            self.count(|sums| sums.stranded += 1);
        }
    }

    fn send(&mut self, node: usize, grant: Grant, request: LeaseRequest, tries: u32) {
        let at = self.now + ms(self.rng.u64(0..300));
        self.schedule(at, What::AtGoogle { node, grant, request, tries });
    }

    fn at_google(&mut self, node: usize, grant: &Grant, mut request: LeaseRequest, tries: u32) {
        let project: usize = grant.key.as_str()[1..].parse().unwrap();
        // What a request has is at most what it was thought to have.
        let tokens = request.input_tokens - request.input_tokens / 5;
        let refused = self.google[project].ask(&self.setup.limits[project], tokens, self.now);
        let now = self.clock(node);
        let outcome = match refused {
            None => Outcome::Success,
            Some((unit, window, wait)) => {
                let quota = Quota { id: "".into(), unit, window, limit: None, model: None };
                let (kind, wait) = match window {
                    QuotaWindow::Day => (Kind::QuotaDay, Wait::DailyReset),
                    _ => (Kind::QuotaMinute, Wait::For(wait)),
                };
                Outcome::Fault(Fault { kind, wait, quotas: vec![quota], project: None })
            }
        };
        self.count(|sums| if refused.is_some() { sums.over += 1 } else { sums.served += 1 });
        if !self.nodes[node].alive {
            return;
        }
        let Node { pool, effects, .. } = &mut self.nodes[node];
        let settlement = Settlement {
            lease: grant.lease,
            key: grant.key.clone(),
            model: request.model.clone(),
            input_tokens: refused.is_none().then_some(tokens),
            output_tokens: None,
            outcome: outcome.clone(),
        };
        pool.settle(&settlement, now, effects);
        self.perform(node);
        if let Outcome::Fault(fault) = outcome {
            if tries >= 3 {
                return self.count(|sums| sums.failed += 1);
            }
            request.tried.insert(grant.key.clone());
            request.heed(&grant.key, &fault);
            if request.reach != Reach::Any {
                request.tried = keypool::Tried::new();
            }
            self.ask(node, request, tries + 1);
        }
    }

    /// Makes a call to the store, if none is under way.
    fn draw(&mut self, node: usize) {
        let now = self.clock(node);
        if self.nodes[node].call.is_some() {
            self.nodes[node].draw_again = true;
            return;
        }
        if self.nodes[node].generation != self.generation && !self.store_away && !self.nodes[node].cut {
            self.nodes[node].generation = self.generation;
            let Node { pool, effects, .. } = &mut self.nodes[node];
            pool.new_generation(now, effects);
            self.perform(node);
            if self.nodes[node].call.is_some() {
                // Somebody waited, and a call was made.
                return;
            }
        }
        let draws = self.nodes[node].pool.draws(now);
        let Some(call) = draws.first().map(|draw| draw.call) else { return };
        self.nodes[node].call = Some(call);
        let trip =
            if self.rng.f64() < 0.01 { ms(5) } else { Duration::from_micros(300 + self.rng.u64(0..400)) };
        let is_lost = self.rng.f64() < self.setup.lost;
        // Late, but within what the node waits; or after it has given the call up.
        let answer_takes = if self.rng.f64() < self.setup.late { ms(self.rng.u64(1..400)) } else { trip / 2 };
        let sent = self.now;
        self.schedule(sent + trip / 2, What::AtStore { node, draws, sent, answer_takes, is_lost });
        self.schedule(sent + TIMEOUT, What::Failed { node, call });
    }

    /// Looks whether the store is back, and if so, reports before anything is drawn.
    fn come_back(&mut self, node: usize) {
        if self.store_away || self.nodes[node].cut {
            return;
        }
        let now = self.clock(node);
        let state = &mut self.nodes[node];
        state.alone = false;
        state.pool.join(now, &mut state.effects);
        self.perform(node);
    }

    fn perform(&mut self, node: usize) {
        let effects: Vec<_> = self.nodes[node].effects.drain().collect();
        for effect in effects {
            match effect {
                Effect::Granted(ticket, grant) => {
                    let Some((request, tries, since)) = self.nodes[node].waiting.remove(&ticket) else {
                        continue;
                    };
                    if self.now == since {
                        self.count(|sums| sums.at_once += 1);
                    }
                    self.send(node, grant, request, tries);
                }
                Effect::Refused(ticket, _) => {
                    if let Some((request, ..)) = self.nodes[node].waiting.remove(&ticket) {
                        self.refused(&request);
                    }
                }
                Effect::WakeAt(at) => {
                    self.nodes[node].alarm = Some(at);
                    let at = at.saturating_sub(self.nodes[node].ahead).max(self.now);
                    self.schedule(at, What::Wake { node });
                }
                Effect::Draw => self.draw(node),
                Effect::Tell(fact) if !self.store_away && !self.nodes[node].cut => {
                    for other in (0..self.nodes.len()).filter(|other| *other != node) {
                        if !self.nodes[other].cut {
                            let fact = Box::new(fact.clone());
                            self.schedule(self.now + ms(10), What::Hear { node: other, fact });
                        }
                    }
                }
                Effect::Claim(subject, patience) => {
                    let held = self.claims.get(&subject).filter(|(_, until)| self.now < *until);
                    let won = held.is_none_or(|(by, _)| *by == node);
                    if won {
                        self.claims.insert(subject.clone(), (node, self.now + patience));
                    }
                    self.schedule(self.now + ms(1), What::Claimed { node, subject, won });
                }
                Effect::Release(subject) => {
                    self.claims.retain(|of, (by, _)| *of != subject || *by != node);
                }
                Effect::Tell(_) | Effect::Persist(_) | Effect::Log(_) => {}
            }
        }
    }
}
