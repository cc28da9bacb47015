//! A real file under random damage: opening it never panics, and what it then holds is right, or it said what it lost.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "functions that tests call are tests too")]

use std::{collections::BTreeMap, fs, path::Path};

use chrono::DateTime;
use fastrand::Rng;
use gemini_balance_store::{Change, Condition, RecordId, Records, Sqlite, StoreError, Stored};
use tempfile::TempDir;

type Texts = BTreeMap<RecordId, Stored>;

fn put(n: u32, round: u32) -> Change {
    let long = if n.is_multiple_of(10) { 6_000 } else { 40 };
    let body = format!("{{\"n\":{n},\"round\":{round},\"text\":\"{}\"}}", "abcdefgh".repeat(long / 8));
    let updated = DateTime::from_timestamp_micros(1_767_225_600_000_000 + i64::from(round)).unwrap();
    Change::Put(Stored { id: RecordId::new("key", format!("k-{n:04}")), body, updated })
}

fn load(store: &mut Sqlite) -> Texts {
    store.load().unwrap().into_iter().map(|stored| (stored.id.clone(), stored)).collect()
}

/// In memory where there is such a place: what a disk keeps is not the question here, and waiting for it takes long.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Damages the bytes and says how.
fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) -> String {
    let at = rng.usize(..bytes.len());
    match rng.u32(..10) {
        0..3 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        3..7 => {
            let bit = rng.u32(..8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
        // The header and the schema decide how the rest is read.
        7 => {
            let (at, bit) = (rng.usize(..bytes.len().min(120)), rng.u32(..8));
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
        8 => {
            let end = bytes.len().min(at + 512);
            bytes[at..end].fill(0);
            format!("{at}..{end} zeroed")
        }
        _ => {
            for _ in 0..8 {
                let at = rng.usize(..bytes.len());
                bytes[at] = rng.u8(..);
            }
            "eight bytes replaced".to_owned()
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    intact: u32,
    repaired: u32,
    quarantined: u32,
    refused: u32,
    cut_off: u32,
    earlier: u32,
}

/// Opens the damaged store and holds it to what it says about itself. `states` are those after each batch, the newest last.
fn open(path: &Path, states: &[Texts], what: &str, seen: &mut Seen) {
    let newest = states.last().unwrap();
    let mut opened = match Sqlite::open(path) {
        Ok(opened) => opened,
        // Its version is in the header, where a flipped bit makes it another.
        Err(StoreError::Newer { .. }) => {
            seen.refused += 1;
            return;
        }
        Err(error) => panic!("{what}: {error}"),
    };
    let found = load(&mut opened.store);
    match &opened.condition {
        Condition::Intact if opened.cut_off_bytes.is_some() => {
            seen.cut_off += 1;
            assert!(states.contains(&found), "{what}: not the state after any batch");
        }
        Condition::Intact if found == *newest => seen.intact += 1,
        Condition::Intact => {
            // Only a log that was cut can pass for a shorter one.
            assert!(
                states.contains(&found) && what.starts_with("log cut"),
                "{what}: wrong and nothing was said"
            );
            seen.earlier += 1;
        }
        Condition::Repaired { dropped, rows_kept, .. } => {
            seen.repaired += 1;
            assert_eq!(usize::try_from(*rows_kept).unwrap(), found.len());
            let lost = dropped.len();
            assert!(found.values().all(|stored| newest[&stored.id] == *stored), "{what}: {lost} dropped");
        }
        Condition::Quarantined { to, .. } => {
            seen.quarantined += 1;
            assert!(to.exists() && found.is_empty(), "{what}");
        }
        Condition::Fresh => panic!("{what}: taken for nothing"),
    }
    // Whatever it was, it serves now.
    opened.store.save(&[put(9_999, 0)]).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(load(&mut opened.store).len(), found.len() + 1, "{what}");
}

#[test]
fn a_damaged_file_is_right_or_tells_what_it_lost_1000_times() {
    let folder = folder();
    let original = folder.path().join("original.db");
    let mut store = Sqlite::open(&original).unwrap().store;
    store.save(&(0..120).map(|n| put(n, 0)).collect::<Vec<_>>()).unwrap();
    // Some history, so that there are free pages and gaps in others.
    store
        .save(&(0..60).map(|n| Change::Forget(RecordId::new("key", format!("k-{n:04}")))).collect::<Vec<_>>())
        .unwrap();
    store.save(&(40..80).map(|n| put(n, 1)).collect::<Vec<_>>()).unwrap();
    let states = [load(&mut store)];
    drop(store);
    let original = fs::read(original).unwrap();

    let (mut rng, mut seen) = (Rng::with_seed(20_260_718), Seen::default());
    for turn in 0..1_000 {
        let place = tempfile::tempdir_in(folder.path()).unwrap();
        let path = place.path().join("store.db");
        let mut bytes = original.clone();
        let what = format!("turn {turn}, {}", damage(&mut bytes, &mut rng));
        fs::write(&path, &bytes).unwrap();
        open(&path, &states, &what, &mut seen);
    }
    println!("{seen:?}");
    assert!(seen.intact > 0 && seen.repaired > 0 && seen.quarantined > 0 && seen.refused > 0, "{seen:?}");
    assert_eq!(seen.earlier + seen.cut_off, 0, "{seen:?}");
}

#[test]
fn a_damaged_log_leaves_the_state_after_some_batch_and_tells() {
    let folder = folder();
    let path = folder.path().join("original.db");
    let mut store = Sqlite::open(&path).unwrap().store;
    store.save(&(0..40).map(|n| put(n, 0)).collect::<Vec<_>>()).unwrap();
    store.sync().unwrap();
    let mut states = vec![Texts::new(), load(&mut store)];
    for round in 1..12 {
        let batch: Vec<_> = (round..round + 10).map(|n| put(n, round)).collect();
        store.save(&batch).unwrap();
        states.push(load(&mut store));
    }
    let (file, log) = (fs::read(&path).unwrap(), fs::read(folder.path().join("original.db-wal")).unwrap());

    let (mut rng, mut seen) = (Rng::with_seed(20_260_719), Seen::default());
    for turn in 0..200 {
        let place = tempfile::tempdir_in(folder.path()).unwrap();
        let path = place.path().join("store.db");
        let mut bytes = log.clone();
        let how = damage(&mut bytes, &mut rng);
        fs::write(&path, &file).unwrap();
        fs::write(place.path().join("store.db-wal"), &bytes).unwrap();
        open(&path, &states, &format!("log {how}, turn {turn}"), &mut seen);
    }
    println!("{seen:?}");
    assert!(seen.cut_off > 100, "{seen:?}");
}
