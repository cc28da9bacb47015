//! A pool with its clocks, its alarm and what it has said so far: what its owner would be, in the tests.
#![allow(dead_code, reason = "each test file uses its own part of the stage")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's set-up may panic")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use gemini::fault::{Fault, Kind, Quota, QuotaUnit, QuotaWindow, Wait};
use keypool::{
    Answer, Draw, Drawn, Effect, Effects, Event, Grant, KeyId, KeySpec, LeaseRequest, Now, Outcome, Pool,
    Record, Refusal, Settings, Settlement, Ticket,
};

pub(crate) const MODEL: &str = "gemini-3.7-flash";

pub(crate) struct Stage {
    pub(crate) pool: Pool,
    pub(crate) now: Now,
    pub(crate) effects: Effects,
    pub(crate) alarm: Option<Duration>,
    /// When and what totals were to be kept: often, and beside the point of most tests.
    pub(crate) usage: Vec<(Duration, Record)>,
    /// All other effects so far but alarms, each with its time.
    pub(crate) said: Vec<(Duration, Effect)>,
}

/// No jitter: waits are exact.
pub(crate) fn exact() -> Settings {
    Settings { jitter: 0.0, ..Settings::default() }
}

#[allow(clippy::unnecessary_wraps, reason = "what requests and settlements take")]
pub(crate) fn model(name: &str) -> Option<Arc<str>> {
    Some(name.into())
}

pub(crate) fn fault(kind: Kind, wait: Wait) -> Outcome {
    Outcome::Fault(Fault { kind, wait, quotas: Vec::new(), project: None })
}

