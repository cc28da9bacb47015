//! Counts what becomes of leases, by key and by model, and keeps the sums. They outlive restarts. Which sums a lease goes
//! into is said here; when they are written up is the journal's matter.

use std::time::Duration;

use meter::Now;

use super::Counters;
use crate::ids::{KeyIx, ModelIx};
use crate::journal::Page;
use crate::key::KeyId;
use crate::lease::Settlement;
use crate::record::{Record, Subject};
use crate::totals::{ModelUsage, Totals, Usage};

impl Counters {
    /// Counts a grant.
    pub(crate) fn count_grant(&mut self, key: KeyIx, model: ModelIx, now: Now) {
        self.count(key, Some(model), now, |totals| totals.leases += 1);
    }

    /// Counts a report.
    pub(crate) fn count_report(
        &mut self,
        key: KeyIx,
        model: Option<ModelIx>,
        settlement: &Settlement,
        now: Now,
    ) {
        self.count(key, model, now, |totals| totals.settle(settlement));
    }

    fn count(&mut self, key: KeyIx, model: Option<ModelIx>, now: Now, change: impl Fn(&mut Totals)) {
        let entry = &mut self.keys[key.position()];
        change(&mut entry.totals);
        if !std::mem::replace(&mut entry.unkept, true) {
            self.journal.note(Page::Usage(key), now.mono);
        }
        if let Some(model) = model {
            change(self.models.get_mut(model).totals_mut(key));
        }
    }

    /// Returns the sums of a key.
    pub(crate) fn totals(&self, key: KeyIx) -> Totals {
        self.keys[key.position()].totals
    }

    /// Returns the sums of each model on a key.
    pub(crate) fn usage_by_model(&self, key: KeyIx) -> Vec<ModelUsage> {
        let usage = self.models.iter().filter_map(|state| {
            let totals = *state.totals(key)?;
            Some(ModelUsage { model: state.name.clone(), totals })
        });
        usage.collect()
    }

    pub(crate) fn usage_record(&self, key: KeyIx, id: &KeyId) -> Record {
        let totals = self.totals(key);
        let models = self.usage_by_model(key);
        let usage = (totals != Totals::default()).then(|| Box::new(Usage { totals, models }));
        Record { usage, ..Record::clear(Subject::Usage { key: id.clone() }) }
    }

    pub(crate) fn restore_usage(&mut self, key: KeyIx, usage: &Usage, now: Duration) {
        self.keys[key.position()].totals = usage.totals;
        for ModelUsage { model, totals } in &usage.models {
            let model = self.enter(model, now);
            *self.models.get_mut(model).totals_mut(key) = *totals;
        }
    }
}
