//! Both usage books against the rules they share, and the file under kills and damage.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Write, stderr},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use gemini_balance_store::{
    Condition, JournalRow, Retention, Sqlite, StoreError, UsageBook, UsageFile, UsageMemory,
    conformance::{BookPlace, usage_book},
};
use tempfile::TempDir;
use usage::{
    Billable, Column, Cost, Counted, KeyDetail, KeyUse, ModelNames, Query, QueryStep, RequestOutcome, Sample,
    Sums, Times, Totals,
};

const FILE: &str = "USAGE_TEST_FILE";
const START: i64 = 1_767_657_600;
const KEEP: Retention = Retention { minutes_s: 600, hours_s: 7_200, days_s: 400 * 86_400, max_rows: 10_000 };

struct File(TempDir);

impl BookPlace for File {
    type Book = UsageFile;

    fn open(&self) -> UsageFile {
        UsageFile::open(&PathBuf::from(self.0.path()).join("usage.db")).unwrap().store
    }
}

struct SharedBook(UsageMemory);

impl BookPlace for SharedBook {
    type Book = UsageMemory;

    fn open(&self) -> UsageMemory {
        self.0.clone()
    }
}

/// In memory where there is such a place: what a disk keeps is not the question here.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

#[test]
fn the_file_keeps_the_rules() {
    usage_book(|| File(folder()));
}

#[test]
fn memory_keeps_the_rules() {
    usage_book(|| SharedBook(UsageMemory::default()));
}

/// Row `seq` counts one request more than nothing: `seq` rows count `seq` requests.
fn row(node: &str, seq: u64) -> JournalRow {
    let mut sums = Sums::new(START + seq.cast_signed());
    let sample = Sample {
        caller: format!("caller-{}", seq % 5).into(),
        model: Some(format!("model-{}", seq % 3).into()),
        proven: true,
        tries: vec![KeyUse { key: format!("key-{}", seq % 7).into(), project: "project".into() }],
        counted: Counted {
            outcome: RequestOutcome::Answered,
            cost: Cost::Unknown,
            totals: Totals {
                billable: Billable { input: 100, ..Billable::default() },
                bytes_in: 1,
                bytes_out: 1,
                ..Totals::of_one(Duration::from_millis(seq), None)
            },
        },
        times: Times::of_one(Duration::from_millis(seq), None),
    };
    sums.count(&sample, &mut ModelNames::new(10, []), KeyDetail::Models);
    JournalRow { node: node.to_owned(), seq, sums }
}

/// Requests in all, by each of the ways in which they are kept.
fn counted(book: &mut dyn UsageBook) -> u64 {
    let sum = |book: &mut dyn UsageBook, by: &[Column]| {
        let query = Query {
            from: START - 86_400,
            to: START + 40_000_000,
            step: QueryStep::Day,
            by: by.to_vec(),
            filter: Vec::new(),
            most_rows: Query::MOST_ROWS,
        };
        let rows = book.query(&query, "").unwrap().report.rows();
        rows.iter().map(|row| row.cell.counters.requests).sum::<u64>()
    };
    let by_model = sum(book, &[Column::Model]);
    assert_eq!(sum(book, &[Column::Caller]), by_model);
    assert_eq!(sum(book, &[Column::Key]), by_model);
    by_model
}

#[test]
#[ignore = "the process that another test starts and kills"]
fn counts_until_it_is_killed() {
    let Some(path) = env::var_os(FILE).map(PathBuf::from) else { return };
    let mut book = UsageFile::open(&path).unwrap().store;
    let before = counted(&mut book);
    let node = format!("life-{before}");
    // Bounded, should nobody kill it.
    for n in 1..100_000 {
        // A life goes on where the former ended, as time does; numbers begin anew with each node.
        let sums = row(&node, before + n).sums;
        assert!(book.append(&JournalRow { node: node.clone(), seq: n, sums }).unwrap());
        stderr().write_all(format!("counted {}\n", before + n).as_bytes()).unwrap();
        if n % 7 == 0 {
            book.fold(START + (before + n).cast_signed() - 3).unwrap();
        }
        if n % 50 == 0 {
            book.prune(START + (before + n).cast_signed(), &KEEP, 100).unwrap();
        }
    }
}

