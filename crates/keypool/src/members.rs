//! Who is in the pool: its keys, and the projects that they belong to. Where a key belongs follows from labels and
//! numbers alone, not from the order in which they were learnt, so a restored pool has the same projects. What became of
//! keys and projects is not known here.

use std::collections::HashMap;

use crate::error::PoolError;
use crate::ids::{KeyIx, ProjectIx};
use crate::key::{KeyId, KeySpec, Project, ProjectNumber};
use crate::record::Owner;

/// A key of the pool.
#[derive(Debug)]
pub(crate) struct Member {
    pub id: KeyId,
    pub project: ProjectIx,
    pub label: Option<Project>,
    /// Once Google has named it.
    pub number: Option<ProjectNumber>,
    pub weight: u32,
}

#[derive(Debug)]
struct Group {
    owner: Owner,
    members: Vec<KeyIx>,
}

/// A project that has no keys left, and the one that all of them went to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dissolved {
    pub project: ProjectIx,
    pub heir: ProjectIx,
}

/// The keys and their projects.
#[derive(Debug)]
pub(crate) struct Members {
    keys: Vec<Member>,
    by_id: HashMap<KeyId, KeyIx>,
    projects: Vec<Group>,
    /// Those that have lost all their keys.
    vacant: Vec<ProjectIx>,
    by_owner: HashMap<Owner, ProjectIx>,
}

impl Members {
    pub(crate) fn new(specs: Vec<KeySpec>) -> Result<Self, PoolError> {
        if specs.is_empty() {
            return Err(PoolError::NoKeys);
        }
        let mut members = Self {
            keys: Vec::with_capacity(specs.len()),
            by_id: HashMap::with_capacity(specs.len()),
            projects: Vec::new(),
            vacant: Vec::new(),
            by_owner: HashMap::new(),
        };
        for (at, spec) in specs.into_iter().enumerate() {
            let key = KeyIx::at(at);
            if spec.weight == 0 {
                return Err(PoolError::ZeroWeight(spec.id));
            }
            if members.by_id.insert(spec.id.clone(), key).is_some() {
                return Err(PoolError::DuplicateKey(spec.id));
            }
            let owner = spec.project.clone().map_or_else(|| Owner::Key(spec.id.clone()), Owner::Project);
            let project = members.project_of(owner);
            members.projects[project.position()].members.push(key);
            let KeySpec { id, project: label, weight } = spec;
            members.keys.push(Member { id, project, label, number: None, weight });
        }
        Ok(members)
    }

    /// Returns how many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns how many places for projects there are; some may be vacant.
    pub(crate) fn project_places(&self) -> usize {
        self.projects.len()
    }

    /// Returns each key with its place, in the order of the configuration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (KeyIx, &Member)> {
        self.keys.iter().enumerate().map(|(at, key)| (KeyIx::at(at), key))
    }

    pub(crate) fn get(&self, key: KeyIx) -> &Member {
        &self.keys[key.position()]
    }

    pub(crate) fn find(&self, id: &KeyId) -> Option<KeyIx> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn project(&self, key: KeyIx) -> ProjectIx {
        self.get(key).project
    }

    /// Returns the keys of a project, in the order of the configuration.
    pub(crate) fn of(&self, project: ProjectIx) -> &[KeyIx] {
        &self.projects[project.position()].members
    }

    pub(crate) fn owner(&self, project: ProjectIx) -> &Owner {
        &self.projects[project.position()].owner
    }

    pub(crate) fn owned_by(&self, owner: &Owner) -> Option<ProjectIx> {
        self.by_owner.get(owner).copied()
    }

    /// Returns each project's place, vacant ones included.
    pub(crate) fn projects(&self) -> impl Iterator<Item = ProjectIx> + use<> {
        (0..self.projects.len()).map(ProjectIx::at)
    }

    /// Returns the label of a project's first key that has one.
    pub(crate) fn label(&self, project: ProjectIx) -> Option<&Project> {
        self.of(project).iter().find_map(|key| self.get(*key).label.as_ref())
    }

    /// Takes down the number of a key's project. The projects are out of date until [`Members::regroup`].
    pub(crate) fn set_number(&mut self, key: KeyIx, number: ProjectNumber) {
        self.keys[key.position()].number = Some(number);
    }

    /// Puts each key into the project it belongs to: that of its number; without one, that of the first key with the
    /// same label that has one; else that of its label; else its own. Returns the projects that lost their last key by it.
    pub(crate) fn regroup(&mut self) -> Vec<Dissolved> {
        let mut by_label: HashMap<Project, ProjectNumber> = HashMap::new();
        for key in &self.keys {
            if let (Some(label), Some(number)) = (&key.label, key.number) {
                by_label.entry(label.clone()).or_insert(number);
            }
        }
        let mut dissolved = Vec::new();
        for ix in (0..self.keys.len()).map(KeyIx::at) {
            let key = self.get(ix);
            let number = key.number.or_else(|| by_label.get(key.label.as_ref()?).copied());
            let owner = match (number, &key.label) {
                (Some(number), _) => Owner::Number(number),
                (None, Some(label)) => Owner::Project(label.clone()),
                (None, None) => Owner::Key(key.id.clone()),
            };
            let from = key.project;
            if *self.owner(from) == owner {
                continue;
            }
            let to = self.project_of(owner);
            self.keys[ix.position()].project = to;
            let left = &mut self.projects[from.position()].members;
            left.retain(|member| *member != ix);
            if left.is_empty() {
                dissolved.push(Dissolved { project: from, heir: to });
            }
            let members = &mut self.projects[to.position()].members;
            let at = members.partition_point(|member| *member < ix);
            members.insert(at, ix);
        }
        dissolved
    }

    /// Gives the place of a dissolved project to whichever comes next.
    pub(crate) fn vacate(&mut self, project: ProjectIx) {
        let owner = &self.projects[project.position()].owner;
        self.by_owner.remove(owner);
        self.vacant.push(project);
    }

    fn project_of(&mut self, owner: Owner) -> ProjectIx {
        let Self { projects, vacant, .. } = self;
        *self.by_owner.entry(owner).or_insert_with_key(|owner| {
            let group = Group { owner: owner.clone(), members: Vec::new() };
            if let Some(project) = vacant.pop() {
                projects[project.position()] = group;
                return project;
            }
            projects.push(group);
            ProjectIx::at(projects.len() - 1)
        })
    }
}
