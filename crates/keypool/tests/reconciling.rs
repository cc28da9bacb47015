//! Another set of keys while leases are out and requests wait.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod stage;

use gemini::fault::{Fault, Kind, Wait};
use keypool::{
    Answer, Effect, Grant, KeyId, KeySet, KeySpec, KeyState, LeaseRequest, Outcome, PoolError, Reach,
    Reconciled, Refusal, Role, Subject,
};
use stage::{MODEL, Stage, exact, fault, keys, labelled, model, secs, stored};

fn cooling(seconds: u64) -> Outcome {
    fault(Kind::QuotaMinute, Wait::For(secs(seconds)))
}

fn retired() -> Outcome {
    fault(Kind::KeyInvalid, Wait::Retire)
}

/// A fault of the client's, in which Google names the project's number.
fn of_project(number: &str) -> Outcome {
    let (kind, wait) = (Kind::Client, Wait::None);
    Outcome::Fault(Fault { kind, wait, quotas: Vec::new(), project: Some(number.into()) })
}

fn specs(ids: &[&str]) -> Vec<KeySpec> {
    ids.iter().map(|id| KeySpec::new(*id)).collect()
}

fn ids(ids: &[&str]) -> Vec<KeyId> {
    ids.iter().map(|id| KeyId::from(*id)).collect()
}

fn on(key: &str) -> LeaseRequest {
    LeaseRequest { reach: Reach::Only(key.into()), may_wait: false, ..LeaseRequest::any(model(MODEL)) }
}

fn replaced(keys: Vec<KeySpec>, ids: &[&str]) -> KeySet {
    KeySet { replaced: ids.iter().map(|id| KeyId::from(*id)).collect(), ..KeySet::from(keys) }
}

fn renamed(keys: Vec<KeySpec>, names: &[(&str, &str)]) -> KeySet {
    let names = names.iter().map(|(present, former)| (KeyId::from(*present), KeyId::from(*former)));
    KeySet { renamed: names.collect(), ..KeySet::from(keys) }
}

impl Stage {
    fn reconcile(&mut self, set: impl Into<KeySet>) -> Reconciled {
        let reconciled = self.pool.reconcile(set, self.now, &mut self.effects).unwrap();
        self.take();
        reconciled
    }

    fn serve_on(&mut self, key: &str, outcome: Outcome) {
        let Answer::Granted(grant) = self.ask(&on(key)) else { panic!("no grant of {key}") };
        self.settle(&grant, MODEL, outcome);
    }

    fn state(&self, key: &str) -> KeyState {
        let snapshot = self.pool.snapshot(self.now);
        snapshot.keys.iter().find(|view| view.id.as_str() == key).unwrap().state
    }

    fn names(&self) -> Vec<KeyId> {
        self.pool.snapshot(self.now).keys.into_iter().map(|view| view.id).collect()
    }
}

#[test]
fn what_has_changed_is_told_and_the_order_is_the_sets() {
    let mut stage = Stage::new(exact(), specs(&["a", "b", "c", "d"]));
    let set = vec![KeySpec { weight: 2, ..KeySpec::new("d") }, labelled("b", "p"), KeySpec::new("e")];
    let done = stage.reconcile(replaced([set, specs(&["a"])].concat(), &["a"]));
    assert_eq!(done.added, ids(&["e", "a"]));
    assert_eq!(done.removed, ids(&["a", "c"]));
    assert_eq!(done.changed, ids(&["d", "b"]));
    assert_eq!(stage.names(), ids(&["d", "b", "e", "a"]));
    assert!(stage.reconcile(specs(&["a"])).changed.is_empty());
    assert!(stage.reconcile(specs(&["a"])).is_empty());
}

#[test]
fn a_set_that_makes_no_sense_changes_nothing() {
    let mut stage = Stage::new(exact(), keys(2));
    for (set, expected) in [
        (Vec::new(), PoolError::NoKeys),
        (specs(&["k0", "k0"]), PoolError::DuplicateKey("k0".into())),
        (vec![KeySpec { weight: 0, ..KeySpec::new("x") }], PoolError::ZeroWeight("x".into())),
    ] {
        let refused = stage.pool.reconcile(set, stage.now, &mut stage.effects);
        assert_eq!(refused, Err(expected));
        stage.take();
        assert_eq!(stage.names(), ids(&["k0", "k1"]));
    }
    assert!(stage.said.is_empty());
}

