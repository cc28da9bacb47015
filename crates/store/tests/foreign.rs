//! Databases of other programs: read as they are, bounded, and left without a trace.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use gemini_balance_store::foreign::{ForeignDatabase, ForeignError, is_sqlite};
use rusqlite::Connection;
use std::{collections::BTreeSet, path::Path};

fn files(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn made(path: &Path, sql: &str) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
    connection
}

const TABLE: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, key TEXT, n REAL, blob BLOB);
    INSERT INTO t VALUES (1, 'a', 1.5, x'6263'), (2, NULL, NULL, x'ff'), (3, 'c''\"', 2, NULL);";

#[test]
fn rows_are_read_in_their_order_and_what_is_not_there_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // With all the signs that mean something in a URI.
    let path = folder.path().join("a b?mode=rw#100%.db");
    made(&path, TABLE).close().unwrap();
    let before = (files(folder.path()), std::fs::read(&path).unwrap());
    let database = ForeignDatabase::open(&path).unwrap();
    assert!(database.has_table("t").unwrap() && !database.has_table("u").unwrap());
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        database.rows("t", &["key", "gone", "id", "n", "blob"], 3).unwrap(),
        [
            vec![text("a"), None, text("1"), text("1.5"), text("bc")],
            vec![None, None, text("2"), None, text("\u{fffd}")],
            vec![text("c'\""), None, text("3"), text("2"), None],
        ]
    );
    assert!(matches!(database.rows("t", &["id"], 2), Err(ForeignError::TooManyRows(2))));
    assert!(database.rows("t\" UNION SELECT 1 --", &["id"], 3).is_err());
    drop(database);
    assert_eq!((files(folder.path()), std::fs::read(&path).unwrap()), before);
    assert!(is_sqlite(&before.1) && !is_sqlite(b"SQLite format 4"));
}

#[test]
fn a_log_is_read_with_its_file_and_none_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let writer = made(&path, &format!("PRAGMA journal_mode = WAL; {TABLE}"));
    // While its owner has it open, the rows are in the log.
    assert_eq!(ForeignDatabase::open(&path).unwrap().rows("t", &["id"], 9).unwrap().len(), 3);
    assert!(std::fs::metadata(folder.path().join("log.db-wal")).unwrap().len() > 0);
    writer.close().unwrap();
    assert_eq!(files(folder.path()), BTreeSet::from(["log.db".to_owned()]));
    assert_eq!(ForeignDatabase::open(&path).unwrap().rows("t", &["id"], 9).unwrap().len(), 3);
    let of_bytes = ForeignDatabase::of_bytes(std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(of_bytes.rows("t", &["id"], 9).unwrap().len(), 3);
    assert_eq!(files(folder.path()), BTreeSet::from(["log.db".to_owned()]));
}

#[test]
fn what_is_no_table_or_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("views.db");
    made(
        &path,
        "CREATE VIEW t AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS key FROM n;",
    );
    assert!(!ForeignDatabase::open(&path).unwrap().has_table("t").unwrap());
    for (name, bytes) in
        [("short", &b"SQLite"[..]), ("text", b"SQLite format 3\0 is what it says, and no more")]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let look = |database: ForeignDatabase| database.has_table("t");
        for read in [
            ForeignDatabase::open(&path).and_then(look),
            ForeignDatabase::of_bytes(bytes.to_vec()).and_then(look),
        ] {
            let line = read.unwrap_err().to_string();
            assert!(line.lines().count() == 1 && !line.contains("SELECT"), "{line}");
        }
    }
    assert!(matches!(ForeignDatabase::open(&folder.path().join("none")), Err(ForeignError::Io(_))));
}
