//! Keeps requests that begin alike on one project, where Google's implicit cache may know their beginning: rendezvous
//! hashing with bounded load. The hash orders the projects for each prefix; one that carries more than its share is
//! passed over, as is one that cannot serve. Which keys may be leased is not decided here.

use std::collections::HashMap;
use std::time::Duration;

use crate::ids::ProjectIx;
use crate::key::KeyId;
use crate::members::Members;
use crate::roster::Roster;

/// How long a grant counts as load, at least; at most twice as long. In flight alone would not see short requests.
const RECENT: Duration = Duration::from_secs(5);
/// A load by key so light that there is nothing to balance: without it a lone conversation would be its project's
/// excess of load.
const LIGHT: u64 = 8;

#[derive(Debug)]
pub(crate) struct Affinity {
    /// Of each key, from its identity: the same in every life of the pool.
    seeds: Vec<u64>,
    /// What each project was asked last, by its index.
    recent: Vec<Recent>,
    /// Headroom for the choice at hand, by project.
    bids: Vec<Bid>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bid {
    score: u64,
    /// How many keys it has: its share of the load.
    weight: u64,
    load: u64,
    /// Whether one of its keys may be leased.
    stands: bool,
}

/// Grants in the present and the former span of time.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    span: u64,
    now: u64,
    before: u64,
}

impl Affinity {
    pub(crate) fn new(members: &Members, identities: &HashMap<KeyId, KeyId>) -> Self {
        Self { seeds: seeds(members, identities), recent: Vec::new(), bids: Vec::new() }
    }

    /// Takes over another set of keys.
    pub(crate) fn reconcile(
        &mut self,
        members: &Members,
        identities: &HashMap<KeyId, KeyId>,
        vacated: &[ProjectIx],
    ) {
        self.seeds = seeds(members, identities);
        for project in vacated {
            if let Some(recent) = self.recent.get_mut(project.position()) {
                *recent = Recent::default();
            }
        }
    }

    /// The project for this prefix. `None` when `may` lets no key through.
    pub(crate) fn choose(
        &mut self,
        prefix: u64,
        roster: &Roster,
        now: Duration,
        may: impl Fn(usize) -> bool,
    ) -> Option<ProjectIx> {
        let projects = roster.members.project_places();
        self.recent.resize(projects, Recent::default());
        self.bids.clear();
        self.bids.resize(projects, Bid::default());
        for ((ix, key), seed) in roster.members.iter().zip(&self.seeds) {
            let bid = &mut self.bids[key.project.position()];
            // The best of its keys: a project of two keys wins twice as often as one of one.
            bid.score = bid.score.max(fastrand::Rng::with_seed(prefix ^ seed).u64(..));
            bid.weight += 1;
            bid.load += u64::from(roster.counters.in_flight(ix));
            bid.stands = bid.stands || may(ix.position());
        }
        for (bid, recent) in self.bids.iter_mut().zip(&self.recent) {
            bid.load += recent.count(now);
        }
        let standing = || self.bids.iter().enumerate().filter(|(_, bid)| bid.stands);
        let (load, weight) =
            standing().fold((1, 0), |(load, weight), (_, bid)| (load + bid.load, weight + bid.weight));
        // At least one stands within its share: not all can carry more than the average.
        let share = |bid: &Bid| (5 * load * bid.weight).div_ceil(4 * weight).max(LIGHT * bid.weight);
        let best = standing().filter(|(_, bid)| bid.load < share(bid)).max_by_key(|(_, bid)| bid.score);
        best.map(|(at, _)| ProjectIx::at(at))
    }

    /// Counts a grant.
    pub(crate) fn granted(&mut self, project: ProjectIx, now: Duration) {
        if let Some(recent) = self.recent.get_mut(project.position()) {
            *recent = recent.at(now);
            recent.now += 1;
        }
    }
}

impl Recent {
    fn at(self, now: Duration) -> Self {
        let span = now.as_secs() / RECENT.as_secs();
        match span.saturating_sub(self.span) {
            0 => self,
            1 => Self { span, now: 0, before: self.now },
            _ => Self { span, now: 0, before: 0 },
        }
    }

    fn count(self, now: Duration) -> u64 {
        let Self { now, before, .. } = self.at(now);
        now + before
    }
}

/// Returns each key's seed: of its identity, or else of its name.
fn seeds(members: &Members, identities: &HashMap<KeyId, KeyId>) -> Vec<u64> {
    members.iter().map(|(_, key)| seed(identities.get(&key.id).unwrap_or(&key.id))).collect()
}

/// FNV-1a.
fn seed(id: &KeyId) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    id.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, step)
}
