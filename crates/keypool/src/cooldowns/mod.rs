//! Everything that cools: keys, projects, the models and tools of a project, with the timers that end their cooldowns.
//! Keeps one bit a key for "may be leased" and one a key and troubled model or tool for "not for this one", so that
//! choosing among a thousand keys reads a few words; nobody else may change a bit. What a fault or a success means is the
//! desk's to judge, and who belongs to which project is told by `members`.

mod claims;
mod cooldown;
mod probe_turn;
mod standing;
mod trouble;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use fixedbitset::FixedBitSet;
use meter::{Now, Parted};
use smallvec::SmallVec;

pub(crate) use claims::ClaimWord;
use claims::Claims;
pub(crate) use cooldown::{Cooldown, Passed, Penalty, Struck};
pub(crate) use probe_turn::ProbeTurn;
use standing::Standing;
use trouble::Trouble;

use crate::company::Company;
use crate::ids::{KeyIx, Model, ProjectIx, Site};
use crate::members::Members;
use crate::moves::Moves;
use crate::quota::NamedQuota;
use crate::settings::Settings;
use crate::tool::{Tool, Tools};

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

    pub(crate) fn get(&self, site: &Site) -> Option<&Cooldown> {
        match site {
            Site::Key(key) => self.keys.get(key.position()),
            Site::Project(project) => self.projects.get(project.position()),
            Site::Model(project, model) => self.of_model(*project, model),
            Site::Tool(project, tool) => self.of_tool(*project, *tool),
        }
    }

    pub(crate) fn of_key(&self, key: KeyIx) -> &Cooldown {
        &self.keys[key.position()]
    }

    pub(crate) fn of_project(&self, project: ProjectIx) -> &Cooldown {
        &self.projects[project.position()]
    }

    pub(crate) fn of_model(&self, project: ProjectIx, model: &Model) -> Option<&Cooldown> {
        self.troubles.get(model)?.cooldowns.get(&project)
    }

    pub(crate) fn of_tool(&self, project: ProjectIx, tool: Tool) -> Option<&Cooldown> {
        self.tools[tool as usize].cooldowns.get(&project)
    }

    /// Returns the quota for which a model cools on a project, if it does and a refusal named it.
    pub(crate) fn quota_of(&self, project: ProjectIx, model: &Model) -> Option<&Arc<NamedQuota>> {
        let trouble = self.troubles.get(model)?;
        let cools = matches!(trouble.cooldowns.get(&project), Some(Cooldown::Cooling { .. }));
        trouble.quotas.get(&project).filter(|_| cools)
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

    /// Returns the keys that may be leased, but for the troubles of models and tools.
    pub(crate) fn ready(&self) -> &FixedBitSet {
        &self.ready
    }

    /// Returns the keys that may not be leased for this model, if it is in trouble.
    pub(crate) fn blocked(&self, model: &Model) -> Option<&FixedBitSet> {
        self.troubles.get(model).map(|trouble| &trouble.blocked)
    }

    /// Returns the keys that may not be leased for this tool.
    pub(crate) fn blocked_tool(&self, tool: Tool) -> &FixedBitSet {
        &self.tools[tool as usize].blocked
    }

    pub(crate) fn is_disabled(&self, key: KeyIx) -> bool {
        self.disabled.contains(key.position())
    }

    /// Returns since when the operator has disabled a key, if that is so and known.
    pub(crate) fn disabled_since(&self, key: KeyIx) -> Option<DateTime<Utc>> {
        self.disabled_since[key.position()].filter(|_| self.is_disabled(key))
    }

    /// Returns since when a key by itself, or a project, stands as it does, where that is known.
    pub(crate) fn stands_since(&self, site: &Site) -> Option<DateTime<Utc>> {
        let (standing, cooldown) = match site {
            Site::Key(key) => (self.key_standings[key.position()], self.of_key(*key)),
            Site::Project(project) => {
                (*self.project_standings.get(project.position())?, self.of_project(*project))
            }
            Site::Model(..) | Site::Tool(..) => return None,
        };
        standing.since(cooldown)
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

    /// Returns each tool in trouble on this project.
    pub(crate) fn tools_of(&self, project: ProjectIx) -> impl Iterator<Item = (Tool, &Cooldown)> {
        Tool::ALL.into_iter().filter_map(move |tool| Some((tool, self.of_tool(project, tool)?)))
    }

    /// Returns each model in trouble on this project.
    pub(crate) fn models_of(&self, project: ProjectIx) -> impl Iterator<Item = (&Model, &Cooldown)> {
        self.troubles
            .iter()
            .filter_map(move |(model, trouble)| Some((model, trouble.cooldowns.get(&project)?)))
    }

    /// Returns where models and tools cool, on any project.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Site> + '_ {
        let models = self.troubles.iter().flat_map(|(model, trouble)| {
            trouble.cooldowns.keys().map(|project| Site::Model(*project, model.clone()))
        });
        let tools = Tool::ALL.into_iter().flat_map(|tool| {
            self.tools[tool as usize].cooldowns.keys().map(move |project| Site::Tool(*project, tool))
        });
        models.chain(tools)
    }

    /// Returns all sites: each key, each project, and where models and tools cool.
    fn sites(&self, members: &Members) -> Vec<Site> {
        let keys = members.iter().map(|(key, _)| Site::Key(key));
        keys.chain(members.projects().map(Site::Project)).chain(self.parts()).collect()
    }

    /// Returns where a model cools.
    pub(crate) fn sites_of_model(&self, model: &Model) -> Vec<Site> {
        let projects = self.troubles.get(model).into_iter().flat_map(|trouble| trouble.cooldowns.keys());
        projects.map(|project| Site::Model(*project, model.clone())).collect()
    }

    /// Returns where a project cools, itself or in part.
    pub(crate) fn sites_of(&self, project: ProjectIx) -> Vec<Site> {
        let mut sites = Vec::new();
        if !self.of_project(project).is_open() {
            sites.push(Site::Project(project));
        }
        sites.extend(self.models_of(project).map(|(model, _)| Site::Model(project, model.clone())));
        sites.extend(self.tools_of(project).map(|(tool, _)| Site::Tool(project, tool)));
        sites
    }

    /// Says whether something became leasable, or ceased to be, since this was last asked.
    pub(crate) fn take_stirred(&mut self) -> bool {
        std::mem::take(&mut self.stirred)
    }

    /// Notes that those who wait should be looked at, for a reason that no bit shows.
    pub(crate) fn stir(&mut self) {
        self.stirred = true;
    }

    /// Returns the next time at which something ends.
    pub(crate) fn next_timer(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse(timer)| timer.at)
    }

    pub(crate) fn set_timer(&mut self, at: Duration, site: Site) {
        self.timers.push(Reverse(Timer { at, site }));
    }

    /// Lets the next cooldown that is over by now pass, and returns what that did. `None` when all have passed.
    pub(crate) fn pass_next(
        &mut self,
        now: Duration,
        settings: &Settings,
        members: &Members,
        company: Company,
    ) -> Option<(Site, Passed)> {
        while self.next_timer().is_some_and(|at| at <= now) {
            let Reverse(Timer { site, .. }) = self.timers.pop()?;
            let cooldown = match &site {
                Site::Key(key) => self.keys.get_mut(key.position()),
                Site::Project(project) => self.projects.get_mut(project.position()),
                Site::Model(project, model) => {
                    self.troubles.get_mut(model).and_then(|trouble| trouble.cooldowns.get_mut(project))
                }
                Site::Tool(project, tool) => self.tools[*tool as usize].cooldowns.get_mut(project),
            };
            let Some(cooldown) = cooldown else { continue };
            let pause = self.claims.pause(company);
            let passed = cooldown.pass(now, settings, company, pause);
            if passed == Passed::Nothing {
                continue;
            }
            // A turn that is over leaves what cooled to be forgotten in its time, or to the next turn.
            let goes_on = company.is_shared() || passed == Passed::TurnOver;
            let changes_at = cooldown.changes_at(settings).filter(|_| goes_on).map(|at| at.max(now));
            if let Passed::Over { forget_at } = passed {
                self.set_timer(forget_at, site.clone());
            }
            if let Some(at) = changes_at {
                self.set_timer(at, site.clone());
            }
            self.refresh(&site, members);
            return Some((site, passed));
        }
        None
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

    /// Moves the ends of days to where the wall clock shows them now, since it has parted from the monotonic one. Returns
    /// what was moved.
    pub(crate) fn follow_wall(&mut self, parted: Parted, now: Now, members: &Members) -> Vec<Site> {
        let mut sites = self.sites(members);
        sites.retain(|site| {
            let ends = self.change(site, members, |cooldown| cooldown.follow_wall(parted, now));
            if let Some(ends) = ends {
                self.set_timer(ends, site.clone());
            }
            ends.is_some()
        });
        sites
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

    /// Hands the cooldowns of a dissolved project to its heir: of two the longer. Returns where they are now. The bits
    /// are wrong until [`Cooldowns::rebuild`].
    pub(crate) fn bequeath(
        &mut self,
        from: ProjectIx,
        to: ProjectIx,
        members: &Members,
        settings: &Settings,
    ) -> Vec<Site> {
        self.make_room(members);
        let mut sites = Vec::new();
        let standings = (self.project_standings[to.position()], self.project_standings[from.position()]);
        for site in self.sites_of(from) {
            let (cooldown, site) = match site {
                Site::Model(_, model) => {
                    let trouble = self.troubles.get_mut(&model);
                    let cooldown = trouble.and_then(|trouble| {
                        if let Some(quota) = trouble.quotas.remove(&from) {
                            trouble.quotas.entry(to).or_insert(quota);
                        }
                        trouble.cooldowns.remove(&from)
                    });
                    (cooldown, Site::Model(to, model))
                }
                Site::Tool(_, tool) => {
                    (self.tools[tool as usize].cooldowns.remove(&from), Site::Tool(to, tool))
                }
                Site::Project(_) | Site::Key(_) => {
                    (Some(std::mem::take(&mut self.projects[from.position()])), Site::Project(to))
                }
            };
            let Some(cooldown) = cooldown else { continue };
            self.change(&site, members, |present| {
                *present = std::mem::take(present).or_longer(cooldown);
                Some(())
            });
            if let Some(at) = self.get(&site).and_then(|cooldown| cooldown.changes_at(settings)) {
                self.set_timer(at, site.clone());
            }
            sites.push(site);
        }
        let (heir, former) = standings;
        self.project_standings[to.position()].inherit(heir, former);
        self.project_standings[from.position()] = Standing::default();
        sites
    }

    /// Opens what cools on a project that is no more, and returns where that was. Its keys' bits stay as they are.
    pub(crate) fn forget(&mut self, project: ProjectIx) -> Vec<Site> {
        let sites = self.sites_of(project);
        if let Some(standing) = self.project_standings.get_mut(project.position()) {
            *standing = Standing::default();
        }
        for site in &sites {
            match site {
                Site::Model(_, model) => {
                    let Some(trouble) = self.troubles.get_mut(model) else { continue };
                    trouble.forget(project);
                    if trouble.cooldowns.is_empty() {
                        self.troubles.remove(model);
                    }
                }
                Site::Tool(_, tool) => self.tools[*tool as usize].forget(project),
                Site::Project(_) | Site::Key(_) => self.projects[project.position()] = Cooldown::Open,
            }
        }
        sites
    }

    /// Moves what is kept of keys to their present places. The bits are wrong until [`Cooldowns::rebuild`].
    pub(crate) fn move_keys(&mut self, moves: &Moves, members: &Members) {
        self.make_room(members);
        let disabled = moves.from().filter(|(_, from)| from.is_some_and(|from| self.is_disabled(from)));
        self.disabled = disabled.map(|(key, _)| key.position()).collect();
        moves.carry(&mut self.keys);
        moves.carry(&mut self.key_standings);
        moves.carry(&mut self.disabled_since);
        let keys = self.keys.len();
        self.disabled.grow(keys);
        self.ready = FixedBitSet::with_capacity(keys);
        for trouble in self.troubles.values_mut().chain(&mut self.tools) {
            trouble.blocked = FixedBitSet::with_capacity(keys);
        }
        self.move_claims(|site| match site {
            Site::Key(key) => moves.of(*key).map(Site::Key),
            _ => None,
        });
        let timers =
            std::mem::take(&mut self.timers).into_iter().filter_map(|Reverse(Timer { at, site })| {
                let site = match site {
                    Site::Key(key) => Site::Key(moves.of(key)?),
                    site => site,
                };
                // Those of what is gone would else lie here until their time.
                let is_awaited = self.get(&site).is_some_and(|cooldown| !cooldown.is_open());
                is_awaited.then_some(Reverse(Timer { at, site }))
            });
        self.timers = timers.collect();
    }

    /// Sets a timer for each cooldown, since the settings by which they end have changed.
    pub(crate) fn set_timers(&mut self, members: &Members, settings: &Settings) {
        self.timers.clear();
        for site in self.sites(members) {
            if let Some(at) = self.get(&site).and_then(|cooldown| cooldown.changes_at(settings)) {
                self.set_timer(at, site);
            }
        }
    }

    /// Brings all bits in line with the cooldowns, since there are other keys, or keys have changed their projects.
    pub(crate) fn rebuild(&mut self, members: &Members) {
        self.stirred = true;
        self.make_room(members);
        for (key, _) in members.iter() {
            self.refresh_key(key, members);
        }
        for trouble in self.troubles.values_mut().chain(&mut self.tools) {
            trouble.rebuild(members);
        }
        self.note_unclaimed_anew(members);
    }

    /// Makes room for projects that have come.
    fn make_room(&mut self, members: &Members) {
        self.projects.resize(members.project_places(), Cooldown::Open);
        self.project_standings.resize(members.project_places(), Standing::default());
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
