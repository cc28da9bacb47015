//! What is drawn of shared budgets: enough for the load ahead and for those who wait, from budgets that are in use before others;
//! what is beyond that is given back, and what was spent is reported. Who waits for what is told by the pool.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fixedbitset::FixedBitSet;
use meter::{Gauge, Now, Second, daily_reset};

use super::Counters;
use super::sharing::{caps_of, preference};
use crate::budget::Budget;
use crate::company::Company;
use crate::cooldowns::Cooldowns;
use crate::draw::{Draw, Drawn, ModelLoad};
use crate::habit::NodePart;
use crate::ids::{Model, ModelIx, ProjectIx};
use crate::limit::Caps;
use crate::members::Members;
use crate::slice::{Given, Sending, Units};

/// What part of a model's limits may lie idle in the slices of all nodes together.
const IDLE: f64 = 0.02;
/// What is held beyond so many times the need is given back.
const KEPT: f64 = 1.5;
/// How often a slice is renewed.
const RENEWED: Duration = Duration::from_secs(1);
/// How many buckets one call may ask for something besides those that it speaks of anyhow.
const ASKED: usize = 24;
/// What part of a bucket is asked for at once.
const AT_ONCE: f64 = 1.0 / 8.0;

/// What those who wait for a model need.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wants {
    /// Of any project.
    any: Need,
    /// Of one only.
    bound: BTreeMap<ProjectIx, Need>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Need {
    requests: u64,
    /// Of the largest.
    tokens: u64,
}

impl Wants {
    /// Adds one who waits, bound to a project or not.
    pub(crate) fn add(&mut self, bound: Option<ProjectIx>, tokens: u64) {
        let need = match bound {
            Some(project) => self.bound.entry(project).or_default(),
            None => &mut self.any,
        };
        need.requests += 1;
        need.tokens = need.tokens.max(tokens);
    }
}

/// A project's limits for a model, as far as it matters here.
#[derive(Clone, Copy, Debug)]
struct DrawCandidate {
    project: ProjectIx,
    caps: Caps,
    /// Requests a minute.
    window: f64,
    /// For how many requests this node holds a slice.
    held: u64,
    /// Whether the store is to hear of it anyhow.
    has_to_say: bool,
    /// Whether something may be had.
    is_open: bool,
}

impl Counters {
    /// Returns what is to be asked and told of all buckets with the next call.
    pub(crate) fn draws(
        &mut self,
        wants: &BTreeMap<Model, Wants>,
        members: &Members,
        cooldowns: &Cooldowns,
        now: Now,
    ) -> Vec<Draw> {
        if self.sharing.company != Company::Together {
            return Vec::new();
        }
        self.sharing.call += 1;
        (self.sharing.under_way, self.sharing.wanted) = (Some(now.mono), false);
        let mut draws = Vec::new();
        for model in wants.keys() {
            self.enter(model, now.mono);
        }
        let names: Vec<Model> = self.models.iter().map(|state| state.name.clone()).collect();
        let none = Wants::default();
        for name in names {
            let Some(model) = self.models.find(&name) else { continue };
            let wanted = wants.get(&name).unwrap_or(&none);
            self.draws_of(model, wanted, members, cooldowns, now, &mut draws);
        }
        if draws.is_empty() {
            self.sharing.under_way = None;
        }
        draws
    }

