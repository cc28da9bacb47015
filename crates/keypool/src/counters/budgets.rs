//! The budgets: found by model and project, made where a limit is known, written up and restored. What a budget counts is
//! its own business.

use std::collections::BTreeMap;
use std::time::Duration;

use fixedbitset::FixedBitSet;
use meter::{Amount, Gauge, Now, Second};

use super::Counters;
use super::sharing::{SharedView, caps_of};
use crate::budget::{Booking, Budget, Learnt, Spent};
use crate::effect::{Effect, Effects};
use crate::ids::{Model, ModelIx, ProjectIx};
use crate::journal::JournalPage;
use crate::lease_request::LeaseRequest;
use crate::limit::{Caps, ConfiguredLimits, Limit};
use crate::members::Members;
use crate::record::{LearntLimit, LimitState, Record, SecondUsed, Subject};

/// How often budgets that have nothing to say are cleared away.
const TIDY: Duration = Duration::from_secs(60 * 60);
/// The longest day, and some: a stored day that ends later was written under a wrong clock.
const LONGEST_DAY: Duration = Duration::from_secs(26 * 60 * 60);

/// Which projects have room for a request, as far as limits are known.
#[derive(Clone, Copy)]
pub(crate) struct Headroom<'a> {
    /// None where no limit is known.
    budgets: Option<&'a BTreeMap<ProjectIx, Budget>>,
    tokens: u64,
    /// A limit of input tokens that the request alone exceeds.
    exceeds: Option<u64>,
    model: &'a Model,
    limits: &'a ConfiguredLimits,
    /// Where other nodes share the budgets.
    shared: Option<SharedView<'a>>,
    pub now: Duration,
}

impl<'a> Headroom<'a> {
    /// Returns the only keys that may have room, where that is known.
    pub(crate) fn roomy(&self) -> Option<&'a FixedBitSet> {
        self.shared.as_ref()?.roomy
    }

    fn caps(&self, project: ProjectIx, members: &Members) -> Caps {
        let budget = self.budgets.and_then(|budgets| budgets.get(&project));
        caps_of(budget, self.limits, project, self.model, members, self.now)
    }

    /// Says whether the project may hold the request at all: its limit of input tokens is not known to be one that the
    /// request exceeds.
    pub(crate) fn may_hold(&self, project: ProjectIx, members: &Members) -> bool {
        let Some(exceeds) = self.exceeds else { return true };
        self.caps(project, members)[Gauge::Tpm as usize].is_none_or(|limit| limit > exceeds)
    }

    /// Returns when the project has room: now, or later.
    pub(crate) fn opens(&self, project: ProjectIx, members: &Members) -> Duration {
        let budget = self.budgets.and_then(|budgets| budgets.get(&project));
        match &self.shared {
            None => budget.map_or(self.now, |budget| budget.opens(self.tokens, self.now)),
            Some(shared) => shared.opens(budget, members.label(project), self.limits, self.tokens, self.now),
        }
    }

    /// Says whether a project that has no room now may have some by a call to the store that gives out slices.
    pub(crate) fn draws_from(&self, project: ProjectIx, members: &Members) -> bool {
        let budget = self.budgets.and_then(|budgets| budgets.get(&project));
        let draws = self.shared.as_ref().is_some_and(|shared| shared.draws_from(budget, self.now));
        draws && self.opens(project, members) > self.now
    }

    /// Returns the same for a request that stays within what this node may use by habit, where it may go beyond.
    pub(crate) fn within_habit(self) -> Option<Self> {
        let shared = self.shared?.within_habit(self.now)?;
        Some(Self { shared: Some(shared), ..self })
    }

    /// Returns for how many requests a minute a project's limits have room, for each of its keys.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(crate) fn window(&self, project: ProjectIx, members: &Members) -> f64 {
        let tokens = self.tokens.max(1);
        Budget::window(self.caps(project, members), tokens as f64) / members.of(project).len() as f64
    }

    pub(crate) fn has(&self, project: ProjectIx, members: &Members) -> bool {
        self.may_hold(project, members) && self.opens(project, members) <= self.now
    }
}

