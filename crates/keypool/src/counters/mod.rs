//! Everything that is counted: leases and their outcomes by key and by model, what is used of limits, and how models fare
//! as a whole. Decides nothing about keys; what cools is in `cooldowns`. The desk counts, the selector asks for headroom.

mod budgets;
mod draws;
mod learnt;
mod sharing;
mod usage;

use std::time::Duration;

use meter::{Now, Parted};

pub(crate) use budgets::Headroom;
pub(crate) use draws::Wants;
use sharing::Sharing;

use crate::breaker::{Breaker, Turn};
use crate::budget::Budget;
use crate::ids::{KeyIx, Model, ModelIx, Order, ProjectIx};
use crate::journal::{Journal, JournalPage};
use crate::lease_request::Retry;
use crate::limit::{ConfiguredLimits, Limit};
use crate::losses::Losses;
use crate::members::Members;
use crate::models::Models;
use crate::moves::Moves;
use crate::record::Subject;
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
    /// The limits of the configuration.
    limits: ConfiguredLimits,
    journal: Journal,
    /// When budgets with nothing to say were last cleared away.
    tidied: Duration,
    sharing: Sharing,
}

impl Counters {
    pub(crate) fn new(members: &Members, limits: &[Limit]) -> Self {
        Self {
            keys: vec![KeyCount::default(); members.len()],
            losses: Losses::new(members.len()),
            models: Models::new(),
            limits: ConfiguredLimits::new(limits),
            journal: Journal::default(),
            tidied: Duration::ZERO,
            sharing: Sharing::default(),
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

    /// Counts a lease as back, on its key if that is still there, and for its model.
    pub(crate) fn lease_back(&mut self, key: Option<KeyIx>, model: ModelIx) {
        if let Some(key) = key {
            let entry = &mut self.keys[key.position()];
            entry.in_flight = entry.in_flight.saturating_sub(1);
        }
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

    /// Returns under which names sums are kept, or are still to be cleared away, of the keys that `of` picks.
    pub(crate) fn usage_subjects(&self, members: &Members, of: impl Fn(KeyIx) -> bool) -> Vec<Subject> {
        let id = |key: KeyIx| members.get(key).id.clone();
        let by_model = |key, model: &Model| Subject::ModelUsage { key: id(key), model: model.clone() };
        let mut subjects: Vec<_> = members
            .iter()
            .filter(|(key, _)| of(*key) && self.totals(*key) != Totals::default())
            .map(|(_, member)| Subject::Usage { key: member.id.clone() })
            .collect();
        for state in self.models.iter() {
            subjects.extend(state.keys().filter(|key| of(*key)).map(|key| by_model(key, &state.name)));
        }
        subjects.extend(self.journal.pages().iter().filter_map(|page| match page {
            JournalPage::ModelUsage(key, model) if of(*key) => Some(by_model(*key, model)),
            _ => None,
        }));
        subjects
    }

    /// Moves what is counted of keys to their present places. Of those that are gone nothing stays.
    pub(crate) fn move_keys(&mut self, moves: &Moves) {
        moves.carry(&mut self.keys);
        self.losses.move_keys(moves);
        self.models.move_keys(moves);
        self.models.iter_mut().for_each(|state| state.roomy = None);
        self.journal.move_keys(moves);
    }

    /// Notes all sums of a key to be written up, since it has another name.
    pub(crate) fn write_anew(&mut self, key: KeyIx, now: Duration) {
        self.count(key, None, now, |_| ());
        self.models.write_anew(key, now, &mut self.journal);
    }

    /// Returns when something is to be written up.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.journal.due()
    }
}