#[test]
fn who_waits_is_served_at_once_by_a_key_that_is_added() {
    let mut stage = Stage::new(exact(), keys(1));
    stage.serve(MODEL, cooling(20));
    let (first, second) = (stage.wait(MODEL), stage.wait(MODEL));
    stage.reconcile(keys(2));
    assert_eq!([first, second].map(|ticket| stage.grant_of(ticket).key), ["k1", "k1"].map(KeyId::from));
    assert_eq!(stage.pool.waiting(), 0);
}

#[test]
fn who_waits_is_told_at_once_when_none_of_its_keys_is_left() {
    let mut stage = Stage::new(exact(), keys(2));
    for key in ["k0", "k1"] {
        stage.serve_on(key, cooling(20));
    }
    let bound = LeaseRequest { reach: Reach::ProjectOf("k0".into()), ..LeaseRequest::any(model(MODEL)) };
    let Answer::Waiting(bound) = stage.ask(&bound) else { panic!() };
    let any = stage.wait(MODEL);
    stage.reconcile(specs(&["k1"]));
    assert_eq!(stage.answers(), [(stage.now.mono, bound, Err(Refusal::NoneLeft))]);
    stage.disable("k1");
    assert_eq!(stage.answers()[1..], [(stage.now.mono, any, Err(Refusal::AllDisabled))]);
}

#[test]
fn who_waits_for_a_project_is_served_by_what_is_left_of_it() {
    let mut stage = Stage::new(exact(), vec![labelled("a", "p"), labelled("b", "p"), KeySpec::new("c")]);
    stage.serve_on("a", cooling(20));
    let bound = LeaseRequest { reach: Reach::ProjectOf("a".into()), ..LeaseRequest::any(model(MODEL)) };
    let Answer::Waiting(ticket) = stage.ask(&bound) else { panic!() };
    stage.reconcile(vec![KeySpec::new("c"), labelled("b", "p")]);
    stage.pass(secs(20));
    assert_eq!(stage.grant_of(ticket).key, "b".into());
}

#[test]
fn leases_of_a_key_that_is_gone_go_on_and_end_without_harm() {
    for (outcome, again) in [
        (Outcome::Success, false),
        (Outcome::Abandoned, true),
        (retired(), true),
        (cooling(600), true),
        (of_project("7"), true),
        (fault(Kind::HeadLost, Wait::None), true),
    ] {
        let mut stage = Stage::new(exact(), keys(3));
        let grant = stage.lease(MODEL);
        assert_eq!(grant.key, "k0".into());
        stage.reconcile(specs(&["k1", "k2"]));
        assert_eq!((stage.pool.in_flight(), stage.pool.snapshot(stage.now).counts.in_flight), (1, 1));
        if again {
            stage.reconcile(specs(&["k2", "k0", "k1"]));
        }
        let before = stage.records();
        stage.vouch(&grant, MODEL);
        stage.settle(&grant, MODEL, outcome);
        assert_eq!(stage.pool.in_flight(), 0);
        assert_eq!(stage.records(), before);
        assert!(stage.pool.snapshot(stage.now).keys.iter().all(|view| view.in_flight == 0));
        assert!(stage.names().iter().all(|key| stage.state(key.as_str()) == KeyState::Available));
    }
}

#[test]
fn an_answer_on_a_key_that_is_gone_still_opens_the_way() {
    let mut stage = Stage::new(exact(), keys(3));
    let old = stage.lease(MODEL);
    for _ in 0..6 {
        stage.serve(MODEL, fault(Kind::ConnectFailed, Wait::None));
        stage.pass(secs(1));
    }
    assert!(stage.pool.is_route_in_doubt());
    stage.reconcile(specs(&["k1", "k2"]));
    stage.settle(&old, MODEL, Outcome::Success);
    assert!(!stage.pool.is_route_in_doubt());
}

