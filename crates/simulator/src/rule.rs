//! The rules that say to which requests a fault happens, and the list of those in force. Asked by `dispatch` and `live`,
//! once a request.

use serde::{Deserialize, Serialize};

use crate::fault::{Delivery, Fault};

/// Which requests a rule is for; what is not named does not matter.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// The credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The project of a known key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The model, without `models/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How the path begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The HTTP method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

// `key` is a secret.
impl std::fmt::Debug for Match {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Match")
            .field("key", &self.key.as_ref().map(|_| "***"))
            .field("project", &self.project)
            .field("model", &self.model)
            .field("path", &self.path)
            .field("method", &self.method)
            .finish()
    }
}

/// A fault and when it happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The requests that the rule is for; without a condition, all.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// How often; none means always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// How many matching requests pass first.
    #[serde(default)]
    pub after: u64,
    /// What is done to them in the place of an answer, or to it.
    pub fault: Fault,
    /// How the body of the answer comes, be it the normal one or the fault's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

impl Rule {
    /// Always, to every request.
    pub fn new(fault: Fault) -> Self {
        Self { matches: Match::default(), times: None, after: 0, fault, delivery: None }
    }

    /// To requests with this credential only.
    #[must_use]
    pub fn on_key(mut self, secret: impl Into<String>) -> Self {
        self.matches.key = Some(secret.into());
        self
    }

    /// To requests of this project's keys only.
    #[must_use]
    pub fn on_project(mut self, project: impl Into<String>) -> Self {
        self.matches.project = Some(project.into());
        self
    }

    /// To requests for this model only.
    #[must_use]
    pub fn on_model(mut self, model: impl Into<String>) -> Self {
        self.matches.model = Some(model.into());
        self
    }

    /// To requests whose path begins so.
    #[must_use]
    pub fn on_path(mut self, prefix: impl Into<String>) -> Self {
        self.matches.path = Some(prefix.into());
        self
    }

    /// To requests of this HTTP method only.
    #[must_use]
    pub fn on_method(mut self, method: impl Into<String>) -> Self {
        self.matches.method = Some(method.into());
        self
    }

    /// With a body that comes so.
    #[must_use]
    pub fn delivered(mut self, delivery: Delivery) -> Self {
        self.delivery = Some(delivery);
        self
    }

    /// So many times, then never again.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Only once so many matching requests have passed unharmed.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.after = requests;
        self
    }
}

/// A rule and how often it was met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleState {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// Requests that matched.
    pub matched: u64,
    /// Requests it happened to.
    pub applied: u64,
}

/// What a rule looks at.
pub(crate) struct Subject<'a> {
    pub(crate) key: Option<&'a str>,
    pub(crate) project: Option<&'a str>,
    pub(crate) model: Option<&'a str>,
    pub(crate) path: &'a str,
    pub(crate) method: &'a str,
}

impl Match {
    pub(crate) fn meets(&self, subject: &Subject<'_>) -> bool {
        fn agrees(wanted: Option<&String>, found: Option<&str>) -> bool {
            wanted.is_none_or(|wanted| found == Some(wanted))
        }
        agrees(self.key.as_ref(), subject.key)
            && agrees(self.project.as_ref(), subject.project)
            && agrees(self.model.as_ref(), subject.model)
            && self.path.as_ref().is_none_or(|prefix| subject.path.starts_with(prefix.as_str()))
            && self.method.as_ref().is_none_or(|method| subject.method.eq_ignore_ascii_case(method))
    }
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Strike {
    pub(crate) fault: Fault,
    pub(crate) delivery: Option<Delivery>,
}

/// How far a request has come when it is asked what happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its head is read.
    Head,
    /// So is its body.
    Body,
}

/// The rules in force. The first that matches, has let enough pass and is not used up counts.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<RuleState>);

impl Faults {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self(rules.into_iter().map(|rule| RuleState { rule, matched: 0, applied: 0 }).collect())
    }

    pub(crate) fn states(&self) -> Vec<RuleState> {
        self.0.clone()
    }

    pub(crate) fn strike(&mut self, stage: Stage, subject: &Subject<'_>) -> Option<Strike> {
        for state in &mut self.0 {
            let early = state.rule.fault.is_early();
            if early != (stage == Stage::Head) || !state.rule.matches.meets(subject) {
                continue;
            }
            state.matched += 1;
            let used_up = state.rule.times.is_some_and(|times| state.applied >= times);
            if state.matched > state.rule.after && !used_up {
                state.applied += 1;
                let fault = state.rule.fault.clone().with_key(subject.key.unwrap_or_default());
                return Some(Strike { fault, delivery: state.rule.delivery });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject<'static> {
        Subject {
            key: Some("k1"),
            project: Some("p1"),
            model: Some("m1"),
            path: "/v1beta/models/m1:generateContent",
            method: "POST",
        }
    }

    #[test]
    fn the_first_rule_that_matches_counts_until_it_is_used_up() {
        let mut faults = Faults::new(vec![
            Rule::new(Fault::ResetHead).on_key("k2"),
            Rule::new(Fault::CloseHead).on_key("k1").after(1).times(2),
            Rule::new(Fault::StallHead).on_path("/v1beta/models/m1"),
        ]);
        let mut kinds = || faults.strike(Stage::Body, &subject()).map(|strike| strike.fault.kind());
        assert_eq!(kinds(), Some("stall_head"));
        assert_eq!(kinds(), Some("close_head"));
        assert_eq!(kinds(), Some("close_head"));
        assert_eq!(kinds(), Some("stall_head"));
    }

    #[test]
    fn every_part_of_a_match_must_agree() {
        let rules = [
            Rule::new(Fault::ResetHead).on_project("p2"),
            Rule::new(Fault::ResetHead).on_model("m2"),
            Rule::new(Fault::ResetHead).on_path("/v1/"),
            Rule::new(Fault::ResetHead).on_method("get"),
            Rule::new(Fault::ResetHead).on_key("k1").on_method("DELETE"),
        ];
        for rule in rules {
            assert_eq!(Faults::new(vec![rule.clone()]).strike(Stage::Body, &subject()), None, "{rule:?}");
        }
        let rule = Rule::new(Fault::ResetHead).on_project("p1").on_model("m1").on_method("post");
        let strike = Strike { fault: Fault::ResetHead, delivery: None };
        assert_eq!(Faults::new(vec![rule]).strike(Stage::Body, &subject()), Some(strike));
    }

    #[test]
    fn a_fault_of_the_requests_body_strikes_before_it_and_uses_up_no_other_rule() {
        let early = Rule::new(Fault::StallRequest { after_bytes: 1 });
        let mut faults = Faults::new(vec![early.times(1), Rule::new(Fault::ResetHead).times(1)]);
        let mut kind = |stage| faults.strike(stage, &subject()).map(|strike| strike.fault.kind());
        assert_eq!(kind(Stage::Body), Some("reset_head"));
        assert_eq!(kind(Stage::Head), Some("stall_request"));
        assert_eq!((kind(Stage::Head), kind(Stage::Body)), (None, None));
    }
}
