//! Which of the keys that may be leased is next. The strategies, and the order of turns they share; knows of cooldowns
//! only their bits.

use fixedbitset::FixedBitSet;

use crate::affinity::Affinity;
use crate::counters::Headroom;
use crate::ids::KeyIx;
use crate::lease_request::{Avoid, LeaseRequest, Reach};
use crate::roster::Roster;
use crate::settings::Strategy;

#[derive(Debug)]
pub(crate) struct Selector {
    strategy: Strategy,
    turns: Turns,
    /// Smooth weighted round robin: what each key is owed.
    credit: Vec<i64>,
    affinity: Affinity,
    /// Headroom for the choice at hand, kept to save the allocation.
    candidates: FixedBitSet,
    preferred: FixedBitSet,
}

impl Selector {
    pub(crate) fn new(strategy: Strategy, roster: &Roster) -> Self {
        let keys = roster.members.len();
        Self {
            strategy,
            turns: Turns::new(keys),
            credit: vec![0; keys],
            affinity: Affinity::new(roster.members.iter().map(|(_, key)| &key.id)),
            candidates: FixedBitSet::with_capacity(keys),
            preferred: FixedBitSet::with_capacity(keys),
        }
    }

    /// The next key for this request, whose turn is then over. `None` when none may be leased now.
    pub(crate) fn choose(
        &mut self,
        roster: &Roster,
        request: &LeaseRequest,
        room: Headroom<'_>,
    ) -> Option<KeyIx> {
        self.gather(roster, request);
        let prefers = self.prefer(roster, request);
        let Self { strategy, turns, credit, affinity, candidates, preferred } = self;
        let mut pick = |among: &FixedBitSet| {
            let may = |key: &usize| among.contains(*key) && room.has(roster.project(KeyIx::at(*key)));
            match strategy {
                Strategy::RoundRobin => turns.iter().find(may),
                Strategy::LeastInFlight => least_in_flight(turns.iter().filter(may), roster),
                Strategy::Weighted => weighted(among.ones().filter(may), credit, roster),
                Strategy::Prefix => match request.prefix {
                    Some(prefix) => {
                        let project = affinity.choose(prefix, roster, room.now, |key| may(&key))?;
                        turns.iter().find(|key| roster.project(KeyIx::at(*key)) == project && may(key))
                    }
                    None => turns.iter().find(may),
                },
            }
        };
        let chosen = if prefers { pick(preferred) } else { None }.or_else(|| pick(candidates))?;
        turns.pass(chosen);
        let chosen = KeyIx::at(chosen);
        if *strategy == Strategy::Prefix {
            affinity.granted(roster.project(chosen), room.now);
        }
        Some(chosen)
    }

    /// Sets the candidates: what may be leased, within reach, by this caller, and not tried yet.
    fn gather(&mut self, roster: &Roster, request: &LeaseRequest) {
        let candidates = &mut self.candidates;
        match &request.reach {
            Reach::Any => candidates.clone_from(roster.cooldowns.ready()),
            Reach::ProjectOf(key) => {
                candidates.clear();
                let members = roster.find(key).map(|key| roster.members.of(roster.project(key)));
                for key in members.into_iter().flatten() {
                    candidates.set(key.position(), roster.cooldowns.ready().contains(key.position()));
                }
            }
            Reach::Only(key) => {
                candidates.clear();
                if let Some(key) = roster.find(key) {
                    candidates.set(key.position(), roster.cooldowns.ready().contains(key.position()));
                }
            }
        }
        if let Some(blocked) = roster.cooldowns.blocked(&request.model) {
            candidates.difference_with(blocked);
        }
        for tool in request.tools.iter() {
            candidates.difference_with(roster.cooldowns.blocked_tool(tool));
        }
        for key in request.tried.iter().filter_map(|key| roster.find(key)) {
            candidates.set(key.position(), false);
        }
        if request.among.is_some() {
            for (ix, _) in roster.members.iter().filter(|(_, key)| !request.may_use(&key.id)) {
                candidates.set(ix.position(), false);
            }
        }
    }

    /// Sets those of the candidates that avoid what is better avoided. Whether that makes a difference.
    fn prefer(&mut self, roster: &Roster, request: &LeaseRequest) -> bool {
        if request.avoid == Avoid::Nothing || request.tried.is_empty() {
            return false;
        }
        self.preferred.clone_from(&self.candidates);
        for key in request.tried.iter().filter_map(|key| roster.find(key)) {
            for sibling in roster.members.of(roster.project(key)) {
                self.preferred.set(sibling.position(), false);
            }
        }
        true
    }
}

fn least_in_flight(keys: impl Iterator<Item = usize>, roster: &Roster) -> Option<usize> {
    let mut best = None;
    for key in keys {
        let in_flight = roster.counters.in_flight(KeyIx::at(key));
        if best.is_none_or(|(_, fewest)| in_flight < fewest) {
            best = Some((key, in_flight));
        }
        if in_flight == 0 {
            break;
        }
    }
    best.map(|(key, _)| key)
}

/// Smooth weighted round robin: each candidate earns its weight, the richest is chosen and pays what all have earned.
fn weighted(candidates: impl Iterator<Item = usize>, credit: &mut [i64], roster: &Roster) -> Option<usize> {
    let mut earned = 0;
    let mut best: Option<usize> = None;
    for key in candidates {
        let weight = i64::from(roster.members.get(KeyIx::at(key)).weight);
        credit[key] += weight;
        earned += weight;
        if best.is_none_or(|best| credit[key] > credit[best]) {
            best = Some(key);
        }
    }
    if let Some(best) = best {
        credit[best] -= earned;
    }
    best
}

/// The keys in the order of their last lease, the longest ago first: a ring of links, so that a turn costs the same
/// among five keys and a thousand. A cursor over positions would be simpler and unfair: it gives a key that follows
/// a cooling one two turns, and two models in step can starve a third key.
#[derive(Debug)]
struct Turns {
    next: Vec<usize>,
    previous: Vec<usize>,
}

impl Turns {
    /// All keys, in the order of their positions. One place more is the ring's seam.
    fn new(keys: usize) -> Self {
        let places = keys + 1;
        Self {
            next: (0..places).map(|at| (at + 1) % places).collect(),
            previous: (0..places).map(|at| (at + keys) % places).collect(),
        }
    }

    fn seam(&self) -> usize {
        self.next.len() - 1
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let seam = self.seam();
        std::iter::successors(Some(self.next[seam]), |at| Some(self.next[*at]))
            .take_while(move |at| *at != seam)
    }

    /// Puts a key at the end.
    fn pass(&mut self, key: usize) {
        let (before, after) = (self.previous[key], self.next[key]);
        self.next[before] = after;
        self.previous[after] = before;
        let seam = self.seam();
        let last = self.previous[seam];
        self.next[last] = key;
        self.previous[key] = last;
        self.next[key] = seam;
        self.previous[seam] = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_had_a_turn_goes_to_the_end() {
        let mut turns = Turns::new(4);
        let order = |turns: &Turns| turns.iter().collect::<Vec<_>>();
        assert_eq!(order(&turns), [0, 1, 2, 3]);
        turns.pass(0);
        assert_eq!(order(&turns), [1, 2, 3, 0]);
        turns.pass(2);
        assert_eq!(order(&turns), [1, 3, 0, 2]);
        turns.pass(2);
        assert_eq!(order(&turns), [1, 3, 0, 2]);
    }

    #[test]
    fn a_single_key_is_always_next() {
        let mut turns = Turns::new(1);
        turns.pass(0);
        assert_eq!(turns.iter().collect::<Vec<_>>(), [0]);
    }
}
