//! The store in a SQLite file: the records' reads and writes. The ledger's, and how a file is opened, examined and set
//! aside, are in the modules below this one.

pub mod foreign;
mod holdings;
mod integrity;
mod ledger;
mod lock;
mod migrations;
mod open_file;
mod opening;
mod quarantine;
mod response_file;
mod rows;
mod sidecars;
mod usage_file;
mod verdict;

pub use response_file::ResponseFile;
pub use usage_file::UsageFile;

use std::{fmt, fs, path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::{Change, Condition, Opened, Records, StoreError, Stored};
use open_file::OpenFile;
use opening::Layout;

/// How long a call waits for another process that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// What the file of records and ledger is like.
const LAYOUT: Layout = Layout {
    steps: migrations::STEPS,
    first: "",
    check: integrity::check,
    straighten: rewrite_ledger,
    repair,
};

/// Says why a file could not be opened, or made; nothing is.
pub(crate) fn look(path: &Path) -> Result<(), StoreError> {
    opening::look(path)
}

/// A store in a SQLite file.
pub struct Sqlite {
    file: OpenFile,
    /// The names under which the ledger has damaged rows, to be removed when it is next written.
    damaged: Vec<String>,
    /// Let go after the connection is closed.
    lock: Option<lock::FileLock>,
}

impl Sqlite {
    /// Opens the file, and makes it, with the folders above it, where there is none: readable to its owner only. A file
    /// of an older version is brought up to date. A damaged one is moved to `<name>.damaged-<time>` and replaced by a new
    /// one; see [`Opened`] for what is said about it.
    pub fn open(path: &Path) -> Result<Opened<Self>, StoreError> {
        let opened = opening::open(path, &LAYOUT)?;
        Ok(opened.map(|file| Self { file, damaged: Vec::new(), lock: None }))
    }

    /// The same for a process that wants the file for itself: refused while another one has it so.
    pub fn open_alone(path: &Path) -> Result<Opened<Self>, StoreError> {
        let place = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let lock = lock::FileLock::take(&place.canonicalize().unwrap_or(place))?;
        let mut opened = Self::open(path)?;
        opened.store.lock = lock;
        Ok(opened)
    }

    /// What an error means to the caller. After damage the next opening looks more closely.
    fn failed(&self, error: &rusqlite::Error) -> StoreError {
        let error = failed(&self.file.path, error);
        if matches!(error, StoreError::Damaged { .. }) {
            integrity::suspect(&self.file.path);
        }
        error
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.file.path).finish_non_exhaustive()
    }
}

impl Records for Sqlite {
    fn load(&mut self) -> Result<Vec<Stored>, StoreError> {
        let scan = rows::scan(&self.file.connection).map_err(|e| self.failed(&e))?;
        if scan.is_sound() {
            Ok(scan.records)
        } else {
            let reason = "records do not match their checksums".to_owned();
            Err(StoreError::Damaged { path: self.file.path.clone(), reason })
        }
    }

    fn save(&mut self, batch: &[Change]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        save(&mut self.file.connection, batch).map_err(|e| self.failed(&e))
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        // FULL, not PASSIVE: it waits for another handle's write, and fails if that does not end.
        let busy: i64 = self
            .file
            .connection
            .query_row("PRAGMA wal_checkpoint(FULL)", [], |row| row.get(0))
            .map_err(|e| self.failed(&e))?;
        if busy == 0 { Ok(()) } else { Err(StoreError::Busy { path: self.file.path.clone() }) }
    }

    fn check_place(&self) -> Result<(), StoreError> {
        self.file.check_place()
    }
}

fn save(connection: &mut Connection, batch: &[Change]) -> rusqlite::Result<()> {
    // Immediate: a transaction that turns to writing only later fails at once, without waiting, if another wrote meanwhile.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut rows = 0_i64;
    let mut checksums = 0_i64;
    for change in batch {
        let (id, put) = match change {
            Change::Put(stored) => (&stored.id, Some(stored)),
            Change::Forget(id) => (id, None),
        };
        let gone = transaction
            .prepare_cached("DELETE FROM records WHERE kind = ?1 AND key = ?2 RETURNING checksum")?
            .query_row(params![id.kind(), id.key()], |row| row.get::<_, i64>(0))
            .optional()?;
        if let Some(checksum) = gone {
            rows -= 1;
            checksums -= checksum;
        }
        if let Some(stored) = put {
            rows += 1;
            checksums += insert(&transaction, stored)?;
        }
    }
    transaction
        .prepare_cached("UPDATE tally SET row_count = row_count + ?1, checksum_sum = checksum_sum + ?2")?
        .execute(params![rows, checksums])?;
    transaction.commit()
}

