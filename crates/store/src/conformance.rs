//! The rules every implementation of [`Records`] and [`Ledger`](crate::Ledger) keeps, as checks that panic. An
//! implementation's tests give a [`Place`] and call [`records`], [`ledger`] and [`upkeep`]; each rule gets an empty place of its own.

#![allow(clippy::expect_used, reason = "a check that fails is to panic")]

mod holdings;
mod response_book;
mod upkeep;
mod usage_book;
mod vault;

use std::thread;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{Change, RecordId, Records, Stored};
pub use holdings::{LedgerPlace, ledger};
pub use response_book::response_book;
pub use upkeep::upkeep;
pub use usage_book::{BookPlace, usage_book};
pub use vault::{VaultPlace, vault};

/// Where records and a ledger are kept, from which they can be opened again and again.
pub trait Place {
    /// A handle on them.
    type Store: crate::Store + 'static;

    /// Opens one more handle. The place was empty when the first one was opened.
    fn open(&self) -> Self::Store;
}

/// Holds an implementation against every rule.
pub fn records<P: Place>(new_place: impl Fn() -> P) {
    let rules: [fn(&P); 10] = [
        an_empty_store_has_no_records,
        a_record_comes_back_as_it_was_put,
        a_record_replaces_the_one_with_its_id,
        a_forgotten_record_is_gone,
        a_batch_is_carried_out_in_its_order,
        records_come_in_the_order_of_their_ids,
        texts_come_back_byte_for_byte,
        large_bodies_and_many_records_are_kept,
        what_was_saved_is_there_for_every_other_handle_and_the_next_one,
        nobody_sees_half_a_batch,
    ];
    for rule in rules {
        rule(&new_place());
    }
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_767_225_600_123_456).expect("a time")
}

fn stored(key: &str, body: &str) -> Stored {
    Stored { id: RecordId::new("key", key), body: body.to_owned(), updated: start() }
}

fn put(key: &str, body: &str) -> Change {
    Change::Put(stored(key, body))
}

fn forget(key: &str) -> Change {
    Change::Forget(RecordId::new("key", key))
}

fn save(store: &mut impl Records, batch: &[Change]) {
    store.save(batch).expect("a batch is saved");
}

fn load(store: &mut impl Records) -> Vec<Stored> {
    store.load().expect("the records load")
}

fn an_empty_store_has_no_records(place: &impl Place) {
    let mut store = place.open();
    assert_eq!(load(&mut store), []);
    save(&mut store, &[]);
    save(&mut store, &[forget("never there")]);
    assert_eq!(load(&mut store), []);
}

