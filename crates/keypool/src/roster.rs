//! Who is in the pool and how each stands: keys, their projects, the models of a project, with their cooldowns and the
//! timers that end them. Keeps one bit a key for "may be leased" and one a key and troubled model for "not for this
//! model", so that choosing among a thousand keys reads a few words. Chooses nobody and judges nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fixedbitset::FixedBitSet;
use smallvec::SmallVec;

use crate::cooldown::{Cooldown, Passed};
use crate::effect::{Effect, Effects, Event};
use crate::error::PoolError;
use crate::key::{KeyId, KeyIx, KeySpec, Project};
use crate::now::Now;
use crate::record::Owner;
use crate::settings::Settings;

/// A model's name; requests that name none have a place of their own.
pub(crate) type Model = Option<Arc<str>>;

/// Where a cooldown sits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    Key(KeyIx),
    Project(ProjectIx),
    Model(ProjectIx, Model),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ProjectIx(pub u32);

#[derive(Debug)]
pub(crate) struct Key {
    pub id: KeyId,
    pub project: ProjectIx,
    pub weight: u32,
    pub disabled: bool,
    pub cooldown: Cooldown,
    /// Transport faults since the last success.
    pub failures: u32,
    pub in_flight: u32,
    pub totals: Totals,
}

/// What became of a key's leases since the pool was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Granted.
    pub leases: u64,
    /// Settled as a success.
    pub successes: u64,
    /// Settled with a fault, whoever is to blame.
    pub faults: u64,
    /// Settled as abandoned.
    pub abandoned: u64,
}

#[derive(Debug)]
pub(crate) struct Group {
    pub owner: Owner,
    pub members: Vec<KeyIx>,
    pub cooldown: Cooldown,
}

/// The projects on which a model is in trouble.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub cooldowns: BTreeMap<ProjectIx, Cooldown>,
    /// The keys that may not be leased for this model.
    pub blocked: FixedBitSet,
}

#[derive(Debug, PartialEq, Eq)]
struct Timer {
    at: Duration,
    site: Site,
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) keys: Vec<Key>,
    by_id: HashMap<KeyId, KeyIx>,
    pub(crate) projects: Vec<Group>,
    pub(crate) by_owner: HashMap<Owner, ProjectIx>,
    pub(crate) troubles: BTreeMap<Model, Trouble>,
    ready: FixedBitSet,
    timers: BinaryHeap<Reverse<Timer>>,
    stirred: bool,
}

impl Roster {
    pub(crate) fn new(specs: Vec<KeySpec>) -> Result<Self, PoolError> {
        if specs.is_empty() {
            return Err(PoolError::NoKeys);
        }
        let mut roster = Self {
            keys: Vec::with_capacity(specs.len()),
            by_id: HashMap::with_capacity(specs.len()),
            projects: Vec::new(),
            by_owner: HashMap::new(),
            troubles: BTreeMap::new(),
            ready: FixedBitSet::with_capacity(specs.len()),
            timers: BinaryHeap::new(),
            stirred: false,
        };
        for (ix, spec) in (0..).map(KeyIx).zip(specs) {
            if spec.weight == 0 {
                return Err(PoolError::ZeroWeight(spec.id));
            }
            if roster.by_id.insert(spec.id.clone(), ix).is_some() {
                return Err(PoolError::DuplicateKey(spec.id));
            }
            let owner = spec.project.map_or_else(|| Owner::Key(spec.id.clone()), Owner::Project);
            let project = roster.project_of_owner(owner);
            roster.projects[project.0 as usize].members.push(ix);
            roster.ready.insert(ix.position());
            roster.keys.push(Key {
                id: spec.id,
                project,
                weight: spec.weight,
                disabled: false,
                cooldown: Cooldown::Open,
                failures: 0,
                in_flight: 0,
                totals: Totals::default(),
            });
        }
        Ok(roster)
    }

    fn project_of_owner(&mut self, owner: Owner) -> ProjectIx {
        let projects = &mut self.projects;
        *self.by_owner.entry(owner).or_insert_with_key(|owner| {
            projects.push(Group { owner: owner.clone(), members: Vec::new(), cooldown: Cooldown::Open });
            // There are no more projects than keys, and those are counted in 32 bits.
            ProjectIx(u32::try_from(projects.len() - 1).unwrap_or(u32::MAX))
        })
    }

