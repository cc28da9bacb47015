//! Limits, configured and learnt: what is counted, who is passed over, and when a window opens.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod stage;

use std::time::Duration;

use gemini::fault::{Fault, Kind, QuotaUnit, QuotaWindow, Wait};
use keypool::{
    Answer, Effect, Gauge, KeyId, LeaseRequest, Limit, LimitView, Outcome, Pool, Reach, Record, Refusal,
    Settings, Subject,
};
use stage::{MODEL, Stage, exact, fault, keys, labelled, model, over, secs, stored, wall};

fn rpm(rpm: u64) -> Limit {
    Limit { rpm: Some(rpm), ..Limit::default() }
}

fn with(limits: &[Limit]) -> Settings {
    Settings { limits: limits.to_vec(), max_wait: secs(90), ..exact() }
}

fn minute_quota(limit: u64) -> Outcome {
    over(Kind::QuotaMinute, Wait::For(secs(20)), &[(QuotaUnit::Requests, QuotaWindow::Minute, Some(limit))])
}

fn day_quota(limit: u64) -> Outcome {
    over(Kind::QuotaDay, Wait::DailyReset, &[(QuotaUnit::Requests, QuotaWindow::Day, Some(limit))])
}

fn tokens(input_tokens: u64) -> LeaseRequest {
    LeaseRequest { input_tokens, may_wait: false, ..LeaseRequest::any(model(MODEL)) }
}

fn view(stage: &Stage) -> LimitView {
    stage.pool.snapshot(stage.now).keys[0].limits[0].clone()
}

#[test]
fn a_full_window_refuses_until_it_opens_and_no_longer() {
    let mut stage = Stage::new(with(&[rpm(3)]), keys(1));
    for _ in 0..3 {
        stage.serve(MODEL, Outcome::Success);
        stage.pass(secs(10));
    }
    // The first was at 100 s, and counts to the end of its second's minute.
    assert_eq!(stage.back_in(MODEL), secs(31));
    stage.pass(Duration::from_millis(30_999));
    assert_eq!(stage.back_in(MODEL), Duration::from_millis(1));
    stage.pass(Duration::from_millis(1));
    stage.serve(MODEL, Outcome::Success);
    assert_eq!(stage.back_in(MODEL), secs(10), "the second's turn");
    stage.serve("another model", Outcome::Success);
}

#[test]
fn those_who_wait_are_served_in_order_when_windows_open() {
    let mut stage = Stage::new(Settings { max_wait: secs(600), ..with(&[rpm(1)]) }, keys(2));
    stage.serve(MODEL, Outcome::Success);
    stage.pass(secs(5));
    stage.serve(MODEL, Outcome::Success);
    let tickets = [stage.wait(MODEL), stage.wait(MODEL), stage.wait(MODEL)];
    stage.pass(secs(62));
    let (k0, k1) = (KeyId::from("k0"), KeyId::from("k1"));
    let (first, second) = (secs(161), secs(166));
    assert_eq!(stage.answers(), [(first, tickets[0], Ok(k0)), (second, tickets[1], Ok(k1))]);
    // A newcomer finds the window open again, but not before the one who waits.
    stage.jump(secs(58));
    stage.refusal(MODEL);
    assert_eq!(stage.answers()[2].1, tickets[2]);
}

#[test]
fn a_window_that_opens_after_the_deadline_refuses_at_once() {
    let mut stage = Stage::new(Settings { max_wait: secs(30), ..with(&[rpm(1)]) }, keys(1));
    stage.serve(MODEL, Outcome::Success);
    let answer = stage.ask(&LeaseRequest::any(model(MODEL)));
    assert_eq!(answer, Answer::Refused(Refusal::Cooling { back_in: secs(61), quota: None }));
}

