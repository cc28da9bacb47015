//! How the prices set while the service runs lie in the store: one record each, by the model. What they mean beside the
//! configuration's is not known here.

use super::write_behind::WriteBehind;
use chrono::Utc;
use gemini_balance_store::{Change, RecordId, Store, StoreError, Stored};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;
use usage::PriceEntry;

/// What kind of row this is, among those of the store.
const KIND: &str = "price";

/// The prices, and which of them are not written yet.
#[derive(Debug)]
pub struct KeptPrices {
    state: Mutex<PricesState>,
    /// How many times a store was taken over.
    loaded: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct PricesState {
    by_model: BTreeMap<String, PriceEntry>,
    unwritten: BTreeSet<String>,
    /// Whether what a former process has left is here.
    is_loaded: bool,
}

impl Default for KeptPrices {
    fn default() -> Self {
        Self { state: Mutex::default(), loaded: watch::Sender::new(0) }
    }
}

impl KeptPrices {
    fn lock(&self) -> MutexGuard<'_, PricesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns all of them by model.
    pub fn all(&self) -> BTreeMap<String, PriceEntry> {
        self.lock().by_model.clone()
    }

    /// Sets the price of the entry's model.
    pub fn put(&self, entry: PriceEntry) {
        let mut state = self.lock();
        state.unwritten.insert(entry.model.clone());
        state.by_model.insert(entry.model.clone(), entry);
    }

    /// Forgets the price of a model; whether there was one.
    pub fn forget(&self, model: &str) -> bool {
        let mut state = self.lock();
        let was_there = state.by_model.remove(model).is_some();
        if was_there {
            state.unwritten.insert(model.to_owned());
        }
        was_there
    }

    /// Tells when a store is taken over: what was read there holds from then on.
    pub fn loaded(&self) -> watch::Receiver<u64> {
        self.loaded.subscribe()
    }
}

impl WriteBehind for KeptPrices {
    fn load(&self, store: &mut dyn Store) -> Result<(), StoreError> {
        let rows = store.load()?;
        let mut state = self.lock();
        for row in rows.into_iter().filter(|row| row.id.kind() == KIND) {
            // What is yet to be written is newer.
            if state.unwritten.contains(row.id.key()) {
                continue;
            }
            match serde_json::from_str::<PriceEntry>(&row.body) {
                Ok(entry) if entry.model == row.id.key() => {
                    state.by_model.insert(entry.model.clone(), entry);
                }
                Ok(_) => log::error!(target: "store", "the price of {} names another model", row.id.key()),
                Err(error) => {
                    log::error!(target: "store", "the price of {} cannot be read: {error}", row.id.key());
                }
            }
        }
        state.is_loaded = true;
        drop(state);
        self.loaded.send_modify(|times| *times += 1);
        Ok(())
    }

    fn write(&self, store: &mut dyn Store) -> Result<(), StoreError> {
        if !self.lock().is_loaded {
            // It could not be read when the service started.
            self.load(store)?;
        }
        let (models, changes) = {
            let mut state = self.lock();
            let models = std::mem::take(&mut state.unwritten);
            let changes: Vec<Change> = models.iter().filter_map(|model| change(&state, model)).collect();
            (models, changes)
        };
        store.save(&changes).inspect_err(|_| self.lock().unwritten.extend(models))
    }

    fn all_is_unwritten(&self) {
        let mut state = self.lock();
        let models: Vec<String> = state.by_model.keys().cloned().collect();
        state.unwritten.extend(models);
    }
}

fn change(state: &PricesState, model: &str) -> Option<Change> {
    let id = RecordId::new(KIND, model);
    Some(match state.by_model.get(model) {
        Some(entry) => {
            let body = serde_json::to_string(entry).ok()?;
            Change::Put(Stored { id, body, updated: Utc::now() })
        }
        None => Change::Forget(id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gemini_balance_store::Memory;

    fn entry(model: &str, input: f64) -> PriceEntry {
        PriceEntry { model: model.to_owned(), input: Some(input), ..PriceEntry::default() }
    }

    #[test]
    fn what_was_set_is_there_in_the_next_process_and_what_was_forgotten_is_not() {
        let mut store = Memory::default();
        let prices = KeptPrices::default();
        prices.load(&mut store).unwrap();
        prices.put(entry("a-*", 1.0));
        prices.put(entry("b", 2.0));
        prices.write(&mut store).unwrap();
        assert!(prices.forget("b") && !prices.forget("b"));
        prices.put(entry("a-*", 1.5));
        prices.write(&mut store).unwrap();
        let next = KeptPrices::default();
        let mut loaded = next.loaded();
        next.load(&mut store).unwrap();
        assert!(loaded.has_changed().unwrap() && *loaded.borrow_and_update() == 1);
        assert_eq!(next.all().into_values().collect::<Vec<_>>(), [entry("a-*", 1.5)]);
    }

    #[test]
    fn a_store_that_comes_late_takes_nothing_back() {
        let mut store = Memory::default();
        let former = KeptPrices::default();
        former.load(&mut store).unwrap();
        former.put(entry("a", 1.0));
        former.put(entry("b", 1.0));
        former.write(&mut store).unwrap();
        let prices = KeptPrices::default();
        prices.put(entry("a", 2.0));
        prices.write(&mut store).unwrap();
        let all: Vec<_> = prices.all().into_values().collect();
        assert_eq!(all, [entry("a", 2.0), entry("b", 1.0)]);
        let again = KeptPrices::default();
        again.load(&mut store).unwrap();
        assert_eq!(again.all(), prices.all());
    }
}