#[test]
fn what_is_known_of_those_that_stay_stays() {
    let mut stage = Stage::new(exact(), keys(5));
    stage.serve_on("k1", cooling(600));
    stage.serve_on("k2", retired());
    stage.serve_on("k3", of_project("33"));
    stage.disable("k4");
    let by_name = |stage: &Stage| {
        let mut keys = stage.pool.snapshot(stage.now).keys;
        keys.retain(|view| view.id.as_str() != "k0");
        keys.sort_by(|one, other| one.id.cmp(&other.id));
        keys
    };
    let before = by_name(&stage);
    stage.reconcile(specs(&["k4", "k2", "k3", "k1"]));
    assert_eq!(by_name(&stage), before);
    stage.reconcile(specs(&["new", "k1", "k2", "k0", "k3", "k4"]));
    let mut after = by_name(&stage);
    after.retain(|view| view.id.as_str() != "new");
    assert_eq!(after, before);
    // And it ends when it would have ended.
    stage.pass(secs(600));
    assert!(matches!(stage.ask(&on("k1")), Answer::Granted(grant) if grant.role == Role::Probe));
}

#[test]
fn a_key_that_comes_back_or_has_another_secret_begins_anew() {
    for through in [Some(specs(&["k1"])), None] {
        let mut stage = Stage::new(exact(), keys(2));
        stage.serve_on("k0", of_project("7"));
        let Answer::Granted(last) = stage.ask(&on("k0")) else { panic!() };
        stage.serve_on("k0", cooling(600));
        stage.settle(&last, MODEL, retired());
        stage.disable("k0");
        match through {
            Some(without) => {
                stage.reconcile(without);
                stage.reconcile(keys(2));
            }
            None => {
                stage.reconcile(replaced(keys(2), &["k0"]));
            }
        }
        assert!(stage.records().is_empty(), "{:?}", stage.records());
        assert!(stored(&stage).is_empty(), "{:?}", stored(&stage));
        assert_eq!(stage.pool.snapshot(stage.now).keys[0].totals.leases, 0);
        assert_eq!(stage.lease(MODEL).role, Role::Ordinary);
    }
}

#[test]
fn a_key_with_another_name_is_the_same_key() {
    let mut stage = Stage::new(exact(), keys(2));
    let open = stage.lease(MODEL);
    stage.serve_on("k0", cooling(600));
    let done = stage.reconcile(renamed(specs(&["k1", "x"]), &[("x", "k0")]));
    assert_eq!(done, Reconciled { changed: ids(&["x"]), ..Reconciled::default() });
    assert!(matches!(stage.ask(&on("x")), Answer::Refused(Refusal::Cooling { .. })));
    assert_eq!(stage.pool.snapshot(stage.now).keys[1].in_flight, 1);
    stage.settle(&open, MODEL, retired());
    assert_eq!(stage.state("x"), KeyState::Retired);
    stage.pass(secs(1));
    let names = |record: &keypool::Record| !format!("{record:?}").contains("k0");
    assert_eq!(stored(&stage).len(), 2);
    assert!(stored(&stage).iter().all(names));
    // The store has its sums under the new name, and nothing under the old one.
    let mut usage = std::collections::HashMap::new();
    for (_, record) in &stage.usage {
        usage.insert(record.subject.clone(), record.clone());
    }
    for (_, effect) in &stage.said {
        if let Effect::Persist(record) = effect
            && record.is_clear()
        {
            usage.remove(&record.subject);
        }
    }
    assert!(usage.contains_key(&Subject::Usage { key: "x".into() }));
    assert!(usage.values().all(names), "{usage:?}");
}

#[test]
fn two_keys_that_swap_names_are_new_keys_unless_told_that_only_one_moved() {
    let mut stage = Stage::new(exact(), keys(2));
    stage.serve_on("k0", retired());
    let done = stage.reconcile(KeySet {
        replaced: ids(&["k0", "k1"]).into_iter().collect(),
        ..renamed(keys(2), &[("k0", "k1"), ("k1", "k0")])
    });
    assert_eq!((done.added, done.removed), (ids(&["k0", "k1"]), ids(&["k0", "k1"])));
    assert!(stage.records().is_empty());
}

