//! A model that fails as a whole: how many retries it gets, when it is left alone, and how it comes back.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod stage;

use std::time::Duration;

use gemini::fault::{Kind, Wait};
use keypool::{Answer, Grant, KeyState, LeaseRequest, Outcome, Refusal, Retry, Role, Settings};
use proptest::prelude::*;
use stage::{MODEL, Stage, exact, fault, keys, model, secs};

fn overloaded() -> Outcome {
    fault(Kind::Overloaded, Wait::None)
}

fn request(retry: Retry) -> LeaseRequest {
    LeaseRequest { retry, ..LeaseRequest::any(model(MODEL)) }
}

/// A pool whose model has just been given up.
fn down() -> Stage {
    let mut stage = Stage::new(exact(), keys(3));
    for _ in 0..10 {
        stage.serve(MODEL, overloaded());
    }
    stage
}

fn refused(stage: &mut Stage) -> Duration {
    match stage.ask(&request(Retry::No)) {
        Answer::Refused(Refusal::ModelDown { back_in }) => back_in,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_model_that_fails_ten_times_in_a_row_is_left_alone_on_every_key_and_nobody_waits() {
    let mut stage = Stage::new(exact(), keys(3));
    for at in 0..10 {
        stage.serve(MODEL, fault(if at % 2 == 0 { Kind::Overloaded } else { Kind::Internal }, Wait::None));
    }
    assert_eq!(refused(&mut stage), secs(1));
    assert_eq!(stage.events(), [format!("model {MODEL} fails on every key, and is left alone for 1.0 s")]);
    stage.serve("another", Outcome::Success);
    let snapshot = stage.pool.snapshot(stage.now);
    assert_eq!(
        serde_json::to_value(&snapshot.models_down).unwrap(),
        serde_json::json!([{"model": MODEL, "back_in_ms": 1000}])
    );
    assert!(snapshot.keys.iter().all(|key| key.state == KeyState::Available), "no key is to blame");
    assert_eq!(
        stage
            .pool
            .records(stage.now)
            .iter()
            .filter(|record| record.state != keypool::CooldownState::Open)
            .count(),
        0
    );
}

#[test]
fn faults_that_are_few_or_slow_or_among_successes_leave_the_model_open() {
    let mut stage = Stage::new(exact(), keys(3));
    for _ in 0..9 {
        stage.serve(MODEL, overloaded());
    }
    stage.serve(MODEL, Outcome::Success);
    for _ in 0..9 {
        stage.serve(MODEL, overloaded());
    }
    stage.pass(secs(20));
    for _ in 0..30 {
        stage.serve(MODEL, overloaded());
        stage.pass(secs(2));
    }
    // Ten in a row, but after ten successes in the same seconds.
    stage.pass(secs(20));
    for outcome in [Outcome::Success, overloaded()] {
        for _ in 0..10 {
            stage.serve(MODEL, outcome.clone());
        }
    }
    stage.lease(MODEL);
    assert_eq!(stage.pool.snapshot(stage.now).models_down, []);
}

#[test]
fn other_faults_are_not_the_models() {
    let mut stage = Stage::new(exact(), keys(3));
    for kind in [Kind::Client, Kind::DeadlineExceeded, Kind::ConnectFailed] {
        for _ in 0..10 {
            stage.serve(MODEL, fault(kind, Wait::None));
        }
    }
    stage.lease(MODEL);
}

#[test]
fn requests_without_a_model_are_never_down() {
    let mut stage = Stage::new(exact(), keys(3));
    for _ in 0..30 {
        let Answer::Granted(grant) = stage.ask(&LeaseRequest::any(None)) else { panic!("no grant") };
        let settlement = keypool::Settlement {
            lease: grant.lease,
            key: grant.key,
            model: None,
            outcome: overloaded(),
            input_tokens: None,
            output_tokens: None,
        };
        stage.pool.settle(&settlement, stage.now, &mut stage.effects);
    }
}

#[test]
fn after_the_pause_one_probe_goes_and_its_success_lets_all_others_through() {
    for vouched in [true, false] {
        let mut stage = down();
        stage.pass(secs(1));
        let probe = stage.lease(MODEL);
        assert_eq!(probe.role, Role::Probe);
        assert_eq!(refused(&mut stage), secs(1), "a guess");
        if vouched {
            stage.vouch(&probe, MODEL);
        } else {
            stage.settle(&probe, MODEL, Outcome::Success);
        }
        assert_eq!(stage.lease(MODEL).role, Role::Ordinary);
        assert_eq!(stage.events()[1], format!("model {MODEL} serves again"));
        assert_eq!(stage.pool.snapshot(stage.now).models_down, []);
    }
}

#[test]
fn the_pause_doubles_up_to_half_a_minute() {
    let mut stage = down();
    for expected in [1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(refused(&mut stage), secs(expected));
        stage.pass(secs(expected));
        stage.serve(MODEL, overloaded());
    }
    stage.pass(secs(30));
    stage.serve(MODEL, Outcome::Success);
    for _ in 0..10 {
        stage.serve(MODEL, overloaded());
    }
    assert_eq!(refused(&mut stage), secs(1), "from the beginning");
}

#[test]
fn a_probe_that_says_nothing_or_does_not_come_back_makes_room_for_the_next() {
    for outcome in [Outcome::Abandoned, fault(Kind::Client, Wait::None)] {
        let mut stage = down();
        stage.pass(secs(1));
        stage.serve(MODEL, outcome);
        assert_eq!(stage.lease(MODEL).role, Role::Probe);
        stage.pass(secs(59));
        refused(&mut stage);
        stage.pass(secs(1));
        assert_eq!(stage.lease(MODEL).role, Role::Probe);
    }
}

#[test]
fn reports_of_requests_under_way_when_the_model_was_given_up_say_nothing() {
    let mut stage = Stage::new(exact(), keys(3));
    let grants: Vec<Grant> = (0..40).map(|_| stage.lease(MODEL)).collect();
    for grant in &grants[..20] {
        stage.settle(grant, MODEL, overloaded());
    }
    assert_eq!(refused(&mut stage), secs(1));
    stage.settle(&grants[20], MODEL, Outcome::Success);
    assert_eq!(refused(&mut stage), secs(1));
    stage.pass(secs(1));
    stage.serve(MODEL, Outcome::Success);
    for grant in &grants[21..] {
        stage.settle(grant, MODEL, overloaded());
    }
    stage.lease(MODEL);
}

#[test]
fn what_an_overloaded_upstream_asks_for_is_kept_to() {
    let mut stage = Stage::new(exact(), keys(3));
    stage.serve(MODEL, fault(Kind::Overloaded, Wait::For(secs(12))));
    for _ in 0..9 {
        stage.serve(MODEL, overloaded());
    }
    assert_eq!(refused(&mut stage), secs(12));
}

#[test]
fn those_who_wait_for_a_key_hear_that_the_model_is_down() {
    let mut stage = Stage::new(exact(), keys(1));
    let grants: Vec<Grant> = (0..10).map(|_| stage.lease(MODEL)).collect();
    stage.serve(MODEL, fault(Kind::QuotaMinute, Wait::For(secs(20))));
    let ticket = stage.wait(MODEL);
    for grant in grants {
        stage.settle(&grant, MODEL, overloaded());
    }
    assert_eq!(stage.answers(), [(secs(100), ticket, Err(Refusal::ModelDown { back_in: secs(1) }))]);
}

#[test]
fn retries_get_a_fifth_of_the_load_and_at_least_three() {
    let mut stage = Stage::new(exact(), keys(3));
    let retries = |stage: &mut Stage| {
        let granted = |answer| match answer {
            Answer::Granted(_) => true,
            Answer::Refused(Refusal::RetryBudget) => false,
            other => panic!("{other:?}"),
        };
        (0..100).take_while(|_| granted(stage.ask(&request(Retry::ModelFault)))).count()
    };
    assert_eq!(retries(&mut stage), 3);
    for _ in 0..50 {
        stage.serve(MODEL, Outcome::Success);
    }
    assert_eq!(retries(&mut stage), 7, "three were used");
    stage.serve("another", Outcome::Success);
    let other = LeaseRequest { retry: Retry::ModelFault, ..LeaseRequest::any(model("another")) };
    assert!(matches!(stage.ask(&other), Answer::Granted(_)), "a budget of its own");
    stage.pass(secs(10));
    assert_eq!(retries(&mut stage), 3, "the window has moved on");
}

proptest! {
    /// Whatever happens: retries stay within their share, a model that is down gets one request at a time, and other
    /// models notice nothing.
    #[test]
    fn a_failing_model_is_asked_little(
        jitter in 0.0..0.5_f64,
        steps in prop::collection::vec((0_u8..10, any::<prop::sample::Index>(), 0_u64..2_000, any::<bool>()), 1..1_500),
    ) {
        let mut stage = Stage::new(Settings { jitter, ..exact() }, keys(4));
        let mut open: Vec<Grant> = Vec::new();
        // When, and whether it was a retry.
        let mut granted: Vec<(Duration, bool)> = Vec::new();
        for (what, which, ms, bad) in steps {
            let now = stage.now.mono;
            match what {
                0..4 => {
                    let retry = if bad { Retry::ModelFault } else { Retry::No };
                    let is_down = !stage.pool.snapshot(stage.now).models_down.is_empty();
                    match stage.ask(&request(retry)) {
                        Answer::Granted(grant) => {
                            prop_assert_eq!(grant.role == Role::Probe, is_down);
                            granted.push((now, bad));
                            open.push(grant);
                        }
                        Answer::Refused(Refusal::ModelDown { back_in }) => {
                            prop_assert!(is_down && back_in <= secs(45), "{back_in:?}");
                        }
                        Answer::Refused(refusal) => {
                            prop_assert_eq!(refusal, Refusal::RetryBudget);
                            prop_assert!(bad);
                        }
                        Answer::Waiting(_) => prop_assert!(false, "nothing to wait for"),
                    }
                    // By the clock's seconds, as the pool counts.
                    let recent = |retry: bool| {
                        let since = stage.now.mono.as_secs().saturating_sub(9);
                        granted.iter().filter(|(at, was)| at.as_secs() >= since && *was == retry).count()
                    };
                    if bad && granted.last().is_some_and(|(at, was)| *at == now && *was) {
                        prop_assert!(recent(true) <= 3.max(recent(false) / 5), "too many retries");
                    }
                }
                4..8 if !open.is_empty() => {
                    let grant = open.swap_remove(which.index(open.len()));
                    let outcome = if bad || what > 5 { overloaded() } else { Outcome::Success };
                    stage.settle(&grant, MODEL, outcome);
                }
                8 => {
                    stage.serve("another", Outcome::Success);
                }
                _ => stage.pass(Duration::from_millis(ms)),
            }
        }
    }
}
