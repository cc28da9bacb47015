//! Models that are given up as a whole: what the pools of other nodes are told of them, and what becomes of what those tell.
//! Only that it is so travels, and until when. Faults and retries are counted by each node for itself, since its fractions of
//! the load would not add up to more than what each sees; and so does each send its own probe.

use std::sync::Arc;

use meter::Now;

use super::Roster;
use crate::breaker::{Breaker, LONGEST_PAUSE, Turn};
use crate::effect::{Effects, Event};
use crate::ids::{Model, ModelIx, Order};
use crate::reason::Reason;
use crate::record::{CooldownState, Record, Subject};

impl Roster {
    /// Tells the other nodes whether a model is given up, since this one has found it out by itself.
    pub(crate) fn tell_of_breaker(&self, model: ModelIx, now: Now, effects: &mut Effects) {
        let (name, breaker) = (self.counters.name(model), self.counters.breaker(model));
        if let Some(record) = record(name, breaker, now) {
            self.tell(&record, effects);
        }
    }

    /// Hears whether another node has given a model up. Leases before `next` were granted before that.
    pub(crate) fn hear_of_breaker(
        &mut self,
        model: &Arc<str>,
        state: &CooldownState,
        next: Order,
        now: Now,
        effects: &mut Effects,
    ) {
        let name = Some(Arc::clone(model));
        let turn = match state {
            CooldownState::Open => self
                .counters
                .model(&name)
                .map_or(Turn::None, |model| self.counters.turn(model, Breaker::hear_back)),
            CooldownState::Cooling { until, steps, .. } if *until > now.wall => {
                let until = now.mono + now.until(*until).min(LONGEST_PAUSE);
                let model = self.counters.enter(&name, now.mono);
                self.counters.turn(model, |breaker| breaker.hear_down(until, *steps, next, now.mono))
            }
            CooldownState::Cooling { .. } | CooldownState::Retired { .. } => Turn::None,
        };
        let model = Arc::clone(model);
        match turn {
            Turn::None => return,
            Turn::Down(pause) => effects.log(Event::ModelDownElsewhere { model, pause }),
            Turn::Back => effects.log(Event::ModelBack { model }),
        }
        self.cooldowns.stir();
    }

    /// Returns what is told of all models that are given up.
    pub(crate) fn breaker_records(&self, now: Now) -> impl Iterator<Item = Record> + '_ {
        let is_down = |record: &Record| record.state != CooldownState::Open;
        self.counters
            .breakers()
            .filter_map(move |(model, breaker)| record(model, breaker, now))
            .filter(is_down)
    }
}

fn record(model: &Model, breaker: &Breaker, now: Now) -> Option<Record> {
    let subject = Subject::Breaker { model: model.clone()? };
    let state = breaker.to_tell(now.mono).map_or(CooldownState::Open, |(until, steps)| {
        CooldownState::Cooling { until: now.wall_at(until), steps, reason: Reason::Other, daily: false }
    });
    Some(Record { state, ..Record::clear(subject) })
}
