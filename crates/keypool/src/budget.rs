//! What one project may use of one model and what it has used: limits that are configured, limits that refusals taught,
//! and the counts in the same windows. A budget exists where a limit is known. Chooses nothing and persists nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use gemini::fault::Quota;
use meter::{Amount, Gauge, Minute, Now, Parted, Second, daily_reset, opening};

use crate::limit::{Caps, gauge_of};
use crate::slice::Share;

/// How long a limit is believed that no refusal has confirmed: tiers change. No request goes out beyond a known limit,
/// so nothing but time can show that it was raised.
pub(crate) const BELIEVED: Duration = Duration::from_secs(24 * 60 * 60);
/// A refusal for the day this soon after its beginning is the day before's: Google's clock has not struck yet.
const RESET_GRACE: Duration = Duration::from_secs(10 * 60);

#[derive(Clone, Debug)]
pub(crate) struct Budget {
    pub configured: Caps,
    /// What refusals have taught, by gauge.
    pub learnt: [Option<Learnt>; Gauge::ALL.len()],
    pub minute: Box<Minute>,
    pub day: Day,
    /// This node's part in it, where other nodes have one.
    pub share: Option<Box<Share>>,
    /// Whether something changed since it was last kept.
    pub dirty: bool,
}

/// A limit that Google named in a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Learnt {
    pub limit: u64,
    /// Monotonic.
    pub until: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Day {
    pub requests: u64,
    /// When the count began. Monotonic, as is `ends`.
    pub began: Duration,
    pub ends: Duration,
    /// What the wall clock is to show at the end; `None` before the first one begins.
    pub closes: Option<DateTime<Utc>>,
}

/// What was put down for one lease, to be put right when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Booking {
    at: Duration,
    tokens: u64,
}

/// What became of a lease that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spent {
    /// It was refused: it does not count.
    Nothing,
    /// It counts, with so many input tokens, if that is known.
    Tokens(Option<u64>),
}

impl Budget {
    pub(crate) fn new(configured: Caps) -> Self {
        Self {
            configured,
            learnt: [None; Gauge::ALL.len()],
            minute: Box::new(Minute::new()),
            day: Day::default(),
            share: None,
            dirty: false,
        }
    }

    /// The limits as they are now: of a configured and a learnt one the lower.
    pub(crate) fn caps(&self, now: Duration) -> Caps {
        let mut caps = self.configured;
        for (cap, learnt) in caps.iter_mut().zip(&self.learnt) {
            if let Some(learnt) = learnt.filter(|learnt| now < learnt.until) {
                *cap = Some(cap.map_or(learnt.limit, |cap| cap.min(learnt.limit)));
            }
        }
        caps
    }

    /// When there is room for a request of so many tokens: at once or later. One that is larger than a whole minute's
    /// limit has room when nothing else is counted, since its size is an estimate.
    #[inline]
    pub(crate) fn opens(&self, tokens: u64, now: Duration) -> Duration {
        let [rpm, tpm, rpd] = self.caps(now);
        let second = self.minute.opens(Second::of(now), |used| {
            rpm.is_none_or(|limit| used.requests < limit)
                && tpm.is_none_or(|limit| used.tokens.saturating_add(tokens.clamp(1, limit)) <= limit)
        });
        match rpd {
            Some(limit) if now < self.day.ends && self.day.requests >= limit => {
                opening(second, now).max(self.day.ends)
            }
            _ => opening(second, now),
        }
    }

    /// Counts a request.
    pub(crate) fn book(&mut self, tokens: u64, now: Now) -> Booking {
        let [_, tpm, _] = self.caps(now.mono);
        let tokens = tpm.map_or(tokens, |limit| tokens.min(limit));
        let second = Second::of(now.mono);
        self.minute.add(second, second, Amount { requests: 1, tokens });
        self.begin_day(now);
        self.day.requests += 1;
        if let Some(share) = &mut self.share {
            share.book(tokens, now.mono);
        }
        Booking { at: now.mono, tokens }
    }

