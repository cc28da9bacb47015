//! Which key is next, and what becomes of its lease.

mod stage;

use std::time::Duration;

use gemini::fault::{Kind, Wait};
use keypool::{
    Answer, Avoid, Choice, KeyId, KeySpec, LeaseRequest, Outcome, PassedOver, Pool, PoolError, Reach, Reason,
    Refusal, Settings, Strategy, Tried,
};
use proptest::prelude::*;
use stage::{MODEL, Stage, exact, fault, keys, labelled, model, place, secs};

fn with(strategy: Strategy) -> Settings {
    Settings { strategy, ..exact() }
}

fn positions(stage: &mut Stage, count: usize) -> Vec<usize> {
    (0..count).map(|_| place(&stage.serve(MODEL, Outcome::Success))).collect()
}

#[test]
fn a_pool_that_makes_no_sense_is_refused() {
    let refused = |settings, keys| Pool::new(settings, keys, 1).unwrap_err().to_string();
    assert_eq!(refused(exact(), vec![]), "the pool has no keys");
    assert_eq!(refused(exact(), vec![KeySpec::new("a"), KeySpec::new("a")]), "two keys are called `a`");
    let weightless = KeySpec { weight: 0, ..KeySpec::new("a") };
    assert_eq!(refused(exact(), vec![weightless]), "the weight of key `a` is 0: allowed is 1 or more");
    let settings = Settings { jitter: 2.0, ..exact() };
    assert_eq!(refused(settings, keys(1)), "`jitter`: allowed is 0 to 0.5");
    let mut stage = Stage::new(exact(), keys(1));
    let unknown = stage.pool.enable(&"k9".into(), stage.now, &mut stage.effects);
    assert_eq!(unknown, Err(PoolError::UnknownKey("k9".into())));
}

