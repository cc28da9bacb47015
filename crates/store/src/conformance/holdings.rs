//! The rules for a ledger.

use std::thread;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Place, put as put_record, save, start};
use crate::{Holding, Ledger, LedgerChange, Records};

/// Holds an implementation against every rule for a ledger.
pub fn ledger<P: Place>(new_place: impl Fn() -> P) {
    let rules: [fn(&P); 12] = [
        an_empty_ledger_finds_nothing,
        a_holding_comes_back_as_it_was_put,
        a_holding_replaces_the_one_with_its_name,
        a_forgotten_holding_is_gone,
        changes_are_carried_out_in_their_order,
        answers_come_in_the_order_asked,
        names_and_texts_come_back_byte_for_byte,
        a_holding_is_there_until_the_moment_it_expires,
        expired_holdings_are_removed_some_at_a_time_and_the_oldest_first,
        the_newest_come_first_and_never_an_expired_one,
        records_and_ledger_share_a_place_and_leave_each_other_alone,
        nobody_sees_half_a_batch_of_holdings,
    ];
    for rule in rules {
        rule(&new_place());
    }
}

fn at(minutes: i64) -> DateTime<Utc> {
    start() + TimeDelta::minutes(minutes)
}

fn held(name: &str, key: &str) -> Holding {
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

fn until(name: &str, minutes: i64) -> Holding {
    Holding { expires: Some(at(minutes)), ..held(name, "key") }
}

fn made(name: &str, minutes: i64) -> Holding {
    Holding { made: at(minutes), ..held(name, "key") }
}

fn put(name: &str, key: &str) -> LedgerChange {
    LedgerChange::Put(held(name, key))
}

fn forget(name: &str) -> LedgerChange {
    LedgerChange::Forget(name.to_owned())
}

fn record(ledger: &mut impl Ledger, batch: &[LedgerChange]) {
    ledger.record(batch).expect("a batch is recorded");
}

fn put_all<'a>(ledger: &mut impl Ledger, holdings: impl IntoIterator<Item = &'a Holding>) {
    record(ledger, &holdings.into_iter().cloned().map(LedgerChange::Put).collect::<Vec<_>>());
}

fn find(ledger: &mut impl Ledger, names: &[&str]) -> Vec<Option<Holding>> {
    ledger.find(names, start()).expect("the ledger can be read")
}

fn keys(ledger: &mut impl Ledger, names: &[&str]) -> Vec<Option<String>> {
    find(ledger, names).into_iter().map(|found| found.map(|holding| holding.key)).collect()
}

fn newest(ledger: &mut impl Ledger, at_most: usize, now: DateTime<Utc>) -> Vec<String> {
    let newest = ledger.newest(at_most, now).expect("the ledger can be read");
    newest.into_iter().map(|holding| holding.name).collect()
}

fn expire(ledger: &mut impl Ledger, now: DateTime<Utc>, at_most: usize) -> usize {
    ledger.expire(now, at_most).expect("the ledger can be written")
}

fn an_empty_ledger_finds_nothing(place: &impl Place) {
    let mut ledger = place.open();
    assert_eq!(find(&mut ledger, &[]), []);
    assert_eq!(find(&mut ledger, &["files/a", ""]), [None, None]);
    record(&mut ledger, &[]);
    record(&mut ledger, &[forget("files/a")]);
    assert_eq!(expire(&mut ledger, at(0), 10), 0);
    assert_eq!(newest(&mut ledger, 10, at(0)), [""; 0]);
}

