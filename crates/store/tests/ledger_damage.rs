//! A ledger in a damaged file: a holding that is found is right, and damage to the ledger's rows costs no records.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "functions that tests call are tests too")]

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use gemini_balance_store::{
    Change, Condition, Holding, Ledger, LedgerChange, RecordId, Records, Sqlite, StoreError, Stored, Upkeep,
};
use rusqlite::Connection;
use tempfile::TempDir;

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600 + minutes * 60, 0).unwrap()
}

fn name(n: u32) -> String {
    format!("files/{n:06}")
}

fn held(n: u32, key: &str) -> Holding {
    Holding {
        name: name(n),
        key: key.to_owned(),
        project: n.is_multiple_of(2).then(|| "research".to_owned()),
        caller: n.is_multiple_of(3).then(|| format!("caller-{n}")),
        expires: n.is_multiple_of(4).then(|| at(i64::from(n))),
        address: n.is_multiple_of(5).then(|| format!("/upload/v1beta/files?upload_id={n}")),
        made: at(i64::from(n) - 1_000_000),
    }
}

fn put(n: u32, key: &str) -> LedgerChange {
    LedgerChange::Put(held(n, key))
}

fn record_of(key: &str) -> Stored {
    Stored { id: RecordId::new("key", key), body: "{\"standing\":\"open\"}".to_owned(), updated: at(0) }
}

fn find(store: &mut Sqlite, all: Range<u32>) -> Result<Vec<Option<Holding>>, StoreError> {
    find_at(store, all, at(-1))
}

fn find_at(
    store: &mut Sqlite,
    all: Range<u32>,
    now: DateTime<Utc>,
) -> Result<Vec<Option<Holding>>, StoreError> {
    let names: Vec<_> = all.map(name).collect();
    store.find(&names.iter().map(String::as_str).collect::<Vec<_>>(), now)
}

/// In memory where there is such a place: what a disk keeps is not the question here, and waiting for it takes long.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(path: &Path) -> Sqlite {
    let opened = Sqlite::open(path).unwrap();
    assert!(matches!(opened.condition, Condition::Fresh | Condition::Intact), "{}", opened.condition);
    opened.store
}

/// A closed store of 5,000 holdings and two records that is too large to be checked whole.
fn large(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("store.db");
    let mut store = open(&path);
    store.save(&["one", "two"].map(|key| Change::Put(record_of(key)))).unwrap();
    store.record(&(0..5_000).map(|n| put(n, "key")).collect::<Vec<_>>()).unwrap();
    let address = Some("x".repeat(40 << 20));
    store.record(&[LedgerChange::Put(Holding { address, ..held(9_999, "key") })]).unwrap();
    path
}

/// Where a text stands in the bytes, everywhere.
fn places_of(bytes: &[u8], text: &str) -> Vec<usize> {
    let ends = text.len()..=bytes.len();
    ends.map(|end| end - text.len()).filter(|&at| bytes[at..].starts_with(text.as_bytes())).collect()
}

/// Zeroes the pages that hold the text.
fn break_pages(path: &Path, text: &str) {
    let mut bytes = fs::read(path).unwrap();
    for at in places_of(&bytes, text) {
        bytes[at / 4_096 * 4_096..][..4_096].fill(0);
    }
    fs::write(path, bytes).unwrap();
}

