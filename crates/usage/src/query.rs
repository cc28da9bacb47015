//! What may be asked of the sums, and how cells are grouped into the rows of a report.

use crate::{
    cell::Cell,
    days::{Days, StepSize},
    fold::fold,
    labels::{ANY_MODEL, Family, Labels, NONE},
    sums::Sums,
};
use std::{collections::BTreeMap, error, fmt, str::FromStr, sync::Arc};

/// What rows are told apart by, besides time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// The name of the token that the requests came with.
    Caller,
    /// The key that served.
    Key,
    /// The key's project.
    Project,
    /// The model that was asked, or `other`.
    Model,
}

impl Column {
    /// Returns the column's name, as `--by` and the head of a table have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Key => "key",
            Self::Project => "project",
            Self::Model => "model",
        }
    }

    fn of(self, labels: &Labels) -> Option<&Arc<str>> {
        match self {
            Self::Caller => labels.caller.as_ref(),
            Self::Key => labels.key.as_ref(),
            Self::Project => labels.project.as_ref(),
            Self::Model => labels.model.as_ref(),
        }
    }
}

impl FromStr for Column {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::Caller, Self::Key, Self::Project, Self::Model]
            .into_iter()
            .find(|it| it.as_str() == word)
            .ok_or(())
    }
}

/// The time that one row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueryStep {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A month.
    Month,
    /// The whole span.
    All,
    /// The whole span by its days, since hours of it are no longer kept.
    AllOfDays,
}

impl QueryStep {
    /// Returns the step's name, as `--step` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::All | Self::AllOfDays => "all",
        }
    }
}

impl FromStr for QueryStep {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        let all = [Self::Minute, Self::Hour, Self::Day, Self::Month, Self::All];
        all.into_iter().find(|it| it.as_str() == word).ok_or(())
    }
}

/// Which cells count: those with this label, of each column named.
pub type Filter = Vec<(Column, String)>;

/// A question. Times are seconds of Unix time; what the span begins or ends in counts whole ([`Query::span`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// From then on.
    pub from: i64,
    /// The first second that does not count any more.
    pub to: i64,
    /// The time that one row stands for.
    pub step: QueryStep,
    /// What rows are told apart by.
    pub by: Vec<Column>,
    /// Which cells count.
    pub filter: Filter,
    /// How many cells it may read; [`Query::MOST_ROWS`] unless it is a test.
    pub most_rows: usize,
}

/// Why a question is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// Callers are not kept by key or project.
    CallerAndKey,
    /// Minutes are kept of each caller, model and key alone.
    PairOfMinutes,
    /// The span ends before it begins.
    Backwards,
    /// It would read more rows than a question may.
    TooMuch {
        /// How many rows a question may read.
        limit: usize,
        /// The step with which it would not.
        instead: Option<StepSize>,
    },
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CallerAndKey => f.write_str(
                "usage is kept by caller and model, and by key (or project) and model, but not by caller and key together",
            ),
            Self::PairOfMinutes => f.write_str(
                "minutes are kept of each caller, model or key alone: ask for one of them, or for the step hour or day",
            ),
            Self::Backwards => f.write_str("the span ends before it begins"),
            Self::TooMuch { limit, instead: Some(step) } => {
                write!(f, "this would read more than {limit} rows: the step {} would do, or a shorter span", step.as_str())
            }
            Self::TooMuch { limit, instead: None } => {
                write!(f, "this would read more than {limit} rows: ask for a shorter span or fewer columns")
            }
        }
    }
}

impl error::Error for QueryError {}

impl Query {
    /// The most cells that a question may read.
    pub const MOST_ROWS: usize = 200_000;

    /// The step whose cells answer it.
    pub fn stored_step(&self) -> StepSize {
        match self.step {
            QueryStep::Minute => StepSize::Minute,
            QueryStep::Hour => StepSize::Hour,
            // Hours are exact to the hour, and kept for a month.
            QueryStep::All if self.to.saturating_sub(self.from) <= 2 * 86_400 => StepSize::Hour,
            QueryStep::Day | QueryStep::Month | QueryStep::All | QueryStep::AllOfDays => StepSize::Day,
        }
    }

    /// The same question where steps are kept since these times: from days, where it would read hours that are gone and
    /// days go further back.
    #[must_use]
    pub fn of_what_is_kept(&self, days: &Days, kept_since: impl Fn(StepSize) -> i64) -> Self {
        let (hours, whole_days) = (kept_since(StepSize::Hour), kept_since(StepSize::Day));
        let reads_hours = self.step == QueryStep::All && self.stored_step() == StepSize::Hour;
        let step = if reads_hours && self.span(days).0 < hours && whole_days < hours {
            QueryStep::AllOfDays
        } else {
            self.step
        };
        Self { step, ..self.clone() }
    }

