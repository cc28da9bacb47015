//! The roster's state as records, and back: the only place where its times meet the wall clock.

use std::time::Duration;

use meter::Now;

use super::Roster;
use crate::cooldowns::Cooldown;
use crate::ids::{ProjectIx, Site};
use crate::reason::Reason;
use crate::record::{CooldownState, Record, Subject};
use crate::settings::Settings;

/// The most that a stored cooldown is believed to last, beside `long_wait`: the longest day, and some.
pub(super) const LONGEST_DAY: Duration = Duration::from_secs(26 * 60 * 60);

impl Roster {
    pub(crate) fn subject(&self, site: &Site) -> Subject {
        let owner = |project: &ProjectIx| self.members.owner(*project).clone();
        match site {
            Site::Key(key) => Subject::Key { key: self.members.get(*key).id.clone() },
            Site::Project(project) => Subject::Project { project: owner(project) },
            Site::Model(project, model) => Subject::Model { project: owner(project), model: model.clone() },
            Site::Tool(project, tool) => Subject::Tool { project: owner(project), tool: *tool },
        }
    }

    /// Where the cooldown of a subject sits, if it has one.
    pub(super) fn site(&self, subject: Subject) -> Option<Site> {
        let members = &self.members;
        Some(match subject {
            Subject::Key { key } => Site::Key(members.find(&key)?),
            Subject::Project { project } => Site::Project(members.owned_by(&project)?),
            Subject::Model { project, model } => Site::Model(members.owned_by(&project)?, model),
            Subject::Tool { project, tool } => Site::Tool(members.owned_by(&project)?, tool),
            Subject::Limits { .. }
            | Subject::Usage { .. }
            | Subject::ModelUsage { .. }
            | Subject::Breaker { .. } => return None,
        })
    }

    /// The durable state at a site.
    pub(crate) fn record(&self, site: &Site, now: Now) -> Record {
        let state = match self.cooldowns.get(site) {
            None | Some(Cooldown::Open) => CooldownState::Open,
            Some(Cooldown::Retired { reason }) => CooldownState::Retired { reason: *reason },
            Some(Cooldown::Cooling { until, daily, streak }) => CooldownState::Cooling {
                until: now.wall_at(*until),
                steps: streak.steps,
                reason: streak.reason,
                daily: *daily,
            },
            Some(Cooldown::Probation { since, streak, .. }) => CooldownState::Cooling {
                until: now.wall_at(*since),
                steps: streak.steps,
                reason: streak.reason,
                daily: false,
            },
        };
        let since = self.cooldowns.stands_since(site).filter(|_| state != CooldownState::Open);
        let record = Record { state, since, ..Record::clear(self.subject(site)) };
        match site {
            Site::Key(key) => {
                let number = self.members.get(*key).number;
                let disabled = self.cooldowns.is_disabled(*key);
                Record { disabled, disabled_since: self.cooldowns.disabled_since(*key), number, ..record }
            }
            Site::Model(project, model) => {
                Record { quota: self.cooldowns.quota_of(*project, model).cloned(), ..record }
            }
            Site::Project(_) | Site::Tool(..) => record,
        }
    }

    /// A record for each site that has something to say.
    pub(crate) fn records(&self, now: Now) -> Vec<Record> {
        let keys = self.members.iter().map(|(key, _)| Site::Key(key));
        let projects = self.members.projects().map(Site::Project);
        let sites = keys.chain(projects).chain(self.cooldowns.parts());
        let usage = self.members.iter().map(|(key, member)| self.counters.usage_record(key, &member.id));
        let records = sites.map(|site| self.record(&site, now));
        let limits = self.counters.limits_records(&self.members, now);
        let by_model = self.counters.model_usage_records(&self.members);
        records.chain(limits).chain(usage).chain(by_model).filter(|record| !record.is_clear()).collect()
    }

    /// Takes records over, in any order. What a project is called depends on its keys' numbers, so these come first.
    pub(crate) fn restore_all(&mut self, records: Vec<Record>, now: Now, settings: &Settings) {
        self.cooldowns.look_at(now.wall);
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
        if let (Subject::Limits { project, model }, Some(state)) = (&record.subject, &record.limits)
            && let Some(project) = self.members.owned_by(project)
        {
            self.counters.restore_limits(project, model, state, &self.members, now);
        }
        if let (Subject::Usage { key }, Some(usage)) = (&record.subject, &record.usage)
            && let Some(key) = self.find(key)
        {
            self.counters.restore_usage(key, usage, now.mono);
        }
        if let (Subject::ModelUsage { key, model }, Some(usage)) = (&record.subject, &record.usage)
            && let Some(key) = self.find(key)
        {
            self.counters.restore_model_usage(key, model, usage, now.mono);
        }
        let quota = record.quota;
        let Some(site) = self.site(record.subject) else { return };
        if let Site::Key(key) = site {
            let failed = matches!(record.state, CooldownState::Cooling { reason: Reason::Transport, .. });
            self.cooldowns.disable(key, &self.members, record.disabled);
            self.cooldowns.restore_disabled_since(key, record.disabled_since);
            // One more loss of its own and it cools again, as it would have without the restart.
            self.counters.losses_mut().set_own(key, if failed { settings.failure_threshold } else { 0 });
        }
        let since = match record.state {
            // It was over before anybody saw it.
            CooldownState::Cooling { until, .. } if until <= now.wall => Some(until),
            CooldownState::Open => None,
            CooldownState::Cooling { .. } | CooldownState::Retired { .. } => record.since,
        };
        let cooldown = match record.state {
            CooldownState::Open => Cooldown::Open,
            CooldownState::Retired { reason } => Cooldown::Retired { reason },
            CooldownState::Cooling { until, steps, reason, daily } if until > now.wall => {
                let left = now.until(until).min(settings.long_wait.max(LONGEST_DAY));
                self.cooldowns.set_timer(now.mono + left, site.clone());
                Cooldown::restored(now.mono + left, daily, steps, reason)
            }
            CooldownState::Cooling { until, .. } if now.since(until) >= settings.cooldown_max => {
                Cooldown::Open
            }
            CooldownState::Cooling { until, steps, reason, .. } => {
                self.cooldowns.set_timer(now.mono + settings.cooldown_max, site.clone());
                Cooldown::restored_over(now.mono.saturating_sub(now.since(until)), steps, reason)
            }
        };
        let is_open = cooldown.is_open();
        self.cooldowns.set(&site, &self.members, cooldown);
        self.cooldowns.restore_since(&site, since.filter(|_| !is_open));
        self.cooldowns.name_quota(&site, quota);
    }
}
