//! The way to the upstream, which all keys share: when it is given up, how its return is found out, and when a lost
//! connection is a key's own.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod stage;

use std::time::Duration;

use gemini::fault::{Kind, Wait};
use keypool::{
    Answer, CooldownState, Grant, KeyId, KeyState, LeaseRequest, Outcome, Pool, Reach, Refusal, Role,
    Settings,
};
use stage::{MODEL, Stage, exact, fault, keys, model, secs, stored};

/// What a client meets where no Google is.
const LOST: [Kind; 3] = [Kind::ConnectFailed, Kind::HeadLost, Kind::NotGoogle];
const SECOND: Duration = Duration::from_secs(1);

fn lost(kind: Kind) -> Outcome {
    fault(kind, Wait::None)
}

fn request(id: Option<&str>) -> LeaseRequest {
    let reach = id.map_or(Reach::Any, |id| Reach::Only(KeyId::from(id)));
    LeaseRequest { reach, may_wait: false, ..LeaseRequest::any(model(MODEL)) }
}

fn lease_of(stage: &mut Stage, id: &str) -> Grant {
    match stage.ask(&request(Some(id))) {
        Answer::Granted(grant) => grant,
        other => panic!("{id}: {other:?}"),
    }
}

fn serve_on(stage: &mut Stage, id: &str, outcome: Outcome) {
    let grant = lease_of(stage, id);
    stage.settle(&grant, MODEL, outcome);
}

/// A pool that has just given the route up.
fn down(kind: Kind) -> Stage {
    let mut stage = Stage::new(exact(), keys(3));
    for _ in 0..5 {
        stage.serve(MODEL, lost(kind));
    }
    stage
}

/// Until when a request is told that the route is down; `None` where it gets a key.
fn told(stage: &mut Stage) -> Option<Duration> {
    match stage.ask(&request(None)) {
        Answer::Granted(_) => None,
        Answer::Refused(Refusal::RouteDown { back_in }) => Some(back_in),
        other => panic!("{other:?}"),
    }
}

fn cooled(stage: &Stage) -> usize {
    let snapshot = stage.pool.snapshot(stage.now);
    snapshot.keys.iter().filter(|key| key.state != KeyState::Available).count()
}

#[test]
fn five_faults_in_a_row_across_keys_close_the_route_and_blame_no_key() {
    for kind in LOST {
        let mut stage = Stage::new(exact(), keys(3));
        for _ in 0..4 {
            stage.serve(MODEL, lost(kind));
        }
        assert_eq!(stage.lease(MODEL).role, Role::Ordinary, "{kind:?}: four are not enough");
        let mut stage = down(kind);
        assert_eq!(stage.lease(MODEL).role, Role::Probe, "{kind:?}: the first finds out");
        assert_eq!(told(&mut stage), Some(SECOND), "{kind:?}");
        assert_eq!(stage.refusal("another model").back_in(), Some(SECOND));
        assert_eq!(cooled(&stage), 0, "{kind:?}");
        assert_eq!(
            stage.events(),
            [
                "the upstream cannot be reached on any key: one request a second is let through until it answers"
            ]
        );
    }
}

#[test]
fn the_route_is_never_given_up_for_one_key_where_there_are_two() {
    for kind in LOST {
        let mut stage = Stage::new(exact(), keys(2));
        for _ in 0..50 {
            serve_on(&mut stage, "k0", lost(kind));
        }
        serve_on(&mut stage, "k1", lost(kind));
        let probe = stage.lease(MODEL);
        assert_eq!(probe.role, Role::Probe, "{kind:?}: once the other has met it as well");
    }
    let mut stage = Stage::new(exact(), keys(2));
    for _ in 0..50 {
        serve_on(&mut stage, "k0", lost(Kind::ConnectFailed));
    }
    assert_eq!(stage.lease(MODEL).role, Role::Ordinary);
}

