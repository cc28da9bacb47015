//! Keys that turn out to be of one project, or of different ones, whatever their labels say.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod stage;

use std::time::Duration;

use gemini::fault::{Fault, Kind, Wait};
use keypool::{Answer, KeyId, KeySpec, LeaseRequest, Outcome, Pool, Reach, Record, Refusal};
use proptest::prelude::*;
use stage::{MODEL, Stage, exact, fault, keys, labelled, model, secs, stored};

/// A fault that blames nobody and names a project.
fn naming(project: &str) -> Outcome {
    Outcome::Fault(Fault {
        kind: Kind::Client,
        wait: Wait::None,
        quotas: Vec::new(),
        project: Some(project.into()),
    })
}

fn only(id: &str) -> LeaseRequest {
    LeaseRequest { reach: Reach::Only(KeyId::from(id)), may_wait: false, ..LeaseRequest::any(model(MODEL)) }
}

fn serve(stage: &mut Stage, id: &str, outcome: Outcome) {
    let Answer::Granted(grant) = stage.ask(&only(id)) else { panic!("no grant of {id}") };
    stage.settle(&grant, MODEL, outcome);
}

/// Until the key may be leased.
fn back_in(stage: &mut Stage, id: &str) -> Duration {
    match stage.ask(&only(id)) {
        Answer::Granted(grant) => {
            stage.settle(&grant, MODEL, Outcome::Abandoned);
            Duration::ZERO
        }
        Answer::Refused(Refusal::Cooling { back_in, quota: None }) => back_in,
        other => panic!("{other:?}"),
    }
}

fn quota(secs: u64) -> Outcome {
    fault(Kind::QuotaMinute, Wait::For(Duration::from_secs(secs)))
}

/// A new pool of the same keys with what the old one kept, by way of JSON, in the reverse order.
fn restarted(old: &Stage, specs: &[KeySpec], records: &[Record]) -> Stage {
    let mut records: Vec<Record> = serde_json::from_str(&serde_json::to_string(records).unwrap()).unwrap();
    records.reverse();
    let mut new = Stage::new(exact(), specs.to_vec());
    new.pool = Pool::new(exact(), specs.to_vec(), 2).unwrap();
    new.now.wall = old.now.wall;
    new.pool.restore(records, new.now);
    new
}

#[test]
fn unlabelled_keys_of_one_project_share_its_cooldowns_once_its_number_is_known() {
    let mut stage = Stage::new(exact(), keys(3));
    serve(&mut stage, "k0", quota(30));
    serve(&mut stage, "k1", quota(50));
    stage.pass(secs(30));
    serve(&mut stage, "k0", naming("4711"));
    assert_eq!(back_in(&mut stage, "k0"), Duration::ZERO);
    stage.pool.wake(stage.now, &mut stage.effects);
    // The longer of the two cooldowns stays, and ends for both.
    let grants = [stage.lease("other"), stage.lease("other"), stage.lease("other")];
    let of_k1 = grants.into_iter().find(|grant| grant.key == KeyId::from("k1")).unwrap();
    stage.settle(&of_k1, "other", naming("4711"));
    assert_eq!((back_in(&mut stage, "k0"), back_in(&mut stage, "k1")), (secs(20), secs(20)));
    stage.pass(secs(20));
    assert_eq!(back_in(&mut stage, "k0"), Duration::ZERO);
    serve(&mut stage, "k1", quota(40));
    assert_eq!((back_in(&mut stage, "k0"), back_in(&mut stage, "k2")), (secs(40), Duration::ZERO));
    assert!(stage.events().contains(&"key k1 is of project number 4711".to_string()));
}

#[test]
fn a_number_that_one_of_a_label_has_is_the_number_of_all_that_are_not_known_better() {
    let specs = vec![labelled("a", "p"), labelled("b", "p"), KeySpec::new("c")];
    let mut stage = Stage::new(exact(), specs);
    serve(&mut stage, "a", naming("1"));
    serve(&mut stage, "c", naming("1"));
    serve(&mut stage, "b", quota(30));
    for id in ["a", "b", "c"] {
        assert_eq!(back_in(&mut stage, id), secs(30), "{id}");
    }
}

