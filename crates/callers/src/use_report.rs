//! What gateways tell each other of one caller's use, and what they hear: values, which the cluster carries. What they mean for
//! an account is in `shared`, which makes the reports and takes the replies.

use std::time::Duration;

use chrono::NaiveDate;
use meter::{Amount, Minute, Second};

use crate::limits::LimitName;
use crate::period::Used;

/// What this gateway tells of one caller. What its limits do not count is missing.
#[derive(Clone, Debug)]
pub struct UseReport {
    /// By how much the last minute differs from what was told of it.
    pub minute: Option<Vec<MinuteChange>>,
    /// The same of this day.
    pub day: Option<PeriodChange>,
    /// The same of this month.
    pub month: Option<PeriodChange>,
    /// The minute that is told with it.
    pub(crate) told: Option<Box<Minute>>,
    /// The second in which it is told.
    pub(crate) at: Second,
    pub(crate) touches: u64,
    /// The last of the requests that wait for it.
    pub(crate) ticket: u64,
    /// What is told of requests that are refused already.
    pub(crate) refused: Used,
    /// What was booked before it.
    pub(crate) booked: Used,
}

/// What was used in one second beyond what was told of it; below zero where it has turned out to be less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinuteChange {
    /// How many whole seconds ago.
    pub age: Duration,
    /// Requests.
    pub requests: i64,
    /// Tokens.
    pub tokens: i64,
}

/// What was used in a day or month beyond what was told of it; below zero where it has turned out to be less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodChange {
    /// Which one: its first day, in the zone of days and months.
    pub first: NaiveDate,
    /// Requests.
    pub requests: i64,
    /// Tokens.
    pub tokens: i64,
    /// Money, in billionths.
    pub money: i64,
    /// What former lives of this gateway have used in it, by its own usage book, and the others do not know of: it has been lost,
    /// or was never told.
    pub former: Used,
}

/// What all gateways have used, once a report is added to it. What could not be asked is missing, all of it in the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct UseReply {
    /// How many gateways there are, this one included; 0 where that is not known.
    pub gateways: u64,
    /// In the last minute.
    pub minute: Option<MinuteReply>,
    /// In this day.
    pub day: Option<PeriodReply>,
    /// In this month.
    pub month: Option<PeriodReply>,
}

/// The last minute of all gateways.
#[derive(Clone, Copy, Debug)]
pub struct MinuteReply {
    /// What it comes to.
    pub total: Amount,
    /// In which run of the shared state it was counted. Another run begins with nothing.
    pub run: u64,
}

/// A day or month of all gateways.
#[derive(Clone, Copy, Debug)]
pub struct PeriodReply {
    /// What it comes to.
    pub total: Used,
    /// What of that this life of this gateway has told.
    pub own: Used,
    /// What of that was told of former lives of this gateway; `None` where its usage book is not the one any more by which it
    /// knows of them.
    pub former: Option<Used>,
}

impl UseReply {
    /// What counts against a limit, of all gateways; `None` where it is not said.
    pub(crate) fn used(&self, name: LimitName) -> Option<u64> {
        match name {
            LimitName::Rpm => Some(self.minute?.total.requests),
            LimitName::Tpm => Some(self.minute?.total.tokens),
            LimitName::Concurrent => None,
            LimitName::Rpd | LimitName::TokensDay | LimitName::MoneyDay => Some(name.of(self.day?.total)),
            LimitName::TokensMonth | LimitName::MoneyMonth => Some(name.of(self.month?.total)),
        }
    }
}
