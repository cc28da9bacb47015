//! What was counted since the process began, in the sets in which metrics tell requests apart. These counts only grow:
//! nothing is pruned from them, and whoever keeps them takes them from the same samples as the sums that are written down.
//! How they are named and shown to others is not known here.

mod bounded;
mod histogram;
mod labels;

pub use histogram::{Buckets, Histogram};
pub use labels::{DurationLabels, FaultLabels, FirstEventLabels, KeyLabels, RequestLabels};

use crate::{
    amounts::Times,
    billable::Billable,
    money::Money,
    prices::Cost,
    sample::{Counted, KeyUse, RequestOutcome, Sample},
};
use bounded::{BoundedSeries, SeriesLabels};
use gemini::fault::Kind;
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

/// No family has more series.
pub const MOST_SERIES: usize = 10_000;
/// No more keys are told apart.
pub const MOST_KEYS: usize = 500;

/// Kept for the model `other`: more than there are faults, or operations with their outcomes in any real load.
const RESERVE: usize = MOST_SERIES / 10;
/// Most of the series that a caller has in one family.
const SERIES_OF_A_CALLER: usize = 10;

/// What the requests of a [`Sample`] have in common beside it.
#[derive(Clone, Debug)]
pub struct Observation {
    /// What was asked for, of a closed set.
    pub operation: &'static str,
    /// The status that the client was answered with; 0 where there was none.
    pub code: u16,
    /// Whether the answer streamed.
    pub streamed: bool,
    /// The fault of each try, in the order of the sample's tries.
    pub faults: Vec<Option<Kind>>,
    /// The limit of its caller's own that refused it.
    pub limit: Option<&'static str>,
}

/// Tokens by type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCounts([u64; TokenCounts::TYPES.len()]);

impl TokenCounts {
    /// The values of the label `type`, in the order of the counts.
    pub const TYPES: [&'static str; 5] = ["input", "cached", "output", "thoughts", "tool"];

    /// Each type with its count.
    pub fn by_type(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::TYPES.into_iter().zip(self.0)
    }

    fn count(&mut self, billable: &Billable) {
        let Billable { input, cached, output, thoughts, tool, .. } = *billable;
        for (count, more) in self.0.iter_mut().zip([input, cached, output, thoughts, tool]) {
            *count = count.saturating_add(more);
        }
    }
}

/// What a model has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelCounts {
    /// Tokens by their type.
    pub tokens: TokenCounts,
    /// List price of what has one.
    pub cost: Money,
    /// Requests that cost something unknown.
    pub unpriced: u64,
}

/// What a caller has asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerCounts {
    outcomes: [u64; RequestOutcome::ALL.len()],
    /// Tokens by their type.
    pub tokens: TokenCounts,
    /// Refusals by the caller's own limits, by limit.
    pub refusals: BTreeMap<&'static str, u64>,
}

impl CallerCounts {
    /// Each outcome with its count.
    pub fn outcomes(&self) -> impl Iterator<Item = (RequestOutcome, u64)> {
        RequestOutcome::ALL.into_iter().zip(self.outcomes)
    }
}

/// Attempts by key, of the first keys that are seen.
#[derive(Clone, Debug)]
struct KeyCounts {
    series: BoundedSeries<KeyLabels, u64>,
    names: HashSet<Arc<str>>,
}

impl Default for KeyCounts {
    fn default() -> Self {
        Self { series: BoundedSeries::new(MOST_SERIES, RESERVE), names: HashSet::new() }
    }
}

impl KeyCounts {
    fn count(&mut self, labels: KeyLabels, requests: u64) -> bool {
        let has_room = self.names.contains(&labels.key)
            || (self.names.len() < MOST_KEYS && self.names.insert(Arc::clone(&labels.key)));
        if has_room {
            return add(&mut self.series, labels, requests);
        }
        add(&mut self.series, labels.with_other(), requests);
        false
    }
}

