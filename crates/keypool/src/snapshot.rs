//! How the pool stands, for humans and for the health page. Only reads.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use meter::{Amount, Second};
use serde::Serialize;

use crate::budget::Budget;
use crate::cooldowns::Cooldown;
use crate::ids::{KeyIx, Model, Site};
use crate::key::{KeyId, Project, ProjectNumber};
use crate::members::Member;
use crate::reason::Reason;
use crate::roster::Roster;
use crate::tool::Tool;
use crate::totals::{ModelUsage, Totals};

/// The whole pool at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// How many keys are in which state, and how busy they are.
    pub counts: Counts,
    /// Until the first key is back, when none is available or on probation and time alone helps.
    pub back_in_ms: Option<u64>,
    /// The models that fail on every key.
    pub models_down: Vec<DownView>,
    /// Each key, in the order of the configuration.
    pub keys: Vec<KeyView>,
}

/// The pool at one moment, without its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// How many keys are in which state, and how busy they are.
    pub counts: Counts,
    /// Until the first key is back, when none is available or on probation and time alone helps.
    pub back_in_ms: Option<u64>,
    /// The models that fail on every key.
    pub models_down: Vec<DownView>,
}

/// How many keys are in which state. The five states add up to `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// How many keys the pool has.
    pub total: usize,
    /// May be leased, perhaps not for every model.
    pub available: usize,
    /// Back from a cooldown, one lease at a time.
    pub probation: usize,
    /// Left alone for a while.
    pub cooling: usize,
    /// Left alone until reset.
    pub retired: usize,
    /// Disabled by the operator.
    pub disabled: usize,
    /// Leases that are not settled, those of keys that are gone among them.
    pub in_flight: u64,
    /// Requests that wait for a key.
    pub waiting: usize,
}

/// How a key stands: as the worse of itself and its project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// May be leased, but for the models listed.
    Available,
    /// Back from a cooldown, one lease at a time.
    Probation,
    /// Left alone for a while.
    Cooling,
    /// Left alone until reset.
    Retired,
    /// Disabled by the operator.
    Disabled,
}

/// How one key is, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyView {
    /// The key's id.
    pub id: KeyId,
    /// Its project's label.
    pub project: Option<Project>,
    /// Its project's number, once Google has named it.
    pub project_number: Option<ProjectNumber>,
    /// How it stands.
    pub state: KeyState,
    /// Why it is not simply available.
    pub reason: Option<Reason>,
    /// Since when it stands so; `None` where that is not known, as of a key that was always available.
    pub since: Option<DateTime<Utc>>,
    /// Until its cooldown is over.
    pub back_in_ms: Option<u64>,
    /// The models that are in trouble on it.
    pub models: Vec<ModelView>,
    /// The tools that are in trouble on it.
    pub tools: Vec<ToolView>,
    /// The models for which a limit is known.
    pub limits: Vec<LimitView>,
    /// Leases that are not settled.
    pub in_flight: u32,
    /// Connections lost in a row while other keys kept theirs.
    pub failures: u32,
    /// What became of its leases.
    pub totals: Totals,
    /// The same by model.
    pub usage: Vec<ModelUsage>,
}

/// The known limits of a model on a key's project, and what is used of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitView {
    /// The model; `None` stands for requests that name none.
    pub model: Option<Arc<str>>,
    /// Requests allowed in a minute.
    pub rpm: Option<u64>,
    /// Input tokens allowed in a minute.
    pub tpm: Option<u64>,
    /// Requests allowed in a day.
    pub rpd: Option<u64>,
    /// Requests in the last minute, of all keys of the project.
    pub minute_requests: u64,
    /// Input tokens in the last minute, of all keys of the project.
    pub minute_tokens: u64,
    /// Requests today, of all keys of the project.
    pub day_requests: u64,
}

/// A model that fails on every key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DownView {
    /// The model that fails.
    pub model: Arc<str>,
    /// Until one request may try it again; 0 when one may, or does.
    pub back_in_ms: u64,
}

/// A tool in trouble on a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToolView {
    /// The tool whose quota is spent.
    pub tool: Tool,
    /// How it stands: on probation, or cooling.
    pub state: KeyState,
    /// The fault that led to it.
    pub reason: Option<Reason>,
    /// Until its cooldown is over.
    pub back_in_ms: Option<u64>,
}

/// A model in trouble on a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelView {
    /// The model; `None` stands for requests that name none.
    pub model: Option<Arc<str>>,
    /// How it stands: on probation, or cooling.
    pub state: KeyState,
    /// The fault that led to it.
    pub reason: Option<Reason>,
    /// Until its cooldown is over.
    pub back_in_ms: Option<u64>,
}

impl Snapshot {
    pub(crate) fn of(roster: &Roster, in_flight: usize, waiting: usize, now: Duration) -> Self {
        let mut overview = Overview::new(roster, in_flight, waiting, now);
        let keys = roster.members.iter().map(|(ix, key)| {
            overview.count(&StateView::of(ix, key, roster, now));
            KeyView::of(ix, key, roster, now)
        });
        let keys = keys.collect();
        overview.finish();
        let Overview { counts, back_in_ms, models_down } = overview;
        Self { counts, back_in_ms, models_down, keys }
    }
}

