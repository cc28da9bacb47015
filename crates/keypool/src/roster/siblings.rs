//! Which keys share a project, and what becomes of cooldowns when that is found out. A label is the operator's word; the
//! number that Google names in a fault is the fact, and wins. Where a key belongs is said by `members`.

use std::collections::BTreeMap;
use std::time::Duration;

use meter::Now;

use super::Roster;
use crate::effect::{Effect, Effects, Event};
use crate::ids::{KeyIx, ProjectIx, Site};
use crate::key::ProjectNumber;
use crate::members::{Dissolved, Regrouped};
use crate::record::{Record, Subject};
use crate::settings::Settings;

/// What follows from it for leases when keys have other projects than before.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// The projects that are no more.
    pub vacated: Vec<ProjectIx>,
    /// By key, the project where its leases may be awaited as probes though it is of another now.
    pub strangers: BTreeMap<KeyIx, ProjectIx>,
}

/// Who found out what changes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoundBy {
    /// This node, which tells the others.
    Own,
    /// Another node, or the configuration, which each node reads for itself.
    Others,
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
    ) -> Moved {
        if self.members.get(key).number == Some(number) {
            return Moved::default();
        }
        self.members.set_number(key, number);
        self.tell_of_number(key, number, effects);
        self.announce(&Site::Key(key), now, effects);
        self.regroup(FoundBy::Own, now, settings, effects)
    }

    /// Another node says what the number of this key's project is.
    pub(crate) fn hear_number(
        &mut self,
        key: KeyIx,
        number: ProjectNumber,
        now: Now,
        settings: &Settings,
        effects: &mut Effects,
    ) -> Moved {
        self.members.set_number(key, number);
        self.tell_of_number(key, number, effects);
        self.regroup(FoundBy::Others, now, settings, effects)
    }

    /// Puts each key into the project it belongs to by now.
    pub(super) fn regroup(
        &mut self,
        source: FoundBy,
        now: Now,
        settings: &Settings,
        effects: &mut Effects,
    ) -> Moved {
        let Regrouped { left, dissolved } = self.members.regroup();
        for dissolved in dissolved.iter().copied() {
            let (former, sites) = self.bequeath(dissolved, now.mono, settings);
            for record in former.into_iter().map(Record::clear) {
                if source == FoundBy::Own {
                    self.tell(&record, effects);
                }
                effects.push(Effect::Persist(record));
            }
            for site in sites {
                match source {
                    FoundBy::Own => self.announce(&site, now, effects),
                    FoundBy::Others => effects.push(Effect::Persist(self.record(&site, now))),
                }
            }
        }
        self.rebuild();
        if !dissolved.is_empty() {
            // At once, since what the store had of the former projects is forgotten.
            self.counters.write_out(&self.members, now, effects);
        }
        if source == FoundBy::Own {
            for dissolved in &dissolved {
                self.tell_limits(dissolved.heir, now, effects);
            }
        }
        let heirs: BTreeMap<_, _> = dissolved.iter().map(|gone| (gone.project, gone.heir)).collect();
        let probes_go_to = |project: ProjectIx| heirs.get(&project).copied().unwrap_or(project);
        let strangers = left.into_iter().map(|(key, from)| (key, probes_go_to(from)));
        Moved {
            strangers: strangers.filter(|(key, of)| self.members.project(*key) != *of).collect(),
            vacated: dissolved.into_iter().map(|dissolved| dissolved.project).collect(),
        }
    }

    /// Takes over the numbers that a former incarnation learnt.
    pub(crate) fn restore_numbers(
        &mut self,
        numbers: impl IntoIterator<Item = (KeyIx, ProjectNumber)>,
        now: Duration,
        settings: &Settings,
    ) {
        for (key, number) in numbers {
            self.members.set_number(key, number);
        }
        for dissolved in self.members.regroup().dissolved {
            self.bequeath(dissolved, now, settings);
        }
        self.rebuild();
    }

    fn tell_of_number(&self, key: KeyIx, number: ProjectNumber, effects: &mut Effects) {
        let entry = self.members.get(key);
        effects.log(Event::NumberLearnt { key: entry.id.clone(), number });
        let Some(label) = &entry.label else { return };
        let others = self.members.iter().map(|(_, other)| other);
        for other in others.filter(|other| other.id != entry.id && other.label.is_some()) {
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

    /// Hands the cooldowns and counts of a dissolved project to its heir: the longer cooldown, the larger count. Returns
    /// under which names they were kept, and where they are now. A key that leaves a project which lives on takes nothing
    /// along.
    fn bequeath(
        &mut self,
        dissolved: Dissolved,
        now: Duration,
        settings: &Settings,
    ) -> (Vec<Subject>, Vec<Site>) {
        let Dissolved { project: from, heir: to } = dissolved;
        let mut former = self.counters.bequeath_budgets(from, to, &self.members, now);
        former.extend(self.cooldowns.sites_of(from).iter().map(|site| self.subject(site)));
        let sites = self.cooldowns.bequeath(from, to, &self.members, settings);
        self.members.vacate(from);
        (former, sites)
    }

    /// Brings what hangs on projects in line with them.
    fn rebuild(&mut self) {
        self.counters.reconfigure_budgets(&self.members);
        self.cooldowns.rebuild(&self.members);
    }
}
