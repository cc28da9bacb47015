//! Finished requests of one worker, summed by class: a table that the worker adds to and the accountant empties. Where
//! many callers use many models nearly every class has one request, so that a group of one is kept small.

use super::class::{ClassTraits, RequestClass, overhead, waited};
use crate::{failure::Failure, transaction::Transaction};
use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table::Entry};
use std::hash::BuildHasher;
use usage::{Amounts, RequestAmounts, billable};

/// Requests of one class, and what they sum to.
#[derive(Clone, Debug)]
pub(super) struct RequestGroup {
    pub(super) class: RequestClass,
    /// When the first of them ended: of models that are new, the first come are told apart.
    pub(super) since: DateTime<Utc>,
    first: RequestAmounts,
    /// Of all of them, where there is another than the first.
    sums: Option<Box<Amounts>>,
}

impl RequestGroup {
    /// What they sum to.
    pub(super) fn amounts(&self) -> Amounts {
        self.sums.as_deref().copied().unwrap_or_else(|| sum_of(&self.first))
    }

    /// How many they are.
    pub(super) fn requests(&self) -> u64 {
        self.sums.as_ref().map_or(1, |sums| sums.requests)
    }

    fn add(&mut self, one: &RequestAmounts) {
        self.sums.get_or_insert_with(|| Box::new(sum_of(&self.first))).add(one);
    }
}

fn sum_of(one: &RequestAmounts) -> Amounts {
    let mut amounts = Amounts::default();
    amounts.add(one);
    amounts
}

// There may be thousands of them in each quarter of a second.
const _: () = assert!(size_of::<RequestGroup>() <= 320);

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
        let one = RequestAmounts {
            billable: used.unwrap_or_default(),
            bytes_in: transaction.bytes_in,
            bytes_out: transaction.bytes_out,
            duration: transaction.total,
            first_event: transaction.first_byte,
            wait: waited(transaction),
            overhead: overhead(transaction),
        };
        let hash = hash(&self.hasher, transaction, &traits);
        let is_full = self.table.len() >= most;
        let hasher = &self.hasher;
        let rehash = |group: &RequestGroup| class_hash(hasher, &group.class);
        match self.table.entry(hash, |group| group.class.has(transaction, &traits), rehash) {
            Entry::Occupied(entry) => entry.into_mut().add(&one),
            Entry::Vacant(_) if is_full => return false,
            Entry::Vacant(entry) => {
                let class = RequestClass::of(transaction, traits);
                entry.insert(RequestGroup { class, since: transaction.ended, first: one, sums: None });
            }
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
