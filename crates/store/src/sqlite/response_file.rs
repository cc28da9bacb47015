//! The response book in a SQLite file of its own, which may be deleted alone.

use super::{
    failed, integrity,
    open_file::OpenFile,
    opening::{self, Layout},
};
use crate::{Opened, StoreError, response_book::ResponseBook};
use rusqlite::{OptionalExtension, params};
use std::path::Path;

/// The schema, as the list of steps that lead to it. A step that was released is never edited.
const STEPS: &[&str] = &["CREATE TABLE responses (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        owner TEXT NOT NULL,
        id TEXT NOT NULL,
        at INTEGER NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (owner, id)
    ) STRICT;
    CREATE TABLE response_bytes (bytes INTEGER NOT NULL) STRICT;
    INSERT INTO response_bytes VALUES (0);
    CREATE TRIGGER response_kept AFTER INSERT ON responses BEGIN
        UPDATE response_bytes SET bytes = bytes + length(NEW.body);
    END;
    CREATE TRIGGER response_forgotten AFTER DELETE ON responses BEGIN
        UPDATE response_bytes SET bytes = bytes - length(OLD.body);
    END;"];

const LAYOUT: Layout = Layout {
    steps: STEPS,
    first: "PRAGMA auto_vacuum = FULL",
    check: |path, connection| integrity::check_parts(path, connection, &["responses", "response_bytes"]),
    straighten: |_| Ok(()),
    repair: |_, _| Ok(None),
};

/// A response book in a SQLite file.
pub struct ResponseFile {
    file: OpenFile,
}

impl ResponseFile {
    /// Opens the file, and makes it where there is none, as [`Sqlite::open`](crate::Sqlite::open) does.
    pub fn open(path: &Path) -> Result<Opened<Self>, StoreError> {
        let opened = opening::open(path, &LAYOUT)?.map(|file| Self { file });
        // What people have said is not to be found in the file once it is forgotten.
        let file = &opened.store.file;
        file.connection
            .pragma_update(None, "secure_delete", true)
            .map_err(|error| failed(&file.path, &error))?;
        Ok(opened)
    }

    fn failed(&self, error: &rusqlite::Error) -> StoreError {
        let error = failed(&self.file.path, error);
        if matches!(error, StoreError::Damaged { .. }) {
            integrity::suspect(&self.file.path);
        }
        error
    }
}

impl ResponseBook for ResponseFile {
    fn keep(&mut self, owner: &str, id: &str, at: u64, body: &[u8]) -> Result<(), StoreError> {
        let done = self.file.connection.transaction().and_then(|transaction| {
            transaction.execute("DELETE FROM responses WHERE owner = ? AND id = ?", params![owner, id])?;
            transaction.execute(
                "INSERT INTO responses (owner, id, at, body) VALUES (?, ?, ?, ?)",
                params![owner, id, at.cast_signed(), body],
            )?;
            transaction.commit()
        });
        done.map_err(|error| self.failed(&error))
    }

    fn find(&mut self, owner: &str, id: &str, since: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.file.connection.query_row(
            "SELECT body FROM responses WHERE owner = ? AND id = ? AND at >= ?",
            params![owner, id, since.cast_signed()],
            |row| row.get(0),
        );
        found.optional().map_err(|error| self.failed(&error))
    }

    fn forget(&mut self, owner: &str, id: &str) -> Result<bool, StoreError> {
        let done = self
            .file
            .connection
            .execute("DELETE FROM responses WHERE owner = ? AND id = ?", params![owner, id]);
        done.map(|rows| rows > 0).map_err(|error| self.failed(&error))
    }

    fn prune(&mut self, since: u64, most_bytes: u64) -> Result<(), StoreError> {
        let done = self.file.connection.transaction().and_then(|transaction| {
            transaction.execute("DELETE FROM responses WHERE at < ?", [since.cast_signed()])?;
            loop {
                let bytes: i64 =
                    transaction.query_row("SELECT bytes FROM response_bytes", [], |row| row.get(0))?;
                if u64::try_from(bytes).unwrap_or_default() <= most_bytes {
                    break;
                }
                let oldest = "DELETE FROM responses WHERE seq = (SELECT min(seq) FROM responses)";
                if transaction.execute(oldest, [])? == 0 {
                    break;
                }
            }
            transaction.commit()
        });
        done.map_err(|error| self.failed(&error))
    }

    fn check_place(&self) -> Result<(), StoreError> {
        self.file.check_place()
    }
}
