//! What SQLite's own check says of a file, and how much of a file it is asked about.
//!
//! A small file is checked whole. Of a larger one, which the ledger has made so, only the schema, the list of free pages and
//! the records are: a whole check reads every page, gigabytes for tens of millions of holdings, and rows of the ledger are
//! checked when they are read. What only a whole check sees (broken pages of the ledger, a page used twice) fails when it
//! is met; that leaves a mark beside the file, and with it the next opening checks it whole.

use std::{fs, os::unix::fs::OpenOptionsExt, path::Path};

use rusqlite::Connection;

use super::{
    sidecars::{SUSPECT, beside},
    verdict::Verdict,
};

/// The most bytes for which a whole check goes unnoticed: it takes a tenth of a second.
const SMALL: i64 = 32 << 20;

/// Asks about the file, whose schema need not be right.
pub(super) fn check(path: &Path, connection: &Connection) -> rusqlite::Result<Verdict> {
    let verdict = if is_small(connection)? || is_suspect(path) {
        // The whole check, not the quick one: of the records it alone sees that they are out of order.
        ask(connection, "integrity_check(1)")?
    } else {
        return check_all_but_the_ledger(connection);
    };
    if verdict == "ok" {
        return Ok(Verdict::Sound);
    }
    // The quick check looks at all pages and values, but not at their order.
    if ask(connection, "quick_check(1)")? == "ok" && check_all_but_the_ledger(connection)? == Verdict::Sound {
        return Ok(Verdict::Askew);
    }
    Ok(Verdict::Damaged(verdict))
}

/// Asks about a file of whose tables only these must be right; of a large one that is not suspect about nothing else.
pub(super) fn check_parts(
    path: &Path,
    connection: &Connection,
    tables: &[&str],
) -> rusqlite::Result<Verdict> {
    if is_small(connection)? || is_suspect(path) {
        let verdict = ask(connection, "integrity_check(1)")?;
        return Ok(if verdict == "ok" { Verdict::Sound } else { Verdict::Damaged(verdict) });
    }
    check_tables(connection, tables)
}

fn is_small(connection: &Connection) -> rusqlite::Result<bool> {
    let size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    Ok(connection.query_row(size, [], |row| row.get::<_, i64>(0))? <= SMALL)
}

fn check_all_but_the_ledger(connection: &Connection) -> rusqlite::Result<Verdict> {
    check_tables(connection, &["records", "tally"])
}

fn check_tables(connection: &Connection, tables: &[&str]) -> rusqlite::Result<Verdict> {
    // With the schema's table SQLite checks the list of free pages too.
    for table in ["sqlite_schema"].iter().chain(tables) {
        let verdict = ask(connection, &format!("integrity_check({table})"))?;
        if verdict != "ok" {
            return Ok(Verdict::Damaged(verdict));
        }
    }
    Ok(Verdict::Sound)
}

/// The first line of what a check says.
fn ask(connection: &Connection, check: &str) -> rusqlite::Result<String> {
    connection.query_row(&format!("PRAGMA {check}"), [], |row| row.get(0))
}

fn is_suspect(path: &Path) -> bool {
    beside(path, SUSPECT).symlink_metadata().is_ok()
}

/// Has the next opening check the file whole. If the mark cannot be made the file cannot be used either.
pub(super) fn suspect(path: &Path) {
    let mark = beside(path, SUSPECT);
    drop(fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(mark));
}

/// The file has been found sound.
pub(super) fn trust(path: &Path) {
    drop(fs::remove_file(beside(path, SUSPECT)));
}
