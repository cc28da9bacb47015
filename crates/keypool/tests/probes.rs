//! Probes that several nodes share: one for all of them, whoever asks first, and none that nobody uses.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod cluster;
mod stage;

use std::time::Duration;

use cluster::{Cluster, together, told};
use gemini::fault::{Kind, Wait};
use keypool::{
    Answer, CooldownState, Effect, Grant, KeyId, LeaseRequest, Limit, Outcome, Reach, Refusal, Role,
    Settings, Subject,
};
use proptest::prelude::*;
use stage::{MODEL, Stage, exact, fault, keys, model, secs};

fn quota() -> Outcome {
    fault(Kind::QuotaBare, Wait::For(secs(20)))
}

/// What was asked of the cluster about claims so far: what is claimed, and what is released.
fn words(stage: &Stage) -> Vec<(&'static str, Subject)> {
    let words = stage.said.iter().filter_map(|(_, effect)| match effect {
        Effect::Claim(subject, patience) => {
            assert_eq!(*patience, secs(60));
            Some(("claim", subject.clone()))
        }
        Effect::Release(subject) => Some(("release", subject.clone())),
        _ => None,
    });
    words.collect()
}

fn claimed(stage: &mut Stage, won: bool) {
    let (word, subject) = words(stage).pop().unwrap();
    assert_eq!(word, "claim");
    stage.pool.claimed(subject, won, stage.now, &mut stage.effects);
    stage.take();
}

/// A pool in company of which one of its keys' projects has just cooled for the model.
fn cooled(count: usize) -> Stage {
    let mut stage = together(keys(count));
    stage.serve(MODEL, quota());
    stage.pass(secs(20));
    stage
}

#[test]
fn the_first_that_wants_a_probe_claims_it_once_and_takes_another_key() {
    let mut stage = cooled(2);
    assert_eq!(words(&stage), [], "nobody has come yet");
    let used: Vec<_> = (0..3).map(|_| stage.serve(MODEL, Outcome::Success).to_string()).collect();
    assert_eq!(used, ["k1", "k1", "k1"]);
    assert_eq!(words(&stage).len(), 1);
    claimed(&mut stage, true);
    let reach = Reach::Only("k0".into());
    let Answer::Granted(probe) = stage.ask(&LeaseRequest { reach, ..LeaseRequest::any(model(MODEL)) }) else {
        panic!("no probe")
    };
    assert_eq!((probe.role, &probe.key), (Role::Probe, &KeyId::from("k0")));
    stage.vouch(&probe, MODEL);
    let words = words(&stage);
    assert_eq!((words.len(), words[1].0, &words[1].1), (2, "release", &words[0].1));
    assert_eq!(told(&stage).last().unwrap().state, CooldownState::Open, "told, so that others follow");
}

#[test]
fn one_that_has_no_other_key_waits_for_the_claim() {
    let mut stage = cooled(1);
    let first = stage.wait(MODEL);
    let second = stage.wait(MODEL);
    assert_eq!(words(&stage).len(), 1);
    claimed(&mut stage, true);
    let probe = stage.grant_of(first);
    assert_eq!(probe.role, Role::Probe);
    assert_eq!(stage.answers().len(), 1, "the next waits for the probe's report");
    stage.vouch(&probe, MODEL);
    assert_eq!(stage.grant_of(second).role, Role::Ordinary);
}

#[test]
fn a_probe_for_which_no_slice_is_held_is_claimed_and_then_one_is_drawn() {
    let limits = vec![Limit { rpm: Some(5), ..Limit::default() }];
    let mut stage = Stage::new(Settings { limits, ..exact() }, keys(1));
    stage.pool.join(stage.now, &mut stage.effects);
    stage.take();
    let ticket = stage.wait(MODEL);
    stage.draw_all();
    let grant = stage.grant_of(ticket);
    stage.settle(&grant, MODEL, quota());
    stage.pass(secs(21));
    let ticket = stage.wait(MODEL);
    assert_eq!(words(&stage).len(), 1, "though nothing is held of what cooled");
    assert!(stage.answers().iter().all(|(_, to, _)| *to != ticket));
    claimed(&mut stage, true);
    stage.draw_all();
    assert_eq!(stage.grant_of(ticket).role, Role::Probe);
}

