//! How much of a model this node is asked for: a mean over the last seconds, by which it holds slices of shared budgets.

use std::time::Duration;

/// How fast the mean forgets.
const FORGETS: f64 = 0.7;
/// The least time that a new mean is taken over.
const LEAST: Duration = Duration::from_millis(50);
/// Of how much time's load slices are held.
const AHEAD: f64 = 0.5;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Demand {
    /// Requests a second, and input tokens a request, on the mean.
    rate: f64,
    tokens: f64,
    /// What has come since `from`.
    requests: u32,
    input_tokens: u64,
    from: Option<Duration>,
}

impl Demand {
    /// Counts a request.
    pub(crate) fn note(&mut self, tokens: u64) {
        self.requests = self.requests.saturating_add(1);
        self.input_tokens = self.input_tokens.saturating_add(tokens);
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, now: Duration) {
        let from = *self.from.get_or_insert(now);
        let passed = now.saturating_sub(from);
        if passed < LEAST {
            return;
        }
        let requests = f64::from(self.requests);
        let weight = 1.0 - (-passed.as_secs_f64() / FORGETS).exp();
        self.rate += weight * (requests / passed.as_secs_f64() - self.rate);
        if self.requests > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a mean")]
            let mean = self.input_tokens as f64 / requests;
            let weight = if self.tokens == 0.0 { 1.0 } else { weight };
            self.tokens += weight * (mean - self.tokens);
        }
        (self.requests, self.input_tokens, self.from) = (0, 0, Some(now));
    }

    /// Returns how many requests come in a second.
    pub(crate) fn rate(self) -> f64 {
        self.rate
    }

    /// Returns how many input tokens a request has, at least one.
    pub(crate) fn tokens(self) -> f64 {
        self.tokens.max(1.0)
    }

    /// Whether next to nothing comes.
    pub(crate) fn is_idle(self) -> bool {
        self.requests == 0 && self.rate < 0.01
    }

    /// Returns for how many requests slices should be held: those of the time ahead, and twice their spread.
    pub(crate) fn ahead(self) -> f64 {
        let mean = self.rate * AHEAD;
        mean + 2.0 * mean.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_follows_the_load_within_seconds() {
        let mut demand = Demand::default();
        demand.pass(Duration::ZERO);
        for tick in 1..=20_u64 {
            (0..25).for_each(|_| demand.note(40));
            demand.pass(Duration::from_millis(250 * tick));
        }
        assert!((demand.rate() - 100.0).abs() < 1.0, "{demand:?}");
        assert!((demand.tokens() - 40.0).abs() < 0.1);
        assert!((demand.ahead() - 64.1).abs() < 1.0, "50 and twice its root");
        demand.pass(Duration::from_secs(20));
        assert!(demand.is_idle());
    }
}
