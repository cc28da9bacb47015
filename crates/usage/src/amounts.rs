//! What of finished requests adds up: tokens, bytes, times. Requests that count in the same places are summed before they
//! are counted, so that counting costs by place and not by request.

use crate::{
    billable::Billable,
    running::{Buckets, Histogram, SmallHistogram},
};
use std::time::Duration;

/// The sums of some finished requests. See the module.
#[derive(Clone, Copy, Debug)]
pub struct Amounts {
    /// How many requests they are of.
    pub requests: u64,
    /// What was used. The prompt is that of one of the requests, for the choice of a price: those of all lie on the same
    /// side of every bound ([`Prices::prompt_bounds`](crate::Prices::prompt_bounds)).
    pub billable: Billable,
    /// The request bodies' length.
    pub bytes_in: u64,
    /// How much of the answers' bodies was passed on.
    pub bytes_out: u64,
    /// From arrival to the end.
    pub durations: Histogram,
    /// From arrival to the first byte or event, of those that came so far.
    pub first_events: Histogram,
    /// Waiting for a key, of those that came so far.
    pub waits: Histogram,
    /// From arrival to sending up, without waiting, of those that came so far.
    pub overheads: Histogram,
}

/// What one finished request adds to the sums.
#[derive(Clone, Copy, Debug)]
pub struct RequestAmounts {
    /// What it used.
    pub billable: Billable,
    /// The request body's length.
    pub bytes_in: u64,
    /// How much of the answer's body was passed on.
    pub bytes_out: u64,
    /// From arrival to the end.
    pub duration: Duration,
    /// From arrival to the first byte or event, if it came so far.
    pub first_event: Option<Duration>,
    /// Waiting for a key, if it came so far.
    pub wait: Option<Duration>,
    /// From arrival to sending up, without waiting, if it came so far.
    pub overhead: Option<Duration>,
}

/// The sums of some thousand requests at most, in a third of the room: of those there are many at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct SmallAmounts {
    requests: u16,
    billable: Billable,
    bytes_in: u64,
    bytes_out: u64,
    durations: SmallHistogram,
    first_events: SmallHistogram,
    waits: SmallHistogram,
    overheads: SmallHistogram,
}

impl SmallAmounts {
    /// Returns how many requests they are of.
    pub fn requests(&self) -> u16 {
        self.requests
    }

    /// Adds one request, where there is room for it: 65,535 there are at most.
    pub fn add(&mut self, one: &RequestAmounts) -> bool {
        let Some(requests) = self.requests.checked_add(1) else { return false };
        self.requests = requests;
        let RequestAmounts { billable, bytes_in, bytes_out, duration, first_event, wait, overhead } = one;
        self.billable.merge(billable);
        self.bytes_in = self.bytes_in.saturating_add(*bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(*bytes_out);
        self.durations.count(Buckets::TIMES, *duration);
        if let Some(time) = first_event {
            self.first_events.count(Buckets::TIMES, *time);
        }
        if let Some(time) = wait {
            self.waits.count(Buckets::WAITS, *time);
        }
        if let Some(time) = overhead {
            self.overheads.count(Buckets::OVERHEADS, *time);
        }
        true
    }
}

impl Default for Amounts {
    fn default() -> Self {
        Self {
            requests: 0,
            billable: Billable::default(),
            bytes_in: 0,
            bytes_out: 0,
            durations: Histogram::new(Buckets::TIMES),
            first_events: Histogram::new(Buckets::TIMES),
            waits: Histogram::new(Buckets::WAITS),
            overheads: Histogram::new(Buckets::OVERHEADS),
        }
    }
}

impl Amounts {
    /// Adds the sums of more, whose prompts have the same price.
    pub fn take_over(&mut self, small: &SmallAmounts) {
        self.requests += u64::from(small.requests);
        self.billable.merge(&small.billable);
        self.bytes_in = self.bytes_in.saturating_add(small.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(small.bytes_out);
        self.durations.take_over(&small.durations);
        self.first_events.take_over(&small.first_events);
        self.waits.take_over(&small.waits);
        self.overheads.take_over(&small.overheads);
    }

    /// Of one request that used nothing and took this long, to its first event and as a whole.
    pub fn of_one(duration: Duration, first_event: Option<Duration>) -> Self {
        Self {
            requests: 1,
            durations: Histogram::of(Buckets::TIMES, [duration]),
            first_events: Histogram::of(Buckets::TIMES, first_event),
            ..Self::default()
        }
    }
}
