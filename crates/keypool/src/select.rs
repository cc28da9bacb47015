//! Which of the keys that may be leased is next: the strategies. Whose turn it is among equals is told by the model's
//! rotation; knows of cooldowns only their bits.

use std::collections::HashMap;

use fixedbitset::FixedBitSet;

use crate::affinity::Affinity;
use crate::choice::Choice;
use crate::counters::Headroom;
use crate::ids::{KeyIx, ProjectIx};
use crate::key::KeyId;
use crate::lease_request::{Avoid, LeaseRequest, Reach};
use crate::moves::Moves;
use crate::roster::Roster;
use crate::rotation::Rotation;
use crate::settings::Strategy;

#[derive(Debug)]
pub(crate) struct Selector {
    strategy: Strategy,
    affinity: Affinity,
    /// Where a model begins that nothing is known of: behind the last lease of any, so that names which are used once do
    /// not all fall to the first key.
    fresh: Rotation,
    /// Headroom for the choice at hand, kept to save the allocation.
    candidates: FixedBitSet,
    preferred: FixedBitSet,
    /// Whether of several keys only one could be leased for it, whether or not it has room.
    is_only_one: bool,
}

impl Selector {
    pub(crate) fn new(strategy: Strategy, roster: &Roster, identities: &HashMap<KeyId, KeyId>) -> Self {
        let keys = roster.members.len();
        Self {
            strategy,
            affinity: Affinity::new(&roster.members, identities),
            fresh: Rotation::default(),
            candidates: FixedBitSet::with_capacity(keys),
            preferred: FixedBitSet::with_capacity(keys),
            is_only_one: false,
        }
    }

    /// Takes over another set of keys. The projects that are no more are `vacated`.
    pub(crate) fn reconcile(
        &mut self,
        roster: &Roster,
        moves: &Moves,
        identities: &HashMap<KeyId, KeyId>,
        vacated: &[ProjectIx],
    ) {
        let keys = roster.members.len();
        self.affinity.reconcile(&roster.members, identities, vacated);
        self.fresh = self.fresh.over_others(moves);
        self.candidates = FixedBitSet::with_capacity(keys);
        self.preferred = FixedBitSet::with_capacity(keys);
    }

    /// Chooses by another strategy from now on.
    pub(crate) fn set_strategy(&mut self, strategy: Strategy) {
        self.strategy = strategy;
    }

    /// Lets models that nothing is known of begin at any of the keys.
    pub(crate) fn begin_anywhere(&mut self, rng: &mut fastrand::Rng) {
        let keys = self.candidates.len();
        if keys > 0 {
            self.fresh = self.fresh.after(KeyIx::at(rng.usize(..keys)));
        }
    }

    /// Returns the rotation of a model that nothing is known of.
    pub(crate) fn fresh(&self) -> Rotation {
        self.fresh
    }

