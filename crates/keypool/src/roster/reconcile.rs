//! Another set of keys: what is forgotten with those that go, what moves with those that stay, and which projects there
//! are then. That a key is gone is forgotten in the store too: one that comes back under its name begins anew, in this
//! life of the pool and in the next.

use std::collections::BTreeSet;

use meter::Now;

use super::siblings::FoundBy;
use super::{Moved, Roster};
use crate::effect::{Effect, Effects};
use crate::ids::{KeyIx, ProjectIx, Site};
use crate::key::KeySpec;
use crate::key_set::Reconciled;
use crate::moves::Moves;
use crate::record::{Record, Subject};
use crate::settings::Settings;

impl Roster {
    /// Takes these keys in place of those it has. Returns how the set has changed, and what follows from it for leases.
    pub(crate) fn reconcile(
        &mut self,
        specs: Vec<KeySpec>,
        moves: &Moves,
        now: Now,
        settings: &Settings,
        effects: &mut Effects,
    ) -> (Reconciled, Moved) {
        let reconciled = self.compare(&specs, moves);
        let renamed: BTreeSet<KeyIx> = moves
            .from()
            .zip(&specs)
            .filter_map(|((key, from), spec)| (self.members.get(from?).id != spec.id).then_some(key))
            .collect();
        for subject in self.subjects_of_former(moves, &renamed) {
            effects.push(Effect::Persist(Record::clear(subject)));
        }
        let mut vacated = Vec::new();
        for project in self.members.projects().filter(|project| self.is_deserted(*project, moves)) {
            vacated.push(project);
        }
        for project in &vacated {
            for subject in self.forget_project(*project) {
                effects.push(Effect::Persist(Record::clear(subject)));
            }
        }
        self.members.rearrange(specs, moves);
        self.cooldowns.move_keys(moves, &self.members);
        self.counters.move_keys(moves);
        let mut moved = self.regroup(FoundBy::Others, now, settings, effects);
        moved.vacated.extend(vacated);
        for (key, from) in moves.from() {
            if renamed.contains(&key) {
                self.counters.write_anew(key, now.mono);
            }
            // What the store may have of a former key of this name is not a new one's.
            if from.is_none() || renamed.contains(&key) {
                effects.push(Effect::Persist(self.record(&Site::Key(key), now)));
            }
        }
        if !renamed.is_empty() {
            // At once, since what the store had under the former names is forgotten.
            self.counters.write_out(&self.members, now, effects);
        }
        (reconciled, moved)
    }

    fn compare(&self, specs: &[KeySpec], moves: &Moves) -> Reconciled {
        let mut reconciled = Reconciled {
            removed: moves.gone().map(|key| self.members.get(key).id.clone()).collect(),
            ..Reconciled::default()
        };
        for ((_, from), spec) in moves.from().zip(specs) {
            let Some(former) = from.map(|from| self.members.get(from)) else {
                reconciled.added.push(spec.id.clone());
                continue;
            };
            let same = (&former.id, &former.label, former.weight) == (&spec.id, &spec.project, spec.weight);
            if !same {
                reconciled.changed.push(spec.id.clone());
            }
        }
        reconciled
    }

    /// Returns under which names something is kept of the keys that are gone, or have another name.
    fn subjects_of_former(&self, moves: &Moves, renamed: &BTreeSet<KeyIx>) -> Vec<Subject> {
        let is_former = |key: KeyIx| moves.of(key).is_none_or(|present| renamed.contains(&present));
        let mut subjects = self.counters.usage_subjects(&self.members, is_former);
        let former = self.members.iter().filter(|(key, _)| is_former(*key));
        subjects.extend(former.map(|(_, member)| Subject::Key { key: member.id.clone() }));
        subjects
    }

    /// Tells whether a project has keys of which none stays.
    fn is_deserted(&self, project: ProjectIx, moves: &Moves) -> bool {
        let keys = self.members.of(project);
        !keys.is_empty() && keys.iter().all(|key| moves.of(*key).is_none())
    }

    /// Forgets all that is known of a project, and returns under which names it is kept.
    fn forget_project(&mut self, project: ProjectIx) -> Vec<Subject> {
        let sites = self.cooldowns.forget(project);
        let mut subjects: Vec<_> = sites.iter().map(|site| self.subject(site)).collect();
        subjects.extend(self.counters.forget_budgets(project, &self.members));
        self.members.vacate(project);
        subjects
    }
}
