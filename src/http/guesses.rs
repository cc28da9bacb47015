//! Failed credentials by address: whoever has shown too many within a minute is told to wait, and nothing is compared for
//! them meanwhile. A table of constant size; where it is full, whoever has failed least recently is forgotten.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// For how long failures count, from the first of them on.
const WINDOW: Duration = Duration::from_secs(60);

const BUCKETS: usize = 1024;
const PLACES: usize = 4;

/// The failures of late.
#[derive(Debug)]
pub struct Guesses {
    /// How many an address may have within the window; 0 for any number.
    most: AtomicU32,
    began: Instant,
    /// When the last one was, in milliseconds since the beginning: while there is none nothing is looked up.
    last: AtomicU64,
    keys: RandomState,
    buckets: Vec<Mutex<[Option<Failures>; PLACES]>>,
}

/// Those of one address.
#[derive(Clone, Copy, Debug)]
struct Failures {
    address: IpAddr,
    first: Instant,
    last: Instant,
    count: u32,
}

impl Failures {
    fn count(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.first) < WINDOW
    }
}

impl Guesses {
    /// `most` failed credentials a minute and address; 0 for any number.
    pub fn new(most: u32, now: Instant) -> Self {
        let buckets = (0..BUCKETS).map(|_| Mutex::new([None; PLACES])).collect();
        let most = AtomicU32::new(most);
        Self { most, began: now, last: AtomicU64::new(u64::MAX), keys: RandomState::new(), buckets }
    }

    /// Changes how many an address may have.
    pub(crate) fn set_most(&self, most: u32) {
        self.most.store(most, Ordering::Relaxed);
    }

    fn most(&self) -> u32 {
        self.most.load(Ordering::Relaxed)
    }

    /// Whether nobody has failed within the window.
    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last == u64::MAX || self.since_began(now).saturating_sub(last) >= since(WINDOW)
    }

    /// For how much longer this address has to wait.
    pub(crate) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let bucket = self.bucket(address);
        let failures = bucket.iter().flatten().find(|failures| failures.address == address)?;
        let most = self.most();
        (most > 0 && failures.count(now) && failures.count >= most)
            .then(|| (failures.first + WINDOW).saturating_duration_since(now))
    }

    /// `count` credentials of this address were not known.
    pub(crate) fn failed(&self, address: IpAddr, count: u32, now: Instant) {
        if self.most() == 0 {
            return;
        }
        self.last.store(self.since_began(now), Ordering::Relaxed);
        let mut bucket = self.bucket(address);
        let own = bucket.iter().position(|place| place.is_some_and(|it| it.address == address));
        let place = own.unwrap_or_else(|| {
            let oldest = bucket.iter().enumerate().min_by_key(|(_, place)| place.map(|it| it.last));
            oldest.map_or(0, |(place, _)| place)
        });
        bucket[place] = match bucket[place] {
            Some(failures) if failures.address == address && failures.count(now) => {
                Some(Failures { count: failures.count.saturating_add(count), last: now, ..failures })
            }
            _ => Some(Failures { address, first: now, last: now, count }),
        };
    }

    fn bucket(&self, address: IpAddr) -> std::sync::MutexGuard<'_, [Option<Failures>; PLACES]> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let bucket = self.keys.hash_one(address) as usize % BUCKETS;
        self.buckets[bucket].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since_began(&self, now: Instant) -> u64 {
        since(now.saturating_duration_since(self.began))
    }
}

fn since(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn an_address_waits_for_the_rest_of_the_minute_after_too_many_failures() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let guesses = Guesses::new(20, start);
        let (one, other) = (address(1), address(2));
        assert!(guesses.is_quiet(start));
        for second in 0..19 {
            guesses.failed(one, 1, at(second));
        }
        assert_eq!(guesses.wait(one, at(19)), None);
        guesses.failed(one, 1, at(20));
        assert_eq!(guesses.wait(one, at(20)), Some(Duration::from_secs(40)));
        assert_eq!(guesses.wait(one, at(59)), Some(Duration::from_secs(1)));
        assert_eq!(guesses.wait(other, at(20)), None);
        assert_eq!(guesses.wait(one, at(60)), None);
        guesses.failed(one, 1, at(61));
        assert_eq!(guesses.wait(one, at(61)), None);
        assert!(!guesses.is_quiet(at(120)));
        assert!(guesses.is_quiet(at(121)));
    }

    #[test]
    fn several_credentials_of_one_request_count_each() {
        let start = Instant::now();
        let guesses = Guesses::new(20, start);
        guesses.failed(address(1), 8, start);
        guesses.failed(address(1), 8, start);
        assert_eq!(guesses.wait(address(1), start), None);
        guesses.failed(address(1), 4, start);
        assert!(guesses.wait(address(1), start).is_some());
    }

    #[test]
    fn nobody_waits_where_there_is_no_bound() {
        let start = Instant::now();
        let guesses = Guesses::new(0, start);
        for _ in 0..100 {
            guesses.failed(address(1), 8, start);
        }
        assert!(guesses.is_quiet(start));
    }

    #[test]
    fn many_addresses_take_no_more_memory_and_the_last_are_remembered() {
        let start = Instant::now();
        let guesses = Guesses::new(1, start);
        for number in 0..100_000 {
            guesses.failed(address(number), 1, start + Duration::from_micros(number.into()));
        }
        let now = start + Duration::from_secs(1);
        assert!(
            (99_000..100_000).filter(|number| guesses.wait(address(*number), now).is_some()).count() > 950
        );
        let places = guesses.buckets.iter().map(|bucket| bucket.lock().unwrap().len()).sum::<usize>();
        assert_eq!(places, BUCKETS * PLACES);
    }
}
