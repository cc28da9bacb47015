//! What the pools of other nodes are told, and what becomes of what they tell. What a record says to others at all is in
//! `fact`; that a fact holds against what is known here was decided by its order, before it came.

use std::time::Duration;

use gemini::fault::Fault;
use meter::Now;

use super::Roster;
use super::records::LONGEST_DAY;
use crate::cooldowns::{Cooldown, ProbeTurn};
use crate::effect::{Effect, Effects, Event};
use crate::fact::SAME_MOMENT;
use crate::ids::{KeyIx, Model, Order, ProjectIx, Site};
use crate::key::KeyId;
use crate::record::{CooldownState, LimitState, Owner, Record, Subject};
use crate::settings::Settings;

/// Where a fact belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FactPlace {
    /// At the site that bears its name.
    Present(Site),
    /// At the site of what bore its name, as its teller still called it: of two cooldowns there the longer holds.
    Former(Site),
}

impl Roster {
    /// Keeps how a site stands now, and tells the other nodes, since this one has found it out by itself.
    pub(crate) fn announce(&self, site: &Site, now: Now, effects: &mut Effects) {
        let record = self.record(site, now);
        self.tell(&record, effects);
        effects.push(Effect::Persist(record));
    }

    /// Tells the other nodes, if there are any.
    pub(crate) fn tell(&self, record: &Record, effects: &mut Effects) {
        if self.company.is_shared()
            && let Some(fact) = record.to_tell()
        {
            effects.push(Effect::Tell(fact));
        }
    }

    /// Tells the other nodes what refusals taught of a project's limits.
    pub(crate) fn tell_limits(&self, project: ProjectIx, now: Now, effects: &mut Effects) {
        for (model, _) in self.counters.budgets(project) {
            self.tell(&self.counters.limits_record(project, model, &self.members, now), effects);
        }
    }

    /// Takes what a refusal on this key says of limits, and tells the other nodes.
    pub(crate) fn learn_limits(
        &mut self,
        key: KeyIx,
        model: &Model,
        fault: &Fault,
        now: Now,
        effects: &mut Effects,
    ) {
        let Self { members, counters, .. } = self;
        let project = members.project(key);
        if counters.learn_limits(project, model, fault, members, now, effects) {
            self.tell(&self.counters.limits_record(project, model, &self.members, now), effects);
        }
    }

    /// Returns where a fact about this subject belongs. `None` where it is of nothing in this pool.
    pub(crate) fn place_of_fact(&self, subject: Subject) -> Option<FactPlace> {
        if let Some(site) = self.site(subject.clone()) {
            return Some(FactPlace::Present(site));
        }
        Some(FactPlace::Former(match subject {
            Subject::Project { project } => Site::Project(self.heir_of(&project)?),
            Subject::Model { project, model } => Site::Model(self.heir_of(&project)?, model),
            Subject::Tool { project, tool } => Site::Tool(self.heir_of(&project)?, tool),
            Subject::Key { .. }
            | Subject::Limits { .. }
            | Subject::Usage { .. }
            | Subject::ModelUsage { .. }
            | Subject::Breaker { .. } => return None,
        }))
    }

    /// Returns the project whose keys were called so before Google named its number.
    pub(crate) fn heir_of(&self, owner: &Owner) -> Option<ProjectIx> {
        match owner {
            Owner::Key(key) => self.find(key).map(|key| self.project(key)),
            Owner::Project(label) => {
                let mut members = self.members.iter();
                members.find(|(_, key)| key.label.as_ref() == Some(label)).map(|(key, _)| self.project(key))
            }
            Owner::Number(_) => None,
        }
    }

    /// Hears whether a key is disabled. Returns whether that is news.
    pub(crate) fn hear_disabled(&mut self, key: KeyIx, fact: &Record, effects: &mut Effects) -> bool {
        if self.cooldowns.is_disabled(key) == fact.disabled {
            return false;
        }
        self.cooldowns.disable(key, &self.members, fact.disabled);
        self.cooldowns.restore_disabled_since(key, fact.disabled_since);
        let key: KeyId = self.members.get(key).id.clone();
        effects.log(if fact.disabled { Event::Disabled { key } } else { Event::Enabled { key } });
        true
    }

