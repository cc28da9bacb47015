//! The models that requests name, each with a number and what is known of it on each project. Names come from clients:
//! those that Google has served are kept, of all others a bounded number, the oldest of which are forgotten first. Sums are
//! written up from the time that Google has said more of a name than that the asker is wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use fixedbitset::FixedBitSet;

use crate::breaker::Breaker;
use crate::budget::Budget;
use crate::demand::Demand;
use crate::habit::NodePart;
use crate::ids::{KeyIx, Model, ModelIx, ProjectIx};
use crate::journal::{Journal, JournalPage};
use crate::moves::Moves;
use crate::rotation::Rotation;
use crate::totals::Totals;

/// How many names are kept that Google has not served, and how many sums by key there may be of them all.
const MOST_UNSERVED: usize = 1_000;
const MOST_UNSERVED_SUMS: usize = 10_000;

#[derive(Debug)]
pub(crate) struct ModelState {
    pub name: Model,
    pub in_flight: u32,
    pub breaker: Breaker,
    /// How far it has come around the keys.
    pub rotation: Rotation,
    /// By key, in their order. Few models are used on all keys.
    sums: Vec<Sum>,
    /// Its place among the names that Google has not served.
    unserved: Option<u64>,
    /// Whether its sums are written up.
    written: bool,
    /// Where a limit is known.
    pub budgets: BTreeMap<ProjectIx, Budget>,
    /// How much it is asked for, where other nodes share its budgets.
    pub demand: Demand,
    /// This node's part in it, where it was told.
    pub part: Option<NodePart>,
    /// The keys on whose projects this node holds something, or nothing is limited, where other nodes share its budgets and
    /// there are so many projects that looking at each would be dear. Some may be used up by now; none is missing for long.
    pub roomy: Option<FixedBitSet>,
}

/// What became of a key's leases for a model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    key: KeyIx,
    pub totals: Totals,
    /// Whether it is noted to be written up.
    unkept: bool,
}

#[derive(Debug)]
pub(crate) struct Models {
    by_name: BTreeMap<Model, ModelIx>,
    states: Vec<ModelState>,
    free: Vec<ModelIx>,
    /// The names that Google has not served, the oldest first.
    unserved: BTreeMap<u64, ModelIx>,
    next_unserved: u64,
    /// How many sums there are of them.
    unserved_sums: usize,
    /// Names that were forgotten, until somebody asks.
    forgotten: Vec<Model>,
}

impl Models {
    pub(crate) fn new() -> Self {
        Self {
            by_name: BTreeMap::new(),
            states: Vec::new(),
            free: Vec::new(),
            unserved: BTreeMap::new(),
            next_unserved: 0,
            unserved_sums: 0,
            forgotten: Vec::new(),
        }
    }

    pub(crate) fn find(&self, name: &Model) -> Option<ModelIx> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn get(&self, model: ModelIx) -> &ModelState {
        &self.states[model.position()]
    }

