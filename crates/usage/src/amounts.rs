//! What of finished requests adds up: tokens, bytes, times. Requests that count in the same places are summed before they
//! are counted, so that counting costs by place and not by request.

use crate::{
    billable::Billable,
    count::{MOST, add},
    running::{Buckets, Histogram},
};
use std::time::Duration;

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

/// The sums of some finished requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many requests they are of.
    pub requests: u64,
    /// What was used. The prompt is that of one of the requests, for the choice of a price: those of all lie on the same
    /// side of every bound ([`Prices::prompt_bounds`](crate::Prices::prompt_bounds)).
    pub billable: Billable,
    /// The request bodies' length.
    pub bytes_in: u64,
    /// How much of the answers' bodies was passed on.
    pub bytes_out: u64,
    /// From arrival to the end, in whole microseconds of each request: so sums are the same however requests are grouped.
    pub duration_us: u64,
    /// From arrival to the first byte or event, of those that came so far; in the same way.
    pub first_event_us: u64,
}

impl Totals {
    /// Of one request that used nothing and took this long, to its first event and as a whole.
    pub fn of_one(duration: Duration, first_event: Option<Duration>) -> Self {
        let first_event_us = first_event.map_or(0, micros);
        Self { requests: 1, duration_us: micros(duration), first_event_us, ..Self::default() }
    }

    /// Adds one request.
    pub fn add(&mut self, one: &RequestAmounts) {
        add(&mut self.requests, 1);
        self.billable.merge(&one.billable);
        add(&mut self.bytes_in, one.bytes_in);
        add(&mut self.bytes_out, one.bytes_out);
        add(&mut self.duration_us, micros(one.duration));
        if let Some(time) = one.first_event {
            add(&mut self.first_event_us, micros(time));
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(MOST).min(MOST)
}

/// How the times of some finished requests spread.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From arrival to the end.
    pub durations: Histogram,
    /// From arrival to the first byte or event, of those that came so far.
    pub first_events: Histogram,
    /// Waiting for a key, of those that came so far.
    pub waits: Histogram,
    /// From arrival to sending up, without waiting, of those that came so far.
    pub overheads: Histogram,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            durations: Histogram::new(Buckets::TIMES),
            first_events: Histogram::new(Buckets::TIMES),
            waits: Histogram::new(Buckets::WAITS),
            overheads: Histogram::new(Buckets::OVERHEADS),
        }
    }
}

impl Times {
    /// Of one request that took this long, to its first event and as a whole.
    pub fn of_one(duration: Duration, first_event: Option<Duration>) -> Self {
        Self {
            durations: Histogram::of(Buckets::TIMES, [duration]),
            first_events: Histogram::of(Buckets::TIMES, first_event),
            ..Self::default()
        }
    }

    /// Adds one request.
    pub fn add(&mut self, one: &RequestAmounts) {
        self.durations.count(one.duration);
        if let Some(time) = one.first_event {
            self.first_events.count(time);
        }
        if let Some(time) = one.wait {
            self.waits.count(time);
        }
        if let Some(time) = one.overhead {
            self.overheads.count(time);
        }
    }
}
