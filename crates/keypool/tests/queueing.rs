//! Who waits, for how long, and in which order they are served.

mod stage;

use std::time::Duration;

use gemini::fault::{Kind, Wait};
use keypool::{Answer, KeyId, KeySpec, LeaseRequest, Outcome, Refusal, Settings, Tried};
use stage::{MODEL, Stage, exact, fault, keys, model, secs};

/// A pool of one key that cools for ten seconds for `MODEL`.
fn cooling() -> Stage {
    cooling_with(exact())
}

fn cooling_with(settings: Settings) -> Stage {
    let mut stage = Stage::new(settings, keys(1));
    stage.serve(MODEL, fault(Kind::QuotaMinute, Wait::For(secs(10))));
    stage
}

#[test]
fn those_who_wait_are_served_at_the_moment_the_key_is_back() {
    let mut stage = cooling();
    let ticket = stage.wait(MODEL);
    // Totals have been written up meanwhile.
    stage.pass(secs(2));
    assert_eq!(stage.alarm, Some(stage.now.mono + secs(8)));
    stage.pass(Duration::from_millis(7_999));
    assert_eq!(stage.answers(), []);
    stage.pass(secs(1));
    assert_eq!(stage.answers(), [(secs(110), ticket, Ok(KeyId::from("k0")))]);
    assert_eq!(stage.pool.waiting(), 0);
}

#[test]
fn the_first_to_come_is_the_probe_and_the_others_follow_in_order() {
    let mut stage = cooling();
    let tickets: Vec<_> = (0..5).map(|_| stage.wait(MODEL)).collect();
    stage.pass(secs(10));
    assert_eq!(stage.answers().len(), 1);
    let probe = stage.grant_of(tickets[0]);
    stage.settle(&probe, MODEL, Outcome::Success);
    let served: Vec<_> = stage.answers().iter().map(|(_, ticket, _)| *ticket).collect();
    assert_eq!(served, tickets);
}

#[test]
fn an_abandoned_probe_hands_on_to_the_next_who_waits() {
    let mut stage = cooling();
    let tickets = [stage.wait(MODEL), stage.wait(MODEL), stage.wait(MODEL)];
    stage.pass(secs(10));
    for (earlier, ticket) in tickets[..2].iter().enumerate() {
        assert_eq!(stage.answers().len(), earlier + 1);
        let grant = stage.grant_of(*ticket);
        stage.settle(&grant, MODEL, Outcome::Abandoned);
    }
    stage.grant_of(tickets[2]);
}

#[test]
fn a_new_request_does_not_overtake() {
    let mut stage = cooling();
    let ticket = stage.wait(MODEL);
    // The alarm is late: the new request's own call finds the key back, and gives it to the one who waited.
    stage.jump(secs(11));
    stage.refusal(MODEL);
    stage.grant_of(ticket);
}

#[test]
fn one_model_does_not_hold_up_another() {
    let mut stage = Stage::new(exact(), keys(1));
    stage.serve("slow", fault(Kind::QuotaMinute, Wait::For(secs(20))));
    stage.serve("quick", fault(Kind::QuotaMinute, Wait::For(secs(5))));
    let slow = stage.wait("slow");
    let quick = stage.wait("quick");
    stage.pass(secs(20));
    let k0 = KeyId::from("k0");
    assert_eq!(stage.answers(), [(secs(105), quick, Ok(k0.clone())), (secs(120), slow, Ok(k0))]);
    // A model without trouble never waits.
    stage.serve("other", Outcome::Success);
}

#[test]
fn one_key_that_serves_two_models_goes_to_the_one_who_came_first() {
    let mut stage = Stage::new(exact(), keys(1));
    stage.serve("a", fault(Kind::KeyRestricted, Wait::For(secs(5))));
    let tickets = [stage.wait("a"), stage.wait("b"), stage.wait("a"), stage.wait("b")];
    stage.pass(secs(5));
    for (ticket, name) in tickets.iter().zip(["a", "b", "a", "b"]) {
        let grant = stage.grant_of(*ticket);
        stage.settle(&grant, name, Outcome::Abandoned);
    }
}

#[test]
fn one_who_cannot_use_the_key_lets_the_next_pass() {
    let mut stage = Stage::new(exact(), keys(2));
    stage.serve(MODEL, fault(Kind::QuotaMinute, Wait::For(secs(5))));
    stage.serve(MODEL, fault(Kind::QuotaMinute, Wait::For(secs(9))));
    let tried = Tried::from_iter([KeyId::from("k0")]);
    let Answer::Waiting(picky) = stage.ask(&LeaseRequest { tried, ..LeaseRequest::any(model(MODEL)) }) else {
        panic!()
    };
    let easy = stage.wait(MODEL);
    stage.pass(secs(10));
    assert_eq!(
        stage.answers(),
        [(secs(105), easy, Ok(KeyId::from("k0"))), (secs(109), picky, Ok(KeyId::from("k1")))]
    );
}

#[test]
fn a_request_that_would_wait_in_vain_is_refused_at_once() {
    let mut stage = Stage::new(exact(), keys(2));
    stage.serve(MODEL, fault(Kind::QuotaMinute, Wait::For(secs(50))));
    stage.serve(MODEL, fault(Kind::QuotaMinute, Wait::For(secs(40))));
    let answer = stage.ask(&LeaseRequest::any(model(MODEL)));
    assert_eq!(answer, Answer::Refused(Refusal::Cooling { back_in: secs(40), quota: None }));
}

