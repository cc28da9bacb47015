//! The pool's durable state, kept outside the actor: what a restarted `KeyManagerActor` begins with, so that it does not
//! hammer keys whose cooldowns it would otherwise have forgotten.

use keypool::{Record, Subject};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// The newest record of everything the pool asked to persist.
#[derive(Debug, Default)]
pub struct Memory {
    records: Mutex<HashMap<Subject, Record>>,
}

impl Memory {
    /// Replaces the record of the same subject.
    pub fn keep(&self, record: Record) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if record.is_clear() {
            records.remove(&record.subject);
        } else {
            records.insert(record.subject.clone(), record);
        }
    }

    /// Every record.
    pub fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
