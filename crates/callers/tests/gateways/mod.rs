//! Gateways with one caller, and what they share: what the cluster would carry between them, in the tests.
#![allow(dead_code, reason = "each test file uses its own part of them")]
#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use callers::{
    CallerLimits, CallerSpec, Denial, Directory, Door, Estimate, InstanceKey, MinuteReply, ModelShown, Pass,
    PeriodChange, PeriodReply, Registered, UseReply, Used,
};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use gemini::path::Surface;
use meter::{Amount, Now};

/// What a second's use counts for: the rest of that second, and a whole minute.
pub(crate) const COUNTS_S: u64 = 61;
pub(crate) const PRICE: u64 = 1_000;

pub(crate) fn at(mono: Duration) -> Now {
    let start: DateTime<Utc> = "2026-02-27T21:00:00Z".parse().unwrap();
    Now { mono, wall: start + mono }
}

/// Requests, tokens, money.
pub(crate) type Sums = [i64; 3];

pub(crate) fn used(sums: Sums) -> Used {
    let [requests, tokens, money] = sums.map(|sum| u64::try_from(sum).unwrap_or_default());
    Used { requests, tokens, money }
}

/// Whose sums they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Of {
    All,
    Life(usize),
    Book(usize),
}

/// What all gateways add to, as it is shared.
#[derive(Default)]
pub(crate) struct Place {
    pub(crate) run: u64,
    /// Second, requests, tokens.
    pub(crate) minute: Vec<(u64, i64, i64)>,
    pub(crate) periods: HashMap<(&'static str, NaiveDate, Of), Sums>,
    /// The books of lives that were not the first with theirs.
    pub(crate) books: HashMap<usize, usize>,
}

impl Place {
    pub(crate) fn add(&mut self, kind: &'static str, gateway: usize, change: &PeriodChange) -> PeriodReply {
        let own = [change.requests, change.tokens, change.money];
        let Used { requests, tokens, money } = change.former;
        let former = [requests, tokens, money].map(|sum| i64::try_from(sum).unwrap());
        let mut add = |of: Of| {
            let sums: &mut Sums = self.periods.entry((kind, change.first, of)).or_default();
            for ((sum, own), former) in sums.iter_mut().zip(own).zip(former) {
                *sum += own + if matches!(of, Of::Life(_)) { 0 } else { former };
            }
            *sums
        };
        let book = self.books.get(&gateway).copied().unwrap_or(gateway);
        let (total, own, book) = (add(Of::All), add(Of::Life(gateway)), add(Of::Book(book)));
        let former = [0, 1, 2].map(|at| book[at] - own[at]);
        PeriodReply { total: used(total), own: used(own), former: Some(used(former)) }
    }

    /// Carries one report there, and the reply back unless that is lost.
    pub(crate) fn tell(
        &mut self,
        gateway: usize,
        gateways: usize,
        caller: &Registered,
        now: Duration,
        is_lost: bool,
    ) {
        let Some(report) = caller.report(at(now)) else { panic!("there are others") };
        let minute = report.minute.as_ref().map(|changes| {
            let booked = changes.iter().map(|change| {
                (now.as_secs().saturating_sub(change.age.as_secs()), change.requests, change.tokens)
            });
            self.minute.extend(booked);
            let counted = self.minute.iter().filter(|(second, ..)| second + COUNTS_S > now.as_secs());
            let sum = counted.fold((0, 0), |sum, (_, requests, tokens)| (sum.0 + requests, sum.1 + tokens));
            let count = |count: i64| u64::try_from(count).unwrap_or_default();
            MinuteReply { total: Amount { requests: count(sum.0), tokens: count(sum.1) }, run: self.run }
        });
        let day = report.day.as_ref().map(|change| self.add("day", gateway, change));
        let month = report.month.as_ref().map(|change| self.add("month", gateway, change));
        let reply = UseReply { gateways: gateways as u64, minute, day, month };
        caller.hear(report, &if is_lost { UseReply::default() } else { reply }, at(now));
    }
}

pub(crate) fn gateway(limits: CallerLimits) -> Arc<Registered> {
    let directory = Directory::new(InstanceKey::new(&[7; 32]), Tz::UTC);
    directory.share();
    directory.set_given([(CallerSpec { limits, ..CallerSpec::new("alice") }, &b"secret"[..])]);
    directory.identify(b"secret", at(Duration::ZERO).wall).unwrap().caller
}

/// Gateways, and what they share.
pub(crate) struct Cluster {
    pub(crate) place: Place,
    pub(crate) gateways: Vec<Arc<Registered>>,
    pub(crate) now: Duration,
}

impl Cluster {
    pub(crate) fn new(limits: CallerLimits, count: usize) -> Self {
        let gateways = (0..count).map(|_| gateway(limits)).collect();
        Self { place: Place::default(), gateways, now: Duration::from_secs(100) }
    }

    pub(crate) fn tell(&mut self, gateway: usize) {
        let count = self.gateways.len();
        self.place.tell(gateway, count, &self.gateways[gateway], self.now, false);
    }

    /// All tell each other all they know, and hear it.
    pub(crate) fn tell_all(&mut self) {
        for _ in 0..3 {
            (0..self.gateways.len()).for_each(|gateway| self.tell(gateway));
        }
    }

    /// Lets time pass. What is news is told four times a second.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        if time < Duration::from_millis(250) {
            return;
        }
        for gateway in 0..self.gateways.len() {
            if self.gateways[gateway].has_news(at(self.now)) {
                self.tell(gateway);
            }
        }
    }

    /// Lets a request in as a gateway does: it waits for the others where it has to.
    /// With how many tokens it is thought to use.
    pub(crate) fn ask(&mut self, gateway: usize, input: u64) -> Result<(Pass, u64), Denial> {
        let (caller, now) = (Arc::clone(&self.gateways[gateway]), at(self.now));
        if caller.is_stale(now) {
            self.tell(gateway);
        }
        let door = Door { surface: Surface::Native, model: ModelShown::None, spends: true };
        let mut pass = caller.admit(door, now)?;
        self.confirmed(gateway, &mut pass, |_| Ok(()))?;
        let thought = Cell::new(0);
        let price = |input: u64, output: u64| {
            thought.set(thought.get().max(input + output));
            (input + output) * PRICE
        };
        let model: Arc<str> = "m".into();
        let estimate = Estimate { model: Some(&model), input_tokens: input, price: &price };
        self.confirmed(gateway, &mut pass, |pass| pass.reserve(estimate, now))?;
        Ok((pass, thought.get()))
    }

    pub(crate) fn confirmed(
        &mut self,
        gateway: usize,
        pass: &mut Pass,
        book: impl FnOnce(&mut Pass) -> Result<(), Denial>,
    ) -> Result<(), Denial> {
        let now = at(self.now);
        book(pass)?;
        if pass.wait(now) {
            self.tell(gateway);
            pass.confirm(now)?;
        }
        Ok(())
    }
}

/// Ends what was refused.
pub(crate) fn refused<T>(pass: Result<T, Denial>) -> Option<T> {
    match pass {
        Ok(pass) => Some(pass),
        Err(Denial::Limit(_)) => None,
        Err(other) => panic!("{other:?}"),
    }
}