#[test]
fn what_a_request_has_waited_before_counts() {
    let mut stage = cooling();
    let waited = |secs| LeaseRequest { waited: Duration::from_secs(secs), ..LeaseRequest::any(model(MODEL)) };
    assert!(matches!(stage.ask(&waited(20)), Answer::Waiting(_)));
    assert!(matches!(stage.ask(&waited(21)), Answer::Refused(Refusal::Cooling { .. })));
    assert!(matches!(stage.ask(&waited(99)), Answer::Refused(Refusal::Cooling { .. })));
}

#[test]
fn nobody_waits_where_waiting_is_switched_off() {
    let mut stage = cooling_with(Settings { max_wait: Duration::ZERO, ..exact() });
    assert_eq!(
        stage.ask(&LeaseRequest::any(model(MODEL))),
        Answer::Refused(Refusal::Cooling { back_in: secs(10), quota: None })
    );
    stage.pass(secs(10));
    stage.lease(MODEL);
    assert!(matches!(stage.ask(&LeaseRequest::any(model(MODEL))), Answer::Refused(Refusal::Cooling { .. })));
}

#[test]
fn a_full_queue_refuses_and_has_room_again_when_one_leaves() {
    let mut stage = cooling_with(Settings { max_waiting: 2, ..exact() });
    let first = stage.wait(MODEL);
    stage.wait(MODEL);
    let refusal = Refusal::QueueFull { back_in: secs(10) };
    assert_eq!(stage.ask(&LeaseRequest::any(model(MODEL))), Answer::Refused(refusal.clone()));
    assert_eq!(refusal.to_string(), "too many requests are waiting for a key; the next is back in 10 s");
    assert!(stage.pool.cancel(first));
    assert!(!stage.pool.cancel(first));
    stage.wait(MODEL);
}

#[test]
fn a_client_that_left_gets_nothing() {
    let mut stage = cooling();
    let (gone, stays) = (stage.wait(MODEL), stage.wait(MODEL));
    stage.pool.cancel(gone);
    stage.pass(secs(60));
    assert_eq!(stage.answers(), [(secs(110), stays, Ok(KeyId::from("k0")))]);
}

#[test]
fn one_whose_time_is_up_is_told_when_the_key_is_back() {
    let mut stage = cooling();
    let tickets = [stage.wait(MODEL), stage.wait(MODEL)];
    stage.pass(secs(10));
    // The probe takes its time, and for all one knows it comes back at the last moment.
    stage.pass(secs(20));
    assert_eq!(
        stage.answers()[1..],
        [(secs(130), tickets[1], Err(Refusal::WaitedTooLong { back_in: secs(1) }))]
    );
}

#[test]
fn those_who_wait_in_vain_hear_of_it_at_once() {
    let mut stage = cooling();
    let tickets = [stage.wait(MODEL), stage.wait(MODEL), stage.wait(MODEL)];
    stage.pass(secs(10));
    let probe = stage.grant_of(tickets[0]);
    stage.settle(&probe, MODEL, fault(Kind::QuotaDay, Wait::DailyReset));
    let back_in = secs(11 * 3600 - 10);
    let refused = Err(Refusal::Cooling { back_in, quota: None });
    assert_eq!(
        stage.answers()[1..],
        [(secs(110), tickets[1], refused.clone()), (secs(110), tickets[2], refused)]
    );
}

#[test]
fn those_who_wait_for_a_key_that_is_retired_hear_of_it_at_once() {
    let mut stage = Stage::new(exact(), keys(1));
    let under_way = stage.lease(MODEL);
    stage.serve(MODEL, fault(Kind::QuotaMinute, Wait::For(secs(10))));
    let ticket = stage.wait(MODEL);
    stage.settle(&under_way, MODEL, fault(Kind::KeyInvalid, Wait::Retire));
    assert_eq!(stage.answers(), [(secs(100), ticket, Err(Refusal::AllRetired))]);
}

#[test]
fn the_operator_can_serve_those_who_wait() {
    let mut stage = Stage::new(exact(), vec![KeySpec::new("a"), KeySpec::new("b")]);
    stage.disable("b");
    stage.serve(MODEL, fault(Kind::QuotaMinute, Wait::For(secs(10))));
    let tickets = [stage.wait(MODEL), stage.wait(MODEL)];
    stage.enable("b");
    assert_eq!(stage.grant_of(tickets[0]).key, KeyId::from("b"));
    assert_eq!(stage.grant_of(tickets[1]).key, KeyId::from("b"));
}

#[test]
fn those_who_have_tried_the_key_that_comes_back_hear_of_it_alone() {
    let mut stage = Stage::new(exact(), keys(2));
    let under_way = stage.lease(MODEL);
    stage.serve(MODEL, fault(Kind::QuotaMinute, Wait::For(secs(10))));
    let first = stage.lease(MODEL);
    assert_eq!((under_way.key.clone(), first.key.clone()), (KeyId::from("k0"), KeyId::from("k0")));
    stage.settle(&first, MODEL, fault(Kind::QuotaMinute, Wait::For(secs(10))));
    let easy = stage.wait(MODEL);
    let tried = Tried::from_iter([KeyId::from("k1")]);
    let Answer::Waiting(picky) = stage.ask(&LeaseRequest { tried, ..LeaseRequest::any(model(MODEL)) }) else {
        panic!()
    };
    stage.settle(&under_way, MODEL, fault(Kind::QuotaMinute, Wait::For(secs(100))));
    let refused = Err(Refusal::Cooling { back_in: secs(100), quota: None });
    assert_eq!(stage.answers(), [(secs(100), picky, refused)]);
    stage.pass(secs(10));
    assert_eq!(stage.grant_of(easy).key, KeyId::from("k1"));
}
