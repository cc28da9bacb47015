//! Who is in the pool: keys, their projects, the models and tools of a project, with their cooldowns and the timers that
//! end them. Keeps one bit a key for "may be leased" and one a key and troubled model or tool for "not for this one", so
//! that choosing among a thousand keys reads a few words. How a cooldown changes is in `cooldown_sites`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fixedbitset::FixedBitSet;

use crate::cooldown::Cooldown;
use crate::error::PoolError;
use crate::journal::Journal;
use crate::key::{KeyId, KeyIx, KeySpec, Project, ProjectNumber};
use crate::limit::Limit;
use crate::models::Models;
use crate::record::Owner;
use crate::tool::Tool;
use crate::trouble::Trouble;
use crate::usage::Totals;

/// A model's name; requests that name none have a place of their own.
pub(crate) type Model = Option<Arc<str>>;

/// Where a cooldown sits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    Key(KeyIx),
    Project(ProjectIx),
    Model(ProjectIx, Model),
    Tool(ProjectIx, Tool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ProjectIx(pub u32);

#[derive(Debug)]
pub(crate) struct Key {
    pub id: KeyId,
    pub project: ProjectIx,
    pub label: Option<Project>,
    /// Once Google has named it.
    pub number: Option<ProjectNumber>,
    pub weight: u32,
    pub disabled: bool,
    pub cooldown: Cooldown,
    /// Transport faults since the last success.
    pub failures: u32,
    pub in_flight: u32,
    pub totals: Totals,
    /// Whether the totals have changed since they were last kept.
    pub unkept: bool,
}

#[derive(Debug)]
pub(crate) struct Group {
    pub owner: Owner,
    pub members: Vec<KeyIx>,
    pub cooldown: Cooldown,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Timer {
    pub at: Duration,
    pub site: Site,
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
    /// Those that have lost all their keys.
    pub(crate) vacant: Vec<ProjectIx>,
    pub(crate) by_owner: HashMap<Owner, ProjectIx>,
    /// By model, those in trouble.
    pub(crate) troubles: BTreeMap<Model, Trouble>,
    /// By tool.
    pub(crate) tools: [Trouble; Tool::ALL.len()],
    pub(crate) ready: FixedBitSet,
    pub(crate) timers: BinaryHeap<Reverse<Timer>>,
    pub(crate) stirred: bool,
    pub(crate) models: Models,
    /// As configured.
    pub(crate) limits: Box<[Limit]>,
    pub(crate) journal: Journal,
    /// When budgets with nothing to say were last cleared away.
    pub(crate) tidied: Duration,
}

impl Roster {
    pub(crate) fn new(specs: Vec<KeySpec>, limits: &[Limit]) -> Result<Self, PoolError> {
        if specs.is_empty() {
            return Err(PoolError::NoKeys);
        }
        let mut roster = Self {
            keys: Vec::with_capacity(specs.len()),
            by_id: HashMap::with_capacity(specs.len()),
            projects: Vec::new(),
            vacant: Vec::new(),
            by_owner: HashMap::new(),
            troubles: BTreeMap::new(),
            tools: Tool::ALL.map(|_| Trouble::new(specs.len())),
            ready: FixedBitSet::with_capacity(specs.len()),
            timers: BinaryHeap::new(),
            stirred: false,
            models: Models::new(),
            limits: limits.into(),
            journal: Journal::default(),
            tidied: Duration::ZERO,
        };
        for (ix, spec) in (0..).map(KeyIx).zip(specs) {
            if spec.weight == 0 {
                return Err(PoolError::ZeroWeight(spec.id));
            }
            if roster.by_id.insert(spec.id.clone(), ix).is_some() {
                return Err(PoolError::DuplicateKey(spec.id));
            }
            let owner = spec.project.clone().map_or_else(|| Owner::Key(spec.id.clone()), Owner::Project);
            let project = roster.project_of_owner(owner);
            roster.projects[project.0 as usize].members.push(ix);
            roster.ready.insert(ix.position());
            roster.keys.push(Key {
                id: spec.id,
                project,
                label: spec.project,
                number: None,
                weight: spec.weight,
                disabled: false,
                cooldown: Cooldown::Open,
                failures: 0,
                in_flight: 0,
                totals: Totals::default(),
                unkept: false,
            });
        }
        Ok(roster)
    }

    pub(crate) fn project_of_owner(&mut self, owner: Owner) -> ProjectIx {
        let Self { projects, vacant, .. } = self;
        *self.by_owner.entry(owner).or_insert_with_key(|owner| {
            let group = Group { owner: owner.clone(), members: Vec::new(), cooldown: Cooldown::Open };
            if let Some(project) = vacant.pop() {
                projects[project.0 as usize] = group;
                return project;
            }
            projects.push(group);
            // There are no more projects than keys, but for one in passing, and those are counted in 32 bits.
            ProjectIx(u32::try_from(projects.len() - 1).unwrap_or(u32::MAX))
        })
    }

    pub(crate) fn find(&self, id: &KeyId) -> Option<KeyIx> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub(crate) fn key_mut(&mut self, key: KeyIx) -> &mut Key {
        &mut self.keys[key.position()]
    }

    pub(crate) fn project(&self, key: KeyIx) -> ProjectIx {
        self.keys[key.position()].project
    }

    /// The label of the first key that has one.
    pub(crate) fn label(&self, project: ProjectIx) -> Option<&Project> {
        self.members(project).iter().find_map(|key| self.keys[key.position()].label.as_ref())
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

    /// The keys that may not be leased for this tool.
    pub(crate) fn blocked_tool(&self, tool: Tool) -> &FixedBitSet {
        &self.tools[tool as usize].blocked
    }

    /// Each tool in trouble on this project.
    pub(crate) fn tool_troubles(&self, project: ProjectIx) -> impl Iterator<Item = (Tool, &Cooldown)> {
        Tool::ALL
            .into_iter()
            .filter_map(move |tool| Some((tool, self.tools[tool as usize].cooldowns.get(&project)?)))
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_out_of_trouble_leaves_nothing_behind() {
        let mut roster = Roster::new(vec![KeySpec::new("a"), KeySpec::new("b")], &[]).unwrap();
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
