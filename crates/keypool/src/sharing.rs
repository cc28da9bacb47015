//! The pool's side of budgets that several nodes share: what to ask of the store that gives out slices, what becomes of its
//! answers, and what it is told of the other nodes. When a call is made is the owner's matter: a few times a second, at
//! [`Effect::Draw`](crate::Effect::Draw), and never two at once.

use std::collections::BTreeMap;

use meter::Now;

use crate::counters::Wants;
use crate::desk::Desk;
use crate::draw::{Draw, Drawn, ModelLoad, ModelWeight};
use crate::effect::Effects;
use crate::habit::NodePart;
use crate::ids::Model;
use crate::lease_request::Reach;
use crate::pool::Pool;

/// For how many of those who wait it is looked where their beginnings lead them: the others come later.
const LOOKED_AT: usize = 128;

impl Pool {
    /// Returns what to ask and tell with the next call: what was spent since the last that was answered, what is held, and what is
    /// wanted for the load ahead and for those who wait. Nothing, when there is nothing to say or this pool is not
    /// [together](crate::Company::Together) with others. A call that was not answered when this is asked again is held for
    /// lost: a late answer to it is passed by.
    pub fn draws(&mut self, now: Now) -> Vec<Draw> {
        let Self { desk, waiting, .. } = self;
        let Desk { roster, selector, .. } = desk;
        let mut wants: BTreeMap<Model, Wants> = BTreeMap::new();
        for (at, request) in waiting.requests().enumerate() {
            let bound = match &request.reach {
                Reach::Any if at < LOOKED_AT => {
                    let counters = &roster.counters;
                    let model = counters.model(&request.model);
                    let room = counters.headroom(model, request, request.waited, now.mono);
                    selector.awaited(roster, request, &room)
                }
                Reach::Any => None,
                Reach::Only(key) | Reach::ProjectOf(key) => {
                    let Some(key) = roster.find(key) else { continue };
                    Some(roster.project(key))
                }
            };
            wants.entry(request.model.clone()).or_default().add(bound, request.input_tokens);
        }
        if !waiting.is_empty() {
            // Limits may have ended.
            roster.cooldowns.stir();
        }
        roster.counters.draws(&wants, &roster.members, &roster.cooldowns, now)
    }

    /// Takes the answers to a call, all at once or some at a time, and serves those who wait with what was given.
    pub fn drawn(&mut self, replies: Vec<Drawn>, now: Now, effects: &mut Effects) {
        let roster = &mut self.desk.roster;
        roster.counters.drawn(replies, &roster.members, now.mono);
        // Whether or not there was something: those who still wait ask again.
        roster.cooldowns.stir();
        self.wake(now, effects);
    }

    /// Takes down that the store knows nothing: it is another one, or has lost what it had. Nothing that was held is spent any
    /// more, and the next call reports all that was used in the last minute.
    pub fn new_generation(&mut self, now: Now, effects: &mut Effects) {
        self.desk.roster.counters.begin_anew(now);
        self.desk.roster.cooldowns.stir();
        self.wake(now, effects);
    }

    /// Takes down how many nodes there are, at least this one, and how the load is spread over them. A pool that begins alone is
    /// told by how many nodes the limits are shared at most.
    pub fn weigh(&mut self, nodes: u32, weights: &[ModelWeight]) {
        let counters = &mut self.desk.roster.counters;
        counters.set_nodes(nodes);
        for ModelWeight { model, part, full } in weights {
            counters.set_part(model, NodePart::told(*part, *full));
        }
    }

    /// Returns how much of each model with known limits this node is asked for: what it tells the others, so that each can be
    /// told its part.
    pub fn loads(&self, now: Now) -> Vec<ModelLoad> {
        self.desk.roster.counters.loads(&self.desk.roster.members, now.mono)
    }
}