#[test]
fn every_sum_counts_exactly_once_after_each_of_50_kills() {
    const LIVES_A_FILE: u32 = 10;
    let folder = tempfile::tempdir().unwrap();
    let mut rng = fastrand::Rng::with_seed(20_261_127);
    let mut written = 0;
    for life in 0..50_u32 {
        let path = folder.path().join(format!("{}.db", life / LIVES_A_FILE));
        let mut writer = Command::new(env::current_exe().unwrap())
            .args(["--exact", "counts_until_it_is_killed", "--ignored", "--nocapture"])
            .env(FILE, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stderr.take().unwrap());
        // Read all along, or a full pipe would hold the writer up.
        let reading = thread::spawn(move || {
            let counted = |line: String| line.strip_prefix("counted ").and_then(|n| n.parse::<u64>().ok());
            lines.lines().map_while(Result::ok).filter_map(counted).last()
        });
        thread::sleep(Duration::from_micros(rng.u64(..200_000) * rng.u64(..=100) / 100));
        writer.kill().unwrap();
        assert_eq!(writer.wait().unwrap().signal(), Some(9), "the writer was still writing");
        let acknowledged = reading.join().unwrap();

        let mut opened = UsageFile::open(&path).unwrap();
        let condition = &opened.condition;
        assert!(matches!(condition, Condition::Intact | Condition::Fresh), "life {life}: {condition}");
        let found = counted(&mut opened.store);
        // The row under way may be there or not; it is never there twice.
        let acknowledged = acknowledged.unwrap_or(found);
        assert!(
            (acknowledged..=acknowledged + 1).contains(&found),
            "life {life}: {acknowledged} written, {found} found"
        );
        written += found;
    }
    assert!(written > 50, "the writers lived long enough to write");
}

fn check_mode_and_layout(path: &Path) {
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(path).unwrap();
    // Incremental vacuum, by <https://www.sqlite.org/fileformat2.html>: both of these header fields are not zero.
    assert_ne!(bytes[52..56], [0; 4]);
    assert_ne!(bytes[64..68], [0; 4]);
}

#[test]
fn the_file_is_its_owners_alone_and_gives_room_back() {
    let folder = folder();
    let path = folder.path().join("usage.db");
    let mut book = UsageFile::open(&path).unwrap().store;
    check_mode_and_layout(&path);
    for seq in 1..=30_000 {
        let sums = row("node", seq * 60).sums;
        book.append(&JournalRow { node: "node".to_owned(), seq, sums }).unwrap();
        if seq % 1_000 == 0 {
            book.fold(i64::MAX).unwrap();
        }
    }
    let rows = book.overview().unwrap().rows;
    assert!(rows > 50_000, "{rows}");
    let pages = || fs::metadata(&path).unwrap().len();
    drop(book);
    let before = pages();
    let mut book = UsageFile::open(&path).unwrap().store;
    let small = Retention { minutes_s: 0, hours_s: 0, ..KEEP };
    let mut calls = 0;
    while book.prune(START + 30_000 * 60 + 7_200, &small, 20_000).unwrap().more {
        calls += 1;
    }
    assert!(calls >= 2, "some at a time");
    drop(book);
    let after = pages();
    assert!(after * 2 < before, "{before} bytes became {after}");
    assert_eq!(counted(&mut UsageFile::open(&path).unwrap().store), 30_000, "the days are left");
}

#[test]
fn a_million_pairs_take_about_as_much_room_as_the_order_of_things_allows() {
    let folder = folder();
    let path = folder.path().join("usage.db");
    let mut book = UsageFile::open(&path).unwrap().store;
    for seq in 1..=2_000 {
        book.append(&JournalRow { node: "node".to_owned(), seq, sums: row("node", seq * 60).sums }).unwrap();
    }
    book.fold(i64::MAX).unwrap();
    let rows = book.overview().unwrap().rows;
    drop(book);
    let bytes = fs::metadata(&path).unwrap().len();
    assert!(bytes / rows < 110, "{bytes} bytes for {rows} rows");
}

