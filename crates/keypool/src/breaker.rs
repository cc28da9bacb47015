//! The health of one model as a whole, on all keys: how much of its load may be retries, and whether it is asked at all.
//! After many faults in a row it is left alone for a pause that grows, and one probe at a time finds out when it is back.
//! Nothing of it outlives the process: Google's bad minutes are short. Where other nodes share the pool, that a model is
//! given up is told and heard; what is counted is each node's own.

use std::time::Duration;

use fastrand::Rng;

use crate::answer::Refusal;
use crate::fact::SAME_MOMENT;
use crate::ids::Order;
use crate::lease_request::Retry;
use crate::settings::Settings;

/// Seconds over which load and faults are looked at.
const WINDOW: u64 = 10;
const BUCKETS: usize = 10;
/// Retries that are always allowed within the window.
const FREE_RETRIES: u32 = 3;
/// So many first attempts pay for one retry. A retry that works pays for as many, itself among them: as long as one in
/// five works, retries are worth their price, and the model's clients need not notice that it fails.
const PRICE_OF_RETRY: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The step of the longest pause: what another node says of steps beyond it makes no difference.
const LAST_STEP: u32 = 5;
/// What is said of a model whose probe is out: its report may come at any moment.
const PROBE_GUESS: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Breaker {
    load: Load,
    /// Faults of the model since its last success.
    run: u32,
    down: Option<Down>,
    /// Until when the upstream has asked to be left alone.
    asked: Duration,
    /// Leases before this one were granted before the model was last given up: their reports are late.
    from: Order,
}

/// The model is given up for now.
#[derive(Clone, Copy, Debug)]
struct Down {
    until: Duration,
    /// How many pauses there were before this one.
    step: u32,
    /// The lease that finds out, and until when its report is awaited.
    probe: Option<(Order, Duration)>,
}

/// What became of a request, as far as the model is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Served,
    /// Overloaded or broken; perhaps with the time that the upstream asks for.
    Failed(Option<Duration>),
    /// Nothing is known.
    Unknown,
}

/// A lease that came back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Back {
    pub verdict: Verdict,
    /// Whether it was a retry.
    pub retry: Retry,
    pub lease: Order,
    /// The lease to be granted next.
    pub next: Order,
}

/// How a report changed things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    None,
    /// The model is left alone for so long.
    Down(Duration),
    Back,
}

impl Breaker {
    /// Why this request is not let through, if it is not.
    pub(crate) fn refuses(&self, retry: Retry, now: Duration) -> Option<Refusal> {
        if let Some(Down { until, probe, .. }) = self.down {
            let awaited = probe.is_some_and(|(_, patience)| now < patience);
            if now < until || awaited {
                let back_in = if now < until { until.saturating_sub(now) } else { PROBE_GUESS };
                return Some(Refusal::ModelDown { back_in });
            }
        }
        if retry == Retry::ModelFault {
            let Counts { requests, retries, worked, .. } = self.load.total(now);
            let paid = worked.saturating_mul(PRICE_OF_RETRY);
            if retries >= FREE_RETRIES.max(requests / PRICE_OF_RETRY).saturating_add(paid) {
                return Some(Refusal::RetryBudget);
            }
        }
        None
    }

    /// Counts a lease that was let through. Whether it is the model's probe.
    pub(crate) fn grant(&mut self, retry: Retry, lease: Order, now: Duration, patience: Duration) -> bool {
        self.load.add(now, |counts| match retry {
            Retry::No => &mut counts.requests,
            Retry::ModelFault => &mut counts.retries,
        });
        match &mut self.down {
            Some(down) => {
                down.probe = Some((lease, now + patience));
                true
            }
            None => false,
        }
    }

    /// The head of the answer was good.
    pub(crate) fn vouch(&mut self, lease: Order) -> Turn {
        if lease < self.from {
            return Turn::None;
        }
        self.run = 0;
        self.asked = Duration::ZERO;
        if self.down.take().is_some() { Turn::Back } else { Turn::None }
    }