#[test]
fn full_projects_are_passed_over() {
    let specs = vec![labelled("a", "p"), labelled("b", "p"), labelled("c", "q")];
    let of_p = Limit { project: Some("p".into()), ..rpm(2) };
    let mut stage = Stage::new(with(&[of_p]), specs);
    let used: Vec<_> = (0..6).map(|_| stage.serve(MODEL, Outcome::Success).to_string()).collect();
    assert_eq!(used, ["a", "b", "c", "c", "c", "c"]);
    for at in 0..2 {
        let reach = Reach::Only(KeyId::from(["a", "b"][at]));
        let answer = stage.ask(&LeaseRequest { reach, may_wait: false, ..LeaseRequest::any(model(MODEL)) });
        assert_eq!(answer, Answer::Refused(Refusal::Cooling { back_in: secs(61), quota: None }));
    }
}

#[test]
fn what_was_refused_does_not_count_and_what_was_abandoned_does() {
    let mut stage = Stage::new(with(&[rpm(2)]), keys(1));
    stage.serve(MODEL, fault(Kind::ConnectFailed, Wait::None));
    stage.serve(MODEL, fault(Kind::NotDone, Wait::None));
    stage.serve(MODEL, Outcome::Abandoned);
    stage.serve(MODEL, fault(Kind::Overloaded, Wait::None));
    assert_eq!(view(&stage).minute_requests, 2);
    assert_eq!(stage.back_in(MODEL), secs(61));
}

#[test]
fn one_who_waits_is_served_when_another_is_refused_for_something_else() {
    let mut stage = Stage::new(with(&[rpm(1)]), keys(1));
    let grant = stage.lease(MODEL);
    let ticket = stage.wait(MODEL);
    stage.settle(&grant, MODEL, fault(Kind::ConnectFailed, Wait::None));
    assert_eq!(stage.grant_of(ticket).key, KeyId::from("k0"));
}

#[test]
fn tokens_are_counted_by_estimate_and_put_right() {
    let tpm = Limit { tpm: Some(1_000), ..Limit::default() };
    let mut stage = Stage::new(with(&[tpm]), keys(1));
    let Answer::Granted(first) = stage.ask(&tokens(600)) else { panic!("no grant") };
    assert_eq!(stage.ask(&tokens(401)), Answer::Refused(Refusal::Cooling { back_in: secs(61), quota: None }));
    stage.settle_tokens(&first, MODEL, 100);
    let Answer::Granted(second) = stage.ask(&tokens(401)) else { panic!("no grant") };
    stage.pass(secs(10));
    stage.settle_tokens(&second, MODEL, 900);
    assert_eq!(view(&stage).minute_tokens, 1_000);
    assert_eq!(stage.ask(&tokens(0)), Answer::Refused(Refusal::Cooling { back_in: secs(51), quota: None }));
    stage.pass(secs(51));
    assert_eq!(view(&stage).minute_tokens, 0);
}

#[test]
fn a_request_larger_than_a_whole_minute_goes_when_nothing_else_is_counted() {
    let tpm = Limit { tpm: Some(1_000), ..Limit::default() };
    let mut stage = Stage::new(with(&[tpm]), keys(1));
    let Answer::Granted(_) = stage.ask(&tokens(1)) else { panic!("no grant") };
    assert_eq!(
        stage.ask(&tokens(5_000)),
        Answer::Refused(Refusal::Cooling { back_in: secs(61), quota: None })
    );
    stage.pass(secs(61));
    assert!(matches!(stage.ask(&tokens(5_000)), Answer::Granted(_)));
    assert_eq!(view(&stage).minute_tokens, 1_000);
}

