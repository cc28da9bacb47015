//! Another set of keys, or other rules, while leases are out and requests wait. What becomes of keys and projects is the
//! roster's matter; here is what hangs on them: leases, the route, whose turn it is, and those who wait.

use std::collections::HashMap;

use meter::Now;

use crate::desk::Desk;
use crate::effect::Effects;
use crate::error::PoolError;
use crate::key::KeyId;
use crate::key_set::{KeySet, Reconciled};
use crate::lease_request::{LeaseRequest, Reach};
use crate::moves::Moves;
use crate::roster::{Moved, Roster};
use crate::settings::Settings;
use crate::waiting::Waiting;

impl Desk {
    /// Takes another set of keys. One that is refused changes nothing.
    pub(crate) fn reconcile(
        &mut self,
        set: KeySet,
        waiting: &mut Waiting,
        now: Now,
        effects: &mut Effects,
    ) -> Result<Reconciled, PoolError> {
        if self.roster.members.are(&set) {
            return Ok(Reconciled::default());
        }
        let moves = self.roster.members.moves_to(&set)?;
        self.roster.expire(now, &self.settings, effects);
        self.release_probes_of_gone(&moves);
        if !waiting.is_empty() {
            let names = Names::between(self, &set, &moves);
            waiting.change(|request| names.apply(request));
        }
        let (reconciled, moved) = self.roster.reconcile(set.keys, &moves, now, &self.settings, effects);
        self.leases.move_keys(&moves);
        self.follow(&moved);
        self.route.move_keys(&moves);
        self.selector.reconcile(&self.roster, &moves, &set.identities, &moved.vacated);
        Ok(reconciled)
    }

    /// Lets others go in place of the probes on keys that go: their reports will say nothing of where they are awaited.
    fn release_probes_of_gone(&mut self, moves: &Moves) {
        let Roster { members, cooldowns, counters, .. } = &mut self.roster;
        for (order, out) in self.leases.out() {
            if let Some(key) = out.key.filter(|key| moves.of(*key).is_none()) {
                let model = counters.name(out.model);
                cooldowns.release_probe(order, key, model, out.tools, members, &self.settings);
            }
        }
    }

    /// Keys have other projects than before. Others may go in place of the probes that are awaited where their keys no
    /// longer are; what was counted on a project that is no more is forgotten.
    pub(crate) fn follow(&mut self, moved: &Moved) {
        self.leases.forget_bookings(&moved.vacated);
        if moved.strangers.is_empty() {
            return;
        }
        let Roster { members, cooldowns, counters, .. } = &mut self.roster;
        for (order, out) in self.leases.out() {
            if let Some(project) = out.key.and_then(|key| moved.strangers.get(&key)) {
                let model = counters.name(out.model);
                cooldowns.release_probe_on(order, *project, model, out.tools, members, &self.settings);
            }
        }
    }

    /// Takes other rules and limits. What is under way ends as it began: cooldowns keep their ends, and those who wait
    /// their deadlines. Rules that are refused change nothing.
    pub(crate) fn set_rules(&mut self, rules: Settings) -> Result<(), PoolError> {
        rules.check()?;
        let roster = &mut self.roster;
        roster.counters.set_limits(&rules.limits, &roster.members);
        roster.cooldowns.set_timers(&roster.members, &rules);
        // Limits may have gone.
        roster.cooldowns.stir();
        self.selector.set_strategy(rules.strategy);
        self.settings = rules;
        Ok(())
    }
}

/// What those who wait call keys that are gone, or have another name now.
struct Names {
    /// The present names of keys that stay.
    renamed: HashMap<KeyId, KeyId>,
    /// For keys that are gone, one of the same project that stays.
    siblings: HashMap<KeyId, KeyId>,
}

impl Names {
    fn between(desk: &Desk, set: &KeySet, moves: &Moves) -> Self {
        let members = &desk.roster.members;
        let present = |former| Some(set.keys[moves.of(former)?.position()].id.clone());
        let (mut renamed, mut siblings) = (HashMap::new(), HashMap::new());
        for (key, member) in members.iter() {
            match present(key) {
                Some(name) if name != member.id => {
                    renamed.insert(member.id.clone(), name);
                }
                Some(_) => {}
                None => {
                    let sibling = members.of(member.project).iter().copied().find_map(present);
                    siblings.extend(sibling.map(|sibling| (member.id.clone(), sibling)));
                }
            }
        }
        Self { renamed, siblings }
    }

    fn apply(&self, request: &mut LeaseRequest) {
        let renamed = |key: &mut KeyId| {
            if let Some(name) = self.renamed.get(key) {
                *key = name.clone();
            }
        };
        request.failed_on.iter_mut().for_each(renamed);
        request.tried =
            request.tried.iter().map(|key| self.renamed.get(key).unwrap_or(key).clone()).collect();
        match &mut request.reach {
            Reach::Any => {}
            Reach::Only(key) => renamed(key),
            Reach::ProjectOf(key) => {
                renamed(key);
                if let Some(sibling) = self.siblings.get(key) {
                    *key = sibling.clone();
                }
            }
        }
    }
}
