//! Everything that is counted: leases and their outcomes by key and by model, what is used of limits, and how models fare
//! as a whole. Decides nothing about keys; what cools is in `cooldowns`. The desk counts, the selector asks for headroom.

mod budgets;
mod usage;

use std::time::Duration;

use meter::{Now, Parted};

pub(crate) use budgets::Headroom;

use crate::breaker::{Breaker, Turn};
use crate::budget::Budget;
use crate::ids::{KeyIx, Model, ModelIx, Order, ProjectIx};
use crate::journal::Journal;
use crate::lease_request::Retry;
use crate::limit::Limit;
use crate::losses::Losses;
use crate::members::Members;
use crate::models::Models;
use crate::rotation::Rotation;
use crate::totals::Totals;

/// What is counted of one key.
#[derive(Clone, Debug, Default)]
struct KeyCount {
    in_flight: u32,
    totals: Totals,
    /// Whether the totals have changed since they were last kept.
    unkept: bool,
}

#[derive(Debug)]
pub(crate) struct Counters {
    keys: Vec<KeyCount>,
    losses: Losses,
    models: Models,
    /// As configured.
    limits: Box<[Limit]>,
    journal: Journal,
    /// When budgets with nothing to say were last cleared away.
    tidied: Duration,
}

impl Counters {
    pub(crate) fn new(members: &Members, limits: &[Limit]) -> Self {
        Self {
            keys: vec![KeyCount::default(); members.len()],
            losses: Losses::new(members.len()),
            models: Models::new(),
            limits: limits.into(),
            journal: Journal::default(),
            tidied: Duration::ZERO,
        }
    }

    /// Returns the place of a model that something is known of.
    pub(crate) fn model(&self, name: &Model) -> Option<ModelIx> {
        self.models.find(name)
    }

    /// Returns the place of this model, which is new if need be.
    pub(crate) fn enter(&mut self, name: &Model, now: Duration) -> ModelIx {
        self.models.enter(name, now, &mut self.journal)
    }

    pub(crate) fn name(&self, model: ModelIx) -> &Model {
        &self.models.get(model).name
    }

    /// Returns the names of models that were forgotten since this was last asked.
    pub(crate) fn take_forgotten(&mut self) -> Vec<Model> {
        self.models.take_forgotten()
    }

    /// Returns how far a model has come around the keys.
    pub(crate) fn rotation(&self, model: ModelIx) -> Rotation {
        self.models.get(model).rotation
    }

    pub(crate) fn set_rotation(&mut self, model: ModelIx, rotation: Rotation) {
        self.models.get_mut(model).rotation = rotation;
    }

    /// Returns how a model fares as a whole.
    pub(crate) fn breaker(&self, model: ModelIx) -> &Breaker {
        &self.models.get(model).breaker
    }

    /// Lets a model's breaker take something in, and returns how that turned it.
    pub(crate) fn turn(&mut self, model: ModelIx, take: impl FnOnce(&mut Breaker) -> Turn) -> Turn {
        take(&mut self.models.get_mut(model).breaker)
    }

    /// Tells a model's breaker of a lease that was let through, and returns whether it is the model's probe.
    pub(crate) fn grant(
        &mut self,
        model: ModelIx,
        retry: Retry,
        lease: Order,
        now: Duration,
        patience: Duration,
    ) -> bool {
        self.models.get_mut(model).breaker.grant(retry, lease, now, patience)
    }

    /// Returns each model's name with its breaker.
    pub(crate) fn breakers(&self) -> impl Iterator<Item = (&Model, &Breaker)> {
        self.models.iter().map(|state| (&state.name, &state.breaker))
    }

    /// Returns the budgets of a project, each with its model's name.
    pub(crate) fn budgets(&self, project: ProjectIx) -> impl Iterator<Item = (&Model, &Budget)> {
        self.models.iter().filter_map(move |state| Some((&state.name, state.budgets.get(&project)?)))
    }

    /// Moves the ends of days to where the wall clock shows them now.
    pub(crate) fn follow_wall(&mut self, parted: Parted, now: Now) {
        for budget in self.models.iter_mut().flat_map(|state| state.budgets.values_mut()) {
            budget.follow_wall(parted, now);
        }
    }

    /// Counts a lease as out, on its key and for its model.
    pub(crate) fn lease_out(&mut self, key: KeyIx, model: ModelIx) {
        self.keys[key.position()].in_flight += 1;
        self.models.get_mut(model).in_flight += 1;
    }

    /// Counts a lease as back.
    pub(crate) fn lease_back(&mut self, key: KeyIx, model: ModelIx) {
        let entry = &mut self.keys[key.position()];
        entry.in_flight = entry.in_flight.saturating_sub(1);
        let state = self.models.get_mut(model);
        state.in_flight = state.in_flight.saturating_sub(1);
    }

    /// Returns how many leases of a key are out.
    pub(crate) fn in_flight(&self, key: KeyIx) -> u32 {
        self.keys[key.position()].in_flight
    }

    /// Returns which keys lose connections of their own.
    pub(crate) fn losses(&self) -> &Losses {
        &self.losses
    }

    pub(crate) fn losses_mut(&mut self) -> &mut Losses {
        &mut self.losses
    }

    /// Returns when something is to be written up.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.journal.due()
    }
}
