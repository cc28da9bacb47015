//! Facts, in memory.

use super::CommonState;
use crate::fact::{Fact, FactId, KnownFacts, PlacedFact, Reading, TellReply};

/// How many facts the order holds.
const KEPT: usize = 10_000;
/// How many are read at once.
const AT_ONCE: usize = 200;
/// How long it is known that there is nothing to know of a subject.
const CLEAR_KEPT_MS: u64 = 3_600_000;

impl CommonState {
    pub(super) fn tell(&mut self, fact: &Fact, seen: FactId) -> TellReply {
        if let Some(held) = self.rec.get(fact.subject())
            && held.fact.origin() != fact.origin()
            && held.fact.rank() >= fact.rank()
            && held.id > seen
        {
            return TellReply::Overruled(held.clone());
        }
        let last = self.facts.last_key_value().map_or(self.cut_off, |(id, _)| *id);
        let id = if self.now_ms > last.ms {
            FactId { ms: self.now_ms, seq: 0 }
        } else {
            FactId { seq: last.seq + 1, ..last }
        };
        self.rec.insert(fact.subject().to_owned(), PlacedFact { id, fact: fact.clone() });
        self.facts.insert(id, fact.clone());
        while self.facts.len() > KEPT
            && let Some((id, _)) = self.facts.pop_first()
        {
            self.cut_off = id;
        }
        TellReply::Written(id)
    }

    pub(super) fn known(&mut self) -> KnownFacts {
        let now = self.now_ms;
        self.rec.retain(|_, held| !held.fact.body().is_empty() || now <= held.id.ms + CLEAR_KEPT_MS);
        let end = self.facts.last_key_value().map_or(FactId::START, |(id, _)| *id);
        KnownFacts { facts: self.rec.values().cloned().collect(), end }
    }

    pub(super) fn read(&self, after: FactId) -> Reading {
        let is_whole =
            if after == FactId::START { self.cut_off == after } else { self.facts.contains_key(&after) };
        if !is_whole {
            return Reading::Trimmed;
        }
        let next = self.facts.range(after..).filter(|(id, _)| **id != after).take(AT_ONCE);
        Reading::Facts(next.map(|(id, fact)| PlacedFact { id: *id, fact: fact.clone() }).collect())
    }
}
