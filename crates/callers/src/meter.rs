#![allow(dead_code, reason = "the copy goes when the crate is there")]
//! What was used in the last minute: a ring of one bucket a second, so its size does not depend on the traffic. Counts
//! are never too low: what falls into a bucket's second stays counted for a whole minute after that second's end.

use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// One bucket more than a minute has seconds, since the oldest is not over when the newest begins.
const BUCKETS: usize = 61;
const SPAN: u64 = BUCKETS as u64;
/// Seconds are counted from before the clock's zero, so that what a former incarnation used has a place.
const EPOCH: u64 = 2 * SPAN;

/// A second of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Second(u64);

impl Second {
    pub(crate) fn of(mono: Duration) -> Self {
        Self(mono.as_secs() + EPOCH)
    }

    /// When it begins.
    fn start(self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(EPOCH))
    }

    /// So many seconds earlier.
    pub(crate) fn earlier(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// How many seconds earlier another one is.
    fn since(self, other: Self) -> u64 {
        self.0.saturating_sub(other.0)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub requests: u64,
    pub tokens: u64,
}

impl Amount {
    fn is_zero(self) -> bool {
        self == Self::default()
    }

    fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(other.requests),
            tokens: self.tokens.saturating_sub(other.tokens),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Minute {
    newest: Second,
    /// Of a second, at its number modulo their count. None is older than a minute before `newest`.
    buckets: [Amount; BUCKETS],
    total: Amount,
}

impl Minute {
    pub(crate) fn new() -> Self {
        Self { newest: Second(0), buckets: [Amount::default(); BUCKETS], total: Amount::default() }
    }

    fn at(second: Second) -> usize {
        // The remainder is below 61.
        usize::try_from(second.0 % SPAN).unwrap_or_default()
    }

    /// The seconds that count in this second, the oldest first.
    fn counting(&self, now: Second) -> impl Iterator<Item = Second> + use<> {
        let newest = self.newest;
        (now.0.max(newest.0).saturating_sub(SPAN - 1)..=newest.0).map(Second)
    }

    /// What is counted in this second.
    pub(crate) fn total(&self, now: Second) -> Amount {
        if now <= self.newest {
            return self.total;
        }
        let counting = self.counting(now);
        counting.fold(Amount::default(), |total, second| total.plus(self.buckets[Self::at(second)]))
    }

    /// The first second, from this one on, in which what is still counted fits. One in which nothing is must fit.
    pub(crate) fn opens(&self, now: Second, fits: impl Fn(Amount) -> bool) -> Second {
        let mut left = self.total(now);
        if fits(left) {
            return now;
        }
        for second in self.counting(now) {
            left = left.minus(self.buckets[Self::at(second)]);
            if fits(left) {
                return Second(second.0 + SPAN);
            }
        }
        Second(self.newest.0.max(now.0) + SPAN)
    }

    /// Adds what was used in a second, if that still counts.
    pub(crate) fn add(&mut self, at: Second, now: Second, amount: Amount) {
        self.advance(now);
        if self.newest.since(at) < SPAN && at <= self.newest {
            let bucket = &mut self.buckets[Self::at(at)];
            *bucket = bucket.plus(amount);
            self.total = self.total.plus(amount);
        }
    }

    /// Takes back what was not used in a second after all.
    pub(crate) fn take_back(&mut self, at: Second, now: Second, amount: Amount) {
        self.advance(now);
        if self.newest.since(at) < SPAN && at <= self.newest {
            let bucket = &mut self.buckets[Self::at(at)];
            let rest = bucket.minus(amount);
            self.total = self.total.minus(bucket.minus(rest));
            *bucket = rest;
        }
    }

    /// The second whose bucket ends to count at this time, if that is within a minute.
    pub(crate) fn ending_at(now: Second, ends: Duration) -> Second {
        let second = Second::of(ends).earlier(SPAN);
        second.max(now.earlier(SPAN - 1)).min(now)
    }

    /// Two minutes that turn out to be the same project's: the larger count of each second.
    pub(crate) fn merge(&mut self, other: &Self) {
        let now = self.newest.max(other.newest);
        self.advance(now);
        for second in other.counting(now) {
            let more = other.buckets[Self::at(second)].minus(self.buckets[Self::at(second)]);
            self.add(second, now, more);
        }
    }

    /// What each second used that still counts: how long ago it was, and how much.
    pub(crate) fn ages(&self, now: Second) -> impl Iterator<Item = (u64, Amount)> + '_ {
        self.counting(now)
            .map(move |second| (now.since(second), self.buckets[Self::at(second)]))
            .filter(|(_, amount)| !amount.is_zero())
    }

    fn advance(&mut self, now: Second) {
        if now <= self.newest {
            return;
        }
        for second in (self.newest.0 + 1..=now.0).take(BUCKETS).map(Second) {
            self.total = self.total.minus(self.buckets[Self::at(second)]);
            self.buckets[Self::at(second)] = Amount::default();
        }
        self.newest = now;
    }
}

/// When what fits only in that second may be used: at once, or at its beginning.
pub(crate) fn opening(second: Second, now: Duration) -> Duration {
    second.start().max(now)
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic, since the process started. All waits run on this clock, so a stepped wall clock does not matter.
    pub mono: Duration,
    /// The wall clock. Only for midnights, and for what must outlive the process.
    pub wall: DateTime<Utc>,
}

impl Now {
    /// What the wall clock shows at this moment of the monotonic clock.
    pub(crate) fn wall_at(self, mono: Duration) -> DateTime<Utc> {
        let shifted = match mono.checked_sub(self.mono) {
            Some(ahead) => self.wall.checked_add_signed(delta(ahead)),
            None => self.wall.checked_sub_signed(delta(self.mono.saturating_sub(mono))),
        };
        shifted.unwrap_or(self.wall)
    }

    /// How long until the wall clock shows this, zero when it is past.
    pub(crate) fn until(self, wall: DateTime<Utc>) -> Duration {
        (wall - self.wall).to_std().unwrap_or_default()
    }

    /// How long ago the wall clock showed this, zero when it is yet to come.
    pub(crate) fn since(self, wall: DateTime<Utc>) -> Duration {
        (self.wall - wall).to_std().unwrap_or_default()
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
