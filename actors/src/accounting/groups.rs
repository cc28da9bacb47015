//! Finished requests of one worker, summed by class: a table that the worker adds to and the accountant empties. Where
//! many callers use many models there are thousands of classes with few requests each, so groups are kept small.

use super::class::{ClassTraits, RequestClass, overhead, waited};
use crate::{failure::Failure, transaction::Transaction};
use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table::Entry};
use std::hash::BuildHasher;
use usage::{Amounts, RequestAmounts, SmallAmounts, billable};

/// Requests of one class, and what they sum to.
#[derive(Clone, Debug)]
pub(super) struct RequestGroup {
    pub(super) class: RequestClass,
    /// When the first of them ended: of models that are new, the first come are told apart.
    pub(super) since: DateTime<Utc>,
    amounts: SmallAmounts,
    /// Where there were more than fit into these.
    before: Option<Box<Amounts>>,
}

impl RequestGroup {
    /// What they sum to.
    pub(super) fn amounts(&self) -> Amounts {
        let mut amounts = self.before.as_deref().copied().unwrap_or_default();
        amounts.take_over(&self.amounts);
        amounts
    }

    /// How many they are.
    pub(super) fn requests(&self) -> u64 {
        u64::from(self.amounts.requests()) + self.before.as_ref().map_or(0, |before| before.requests)
    }

    fn add(&mut self, one: &RequestAmounts) {
        if self.amounts.add(one) {
            return;
        }
        self.before.get_or_insert_default().take_over(&self.amounts);
        self.amounts = SmallAmounts::default();
        self.amounts.add(one);
    }
}

/// Room for so many groups is kept in any case.
const KEPT_ROOM: usize = 256;
/// Room for more than so many times what was in use is given back.
const SPARE_ROOM: usize = 16;

// There may be thousands of them in each quarter of a second.
const _: () = assert!(size_of::<RequestGroup>() <= 448);

/// See the module. The groups lie one behind the other, in the order in which they began, and a small table finds them: so
/// memory is written from its beginning to its end, however many classes there are.
#[derive(Debug, Default)]
pub(super) struct RequestGroups {
    groups: Vec<RequestGroup>,
    /// Places in `groups`.
    table: HashTable<u32>,
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
        let Self { groups, table, hasher } = self;
        let is_same = |at: &u32| groups[*at as usize].class.has(transaction, &traits);
        let rehash = |at: &u32| class_hash(hasher, &groups[*at as usize].class);
        let at = match table.entry(hash, is_same, rehash) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(_) if groups.len() >= most => return false,
            Entry::Vacant(entry) => {
                let Ok(at) = u32::try_from(groups.len()) else { return false };
                entry.insert(at);
                let class = RequestClass::of(transaction, traits);
                let amounts = SmallAmounts::default();
                groups.push(RequestGroup { class, since: transaction.ended, amounts, before: None });
                at
            }
        };
        groups[at as usize].add(&one);
        true
    }

    /// Returns the groups, in the order in which they began.
    pub(super) fn groups(&self) -> &[RequestGroup] {
        &self.groups
    }

    /// Begins anew. What room there is stays, as long as a good part of it was in use.
    pub(super) fn clear(&mut self) {
        let used = self.groups.len();
        self.groups.clear();
        self.table.clear();
        if self.groups.capacity() / SPARE_ROOM > used.max(KEPT_ROOM) {
            self.groups.shrink_to(KEPT_ROOM);
            self.table = HashTable::new();
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn more_requests_than_fit_into_small_sums_are_all_counted() {
        let mut groups = RequestGroups::default();
        let transaction = crate::testing::transaction("alice", "/v1beta/models/m:generateContent");
        for _ in 0..150_000 {
            assert!(groups.add(
                &Transaction { total: Duration::from_millis(3), ..transaction.clone() },
                1,
                &[],
                |_| 504
            ));
        }
        let group = &groups.groups()[0];
        let amounts = group.amounts();
        assert_eq!((group.requests(), amounts.requests), (150_000, 150_000));
        assert_eq!(amounts.durations.sum(), Duration::from_secs(450));
    }
}
