//! What was used in the last minute: a ring of one bucket a second, so its size does not depend on the traffic. Counts
//! are never too low: what falls into a bucket's second stays counted for a whole minute after that second's end. Who
//! uses, and what is allowed, is the caller's matter.

use std::time::Duration;

/// One bucket more than a minute has seconds, since the oldest is not over when the newest begins.
const BUCKETS: usize = 61;
const SPAN: u64 = BUCKETS as u64;
/// Seconds are counted from before the clock's zero, so that what a former incarnation used has a place.
const EPOCH: u64 = 2 * SPAN;

/// A second of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Second(u64);

impl Second {
    /// Returns the second of this moment.
    pub fn of(mono: Duration) -> Self {
        Self(mono.as_secs() + EPOCH)
    }

    /// When it begins.
    fn start(self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(EPOCH))
    }

    /// Returns the second so many seconds earlier.
    #[must_use]
    pub fn earlier(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// How many seconds earlier another one is.
    fn since(self, other: Self) -> u64 {
        self.0.saturating_sub(other.0)
    }
}

/// What was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Requests in the window.
    pub requests: u64,
    /// Input tokens in the window.
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

/// The use of the last minute, second by second.
#[derive(Clone, Debug)]
pub struct Minute {
    newest: Second,
    /// Of a second, at its number modulo their count. None is older than a minute before `newest`.
    buckets: [Amount; BUCKETS],
    total: Amount,
}

impl Default for Minute {
    fn default() -> Self {
        Self::new()
    }
}

impl Minute {
    /// Makes a minute in which nothing was used.
    pub fn new() -> Self {
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

    /// Returns what is counted in this second.
    pub fn total(&self, now: Second) -> Amount {
        if now <= self.newest {
            return self.total;
        }
        let counting = self.counting(now);
        counting.fold(Amount::default(), |total, second| total.plus(self.buckets[Self::at(second)]))
    }

    /// Returns the first second, from this one on, in which what is still counted fits. One in which nothing is must fit.
    pub fn opens(&self, now: Second, fits: impl Fn(Amount) -> bool) -> Second {
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
    pub fn add(&mut self, at: Second, now: Second, amount: Amount) {
        self.advance(now);
        if self.newest.since(at) < SPAN && at <= self.newest {
            let bucket = &mut self.buckets[Self::at(at)];
            *bucket = bucket.plus(amount);
            self.total = self.total.plus(amount);
        }
    }

    /// Takes back what was not used in a second after all.
    pub fn take_back(&mut self, at: Second, now: Second, amount: Amount) {
        self.advance(now);
        if self.newest.since(at) < SPAN && at <= self.newest {
            let bucket = &mut self.buckets[Self::at(at)];
            let rest = bucket.minus(amount);
            self.total = self.total.minus(bucket.minus(rest));
            *bucket = rest;
        }
    }

    /// Returns the second whose bucket ends to count at this time, if that is within a minute.
    pub fn ending_at(now: Second, ends: Duration) -> Second {
        let second = Second::of(ends).earlier(SPAN);
        second.max(now.earlier(SPAN - 1)).min(now)
    }

    /// Takes over another minute that turns out to count the same: of each second the larger count.
    pub fn merge(&mut self, other: &Self) {
        let now = self.newest.max(other.newest);
        self.advance(now);
        for second in other.counting(now) {
            let more = other.buckets[Self::at(second)].minus(self.buckets[Self::at(second)]);
            self.add(second, now, more);
        }
    }

    /// Comes to this total: what is more counts as of now, what is less is taken from the oldest seconds. For what is known by
    /// its sum alone.
    pub fn come_to(&mut self, total: Amount, now: Second) {
        self.advance(now);
        self.add(now, now, total.minus(self.total));
        let mut less = self.total.minus(total);
        for second in self.counting(now) {
            let bucket = &mut self.buckets[Self::at(second)];
            let rest = bucket.minus(less);
            let taken = bucket.minus(rest);
            *bucket = rest;
            self.total = self.total.minus(taken);
            less = less.minus(taken);
        }
    }

    /// Returns by how much each second that still counts differs from what it was in a former state of this minute: how many
    /// seconds ago it was, and how many requests and tokens more, or less.
    pub fn changes<'a>(
        &'a self,
        former: &'a Self,
        now: Second,
    ) -> impl Iterator<Item = (u64, i64, i64)> + use<'a> {
        let signed = |more: u64, less: u64| {
            let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            count(more) - count(less)
        };
        let change = move |second: Second| {
            let is = self.buckets[Self::at(second)];
            let has_it = second <= former.newest && former.newest.since(second) < SPAN;
            let was = if has_it { former.buckets[Self::at(second)] } else { Amount::default() };
            (now.since(second), signed(is.requests, was.requests), signed(is.tokens, was.tokens))
        };
        self.counting(now).map(change).filter(|(_, requests, tokens)| (*requests, *tokens) != (0, 0))
    }

