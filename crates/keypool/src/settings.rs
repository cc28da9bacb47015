//! What the operator may set about the pool, with the defaults, and what makes no sense and is refused.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::PoolError;
use crate::limit::Limit;

/// How the next key is chosen among those that may be leased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// One after the other, for each model by itself.
    #[default]
    RoundRobin,
    /// The key with the fewest open leases; among equals, the one whose turn it is for the model.
    LeastInFlight,
    /// In proportion to the weights, evenly spread, for each model by itself.
    Weighted,
    /// Requests of one prefix on one project, as long as it carries no more than its share; there its keys in turn.
    /// Those without a prefix as in `RoundRobin`.
    Prefix,
}

/// The pool's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How the next key is chosen.
    pub strategy: Strategy,
    /// First step of the backoff for all faults but rate limits.
    pub cooldown_initial: Duration,
    /// The longest step of any backoff. Also how long a backoff is remembered when nobody tries again.
    pub cooldown_max: Duration,
    /// First step of the backoff for a rate limit without a hint; cut to `cooldown_max`.
    pub rate_limit_default_wait: Duration,
    /// How long a condition lasts that only a person or a day changes. Also the most that an upstream's hint
    /// can ask for.
    pub long_wait: Duration,
    /// From how many lost connections in a row a key cools, while other keys on the same route are answered. At least
    /// two: a single one cannot be told from a loss that all share.
    pub failure_threshold: u32,
    /// From how many faults of a model in a row, within ten seconds, it is left alone on all keys.
    pub model_fault_threshold: u32,
    /// By how much of itself a wait may vary, 0 to 0.5: a backoff in both directions, an upstream's hint only
    /// upward and by at most a second.
    pub jitter: f64,
    /// How long the one probe after a cooldown may stay unsettled before another one is let through.
    pub probe_patience: Duration,
    /// How many requests may wait for a key at once.
    pub max_waiting: usize,
    /// How long one request may wait for a key. Zero: none ever waits.
    pub max_wait: Duration,
    /// What may be used of a project's models. Google's refusals teach further limits.
    pub limits: Vec<Limit>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            strategy: Strategy::RoundRobin,
            cooldown_initial: Duration::from_secs(30),
            cooldown_max: Duration::from_secs(60 * 60),
            rate_limit_default_wait: Duration::from_secs(15),
            long_wait: Duration::from_secs(24 * 60 * 60),
            failure_threshold: 3,
            model_fault_threshold: 10,
            jitter: 0.1,
            probe_patience: Duration::from_secs(60),
            max_waiting: 1_000,
            max_wait: Duration::from_secs(30),
            limits: Vec::new(),
        }
    }
}

impl Settings {
    /// The longest any setting may be: what lies beyond is a slip of the keyboard, and instants stay far from overflow.
    const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// The first setting that makes none, by its name.
    pub fn check(&self) -> Result<(), PoolError> {
        let refuse = |name, allowed| Err(PoolError::Setting { name, allowed });
        for (name, value) in [
            ("cooldown_initial", self.cooldown_initial),
            ("cooldown_max", self.cooldown_max),
            ("rate_limit_default_wait", self.rate_limit_default_wait),
            ("long_wait", self.long_wait),
            ("probe_patience", self.probe_patience),
        ] {
            if value.is_zero() || value > Self::LONGEST {
                return refuse(name, "more than zero and at most a year");
            }
        }
        if self.cooldown_initial > self.cooldown_max {
            return refuse("cooldown_initial", "at most cooldown_max");
        }
        if self.failure_threshold == 0 {
            return refuse("failure_threshold", "1 or more");
        }
        if self.model_fault_threshold == 0 {
            return refuse("model_fault_threshold", "1 or more");
        }
        if !(0.0..=0.5).contains(&self.jitter) {
            return refuse("jitter", "0 to 0.5");
        }
        if self.max_wait > Self::LONGEST {
            return refuse("max_wait", "at most a year");
        }
        if !self.limits.iter().all(Limit::makes_sense) {
            return refuse("limits", "one or more of rpm, tpm and rpd, each 1 or more");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_make_sense() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn nonsense_is_refused_by_the_name_of_the_setting() {
        type Spoil = fn(&mut Settings);
        let cases: [(&str, Spoil); 12] = [
            ("cooldown_initial", |s| s.cooldown_initial = Duration::ZERO),
            ("cooldown_initial", |s| s.cooldown_initial = s.cooldown_max * 2),
            ("cooldown_max", |s| s.cooldown_max = Duration::MAX),
            ("rate_limit_default_wait", |s| s.rate_limit_default_wait = Duration::ZERO),
            ("probe_patience", |s| s.probe_patience = Duration::ZERO),
            ("failure_threshold", |s| s.failure_threshold = 0),
            ("model_fault_threshold", |s| s.model_fault_threshold = 0),
            ("jitter", |s| s.jitter = 0.51),
            ("jitter", |s| s.jitter = f64::NAN),
            ("limits", |s| s.limits = vec![Limit::default()]),
            ("limits", |s| s.limits = vec![Limit { rpm: Some(0), tpm: Some(1), ..Limit::default() }]),
            ("max_wait", |s| s.max_wait = Duration::MAX),
        ];
        for (expected, spoil) in cases {
            let mut settings = Settings::default();
            spoil(&mut settings);
            match settings.check() {
                Err(PoolError::Setting { name, .. }) => assert_eq!(name, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
    }
}
