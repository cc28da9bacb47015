//! Counts what becomes of leases, by key and by model, and keeps the sums. They outlive restarts. Which sums a lease goes
//! into is said here; when they are written up is the journal's matter.

use std::time::Duration;

use meter::Now;

use super::Counters;
use crate::ids::{KeyIx, Model, ModelIx};
use crate::journal::JournalPage;
use crate::key::KeyId;
use crate::lease::Settlement;
use crate::members::Members;
use crate::record::{Record, Subject};
use crate::totals::{ModelUsage, Totals, Usage};

impl Counters {
    /// Counts a grant.
    pub(crate) fn count_grant(&mut self, key: KeyIx, model: ModelIx, now: Now) {
        self.count(key, Some(model), now.mono, |totals| totals.leases += 1);
    }

    /// Counts a report.
    pub(crate) fn count_report(
        &mut self,
        key: KeyIx,
        model: Option<ModelIx>,
        settlement: &Settlement,
        now: Now,
    ) {
        self.count(key, model, now.mono, |totals| totals.settle(settlement));
    }

    pub(super) fn count(
        &mut self,
        key: KeyIx,
        model: Option<ModelIx>,
        now: Duration,
        change: impl Fn(&mut Totals),
    ) {
        let entry = &mut self.keys[key.position()];
        change(&mut entry.totals);
        if !std::mem::replace(&mut entry.unkept, true) {
            self.journal.note(JournalPage::Usage(key), now);
        }
        if let Some(model) = model {
            self.models.sum_up(model, key, now, &mut self.journal, change);
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

    /// Returns the record of a key's sums.
    pub(crate) fn usage_record(&self, key: KeyIx, id: &KeyId) -> Record {
        let totals = self.totals(key);
        let usage = (totals != Totals::default()).then(|| Box::new(Usage::of(totals)));
        Record { usage, ..Record::clear(Subject::Usage { key: id.clone() }) }
    }

    /// Returns the record of a model's sums on a key; it is clear when the model was forgotten, or is not written up.
    pub(super) fn model_usage_record(&self, key: KeyIx, id: &KeyId, model: &Model) -> Record {
        let totals = self.model(model).and_then(|model| self.models.get(model).written(key));
        let usage = totals.map(|totals| Box::new(Usage::of(*totals)));
        Record { usage, ..Record::clear(Subject::ModelUsage { key: id.clone(), model: model.clone() }) }
    }

    /// Returns the records of all models' sums on all keys.
    pub(crate) fn model_usage_records(&self, members: &Members) -> impl Iterator<Item = Record> {
        self.models.iter().flat_map(move |state| {
            state.keys().map(|key| self.model_usage_record(key, &members.get(key).id, &state.name))
        })
    }

    /// Takes over a key's sums. Records of old have those of all its models as well: these are written anew, each by
    /// itself.
    pub(crate) fn restore_usage(&mut self, key: KeyIx, usage: &Usage, now: Duration) {
        let entry = &mut self.keys[key.position()];
        entry.totals = usage.totals;
        if !usage.models.is_empty() && !std::mem::replace(&mut entry.unkept, true) {
            self.journal.note(JournalPage::Usage(key), now);
        }
        for ModelUsage { model, totals } in &usage.models {
            self.take_over(key, model, totals, now);
        }
    }

    /// Takes over a model's sums on a key.
    pub(crate) fn restore_model_usage(&mut self, key: KeyIx, model: &Model, usage: &Usage, now: Duration) {
        let model = self.take_over(key, model, &usage.totals, now);
        // They are kept already. That they are noted all the same costs one more record, once.
        self.models.get_mut(model).is_kept(key);
    }

    fn take_over(&mut self, key: KeyIx, model: &Model, kept: &Totals, now: Duration) -> ModelIx {
        let model = self.enter(model, now);
        // What a store has of it is to be kept up, or cleared away.
        self.models.get_mut(model).write_all(now, &mut self.journal);
        self.models.sum_up(model, key, now, &mut self.journal, |totals| {
            // Of a record of old and one of its own the newer.
            if kept.leases >= totals.leases {
                *totals = *kept;
            }
        });
        model
    }
}
