//! Whose turn it is, for each model by itself: clients that ask for several models in step must not pin each to one key.
//! A rotation is two numbers, however many keys there are, since clients can make up names of models. It knows nothing of
//! keys but their places; which of them may be leased is the selector's to say.

use std::ops::Range;

use fixedbitset::FixedBitSet;

use crate::ids::KeyIx;
use crate::moves::Moves;

/// How far a model has come around the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rotation {
    /// The place after that of its last lease.
    next: usize,
    /// How many leases there were.
    leases: u64,
}

impl Rotation {
    /// Returns the rotation after a lease of this key.
    pub(crate) fn after(self, key: KeyIx) -> Self {
        Self { next: key.position() + 1, leases: self.leases.wrapping_add(1) }
    }

    /// Returns the rotation over another set of keys: it goes on with the next one that is still there.
    pub(crate) fn over_others(self, moves: &Moves) -> Self {
        Self { next: moves.turn(self.next), ..self }
    }

    /// Returns the places that are set, beginning with the one whose turn it is. Costs a few words for those that are not.
    pub(crate) fn over(self, places: &FixedBitSet) -> impl Iterator<Item = usize> + '_ {
        let next = if self.next < places.len() { self.next } else { 0 };
        ones_between(places, next, places.len()).chain(ones_between(places, 0, next))
    }

    /// Returns the places from the one whose turn it is to this one, without it.
    pub(crate) fn before(self, key: KeyIx, places: usize) -> impl Iterator<Item = usize> + use<> {
        let [behind, begun_anew] = self.ranges_before(key, places);
        behind.chain(begun_anew)
    }

    /// Returns those of them that are set. Costs a few words for those that are not.
    pub(crate) fn over_before(self, key: KeyIx, places: &FixedBitSet) -> impl Iterator<Item = usize> + '_ {
        let [behind, begun_anew] = self.ranges_before(key, places.len());
        ones_between(places, behind.start, behind.end).chain(ones_between(
            places,
            begun_anew.start,
            begun_anew.end,
        ))
    }

    fn ranges_before(self, key: KeyIx, places: usize) -> [Range<usize>; 2] {
        let next = if self.next < places { self.next } else { 0 };
        let to = key.position();
        if next <= to { [next..to, 0..0] } else { [next..places, 0..to] }
    }

    /// Returns which of so many shares has its turn. Over as many leases as there are shares each has exactly one, and
    /// neighbours are far apart.
    pub(crate) fn share_of(self, shares: u64) -> u64 {
        let shares = shares.max(1);
        // Steps of the golden section leave no share out if they have no factor in common with the number of shares.
        let first = (shares.saturating_mul(5) / 8).max(1);
        let step = (first..first + shares).find(|step| are_coprime(*step, shares)).unwrap_or(1);
        let share = u128::from(self.leases % shares) * u128::from(step) % u128::from(shares);
        u64::try_from(share).unwrap_or_default()
    }
}

fn are_coprime(mut one: u64, mut other: u64) -> bool {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one == 1
}

fn ones_between(places: &FixedBitSet, from: usize, to: usize) -> impl Iterator<Item = usize> + '_ {
    const SIZE: usize = usize::BITS as usize;
    let words = places.as_slice();
    let ones = move |at: usize| {
        let mut word = words.get(at).copied().unwrap_or_default();
        std::iter::from_fn(move || {
            let bit = word.trailing_zeros() as usize;
            (word != 0).then(|| {
                word &= word - 1;
                at * SIZE + bit
            })
        })
    };
    (from / SIZE..to.div_ceil(SIZE)).flat_map(ones).filter(move |at| (from..to).contains(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_goes_on_behind_the_last_one_and_begins_anew_at_the_end() {
        let places: FixedBitSet = [1, 3, 4].into_iter().collect();
        let order = |rotation: Rotation| rotation.over(&places).collect::<Vec<_>>();
        let fresh = Rotation::default();
        assert_eq!(order(fresh), [1, 3, 4]);
        assert_eq!(order(fresh.after(KeyIx::at(1))), [3, 4, 1]);
        assert_eq!(order(fresh.after(KeyIx::at(4))), [1, 3, 4]);
        assert_eq!(order(fresh.after(KeyIx::at(900))), [1, 3, 4]);
    }

    #[test]
    fn what_lies_before_a_place_begins_with_the_one_whose_turn_it_is() {
        let before =
            |last: usize, at: usize| Rotation::default().after(KeyIx::at(last)).before(KeyIx::at(at), 5);
        assert_eq!(before(0, 1).count(), 0);
        assert_eq!(before(0, 3).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(before(2, 1).collect::<Vec<_>>(), [3, 4, 0]);
        assert_eq!(before(4, 2).collect::<Vec<_>>(), [0, 1]);
    }

    proptest! {
        #[test]
        fn every_place_comes_once_in_the_order_of_a_ring(
            set in proptest::collection::btree_set(0_usize..300, 0..80),
            last in 0_usize..300,
            until in 0_usize..300,
        ) {
            let mut places = FixedBitSet::with_capacity(300);
            places.extend(set.iter().copied());
            let expected: Vec<_> = set.range(last + 1..).chain(set.range(..=last)).copied().collect();
            let order: Vec<_> = Rotation::default().after(KeyIx::at(last)).over(&places).collect();
            prop_assert_eq!(order, expected);
            let until = KeyIx::at(until);
            let before: Vec<_> = Rotation::default().after(KeyIx::at(last)).over_before(until, &places).collect();
            let all = Rotation::default().after(KeyIx::at(last)).before(until, 300);
            prop_assert_eq!(before, all.filter(|place| places.contains(*place)).collect::<Vec<_>>());
        }

        #[test]
        fn every_share_has_one_turn_in_a_round(shares in 1_u64..500, begun in any::<u64>()) {
            let turns: std::collections::BTreeSet<_> = (0..shares)
                .map(|at| Rotation { next: 0, leases: (begun % (1 << 40)) + at }.share_of(shares))
                .collect();
            prop_assert_eq!(turns, (0..shares).collect());
        }
    }
}
