//! Which keys share a project, and what becomes of cooldowns when that is found out. A label is the operator's word; the
//! number that Google names in a fault is the fact, and wins. Where a key belongs follows from labels and numbers alone,
//! not from the order in which they were learnt, so a restored pool has the same projects.

use std::collections::HashMap;
use std::time::Duration;

use meter::Now;

use crate::cooldown::Cooldown;
use crate::effect::{Effect, Effects, Event};
use crate::key::{KeyIx, Project, ProjectNumber};
use crate::record::{Owner, Record, Subject};
use crate::roster::{ProjectIx, Roster, Site};
use crate::settings::Settings;

/// A project that has no keys left, and the one that all of them went to.
struct Dissolved {
    project: ProjectIx,
    heir: ProjectIx,
}

impl Roster {
    /// A fault named the number of this key's project.
    pub(crate) fn learn_number(
        &mut self,
        key: KeyIx,
        number: ProjectNumber,
        now: Now,
        settings: &Settings,
        effects: &mut Effects,
    ) {
        if self.keys[key.position()].number == Some(number) {
            return;
        }
        self.keys[key.position()].number = Some(number);
        self.tell_of_number(key, number, effects);
        effects.push(Effect::Persist(self.record(&Site::Key(key), now)));
        for dissolved in self.regroup() {
            let (former, sites) = self.bequeath(&dissolved, now.mono, settings);
            for subject in former {
                effects.push(Effect::Persist(Record::clear(subject)));
            }
            for site in sites {
                effects.push(Effect::Persist(self.record(&site, now)));
            }
        }
        self.rebuild();
    }

    /// Takes over the numbers that a former incarnation learnt.
    pub(crate) fn restore_numbers(
        &mut self,
        numbers: impl IntoIterator<Item = (KeyIx, ProjectNumber)>,
        now: Duration,
        settings: &Settings,
    ) {
        for (key, number) in numbers {
            self.keys[key.position()].number = Some(number);
        }
        for dissolved in self.regroup() {
            self.bequeath(&dissolved, now, settings);
        }
        self.rebuild();
    }

    fn tell_of_number(&self, key: KeyIx, number: ProjectNumber, effects: &mut Effects) {
        let entry = &self.keys[key.position()];
        effects.log(Event::NumberLearnt { key: entry.id.clone(), number });
        let Some(label) = &entry.label else { return };
        let labelled = |other: &&crate::roster::Key| other.id != entry.id && other.label.is_some();
        for other in self.keys.iter().filter(labelled) {
            let (key, other_key) = (entry.id.clone(), other.id.clone());
            let same_label = other.label.as_ref() == Some(label);
            match other.number {
                Some(theirs) if theirs == number && !same_label => {
                    effects.log(Event::LabelsJoined { key, other: other_key, number });
                }
                Some(theirs) if theirs != number && same_label => {
                    effects.log(Event::LabelSplit { key, other: other_key, number });
                }
                _ => continue,
            }
            return;
        }
    }

    /// Puts each key into the project it belongs to: that of its number; without one, that of the first key with the
    /// same label that has one; else that of its label; else its own.
    fn regroup(&mut self) -> Vec<Dissolved> {
        let mut by_label: HashMap<Project, ProjectNumber> = HashMap::new();
        for key in &self.keys {
            if let (Some(label), Some(number)) = (&key.label, key.number) {
                by_label.entry(label.clone()).or_insert(number);
            }
        }
        let mut dissolved = Vec::new();
        for ix in (0..).map(KeyIx).take(self.keys.len()) {
            let key = &self.keys[ix.position()];
            let number = key.number.or_else(|| by_label.get(key.label.as_ref()?).copied());
            let owner = match (number, &key.label) {
                (Some(number), _) => Owner::Number(number),
                (None, Some(label)) => Owner::Project(label.clone()),
                (None, None) => Owner::Key(key.id.clone()),
            };
            let from = key.project;
            if self.projects[from.0 as usize].owner == owner {
                continue;
            }
            let to = self.project_of_owner(owner);
            self.keys[ix.position()].project = to;
            let left = &mut self.projects[from.0 as usize].members;
            left.retain(|member| *member != ix);
            if left.is_empty() {
                dissolved.push(Dissolved { project: from, heir: to });
            }
            let members = &mut self.projects[to.0 as usize].members;
            let at = members.partition_point(|member| *member < ix);
            members.insert(at, ix);
        }
        dissolved
    }

    /// Hands the cooldowns and counts of a dissolved project to its heir: the longer cooldown, the larger count. Answers under which names they
    /// were kept, and where they are now. A key that leaves a project which lives on takes nothing along.
    fn bequeath(
        &mut self,
        dissolved: &Dissolved,
        now: Duration,
        settings: &Settings,
    ) -> (Vec<Subject>, Vec<Site>) {
        let Dissolved { project: from, heir: to } = *dissolved;
        let mut former = self.bequeath_budgets(from, to, now);
        let mut sites = Vec::new();
        for site in self.sites_of(from) {
            former.push(self.subject(&site));
            let Some(cooldown) = self.take(&site) else { continue };
            let site = match site {
                Site::Model(_, model) => Site::Model(to, model),
                Site::Tool(_, tool) => Site::Tool(to, tool),
                Site::Project(_) | Site::Key(_) => Site::Project(to),
            };
            self.change(&site, |present| {
                *present = std::mem::take(present).or_longer(cooldown);
                Some(())
            });
            if let Some(at) = self.peek(&site).and_then(|cooldown| cooldown.changes_at(settings)) {
                self.set_timer(at, site.clone());
            }
            sites.push(site);
        }
        let owner = &self.projects[from.0 as usize].owner;
        self.by_owner.remove(owner);
        self.vacant.push(from);
        (former, sites)
    }

    /// Where a project cools, itself or in part.
    pub(crate) fn sites_of(&self, project: ProjectIx) -> Vec<Site> {
        let mut sites = Vec::new();
        if !self.project_cooldown(project).is_open() {
            sites.push(Site::Project(project));
        }
        sites.extend(self.troubles(project).map(|(model, _)| Site::Model(project, model.clone())));
        sites.extend(self.tool_troubles(project).map(|(tool, _)| Site::Tool(project, tool)));
        sites
    }

    /// Removes a cooldown. The bits are wrong until [`Roster::rebuild`].
    fn take(&mut self, site: &Site) -> Option<Cooldown> {
        match site {
            Site::Key(key) => self.keys.get_mut(key.position()).map(|key| std::mem::take(&mut key.cooldown)),
            Site::Project(project) => {
                self.projects.get_mut(project.0 as usize).map(|group| std::mem::take(&mut group.cooldown))
            }
            Site::Model(project, model) => self.troubles.get_mut(model)?.cooldowns.remove(project),
            Site::Tool(project, tool) => self.tools[*tool as usize].cooldowns.remove(project),
        }
    }

    /// Brings all bits in line with the cooldowns.
    fn rebuild(&mut self) {
        self.stirred = true;
        self.reconfigure_budgets();
        for ix in (0..).map(KeyIx).take(self.keys.len()) {
            self.refresh_key(ix);
        }
        for trouble in self.troubles.values_mut().chain(&mut self.tools) {
            trouble.blocked.clear();
            let closed = trouble.cooldowns.iter().filter(|(_, cooldown)| !cooldown.admits());
            for key in closed.flat_map(|(project, _)| &self.projects[project.0 as usize].members) {
                trouble.blocked.insert(key.position());
            }
        }
    }
}
