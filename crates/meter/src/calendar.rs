//! When the days and months of a time zone begin. The wait until then runs on the monotonic clock.

use std::time::Duration;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};
use chrono_tz::Tz;

use crate::clocks::APART;
use crate::now::Now;

/// A day or a month of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalendarUnit {
    /// From midnight to midnight, on days of 23, 24 and 25 hours.
    Day,
    /// From the first midnight to the next month's.
    Month,
}

/// Returns how long it is from this moment to the beginning of the next day or month in the zone: never zero.
pub fn until_next(unit: CalendarUnit, zone: Tz, wall: DateTime<Utc>) -> Duration {
    let today = wall.with_timezone(&zone).date_naive();
    let next = match unit {
        CalendarUnit::Day => today.succ_opt(),
        CalendarUnit::Month => today.with_day(1).and_then(|first| first.checked_add_months(Months::new(1))),
    };
    next.and_then(|date| (first_moment(zone, date)? - wall).to_std().ok())
        // Only at the end of chrono's calendar.
        .unwrap_or(Duration::from_secs(24 * 60 * 60))
}

/// Returns the moment by which the day or month is found that begins now, after one that was to end when the wall clock shows
/// `closes`. Its end has come on the monotonic clock, and the wall clock may still be some seconds behind: a day must not
/// begin twice. Where no other went before, or the clocks have parted since, it is what the wall clock shows, to the second.
pub fn beginning(closes: Option<DateTime<Utc>>, wall: DateTime<Utc>) -> DateTime<Utc> {
    closes.filter(|&closes| wall < closes && closes - wall <= APART).unwrap_or(wall)
}

/// Returns when the day or month that [begins](beginning) at this moment ends, on the monotonic clock.
pub fn end_of(unit: CalendarUnit, zone: Tz, begins: DateTime<Utc>, now: Now) -> Duration {
    now.mono + now.until(begins) + until_next(unit, zone, begins)
}

/// Returns the first day of the day or month that this moment is of.
pub fn first_day(unit: CalendarUnit, zone: Tz, at: DateTime<Utc>) -> NaiveDate {
    let date = at.with_timezone(&zone).date_naive();
    match unit {
        CalendarUnit::Day => date,
        CalendarUnit::Month => date.with_day(1).unwrap_or(date),
    }
}

/// The first moment of a date in the zone: midnight, or what comes after it where clocks are put forward at midnight.
fn first_moment(zone: Tz, date: NaiveDate) -> Option<DateTime<Utc>> {
    (0..=4).find_map(|half_hours| {
        let time = date.and_time(NaiveTime::from_hms_opt(half_hours / 2, half_hours % 2 * 30, 0)?);
        time.and_local_timezone(zone).earliest().map(|first| first.to_utc())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_months_end_where_the_zone_says() {
        use CalendarUnit::{Day, Month};
        for (unit, zone, from, to) in [
            (Day, "UTC", "2026-07-15T20:00:00Z", "2026-07-16T00:00:00Z"),
            (Day, "UTC", "2026-07-16T00:00:00Z", "2026-07-17T00:00:00Z"),
            (Day, "Asia/Kolkata", "2026-07-15T18:29:59Z", "2026-07-15T18:30:00Z"), // UTC+5:30
            (Day, "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T22:00:00Z"), // a day of 23 hours
            (Day, "Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"), // a day of 25 hours
            (Day, "America/Santiago", "2026-09-05T12:00:00Z", "2026-09-06T04:00:00Z"), // a day without a midnight
            (Month, "UTC", "2026-01-31T23:59:59Z", "2026-02-01T00:00:00Z"),
            (Month, "UTC", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            (Month, "UTC", "2024-02-29T12:00:00Z", "2024-03-01T00:00:00Z"),
            (Month, "UTC", "2026-12-31T12:00:00Z", "2027-01-01T00:00:00Z"),
            (Month, "Asia/Shanghai", "2026-05-31T16:00:00Z", "2026-06-30T16:00:00Z"),
        ] {
            let zone: Tz = zone.parse().unwrap();
            let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
            assert_eq!(at(from) + until_next(unit, zone, at(from)), at(to), "{unit:?} {zone} {from}");
        }
    }

    #[test]
    fn a_moment_is_of_its_own_day_and_month_to_the_last_second() {
        use CalendarUnit::{Day, Month};
        for (unit, zone, at, first) in [
            (Day, "UTC", "2026-07-15T23:59:59Z", "2026-07-15"),
            (Day, "UTC", "2026-07-16T00:00:00Z", "2026-07-16"),
            (Day, "Asia/Shanghai", "2026-05-31T16:00:00Z", "2026-06-01"),
            (Month, "UTC", "2026-07-15T23:59:00Z", "2026-07-01"),
            (Month, "UTC", "2026-07-31T23:59:59Z", "2026-07-01"),
            (Month, "UTC", "2026-08-01T00:00:00Z", "2026-08-01"),
            (Month, "America/Santiago", "2026-09-01T03:59:59Z", "2026-08-01"),
        ] {
            let (zone, at): (Tz, DateTime<Utc>) = (zone.parse().unwrap(), at.parse().unwrap());
            assert_eq!(first_day(unit, zone, at).to_string(), first, "{unit:?} {zone} {at}");
        }
    }

    #[test]
    fn only_a_wall_clock_that_is_seconds_behind_an_end_is_taken_to_be_there() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let closes = at("2026-07-16T00:00:00Z");
        for (wall, begins) in [
            ("2026-07-15T23:59:54Z", "2026-07-15T23:59:54Z"),
            ("2026-07-15T23:59:58Z", "2026-07-16T00:00:00Z"),
            ("2026-07-16T00:00:02Z", "2026-07-16T00:00:02Z"),
            ("2026-07-17T23:59:58Z", "2026-07-17T23:59:58Z"),
        ] {
            assert_eq!(beginning(Some(closes), at(wall)), at(begins), "{wall}");
            assert_eq!(beginning(None, at(wall)), at(wall), "nothing went before {wall}");
        }
        let now = Now { mono: Duration::from_secs(100), wall: at("2026-07-15T23:59:58Z") };
        let ends = end_of(CalendarUnit::Day, Tz::UTC, beginning(Some(closes), now.wall), now);
        assert_eq!(ends, Duration::from_secs(100 + 2 + 24 * 60 * 60));
    }
}