#[test]
fn one_that_may_not_wait_is_refused_for_as_long_as_a_claim_takes_and_claims_all_the_same() {
    let mut stage = cooled(1);
    assert_eq!(stage.back_in(MODEL), Duration::from_millis(100));
    assert_eq!(words(&stage).len(), 1);
    claimed(&mut stage, true);
    assert_eq!(stage.lease(MODEL).role, Role::Probe);
}

#[test]
fn one_whose_claim_is_lost_waits_for_the_others_word_or_patience() {
    let mut stage = cooled(1);
    let ticket = stage.wait(MODEL);
    claimed(&mut stage, false);
    stage.pass(secs(10));
    assert_eq!((words(&stage).len(), stage.answers().len()), (1, 0));
    let back = keypool::Record::clear(words(&stage).remove(0).1);
    cluster::hear(&mut stage, &back);
    assert_eq!(stage.grant_of(ticket).role, Role::Ordinary);

    let mut stage = cooled(1);
    stage.refusal(MODEL);
    claimed(&mut stage, false);
    stage.pass(secs(59));
    stage.refusal(MODEL);
    assert_eq!(words(&stage).len(), 1);
    stage.pass(secs(1));
    stage.refusal(MODEL);
    assert_eq!(words(&stage).len(), 2, "the other is gone with its claim");
}

#[test]
fn a_claim_that_is_not_used_or_not_answered_goes_around() {
    let mut stage = cooled(1);
    stage.refusal(MODEL);
    stage.pass(secs(1));
    stage.refusal(MODEL);
    assert_eq!(words(&stage).len(), 2, "no answer in a second");
    claimed(&mut stage, true);
    stage.pass(secs(2));
    assert_eq!(words(&stage).last().unwrap().0, "release");
    let ticket = stage.wait(MODEL);
    claimed(&mut stage, true);
    let probe = stage.grant_of(ticket);
    stage.settle(&probe, MODEL, Outcome::Abandoned);
    assert_eq!(words(&stage).last().unwrap().0, "release", "it has found out nothing");
    stage.refusal(MODEL);
    claimed(&mut stage, true);
    let probe = stage.lease(MODEL);
    stage.settle(&probe, MODEL, quota());
    assert_eq!(words(&stage).last().unwrap().0, "release");
    assert_eq!(stage.back_in(MODEL), secs(20));
}

#[test]
fn a_claim_that_is_won_too_late_is_given_back() {
    let mut stage = cooled(1);
    stage.refusal(MODEL);
    let subject = words(&stage).remove(0).1;
    cluster::hear(&mut stage, &keypool::Record::clear(subject.clone()));
    stage.pool.claimed(subject, true, stage.now, &mut stage.effects);
    stage.take();
    assert_eq!(words(&stage).last().unwrap().0, "release");
    assert_eq!(stage.lease(MODEL).role, Role::Ordinary);
}

#[test]
fn without_company_the_next_lease_is_the_probe() {
    let mut stage = Stage::new(exact(), keys(1));
    stage.serve(MODEL, quota());
    stage.pass(secs(20));
    assert_eq!(stage.lease(MODEL).role, Role::Probe);
    assert_eq!(words(&stage), []);
}

