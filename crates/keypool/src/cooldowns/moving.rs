//! What becomes of cooldowns when there are other keys or projects than before.

use std::cmp::Reverse;

use fixedbitset::FixedBitSet;

use super::timers::Timer;
use super::{Cooldown, Cooldowns, Standing};
use crate::ids::{ProjectIx, Site};
use crate::members::Members;
use crate::moves::Moves;
use crate::settings::Settings;

impl Cooldowns {
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
            sites.push(site);
        }
        self.await_end(&sites, settings);
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
}
