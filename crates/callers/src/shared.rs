//! What a caller uses on all gateways of a cluster, as far as this one knows: what the others had used by their last word,
//! and how much of its own use this one has told. Reports and replies are values, which the cluster carries; the sums that
//! they meet in count every gateway's use once. Only `counts` uses it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chrono::NaiveDate;
use meter::{Amount, Minute, Now, Second, opening};

use crate::limits::{CallerLimits, LimitName};
use crate::period::Used;
use crate::use_report::{MinuteChange, MinuteReply, PeriodChange, PeriodReply, UseReply, UseReport};

/// For how long the others' use is gone by without asking again.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// All gateways together may have used one part in so many of a limit without having told.
const UNTOLD_PARTS: u64 = 50;
/// How long the others may take to tell anew what was lost.
const TOLD_ANEW_WITHIN: Duration = Duration::from_secs(2);
/// By how much the minutes of two gateways may begin apart.
const APART: Duration = Duration::from_secs(1);

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
    /// Until when the others may not have told anew what was lost, so that what was known of them holds. Monotonic.
    holds_until: Option<Duration>,
    gateways: u64,
    /// What was booked since it was last told, whether it was given back or not.
    booked: Used,
    /// Requests that wait until they are told, the oldest first, and those that have turned out to be too many but are still
    /// counted.
    waiting: VecDeque<WaitingRequest>,
    refused: BTreeMap<u64, (LimitName, Used)>,
    last_ticket: u64,
    /// How often something has changed, and how often it had when it was told last.
    touches: u64,
    told_touches: u64,
}

/// A request that was let in by what is known here, and that waits for what the others say.
#[derive(Clone, Copy, Debug)]
struct WaitingRequest {
    ticket: u64,
    /// What is counted for it.
    counted: Used,
    asks: Asks,
}

/// Which limits a request is held against: those that it was not held against before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asks {
    pub(crate) requests: bool,
    pub(crate) spending: bool,
}