fn a_record_comes_back_as_it_was_put(place: &impl Place) {
    let mut store = place.open();
    let record = stored("one", r#"{"standing":"open"}"#);
    // What is finer than a microsecond is not kept.
    let finer = Stored { updated: record.updated + TimeDelta::nanoseconds(789), ..record.clone() };
    save(&mut store, &[Change::Put(finer)]);
    assert_eq!(load(&mut store), [record]);
}

fn a_record_replaces_the_one_with_its_id(place: &impl Place) {
    let mut store = place.open();
    save(&mut store, &[put("one", "1"), put("two", "2")]);
    let later = Stored { updated: start() + TimeDelta::days(1), ..stored("one", "3") };
    save(&mut store, &[Change::Put(later.clone())]);
    assert_eq!(load(&mut store), [later, stored("two", "2")]);
    // The newest that is put counts, not the one with the latest time.
    save(&mut store, &[put("one", "4")]);
    assert_eq!(load(&mut store), [stored("one", "4"), stored("two", "2")]);
}

fn a_forgotten_record_is_gone(place: &impl Place) {
    let mut store = place.open();
    save(&mut store, &[put("one", "1"), put("two", "2")]);
    save(&mut store, &[forget("one"), forget("one")]);
    assert_eq!(load(&mut store), [stored("two", "2")]);
    save(&mut store, &[put("one", "again")]);
    assert_eq!(load(&mut store), [stored("one", "again"), stored("two", "2")]);
}

fn a_batch_is_carried_out_in_its_order(place: &impl Place) {
    let mut store = place.open();
    save(&mut store, &[put("a", "1"), put("a", "2"), forget("b"), put("b", "1"), put("c", "1"), forget("c")]);
    assert_eq!(load(&mut store), [stored("a", "2"), stored("b", "1")]);
}

fn records_come_in_the_order_of_their_ids(place: &impl Place) {
    let mut store = place.open();
    let ids = [
        ("model", "a"),
        ("key", "b"),
        ("key", "a2"),
        ("key", "Z"),
        ("key", "ä"),
        ("key", "a10"),
        ("key", ""),
    ];
    let mut all = ids.map(|(kind, key)| Stored { id: RecordId::new(kind, key), ..stored("", "{}") });
    save(&mut store, &all.clone().map(Change::Put));
    all.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(load(&mut store), all);
}

fn texts_come_back_byte_for_byte(place: &impl Place) {
    let mut store = place.open();
    // Two ways to write the same letter are two keys; so are capitals. NUL ends nothing, quotes quote nothing.
    let keys = [
        "é",
        "e\u{301}",
        "key",
        "KEY",
        "nul\0here",
        "nul\0there",
        "'; DROP TABLE records; --",
        "%_",
        " ",
        "🔑 ключ 鍵",
    ];
    let mut all = keys.map(|key| stored(key, &format!("{{\"of\":\"{key}\u{feff}\u{10ffff}\r\n\"}}")));
    save(&mut store, &all.clone().map(Change::Put));
    all.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(load(&mut store), all);
    save(&mut store, &keys.map(forget));
    assert_eq!(load(&mut store), []);
}

fn large_bodies_and_many_records_are_kept(place: &impl Place) {
    const MIB: usize = 1 << 20;
    let mut store = place.open();
    let mut all: Vec<_> =
        (0..10_000).map(|n| stored(&format!("{n:05}"), &format!("{{\"n\":{n}}}"))).collect();
    all.push(stored("large", &"0123456789abcdef".repeat(MIB / 16)));
    save(&mut store, &all.iter().cloned().map(Change::Put).collect::<Vec<_>>());
    assert_eq!(load(&mut store).len(), 10_001);
    assert!(load(&mut place.open()) == all, "10,000 records and a large one come back as they were");
    save(&mut store, &(0..10_000).map(|n| forget(&format!("{n:05}"))).collect::<Vec<_>>());
    assert!(load(&mut store) == all[10_000..], "only the large one is left");
}

fn what_was_saved_is_there_for_every_other_handle_and_the_next_one(place: &impl Place) {
    let mut one = place.open();
    let mut other = place.open();
    for round in 0..10 {
        save(&mut one, &[put("a", &round.to_string())]);
        assert_eq!(load(&mut other)[0], stored("a", &round.to_string()));
        save(&mut other, &[put("b", &round.to_string())]);
        assert_eq!(load(&mut one)[1], stored("b", &round.to_string()));
        one.sync().expect("one handle syncs while another is open");
    }
    drop(one);
    save(&mut other, &[put("c", "after the first was closed")]);
    let all = load(&mut other);
    drop(other);
    assert_eq!(load(&mut place.open()), all);
    assert_eq!(all.len(), 3);
}

fn nobody_sees_half_a_batch(place: &impl Place) {
    const BATCHES: usize = 100;
    let (mut writer, mut reader) = (place.open(), place.open());
    let writing = thread::spawn(move || {
        for batch in 0..BATCHES {
            let changes: Vec<_> = (0..50).map(|n| put(&n.to_string(), &batch.to_string())).collect();
            save(&mut writer, &changes);
        }
    });
    loop {
        let over = writing.is_finished();
        let seen = load(&mut reader);
        assert!(seen.is_empty() || seen.len() == 50);
        assert!(seen.iter().all(|record| record.body == seen[0].body), "all of one batch");
        if over {
            assert_eq!(seen.first().map(|record| record.body.clone()), Some((BATCHES - 1).to_string()));
            break;
        }
    }
    writing.join().expect("the writer ends well");
}
