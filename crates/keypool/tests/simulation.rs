//! The pool against a model of Google that enforces requests a minute by project: how many requests meet a refusal when
//! the limits are known, when they are learnt, and when nobody counts.

mod stage;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use gemini::fault::{Kind, QuotaUnit, QuotaWindow, Wait};
use keypool::{Answer, Effect, Grant, LeaseRequest, Limit, Outcome, Settings};
use stage::{MODEL, Stage, labelled, model, over, place, secs};

/// Requests a minute, by project: free tiers and paid ones.
const RPM: [u64; 10] = [5, 10, 10, 15, 15, 30, 30, 60, 60, 120];
const MINUTES: u64 = 10;
const LOAD: f64 = 0.9;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Window {
    /// Of the clock's minutes; each project's begin at another second.
    Fixed,
    /// The sixty seconds before each request.
    Sliding,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Knows {
    /// The limits are configured.
    Limits,
    /// Refusals teach them.
    Refusals,
    /// Refusals name no limit, only a wait, as if nobody counted.
    Nothing,
}

/// What Google has let through of one project.
struct Project {
    window: Window,
    offset: Duration,
    rpm: u64,
    accepted: Vec<Duration>,
}

impl Project {
    /// Lets the request through, or says how long to wait.
    fn ask(&mut self, now: Duration) -> Result<(), Duration> {
        let minute = secs(60);
        let (begin, room) = match self.window {
            Window::Fixed => {
                let into = (now + self.offset).as_nanos() % minute.as_nanos();
                let into = Duration::from_nanos(u64::try_from(into).unwrap_or_default());
                (now.saturating_sub(into), minute.saturating_sub(into))
            }
            Window::Sliding => (now.saturating_sub(minute) + Duration::from_nanos(1), Duration::ZERO),
        };
        self.accepted.retain(|at| *at >= begin);
        if (self.accepted.len() as u64) < self.rpm {
            self.accepted.push(now);
            return Ok(());
        }
        let sliding = self.accepted.first().map_or(Duration::ZERO, |at| (*at + minute).saturating_sub(now));
        let wait = if self.window == Window::Fixed { room } else { sliding };
        // Google speaks in whole seconds.
        Err(secs(wait.as_secs() + 1))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Comes,
    /// It is at Google's door.
    Arrives(usize),
    Ends(usize),
}

#[derive(Debug)]
struct Budget {
    requests: u64,
    refused_by_google: u64,
    unserved: u64,
}

fn simulate(window: Window, knows: Knows, seed: u64) -> Budget {
    let limits = match knows {
        Knows::Limits => RPM
            .iter()
            .enumerate()
            .map(|(at, rpm)| Limit {
                project: Some(format!("p{at}").into()),
                rpm: Some(*rpm),
                ..Limit::default()
            })
            .collect(),
        Knows::Refusals | Knows::Nothing => Vec::new(),
    };
    let specs = (0..RPM.len()).map(|at| labelled(&format!("k{at}"), &format!("p{at}"))).collect();
    let mut stage = Stage::new(Settings { limits, max_waiting: 10_000, ..Settings::default() }, specs);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut google: Vec<_> = RPM
        .iter()
        .map(|rpm| Project { window, offset: secs(rng.u64(..60)), rpm: *rpm, accepted: Vec::new() })
        .collect();
    let mut grants: Vec<Grant> = Vec::new();
    let mut events = BinaryHeap::from([Reverse((stage.now.mono, Event::Comes))]);
    let mut budget = Budget { requests: 0, refused_by_google: 0, unserved: 0 };
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let mean_gap = 60.0 / (LOAD * RPM.iter().sum::<u64>() as f64);
    let end = stage.now.mono + secs(60 * MINUTES);
    let mut heard = 0;
    while let Some(Reverse((next, _))) = events.peek() {
        let at = stage.alarm.map_or(*next, |alarm| alarm.min(*next)).max(stage.now.mono);
        stage.pass(at.saturating_sub(stage.now.mono));
        let event = if *next <= at { events.pop().map(|Reverse((_, event))| event) } else { None };
        match event {
            None => {}
            Some(Event::Comes) if at >= end => {}
            Some(Event::Comes) => {
                budget.requests += 1;
                events.push(Reverse((
                    at + Duration::from_secs_f64(-mean_gap * (1.0 - rng.f64()).ln()),
                    Event::Comes,
                )));
                match stage.ask(&LeaseRequest::any(model(MODEL))) {
                    Answer::Granted(grant) => {
                        events.push(Reverse((at + way(&mut rng), Event::Arrives(grants.len()))));
                        grants.push(grant);
                    }
                    Answer::Waiting(_) => {}
                    Answer::Refused(_) => budget.unserved += 1,
                }
            }
            Some(Event::Arrives(which)) => match google[place(&grants[which].key)].ask(at) {
                Ok(()) => events.push(Reverse((at + secs(1), Event::Ends(which)))),
                Err(wait) => {
                    budget.refused_by_google += 1;
                    let rpm = RPM[place(&grants[which].key)];
                    let limit = (knows != Knows::Nothing).then_some(rpm);
                    let quotas = [(QuotaUnit::Requests, QuotaWindow::Minute, limit)];
                    let outcome = over(Kind::QuotaMinute, Wait::For(wait), &quotas);
                    stage.settle(&grants[which], MODEL, outcome);
                }
            },
            Some(Event::Ends(which)) => stage.settle(&grants[which], MODEL, Outcome::Success),
        }
        for (at, effect) in &stage.said[heard..] {
            match effect {
                Effect::Granted(_, grant) => {
                    events.push(Reverse((*at + way(&mut rng), Event::Arrives(grants.len()))));
                    grants.push(grant.clone());
                }
                Effect::Refused(..) => budget.unserved += 1,
                _ => {}
            }
        }
        heard = stage.said.len();
    }
    budget
}

/// To Google's door, in 20 to 120 ms.
fn way(rng: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(rng.u64(20..120))
}

#[test]
#[allow(clippy::print_stdout, reason = "the figures are worth reading: cargo test --locked -- --nocapture")]
fn with_limits_known_fewer_than_one_request_in_a_thousand_meets_a_refusal() {
    for window in [Window::Fixed, Window::Sliding] {
        let run = |knows| {
            let runs = (0..5).map(|seed| simulate(window, knows, seed));
            let zero = Budget { requests: 0, refused_by_google: 0, unserved: 0 };
            let sum = runs.fold(zero, |sum, run| Budget {
                requests: sum.requests + run.requests,
                refused_by_google: sum.refused_by_google + run.refused_by_google,
                unserved: sum.unserved + run.unserved,
            });
            println!("{window:?} windows, the pool knows {knows:?}: {sum:?}");
            sum
        };
        let known = run(Knows::Limits);
        let learnt = run(Knows::Refusals);
        let plain = run(Knows::Nothing);
        assert!(known.refused_by_google * 1_000 < known.requests, "{known:?}");
        assert!(known.unserved * 100 < known.requests, "{known:?}");
        assert!(learnt.refused_by_google < plain.refused_by_google, "{learnt:?}, {plain:?}");
    }
}
