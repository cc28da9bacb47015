//! Whether the two clocks have parted: a laptop that slept, a board that got its time late, a wall clock that was set. What
//! ends at a time of day must then be looked at again; what waits so long does not care.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::daily_reset;
use crate::now::Now;

/// The clocks run apart by less than this all the time, and are brought together again by small corrections.
pub(crate) const APART: TimeDelta = TimeDelta::seconds(5);

/// Watches both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    /// What the wall clock shows at the monotonic clock's zero, as of the last time that they had parted.
    zero: Option<DateTime<Utc>>,
}

/// How the clocks stood to each other before they parted.
#[derive(Clone, Copy, Debug)]
pub struct Parted {
    zero: DateTime<Utc>,
}

impl Clocks {
    /// Looks at both clocks, and tells if they have parted by more than some seconds since they last did.
    pub fn look(&mut self, now: Now) -> Option<Parted> {
        let shown = now.wall_at(Duration::ZERO);
        let zero = *self.zero.get_or_insert(shown);
        if (shown - zero).abs() <= APART {
            return None;
        }
        self.zero = Some(shown);
        Some(Parted { zero })
    }
}

impl Parted {
    /// Returns when a day ends that was to end at this monotonic time: where the wall clock shows the same midnight as it
    /// would have then, at once if that is past, and never later than the next one.
    pub fn day_end(self, ends: Duration, now: Now) -> Duration {
        let midnight = TimeDelta::from_std(ends).ok().and_then(|ends| self.zero.checked_add_signed(ends));
        let next = daily_reset::until_next(now.wall);
        now.mono + midnight.map_or(next, |midnight| now.until(midnight).min(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(mono_s: u64, wall: &str) -> Now {
        Now { mono: Duration::from_secs(mono_s), wall: wall.parse().unwrap() }
    }

    #[test]
    fn clocks_that_run_together_or_nearly_so_have_not_parted() {
        let mut clocks = Clocks::default();
        assert!(clocks.look(now(100, "2026-07-15T20:00:00Z")).is_none());
        assert!(clocks.look(now(3_700, "2026-07-15T21:00:05Z")).is_none());
        assert!(clocks.look(now(3_700, "2026-07-15T20:59:55Z")).is_none());
        // Small differences add up until they count.
        assert!(clocks.look(now(3_700, "2026-07-15T21:00:06Z")).is_some());
        assert!(clocks.look(now(3_700, "2026-07-15T21:00:06Z")).is_none());
        assert!(clocks.look(now(3_700, "2026-07-15T21:00:00Z")).is_some());
    }

    #[test]
    fn a_day_ends_when_the_wall_clock_shows_its_midnight() {
        // 20:00 UTC is 13:00 in Los Angeles: eleven hours are left.
        let ends = Duration::from_secs(100 + 11 * 3600);
        for (wall, hours_left) in [
            ("2026-07-15T22:00:00Z", 9),  // two hours asleep
            ("2026-07-16T07:00:00Z", 0),  // to the midnight itself
            ("2026-09-01T00:00:00Z", 0),  // for weeks
            ("2026-07-15T12:00:00Z", 19), // set back by eight hours
            ("2026-07-14T12:00:00Z", 19), // by more than a day: the next midnight
            ("1970-01-01T00:00:00Z", 8),  // a board without a clock
        ] {
            let mut clocks = Clocks::default();
            assert!(clocks.look(now(100, "2026-07-15T20:00:00Z")).is_none());
            let woken = now(160, wall);
            let parted = clocks.look(woken).unwrap();
            let left = parted.day_end(ends, woken).checked_sub(woken.mono).unwrap();
            assert_eq!(left, Duration::from_secs(hours_left * 3600), "{wall}");
        }
    }
}
