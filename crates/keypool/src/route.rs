//! The way to the upstream, which all keys share: one host, through its proxy. Faults of the way there count against it
//! and against no key; while it fails, one request a second finds out whether it is back, and no more go. Nothing of it
//! outlives the process. The desk asks it before every lease and tells it of every report.

use std::time::Duration;

use crate::ids::{KeyIx, Order};
use crate::moves::Moves;

/// So many faults in a row close the route. A request makes three attempts by default, so one that breaks whatever it
/// passes through does not close the route by itself.
const RUN: u32 = 5;
/// What was under way when a run began may have broken with the first of it, a hundred streams at once: that says
/// nothing of the route as it is now. So long after the first fault every further one counts.
const ONE_BLOW: Duration = Duration::from_secs(1);
/// A fault that comes so long after the last one begins a new run: nobody has used the route in between.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// How often a request goes through while the route is down.
const PROBE_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Route {
    run: Option<Run>,
    /// Set while the route is down: when the next request may go through.
    next_probe: Option<Duration>,
}

/// Faults of the route without an answer of Google's between them.
#[derive(Clone, Copy, Debug)]
struct Run {
    began: Duration,
    last: Duration,
    /// Leases from this one on were granted after the first fault.
    from: Order,
    counted: u32,
    /// The key that met the first one; `None` once it is gone.
    first: Option<KeyIx>,
    /// Whether another key has met one as well.
    several: bool,
}

/// A fault of the route, as a lease met it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mishap {
    pub key: KeyIx,
    pub lease: Order,
    /// The lease to be granted next.
    pub next: Order,
    /// Whether the answer's head had come before.
    pub after_head: bool,
}

impl Route {
    /// Returns until when a request is not let through, if it is not.
    pub(crate) fn refuses(&self, now: Duration) -> Option<Duration> {
        self.next_probe.and_then(|at| at.checked_sub(now)).filter(|back_in| !back_in.is_zero())
    }

    /// Moves what is known of keys to their present places.
    pub(crate) fn move_keys(&mut self, moves: &Moves) {
        if let Some(run) = &mut self.run {
            run.first = run.first.and_then(|key| moves.of(key));
        }
    }

    pub(crate) fn is_down(&self) -> bool {
        self.next_probe.is_some()
    }

    /// Whether it would gladly hear of a good head before the answer's end.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.run.is_some() || self.is_down()
    }

    /// Counts a lease that was let through, and returns whether it finds out if the route is back. The next one goes a
    /// second later, whatever becomes of this.
    pub(crate) fn grant(&mut self, now: Duration) -> bool {
        if let Some(next_probe) = &mut self.next_probe {
            *next_probe = now + PROBE_EVERY;
        }
        self.is_down()
    }

    /// Google has answered, whatever it said. Returns whether that opens the route.
    pub(crate) fn answered(&mut self) -> bool {
        self.run = None;
        self.next_probe.take().is_some()
    }

    /// A lease has met a fault of the route. Returns whether that closes it. `alone` says whether there is only one key
    /// that could meet any.
    pub(crate) fn fail(&mut self, mishap: Mishap, now: Duration, alone: impl FnOnce() -> bool) -> bool {
        let Mishap { key, lease, next, after_head } = mishap;
        let mut run = match self.run {
            // Its head came after the run began: the route worked in between.
            Some(run) if after_head && lease >= run.from => Run::begin(key, next, now),
            Some(run) if now.saturating_sub(run.last) < FORGOTTEN => {
                let counts = lease >= run.from || now.saturating_sub(run.began) >= ONE_BLOW;
                let counted = run.counted.saturating_add(u32::from(counts));
                Run { last: now, counted, several: run.several || Some(key) != run.first, ..run }
            }
            _ => Run::begin(key, next, now),
        };
        run.last = now;
        self.run = Some(run);
        let closes = !self.is_down() && run.counted >= RUN && (run.several || alone());
        if closes {
            // The next request is the first to find out.
            self.next_probe = Some(now);
        }
        closes
    }
}

impl Run {
    fn begin(key: KeyIx, next: Order, now: Duration) -> Self {
        Self { began: now, last: now, from: next, counted: 1, first: Some(key), several: false }
    }
}
