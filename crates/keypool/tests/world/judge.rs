//! Google as the judge of one project's limits.

use std::collections::VecDeque;
use std::time::Duration;

use super::setup::secs;
use gemini::fault::{QuotaUnit, QuotaWindow};
use keypool::Limit;

/// Google's own counts of one project: a true sliding minute by arrival, and the day.
#[derive(Default)]
pub(super) struct Judge {
    seen: VecDeque<(Duration, u64)>,
    day: u64,
}

impl Judge {
    /// `None` if the request is served, else the quota that is spent and how long it is until there is room.
    pub(super) fn ask(
        &mut self,
        limit: &Limit,
        tokens: u64,
        now: Duration,
    ) -> Option<(QuotaUnit, QuotaWindow, Duration)> {
        while self.seen.front().is_some_and(|(at, _)| *at + secs(60) <= now) {
            self.seen.pop_front();
        }
        let used: u64 = self.seen.iter().map(|(_, tokens)| tokens).sum();
        let opens = self.seen.front().map_or(secs(1), |(at, _)| *at + secs(60) - now);
        if limit.rpm.is_some_and(|rpm| self.seen.len() as u64 >= rpm) {
            return Some((QuotaUnit::Requests, QuotaWindow::Minute, opens));
        }
        if limit.tpm.is_some_and(|tpm| used + tokens > tpm) {
            return Some((QuotaUnit::InputTokens, QuotaWindow::Minute, opens));
        }
        if limit.rpd.is_some_and(|rpd| self.day >= rpd) {
            return Some((QuotaUnit::Requests, QuotaWindow::Day, secs(3600)));
        }
        self.seen.push_back((now, tokens));
        self.day += 1;
        None
    }

    pub(super) fn has_room(&self, limit: &Limit, now: Duration) -> bool {
        let counts = self.seen.iter().filter(|(at, _)| *at + secs(60) > now).count() as u64;
        limit.rpm.is_none_or(|rpm| counts < rpm) && limit.rpd.is_none_or(|rpd| self.day < rpd)
    }
}