impl Counters {
    /// Returns which projects have room for a request that has waited so long.
    #[inline]
    pub(crate) fn headroom<'a>(
        &'a self,
        model: Option<ModelIx>,
        request: &'a LeaseRequest,
        waited: Duration,
        now: Duration,
    ) -> Headroom<'a> {
        let budgets =
            model.map(|model| &self.models.get(model).budgets).filter(|budgets| !budgets.is_empty());
        let is_shared = self.sharing.company.is_shared();
        let shared = is_shared.then(|| self.shared_view(model, request, waited, now));
        let LeaseRequest { model, input_tokens: tokens, exceeds, .. } = request;
        Headroom { budgets, tokens: *tokens, exceeds: *exceeds, model, limits: &self.limits, shared, now }
    }

    /// Counts a request where a limit is known.
    pub(crate) fn book(
        &mut self,
        project: ProjectIx,
        model: ModelIx,
        tokens: u64,
        members: &Members,
        now: Now,
    ) -> Option<(ProjectIx, Booking)> {
        let state = self.models.get(model);
        if !state.budgets.contains_key(&project) {
            if self.limits.is_empty() {
                return None;
            }
            let caps = self.configured(project, &state.name, members);
            if caps == Caps::default() {
                return None;
            }
            let budget = self.new_budget(model, caps, now.mono);
            self.models.get_mut(model).budgets.insert(project, budget);
        }
        let state = self.models.get_mut(model);
        let budget = state.budgets.get_mut(&project)?;
        if budget.share.is_some() {
            state.demand.note(tokens);
        }
        let booking = budget.book(tokens, now);
        self.note_limits(project, model, now.mono);
        Some((project, booking))
    }

    /// Puts a booking right, now that it is known what became of it. Returns whether that made room.
    pub(crate) fn settle_booking(
        &mut self,
        model: ModelIx,
        (project, booking): (ProjectIx, Booking),
        spent: Spent,
        now: Duration,
    ) -> bool {
        let Some(budget) = self.models.get_mut(model).budgets.get_mut(&project) else { return false };
        let made_room = budget.settle(booking, spent, now);
        if spent != Spent::Tokens(None) {
            self.note_limits(project, model, now);
        }
        made_room
    }

    /// Forgets what refusals taught of this project's limits. Returns the models of which something is counted.
    pub(crate) fn forget_limits(&mut self, project: ProjectIx, now: Duration) -> Vec<Model> {
        let mut forgotten = Vec::new();
        for state in self.models.iter_mut() {
            let Some(budget) = state.budgets.get_mut(&project) else { continue };
            budget.forget_learnt();
            state.roomy = None;
            if !std::mem::replace(&mut budget.dirty, true) {
                self.journal.note(JournalPage::Limits(project, state.name.clone()), now);
            }
            forgotten.push(state.name.clone());
        }
        forgotten
    }

    /// Hands the budgets of a dissolved project to its heir. Answers under which names they were kept.
    pub(crate) fn bequeath_budgets(
        &mut self,
        from: ProjectIx,
        to: ProjectIx,
        members: &Members,
        now: Duration,
    ) -> Vec<Subject> {
        let owner = members.owner(from);
        let mut former = Vec::new();
        for state in self.models.iter_mut() {
            let Some(budget) = state.budgets.remove(&from) else { continue };
            former.push(Subject::Limits { project: owner.clone(), model: state.name.clone() });
            let fresh = || self.sharing.new_budget(state.part, budget.configured, now);
            let heir = state.budgets.entry(to).or_insert_with(fresh);
            heir.merge(&budget, now);
            heir.report_ring_of(&budget, now);
            if !std::mem::replace(&mut heir.dirty, true) {
                self.journal.note(JournalPage::Limits(to, state.name.clone()), now);
            }
        }
        former
    }

    /// Forgets the budgets of a project that is no more. Returns under which names they are kept.
    pub(crate) fn forget_budgets(&mut self, project: ProjectIx, members: &Members) -> Vec<Subject> {
        let owner = members.owner(project);
        let subject = |model: &Model| Subject::Limits { project: owner.clone(), model: model.clone() };
        let mut former = Vec::new();
        for state in self.models.iter_mut() {
            if state.budgets.remove(&project).is_some() {
                former.push(subject(&state.name));
            }
        }
        former.extend(self.journal.pages().iter().filter_map(|page| match page {
            JournalPage::Limits(of, model) if *of == project => Some(subject(model)),
            _ => None,
        }));
        former
    }

    /// Takes other limits. What is counted stays.
    pub(crate) fn set_limits(&mut self, limits: &[Limit], members: &Members) {
        self.limits = ConfiguredLimits::new(limits);
        self.reconfigure_budgets(members);
    }

    /// Looks the configured limits up again, since they, labels or projects have changed.
    pub(crate) fn reconfigure_budgets(&mut self, members: &Members) {
        let labels: Vec<_> = members.projects().map(|project| members.label(project)).collect();
        for state in self.models.iter_mut() {
            state.roomy = None;
            for (project, budget) in &mut state.budgets {
                let label = labels[project.position()];
                budget.configured = self.limits.of(label, state.name.as_deref());
            }
        }
    }

    pub(super) fn configured(&self, project: ProjectIx, model: &Model, members: &Members) -> Caps {
        self.limits.of(members.label(project), model.as_deref())
    }

    pub(super) fn note_limits(&mut self, project: ProjectIx, model: ModelIx, now: Duration) {
        let state = self.models.get_mut(model);
        if let Some(budget) = state.budgets.get_mut(&project)
            && !std::mem::replace(&mut budget.dirty, true)
        {
            self.journal.note(JournalPage::Limits(project, state.name.clone()), now);
        }
    }

    /// Writes up what changed, if it is time.
    pub(crate) fn write_up(&mut self, members: &Members, now: Now, effects: &mut Effects) {
        if self.journal.due().is_some_and(|due| due <= now.mono) {
            self.write_out(members, now, effects);
        }
    }

    /// Writes up what changed, due or not.
    pub(crate) fn write_out(&mut self, members: &Members, now: Now, effects: &mut Effects) {
        if self.tidied + TIDY <= now.mono {
            self.tidied = now.mono;
            self.models.tidy(now.mono, &mut self.journal);
        }
        let pages = self.journal.take(now.mono);
        for page in &pages {
            effects.push(Effect::Persist(self.page(page, members, now)));
        }
        self.journal.give_back(pages);
    }

    fn page(&mut self, page: &JournalPage, members: &Members, now: Now) -> Record {
        match page {
            JournalPage::Limits(project, model) => {
                if let Some(model) = self.models.find(model)
                    && let Some(budget) = self.models.get_mut(model).budgets.get_mut(project)
                {
                    budget.dirty = false;
                }
                self.limits_record(*project, model, members, now)
            }
            JournalPage::Usage(key) => {
                self.keys[key.position()].unkept = false;
                self.usage_record(*key, &members.get(*key).id)
            }
            JournalPage::ModelUsage(key, model) => {
                if let Some(model) = self.models.find(model) {
                    self.models.get_mut(model).is_kept(*key);
                }
                self.model_usage_record(*key, &members.get(*key).id, model)
            }
        }
    }

    /// Returns the record of a model's limits and counts on a project.
    pub(crate) fn limits_record(
        &self,
        project: ProjectIx,
        model: &Model,
        members: &Members,
        now: Now,
    ) -> Record {
        let owner = members.owner(project).clone();
        let record = Record::clear(Subject::Limits { project: owner, model: model.clone() });
        let budget = self.models.find(model).and_then(|model| self.models.get(model).budgets.get(&project));
        Record { limits: budget.and_then(|budget| budget.state(now)).map(Box::new), ..record }
    }

    pub(crate) fn limits_records(&self, members: &Members, now: Now) -> impl Iterator<Item = Record> {
        self.models.iter().flat_map(move |state| {
            state.budgets.keys().map(move |project| self.limits_record(*project, &state.name, members, now))
        })
    }

    pub(crate) fn restore_limits(
        &mut self,
        project: ProjectIx,
        model: &Model,
        state: &LimitState,
        members: &Members,
        now: Now,
    ) {
        let caps = self.configured(project, model, members);
        let entered = self.enter(model, now.mono);
        self.models.get_mut(entered).budgets.insert(project, Budget::restored(caps, state, now));
    }
}

