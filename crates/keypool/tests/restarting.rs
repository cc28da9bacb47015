//! A pool that takes over from another: what it knows, and what it makes of the other's leases.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod stage;

use chrono::TimeDelta;
use gemini::fault::{Kind, Wait};
use keypool::{Answer, KeyId, KeySpec, LeaseRequest, Now, Outcome, Pool, Record, Refusal, Role};
use stage::{MODEL, Stage, exact, fault, keys, labelled, model, secs, stored};

/// A new pool in a new process, some time later, with what the old one kept, by way of the store's JSON.
fn restarted(old: &Stage, records: &[Record], later: u64) -> Stage {
    let stored = serde_json::to_string(records).unwrap();
    let records: Vec<Record> = serde_json::from_str(&stored).unwrap();
    let keys = old.pool.snapshot(old.now).keys.into_iter();
    let specs: Vec<_> = keys.map(|key| KeySpec { project: key.project, ..KeySpec::new(key.id) }).collect();
    let mut new = Stage::new(exact(), specs.clone());
    new.pool = Pool::new(exact(), specs, 2).unwrap();
    new.now = Now { mono: secs(3), wall: old.now.wall + TimeDelta::seconds(i64::try_from(later).unwrap()) };
    new.pool.restore(records, new.now);
    new
}

#[test]
fn a_restarted_pool_refuses_what_the_one_before_refused() {
    let mut old = Stage::new(exact(), vec![labelled("a", "p"), labelled("b", "p"), KeySpec::new("c")]);
    old.serve(MODEL, fault(Kind::QuotaMinute, Wait::For(secs(60))));
    old.disable("b");
    old.serve(MODEL, fault(Kind::KeyInvalid, Wait::Retire));
    for records in [old.records(), stored(&old)] {
        assert_eq!(records.len(), 3);
        let mut new = restarted(&old, &records, 20);
        assert_eq!(new.back_in(MODEL), secs(40));
        assert_eq!(new.lease("other").key, KeyId::from("a"));
        new.pass(secs(40));
        assert_eq!(new.lease(MODEL).role, Role::Probe);
        new.disable("a");
        assert_eq!(new.refusal("other"), Refusal::AllRetired);
    }
}

#[test]
fn the_backoff_goes_on_where_it_was() {
    let mut old = Stage::new(exact(), keys(1));
    old.serve(MODEL, fault(Kind::KeyRestricted, Wait::Backoff));
    old.pass(secs(30));
    old.serve(MODEL, fault(Kind::KeyRestricted, Wait::Backoff));
    // Over while nobody was there: still one probe first, and its fault is the third in a row.
    let mut new = restarted(&old, &stored(&old), 600);
    let probe = new.lease(MODEL);
    assert_eq!(probe.role, Role::Probe);
    new.refusal(MODEL);
    new.settle(&probe, MODEL, fault(Kind::KeyRestricted, Wait::Backoff));
    assert_eq!(new.back_in(MODEL), secs(120));
}

#[test]
fn what_is_long_over_is_not_taken_over() {
    let mut old = Stage::new(exact(), keys(1));
    old.serve(MODEL, fault(Kind::KeyRestricted, Wait::Backoff));
    let mut new = restarted(&old, &stored(&old), 30 + 3600);
    assert_eq!(new.lease(MODEL).role, Role::Ordinary);
}

/// The one key serves, the other loses its connection.
fn lose(stage: &mut Stage) {
    for (id, outcome) in [("k1", Outcome::Success), ("k0", fault(Kind::HeadLost, Wait::None))] {
        let reach = keypool::Reach::Only(id.into());
        let Answer::Granted(grant) = stage.ask(&LeaseRequest { reach, ..LeaseRequest::any(model(MODEL)) })
        else {
            panic!("no grant of {id}");
        };
        stage.settle(&grant, MODEL, outcome);
    }
}

