//! Random histories of a pool: thousands of steps of leases, reports, passing time, operators and clients who leave, held
//! against a slow and simple account of what must be true.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken rule may panic")]

mod stage;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use gemini::fault::{Kind, Wait};
use keypool::{
    Answer, Effect, Event, Grant, KeyId, KeySpec, LeaseRequest, Outcome, Owner, Pool, Reach, Record, Refusal,
    Settings, Settlement, Strategy as Selection, Subject, Ticket, Tool, Tools, Tried,
};
use proptest::prelude::*;
use stage::{Stage, fault, place, secs, stored};

const MODELS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    Lease { model: usize, tried: Vec<usize>, tools: Tools, may_wait: bool },
    Settle { which: prop::sample::Index, end: End },
    Vouch { which: prop::sample::Index },
    SettleAgain { which: prop::sample::Index },
    Leave { which: prop::sample::Index },
    Pass { ms: u64 },
    Oversleep { ms: u64 },
    Disable { key: usize },
    Enable { key: usize },
    Reset { key: usize },
}

#[derive(Clone, Debug)]
enum End {
    Success,
    Abandoned,
    Fault(Kind, Wait),
}

impl From<&End> for Outcome {
    fn from(end: &End) -> Self {
        match end {
            End::Success => Self::Success,
            End::Abandoned => Self::Abandoned,
            End::Fault(kind, wait) => fault(*kind, *wait),
        }
    }
}

/// Faults that blame nobody in the pool.
fn blameless() -> impl Strategy<Value = End> {
    let kinds = [
        Kind::Client,
        Kind::ResourceUnreachable,
        Kind::Cancelled,
        Kind::CredentialMissing,
        Kind::CredentialsMultiple,
        Kind::LocationUnsupported,
        Kind::Internal,
        Kind::Overloaded,
        Kind::DeadlineExceeded,
        Kind::QuotaUnnamed,
        Kind::ConnectFailed,
    ];
    let waits = [Wait::None, Wait::For(Duration::from_secs(9)), Wait::Backoff, Wait::Long];
    (prop::sample::select(kinds.to_vec()), prop::sample::select(waits.to_vec()))
        .prop_map(|(kind, wait)| End::Fault(kind, wait))
}

fn end() -> impl Strategy<Value = End> {
    let hint = (0_u64..40_000).prop_map(|ms| Wait::For(Duration::from_millis(ms)));
    let quotas = [Kind::QuotaMinute, Kind::QuotaBare, Kind::ModelWithheld];
    let wide = [Kind::KeyRestricted, Kind::SpendingCap, Kind::CreditsGone];
    let lost = [Kind::HeadLost, Kind::BodyLost];
    prop_oneof![
        8 => Just(End::Success),
        2 => Just(End::Abandoned),
        2 => blameless(),
        3 => (prop::sample::select(quotas.to_vec()), hint.clone()).prop_map(|(kind, wait)| End::Fault(kind, wait)),
        2 => prop::sample::select(quotas.to_vec()).prop_map(|kind| End::Fault(kind, Wait::Backoff)),
        1 => (prop::sample::select(wide.to_vec()), hint).prop_map(|(kind, wait)| End::Fault(kind, wait)),
        1 => prop::sample::select(wide.to_vec()).prop_map(|kind| End::Fault(kind, Wait::Backoff)),
        2 => prop::sample::select(lost.to_vec()).prop_map(|kind| End::Fault(kind, Wait::None)),
        2 => Just(End::Fault(Kind::QuotaUnnamed, Wait::Backoff)),
        1 => Just(End::Fault(Kind::QuotaDay, Wait::DailyReset)),
        1 => Just(End::Fault(Kind::QuotaZero, Wait::Long)),
        1 => Just(End::Fault(Kind::KeyInvalid, Wait::Retire)),
    ]
}

