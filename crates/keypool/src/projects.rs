//! The projects in the pool, each named by a key of its own, for whoever asks every one of them for something. Only reads.

use crate::ids::{KeyIx, ProjectIx};
use crate::key::KeyId;
use crate::roster::Roster;

/// A project as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectView {
    /// Its first key in the order of the configuration: names the project for as long as Google names no other number.
    pub first: KeyId,
    /// Its first key that is neither retired nor disabled; where there is none, the first of all.
    pub key: KeyId,
    /// Whether `key` may be leased, now or after a cooldown.
    pub usable: bool,
    /// Whether it is one that is retired where none may be leased, and not the operator's word alone.
    pub retired: bool,
    /// All its keys, in the order of the configuration.
    pub keys: Vec<KeyId>,
}

impl Roster {
    /// Returns each project that has keys, in the order of their first ones.
    pub(crate) fn project_views(&self) -> Vec<ProjectView> {
        let mut views: Vec<_> = self.members.projects().filter_map(|project| self.view(project)).collect();
        views.sort_unstable_by_key(|(place, _)| *place);
        views.into_iter().map(|(_, view)| view).collect()
    }

    /// Returns a project that has keys, and the place of its first one.
    fn view(&self, project: ProjectIx) -> Option<(KeyIx, ProjectView)> {
        let Self { members, cooldowns, .. } = self;
        let place = members.of(project).first().copied()?;
        let usable = |key: &KeyIx| {
            !cooldowns.is_disabled(*key)
                && !cooldowns.of_key(*key).is_retired()
                && !cooldowns.of_project(project).is_retired()
        };
        let of_project = members.of(project);
        let enabled = of_project.iter().any(|key| !cooldowns.is_disabled(*key));
        let key = of_project.iter().copied().find(usable);
        let id = |key: KeyIx| members.get(key).id.clone();
        let view = ProjectView {
            first: id(place),
            key: id(key.unwrap_or(place)),
            usable: key.is_some(),
            retired: key.is_none() && enabled,
            keys: of_project.iter().copied().map(id).collect(),
        };
        Some((place, view))
    }
}
