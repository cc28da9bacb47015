//! Files that are removed or replaced while they are in use: it is noticed, and what is opened in their place is whole.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

use std::{fs, path::Path};

use chrono::Utc;
use gemini_balance_store::{
    Change, JournalRow, RecordId, Records, ResponseBook, ResponseFile, Sqlite, StoreError, Stored, UsageBook,
    UsageFile,
};
use usage::Sums;

/// A file that is open: whether it is in its place, and how it is written to.
trait InUse {
    fn check(&self) -> Result<(), StoreError>;
    fn write(&mut self, n: u64);
}

impl InUse for Sqlite {
    fn check(&self) -> Result<(), StoreError> {
        self.check_place()
    }

    fn write(&mut self, n: u64) {
        let id = RecordId::new("test", format!("{n}"));
        self.save(&[Change::Put(Stored { id, body: "{}".to_owned(), updated: Utc::now() })]).unwrap();
    }
}

impl InUse for UsageFile {
    fn check(&self) -> Result<(), StoreError> {
        self.check_place()
    }

    fn write(&mut self, n: u64) {
        let row = JournalRow { node: "node".to_owned(), seq: n + 1, sums: Sums::new(1_000) };
        assert!(self.append(&row).unwrap());
    }
}

impl InUse for ResponseFile {
    fn check(&self) -> Result<(), StoreError> {
        self.check_place()
    }

    fn write(&mut self, n: u64) {
        self.keep("alice", &format!("{n}"), 1, b"body").unwrap();
    }
}

fn is_noticed<F: InUse>(open: impl Fn(&Path) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.db");
    let replace: [&dyn Fn(); 3] = [
        &|| fs::remove_file(&path).unwrap(),
        &|| {
            for name in ["data.db", "data.db-wal", "data.db-shm"] {
                let _ = fs::remove_file(folder.path().join(name));
            }
        },
        &|| {
            drop(open(&folder.path().join("other.db")));
            fs::rename(folder.path().join("other.db"), &path).unwrap();
            let _ = fs::remove_file(folder.path().join("data.db-wal"));
            let _ = fs::remove_file(folder.path().join("data.db-shm"));
        },
    ];
    for replace in replace {
        let mut file = open(&path);
        assert_eq!(file.check(), Ok(()));
        file.write(0);
        assert_eq!(file.check(), Ok(()));
        replace();
        let error = file.check().unwrap_err();
        assert!(
            matches!(&error, StoreError::Replaced { path: at } if *at == path.canonicalize().unwrap_or(path.clone())),
            "{error}"
        );
        assert!(error.to_string().contains("removed or replaced"), "{error}");
        drop(file);
        // It can be opened by several before the former one ends elsewhere, and nothing of the new one goes with that.
        let mut new = open(&path);
        new.write(0);
        assert_eq!(new.check(), Ok(()));
        drop(new);
        for name in ["data.db", "data.db-wal", "data.db-shm"] {
            let _ = fs::remove_file(folder.path().join(name));
        }
    }
    // One that is closed late takes nothing away from what was opened meanwhile.
    let mut late = open(&path);
    late.write(0);
    for name in ["data.db", "data.db-wal", "data.db-shm"] {
        let _ = fs::remove_file(folder.path().join(name));
    }
    let mut new = open(&path);
    new.write(1);
    drop(late);
    assert!(folder.path().join("data.db-wal").exists(), "its log is another one's");
    new.write(2);
    assert_eq!(new.check(), Ok(()));
}

#[test]
fn a_store_that_is_removed_or_replaced_is_noticed_and_what_takes_its_place_is_whole() {
    is_noticed(|path| Sqlite::open(path).unwrap().store);
}

#[test]
fn a_usage_book_that_is_removed_or_replaced_is_noticed_by_writer_and_reader() {
    is_noticed(|path| UsageFile::open(path).unwrap().store);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usage.db");
    let book = UsageFile::open(&path).unwrap().store;
    let reader = book.reader().unwrap();
    assert_eq!(reader.check_place(), Ok(()));
    fs::remove_file(&path).unwrap();
    assert!(matches!(reader.check_place(), Err(StoreError::Replaced { .. })));
}

#[test]
fn a_response_book_that_is_removed_or_replaced_is_noticed() {
    is_noticed(|path| ResponseFile::open(path).unwrap().store);
}
