//! What was used under a name before its token was entered counts on: in a former life of the gateway, under a token that was
//! removed, or while it had no limits.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callers::{
    CallerLimits, CallerSpec, Directory, Door, Ending, FormerUse, InstanceKey, ModelShown, Seed, TokenChange,
    Used,
};
use chrono_tz::Tz;
use gemini::path::Surface;
use meter::Now;

fn now() -> Now {
    Now { mono: Duration::from_secs(500), wall: "2026-07-15T12:00:00Z".parse().unwrap() }
}

/// A directory, and of whom it has asked so far.
fn directory(book: &'static [(&str, u64)]) -> (Directory, Arc<Mutex<Vec<String>>>) {
    let directory = Directory::new(InstanceKey::new(&[7; 32]), Tz::UTC);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let of_closure = Arc::clone(&asked);
    directory.begin_with(Box::new(move |names| {
        let mut asked = of_closure.lock().unwrap();
        asked.extend(names.iter().map(ToString::to_string));
        let seed = |requests| {
            let used = Used { requests, ..Used::default() };
            Seed {
                day: used,
                month: used,
                seconds: vec![(Duration::from_secs(5), used)],
                outputs: Vec::new(),
            }
        };
        let by_name = book.iter().map(|(name, requests)| ((*name).into(), seed(*requests)));
        FormerUse { now: now(), by_name: by_name.collect::<HashMap<_, _>>() }
    }));
    (directory, asked)
}

fn spec(name: &str, limits: CallerLimits) -> CallerSpec {
    CallerSpec { limits, ..CallerSpec::new(name) }
}

fn rpd(limit: u64) -> CallerLimits {
    CallerLimits { rpd: Some(limit), ..CallerLimits::default() }
}

/// How many requests of a caller are let in before one is refused, of a hundred.
fn let_in(directory: &Directory, name: &str) -> usize {
    let caller = directory.named(name, now().wall).unwrap().caller;
    let door = Door { surface: Surface::Native, model: ModelShown::None, spends: false };
    let ask =
        || caller.admit(door, now()).inspect_err(|_| ()).map(|pass| pass.settle(Ending::Unknown, now()));
    (0..100).take_while(|_| ask().is_ok()).count()
}

#[test]
fn a_token_that_comes_while_the_service_runs_begins_with_what_was_used_before() {
    let (directory, asked) = directory(&[("alice", 3), ("bob", 3), ("carol", 3)]);
    assert!(asked.lock().unwrap().is_empty());
    directory.set_given([(spec("alice", rpd(5)), &b"alice"[..])]);
    directory.add(spec("bob", rpd(5)), &[1; 32], now()).unwrap();
    let (elsewhere, _) = self::directory(&[]);
    let (_, made) = elsewhere.add(spec("carol", rpd(5)), &[2; 32], now()).unwrap();
    for change in made {
        directory.hear(change);
    }
    directory.add(spec("dave", rpd(5)), &[3; 32], now()).unwrap();
    for (name, left) in [("alice", 2), ("bob", 2), ("carol", 2), ("dave", 5)] {
        assert_eq!(let_in(&directory, name), left, "{name}");
    }
    assert_eq!(*asked.lock().unwrap(), ["alice", "bob", "carol", "dave"], "of each once");
}

#[test]
fn a_token_that_was_there_when_the_book_was_opened_is_asked_for_then() {
    let directory = Directory::new(InstanceKey::new(&[7; 32]), Tz::UTC);
    directory.set_given([(spec("alice", rpd(5)), &b"alice"[..])]);
    let used = Used { requests: 4, ..Used::default() };
    directory.begin_with(Box::new(move |names| {
        let seed = |name: &Arc<str>| (Arc::clone(name), Seed { day: used, month: used, ..Seed::default() });
        FormerUse { now: now(), by_name: names.iter().map(seed).collect() }
    }));
    assert_eq!(let_in(&directory, "alice"), 1);
}

#[test]
fn a_token_that_is_removed_and_made_again_goes_on_where_it_was() {
    let (directory, asked) = directory(&[("alice", 1)]);
    directory.add(spec("alice", rpd(5)), &[1; 32], now()).unwrap();
    let caller = directory.named("alice", now().wall).unwrap().caller;
    let door = Door { surface: Surface::Native, model: ModelShown::None, spends: false };
    let under_way = caller.admit(door, now()).unwrap();
    caller.admit(door, now()).unwrap().settle(Ending::Unknown, now());
    let removed = directory.remove("alice").unwrap();
    assert!(matches!(removed[..], [_, TokenChange::Forget(_)]));
    directory.set_given([(spec("bob", rpd(1)), &b"bob"[..])]);
    under_way.settle(Ending::GivenBack, now());
    directory.add(spec("alice", rpd(4)), &[2; 32], now()).unwrap();
    assert_eq!(let_in(&directory, "alice"), 2, "one by the book, and one since");
    assert_eq!(*asked.lock().unwrap(), ["alice", "bob"]);
}

#[test]
fn the_accounts_of_removed_tokens_are_bounded() {
    let (directory, asked) = directory(&[]);
    let name = |n: u32| format!("t{n}");
    for n in 0..1_002 {
        directory.set_given([(spec(&name(n), rpd(2)), &b"secret"[..])]);
        assert_eq!(let_in(&directory, &name(n)), 2);
    }
    directory.set_given([(spec("t1", rpd(2)), &b"secret"[..])]);
    assert_eq!(let_in(&directory, "t1"), 0);
    asked.lock().unwrap().clear();
    directory.set_given([(spec("t0", rpd(2)), &b"secret"[..])]);
    assert_eq!(*asked.lock().unwrap(), ["t0"], "the first to leave is asked for again");
}