#[test]
fn a_refusal_teaches_the_limit_and_google_says_when_there_is_room() {
    let mut stage = Stage::new(exact(), keys(1));
    for _ in 0..3 {
        stage.serve(MODEL, Outcome::Success);
    }
    stage.serve(MODEL, minute_quota(3));
    // Cools for 20 s by Google's word, and the window opens with it.
    assert_eq!((view(&stage).rpm, view(&stage).minute_requests), (Some(3), 3));
    let news =
        format!("model {MODEL} on the project of key k0 is limited to 3 requests a minute, says Google");
    assert_eq!(stage.events()[0], news);
    assert_eq!(stage.back_in(MODEL), secs(20));
    stage.pass(secs(20));
    for _ in 0..3 {
        stage.serve(MODEL, Outcome::Success);
    }
    // From now on nothing meets the limit.
    assert_eq!(stage.back_in(MODEL), secs(61));
}

#[test]
fn a_refusal_in_spite_of_room_fills_the_count() {
    let mut stage = Stage::new(with(&[rpm(10)]), keys(1));
    stage.serve(MODEL, Outcome::Success);
    stage.serve(
        MODEL,
        over(Kind::QuotaMinute, Wait::Backoff, &[(QuotaUnit::Requests, QuotaWindow::Minute, None)]),
    );
    assert_eq!(view(&stage).minute_requests, 10);
    assert_eq!(stage.back_in(MODEL), secs(61));
}

#[test]
fn of_a_configured_and_a_learnt_limit_the_lower_counts_and_only_the_learnt_is_forgotten() {
    let mut stage = Stage::new(with(&[rpm(10)]), keys(1));
    stage.serve(MODEL, minute_quota(4));
    assert_eq!(view(&stage).rpm, Some(4));
    stage.pass(secs(24 * 3600 - 1));
    assert_eq!(view(&stage).rpm, Some(4));
    stage.pass(secs(1));
    for _ in 0..10 {
        stage.serve(MODEL, Outcome::Success);
    }
    assert_eq!(view(&stage).rpm, Some(10));
    stage.refusal(MODEL);
}

#[test]
fn a_later_refusal_says_better() {
    let mut stage = Stage::new(exact(), keys(1));
    stage.serve(MODEL, minute_quota(4));
    stage.pass(secs(21));
    stage.serve(MODEL, minute_quota(40));
    assert_eq!(view(&stage).rpm, Some(40));
}

#[test]
fn a_limit_of_zero_is_no_limit() {
    let mut stage = Stage::new(exact(), keys(1));
    let quotas = [(QuotaUnit::Requests, QuotaWindow::Minute, Some(0))];
    stage.serve(MODEL, over(Kind::QuotaZero, Wait::Long, &quotas));
    stage.serve("other", over(Kind::QuotaMinute, Wait::For(secs(9)), &quotas));
    assert_eq!(stage.pool.snapshot(stage.now).keys[0].limits, []);
}

#[test]
fn a_reset_forgets_what_was_learnt_and_keeps_what_was_counted() {
    let mut stage = Stage::new(with(&[rpm(10)]), keys(1));
    stage.serve(MODEL, Outcome::Success);
    stage.serve(MODEL, minute_quota(1));
    stage.reset("k0");
    assert_eq!((view(&stage).rpm, view(&stage).minute_requests), (Some(10), 1));
    stage.serve(MODEL, Outcome::Success);
}

#[test]
fn a_days_limit_is_counted_until_midnight_in_california_on_every_kind_of_day() {
    for (first, back) in [
        ("2026-07-15T20:00:00Z", "2026-07-16T07:00:00Z"),
        ("2026-03-08T08:00:01Z", "2026-03-09T07:00:00Z"), // a day of 23 hours
        ("2026-11-01T07:00:01Z", "2026-11-02T08:00:00Z"), // a day of 25 hours
    ] {
        let rpd = Limit { rpd: Some(2), ..Limit::default() };
        let mut stage = Stage::at(wall(first), with(&[rpd]), keys(1));
        stage.serve(MODEL, Outcome::Success);
        stage.serve(MODEL, Outcome::Success);
        let until = (wall(back) - wall(first)).to_std().unwrap();
        assert_eq!(stage.back_in(MODEL), until, "{first}");
        stage.pass(until.saturating_sub(Duration::from_millis(1)));
        stage.refusal(MODEL);
        stage.pass(Duration::from_millis(1));
        stage.serve(MODEL, Outcome::Success);
        stage.pass(secs(3 * 3600));
        stage.serve(MODEL, Outcome::Success);
        // Only once a day.
        stage.refusal(MODEL);
    }
}

