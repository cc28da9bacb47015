//! What ends with the day in Los Angeles follows the wall clock when it parts from the monotonic one: a laptop that slept,
//! a board that gets its time late.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod stage;

use std::time::Duration;

use chrono::TimeDelta;
use gemini::fault::{Kind, QuotaUnit, QuotaWindow, Wait};
use keypool::{Answer, LeaseRequest, Limit, Outcome, Pool, Reach, Refusal, Role, Settings};
use stage::{MODEL, Stage, exact, fault, keys, model, over, secs, stored};

const HOUR: u64 = 3_600;

/// At one in the afternoon in Los Angeles.
fn spent() -> Stage {
    let mut stage = Stage::new(exact(), keys(1));
    stage.serve(MODEL, fault(Kind::QuotaDay, Wait::DailyReset));
    assert_eq!(stage.back_in(MODEL), secs(11 * HOUR));
    stage
}

#[test]
fn a_daily_quota_is_back_when_the_wall_clock_says_that_its_day_is_over() {
    for (hours, back_in) in
        [(1, Some(10)), (8, Some(3)), (11, None), (100, None), (-3, Some(14)), (-30, Some(17))]
    {
        let mut stage = spent();
        stage.jump(secs(60));
        stage.now.wall += TimeDelta::hours(hours) - TimeDelta::seconds(60);
        match back_in {
            Some(back_in) => assert_eq!(stage.back_in(MODEL), secs(back_in * HOUR), "{hours} h on"),
            None => assert_eq!(stage.lease(MODEL).role, Role::Probe, "{hours} h on"),
        }
    }
}

#[test]
fn the_alarm_follows_too() {
    let mut stage = spent();
    stage.now.wall += TimeDelta::hours(8);
    stage.pool.wake(stage.now, &mut stage.effects);
    stage.take();
    stage.pass(secs(3 * HOUR));
    assert!(stage.events().last().unwrap().contains("may be tried again"));
}

#[test]
fn seconds_and_other_waits_do_not_move() {
    let mut stage = spent();
    stage.serve("minute", fault(Kind::QuotaMinute, Wait::For(secs(40))));
    stage.now.wall += TimeDelta::seconds(5);
    assert_eq!(stage.back_in(MODEL), secs(11 * HOUR));
    stage.now.wall += TimeDelta::hours(5);
    assert_eq!(stage.back_in("minute"), secs(40));
    assert_eq!(stage.back_in(MODEL), secs(6 * HOUR - 5));
    for (kind, wait) in [(Kind::SpendingCap, Wait::Long), (Kind::KeyRestricted, Wait::Backoff)] {
        let mut stage = Stage::new(exact(), keys(1));
        stage.serve(MODEL, fault(kind, wait));
        let before = stage.back_in(MODEL);
        stage.now.wall += TimeDelta::hours(20);
        assert_eq!(stage.back_in(MODEL), before, "{kind:?}");
    }
}

#[test]
fn a_restored_day_follows_the_wall_clock_as_well_and_what_was_moved_is_kept() {
    let old = spent();
    let json = serde_json::to_string(&stored(&old)).unwrap();
    let mut new = Stage::new(exact(), keys(1));
    new.pool = Pool::new(exact(), keys(1), 2).unwrap();
    new.now = old.now;
    new.pool.restore(serde_json::from_str::<Vec<_>>(&json).unwrap(), new.now);
    assert_eq!(new.back_in(MODEL), secs(11 * HOUR));
    new.now.wall -= TimeDelta::hours(30);
    assert_eq!(new.back_in(MODEL), secs(17 * HOUR));
    let mut third = Stage::new(exact(), keys(1));
    third.now = new.now;
    third.pool.restore(stored(&new), third.now);
    assert_eq!(third.back_in(MODEL), secs(17 * HOUR));
}

#[test]
fn a_budget_of_the_day_is_whole_again_when_the_wall_clock_says_so() {
    let limits = vec![Limit { rpd: Some(2), ..Limit::default() }];
    for (hours, back_in) in [(4, Some(7)), (11, None), (60, None), (-3, Some(14)), (-30, Some(17))] {
        let mut stage = Stage::new(Settings { limits: limits.clone(), ..exact() }, keys(1));
        for _ in 0..2 {
            stage.serve(MODEL, Outcome::Success);
        }
        assert_eq!(stage.back_in(MODEL), secs(11 * HOUR));
        stage.now.wall += TimeDelta::hours(hours);
        let Some(back_in) = back_in else {
            stage.serve(MODEL, Outcome::Success);
            stage.serve(MODEL, Outcome::Success);
            assert!(matches!(stage.refusal(MODEL), Refusal::Cooling { .. }), "{hours} h on");
            continue;
        };
        assert_eq!(stage.back_in(MODEL), secs(back_in * HOUR), "{hours} h on");
    }
}

#[test]
fn a_learnt_limit_of_the_day_follows_too() {
    let mut stage = Stage::new(exact(), keys(2));
    let refused =
        over(Kind::QuotaDay, Wait::DailyReset, &[(QuotaUnit::Requests, QuotaWindow::Day, Some(20))]);
    let key = stage.serve(MODEL, refused);
    let request =
        LeaseRequest { reach: Reach::Only(key), may_wait: false, ..LeaseRequest::any(model(MODEL)) };
    stage.now.wall += TimeDelta::hours(10);
    let Answer::Refused(refusal) = stage.ask(&request) else { panic!("its day is not over") };
    assert_eq!(refusal.back_in(), Some(secs(HOUR)));
    stage.pass(secs(HOUR) + Duration::from_secs(1));
    assert!(matches!(stage.ask(&request), Answer::Granted(_)));
}