#[test]
fn a_minute_that_is_limited_from_now_on_begins_with_what_was_used_without_a_limit() {
    let (directory, _) = directory(&[("alice", 3)]);
    directory.set_given([(spec("bob", CallerLimits::default()), &b"bob"[..])]);
    assert_eq!(let_in(&directory, "bob"), 100);
    let rpm = CallerLimits { rpm: Some(5), ..CallerLimits::default() };
    directory.set_given([(spec("bob", rpm), &b"bob"[..])]);
    assert_eq!(let_in(&directory, "bob"), 5, "of whom the book says nothing");
    directory.set_given([(spec("alice", rpm), &b"alice"[..])]);
    assert_eq!(let_in(&directory, "alice"), 2);
}

/// Where a day, and mostly a month, ends in half a minute: by the zone.
const HALF_A_MINUTE_BEFORE: [(&str, &str, bool); 6] = [
    ("UTC", "2026-11-30T23:59:30Z", true),
    ("UTC", "2026-07-15T23:59:30Z", false),
    ("Asia/Kolkata", "2026-05-31T18:29:30Z", true),
    ("Europe/Berlin", "2026-03-29T21:59:30Z", false), // of a day of 23 hours
    ("Europe/Berlin", "2026-10-25T22:59:30Z", false), // and of 25
    ("America/Santiago", "2026-09-06T03:59:30Z", false), // before a day without a midnight
];

#[test]
fn what_is_taken_over_in_the_last_seconds_of_a_day_or_month_ends_with_it() {
    for (zone, wall, is_month) in HALF_A_MINUTE_BEFORE {
        for is_start in [true, false] {
            let case = format!("{zone} {wall}, at the start: {is_start}");
            let end = Now { mono: Duration::from_secs(500), wall: wall.parse().unwrap() };
            let later = |seconds| Now {
                mono: end.mono + Duration::from_secs(seconds),
                wall: end.wall + Duration::from_secs(seconds),
            };
            let directory = Directory::new(InstanceKey::new(&[7; 32]), zone.parse().unwrap());
            let limits = CallerLimits { rpd: Some(3), tokens_month: Some(1_000), ..CallerLimits::default() };
            if is_start {
                directory.set_given([(spec("alice", limits), &b"alice"[..])]);
            }
            let used = Used { requests: 2, tokens: 20, money: 200 };
            directory.begin_with(Box::new(move |names| {
                let seed =
                    |name: &Arc<str>| (Arc::clone(name), Seed { day: used, month: used, ..Seed::default() });
                FormerUse { now: end, by_name: names.iter().map(seed).collect() }
            }));
            if !is_start {
                directory.add(spec("alice", limits), &[1; 32], end).unwrap();
            }
            let caller = directory.named("alice", end.wall).unwrap().caller;
            let ask = |now| {
                let door = Door { surface: Surface::Native, model: ModelShown::None, spends: false };
                caller.admit(door, now).map(|pass| pass.settle(Ending::Unknown, now)).is_ok()
            };
            let reading = caller.read(later(1));
            assert_eq!(reading.day, (used, Duration::from_secs(29)), "{case}");
            assert_eq!(reading.month.0, used, "{case}");
            assert_eq!(reading.month.1 == Duration::from_secs(29), is_month, "{case}");
            assert!(ask(later(2)) && !ask(later(3)), "one is left of the day: {case}");
            assert_eq!(caller.read(later(31)).day.0, Used::default(), "{case}");
            assert_eq!((0..9).take_while(|_| ask(later(32))).count(), 3, "{case}");
            let reading = caller.read(later(33));
            assert!(reading.day.1 > Duration::from_secs(22 * 60 * 60), "{case}");
            assert_eq!(reading.day.0.requests, 3, "{case}");
            assert_eq!(reading.month.0.requests, if is_month { 3 } else { 6 }, "{case}");
        }
    }
}

#[test]
fn what_the_book_said_before_midnight_is_not_of_the_day_after_it() {
    let directory = Directory::new(InstanceKey::new(&[7; 32]), Tz::UTC);
    directory.set_given([(spec("alice", rpd(3)), &b"alice"[..])]);
    let asked = Now { mono: Duration::from_secs(500), wall: "2026-11-30T23:59:59Z".parse().unwrap() };
    let next = Now { mono: Duration::from_secs(502), wall: "2026-12-01T00:00:01Z".parse().unwrap() };
    let caller = directory.named("alice", next.wall).unwrap().caller;
    let door = Door { surface: Surface::Native, model: ModelShown::None, spends: false };
    // Somebody was let in while the book was asked.
    caller.admit(door, next).unwrap().settle(Ending::Unknown, next);
    let used = Used { requests: 3, tokens: 30, money: 300 };
    directory.begin_with(Box::new(move |names| {
        let seed = |name: &Arc<str>| (Arc::clone(name), Seed { day: used, month: used, ..Seed::default() });
        FormerUse { now: asked, by_name: names.iter().map(seed).collect() }
    }));
    let reading = caller.read(next);
    assert_eq!((reading.day.0.requests, reading.month.0.requests), (1, 1));
}
