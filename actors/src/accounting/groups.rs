//! Finished requests of one worker, summed up: tables that the worker adds to and the accountant empties. Times are kept by
//! class alone, totals also by class and caller, and by class and keys, as they are counted: never by caller and keys
//! together, since where many callers use many models nearly every request would be a group by itself.

use super::class::{ClassTraits, RequestClass, overhead, waited};
use crate::{failure::Failure, transaction::Transaction};
use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table::Entry};
use keypool::KeyId;
use smallvec::SmallVec;
use std::{hash::BuildHasher, sync::Arc};
use usage::{RequestAmounts, Times, Totals, billable};

/// Requests of one class.
#[derive(Clone, Debug)]
pub(super) struct ClassGroup {
    pub(super) class: RequestClass,
    /// When the first of them ended: of models that are new, the first come are told apart.
    pub(super) since: DateTime<Utc>,
    pub(super) totals: Totals,
    pub(super) times: Times,
}

/// Those of them that one caller has made.
#[derive(Clone, Debug)]
pub(super) struct CallerGroup {
    /// The place of their class.
    pub(super) class: u32,
    /// Who called; `None` when nobody was let in.
    pub(super) caller: Option<Arc<str>>,
    pub(super) totals: Totals,
}

/// Those of them that were tried on the same keys.
#[derive(Clone, Debug)]
pub(super) struct KeysGroup {
    /// The place of their class.
    pub(super) class: u32,
    /// The key of each attempt, in order.
    pub(super) keys: SmallVec<[KeyId; 1]>,
    pub(super) totals: Totals,
}

// There may be thousands of them in each second.
const _: () = assert!(size_of::<CallerGroup>() <= 112 && size_of::<KeysGroup>() <= 128);

/// Room for so many groups is kept in any case.
const KEPT_ROOM: usize = 256;
/// Room for more than so many times what was in use is given back.
const SPARE_ROOM: usize = 16;

/// Groups of one kind. They lie one behind the other, in the order in which they began, and a small table finds them: so
/// memory is written from its beginning to its end, however many there are.
#[derive(Debug)]
struct GroupTable<G> {
    groups: Vec<G>,
    /// Places in `groups`.
    places: HashTable<u32>,
}

impl<G> Default for GroupTable<G> {
    fn default() -> Self {
        Self { groups: Vec::new(), places: HashTable::new() }
    }
}

impl<G> GroupTable<G> {
    /// Returns a group and its place; made where there is none yet and room for one, of so many at most.
    fn group(
        &mut self,
        hash: u64,
        most: usize,
        is_same: impl Fn(&G) -> bool,
        hash_of: impl Fn(&G) -> u64,
        make: impl FnOnce() -> G,
    ) -> Option<(u32, &mut G)> {
        let Self { groups, places } = self;
        let found = places.entry(
            hash,
            |at| groups.get(*at as usize).is_some_and(&is_same),
            |at| groups.get(*at as usize).map_or(0, &hash_of),
        );
        let at = match found {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(_) if groups.len() >= most => return None,
            Entry::Vacant(entry) => {
                let at = u32::try_from(groups.len()).ok()?;
                entry.insert(at);
                groups.push(make());
                at
            }
        };
        groups.get_mut(at as usize).map(|group| (at, group))
    }

