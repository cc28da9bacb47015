//! What is simulated: nodes, limits, loads, and what goes wrong.

use std::time::Duration;

use keypool::Limit;

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// What is simulated.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    /// Of each project.
    pub(crate) limits: Vec<Limit>,
    /// Requests of all nodes in a second.
    pub(crate) rate: f64,
    /// How unequal the nodes' loads are: 0 for equal.
    pub(crate) uneven: f64,
    /// Which part of the requests must go to a certain project.
    pub(crate) bound: f64,
    /// Input tokens of a request, at most.
    pub(crate) tokens: u64,
    /// Which part of the store's answers are lost, and which come late.
    pub(crate) lost: f64,
    pub(crate) late: f64,
    pub(crate) time: Duration,
    /// Before this nothing is measured.
    pub(crate) warm: Duration,
    pub(crate) fault: Option<Trouble>,
    /// Whether a node's wall clock is set ahead by an hour on the way.
    pub(crate) clock_set: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Trouble {
    /// The store is away from then on, so long; and has forgotten all when it is back.
    Away { from: Duration, lasts: Duration, forgets: bool },
    /// Some nodes do not reach it.
    Cut { from: Duration, lasts: Duration, nodes: usize },
    /// The first node dies.
    Kill { at: Duration },
    /// The first node stands still, while its clock goes on.
    Freeze { from: Duration, lasts: Duration },
}

pub(crate) fn rpm(rpm: u64) -> Limit {
    Limit { rpm: Some(rpm), ..Limit::default() }
}

impl Setup {
    /// What a limit allows in a minute.
    pub(crate) fn weight(limit: &Limit) -> u64 {
        limit.rpm.or(limit.tpm.map(|tpm| tpm / 100)).unwrap_or(10)
    }

    pub(crate) fn of(limits: Vec<Limit>, nodes: usize, load: f64) -> Self {
        let all: u64 = limits.iter().map(Self::weight).sum();
        Self {
            seed: 1,
            nodes,
            rate: load * all as f64 / 60.0,
            limits,
            uneven: 1.0,
            bound: 0.05,
            tokens: 0,
            lost: 0.0,
            late: 0.0,
            time: secs(200),
            warm: secs(80),
            fault: None,
            clock_set: false,
        }
    }
}

/// Limits as pools have them: many small, some middling, a few large.
pub(crate) fn mixed(projects: usize, seed: u64) -> Vec<Limit> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let limit = |_| {
        rpm(match rng.f64() {
            part if part < 0.4 => rng.u64(5..=15),
            part if part < 0.8 => rng.u64(60..=150),
            _ => rng.u64(300..=1_000),
        })
    };
    (0..projects).map(limit).collect()
}