/// The counts. See the module.
#[derive(Clone, Debug)]
pub struct RunningCounts {
    requests: BoundedSeries<RequestLabels, u64>,
    durations: BoundedSeries<DurationLabels, Histogram>,
    first_events: BoundedSeries<FirstEventLabels, Histogram>,
    waits: BoundedSeries<Arc<str>, Histogram>,
    overheads: Histogram,
    attempts: BoundedSeries<FaultLabels, u64>,
    retries: BoundedSeries<FaultLabels, u64>,
    models: BoundedSeries<Arc<str>, ModelCounts>,
    callers: BoundedSeries<Arc<str>, CallerCounts>,
    keys: Option<KeyCounts>,
    dropped: u64,
}

impl RunningCounts {
    /// Of nothing yet. Keys are told apart only where `per_key` says so.
    pub fn new(per_key: bool) -> Self {
        let times = MOST_SERIES / Buckets::TIMES.series();
        Self {
            requests: BoundedSeries::new(MOST_SERIES, RESERVE),
            durations: BoundedSeries::new(times, times / 5),
            first_events: BoundedSeries::new(times, 2),
            waits: BoundedSeries::new(MOST_SERIES / Buckets::WAITS.series(), 1),
            overheads: Histogram::new(Buckets::OVERHEADS),
            attempts: BoundedSeries::new(MOST_SERIES, RESERVE),
            retries: BoundedSeries::new(MOST_SERIES, RESERVE),
            models: BoundedSeries::new(MOST_SERIES / TokenCounts::TYPES.len(), 1),
            callers: BoundedSeries::new(MOST_SERIES / SERIES_OF_A_CALLER, 1),
            keys: per_key.then(KeyCounts::default),
            dropped: 0,
        }
    }

    /// Tells keys apart from now on, or no more.
    pub fn tell_keys_apart(&mut self, per_key: bool) {
        self.keys = per_key.then(|| self.keys.take().unwrap_or_default());
    }

    /// Counts all of a sample under the name of its model in the sums.
    pub fn count(&mut self, sample: &Sample, seen: &Observation, model: &Arc<str>) {
        let counted = &sample.counted;
        let requests = counted.totals.requests;
        let mut own = self.count_by_model(model, counted, &sample.times, seen);
        own &= self.count_by_caller(&sample.caller, counted, seen.limit);
        own &= self.count_by_key(&sample.tries, &seen.faults, requests);
        if !own {
            self.drop_names_of(requests);
        }
    }

    /// So many requests count under `other` in some family.
    pub fn drop_names_of(&mut self, requests: u64) {
        self.dropped += requests;
    }

    /// Counts requests in the families that do not tell callers and keys apart; whether under their own names in all of them.
    pub fn count_by_model(
        &mut self,
        model: &Arc<str>,
        counted: &Counted,
        times: &Times,
        seen: &Observation,
    ) -> bool {
        let mut own = true;
        let requests = counted.totals.requests;
        let labels = RequestLabels {
            operation: seen.operation,
            model: Arc::clone(model),
            outcome: counted.outcome,
            code: seen.code,
        };
        own &= add(&mut self.requests, labels, requests);
        let labels = DurationLabels { operation: seen.operation, model: Arc::clone(model) };
        own &= time(&mut self.durations, labels, Buckets::TIMES, &times.durations);
        if !times.first_events.is_empty() {
            let labels = FirstEventLabels { model: Arc::clone(model), streamed: seen.streamed };
            own &= time(&mut self.first_events, labels, Buckets::TIMES, &times.first_events);
        }
        if !times.waits.is_empty() {
            own &= time(&mut self.waits, Arc::clone(model), Buckets::WAITS, &times.waits);
        }
        self.overheads.merge(&times.overheads);
        let mut before = None;
        for (position, &fault) in seen.faults.iter().enumerate() {
            own &= add(&mut self.attempts, FaultLabels { model: Arc::clone(model), fault }, requests);
            if position > 0 {
                let labels = FaultLabels { model: Arc::clone(model), fault: before };
                own &= add(&mut self.retries, labels, requests);
            }
            before = fault;
        }
        let (of_model, is_own) = self.models.place(Arc::clone(model), ModelCounts::default);
        of_model.tokens.count(&counted.totals.billable);
        match counted.cost {
            Cost::Free => {}
            Cost::Known(money) => of_model.cost = of_model.cost.plus(money),
            Cost::Unknown => of_model.unpriced += requests,
        }
        own & is_own
    }

