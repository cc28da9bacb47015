//! The queue of requests that wait for a key: first come, first served among those that the same key can serve, and
//! none waits longer than it may. Who gets which key is the desk's to say.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use crate::answer::{Refusal, Ticket};
use crate::effect::{Effect, Effects};
use crate::lease::Grant;
use crate::lease_request::LeaseRequest;

#[derive(Debug)]
pub(crate) struct Waiting {
    epoch: u64,
    next: u64,
    /// By number, so in the order of arrival.
    waiters: BTreeMap<u64, Waiter>,
    /// When to refuse whom; may name some who have left.
    deadlines: BinaryHeap<Reverse<(Duration, u64)>>,
}

#[derive(Debug)]
pub(crate) struct Waiter {
    pub request: LeaseRequest,
    /// Since when it waits, its earlier attempts counted in. Monotonic, as is `deadline`.
    pub since: Duration,
    pub deadline: Duration,
}

/// What to tell a waiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Granted(Grant),
    Refused(Refusal),
}

impl Waiting {
    pub(crate) fn new(epoch: u64) -> Self {
        Self { epoch, next: 0, waiters: BTreeMap::new(), deadlines: BinaryHeap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(crate) fn join(&mut self, request: LeaseRequest, now: Duration, deadline: Duration) -> Ticket {
        let number = self.next;
        self.next += 1;
        let since = now.saturating_sub(request.waited);
        self.waiters.insert(number, Waiter { request, since, deadline });
        self.deadlines.push(Reverse((deadline, number)));
        Ticket { epoch: self.epoch, number }
    }

    /// Whether it was waiting.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> bool {
        ticket.epoch == self.epoch && self.waiters.remove(&ticket.number).is_some()
    }

    /// Asks for each waiter, in the order of arrival, whether there is something to tell it.
    pub(crate) fn attend(&mut self, effects: &mut Effects, mut reply: impl FnMut(&Waiter) -> Option<Reply>) {
        let epoch = self.epoch;
        self.waiters.retain(|number, waiter| match reply(waiter) {
            None => true,
            Some(reply) => {
                effects.push(reply.to(Ticket { epoch, number: *number }));
                false
            }
        });
    }

    /// Returns what those who wait want, in the order of arrival.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &LeaseRequest> {
        self.waiters.values().map(|waiter| &waiter.request)
    }

    /// Changes what each of those who wait wants.
    pub(crate) fn change(&mut self, change: impl FnMut(&mut LeaseRequest)) {
        self.waiters.values_mut().map(|waiter| &mut waiter.request).for_each(change);
    }

    /// Takes out those whose deadline has passed, the earliest first.
    pub(crate) fn overdue(&mut self, now: Duration) -> Option<(Ticket, Waiter)> {
        loop {
            let (_, number) =
                self.deadlines.peek().map(|Reverse(entry)| *entry).filter(|(at, _)| *at <= now)?;
            self.deadlines.pop();
            if let Some(waiter) = self.waiters.remove(&number) {
                return Some((Ticket { epoch: self.epoch, number }, waiter));
            }
        }
    }

    /// The next deadline of one who still waits.
    pub(crate) fn next_deadline(&mut self) -> Option<Duration> {
        while let Some(Reverse((at, number))) = self.deadlines.peek() {
            if self.waiters.contains_key(number) {
                return Some(*at);
            }
            self.deadlines.pop();
        }
        None
    }
}

impl Reply {
    pub(crate) fn to(self, ticket: Ticket) -> Effect {
        match self {
            Self::Granted(grant) => Effect::Granted(ticket, grant),
            Self::Refused(refusal) => Effect::Refused(ticket, refusal),
        }
    }
}
