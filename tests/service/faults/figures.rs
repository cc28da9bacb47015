//! What is demanded beside what was measured.

use std::{fmt::Display, time::Duration};

/// How large a case is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// Within seconds, on a machine that is busy with other tests: counts are asserted, times are told.
    Small,
    /// As the table has it.
    Table,
}

impl Size {
    pub(super) fn of<T>(self, small: T, table: T) -> T {
        match self {
            Self::Small => small,
            Self::Table => table,
        }
    }
}

/// One figure of a row.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) what: &'static str,
    pub(super) demanded: String,
    pub(super) measured: String,
    pub(super) is_met: bool,
    /// Whether it is the same on every machine.
    is_exact: bool,
}

/// A row of the table with its figures.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) figures: Vec<Figure>,
}

impl Row {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, figures: Vec::new() }
    }

    /// A count that is to be just so.
    pub(super) fn exactly<T: PartialEq + Display>(&mut self, what: &'static str, measured: T, wanted: T) {
        let is_met = measured == wanted;
        self.add(what, wanted.to_string(), measured.to_string(), is_met, true);
    }

    /// A count that is to be no more than so.
    pub(super) fn at_most<T: PartialOrd + Display>(&mut self, what: &'static str, measured: T, limit: T) {
        let is_met = measured <= limit;
        self.add(what, format!("≤ {limit}"), measured.to_string(), is_met, true);
    }

    /// A time, or what else depends on the machine.
    pub(super) fn within(&mut self, what: &'static str, measured: Duration, limit: Duration) {
        self.add(what, format!("≤ {limit:.0?}"), format!("{measured:.1?}"), measured <= limit, false);
    }

    /// The same, of the slowest.
    pub(super) fn slowest(
        &mut self,
        what: &'static str,
        measured: impl IntoIterator<Item = Duration>,
        limit: Duration,
    ) {
        self.within(what, measured.into_iter().max().unwrap_or_default(), limit);
    }

    /// An amount that depends on the build and the machine.
    pub(super) fn amount(&mut self, what: &'static str, measured: f64, limit: f64, unit: &str) {
        let is_met = measured <= limit;
        self.add(what, format!("≤ {limit:.0} {unit}"), format!("{measured:.1} {unit}"), is_met, false);
    }

    /// The same, which is to be no less.
    pub(super) fn at_least(&mut self, what: &'static str, measured: f64, limit: f64, unit: &str) {
        let is_met = measured >= limit;
        self.add(what, format!("≥ {limit:.0} {unit}"), format!("{measured:.1} {unit}"), is_met, false);
    }

    fn add(&mut self, what: &'static str, demanded: String, measured: String, is_met: bool, is_exact: bool) {
        self.figures.push(Figure { what, demanded, measured, is_met, is_exact });
    }

    /// Fails if a count is not met; tells all.
    pub(super) fn counts_are_met(&self) {
        eprintln!("{self:#?}");
        let missed: Vec<_> = self.figures.iter().filter(|it| it.is_exact && !it.is_met).collect();
        assert!(missed.is_empty(), "{}: {missed:#?}", self.name);
    }
}

/// As a number that can be divided.
pub(super) fn number(count: impl TryInto<u32>) -> f64 {
    f64::from(count.try_into().ok().expect("no more than four billion"))
}

/// The one that so many of a hundred do not exceed.
pub(super) fn percentile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}