    /// Puts a booking right. Whether that made room.
    pub(crate) fn settle(&mut self, booking: Booking, spent: Spent, now: Duration) -> bool {
        let Booking { at, tokens } = booking;
        let (second, now) = (Second::of(at), Second::of(now));
        let nothing = Amount::default();
        let (more, less) = match spent {
            Spent::Nothing => (nothing, Amount { requests: 1, tokens }),
            Spent::Tokens(Some(actual)) => (
                Amount { requests: 0, tokens: actual.saturating_sub(tokens) },
                Amount { requests: 0, tokens: tokens.saturating_sub(actual) },
            ),
            Spent::Tokens(None) => return false,
        };
        let less_of_day = if self.day.began <= at { less.requests } else { 0 };
        if more != nothing {
            self.minute.add(second, now, more);
        }
        if less != nothing {
            self.minute.take_back(second, now, less);
        }
        self.day.requests = self.day.requests.saturating_sub(less_of_day);
        if let Some(share) = &mut self.share {
            share.correct(at, more, less, less_of_day);
        }
        less != nothing
    }

    /// Takes what a refusal says of a limit: that it is used up, and perhaps what it is. `hint` is when there will be
    /// room again, by Google's word. The limit, if it is news.
    pub(crate) fn learn(&mut self, quota: &Quota, hint: Option<Duration>, now: Now) -> Option<(Gauge, u64)> {
        let gauge = gauge_of(quota)?;
        let mut news = None;
        // A limit of zero is not a limit but a model that the tier lacks.
        if let Some(limit) = quota.limit.filter(|limit| *limit > 0) {
            let known = self.caps(now.mono)[gauge as usize] == Some(limit);
            news = (!known).then_some((gauge, limit));
            self.learnt[gauge as usize] = Some(Learnt { limit, until: now.mono + BELIEVED });
        }
        let limit = self.caps(now.mono)[gauge as usize]?;
        if let Some(share) = &mut self.share {
            // The store counts for all nodes, and is told that it has counted too little.
            let until = match gauge {
                Gauge::Rpd if daily_reset::since_last(now.wall) >= RESET_GRACE => {
                    daily_reset::end_of_day(now)
                }
                _ => now.mono + hint.unwrap_or_default(),
            };
            share.is_full(until);
            return news;
        }
        let second = Second::of(now.mono);
        let used = self.minute.total(second);
        // Somebody else uses the project too. What they used ends to count when Google says that there is room.
        let at = hint.map_or(second, |hint| Minute::ending_at(second, now.mono + hint));
        match gauge {
            Gauge::Rpm => {
                let requests = limit.saturating_sub(used.requests);
                self.minute.add(at, second, Amount { requests, tokens: 0 });
            }
            Gauge::Tpm => {
                let tokens = limit.saturating_sub(used.tokens);
                self.minute.add(at, second, Amount { requests: 0, tokens });
            }
            Gauge::Rpd => {
                self.begin_day(now);
                if daily_reset::since_last(now.wall) >= RESET_GRACE {
                    self.day.requests = self.day.requests.max(limit);
                }
            }
        }
        news
    }

    /// Forgets what refusals taught.
    pub(crate) fn forget_learnt(&mut self) {
        self.learnt = [None; Gauge::ALL.len()];
    }

    /// Whether nothing would be lost with it.
    pub(crate) fn is_idle(&self, now: Duration) -> bool {
        self.learnt.iter().flatten().all(|learnt| learnt.until <= now)
            && self.minute.total(Second::of(now)) == Amount::default()
            && (self.configured[Gauge::Rpd as usize].is_none()
                || self.day.requests == 0
                || self.day.ends <= now)
    }

    /// Two budgets that turn out to be the same project's: of each count the larger, of each limit the newer.
    pub(crate) fn merge(&mut self, other: &Self, now: Duration) {
        self.minute.merge(&other.minute);
        let lives = |day: &Day| now < day.ends;
        if lives(&other.day) && (!lives(&self.day) || other.day.requests > self.day.requests) {
            self.day = other.day;
        }
        for (own, other) in self.learnt.iter_mut().zip(other.learnt) {
            if other.map(|learnt| learnt.until) > own.map(|learnt| learnt.until) {
                *own = other;
            }
        }
    }

    /// Moves the end of the day to where the wall clock shows it now.
    pub(crate) fn follow_wall(&mut self, parted: Parted, now: Now) {
        if now.mono < self.day.ends {
            self.day.ends = parted.day_end(self.day.ends, now);
            self.day.closes = Some(now.wall_at(self.day.ends));
        }
    }

    fn begin_day(&mut self, now: Now) {
        if self.day.ends <= now.mono {
            let ends = daily_reset::end_of_day_after(self.day.closes, now);
            self.day = Day { requests: 0, began: now.mono, ends, closes: Some(now.wall_at(ends)) };
        }
    }
}
