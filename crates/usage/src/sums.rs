//! The sums of one second: in which cells a request counts.

use crate::{
    amounts::Times,
    cell::{Cell, Counters},
    labels::{Labels, NONE},
    model_names::ModelNames,
    sample::{Counted, KeyUse, Sample},
};
use foldhash::HashMap;
use std::sync::Arc;

/// How finely keys are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyDetail {
    /// Each key with each model.
    Models,
    /// Keys alone, where there would be too many pairs.
    Alone,
}

impl KeyDetail {
    /// Beyond so many pairs keys are kept alone.
    pub const MOST_PAIRS: usize = 20_000;

    /// For so many keys and models.
    pub fn of(keys: usize, models: usize) -> Self {
        if keys.saturating_mul(models) > Self::MOST_PAIRS { Self::Alone } else { Self::Models }
    }
}

/// The sums of one second (of Unix time), by caller and model, by key and model, and by model with the spreads of its
/// times. What is coarser is made of these. Never caller, model and key together: there would be too many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    at: i64,
    cells: HashMap<Labels, Cell>,
}

impl Sums {
    /// Of this second, empty.
    pub fn new(at: i64) -> Self {
        Self { at, cells: HashMap::default() }
    }

    pub(crate) fn from_cells(at: i64, cells: HashMap<Labels, Cell>) -> Self {
        Self { at, cells }
    }

    /// Returns the second that the sums are of, since 1970.
    pub fn at(&self) -> i64 {
        self.at
    }

    /// The cells, in no order.
    pub fn cells(&self) -> &HashMap<Labels, Cell> {
        &self.cells
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// How many requests were counted.
    pub fn requests(&self) -> u64 {
        self.cells
            .iter()
            .filter(|(labels, _)| labels.caller.is_some())
            .map(|(_, cell)| cell.counters.requests)
            .sum()
    }

    /// Counts all of a sample. The name under which its model counts is returned.
    pub fn count(&mut self, sample: &Sample, models: &mut ModelNames, detail: KeyDetail) -> Arc<str> {
        let model = models.name(sample.model.as_ref(), sample.proven);
        let (counted, tries) = (&sample.counted, sample.tries.len());
        self.count_by_key(&sample.tries, &model, counted, detail);
        self.count_by_caller(&sample.caller, &model, counted, tries);
        self.count_by_model(&model, counted, tries, &sample.times);
        model
    }

    /// Counts requests by their keys alone: each under the key of its last try, since that one answered; each try itself
    /// counts under its own key.
    pub fn count_by_key(&mut self, tries: &[KeyUse], model: &Arc<str>, counted: &Counted, detail: KeyDetail) {
        let mut cell = counted.cell();
        let by_key = |at: &KeyUse| {
            let labels = Labels::key(Arc::clone(&at.key), Arc::clone(&at.project));
            match detail {
                KeyDetail::Models => labels.and_model(Arc::clone(model)),
                KeyDetail::Alone => labels,
            }
        };
        let requests = cell.counters.requests;
        let tried = |position: usize| Counters {
            attempts: requests,
            retries: if position > 0 { requests } else { 0 },
            ..Counters::default()
        };
        if let Some((last, before)) = tries.split_last() {
            for (position, at) in before.iter().enumerate() {
                self.merge_cell(by_key(at), &Cell { counters: tried(position), ..Cell::default() });
            }
            cell.counters.merge(&tried(before.len()));
            self.merge_cell(by_key(last), &cell);
        } else {
            self.merge_cell(by_key(&KeyUse { key: NONE.into(), project: NONE.into() }), &cell);
        }
    }

    /// Counts requests by their caller alone, with so many tries each.
    pub fn count_by_caller(&mut self, caller: &Arc<str>, model: &Arc<str>, counted: &Counted, tries: usize) {
        let labels = Labels::caller(Arc::clone(caller)).and_model(Arc::clone(model));
        self.merge_cell(labels, &counted.cell_with_tries(tries));
    }

    /// Counts requests by their model alone, with so many tries each.
    pub fn count_by_model(&mut self, model: &Arc<str>, counted: &Counted, tries: usize, times: &Times) {
        let of_model = self.cells.entry(Labels::model(Arc::clone(model))).or_default();
        of_model.merge(&counted.cell_with_tries(tries));
        let spreads = of_model.spreads.get_or_insert_default();
        spreads.duration.add_all(&times.durations);
        spreads.first_event.add_all(&times.first_events);
    }

    /// Adds another second's, or part of one. Its own second stays.
    pub fn merge(&mut self, other: &Self) {
        for (labels, cell) in &other.cells {
            self.merge_cell(labels.clone(), cell);
        }
    }

    fn merge_cell(&mut self, labels: Labels, cell: &Cell) {
        self.cells.entry(labels).or_default().merge(cell);
    }
}