#[test]
fn a_days_refusal_just_after_midnight_does_not_use_up_the_new_day() {
    let mut stage = Stage::new(exact(), keys(1));
    stage.serve(MODEL, day_quota(20));
    assert_eq!(view(&stage).day_requests, 20);
    stage.pass(secs(11 * 3600));
    stage.serve(MODEL, day_quota(20));
    assert_eq!((view(&stage).rpd, view(&stage).day_requests), (Some(20), 0));
    assert_eq!(stage.back_in(MODEL), secs(15));
}

#[test]
fn siblings_share_limits_and_counts_once_they_are_known() {
    let mut stage = Stage::new(with(&[rpm(3)]), keys(2));
    for _ in 0..4 {
        stage.serve(MODEL, Outcome::Success);
    }
    stage.pass(secs(10));
    // One more on k0, none on k1.
    let grant = stage.lease(MODEL);
    stage.settle(&grant, MODEL, Outcome::Success);
    for id in ["k0", "k1"] {
        let reach = Reach::Only(KeyId::from(id));
        let Answer::Granted(grant) = stage.ask(&LeaseRequest { reach, ..LeaseRequest::any(model("other")) })
        else {
            panic!()
        };
        let outcome = Outcome::Fault(Fault {
            kind: Kind::Client,
            wait: Wait::None,
            quotas: Vec::new(),
            project: Some("1".into()),
        });
        stage.settle(&grant, "other", outcome);
    }
    let used = |stage: &Stage, at: usize| {
        let limits = stage.pool.snapshot(stage.now).keys[at].limits.clone();
        limits.iter().find(|view| view.model == model(MODEL)).unwrap().minute_requests
    };
    assert_eq!((used(&stage, 0), used(&stage, 1)), (3, 3), "the larger count");
    assert_eq!(stage.back_in(MODEL), secs(51));
    stage.pass(secs(51));
    stage.serve(MODEL, Outcome::Success);
    assert_eq!((used(&stage, 0), used(&stage, 1)), (2, 2));
}

#[test]
fn what_was_counted_before_two_projects_became_one_is_not_taken_back_from_the_other() {
    let mut stage = Stage::new(with(&[rpm(3)]), keys(2));
    let naming = |kind| {
        Outcome::Fault(Fault { kind, wait: Wait::None, quotas: Vec::new(), project: Some("1".into()) })
    };
    let on = |stage: &mut Stage, id: &str| {
        let reach = Reach::Only(KeyId::from(id));
        let Answer::Granted(grant) = stage.ask(&LeaseRequest { reach, ..LeaseRequest::any(model(MODEL)) })
        else {
            panic!()
        };
        grant
    };
    for _ in 0..3 {
        let grant = on(&mut stage, "k1");
        stage.settle(&grant, MODEL, naming(Kind::Client));
    }
    let (first, second) = (on(&mut stage, "k0"), on(&mut stage, "k0"));
    stage.settle(&first, MODEL, naming(Kind::Client));
    stage.settle(&second, MODEL, naming(Kind::ConnectFailed));
    assert_eq!(view(&stage).minute_requests, 3);
    stage.refusal(MODEL);
}

