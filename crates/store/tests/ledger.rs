//! Random batches, expiries and reopenings of a ledger, against a map that does the same.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
};

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use gemini_balance_store::{Holding, LedgerChange, Memory, Sqlite, Store};

const NAMES: u32 = 60;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600 + seconds, 0).unwrap()
}

fn any_name(rng: &mut Rng) -> String {
    format!("files/{}", rng.u32(..NAMES))
}

fn any_text(rng: &mut Rng) -> Option<String> {
    rng.bool().then(|| (0..rng.usize(..9)).map(|_| rng.char(..)).collect())
}

/// Times are few, so that several holdings share one.
fn any_holding(rng: &mut Rng, now: i64) -> Holding {
    Holding {
        name: any_name(rng),
        key: any_text(rng).unwrap_or_default(),
        project: any_text(rng),
        caller: any_text(rng),
        expires: rng.bool().then(|| at(now + rng.i64(-3..20))),
        address: any_text(rng),
        made: at(now - rng.i64(0..5)),
    }
}

fn hold_against_a_map(open: impl Fn() -> Box<dyn Store>, rng: &mut Rng, steps: u32) {
    let names: Vec<_> = (0..NAMES).map(|n| format!("files/{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (mut ledger, mut model) = (open(), HashMap::<String, Holding>::new());
    let mut seconds = 0;
    for step in 0..steps {
        seconds += rng.i64(0..3);
        let now = at(seconds);
        match rng.u32(..10) {
            0..6 => {
                let mut batch = Vec::new();
                for _ in 0..rng.usize(..8) {
                    batch.push(if rng.u32(..4) == 0 {
                        LedgerChange::Forget(any_name(rng))
                    } else {
                        LedgerChange::Put(any_holding(rng, seconds))
                    });
                }
                ledger.record(&batch).unwrap();
                for change in batch {
                    match change {
                        LedgerChange::Put(holding) => drop(model.insert(holding.name.clone(), holding)),
                        LedgerChange::Forget(name) => drop(model.remove(&name)),
                    }
                }
            }
            6..9 => {
                let at_most = rng.usize(..10);
                let mut due: BTreeSet<_> = model
                    .values()
                    .filter(|held| held.has_expired(now))
                    .map(|held| (held.expires, held.name.clone()))
                    .collect();
                assert_eq!(ledger.expire(now, at_most).unwrap(), due.len().min(at_most), "step {step}");
                for _ in 0..at_most {
                    let Some((_, name)) = due.pop_first() else { break };
                    model.remove(&name);
                }
            }
            _ => ledger = open(),
        }
        // Asked as of now, and as of a time at which nothing had expired yet.
        for now in [now, now - TimeDelta::days(1)] {
            let live = |held: &&Holding| !held.has_expired(now);
            let expected: Vec<_> = names.iter().map(|name| model.get(*name).filter(live).cloned()).collect();
            assert!(ledger.find(&names, now).unwrap() == expected, "step {step}");
            let mut newest: Vec<_> = model.values().filter(live).cloned().collect();
            newest.sort_by_key(|held| (Reverse(held.made), held.name.clone()));
            newest.truncate(rng.usize(..40));
            assert!(ledger.newest(newest.len(), now).unwrap() == newest, "step {step}");
        }
    }
}

#[test]
fn sqlite_does_with_random_batches_what_a_map_does() {
    let mut rng = Rng::with_seed(20_261_124);
    for _ in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let open =
            || Box::new(Sqlite::open(&folder.path().join("store.db")).unwrap().store) as Box<dyn Store>;
        hold_against_a_map(open, &mut rng, 250);
    }
}

#[test]
fn memory_does_with_random_batches_what_a_map_does() {
    let mut rng = Rng::with_seed(20_261_125);
    for _ in 0..20 {
        let memory = Memory::default();
        hold_against_a_map(|| Box::new(memory.clone()), &mut rng, 250);
    }
}