    pub(crate) fn find(&self, id: &KeyId) -> Option<KeyIx> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub(crate) fn get(&self, key: KeyIx) -> Option<&Key> {
        self.keys.get(key.position())
    }

    pub(crate) fn key_mut(&mut self, key: KeyIx) -> &mut Key {
        &mut self.keys[key.position()]
    }

    pub(crate) fn project(&self, key: KeyIx) -> ProjectIx {
        self.keys[key.position()].project
    }

    pub(crate) fn label(&self, project: ProjectIx) -> Option<&Project> {
        match &self.projects[project.0 as usize].owner {
            Owner::Project(label) => Some(label),
            Owner::Key(_) => None,
        }
    }

    pub(crate) fn project_cooldown(&self, project: ProjectIx) -> &Cooldown {
        &self.projects[project.0 as usize].cooldown
    }

    pub(crate) fn members(&self, project: ProjectIx) -> &[KeyIx] {
        &self.projects[project.0 as usize].members
    }

    /// The keys that may be leased, but for the troubles of models.
    pub(crate) fn ready(&self) -> &FixedBitSet {
        &self.ready
    }

    /// The keys that may not be leased for this model, if it is in trouble.
    pub(crate) fn blocked(&self, model: &Model) -> Option<&FixedBitSet> {
        self.troubles.get(model).map(|trouble| &trouble.blocked)
    }

    /// Each model in trouble on this project.
    pub(crate) fn troubles(&self, project: ProjectIx) -> impl Iterator<Item = (&Model, &Cooldown)> {
        self.troubles
            .iter()
            .filter_map(move |(model, trouble)| Some((model, trouble.cooldowns.get(&project)?)))
    }

    /// Whether something became leasable, or ceased to be, since this was last asked.
    pub(crate) fn take_stirred(&mut self) -> bool {
        std::mem::take(&mut self.stirred)
    }

