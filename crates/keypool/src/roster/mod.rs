//! The pool's state as a whole: who is in it, what cools, and what is counted, each with an owner of its own. The rules
//! that need more than one of them are here: what the passing of time ends, what is kept and taken over (`records`),
//! what becomes of a project whose keys turn out to be another's (`siblings`), another set of keys (`reconcile`), and what
//! keeps keys from a request (`obstacles`), and what is told to the pools of other nodes and heard from them (`facts`; of
//! models that are given up as a whole `breakers`).

mod breakers;
mod claims;
mod facts;
mod obstacles;
mod reconcile;
mod records;
mod siblings;

use meter::{Clocks, Now};

pub(crate) use facts::FactPlace;
pub(crate) use siblings::Moved;

use crate::company::Company;
use crate::cooldowns::{Cooldown, Cooldowns, Passed};
use crate::counters::Counters;
use crate::effect::{Effect, Effects, Event};
use crate::error::PoolError;
use crate::ids::{KeyIx, Model, ProjectIx, Site};
use crate::key::{KeyId, KeySpec};
use crate::limit::Limit;
use crate::members::Members;
use crate::record::{Record, Subject};
use crate::settings::Settings;

#[derive(Debug)]
pub(crate) struct Roster {
    pub members: Members,
    pub cooldowns: Cooldowns,
    pub counters: Counters,
    pub company: Company,
    clocks: Clocks,
}

impl Roster {
    pub(crate) fn new(specs: Vec<KeySpec>, limits: &[Limit]) -> Result<Self, PoolError> {
        let members = Members::new(specs)?;
        let (cooldowns, counters) = (Cooldowns::new(&members), Counters::new(&members, limits));
        Ok(Self { members, cooldowns, counters, company: Company::None, clocks: Clocks::default() })
    }

    pub(crate) fn find(&self, id: &KeyId) -> Option<KeyIx> {
        self.members.find(id)
    }

    pub(crate) fn project(&self, key: KeyIx) -> ProjectIx {
        self.members.project(key)
    }

    /// Tells whether no key of another project may be leased for this model now.
    pub(crate) fn is_last_for(&self, project: ProjectIx, model: &Model) -> bool {
        let blocked = self.cooldowns.blocked(model);
        let may = |key: usize| blocked.is_none_or(|blocked| !blocked.contains(key));
        !self.cooldowns.ready().ones().any(|key| may(key) && self.project(KeyIx::at(key)) != project)
    }

    /// Ends what is over by now.
    pub(crate) fn expire(&mut self, now: Now, settings: &Settings, effects: &mut Effects) {
        self.cooldowns.look_at(now.wall);
        if let Some(parted) = self.clocks.look(now) {
            self.counters.follow_wall(parted, now);
            for site in self.cooldowns.follow_wall(parted, now, &self.members) {
                effects.push(Effect::Persist(self.record(&site, now)));
            }
        }
        while let Some((site, passed)) =
            self.cooldowns.pass_next(now.mono, settings, &self.members, self.company)
        {
            match passed {
                Passed::Over { .. } => {
                    effects.log(Event::CooldownOver { subject: self.subject(&site) });
                }
                Passed::Forgotten => effects.push(Effect::Persist(self.record(&site, now))),
                Passed::TurnOver | Passed::Nothing => {}
            }
        }
    }

    /// Writes up what changed, if it is time, and forgets what cools of models whose names were forgotten.
    pub(crate) fn write_up(&mut self, now: Now, effects: &mut Effects) {
        for model in self.counters.take_forgotten() {
            for site in self.cooldowns.sites_of_model(&model) {
                self.cooldowns.set(&site, &self.members, Cooldown::Open);
                effects.push(Effect::Persist(self.record(&site, now)));
            }
        }
        self.counters.write_up(&self.members, now, effects);
    }

    /// Forgets all that is held against a key: its cooldowns, those of its project and of all models and tools there, and
    /// the limits that refusals taught.
    pub(crate) fn reset(&mut self, key: KeyIx, now: Now, effects: &mut Effects) {
        let project = self.project(key);
        let forgotten = self.counters.forget_limits(project, now.mono);
        if !forgotten.is_empty() {
            self.cooldowns.stir();
        }
        self.counters.losses_mut().set_own(key, 0);
        let mut sites = self.cooldowns.reset(key, &self.members);
        for site in &sites {
            effects.push(Effect::Persist(self.record(site, now)));
        }
        if !sites.contains(&Site::Key(key)) {
            // It may be retired elsewhere, and this node not have heard it yet.
            sites.push(Site::Key(key));
        }
        for site in sites {
            let reset = Record { reset_at: Some(now.wall), ..self.record(&site, now) };
            self.tell(&reset, effects);
        }
        for model in forgotten {
            let project = self.members.owner(project).clone();
            self.tell(&Record::clear(Subject::Limits { project, model }), effects);
        }
    }
}