    /// The families whose cells answer it, none of which counts what another does.
    pub fn families(&self) -> Result<&'static [Family], QueryError> {
        if self.to < self.from {
            return Err(QueryError::Backwards);
        }
        let asks = |column| self.by.contains(&column) || self.filter.iter().any(|(it, _)| *it == column);
        let (caller, model) = (asks(Column::Caller), asks(Column::Model));
        let key = asks(Column::Key) || asks(Column::Project);
        if self.stored_step() == StepSize::Minute {
            return match (caller, key, model) {
                (true, true, _) => Err(QueryError::CallerAndKey),
                (false, false, false) => Ok(&[Family::Total]),
                (true, false, false) => Ok(&[Family::Caller]),
                (false, true, false) => Ok(&[Family::Key]),
                (false, false, true) => Ok(&[Family::Model]),
                _ => Err(QueryError::PairOfMinutes),
            };
        }
        match (caller, key) {
            (true, true) => Err(QueryError::CallerAndKey),
            (true, false) => Ok(&[Family::CallerModel]),
            (false, true) => Ok(&[Family::KeyModel, Family::Key]),
            (false, false) => Ok(&[Family::Model]),
        }
    }

    /// The time that the rows stand for: what the span begins and ends in is whole, so that no row is of less than it says.
    /// Its cells are those whose step begins from the first time on and before the second.
    pub fn span(&self, days: &Days) -> (i64, i64) {
        if self.to <= self.from {
            return (self.from, self.from);
        }
        let last = self.to - 1;
        let step = self.stored_step();
        let (from, to) = if self.step == QueryStep::Month {
            (days.month_start(self.from), days.month_end(last))
        } else {
            (days.step_start(step, self.from), days.step_end(step, last))
        };
        (from, to.max(self.to))
    }

    /// The same question with the next coarser step; `None` where there is none that reads less.
    pub fn coarser(&self) -> Option<Self> {
        let step = match self.stored_step() {
            StepSize::Minute => QueryStep::Hour,
            StepSize::Hour => QueryStep::Day,
            StepSize::Day => return None,
        };
        Some(Self { step, ..self.clone() })
    }
}

/// One row of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportRow {
    /// When the time begins that it stands for.
    pub from: i64,
    /// When that time ends.
    pub to: i64,
    /// The labels, in the order of [`Query::by`].
    pub labels: Vec<Arc<str>>,
    /// What was counted.
    pub cell: Cell,
}

/// Groups cells into rows. Cells may come in any order, folded or not.
#[derive(Debug)]
pub struct Report {
    query: Query,
    days: Days,
    families: &'static [Family],
    span: (i64, i64),
    /// Since when the cells that it is made of are kept, if its span begins before.
    kept_since: Option<i64>,
    /// Of each part of the filter, whether any cell has that label.
    found: Vec<bool>,
    /// By the beginning of their time and their labels.
    rows: BTreeMap<RowPlace, RowContent>,
}

type RowPlace = (i64, Vec<Arc<str>>);
/// The end of its time, and what was counted.
type RowContent = (i64, Cell);

impl Report {
    /// Makes a report without a row.
    pub fn new(query: Query, days: Days) -> Result<Self, QueryError> {
        let families = query.families()?;
        let span = query.span(&days);
        let found = vec![false; query.filter.len()];
        Ok(Self { query, days, families, span, kept_since: None, found, rows: BTreeMap::new() })
    }

    /// Returns the question that is answered.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Notes since when such cells are kept.
    pub fn note_kept_since(&mut self, at: i64) {
        self.kept_since = Some(at).filter(|at| self.span.0 < *at);
    }

    /// Returns since when what the question reads is kept, and by what step; `None` where all of its span is.
    pub fn kept_since(&self) -> Option<(StepSize, i64)> {
        self.kept_since.map(|at| (self.query.stored_step(), at))
    }

    /// Returns the parts of the filter whose label nothing in this time has.
    pub fn not_found(&self) -> impl Iterator<Item = &(Column, String)> {
        self.query.filter.iter().zip(&self.found).filter(|(_, found)| !**found).map(|(part, _)| part)
    }

    /// Adds a cell of the question's step and families that begins within its range.
    pub fn add(&mut self, at: i64, labels: &Labels, cell: &Cell) {
        let wanted = |(column, name): &(Column, String)| match (column.of(labels), column) {
            (Some(label), _) => **label == **name,
            (None, Column::Model) => name == ANY_MODEL,
            (None, _) => false,
        };
        let mut is_wanted = true;
        for (part, found) in self.query.filter.iter().zip(&mut self.found) {
            let fits = wanted(part);
            *found |= fits;
            is_wanted &= fits;
        }
        if !is_wanted {
            return;
        }
        let (from, to) = match self.query.step {
            QueryStep::Month => (self.days.month_start(at), self.days.month_end(at)),
            QueryStep::All | QueryStep::AllOfDays => self.span,
            _ => (at, self.days.step_end(self.query.stored_step(), at)),
        };
        let label = |column: &Column| match (column.of(labels), column) {
            (Some(label), _) => Arc::clone(label),
            (None, Column::Model) => ANY_MODEL.into(),
            (None, _) => NONE.into(),
        };
        let labels = self.query.by.iter().map(label).collect();
        self.rows.entry((from, labels)).or_insert_with(|| (to, Cell::default())).1.merge(cell);
    }

    /// Adds the sums of seconds that are not folded yet.
    pub fn add_unfolded<'s>(&mut self, journal: impl IntoIterator<Item = &'s Sums>) {
        let (from, to) = self.span;
        let step = self.query.stored_step();
        for ((size, at, labels), cell) in fold(journal, &self.days) {
            if size == step && from <= at && at < to && self.families.contains(&labels.family()) {
                self.add(at, &labels, &cell);
            }
        }
    }

    /// The rows, by time and then by labels.
    pub fn rows(self) -> Vec<ReportRow> {
        self.rows
            .into_iter()
            .map(|((from, labels), (to, cell))| ReportRow { from, to, labels, cell })
            .collect()
    }
}
