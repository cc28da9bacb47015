//! When Google's daily quotas start anew: at midnight in Los Angeles, on days of 23, 24 and 25 hours. Called when a daily
//! quota is used up; the wait then runs on the monotonic clock, and `clocks` says when it has to be looked at again.

use std::time::Duration;

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::America::Los_Angeles;

use crate::calendar::{self, CalendarUnit};
use crate::now::Now;

/// Returns how long it is from this moment to the next midnight in Los Angeles: never zero, at most 25 hours.
pub fn until_next(wall: DateTime<Utc>) -> Duration {
    calendar::until_next(CalendarUnit::Day, Los_Angeles, wall)
}

/// Returns how long ago the last midnight in Los Angeles was.
pub fn since_last(wall: DateTime<Utc>) -> Duration {
    wall.with_timezone(&Los_Angeles)
        .date_naive()
        .and_time(NaiveTime::MIN)
        .and_local_timezone(Los_Angeles)
        .earliest()
        .and_then(|midnight| (wall - midnight.to_utc()).to_std().ok())
        .unwrap_or_default()
}

/// Returns when the day of this moment ends, on the monotonic clock.
pub fn end_of_day(now: Now) -> Duration {
    now.mono + until_next(now.wall)
}

/// Returns when a day ends that begins now, after one that was to end when the wall clock shows `closes`: the wall clock may
/// still be some seconds behind that.
pub fn end_of_day_after(closes: Option<DateTime<Utc>>, now: Now) -> Duration {
    calendar::end_of(CalendarUnit::Day, Los_Angeles, calendar::beginning(closes, now.wall), now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_next_midnight_is_found_on_days_of_23_24_and_25_hours() {
        for (from, to) in [
            ("2026-01-15T20:00:00Z", "2026-01-16T08:00:00Z"), // winter, UTC-8
            ("2026-07-15T20:00:00Z", "2026-07-16T07:00:00Z"), // summer, UTC-7
            ("2026-07-16T06:59:59Z", "2026-07-16T07:00:00Z"), // the last second
            ("2026-07-16T07:00:00Z", "2026-07-17T07:00:00Z"), // at midnight itself: a whole day
            ("2026-03-08T08:00:00Z", "2026-03-09T07:00:00Z"), // spring forward: 23 hours
            ("2026-03-08T11:00:00Z", "2026-03-09T07:00:00Z"), // after the jump
            ("2026-11-01T07:00:00Z", "2026-11-02T08:00:00Z"), // fall back: 25 hours
            ("2026-11-01T09:30:00Z", "2026-11-02T08:00:00Z"), // in the hour that comes twice
            ("2024-02-29T12:00:00Z", "2024-03-01T08:00:00Z"), // a leap day
            ("2026-12-31T23:00:00Z", "2027-01-01T08:00:00Z"), // a year's end
        ] {
            let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
            let found = at(from) + until_next(at(from));
            assert_eq!(found, at(to), "from {from}");
            assert_eq!(since_last(at(to)), Duration::ZERO);
            assert!(since_last(at(from)) + until_next(at(from)) >= Duration::from_secs(23 * 3600));
        }
    }

    proptest! {
        #[test]
        fn no_midnight_is_skipped_or_met_twice(start in 1_767_225_600_i64..1_893_456_000) {
            // From a midnight, the next one is 23 to 25 hours away, on the following date.
            let start = DateTime::from_timestamp(start, 0).unwrap();
            let mut midnight = start + until_next(start);
            for _ in 0..400 {
                let next = midnight + until_next(midnight);
                let hours = (next - midnight).num_hours();
                prop_assert!((23..=25).contains(&hours), "{midnight} to {next}");
                let date = |at: DateTime<Utc>| at.with_timezone(&Los_Angeles).date_naive();
                prop_assert_eq!(date(midnight).succ_opt(), Some(date(next)));
                prop_assert_eq!(next.with_timezone(&Los_Angeles).time(), NaiveTime::MIN);
                midnight = next;
            }
        }
    }
}