#[test]
fn a_key_that_joins_a_project_shares_what_cools_there_and_takes_its_own_along() {
    let mut stage = Stage::new(exact(), vec![labelled("a", "p"), KeySpec::new("b")]);
    stage.serve_on("a", cooling(60));
    stage.serve_on("b", cooling(600));
    stage.reconcile(vec![labelled("a", "p"), labelled("b", "p")]);
    for key in ["a", "b"] {
        let Answer::Refused(Refusal::Cooling { back_in, .. }) = stage.ask(&on(key)) else { panic!() };
        assert_eq!(back_in, secs(600));
    }
    // One that leaves a project that lives on takes nothing along.
    stage.reconcile(vec![labelled("a", "p"), labelled("b", "q")]);
    assert!(matches!(stage.ask(&on("b")), Answer::Granted(_)));
    assert!(matches!(stage.ask(&on("a")), Answer::Refused(Refusal::Cooling { .. })));
    assert_eq!(stored(&stage).len(), stage.records().len());
}

#[test]
fn two_projects_that_swap_labels_swap_what_they_know() {
    let mut stage = Stage::new(exact(), vec![labelled("a", "p"), labelled("b", "q")]);
    stage.serve_on("a", cooling(600));
    stage.reconcile(vec![labelled("a", "q"), labelled("b", "p")]);
    // What is known of a project stays with its label, where the label still has keys.
    assert!(matches!(stage.ask(&on("a")), Answer::Granted(_)));
    assert!(matches!(stage.ask(&on("b")), Answer::Refused(Refusal::Cooling { .. })));
    assert_eq!(stage.pool.projects().len(), 2);
    assert_eq!(stored(&stage), stage.records());
}

#[test]
fn a_number_stays_learnt_and_new_keys_of_its_label_are_of_that_project() {
    let mut stage = Stage::new(exact(), vec![labelled("a", "p"), KeySpec::new("b")]);
    stage.serve_on("a", of_project("7"));
    stage.serve_on("b", of_project("7"));
    stage.reconcile(vec![KeySpec::new("x"), labelled("c", "p"), labelled("a", "p"), KeySpec::new("b")]);
    let [own, shared] = &stage.pool.projects()[..] else { panic!("{:?}", stage.pool.projects()) };
    assert_eq!((own.keys.clone(), shared.keys.clone()), (ids(&["x"]), ids(&["c", "a", "b"])));
}

#[test]
fn nobody_waits_for_the_word_of_a_probe_that_is_gone() {
    let mut stage = Stage::new(exact(), vec![labelled("a", "p"), labelled("b", "p")]);
    stage.serve_on("a", cooling(5));
    stage.pass(secs(5));
    let Answer::Granted(probe) = stage.ask(&on("a")) else { panic!() };
    assert_eq!(probe.role, Role::Probe);
    let ticket = stage.wait(MODEL);
    stage.reconcile(vec![labelled("b", "p")]);
    let next = stage.grant_of(ticket);
    assert_eq!((next.key.clone(), next.role), ("b".into(), Role::Probe));
    // What the first one says now is late, and of a key that is gone.
    stage.settle(&probe, MODEL, cooling(600));
    stage.settle(&next, MODEL, Outcome::Success);
    assert_eq!(stage.lease(MODEL).role, Role::Ordinary);
}

#[test]
fn a_probe_is_still_awaited_where_its_project_has_only_another_label() {
    for numbered in [false, true] {
        let mut stage = Stage::new(exact(), vec![labelled("a", "p"), labelled("b", "p")]);
        if numbered {
            stage.serve_on("a", of_project("7"));
        }
        stage.serve_on("a", cooling(5));
        stage.pass(secs(5));
        let Answer::Granted(probe) = stage.ask(&on("a")) else { panic!() };
        let ticket = stage.wait(MODEL);
        stage.reconcile(vec![labelled("a", "q"), labelled("b", "q")]);
        assert!(matches!(stage.ask(&on("b")), Answer::Refused(_)), "one probe at a time");
        stage.settle(&probe, MODEL, Outcome::Success);
        assert_eq!(stage.grant_of(ticket).role, Role::Ordinary);
    }
}