    /// The next time at which something ends.
    pub(crate) fn next_timer(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse(timer)| timer.at)
    }

    pub(crate) fn set_timer(&mut self, at: Duration, site: Site) {
        self.timers.push(Reverse(Timer { at, site }));
    }

    /// Ends what is over by now.
    pub(crate) fn expire(&mut self, now: Now, settings: &Settings, effects: &mut Effects) {
        while self.next_timer().is_some_and(|at| at <= now.mono) {
            let Some(Reverse(Timer { site, .. })) = self.timers.pop() else { return };
            let Some(cooldown) = self.existing(&site) else { continue };
            match cooldown.pass(now.mono, settings) {
                Passed::Nothing => continue,
                Passed::Over { forget_at } => {
                    effects.log(Event::CooldownOver { subject: self.subject(&site) });
                    self.set_timer(forget_at, site.clone());
                }
                Passed::ProbeGivenUp => {}
                Passed::Forgotten => effects.push(Effect::Persist(self.record(&site, now))),
            }
            self.refresh(&site);
        }
    }

    fn existing(&mut self, site: &Site) -> Option<&mut Cooldown> {
        match site {
            Site::Key(key) => self.keys.get_mut(key.position()).map(|key| &mut key.cooldown),
            Site::Project(project) => {
                self.projects.get_mut(project.0 as usize).map(|group| &mut group.cooldown)
            }
            Site::Model(project, model) => self.troubles.get_mut(model)?.cooldowns.get_mut(project),
        }
    }

    pub(crate) fn peek(&self, site: &Site) -> Option<&Cooldown> {
        match site {
            Site::Key(key) => self.keys.get(key.position()).map(|key| &key.cooldown),
            Site::Project(project) => self.projects.get(project.0 as usize).map(|group| &group.cooldown),
            Site::Model(project, model) => self.troubles.get(model)?.cooldowns.get(project),
        }
    }

    /// Changes the cooldown at a site, which comes into being if need be, and its bits. `change` says `None` when it
    /// changed nothing.
    pub(crate) fn change<T>(
        &mut self,
        site: &Site,
        change: impl FnOnce(&mut Cooldown) -> Option<T>,
    ) -> Option<T> {
        let keys = self.keys.len();
        let cooldown = match site {
            Site::Key(key) => &mut self.keys[key.position()].cooldown,
            Site::Project(project) => &mut self.projects[project.0 as usize].cooldown,
            Site::Model(project, model) => self
                .troubles
                .entry(model.clone())
                .or_insert_with(|| Trouble {
                    cooldowns: BTreeMap::new(),
                    blocked: FixedBitSet::with_capacity(keys),
                })
                .cooldowns
                .entry(*project)
                .or_default(),
        };
        let result = change(cooldown)?;
        self.refresh(site);
        Some(result)
    }

    pub(crate) fn set(&mut self, site: &Site, cooldown: Cooldown) {
        self.change(site, |present| Some(std::mem::replace(present, cooldown)));
    }

    /// Shows each cooldown that stands before this key and model, and answers at which sites `change` said that it
    /// changed something.
    pub(crate) fn change_all(
        &mut self,
        key: KeyIx,
        model: &Model,
        mut change: impl FnMut(&mut Cooldown) -> bool,
    ) -> SmallVec<[Site; 3]> {
        let mut changed = SmallVec::new();
        let entry = &mut self.keys[key.position()];
        let project = entry.project;
        if change(&mut entry.cooldown) {
            changed.push(Site::Key(key));
        }
        if change(&mut self.projects[project.0 as usize].cooldown) {
            changed.push(Site::Project(project));
        }
        if let Some(trouble) = self.troubles.get_mut(model)
            && let Some(cooldown) = trouble.cooldowns.get_mut(&project)
            && change(cooldown)
        {
            changed.push(Site::Model(project, model.clone()));
        }
        for site in &changed {
            self.refresh(site);
        }
        changed
    }

    pub(crate) fn disable(&mut self, key: KeyIx, disabled: bool) {
        self.key_mut(key).disabled = disabled;
        self.refresh(&Site::Key(key));
    }

    /// Opens the cooldowns of the key, of its project and of all models there; answers what was not open.
    pub(crate) fn reset(&mut self, key: KeyIx) -> Vec<Site> {
        let project = self.project(key);
        let mut sites = vec![Site::Key(key), Site::Project(project)];
        sites.extend(self.troubles(project).map(|(model, _)| Site::Model(project, model.clone())));
        sites.retain(|site| self.peek(site).is_some_and(|cooldown| !cooldown.is_open()));
        for site in &sites {
            self.set(site, Cooldown::Open);
        }
        self.key_mut(key).failures = 0;
        sites
    }

    /// Brings the bits in line with the cooldown at this site.
    fn refresh(&mut self, site: &Site) {
        self.stirred = true;
        match site {
            Site::Key(key) => self.refresh_key(*key),
            Site::Project(project) => {
                for at in 0..self.members(*project).len() {
                    self.refresh_key(self.members(*project)[at]);
                }
            }
            Site::Model(project, model) => {
                let Some(trouble) = self.troubles.get_mut(model) else { return };
                let Some(cooldown) = trouble.cooldowns.get(project) else { return };
                let blocked = !cooldown.admits();
                for key in &self.projects[project.0 as usize].members {
                    trouble.blocked.set(key.position(), blocked);
                }
                if cooldown.is_open() {
                    trouble.cooldowns.remove(project);
                    if trouble.cooldowns.is_empty() {
                        self.troubles.remove(model);
                    }
                }
            }
        }
    }

    fn refresh_key(&mut self, ix: KeyIx) {
        let key = &self.keys[ix.position()];
        let ready = !key.disabled && key.cooldown.admits() && self.project_cooldown(key.project).admits();
        self.ready.set(ix.position(), ready);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_out_of_trouble_leaves_nothing_behind() {
        let mut roster = Roster::new(vec![KeySpec::new("a"), KeySpec::new("b")]).unwrap();
        let cooling = || Cooldown::restored(Duration::from_secs(1), 0, crate::Reason::QuotaMinute);
        let sites = [0, 1].map(|project| Site::Model(ProjectIx(project), Some("m".into())));
        for site in &sites {
            roster.set(site, cooling());
        }
        assert_eq!(roster.blocked(&Some("m".into())).map(|blocked| blocked.count_ones(..)), Some(2));
        for site in &sites {
            roster.set(site, Cooldown::Open);
        }
        assert!(roster.troubles.is_empty());
    }
}
