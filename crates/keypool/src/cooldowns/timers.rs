//! When cooldowns end: one timer for each that waits for its time, and what passing it does.

use std::cmp::Reverse;
use std::time::Duration;

use meter::{Now, Parted};

use super::{Cooldowns, Passed};
use crate::company::Company;
use crate::ids::Site;
use crate::members::Members;
use crate::settings::Settings;

/// When what cools at a site is to be looked at. Those of what was changed meanwhile are passed by in their time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Timer {
    pub(super) at: Duration,
    pub(super) site: Site,
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

impl Cooldowns {
    /// Returns the next time at which something ends.
    pub(crate) fn next_timer(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse(timer)| timer.at)
    }

    pub(crate) fn set_timer(&mut self, at: Duration, site: Site) {
        self.timers.push(Reverse(Timer { at, site }));
    }

    /// Lets the next cooldown that is over by now pass, and returns what that did. `None` when all have passed.
    pub(crate) fn pass_next(
        &mut self,
        now: Duration,
        settings: &Settings,
        members: &Members,
        company: Company,
    ) -> Option<(Site, Passed)> {
        while self.next_timer().is_some_and(|at| at <= now) {
            let Reverse(Timer { site, .. }) = self.timers.pop()?;
            let cooldown = match &site {
                Site::Key(key) => self.keys.get_mut(key.position()),
                Site::Project(project) => self.projects.get_mut(project.position()),
                Site::Model(project, model) => {
                    self.troubles.get_mut(model).and_then(|trouble| trouble.cooldowns.get_mut(project))
                }
                Site::Tool(project, tool) => self.tools[*tool as usize].cooldowns.get_mut(project),
            };
            let Some(cooldown) = cooldown else { continue };
            let pause = self.claims.pause(company);
            let passed = cooldown.pass(now, settings, company, pause);
            if passed == Passed::Nothing {
                continue;
            }
            // A turn that is over leaves what cooled to be forgotten in its time, or to the next turn.
            let goes_on = company.is_shared() || passed == Passed::TurnOver;
            let changes_at = cooldown.changes_at(settings).filter(|_| goes_on).map(|at| at.max(now));
            if let Passed::Over { forget_at } = passed {
                self.set_timer(forget_at, site.clone());
            }
            if let Some(at) = changes_at {
                self.set_timer(at, site.clone());
            }
            self.refresh(&site, members);
            return Some((site, passed));
        }
        None
    }

    /// Moves the ends of days to where the wall clock shows them now, since it has parted from the monotonic one. Returns
    /// what was moved.
    pub(crate) fn follow_wall(&mut self, parted: Parted, now: Now, members: &Members) -> Vec<Site> {
        let mut sites = self.sites(members);
        sites.retain(|site| {
            let ends = self.change(site, members, |cooldown| cooldown.follow_wall(parted, now));
            if let Some(ends) = ends {
                self.set_timer(ends, site.clone());
            }
            ends.is_some()
        });
        sites
    }

    /// Sets a timer for each cooldown, since the settings by which they end have changed.
    pub(crate) fn set_timers(&mut self, members: &Members, settings: &Settings) {
        self.timers.clear();
        self.await_end(&self.sites(members), settings);
    }

    /// Sees to it that what stands here is looked at in its time: what was due while a probe was out is so anew.
    pub(super) fn await_end(&mut self, sites: &[Site], settings: &Settings) {
        for site in sites {
            if let Some(at) = self.get(site).and_then(|cooldown| cooldown.changes_at(settings)) {
                self.set_timer(at, site.clone());
            }
        }
    }
}
