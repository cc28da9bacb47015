//! The pool's durable state as it is now, outside every actor: a restarted `KeyManagerActor` begins with it at once, so
//! that it does not hammer keys whose cooldowns it would otherwise have forgotten, and the `StoreActor` writes from it.

use super::{
    row::{self, KeptRow},
    write_behind::WriteBehind,
};
use crate::current_keys::CurrentKeys;
use gemini_balance_store::{Store, StoreError};
use keypool::{Record, Subject};
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The newest record of everything the pool asked to keep. Its size is bounded by the subjects there are, however long
/// the store is out of reach.
#[derive(Debug)]
pub struct Memory {
    keys: CurrentKeys,
    state: Mutex<Newest>,
}

#[derive(Debug, Default)]
struct Newest {
    records: HashMap<Subject, Record>,
    unwritten: HashSet<Subject>,
}

impl Memory {
    /// Makes an empty one. `keys` are those that the records speak of.
    pub fn new(keys: CurrentKeys) -> Self {
        Self { keys, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Newest> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the record of the same subject.
    pub(crate) fn keep(&self, record: Record) {
        let mut state = self.lock();
        state.unwritten.insert(record.subject.clone());
        state.records.insert(record.subject.clone(), record);
    }

    /// Every record that says anything.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.lock().records.values().cloned().collect()
    }

    /// Takes over what the store has; returns how many that were. What has another name by now is written under that.
    fn fill(&self, rows: impl Iterator<Item = KeptRow>) -> usize {
        let mut state = self.lock();
        let mut moved = Vec::new();
        for row in rows {
            match row {
                KeptRow::Same(record) => {
                    state.records.insert(record.subject.clone(), record);
                }
                KeptRow::Moved { record, former } => moved.push((record, former)),
            }
        }
        let mut formers = Vec::new();
        for (record, former) in moved {
            let subject = record.subject.clone();
            let record = match state.records.remove(&subject) {
                Some(own) => own.or_longer(record),
                None => record,
            };
            state.unwritten.insert(subject.clone());
            state.records.insert(subject, record);
            formers.push(former);
        }
        let count = state.records.len();
        for former in formers {
            // One that is another's name by now was written over just now, or has its own row.
            if !state.records.contains_key(&former) {
                state.unwritten.insert(former.clone());
                state.records.insert(former.clone(), Record::clear(former));
            }
        }
        count
    }

    /// The records to write. One that is clear is to be forgotten by the store, and is forgotten here.
    fn take_unwritten(&self) -> Vec<Record> {
        let mut state = self.lock();
        let subjects = std::mem::take(&mut state.unwritten);
        let changes: Vec<Record> =
            subjects.iter().filter_map(|subject| state.records.get(subject).cloned()).collect();
        for record in changes.iter().filter(|record| record.is_clear()) {
            state.records.remove(&record.subject);
        }
        changes
    }

    /// They could not be written. Where there is a newer record of the same subject, that one counts.
    fn give_back(&self, changes: Vec<Record>) {
        let mut state = self.lock();
        for record in changes {
            state.unwritten.insert(record.subject.clone());
            state.records.entry(record.subject.clone()).or_insert(record);
        }
    }
}

impl WriteBehind for Memory {
    fn load(&self, store: &mut dyn Store) -> Result<(), StoreError> {
        let rows = store.load()?;
        let ring = self.keys.ring();
        let count = self.fill(rows.iter().filter_map(|row| row::decode(row, &ring)));
        log::info!(target: "store", "{count} records of the pool's state were kept");
        Ok(())
    }

    fn write(&self, store: &mut dyn Store) -> Result<(), StoreError> {
        let changes = self.take_unwritten();
        let ring = self.keys.ring();
        let rows: Vec<_> = changes.iter().filter_map(|record| row::encode(record, &ring)).collect();
        store.save(&rows).inspect_err(|_| self.give_back(changes))
    }

    fn all_is_unwritten(&self) {
        let mut state = self.lock();
        state.unwritten = state.records.keys().cloned().collect();
    }
}
