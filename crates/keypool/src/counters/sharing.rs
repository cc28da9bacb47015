//! What budgets have to do with other nodes: who shares them, whether a call to the store is under way, and when a budget of
//! which several nodes hold parts has room for a request. Each node's part is the share's own business.

use std::time::Duration;

use fixedbitset::FixedBitSet;
use meter::{Gauge, Now, Second, opening};

use super::Counters;
use crate::budget::Budget;
use crate::company::Company;
use crate::habit::{Habit, NodePart};
use crate::ids::{Model, ModelIx, ProjectIx};
use crate::lease_request::{LeaseRequest, Retry};
use crate::limit::{Caps, ConfiguredLimits};
use crate::members::Members;
use crate::slice::{DRAW_HOPE, Share, Spends};

/// A call that is not answered in that time is held for lost.
const CALL_LOST: Duration = Duration::from_secs(1);
/// When a budget may have room of which a node may use nothing by habit.
const A_MINUTE: Duration = Duration::from_secs(61);

#[derive(Debug)]
pub(super) struct Sharing {
    pub company: Company,
    /// How many nodes there are.
    pub nodes: u32,
    /// Whether the store was ever heard.
    pub heard: bool,
    pub call: u64,
    /// When the call was made that is under way.
    pub under_way: Option<Duration>,
    /// Whether somebody waits for a call that is to be made.
    pub wanted: bool,
    pub rng: fastrand::Rng,
    /// By which this node prefers some projects to others.
    pub seed: u64,
}

impl Default for Sharing {
    fn default() -> Self {
        Self {
            company: Company::None,
            nodes: 1,
            heard: false,
            call: 0,
            under_way: None,
            wanted: false,
            rng: fastrand::Rng::with_seed(0),
            seed: 0,
        }
    }
}

/// How a request is judged that several nodes' budgets are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedView<'a> {
    company: Company,
    /// What a node may use of limits of which it was never told anything; `None` where it was told of some.
    nodes: Option<u32>,
    /// This node's part in the model.
    node: NodePart,
    /// When the request may go beyond habit, if it may.
    beyond: Option<Duration>,
    model: &'a Model,
    /// The only keys that may have room, where that is known.
    pub roomy: Option<&'a FixedBitSet>,
}

impl SharedView<'_> {
    /// Returns the same for a request that stays within habit, unless that makes no difference.
    pub(super) fn within_habit(self, now: Duration) -> Option<Self> {
        self.beyond.filter(|beyond| *beyond <= now).map(|_| Self { beyond: None, ..self })
    }

    /// Returns when a project has room: now, soon, or later.
    // Most pools share nothing, and should not pay for this.
    #[inline(never)]
    pub(super) fn opens(
        &self,
        budget: Option<&Budget>,
        label: Option<&crate::key::Project>,
        limits: &ConfiguredLimits,
        tokens: u64,
        now: Duration,
    ) -> Duration {
        if let Some(budget) = budget
            && let Some(share) = &budget.share
        {
            return match self.company {
                Company::Alone => self.opens_alone(budget, share, tokens, now),
                Company::Together | Company::None => {
                    let caps = budget.caps(now);
                    if caps == Caps::default() || share.has_room(caps, tokens, now) {
                        now
                    } else {
                        share.opens().max(now + DRAW_HOPE)
                    }
                }
            };
        }
        let caps = limits.of(label, self.model.as_deref());
        if caps == Caps::default() {
            return now;
        }
        if self.company != Company::Alone {
            return now + DRAW_HOPE;
        }
        let habit = match self.nodes {
            Some(nodes) => Habit::by_number(caps, nodes),
            None => Habit::unused(caps, self.node, now),
        };
        if may_ever(&habit, caps, tokens) {
            return now;
        }
        self.beyond.map_or(now + A_MINUTE, |beyond| beyond.max(now))
    }

    /// Whether a project has no room now, and may have some by a call to the store.
    pub(super) fn draws_from(&self, budget: Option<&Budget>, now: Duration) -> bool {
        self.company == Company::Together
            && budget.and_then(|budget| budget.share.as_ref()).is_none_or(|share| share.opens() <= now)
    }

    fn opens_alone(&self, budget: &Budget, share: &Share, tokens: u64, now: Duration) -> Duration {
        let caps = budget.caps(now);
        if caps == Caps::default() {
            return now;
        }
        let habit = share.habit.unwrap_or(Habit::by_number(caps, self.nodes.unwrap_or(u32::MAX)));
        let by_habit = if may_ever(&habit, caps, tokens) {
            let [rpm, tpm, rpd] = caps;
            let second = budget.minute.opens(Second::of(now), |used| {
                rpm.is_none_or(|_| used.requests < habit.minute.requests)
                    && tpm.is_none_or(|limit| {
                        used.tokens.saturating_add(tokens.clamp(1, limit)) <= habit.minute.tokens
                    })
            });
            let of_day = if rpd.is_some() && now < budget.day.ends && budget.day.requests >= habit.day {
                budget.day.ends
            } else {
                now
            };
            opening(second, now).max(of_day)
        } else {
            now + A_MINUTE
        };
        let beyond = self.beyond.map(|beyond| beyond.max(budget.opens(tokens, now)));
        beyond.map_or(by_habit, |beyond| by_habit.min(beyond)).max(share.opens()).max(now)
    }
}