#[test]
fn where_there_is_one_key_its_own_run_closes_the_route() {
    let alone: [fn() -> Stage; 3] = [
        || Stage::new(exact(), keys(1)),
        || {
            let mut stage = Stage::new(exact(), keys(2));
            stage.disable("k1");
            stage
        },
        || {
            let mut stage = Stage::new(exact(), keys(2));
            serve_on(&mut stage, "k1", fault(Kind::KeyInvalid, Wait::Retire));
            stage
        },
    ];
    for stage in alone {
        let mut stage = stage();
        for _ in 0..4 {
            serve_on(&mut stage, "k0", lost(Kind::HeadLost));
        }
        assert_eq!(lease_of(&mut stage, "k0").role, Role::Ordinary);
        serve_on(&mut stage, "k0", lost(Kind::HeadLost));
        assert_eq!(lease_of(&mut stage, "k0").role, Role::Probe);
        assert_eq!(told(&mut stage), Some(SECOND));
    }
}

#[test]
fn an_answer_of_googles_between_ends_the_run_whatever_it_says() {
    let answers = [
        Outcome::Success,
        fault(Kind::Client, Wait::None),
        fault(Kind::QuotaBare, Wait::None),
        fault(Kind::Overloaded, Wait::None),
        fault(Kind::Cancelled, Wait::None),
    ];
    for answer in answers {
        let mut stage = Stage::new(exact(), keys(3));
        for _ in 0..5 {
            for _ in 0..4 {
                stage.serve(MODEL, lost(Kind::HeadLost));
            }
            stage.serve(MODEL, answer.clone());
        }
        assert_eq!(stage.lease(MODEL).role, Role::Ordinary, "{answer:?}");
    }
}

#[test]
fn what_says_nothing_neither_ends_a_run_nor_makes_it_longer() {
    for nothing in [Outcome::Abandoned, fault(Kind::NotDone, Wait::None)] {
        let mut stage = Stage::new(exact(), keys(3));
        for _ in 0..4 {
            stage.serve(MODEL, lost(Kind::ConnectFailed));
            for _ in 0..10 {
                stage.serve(MODEL, nothing.clone());
            }
        }
        assert_eq!(stage.lease(MODEL).role, Role::Ordinary, "{nothing:?}");
        stage.serve(MODEL, lost(Kind::ConnectFailed));
        assert_eq!(stage.lease(MODEL).role, Role::Probe, "{nothing:?}");
        stage.pass(SECOND);
        stage.serve(MODEL, nothing.clone());
        assert_eq!(told(&mut stage), Some(SECOND), "{nothing:?}: it does not open the route either");
    }
}

#[test]
fn a_run_that_nobody_goes_on_with_is_forgotten() {
    for (pause, role) in [(59, Role::Probe), (60, Role::Ordinary)] {
        let mut stage = Stage::new(exact(), keys(3));
        for _ in 0..4 {
            stage.serve(MODEL, lost(Kind::ConnectFailed));
        }
        stage.pass(secs(pause));
        stage.serve(MODEL, lost(Kind::ConnectFailed));
        assert_eq!(stage.lease(MODEL).role, role, "after {pause} s");
    }
}

#[test]
fn streams_that_break_in_one_blow_close_nothing_and_cool_nothing() {
    for kind in [Kind::BodyLost, Kind::HeadLost, Kind::ConnectFailed] {
        let mut stage = Stage::new(Settings { failure_threshold: 1, ..exact() }, keys(5));
        for _ in 0..10 {
            stage.serve(MODEL, Outcome::Success);
        }
        let grants: Vec<Grant> = (0..100).map(|_| stage.lease(MODEL)).collect();
        for grant in &grants {
            stage.settle(grant, MODEL, lost(kind));
        }
        assert_eq!(stage.lease(MODEL).role, Role::Ordinary, "{kind:?}");
        assert_eq!(cooled(&stage), 0, "{kind:?}");
    }
}

