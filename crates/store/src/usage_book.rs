//! The usage book: sums of what requests have used, by step of time. What is counted, and what is asked, is in the crate
//! `usage`; here it is written down, so that each second's sums count exactly once, whatever dies when.

use std::{error, fmt};

use usage::{Days, Family, Query, QueryError, Report, StepSize, Sums};

use crate::StoreError;

/// Keeps sums of usage. Not for sharing: one owner calls it, and each call blocks.
pub trait UsageBook: Send {
    /// What is known of the book as a whole.
    fn overview(&mut self) -> Result<BookOverview, StoreError>;

    /// Lets days begin in another zone, from the end of the day on that is under way at `now`. Returns how days begin
    /// then, in every handle.
    fn set_days(&mut self, days: &Days, now: i64) -> Result<Days, StoreError>;

    /// Writes down the sums of a second, all or, on an error, nothing. Whether they are new: a number of this node that was
    /// written down before, folded meanwhile or not, is refused.
    fn append(&mut self, row: &JournalRow) -> Result<bool, StoreError>;

    /// Carries the sums of all seconds before `before` into minutes, hours and days, and removes them from the journal, in
    /// one: a sum counts exactly once, whatever dies when.
    fn fold(&mut self, before: i64) -> Result<FoldReport, StoreError>;

    /// Answers a question from all that was written down, folded or not, as of one moment. `node` asks for the number of its
    /// last row among that. A question that would read more than it may is refused.
    fn query(&mut self, query: &Query, node: &str) -> Result<BookAnswer, BookError>;

    /// Removes what is older than is to be kept, and what is too much, about `at_most` rows; more in the next call.
    fn prune(&mut self, now: i64, retention: &Retention, at_most: usize) -> Result<Pruned, StoreError>;

    /// Makes another handle on the same book, to read with while this one writes.
    fn reader(&self) -> Result<Box<dyn UsageBook>, StoreError>;

    /// Says whether what is written goes where the next process will look for it: a file that was removed or replaced under its
    /// owner is to be opened anew. One in memory is always in its place.
    fn check_place(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The sums of one second, with a number that no other of its node has. Numbers grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRow {
    /// Who counted: another name in each life of a process.
    pub node: String,
    /// The row's number, which rises by one with each.
    pub seq: u64,
    /// What was counted.
    pub sums: Sums,
}

/// What is known of a book as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookOverview {
    /// What tells this book from all others, for good: sixteen digits.
    pub id: String,
    /// How days begin.
    pub days: Days,
    /// How many rows there are, the journal's aside.
    pub rows: u64,
    /// The models that count by themselves.
    pub models: Vec<String>,
}

/// What a fold has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoldReport {
    /// How many journal rows were carried over.
    pub folded: usize,
    /// How many rows, journal's or sums, were damaged and count as not there.
    pub damaged: usize,
}

/// How long steps are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Minutes, in seconds.
    pub minutes_s: i64,
    /// Hours, in seconds.
    pub hours_s: i64,
    /// Days, in seconds.
    pub days_s: i64,
    /// The most rows there may be: beyond it the oldest minutes go, then hours, then days.
    pub max_rows: u64,
}

impl Retention {
    /// The most for which hours of keys alone are kept, in seconds: there are such where there are very many keys.
    pub const KEYS_ALONE_HOURS_S: i64 = 48 * 3_600;
    /// The same of their days.
    pub const KEYS_ALONE_DAYS_S: i64 = 62 * 86_400;

    /// For how long the steps of a family are kept, in seconds from their end.
    pub fn of(&self, step: StepSize, family: Family) -> i64 {
        match (step, family) {
            (StepSize::Minute, _) => self.minutes_s,
            (StepSize::Hour, Family::Key) => self.hours_s.min(Self::KEYS_ALONE_HOURS_S),
            (StepSize::Hour, _) => self.hours_s,
            (StepSize::Day, Family::Key) => self.days_s.min(Self::KEYS_ALONE_DAYS_S),
            (StepSize::Day, _) => self.days_s,
        }
    }

    /// Since when all steps of a family are kept, unless they were too many.
    pub fn kept_since(&self, days: &Days, step: StepSize, family: Family, now: i64) -> i64 {
        days.step_start(step, now.saturating_sub(self.of(step, family)))
    }
}

/// What pruning has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many rows were removed.
    pub removed: usize,
    /// How many of them were not old, but too many.
    pub by_cap: usize,
    /// Whether there is more to remove.
    pub more: bool,
}

/// An answer, to which what is not written down yet may be added.
#[derive(Debug)]
pub struct BookAnswer {
    /// The rows so far.
    pub report: Report,
    /// The number of the asked node's last row that is in the answer; 0 if none is.
    pub last_seq: u64,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BookError {
    /// It cannot be asked so.
    Query(QueryError),
    /// The book cannot be read.
    Store(StoreError),
}

impl From<QueryError> for BookError {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl From<StoreError> for BookError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for BookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl error::Error for BookError {}

/// The error of a question that reads more than it may, with the finest step that would do. `count` says how many rows a
/// question would read, at most one more than it may.
pub(crate) fn refuse_too_much<E: From<QueryError>>(
    query: &Query,
    mut count: impl FnMut(&Query) -> Result<usize, E>,
) -> Result<(), E> {
    if count(query)? <= query.most_rows {
        return Ok(());
    }
    let mut coarser = query.coarser();
    let mut instead = None;
    while let Some(other) = coarser {
        if other.families().is_ok() && count(&other)? <= query.most_rows {
            instead = Some(other.stored_step());
            break;
        }
        coarser = other.coarser();
    }
    Err(QueryError::TooMuch { limit: query.most_rows, instead }.into())
}
