//! How many tokens a caller's answers had lately, by model: the estimate of what a request's answer will have. A caller
//! can make models up, so only so many are kept, and only those that were answered.

use std::sync::Arc;

/// How many models are kept.
const MODELS: usize = 16;
/// What is expected of a caller of whom nothing is known.
const FIRST: u64 = 500;
/// How much of the difference each new answer makes up: one part in so many.
const WEIGHT: u64 = 8;

/// The means of one caller.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutputMeans {
    /// The one that was used last at the end.
    models: Vec<(Arc<str>, u64)>,
}

impl OutputMeans {
    /// Begins with what is known of former answers: models with their means, the one that was used last at the end. What was
    /// observed since goes before it.
    pub(crate) fn seed(&mut self, known: &[(Arc<str>, u64)]) {
        let observed = std::mem::take(&mut self.models);
        let is_new = |(name, _): &&(Arc<str>, u64)| !observed.iter().any(|(known, _)| known == name);
        self.models = known.iter().filter(is_new).chain(&observed).cloned().collect();
        let excess = self.models.len().saturating_sub(MODELS);
        self.models.drain(..excess);
    }

    /// How many tokens the next answer of this model is expected to have.
    pub(crate) fn expect(&self, model: Option<&str>) -> u64 {
        let known = self.models.iter().find(|(name, _)| Some(&**name) == model).or(self.models.last());
        known.map_or(FIRST, |(_, mean)| *mean)
    }

    /// Takes what an answer had.
    pub(crate) fn observe(&mut self, model: &Arc<str>, tokens: u64) {
        let Some(at) = self.models.iter().position(|(name, _)| name == model) else {
            if self.models.len() == MODELS {
                self.models.remove(0);
            }
            self.models.push((Arc::clone(model), tokens));
            return;
        };
        let (_, mean) = &mut self.models[at];
        // Rounded towards what was observed, so that a steady caller is met exactly.
        *mean = if tokens >= *mean {
            *mean + (tokens - *mean).div_ceil(WEIGHT)
        } else {
            *mean - (*mean - tokens).div_ceil(WEIGHT)
        };
        self.models[at..].rotate_left(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_caller_is_met_exactly_and_a_change_is_followed() {
        let mut means = OutputMeans::default();
        let model: Arc<str> = "gemini-2.5-flash".into();
        assert_eq!(means.expect(Some(&model)), FIRST);
        means.observe(&model, 100);
        assert_eq!(means.expect(Some(&model)), 100);
        for steady in [1_000, 7, 0] {
            for _ in 0..100 {
                means.observe(&model, steady);
            }
            assert_eq!(means.expect(Some(&model)), steady);
        }
    }

    #[test]
    fn an_unknown_model_is_expected_to_answer_like_the_one_used_last() {
        let mut means = OutputMeans::default();
        means.observe(&"a".into(), 10);
        means.observe(&"b".into(), 20);
        means.observe(&"a".into(), 10);
        assert_eq!(
            [Some("a"), Some("b"), Some("c"), None].map(|model| means.expect(model)),
            [10, 20, 10, 10]
        );
    }

    #[test]
    fn what_is_known_of_former_answers_is_expected_until_others_are_seen() {
        let mut means = OutputMeans::default();
        means.observe(&"a".into(), 10);
        let known: Vec<(Arc<str>, u64)> = (0..MODELS + 3)
            .map(|n| (format!("former-{n}").into(), 100 + n as u64))
            .chain([("a".into(), 99)])
            .collect();
        means.seed(&known);
        assert_eq!(means.models.len(), MODELS);
        assert_eq!(
            [Some("former-18"), Some("former-0"), Some("a")].map(|name| means.expect(name)),
            [118, 10, 10]
        );
        for _ in 0..100 {
            means.observe(&"former-18".into(), 7);
        }
        assert_eq!(means.expect(Some("former-18")), 7);
    }

    #[test]
    fn made_up_models_push_out_the_longest_unused_only() {
        let mut means = OutputMeans::default();
        let own: Arc<str> = "own".into();
        for number in 0..1_000 {
            means.observe(&own, 77);
            means.observe(&format!("made-up-{number}").into(), 1);
        }
        assert_eq!(means.models.len(), MODELS);
        assert_eq!(means.expect(Some("own")), 77);
    }
}
