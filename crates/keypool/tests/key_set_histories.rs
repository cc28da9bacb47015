//! Random histories in which the set of keys changes: whatever comes in whatever order, no lease names a key that is
//! gone, counts agree with what is out, and the pool ends like a fresh one that is made of the last set and told what
//! the keys that stayed have learnt.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken rule may panic")]

mod stage;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use gemini::fault::{Fault, Kind, Quota, QuotaUnit, QuotaWindow, Wait};
use keypool::{
    Answer, Effect, Grant, KeyId, KeySet, KeySpec, KeyState, KeyView, LeaseRequest, Limit, ModelUsage,
    Outcome, Owner, Pool, Reach, Record, Settings, Settlement, Strategy as Selection, Subject, Ticket, Tool,
    Tools,
};
use proptest::prelude::*;
use stage::{Stage, secs};

const MODELS: [&str; 2] = ["a", "b"];

#[derive(Clone, Debug)]
enum Step {
    Reconcile { keys: Vec<KeySpec>, replaced: usize, renamed: bool },
    SetRules(Settings),
    Lease { model: usize, reach: Option<usize>, tools: Tools, may_wait: bool },
    Settle { which: prop::sample::Index, end: End },
    Vouch { which: prop::sample::Index },
    Pass { ms: u64 },
    Verb { key: usize, verb: Verb },
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    Disable,
    Enable,
    Reset,
}

#[derive(Clone, Debug)]
enum End {
    Success,
    Abandoned,
    Unused,
    Fault { kind: Kind, wait: Wait, project: Option<u8>, limit: Option<u64> },
}

impl From<&End> for Outcome {
    fn from(end: &End) -> Self {
        match end {
            End::Success => Self::Success,
            End::Abandoned => Self::Abandoned,
            End::Unused => Self::Unused,
            End::Fault { kind, wait, project, limit } => {
                let quota = |limit: &u64| Quota {
                    id: "".into(),
                    unit: QuotaUnit::Requests,
                    window: QuotaWindow::Minute,
                    limit: Some(*limit),
                    model: None,
                };
                Self::Fault(Fault {
                    kind: *kind,
                    wait: *wait,
                    quotas: limit.iter().map(quota).collect(),
                    project: project.map(|number| number.to_string().into()),
                })
            }
        }
    }
}

fn name(key: usize) -> KeyId {
    format!("k{key}").into()
}

/// Up to six of eight keys, in any order, some in the same project.
fn key_list() -> impl Strategy<Value = Vec<KeySpec>> {
    let shuffled = Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle();
    (shuffled, prop::collection::vec((prop::option::of(0..3_u8), 1..4_u32), 1..7)).prop_map(
        |(order, keys)| {
            let spec = |(at, (project, weight)): (usize, (Option<u8>, u32))| KeySpec {
                id: name(at),
                project: project.map(|project| format!("p{project}").into()),
                weight,
            };
            order.into_iter().zip(keys).map(spec).collect()
        },
    )
}

fn settings() -> impl Strategy<Value = Settings> {
    let selection = prop::sample::select(vec![
        Selection::RoundRobin,
        Selection::LeastInFlight,
        Selection::Weighted,
        Selection::Prefix,
    ]);
    (selection, 0..6_usize, 1..40_u64, 60..4_000_u64, prop::option::of(1..9_u64)).prop_map(
        |(strategy, max_waiting, max_wait, cooldown_max, rpm)| Settings {
            strategy,
            jitter: 0.0,
            max_waiting,
            max_wait: secs(max_wait),
            cooldown_max: secs(cooldown_max),
            model_fault_threshold: u32::MAX,
            limits: rpm.map(|rpm| Limit { rpm: Some(rpm), ..Limit::default() }).into_iter().collect(),
            ..Settings::default()
        },
    )
}

