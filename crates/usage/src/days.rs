//! The steps of time that sums are kept by. Minutes and hours are those of UTC; days begin at midnight in a zone.

use chrono::{DateTime, Datelike, LocalResult, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use std::{error, fmt, str::FromStr};

/// A step that sums are kept by. The numbers are how it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepSize {
    /// 60 seconds.
    Minute = 0,
    /// 3,600 seconds.
    Hour = 1,
    /// From one midnight to the next.
    Day = 2,
}

impl StepSize {
    /// Every step.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// Returns the step's name, as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

/// Not a zone of the IANA database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadZone;

impl fmt::Display for BadZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be a zone of the IANA database, such as Europe/Berlin or UTC")
    }
}

impl error::Error for BadZone {}

/// Where days begin. Times are seconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    zone: Tz,
    /// The zone that held before, and until when.
    before: Option<(Tz, i64)>,
}

impl Default for Days {
    fn default() -> Self {
        Self { zone: Tz::UTC, before: None }
    }
}

impl Days {
    /// Of a zone, by its name.
    pub fn of(zone: &str) -> Result<Self, BadZone> {
        Ok(Self { zone: Tz::from_str(zone).map_err(|_| BadZone)?, before: None })
    }

    /// The same, where until now another zone held: it holds to the end of its day that is under way.
    #[must_use]
    pub fn after(self, former: Self, now: i64) -> Self {
        if former.zone == self.zone {
            former
        } else {
            Self { before: Some((former.zone, former.end(now))), ..self }
        }
    }

    /// The zone's name.
    pub fn zone(&self) -> &'static str {
        self.zone.name()
    }

    /// As text, for whoever keeps it.
    pub fn to_text(&self) -> String {
        match self.before {
            None => self.zone().to_owned(),
            Some((zone, until)) => format!("{} {} {until}", self.zone(), zone.name()),
        }
    }

    /// From [`to_text`](Self::to_text).
    pub fn from_text(text: &str) -> Result<Self, BadZone> {
        let mut words = text.split(' ');
        let days = Self::of(words.next().unwrap_or_default())?;
        match (words.next(), words.next(), words.next()) {
            (None, ..) => Ok(days),
            (Some(zone), Some(until), None) => {
                let zone = Tz::from_str(zone).map_err(|_| BadZone)?;
                Ok(Self { before: Some((zone, until.parse().map_err(|_| BadZone)?)), ..days })
            }
            _ => Err(BadZone),
        }
    }

    /// When the day began that `at` belongs to.
    pub fn start(&self, at: i64) -> i64 {
        match self.before {
            Some((zone, until)) if at < until => midnight(zone, date(zone, at)),
            Some((_, until)) => midnight(self.zone, date(self.zone, at)).max(until),
            None => midnight(self.zone, date(self.zone, at)),
        }
    }

    /// When that day ends, and the next one begins.
    pub fn end(&self, at: i64) -> i64 {
        match self.before {
            Some((zone, until)) if at < until => next_midnight(zone, at).min(until),
            _ => next_midnight(self.zone, at),
        }
    }

    /// When the month began that `at` belongs to, in the zone that holds now.
    pub fn month_start(&self, at: i64) -> i64 {
        let date = date(self.zone, at);
        midnight(self.zone, date.with_day(1).unwrap_or(date))
    }

    /// When that month ends.
    pub fn month_end(&self, at: i64) -> i64 {
        let date = date(self.zone, at);
        let next = date.with_day(1).and_then(|first| first.checked_add_months(chrono::Months::new(1)));
        midnight(self.zone, next.unwrap_or(date))
    }

    /// The date of `at` in the zone that holds now.
    pub fn date(&self, at: i64) -> NaiveDate {
        date(self.zone, at)
    }

    /// When that date begins, in the zone that holds now.
    pub fn midnight(&self, date: NaiveDate) -> i64 {
        midnight(self.zone, date)
    }

    /// When the step began that `at` belongs to.
    pub fn step_start(&self, step: StepSize, at: i64) -> i64 {
        match step {
            StepSize::Minute => at - at.rem_euclid(60),
            StepSize::Hour => at - at.rem_euclid(3_600),
            StepSize::Day => self.start(at),
        }
    }

    /// When that step ends.
    pub fn step_end(&self, step: StepSize, at: i64) -> i64 {
        match step {
            StepSize::Minute => self.step_start(step, at).saturating_add(60),
            StepSize::Hour => self.step_start(step, at).saturating_add(3_600),
            StepSize::Day => self.end(at),
        }
    }
}

fn date(zone: Tz, at: i64) -> NaiveDate {
    // No zone is two days from UTC: a date of its own is always there.
    const ROOM: i64 = 2 * 86_400;
    let (first, last) =
        (DateTime::<Utc>::MIN_UTC.timestamp() + ROOM, DateTime::<Utc>::MAX_UTC.timestamp() - ROOM);
    let time = DateTime::from_timestamp(at.clamp(first, last), 0).unwrap_or_default();
    time.with_timezone(&zone).date_naive()
}

fn next_midnight(zone: Tz, at: i64) -> i64 {
    let mut date = date(zone, at);
    // More than once where a zone has left a whole date out.
    for _ in 0..3 {
        date = date.succ_opt().unwrap_or(NaiveDate::MAX);
        let next = midnight(zone, date);
        if next > at {
            return next;
        }
    }
    at.saturating_add(86_400)
}

/// The first moment of a date. A change of clocks may leave midnight out, or let it come twice.
fn midnight(zone: Tz, date: NaiveDate) -> i64 {
    let mut local = date.and_time(NaiveTime::MIN);
    // A quarter of an hour is the finest by which any zone's clocks were ever moved; a whole date is the most.
    for _ in 0..=96 {
        match zone.from_local_datetime(&local) {
            LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => return time.timestamp(),
            LocalResult::None => {}
        }
        match local.checked_add_signed(TimeDelta::minutes(15)) {
            Some(later) => local = later,
            None => break,
        }
    }
    date.and_time(NaiveTime::MIN).and_utc().timestamp()
}
