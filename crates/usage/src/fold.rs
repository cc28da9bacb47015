//! Carries the sums of seconds into the steps they are kept by.

use crate::{
    cell::Cell,
    days::{Days, StepSize},
    labels::{Family, Labels},
    sums::Sums,
};
use foldhash::HashMap;
use std::collections::BTreeMap;

/// Cells by step, the step's beginning and labels.
pub type Folded = HashMap<(StepSize, i64, Labels), Cell>;

/// Folds the sums of seconds. Of each minute that they are of they must be all there are, or the peaks are too low;
/// everything else is the same however they are grouped.
pub fn fold<'s>(journal: impl IntoIterator<Item = &'s Sums>, days: &Days) -> Folded {
    let mut minutes: BTreeMap<i64, HashMap<Labels, Cell>> = BTreeMap::new();
    for sums in journal {
        let minute = minutes.entry(days.step_start(StepSize::Minute, sums.at())).or_default();
        for (labels, cell) in sums.cells() {
            minute.entry(labels.clone()).or_default().merge(cell);
        }
    }
    let mut folded = Folded::default();
    for (at, cells) in minutes {
        for (labels, cell) in coarser(&cells) {
            put(&mut folded, StepSize::Minute, at, labels, cell);
        }
        for (labels, mut cell) in cells {
            cell.peak = cell.peak.max(cell.counters.requests);
            for step in [StepSize::Hour, StepSize::Day] {
                put(&mut folded, step, days.step_start(step, at), labels.clone(), cell.clone());
            }
        }
    }
    folded
}

/// What is kept of a minute: each caller, model and key alone, and all together.
fn coarser(cells: &HashMap<Labels, Cell>) -> HashMap<Labels, Cell> {
    let mut minute: HashMap<Labels, Cell> = HashMap::default();
    for (labels, cell) in cells {
        let plain = Cell { spreads: None, ..cell.clone() };
        let alone = match labels.family() {
            Family::Model => {
                minute.entry(Labels::total()).or_default().merge(&plain);
                labels.clone()
            }
            _ => labels.of_any_model(),
        };
        minute.entry(alone).or_default().merge(&plain);
    }
    for cell in minute.values_mut() {
        cell.peak = cell.peak.max(cell.counters.requests);
    }
    minute
}

fn put(folded: &mut Folded, step: StepSize, at: i64, labels: Labels, cell: Cell) {
    match folded.entry((step, at, labels)) {
        std::collections::hash_map::Entry::Occupied(mut there) => there.get_mut().merge(&cell),
        std::collections::hash_map::Entry::Vacant(place) => {
            place.insert(cell);
        }
    }
}
