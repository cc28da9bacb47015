//! One cooldown: of a key, of a project, or of a model in a project. When it begins, how long it lasts, the single
//! probe after it, and what a late report may still change. Knows nothing of what it is the cooldown of; its parent holds
//! them and turns their answers into bits.

use std::time::Duration;

use fastrand::Rng;
use gemini::fault::Wait;
use meter::{Now, Parted, daily_reset};

use super::probe_turn::ProbeTurn;
use crate::company::Company;
use crate::ids::Order;
use crate::reason::Reason;
use crate::settings::Settings;

/// The least an upstream's hint is taken for: Google has been seen to ask for zero seconds.
const SHORTEST_HINT: Duration = Duration::from_secs(1);
/// A running cooldown's end moves only for more than this, else a hundred late reports would move it a hundred times.
const WORTH_MOVING: Duration = Duration::from_secs(1);
/// How long after a daily reset the probe's answer "daily quota used up" means that Google's clock has not struck yet,
/// not that another day is lost.
const RESET_GRACE: Duration = Duration::from_secs(10 * 60);

#[derive(Clone, Debug, Default)]
pub(crate) enum Cooldown {
    /// Nothing is wrong.
    #[default]
    Open,
    /// Left alone until then.
    Cooling { until: Duration, daily: bool, streak: Streak },
    /// The wait is over. One lease at a time is let through, until one succeeds.
    Probation { since: Duration, probe: ProbeTurn, streak: Streak },
    /// Left alone until the operator resets it.
    Retired { reason: Reason },
}

/// The cooldowns in a row without a success between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streak {
    /// Steps of the backoff so far.
    pub steps: u32,
    /// Leases before this one were granted before the present cooldown: their reports are late.
    pub from: Order,
    pub reason: Reason,
    /// When the last daily reset of this streak was.
    reset: Option<Duration>,
}

/// A fault that blames what this is the cooldown of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Penalty {
    pub wait: Wait,
    pub reason: Reason,
    /// The lease that met the fault.
    pub lease: Order,
    /// The lease to be granted next.
    pub next: Order,
}

/// What a penalty began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Struck {
    /// Cools until then (monotonic).
    Cools(Duration),
    Retired,
}

/// What the passing of time did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    Nothing,
    /// The cooldown is over; if nobody tries, all of it is forgotten at that time.
    Over {
        forget_at: Duration,
    },
    /// The probe was too long in coming back, or whoever's turn it was did not use it: another one may go.
    TurnOver,
    /// Nobody tried for so long that the streak is forgotten.
    Forgotten,
}

impl Cooldown {
    /// A cooldown as it was stored, still running.
    pub(crate) fn restored(until: Duration, daily: bool, steps: u32, reason: Reason) -> Self {
        // Order 1 is the first lease of this incarnation: reports about older ones are late.
        Self::Cooling { until, daily, streak: Streak { steps, from: 1, reason, reset: None } }
    }

    /// A cooldown that ended while nobody was there to see it.
    pub(crate) fn restored_over(since: Duration, steps: u32, reason: Reason) -> Self {
        let streak = Streak { steps, from: 1, reason, reset: None };
        Self::Probation { since, probe: ProbeTurn::Next, streak }
    }

    /// Says from which lease on reports are not late.
    #[must_use]
    pub(crate) fn with_late_before(mut self, next: Order) -> Self {
        if let Self::Cooling { streak, .. } | Self::Probation { streak, .. } = &mut self {
            streak.from = next;
        }
        self
    }

