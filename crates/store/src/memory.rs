//! Records that live as long as the process: for an operator who wants no file, while the file cannot be used, for tests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::SubsecRound;

use crate::{Change, RecordId, Records, StoreError, Stored};

/// Records in memory. A clone is a second handle on the same ones.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    records: Arc<Mutex<BTreeMap<RecordId, Stored>>>,
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