    /// A lease came back.
    pub(crate) fn settle(&mut self, back: Back, now: Duration, settings: &Settings, rng: &mut Rng) -> Turn {
        let Back { verdict, retry, lease, next } = back;
        if let Some(Down { probe, .. }) = &mut self.down
            && probe.is_some_and(|(probe, _)| probe == lease)
        {
            *probe = None;
        }
        match verdict {
            Verdict::Unknown => Turn::None,
            Verdict::Served => {
                self.load.add(now, |counts| &mut counts.served);
                if retry == Retry::ModelFault {
                    self.load.add(now, |counts| &mut counts.worked);
                }
                self.vouch(lease)
            }
            Verdict::Failed(_) if lease < self.from => Turn::None,
            Verdict::Failed(asked) => {
                self.load.add(now, |counts| &mut counts.failed);
                self.run = self.run.saturating_add(1);
                if let Some(asked) = asked {
                    self.asked = self.asked.max(now + asked.min(settings.cooldown_max));
                }
                let Counts { served, failed, .. } = self.load.total(now);
                let many = self.run.min(failed) >= settings.model_fault_threshold;
                let step = match self.down {
                    Some(down) => down.step + 1,
                    // In a row, and the more so since few of those that came between were served.
                    None if many && u64::from(served) * 10 < u64::from(served) + u64::from(failed) => 0,
                    None => return Turn::None,
                };
                let pause = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(step)).min(LONGEST_PAUSE);
                let jittered = pause.mul_f64(1.0 + settings.jitter * (2.0 * rng.f64() - 1.0));
                let until = self.asked.max(now + jittered);
                self.down = Some(Down { until, step, probe: None });
                self.from = next;
                Turn::Down(until.saturating_sub(now))
            }
        }
    }

    /// Another node has given the model up until then, which is half a minute off at most. `next` is the lease to be granted
    /// next. What this node has given up for longer stays so.
    pub(crate) fn hear_down(&mut self, until: Duration, step: u32, next: Order, now: Duration) -> Turn {
        if self.down.is_some_and(|down| until <= down.until.saturating_add(SAME_MOMENT)) {
            return Turn::None;
        }
        let step = self.down.map_or(0, |down| down.step).max(step.min(LAST_STEP));
        self.down = Some(Down { until, step, probe: None });
        self.from = next;
        Turn::Down(until.saturating_sub(now))
    }

    /// Another node's probe was served.
    pub(crate) fn hear_back(&mut self) -> Turn {
        if self.down.take().is_none() {
            return Turn::None;
        }
        self.run = 0;
        self.asked = Duration::ZERO;
        Turn::Back
    }

    /// Returns until when other nodes are told that it is given up, and after how many pauses, if it is and that is not past.
    pub(crate) fn to_tell(&self, now: Duration) -> Option<(Duration, u32)> {
        let Down { until, step, .. } = self.down.filter(|down| now < down.until)?;
        Some((until.min(now + LONGEST_PAUSE), step))
    }

    /// Whether it is given up, and until when; that may be past, when a probe is due or out.
    pub(crate) fn down_until(&self) -> Option<Duration> {
        self.down.map(|down| down.until)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Requests of the window, their retries not counted.
    requests: u32,
    retries: u32,
    /// The retries that were served.
    worked: u32,
    served: u32,
    failed: u32,
}

/// Counts of the last seconds, in a ring of one bucket a second.
#[derive(Debug, Default)]
struct Load {
    newest: u64,
    /// The place of the newest second's bucket.
    place: usize,
    buckets: [Counts; BUCKETS],
}

impl Load {
    fn at(second: u64) -> usize {
        // The remainder is below ten.
        usize::try_from(second % WINDOW).unwrap_or_default()
    }

    fn add(&mut self, now: Duration, which: impl Fn(&mut Counts) -> &mut u32) {
        let second = now.as_secs();
        if second > self.newest {
            for passed in (self.newest + 1..=second).take(BUCKETS) {
                self.buckets[Self::at(passed)] = Counts::default();
            }
            self.newest = second;
            self.place = Self::at(second);
        }
        let count = which(&mut self.buckets[self.place]);
        *count = count.saturating_add(1);
    }

    fn total(&self, now: Duration) -> Counts {
        let oldest = now.as_secs().max(self.newest).saturating_sub(WINDOW - 1);
        let mut total = Counts::default();
        for second in oldest..=self.newest {
            let Counts { requests, retries, worked, served, failed } = self.buckets[Self::at(second)];
            total.requests = total.requests.saturating_add(requests);
            total.retries = total.retries.saturating_add(retries);
            total.worked = total.worked.saturating_add(worked);
            total.served = total.served.saturating_add(served);
            total.failed = total.failed.saturating_add(failed);
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_forgets_what_is_ten_seconds_old() {
        let mut load = Load::default();
        let at = |secs| Duration::from_secs(secs);
        for second in [3, 3, 7, 12] {
            load.add(at(second), |counts| &mut counts.requests);
        }
        let requests = |now| load.total(at(now)).requests;
        assert_eq!((requests(12), requests(13), requests(16), requests(17)), (4, 2, 2, 1));
        assert_eq!(requests(22), 0);
        load.add(at(1_000), |counts| &mut counts.failed);
        assert_eq!(load.total(at(1_000)), Counts { failed: 1, ..Counts::default() });
    }
}
