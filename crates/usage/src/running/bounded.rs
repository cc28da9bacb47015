//! The series of one family: at most so many, whatever is counted. What finds no room counts under `other`.

use foldhash::HashMap;
use std::hash::Hash;

/// What tells the series of a family apart.
pub(crate) trait SeriesLabels: Clone + Eq + Hash {
    /// The same, with `other` in place of each name that clients or the operator have made.
    fn with_other(&self) -> Self;

    /// The same with so little told apart that there is always room.
    fn least(&self) -> Self {
        self.with_other()
    }
}

/// The series of one family. See the module.
#[derive(Clone, Debug)]
pub(crate) struct BoundedSeries<L, V> {
    series: HashMap<L, V>,
    most: usize,
    /// How much of that is kept for `other`.
    reserve: usize,
}

impl<L: SeriesLabels, V> BoundedSeries<L, V> {
    /// Of at most `most` series, of which `reserve` are for `other`.
    pub(crate) fn new(most: usize, reserve: usize) -> Self {
        Self { series: HashMap::default(), most, reserve }
    }

    /// The place to count in, made if there is room, and whether these very labels have one.
    pub(crate) fn place(&mut self, labels: L, make: impl FnOnce() -> V) -> (&mut V, bool) {
        let (labels, is_own) = self.settle(labels);
        (self.series.entry(labels).or_insert_with(make), is_own)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&L, &V)> {
        self.series.iter()
    }

    fn settle(&self, labels: L) -> (L, bool) {
        let has_room = |labels: &L, most: usize| self.series.len() < most || self.series.contains_key(labels);
        if has_room(&labels, self.most - self.reserve) {
            return (labels, true);
        }
        let other = labels.with_other();
        let is_own = other == labels;
        // A tenth of the reserve stays for the least of labels.
        if has_room(&other, self.most - self.reserve.div_ceil(10)) {
            return (other, is_own);
        }
        let least = labels.least();
        let is_own = is_own && least == other;
        (least, is_own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl SeriesLabels for (u32, u32) {
        fn with_other(&self) -> Self {
            (u32::MAX, self.1)
        }

        fn least(&self) -> Self {
            (u32::MAX, self.1 % 2)
        }
    }

    #[test]
    fn there_are_never_more_and_nothing_goes_uncounted() {
        let mut series = BoundedSeries::new(100, 20);
        let mut without_room = 0;
        for n in 0..10_000_u32 {
            let (count, is_own) = series.place((n, n % 50), || 0_u64);
            *count += 1;
            without_room += u64::from(!is_own);
        }
        assert!(series.iter().count() <= 100);
        assert_eq!(series.iter().map(|(_, count)| count).sum::<u64>(), 10_000);
        assert_eq!(without_room, 10_000 - 80);
        let (_, is_own) = series.place((0, 0), || 0);
        assert!(is_own, "what has a place keeps it");
    }

    #[test]
    fn one_place_is_kept_for_other_where_nothing_else_is_told_apart() {
        #[derive(Clone, PartialEq, Eq, Hash)]
        struct Name(u32);
        impl SeriesLabels for Name {
            fn with_other(&self) -> Self {
                Self(u32::MAX)
            }
        }
        let mut series = BoundedSeries::new(10, 1);
        for n in 0..50 {
            *series.place(Name(n), || 0).0 += 1;
        }
        assert_eq!(series.iter().count(), 10);
        assert_eq!(series.iter().find(|(name, _)| name.0 == u32::MAX).unwrap().1, &41);
    }
}
