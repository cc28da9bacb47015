//! The projects in the pool, each named by a key of its own, for whoever asks every one of them for something. Only reads.

use crate::key::KeyIx;
use crate::roster::{Group, Roster};

/// A project as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProjectView {
    /// Its first key in the order of the configuration: names the project for as long as Google names no other number.
    pub first: KeyIx,
    /// Its first key that is neither retired nor disabled; where there is none, the first of all.
    pub key: KeyIx,
    /// Whether `key` may be leased, now or after a cooldown.
    pub usable: bool,
}

impl Roster {
    /// Each project that has keys, in the order of their first ones.
    pub(crate) fn project_views(&self) -> Vec<ProjectView> {
        let mut views: Vec<_> = self.projects.iter().filter_map(|group| self.view(group)).collect();
        views.sort_unstable_by_key(|view| view.first.position());
        views
    }

    fn view(&self, group: &Group) -> Option<ProjectView> {
        let by_place = |key: &KeyIx| key.position();
        let first = group.members.iter().copied().min_by_key(by_place)?;
        let usable = |key: &KeyIx| {
            let key = &self.keys[key.position()];
            !key.disabled && !key.cooldown.is_retired() && !group.cooldown.is_retired()
        };
        let key = group.members.iter().copied().filter(usable).min_by_key(by_place);
        Some(ProjectView { first, key: key.unwrap_or(first), usable: key.is_some() })
    }
}
