//! Finished requests of one worker, summed by class: a table that the worker adds to and the accountant empties.

use super::class::{ClassTraits, RequestClass, overhead, waited};
use crate::{failure::Failure, transaction::Transaction};
use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table::Entry};
use std::hash::BuildHasher;
use usage::{Amounts, billable};

/// Requests of one class, and what they sum to.
#[derive(Clone, Debug)]
pub(super) struct RequestGroup {
    pub(super) class: RequestClass,
    /// When the first of them ended: of models that are new, the first come are told apart.
    pub(super) since: DateTime<Utc>,
    pub(super) amounts: Amounts,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct RequestGroups {
    table: HashTable<RequestGroup>,
    hasher: RandomState,
}

impl RequestGroups {
    /// Adds a request; whether there was room, of so many classes at most.
    pub(super) fn add(
        &mut self,
        transaction: &Transaction,
        most: usize,
        prompt_bounds: &[u64],
        status_of: fn(&Failure) -> u16,
    ) -> bool {
        let used = transaction.usage.as_ref().map(billable);
        let traits = ClassTraits::of(transaction, used.as_ref(), prompt_bounds, status_of);
        let hash = hash(&self.hasher, transaction, &traits);
        let is_full = self.table.len() >= most;
        let hasher = &self.hasher;
        let rehash = |group: &RequestGroup| class_hash(hasher, &group.class);
        let group = match self.table.entry(hash, |group| group.class.has(transaction, &traits), rehash) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if is_full => return false,
            Entry::Vacant(entry) => {
                let class = RequestClass::of(transaction, traits);
                let group = RequestGroup { class, since: transaction.ended, amounts: Amounts::default() };
                entry.insert(group).into_mut()
            }
        };
        let amounts = &mut group.amounts;
        amounts.requests += 1;
        if let Some(used) = &used {
            amounts.billable.merge(used);
        }
        amounts.bytes_in = amounts.bytes_in.saturating_add(transaction.bytes_in);
        amounts.bytes_out = amounts.bytes_out.saturating_add(transaction.bytes_out);
        amounts.durations.count(transaction.total);
        if let Some(first) = transaction.first_byte {
            amounts.first_events.count(first);
        }
        if let Some(waited) = waited(transaction) {
            amounts.waits.count(waited);
        }
        if let Some(overhead) = overhead(transaction) {
            amounts.overheads.count(overhead);
        }
        true
    }

    /// Takes all groups out; the table keeps its room.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = RequestGroup> {
        self.table.drain()
    }
}

/// Of what tells most classes apart; the rest is compared.
fn hash(hasher: &RandomState, transaction: &Transaction, traits: &ClassTraits) -> u64 {
    let key = transaction.attempts.last().map(|attempt| &attempt.key);
    hasher.hash_one((transaction.caller.as_deref(), transaction.model.as_deref(), key, traits.code))
}

fn class_hash(hasher: &RandomState, class: &RequestClass) -> u64 {
    let key = class.tries.last().map(|(key, _)| key);
    hasher.hash_one((class.caller.as_deref(), class.model.as_deref(), key, class.traits.code))
}