#[test]
fn numbers_win_over_labels_and_it_is_said() {
    let specs = vec![labelled("a", "p"), labelled("b", "p"), labelled("c", "q")];
    let mut stage = Stage::new(exact(), specs.clone());
    serve(&mut stage, "a", naming("1"));
    serve(&mut stage, "b", naming("2"));
    serve(&mut stage, "c", naming("2"));
    serve(&mut stage, "b", quota(30));
    let state = |stage: &mut Stage| ["a", "b", "c"].map(|id| back_in(stage, id).as_secs());
    assert_eq!(state(&mut stage), [0, 30, 30]);
    let events = stage.events();
    assert!(
        events.contains(&"key b is of project number 2 and key a is not, against their label".to_string())
    );
    assert!(
        events.contains(&"keys c and b are of one project, number 2, against their labels".to_string()),
        "{events:?}"
    );
    for records in [stage.records(), stored(&stage)] {
        assert_eq!(state(&mut restarted(&stage, &specs, &records)), [0, 30, 30]);
    }
}

#[test]
fn a_projects_id_is_no_number() {
    let mut stage = Stage::new(exact(), keys(1));
    serve(&mut stage, "k0", naming("my-project"));
    assert_eq!(stage.said, []);
}

#[test]
fn a_number_is_learnt_before_the_fault_is_blamed() {
    let mut stage = Stage::new(exact(), keys(2));
    serve(&mut stage, "k0", naming("1"));
    let cap = Outcome::Fault(Fault {
        kind: Kind::SpendingCap,
        wait: Wait::Long,
        quotas: Vec::new(),
        project: Some("1".into()),
    });
    serve(&mut stage, "k1", cap);
    assert_eq!(back_in(&mut stage, "k0"), secs(24 * 3600));
}

#[test]
fn one_who_waits_hears_of_a_cooldown_that_a_sibling_brings() {
    let mut stage = Stage::new(exact(), keys(2));
    serve(&mut stage, "k1", naming("1"));
    let grant = match stage.ask(&only("k0")) {
        Answer::Granted(grant) => grant,
        other => panic!("{other:?}"),
    };
    serve(&mut stage, "k1", quota(100));
    serve(&mut stage, "k0", quota(5));
    let ticket = match stage.ask(&LeaseRequest { may_wait: true, ..only("k0") }) {
        Answer::Waiting(ticket) => ticket,
        other => panic!("{other:?}"),
    };
    stage.settle(&grant, MODEL, naming("1"));
    assert_eq!(
        stage.answers(),
        [(secs(100), ticket, Err(Refusal::Cooling { back_in: secs(100), quota: None }))]
    );
}

proptest! {
    /// Keys with labels and true numbers; faults come in any order, and the pool must know as much as a list of all
    /// that was said.
    #[test]
    fn a_cooldown_reaches_all_that_are_known_to_share_and_nobody_else(
        truth in prop::collection::vec((prop::option::of(0..3_u8), 0..4_u64), 1..8),
        steps in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 1..100_u64), 1..60),
    ) {
        let specs: Vec<_> = truth.iter().enumerate().map(|(at, (label, _))| KeySpec {
            project: label.map(|label| format!("p{label}").into()),
            ..KeySpec::new(format!("k{at}"))
        }).collect();
        let mut stage = Stage::new(exact(), specs.clone());
        let mut known = vec![None; truth.len()];
        // What counts as one project, by the rule.
        let project = |known: &[Option<u64>], at: usize| {
            let mate = |label: u8| (0..truth.len()).filter(|at| truth[*at].0 == Some(label)).find_map(|at| known[at]);
            match (known[at].or_else(|| truth[at].0.and_then(mate)), truth[at].0) {
                (Some(number), _) => format!("number {number}"),
                (None, Some(label)) => format!("label {label}"),
                (None, None) => format!("key {at}"),
            }
        };
        for (which, names, wait) in steps {
            let at = which.index(truth.len());
            let id = format!("k{at}");
            if back_in(&mut stage, &id) > Duration::ZERO {
                stage.pass(secs(7));
                continue;
            }
            if names {
                serve(&mut stage, &id, naming(&truth[at].1.to_string()));
                known[at] = Some(truth[at].1);
            } else {
                // Nobody else cools: the one cooldown shows who shares with this key.
                for other in &specs {
                    stage.reset(other.id.as_str());
                }
                serve(&mut stage, &id, quota(wait));
                for other in 0..truth.len() {
                    let shares = project(&known, other) == project(&known, at);
                    let expected = if shares { secs(wait) } else { Duration::ZERO };
                    prop_assert_eq!(back_in(&mut stage, &format!("k{other}")), expected, "k{} for {}", other, id);
                }
            }
            for records in [stage.records(), stored(&stage)] {
                let mut new = restarted(&stage, &specs, &records);
                for spec in &specs {
                    let id = spec.id.as_str();
                    prop_assert_eq!(back_in(&mut new, id), back_in(&mut stage, id), "{}", id);
                }
            }
        }
    }
}
