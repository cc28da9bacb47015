//! Leases: the right to use a key for one attempt, from the grant until it is settled. This file counts who is out;
//! what an outcome means for the key is the desk's to judge.

use std::collections::BTreeSet;
use std::sync::Arc;

use gemini::fault::Fault;

use crate::budget::Booking;
use crate::choice::{Choice, PassedOver};
use crate::ids::{KeyIx, ModelIx, Order, ProjectIx};
use crate::key::KeyId;
use crate::lease_request::Retry;
use crate::moves::Moves;
use crate::tool::Tools;

/// The name of one lease. It carries the incarnation of the pool that granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseId {
    epoch: u64,
    number: Order,
    slot: u32,
}

/// A key to use, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// To be settled exactly once, whatever happens.
    pub lease: LeaseId,
    /// The key to send the request with.
    pub key: KeyId,
    /// Whether others wait to see how this one fares.
    pub role: Role,
    /// What decided for this key.
    pub choice: Choice,
    /// The keys whose turn it was before, and why they did not get it; `None` if this one was simply next.
    pub passed_over: Option<Box<PassedOver>>,
}

/// What a lease is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One of many.
    Ordinary,
    /// The single one let through after a cooldown. When the head of its answer is good,
    /// [`Pool::vouch`](crate::Pool::vouch) lets the others follow without waiting for a long answer's end.
    Probe,
}

/// How a lease ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The upstream served the request.
    Success,
    /// The client left, or the gateway gave up: nobody is to blame.
    Abandoned,
    /// Nothing was sent with it: it counts as if it had never been granted.
    Unused,
    /// The upstream answered with a fault, or not at all.
    Fault(Fault),
}

/// The report that ends a lease.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// The lease to settle once the request has ended.
    pub lease: LeaseId,
    /// The key it was granted for.
    pub key: KeyId,
    /// The model it was granted for.
    pub model: Option<Arc<str>>,
    /// How it ended.
    pub outcome: Outcome,
    /// How many input tokens it had, when the upstream said so. Corrects the request's estimate.
    pub input_tokens: Option<u64>,
    /// How many output tokens, when the upstream said so.
    pub output_tokens: Option<u64>,
}

/// The leases of this incarnation that are not settled yet.
#[derive(Debug)]
pub(crate) struct Leases {
    epoch: u64,
    next: Order,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Zero when free.
    number: Order,
    out: Out,
}

/// What a lease was granted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Out {
    /// `None` once the key is gone from the pool.
    pub key: Option<KeyIx>,
    pub tools: Tools,
    pub model: ModelIx,
    pub retry: Retry,
    /// On which project and how it was counted, where a limit is known, for as long as there is that project.
    pub booking: Option<(ProjectIx, Booking)>,
}

/// What was found behind a lease's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaseState {
    /// Out, and granted by this incarnation.
    Ours(Out),
    /// Granted by a former incarnation.
    Former,
    /// Settled already.
    Settled,
}

impl Leases {
    pub(crate) fn new(epoch: u64) -> Self {
        Self { epoch, next: 1, slots: Vec::new(), free: Vec::new() }
    }

    /// The number that the next lease will have.
    pub(crate) fn next(&self) -> Order {
        self.next
    }

    /// How many are out.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn open(&mut self, out: Out) -> LeaseId {
        let number = self.next;
        self.next += 1;
        let entry = Slot { number, out };
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = entry;
            slot
        } else {
            self.slots.push(entry);
            // More than four billion leases at once do not fit into memory.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        };
        LeaseId { epoch: self.epoch, number, slot }
    }

    pub(crate) fn find(&self, lease: LeaseId) -> LeaseState {
        if lease.epoch != self.epoch {
            return LeaseState::Former;
        }
        match self.slots.get(lease.slot as usize) {
            Some(slot) if slot.number == lease.number => LeaseState::Ours(slot.out),
            _ => LeaseState::Settled,
        }
    }

    pub(crate) fn close(&mut self, lease: LeaseId) -> LeaseState {
        let found = self.find(lease);
        if matches!(found, LeaseState::Ours(_)) {
            self.slots[lease.slot as usize].number = 0;
            self.free.push(lease.slot);
        }
        found
    }

    /// Returns those that are out, each with its place in the order of granting.
    pub(crate) fn out(&self) -> impl Iterator<Item = (Order, Out)> + '_ {
        self.slots.iter().filter(|slot| slot.number > 0).map(|slot| (slot.number, slot.out))
    }

    /// Moves the leases to the present places of their keys. Those of keys that are gone stay open until they are settled.
    pub(crate) fn move_keys(&mut self, moves: &Moves) {
        for slot in &mut self.slots {
            slot.out.key = slot.out.key.and_then(|key| moves.of(key));
        }
    }

    /// Forgets how leases were counted on these projects, which are no more.
    pub(crate) fn forget_bookings(&mut self, vacated: &[ProjectIx]) {
        if vacated.is_empty() {
            return;
        }
        let vacated: BTreeSet<_> = vacated.iter().collect();
        for slot in &mut self.slots {
            slot.out.booking = slot.out.booking.filter(|(project, _)| !vacated.contains(project));
        }
    }

    /// The place of a lease in the order of granting.
    pub(crate) fn order(&self, lease: LeaseId) -> Order {
        if lease.epoch == self.epoch { lease.number } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(key: usize) -> Out {
        Out {
            key: Some(KeyIx::at(key)),
            tools: Tools::NONE,
            model: ModelIx::at(0),
            retry: Retry::No,
            booking: None,
        }
    }

    #[test]
    fn a_lease_is_closed_once_even_when_its_slot_is_used_again() {
        let mut leases = Leases::new(7);
        let first = leases.open(out(3));
        assert_eq!(leases.close(first), LeaseState::Ours(out(3)));
        assert_eq!(leases.close(first), LeaseState::Settled);
        let second = leases.open(out(4));
        assert_eq!(leases.close(first), LeaseState::Settled);
        assert_eq!(leases.len(), 1);
        assert_eq!(leases.close(second), LeaseState::Ours(out(4)));
        assert_eq!(leases.len(), 0);
    }

    #[test]
    fn a_lease_of_a_former_incarnation_is_known_as_such() {
        let old = Leases::new(1).open(out(0));
        let mut leases = Leases::new(2);
        let ours = leases.open(out(0));
        assert_eq!(leases.close(old), LeaseState::Former);
        assert_eq!(leases.order(old), 0);
        assert_eq!(leases.order(ours), 1);
        assert_eq!(leases.len(), 1);
    }
}
