//! Who is in the pool: its keys, and the projects that they belong to. Where a key belongs follows from labels and
//! numbers alone, not from the order in which they were learnt, so a restored pool has the same projects. What became of
//! keys and projects is not known here.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::error::PoolError;
use crate::ids::{KeyIx, ProjectIx};
use crate::key::{KeyId, KeySpec, Project, ProjectNumber};
use crate::key_set::KeySet;
use crate::moves::Moves;
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

/// A project that has no keys left, and the one that its last key went to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dissolved {
    pub project: ProjectIx,
    pub heir: ProjectIx,
}

/// Which keys have other projects than before.
#[derive(Debug, Default)]
pub(crate) struct Regrouped {
    /// Those keys, by their places, and the projects that they left.
    pub left: BTreeMap<KeyIx, ProjectIx>,
    /// The projects that lost their last key by it.
    pub dissolved: Vec<Dissolved>,
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
    /// Made when it is first asked for.
    names: OnceCell<NameOrder>,
}

/// The keys in the order of their names, so that keys can be put in order without reading their names.
#[derive(Debug)]
pub(crate) struct NameOrder {
    sorted: Vec<KeyId>,
    /// Each key's place in the order, by its index.
    ranks: Vec<u32>,
}

impl NameOrder {
    fn of(keys: &[Member]) -> Self {
        let mut places: Vec<usize> = (0..keys.len()).collect();
        places.sort_unstable_by_key(|at| &keys[*at].id);
        let mut ranks = vec![0; keys.len()];
        for (rank, at) in (0_u32..).zip(&places) {
            // Odd, so that there is a rank between each two.
            ranks[*at] = 2 * rank + 1;
        }
        Self { sorted: places.into_iter().map(|at| keys[at].id.clone()).collect(), ranks }
    }

    /// Returns a key's rank.
    pub(crate) fn rank(&self, key: KeyIx) -> u32 {
        self.ranks[key.position()]
    }

    /// Returns the rank of a name, which need not be a key's.
    pub(crate) fn rank_of(&self, id: &KeyId) -> u32 {
        let (place, is_key) = match self.sorted.binary_search(id) {
            Ok(place) => (place, 1),
            Err(place) => (place, 0),
        };
        u32::try_from(2 * place + is_key).unwrap_or(u32::MAX)
    }
}

impl Members {
    pub(crate) fn new(specs: Vec<KeySpec>) -> Result<Self, PoolError> {
        let mut members = Self {
            keys: Vec::new(),
            by_id: HashMap::new(),
            projects: Vec::new(),
            vacant: Vec::new(),
            by_owner: HashMap::new(),
            names: OnceCell::new(),
        };
        let set = KeySet::from(specs);
        let moves = members.moves_to(&set)?;
        members.rearrange(set.keys, &moves);
        Ok(members)
    }

    /// Tells whether this set is the present one: the same keys in the same order.
    pub(crate) fn are(&self, set: &KeySet) -> bool {
        let same = |(key, spec): (&Member, &KeySpec)| {
            (&key.id, &key.label, key.weight) == (&spec.id, &spec.project, spec.weight)
        };
        self.keys.len() == set.keys.len()
            && set.replaced.is_empty()
            && self.keys.iter().zip(&set.keys).all(same)
    }

    /// Says where each key of this set is now, or refuses the set.
    pub(crate) fn moves_to(&self, set: &KeySet) -> Result<Moves, PoolError> {
        if set.keys.is_empty() {
            return Err(PoolError::NoKeys);
        }
        let mut ids = HashSet::with_capacity(set.keys.len());
        for KeySpec { id, weight, .. } in &set.keys {
            if *weight == 0 {
                return Err(PoolError::ZeroWeight(id.clone()));
            }
            if !ids.insert(id) {
                return Err(PoolError::DuplicateKey(id.clone()));
            }
        }
        let mut taken = HashSet::new();
        let from = set.keys.iter().map(|KeySpec { id, .. }| match self.find(id) {
            Some(_) if set.replaced.contains(id) => None,
            Some(key) => Some(key),
            // Two keys cannot both have been the one that is gone.
            None => set
                .renamed
                .get(id)
                .filter(|former| !ids.contains(former))
                .and_then(|former| self.find(former))
                .filter(|former| taken.insert(*former)),
        });
        Ok(Moves::new(self.keys.len(), from.collect()))
    }

    /// Takes these keys in place of those it has. A key that stays keeps its number, and its project until
    /// [`Members::regroup`]. The projects of which no key stays are [vacated](Members::vacate) before.
    pub(crate) fn rearrange(&mut self, specs: Vec<KeySpec>, moves: &Moves) {
        let former = std::mem::take(&mut self.keys);
        self.names = OnceCell::new();
        self.by_id.clear();
        self.by_id.reserve(specs.len());
        self.keys.reserve(specs.len());
        for group in &mut self.projects {
            group.members.clear();
        }
        for (spec, (key, from)) in specs.into_iter().zip(moves.from()) {
            let (number, project) = if let Some(from) = from {
                let member = &former[from.position()];
                (member.number, member.project)
            } else {
                let own = || Owner::Key(spec.id.clone());
                (None, self.project_of(spec.project.clone().map_or_else(own, Owner::Project)))
            };
            self.projects[project.position()].members.push(key);
            self.by_id.insert(spec.id.clone(), key);
            let KeySpec { id, project: label, weight } = spec;
            self.keys.push(Member { id, project, label, number, weight });
        }
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

    /// Returns the order of the keys' names.
    pub(crate) fn names(&self) -> &NameOrder {
        self.names.get_or_init(|| NameOrder::of(&self.keys))
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
    /// same label that has one; else that of its label; else its own.
    pub(crate) fn regroup(&mut self) -> Regrouped {
        let mut by_label: HashMap<Project, ProjectNumber> = HashMap::new();
        for key in &self.keys {
            if let (Some(label), Some(number)) = (&key.label, key.number) {
                by_label.entry(label.clone()).or_insert(number);
            }
        }
        let mut regrouped = Regrouped::default();
        let mut left_last = BTreeMap::new();
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
            if let Ok(at) = left.binary_search(&ix) {
                left.remove(at);
            }
            regrouped.left.insert(ix, from);
            left_last.insert(from, to);
            let members = &mut self.projects[to.position()].members;
            let at = members.partition_point(|member| *member < ix);
            members.insert(at, ix);
        }
        let is_empty = |project: &ProjectIx| self.of(*project).is_empty();
        let dissolved = left_last.into_iter().filter(|(project, _)| is_empty(project));
        regrouped.dissolved = dissolved.map(|(project, heir)| Dissolved { project, heir }).collect();
        regrouped
    }

    /// Gives the place of a project that has no keys left to whichever comes next.
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