#[test]
fn counts_are_written_up_twice_a_second_at_most_and_never_forgotten() {
    let mut stage = Stage::new(with(&[rpm(1_000)]), keys(1));
    for _ in 0..500 {
        stage.serve(MODEL, Outcome::Success);
        stage.pass(Duration::from_millis(10));
    }
    let limits = |effect: &Effect| match effect {
        Effect::Persist(record) => matches!(record.subject, Subject::Limits { .. }),
        _ => false,
    };
    let times: Vec<_> = stage.said.iter().filter(|(_, effect)| limits(effect)).map(|(at, _)| *at).collect();
    assert!((10..=11).contains(&times.len()), "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] >= pair[0] + Duration::from_millis(500)), "{times:?}");
    // The last word comes by the alarm.
    stage.pass(secs(1));
    let kept: Vec<_> = stored(&stage).into_iter().filter_map(|record| record.limits).collect();
    assert_eq!(kept[0].minute.iter().map(|second| second.requests).sum::<u64>(), 500);
}

/// A new pool in a new process, some time later, with what the old one kept, by way of the store's JSON.
fn restarted(old: &Stage, settings: &Settings, later: u64) -> Stage {
    let records = serde_json::to_string(&old.records()).unwrap();
    let records: Vec<Record> = serde_json::from_str(&records).unwrap();
    let mut new = Stage::new(settings.clone(), keys(1));
    new.pool = Pool::new(settings.clone(), keys(1), 2).unwrap();
    new.now.mono = secs(3);
    new.now.wall = old.now.wall + secs(later);
    new.pool.restore(records, new.now);
    new.pool.wake(new.now, &mut new.effects);
    new.take();
    new
}

#[test]
fn a_restarted_pool_goes_on_counting() {
    let settings = with(&[Limit { rpd: Some(50), ..rpm(5) }]);
    let mut old = Stage::new(settings.clone(), keys(1));
    for _ in 0..5 {
        old.serve(MODEL, Outcome::Success);
    }
    let mut new = restarted(&old, &settings, 40);
    assert_eq!(new.back_in(MODEL), secs(21));
    let LimitView { minute_requests, day_requests, .. } = view(&new);
    assert_eq!((minute_requests, day_requests), (5, 5));
    new.pass(secs(21));
    new.serve(MODEL, Outcome::Success);
    assert_eq!(view(&new).day_requests, 6);
    // The day is another one after midnight.
    let next_day = restarted(&new, &settings, 24 * 3600);
    assert_eq!(next_day.pool.snapshot(next_day.now).keys[0].limits[0].day_requests, 0);
}

#[test]
fn a_restarted_pool_knows_what_was_learnt() {
    let mut old = Stage::new(exact(), keys(1));
    old.serve(MODEL, minute_quota(2));
    let record = old.records().into_iter().find_map(|record| record.limits).unwrap();
    assert_eq!((record.learnt[0].gauge, record.learnt[0].limit), (Gauge::Rpm, 2));
    let mut new = restarted(&old, &exact(), 3600);
    assert_eq!(view(&new).rpm, Some(2));
    // The cooldown is over, its probe goes first, and then one more.
    new.serve(MODEL, Outcome::Success);
    new.serve(MODEL, Outcome::Success);
    assert_eq!(new.back_in(MODEL), secs(61));
    let mut late = restarted(&old, &exact(), 24 * 3600);
    for _ in 0..3 {
        late.serve(MODEL, Outcome::Success);
    }
}

#[test]
fn a_restored_pool_asks_for_its_alarm_with_the_next_wake() {
    let mut old = Stage::new(exact(), keys(1));
    old.serve(MODEL, minute_quota(2));
    let new = restarted(&old, &exact(), 5);
    assert_eq!(new.alarm, Some(new.now.mono + secs(15)));
}

#[test]
fn a_tally_without_a_limit_is_forgotten_in_time() {
    let mut stage = Stage::new(exact(), keys(1));
    stage.serve(MODEL, minute_quota(2));
    stage.pass(secs(30));
    assert!(stored(&stage).iter().any(|record| record.limits.is_some()));
    stage.pass(secs(25 * 3600));
    // Anything that is written up tidies.
    stage.serve("other", minute_quota(9));
    stage.pass(secs(2));
    let kept: Vec<_> = stored(&stage).into_iter().filter(|record| record.limits.is_some()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
}