    /// Hears how a site stands elsewhere. Leases before `next` were granted before that. Returns whether that is news.
    pub(crate) fn hear_cooldown(
        &mut self,
        place: &FactPlace,
        fact: Record,
        next: Order,
        now: Now,
        settings: &Settings,
        effects: &mut Effects,
    ) -> bool {
        let (FactPlace::Present(site) | FactPlace::Former(site)) = place;
        let present = self.cooldowns.get(site).cloned().unwrap_or_default();
        let Some(mut heard) = heard(&present, &fact.state, next, now, settings) else { return false };
        if let Some(turn) = heard.turn_mut() {
            turn.keep_company(self.company, now.mono, Duration::ZERO);
        }
        if matches!(place, FactPlace::Former(_)) && (heard.is_open() || present.is_retired()) {
            return false;
        }
        let subject = self.subject(site);
        match &heard {
            Cooldown::Open => effects.log(Event::Back { subject }),
            Cooldown::Retired { reason } => {
                effects.log(Event::RetiredElsewhere { subject, reason: *reason });
            }
            Cooldown::Cooling { until, streak, .. } => {
                let (wait, reason) = (until.saturating_sub(now.mono), streak.reason);
                effects.log(Event::CoolingElsewhere { subject, wait, reason });
            }
            Cooldown::Probation { .. } => effects.log(Event::CooldownOver { subject }),
        }
        if let Some(at) = heard.changes_at(settings) {
            self.cooldowns.set_timer(at, site.clone());
        }
        let is_open = heard.is_open();
        self.cooldowns.set(site, &self.members, heard);
        if !is_open {
            self.cooldowns.restore_since(site, fact.since);
            self.cooldowns.name_quota(site, fact.quota);
        }
        true
    }

    /// Hears what refusals elsewhere taught of a model's limits on a project; `None`: that it is forgotten.
    pub(crate) fn hear_limits(
        &mut self,
        project: &Owner,
        model: &Model,
        limits: Option<&LimitState>,
        now: Now,
        effects: &mut Effects,
    ) {
        let Self { members, counters, cooldowns, .. } = self;
        let changed = match (limits, members.owned_by(project)) {
            (Some(limits), Some(project)) => {
                counters.hear_limits(project, model, limits, members, now, effects)
            }
            (None, Some(project)) => counters.hear_no_limits(project, model, now.mono),
            // Limits of what is called otherwise by now come again under its present name.
            (_, None) => false,
        };
        if changed {
            cooldowns.stir();
        }
    }
}

/// Returns what becomes of a cooldown by what is heard of it; `None` where that is nothing new.
fn heard(
    present: &Cooldown,
    fact: &CooldownState,
    next: Order,
    now: Now,
    settings: &Settings,
) -> Option<Cooldown> {
    let (until, daily, steps, reason) = match fact {
        CooldownState::Open if present.is_open() || present.is_local() => return None,
        CooldownState::Open => return Some(Cooldown::Open),
        CooldownState::Retired { reason } => {
            let is_news = present.retired_for() != Some(*reason);
            return is_news.then_some(Cooldown::Retired { reason: *reason });
        }
        CooldownState::Cooling { until, daily, steps, reason } => (*until, *daily, *steps, *reason),
    };
    if until > now.wall {
        let ends = now.mono + now.until(until).min(settings.long_wait.max(LONGEST_DAY));
        let runs_on = match present {
            Cooldown::Cooling { until, daily: own_daily, streak } => {
                let is_same = (*own_daily, streak.steps, streak.reason) == (daily, steps, reason);
                let earlier = ends.saturating_add(SAME_MOMENT) < *until;
                earlier || (is_same && ends <= until.saturating_add(SAME_MOMENT))
            }
            _ => false,
        };
        return (!runs_on).then(|| Cooldown::restored(ends, daily, steps, reason).with_late_before(next));
    }
    // It is over, and has been since then.
    let past = now.since(until);
    let since = now.mono.saturating_sub(past);
    match present {
        // It runs on, or somebody is out to see already.
        Cooldown::Cooling { .. }
        | Cooldown::Probation { probe: ProbeTurn::Out { .. } | ProbeTurn::Won { .. }, .. } => None,
        Cooldown::Open | Cooldown::Probation { .. } if past >= settings.cooldown_max => None,
        Cooldown::Retired { .. } if past >= settings.cooldown_max => Some(Cooldown::Open),
        Cooldown::Probation { since: own, .. } if since <= own.saturating_add(SAME_MOMENT) => None,
        Cooldown::Open | Cooldown::Probation { .. } | Cooldown::Retired { .. } => {
            Some(Cooldown::restored_over(since, steps, reason).with_late_before(next))
        }
    }
}
