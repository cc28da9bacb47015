//! Days in zones: with half hours, with clocks that change, at midnight too, and when the setting changes.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use usage::{BadZone, Days, StepSize};

fn at(text: &str) -> i64 {
    text.parse::<DateTime<Utc>>().unwrap().timestamp()
}

fn days(zone: &str) -> Days {
    Days::of(zone).unwrap()
}

#[test]
fn days_begin_at_midnight_of_their_zone() {
    for (zone, time, start, end) in [
        ("UTC", "2026-11-27T23:59:59Z", "2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z"),
        ("Asia/Kolkata", "2026-11-27T18:29:59Z", "2026-11-26T18:30:00Z", "2026-11-27T18:30:00Z"),
        ("Asia/Kolkata", "2026-11-27T18:30:00Z", "2026-11-27T18:30:00Z", "2026-11-28T18:30:00Z"),
        ("Asia/Kathmandu", "2026-11-27T18:15:00Z", "2026-11-27T18:15:00Z", "2026-11-28T18:15:00Z"),
        ("Australia/Lord_Howe", "2026-07-01T13:30:00Z", "2026-07-01T13:30:00Z", "2026-07-02T13:30:00Z"),
        // 23 and 25 hours.
        ("Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        // Half an hour more.
        ("Australia/Lord_Howe", "2026-04-05T00:00:00Z", "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z"),
        // Clocks that go from midnight to one: the day begins at one.
        ("America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
        // Clocks that go back from one to midnight: the day begins with the first midnight.
        ("America/Havana", "2026-11-01T12:00:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"),
        // A date that was left out.
        ("Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"),
    ] {
        let found = (days(zone).start(at(time)), days(zone).end(at(time)));
        assert_eq!(found, (at(start), at(end)), "{zone} {time}");
    }
}

#[test]
fn months_are_those_of_the_zone() {
    let days = days("Asia/Tokyo");
    let time = at("2026-11-30T15:00:00Z");
    assert_eq!((days.month_start(time), days.month_end(time)), (time, at("2026-12-31T15:00:00Z")));
    assert_eq!(days.month_start(time - 1), at("2026-10-31T15:00:00Z"));
}

#[test]
fn another_zone_holds_from_the_next_day_on() {
    let former = days("UTC");
    let now = at("2026-11-27T10:00:00Z");
    let changed = days("Asia/Tokyo").after(former, now);
    let midnight = at("2026-11-28T00:00:00Z");
    assert_eq!((changed.start(now), changed.end(now)), (at("2026-11-27T00:00:00Z"), midnight));
    // The first of the new zone's days is short.
    assert_eq!((changed.start(midnight), changed.end(midnight)), (midnight, at("2026-11-28T15:00:00Z")));
    assert_eq!(changed.start(at("2026-11-28T16:00:00Z")), at("2026-11-28T15:00:00Z"));
    assert_eq!(Days::from_text(&changed.to_text()), Ok(changed));
    // The same zone again is no change.
    assert_eq!(days("Asia/Tokyo").after(changed, now + 5), changed);
}

#[test]
fn what_is_no_zone_is_refused() {
    for text in ["", "Mars/Olympus", "UTC+1", "Europe/Berlin UTC", "Europe/Berlin UTC x", "UTC UTC 5 6"] {
        assert_eq!(Days::from_text(text), Err(BadZone), "{text}");
    }
    for text in ["UTC", "Europe/Berlin", "Asia/Tokyo UTC 1795824000"] {
        assert_eq!(Days::from_text(text).unwrap().to_text(), text);
    }
}

proptest! {
    #[test]
    fn every_moment_is_in_exactly_one_step(time in 946_684_800..2_500_000_000_i64, zone in 0..chrono_tz::TZ_VARIANTS.len(), change in proptest::option::of((0..chrono_tz::TZ_VARIANTS.len(), -90_000..90_000_i64))) {
        let mut days = days(chrono_tz::TZ_VARIANTS[zone].name());
        if let Some((former, when)) = change {
            days = days.after(Days::of(chrono_tz::TZ_VARIANTS[former].name()).unwrap(), time + when);
        }
        for step in StepSize::ALL {
            let (start, end) = (days.step_start(step, time), days.step_end(step, time));
            prop_assert!(start <= time && time < end, "{} {:?} {} {} {}", days.to_text(), step, time, start, end);
            prop_assert_eq!(days.step_start(step, start), start);
            prop_assert_eq!(days.step_end(step, end - 1), end);
            prop_assert_eq!(days.step_start(step, end), end, "{} {:?}", days.to_text(), step);
        }
        // A minute lies within one day: no zone's day begins within one.
        prop_assert_eq!(days.start(days.step_start(StepSize::Minute, time)), days.start(time));
    }
}