/// A day or month as it is shared.
#[derive(Clone, Copy, Debug, Default)]
struct SharedPeriod {
    first: Option<NaiveDate>,
    told: Used,
    others: Used,
    /// What former lives of this gateway have used, by its own book: it is among what the others have, unless that was lost.
    former: Used,
    /// What of that is missing there, so that it is to be told.
    missing: Used,
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
            holds_until: None,
            gateways: 1,
            booked: Used::default(),
            waiting: VecDeque::new(),
            refused: BTreeMap::new(),
            last_ticket: 0,
            touches: 0,
            told_touches: 0,
        }
    }

    /// Takes over what former lives of this gateway have used.
    pub(crate) fn seed(&mut self, day: Used, month: Used) {
        for (period, former) in [(&mut self.day, day), (&mut self.month, month)] {
            period.former = former;
            period.others = period.others.at_least(former);
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

    /// So much is booked.
    pub(crate) fn book(&mut self, more: Used) {
        self.booked = self.booked.plus(more);
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

    /// Whether what the others use was heard, and was not lost since.
    pub(crate) fn has_heard(&self) -> bool {
        self.heard_at.is_some()
    }

    /// Whether there is something to tell, or to hear.
    pub(crate) fn has_news(&self, limits: &CallerLimits, own: &OwnUse<'_>) -> bool {
        self.touches != self.told_touches
            || limits.count_days() && self.day.has_news(own.day)
            || limits.count_months() && self.month.has_news(own.month)
    }

    /// Whether former lives of this gateway have used anything.
    pub(crate) fn has_former(&self) -> bool {
        [self.day, self.month].into_iter().any(|period| period.former != Used::default())
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
                LimitName::Concurrent => return false,
                LimitName::TokensDay => own.day.minus(self.day.told).tokens,
                LimitName::TokensMonth => own.month.minus(self.month.told).tokens,
                LimitName::MoneyDay => own.day.minus(self.day.told).money,
                LimitName::MoneyMonth => own.month.minus(self.month.told).money,
            };
            // What was given back meanwhile is not what the others have heard of the rest.
            let untold = untold.max(name.of(self.booked));
            untold.saturating_mul(UNTOLD_PARTS).saturating_mul(self.gateways) > limit
        })
    }

    /// Has a request wait until it is told; returns the ticket by which it is known.
    pub(crate) fn wait(&mut self, counted: Used, asks: Asks) -> u64 {
        self.last_ticket += 1;
        self.waiting.push_back(WaitingRequest { ticket: self.last_ticket, counted, asks });
        self.last_ticket
    }

    /// Returns the limit under which there was no room for a request that has waited, if there was one. It goes on to be counted
    /// until it ends.
    pub(crate) fn refused_by(&mut self, ticket: u64) -> Option<LimitName> {
        self.waiting.retain(|waiting| waiting.ticket != ticket);
        self.refused.get(&ticket).map(|(name, _)| *name)
    }

    /// A request ends.
    pub(crate) fn end_wait(&mut self, ticket: u64) {
        self.waiting.retain(|waiting| waiting.ticket != ticket);
        self.refused.remove(&ticket);
    }

    /// Judges the requests that were told with a report. Whatever the others tell afterwards is judged there: so that of many
    /// at the same moment as many are let in as there is room for, it counts in which order they have told. Of one gateway's
    /// own the oldest go first.
    fn judge(&mut self, limits: &CallerLimits, report: &UseReport, reply: &UseReply) {
        let told = self.waiting.iter().take_while(|waiting| waiting.ticket <= report.ticket).count();
        let told: Vec<_> = self.waiting.drain(..told).collect();
        let mut gone = report.refused;
        for request in told.into_iter().rev() {
            let full = LimitName::ALL.into_iter().find(|&name| {
                let (Some(limit), Some(total)) = (limits.get(name), reply.used(name)) else { return false };
                let counted = name.of(request.counted);
                let is_asked =
                    if name.is_of_requests() { request.asks.requests } else { request.asks.spending };
                let others = total.saturating_sub(name.of(gone)).saturating_sub(counted);
                is_asked && others.saturating_add(counted.max(1).min(limit)) > limit
            });
            if let Some(name) = full {
                gone = gone.plus(request.counted);
                self.refused.insert(request.ticket, (name, request.counted));
            }
        }
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
        let refused = self.refused.values().fold(Used::default(), |sum, (_, counted)| sum.plus(*counted));
        let (touches, ticket) = (self.touches, self.last_ticket);
        UseReport { minute, day, month, told, at: second, touches, ticket, refused, booked: self.booked }
    }

    /// A report was added to what all use, or in part; what the reply does not say is told again.
    pub(crate) fn heard(
        &mut self,
        limits: &CallerLimits,
        report: UseReport,
        reply: &UseReply,
        now: Duration,
    ) {
        self.judge(limits, &report, reply);
        let holds = self.holds_until.is_some_and(|until| now < until);
        let mut is_whole = true;
        if let Some(told) = report.told {
            let changes = report.minute.unwrap_or_default();
            if let Some(minute) = reply.minute {
                let second = Second::of(now);
                let others = self.heard_minute(told, &changes, report.at, minute, second);
                let known = if holds { self.others.total(second) } else { Amount::default() };
                let others = Amount {
                    requests: others.requests.max(known.requests),
                    tokens: others.tokens.max(known.tokens),
                };
                self.others.come_to(others, second);
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
                (Some(told), Some(reply)) => period.heard(&told, reply, holds),
                (Some(told), None) => {
                    period.unheard(&told);
                    is_whole = false;
                    if told.former != Used::default() {
                        // Whether it is missing still is heard with the next report.
                        self.touches += 1;
                    }
                }
            }
        }
        if reply.gateways > 0 {
            self.gateways = reply.gateways;
        }
        if is_whole {
            self.heard_at = Some(now);
            self.booked = self.booked.minus(report.booked);
            self.told_touches = self.told_touches.max(report.touches);
        }
    }

    /// Returns what the others have used.
    fn heard_minute(
        &mut self,
        told: Box<Minute>,
        changes: &[MinuteChange],
        at: Second,
        reply: MinuteReply,
        now: Second,
    ) -> Amount {
        self.told = if self.run.is_none_or(|run| run == reply.run) {
            told
        } else {
            // What was told before is forgotten there. It is told again with the next report.
            self.touches += 1;
            Box::new(only(changes, at))
        };
        self.run = Some(reply.run);
        let own = self.told.total(now);
        Amount {
            requests: reply.total.requests.saturating_sub(own.requests),
            tokens: reply.total.tokens.saturating_sub(own.tokens),
        }
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
    pub(crate) fn tell_anew(&mut self, now: Duration) {
        self.touches += 1;
        self.heard_at = None;
        self.holds_until = Some(now + TOLD_ANEW_WITHIN);
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
            former: self.missing,
        })
    }

    fn has_news(&self, own: Used) -> bool {
        self.told != own || self.missing != Used::default()
    }

    /// What is told is what stands there, whatever was sent: an addition that was lost, or counted twice because its answer
    /// was, is put right with the next one.
    fn heard(&mut self, told: &PeriodChange, reply: PeriodReply, holds: bool) {
        if self.first != Some(told.first) {
            return;
        }
        self.told = reply.own;
        self.missing = reply.former.map(|told| self.former.minus(told)).unwrap_or_default();
        let known = if holds { self.others } else { self.former };
        self.others = reply.total.minus(reply.own).at_least(self.former).at_least(known);
    }

    /// Nobody knows whether this was added. What was less is not taken away again before it is known, nor is what former lives
    /// have used added again.
    fn unheard(&mut self, told: &PeriodChange) {
        if self.first == Some(told.first) {
            self.missing = Used::default();
            let PeriodChange { requests, tokens, money, .. } = *told;
            let less = Used { requests: less(requests), tokens: less(tokens), money: less(money) };
            self.told = self.told.minus(less);
        }
    }
}
