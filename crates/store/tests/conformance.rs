//! Both implementations against the rules they share.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use std::path::PathBuf;

use gemini_balance_store::{
    Memory, Sqlite,
    conformance::{self, Place},
};
use tempfile::TempDir;

struct File(TempDir);

impl Place for File {
    type Store = Sqlite;

    fn open(&self) -> Sqlite {
        Sqlite::open(&PathBuf::from(self.0.path()).join("store.db")).unwrap().store
    }
}

struct SharedStore(Memory);

impl Place for SharedStore {
    type Store = Memory;

    fn open(&self) -> Memory {
        self.0.clone()
    }
}

#[test]
fn sqlite_keeps_the_rules() {
    conformance::records(|| File(tempfile::tempdir().unwrap()));
}

#[test]
fn memory_keeps_the_rules() {
    conformance::records(|| SharedStore(Memory::default()));
}

#[test]
fn sqlite_keeps_the_rules_for_a_ledger() {
    conformance::ledger(|| File(tempfile::tempdir().unwrap()));
}

#[test]
fn memory_keeps_the_rules_for_a_ledger() {
    conformance::ledger(|| SharedStore(Memory::default()));
}

#[test]
fn sqlite_keeps_the_rules_for_the_upkeep_of_a_ledger() {
    conformance::upkeep(|| File(tempfile::tempdir().unwrap()));
}

#[test]
fn memory_keeps_the_rules_for_the_upkeep_of_a_ledger() {
    conformance::upkeep(|| SharedStore(Memory::default()));
}
