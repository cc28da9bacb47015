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