#[test]
fn one_that_is_alone_probes_after_a_pause_of_its_own() {
    let mut pauses = Vec::new();
    for seed in 1..30 {
        let mut stage = cluster::node(keys(1), seed);
        stage.serve(MODEL, quota());
        stage.pool.alone(stage.now, &mut stage.effects);
        stage.take();
        stage.pass(secs(20));
        let Refusal::Cooling { back_in, .. } = stage.refusal(MODEL) else { panic!("no pause") };
        stage.pass(back_in);
        assert_eq!(stage.lease(MODEL).role, Role::Probe);
        assert_eq!(words(&stage), []);
        pauses.push(back_in);
    }
    assert!(pauses.iter().all(|pause| *pause <= secs(2)), "{pauses:?}");
    pauses.sort_unstable();
    pauses.dedup();
    assert!(pauses.len() > 20, "{pauses:?}");
}

#[test]
fn who_comes_into_company_claims_and_who_leaves_it_does_not_wait_for_an_answer() {
    let mut stage = cooled(1);
    stage.refusal(MODEL);
    stage.pool.alone(stage.now, &mut stage.effects);
    stage.take();
    let ticket = stage.wait(MODEL);
    stage.pass(secs(2));
    let probe = stage.grant_of(ticket);
    stage.settle(&probe, MODEL, Outcome::Abandoned);
    stage.pool.join(stage.now, &mut stage.effects);
    stage.take();
    stage.refusal(MODEL);
    assert_eq!(words(&stage).len(), 2);
}

#[test]
fn what_cools_for_lost_connections_is_probed_by_each_node() {
    let mut stage = together(keys(2));
    for _ in 0..3 {
        for (id, outcome) in [("k1", Outcome::Success), ("k0", fault(Kind::HeadLost, Wait::None))] {
            let reach = Reach::Only(id.into());
            let request = LeaseRequest { reach, ..LeaseRequest::any(model(MODEL)) };
            let Answer::Granted(grant) = stage.ask(&request) else { panic!("no grant of {id}") };
            stage.settle(&grant, MODEL, outcome);
        }
    }
    stage.pass(secs(30));
    let reach = Reach::Only("k0".into());
    let Answer::Granted(probe) = stage.ask(&LeaseRequest { reach, ..LeaseRequest::any(model(MODEL)) }) else {
        panic!("no probe")
    };
    assert_eq!(probe.role, Role::Probe);
    assert_eq!(words(&stage), []);
}

