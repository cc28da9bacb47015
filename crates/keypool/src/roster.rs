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
use crate::reason::Reason;
use crate::record::{Owner, Record, Standing, Subject};
use crate::settings::Settings;
use crate::wish::{Reach, Wish};

/// What a key that is only held back by somebody's probe is taken for: the report may come at any moment.
const PROBE_GUESS: Duration = Duration::from_secs(1);
/// The most that a stored cooldown is believed to last, beside `long_wait`: the longest day, and some.
const LONGEST_DAY: Duration = Duration::from_secs(26 * 60 * 60);

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
pub(crate) struct ProjectIx(u32);

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
struct Group {
    owner: Owner,
    members: Vec<KeyIx>,
    cooldown: Cooldown,
}

/// The projects on which a model is in trouble.
#[derive(Debug)]
struct Trouble {
    cooldowns: BTreeMap<ProjectIx, Cooldown>,
    /// The keys that may not be leased for this model.
    blocked: FixedBitSet,
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

/// When a request may hope for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// The first of its keys is back then (monotonic).
    Back(Duration),
    /// All of its keys that are not retired have been tried.
    NoneLeft,
    /// All of its keys are retired or disabled.
    AllRetired,
}

#[derive(Debug)]
pub(crate) struct Roster {
    keys: Vec<Key>,
    by_id: HashMap<KeyId, KeyIx>,
    projects: Vec<Group>,
    by_owner: HashMap<Owner, ProjectIx>,
    troubles: BTreeMap<Model, Trouble>,
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

    fn peek(&self, site: &Site) -> Option<&Cooldown> {
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

    fn set(&mut self, site: &Site, cooldown: Cooldown) {
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

    /// When this request may hope for a key, if none can be leased now.
    pub(crate) fn outlook(&self, wish: &Wish, now: Duration) -> Outlook {
        match wish.reach {
            Reach::Any => self.outlook_among((0..).map(KeyIx).take(self.keys.len()), wish, now),
            Reach::ProjectOf(key) if self.get(key).is_some() => {
                self.outlook_among(self.members(self.project(key)).iter().copied(), wish, now)
            }
            Reach::Only(key) if self.get(key).is_some() => {
                self.outlook_among(std::iter::once(key), wish, now)
            }
            Reach::ProjectOf(_) | Reach::Only(_) => Outlook::NoneLeft,
        }
    }

    fn outlook_among(&self, keys: impl Iterator<Item = KeyIx>, wish: &Wish, now: Duration) -> Outlook {
        let trouble = self.troubles.get(&wish.model);
        let mut outlook = Outlook::AllRetired;
        for ix in keys {
            let key = &self.keys[ix.position()];
            let in_model = trouble.and_then(|trouble| trouble.cooldowns.get(&key.project));
            let cooldowns = [Some(&key.cooldown), Some(self.project_cooldown(key.project)), in_model];
            let back = cooldowns
                .into_iter()
                .flatten()
                .try_fold(now, |back, cooldown| Some(back.max(cooldown.back_at(now)?)));
            outlook = match (back, outlook) {
                _ if key.disabled => outlook,
                (None, _) => outlook,
                (Some(_), Outlook::AllRetired) if wish.tried.contains(ix) => Outlook::NoneLeft,
                (Some(_), _) if wish.tried.contains(ix) => outlook,
                (Some(back), Outlook::Back(earlier)) => Outlook::Back(earlier.min(back)),
                (Some(back), _) => Outlook::Back(back),
            };
        }
        outlook
    }

    pub(crate) fn subject(&self, site: &Site) -> Subject {
        let owner = |project: &ProjectIx| self.projects[project.0 as usize].owner.clone();
        match site {
            Site::Key(key) => Subject::Key { key: self.keys[key.position()].id.clone() },
            Site::Project(project) => Subject::Project { project: owner(project) },
            Site::Model(project, model) => Subject::Model { project: owner(project), model: model.clone() },
        }
    }

    fn site(&self, subject: Subject) -> Option<Site> {
        Some(match subject {
            Subject::Key { key } => Site::Key(self.find(&key)?),
            Subject::Project { project } => Site::Project(*self.by_owner.get(&project)?),
            Subject::Model { project, model } => Site::Model(*self.by_owner.get(&project)?, model),
        })
    }

    /// The durable state at a site.
    pub(crate) fn record(&self, site: &Site, now: Now) -> Record {
        let standing = match self.peek(site) {
            None | Some(Cooldown::Open) => Standing::Open,
            Some(Cooldown::Retired { reason }) => Standing::Retired { reason: *reason },
            Some(
                Cooldown::Cooling { until, streak, .. } | Cooldown::Probation { since: until, streak, .. },
            ) => Standing::Cooling { until: now.wall_at(*until), steps: streak.steps, reason: streak.reason },
        };
        let disabled = matches!(site, Site::Key(key) if self.keys[key.position()].disabled);
        Record { subject: self.subject(site), standing, disabled }
    }

    /// A record for each site that has something to say.
    pub(crate) fn records(&self, now: Now) -> Vec<Record> {
        let keys = (0..).map(|ix| Site::Key(KeyIx(ix))).take(self.keys.len());
        let projects = (0..).map(|ix| Site::Project(ProjectIx(ix))).take(self.projects.len());
        let models = self.troubles.iter().flat_map(|(model, trouble)| {
            trouble.cooldowns.keys().map(|project| Site::Model(*project, model.clone()))
        });
        let records = keys.chain(projects).chain(models).map(|site| self.record(&site, now));
        records.filter(|record| !record.is_clear()).collect()
    }

    /// Takes a record over. One whose subject is no longer in the pool is passed by.
    pub(crate) fn restore(&mut self, record: Record, now: Now, settings: &Settings) {
        let Some(site) = self.site(record.subject) else { return };
        if let Site::Key(key) = site {
            let failed = matches!(record.standing, Standing::Cooling { reason: Reason::Transport, .. });
            let entry = self.key_mut(key);
            entry.disabled = record.disabled;
            // One more transport fault and it cools again, as it would have without the restart.
            entry.failures = if failed { settings.failure_threshold } else { 0 };
        }
        let cooldown = match record.standing {
            Standing::Open => Cooldown::Open,
            Standing::Retired { reason } => Cooldown::Retired { reason },
            Standing::Cooling { until, steps, reason } if until > now.wall => {
                let left = now.until(until).min(settings.long_wait.max(LONGEST_DAY));
                self.set_timer(now.mono + left, site.clone());
                Cooldown::restored(now.mono + left, steps, reason)
            }
            Standing::Cooling { until, .. } if now.since(until) >= settings.cooldown_max => Cooldown::Open,
            Standing::Cooling { until, steps, reason } => {
                self.set_timer(now.mono + settings.cooldown_max, site.clone());
                Cooldown::restored_over(now.mono.saturating_sub(now.since(until)), steps, reason)
            }
        };
        self.set(&site, cooldown);
    }
}

impl Cooldown {
    /// When this lets a lease through, as far as one can tell. `None` for never.
    pub(crate) fn back_at(&self, now: Duration) -> Option<Duration> {
        match self {
            Self::Open | Self::Probation { probe: None, .. } => Some(now),
            Self::Cooling { until, .. } => Some(*until),
            Self::Probation { probe: Some(_), .. } => Some(now + PROBE_GUESS),
            Self::Retired { .. } => None,
        }
    }
}