#[test]
fn round_robin_takes_turns_in_the_order_of_the_configuration() {
    assert_eq!(positions(&mut Stage::new(exact(), keys(3)), 7), [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn a_key_that_comes_back_has_one_turn_and_no_more() {
    let mut stage = Stage::new(exact(), keys(3));
    stage.serve(MODEL, fault(Kind::KeyRestricted, Wait::For(secs(30))));
    assert_eq!(positions(&mut stage, 4), [1, 2, 1, 2]);
    stage.pass(secs(30));
    assert_eq!(positions(&mut stage, 6), [0, 1, 2, 0, 1, 2]);
}

/// How often each key was used for each model, when these are asked for in turn.
fn uses(stage: &mut Stage, names: &[&str], rounds: usize) -> Vec<Vec<usize>> {
    let keys = stage.pool.snapshot(stage.now).keys.len();
    let mut uses = vec![vec![0; keys]; names.len()];
    for _ in 0..rounds {
        for (uses, name) in uses.iter_mut().zip(names) {
            uses[place(&stage.serve(name, Outcome::Success))] += 1;
        }
    }
    uses
}

#[test]
fn models_asked_in_turn_use_all_keys_each() {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    for strategy in [Strategy::RoundRobin, Strategy::LeastInFlight, Strategy::Weighted, Strategy::Prefix] {
        for models in 1..=names.len() {
            for count in 1..=6 {
                let mut stage = Stage::new(with(strategy), keys(count));
                let rounds = 10 * count;
                let uses = uses(&mut stage, &names[..models], rounds);
                assert_eq!(
                    uses,
                    vec![vec![10; count]; models],
                    "{strategy:?}: {models} models, {count} keys"
                );
            }
        }
    }
}

#[test]
fn a_key_that_one_model_may_not_use_costs_the_other_nothing() {
    let mut stage = Stage::new(exact(), keys(3));
    let grants = [stage.lease("a"), stage.lease("a")];
    stage.settle(&grants[0], "a", Outcome::Success);
    stage.settle(&grants[1], "a", fault(Kind::QuotaDay, Wait::DailyReset));
    assert_eq!(uses(&mut stage, &["a", "b"], 60), [[30, 0, 30], [20, 20, 20]]);
}

#[test]
fn names_that_are_used_once_share_the_keys() {
    for strategy in [Strategy::RoundRobin, Strategy::Weighted] {
        let mut stage = Stage::new(with(strategy), keys(5));
        let mut uses = [0; 5];
        for at in 0..500 {
            uses[place(&stage.serve(&format!("made-up-{at}"), Outcome::Success))] += 1;
        }
        assert_eq!(uses, [100; 5], "{strategy:?}");
    }
}

#[test]
fn a_key_that_an_attempt_failed_on_is_given_again_only_where_there_is_no_other() {
    for strategy in [Strategy::RoundRobin, Strategy::LeastInFlight, Strategy::Weighted] {
        let mut stage = Stage::new(with(strategy), keys(3));
        let request = LeaseRequest { failed_on: Some("k1".into()), ..LeaseRequest::any(model(MODEL)) };
        let ask = |stage: &mut Stage| {
            let Answer::Granted(grant) = stage.ask(&request) else { panic!("no grant") };
            stage.settle(&grant, MODEL, Outcome::Success);
            grant.key
        };
        for _ in 0..6 {
            assert_ne!(ask(&mut stage), "k1".into(), "{strategy:?}");
        }
        stage.disable("k0");
        stage.disable("k2");
        assert_eq!(ask(&mut stage), "k1".into());
    }
}

#[test]
fn least_in_flight_prefers_idle_keys_and_takes_turns_among_equals() {
    let mut stage = Stage::new(with(Strategy::LeastInFlight), keys(3));
    let first: Vec<_> = (0..3).map(|_| stage.lease(MODEL)).collect();
    assert_eq!(first.iter().map(|grant| place(&grant.key)).collect::<Vec<_>>(), [0, 1, 2]);
    stage.settle(&first[1], MODEL, Outcome::Success);
    assert_eq!(positions(&mut stage, 3), [1, 1, 1]);
    stage.settle(&first[0], MODEL, Outcome::Abandoned);
    assert_eq!(positions(&mut stage, 4), [0, 1, 0, 1]);
}

#[test]
fn weights_share_the_leases_and_spread_them_evenly() {
    let specs = [5, 1, 1].iter().zip(keys(3)).map(|(weight, key)| KeySpec { weight: *weight, ..key });
    let mut stage = Stage::new(with(Strategy::Weighted), specs.collect());
    for _ in 0..3 {
        let uses = positions(&mut stage, 7);
        let of = |key| uses.iter().filter(|used| **used == key).count();
        assert_eq!([of(0), of(1), of(2)], [5, 1, 1]);
        let (one, two) = (uses.iter().position(|used| *used == 1), uses.iter().position(|used| *used == 2));
        assert!(one.unwrap().abs_diff(two.unwrap()) > 1, "{uses:?}");
    }
    stage.disable("k0");
    assert_eq!(positions(&mut stage, 4).iter().filter(|key| **key == 1).count(), 2);
}

#[test]
fn a_key_that_was_tried_is_not_given_again() {
    for strategy in [Strategy::RoundRobin, Strategy::LeastInFlight, Strategy::Weighted] {
        let mut stage = Stage::new(with(strategy), keys(3));
        let mut tried = Tried::new();
        for _ in 0..3 {
            let Answer::Granted(grant) =
                stage.ask(&LeaseRequest { tried: tried.clone(), ..LeaseRequest::any(model(MODEL)) })
            else {
                panic!("no grant after {tried:?}");
            };
            assert!(!tried.contains(&grant.key));
            tried.insert(grant.key.clone());
            stage.settle(&grant, MODEL, fault(Kind::Internal, Wait::None));
        }
        let answer = stage.ask(&LeaseRequest { tried, ..LeaseRequest::any(model(MODEL)) });
        assert_eq!(answer, Answer::Refused(Refusal::NoneLeft));
    }
}

#[test]
fn a_project_that_failed_is_avoided_where_there_is_a_choice() {
    let mut stage = Stage::new(exact(), vec![labelled("a", "p"), labelled("b", "p"), KeySpec::new("c")]);
    let mut tried = Tried::from_iter([stage.serve(MODEL, Outcome::Abandoned)]);
    let mut next = |tried: &Tried| {
        let request = LeaseRequest {
            tried: tried.clone(),
            avoid: Avoid::TriedProjects,
            ..LeaseRequest::any(model(MODEL))
        };
        let Answer::Granted(grant) = stage.ask(&request) else { panic!("no grant") };
        stage.settle(&grant, MODEL, Outcome::Abandoned);
        grant.key
    };
    let second = next(&tried);
    assert_eq!(second, "c".into());
    tried.insert(second);
    assert_eq!(next(&tried), "b".into(), "without a choice, the sibling");
}

#[test]
fn a_bound_request_stays_within_reach() {
    let mut stage = Stage::new(exact(), vec![KeySpec::new("x"), labelled("a", "p"), labelled("b", "p")]);
    let (a, b) = (KeyId::from("a"), KeyId::from("b"));
    let mut ask = |reach, tried: &[KeyId]| {
        let tried = tried.iter().cloned().collect();
        let answer = stage.ask(&LeaseRequest { reach, tried, ..LeaseRequest::any(None) });
        match answer {
            Answer::Granted(grant) => Ok(grant.key),
            Answer::Refused(refusal) => Err(refusal),
            Answer::Waiting(_) => panic!("nothing cools"),
        }
    };
    let (only_b, like_b) = (Reach::Only(b.clone()), Reach::ProjectOf(b.clone()));
    assert_eq!(ask(only_b.clone(), &[]), Ok(b.clone()));
    assert_eq!(ask(only_b.clone(), std::slice::from_ref(&b)), Err(Refusal::NoneLeft));
    assert_eq!(ask(like_b.clone(), &[]), Ok(a.clone()));
    assert_eq!(ask(like_b, &[a]), Ok(b));
    stage.disable("b");
    assert_eq!(
        stage.ask(&LeaseRequest { reach: only_b, ..LeaseRequest::any(None) }),
        Answer::Refused(Refusal::AllDisabled)
    );
}

#[test]
fn disabled_keys_are_told_from_retired_ones() {
    let mut stage = Stage::new(exact(), keys(2));
    stage.disable("k0");
    stage.disable("k1");
    assert_eq!(stage.refusal(MODEL), Refusal::AllDisabled);
    stage.enable("k1");
    stage.serve(MODEL, fault(Kind::KeyInvalid, Wait::Retire));
    assert_eq!(stage.refusal(MODEL), Refusal::AllRetired, "the one that is not disabled");
    stage.disable("k1");
    assert_eq!(stage.refusal(MODEL), Refusal::AllDisabled, "its word goes before");
}

#[test]
fn retired_keys_are_told_from_tried_ones() {
    let mut stage = Stage::new(exact(), keys(2));
    let first = stage.serve(MODEL, fault(Kind::Internal, Wait::None));
    stage.serve(MODEL, fault(Kind::KeyInvalid, Wait::Retire));
    let request = LeaseRequest { tried: Tried::from_iter([first]), ..LeaseRequest::any(model(MODEL)) };
    assert_eq!(stage.ask(&request), Answer::Refused(Refusal::NoneLeft));
    stage.serve(MODEL, fault(Kind::KeyInvalid, Wait::Retire));
    assert_eq!(stage.ask(&request), Answer::Refused(Refusal::AllRetired));
    assert_eq!(stage.refusal(MODEL), Refusal::AllRetired);
}

#[test]
fn a_second_report_of_a_lease_changes_nothing() {
    let mut stage = Stage::new(exact(), keys(1));
    let grant = stage.lease(MODEL);
    let other = stage.lease(MODEL);
    stage.settle(&grant, MODEL, Outcome::Success);
    let before = stage.pool.snapshot(stage.now);
    stage.settle(&grant, MODEL, fault(Kind::KeyInvalid, Wait::Retire));
    stage.vouch(&grant, MODEL);
    assert_eq!(stage.pool.snapshot(stage.now), before);
    assert_eq!(stage.pool.in_flight(), 1);
    stage.settle(&other, MODEL, Outcome::Abandoned);
    assert_eq!(stage.pool.in_flight(), 0);
}

proptest! {
    #[test]
    fn round_robin_is_fair_among_the_leasable(
        count in 1_usize..40,
        closed in proptest::collection::vec(any::<prop::sample::Index>(), 0..30),
        rounds in 1_usize..200,
        open in any::<bool>(),
    ) {
        let mut stage = Stage::new(exact(), keys(count));
        let closed: std::collections::BTreeSet<_> = closed.iter().map(|at| at.index(count)).collect();
        for at in &closed {
            let reach = Reach::Only(KeyId::from(format!("k{at}")));
            if let Answer::Granted(grant) = stage.ask(&LeaseRequest { reach, ..LeaseRequest::any(model(MODEL)) }) {
                stage.settle(&grant, MODEL, fault(Kind::QuotaDay, Wait::DailyReset));
            }
        }
        prop_assume!(closed.len() < count);
        let mut uses = vec![0; count];
        for _ in 0..rounds {
            let grant = stage.lease(MODEL);
            uses[place(&grant.key)] += 1;
            if !open {
                stage.settle(&grant, MODEL, Outcome::Success);
            }
            stage.pass(Duration::from_millis(1));
        }
        let leasable: Vec<_> = (0..count).filter(|at| !closed.contains(at)).map(|at| uses[at]).collect();
        prop_assert!(leasable.iter().max().unwrap() - leasable.iter().min().unwrap() <= 1, "{uses:?}");
        prop_assert!(closed.iter().all(|at| uses[*at] == 0), "{uses:?}");
    }

    #[test]
    fn weighted_leases_are_in_proportion(weights in proptest::collection::vec(1_u32..20, 1..12)) {
        let specs = weights.iter().zip(keys(weights.len())).map(|(weight, key)| KeySpec { weight: *weight, ..key });
        let mut stage = Stage::new(with(Strategy::Weighted), specs.collect());
        let sum: u32 = weights.iter().sum();
        let mut uses = vec![0_u32; weights.len()];
        for _ in 0..3 * sum {
            uses[place(&stage.serve(MODEL, Outcome::Success))] += 1;
        }
        let due: Vec<_> = weights.iter().map(|weight| 3 * weight).collect();
        prop_assert_eq!(uses, due);
    }
}

#[test]
fn a_caller_is_served_by_its_own_keys_only_and_waits_for_those() {
    for strategy in [Strategy::RoundRobin, Strategy::LeastInFlight, Strategy::Weighted, Strategy::Prefix] {
        let mut stage = Stage::new(with(strategy), keys(4));
        let among = |ids: &[&str]| Some(std::sync::Arc::new(ids.iter().map(|id| (*id).into()).collect()));
        let request = |ids: &[&str]| LeaseRequest {
            among: among(ids),
            prefix: Some(3),
            ..LeaseRequest::any(model(MODEL))
        };
        let mut used = std::collections::BTreeSet::new();
        for _ in 0..8 {
            let Answer::Granted(grant) = stage.ask(&request(&["k1", "k3"])) else { panic!("no grant") };
            used.insert(place(&grant.key));
            stage.settle(&grant, MODEL, Outcome::Success);
        }
        assert!(used.is_subset(&[1, 3].into()), "{strategy:?}: {used:?}");
        // Its keys cool; those of others are well, and not for it.
        for id in ["k1", "k3"] {
            let only = LeaseRequest { reach: Reach::Only(id.into()), ..request(&[id]) };
            let Answer::Granted(grant) = stage.ask(&only) else { panic!("no grant") };
            stage.settle(&grant, MODEL, fault(Kind::QuotaMinute, Wait::For(secs(3_600))));
        }
        let refused = stage.ask(&request(&["k1", "k3"]));
        assert!(matches!(refused, Answer::Refused(Refusal::Cooling { .. })), "{strategy:?}: {refused:?}");
        assert!(
            matches!(stage.ask(&request(&["k1", "k0"])), Answer::Granted(grant) if place(&grant.key) == 0)
        );
        assert_eq!(stage.ask(&request(&["gone"])), Answer::Refused(Refusal::NoneAllowed));
        assert_eq!(stage.ask(&request(&[])), Answer::Refused(Refusal::NoneAllowed));
    }
}

/// What stood in the way of which keys: word, how many, the first to be back.
fn obstacles(passed: Option<&PassedOver>) -> Vec<(&'static str, u32, String)> {
    let groups = passed.map(|passed| passed.groups.as_slice()).unwrap_or_default();
    groups.iter().map(|group| (group.obstacle.as_str(), group.keys, group.first.to_string())).collect()
}

#[test]
fn a_key_that_was_simply_next_passes_over_none_and_says_what_decided() {
    for (strategy, choice) in [
        (Strategy::RoundRobin, Choice::Turn),
        (Strategy::LeastInFlight, Choice::LeastBusy),
        (Strategy::Weighted, Choice::Weight),
        (Strategy::Prefix, Choice::Turn),
    ] {
        let mut stage = Stage::new(with(strategy), keys(3));
        for _ in 0..6 {
            let grant = stage.lease(MODEL);
            assert_eq!((grant.choice, grant.passed_over.as_deref()), (choice, None), "{strategy:?}");
        }
    }
}

#[test]
fn keys_that_are_passed_over_are_told_by_what_keeps_them_away() {
    let specs = ["a", "b", "c", "d", "e"].map(|id| labelled(id, if id < "c" { "p" } else { id }));
    let mut stage = Stage::new(exact(), specs.into());
    stage.disable("c");
    let grant = stage.lease(MODEL);
    stage.settle(&grant, MODEL, fault(Kind::QuotaMinute, Wait::For(secs(34))));
    // Its turn is b's, which is of the same project; c is disabled.
    let grant = stage.lease(MODEL);
    let passed = obstacles(grant.passed_over.as_deref());
    assert_eq!(grant.key.as_str(), "d");
    assert_eq!(passed, [("model_cooling", 1, "b".to_owned()), ("disabled", 1, "c".to_owned())]);
    let group = &grant.passed_over.as_ref().unwrap().groups[0];
    assert_eq!((group.reason, group.back_in), (Some(Reason::QuotaMinute), Some(secs(34))));
    // Another model is none of that quota's business.
    assert_eq!(stage.lease("other").passed_over, None);
    let tried: Tried = [KeyId::from("d"), KeyId::from("e")].into_iter().collect();
    let request = LeaseRequest { tried, may_wait: false, ..LeaseRequest::any(model(MODEL)) };
    assert!(matches!(stage.ask(&request), Answer::Refused(Refusal::Cooling { .. })));
    let all = stage.pool.obstacles(&request, stage.now);
    let expected = [("model_cooling", 2, "a"), ("disabled", 1, "c"), ("tried", 2, "d")];
    assert_eq!(obstacles(all.as_deref()), expected.map(|(word, keys, first)| (word, keys, first.to_owned())));
}

#[test]
fn a_choice_among_many_cooling_keys_looks_at_few() {
    let mut stage = Stage::new(exact(), keys(200));
    for n in 0..199 {
        stage.disable(&format!("k{n}"));
    }
    let grant = stage.lease(MODEL);
    assert_eq!((grant.key.as_str(), grant.choice), ("k199", Choice::OnlyOne));
    let passed = grant.passed_over.unwrap();
    assert_eq!(passed.groups[0].keys + passed.more, 199);
    assert!(passed.groups[0].keys < 20, "{passed:?}");
}

#[test]
fn a_request_that_is_bound_is_told_of_the_keys_it_can_use() {
    let specs = vec![labelled("a", "p"), labelled("b", "p"), labelled("c", "q")];
    let mut stage = Stage::new(exact(), specs);
    stage.disable("b");
    let request = LeaseRequest { reach: Reach::ProjectOf("b".into()), ..LeaseRequest::any(model(MODEL)) };
    let Answer::Granted(grant) = stage.ask(&request) else { panic!("no grant") };
    assert_eq!((grant.key.as_str(), grant.choice), ("a", Choice::Bound));
    let all = stage.pool.obstacles(&request, stage.now);
    assert_eq!(obstacles(all.as_deref()), [("disabled", 1, "b".to_owned())]);
}
