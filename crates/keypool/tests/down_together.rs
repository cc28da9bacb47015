//! A model that fails as a whole, on several nodes: that one of them finds it out for all, and what each goes on to decide by
//! itself.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod cluster;
mod stage;

use std::time::Duration;

use chrono::TimeDelta;
use cluster::{hear, together, told};
use gemini::fault::{Kind, Wait};
use keypool::{
    Answer, CooldownState, LeaseRequest, Outcome, Reason, Record, Refusal, Retry, Role, Settlement, Subject,
};
use stage::{MODEL, Stage, exact, fault, keys, model, secs, stored};

fn overloaded() -> Outcome {
    fault(Kind::Overloaded, Wait::None)
}

fn fail(stage: &mut Stage, outcome: &Outcome) {
    for _ in 0..10 {
        stage.serve(MODEL, outcome.clone());
    }
}

/// A node whose model has just been given up, and what it has told of that.
fn down() -> (Stage, Record) {
    let mut stage = together(keys(3));
    fail(&mut stage, &overloaded());
    let told = told(&stage);
    assert_eq!(told.len(), 1, "{told:?}");
    (stage, told.into_iter().next().unwrap())
}

/// The word that the model is down for so long after this node's present.
fn word(stage: &Stage, lasts: TimeDelta, steps: u32) -> Record {
    let until = stage.now.wall + lasts;
    let state = CooldownState::Cooling { until, steps, reason: Reason::Other, daily: false };
    Record { state, ..Record::clear(Subject::Breaker { model: MODEL.into() }) }
}

