//! Everything that cools: keys, projects, the models and tools of a project, and each change of it. How it stands is told in
//! `reading`, when it ends in `timers`, and what other keys and projects mean for it in `moving`.
//!
//! Keeps one bit a key for "may be leased" and one a key and troubled model or tool for "not for this one", so that
//! choosing among a thousand keys reads a few words; nobody else may change a bit. What a fault or a success means is the
//! desk's to judge, and who belongs to which project is told by `members`.

mod claims;
mod cooldown;
mod moving;
mod probe_turn;
mod reading;
mod standing;
mod timers;
mod trouble;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use fixedbitset::FixedBitSet;
use smallvec::SmallVec;

pub(crate) use claims::ClaimWord;
use claims::Claims;
pub(crate) use cooldown::{Cooldown, Passed, Penalty, Struck};
pub(crate) use probe_turn::ProbeTurn;
use standing::Standing;
use timers::Timer;
use trouble::Trouble;

use crate::ids::{KeyIx, Model, Order, ProjectIx, Site};
use crate::members::Members;
use crate::quota::NamedQuota;
use crate::settings::Settings;
use crate::tool::{Tool, Tools};

/// The cooldowns, and what may be leased because of them.
#[derive(Debug)]
pub(crate) struct Cooldowns {
    /// The cooldown of each key, by its index.
    keys: Vec<Cooldown>,
    /// The cooldown of each project, by its index.
    projects: Vec<Cooldown>,
    /// By model, those in trouble.
    troubles: BTreeMap<Model, Trouble>,
    /// Which projects cool for each tool.
    tools: [Trouble; Tool::ALL.len()],
    /// The keys that the operator has disabled.
    disabled: FixedBitSet,
    /// Since when they are.
    disabled_since: Vec<Option<DateTime<Utc>>>,
    /// Since when keys and projects stand as they do, by their indices.
    key_standings: Vec<Standing>,
    project_standings: Vec<Standing>,
    /// The moment at hand.
    wall: DateTime<Utc>,
    ready: FixedBitSet,
    timers: BinaryHeap<Reverse<Timer>>,
    stirred: bool,
    claims: Claims,
}

impl Cooldowns {
    /// Starts with every key open.
    pub(crate) fn new(members: &Members) -> Self {
        let keys = members.len();
        let mut ready = FixedBitSet::with_capacity(keys);
        ready.insert_range(..);
        Self {
            keys: vec![Cooldown::Open; keys],
            projects: vec![Cooldown::Open; members.project_places()],
            troubles: BTreeMap::new(),
            tools: Tool::ALL.map(|_| Trouble::new(keys)),
            disabled: FixedBitSet::with_capacity(keys),
            disabled_since: vec![None; keys],
            key_standings: vec![Standing::default(); keys],
            project_standings: vec![Standing::default(); members.project_places()],
            wall: DateTime::UNIX_EPOCH,
            ready,
            timers: BinaryHeap::new(),
            stirred: false,
            claims: Claims::default(),
        }
    }

    /// Takes down for which quota a site cools now. Only models are told apart by it.
    pub(crate) fn name_quota(&mut self, site: &Site, quota: Option<Arc<NamedQuota>>) {
        let Site::Model(project, model) = site else { return };
        let Some(trouble) = self.troubles.get_mut(model) else { return };
        match quota {
            Some(quota) => trouble.quotas.insert(*project, quota),
            None => trouble.quotas.remove(project),
        };
    }

    /// Takes over since when a key or a project stands as it does.
    pub(crate) fn restore_since(&mut self, site: &Site, since: Option<DateTime<Utc>>) {
        match site {
            Site::Key(key) => self.key_standings[key.position()].began(since),
            Site::Project(project) => {
                if let Some(standing) = self.project_standings.get_mut(project.position()) {
                    standing.began(since);
                }
            }
            Site::Model(..) | Site::Tool(..) => {}
        }
    }

    /// Says what the wall clock shows: what changes next, changes then.
    pub(crate) fn look_at(&mut self, wall: DateTime<Utc>) {
        self.wall = wall;
    }

    /// Says whether something became leasable, or ceased to be, since this was last asked.
    pub(crate) fn take_stirred(&mut self) -> bool {
        std::mem::take(&mut self.stirred)
    }

    /// Notes that those who wait should be looked at, for a reason that no bit shows.
    pub(crate) fn stir(&mut self) {
        self.stirred = true;
    }

    /// Changes the cooldown at a site, which comes into being if need be, and its bits. `change` says `None` when it
    /// changed nothing.
    pub(crate) fn change<T>(
        &mut self,
        site: &Site,
        members: &Members,
        change: impl FnOnce(&mut Cooldown) -> Option<T>,
    ) -> Option<T> {
        let keys = self.keys.len();
        let cooldown = match site {
            Site::Key(key) => &mut self.keys[key.position()],
            Site::Project(project) => &mut self.projects[project.position()],
            Site::Model(project, model) => self
                .troubles
                .entry(model.clone())
                .or_insert_with(|| Trouble::new(keys))
                .cooldowns
                .entry(*project)
                .or_default(),
            Site::Tool(project, tool) => self.tools[*tool as usize].cooldowns.entry(*project).or_default(),
        };
        let result = change(cooldown)?;
        self.refresh(site, members);
        Some(result)
    }

    /// Lets others go in place of a probe that has come back without saying anything, or never will.
    pub(crate) fn release_probe(
        &mut self,
        lease: Order,
        key: KeyIx,
        model: &Model,
        tools: Tools,
        members: &Members,
        settings: &Settings,
    ) {
        let sites = self.change_all(key, model, tools, members, |cooldown| cooldown.release_probe(lease));
        self.await_end(&sites, settings);
    }