impl Budget {
    /// What to keep of it, if anything.
    fn state(&self, now: Now) -> Option<LimitState> {
        if self.is_idle(now.mono) {
            return None;
        }
        let learnt = Gauge::ALL.into_iter().zip(self.learnt).filter_map(|(gauge, learnt)| {
            let learnt = learnt.filter(|learnt| now.mono < learnt.until)?;
            Some(LearntLimit { gauge, limit: learnt.limit, until: now.wall_at(learnt.until) })
        });
        let used = |(ago_s, Amount { requests, tokens })| SecondUsed { ago_s, requests, tokens };
        let today = now.mono < self.day.ends && self.day.requests > 0;
        Some(LimitState {
            learnt: learnt.collect(),
            counted_at: now.wall,
            minute: self.minute.ages(Second::of(now.mono)).map(used).collect(),
            day_requests: if today { self.day.requests } else { 0 },
            day_ends: today.then(|| now.wall_at(self.day.ends)),
        })
    }

    fn restored(configured: Caps, state: &LimitState, now: Now) -> Self {
        let mut budget = Self::new(configured);
        for (gauge, learnt) in state.learnt.iter().filter_map(|stored| Learnt::stored(stored, now)) {
            budget.learnt[gauge as usize] = Some(learnt);
        }
        let second = Second::of(now.mono);
        // Rounded down: a count may last a second longer for it, never less.
        let since = now.since(state.counted_at).as_secs();
        for used in &state.minute {
            let amount = Amount { requests: used.requests, tokens: used.tokens };
            budget.minute.add(second.earlier(used.ago_s.saturating_add(since)), second, amount);
        }
        if let Some(ends) = state.day_ends {
            let left = now.until(ends);
            if !left.is_zero() && left <= LONGEST_DAY {
                budget.day.requests = state.day_requests;
                budget.day.began = now.mono;
                budget.day.ends = now.mono + left;
                budget.day.closes = Some(ends);
            }
        }
        budget
    }
}