/// Returns the row's checksum.
fn insert(transaction: &Transaction<'_>, Stored { id, body, updated }: &Stored) -> rusqlite::Result<i64> {
    let updated_us = updated.timestamp_micros();
    let checksum = rows::checksum(id.kind().as_bytes(), id.key().as_bytes(), updated_us, body.as_bytes());
    transaction
        .prepare_cached(
            "INSERT INTO records (kind, key, checksum, updated_us, body) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![id.kind(), id.key(), checksum, updated_us, body])?;
    Ok(checksum)
}

/// Puts the ledger's rows into their order. Those that are lost with this were damaged, and counted as not there before.
fn rewrite_ledger(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    holdings::rewrite(&transaction, migrations::LEDGER)?;
    transaction.commit()
}

/// Drops the rows whose checksum is wrong, if there are any, from a file of which a copy has been made.
fn repair(path: &Path, connection: &mut Connection) -> Result<Option<Condition>, StoreError> {
    let failed_here = |error: rusqlite::Error| opening::failed_opening(path, &error);
    let scan = rows::scan(connection).map_err(failed_here)?;
    if scan.is_sound() {
        return Ok(None);
    }
    let copy = quarantine::place_for_copy(path).map_err(|e| opening::unusable(path, &e))?;
    if let Err(error) = opening::copy_into(&copy, connection) {
        drop(fs::remove_file(&copy)); // what there is of it is worth nothing
        return Err(failed(path, &error));
    }
    if !rows::drop_bad(connection, &scan).map_err(failed_here)? {
        let reason = "records do not match their checksums".to_owned();
        return Err(StoreError::Damaged { path: path.to_owned(), reason });
    }
    Ok(Some(Condition::Repaired {
        dropped: scan.bad.iter().map(rows::BadRow::id).collect(),
        rows_expected: scan.rows_expected,
        rows_kept: scan.rows_kept(),
        copy,
    }))
}

/// What an error of SQLite means to the store's caller. SQLite's messages name tables and pages, never values.
fn failed(path: &Path, error: &rusqlite::Error) -> StoreError {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, QueryReturnedNoRows,
    };
    let path = path.to_owned();
    match (error.sqlite_error_code(), error) {
        (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => StoreError::Busy { path },
        (Some(ErrorCode::DiskFull), _) => StoreError::Full { path },
        // Without a code: a value of a type that its column cannot have, or the one row of the tally is missing.
        (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _)
        | (
            _,
            FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | QueryReturnedNoRows,
        ) => StoreError::Damaged { path, reason: error.to_string() },
        _ => StoreError::Unusable { path, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::RecordId;

    fn put(key: &str, bytes: usize) -> Change {
        Change::Put(Stored { id: RecordId::new("test", key), body: "x".repeat(bytes), updated: Utc::now() })
    }

    #[test]
    fn a_batch_for_which_there_is_no_room_changes_nothing_and_succeeds_once_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Sqlite::open(&folder.path().join("store.db")).unwrap().store;
        store.save(&[put("a", 10)]).unwrap();
        let before = store.load().unwrap();
        store.file.connection.pragma_update(None, "max_page_count", 20).unwrap();
        let batch = [put("a", 20), put("b", 10), put("c", 200_000)];
        let error = store.save(&batch).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        assert_eq!(store.load().unwrap(), before);
        store.save(&[put("small", 1)]).unwrap();
        store.file.connection.pragma_update(None, "max_page_count", 1_000_000).unwrap();
        store.save(&batch).unwrap();
        assert_eq!(store.load().unwrap().len(), 4);
    }

    #[test]
    fn the_log_is_kept_as_the_page_on_what_can_be_lost_says() {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&folder.path().join("store.db")).unwrap().store;
        let ask = |pragma: &str| {
            let value = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
            store.file.connection.pragma_query_value(None, pragma, value).unwrap()
        };
        assert_eq!(ask("journal_mode"), "wal".to_owned().into());
        assert_eq!(ask("synchronous"), 1.into());
        assert_eq!(ask("wal_autocheckpoint"), 1_000.into());
    }
}
