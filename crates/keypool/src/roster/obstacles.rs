//! What keeps keys from a request, for the operator who is told of it afterwards. Only reads the roster, and a bounded
//! number of keys; what may be leased is decided by the selector. The desk and the pool ask.

use std::time::Duration;

use super::Roster;
use crate::choice::{Obstacle, PassedKeys, PassedOver};
use crate::cooldowns::Cooldown;
use crate::counters::Headroom;
use crate::ids::KeyIx;
use crate::key::KeyId;
use crate::lease_request::{Avoid, LeaseRequest, Reach};
use crate::reason::Reason;

impl PassedOver {
    fn add(&mut self, found: Found, key: &KeyId) {
        let Found { obstacle, reason, back_in } = found;
        let Some(group) = self.groups.iter_mut().find(|group| group.obstacle == obstacle) else {
            self.groups.push(PassedKeys { obstacle, keys: 1, first: key.clone(), reason, back_in });
            return;
        };
        group.keys += 1;
        if back_in.is_some_and(|back_in| group.back_in.is_none_or(|first| back_in < first)) {
            (group.first, group.reason, group.back_in) = (key.clone(), reason, back_in);
        }
    }
}

/// What keeps one key away.
#[derive(Clone, Copy)]
struct Found {
    obstacle: Obstacle,
    reason: Option<Reason>,
    back_in: Option<Duration>,
}

impl Roster {
    /// Says what keeps each of these keys from the request, of so many of them at most; `None` if nothing does.
    pub(crate) fn obstacles(
        &self,
        keys: impl Iterator<Item = KeyIx>,
        most: usize,
        request: &LeaseRequest,
        now: Duration,
    ) -> Option<Box<PassedOver>> {
        // Nearly always there is none, which must cost nothing.
        let mut keys = keys.peekable();
        keys.peek()?;
        let model = self.counters.model(&request.model);
        let room = self.counters.headroom(model, request, request.waited, now);
        let mut passed = PassedOver::default();
        for key in keys.by_ref().take(most) {
            if let Some(found) = self.obstacle(key, request, &room, now) {
                passed.add(found, &self.members.get(key).id);
            }
        }
        passed.more = u32::try_from(keys.count()).unwrap_or(u32::MAX);
        (!passed.groups.is_empty() || passed.more > 0).then(|| Box::new(passed))
    }

    /// The same of every key that can serve the request at all.
    pub(crate) fn obstacles_within_reach(
        &self,
        most: usize,
        request: &LeaseRequest,
        now: Duration,
    ) -> Option<Box<PassedOver>> {
        match &request.reach {
            Reach::Any => self.obstacles(self.members.iter().map(|(key, _)| key), most, request, now),
            Reach::ProjectOf(key) => {
                let project = self.project(self.find(key)?);
                self.obstacles(self.members.of(project).iter().copied(), most, request, now)
            }
            Reach::Only(key) => self.obstacles(self.find(key).into_iter(), most, request, now),
        }
    }

    fn obstacle(
        &self,
        ix: KeyIx,
        request: &LeaseRequest,
        room: &Headroom<'_>,
        now: Duration,
    ) -> Option<Found> {
        let Self { members, cooldowns, .. } = self;
        let key = members.get(ix);
        let plain = |obstacle| Some(Found { obstacle, reason: None, back_in: None });
        if cooldowns.is_disabled(ix) {
            return plain(Obstacle::Disabled);
        }
        if !request.may_use(&key.id) {
            return plain(Obstacle::NotAllowed);
        }
        let own = [cooldowns.of_key(ix), cooldowns.of_project(key.project)];
        if let Some(reason) = own.iter().find_map(|cooldown| cooldown.retired_for()) {
            return Some(Found { obstacle: Obstacle::Retired, reason: Some(reason), back_in: None });
        }
        if request.tried.contains(&key.id) {
            return plain(Obstacle::Tried);
        }
        let own = own.into_iter().map(|cooldown| (Obstacle::Cooling, cooldown));
        let of_model = cooldowns.of_model(key.project, &request.model);
        let of_tools = request.tools.iter().filter_map(|tool| cooldowns.of_tool(key.project, tool));
        let standing = own
            .chain(of_model.map(|cooldown| (Obstacle::ModelCooling, cooldown)))
            .chain(of_tools.map(|cooldown| (Obstacle::ToolCooling, cooldown)));
        if let Some((obstacle, cooldown)) = standing.into_iter().find(|(_, cooldown)| !cooldown.admits()) {
            let reason = cooldown.streak().map(|streak| streak.reason);
            return Some(match cooldown {
                Cooldown::Cooling { until, .. } => {
                    Found { obstacle, reason, back_in: Some(until.saturating_sub(now)) }
                }
                _ => Found { obstacle: Obstacle::Probed, reason, back_in: None },
            });
        }
        if !room.may_hold(key.project, members) {
            return plain(Obstacle::TooSmall);
        }
        let opens = room.opens(key.project, members);
        if opens > now {
            // Where other nodes share it, it is not full: nothing of it was drawn.
            if room.draws_from(key.project, members) {
                return None;
            }
            let back_in = Some(opens.saturating_sub(now));
            return Some(Found { obstacle: Obstacle::Full, reason: None, back_in });
        }
        if request.failed_on.as_ref() == Some(&key.id) {
            return plain(Obstacle::JustFailed);
        }
        let mut tried = request.tried.iter().filter_map(|tried| self.find(tried));
        let is_sibling =
            request.avoid == Avoid::TriedProjects && tried.any(|tried| members.project(tried) == key.project);
        if is_sibling { plain(Obstacle::ProjectTried) } else { None }
    }
}