#[test]
fn a_damaged_row_counts_as_not_there_and_is_told() {
    let folder = folder();
    let path = folder.path().join("usage.db");
    let mut book = UsageFile::open(&path).unwrap().store;
    for seq in 1..=20 {
        book.append(&row("node", seq)).unwrap();
    }
    book.fold(START + 10).unwrap();
    drop(book);
    // A bit of a body in the journal flips.
    let mut bytes = fs::read(&path).unwrap();
    let body = row("node", 15).sums.encode();
    let places: Vec<_> = (0..bytes.len() - body.len()).filter(|&at| bytes[at..].starts_with(&body)).collect();
    for at in places {
        bytes[at + body.len() / 2] ^= 1;
    }
    fs::write(&path, bytes).unwrap();
    let opened = UsageFile::open(&path).unwrap();
    assert_eq!(opened.condition, Condition::Intact);
    let mut book = opened.store;
    assert_eq!(counted(&mut book), 19);
    let report = book.fold(i64::MAX).unwrap();
    assert_eq!((report.folded, report.damaged), (10, 1));
    assert_eq!(counted(&mut book), 19);
}

#[test]
fn what_is_no_usage_book_is_set_aside_and_a_newer_one_left_alone() {
    let folder = folder();
    let path = folder.path().join("usage.db");
    for content in [&b""[..], b"no database", &[0; 5_000]] {
        fs::write(&path, content).unwrap();
        let opened = UsageFile::open(&path).unwrap();
        assert!(matches!(opened.condition, Condition::Quarantined { .. }), "{}", opened.condition);
        drop(opened);
        fs::remove_file(&path).unwrap();
    }
    // The store's file is another kind of file.
    drop(Sqlite::open(&path).unwrap());
    match UsageFile::open(&path) {
        Err(StoreError::Newer { .. }) => {}
        Ok(opened) => assert!(matches!(opened.condition, Condition::Quarantined { .. })),
        Err(other) => panic!("{other}"),
    }
}

/// Made-up traffic in driven time: some of all callers, models and keys in each hour of a year, and in each minute of its
/// last days.
#[test]
fn a_years_traffic_stays_within_the_bound_of_its_steps() {
    const CALLERS: u64 = 3;
    const MODELS: u64 = 2;
    const KEYS: u64 = 2;
    let keep =
        Retention { minutes_s: 48 * 3_600, hours_s: 31 * 86_400, days_s: 400 * 86_400, max_rows: 5_000_000 };
    let mut book = UsageMemory::default();
    let mut seq = 0;
    let end = START + 365 * 86_400;
    let mut at = START;
    while at < end {
        let mut sums = Sums::new(at);
        let mut names = ModelNames::new(500, []);
        for n in 0..CALLERS * MODELS * KEYS {
            let sample = Sample {
                caller: format!("caller-{}", n % CALLERS).into(),
                model: Some(format!("model-{}", n / CALLERS % MODELS).into()),
                proven: true,
                tries: vec![KeyUse {
                    key: format!("key-{}", n / CALLERS / MODELS).into(),
                    project: "project".into(),
                }],
                counted: Counted {
                    outcome: RequestOutcome::Answered,
                    cost: Cost::Free,
                    totals: Totals {
                        billable: Billable::default(),
                        bytes_in: 1,
                        bytes_out: 1,
                        ..Totals::of_one(Duration::from_millis(n), None)
                    },
                },
                times: Times::of_one(Duration::from_millis(n), None),
            };
            sums.count(&sample, &mut names, KeyDetail::Models);
        }
        seq += 1;
        book.append(&JournalRow { node: "node".to_owned(), seq, sums }).unwrap();
        at += if end - at > 3 * 86_400 { 3_600 } else { 60 };
        if seq % 24 == 0 || at >= end {
            book.fold(at).unwrap();
            while book.prune(at, &keep, 20_000).unwrap().more {}
        }
    }
    let rows = book.overview().unwrap().rows;
    let minute = CALLERS + MODELS + KEYS + 1;
    let hour = CALLERS * MODELS + KEYS * MODELS + MODELS;
    // One more of each step: the one under way.
    let bound = minute * (48 * 60 + 1) + hour * (31 * 24 + 1) + hour * (400 + 1);
    assert!(rows <= bound, "{rows} rows, at most {bound}");
    assert!(rows > minute * 48 * 60 + hour * 31 * 24 + hour * 364, "{rows}: what is to be kept is kept");
    let found = counted(&mut book.clone());
    assert_eq!(found, seq * CALLERS * MODELS * KEYS, "a year's days have every request");
}
