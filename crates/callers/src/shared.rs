//! What a caller uses on all gateways of a cluster, as far as this one knows: what the others had used by their last word,
//! and how much of its own use this one has told. Reports and replies are values, which the cluster carries; the sums that
//! they meet in count every gateway's use once. Only `counts` uses it.

use std::time::Duration;

use chrono::NaiveDate;
use meter::{Amount, Minute, Now, Second, opening};

use crate::limits::{CallerLimits, LimitName};
use crate::period::Used;

/// For how long the others' use is gone by without asking again.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// All gateways together may have used one part in so many of a limit without having told.
const UNTOLD_PARTS: u64 = 50;
/// By how much the minutes of two gateways may begin apart.
const APART: Duration = Duration::from_secs(1);

/// What this gateway tells of one caller. What its limits do not count is missing.
#[derive(Clone, Debug)]
pub struct UseReport {
    /// By how much the last minute differs from what was told of it.
    pub minute: Option<Vec<MinuteChange>>,
    /// The same of this day.
    pub day: Option<PeriodChange>,
    /// The same of this month.
    pub month: Option<PeriodChange>,
    /// The minute that is told with it.
    told: Option<Box<Minute>>,
    /// The second in which it is told.
    at: Second,
    touches: u64,
}

/// What was used in one second beyond what was told of it; below zero where it has turned out to be less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinuteChange {
    /// How many whole seconds ago.
    pub age: Duration,
    /// Requests.
    pub requests: i64,
    /// Tokens.
    pub tokens: i64,
}

/// What was used in a day or month beyond what was told of it; below zero where it has turned out to be less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodChange {
    /// Which one: its first day, in the zone of days and months.
    pub first: NaiveDate,
    /// Requests.
    pub requests: i64,
    /// Tokens.
    pub tokens: i64,
    /// Money, in billionths.
    pub money: i64,
}

/// What all gateways have used, once a report is added to it. What could not be asked is missing, all of it in the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct UseReply {
    /// How many gateways there are, this one included; 0 where that is not known.
    pub gateways: u64,
    /// In the last minute.
    pub minute: Option<MinuteReply>,
    /// In this day.
    pub day: Option<PeriodReply>,
    /// In this month.
    pub month: Option<PeriodReply>,
}

/// The last minute of all gateways.
#[derive(Clone, Copy, Debug)]
pub struct MinuteReply {
    /// What it comes to.
    pub total: Amount,
    /// In which run of the shared state it was counted. Another run begins with nothing.
    pub run: u64,
}

/// A day or month of all gateways.
#[derive(Clone, Copy, Debug)]
pub struct PeriodReply {
    /// What it comes to.
    pub total: Used,
    /// What of that this life of this gateway has told.
    pub own: Used,
}

/// A caller's use as it is shared. See the module.
#[derive(Clone, Debug)]
pub(crate) struct SharedUse {
    /// What was told of this gateway's last minute.
    told: Box<Minute>,
    /// What the others have used in it, at the times at which this was heard.
    others: Box<Minute>,
    run: Option<u64>,
    day: SharedPeriod,
    month: SharedPeriod,
    /// When all of it was heard last. Monotonic.
    heard_at: Option<Duration>,
    gateways: u64,
    /// How often something has changed, and how often it had when it was told last.
    touches: u64,
    told_touches: u64,
}

/// A day or month as it is shared.
#[derive(Clone, Copy, Debug, Default)]
struct SharedPeriod {
    first: Option<NaiveDate>,
    told: Used,
    others: Used,
    /// What former lives of this gateway have used, by its own book: it is among what the others have, unless that was lost.
    former: Used,
}

/// What this gateway itself has used.
pub(crate) struct OwnUse<'a> {
    pub(crate) minute: Option<&'a Minute>,
    pub(crate) day: Used,
    pub(crate) month: Used,
}

impl SharedUse {
    pub(crate) fn new() -> Self {
        Self {
            told: Box::default(),
            others: Box::default(),
            run: None,
            day: SharedPeriod::default(),
            month: SharedPeriod::default(),
            heard_at: None,
            gateways: 1,
            touches: 0,
            told_touches: 0,
        }
    }

    /// Takes over what former lives of this gateway have used.
    pub(crate) fn seed(&mut self, day: Used, month: Used) {
        for (period, former) in [(&mut self.day, day), (&mut self.month, month)] {
            period.former = former;
            period.others = former;
        }
    }