#[test]
fn silence_that_goes_on_closes_the_route_though_all_of_it_was_under_way() {
    let mut stage = Stage::new(exact(), keys(5));
    let grants: Vec<Grant> = (0..20).map(|_| stage.lease(MODEL)).collect();
    for grant in &grants[..6] {
        stage.pass(Duration::from_millis(100));
        stage.settle(grant, MODEL, lost(Kind::HeadLost));
    }
    assert_eq!(stage.lease(MODEL).role, Role::Ordinary);
    stage.pass(Duration::from_millis(600));
    for grant in &grants[6..10] {
        assert!(!stage.events().iter().any(|line| line.contains("cannot be reached")));
        stage.settle(grant, MODEL, lost(Kind::HeadLost));
    }
    assert_eq!(stage.lease(MODEL).role, Role::Probe);
    assert_eq!(cooled(&stage), 0);
}

#[test]
fn bodies_that_break_after_their_heads_came_show_that_the_route_is_open() {
    let mut stage = Stage::new(exact(), keys(5));
    for _ in 0..50 {
        stage.serve(MODEL, lost(Kind::BodyLost));
    }
    assert_eq!(stage.lease(MODEL).role, Role::Ordinary);
    // Those of before the run count as silence does.
    let mut stage = Stage::new(exact(), keys(5));
    let grants: Vec<Grant> = (0..10).map(|_| stage.lease(MODEL)).collect();
    stage.serve(MODEL, lost(Kind::HeadLost));
    stage.pass(SECOND);
    for grant in &grants {
        stage.settle(grant, MODEL, lost(Kind::BodyLost));
    }
    assert_eq!(stage.lease(MODEL).role, Role::Probe);
}

#[test]
fn while_the_route_is_down_one_request_a_second_goes_and_no_probe_holds_up_the_next() {
    let mut stage = down(Kind::ConnectFailed);
    for what in ["hangs", "is abandoned", "fails"] {
        let probe = stage.lease(MODEL);
        assert_eq!(probe.role, Role::Probe);
        match what {
            "is abandoned" => stage.settle(&probe, MODEL, Outcome::Abandoned),
            "fails" => stage.settle(&probe, MODEL, lost(Kind::HeadLost)),
            _ => {}
        }
        assert_eq!(told(&mut stage), Some(SECOND), "{what}");
        stage.pass(Duration::from_millis(999));
        assert_eq!(told(&mut stage), Some(Duration::from_millis(1)), "{what}");
        stage.pass(Duration::from_millis(1));
    }
    // However long it lasts, the pause does not grow.
    for _ in 0..3_600 {
        stage.serve(MODEL, lost(Kind::NotGoogle));
        assert_eq!(told(&mut stage), Some(SECOND));
        stage.pass(SECOND);
    }
}

#[test]
fn any_answer_of_googles_and_any_good_head_opens_the_route_for_all_at_once() {
    let answers = [
        Some(Outcome::Success),
        Some(fault(Kind::Client, Wait::None)),
        Some(fault(Kind::QuotaBare, Wait::None)),
        Some(fault(Kind::KeyInvalid, Wait::Retire)),
        Some(fault(Kind::Internal, Wait::None)),
        None,
    ];
    for kind in LOST {
        for answer in &answers {
            for early in [false, true] {
                let mut stage = Stage::new(exact(), keys(4));
                let earlier = stage.lease(MODEL);
                for _ in 0..5 {
                    stage.serve(MODEL, lost(kind));
                }
                assert!(stage.pool.is_route_in_doubt());
                let probe = stage.lease(MODEL);
                assert_eq!(told(&mut stage), Some(SECOND));
                let speaks = if early { &earlier } else { &probe };
                match answer {
                    Some(answer) => stage.settle(speaks, MODEL, answer.clone()),
                    None => stage.vouch(speaks, MODEL),
                }
                for _ in 0..10 {
                    assert_eq!(told(&mut stage), None, "{kind:?} {answer:?}");
                }
                assert!(!stage.pool.is_route_in_doubt());
                assert!(stage.events().contains(&"the upstream answers again".to_owned()));
            }
        }
    }
}