impl Overview {
    /// Begins one, before the keys are [counted](Overview::count).
    pub(crate) fn new(roster: &Roster, in_flight: usize, waiting: usize, now: Duration) -> Self {
        let counts =
            Counts { total: roster.members.len(), in_flight: in_flight as u64, waiting, ..Counts::default() };
        let down = roster.counters.breakers().filter_map(|(model, breaker)| {
            let back_in_ms = millis(breaker.down_until()?.saturating_sub(now));
            Some(DownView { model: model.clone()?, back_in_ms })
        });
        Self { counts, back_in_ms: None, models_down: down.collect() }
    }

    /// Counts a key.
    pub(crate) fn count(&mut self, key: &StateView) {
        let Counts { available, probation, cooling, retired, disabled, .. } = &mut self.counts;
        *match key.state {
            KeyState::Available => available,
            KeyState::Probation => probation,
            KeyState::Cooling => cooling,
            KeyState::Retired => retired,
            KeyState::Disabled => disabled,
        } += 1;
        self.back_in_ms = self.back_in_ms.into_iter().chain(key.back_in_ms).min();
    }

    /// Ends one, after all keys.
    pub(crate) fn finish(&mut self) {
        if self.counts.available + self.counts.probation > 0 {
            self.back_in_ms = None;
        }
    }
}

/// How a key stands: as the worse of itself and its project.
pub(crate) struct StateView {
    pub state: KeyState,
    pub reason: Option<Reason>,
    pub since: Option<DateTime<Utc>>,
    pub back_in_ms: Option<u64>,
}

impl StateView {
    pub(crate) fn of(ix: KeyIx, key: &Member, roster: &Roster, now: Duration) -> Self {
        let cooldowns = &roster.cooldowns;
        let of = |site: &Site, cooldown: &Cooldown| {
            let view = view(cooldown, now);
            let is_over = view.state == KeyState::Probation && matches!(cooldown, Cooldown::Cooling { .. });
            Self { since: cooldowns.stands_since(site).filter(|_| !is_over), ..view }
        };
        let own = of(&Site::Key(ix), cooldowns.of_key(ix));
        let of_project = of(&Site::Project(key.project), cooldowns.of_project(key.project));
        let worse = if of_project.state > own.state
            || (of_project.state == own.state && of_project.back_in_ms > own.back_in_ms)
        {
            of_project
        } else if (own.state, of_project.state) == (KeyState::Available, KeyState::Available) {
            Self { since: own.since.max(of_project.since), ..own }
        } else {
            own
        };
        if cooldowns.is_disabled(ix) {
            let since = cooldowns.disabled_since(ix);
            return Self { state: KeyState::Disabled, back_in_ms: None, since, ..worse };
        }
        worse
    }
}

impl KeyView {
    pub(crate) fn of(ix: KeyIx, key: &Member, roster: &Roster, now: Duration) -> Self {
        let Roster { cooldowns, counters, .. } = roster;
        let StateView { state, reason, since, back_in_ms } = StateView::of(ix, key, roster, now);
        let models = cooldowns.models_of(key.project).map(|(model, cooldown)| {
            let StateView { state, reason, back_in_ms, .. } = view(cooldown, now);
            ModelView { model: model.clone(), state, reason, back_in_ms }
        });
        let tools = cooldowns.tools_of(key.project).map(|(tool, cooldown)| {
            let StateView { state, reason, back_in_ms, .. } = view(cooldown, now);
            ToolView { tool, state, reason, back_in_ms }
        });
        let limits = counters.budgets(key.project).map(|(model, budget)| LimitView::of(model, budget, now));
        Self {
            id: key.id.clone(),
            project: key.label.clone(),
            project_number: key.number,
            state,
            reason,
            since,
            back_in_ms,
            models: models.collect(),
            tools: tools.collect(),
            limits: limits.collect(),
            in_flight: counters.in_flight(ix),
            failures: counters.losses().own(ix),
            totals: counters.totals(ix),
            usage: counters.usage_by_model(ix),
        }
    }
}

impl LimitView {
    fn of(model: &Model, budget: &Budget, now: Duration) -> Self {
        let [rpm, tpm, rpd] = budget.caps(now);
        let Amount { requests, tokens } = budget.minute.total(Second::of(now));
        Self {
            model: model.clone(),
            rpm,
            tpm,
            rpd,
            minute_requests: requests,
            minute_tokens: tokens,
            day_requests: if now < budget.day.ends { budget.day.requests } else { 0 },
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn view(cooldown: &Cooldown, now: Duration) -> StateView {
    let (state, reason, back_in_ms) = match cooldown {
        Cooldown::Open => (KeyState::Available, None, None),
        Cooldown::Cooling { until, streak, .. } if *until > now => {
            (KeyState::Cooling, Some(streak.reason), Some(millis(until.saturating_sub(now))))
        }
        // Over, though the alarm has not rung yet.
        Cooldown::Cooling { streak, .. } | Cooldown::Probation { streak, .. } => {
            (KeyState::Probation, Some(streak.reason), None)
        }
        Cooldown::Retired { reason } => (KeyState::Retired, Some(*reason), None),
    };
    StateView { state, reason, since: None, back_in_ms }
}