    /// Counts requests in the families that tell callers apart; whether under its own name. `limit`: the one of its own that
    /// refused them.
    pub fn count_by_caller(
        &mut self,
        caller: &Arc<str>,
        counted: &Counted,
        limit: Option<&'static str>,
    ) -> bool {
        let (caller, own) = self.callers.place(Arc::clone(caller), CallerCounts::default);
        let requests = counted.totals.requests;
        if let Some(at) = RequestOutcome::ALL.iter().position(|outcome| *outcome == counted.outcome) {
            caller.outcomes[at] += requests;
        }
        caller.tokens.count(&counted.totals.billable);
        if let Some(limit) = limit {
            *caller.refusals.entry(limit).or_default() += requests;
        }
        own
    }

    /// Counts so many requests in the family that tells keys apart, if it is wanted; whether under the names of all of them.
    /// `faults`: of each try.
    pub fn count_by_key(&mut self, tries: &[KeyUse], faults: &[Option<Kind>], requests: u64) -> bool {
        let Some(keys) = &mut self.keys else { return true };
        let mut own = true;
        for (at, &fault) in tries.iter().zip(faults) {
            let (key, project) = (Arc::clone(&at.key), Arc::clone(&at.project));
            own &= keys.count(KeyLabels { key, project, fault }, requests);
        }
        own
    }

    /// Returns how many requests each set of labels has.
    pub fn requests(&self) -> impl Iterator<Item = (&RequestLabels, &u64)> {
        self.requests.iter()
    }

    /// From arrival to the end.
    pub fn durations(&self) -> impl Iterator<Item = (&DurationLabels, &Histogram)> {
        self.durations.iter()
    }

    /// From arrival to the first event or byte.
    pub fn first_events(&self) -> impl Iterator<Item = (&FirstEventLabels, &Histogram)> {
        self.first_events.iter()
    }

    /// Waiting for a key, by model.
    pub fn waits(&self) -> impl Iterator<Item = (&Arc<str>, &Histogram)> {
        self.waits.iter()
    }

    /// The gateway's own work before a request goes up.
    pub fn overheads(&self) -> &Histogram {
        &self.overheads
    }

    /// Returns how many attempts each set of labels has.
    pub fn attempts(&self) -> impl Iterator<Item = (&FaultLabels, &u64)> {
        self.attempts.iter()
    }

    /// Tries after a request's first, by the fault that they followed.
    pub fn retries(&self) -> impl Iterator<Item = (&FaultLabels, &u64)> {
        self.retries.iter()
    }

    /// What each model has used.
    pub fn models(&self) -> impl Iterator<Item = (&Arc<str>, &ModelCounts)> {
        self.models.iter()
    }

    /// What each caller has asked for.
    pub fn callers(&self) -> impl Iterator<Item = (&Arc<str>, &CallerCounts)> {
        self.callers.iter()
    }

    /// Attempts by key, where keys are told apart.
    pub fn keys(&self) -> Option<impl Iterator<Item = (&KeyLabels, &u64)>> {
        self.keys.as_ref().map(|keys| keys.series.iter())
    }

    /// Requests that count under `other` in some family, for there was no room; twice, where whoever counts them knows callers and
    /// keys apart only.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn add<L: SeriesLabels>(series: &mut BoundedSeries<L, u64>, labels: L, more: u64) -> bool {
    let (count, own) = series.place(labels, u64::default);
    *count += more;
    own
}

fn time<L: SeriesLabels>(
    series: &mut BoundedSeries<L, Histogram>,
    labels: L,
    buckets: &'static Buckets,
    durations: &Histogram,
) -> bool {
    let (histogram, own) = series.place(labels, || Histogram::new(buckets));
    histogram.merge(durations);
    own
}