    pub(crate) fn get_mut(&mut self, model: ModelIx) -> &mut ModelState {
        &mut self.states[model.position()]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ModelState> {
        self.by_name.values().map(|model| self.get(*model))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut ModelState> {
        // Free places are empty.
        self.states.iter_mut()
    }

    /// The number of this model, which is new if need be.
    pub(crate) fn enter(&mut self, name: &Model, now: Duration, journal: &mut Journal) -> ModelIx {
        if let Some(model) = self.find(name) {
            return model;
        }
        self.make_room(now, journal);
        // Requests that name no model are no name that somebody could make up.
        let unserved = name.is_some().then_some(self.next_unserved);
        self.next_unserved += 1;
        let state = ModelState {
            sums: Vec::new(),
            unserved,
            written: unserved.is_none(),
            name: name.clone(),
            in_flight: 0,
            breaker: Breaker::default(),
            rotation: Rotation::default(),
            budgets: BTreeMap::new(),
            demand: Demand::default(),
            part: None,
            roomy: None,
        };
        let model = if let Some(model) = self.free.pop() {
            self.states[model.position()] = state;
            model
        } else {
            self.states.push(state);
            ModelIx::at(self.states.len() - 1)
        };
        self.by_name.insert(name.clone(), model);
        if let Some(unserved) = unserved {
            self.unserved.insert(unserved, model);
        }
        model
    }

    /// Forgets the oldest of the names that Google has not served, as long as there are too many. Those whose leases are
    /// out stay; there are no more of them than leases.
    fn make_room(&mut self, now: Duration, journal: &mut Journal) {
        while self.unserved.len() >= MOST_UNSERVED || self.unserved_sums >= MOST_UNSERVED_SUMS {
            let idle = |(_, model): &(&u64, &ModelIx)| self.get(**model).in_flight == 0;
            let Some(model) = self.unserved.iter().find(idle).map(|(_, model)| *model) else { return };
            let state = &mut self.states[model.position()];
            let name = state.name.take();
            for sum in std::mem::take(&mut state.sums) {
                self.unserved_sums -= 1;
                if state.written && !sum.unkept {
                    journal.note(JournalPage::ModelUsage(sum.key, name.clone()), now);
                }
            }
            for (project, budget) in std::mem::take(&mut state.budgets) {
                if !budget.dirty {
                    journal.note(JournalPage::Limits(project, name.clone()), now);
                }
            }
            if let Some(unserved) = state.unserved.take() {
                self.unserved.remove(&unserved);
            }
            self.by_name.remove(&name);
            self.free.push(model);
            self.forgotten.push(name);
        }
    }

    /// Returns the names that were forgotten since this was last asked.
    pub(crate) fn take_forgotten(&mut self) -> Vec<Model> {
        std::mem::take(&mut self.forgotten)
    }

    /// Changes what became of a key's leases for a model. A name that has been served is kept from then on.
    pub(crate) fn sum_up(
        &mut self,
        model: ModelIx,
        key: KeyIx,
        now: Duration,
        journal: &mut Journal,
        change: impl FnOnce(&mut Totals),
    ) {
        let state = &mut self.states[model.position()];
        let at = state.place(key).unwrap_or_else(|at| {
            state.sums.insert(at, Sum { key, totals: Totals::default(), unkept: false });
            self.unserved_sums += usize::from(state.unserved.is_some());
            at
        });
        let totals = &mut state.sums[at].totals;
        change(totals);
        let is_served = totals.successes > 0;
        if is_served || totals.faults > totals.faults_of.client {
            state.write_all(now, journal);
        }
        if state.written {
            state.note(at, now, journal);
        }
        if is_served && let Some(unserved) = state.unserved.take() {
            self.unserved.remove(&unserved);
            self.unserved_sums -= state.sums.len();
        }
        if self.unserved_sums > MOST_UNSERVED_SUMS {
            self.make_room(now, journal);
        }
    }

    /// Notes the sums of a key to be written up, since it has another name.
    pub(crate) fn write_anew(&mut self, key: KeyIx, now: Duration, journal: &mut Journal) {
        for state in self.states.iter_mut().filter(|state| state.written) {
            if let Ok(at) = state.place(key) {
                state.note(at, now, journal);
            }
        }
    }

    /// Moves what is kept of keys to their present places, and forgets what was kept of keys that are gone.
    pub(crate) fn move_keys(&mut self, moves: &Moves) {
        for state in &mut self.states {
            let sums = std::mem::take(&mut state.sums);
            let before = sums.len();
            state.sums =
                sums.into_iter().filter_map(|sum| Some(Sum { key: moves.of(sum.key)?, ..sum })).collect();
            state.sums.sort_unstable_by_key(|sum| sum.key);
            if state.unserved.is_some() {
                self.unserved_sums -= before - state.sums.len();
            }
            state.rotation = state.rotation.over_others(moves);
        }
    }

    /// Forgets the budgets that have nothing to say.
    pub(crate) fn tidy(&mut self, now: Duration, journal: &mut Journal) {
        for state in &mut self.states {
            let name = &state.name;
            state.budgets.retain(|project, budget| {
                let shares = budget.share.as_ref().is_some_and(|share| share.is_in_use(now));
                let keep = shares || !budget.is_idle(now);
                if !keep && !budget.dirty {
                    journal.note(JournalPage::Limits(*project, name.clone()), now);
                }
                keep
            });
        }
    }
}

impl ModelState {
    /// Returns what became of this key's leases for the model.
    pub(crate) fn totals(&self, key: KeyIx) -> Option<&Totals> {
        self.place(key).ok().map(|at| &self.sums[at].totals)
    }

    /// Returns this key's sum as it is written up.
    pub(crate) fn written(&self, key: KeyIx) -> Option<&Totals> {
        self.totals(key).filter(|_| self.written)
    }

    /// Its sums are written up from now on, and what there is of them now.
    pub(crate) fn write_all(&mut self, now: Duration, journal: &mut Journal) {
        if !std::mem::replace(&mut self.written, true) {
            (0..self.sums.len()).for_each(|at| self.note(at, now, journal));
        }
    }

    /// Notes a sum to be written up, once.
    fn note(&mut self, at: usize, now: Duration, journal: &mut Journal) {
        let sum = &mut self.sums[at];
        if !std::mem::replace(&mut sum.unkept, true) {
            journal.note(JournalPage::ModelUsage(sum.key, self.name.clone()), now);
        }
    }

    /// Returns the keys that it was used on.
    pub(crate) fn keys(&self) -> impl Iterator<Item = KeyIx> + '_ {
        self.sums.iter().map(|sum| sum.key)
    }

    /// Takes down that a sum is kept now.
    pub(crate) fn is_kept(&mut self, key: KeyIx) {
        if let Ok(at) = self.place(key) {
            self.sums[at].unkept = false;
        }
    }

    /// Where a key's sum is, or belongs.
    fn place(&self, key: KeyIx) -> Result<usize, usize> {
        // Where all keys are used, as most are, each is at its own position.
        match self.sums.get(key.position()) {
            Some(sum) if sum.key == key => Ok(key.position()),
            _ => self.sums.binary_search_by_key(&key, |sum| sum.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_google_has_not_served_are_forgotten_the_oldest_first() {
        let (mut models, mut journal) = (Models::new(), Journal::default());
        let name = |at: usize| Some(format!("model-{at}").into());
        let now = Duration::ZERO;
        let busy = models.enter(&name(0), now, &mut journal);
        models.get_mut(busy).in_flight = 1;
        let served = models.enter(&name(1), now, &mut journal);
        models.sum_up(served, KeyIx::at(0), now, &mut journal, |totals| totals.successes += 1);
        for at in 2..100_000 {
            let model = models.enter(&name(at), now, &mut journal);
            models.sum_up(model, KeyIx::at(at % 3), now, &mut journal, |totals| totals.faults += 1);
        }
        assert!(models.states.len() <= MOST_UNSERVED + 2, "{}", models.states.len());
        assert_eq!((models.find(&name(0)), models.find(&name(1))), (Some(busy), Some(served)));
        let oldest = 100_000 - MOST_UNSERVED + 1;
        assert_eq!(models.find(&name(oldest - 1)), None);
        assert!((oldest..100_000).all(|at| models.find(&name(at)).is_some()));
        assert_eq!(models.iter().count(), models.by_name.len());
        assert_eq!(models.unserved_sums, MOST_UNSERVED - 1);
        assert_eq!(models.take_forgotten().len(), oldest - 2);
    }

    #[test]
    fn few_names_on_many_keys_are_bounded_too() {
        let (mut models, mut journal) = (Models::new(), Journal::default());
        for at in 0..100 {
            let model = models.enter(&Some(format!("model-{at}").into()), Duration::ZERO, &mut journal);
            models.get_mut(model).in_flight = 1;
            for key in 0..1_000 {
                models
                    .sum_up(model, KeyIx::at(key), Duration::ZERO, &mut journal, |totals| totals.leases += 1);
            }
            models.get_mut(model).in_flight = 0;
            assert!(models.unserved_sums <= MOST_UNSERVED_SUMS + 1_000);
            assert_eq!(
                models.states.iter().map(|state| state.sums.len()).sum::<usize>(),
                models.unserved_sums
            );
        }
    }
}
