//! A usage book that lives as long as the process: for an operator who wants no file, while the file cannot be used, for
//! tests.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use usage::{Cell, Days, Family, Labels, NONE, OTHER, Query, Report, StepSize, Sums, fold};

use crate::{
    StoreError,
    usage_book::{
        BookAnswer, BookError, BookOverview, FoldReport, JournalRow, Pruned, Retention, UsageBook,
        refuse_too_much,
    },
};

/// A usage book in memory. A clone is a second handle on the same one.
#[derive(Clone, Debug, Default)]
pub struct UsageMemory(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    id: String,
    days: Days,
    journal: BTreeMap<(String, u64), Sums>,
    folded: HashMap<String, u64>,
    cells: BTreeMap<(StepSize, i64, Family, Labels), Cell>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            // Random enough: each is seeded by the system.
            id: format!("{:016x}", RandomState::new().build_hasher().finish()),
            days: Days::default(),
            journal: BTreeMap::new(),
            folded: HashMap::new(),
            cells: BTreeMap::new(),
        }
    }
}

impl UsageMemory {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn last_seq(&self, node: &str) -> u64 {
        let written =
            self.journal.keys().filter(|(of, _)| of == node).map(|&(_, seq)| seq).max().unwrap_or(0);
        written.max(self.folded.get(node).copied().unwrap_or(0))
    }

    /// The cells of a step that begin within a range. All families', so that it is not to be used on many.
    fn between(
        &self,
        step: StepSize,
        from: i64,
        to: i64,
    ) -> impl Iterator<Item = (i64, Family, &Labels, &Cell)> {
        let (first, end) =
            ((step, from, Family::Total, Labels::total()), (step, to, Family::Total, Labels::total()));
        let range = if from < to { self.cells.range(first..end) } else { self.cells.range(end.clone()..end) };
        range.map(|((_, at, family, labels), cell)| (*at, *family, labels, cell))
    }

    fn count(&self, query: &Query) -> Result<usize, BookError> {
        let families = query.families()?;
        let (from, to) = query.span(&self.days);
        let cells =
            self.between(query.stored_step(), from, to).filter(|(_, family, ..)| families.contains(family));
        Ok(cells.take(query.most_rows.saturating_add(1)).count())
    }

    fn remove(&mut self, at_most: usize, wanted: impl Fn(StepSize, i64, Family) -> bool) -> usize {
        let old: Vec<_> = self
            .cells
            .keys()
            .filter(|(step, at, family, _)| wanted(*step, *at, *family))
            .take(at_most)
            .cloned()
            .collect();
        for place in &old {
            self.cells.remove(place);
        }
        old.len()
    }
}

impl UsageBook for UsageMemory {
    fn overview(&mut self) -> Result<BookOverview, StoreError> {
        let inner = self.inner();
        let mut models: Vec<_> = inner
            .cells
            .keys()
            .filter(|(_, _, family, _)| *family == Family::Model)
            .filter_map(|(.., labels)| labels.model.as_deref())
            .filter(|name| *name != NONE && *name != OTHER)
            .map(str::to_owned)
            .collect();
        models.sort_unstable();
        models.dedup();
        Ok(BookOverview { id: inner.id.clone(), days: inner.days, rows: inner.cells.len() as u64, models })
    }

    fn set_days(&mut self, days: &Days, now: i64) -> Result<Days, StoreError> {
        let mut inner = self.inner();
        let fresh = inner.cells.is_empty() && inner.journal.is_empty();
        inner.days = if fresh { *days } else { days.after(inner.days, now) };
        Ok(inner.days)
    }

    fn append(&mut self, row: &JournalRow) -> Result<bool, StoreError> {
        let mut inner = self.inner();
        let known = inner.folded.get(&row.node).is_some_and(|&folded| folded >= row.seq);
        let place = (row.node.clone(), row.seq);
        if known || inner.journal.contains_key(&place) {
            return Ok(false);
        }
        inner.journal.insert(place, row.sums.clone());
        Ok(true)
    }

    fn fold(&mut self, before: i64) -> Result<FoldReport, StoreError> {
        let mut inner = self.inner();
        let (due, rest) =
            std::mem::take(&mut inner.journal).into_iter().partition(|(_, sums)| sums.at() < before);
        inner.journal = rest;
        let due: BTreeMap<(String, u64), Sums> = due;
        for ((step, at, labels), cell) in fold(due.values(), &inner.days) {
            inner.cells.entry((step, at, labels.family(), labels)).or_default().merge(&cell);
        }
        for (node, seq) in due.keys() {
            let highest = inner.folded.entry(node.clone()).or_default();
            *highest = seq.max(highest).to_owned();
        }
        Ok(FoldReport { folded: due.len(), damaged: 0 })
    }

    fn query(&mut self, query: &Query, node: &str) -> Result<BookAnswer, BookError> {
        let inner = self.inner();
        let mut report = Report::new(query.clone(), inner.days)?;
        refuse_too_much(query, |query| inner.count(query))?;
        let families = query.families()?;
        let (from, to) = query.span(&inner.days);
        for (at, family, labels, cell) in inner.between(query.stored_step(), from, to) {
            if families.contains(&family) {
                report.add(at, labels, cell);
            }
        }
        report.add_unfolded(inner.journal.values());
        Ok(BookAnswer { report, last_seq: inner.last_seq(node) })
    }

    fn prune(&mut self, now: i64, retention: &Retention, at_most: usize) -> Result<Pruned, StoreError> {
        let mut inner = self.inner();
        let days = inner.days;
        let removed = inner.remove(at_most, |step, at, family| {
            days.step_end(step, at) <= now.saturating_sub(retention.of(step, family))
        });
        let excess = (inner.cells.len() as u64).saturating_sub(retention.max_rows);
        let room = at_most - removed;
        let by_cap = inner.remove(room.min(usize::try_from(excess).unwrap_or(usize::MAX)), |_, _, _| true);
        Ok(Pruned {
            removed: removed + by_cap,
            by_cap,
            more: removed + by_cap >= at_most || excess > by_cap as u64,
        })
    }

    fn reader(&self) -> Result<Box<dyn UsageBook>, StoreError> {
        Ok(Box::new(self.clone()))
    }
}