    /// Takes over what a former life used in one second of the last minute.
    pub(crate) fn seed_second(&mut self, at: Second, now: Second, amount: Amount) {
        self.others.add(at, now, amount);
    }

    /// These are the day and month now; nobody has used anything of new ones.
    pub(crate) fn turn_to(&mut self, day: Option<NaiveDate>, month: Option<NaiveDate>) {
        for (period, first) in [(&mut self.day, day), (&mut self.month, month)] {
            if period.first != first {
                *period = SharedPeriod { first, ..SharedPeriod::default() };
            }
        }
    }

    /// Something has been used or asked for.
    pub(crate) fn touch(&mut self) {
        self.touches += 1;
    }

    pub(crate) fn others_of_day(&self) -> Used {
        self.day.others
    }

    pub(crate) fn others_of_month(&self) -> Used {
        self.month.others
    }

    /// Returns what all have used in the last minute, by what is known.
    pub(crate) fn minute_total(&self, own: Option<&Minute>, now: Second) -> Amount {
        let own = own.map(|own| own.total(now)).unwrap_or_default();
        let others = self.others.total(now);
        Amount {
            requests: own.requests.saturating_add(others.requests),
            tokens: own.tokens.saturating_add(others.tokens),
        }
    }

    /// Returns when what all have used in the last minute fits; as late as other gateways may see it. Monotonic.
    pub(crate) fn minute_opens(
        &self,
        own: Option<&Minute>,
        fits: &dyn Fn(Amount) -> bool,
        now: Duration,
    ) -> Duration {
        let second = Second::of(now);
        if fits(self.minute_total(own, second)) {
            return now;
        }
        let mut all = (*self.others).clone();
        for (age, amount) in own.into_iter().flat_map(|own| own.ages(second)) {
            all.add(second.earlier(age), second, amount);
        }
        opening(all.opens(second, fits), now) + APART
    }

    /// Whether what the others use was heard too long ago to go by.
    pub(crate) fn is_stale(&self, now: Duration) -> bool {
        self.heard_at.is_none_or(|at| at + KNOWN_FOR < now)
    }

    /// Whether there is something to tell, or to hear.
    pub(crate) fn has_news(&self, limits: &CallerLimits, own: &OwnUse<'_>) -> bool {
        self.touches != self.told_touches
            || limits.count_days() && self.day.told != own.day
            || limits.count_months() && self.month.told != own.month
    }

    /// Whether more was used than all may have used untold: then it is told before anything goes on, and what the others
    /// have used is heard with it.
    pub(crate) fn must_tell(&self, limits: &CallerLimits, own: &OwnUse<'_>, now: Second) -> bool {
        let minute = own.minute.map(|own| own.total(now)).unwrap_or_default();
        let told = self.told.total(now);
        LimitName::ALL.into_iter().any(|name| {
            let Some(limit) = limits.get(name) else { return false };
            let untold = match name {
                LimitName::Rpm => minute.requests.saturating_sub(told.requests),
                LimitName::Tpm => minute.tokens.saturating_sub(told.tokens),
                LimitName::Rpd => own.day.minus(self.day.told).requests,
                LimitName::Concurrent => 0,
                LimitName::TokensDay => own.day.minus(self.day.told).tokens,
                LimitName::TokensMonth => own.month.minus(self.month.told).tokens,
                LimitName::MoneyDay => own.day.minus(self.day.told).money,
                LimitName::MoneyMonth => own.month.minus(self.month.told).money,
            };
            untold.saturating_mul(UNTOLD_PARTS).saturating_mul(self.gateways) > limit
        })
    }

    /// Says what is to be told.
    pub(crate) fn report(&self, limits: &CallerLimits, own: &OwnUse<'_>, now: Now) -> UseReport {
        let second = Second::of(now.mono);
        let told = limits.count_minutes().then(|| Box::new(own.minute.cloned().unwrap_or_default()));
        let minute = told.as_ref().map(|minute| {
            let changes = minute.changes(&self.told, second);
            let change =
                |(age, requests, tokens)| MinuteChange { age: Duration::from_secs(age), requests, tokens };
            changes.map(change).collect()
        });
        let day = limits.count_days().then(|| self.day.change(own.day)).flatten();
        let month = limits.count_months().then(|| self.month.change(own.month)).flatten();
        UseReport { minute, day, month, told, at: second, touches: self.touches }
    }

