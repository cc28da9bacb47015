//! The holdings in memory: those not written yet, and those used lately, in two generations of bounded size. Also the
//! names that no project has, for a short while, so that asking for them costs every project one call and not many.

use super::Holding;
use chrono::{TimeDelta, Utc};
use gemini_balance_store::LedgerChange;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How many holdings a generation has; both together take some tens of megabytes at most.
const GENERATION: usize = 50_000;
/// How many changes may wait for a store that is out of reach. Beyond it the ledger forgets, and projects are asked.
const MAX_UNWRITTEN: usize = 200_000;
/// What lives no longer than this is not worth its memory once it is written: the store has it, and hardly anybody asks.
const SHORT_LIVED: TimeDelta = TimeDelta::hours(1);
/// How long a name that no project has is not asked for again.
const ABSENT_FOR: Duration = Duration::from_secs(30);
/// How many such names are remembered.
const MAX_ABSENT: usize = 10_000;

/// What memory says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Somebody holds it.
    Held(Holding),
    /// It was deleted a moment ago, or has expired.
    Gone,
    /// Ask the store.
    NotHere,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// `None` for what is to be forgotten.
    unwritten: HashMap<String, Option<Holding>>,
    young: HashMap<String, Holding>,
    old: HashMap<String, Holding>,
    absent: HashMap<String, Instant>,
}

impl Holdings {
    pub(super) fn see(&mut self, name: &str) -> Seen {
        let held = match self.unwritten.get(name) {
            Some(None) => return Seen::Gone,
            Some(Some(holding)) => holding.clone(),
            None => {
                if let Some(holding) = self.old.remove(name) {
                    self.remember(holding);
                }
                match self.young.get(name) {
                    Some(holding) => holding.clone(),
                    None => return Seen::NotHere,
                }
            }
        };
        if held.expires.is_some_and(|at| at <= Utc::now()) { Seen::Gone } else { Seen::Held(held) }
    }

    /// It is written already.
    pub(super) fn remember(&mut self, holding: Holding) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(holding.name.clone(), holding);
    }

    pub(super) fn put(&mut self, holding: Holding) {
        self.change(holding.name.clone(), Some(holding));
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.young.remove(name);
        self.old.remove(name);
        self.change(name.to_owned(), None);
    }

    /// Leaves a name out that is to be asked for again; what is to be written of it stays.
    pub(super) fn leave_out(&mut self, name: &str) {
        self.young.remove(name);
        self.old.remove(name);
    }

    /// Returns what lies in memory and is written, as far as is known.
    pub(super) fn written(&self) -> Vec<Holding> {
        self.young.values().chain(self.old.values()).cloned().collect()
    }

    pub(super) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    fn change(&mut self, name: String, holding: Option<Holding>) {
        if self.unwritten.len() >= MAX_UNWRITTEN
            && !self.unwritten.contains_key(&name)
            && let Some(dropped) = self.unwritten.keys().next().cloned()
        {
            self.unwritten.remove(&dropped);
        }
        self.unwritten.insert(name, holding);
    }

    pub(super) fn take_unwritten(&mut self) -> Vec<LedgerChange> {
        let taken = std::mem::take(&mut self.unwritten);
        let mut changes = Vec::with_capacity(taken.len());
        let soon = Utc::now() + SHORT_LIVED;
        for (name, holding) in taken {
            changes.push(match holding {
                Some(holding) => {
                    if holding.expires.is_some_and(|at| at <= soon) {
                        self.leave_out(&name);
                    } else {
                        self.remember(holding.clone());
                    }
                    LedgerChange::Put(holding)
                }
                None => LedgerChange::Forget(name),
            });
        }
        changes
    }

    pub(super) fn give_back(&mut self, changes: Vec<LedgerChange>) {
        for change in changes {
            let (name, holding) = match change {
                LedgerChange::Put(holding) => (holding.name.clone(), Some(holding)),
                LedgerChange::Forget(name) => (name, None),
            };
            if !self.unwritten.contains_key(&name) {
                self.change(name, holding);
            }
        }
    }

    pub(super) fn is_absent(&self, name: &str, now: Instant) -> bool {
        self.absent.get(name).is_some_and(|since| now.saturating_duration_since(*since) < ABSENT_FOR)
    }

    pub(super) fn note_absence(&mut self, name: &str, now: Instant) {
        if self.absent.len() >= MAX_ABSENT {
            self.absent.retain(|_, since| now.saturating_duration_since(*since) < ABSENT_FOR);
            if self.absent.len() >= MAX_ABSENT {
                self.absent.clear();
            }
        }
        self.absent.insert(name.to_owned(), now);
    }

    pub(super) fn clear_absence(&mut self, name: &str) {
        self.absent.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(name: &str) -> Holding {
        Holding {
            name: name.to_owned(),
            key: "key-1".to_owned(),
            project: None,
            caller: None,
            expires: None,
            address: None,
            made: Utc::now(),
        }
    }

    #[test]
    fn what_was_written_stays_as_long_as_it_is_used() {
        let mut holdings = Holdings::default();
        holdings.put(held("files/used"));
        assert_eq!(holdings.take_unwritten().len(), 1);
        for turn in 0..3 {
            for other in 0..GENERATION {
                holdings.remember(held(&format!("files/{turn}-{other}")));
                if other % 1_000 == 0 {
                    assert!(matches!(holdings.see("files/used"), Seen::Held(_)));
                }
            }
        }
        assert_eq!(holdings.see("files/0-1"), Seen::NotHere);
        assert!(holdings.young.len() + holdings.old.len() <= 2 * GENERATION);
    }

    #[test]
    fn a_write_that_failed_does_not_undo_a_later_change() {
        let mut holdings = Holdings::default();
        holdings.put(held("files/x"));
        let taken = holdings.take_unwritten();
        holdings.forget("files/x");
        holdings.give_back(taken);
        assert_eq!(holdings.take_unwritten(), [LedgerChange::Forget("files/x".to_owned())]);
    }

    #[test]
    fn what_has_expired_is_gone() {
        let mut holdings = Holdings::default();
        holdings.put(Holding { expires: Some(Utc::now()), ..held("files/x") });
        assert_eq!(holdings.see("files/x"), Seen::Gone);
    }

    #[test]
    fn what_is_over_soon_is_written_and_takes_no_memory() {
        let mut holdings = Holdings::default();
        let until = |life| Some(Utc::now() + life);
        holdings.put(Holding { expires: until(TimeDelta::days(2)), ..held("uploads/x") });
        assert_eq!(holdings.take_unwritten().len(), 1);
        assert!(matches!(holdings.see("uploads/x"), Seen::Held(_)));
        holdings.put(Holding { expires: until(SHORT_LIVED), ..held("uploads/x") });
        assert!(matches!(holdings.see("uploads/x"), Seen::Held(_)), "until it is written nobody else has it");
        assert_eq!(holdings.take_unwritten().len(), 1);
        assert_eq!(holdings.see("uploads/x"), Seen::NotHere);
        assert!(holdings.written().is_empty());
    }

    #[test]
    fn absence_is_believed_for_a_while() {
        let mut holdings = Holdings::default();
        let now = Instant::now();
        holdings.note_absence("files/x", now);
        assert!(holdings.is_absent("files/x", now + ABSENT_FOR / 2));
        assert!(!holdings.is_absent("files/x", now + ABSENT_FOR));
    }
}
