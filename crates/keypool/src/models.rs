//! The models that requests name, each with a number and what is known of it on each project. Names come from clients,
//! so a model of which nothing is left to know is forgotten.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::breaker::Breaker;
use crate::budget::Budget;
use crate::ids::{KeyIx, Model, ModelIx, ProjectIx};
use crate::journal::{Journal, Page};
use crate::rotation::Rotation;
use crate::totals::Totals;

/// From how many models on, and then each time their number has doubled, those of no interest are looked for.
const MANY: usize = 256;

#[derive(Debug)]
pub(crate) struct ModelState {
    pub name: Model,
    pub in_flight: u32,
    pub breaker: Breaker,
    /// How far it has come around the keys.
    pub rotation: Rotation,
    /// By key, in their order. Few models are used on all keys.
    totals: Vec<(KeyIx, Totals)>,
    /// Where a limit is known.
    pub budgets: BTreeMap<ProjectIx, Budget>,
}

#[derive(Debug)]
pub(crate) struct Models {
    by_name: BTreeMap<Model, ModelIx>,
    states: Vec<ModelState>,
    free: Vec<ModelIx>,
    sweep_at: usize,
}

impl Models {
    pub(crate) fn new() -> Self {
        Self { by_name: BTreeMap::new(), states: Vec::new(), free: Vec::new(), sweep_at: MANY }
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
        if self.by_name.len() >= self.sweep_at {
            self.sweep(now, journal);
            self.sweep_at = MANY.max(2 * self.by_name.len());
        }
        let state = ModelState {
            totals: Vec::new(),
            name: name.clone(),
            in_flight: 0,
            breaker: Breaker::default(),
            rotation: Rotation::default(),
            budgets: BTreeMap::new(),
        };
        let model = if let Some(model) = self.free.pop() {
            self.states[model.position()] = state;
            model
        } else {
            self.states.push(state);
            ModelIx::at(self.states.len() - 1)
        };
        self.by_name.insert(name.clone(), model);
        model
    }

    /// Forgets the budgets that have nothing to say, and the models of which nothing is left to know.
    pub(crate) fn sweep(&mut self, now: Duration, journal: &mut Journal) {
        let Self { by_name, states, free, .. } = self;
        by_name.retain(|name, model| {
            let state = &mut states[model.position()];
            state.budgets.retain(|project, budget| {
                let keep = !budget.is_idle(now);
                if !keep && !budget.dirty {
                    journal.note(Page::Limits(*project, name.clone()), now);
                }
                keep
            });
            let keep = !state.is_idle(now);
            if !keep {
                free.push(*model);
            }
            keep
        });
    }
}

impl ModelState {
    /// What became of this key's leases for the model.
    pub(crate) fn totals(&self, key: KeyIx) -> Option<&Totals> {
        self.place(key).ok().map(|at| &self.totals[at].1)
    }

    pub(crate) fn totals_mut(&mut self, key: KeyIx) -> &mut Totals {
        let at = self.place(key).unwrap_or_else(|at| {
            self.totals.insert(at, (key, Totals::default()));
            at
        });
        &mut self.totals[at].1
    }

    /// Where a key's totals are, or belong.
    fn place(&self, key: KeyIx) -> Result<usize, usize> {
        // Where all keys are used, as most are, each is at its own position.
        match self.totals.get(key.position()) {
            Some((own, _)) if *own == key => Ok(key.position()),
            _ => self.totals.binary_search_by_key(&key, |(key, _)| *key),
        }
    }

    fn is_idle(&self, now: Duration) -> bool {
        self.in_flight == 0
            && !self.totals.iter().any(|(_, totals)| totals.is_telling())
            && self.breaker.is_idle(now)
            && self.budgets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_clients_make_up_are_forgotten() {
        let (mut models, mut journal) = (Models::new(), Journal::default());
        let name = |at: usize| Some(format!("model-{at}").into());
        let kept = models.enter(&name(0), Duration::ZERO, &mut journal);
        models.get_mut(kept).in_flight = 1;
        for at in 1..100_000 {
            models.enter(&name(at), Duration::ZERO, &mut journal);
        }
        assert!(models.states.len() <= MANY, "{}", models.states.len());
        assert_eq!(models.find(&name(0)), Some(kept));
        assert_eq!(models.iter().count(), models.by_name.len());
    }
}