#[test]
fn a_key_that_lost_connections_needs_no_second_threshold() {
    let mut old = Stage::new(exact(), keys(2));
    for _ in 0..3 {
        lose(&mut old);
    }
    let mut new = restarted(&old, &stored(&old), 30);
    lose(&mut new);
    assert_eq!(new.waits(), [secs(60)]);
}

#[test]
fn a_clock_that_was_wrong_does_not_close_a_key_for_years() {
    let mut old = Stage::new(exact(), keys(1));
    old.now.wall += TimeDelta::days(3000);
    old.serve(MODEL, fault(Kind::QuotaDay, Wait::DailyReset));
    old.now.wall -= TimeDelta::days(3000);
    let mut new = restarted(&old, &stored(&old), 0);
    assert_eq!(new.back_in(MODEL), secs(26 * 3600));
}

#[test]
fn a_success_is_kept_too() {
    let mut old = Stage::new(exact(), keys(1));
    old.serve(MODEL, fault(Kind::QuotaBare, Wait::Backoff));
    old.pass(secs(15));
    assert_eq!(stored(&old).len(), 1);
    old.serve(MODEL, Outcome::Success);
    assert_eq!(stored(&old), []);
    assert_eq!(old.records(), []);
}

#[test]
fn keys_that_are_gone_are_passed_by_and_later_reasons_are_understood() {
    let mut stage = Stage::new(exact(), keys(1));
    let records: Vec<Record> = serde_json::from_str(
        r#"[{"subject":"key","key":"gone","standing":"retired","reason":"key_invalid"},
            {"subject":"model","project":{"project":"gone"},"model":"m","standing":"open"},
            {"subject":"key","key":"k0","standing":"retired","reason":"a_reason_of_next_year","disabled":false}]"#,
    )
    .unwrap();
    stage.pool.restore(records, stage.now);
    assert_eq!(stage.refusal(MODEL), Refusal::AllRetired);
    assert_eq!(stage.records().len(), 1);
}

#[test]
fn leases_of_the_former_incarnation_still_count_and_are_not_counted() {
    let mut old = Stage::new(exact(), keys(2));
    let old_grants: Vec<_> = (0..4).map(|_| old.lease(MODEL)).collect();
    let mut new = restarted(&old, &[], 0);
    let own = new.lease(MODEL);
    assert_eq!(own.key, old_grants[0].key);
    new.settle(&old_grants[0], MODEL, Outcome::Success);
    new.settle(&old_grants[1], MODEL, fault(Kind::KeyInvalid, Wait::Retire));
    assert_eq!(new.pool.in_flight(), 1);
    let snapshot = new.pool.snapshot(new.now);
    assert_eq!((snapshot.keys[0].in_flight, snapshot.keys[1].in_flight), (1, 0));
    assert_eq!(snapshot.counts.retired, 1);
    // They were granted before any cooldown here began: no further step.
    new.settle(&own, MODEL, fault(Kind::QuotaBare, Wait::Backoff));
    new.settle(&old_grants[2], MODEL, fault(Kind::QuotaBare, Wait::Backoff));
    assert_eq!(new.back_in(MODEL), secs(15));
    new.pass(secs(15));
    let probe = new.lease(MODEL);
    new.settle(&old_grants[2], MODEL, Outcome::Success);
    new.refusal(MODEL);
    new.settle(&probe, MODEL, Outcome::Success);
    new.lease(MODEL);
}

#[test]
fn a_ticket_of_the_former_incarnation_cancels_nobody() {
    let wait = |stage: &mut Stage| {
        stage.serve(MODEL, fault(Kind::QuotaMinute, Wait::For(secs(10))));
        stage.wait(MODEL)
    };
    let mut old = Stage::new(exact(), keys(1));
    let old_ticket = wait(&mut old);
    let mut new = restarted(&old, &[], 0);
    let ticket = wait(&mut new);
    assert!(!new.pool.cancel(old_ticket));
    assert!(new.pool.cancel(ticket));
}