    /// Returns what each second used that still counts: how many seconds ago it was, and how much.
    pub fn ages(&self, now: Second) -> impl Iterator<Item = (u64, Amount)> + '_ {
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

/// Returns when what fits only in that second may be used: at once, or at its beginning. Monotonic.
pub fn opening(second: Second, now: Duration) -> Duration {
    second.start().max(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const ONE: Amount = Amount { requests: 1, tokens: 10 };

    fn second(second: u64) -> Second {
        Second::of(Duration::from_secs(second))
    }

    #[test]
    fn a_request_counts_for_a_minute_after_its_second() {
        let mut minute = Minute::new();
        minute.add(second(5), second(5), ONE);
        assert_eq!(minute.total(second(65)), ONE);
        assert_eq!(minute.total(second(66)), Amount::default());
        assert_eq!(minute.opens(second(6), |left| left.requests < 1), second(66));
        minute.take_back(second(5), second(9), ONE);
        assert_eq!(minute.opens(second(9), |left| left.requests < 1), second(9));
    }

    #[test]
    fn what_is_known_by_its_sum_alone_counts_from_when_it_was_seen_and_leaves_from_the_oldest() {
        let amount = |requests| Amount { requests, tokens: requests * 10 };
        let mut minute = Minute::new();
        minute.come_to(amount(3), second(5));
        minute.come_to(amount(7), second(30));
        assert_eq!(minute.total(second(65)), amount(7));
        assert_eq!(minute.total(second(66)), amount(4));
        minute.come_to(amount(5), second(60));
        assert_eq!((minute.total(second(60)), minute.total(second(66))), (amount(5), amount(4)));
        assert_eq!(minute.total(second(91)), Amount::default());
    }

    proptest! {
        /// Told by its changes alone, a second minute comes to the same.
        #[test]
        fn the_changes_of_a_minute_make_its_former_state_the_present_one(
            steps in prop::collection::vec((0_u64..40, 0_u64..70, 1_u64..100, 0_u8..3), 1..100),
        ) {
            let (mut minute, mut told, mut copy) = (Minute::new(), Minute::new(), BTreeMap::new());
            let mut now = 0;
            for (pass, age, tokens, what) in steps {
                now += pass;
                let (at, amount) = (Second(now + EPOCH).earlier(age), Amount { requests: 1, tokens });
                match what {
                    0 => minute.add(at, second(now), amount),
                    1 => minute.take_back(at, second(now), amount),
                    _ => {
                        for (age, requests, tokens) in minute.changes(&told, second(now)) {
                            let is: &mut (i64, i64) = copy.entry(now + EPOCH - age).or_default();
                            *is = (is.0 + requests, is.1 + tokens);
                        }
                        told = minute.clone();
                        let counting = copy.range(now + EPOCH + 1 - SPAN..).map(|(_, is)| *is);
                        let sum = counting.fold((0, 0), |sum, is| (sum.0 + is.0, sum.1 + is.1));
                        let total = minute.total(second(now));
                        prop_assert_eq!(sum, (i64::try_from(total.requests).unwrap(), i64::try_from(total.tokens).unwrap()));
                    }
                }
            }
        }
    }

    proptest! {
        /// Against a list of everything.
        #[test]
        fn the_ring_counts_what_a_list_counts(
            steps in prop::collection::vec((0_u64..40, 0_u64..70, 1_u64..100, any::<bool>()), 1..200),
            limit in 1_u64..300,
        ) {
            let mut minute = Minute::new();
            let mut list: Vec<(u64, u64)> = Vec::new();
            let mut now = 0;
            for (pass, age, tokens, back) in steps {
                now += pass;
                let at = (now + EPOCH).saturating_sub(age);
                let amount = Amount { requests: 0, tokens };
                let counts = |at: u64, now: u64| at + SPAN > now + EPOCH;
                if back {
                    minute.take_back(Second(at), second(now), amount);
                    if let Some(entry) = list.iter_mut().find(|entry| entry.0 == at && counts(at, now)) {
                        entry.1 = entry.1.saturating_sub(tokens);
                    }
                } else {
                    minute.add(Second(at), second(now), amount);
                    match list.iter_mut().find(|entry| entry.0 == at) {
                        _ if !counts(at, now) => {}
                        Some(entry) => entry.1 += tokens,
                        None => list.push((at, tokens)),
                    }
                }
                let total = |now| list.iter().filter(|(at, _)| counts(*at, now)).map(|(_, tokens)| tokens).sum::<u64>();
                prop_assert_eq!(minute.total(second(now)).tokens, total(now));
                prop_assert_eq!(minute.total(second(now + 7)).tokens, total(now + 7));
                let opens = (now..=now + SPAN).find(|now| total(*now) < limit).unwrap();
                prop_assert_eq!(minute.opens(second(now), |left| left.tokens < limit), second(opens));
            }
        }
    }
}
