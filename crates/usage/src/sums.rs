//! The sums of one second: in which cells a request counts.

use crate::{
    cell::{Cell, Counters},
    labels::{Labels, NONE},
    model_names::ModelNames,
    sample::{KeyUse, Sample},
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

    /// Counts the requests of a sample. Each under the key of its last try, since that one answered; each try itself counts under its own
    /// key. The name under which their model counts is returned.
    pub fn count(&mut self, sample: &Sample, models: &mut ModelNames, detail: KeyDetail) -> Arc<str> {
        let model = models.name(sample.model.as_ref(), sample.proven);
        let mut cell = sample.cell();
        let by_key = |at: &KeyUse| {
            let labels = Labels::key(Arc::clone(&at.key), Arc::clone(&at.project));
            match detail {
                KeyDetail::Models => labels.and_model(Arc::clone(&model)),
                KeyDetail::Alone => labels,
            }
        };
        let requests = cell.counters.requests;
        let tried = |position: usize| Counters {
            attempts: requests,
            retries: if position > 0 { requests } else { 0 },
            ..Counters::default()
        };
        if let Some((last, before)) = sample.tries.split_last() {
            for (position, at) in before.iter().enumerate() {
                self.merge_cell(by_key(at), &Cell { counters: tried(position), ..Cell::default() });
            }
            cell.counters.merge(&tried(before.len()));
            self.merge_cell(by_key(last), &cell);
        } else {
            self.merge_cell(by_key(&KeyUse { key: NONE.into(), project: NONE.into() }), &cell);
        }
        let tries = sample.tries.len() as u64;
        cell.counters.attempts = requests.saturating_mul(tries);
        cell.counters.retries = requests.saturating_mul(tries.saturating_sub(1));
        self.merge_cell(Labels::caller(Arc::clone(&sample.caller)).and_model(Arc::clone(&model)), &cell);
        let of_model = self.cells.entry(Labels::model(Arc::clone(&model))).or_default();
        of_model.merge(&cell);
        let spreads = of_model.spreads.get_or_insert_default();
        spreads.duration.add_all(&sample.amounts.durations);
        spreads.first_event.add_all(&sample.amounts.first_events);
        model
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
