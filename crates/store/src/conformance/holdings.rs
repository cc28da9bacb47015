//! The rules for a ledger.

use std::thread;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Place, start};
use crate::{Holding, Ledger, LedgerChange};

/// Where a ledger is kept, from which it can be opened again and again. Every [`Place`] is one.
pub trait LedgerPlace {
    /// A handle on it.
    type Ledger: Ledger + 'static;

    /// Whether all of a batch is seen at once.
    const WHOLE_BATCHES: bool;

    /// Opens one more handle. The place was empty when the first one was opened.
    fn open(&self) -> Self::Ledger;

    /// Returns the moment in which the rules begin. A ledger that drops by the real clock what has expired is given one to
    /// come.
    fn start(&self) -> DateTime<Utc>;
}

impl<P: Place> LedgerPlace for P {
    type Ledger = P::Store;

    const WHOLE_BATCHES: bool = true;

    fn open(&self) -> P::Store {
        Place::open(self)
    }

    fn start(&self) -> DateTime<Utc> {
        start()
    }
}

/// Holds an implementation against every rule for a ledger.
pub fn ledger<P: LedgerPlace>(new_place: impl Fn() -> P) {
    let rules: [fn(&P); 9] = [
        an_empty_ledger_finds_nothing,
        a_holding_comes_back_as_it_was_put,
        a_holding_replaces_the_one_with_its_name,
        a_forgotten_holding_is_gone,
        changes_are_carried_out_in_their_order,
        answers_come_in_the_order_asked,
        names_and_texts_come_back_byte_for_byte,
        a_holding_is_there_until_the_moment_it_expires,
        nobody_sees_half_a_batch_of_holdings,
    ];
    for rule in rules {
        rule(&new_place());
    }
}

fn at(place: &impl LedgerPlace, minutes: i64) -> DateTime<Utc> {
    place.start() + TimeDelta::minutes(minutes)
}

pub(super) fn held(name: &str, key: &str) -> Holding {
    Holding {
        name: name.to_owned(),
        key: key.to_owned(),
        project: None,
        caller: None,
        expires: None,
        address: None,
        made: start(),
    }
}

fn until(name: &str, expires: DateTime<Utc>) -> Holding {
    Holding { expires: Some(expires), ..held(name, "key") }
}

pub(super) fn put(name: &str, key: &str) -> LedgerChange {
    LedgerChange::Put(held(name, key))
}

pub(super) fn forget(name: &str) -> LedgerChange {
    LedgerChange::Forget(name.to_owned())
}

pub(super) fn record(ledger: &mut impl Ledger, batch: &[LedgerChange]) {
    ledger.record(batch).expect("a batch is recorded");
}

pub(super) fn put_all<'a>(ledger: &mut impl Ledger, holdings: impl IntoIterator<Item = &'a Holding>) {
    record(ledger, &holdings.into_iter().cloned().map(LedgerChange::Put).collect::<Vec<_>>());
}

pub(super) fn find(ledger: &mut impl Ledger, names: &[&str]) -> Vec<Option<Holding>> {
    ledger.find(names, start()).expect("the ledger can be read")
}

pub(super) fn keys(ledger: &mut impl Ledger, names: &[&str]) -> Vec<Option<String>> {
    find(ledger, names).into_iter().map(|found| found.map(|holding| holding.key)).collect()
}

fn an_empty_ledger_finds_nothing(place: &impl LedgerPlace) {
    let mut ledger = place.open();
    assert_eq!(find(&mut ledger, &[]), []);
    assert_eq!(find(&mut ledger, &["files/a", ""]), [None, None]);
    record(&mut ledger, &[]);
    record(&mut ledger, &[forget("files/a")]);
}

fn a_holding_comes_back_as_it_was_put(place: &impl LedgerPlace) {
    let mut ledger = place.open();
    let full = Holding {
        name: "uploads/0a1b".to_owned(),
        key: "k-1f2e3d".to_owned(),
        project: Some("research".to_owned()),
        caller: Some("c-77".to_owned()),
        expires: Some(at(place, 7)),
        address: Some("/upload/v1beta/files?upload_id=x&upload_protocol=resumable".to_owned()),
        made: at(place, -1),
    };
    // What is finer than a microsecond is not kept.
    let finer = |time: DateTime<Utc>| time + TimeDelta::nanoseconds(789);
    let given = Holding { made: finer(full.made), expires: full.expires.map(finer), ..full.clone() };
    let bare = held("files/a", "k-1f2e3d");
    // A text that is empty is not one that is missing.
    let empty = Holding {
        project: Some(String::new()),
        caller: Some(String::new()),
        address: Some(String::new()),
        ..held("files/b", "")
    };
    put_all(&mut ledger, [&given, &bare, &empty]);
    let expected = [Some(full), Some(bare), Some(empty)];
    // Compared in parts, since the address is not shown.
    assert!(find(&mut place.open(), &["uploads/0a1b", "files/a", "files/b"]) == expected);
    assert!(!format!("{expected:?}").contains("upload_id"));
}

