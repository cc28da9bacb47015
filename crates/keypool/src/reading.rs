//! How the pool stands at one moment in figures, for meters: no list of keys, one pass over them, and bounded however many
//! models and projects there are. Only reads. For people there is the snapshot.

use std::sync::Arc;
use std::time::Duration;

use meter::{Amount, Gauge, Second};

use crate::budget::Budget;
use crate::ids::ProjectIx;
use crate::key::Project;
use crate::roster::Roster;
use crate::snapshot::{Counts, Overview, StateView};

/// The pool in figures. See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolReading {
    /// How many keys are in which state, and how busy they are.
    pub counts: Counts,
    /// The models that fail on every key.
    pub models_down: Vec<Arc<str>>,
    /// How full the known limits are, the fullest first.
    pub quotas: Vec<QuotaReading>,
}

/// How full one known limit is.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaReading {
    /// The project's label; without one, the id of its first key.
    pub project: Arc<str>,
    /// The model; `None` stands for requests that name none.
    pub model: Option<Arc<str>>,
    /// What is limited.
    pub gauge: Gauge,
    /// Used of what is allowed: 1 when it is spent, more where the count or the limit was put right.
    pub used: f64,
}

/// One limit before its names are looked up.
type Found<'a> = (f64, ProjectIx, &'a Option<Arc<str>>, Gauge);

impl PoolReading {
    pub(crate) fn of(
        roster: &Roster,
        in_flight: usize,
        waiting: usize,
        most_quotas: usize,
        now: Duration,
    ) -> Self {
        let mut overview = Overview::new(roster, in_flight, waiting, now);
        for (ix, key) in roster.members.iter() {
            overview.count(&StateView::of(ix, key, roster, now));
        }
        let Overview { counts, models_down, .. } = overview;
        let models_down = models_down.into_iter().map(|down| down.model).collect();
        Self { counts, models_down, quotas: quotas(roster, most_quotas, now) }
    }
}

/// The fullest of all known limits.
fn quotas(roster: &Roster, most: usize, now: Duration) -> Vec<QuotaReading> {
    let fullest = |one: &Found<'_>, other: &Found<'_>| other.0.total_cmp(&one.0);
    let mut found: Vec<Found<'_>> = Vec::new();
    for project in roster.members.projects().filter(|project| !roster.members.of(*project).is_empty()) {
        for (model, budget) in roster.counters.budgets(project) {
            found.extend(used_of(budget, now).map(|(gauge, used)| (used, project, model, gauge)));
        }
        // Never more than twice as many are kept, however many there are.
        if found.len() > 2 * most {
            found.select_nth_unstable_by(most, fullest);
            found.truncate(most);
        }
    }
    found.sort_unstable_by(fullest);
    found.truncate(most);
    let named = |(used, project, model, gauge): Found<'_>| {
        let first = roster.members.of(project).first()?;
        let label = roster.members.label(project).map(Project::as_str);
        let project = label.unwrap_or(roster.members.get(*first).id.as_str()).into();
        Some(QuotaReading { project, model: model.clone(), gauge, used })
    };
    found.into_iter().filter_map(named).collect()
}

/// How full the limits of one model on one project are.
fn used_of(budget: &Budget, now: Duration) -> impl Iterator<Item = (Gauge, f64)> {
    let Amount { requests, tokens } = budget.minute.total(Second::of(now));
    let today = if now < budget.day.ends { budget.day.requests } else { 0 };
    let caps = budget.caps(now).into_iter().zip(Gauge::ALL).zip([requests, tokens, today]);
    #[expect(clippy::cast_precision_loss, reason = "a ratio is read to a few digits")]
    caps.filter_map(|((cap, gauge), used)| Some((gauge, used as f64 / cap?.max(1) as f64)))
}
