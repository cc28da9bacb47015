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
            stage.serve("another", Outcome::Success);
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

/// What an attempt does in the simulation: fails at once, or is served a while later.
struct Under {
    at: Duration,
    grant: Grant,
    request: LeaseRequest,
    attempts: u32,
    outcome: Outcome,
}

/// Requests at a steady rate, each tried three times at most, on a model of which `google` says what becomes of the
/// attempt. How many first attempts, further attempts and refused retries there were from `from` on.
fn simulate(
    rate: u32,
    for_s: u32,
    from: Duration,
    mut google: impl FnMut(&Grant, Duration) -> Outcome,
) -> (usize, usize, usize) {
    let mut stage = Stage::new(exact(), keys(5));
    let begin = stage.now.mono;
    let (mut requests, mut retries, mut refused) = (0, 0, 0);
    let mut under_way: Vec<Under> = Vec::new();
    for at in 0..rate * for_s {
        let arrives = begin + secs(1) * at / rate;
        let mut asks = vec![(arrives, request(Retry::No), 0)];
        loop {
            // The next thing that happens before the arrival: an attempt ends, perhaps with another to follow.
            let next =
                under_way.iter().enumerate().filter(|(_, it)| it.at <= arrives).min_by_key(|(_, it)| it.at);
            let (now, mut request, attempts) = match next.map(|(place, _)| place) {
                Some(place) => {
                    let Under { at, grant, mut request, attempts, outcome } = under_way.swap_remove(place);
                    stage.pass(at.saturating_sub(stage.now.mono));
                    stage.settle(&grant, MODEL, outcome.clone());
                    let Outcome::Fault(fault) = outcome else { continue };
                    if attempts == 3 {
                        continue;
                    }
                    request.heed(&grant.key, &fault);
                    request.retry = Retry::ModelFault;
                    (at, request, attempts)
                }
                None => match asks.pop() {
                    Some(ask) => ask,
                    None => break,
                },
            };
            stage.pass(now.saturating_sub(stage.now.mono));
            request.may_wait = false;
            let counts = now >= begin + from;
            match stage.ask(&request) {
                Answer::Granted(grant) => {
                    let outcome = google(&grant, now.saturating_sub(begin));
                    let takes = if outcome == Outcome::Success { 300 } else { 50 };
                    let at = now + Duration::from_millis(takes);
                    *(if attempts == 0 { &mut requests } else { &mut retries }) += usize::from(counts);
                    under_way.push(Under { at, grant, request, attempts: attempts + 1, outcome });
                }
                Answer::Refused(Refusal::RetryBudget) => refused += usize::from(counts),
                Answer::Refused(Refusal::ModelDown { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    (requests, retries, refused)
}

#[test]
fn a_key_that_always_answers_503_is_hidden_at_any_rate() {
    for rate in [1, 10, 100, 1_000] {
        let google = |grant: &Grant, at| {
            let is_bad = at >= secs(10) && grant.key == "k2".into();
            if is_bad { overloaded() } else { Outcome::Success }
        };
        let (requests, retries, refused) = simulate(rate, 40, secs(10), google);
        assert_eq!(refused, 0, "at {rate} rps");
        // A retry takes the next key's turn, so the bad one has every fourth first attempt.
        assert!(4 * retries <= requests + requests / 10 + 4, "{retries} of {requests}: no second retry");
    }
}

#[test]
fn a_model_that_fails_half_the_time_keeps_its_retries_at_any_rate() {
    // Every other attempt, at a rate at which they do not run into each other and at rates at which they do.
    for rate in [1, 2, 10, 100, 1_000] {
        let mut attempt = 0;
        let google = |_: &Grant, at| {
            attempt += 1;
            if at >= secs(10) && attempt % 2 == 0 { overloaded() } else { Outcome::Success }
        };
        assert_eq!(simulate(rate, 40, secs(10), google).2, 0, "at {rate} rps");
    }
    for (rate, seed) in [(10, 1), (10, 2), (100, 3), (1_000, 4)] {
        let mut rng = fastrand::Rng::with_seed(seed);
        let google = |_: &Grant, at| {
            if at >= secs(10) && rng.bool() { overloaded() } else { Outcome::Success }
        };
        let (requests, _, refused) = simulate(rate, 40, secs(10), google);
        assert!(refused * 1_000 <= requests, "{refused} of {requests} at {rate} rps");
    }
}

#[test]
fn a_model_that_always_fails_costs_no_storm() {
    for rate in [1, 10, 100, 1_000] {
        let (requests, retries, _) = simulate(rate, 40, secs(0), |_, _| overloaded());
        assert!(retries <= 3 * 4 + requests / 5, "{retries} of {requests} at {rate} rps");
        assert!(requests + retries <= 60 + usize::try_from(rate).unwrap(), "{requests} and {retries}");
    }
}

#[test]
fn a_retry_that_works_pays_for_itself_and_for_four_that_did_not() {
    let mut stage = Stage::new(exact(), keys(3));
    let retry = |stage: &mut Stage, outcome: Option<Outcome>| match stage.ask(&request(Retry::ModelFault)) {
        Answer::Granted(grant) => {
            if let Some(outcome) = outcome {
                stage.settle(&grant, MODEL, outcome);
            }
            true
        }
        Answer::Refused(Refusal::RetryBudget) => false,
        other => panic!("{other:?}"),
    };
    assert!(retry(&mut stage, Some(overloaded())) && retry(&mut stage, Some(overloaded())));
    assert!(retry(&mut stage, Some(Outcome::Success)));
    // Three were free, one worked.
    for _ in 0..5 {
        assert!(retry(&mut stage, Some(overloaded())));
    }
    assert!(!retry(&mut stage, None));
    // What says nothing pays nothing, and neither do first attempts.
    stage.pass(secs(10));
    for outcome in [Some(Outcome::Abandoned), Some(fault(Kind::Client, Wait::None)), None] {
        stage.serve(MODEL, Outcome::Success);
        assert!(retry(&mut stage, outcome));
    }
    assert!(!retry(&mut stage, None));
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
        let mut open: Vec<(Grant, bool)> = Vec::new();
        let mut worked: Vec<Duration> = Vec::new();
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
                            open.push((grant, bad));
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
                        let worked = worked.iter().filter(|at: &&Duration| at.as_secs() >= stage.now.mono.as_secs().saturating_sub(9));
                        prop_assert!(recent(true) <= 3.max(recent(false) / 5) + 5 * worked.count(), "too many retries");
                    }
                }
                4..8 if !open.is_empty() => {
                    let (grant, was_retry) = open.swap_remove(which.index(open.len()));
                    if !bad && what <= 5 && was_retry {
                        worked.push(now);
                    }
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
