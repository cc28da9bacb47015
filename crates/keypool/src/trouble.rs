//! Where something is in trouble: one model or one tool, and the projects on which it cools, with one bit a key for
//! "not for this one". The roster holds one for each model in trouble and one for each tool.

use std::collections::BTreeMap;

use fixedbitset::FixedBitSet;

use crate::cooldown::Cooldown;
use crate::key::KeyIx;
use crate::roster::ProjectIx;

#[derive(Debug)]
pub(crate) struct Trouble {
    /// None of them is open.
    pub cooldowns: BTreeMap<ProjectIx, Cooldown>,
    /// The keys that may not be leased for this.
    pub blocked: FixedBitSet,
}

impl Trouble {
    pub(crate) fn new(keys: usize) -> Self {
        Self { cooldowns: BTreeMap::new(), blocked: FixedBitSet::with_capacity(keys) }
    }

    /// Brings the bits of a project's keys in line with its cooldown, and forgets one that is open.
    pub(crate) fn refresh(&mut self, project: ProjectIx, members: &[KeyIx]) {
        let Some(cooldown) = self.cooldowns.get(&project) else { return };
        let blocked = !cooldown.admits();
        for key in members {
            self.blocked.set(key.position(), blocked);
        }
        if cooldown.is_open() {
            self.cooldowns.remove(&project);
        }
    }
}
