//! How the cooldowns of the roster change, wherever they sit, and what follows from it: the bits, the timers, and what
//! the passing of time ends. What a fault or a success means is the desk's to judge.

use std::cmp::Reverse;

use meter::Now;
use smallvec::SmallVec;

use crate::cooldown::{Cooldown, Passed};
use crate::effect::{Effect, Effects, Event};
use crate::key::KeyIx;
use crate::roster::{Model, Roster, Site, Timer};
use crate::settings::Settings;
use crate::tool::Tools;
use crate::trouble::Trouble;

impl Roster {
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
            Site::Tool(project, tool) => self.tools[*tool as usize].cooldowns.get_mut(project),
        }
    }

    pub(crate) fn peek(&self, site: &Site) -> Option<&Cooldown> {
        match site {
            Site::Key(key) => self.keys.get(key.position()).map(|key| &key.cooldown),
            Site::Project(project) => self.projects.get(project.0 as usize).map(|group| &group.cooldown),
            Site::Model(project, model) => self.troubles.get(model)?.cooldowns.get(project),
            Site::Tool(project, tool) => self.tools[*tool as usize].cooldowns.get(project),
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
                .or_insert_with(|| Trouble::new(keys))
                .cooldowns
                .entry(*project)
                .or_default(),
            Site::Tool(project, tool) => self.tools[*tool as usize].cooldowns.entry(*project).or_default(),
        };
        let result = change(cooldown)?;
        self.refresh(site);
        Some(result)
    }

    pub(crate) fn set(&mut self, site: &Site, cooldown: Cooldown) {
        self.change(site, |present| Some(std::mem::replace(present, cooldown)));
    }

    /// Shows each cooldown that stands before this key, model and tools, and answers at which sites `change` said that it
    /// changed something.
    pub(crate) fn change_all(
        &mut self,
        key: KeyIx,
        model: &Model,
        tools: Tools,
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
        if tools.is_empty() && changed.is_empty() {
            return changed;
        }
        for tool in tools.iter() {
            if self.tools[tool as usize].cooldowns.get_mut(&project).is_some_and(&mut change) {
                changed.push(Site::Tool(project, tool));
            }
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

    /// Opens the cooldowns of the key, of its project and of all models and tools there; answers what was not open.
    pub(crate) fn reset(&mut self, key: KeyIx) -> Vec<Site> {
        let project = self.project(key);
        let mut sites = self.sites_of(project);
        if !self.keys[key.position()].cooldown.is_open() {
            sites.insert(0, Site::Key(key));
        }
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
                trouble.refresh(*project, &self.projects[project.0 as usize].members);
                if trouble.cooldowns.is_empty() {
                    self.troubles.remove(model);
                }
            }
            Site::Tool(project, tool) => {
                self.tools[*tool as usize].refresh(*project, &self.projects[project.0 as usize].members);
            }
        }
    }

    pub(crate) fn refresh_key(&mut self, ix: KeyIx) {
        let key = &self.keys[ix.position()];
        let ready = !key.disabled && key.cooldown.admits() && self.project_cooldown(key.project).admits();
        self.ready.set(ix.position(), ready);
    }
}