/// Zeroes the first page of a table.
fn break_root(path: &Path, table: &str) {
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let root: u32 = Connection::open(path).unwrap().query_row(sql, [table], |row| row.get(0)).unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes[usize::try_from(root - 1).unwrap() * 4_096..][..4_096].fill(0);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_holding_found_in_a_damaged_file_is_right_1000_times() {
    const ALL: u32 = 150;
    let folder = folder();
    let original = folder.path().join("original.db");
    let mut store = open(&original);
    store.save(&[Change::Put(record_of("one"))]).unwrap();
    store.record(&(0..ALL).map(|n| put(n, "former")).collect::<Vec<_>>()).unwrap();
    // Some history, so that there are free pages and gaps in others.
    store.record(&(0..60).map(|n| LedgerChange::Forget(name(n))).collect::<Vec<_>>()).unwrap();
    store.record(&(0..ALL).map(|n| put(n, "latter")).collect::<Vec<_>>()).unwrap();
    drop(store);
    let original = fs::read(original).unwrap();

    let (mut rng, mut untouched, mut lossy, mut quarantined) = (Rng::with_seed(20_261_126), 0, 0, 0);
    for turn in 0..1_000 {
        let place = tempfile::tempdir_in(folder.path()).unwrap();
        let path = place.path().join("store.db");
        let mut bytes = original.clone();
        for _ in 0..rng.u32(1..4) {
            // Behind the first page: what damage to the header and the schema does is another test's question.
            let at = rng.usize(4_096..bytes.len());
            bytes[at] ^= 1 << rng.u32(..8);
        }
        fs::write(&path, &bytes).unwrap();
        let mut opened = Sqlite::open(&path).unwrap();
        let store = &mut opened.store;
        if let Condition::Quarantined { .. } = opened.condition {
            quarantined += 1;
            assert_eq!(find(store, 0..ALL).unwrap().iter().flatten().count(), 0, "turn {turn}");
            continue;
        }
        if opened.condition == Condition::Intact {
            assert_eq!(store.load().unwrap(), [record_of("one")], "turn {turn}");
        }
        let found = find(store, 0..ALL).unwrap();
        for (n, found) in (0..).zip(&found) {
            assert!(found.as_ref().is_none_or(|found| *found == held(n, "latter")), "turn {turn}: {n}");
        }
        let lost = found.iter().filter(|found| found.is_none()).count();
        *(if lost == 0 { &mut untouched } else { &mut lossy }) += 1;
        for newest in store.newest(usize::MAX, at(-1)).unwrap() {
            let n = newest.name.strip_prefix("files/").unwrap().parse().unwrap();
            assert!(newest == held(n, "latter"), "turn {turn}: {n}");
        }
        // What expires takes nothing else with it, and what is put now is found.
        store.expire(at(70), usize::MAX).unwrap();
        let expected: Vec<_> =
            found.into_iter().map(|found| found.filter(|held| !held.has_expired(at(70)))).collect();
        assert!(find_at(store, 0..ALL, at(70)).unwrap() == expected, "turn {turn}");
        store.record(&(0..ALL).map(|n| put(n, "next")).collect::<Vec<_>>()).unwrap();
        let expected: Vec<_> = (0..ALL).map(|n| Some(held(n, "next"))).collect();
        assert!(find(store, 0..ALL).unwrap() == expected, "turn {turn}");
    }
    println!("{untouched} untouched, {lossy} lossy, {quarantined} quarantined");
    assert!(untouched > 0 && lossy > 200 && quarantined > 0);
}

#[test]
fn a_row_with_a_wrong_checksum_is_not_there_and_goes_with_the_next_batch() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let (mut store, mut other) = (open(&path), open(&path));
    let tampering = Connection::open(&path).unwrap();
    let rows = |table: &str| -> i64 {
        tampering.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    for change in [
        "key = 'another'",
        "project = 'another'",
        "project = NULL",
        "caller = NULL",
        "caller = ''",
        "expires_us = NULL",
        "expires_us = expires_us + 1",
        "address = '/'",
        "made_us = made_us - 1",
        "checksum = checksum + 1",
        "key = CAST(x'ff' AS TEXT)",
    ] {
        // Number 0 has every field.
        store.record(&[put(0, "key"), put(1, "key")]).unwrap();
        tampering.execute(&format!("UPDATE holdings SET {change} WHERE name = ?1"), [name(0)]).unwrap();
        assert!(find(&mut store, 0..2).unwrap() == [None, Some(held(1, "key"))], "{change}");
        assert_eq!(store.newest(9, at(-1)).unwrap(), [held(1, "key")], "{change}");
        assert_eq!(rows("holdings"), 2, "{change}");
        store.record(&[]).unwrap();
        assert_eq!(rows("holdings"), 1, "{change}");
    }
    // Unless it is there again by then.
    store.record(&[put(0, "key")]).unwrap();
    tampering.execute_batch("UPDATE holdings SET key = 'another'").unwrap();
    assert!(find(&mut store, 0..2).unwrap() == [None, None]);
    other.record(&[put(0, "next")]).unwrap();
    store.record(&[put(2, "key")]).unwrap();
    assert!(find(&mut store, 0..3).unwrap() == [Some(held(0, "next")), None, Some(held(2, "key"))]);
    // What damaged rows left behind among the orders is met with the expired, and goes.
    store.expire(at(1_000_000), usize::MAX).unwrap();
    assert_eq!((rows("holdings"), rows("holdings_by_expiry")), (1, 0));
}

#[test]
fn rows_out_of_order_are_put_into_order_and_cost_no_record() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let mut store = open(&path);
    store.save(&[Change::Put(record_of("one"))]).unwrap();
    store.record(&(0..100).map(|n| put(n, "key")).collect::<Vec<_>>()).unwrap();
    drop(store);
    // The first letter of one name, wherever it stands.
    let mut bytes = fs::read(&path).unwrap();
    for at in places_of(&bytes, &name(44)) {
        bytes[at] = b'z';
    }
    fs::write(&path, bytes).unwrap();
    let mut store = open(&path);
    assert_eq!(store.load().unwrap(), [record_of("one")]);
    let found = find(&mut store, 0..100).unwrap();
    for (n, found) in (0..).zip(found) {
        assert_eq!(found, (n != 44).then(|| held(n, "key")));
    }
    assert_eq!(store.newest(usize::MAX, at(-1)).unwrap().len(), 99);
    assert_eq!(store.expire(at(99), usize::MAX).unwrap(), 24);
    drop(store);
    let check = Connection::open(&path).unwrap();
    let verdict: String = check.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    open(&path);
}