#[test]
fn those_who_wait_for_a_key_hear_that_the_route_is_down() {
    let mut stage = Stage::new(exact(), keys(2));
    let grants: Vec<Grant> = (0..6).map(|_| stage.lease("other")).collect();
    for _ in 0..2 {
        stage.serve(MODEL, fault(Kind::QuotaMinute, Wait::For(secs(20))));
    }
    let tickets = [stage.wait(MODEL), stage.wait(MODEL)];
    stage.settle(&grants[0], "other", lost(Kind::ConnectFailed));
    stage.pass(SECOND);
    for grant in &grants[1..] {
        stage.settle(grant, "other", lost(Kind::ConnectFailed));
    }
    let refused = |ticket| (secs(101), ticket, Err(Refusal::RouteDown { back_in: SECOND }));
    assert_eq!(stage.answers(), tickets.map(refused));
    // Nobody begins to wait either.
    let waits = stage.ask(&LeaseRequest::any(model(MODEL)));
    assert_eq!(waits, Answer::Refused(Refusal::RouteDown { back_in: SECOND }));
}

#[test]
fn a_minute_without_a_route_costs_a_request_a_second_and_its_end_is_noticed_within_one() {
    for (count, rate) in [(1, 2), (5, 10), (5, 200)] {
        let mut stage = Stage::new(Settings { failure_threshold: 1, ..exact() }, keys(count));
        let (mut tried, mut refused) = (0, 0);
        for _ in 0..60 * rate {
            stage.pass(SECOND / rate);
            match stage.ask(&request(None)) {
                Answer::Granted(grant) => {
                    tried += 1;
                    stage.settle(&grant, MODEL, lost(LOST[tried % 3]));
                }
                Answer::Refused(Refusal::RouteDown { back_in }) => {
                    refused += 1;
                    assert!(back_in <= SECOND);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(tried <= 5 + 61 && refused > 0, "{tried} tried, {refused} refused");
        assert_eq!(cooled(&stage), 0);
        assert_eq!(stage.waits(), []);
        // The route is back.
        let back = stage.now.mono;
        while told(&mut stage).is_some() {
            stage.pass(SECOND / 100);
        }
        assert!(stage.now.mono.saturating_sub(back) <= SECOND);
    }
}

#[test]
fn nothing_of_the_route_outlives_the_process() {
    let stage = down(Kind::HeadLost);
    assert!(stage.pool.records(stage.now).iter().all(|record| record.state == CooldownState::Open));
    let mut new = Stage::new(exact(), keys(3));
    new.pool = Pool::new(exact(), keys(3), 2).unwrap();
    new.pool.restore(stored(&stage), new.now);
    assert_eq!(new.lease(MODEL).role, Role::Ordinary);
}

#[test]
fn a_key_that_loses_its_own_connections_cools_from_the_threshold_on() {
    for (threshold, losses) in [(1, 2), (2, 2), (3, 3), (5, 5)] {
        for kind in [Kind::HeadLost, Kind::BodyLost] {
            let mut stage = Stage::new(Settings { failure_threshold: threshold, ..exact() }, keys(3));
            for at in 1..=losses {
                assert_eq!(stage.waits(), [], "{threshold}: before loss {at}");
                serve_on(&mut stage, "k1", Outcome::Success);
                serve_on(&mut stage, "k0", lost(kind));
            }
            assert_eq!(stage.waits(), [secs(30)], "{threshold}");
            // The probe meets the same: no further threshold is needed.
            stage.pass(secs(30));
            serve_on(&mut stage, "k1", Outcome::Success);
            serve_on(&mut stage, "k0", lost(kind));
            assert_eq!(stage.waits(), [secs(30), secs(60)]);
        }
    }
}

#[test]
fn an_answer_on_the_key_ends_its_losses() {
    for answer in [Outcome::Success, fault(Kind::Client, Wait::None), fault(Kind::Overloaded, Wait::None)] {
        let mut stage = Stage::new(exact(), keys(2));
        for _ in 0..10 {
            for _ in 0..2 {
                serve_on(&mut stage, "k1", Outcome::Success);
                serve_on(&mut stage, "k0", lost(Kind::HeadLost));
            }
            serve_on(&mut stage, "k0", answer.clone());
        }
        assert_eq!(stage.waits(), [], "{answer:?}");
    }
}

#[test]
fn no_key_is_blamed_alone_or_for_what_others_do_not_contradict() {
    // One key.
    let mut stage = Stage::new(exact(), keys(1));
    for _ in 0..100 {
        serve_on(&mut stage, "k0", Outcome::Success);
        serve_on(&mut stage, "k0", lost(Kind::HeadLost));
        serve_on(&mut stage, "k0", lost(Kind::BodyLost));
        serve_on(&mut stage, "k0", lost(Kind::BodyLost));
    }
    assert_eq!(stage.waits(), []);
    // The others were well before, and idle since.
    let mut stage = Stage::new(exact(), keys(3));
    serve_on(&mut stage, "k1", Outcome::Success);
    serve_on(&mut stage, "k2", Outcome::Success);
    for _ in 0..100 {
        serve_on(&mut stage, "k0", lost(Kind::BodyLost));
        stage.pass(SECOND / 10);
    }
    assert_eq!(stage.waits(), []);
    // The others' answers are more than a minute old.
    let mut stage = Stage::new(exact(), keys(3));
    for _ in 0..20 {
        serve_on(&mut stage, "k1", Outcome::Success);
        stage.pass(secs(60));
        serve_on(&mut stage, "k0", lost(Kind::BodyLost));
    }
    assert_eq!(stage.waits(), []);
    // Nothing was sent, or a stranger answered.
    for kind in [Kind::ConnectFailed, Kind::NotGoogle, Kind::NotDone] {
        let mut stage = Stage::new(exact(), keys(3));
        for _ in 0..20 {
            serve_on(&mut stage, "k1", Outcome::Success);
            serve_on(&mut stage, "k0", lost(kind));
        }
        assert_eq!(stage.waits(), [], "{kind:?}");
    }
}

#[test]
fn two_keys_of_five_that_lose_their_own_are_both_found() {
    let mut stage = Stage::new(exact(), keys(5));
    for _ in 0..10 {
        for id in ["k0", "k1", "k2", "k3", "k4"] {
            let is_bad = id < "k2";
            if let Answer::Granted(grant) = stage.ask(&request(Some(id))) {
                stage.settle(&grant, MODEL, if is_bad { lost(Kind::HeadLost) } else { Outcome::Success });
            }
            stage.pass(SECOND / 10);
        }
    }
    let snapshot = stage.pool.snapshot(stage.now);
    let cooling = snapshot.keys.iter().filter(|key| key.state == KeyState::Cooling);
    assert_eq!(cooling.map(|key| key.id.as_str()).collect::<Vec<_>>(), ["k0", "k1"]);
}

#[test]
fn losses_that_all_keys_share_cool_none_at_any_rate() {
    for share in [0.3, 0.5, 0.8] {
        for rate in [1, 10, 100] {
            for seed in 0..3 {
                let mut rng = fastrand::Rng::with_seed(seed);
                let mut stage = Stage::new(exact(), keys(5));
                for _ in 0..rate * 120 {
                    stage.pass(SECOND / rate);
                    if let Answer::Granted(grant) = stage.ask(&request(None)) {
                        let is_lost = rng.f64() < share;
                        let outcome = if is_lost { lost(Kind::HeadLost) } else { Outcome::Success };
                        stage.settle(&grant, MODEL, outcome);
                    }
                }
                assert_eq!(stage.waits(), [], "{share} lost at {rate} rps");
            }
        }
    }
}