/// Whether a request of so many tokens ever fits into this.
fn may_ever(habit: &Habit, [rpm, tpm, rpd]: Caps, tokens: u64) -> bool {
    (rpm.is_none() || habit.minute.requests > 0)
        && tpm.is_none_or(|limit| habit.minute.tokens >= tokens.clamp(1, limit))
        && (rpd.is_none() || habit.day > 0)
}

impl Counters {
    /// Names this node's preferences.
    pub(crate) fn seed_sharing(&mut self, seed: u64) {
        self.sharing.rng = fastrand::Rng::with_seed(seed);
        self.sharing.seed = seed;
    }

    /// Returns how a request is judged that has waited so long, where several nodes share budgets.
    #[inline(never)]
    pub(super) fn shared_view<'a>(
        &'a self,
        model: Option<ModelIx>,
        request: &'a LeaseRequest,
        waited: Duration,
        now: Duration,
    ) -> SharedView<'a> {
        let Sharing { company, nodes, heard, .. } = self.sharing;
        let is_first = request.tried.is_empty() && request.failed_on.is_none() && request.retry == Retry::No;
        let state = model.map(|model| self.models.get(model));
        let node = state.and_then(|state| state.part).unwrap_or(NodePart::by_number(nodes));
        let wait = node.wait_beyond();
        // A retry stays within habit, but for limits of which there was enough for all.
        let may_go_beyond = company == Company::Alone && (is_first || wait.is_zero());
        let beyond = may_go_beyond.then(|| now.saturating_sub(waited) + wait);
        let roomy = state.and_then(|state| state.roomy.as_ref());
        SharedView { company, nodes: (!heard).then_some(nodes), node, beyond, model: &request.model, roomy }
    }

    /// Makes a budget of a model, with a share in it if others have one.
    pub(super) fn new_budget(&self, model: ModelIx, caps: Caps, now: Duration) -> Budget {
        self.sharing.new_budget(self.models.get(model).part, caps, now)
    }

    /// Goes on in other company.
    pub(crate) fn keep_company(&mut self, company: Company, now: Duration) {
        let Self { sharing, models, .. } = self;
        sharing.company = company;
        (sharing.under_way, sharing.wanted) = (None, false);
        for state in models.iter_mut() {
            let part = state.part;
            state.roomy = None;
            for budget in state.budgets.values_mut() {
                sharing.take_part(budget, part, now);
            }
        }
    }

    /// Takes down how many nodes there are.
    pub(crate) fn set_nodes(&mut self, nodes: u32) {
        self.sharing.nodes = nodes.max(1);
    }

    /// Takes down this node's part in a model, if something is known of it.
    pub(crate) fn set_part(&mut self, model: &Model, part: NodePart) {
        if let Some(model) = self.models.find(model) {
            self.models.get_mut(model).part = Some(part);
        }
    }

    /// Has a call made to the store, unless one is under way: then those who wait are looked at again when it is answered.
    pub(crate) fn want_draw(&mut self, now: Duration) {
        let is_under_way = self.sharing.under_way.is_some_and(|since| now < since + CALL_LOST);
        self.sharing.wanted |= !is_under_way;
    }

    /// Takes out whether a call is to be made. Until it is, or is held for lost, it is under way.
    pub(crate) fn take_draw_wish(&mut self, now: Duration) -> bool {
        let wanted = std::mem::take(&mut self.sharing.wanted);
        if wanted {
            self.sharing.under_way = Some(now);
        }
        wanted
    }

    /// Reports all of the last minute to a store that knows nothing.
    pub(crate) fn begin_anew(&mut self, now: Now) {
        (self.sharing.under_way, self.sharing.wanted) = (None, false);
        for budget in self.models.iter_mut().flat_map(|state| state.budgets.values_mut()) {
            let spends = budget.ring(now.mono);
            if let Some(share) = &mut budget.share {
                share.begin_anew(spends, now.mono);
            }
        }
    }
}