fn end() -> impl Strategy<Value = End> {
    let kinds = [
        Kind::QuotaMinute,
        Kind::QuotaBare,
        Kind::KeyRestricted,
        Kind::SpendingCap,
        Kind::Overloaded,
        Kind::Client,
        Kind::ConnectFailed,
        Kind::HeadLost,
    ];
    let wait = prop_oneof![
        Just(Wait::None),
        Just(Wait::Backoff),
        (0_u64..40_000).prop_map(|ms| Wait::For(Duration::from_millis(ms)))
    ];
    let fault = (
        prop::sample::select(kinds.to_vec()),
        wait,
        prop::option::weighted(0.3, 1..4_u8),
        prop::option::weighted(0.3, 1..9_u64),
    );
    prop_oneof![
        6 => Just(End::Success),
        1 => Just(End::Abandoned),
        1 => Just(End::Unused),
        6 => fault.prop_map(|(kind, wait, project, limit)| End::Fault { kind, wait, project, limit }),
        1 => Just(End::Fault { kind: Kind::KeyInvalid, wait: Wait::Retire, project: None, limit: None }),
        1 => Just(End::Fault { kind: Kind::QuotaDay, wait: Wait::DailyReset, project: None, limit: None }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<prop::sample::Index>;
    let verb = prop::sample::select(vec![Verb::Disable, Verb::Enable, Verb::Enable, Verb::Reset]);
    let tools = prop_oneof![4 => Just(Tools::NONE), 1 => Just(Tools::NONE.with(Tool::GoogleSearch))];
    let replaced = prop_oneof![3 => Just(0), 1 => 1..256_usize];
    prop_oneof![
        4 => (key_list(), replaced, any::<bool>())
            .prop_map(|(keys, replaced, renamed)| Step::Reconcile { keys, replaced, renamed }),
        1 => settings().prop_map(Step::SetRules),
        12 => (0..2_usize, prop::option::weighted(0.3, 0..8_usize), tools, any::<bool>())
            .prop_map(|(model, reach, tools, may_wait)| Step::Lease { model, reach, tools, may_wait }),
        10 => (which(), end()).prop_map(|(which, end)| Step::Settle { which, end }),
        1 => which().prop_map(|which| Step::Vouch { which }),
        5 => (0..20_000_u64).prop_map(|ms| Step::Pass { ms }),
        1 => (0..100_000_000_u64).prop_map(|ms| Step::Pass { ms }),
        2 => (0..8_usize, verb).prop_map(|(key, verb)| Step::Verb { key, verb }),
    ]
}

/// What must be true, kept in the simplest way.
struct Account {
    stage: Stage,
    settings: Settings,
    keys: Vec<KeySpec>,
    /// Which life of each key this is: a new one for each that begins anew.
    lives: HashMap<KeyId, usize>,
    next_life: usize,
    /// What is out, with the life of the key it is on.
    open: Vec<(Grant, &'static str, usize)>,
    waiting: BTreeMap<String, (Ticket, &'static str)>,
    heard: usize,
}

impl Account {
    fn after(settings: Settings, keys: Vec<KeySpec>, steps: &[Step]) -> Self {
        let mut account = Self {
            stage: Stage::new(settings.clone(), keys.clone()),
            settings,
            lives: keys.iter().enumerate().map(|(life, key)| (key.id.clone(), life)).collect(),
            next_life: keys.len(),
            keys,
            open: Vec::new(),
            waiting: BTreeMap::new(),
            heard: 0,
        };
        for step in steps {
            account.step(step);
            account.check();
        }
        account
    }

    fn step(&mut self, step: &Step) {
        let Stage { pool, now, effects, .. } = &mut self.stage;
        match step {
            Step::Reconcile { keys, replaced, renamed } => self.reconcile(keys.clone(), *replaced, *renamed),
            Step::SetRules(rules) => {
                pool.set_rules(rules.clone(), *now, effects).unwrap();
                self.settings = rules.clone();
            }
            Step::Lease { model, reach, tools, may_wait } => {
                let reach = reach.map_or(Reach::Any, |key| match key % 2 {
                    0 => Reach::Only(name(key)),
                    _ => Reach::ProjectOf(name(key)),
                });
                let prefix = Some(*model as u64);
                let model = MODELS[*model];
                let any = LeaseRequest::any(stage::model(model));
                let request = LeaseRequest { reach, tools: *tools, may_wait: *may_wait, prefix, ..any };
                match pool.lease(&request, *now, effects) {
                    Answer::Granted(grant) => self.granted(grant, model),
                    Answer::Waiting(ticket) => {
                        self.waiting.insert(format!("{ticket:?}"), (ticket, model));
                    }
                    Answer::Refused(_) => {}
                }
            }
            Step::Settle { which, end } => {
                if !self.open.is_empty() {
                    let at = which.index(self.open.len());
                    self.settle(at, Outcome::from(end));
                }
            }
            Step::Vouch { which } => {
                if !self.open.is_empty() {
                    let (grant, model, _) = &self.open[which.index(self.open.len())];
                    pool.vouch(grant.lease, &grant.key, &stage::model(model), *now, effects);
                }
            }
            Step::Pass { ms } => self.stage.pass(Duration::from_millis(*ms)),
            Step::Verb { key, verb } => {
                let id = name(*key);
                let done = match verb {
                    Verb::Disable => pool.disable(&id, *now, effects),
                    Verb::Enable => pool.enable(&id, *now, effects),
                    Verb::Reset => pool.reset(&id, *now, effects),
                };
                assert_eq!(done.is_ok(), self.lives.contains_key(&id));
            }
        }
        self.stage.take();
        self.hear();
    }

    fn reconcile(&mut self, keys: Vec<KeySpec>, replaced: usize, renames: bool) {
        let mut set = KeySet::from(keys.clone());
        for (at, key) in keys.iter().enumerate() {
            if replaced & (1 << at) != 0 {
                set.replaced.insert(key.id.clone());
            }
        }
        let is_in = |keys: &[KeySpec], id: &KeyId| keys.iter().any(|key| key.id == *id);
        if renames {
            let went = self.keys.iter().map(|key| &key.id).filter(|id| !is_in(&keys, id));
            let came = keys.iter().map(|key| &key.id).filter(|id| !is_in(&self.keys, id));
            set.renamed = came.zip(went).map(|(present, former)| (present.clone(), former.clone())).collect();
        }
        let mut lives = HashMap::new();
        for KeySpec { id, .. } in &keys {
            let former = set.renamed.get(id).unwrap_or(id);
            let life = match self.lives.get(former) {
                Some(life) if !set.replaced.contains(id) || former != id => *life,
                _ => {
                    self.next_life += 1;
                    self.next_life
                }
            };
            lives.insert(id.clone(), life);
        }
        let Stage { pool, now, effects, .. } = &mut self.stage;
        let done = pool.reconcile(set, *now, effects).unwrap();
        assert_eq!(done.added.len() + self.keys.len(), done.removed.len() + keys.len());
        self.keys = keys;
        self.lives = lives;
    }

    fn granted(&mut self, grant: Grant, model: &'static str) {
        let life = *self.lives.get(&grant.key).expect("a lease of a key that is gone");
        self.open.push((grant, model, life));
    }

    fn settle(&mut self, at: usize, outcome: Outcome) {
        let (grant, model, _) = self.open.swap_remove(at);
        let settlement = Settlement {
            lease: grant.lease,
            key: grant.key,
            model: stage::model(model),
            outcome,
            input_tokens: None,
            output_tokens: None,
        };
        self.stage.pool.settle(&settlement, self.stage.now, &mut self.stage.effects);
        self.stage.take();
    }

    fn hear(&mut self) {
        for (_, effect) in self.stage.said.split_off(self.heard) {
            match &effect {
                Effect::Granted(ticket, grant) => {
                    let (_, model) = self.waiting.remove(&format!("{ticket:?}")).expect("a ticket");
                    self.granted(grant.clone(), model);
                }
                Effect::Refused(ticket, _) => {
                    self.waiting.remove(&format!("{ticket:?}")).expect("a ticket");
                }
                _ => {}
            }
            self.stage.said.push((self.stage.now.mono, effect));
        }
        self.heard = self.stage.said.len();
    }

    fn check(&self) {
        let snapshot = self.stage.pool.snapshot(self.stage.now);
        let shown: Vec<_> = snapshot.keys.iter().map(|view| (&view.id, &view.project)).collect();
        let expected: Vec<_> = self.keys.iter().map(|key| (&key.id, &key.project)).collect();
        assert_eq!(shown, expected);
        for view in &snapshot.keys {
            let life = self.lives[&view.id];
            let out = self.open.iter().filter(|(_, _, of)| *of == life).count();
            assert_eq!(view.in_flight as usize, out, "{}", view.id);
        }
        assert_eq!(self.stage.pool.in_flight(), self.open.len());
        assert_eq!(snapshot.counts.in_flight, self.open.len() as u64);
        assert_eq!(snapshot.counts.waiting, self.waiting.len());
        let projects = self.stage.pool.projects();
        let mut listed: Vec<_> = projects.into_iter().flat_map(|project| project.keys).collect();
        listed.sort();
        let mut expected: Vec<_> = self.keys.iter().map(|key| key.id.clone()).collect();
        expected.sort();
        assert_eq!(listed, expected);
    }

    /// A pool that is made of the last set, and told what is known.
    fn fresh(&self) -> Pool {
        let mut fresh = Pool::new(self.settings.clone(), self.keys.clone(), 2).unwrap();
        fresh.restore(self.stage.pool.records(self.stage.now), self.stage.now);
        fresh
    }

    /// What a store holds that obeys every `Persist`.
    fn stored(&self) -> BTreeMap<String, Record> {
        let mut newest = BTreeMap::new();
        let said = self.stage.said.iter().filter_map(|(_, effect)| match effect {
            Effect::Persist(record) => Some(record),
            _ => None,
        });
        for record in said.filter(|record| record.usage.is_none()) {
            newest.insert(format!("{:?}", record.subject), record.clone());
        }
        newest.retain(|_, record| !record.is_clear());
        newest
    }
}

/// A key as it stands, but for what a new life of a pool forgets.
fn lasting(view: KeyView) -> KeyView {
    let mut view = KeyView { in_flight: 0, failures: 0, ..view };
    // How long a cooldown is remembered after its end depends on probes that are out.
    if view.state == KeyState::Probation {
        (view.state, view.reason) = (KeyState::Available, None);
    }
    // Since when nothing is wrong, is told by nobody.
    view.since = view.since.filter(|_| view.state != KeyState::Available);
    view.models.retain(|model| model.state != KeyState::Probation);
    view.tools.retain(|tool| tool.state != KeyState::Probation);
    // Of a name that nobody but the client has said anything of, nothing is written up.
    view.usage
        .retain(|ModelUsage { totals, .. }| totals.successes > 0 || totals.faults > totals.faults_of.client);
    view.usage.sort_by(|one, other| one.model.cmp(&other.model));
    // One of which nothing was used is made again when it is needed.
    view.limits.retain(|limit| limit.minute_requests > 0);
    view.limits.sort_by(|one, other| one.model.cmp(&other.model));
    view
}

fn key_of(subject: &Subject) -> Option<&KeyId> {
    match subject {
        Subject::Key { key } | Subject::Usage { key } | Subject::ModelUsage { key, .. } => Some(key),
        Subject::Project { project }
        | Subject::Model { project, .. }
        | Subject::Limits { project, .. }
        | Subject::Tool { project, .. } => match project {
            Owner::Key(key) => Some(key),
            Owner::Project(_) | Owner::Number(_) => None,
        },
        Subject::Breaker { .. } => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn the_pool_ends_like_a_fresh_one_that_knows_what_it_has_learnt(
        settings in settings(),
        keys in key_list(),
        steps in prop::collection::vec(step(), 1..400),
    ) {
        let mut account = Account::after(settings, keys, &steps);
        // What was used is written up, and nobody is being asked.
        account.stage.pass(secs(1));
        account.hear();
        let (own, fresh) = (&account.stage.pool, account.fresh());
        let now = account.stage.now;
        prop_assert_eq!(own.projects(), fresh.projects());
        let views = |pool: &Pool| pool.snapshot(now).keys.into_iter().map(lasting).collect::<Vec<_>>();
        for (own, fresh) in views(own).into_iter().zip(views(&fresh)) {
            prop_assert_eq!(&own.models, &fresh.models);
            prop_assert_eq!((&own.limits, &own.usage, &own.tools), (&fresh.limits, &fresh.usage, &fresh.tools));
            prop_assert_eq!(own, fresh);
        }
        // The store knows of no key that is gone, and of all that the pool would tell it.
        let stored = account.stored();
        let ids: BTreeSet<_> = account.keys.iter().map(|key| key.id.clone()).collect();
        for record in stored.values() {
            prop_assert!(key_of(&record.subject).is_none_or(|key| ids.contains(key)), "{:?}", record);
        }
        for record in account.stage.records().iter().filter(|record| record.limits.is_none()) {
            let kept = stored.get(&format!("{:?}", record.subject));
            prop_assert_eq!(kept.map(|kept| (kept.disabled, kept.number)), Some((record.disabled, record.number)));
        }
    }

    #[test]
    fn what_is_known_of_keys_is_known_of_them_under_other_names_labels_and_weights(
        settings in settings(),
        keys in key_list(),
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut account = Account::after(settings, keys, &steps);
        account.stage.pass(secs(1));
        account.hear();
        let now = account.stage.now;
        let before = account.stage.pool.snapshot(now);
        let other = |name: &str| format!("other-{name}");
        let anew = account.keys.iter().map(|key| KeySpec {
            id: other(key.id.as_str()).into(),
            project: key.project.as_ref().map(|project| other(project.as_str()).into()),
            weight: key.weight + 1,
        });
        account.reconcile(anew.collect(), 0, true);
        account.stage.take();
        account.hear();
        account.check();
        // A budget may be tidied away once nothing would be lost with it.
        let with_use = |mut view: KeyView| {
            view.limits.retain(|limit| limit.minute_requests > 0 || (limit.rpd.is_some() && limit.day_requests > 0));
            view
        };
        let renamed = |view: &KeyView| KeyView {
            id: other(view.id.as_str()).into(),
            project: view.project.as_ref().map(|project| other(project.as_str()).into()),
            ..view.clone()
        };
        let after = account.stage.pool.snapshot(now);
        let expected: Vec<_> = before.keys.iter().map(renamed).map(with_use).collect();
        prop_assert_eq!(after.keys.into_iter().map(with_use).collect::<Vec<_>>(), expected);
        prop_assert_eq!(after.counts, before.counts);
        // So does the next life of the pool, which knows only what was written, sums and counts by now.
        let written: Vec<_> = stage::stored(&account.stage);
        for record in account.stage.records().into_iter().filter(|record| record.usage.is_some()) {
            prop_assert!(written.contains(&record), "{:?}", record);
        }
        let views = |pool: &Pool| pool.snapshot(now).keys.into_iter().map(lasting).collect::<Vec<_>>();
        prop_assert_eq!(views(&account.stage.pool), views(&account.fresh()));
    }

    #[test]
    fn when_all_is_forgiven_every_key_has_its_turn(
        settings in settings(),
        keys in key_list(),
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut account = Account::after(settings, keys, &steps);
        // Those who wait are served or refused meanwhile.
        for _ in 0..2 {
            while !account.open.is_empty() {
                account.settle(0, Outcome::Success);
                account.hear();
            }
            account.stage.pass(secs(3 * 86_400));
            account.hear();
        }
        while !account.open.is_empty() {
            account.settle(0, Outcome::Success);
        }
        prop_assert!(account.waiting.is_empty());
        prop_assert_eq!(account.stage.pool.in_flight(), 0);
        account.step(&Step::SetRules(Settings { jitter: 0.0, ..Settings::default() }));
        for key in account.keys.clone() {
            account.stage.enable(key.id.as_str());
            account.stage.reset(key.id.as_str());
        }
        let mut turns = Vec::new();
        for _ in 0..account.keys.len() {
            turns.push(account.stage.lease(MODELS[0]).key);
        }
        let order: Vec<_> = account.keys.iter().map(|key| key.id.clone()).collect();
        let first = order.iter().position(|key| *key == turns[0]).unwrap();
        let around: Vec<_> = order[first..].iter().chain(&order[..first]).cloned().collect();
        prop_assert_eq!(turns, around);
    }
}