    /// A report was added to what all use, or in part; what the reply does not say is told again.
    pub(crate) fn heard(&mut self, report: UseReport, reply: &UseReply, now: Duration) {
        let mut is_whole = true;
        if let Some(told) = report.told {
            let changes = report.minute.unwrap_or_default();
            if let Some(minute) = reply.minute {
                self.heard_minute(told, &changes, report.at, minute, Second::of(now));
            } else {
                self.unheard_minute(&changes, report.at);
                is_whole = false;
            }
        }
        for (period, told, reply) in
            [(&mut self.day, report.day, reply.day), (&mut self.month, report.month, reply.month)]
        {
            match (told, reply) {
                (None, _) => {}
                (Some(told), Some(reply)) => period.heard(&told, reply),
                (Some(told), None) => {
                    period.unheard(&told);
                    is_whole = false;
                }
            }
        }
        if reply.gateways > 0 {
            self.gateways = reply.gateways;
        }
        if is_whole {
            self.heard_at = Some(now);
            self.told_touches = self.told_touches.max(report.touches);
        }
    }

    fn heard_minute(
        &mut self,
        told: Box<Minute>,
        changes: &[MinuteChange],
        at: Second,
        reply: MinuteReply,
        now: Second,
    ) {
        self.told = if self.run.is_none_or(|run| run == reply.run) {
            told
        } else {
            // What was told before is forgotten there. It is told again with the next report.
            self.touches += 1;
            Box::new(only(changes, at))
        };
        self.run = Some(reply.run);
        let own = self.told.total(now);
        let others = Amount {
            requests: reply.total.requests.saturating_sub(own.requests),
            tokens: reply.total.tokens.saturating_sub(own.tokens),
        };
        self.others.come_to(others, now);
    }

    /// Nobody knows whether this was added. What was more is told again, and may count twice for a minute; what was less is not,
    /// so that it cannot be taken away twice.
    fn unheard_minute(&mut self, changes: &[MinuteChange], at: Second) {
        for MinuteChange { age, requests, tokens } in changes {
            let amount = Amount { requests: less(*requests), tokens: less(*tokens) };
            self.told.take_back(at.earlier(age.as_secs()), at, amount);
        }
    }

    /// What was told may be lost: all of it is to be told anew.
    pub(crate) fn tell_anew(&mut self) {
        self.touches += 1;
        self.heard_at = None;
    }
}

/// How much less it is.
fn less(change: i64) -> u64 {
    change.min(0).unsigned_abs()
}

/// Makes a minute in which only this was used.
fn only(changes: &[MinuteChange], at: Second) -> Minute {
    let mut minute = Minute::new();
    for MinuteChange { age, requests, tokens } in changes {
        let count = |count: i64| u64::try_from(count).unwrap_or_default();
        let amount = Amount { requests: count(*requests), tokens: count(*tokens) };
        minute.add(at.earlier(age.as_secs()), at, amount);
    }
    minute
}

impl SharedPeriod {
    fn change(&self, own: Used) -> Option<PeriodChange> {
        let change = |is: u64, told: u64| {
            let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            count(is) - count(told)
        };
        Some(PeriodChange {
            first: self.first?,
            requests: change(own.requests, self.told.requests),
            tokens: change(own.tokens, self.told.tokens),
            money: change(own.money, self.told.money),
        })
    }

    /// What is told is what stands there, whatever was sent: an addition that was lost, or counted twice because its answer
    /// was, is put right with the next one.
    fn heard(&mut self, told: &PeriodChange, reply: PeriodReply) {
        if self.first != Some(told.first) {
            return;
        }
        self.told = reply.own;
        self.others = reply.total.minus(reply.own).at_least(self.former);
    }

    /// Nobody knows whether this was added. What was less is not taken away again before it is known.
    fn unheard(&mut self, told: &PeriodChange) {
        if self.first == Some(told.first) {
            let PeriodChange { requests, tokens, money, .. } = *told;
            let less = Used { requests: less(requests), tokens: less(tokens), money: less(money) };
            self.told = self.told.minus(less);
        }
    }
}
