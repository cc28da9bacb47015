//! The projects in the pool, each named by a key of its own, for whoever asks every one of them for something. Only reads.

use crate::key::{KeyId, KeyIx};
use crate::roster::{Group, Roster};

/// A project as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectView {
    /// Its first key in the order of the configuration: names the project for as long as Google names no other number.
    pub first: KeyId,
    /// Its first key that is neither retired nor disabled; where there is none, the first of all.
    pub key: KeyId,
    /// Whether `key` may be leased, now or after a cooldown.
    pub usable: bool,
}

impl Roster {
    /// Each project that has keys, in the order of their first ones.
    pub(crate) fn project_views(&self) -> Vec<ProjectView> {
        let mut views: Vec<_> = self.projects.iter().filter_map(|group| self.view(group)).collect();
        views.sort_unstable_by_key(|(place, _)| *place);
        views.into_iter().map(|(_, view)| view).collect()
    }

    /// A project that has keys, and the place of its first one.
    fn view(&self, group: &Group) -> Option<(KeyIx, ProjectView)> {
        let place = group.members.iter().copied().min()?;
        let usable = |key: &KeyIx| {
            let key = &self.keys[key.position()];
            !key.disabled && !key.cooldown.is_retired() && !group.cooldown.is_retired()
        };
        let key = group.members.iter().copied().filter(usable).min();
        let id = |key: KeyIx| self.keys[key.position()].id.clone();
        Some((place, ProjectView { first: id(place), key: id(key.unwrap_or(place)), usable: key.is_some() }))
    }
}
