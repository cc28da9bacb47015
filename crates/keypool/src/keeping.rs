//! The roster's state as records, and back: the only place where its times meet the wall clock.

use std::time::Duration;

use meter::Now;

use crate::cooldown::Cooldown;
use crate::key::KeyIx;
use crate::reason::Reason;
use crate::record::{CooldownState, Record, Subject};
use crate::roster::{Key, ProjectIx, Roster, Site};
use crate::settings::Settings;
use crate::tool::Tool;

/// The most that a stored cooldown is believed to last, beside `long_wait`: the longest day, and some.
const LONGEST_DAY: Duration = Duration::from_secs(26 * 60 * 60);

impl Roster {
    pub(crate) fn subject(&self, site: &Site) -> Subject {
        let owner = |project: &ProjectIx| self.projects[project.0 as usize].owner.clone();
        match site {
            Site::Key(key) => Subject::Key { key: self.keys[key.position()].id.clone() },
            Site::Project(project) => Subject::Project { project: owner(project) },
            Site::Model(project, model) => Subject::Model { project: owner(project), model: model.clone() },
            Site::Tool(project, tool) => Subject::Tool { project: owner(project), tool: *tool },
        }
    }

    /// Where the cooldown of a subject sits, if it has one.
    fn site(&self, subject: Subject) -> Option<Site> {
        Some(match subject {
            Subject::Key { key } => Site::Key(self.find(&key)?),
            Subject::Project { project } => Site::Project(*self.by_owner.get(&project)?),
            Subject::Model { project, model } => Site::Model(*self.by_owner.get(&project)?, model),
            Subject::Tool { project, tool } => Site::Tool(*self.by_owner.get(&project)?, tool),
            Subject::Limits { .. } | Subject::Usage { .. } => return None,
        })
    }

    /// The durable state at a site.
    pub(crate) fn record(&self, site: &Site, now: Now) -> Record {
        let state = match self.peek(site) {
            None | Some(Cooldown::Open) => CooldownState::Open,
            Some(Cooldown::Retired { reason }) => CooldownState::Retired { reason: *reason },
            Some(
                Cooldown::Cooling { until, streak, .. } | Cooldown::Probation { since: until, streak, .. },
            ) => CooldownState::Cooling {
                until: now.wall_at(*until),
                steps: streak.steps,
                reason: streak.reason,
            },
        };
        let record = Record { state, ..Record::clear(self.subject(site)) };
        match site {
            Site::Key(key) => {
                let Key { disabled, number, .. } = &self.keys[key.position()];
                Record { disabled: *disabled, number: *number, ..record }
            }
            Site::Project(_) | Site::Model(..) | Site::Tool(..) => record,
        }
    }

    /// A record for each site that has something to say.
    pub(crate) fn records(&self, now: Now) -> Vec<Record> {
        let keys = (0..).map(|ix| Site::Key(KeyIx(ix))).take(self.keys.len());
        let projects = (0..).map(|ix| Site::Project(ProjectIx(ix))).take(self.projects.len());
        let models = self.troubles.iter().flat_map(|(model, trouble)| {
            trouble.cooldowns.keys().map(|project| Site::Model(*project, model.clone()))
        });
        let tools = Tool::ALL.into_iter().flat_map(|tool| {
            self.tools[tool as usize].cooldowns.keys().map(move |project| Site::Tool(*project, tool))
        });
        let records = keys.chain(projects).chain(models).chain(tools).map(|site| self.record(&site, now));
        let usage = (0..).map(KeyIx).take(self.keys.len()).map(|key| self.usage_record(key));
        records.chain(self.limits_records(now)).chain(usage).filter(|record| !record.is_clear()).collect()
    }

    /// Takes records over, in any order. What a project is called depends on its keys' numbers, so these come first.
    pub(crate) fn restore_all(&mut self, records: Vec<Record>, now: Now, settings: &Settings) {
        let number = |record: &Record| match &record.subject {
            Subject::Key { key } => Some((self.find(key)?, record.number?)),
            _ => None,
        };
        let numbers: Vec<_> = records.iter().filter_map(number).collect();
        self.restore_numbers(numbers, now.mono, settings);
        for record in records {
            self.restore(record, now, settings);
        }
    }

    /// Takes a record over. One whose subject is no longer in the pool is passed by.
    fn restore(&mut self, record: Record, now: Now, settings: &Settings) {
        if let (Subject::Limits { project, model }, Some(state)) = (&record.subject, &record.limits) {
            self.restore_limits(project, model, state, now);
        }
        if let (Subject::Usage { key }, Some(usage)) = (&record.subject, &record.usage) {
            self.restore_usage(key, usage, now.mono);
        }
        let Some(site) = self.site(record.subject) else { return };
        if let Site::Key(key) = site {
            let failed = matches!(record.state, CooldownState::Cooling { reason: Reason::Transport, .. });
            let entry = self.key_mut(key);
            entry.disabled = record.disabled;
            // One more transport fault and it cools again, as it would have without the restart.
            entry.failures = if failed { settings.failure_threshold } else { 0 };
        }
        let cooldown = match record.state {
            CooldownState::Open => Cooldown::Open,
            CooldownState::Retired { reason } => Cooldown::Retired { reason },
            CooldownState::Cooling { until, steps, reason } if until > now.wall => {
                let left = now.until(until).min(settings.long_wait.max(LONGEST_DAY));
                self.set_timer(now.mono + left, site.clone());
                Cooldown::restored(now.mono + left, steps, reason)
            }
            CooldownState::Cooling { until, .. } if now.since(until) >= settings.cooldown_max => {
                Cooldown::Open
            }
            CooldownState::Cooling { until, steps, reason } => {
                self.set_timer(now.mono + settings.cooldown_max, site.clone());
                Cooldown::restored_over(now.mono.saturating_sub(now.since(until)), steps, reason)
            }
        };
        self.set(&site, cooldown);
    }
}
