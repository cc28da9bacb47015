//! Limits: what the operator says that a project may use of a model, in the three gauges in which all limits are
//! counted. What is used, and what Google's refusals teach, is in `budget`.

use std::collections::HashMap;
use std::sync::Arc;

use gemini::fault::{Quota, QuotaUnit, QuotaWindow};
use meter::Gauge;
use serde::{Deserialize, Serialize};

use crate::key::Project;

/// A configured limit, for each project and model apart. Where several apply, each figure is taken from the most
/// specific that has it: one that names project and model, then project, then model, then neither; the first of equals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limit {
    /// For the project with this label; `None` for each project.
    pub project: Option<Project>,
    /// For this model; `None` for each model.
    pub model: Option<Arc<str>>,
    /// Requests in a minute.
    pub rpm: Option<u64>,
    /// Input tokens in a minute.
    pub tpm: Option<u64>,
    /// Requests in a day that ends at midnight in Los Angeles.
    pub rpd: Option<u64>,
}

/// The gauge that a quota of Google's is about, if it is one that the pool keeps.
pub(crate) fn gauge_of(quota: &Quota) -> Option<Gauge> {
    match (quota.unit, quota.window) {
        (QuotaUnit::Requests, QuotaWindow::Minute) => Some(Gauge::Rpm),
        (QuotaUnit::InputTokens, QuotaWindow::Minute) => Some(Gauge::Tpm),
        (QuotaUnit::Requests, QuotaWindow::Day) => Some(Gauge::Rpd),
        _ => None,
    }
}

/// A limit for each gauge that has one, in the order of [`Gauge::ALL`].
pub(crate) type Caps = [Option<u64>; Gauge::ALL.len()];

impl Limit {
    fn caps(&self) -> Caps {
        [self.rpm, self.tpm, self.rpd]
    }

    /// Whether it limits something, and nothing to zero.
    pub(crate) fn makes_sense(&self) -> bool {
        let caps = self.caps();
        caps.iter().any(Option::is_some) && !caps.contains(&Some(0))
    }

    /// How closely it fits; `None` when it does not.
    fn fit(&self, project: Option<&Project>, model: Option<&str>) -> Option<u8> {
        let project_fits = self.project.is_none() || self.project.as_ref() == project;
        let model_fits = self.model.is_none() || self.model.as_deref() == model;
        let closeness = 2 * u8::from(self.project.is_some()) + u8::from(self.model.is_some());
        (project_fits && model_fits).then_some(closeness)
    }
}

/// The configured limits, found by project: there may be one for each of a thousand.
#[derive(Debug, Default)]
pub(crate) struct ConfiguredLimits {
    by_project: HashMap<Project, Vec<Limit>>,
    /// Those for each project.
    general: Vec<Limit>,
}

impl ConfiguredLimits {
    pub(crate) fn new(limits: &[Limit]) -> Self {
        let mut sorted = Self::default();
        for limit in limits {
            let of_project = match &limit.project {
                Some(project) => sorted.by_project.entry(project.clone()).or_default(),
                None => &mut sorted.general,
            };
            of_project.push(limit.clone());
        }
        sorted
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_project.is_empty() && self.general.is_empty()
    }

    /// Returns what is configured for a project with this label and this model.
    pub(crate) fn of(&self, project: Option<&Project>, model: Option<&str>) -> Caps {
        let own = project.and_then(|project| self.by_project.get(project));
        // What names the project fits more closely than what does not, wherever it stands.
        configured(own.into_iter().flatten().chain(&self.general), project, model)
    }
}

/// Takes each figure from the limit that fits most closely.
fn configured<'a>(
    limits: impl IntoIterator<Item = &'a Limit>,
    project: Option<&Project>,
    model: Option<&str>,
) -> Caps {
    let mut caps = Caps::default();
    let mut fits = [None; Gauge::ALL.len()];
    for limit in limits {
        let Some(fit) = limit.fit(project, model) else { continue };
        for ((cap, best), own) in caps.iter_mut().zip(&mut fits).zip(limit.caps()) {
            if own.is_some() && best.is_none_or(|best| fit > best) {
                (*cap, *best) = (own, Some(fit));
            }
        }
    }
    caps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_comes_from_the_most_specific_limit_that_has_it() {
        let limit = |project: Option<&str>, model: Option<&str>, rpm, rpd| Limit {
            project: project.map(Into::into),
            model: model.map(Into::into),
            rpm,
            rpd,
            tpm: None,
        };
        let limits = [
            limit(None, None, Some(1), Some(10)),
            limit(None, Some("m"), Some(2), Some(20)),
            limit(Some("p"), None, Some(3), Some(30)),
            limit(Some("p"), Some("m"), Some(4), None),
            limit(None, None, Some(9), None),
        ];
        let found = |project: Option<&str>, model| {
            let [rpm, _, rpd] = configured(&limits, project.map(Into::into).as_ref(), model);
            (rpm, rpd)
        };
        assert_eq!(found(None, None), (Some(1), Some(10)));
        assert_eq!(found(Some("q"), Some("m")), (Some(2), Some(20)));
        assert_eq!(found(Some("p"), Some("n")), (Some(3), Some(30)));
        assert_eq!(found(Some("p"), Some("m")), (Some(4), Some(30)));
        assert_eq!(configured(&limits[3..4], None, Some("m")), Caps::default());
    }
}