    fn draws_of(
        &mut self,
        model: ModelIx,
        wants: &Wants,
        members: &Members,
        cooldowns: &Cooldowns,
        now: Now,
        draws: &mut Vec<Draw>,
    ) {
        let state = self.models.get_mut(model);
        state.demand.pass(now.mono);
        let waits = wants.any.requests > 0 || !wants.bound.is_empty();
        let has_to_say =
            |budget: &Budget| budget.share.as_ref().is_some_and(|share| share.has_to_say(RENEWED, now.mono));
        if !waits && state.demand.is_idle() && !state.budgets.values().any(has_to_say) {
            state.roomy = None;
            return;
        }
        let (candidates, roomy) = self.candidates(model, members, cooldowns, now.mono);
        self.models.get_mut(model).roomy = Some(roomy);
        let (target, held) = (
            self.target(model, &candidates),
            candidates.iter().map(|one| one.held).fold(0, u64::saturating_add),
        );
        let bound: u64 = wants.bound.values().map(|need| need.requests).sum();
        let mut speaks_of: BTreeSet<_> =
            candidates.iter().filter(|one| one.has_to_say).map(|one| one.project).collect();
        speaks_of.extend(self.give_back(
            model,
            &candidates,
            target + wants.any.requests + bound,
            held,
            now.mono,
        ));
        let mut asks: BTreeMap<ProjectIx, Need> = BTreeMap::new();
        for (project, need) in &wants.bound {
            if candidates.iter().any(|one| one.project == *project && one.is_open) {
                asks.insert(*project, *need);
            }
        }
        // Who waits though something is held cannot use that.
        let ahead = (target + wants.any.requests).saturating_sub(held);
        let mut need = ahead.max(wants.any.requests);
        let may_ask = |one: &&DrawCandidate| one.is_open;
        let (in_use, others): (Vec<&DrawCandidate>, Vec<&DrawCandidate>) = candidates
            .iter()
            .filter(may_ask)
            .partition(|one| one.held > 0 || speaks_of.contains(&one.project));
        for one in in_use.into_iter().chain(others.into_iter().take(ASKED)) {
            if need == 0 {
                break;
            }
            let most = whole(one.window * AT_ONCE).max(1);
            let requests = need.min(most);
            let ask = asks.entry(one.project).or_default();
            ask.requests += requests;
            ask.tokens = ask.tokens.max(wants.any.tokens);
            need -= requests;
        }
        // Those who wait are asked for, even if it is much of one bucket.
        let rest = need.min(wants.any.requests);
        if let Some(first) = candidates.iter().find(|one| rest > 0 && one.is_open) {
            asks.entry(first.project).or_default().requests += rest;
        }
        speaks_of.extend(asks.keys());
        for one in candidates.iter().filter(|one| speaks_of.contains(&one.project)) {
            let ask = asks.get(&one.project).copied().unwrap_or_default();
            draws.extend(self.draw(model, one, ask, members, now));
        }
    }

    /// Returns the projects that limit a model, the preferred first, and the keys that may have room.
    fn candidates(
        &self,
        model: ModelIx,
        members: &Members,
        cooldowns: &Cooldowns,
        now: Duration,
    ) -> (Vec<DrawCandidate>, FixedBitSet) {
        let state = self.models.get(model);
        let tokens = state.demand.tokens();
        let blocked = cooldowns.blocked(&state.name);
        let may_lease = |project: ProjectIx| {
            members.of(project).iter().any(|key| {
                cooldowns.ready().contains(key.position())
                    && blocked.is_none_or(|blocked| !blocked.contains(key.position()))
            })
        };
        let mut roomy = FixedBitSet::with_capacity(members.len());
        let candidate = |project: ProjectIx| {
            let budget = state.budgets.get(&project);
            let caps = caps_of(budget, &self.limits, project, &state.name, members, now);
            let share = budget.and_then(|budget| budget.share.as_ref());
            if caps == Caps::default() || share.is_some_and(|share| !share.held(now).is_zero()) {
                roomy.extend(members.of(project).iter().map(|key| key.position()));
            }
            if caps == Caps::default() || members.of(project).is_empty() {
                return None;
            }
            Some(DrawCandidate {
                project,
                caps,
                window: Budget::window(caps, tokens),
                held: share.map_or(0, |share| requests_of(share.held(now), caps, tokens)),
                has_to_say: share.is_some_and(|share| share.has_to_say(RENEWED, now)),
                is_open: share.is_none_or(|share| share.opens() <= now) && may_lease(project),
            })
        };
        let mut candidates: Vec<_> = members.projects().filter_map(candidate).collect();
        candidates.sort_by_cached_key(|one| preference(self.sharing.seed, one.project));
        (candidates, roomy)
    }

    /// Returns for how many requests of a model slices should be held.
    fn target(&self, model: ModelIx, candidates: &[DrawCandidate]) -> u64 {
        let state = self.models.get(model);
        let nodes = self.sharing.nodes;
        let least = NodePart::by_number(nodes).part;
        let part = state.part.map_or(least, |part| part.part.max(least));
        let window: f64 = candidates.iter().map(|one| one.window).sum();
        whole(state.demand.ahead().min(IDLE * window * part))
    }

    /// Gives back what is held beyond the need, of what this node prefers least, and returns where.
    fn give_back(
        &mut self,
        model: ModelIx,
        candidates: &[DrawCandidate],
        need: u64,
        held: u64,
        now: Duration,
    ) -> Vec<ProjectIx> {
        let mut changed = Vec::new();
        let state = self.models.get_mut(model);
        // The last one goes back when nobody comes any more.
        let kept = if state.demand.is_idle() { 0.0 } else { 1.0 };
        let too_many = whole_f64(held) > KEPT * whole_f64(need) + kept;
        let mut excess = if too_many { held - need } else { 0 };
        for one in candidates.iter().rev().filter(|one| one.held > 0) {
            if excess == 0 {
                break;
            }
            let budget = state.budgets.get_mut(&one.project);
            let Some(share) = budget.and_then(|budget| budget.share.as_mut()) else { continue };
            let back = excess.min(one.held);
            let whole_of_it = share.held(now);
            share.give_back(part_of(whole_of_it, back, one.held));
            excess -= back;
            changed.push(one.project);
        }
        changed
    }