    /// The same on a project alone.
    pub(crate) fn release_probe_on(
        &mut self,
        lease: Order,
        project: ProjectIx,
        model: &Model,
        tools: Tools,
        members: &Members,
        settings: &Settings,
    ) {
        let sites = self.change_on(project, model, tools, members, |cooldown| cooldown.release_probe(lease));
        self.await_end(&sites, settings);
    }

    pub(crate) fn set(&mut self, site: &Site, members: &Members, cooldown: Cooldown) {
        self.change(site, members, |present| Some(std::mem::replace(present, cooldown)));
    }

    /// Shows each cooldown that stands before this key, model and tools, and answers at which sites `change` said that it
    /// changed something.
    pub(crate) fn change_all(
        &mut self,
        key: KeyIx,
        model: &Model,
        tools: Tools,
        members: &Members,
        mut change: impl FnMut(&mut Cooldown) -> bool,
    ) -> SmallVec<[Site; 3]> {
        let key_changed = change(&mut self.keys[key.position()]);
        if key_changed {
            self.refresh(&Site::Key(key), members);
        }
        let mut changed = self.change_on(members.project(key), model, tools, members, change);
        if key_changed {
            changed.insert(0, Site::Key(key));
        }
        changed
    }

    /// The same without a key's own.
    pub(crate) fn change_on(
        &mut self,
        project: ProjectIx,
        model: &Model,
        tools: Tools,
        members: &Members,
        mut change: impl FnMut(&mut Cooldown) -> bool,
    ) -> SmallVec<[Site; 3]> {
        let mut changed = SmallVec::new();
        if change(&mut self.projects[project.position()]) {
            changed.push(Site::Project(project));
        }
        if let Some(trouble) = self.troubles.get_mut(model)
            && let Some(cooldown) = trouble.cooldowns.get_mut(&project)
            && change(cooldown)
        {
            changed.push(Site::Model(project, model.clone()));
        }
        if tools.is_empty() && changed.is_empty() {
            return changed;
        }
        for tool in tools.iter() {
            if self.tools[tool as usize].cooldowns.get_mut(&project).is_some_and(&mut change) {
                changed.push(Site::Tool(project, tool));
            }
        }
        for site in &changed {
            self.refresh(site, members);
        }
        changed
    }

    pub(crate) fn disable(&mut self, key: KeyIx, members: &Members, disabled: bool) {
        if self.is_disabled(key) != disabled {
            self.disabled_since[key.position()] = disabled.then_some(self.wall);
        }
        self.disabled.set(key.position(), disabled);
        self.refresh(&Site::Key(key), members);
    }

    /// Takes over since when a disabled key is.
    pub(crate) fn restore_disabled_since(&mut self, key: KeyIx, since: Option<DateTime<Utc>>) {
        self.disabled_since[key.position()] = since;
    }

    /// Opens the cooldowns of the key, of its project and of all models and tools there; returns what was not open.
    pub(crate) fn reset(&mut self, key: KeyIx, members: &Members) -> Vec<Site> {
        let mut sites = self.sites_of(members.project(key));
        if !self.of_key(key).is_open() {
            sites.insert(0, Site::Key(key));
        }
        for site in &sites {
            self.set(site, members, Cooldown::Open);
        }
        sites
    }

    /// Brings the bits in line with the cooldown at this site.
    fn refresh(&mut self, site: &Site, members: &Members) {
        self.stirred = true;
        if self.get(site).is_some_and(Cooldown::is_unclaimed) {
            self.claims.note_unclaimed(site.clone());
        }
        match site {
            Site::Key(key) => {
                self.key_standings[key.position()].look(&self.keys[key.position()], self.wall);
                self.refresh_key(*key, members);
            }
            Site::Project(project) => {
                let cooldown = &self.projects[project.position()];
                self.project_standings[project.position()].look(cooldown, self.wall);
                for key in members.of(*project) {
                    self.refresh_key(*key, members);
                }
            }
            Site::Model(project, model) => {
                let Some(trouble) = self.troubles.get_mut(model) else { return };
                trouble.refresh(*project, members.of(*project));
                if trouble.cooldowns.is_empty() {
                    self.troubles.remove(model);
                }
            }
            Site::Tool(project, tool) => {
                self.tools[*tool as usize].refresh(*project, members.of(*project));
            }
        }
    }

    fn refresh_key(&mut self, key: KeyIx, members: &Members) {
        let ready = !self.is_disabled(key)
            && self.of_key(key).admits()
            && self.of_project(members.project(key)).admits();
        self.ready.set(key.position(), ready);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::key::KeySpec;
    use crate::reason::Reason;

    #[test]
    fn a_model_out_of_trouble_leaves_nothing_behind() {
        let members = Members::new(vec![KeySpec::new("a"), KeySpec::new("b")]).unwrap();
        let mut cooldowns = Cooldowns::new(&members);
        let cooling = || Cooldown::restored(Duration::from_secs(1), false, 0, Reason::QuotaMinute);
        let sites = [0, 1].map(|project| Site::Model(ProjectIx::at(project), Some("m".into())));
        for site in &sites {
            cooldowns.set(site, &members, cooling());
        }
        assert_eq!(cooldowns.blocked(&Some("m".into())).map(|blocked| blocked.count_ones(..)), Some(2));
        for site in &sites {
            cooldowns.set(site, &members, Cooldown::Open);
        }
        assert!(cooldowns.troubles.is_empty());
    }
}