/// A refusal that names quotas: of what, over which window, and the limit.
pub(crate) fn over(kind: Kind, wait: Wait, quotas: &[(QuotaUnit, QuotaWindow, Option<u64>)]) -> Outcome {
    let quota = |(unit, window, limit): &(QuotaUnit, QuotaWindow, Option<u64>)| Quota {
        id: "".into(),
        unit: *unit,
        window: *window,
        limit: *limit,
        model: None,
    };
    Outcome::Fault(Fault { kind, wait, quotas: quotas.iter().map(quota).collect(), project: None })
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// `count` keys `k0`, `k1` ..., each its own project.
pub(crate) fn keys(count: usize) -> Vec<KeySpec> {
    (0..count).map(|at| KeySpec::new(format!("k{at}"))).collect()
}

pub(crate) fn labelled(id: &str, project: &str) -> KeySpec {
    KeySpec { project: Some(project.into()), ..KeySpec::new(id) }
}

pub(crate) fn wall(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The place of a key that [`keys`] has named.
pub(crate) fn place(key: &KeyId) -> usize {
    key.as_str().strip_prefix('k').and_then(|place| place.parse().ok()).expect("a key of `keys`")
}

/// What a store holds that obeys every `Persist`.
pub(crate) fn stored(stage: &Stage) -> Vec<Record> {
    let mut newest = HashMap::new();
    for (_, effect) in &stage.said {
        if let Effect::Persist(record) = effect {
            newest.insert(record.subject.clone(), record.clone());
        }
    }
    newest.into_values().filter(|record| !record.is_clear()).collect()
}

impl Stage {
    pub(crate) fn new(settings: Settings, keys: Vec<KeySpec>) -> Self {
        Self::at(wall("2026-07-15T20:00:00Z"), settings, keys)
    }

    pub(crate) fn at(wall: DateTime<Utc>, settings: Settings, keys: Vec<KeySpec>) -> Self {
        Self {
            pool: Pool::new(settings, keys, 1).unwrap(),
            now: Now { mono: secs(100), wall },
            effects: Effects::new(),
            alarm: None,
            usage: Vec::new(),
            said: Vec::new(),
        }
    }

    /// The pool's records but for totals.
    pub(crate) fn records(&self) -> Vec<Record> {
        let records = self.pool.records(self.now).into_iter();
        records.filter(|record| record.usage.is_none()).collect()
    }

    /// Gives the pool all that it asks for of the budgets that it shares. Of how many it has asked.
    pub(crate) fn draw_all(&mut self) -> usize {
        let given = |draw: Draw| Drawn {
            call: draw.call,
            project: draw.project,
            model: draw.model,
            given: draw.want,
            left: draw.want,
            opens_in: Duration::ZERO,
            closed_for: Duration::ZERO,
        };
        let replies: Vec<_> = self.pool.draws(self.now).into_iter().map(given).collect();
        let count = replies.len();
        self.pool.drawn(replies, self.now, &mut self.effects);
        self.take();
        count
    }

    pub(crate) fn take(&mut self) {
        for effect in self.effects.drain() {
            match effect {
                Effect::WakeAt(at) => self.alarm = Some(at),
                Effect::Persist(record) if record.usage.is_some() => self.usage.push((self.now.mono, record)),
                effect => self.said.push((self.now.mono, effect)),
            }
        }
    }

    /// Lets time pass, waking the pool at each alarm on the way and nowhere else.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(at) = self.alarm.filter(|at| *at <= end) {
            self.alarm = None;
            self.jump(at.saturating_sub(self.now.mono));
            self.pool.wake(self.now, &mut self.effects);
            self.take();
        }
        self.jump(end.saturating_sub(self.now.mono));
    }

    /// Lets time pass unseen.
    pub(crate) fn jump(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.wall += time;
    }

    pub(crate) fn ask(&mut self, request: &LeaseRequest) -> Answer {
        let answer = self.pool.lease(request, self.now, &mut self.effects);
        self.take();
        answer
    }

    pub(crate) fn lease(&mut self, name: &str) -> Grant {
        match self.ask(&LeaseRequest::any(model(name))) {
            Answer::Granted(grant) => grant,
            other => panic!("{name}: {other:?}"),
        }
    }

    pub(crate) fn wait(&mut self, name: &str) -> Ticket {
        match self.ask(&LeaseRequest::any(model(name))) {
            Answer::Waiting(ticket) => ticket,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// The refusal of a request that would not wait.
    pub(crate) fn refusal(&mut self, name: &str) -> Refusal {
        match self.ask(&LeaseRequest { may_wait: false, ..LeaseRequest::any(model(name)) }) {
            Answer::Refused(refusal) => refusal,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Until the first key is back for this model, from a refusal.
    pub(crate) fn back_in(&mut self, name: &str) -> Duration {
        match self.refusal(name) {
            Refusal::Cooling { back_in, .. } => back_in,
            other => panic!("{name}: {other:?}"),
        }
    }

    pub(crate) fn settle(&mut self, grant: &Grant, name: &str, outcome: Outcome) {
        let settlement = Settlement {
            lease: grant.lease,
            key: grant.key.clone(),
            model: model(name),
            outcome,
            input_tokens: None,
            output_tokens: None,
        };
        self.pool.settle(&settlement, self.now, &mut self.effects);
        self.take();
    }

    /// Settles with the tokens that the upstream counted.
    pub(crate) fn settle_tokens(&mut self, grant: &Grant, name: &str, input_tokens: u64) {
        let settlement = Settlement {
            lease: grant.lease,
            key: grant.key.clone(),
            model: model(name),
            outcome: Outcome::Success,
            input_tokens: Some(input_tokens),
            output_tokens: None,
        };
        self.pool.settle(&settlement, self.now, &mut self.effects);
        self.take();
    }

    pub(crate) fn vouch(&mut self, grant: &Grant, name: &str) {
        self.pool.vouch(grant.lease, &grant.key, &model(name), self.now, &mut self.effects);
        self.take();
    }

    /// Leases and settles at once; the key that was used.
    pub(crate) fn serve(&mut self, name: &str, outcome: Outcome) -> KeyId {
        let grant = self.lease(name);
        self.settle(&grant, name, outcome);
        grant.key
    }

    pub(crate) fn reset(&mut self, id: &str) {
        self.pool.reset(&id.into(), self.now, &mut self.effects).unwrap();
        self.take();
    }

    pub(crate) fn disable(&mut self, id: &str) {
        self.pool.disable(&id.into(), self.now, &mut self.effects).unwrap();
        self.take();
    }

    pub(crate) fn enable(&mut self, id: &str) {
        self.pool.enable(&id.into(), self.now, &mut self.effects).unwrap();
        self.take();
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.said
            .iter()
            .filter_map(|(_, effect)| match effect {
                Effect::Log(event) => Some(event.to_string()),
                _ => None,
            })
            .collect()
    }

    /// How long each cooldown so far was announced to last.
    pub(crate) fn waits(&self) -> Vec<Duration> {
        self.said
            .iter()
            .filter_map(|(_, effect)| match effect {
                Effect::Log(Event::Cooling { wait, .. }) => Some(*wait),
                _ => None,
            })
            .collect()
    }

    /// The answers to waiting requests so far: when, whose, and what.
    pub(crate) fn answers(&self) -> Vec<(Duration, Ticket, Result<KeyId, Refusal>)> {
        self.said
            .iter()
            .filter_map(|(at, effect)| match effect {
                Effect::Granted(ticket, grant) => Some((*at, *ticket, Ok(grant.key.clone()))),
                Effect::Refused(ticket, refusal) => Some((*at, *ticket, Err(refusal.clone()))),
                _ => None,
            })
            .collect()
    }

    /// The grant that a waiting request got.
    pub(crate) fn grant_of(&self, ticket: Ticket) -> Grant {
        let mut grants = self.said.iter().filter_map(|(_, effect)| match effect {
            Effect::Granted(to, grant) if *to == ticket => Some(grant.clone()),
            _ => None,
        });
        let grant = grants.next().expect("no grant");
        assert!(grants.next().is_none(), "two grants");
        grant
    }
}