    fn draw(
        &mut self,
        model: ModelIx,
        of: &DrawCandidate,
        ask: Need,
        members: &Members,
        now: Now,
    ) -> Option<Draw> {
        let call = self.sharing.call;
        if !self.models.get(model).budgets.contains_key(&of.project) {
            let fresh = self.new_budget(model, of.caps, now.mono);
            self.models.get_mut(model).budgets.insert(of.project, fresh);
        }
        let state = self.models.get_mut(model);
        let tokens = whole((state.demand.tokens() * whole_f64(ask.requests)).ceil()).max(ask.tokens);
        let budget = state.budgets.get_mut(&of.project)?;
        let share = budget.share.get_or_insert_default();
        let Sending { spent, have, full_for } = share.send(call, now.mono);
        let want = if ask.requests == 0 {
            Units::default()
        } else {
            Units { requests: ask.requests, tokens, day: ask.requests }.of_limited(of.caps)
        };
        let [rpm, tpm, rpd] = of.caps;
        let day_ends = rpd.map(|_| now.wall_at(daily_reset::end_of_day(now)));
        let today = if now.mono < budget.day.ends { budget.day.requests } else { 0 };
        Some(Draw {
            call,
            project: members.owner(of.project).clone(),
            model: state.name.clone(),
            rpm,
            tpm,
            rpd,
            spent,
            have,
            want,
            full_for,
            today,
            day_ends,
        })
    }

    /// Takes what the store has answered.
    pub(crate) fn drawn(&mut self, replies: Vec<Drawn>, members: &Members, now: Duration) {
        for reply in replies {
            let Drawn { call, project, model, given, left, opens_in, closed_for } = reply;
            if call == self.sharing.call {
                self.sharing.under_way = None;
            }
            self.sharing.heard = true;
            let Some(project) = members.owned_by(&project) else { continue };
            let Some(model) = self.models.find(&model) else { continue };
            let spread = self.sharing.rng.f64();
            let state = self.models.get_mut(model);
            if let Some(roomy) = &mut state.roomy {
                roomy.extend(members.of(project).iter().map(|key| key.position()));
            }
            let budget = state.budgets.get_mut(&project);
            if let Some(share) = budget.and_then(|budget| budget.share.as_mut()) {
                share.take(Given { call, units: given, left, opens_in, closed_for }, now, spread);
            }
        }
    }

    /// Returns how much of each model this node is asked for, where limits are known.
    pub(crate) fn loads(&self, members: &Members, now: Duration) -> Vec<ModelLoad> {
        let load = |name: &Model| {
            let state = self.models.get(self.models.find(name)?);
            let limit = |project| {
                let budget = state.budgets.get(&project);
                let caps = caps_of(budget, &self.limits, project, name, members, now);
                caps[Gauge::Rpm as usize].unwrap_or(0)
            };
            let of_projects = members.projects().filter(|project| !members.of(*project).is_empty());
            let used = |budget: &Budget| budget.minute.total(Second::of(now)).requests;
            Some(ModelLoad {
                model: name.clone(),
                per_second: state.demand.rate(),
                used: state.budgets.values().map(used).sum(),
                limit: of_projects.map(limit).sum(),
            })
        };
        let known = self.models.iter().filter(|state| !state.budgets.is_empty() || !state.demand.is_idle());
        known.filter_map(|state| load(&state.name)).collect()
    }
}

/// For how many requests of so many tokens this is enough.
fn requests_of(units: Units, [rpm, tpm, rpd]: Caps, tokens: f64) -> u64 {
    let by_requests = rpm.map(|_| units.requests);
    let by_tokens = tpm.map(|_| whole(whole_f64(units.tokens) / tokens));
    let by_day = rpd.map(|_| units.day);
    [by_requests, by_tokens, by_day].into_iter().flatten().min().unwrap_or(0)
}

/// Returns so many parts of `of` equal ones.
fn part_of(units: Units, parts: u64, of: u64) -> Units {
    let part = |units: u64| {
        if parts >= of { units } else { whole(whole_f64(units) * whole_f64(parts) / whole_f64(of)) }
    };
    let Units { requests, tokens, day } = units;
    Units {
        requests: part(requests).max(parts.min(requests)),
        tokens: part(tokens),
        day: part(day).max(parts.min(day)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share of a limit")]
fn whole_f64(units: u64) -> f64 {
    units as f64
}

/// The whole part of what is not negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "limits and loads, cut off")]
fn whole(units: f64) -> u64 {
    units.max(0.0) as u64
}