    /// Returns the next key for this request, whose turn `rotation` tells. `None` when none may be leased now.
    pub(crate) fn choose(
        &mut self,
        roster: &Roster,
        request: &LeaseRequest,
        room: &Headroom<'_>,
        rotation: Rotation,
        rng: &mut fastrand::Rng,
    ) -> Option<(KeyIx, Choice)> {
        self.gather(roster, request, room);
        let prefers = self.prefer(roster, request);
        let strategy = self.strategy_for(request);
        let Self { affinity, candidates, preferred, .. } = self;
        let has_or_draws = |key: usize| {
            let project = roster.project(KeyIx::at(key));
            room.has(project, &roster.members) || room.draws_from(project, &roster.members)
        };
        let mut pick_among = |among: &FixedBitSet, room: &Headroom<'_>, is_beyond: bool| {
            let may = |key: &usize| {
                among.contains(*key) && room.has(roster.project(KeyIx::at(*key)), &roster.members)
            };
            match strategy {
                _ if is_beyond => by_size(among.ones().filter(may), room, roster, rng),
                Strategy::RoundRobin => rotation.over(among).find(may),
                Strategy::LeastInFlight => least_in_flight(rotation.over(among).filter(may), roster),
                Strategy::Weighted => weighted(among.ones().filter(may), rotation, roster),
                Strategy::Prefix => match request.prefix {
                    Some(prefix) => {
                        // Its project stays its project where a slice of it has to be drawn first.
                        let stands = |key| among.contains(key) && has_or_draws(key);
                        let project = affinity.choose(prefix, roster, room.now, stands)?;
                        rotation
                            .over(among)
                            .find(|key| roster.project(KeyIx::at(*key)) == project && may(key))
                    }
                    None => rotation.over(among).find(may),
                },
            }
        };
        let mut pick = |room: &Headroom<'_>, is_beyond: bool| {
            let preferred = if prefers { pick_among(preferred, room, is_beyond) } else { None };
            preferred.or_else(|| pick_among(candidates, room, is_beyond))
        };
        // A conversation rather goes beyond habit than elsewhere.
        let is_conversation = strategy == Strategy::Prefix && request.prefix.is_some();
        let within = room.within_habit().filter(|_| !is_conversation);
        let chosen = match within {
            Some(within) => pick(&within, false).or_else(|| pick(room, true)),
            None => pick(room, false),
        }?;
        let chosen = KeyIx::at(chosen);
        self.fresh = self.fresh.after(chosen);
        if strategy == Strategy::Prefix {
            self.affinity.granted(roster.project(chosen), room.now);
        }
        Some((chosen, self.reason(request)))
    }

    /// Returns the project that a request which waits would go to by its beginning, if that decides.
    pub(crate) fn awaited(
        &mut self,
        roster: &Roster,
        request: &LeaseRequest,
        room: &Headroom<'_>,
    ) -> Option<ProjectIx> {
        let prefix = request.prefix.filter(|_| self.strategy_for(request) == Strategy::Prefix)?;
        self.gather(roster, request, room);
        let Self { affinity, candidates, .. } = self;
        let stands = |key: usize| {
            let project = roster.project(KeyIx::at(key));
            candidates.contains(key)
                && (room.has(project, &roster.members) || room.draws_from(project, &roster.members))
        };
        affinity.choose(prefix, roster, room.now, stands)
    }

    /// Returns what decides for this request.
    fn strategy_for(&self, request: &LeaseRequest) -> Strategy {
        if request.keep_together && request.prefix.is_some() { Strategy::Prefix } else { self.strategy }
    }

    /// Returns what decided for the last choice.
    fn reason(&self, request: &LeaseRequest) -> Choice {
        if request.reach != Reach::Any {
            return Choice::Bound;
        }
        if self.is_only_one {
            return Choice::OnlyOne;
        }
        match self.strategy_for(request) {
            Strategy::LeastInFlight => Choice::LeastBusy,
            Strategy::Weighted => Choice::Weight,
            Strategy::Prefix if request.prefix.is_some() => Choice::Conversation,
            Strategy::RoundRobin | Strategy::Prefix => Choice::Turn,
        }
    }

    /// Returns the keys whose turn was before the chosen one's, and which could not be leased, or had better not.
    pub(crate) fn passed_over<'a>(
        &'a self,
        rotation: Rotation,
        chosen: KeyIx,
        room: &Headroom<'a>,
    ) -> Option<impl Iterator<Item = KeyIx> + 'a> {
        // Nearly always it was its turn.
        rotation.before(chosen, self.candidates.len()).next()?;
        // Of what nothing was drawn for now, it is nobody's turn.
        let (those, any) = match room.roomy() {
            Some(roomy) => (Some(rotation.over_before(chosen, roomy)), None),
            None => (None, Some(rotation.before(chosen, self.candidates.len()))),
        };
        // Where something else than the turn decides, those that could be leased were not passed over.
        let in_turn = self.strategy == Strategy::RoundRobin;
        let turns = those.into_iter().flatten().chain(any.into_iter().flatten());
        Some(turns.filter(move |place| in_turn || !self.candidates.contains(*place)).map(KeyIx::at))
    }

    /// Sets the candidates: what may be leased, within reach, by this caller, and not tried yet.
    fn gather(&mut self, roster: &Roster, request: &LeaseRequest, room: &Headroom<'_>) {
        let by_prefix = || self.strategy_for(request) == Strategy::Prefix && request.prefix.is_some();
        let roomy = room.roomy().filter(|_| !by_prefix());
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
        self.is_only_one = candidates.len() > 1 && candidates.ones().nth(1).is_none();
        if let Some(roomy) = roomy {
            candidates.intersect_with(roomy);
        }
    }

    /// Sets those of the candidates that avoid what is better avoided. Whether that makes a difference.
    fn prefer(&mut self, roster: &Roster, request: &LeaseRequest) -> bool {
        let avoids_projects = request.avoid == Avoid::TriedProjects && !request.tried.is_empty();
        let failed_on = request.failed_on.as_ref().and_then(|key| roster.find(key));
        if !avoids_projects && failed_on.is_none() {
            return false;
        }
        self.preferred.clone_from(&self.candidates);
        if let Some(key) = failed_on {
            self.preferred.set(key.position(), false);
        }
        if !avoids_projects {
            return true;
        }
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

/// At random, in proportion to what their projects' limits allow: where nothing else is known, most is left there.
fn by_size(
    candidates: impl Iterator<Item = usize> + Clone,
    room: &Headroom<'_>,
    roster: &Roster,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    let size = |key: usize| room.window(roster.project(KeyIx::at(key)), &roster.members);
    let mut share = rng.f64() * candidates.clone().map(size).sum::<f64>();
    let mut last = None;
    for key in candidates {
        last = Some(key);
        share -= size(key);
        if share < 0.0 {
            break;
        }
    }
    last
}

/// In proportion to the weights: each candidate has as many shares.
fn weighted(
    candidates: impl Iterator<Item = usize> + Clone,
    rotation: Rotation,
    roster: &Roster,
) -> Option<usize> {
    let weight = |key: usize| u64::from(roster.members.get(KeyIx::at(key)).weight);
    let mut share = rotation.share_of(candidates.clone().map(weight).sum());
    for key in candidates {
        match share.checked_sub(weight(key)) {
            Some(left) => share = left,
            None => return Some(key),
        }
    }
    None
}
