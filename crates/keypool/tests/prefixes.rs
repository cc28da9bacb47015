//! `Strategy::Prefix`: requests that begin alike stay together, without overloading anybody or waiting for it.

mod stage;

use std::collections::{BTreeMap, HashMap};

use gemini::fault::{Kind, Wait};
use keypool::{
    Answer, Avoid, Grant, KeyId, KeySet, KeySpec, LeaseRequest, Limit, Outcome, Pool, Settings, Strategy,
    Tried,
};
use proptest::prelude::*;
use stage::{MODEL, Stage, exact, fault, keys, labelled, model, place, secs};

fn stage(specs: Vec<KeySpec>) -> Stage {
    Stage::new(Settings { strategy: Strategy::Prefix, ..exact() }, specs)
}

fn request(prefix: u64) -> LeaseRequest {
    LeaseRequest { prefix: Some(prefix), may_wait: false, ..LeaseRequest::any(model(MODEL)) }
}

fn lease(stage: &mut Stage, prefix: u64) -> Grant {
    match stage.ask(&request(prefix)) {
        Answer::Granted(grant) => grant,
        other => panic!("{other:?}"),
    }
}

/// The key for each of many prefixes, asked one after the other with nothing else going on.
fn homes(stage: &mut Stage, prefixes: u64) -> Vec<usize> {
    let home = |prefix| {
        let grant = lease(stage, prefix);
        stage.settle(&grant, MODEL, Outcome::Success);
        stage.pass(secs(10));
        place(&grant.key)
    };
    (0..prefixes).map(home).collect()
}

#[test]
fn a_prefix_stays_with_its_project_and_the_projects_share_the_prefixes() {
    let mut stage = stage(keys(5));
    let first = homes(&mut stage, 500);
    assert_eq!(homes(&mut stage, 500), first);
    for key in 0..5 {
        let share = first.iter().filter(|home| **home == key).count();
        assert!((60..140).contains(&share), "{share} of 500");
    }
    let mut new = self::stage(keys(5));
    assert_eq!(homes(&mut new, 500), first, "in every life of the pool");
}

#[test]
fn a_prefix_stays_with_its_key_under_another_name_in_this_life_and_the_next() {
    let mut stage = stage(keys(5));
    let first = homes(&mut stage, 200);
    let specs = (10..15).map(|at| KeySpec::new(format!("k{at}")));
    let pairs = (0..5).map(|at| (KeyId::from(format!("k{}", at + 10)), KeyId::from(format!("k{at}"))));
    let names: HashMap<KeyId, KeyId> = pairs.collect();
    let set = KeySet { renamed: names.clone(), identities: names, ..KeySet::from(specs.collect::<Vec<_>>()) };
    let moved: Vec<_> = first.iter().map(|home| home + 10).collect();
    stage.pool.reconcile(set.clone(), stage.now, &mut stage.effects).unwrap();
    assert_eq!(homes(&mut stage, 200), moved);
    stage.pool = Pool::new(Settings { strategy: Strategy::Prefix, ..exact() }, set, 2).unwrap();
    assert_eq!(homes(&mut stage, 200), moved);
}

#[test]
fn a_project_with_more_keys_has_more_prefixes_and_its_keys_take_turns() {
    let mut specs: Vec<_> = (0..4).map(|at| labelled(&format!("k{at}"), "p")).collect();
    specs.push(KeySpec::new("k4"));
    let mut stage = stage(specs);
    let homes = homes(&mut stage, 500);
    let of_q = homes.iter().filter(|home| **home == 4).count();
    assert!((60..140).contains(&of_q), "{of_q} of 500");
    let at_p = (0..500).zip(&homes).find(|(_, home)| **home != 4).map_or(0, |(prefix, _)| prefix);
    let mut turns: Vec<_> = (0..4).map(|_| place(&lease(&mut stage, at_p).key)).collect();
    turns.sort_unstable();
    assert_eq!(turns, [0, 1, 2, 3]);
}

#[test]
fn only_the_prefixes_of_a_closed_project_move_and_they_come_back() {
    let mut stage = stage(keys(4));
    let before = homes(&mut stage, 200);
    stage.disable("k2");
    let without = homes(&mut stage, 200);
    for (home, moved) in before.iter().zip(&without) {
        assert!(if *home == 2 { *moved != 2 } else { moved == home });
    }
    stage.enable("k2");
    assert_eq!(homes(&mut stage, 200), before);
}