    /// Whether a lease may be granted.
    pub(crate) fn admits(&self) -> bool {
        match self {
            Self::Open => true,
            Self::Probation { probe, .. } => probe.admits(),
            Self::Cooling { .. } | Self::Retired { .. } => false,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Whether it says something of this node's own network and nothing of what it is the cooldown of.
    pub(crate) fn is_local(&self) -> bool {
        self.streak().is_some_and(|streak| streak.reason == Reason::Transport)
    }

    pub(crate) fn is_retired(&self) -> bool {
        matches!(self, Self::Retired { .. })
    }

    /// Returns why it is retired, if it is.
    pub(crate) fn retired_for(&self) -> Option<Reason> {
        match self {
            Self::Retired { reason } => Some(*reason),
            Self::Open | Self::Cooling { .. } | Self::Probation { .. } => None,
        }
    }

    pub(crate) fn streak(&self) -> Option<&Streak> {
        match self {
            Self::Cooling { streak, .. } | Self::Probation { streak, .. } => Some(streak),
            Self::Open | Self::Retired { .. } => None,
        }
    }

    /// Of two cooldowns of what is now one, the longer.
    pub(crate) fn or_longer(self, other: Self) -> Self {
        // Which of the two would be back later.
        let rank = |cooldown: &Self| match cooldown {
            Self::Open => (0, Duration::ZERO),
            Self::Probation { probe, .. } => (1, probe.ends_at().unwrap_or_default()),
            Self::Cooling { until, .. } => (2, *until),
            Self::Retired { .. } => (3, Duration::ZERO),
        };
        if rank(&other) > rank(&self) { other } else { self }
    }

    /// When this may let a lease through. `None` for never.
    pub(crate) fn back_at(&self, now: Duration) -> Option<Duration> {
        match self {
            Self::Open => Some(now),
            Self::Probation { probe, .. } => Some(probe.back_at(now)),
            Self::Cooling { until, .. } => Some(*until),
            Self::Retired { .. } => None,
        }
    }

    /// When the passing of time may change this next.
    pub(crate) fn changes_at(&self, settings: &Settings) -> Option<Duration> {
        match self {
            Self::Open | Self::Retired { .. } => None,
            Self::Cooling { until, .. } => Some(*until),
            Self::Probation { since, probe, .. } => {
                Some(probe.ends_at().unwrap_or(*since + settings.cooldown_max))
            }
        }
    }

    /// Lets time pass. `pause` is how long a node waits that cannot ask the others who probes.
    pub(crate) fn pass(
        &mut self,
        now: Duration,
        settings: &Settings,
        company: Company,
        pause: Duration,
    ) -> Passed {
        let is_local = self.is_local();
        match self {
            Self::Cooling { until, daily, streak } if *until <= now => {
                let reset = if *daily { Some(*until) } else { streak.reset };
                let company = if is_local { Company::None } else { company };
                let probe = ProbeTurn::first(company, now, pause);
                // From now, not from the end: a wake that comes late must not forget what it just learnt.
                *self = Self::Probation { since: now, probe, streak: Streak { reset, ..*streak } };
                Passed::Over { forget_at: now + settings.cooldown_max }
            }
            Self::Probation { probe, .. } if probe.ends_at().is_some_and(|ends| ends <= now) => {
                *probe = probe.after();
                Passed::TurnOver
            }
            Self::Probation { since, probe: ProbeTurn::Next | ProbeTurn::Unclaimed, .. }
                if *since + settings.cooldown_max <= now =>
            {
                *self = Self::Open;
                Passed::Forgotten
            }
            _ => Passed::Nothing,
        }
    }

    /// Changes whose turn to probe it is, where that is the question and not this node's own matter.
    pub(crate) fn turn_mut(&mut self) -> Option<&mut ProbeTurn> {
        if self.is_local() {
            return None;
        }
        match self {
            Self::Probation { probe, .. } => Some(probe),
            Self::Open | Self::Cooling { .. } | Self::Retired { .. } => None,
        }
    }

    /// Returns whose turn to probe it is, where that is the question.
    pub(crate) fn turn(&self) -> Option<ProbeTurn> {
        match self {
            Self::Probation { probe, .. } => Some(*probe),
            Self::Open | Self::Cooling { .. } | Self::Retired { .. } => None,
        }
    }

    /// Whether nobody has claimed the probe yet.
    pub(crate) fn is_unclaimed(&self) -> bool {
        self.turn() == Some(ProbeTurn::Unclaimed)
    }

    /// Moves the end of a day to where the wall clock shows it now, and returns it.
    pub(crate) fn follow_wall(&mut self, parted: Parted, now: Now) -> Option<Duration> {
        let Self::Cooling { until, daily: true, .. } = self else { return None };
        *until = parted.day_end(*until, now);
        Some(*until)
    }

    /// Makes this lease the probe, whose report is awaited until then. Whether one was wanted.
    pub(crate) fn take_probe(&mut self, lease: Order, until: Duration) -> bool {
        match self {
            Self::Probation { probe, .. } if probe.admits() => {
                *probe = ProbeTurn::Out { lease, until, claimed: probe.is_claimed_here() };
                true
            }
            _ => false,
        }
    }

    /// The lease came back without saying anything about this cooldown. Whether it was the probe.
    pub(crate) fn release_probe(&mut self, lease: Order) -> bool {
        match self {
            Self::Probation { probe, .. } if matches!(*probe, ProbeTurn::Out { lease: out, .. } if out == lease) =>
            {
                *probe = probe.after();
                true
            }
            _ => false,
        }
    }

    /// The lease succeeded. Whether that ends the streak: a success that was under way before the cooldown began says
    /// nothing about it, and a running cooldown is never lifted.
    pub(crate) fn succeed(&mut self, lease: Order) -> bool {
        let over = matches!(self, Self::Probation { streak, .. } if lease >= streak.from);
        if over {
            *self = Self::Open;
        }
        over
    }

    /// Takes a penalty. `None` when it changes nothing.
    pub(crate) fn strike(
        &mut self,
        penalty: Penalty,
        now: Now,
        settings: &Settings,
        rng: &mut Rng,
    ) -> Option<Struck> {
        let Penalty { wait, reason, lease, next } = penalty;
        if self.is_retired() {
            return None;
        }
        let before = self.streak().copied();
        let late = before.is_some_and(|streak| lease < streak.from);
        let mut steps = before.map_or(0, |streak| streak.steps);
        let reset = before.and_then(|streak| streak.reset);
        let reset_just_now = reset.is_some_and(|at| now.mono < at + RESET_GRACE);
        let mut daily = false;
        let wait = match wait {
            Wait::None => return None,
            Wait::Retire => {
                *self = Self::Retired { reason };
                return Some(Struck::Retired);
            }
            Wait::For(hint) => hinted(hint, settings, rng),
            Wait::Long => settings.long_wait,
            Wait::DailyReset if !reset_just_now => {
                daily = true;
                daily_reset::until_next(now.wall)
            }
            // One step for a cooldown, however many requests were under way when it began.
            Wait::DailyReset | Wait::Backoff if late => return None,
            Wait::DailyReset | Wait::Backoff => {
                steps = steps.saturating_add(1);
                backoff(steps, reason, settings, rng)
            }
        };
        let until = now.mono + wait;
        if matches!(self, Self::Cooling { until: running, .. } if until <= *running + WORTH_MOVING) {
            return None;
        }
        *self = Self::Cooling { until, daily, streak: Streak { steps, from: next, reason, reset } };
        Some(Struck::Cools(until))
    }
}

/// What the upstream asked for, and a little more so that not all who wait come back in the same instant.
fn hinted(hint: Duration, settings: &Settings, rng: &mut Rng) -> Duration {
    let hint = hint.clamp(SHORTEST_HINT, settings.long_wait.max(SHORTEST_HINT));
    let spread = hint.mul_f64(settings.jitter).min(Duration::from_secs(1));
    hint + spread.mul_f64(rng.f64())
}

/// The `step`-th wait, from 1: twice as long as the one before, up to the maximum.
fn backoff(step: u32, reason: Reason, settings: &Settings, rng: &mut Rng) -> Duration {
    let first =
        if reason.is_rate_limit() { settings.rate_limit_default_wait } else { settings.cooldown_initial };
    let factor = 2u32.saturating_pow(step.saturating_sub(1));
    let wait = first.saturating_mul(factor).min(settings.cooldown_max);
    wait.mul_f64(1.0 + settings.jitter * (2.0 * rng.f64() - 1.0))
}