    /// Begins anew. What room there is stays, as long as a good part of it was in use.
    fn clear(&mut self) {
        let used = self.groups.len();
        self.groups.clear();
        self.places.clear();
        if self.groups.capacity() / SPARE_ROOM > used.max(KEPT_ROOM) {
            self.groups.shrink_to(KEPT_ROOM);
            self.places = HashTable::new();
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct RequestGroups {
    classes: GroupTable<ClassGroup>,
    callers: GroupTable<CallerGroup>,
    keys: GroupTable<KeysGroup>,
    hasher: RandomState,
}

impl RequestGroups {
    /// Adds a request; whether there was room, of so many groups of a kind at most.
    pub(super) fn add(
        &mut self,
        transaction: &Transaction,
        most: usize,
        prompt_bounds: &[u64],
        status_of: fn(&Failure) -> u16,
    ) -> bool {
        let used = transaction.usage.as_ref().and_then(billable);
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
        let Self { classes, callers, keys, hasher } = self;

        let hash = |model: Option<&str>, traits: &ClassTraits| {
            hasher.hash_one((model, traits.code, traits.operation.len()))
        };
        let of_class = classes.group(
            hash(transaction.model.as_deref(), &traits),
            most,
            |group| group.class.has(transaction, &traits),
            |group| hash(group.class.model.as_deref(), &group.class.traits),
            || ClassGroup {
                class: RequestClass::of(transaction, traits),
                since: transaction.ended,
                totals: Totals::default(),
                times: Times::default(),
            },
        );
        let Some((class, of_class)) = of_class else { return false };

        let hash = |class: u32, caller: Option<&str>| hasher.hash_one((class, caller));
        let of_caller = callers.group(
            hash(class, transaction.caller.as_deref()),
            most,
            |group| group.class == class && group.caller == transaction.caller,
            |group| hash(group.class, group.caller.as_deref()),
            || CallerGroup { class, caller: transaction.caller.clone(), totals: Totals::default() },
        );
        let Some((_, of_caller)) = of_caller else { return false };

        // Of what tells most of them apart; the rest is compared.
        let hash = |class: u32, last: Option<&KeyId>| hasher.hash_one((class, last));
        let tried = || transaction.attempts.iter().map(|attempt| &attempt.key);
        let of_keys = keys.group(
            hash(class, tried().next_back()),
            most,
            |group| group.class == class && group.keys.iter().eq(tried()),
            |group| hash(group.class, group.keys.last()),
            || KeysGroup { class, keys: tried().cloned().collect(), totals: Totals::default() },
        );
        let Some((_, of_keys)) = of_keys else { return false };

        // Nothing is added before there is room for all of it.
        of_class.totals.add(&one);
        of_class.times.add(&one);
        of_caller.totals.add(&one);
        of_keys.totals.add(&one);
        true
    }

    /// Returns the groups by class, in the order in which they began.
    pub(super) fn classes(&self) -> &[ClassGroup] {
        &self.classes.groups
    }

    /// Returns the groups by class and caller.
    pub(super) fn callers(&self) -> &[CallerGroup] {
        &self.callers.groups
    }

    /// Returns the groups by class and keys.
    pub(super) fn keys(&self) -> &[KeysGroup] {
        &self.keys.groups
    }

    /// Returns how many there are of the kind of which there are most.
    pub(super) fn most(&self) -> usize {
        self.classes().len().max(self.callers().len()).max(self.keys().len())
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.classes.clear();
        self.callers.clear();
        self.keys.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::Attempt;

    #[test]
    fn each_way_of_counting_sums_to_all_that_came_in() {
        let mut groups = RequestGroups::default();
        let one = crate::testing::transaction("alice", "/v1beta/models/m:generateContent");
        for n in 0..600_u64 {
            let mut transaction = Transaction { bytes_in: n, ..one.clone() };
            transaction.caller = (n % 7 > 0).then(|| format!("caller-{}", n % 7).into());
            transaction.model = Some(format!("model-{}", n % 5).into());
            transaction.attempts[0].key = KeyId::from(format!("key-{}", n % 3).as_str());
            if n % 2 == 0 {
                let first = Attempt { key: KeyId::from("other"), ..transaction.attempts[0].clone() };
                transaction.attempts.insert(0, first);
            }
            assert!(groups.add(&transaction, 1_000, &[], |_| 504));
        }
        let all = (600, (0..600).sum::<u64>());
        let sum = |totals: &mut dyn Iterator<Item = &Totals>| {
            totals.fold((0, 0), |(requests, bytes), it| (requests + it.requests, bytes + it.bytes_in))
        };
        assert_eq!(sum(&mut groups.classes().iter().map(|it| &it.totals)), all);
        assert_eq!(sum(&mut groups.callers().iter().map(|it| &it.totals)), all);
        assert_eq!(sum(&mut groups.keys().iter().map(|it| &it.totals)), all);
        // Five models, with one try and with two; seven callers; three keys.
        let found = [groups.classes().len(), groups.callers().len(), groups.keys().len()];
        assert_eq!(found, [10, 70, 30]);
        groups.clear();
        assert!(groups.classes().is_empty() && groups.callers().is_empty() && groups.keys().is_empty());
    }

    #[test]
    fn what_finds_no_room_is_in_none_of_the_sums() {
        let mut groups = RequestGroups::default();
        for n in 0..10 {
            let caller = format!("caller-{n}");
            let path = "/v1beta/models/m:generateContent";
            assert_eq!(groups.add(&crate::testing::transaction(&caller, path), 4, &[], |_| 504), n < 4);
        }
        assert_eq!(groups.classes()[0].totals.requests, 4);
        assert_eq!(groups.callers().iter().map(|it| it.totals.requests).sum::<u64>(), 4);
        assert_eq!(groups.keys()[0].totals.requests, 4);
    }
}