#[test]
fn requests_without_a_prefix_take_turns() {
    let mut stage = stage(keys(3));
    let used: Vec<_> = (0..6).map(|_| place(&stage.serve(MODEL, Outcome::Success))).collect();
    assert_eq!(used, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn a_busy_prefix_spills_over_to_the_same_next_project() {
    let mut stage = stage(keys(4));
    let grants: Vec<_> = (0..200).map(|_| place(&lease(&mut stage, 7).key)).collect();
    let mut loads = BTreeMap::new();
    for key in &grants {
        *loads.entry(*key).or_insert(0_u32) += 1;
    }
    assert!(grants[..4].iter().all(|key| *key == grants[0]), "a light load is not spread");
    // 1.25 times the average of 50, and one for the division.
    assert!(loads.values().all(|load| *load <= 63), "{loads:?}");
    assert_eq!(loads[&grants[0]], *loads.values().max().unwrap_or(&0));
}

#[test]
fn a_failed_project_is_avoided_and_a_full_one_passed_over() {
    let limits = vec![Limit { rpm: Some(1), ..Limit::default() }];
    let settings = Settings { strategy: Strategy::Prefix, limits, ..exact() };
    let mut stage = Stage::new(settings, keys(2));
    let home = lease(&mut stage, 7).key;
    assert_ne!(lease(&mut stage, 7).key, home);
    assert!(matches!(stage.ask(&request(7)), Answer::Refused(_)));
    let mut stage = self::stage(keys(2));
    let avoiding =
        LeaseRequest { avoid: Avoid::TriedProjects, tried: Tried::from_iter([home.clone()]), ..request(7) };
    let Answer::Granted(grant) = stage.ask(&avoiding) else { panic!("no grant") };
    assert_ne!(grant.key, home);
}

proptest! {
    /// Side by side with round robin: the one has a key whenever the other has.
    #[test]
    fn there_is_a_key_whenever_another_strategy_would_find_one(
        projects in prop::collection::vec(0_u8..4, 1..10),
        steps in prop::collection::vec((0_u8..8, any::<prop::sample::Index>(), 0_u64..6, 0_u64..20), 1..400),
    ) {
        let specs: Vec<_> =
            projects.iter().enumerate().map(|(at, project)| labelled(&format!("k{at}"), &format!("p{project}"))).collect();
        let mut prefixed = stage(specs.clone());
        let mut plain = Stage::new(exact(), specs);
        let mut open: Vec<Grant> = Vec::new();
        for (what, which, prefix, time) in steps {
            match what {
                0..5 => {
                    let answer = prefixed.ask(&request(prefix));
                    // Closed for the one means closed for the other.
                    let other = plain.ask(&request(prefix));
                    prop_assert_eq!(matches!(answer, Answer::Granted(_)), matches!(other, Answer::Granted(_)));
                    if let Answer::Granted(grant) = answer {
                        open.push(grant);
                    }
                }
                5 if !open.is_empty() => {
                    let grant = open.swap_remove(which.index(open.len()));
                    prefixed.settle(&grant, MODEL, Outcome::Success);
                }
                6 if !open.is_empty() => {
                    let id = format!("k{}", which.index(projects.len()));
                    if time % 2 == 0 {
                        prefixed.disable(&id);
                        plain.disable(&id);
                    } else {
                        prefixed.enable(&id);
                        plain.enable(&id);
                    }
                }
                _ => {
                    prefixed.pass(secs(time));
                    plain.pass(secs(time));
                }
            }
        }
    }

    #[test]
    fn no_project_carries_more_than_its_share(
        weights in prop::collection::vec(1_usize..5, 2..8),
        prefixes in prop::collection::vec(0_u64..5, 1..600),
        cooled in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let specs: Vec<_> = weights
            .iter()
            .enumerate()
            .flat_map(|(at, weight)| (0..*weight).map(move |key| labelled(&format!("k{at}.{key}"), &format!("p{at}"))))
            .collect();
        let mut stage = stage(specs);
        let mut open = weights.clone();
        if let Some(cooled) = cooled {
            let at = cooled.index(weights.len());
            let reach = keypool::Reach::Only(KeyId::from(format!("k{at}.0")));
            let Answer::Granted(grant) = stage.ask(&LeaseRequest { reach, ..request(0) }) else { panic!("no grant") };
            stage.settle(&grant, MODEL, fault(Kind::SpendingCap, Wait::Long));
            open[at] = 0;
        }
        let mut loads = vec![0; weights.len()];
        for (total, prefix) in (1..).zip(prefixes) {
            let key = lease(&mut stage, prefix).key;
            let project: usize = key.as_str()[1..].split('.').next().and_then(|at| at.parse().ok()).unwrap_or_default();
            loads[project] += 1;
            prop_assert!(open[project] > 0);
            // Each grant counts twice, in flight and as a recent one, on both sides.
            let share = (5 * total * open[project]).div_ceil(4 * open.iter().sum::<usize>()) + 1;
            prop_assert!(loads[project] <= share.max(8 * open[project]), "{loads:?} of {open:?}");
        }
    }
}
