//! What was used in the current day or month of the operator's time zone. A period's end is found on the wall clock when
//! the period begins, and runs on the monotonic clock from then on, until the two clocks part.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use meter::Now;
use meter::calendar::{self, CalendarUnit};

/// What was used: requests, tokens (input, output and thoughts) and money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// How many requests are counted.
    pub requests: u64,
    /// Input, output and thought tokens together.
    pub tokens: u64,
    /// Money, in billionths.
    pub money: u64,
}

impl Used {
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

    /// Of each the larger.
    pub(crate) fn at_least(self, other: Self) -> Self {
        Self {
            requests: self.requests.max(other.requests),
            tokens: self.tokens.max(other.tokens),
            money: self.money.max(other.money),
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

#[derive(Clone, Debug)]
pub(crate) struct Period {
    unit: CalendarUnit,
    used: Used,
    /// Monotonic, as is `ends`.
    began: Duration,
    ends: Duration,
    /// What the wall clock is to show at the end; `None` before the first one begins.
    closes: Option<DateTime<Utc>>,
    /// Its first day in the zone; `None` before the first one begins.
    first: Option<NaiveDate>,
}

impl Period {
    pub(crate) fn new(unit: CalendarUnit) -> Self {
        Self {
            unit,
            used: Used::default(),
            began: Duration::ZERO,
            ends: Duration::ZERO,
            closes: None,
            first: None,
        }
    }

    /// Begins the next one, if it is time, with what is booked for requests under way: that will be used in it.
    pub(crate) fn advance(&mut self, zone: Tz, booked: Used, now: Now) {
        if self.ends <= now.mono {
            self.used = booked;
            self.began = now.mono;
            let begins = calendar::beginning(self.closes, now.wall);
            self.ends = calendar::end_of(self.unit, zone, begins, now);
            self.closes = Some(now.wall_at(self.ends));
            self.first = Some(calendar::first_day(self.unit, zone, begins));
        }
    }

    /// Ends when the wall clock shows what it was to show then, now that the clocks have parted: at once if that is past,
    /// and never later than the next period begins.
    pub(crate) fn clocks_have_parted(&mut self, zone: Tz, now: Now) {
        let Some(closes) = self.closes else { return };
        let next = calendar::until_next(self.unit, zone, now.wall);
        self.ends = now.mono + now.until(closes).min(next);
        self.closes = Some(now.wall_at(self.ends));
    }

    /// What is used in it, with what is booked for requests under way, which is all there is when it is over.
    pub(crate) fn used(&self, booked: Used, now: Now) -> Used {
        if self.ends <= now.mono { booked } else { self.used }
    }

    /// What was counted in it, whether it is over or not.
    pub(crate) fn all_used(&self) -> Used {
        self.used
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self, now: Now) -> bool {
        self.ends <= now.mono
    }

    /// Whether this moment is of it, and not of one that is over.
    pub(crate) fn is_of(&self, zone: Tz, wall: DateTime<Utc>) -> bool {
        self.first == Some(calendar::first_day(self.unit, zone, wall))
    }

    /// Its first day, by which all gateways know it.
    pub(crate) fn first(&self) -> Option<NaiveDate> {
        self.first
    }

    /// When it ends. One that is over ends now.
    pub(crate) fn ends_in(&self, now: Now) -> Duration {
        self.ends.saturating_sub(now.mono)
    }

    /// When the one ends that this moment is of, whether anything has begun it or not.
    pub(crate) fn current_ends_in(&self, zone: Tz, now: Now) -> Duration {
        if self.is_over(now) {
            let begins = calendar::beginning(self.closes, now.wall);
            calendar::end_of(self.unit, zone, begins, now).saturating_sub(now.mono)
        } else {
            self.ends_in(now)
        }
    }

    /// Counts requests, and what was used or is thought to be.
    pub(crate) fn add(&mut self, more: Used) {
        self.used = self.used.plus(more);
    }

    /// Takes back what was booked.
    pub(crate) fn take_back(&mut self, less: Used) {
        self.used = self.used.minus(less);
    }

    /// Takes back a request that was counted at this time, if that was in this period.
    pub(crate) fn take_back_request(&mut self, at: Duration) {
        if self.began <= at {
            self.used.requests = self.used.requests.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_period_forgets_at_its_end() {
        let one = Used { requests: 1, tokens: 10, money: 100 };
        let nothing = Used::default();
        let mut day = Period::new(CalendarUnit::Day);
        let mut now = Now { mono: Duration::from_secs(5), wall: at("2026-07-15T23:00:00Z") };
        day.advance(Tz::UTC, nothing, now);
        day.add(one);
        let yesterday = now.mono;
        now = Now { mono: now.mono + Duration::from_secs(3600), wall: at("2026-07-16T00:00:00Z") };
        assert_eq!(day.used(nothing, now), nothing);
        day.advance(Tz::UTC, nothing, now);
        day.add(one);
        day.take_back_request(yesterday);
        assert_eq!(day.used(nothing, now), one, "a request of yesterday is not taken from today");
        day.take_back_request(now.mono);
        assert_eq!(day.used(nothing, now).requests, 0);
    }

    #[test]
    fn a_period_follows_the_wall_clock_when_the_clocks_part() {
        let one = Used { requests: 1, tokens: 10, money: 100 };
        for (wall, is_over, ends_in_h) in [
            ("2026-07-15T23:30:00Z", false, 1),  // half an hour of sleep
            ("2026-07-16T09:00:00Z", true, 0),   // a night
            ("2026-07-15T12:00:00Z", false, 12), // set back within the day
            ("2026-07-14T12:00:00Z", false, 12), // and beyond it: no longer than a day
        ] {
            let mut day = Period::new(CalendarUnit::Day);
            let mut now = Now { mono: Duration::from_secs(5), wall: at("2026-07-15T20:00:00Z") };
            day.advance(Tz::UTC, Used::default(), now);
            day.add(one);
            now.wall = at(wall);
            day.clocks_have_parted(Tz::UTC, now);
            let used = if is_over { Used::default() } else { one };
            assert_eq!(day.used(Used::default(), now), used, "{wall}");
            assert_eq!(day.ends_in(now).as_secs().div_ceil(3600), ends_in_h, "{wall}");
        }
    }

    #[test]
    fn a_period_begins_once_though_the_wall_clock_is_behind() {
        let mut day = Period::new(CalendarUnit::Day);
        let mut now = Now { mono: Duration::ZERO, wall: at("2026-07-15T23:00:00Z") };
        day.advance(Tz::UTC, Used::default(), now);
        now = Now { mono: Duration::from_secs(3600), wall: at("2026-07-15T23:59:58Z") };
        let one = Used { requests: 1, tokens: 10, money: 100 };
        day.advance(Tz::UTC, Used::default(), now);
        assert_eq!(day.first().unwrap().to_string(), "2026-07-16");
        day.add(one);
        now = Now { mono: now.mono + Duration::from_secs(4), wall: at("2026-07-16T00:00:02Z") };
        day.advance(Tz::UTC, Used::default(), now);
        assert_eq!(day.used(Used::default(), now), one);
    }

    #[test]
    fn no_clock_step_moves_a_period_into_the_future() {
        let walls = [
            "2026-07-15T23:59:30Z", // into the last minute of the same day
            "2026-07-31T23:59:30Z", // of another, and of the month
            "2026-07-14T23:59:59Z", // set back
            "1970-01-01T00:00:00Z",
        ];
        for wall in walls {
            for unit in [CalendarUnit::Day, CalendarUnit::Month] {
                let mut period = Period::new(unit);
                let mut now = Now { mono: Duration::ZERO, wall: at("2026-07-15T20:00:00Z") };
                period.advance(Tz::UTC, Used::default(), now);
                now = Now { mono: Duration::from_secs(60), wall: at(wall) };
                period.clocks_have_parted(Tz::UTC, now);
                period.advance(Tz::UTC, Used::default(), now);
                let next = calendar::until_next(unit, Tz::UTC, now.wall);
                assert!(period.ends_in(now) <= next, "{unit:?} {wall}");
                // And the one after it is that of the wall clock.
                now = Now { mono: now.mono + next, wall: now.wall + next };
                period.advance(Tz::UTC, Used::default(), now);
                assert!(period.is_of(Tz::UTC, now.wall), "{unit:?} {wall}");
            }
        }
    }

    #[test]
    fn what_is_booked_for_requests_under_way_goes_over_into_the_next_period() {
        let booked = Used { requests: 0, tokens: 10, money: 100 };
        let mut day = Period::new(CalendarUnit::Day);
        let mut now = Now { mono: Duration::ZERO, wall: at("2026-07-15T23:00:00Z") };
        day.advance(Tz::UTC, Used::default(), now);
        day.add(Used { requests: 3, tokens: 30, money: 300 });
        now.mono += Duration::from_secs(3600);
        assert_eq!(day.used(booked, now), booked);
        day.advance(Tz::UTC, booked, now);
        assert_eq!(day.used(booked, now), booked);
    }
}
