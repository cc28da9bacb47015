//! Records and a ledger that live as long as the process: for an operator who wants no file, while the file cannot be used,
//! for tests.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, SubsecRound, Utc};

use crate::{Change, Holding, Ledger, LedgerChange, RecordId, Records, StoreError, Stored, Upkeep};

/// Records and a ledger in memory. A clone is a second handle on the same ones.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    records: Arc<Mutex<BTreeMap<RecordId, Stored>>>,
    holdings: Arc<Mutex<Holdings>>,
}

impl Records for Memory {
    fn load(&mut self) -> Result<Vec<Stored>, StoreError> {
        Ok(self.records.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect())
    }

    fn save(&mut self, batch: &[Change]) -> Result<(), StoreError> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        for change in batch {
            match change {
                Change::Put(stored) => {
                    let stored = Stored { updated: stored.updated.trunc_subsecs(6), ..stored.clone() };
                    records.insert(stored.id.clone(), stored);
                }
                Change::Forget(id) => {
                    records.remove(id);
                }
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Ledger for Memory {
    fn find(&mut self, names: &[&str], now: DateTime<Utc>) -> Result<Vec<Option<Holding>>, StoreError> {
        let holdings = self.holdings.lock().unwrap_or_else(PoisonError::into_inner);
        let find = |name: &&str| holdings.all.get(*name).filter(|held| !held.has_expired(now)).cloned();
        Ok(names.iter().map(find).collect())
    }

    fn record(&mut self, batch: &[LedgerChange]) -> Result<(), StoreError> {
        let mut holdings = self.holdings.lock().unwrap_or_else(PoisonError::into_inner);
        for change in batch {
            match change {
                LedgerChange::Put(holding) => holdings.put(holding.clone()),
                LedgerChange::Forget(name) => holdings.remove(name),
            }
        }
        Ok(())
    }
}

impl Upkeep for Memory {
    fn expire(&mut self, now: DateTime<Utc>, at_most: usize) -> Result<usize, StoreError> {
        let mut holdings = self.holdings.lock().unwrap_or_else(PoisonError::into_inner);
        let due = holdings.by_expiry.iter().take_while(|(expires, _)| *expires <= now).take(at_most);
        let due: Vec<_> = due.map(|(_, name)| name.clone()).collect();
        for name in &due {
            holdings.remove(name);
        }
        Ok(due.len())
    }

    fn newest(&mut self, at_most: usize, now: DateTime<Utc>) -> Result<Vec<Holding>, StoreError> {
        let holdings = self.holdings.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = holdings.by_making.iter().filter_map(|(_, name)| holdings.all.get(name));
        Ok(newest.filter(|held| !held.has_expired(now)).take(at_most).cloned().collect())
    }
}

/// The ledger, and the two orders in which it is walked.
#[derive(Debug, Default)]
struct Holdings {
    all: HashMap<String, Holding>,
    by_expiry: BTreeSet<(DateTime<Utc>, String)>,
    by_making: BTreeSet<(Reverse<DateTime<Utc>>, String)>,
}

impl Holdings {
    fn put(&mut self, mut holding: Holding) {
        holding.made = holding.made.trunc_subsecs(6);
        holding.expires = holding.expires.map(|expires| expires.trunc_subsecs(6));
        self.remove(&holding.name);
        if let Some(expires) = holding.expires {
            self.by_expiry.insert((expires, holding.name.clone()));
        }
        self.by_making.insert((Reverse(holding.made), holding.name.clone()));
        self.all.insert(holding.name.clone(), holding);
    }

    fn remove(&mut self, name: &str) {
        let Some(Holding { name, expires, made, .. }) = self.all.remove(name) else { return };
        if let Some(expires) = expires {
            self.by_expiry.remove(&(expires, name.clone()));
        }
        self.by_making.remove(&(Reverse(made), name));
    }
}
