//! How durations spread: a histogram whose buckets are the same everywhere, so that histograms add.

use crate::{
    count::{MOST, add},
    running::{Buckets, Histogram},
};
use std::time::Duration;

/// Counts of durations by bucket: up to 0.01 s, and each next one up to twice as much, to 655.36 s; the last holds the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    counts: [u64; Spread::BUCKETS],
}

impl Spread {
    /// How many buckets there are.
    pub const BUCKETS: usize = 18;

    /// The upper bound of each bucket but the last, in milliseconds; it belongs to the bucket.
    pub const BOUNDS_MS: [u64; Spread::BUCKETS - 1] = {
        let mut bounds = [10; Spread::BUCKETS - 1];
        let mut at = 1;
        while at < bounds.len() {
            bounds[at] = bounds[at - 1] * 2;
            at += 1;
        }
        bounds
    };

    /// Counts one more.
    pub fn count(&mut self, duration: Duration) {
        self.add_all(&Histogram::of(Buckets::TIMES, [duration]));
    }

    /// Adds all of a histogram of times, whose buckets are the same.
    pub(crate) fn add_all(&mut self, times: &Histogram) {
        debug_assert_eq!(times.bounds(), Self::BUCKETS - 1);
        for (mine, more) in self.counts.iter_mut().zip(times.counts()) {
            add(mine, *more);
        }
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        for (mine, more) in self.counts.iter_mut().zip(other.counts) {
            add(mine, more);
        }
    }

    /// The counts, a bucket each.
    pub fn counts(&self) -> &[u64; Self::BUCKETS] {
        &self.counts
    }

    /// How many there are in all.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, &count| sum.saturating_add(count).min(MOST))
    }

    /// The upper bound, in milliseconds, of the bucket in which this part of all (0 to 1) ends; `None` if there is none, or
    /// it ends in the last.
    pub fn quantile_ms(&self, part: f64) -> Option<u64> {
        #[expect(clippy::cast_precision_loss, reason = "a bucket's bound is no finer")]
        let wanted = self.total() as f64 * part.clamp(0.0, 1.0);
        let mut so_far = 0_u64;
        for (&count, &bound) in self.counts.iter().zip(&Self::BOUNDS_MS) {
            so_far = so_far.saturating_add(count);
            #[expect(clippy::cast_precision_loss, reason = "a bucket's bound is no finer")]
            if so_far > 0 && so_far as f64 >= wanted {
                return Some(bound);
            }
        }
        None
    }

    pub(crate) fn from_counts(counts: [u64; Self::BUCKETS]) -> Self {
        Self { counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_what_is_longer_than_all_to_the_last() {
        for (duration, bucket) in [
            (Duration::ZERO, 0),
            (Duration::from_millis(10), 0),
            (Duration::from_nanos(10_000_001), 1),
            (Duration::from_millis(20), 1),
            (Duration::from_millis(655_360), 16),
            (Duration::from_millis(655_361), 17),
            (Duration::MAX, 17),
        ] {
            let mut spread = Spread::default();
            spread.count(duration);
            assert_eq!(spread.counts()[bucket], 1, "{duration:?}");
            assert_eq!(spread.total(), 1);
        }
    }

    #[test]
    fn a_quantile_is_the_bound_under_which_that_part_lies() {
        let mut spread = Spread::default();
        assert_eq!(spread.quantile_ms(0.5), None);
        for ms in [5, 15, 15, 300] {
            spread.count(Duration::from_millis(ms));
        }
        assert_eq!(
            [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| spread.quantile_ms(part)),
            [10, 10, 20, 20, 320].map(Some)
        );
    }
}
