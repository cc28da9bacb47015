//! Where something is in trouble: one model or one tool, and the projects on which it cools, with one bit a key for
//! "not for this one". There is one for each model in trouble and one for each tool.

use std::collections::BTreeMap;
use std::sync::Arc;

use fixedbitset::FixedBitSet;

use super::cooldown::Cooldown;
use crate::ids::{KeyIx, ProjectIx};
use crate::members::Members;
use crate::quota::NamedQuota;

#[derive(Debug)]
pub(super) struct Trouble {
    /// None of them is open.
    pub cooldowns: BTreeMap<ProjectIx, Cooldown>,
    /// The quota for which it cools, where a refusal named it.
    pub quotas: BTreeMap<ProjectIx, Arc<NamedQuota>>,
    /// The keys that may not be leased for this.
    pub blocked: FixedBitSet,
}

impl Trouble {
    pub(super) fn new(keys: usize) -> Self {
        Self {
            cooldowns: BTreeMap::new(),
            quotas: BTreeMap::new(),
            blocked: FixedBitSet::with_capacity(keys),
        }
    }

    /// Brings the bits of a project's keys in line with its cooldown, and forgets one that is open.
    pub(super) fn refresh(&mut self, project: ProjectIx, members: &[KeyIx]) {
        let Some(cooldown) = self.cooldowns.get(&project) else { return };
        let blocked = !cooldown.admits();
        for key in members {
            self.blocked.set(key.position(), blocked);
        }
        if cooldown.is_open() {
            self.cooldowns.remove(&project);
            self.quotas.remove(&project);
        }
    }

    /// Forgets a project that is no more. Its keys' bits stay as they are.
    pub(super) fn forget(&mut self, project: ProjectIx) {
        self.cooldowns.remove(&project);
        self.quotas.remove(&project);
    }

    /// Brings all bits in line with the cooldowns.
    pub(super) fn rebuild(&mut self, members: &Members) {
        self.blocked.clear();
        let closed = self.cooldowns.iter().filter(|(_, cooldown)| !cooldown.admits());
        for key in closed.flat_map(|(project, _)| members.of(*project)) {
            self.blocked.insert(key.position());
        }
    }
}