#[derive(Clone, Debug)]
enum Step {
    Ask { node: usize, may_wait: bool, model: usize },
    Settle { which: prop::sample::Index, end: u8 },
    Answer { node: usize },
    Read { node: usize, count: usize },
    Pass { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<prop::sample::Index>;
    prop_oneof![
        10 => (0..5_usize, any::<bool>(), 0..2_usize)
            .prop_map(|(node, may_wait, model)| Step::Ask { node, may_wait, model }),
        6 => (which(), 0..10_u8).prop_map(|(which, end)| Step::Settle { which, end }),
        8 => (0..5_usize).prop_map(|node| Step::Answer { node }),
        8 => (0..5_usize, 1..5_usize).prop_map(|(node, count)| Step::Read { node, count }),
        4 => (0..15_000_u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

const MODELS: [&str; 2] = ["a", "b"];

/// A cluster and the leases that are out in it, each with its node and model.
struct Account {
    cluster: Cluster,
    out: Vec<(usize, &'static str, Grant)>,
    waiting: Vec<(usize, &'static str, keypool::Ticket)>,
}

impl Account {
    fn run(&mut self, step: &Step) {
        let count = self.cluster.nodes.len();
        match step {
            Step::Ask { node, may_wait, model: name } => {
                let (node, name) = (node % count, MODELS[*name]);
                let request = LeaseRequest { may_wait: *may_wait, ..LeaseRequest::any(model(name)) };
                match self.cluster.nodes[node].stage.ask(&request) {
                    Answer::Granted(grant) => self.out.push((node, name, grant)),
                    Answer::Waiting(ticket) => self.waiting.push((node, name, ticket)),
                    Answer::Refused(_) => {}
                }
                self.cluster.tell(node);
            }
            Step::Settle { which, end } if !self.out.is_empty() => {
                let (node, name, grant) = self.out.swap_remove(which.index(self.out.len()));
                let outcome = match end {
                    0..4 => Outcome::Success,
                    4..6 => Outcome::Abandoned,
                    6..9 => quota(),
                    _ => fault(Kind::KeyRestricted, Wait::For(secs(10))),
                };
                self.cluster.nodes[node].stage.settle(&grant, name, outcome);
                self.cluster.tell(node);
            }
            Step::Settle { .. } => {}
            Step::Answer { node } => self.cluster.answer(node % count),
            Step::Read { node, count: facts } => self.cluster.read(node % count, *facts),
            Step::Pass { ms } => {
                // An answer that takes longer than a second is asked for again.
                (0..count).for_each(|node| self.cluster.answer(node));
                self.collect();
                self.cluster.pass(Duration::from_millis(*ms));
            }
        }
        self.collect();
    }

    /// Takes up the leases of those who waited and were served.
    fn collect(&mut self) {
        for (node, name, ticket) in std::mem::take(&mut self.waiting) {
            let stage = &self.cluster.nodes[node].stage;
            match stage.answers().into_iter().find(|(_, to, _)| *to == ticket) {
                Some((_, _, Ok(_))) => self.out.push((node, name, stage.grant_of(ticket))),
                Some(_) => {}
                None => self.waiting.push((node, name, ticket)),
            }
        }
    }

    /// Settles all that is out, and brings everybody what is on its way.
    fn calm(&mut self) {
        self.collect();
        for (node, name, grant) in std::mem::take(&mut self.out) {
            self.cluster.nodes[node].stage.settle(&grant, name, Outcome::Success);
            self.cluster.tell(node);
        }
        for node in 0..self.cluster.nodes.len() {
            self.cluster.tell(node);
            self.cluster.answer(node);
        }
        self.cluster.read_all();
    }

    /// Who probes under a claim now, each with its node.
    fn claimants(&self) -> Vec<(Subject, usize)> {
        let now = self.cluster.nodes[0].stage.now.mono;
        let claims = self.cluster.store.claims.iter().filter(|(_, (_, until))| now < *until);
        claims.map(|(subject, (node, _))| (subject.clone(), *node)).collect()
    }
}

proptest! {
    /// Only who holds a claim probes, and in the end everything opens again, whatever became of claims on the way.
    #[test]
    fn shared_probes_are_claimed_and_none_is_stuck(
        nodes in 2..6_usize,
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut account =
            Account { cluster: Cluster::new(nodes, &keys(2)), out: Vec::new(), waiting: Vec::new() };
        for step in &steps {
            let before = account.out.len();
            account.run(step);
            let claimants = account.claimants();
            for (node, _, grant) in account.out.iter().skip(before) {
                // A route or a model that is down has probes of its own; here are neither.
                let holds = claimants.iter().any(|(_, by)| by == node);
                prop_assert!(grant.role == Role::Ordinary || holds, "an unclaimed probe");
            }
        }
        // All come back, all is read, and time passes: then one node after the other is served on each model.
        for _ in 0..100 {
            account.calm();
            account.cluster.pass(secs(1));
        }
        for name in MODELS {
            for node in 0..nodes {
                let mut served = false;
                for _ in 0..8 {
                    let stage = &mut account.cluster.nodes[node].stage;
                    let request = LeaseRequest { may_wait: false, ..LeaseRequest::any(model(name)) };
                    if let Answer::Granted(grant) = stage.ask(&request) {
                        stage.settle(&grant, name, Outcome::Success);
                        served = true;
                        break;
                    }
                    account.cluster.tell(node);
                    account.cluster.answer(node);
                }
                account.cluster.tell(node);
                account.cluster.read_all();
                prop_assert!(served, "node {node} is not served on {name}");
            }
        }
    }
}
