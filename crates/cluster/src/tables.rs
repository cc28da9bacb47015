//! What usage books say, so that every gateway can put what the others have counted beside its own: one table for an hour or
//! a day of a book, broken down in one way. A table says all there is, not what was added: whoever writes it again does no
//! harm. What its cells mean is the callers' affair.

use std::{collections::BTreeMap, error, fmt, time::Duration};

use usage::{Breakdown, StepSize};

/// What tells one usage book from all others: one to 32 letters and digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BookId(Box<str>);

/// The text cannot be a book's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBookId;

impl fmt::Display for BadBookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a usage book's id is one to 32 letters and digits")
    }
}

impl error::Error for BadBookId {}

impl BookId {
    /// Takes an id.
    pub fn new(id: &str) -> Result<Self, BadBookId> {
        if id.is_empty() || id.len() > 32 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(BadBookId);
        }
        Ok(Self(id.into()))
    }

    /// Returns the id as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The time that a table is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableStep {
    /// An hour.
    Hour,
    /// A day, wherever its midnight is.
    Day,
}

impl TableStep {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Hour, Self::Day];

    /// Returns the one for a step of a usage book; minutes are each gateway's own.
    pub fn of(step: StepSize) -> Option<Self> {
        match step {
            StepSize::Minute => None,
            StepSize::Hour => Some(Self::Hour),
            StepSize::Day => Some(Self::Day),
        }
    }

    /// Returns the step of a usage book.
    pub fn size(self) -> StepSize {
        match self {
            Self::Hour => StepSize::Hour,
            Self::Day => StepSize::Day,
        }
    }

    /// Returns how long a table is there, from the beginning of its time: hours for 48 after their end, days for 40. What
    /// is beyond that allows for clocks that differ, and for days of 25 hours.
    pub fn kept(self) -> Duration {
        const HOUR: u64 = 3_600;
        Duration::from_secs(match self {
            Self::Hour => 50 * HOUR,
            Self::Day => 41 * 24 * HOUR + 2 * HOUR,
        })
    }

    /// Returns the beginning of the oldest step that is there for sure.
    pub fn first(self, now: i64) -> i64 {
        now - match self {
            Self::Hour => 49 * 3_600,
            Self::Day => 41 * 86_400,
        }
    }
}

/// The name of a table: of which book, of which time, and how that is broken down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageTable {
    /// The usage book that it is told of.
    pub book: BookId,
    /// Of what time.
    pub step: TableStep,
    /// When that begins, in seconds since 1970.
    pub at: i64,
    /// How it is broken down.
    pub by: Breakdown,
}

/// What tells one state of a table from all others: a number that its writer has made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableStamp(pub u64);

/// Cells by their labels, both as bytes.
pub type TableCells = BTreeMap<Vec<u8>, Vec<u8>>;

/// What is there of a table; nothing and no stamp where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableContent {
    /// Of its last change.
    pub stamp: Option<TableStamp>,
    /// Its cells.
    pub cells: TableCells,
}

/// A change of a table, all of it at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableChange {
    table: UsageTable,
    before: Option<TableStamp>,
    after: TableStamp,
    set: Vec<(Vec<u8>, Vec<u8>)>,
    removed: Vec<Vec<u8>>,
}

/// There are more than a thousand cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTableChange;

impl fmt::Display for BadTableChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a change of a usage table has at most a thousand cells")
    }
}

impl error::Error for BadTableChange {}

impl TableChange {
    /// How many cells a change may write or remove.
    pub const MAX_CELLS: usize = 1_000;

    /// Makes a change of the state `before`, after which the state is `after`.
    pub fn new(
        table: UsageTable,
        before: Option<TableStamp>,
        after: TableStamp,
        set: Vec<(Vec<u8>, Vec<u8>)>,
        removed: Vec<Vec<u8>>,
    ) -> Result<Self, BadTableChange> {
        if set.len() + removed.len() > Self::MAX_CELLS {
            return Err(BadTableChange);
        }
        Ok(Self { table, before, after, set, removed })
    }

    /// Returns which table it is of.
    pub fn table(&self) -> &UsageTable {
        &self.table
    }

    /// Returns the state that it is a change of.
    pub fn before(&self) -> Option<TableStamp> {
        self.before
    }

    /// Returns the state that comes of it.
    pub fn after(&self) -> TableStamp {
        self.after
    }

    /// Returns the cells that are written, with their labels.
    pub fn set(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.set
    }

    /// Returns the labels of the cells that are removed.
    pub fn removed(&self) -> &[Vec<u8>] {
        &self.removed
    }
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableReply {
    /// It is written, by this call or by one before it whose answer was lost.
    Written,
    /// The table is not what it was thought to be, and was left as it is: it is to be read again.
    Stale,
    /// It is of a time that is kept no more.
    Past,
}
