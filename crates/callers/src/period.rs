//! What was used in the current day or month of the operator's time zone. A period's end is found on the wall clock when
//! the period begins and runs on the monotonic clock from then on, so that a stepped clock ends none early.

use std::time::Duration;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};
use chrono_tz::Tz;

use crate::limits::Money;
use crate::meter::Now;

/// A new period that would begin less than this before its neighbour is the neighbour: the two clocks may differ a
/// little, and a day must not begin twice.
const CLOSE: Duration = Duration::from_secs(60);

/// Sums of requests, of tokens (input, output and thoughts) and of money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Requests.
    pub requests: u64,
    /// Tokens.
    pub tokens: u64,
    /// Money, in billionths.
    pub money: Money,
}

impl Sums {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            tokens: self.tokens.saturating_add(other.tokens),
            money: self.money.saturating_add(other.money),
        }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(other.requests),
            tokens: self.tokens.saturating_sub(other.tokens),
            money: self.money.saturating_sub(other.money),
        }
    }

    /// Of each the smaller.
    pub(crate) fn at_most(self, other: Self) -> Self {
        Self {
            requests: self.requests.min(other.requests),
            tokens: self.tokens.min(other.tokens),
            money: self.money.min(other.money),
        }
    }
}

/// A day or a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Day,
    Month,
}

#[derive(Clone, Debug)]
pub(crate) struct Period {
    length: Length,
    used: Sums,
    /// Monotonic, as is `ends`.
    began: Duration,
    ends: Duration,
}

impl Period {
    pub(crate) fn new(length: Length) -> Self {
        Self { length, used: Sums::default(), began: Duration::ZERO, ends: Duration::ZERO }
    }

    /// Begins the next one, if it is time, with what is booked for requests under way: that will be used in it.
    pub(crate) fn advance(&mut self, zone: Tz, booked: Sums, now: Now) {
        if self.ends <= now.mono {
            self.used = booked;
            self.began = now.mono;
            self.ends = now.mono + CLOSE + until_next(self.length, zone, now.wall + CLOSE);
        }
    }

    /// What is used in it, with what is booked for requests under way, which is all there is when it is over.
    pub(crate) fn used(&self, booked: Sums, now: Now) -> Sums {
        if self.ends <= now.mono { booked } else { self.used }
    }

    /// When it ends. One that is over ends now.
    pub(crate) fn ends_in(&self, now: Now) -> Duration {
        self.ends.saturating_sub(now.mono)
    }

    /// Counts requests, and what was used or is thought to be.
    pub(crate) fn add(&mut self, more: Sums) {
        self.used = self.used.plus(more);
    }

    /// Takes back what was booked.
    pub(crate) fn take_back(&mut self, less: Sums) {
        self.used = self.used.minus(less);
    }

    /// Takes back a request that was counted at this time, if that was in this period.
    pub(crate) fn take_back_request(&mut self, at: Duration) {
        if self.began <= at {
            self.used.requests = self.used.requests.saturating_sub(1);
        }
    }
}

/// How long from this moment to the next one's beginning in the zone: never zero.
fn until_next(length: Length, zone: Tz, wall: DateTime<Utc>) -> Duration {
    let today = wall.with_timezone(&zone).date_naive();
    let next = match length {
        Length::Day => today.succ_opt(),
        Length::Month => today.with_day(1).and_then(|first| first.checked_add_months(Months::new(1))),
    };
    next.and_then(|date| (first_moment(zone, date)? - wall).to_std().ok())
        // Only at the end of chrono's calendar.
        .unwrap_or(Duration::from_secs(24 * 60 * 60))
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

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn days_and_months_end_where_the_zone_says() {
        for (length, zone, from, to) in [
            (Length::Day, "UTC", "2026-07-15T20:00:00Z", "2026-07-16T00:00:00Z"),
            (Length::Day, "UTC", "2026-07-16T00:00:00Z", "2026-07-17T00:00:00Z"),
            (Length::Day, "Asia/Kolkata", "2026-07-15T18:29:59Z", "2026-07-15T18:30:00Z"), // UTC+5:30
            (Length::Day, "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T22:00:00Z"), // a day of 23 hours
            (Length::Day, "Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"), // a day of 25 hours
            (Length::Day, "America/Santiago", "2026-09-05T12:00:00Z", "2026-09-06T04:00:00Z"), // no midnight
            (Length::Month, "UTC", "2026-01-31T23:59:59Z", "2026-02-01T00:00:00Z"),
            (Length::Month, "UTC", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            (Length::Month, "UTC", "2024-02-29T12:00:00Z", "2024-03-01T00:00:00Z"),
            (Length::Month, "UTC", "2026-12-31T12:00:00Z", "2027-01-01T00:00:00Z"),
            (Length::Month, "Asia/Shanghai", "2026-05-31T16:00:00Z", "2026-06-30T16:00:00Z"),
        ] {
            let zone: Tz = zone.parse().unwrap();
            assert_eq!(at(from) + until_next(length, zone, at(from)), at(to), "{length:?} {zone} {from}");
        }
    }

    #[test]
    fn a_period_forgets_at_its_end_and_is_not_begun_twice_by_a_stepped_clock() {
        let one = Sums { requests: 1, tokens: 10, money: 100 };
        let nothing = Sums::default();
        let mut day = Period::new(Length::Day);
        let mut now = Now { mono: Duration::from_secs(5), wall: at("2026-07-15T23:00:00Z") };
        day.advance(Tz::UTC, nothing, now);
        day.add(one);
        now.wall = at("2026-07-16T09:00:00Z");
        day.advance(Tz::UTC, nothing, now);
        assert_eq!(day.used(nothing, now), one, "only the wall clock has moved");
        let yesterday = now.mono;
        now.mono += Duration::from_secs(3600);
        assert_eq!(day.used(nothing, now), nothing);
        day.advance(Tz::UTC, nothing, now);
        day.add(one);
        day.take_back_request(yesterday);
        assert_eq!(day.used(nothing, now), one, "a request of yesterday is not taken from today");
        day.take_back_request(now.mono);
        assert_eq!(day.used(nothing, now).requests, 0);
    }

    #[test]
    fn what_is_booked_for_requests_under_way_goes_over_into_the_next_period() {
        let booked = Sums { requests: 0, tokens: 10, money: 100 };
        let mut day = Period::new(Length::Day);
        let mut now = Now { mono: Duration::ZERO, wall: at("2026-07-15T23:00:00Z") };
        day.advance(Tz::UTC, Sums::default(), now);
        day.add(Sums { requests: 3, tokens: 30, money: 300 });
        now.mono += Duration::from_secs(3600);
        assert_eq!(day.used(booked, now), booked);
        day.advance(Tz::UTC, booked, now);
        assert_eq!(day.used(booked, now), booked);
    }
}