fn refused(stage: &mut Stage) -> Option<Duration> {
    match stage.ask(&LeaseRequest::any(model(MODEL))) {
        Answer::Refused(Refusal::ModelDown { back_in }) => Some(back_in),
        Answer::Granted(grant) => {
            let unused = Settlement {
                lease: grant.lease,
                key: grant.key,
                model: model(MODEL),
                outcome: Outcome::Unused,
                input_tokens: None,
                output_tokens: None,
            };
            stage.pool.settle(&unused, stage.now, &mut stage.effects);
            stage.take();
            None
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_model_that_google_answers_with_errors_is_down_on_all_nodes_and_one_success_opens_it_on_all() {
    let (mut one, fact) = down();
    let mut other = together(keys(3));
    let fact: Record = serde_json::from_str(&serde_json::to_string(&fact).unwrap()).unwrap();
    hear(&mut other, &fact);
    assert_eq!(refused(&mut other), Some(secs(1)));
    assert_eq!(
        other.events(),
        [format!("model {MODEL} fails on every key, and is left alone for 1.0 s (met by another gateway)")]
    );
    assert_eq!((told(&other), stored(&other)), (vec![], vec![]), "nothing is told on, and nothing kept");
    let down = other.pool.snapshot(other.now).models_down;
    assert_eq!(
        serde_json::to_value(down).unwrap(),
        serde_json::json!([{"model": MODEL, "back_in_ms": 1000}])
    );
    // What is said twice is no news.
    hear(&mut other, &fact);
    assert_eq!(other.events().len(), 1);

    other.pass(secs(1));
    one.pass(secs(1));
    let probe = other.lease(MODEL);
    assert_eq!(probe.role, Role::Probe);
    assert!(refused(&mut other).is_some());
    other.vouch(&probe, MODEL);
    let back = told(&other).remove(0);
    assert_eq!(back, Record::clear(fact.subject));
    hear(&mut one, &back);
    assert_eq!(one.lease(MODEL).role, Role::Ordinary);
    assert_eq!(one.events().last().unwrap(), &format!("model {MODEL} serves again"));
    assert_eq!(told(&one).len(), 1);
}

#[test]
fn what_a_node_cannot_reach_is_its_own_matter_and_so_are_faults_of_keys_and_clients() {
    let kinds = [
        Kind::ConnectFailed,
        Kind::HeadLost,
        Kind::BodyLost,
        Kind::DeadlineExceeded,
        Kind::Client,
        Kind::NotDone,
    ];
    for kind in kinds {
        let mut stage = together(keys(3));
        for _ in 0..30 {
            if let Answer::Granted(grant) = stage.ask(&LeaseRequest::any(model(MODEL))) {
                stage.settle(&grant, MODEL, fault(kind, Wait::None));
            }
            stage.pass(secs(1));
        }
        let of_models = |fact: &&Record| matches!(fact.subject, Subject::Breaker { .. });
        assert_eq!(told(&stage).iter().find(of_models), None, "{kind:?}");
    }
}

#[test]
fn a_pool_without_company_tells_nothing_of_models() {
    let mut stage = Stage::new(exact(), keys(3));
    fail(&mut stage, &overloaded());
    assert!(refused(&mut stage).is_some());
    stage.pass(secs(1));
    stage.serve(MODEL, Outcome::Success);
    assert_eq!(told(&stage), []);
}

#[test]
fn the_pause_goes_on_from_what_was_heard_and_never_beyond_half_a_minute() {
    let mut stage = together(keys(3));
    let heard = word(&stage, TimeDelta::hours(5), u32::MAX);
    hear(&mut stage, &heard);
    assert_eq!(refused(&mut stage), Some(secs(30)));
    stage.pass(secs(30));
    stage.serve(MODEL, overloaded());
    assert_eq!(refused(&mut stage), Some(secs(30)));
    let CooldownState::Cooling { until, .. } = told(&stage).remove(0).state else { panic!("not told") };
    assert_eq!(until, stage.now.wall + secs(30));

    let mut stage = together(keys(3));
    let heard = word(&stage, TimeDelta::seconds(4), 2);
    hear(&mut stage, &heard);
    stage.pass(secs(4));
    stage.serve(MODEL, overloaded());
    assert_eq!(refused(&mut stage), Some(secs(8)), "as if the pauses before had been its own");
}

#[test]
fn what_google_asks_for_beyond_half_a_minute_is_told_as_half_a_minute() {
    let mut stage = together(keys(3));
    fail(&mut stage, &fault(Kind::Overloaded, Wait::For(secs(100))));
    assert_eq!(refused(&mut stage), Some(secs(100)));
    let CooldownState::Cooling { until, .. } = told(&stage).remove(0).state else { panic!("not told") };
    assert_eq!(until, stage.now.wall + secs(30));
}

#[test]
fn a_word_that_is_past_changes_nothing_and_none_shortens_what_is_known() {
    let mut stage = together(keys(3));
    for ago in [0, 1, 3_600] {
        let heard = word(&stage, TimeDelta::seconds(-ago), 4);
        hear(&mut stage, &heard);
        assert_eq!(refused(&mut stage), None);
    }
    let back = Record::clear(Subject::Breaker { model: MODEL.into() });
    hear(&mut stage, &back);
    assert_eq!(stage.events(), Vec::<String>::new());
    for (lasts, expected) in [(8, 8), (3, 8), (12, 12)] {
        let heard = word(&stage, TimeDelta::seconds(lasts), 3);
        hear(&mut stage, &heard);
        assert_eq!(refused(&mut stage), Some(secs(expected)));
    }
}

#[test]
fn faults_and_retries_are_counted_by_each_node() {
    let (_, fact) = down();
    let mut other = together(keys(3));
    hear(&mut other, &fact);
    other.pass(secs(1));
    other.serve(MODEL, Outcome::Success);
    // Nine are too few here, whatever the others have met.
    for _ in 0..9 {
        other.serve(MODEL, overloaded());
    }
    assert_eq!(refused(&mut other), None);
    let retry = LeaseRequest { retry: Retry::ModelFault, ..LeaseRequest::any(model(MODEL)) };
    let retries = (0..9).take_while(|_| matches!(other.ask(&retry), Answer::Granted(_))).count();
    assert_eq!(retries, 3);
}

#[test]
fn those_who_wait_for_a_key_hear_that_another_node_has_found_the_model_down() {
    let mut stage = together(keys(1));
    stage.serve(MODEL, fault(Kind::QuotaMinute, Wait::For(secs(20))));
    let ticket = stage.wait(MODEL);
    let heard = word(&stage, TimeDelta::seconds(2), 1);
    hear(&mut stage, &heard);
    assert_eq!(stage.answers(), [(secs(100), ticket, Err(Refusal::ModelDown { back_in: secs(2) }))]);
}

#[test]
fn what_was_under_way_when_the_word_came_says_nothing() {
    let mut stage = together(keys(3));
    let before: Vec<_> = (0..20).map(|_| stage.lease(MODEL)).collect();
    let heard = word(&stage, TimeDelta::seconds(2), 0);
    hear(&mut stage, &heard);
    for (at, grant) in before.iter().enumerate() {
        stage.settle(grant, MODEL, if at % 2 == 0 { Outcome::Success } else { overloaded() });
    }
    assert_eq!(refused(&mut stage), Some(secs(2)));
    assert_eq!(told(&stage), []);
}
