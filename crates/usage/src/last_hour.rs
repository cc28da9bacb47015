//! How many requests each key has had in the last sixty minutes, for a list of keys that is looked at again and again: a read
//! costs one look-up, whatever has been counted.

use foldhash::HashMap;
use std::sync::Arc;

/// How many minutes count.
const MINUTES: i64 = 60;

/// Requests by key. See the module. Minutes are whole minutes of Unix time.
#[derive(Clone, Debug, Default)]
pub struct LastHour(HashMap<Arc<str>, KeyMinutes>);

/// A ring of one key's minutes.
#[derive(Clone, Debug)]
struct KeyMinutes {
    counts: [u32; 60],
    /// The newest minute of the ring.
    newest: i64,
}

impl LastHour {
    /// Counts requests of a key in this minute. What is older than an hour beside what was counted last is left out.
    pub fn add(&mut self, key: &Arc<str>, minute: i64, requests: u32) {
        // Looked up before it is made: the name is shared, and nearly always there.
        let minutes = match self.0.get_mut(key) {
            Some(minutes) => minutes,
            None => self.0.entry(Arc::clone(key)).or_insert(KeyMinutes { counts: [0; 60], newest: minute }),
        };
        minutes.add(minute, requests);
    }

    /// Returns how many requests a key has had in the hour that ends with this minute.
    pub fn requests(&self, key: &str, minute: i64) -> u64 {
        self.0.get(key).map_or(0, |minutes| minutes.sum(minute))
    }

    /// Adds what was counted elsewhere at the same time.
    pub fn merge(&mut self, other: Self) {
        for (key, minutes) in other.0 {
            for minute in minutes.newest - (MINUTES - 1)..=minutes.newest {
                self.add(&key, minute, minutes.counts[place(minute)]);
            }
        }
    }

    /// Forgets the keys that are not wanted any more.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(&str) -> bool) {
        self.0.retain(|key, _| is_wanted(key));
    }
}

impl KeyMinutes {
    fn add(&mut self, minute: i64, requests: u32) {
        if minute > self.newest {
            // Those in between had nothing.
            let passed = minute.saturating_sub(self.newest).min(MINUTES);
            for back in 0..passed {
                self.counts[place(minute - back)] = 0;
            }
            self.newest = minute;
        }
        if self.newest - minute < MINUTES {
            let count = &mut self.counts[place(minute)];
            *count = count.saturating_add(requests);
        }
    }

    fn sum(&self, minute: i64) -> u64 {
        let oldest = minute - MINUTES + 1;
        let within = (0..MINUTES).map(|back| self.newest - back).filter(|it| (oldest..=minute).contains(it));
        within.map(|it| u64::from(self.counts[place(it)])).sum()
    }
}

fn place(minute: i64) -> usize {
    usize::try_from(minute.rem_euclid(MINUTES)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_an_hour_old_counts_no_more() {
        let (mut hour, key) = (LastHour::default(), Arc::from("a"));
        hour.add(&key, 100, 3);
        hour.add(&key, 101, 4);
        assert_eq!((hour.requests("a", 101), hour.requests("a", 159), hour.requests("a", 160)), (7, 7, 4));
        assert_eq!((hour.requests("a", 161), hour.requests("b", 101)), (0, 0));
        hour.add(&key, 300, 1);
        assert_eq!(hour.requests("a", 300), 1);
        hour.add(&key, 240, 9);
        assert_eq!(hour.requests("a", 300), 1, "it comes too late");
        hour.retain(|key| key != "a");
        assert_eq!(hour.requests("a", 300), 0);
    }

    proptest! {
        #[test]
        fn the_ring_counts_what_a_list_would(added in prop::collection::vec((0_i64..400, 1_u32..5), 0..200)) {
            let mut added = added;
            added.sort_unstable();
            let (mut hour, key) = (LastHour::default(), Arc::from("a"));
            for (position, (minute, requests)) in added.iter().enumerate() {
                hour.add(&key, *minute, *requests);
                for now in [*minute, minute + 1, minute + 59, minute + 60] {
                    let within = added[..=position].iter().filter(|(it, _)| (now - 59..=now).contains(it));
                    let expected: u64 = within.map(|(_, requests)| u64::from(*requests)).sum();
                    prop_assert_eq!(hour.requests("a", now), expected);
                }
            }
        }
    }
}