fn a_holding_comes_back_as_it_was_put(place: &impl Place) {
    let mut ledger = place.open();
    let full = Holding {
        name: "uploads/0a1b".to_owned(),
        key: "k-1f2e3d".to_owned(),
        project: Some("research".to_owned()),
        caller: Some("c-77".to_owned()),
        expires: Some(at(7)),
        address: Some("/upload/v1beta/files?upload_id=x&upload_protocol=resumable".to_owned()),
        made: at(-1),
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

fn a_holding_replaces_the_one_with_its_name(place: &impl Place) {
    let mut ledger = place.open();
    put_all(&mut ledger, [&until("files/a", 5), &held("files/b", "1")]);
    // The newest that is put counts, not the one with the latest time; nothing is left of the former one's times.
    let next = Holding { expires: Some(at(50)), made: at(-20), ..held("files/a", "2") };
    put_all(&mut ledger, [&next]);
    assert_eq!(find(&mut ledger, &["files/a"]), [Some(next)]);
    assert_eq!(expire(&mut ledger, at(5), 10), 0);
    assert_eq!(newest(&mut ledger, 10, at(5)), ["files/b", "files/a"]);
    put_all(&mut ledger, [&held("files/a", "3")]);
    assert_eq!(expire(&mut ledger, at(50), 10), 0);
    assert_eq!(keys(&mut ledger, &["files/a"]), [Some("3".to_owned())]);
}

fn a_forgotten_holding_is_gone(place: &impl Place) {
    let mut ledger = place.open();
    put_all(&mut ledger, [&until("files/a", 5), &held("files/b", "1")]);
    record(&mut ledger, &[forget("files/a"), forget("files/a")]);
    assert_eq!(keys(&mut ledger, &["files/a", "files/b"]), [None, Some("1".to_owned())]);
    assert_eq!(expire(&mut ledger, at(5), 10), 0);
    assert_eq!(newest(&mut ledger, 10, at(0)), ["files/b"]);
    record(&mut ledger, &[put("files/a", "again")]);
    assert_eq!(keys(&mut ledger, &["files/a"]), [Some("again".to_owned())]);
}

fn changes_are_carried_out_in_their_order(place: &impl Place) {
    let mut ledger = place.open();
    let batch = [put("a", "1"), put("a", "2"), forget("b"), put("b", "1"), put("c", "1"), forget("c")];
    record(&mut ledger, &batch);
    let expected = [Some("2".to_owned()), Some("1".to_owned()), None];
    assert_eq!(keys(&mut ledger, &["a", "b", "c"]), expected);
}

fn answers_come_in_the_order_asked(place: &impl Place) {
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

fn names_and_texts_come_back_byte_for_byte(place: &impl Place) {
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

fn a_holding_is_there_until_the_moment_it_expires(place: &impl Place) {
    let mut ledger = place.open();
    put_all(&mut ledger, [&until("files/a", 5), &held("files/b", "key")]);
    let instant = TimeDelta::nanoseconds(1);
    for (now, is_there) in [(at(-9_999), true), (at(5) - instant, true), (at(5), false), (at(9_999), false)] {
        let found = ledger.find(&["files/a", "files/b"], now).expect("the ledger can be read");
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [is_there, true], "{now}");
    }
    assert_eq!(expire(&mut ledger, at(5) - instant, 10), 0);
    assert_eq!(expire(&mut ledger, at(5), 10), 1);
    // It is gone for good, whatever the clock says.
    assert_eq!(find(&mut ledger, &["files/a"]), [None]);
}

fn expired_holdings_are_removed_some_at_a_time_and_the_oldest_first(place: &impl Place) {
    let mut ledger = place.open();
    let all: Vec<_> = (0..100).map(|n| until(&format!("files/{n}"), (n * 37) % 100)).collect();
    put_all(&mut ledger, &all);
    assert_eq!(expire(&mut ledger, at(49), 0), 0);
    assert_eq!(expire(&mut ledger, at(49), 30), 30);
    let names: Vec<_> = all.iter().map(|holding| holding.name.as_str()).collect();
    let left = ledger.find(&names, at(-1)).expect("the ledger can be read");
    for (holding, left) in all.iter().zip(left) {
        assert_eq!(left.is_some(), holding.expires >= Some(at(30)), "{}", holding.name);
    }
    assert_eq!([30, 30].map(|at_most| expire(&mut ledger, at(49), at_most)), [20, 0]);
    assert_eq!(expire(&mut ledger, at(200), usize::MAX), 50);
}

fn the_newest_come_first_and_never_an_expired_one(place: &impl Place) {
    let mut ledger = place.open();
    let expiring = Holding { expires: Some(at(60)), ..made("files/d", 40) };
    put_all(&mut ledger, [&made("b", 10), &made("c", 30), &made("a", 10), &expiring, &made("e", -5)]);
    assert_eq!(newest(&mut ledger, 10, at(59)), ["files/d", "c", "a", "b", "e"]);
    assert_eq!(newest(&mut ledger, 2, at(59)), ["files/d", "c"]);
    assert_eq!(newest(&mut ledger, 2, at(60)), ["c", "a"]);
    assert_eq!(newest(&mut ledger, 0, at(60)), [""; 0]);
    let all = ledger.newest(usize::MAX, at(0)).expect("the ledger can be read");
    assert!(all[0] == expiring && all.len() == 5);
}

fn records_and_ledger_share_a_place_and_leave_each_other_alone(place: &impl Place) {
    let (mut one, mut other) = (place.open(), place.open());
    for round in 0..10 {
        let round = round.to_string();
        record(&mut one, &[put("files/a", &round)]);
        save(&mut other, &[put_record("files/a", &round)]);
        assert_eq!(keys(&mut other, &["files/a"]), [Some(round.clone())]);
        assert_eq!(one.load().expect("the records load")[0].body, round);
        one.sync().expect("one handle syncs while another is open");
    }
    record(&mut one, &[forget("files/a")]);
    drop((one, other));
    let mut next = place.open();
    assert_eq!(
        (next.load().expect("the records load").len(), find(&mut next, &["files/a"])),
        (1, vec![None])
    );
}

fn nobody_sees_half_a_batch_of_holdings(place: &impl Place) {
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
        assert!(seen.iter().all(|key| *key == seen[0]), "all of one batch");
        if over {
            assert_eq!(seen[0], Some((BATCHES - 1).to_string()));
            break;
        }
    }
    writing.join().expect("the writer ends well");
}