/// Mostly none.
fn tools() -> impl Strategy<Value = Tools> {
    prop_oneof![
        6 => Just(Tools::NONE),
        1 => Just(Tools::NONE.with(Tool::GoogleSearch)),
        1 => Just(Tools::from_iter(Tool::ALL)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<prop::sample::Index>;
    prop_oneof![
        20 => (0..3_usize, prop::collection::vec(0..8_usize, 0..3), tools(), any::<bool>())
            .prop_map(|(model, tried, tools, may_wait)| Step::Lease { model, tried, tools, may_wait }),
        20 => (which(), end()).prop_map(|(which, end)| Step::Settle { which, end }),
        2 => which().prop_map(|which| Step::Vouch { which }),
        1 => which().prop_map(|which| Step::SettleAgain { which }),
        1 => which().prop_map(|which| Step::Leave { which }),
        8 => (0..20_000_u64).prop_map(|ms| Step::Pass { ms }),
        1 => (0..100_000_000_u64).prop_map(|ms| Step::Pass { ms }),
        2 => (0..20_000_u64).prop_map(|ms| Step::Oversleep { ms }),
        1 => (0..8_usize).prop_map(|key| Step::Disable { key }),
        3 => (0..8_usize).prop_map(|key| Step::Enable { key }),
        2 => (0..8_usize).prop_map(|key| Step::Reset { key }),
    ]
}

/// Up to six keys, some in the same project.
fn specs() -> impl Strategy<Value = Vec<KeySpec>> {
    prop::collection::vec((prop::option::of(0..2_u8), 1..4_u32), 1..7).prop_map(|keys| {
        let named = |(at, (project, weight)): (usize, (Option<u8>, u32))| KeySpec {
            id: format!("k{at}").into(),
            project: project.map(|project| format!("p{project}").into()),
            weight,
        };
        keys.into_iter().enumerate().map(named).collect()
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    let selection = prop::sample::select(vec![
        Selection::RoundRobin,
        Selection::LeastInFlight,
        Selection::Weighted,
        Selection::Prefix,
    ]);
    (selection, 0.0..0.5_f64, 0..12_usize, 0..40_u64).prop_map(|(strategy, jitter, max_waiting, max_wait)| {
        // Models that are down have tests of their own.
        let model_fault_threshold = u32::MAX;
        Settings {
            strategy,
            jitter,
            max_waiting,
            max_wait: secs(max_wait),
            model_fault_threshold,
            ..Settings::default()
        }
    })
}

/// A waiting request, as its client remembers it.
struct Waiter {
    request: LeaseRequest,
    deadline: Duration,
}

/// What must be true, kept in the simplest way.
struct Account {
    stage: Stage,
    specs: Vec<KeySpec>,
    max_wait: Duration,
    open: Vec<(Grant, LeaseRequest)>,
    settled: Vec<Settlement>,
    /// By arrival.
    waiters: BTreeMap<usize, Waiter>,
    arrivals: HashMap<Ticket, usize>,
    next_arrival: usize,
    /// Until when, by what the pool announced.
    closed: HashMap<Subject, Duration>,
    /// Until when at least, by what the faults asked for.
    asked: HashMap<Subject, Duration>,
    disabled: Vec<bool>,
    heard: usize,
}

impl Account {
    fn new(settings: Settings, specs: Vec<KeySpec>) -> Self {
        Self {
            max_wait: settings.max_wait,
            stage: Stage::new(settings, specs.clone()),
            disabled: vec![false; specs.len()],
            specs,
            open: Vec::new(),
            settled: Vec::new(),
            waiters: BTreeMap::new(),
            arrivals: HashMap::new(),
            next_arrival: 0,
            closed: HashMap::new(),
            asked: HashMap::new(),
            heard: 0,
        }
    }

    fn after(settings: Settings, specs: Vec<KeySpec>, steps: &[Step]) -> Self {
        let mut account = Self::new(settings, specs);
        for step in steps {
            account.step(step);
        }
        account
    }

    fn now(&self) -> Duration {
        self.stage.now.mono
    }

    fn owner(&self, key: usize) -> Owner {
        let KeySpec { id, project, .. } = &self.specs[key];
        project.clone().map_or_else(|| Owner::Key(id.clone()), Owner::Project)
    }

    /// What may keep this key from being leased for this request.
    fn subjects(&self, key: usize, request: &LeaseRequest) -> Vec<Subject> {
        let mut subjects = vec![
            Subject::Key { key: self.specs[key].id.clone() },
            Subject::Project { project: self.owner(key) },
            Subject::Model { project: self.owner(key), model: request.model.clone() },
        ];
        subjects.extend(request.tools.iter().map(|tool| Subject::Tool { project: self.owner(key), tool }));
        subjects
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Lease { model, tried, tools, may_wait } => {
                self.lease(*model, tried, *tools, *may_wait, false);
            }
            Step::Settle { which, end } => {
                if !self.open.is_empty() {
                    let (grant, request) = self.open.swap_remove(which.index(self.open.len()));
                    self.settle(&grant, request, end);
                }
            }
            Step::Vouch { which } => {
                if !self.open.is_empty() {
                    let (grant, request) = &self.open[which.index(self.open.len())];
                    self.stage.pool.vouch(
                        grant.lease,
                        &grant.key,
                        &request.model,
                        self.stage.now,
                        &mut self.stage.effects,
                    );
                }
            }
            Step::SettleAgain { which } => {
                if !self.settled.is_empty() {
                    let again = &self.settled[which.index(self.settled.len())];
                    self.stage.pool.settle(again, self.stage.now, &mut self.stage.effects);
                }
            }
            Step::Leave { which } => {
                if !self.arrivals.is_empty() {
                    let mut tickets: Vec<_> = self.arrivals.iter().collect();
                    tickets.sort_by_key(|(_, arrival)| **arrival);
                    let (ticket, arrival) = tickets[which.index(tickets.len())];
                    let (ticket, arrival) = (*ticket, *arrival);
                    assert!(self.stage.pool.cancel(ticket));
                    self.arrivals.remove(&ticket);
                    self.waiters.remove(&arrival);
                }
            }
            Step::Pass { ms } => {
                self.stage.pass(Duration::from_millis(*ms));
                self.hear(false);
                let now = self.now();
                assert!(self.waiters.values().all(|waiter| waiter.deadline > now), "somebody waits too long");
            }
            Step::Oversleep { ms } => {
                self.stage.jump(Duration::from_millis(*ms));
                self.lease(0, &[], Tools::NONE, false, true);
            }
            Step::Disable { key } | Step::Enable { key } | Step::Reset { key }
                if *key >= self.specs.len() => {}
            Step::Disable { key } => {
                self.disabled[*key] = true;
                self.stage.disable(&format!("k{key}"));
            }
            Step::Enable { key } => {
                self.disabled[*key] = false;
                self.stage.enable(&format!("k{key}"));
            }
            Step::Reset { key } => {
                let own = Subject::Key { key: self.specs[*key].id.clone() };
                let owner = self.owner(*key);
                let kept = |subject: &Subject| match subject {
                    Subject::Key { .. } | Subject::Usage { .. } | Subject::ModelUsage { .. } => {
                        *subject != own
                    }
                    Subject::Project { project }
                    | Subject::Model { project, .. }
                    | Subject::Limits { project, .. }
                    | Subject::Tool { project, .. } => *project != owner,
                    Subject::Breaker { .. } => true,
                };
                self.closed.retain(|subject, _| kept(subject));
                self.asked.retain(|subject, _| kept(subject));
                self.stage.reset(&format!("k{key}"));
            }
        }
        self.stage.take();
        self.hear(false);
        self.check_nobody_is_forgotten();
        self.check_in_flight();
    }

    fn lease(&mut self, model: usize, tried: &[usize], tools: Tools, may_wait: bool, overslept: bool) {
        let known = tried.iter().filter(|key| **key < self.specs.len());
        let tried: Tried = known.map(|key| KeyId::from(format!("k{key}"))).collect();
        // The prefix never decides whether there is a key.
        let prefix = may_wait.then_some(model as u64);
        let request =
            LeaseRequest { tried, tools, may_wait, prefix, ..LeaseRequest::any(stage::model(MODELS[model])) };
        let answer = self.stage.ask(&request);
        self.hear(overslept);
        match answer {
            Answer::Granted(grant) => {
                self.check_grant(&grant.key, &request, self.now(), usize::MAX);
                self.open.push((grant, request));
            }
            Answer::Waiting(ticket) => {
                assert!(may_wait);
                let deadline = self.now() + self.max_wait;
                self.arrivals.insert(ticket, self.next_arrival);
                self.waiters.insert(self.next_arrival, Waiter { request, deadline });
                self.next_arrival += 1;
            }
            Answer::Refused(refusal) => self.check_refusal(refusal, &request),
        }
    }

    fn settle(&mut self, grant: &Grant, request: LeaseRequest, end: &End) {
        if let End::Fault(kind, wait) = end {
            let subjects = self.subjects(place(&grant.key), &request);
            let blamed = match kind {
                Kind::KeyRestricted | Kind::KeyInvalid => &subjects[..1],
                Kind::SpendingCap | Kind::CreditsGone => &subjects[1..2],
                Kind::QuotaMinute
                | Kind::QuotaBare
                | Kind::QuotaDay
                | Kind::QuotaZero
                | Kind::ModelWithheld => &subjects[2..3],
                Kind::QuotaUnnamed => &subjects[3..],
                _ => &[],
            };
            let least = match wait {
                Wait::For(hint) => Some(self.now() + *hint),
                Wait::Long => Some(self.now() + secs(24 * 3600)),
                Wait::Retire => Some(Duration::MAX),
                Wait::None | Wait::DailyReset | Wait::Backoff => None,
            };
            for (blamed, least) in blamed.iter().zip(least.into_iter().cycle()) {
                let asked = self.asked.entry(blamed.clone()).or_default();
                *asked = least.max(*asked);
            }
        }
        let model = request.model;
        let settlement = Settlement {
            lease: grant.lease,
            key: grant.key.clone(),
            model,
            outcome: end.into(),
            input_tokens: None,
            output_tokens: None,
        };
        self.stage.pool.settle(&settlement, self.stage.now, &mut self.stage.effects);
        self.settled.push(settlement);
    }

    /// Reads what the pool has said since.
    fn hear(&mut self, overslept: bool) {
        let news = self.stage.said.split_off(self.heard);
        self.stage.said.extend(news.iter().cloned());
        for (at, effect) in news {
            match effect {
                Effect::Granted(ticket, grant) => {
                    let (arrival, waiter) = self.answered(ticket, at, overslept);
                    self.check_grant(&grant.key, &waiter.request, at, arrival);
                    self.open.push((grant, waiter.request));
                }
                Effect::Refused(ticket, _) => {
                    self.answered(ticket, at, overslept);
                }
                Effect::Log(Event::Cooling { subject, wait, .. }) => {
                    self.closed.insert(subject, at + wait);
                }
                Effect::Log(Event::Retired { subject, .. }) => {
                    self.closed.insert(subject, Duration::MAX);
                }
                Effect::Persist(_) | Effect::Log(_) | Effect::WakeAt(_) => {}
                effect @ (Effect::Tell(_) | Effect::Claim(..) | Effect::Release(_) | Effect::Draw) => {
                    panic!("there are no other nodes: {effect:?}")
                }
            }
        }
        self.heard = self.stage.said.len();
    }

    fn answered(&mut self, ticket: Ticket, at: Duration, overslept: bool) -> (usize, Waiter) {
        let arrival = self.arrivals.remove(&ticket).expect("an answer to nobody, or a second one");
        let waiter = self.waiters.remove(&arrival).unwrap();
        assert!(at <= waiter.deadline || overslept, "answered late");
        (arrival, waiter)
    }

    /// A grant must not be of a key that is closed, and must not pass over one who came earlier.
    fn check_grant(&self, key: &KeyId, request: &LeaseRequest, at: Duration, arrival: usize) {
        assert!(!self.disabled[place(key)], "{key} is disabled");
        assert!(!request.tried.contains(key), "{key} was tried");
        for subject in self.subjects(place(key), request) {
            assert!(self.closed.get(&subject).is_none_or(|until| *until <= at), "{subject} is closed");
            assert!(
                self.asked.get(&subject).is_none_or(|until| *until <= at + secs(1)),
                "{subject} needs rest"
            );
        }
        for (_, waiter) in self.waiters.range(..arrival) {
            let could = waiter.request.model == request.model
                && waiter.request.tools == request.tools
                && !waiter.request.tried.contains(key);
            assert!(!could, "{key} passed over one who waits");
        }
    }

    /// A refusal must be true: the first key to come back is the one it speaks of.
    fn check_refusal(&self, refusal: Refusal, request: &LeaseRequest) {
        let now = self.now();
        let until = |key: usize| {
            let subjects = self.subjects(key, request);
            subjects.iter().filter_map(|subject| self.closed.get(subject)).copied().max().unwrap_or_default()
        };
        let alive: Vec<_> =
            (0..self.specs.len()).filter(|key| !self.disabled[*key] && until(*key) < Duration::MAX).collect();
        let tried = |key: &usize| request.tried.iter().any(|tried| place(tried) == *key);
        let expected =
            alive.iter().filter(|key| !tried(key)).map(|key| until(*key).saturating_sub(now)).min();
        // Zero: somebody's probe is out.
        let expected = expected.map(|back_in| if back_in.is_zero() { secs(1) } else { back_in });
        match refusal {
            Refusal::AllRetired => assert!(alive.is_empty(), "{alive:?} may be leased"),
            Refusal::AllDisabled => {
                assert!(self.disabled.iter().all(|disabled| *disabled), "{:?}", self.disabled);
            }
            Refusal::RouteDown { back_in } => {
                assert!(self.stage.pool.is_route_in_doubt() && back_in <= secs(1));
            }
            Refusal::NoneLeft => assert!(!alive.is_empty() && expected.is_none()),
            refusal => assert_eq!(refusal.back_in(), expected),
        }
    }

    /// No key is free that somebody waits for.
    fn check_nobody_is_forgotten(&mut self) {
        for name in MODELS {
            let of_model = |waiter: &&Waiter| waiter.request.model.as_deref() == Some(name);
            let Some(first) = self.waiters.values().find(of_model) else { continue };
            let request = LeaseRequest { may_wait: false, ..first.request.clone() };
            let answer = self.stage.ask(&request);
            assert!(matches!(answer, Answer::Refused(_)), "free, though somebody waits: {answer:?}");
        }
        self.hear(false);
    }

    fn check_in_flight(&self) {
        let snapshot = self.stage.pool.snapshot(self.stage.now);
        for (at, key) in snapshot.keys.iter().enumerate() {
            let open = self.open.iter().filter(|(grant, _)| place(&grant.key) == at).count();
            assert_eq!(key.in_flight as usize, open, "{}", key.id);
        }
        assert_eq!(self.stage.pool.in_flight(), self.open.len());
        assert_eq!(snapshot.counts.waiting, self.waiters.len());
        let counts = snapshot.counts;
        let states = counts.available + counts.probation + counts.cooling + counts.retired + counts.disabled;
        assert_eq!(states, self.specs.len());
    }

    /// All that the pool holds against anybody.
    fn grudges(&self) -> (Vec<Record>, Vec<impl PartialEq + std::fmt::Debug + use<>>) {
        let keys = self.stage.pool.snapshot(self.stage.now).keys.into_iter();
        let keys = keys.map(|key| (key.state, key.reason, key.back_in_ms, key.models, key.tools));
        (self.stage.records(), keys.collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_history_breaks_a_rule(
        settings in settings(),
        specs in specs(),
        steps in prop::collection::vec(step(), 1..3_000),
    ) {
        let mut account = Account::after(settings, specs, &steps);
        // In the end everybody who waited is answered, once.
        account.step(&Step::Pass { ms: 60_000 });
        prop_assert!(account.arrivals.is_empty());
        prop_assert_eq!(account.stage.pool.waiting(), 0);
    }

    #[test]
    fn faults_of_others_change_nothing(
        settings in settings(),
        specs in specs(),
        steps in prop::collection::vec(step(), 0..100),
        ends in prop::collection::vec((0..3_usize, blameless()), 1..20),
    ) {
        let mut account = Account::after(settings, specs, &steps);
        let before = account.grudges();
        for (model, end) in ends {
            let request = LeaseRequest { may_wait: false, ..LeaseRequest::any(stage::model(MODELS[model])) };
            if let Answer::Granted(grant) = account.stage.ask(&request) {
                account.settle(&grant, request, &end);
            }
        }
        prop_assert_eq!(account.grudges(), before);
    }

    #[test]
    fn a_restored_pool_refuses_what_the_old_one_refused(
        settings in settings(),
        specs in specs(),
        steps in prop::collection::vec(step(), 0..200),
        from_store in any::<bool>(),
    ) {
        let mut account = Account::after(settings.clone(), specs.clone(), &steps);
        let old = &mut account.stage;
        prop_assume!(!old.pool.is_route_in_doubt());
        let records = if from_store { stored(old) } else { old.records() };
        let mut new = Stage::new(settings.clone(), specs.clone());
        new.pool = Pool::new(settings, specs.clone(), 2).unwrap();
        new.now.wall = old.now.wall;
        new.pool.restore(records, new.now);
        let plain = |at| MODELS.map(|name| (at, name, Tools::NONE));
        let searching = |at| (at, MODELS[0], Tools::NONE.with(Tool::GoogleSearch));
        for (at, name, tools) in (0..specs.len()).flat_map(|at| plain(at).into_iter().chain([searching(at)])) {
            let key = KeyId::from(format!("k{at}"));
            let request = LeaseRequest { reach: Reach::Only(key), tools, may_wait: false, ..LeaseRequest::any(stage::model(name)) };
            let ask = |stage: &mut Stage| match stage.ask(&request) {
                Answer::Granted(grant) => {
                    stage.settle(&grant, name, Outcome::Abandoned);
                    Duration::ZERO
                }
                Answer::Refused(Refusal::AllRetired | Refusal::AllDisabled) => Duration::MAX,
                Answer::Refused(Refusal::Cooling { back_in, quota: None }) => back_in,
                other => panic!("{other:?}"),
            };
            let (before, after) = (ask(old), ask(&mut new));
            // A second covers a probe that was out, and the guess about it.
            prop_assert!(before.abs_diff(after) <= secs(1), "k{at} for {name}: {before:?}, then {after:?}");
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_history(
        settings in settings(),
        specs in specs(),
        steps in prop::collection::vec(step(), 0..100),
    ) {
        let first = Account::after(settings.clone(), specs.clone(), &steps);
        let second = Account::after(settings, specs, &steps);
        prop_assert_eq!(first.stage.said, second.stage.said);
    }
}