#[test]
fn a_broken_page_of_a_large_ledger_is_met_when_it_is_read_and_the_next_opening_moves_the_file_aside() {
    let folder = folder();
    let path = large(&folder);
    break_pages(&path, &name(2_500));
    let mut store = open(&path);
    assert_eq!(store.load().unwrap().len(), 2, "the records are not affected");
    assert!(find(&mut store, 0..1).unwrap() == [Some(held(0, "key"))]);
    let error = find(&mut store, 0..5_000).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    drop(store);
    let mut opened = Sqlite::open(&path).unwrap();
    assert!(matches!(opened.condition, Condition::Quarantined { .. }), "{}", opened.condition);
    opened.store.record(&[put(2_500, "key")]).unwrap();
    drop(opened);
    assert!(find(&mut open(&path), 2_500..2_501).unwrap() == [Some(held(2_500, "key"))]);
}

#[test]
fn a_false_suspicion_is_dropped() {
    let folder = folder();
    let path = large(&folder);
    let mark = folder.path().join("store.db-suspect");
    fs::write(&mark, "").unwrap();
    let mut store = open(&path);
    assert!(!mark.exists() && find(&mut store, 0..5_000).unwrap().iter().all(Option::is_some));
}

#[test]
fn the_records_beside_a_large_ledger_are_examined_as_ever() {
    let folder = folder();
    let path = large(&folder);
    let original = fs::read(&path).unwrap();
    let mut bytes = original.clone();
    for at in places_of(&original, "standing").into_iter().take(1) {
        bytes[at] = b'S';
    }
    fs::write(&path, bytes).unwrap();
    let mut opened = Sqlite::open(&path).unwrap();
    assert!(
        matches!(&opened.condition, Condition::Repaired { dropped, rows_kept: 1, .. } if dropped.len() == 1),
        "{}",
        opened.condition
    );
    assert!(find(&mut opened.store, 0..5_000).unwrap().iter().all(Option::is_some));
    drop(opened);
    // So is the list of free pages, of which the header keeps the count.
    let mut bytes = original.clone();
    bytes[39] ^= 1;
    fs::write(&path, bytes).unwrap();
    let opened = Sqlite::open(&path).unwrap();
    assert!(matches!(opened.condition, Condition::Quarantined { .. }), "{}", opened.condition);
    drop(opened);
    for table in ["records", "tally"] {
        fs::write(&path, &original).unwrap();
        break_root(&path, table);
        let opened = Sqlite::open(&path).unwrap();
        assert!(matches!(opened.condition, Condition::Quarantined { .. }), "{table}: {}", opened.condition);
    }
}

#[test]
fn a_long_ledger_is_swept_bit_by_bit() {
    let folder = folder();
    let mut store = open(&folder.path().join("store.db"));
    let soon = |n: u32| {
        LedgerChange::Put(Holding { expires: Some(at(0) + TimeDelta::seconds(n.into())), ..held(n, "key") })
    };
    store.record(&(0..10_000).map(soon).collect::<Vec<_>>()).unwrap();
    let mut swept = 0;
    while swept < 6_001 {
        let now = store.expire(at(100), 1_000).unwrap();
        assert!(now == 1_000 || now == 1);
        swept += now;
    }
    assert_eq!((swept, store.expire(at(100), 1_000).unwrap()), (6_001, 0));
    assert_eq!(store.newest(usize::MAX, at(0)).unwrap().len(), 3_999);
}