#[test]
fn nobody_waits_for_the_word_of_a_probe_whose_key_turns_out_to_be_of_another_project() {
    let mut stage = Stage::new(exact(), vec![labelled("a", "p"), labelled("b", "p")]);
    stage.serve_on("a", of_project("7"));
    let Answer::Granted(early) = stage.ask(&on("b")) else { panic!() };
    stage.serve_on("a", cooling(5));
    stage.pass(secs(5));
    let Answer::Granted(probe) = stage.ask(&on("b")) else { panic!() };
    assert_eq!(probe.role, Role::Probe);
    assert!(matches!(stage.ask(&on("a")), Answer::Refused(_)));
    stage.settle(&early, MODEL, of_project("8"));
    let Answer::Granted(next) = stage.ask(&on("a")) else { panic!("its project waits for a stranger") };
    assert_eq!(next.role, Role::Probe);
    // The stranger's word is of its own project alone.
    stage.settle(&probe, MODEL, cooling(600));
    stage.settle(&next, MODEL, Outcome::Success);
    assert!(matches!(stage.ask(&on("a")), Answer::Granted(Grant { role: Role::Ordinary, .. })));
    assert!(matches!(stage.ask(&on("b")), Answer::Refused(Refusal::Cooling { .. })));
}

#[test]
fn turns_go_on_behind_the_last_one() {
    let mut stage = Stage::new(exact(), keys(4));
    for expected in ["k0", "k1"] {
        assert_eq!(stage.lease(MODEL).key, expected.into());
    }
    stage.reconcile(specs(&["k3", "new", "k0", "k2"]));
    for expected in ["k2", "k3", "new", "k0"] {
        assert_eq!(stage.lease(MODEL).key, expected.into());
    }
    stage.reconcile(specs(&["new", "k3"]));
    // It would be the turn of `k2`, which is gone, and then of `k3`.
    assert_eq!(stage.lease(MODEL).key, "k3".into());
}

#[test]
fn what_is_booked_is_settled_where_it_was_booked_for_as_long_as_there_is_that_project() {
    let limit = keypool::Limit { rpm: Some(2), ..keypool::Limit::default() };
    let settings = keypool::Settings { limits: vec![limit], ..exact() };
    let mut stage = Stage::new(settings, vec![labelled("a", "p"), labelled("b", "p")]);
    let used = |stage: &Stage| stage.pool.snapshot(stage.now).keys[0].limits[0].minute_requests;
    let open = [stage.lease(MODEL), stage.lease(MODEL)];
    assert_eq!(used(&stage), 2);
    stage.reconcile(vec![labelled("b", "p")]);
    assert_eq!(used(&stage), 2);
    // Both were refused: Google counts nothing for them.
    for grant in &open {
        stage.settle(grant, MODEL, fault(Kind::NotDone, Wait::None));
    }
    assert_eq!(used(&stage), 0);
    let open = stage.lease(MODEL);
    stage.reconcile(vec![labelled("c", "q")]);
    let other = stage.lease(MODEL);
    assert_eq!(used(&stage), 1);
    stage.settle(&open, MODEL, fault(Kind::NotDone, Wait::None));
    assert_eq!(used(&stage), 1, "of a project that is gone");
    stage.settle(&other, MODEL, Outcome::Unused);
    assert_eq!(used(&stage), 0);
    assert_eq!(stage.pool.snapshot(stage.now).keys[0].totals.leases, 0);
}

#[test]
fn ten_thousand_rounds_leave_no_more_behind_than_ten() {
    let mut stage = Stage::new(exact(), keys(10));
    let mut size = 0;
    let mut open: std::collections::VecDeque<keypool::Grant> = std::collections::VecDeque::new();
    for round in 0..10_000_usize {
        let mut set = specs(&["first"]);
        set.extend((round..round + 9).map(|at| match at % 3 {
            0 => KeySpec::new(format!("k{at}")),
            _ => labelled(&format!("k{at}"), &format!("p{}", at / 5)),
        }));
        stage.reconcile(set);
        open.push_back(stage.lease(MODEL));
        let outcome = match round % 4 {
            0 => cooling(86_400),
            1 => retired(),
            _ => Outcome::Success,
        };
        stage.serve(MODEL, outcome);
        if open.len() > 20 {
            // Its key has left long ago.
            let grant = open.pop_front().unwrap();
            stage.settle(&grant, MODEL, Outcome::Success);
        }
        stage.pass(secs(1));
        stage.said.clear();
        stage.usage.clear();
        if round == 100 {
            size = format!("{:?}", stage.pool).len();
        }
    }
    let end = format!("{:?}", stage.pool).len();
    assert!(end < size + size / 5, "{end} after {size}");
}