fn a_holding_replaces_the_one_with_its_name(place: &impl LedgerPlace) {
    let mut ledger = place.open();
    put_all(&mut ledger, [&until("files/a", at(place, 5)), &held("files/b", "1")]);
    // The newest that is put counts, not the one with the latest time; nothing is left of the former one's times.
    let next = Holding { expires: Some(at(place, 50)), made: at(place, -20), ..held("files/a", "2") };
    put_all(&mut ledger, [&next]);
    let found = ledger.find(&["files/a"], at(place, 49)).expect("the ledger can be read");
    assert_eq!(found, [Some(next)]);
    put_all(&mut ledger, [&held("files/a", "3")]);
    let found = ledger.find(&["files/a"], at(place, 9_999)).expect("the ledger can be read");
    assert_eq!(found, [Some(held("files/a", "3"))]);
}

fn a_forgotten_holding_is_gone(place: &impl LedgerPlace) {
    let mut ledger = place.open();
    put_all(&mut ledger, [&until("files/a", at(place, 5)), &held("files/b", "1")]);
    record(&mut ledger, &[forget("files/a"), forget("files/a")]);
    assert_eq!(keys(&mut ledger, &["files/a", "files/b"]), [None, Some("1".to_owned())]);
    record(&mut ledger, &[put("files/a", "again")]);
    assert_eq!(keys(&mut ledger, &["files/a"]), [Some("again".to_owned())]);
}

fn changes_are_carried_out_in_their_order(place: &impl LedgerPlace) {
    let mut ledger = place.open();
    let batch = [put("a", "1"), put("a", "2"), forget("b"), put("b", "1"), put("c", "1"), forget("c")];
    record(&mut ledger, &batch);
    let expected = [Some("2".to_owned()), Some("1".to_owned()), None];
    assert_eq!(keys(&mut ledger, &["a", "b", "c"]), expected);
}

fn answers_come_in_the_order_asked(place: &impl LedgerPlace) {
    let mut ledger = place.open();
    let all: Vec<_> = (0..2_000).map(|n| held(&format!("files/{n}"), &n.to_string())).collect();
    put_all(&mut ledger, &all);
    let names: Vec<_> = (0..2_100).rev().map(|n| format!("files/{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).chain(["files/7", "files/7"]).collect();
    let found = find(&mut ledger, &names);
    assert_eq!(found.len(), names.len());
    for (name, found) in names.iter().zip(found) {
        let expected = all.iter().find(|holding| holding.name == *name);
        assert_eq!(found.as_ref(), expected, "{name}");
    }
}

fn names_and_texts_come_back_byte_for_byte(place: &impl LedgerPlace) {
    let mut ledger = place.open();
    let names = [
        "é",
        "e\u{301}",
        "files/a",
        "files/A",
        "nul\0here",
        "nul\0there",
        "'; DROP TABLE holdings; --",
        "%_",
        "",
    ];
    let all = names.map(|name| Holding {
        project: Some(format!("{name}\u{feff}\u{10ffff}")),
        caller: Some(format!("\0{name}\r\n")),
        address: Some(name.repeat(10_000)),
        ..held(name, name)
    });
    put_all(&mut ledger, &all);
    assert!(find(&mut place.open(), &names) == all.map(Some));
    record(&mut ledger, &names.map(forget));
    assert_eq!(find(&mut ledger, &names), [const { None }; 9]);
}

fn a_holding_is_there_until_the_moment_it_expires(place: &impl LedgerPlace) {
    let mut ledger = place.open();
    let end = at(place, 5);
    put_all(&mut ledger, [&until("files/a", end), &held("files/b", "key")]);
    let instant = TimeDelta::nanoseconds(1);
    for (now, is_there) in
        [(at(place, -9_999), true), (end - instant, true), (end, false), (at(place, 9_999), false)]
    {
        let found = ledger.find(&["files/a", "files/b"], now).expect("the ledger can be read");
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [is_there, true], "{now}");
    }
}

fn nobody_sees_half_a_batch_of_holdings<P: LedgerPlace>(place: &P) {
    const BATCHES: usize = 100;
    let (mut writer, mut reader) = (place.open(), place.open());
    let names: Vec<_> = (0..20).map(|n| format!("files/{n}")).collect();
    let writing = thread::spawn({
        let names = names.clone();
        move || {
            for batch in 0..BATCHES {
                let batch = batch.to_string();
                record(&mut writer, &names.iter().map(|name| put(name, &batch)).collect::<Vec<_>>());
            }
        }
    });
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    loop {
        let over = writing.is_finished();
        let seen = keys(&mut reader, &names);
        let is_whole = seen.iter().all(|key| *key == seen[0]);
        assert!(is_whole || !(P::WHOLE_BATCHES || over), "all of one batch");
        if over {
            assert_eq!(seen[0], Some((BATCHES - 1).to_string()));
            break;
        }
    }
    writing.join().expect("the writer ends well");
}