impl Sharing {
    /// Makes a budget in which this node has a share if others have one, and this part in its model, if that is known.
    pub(super) fn new_budget(&self, part: Option<NodePart>, caps: Caps, now: Duration) -> Budget {
        let mut budget = Budget::new(caps);
        self.take_part(&mut budget, part, now);
        budget
    }

    /// Gives a budget a share, and judges what this node may use of it if it cannot ask.
    fn take_part(&self, budget: &mut Budget, part: Option<NodePart>, now: Duration) {
        if !self.company.is_shared() {
            return;
        }
        let caps = budget.caps(now);
        let used = budget.minute.total(Second::of(now));
        let today = if now < budget.day.ends { budget.day.requests } else { 0 };
        let share = budget.share.get_or_insert_default();
        share.take_back_sent();
        share.habit = (self.company == Company::Alone).then(|| {
            let node = part.unwrap_or(NodePart::by_number(self.nodes));
            let habit = Habit::of(caps, used, today, share.held(now), share.left(), node, now);
            // Where nothing was ever told, the others know as little.
            if self.heard { habit } else { habit.or_more(Habit::by_number(caps, self.nodes)) }
        });
    }
}

impl Budget {
    /// Returns what this node used in the last minute, as it is reported.
    pub(super) fn ring(&self, now: Duration) -> Spends {
        let mut spends = Spends::default();
        for (ago_s, amount) in self.minute.ages(Second::of(now)) {
            let at = now.saturating_sub(Duration::from_secs(ago_s));
            let signed = |amount| i64::try_from(amount).unwrap_or(i64::MAX);
            spends.add(at, signed(amount.requests), signed(amount.tokens), 0);
        }
        spends
    }

    /// Returns how many requests a minute its limits allow, at so many tokens each.
    pub(super) fn window(caps: Caps, tokens: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let limit = |gauge: Gauge| caps[gauge as usize].map(|limit| limit as f64);
        let by_minute = limit(Gauge::Rpm).into_iter().chain(limit(Gauge::Tpm).map(|limit| limit / tokens));
        let by_minute = by_minute.fold(f64::INFINITY, f64::min);
        match limit(Gauge::Rpd) {
            _ if by_minute.is_finite() => by_minute,
            Some(rpd) => (rpd / (24.0 * 60.0)).max(1.0),
            None => 0.0,
        }
    }

    /// Hands what was counted under a former name to the budget that it is of now.
    pub(super) fn report_ring_of(&mut self, former: &Self, now: Duration) {
        if let Some(share) = &mut self.share {
            share.report_too(former.ring(now));
        }
    }
}

/// The projects of a model by this node's preference, so that each limit has few nodes that use it.
pub(super) fn preference(seed: u64, project: ProjectIx) -> u64 {
    let mut mixed = seed.wrapping_add((project.position() as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Looks up what is known of a project's limits for a model.
pub(super) fn caps_of(
    budget: Option<&Budget>,
    limits: &ConfiguredLimits,
    project: ProjectIx,
    model: &Model,
    members: &Members,
    now: Duration,
) -> Caps {
    match budget {
        Some(budget) => budget.caps(now),
        None => limits.of(members.label(project), model.as_deref()),
    }
}
