//! A histogram of durations with its sum, in buckets that double. Unlike a [`Spread`](crate::Spread) it is never written
//! down, so each kind of time has buckets of its own.

use std::time::Duration;

/// The bounds of a histogram's buckets: each is twice the one before. A bound belongs to its bucket; above the last there
/// is one more, without a bound.
#[derive(Debug, PartialEq, Eq)]
pub struct Buckets {
    first_us: u64,
    bounds: usize,
}

impl Buckets {
    /// Of whole requests and first events: 0.01 s to 655.36 s.
    pub const TIMES: &'static Self = &Self { first_us: 10_000, bounds: 17 };
    /// Of waiting for a key: 0.001 s to 16.384 s.
    pub const WAITS: &'static Self = &Self { first_us: 1_000, bounds: 15 };
    /// Of the gateway's own work: 0.00005 s to 0.1024 s.
    pub const OVERHEADS: &'static Self = &Self { first_us: 50, bounds: 12 };

    /// How many series one histogram is: its buckets, its sum and its count.
    pub const fn series(&self) -> usize {
        self.bounds + 3
    }

    /// The bounds in seconds, the last bucket's (infinity) included.
    pub fn bounds_s(&self) -> impl Iterator<Item = f64> {
        #[expect(clippy::cast_precision_loss, reason = "whole microseconds below an hour")]
        let bound = |at: usize| (self.first_us << at) as f64 / 1e6;
        (0..self.bounds).map(bound).chain([f64::INFINITY])
    }

    fn place_of(&self, duration: Duration) -> usize {
        (0..self.bounds)
            .position(|at| duration <= Duration::from_micros(self.first_us << at))
            .unwrap_or(self.bounds)
    }
}

/// The most buckets that a histogram has, the last one without a bound included.
const MOST_BUCKETS: usize = Buckets::TIMES.bounds + 1;

/// Counts of durations. See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    buckets: &'static Buckets,
    counts: [u64; MOST_BUCKETS],
    sum: Duration,
}

impl Histogram {
    /// Of nothing yet.
    pub fn new(buckets: &'static Buckets) -> Self {
        const { assert!(Buckets::WAITS.bounds < MOST_BUCKETS && Buckets::OVERHEADS.bounds < MOST_BUCKETS) };
        Self { buckets, counts: [0; MOST_BUCKETS], sum: Duration::ZERO }
    }

    /// Makes one that has counted these.
    pub fn of(buckets: &'static Buckets, durations: impl IntoIterator<Item = Duration>) -> Self {
        let mut histogram = Self::new(buckets);
        durations.into_iter().for_each(|duration| histogram.count(duration));
        histogram
    }

    /// Counts one more.
    pub fn count(&mut self, duration: Duration) {
        self.counts[self.buckets.place_of(duration)] += 1;
        self.sum = self.sum.saturating_add(duration);
    }

    /// Adds another's counts, of the same buckets.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.buckets, other.buckets);
        for (mine, more) in self.counts.iter_mut().zip(other.counts) {
            *mine += more;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// The sum of all.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|&count| count == 0)
    }

    pub(crate) fn bounds(&self) -> usize {
        self.buckets.bounds
    }

    pub(crate) fn counts(&self) -> &[u64; MOST_BUCKETS] {
        &self.counts
    }

    /// The sum of all, in seconds.
    pub fn sum_s(&self) -> f64 {
        self.sum.as_secs_f64()
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each bucket's upper bound in seconds, and what is in that bucket alone.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        self.buckets.bounds_s().zip(self.counts.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_double_between_the_bounds_that_operators_are_told() {
        for (buckets, first, last, count) in [
            (Buckets::TIMES, 0.01, 655.36, 17),
            (Buckets::WAITS, 0.001, 16.384, 15),
            (Buckets::OVERHEADS, 0.000_05, 0.1024, 12),
        ] {
            let bounds: Vec<f64> = buckets.bounds_s().collect();
            assert_eq!(bounds.len(), count + 1);
            assert!((bounds[0] - first).abs() < 1e-12 && (bounds[count - 1] - last).abs() < 1e-12);
            assert!(bounds[count].is_infinite());
            assert_eq!(buckets.series(), count + 3);
        }
    }

    #[test]
    fn a_duration_counts_once_and_a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::new(Buckets::WAITS);
        for ms in [0, 1, 2, 3, 16_384, 16_385] {
            histogram.count(Duration::from_millis(ms));
        }
        let filled: Vec<(f64, u64)> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.001, 2), (0.002, 1), (0.004, 1), (16.384, 1), (f64::INFINITY, 1)]);
        assert_eq!(histogram.total(), 6);
        assert!((histogram.sum_s() - 32.775).abs() < 1e-9);
    }
}
