//! Limits that Google names in refusals, here or on another node: what becomes of the budgets by them. What is counted of a
//! refusal is the budget's own business; what is told to others is the roster's.

use std::time::Duration;

use gemini::fault::{Fault, Wait};
use meter::{Gauge, Now};

use super::Counters;
use crate::budget::{BELIEVED, Learnt};
use crate::effect::{Effects, Event};
use crate::fact::SAME_MOMENT;
use crate::ids::{Model, ProjectIx};
use crate::limit::gauge_of;
use crate::members::Members;
use crate::record::{LearntLimit, LimitState, Subject};

impl Counters {
    /// Takes what a refusal says of limits. Returns whether it named one.
    pub(crate) fn learn_limits(
        &mut self,
        project: ProjectIx,
        model: &Model,
        fault: &Fault,
        members: &Members,
        now: Now,
        effects: &mut Effects,
    ) -> bool {
        let mut named = false;
        let hint = match fault.wait {
            Wait::For(hint) => Some(hint),
            _ => None,
        };
        for quota in fault.quotas.iter().filter(|quota| gauge_of(quota).is_some()) {
            let known =
                self.models.find(model).is_some_and(|m| self.models.get(m).budgets.contains_key(&project));
            if !known && quota.limit.is_none_or(|limit| limit == 0) {
                continue;
            }
            let entered = self.enter(model, now.mono);
            let caps = self.configured(project, model, members);
            if !known {
                let budget = self.new_budget(entered, caps, now.mono);
                self.models.get_mut(entered).budgets.insert(project, budget);
            }
            let Some(budget) = self.models.get_mut(entered).budgets.get_mut(&project) else { continue };
            if let Some((gauge, limit)) = budget.learn(quota, hint, now) {
                let project = members.owner(project).clone();
                let subject = Subject::Model { project, model: model.clone() };
                effects.log(Event::LimitLearnt { subject, gauge, limit });
            }
            named |= quota.limit.is_some_and(|limit| limit > 0);
            self.note_limits(project, entered, now.mono);
        }
        named
    }

    /// Takes over what refusals elsewhere taught of a project's limits: of each gauge the newer. Returns whether that is news.
    pub(crate) fn hear_limits(
        &mut self,
        project: ProjectIx,
        model: &Model,
        limits: &LimitState,
        members: &Members,
        now: Now,
        effects: &mut Effects,
    ) -> bool {
        let caps = self.configured(project, model, members);
        let entered = self.enter(model, now.mono);
        let fresh = self.new_budget(entered, caps, now.mono);
        let budgets = &mut self.models.get_mut(entered).budgets;
        let budget = budgets.entry(project).or_insert(fresh);
        let (before, mut is_news) = (budget.caps(now.mono), false);
        for (gauge, learnt) in limits.learnt.iter().filter_map(|heard| Learnt::stored(heard, now)) {
            let own = &mut budget.learnt[gauge as usize];
            // Of two that were learnt in one moment the facts' order has decided.
            let is_other = |own: Learnt| learnt.limit != own.limit && !own.is_newer_than(learnt);
            if own.is_none_or(|own| learnt.is_newer_than(own) || is_other(own)) {
                *own = Some(learnt);
                is_news = true;
            }
        }
        for ((gauge, before), after) in Gauge::ALL.into_iter().zip(before).zip(budget.caps(now.mono)) {
            if let Some(limit) = after.filter(|_| after != before) {
                let project = members.owner(project).clone();
                let subject = Subject::Model { project, model: model.clone() };
                effects.log(Event::LimitLearnt { subject, gauge, limit });
            }
        }
        if is_news {
            self.note_limits(project, entered, now.mono);
        }
        is_news
    }

    /// Whether more is known of a model's limits on a project, or newer things, than these.
    pub(crate) fn knows_more_limits(
        &self,
        project: ProjectIx,
        model: &Model,
        known: &[LearntLimit],
        now: Now,
    ) -> bool {
        let budgets = self.models.find(model).map(|model| &self.models.get(model).budgets);
        let Some(budget) = budgets.and_then(|budgets| budgets.get(&project)) else { return false };
        let mut theirs = [None; Gauge::ALL.len()];
        for (gauge, learnt) in known.iter().filter_map(|known| Learnt::stored(known, now)) {
            theirs[gauge as usize] = Some(learnt);
        }
        let is_more = |(own, theirs): (&Option<Learnt>, Option<Learnt>)| {
            own.filter(|own| own.until > now.mono)
                .is_some_and(|own| theirs.is_none_or(|theirs| own.is_newer_than(theirs)))
        };
        budget.learnt.iter().zip(theirs).any(is_more)
    }

    /// Forgets what refusals taught of a model's limits on a project, as another node says. Returns whether that is news.
    pub(crate) fn hear_no_limits(&mut self, project: ProjectIx, model: &Model, now: Duration) -> bool {
        let Some(entered) = self.models.find(model) else { return false };
        self.models.get_mut(entered).roomy = None;
        let Some(budget) = self.models.get_mut(entered).budgets.get_mut(&project) else { return false };
        if budget.learnt.iter().all(Option::is_none) {
            return false;
        }
        budget.forget_learnt();
        self.note_limits(project, entered, now);
        true
    }
}

impl Learnt {
    /// Whether this was learnt after another.
    fn is_newer_than(self, other: Self) -> bool {
        self.until > other.until + SAME_MOMENT
    }

    /// Reads a limit as it was stored, with its gauge. `None` if it is believed no more.
    pub(super) fn stored(stored: &LearntLimit, now: Now) -> Option<(Gauge, Self)> {
        let LearntLimit { gauge, limit, until } = *stored;
        let left = now.until(until).min(BELIEVED);
        (!left.is_zero()).then_some((gauge, Self { limit, until: now.mono + left }))
    }
}
