//! A node's part in a budget that several nodes share: the slice that it holds and spends by itself, what it has spent and not
//! reported yet, and what it was answered last. How much is wanted is decided in `counters/draws`, what a node may do that cannot
//! ask in `habit`. The store that gives slices out is the owner's matter.

use std::time::Duration;

use meter::Amount;

use crate::habit::Habit;
use crate::limit::Caps;

/// How soon something that is drawn for is hoped for.
pub(crate) const DRAW_HOPE: Duration = Duration::from_millis(100);
/// How long a slice may be spent after it was asked for or renewed: a tenth less than the three seconds after which the store
/// counts it as spent.
const SLICE_LASTS: Duration = Duration::from_millis(2_700);
/// The least time between two questions for a bucket that had nothing to give.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// By how much older than it was a correction is reported.
const TAKEN_BACK_BEFORE: Duration = Duration::from_millis(250);
/// The longest that a bucket may be said to have nothing: the longest day, and some.
const LONGEST_WAIT: Duration = Duration::from_secs(26 * 60 * 60);
/// For how many seconds what was spent counts in a minute.
const COUNTED: u64 = 61;

/// So much of what a budget limits: requests and input tokens of a minute, and requests of a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// Requests in a minute.
    pub requests: u64,
    /// Input tokens in a minute.
    pub tokens: u64,
    /// Requests in a day.
    pub day: u64,
}

impl Units {
    /// Whether there is nothing.
    pub(crate) fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// Returns both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            tokens: self.tokens.saturating_add(other.tokens),
            day: self.day.saturating_add(other.day),
        }
    }

    /// Returns what is left of this without the other.
    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(other.requests),
            tokens: self.tokens.saturating_sub(other.tokens),
            day: self.day.saturating_sub(other.day),
        }
    }

    /// Returns these units of what is limited, and nothing of what is not.
    pub(crate) fn of_limited(self, [rpm, tpm, rpd]: Caps) -> Self {
        Self {
            requests: rpm.map_or(0, |limit| self.requests.min(limit)),
            tokens: tpm.map_or(0, |limit| self.tokens.min(limit)),
            day: rpd.map_or(0, |limit| self.day.min(limit)),
        }
    }
}

/// What was spent at one time. Corrections are negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spend {
    /// How long ago that was, on this node's monotonic clock.
    pub ago: Duration,
    /// Requests.
    pub requests: i64,
    /// Input tokens of those.
    pub tokens: i64,
    /// Requests that count for the day that is running.
    pub day: i64,
}

/// What was spent within one second, or what of it turned out not to have been.
#[derive(Clone, Copy, Debug)]
struct SpentThen {
    /// The last moment of that second in which something was spent; the first in which something was that is taken back.
    /// Monotonic.
    at: Duration,
    is_taken_back: bool,
    requests: i64,
    tokens: i64,
    day: i64,
}

/// What was spent and is to be reported, second by second: bounded, since what is older than a minute counts for the day only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spends(Vec<SpentThen>);

impl Spends {
    /// Adds what was spent at a time. Seconds may come in any order.
    pub(crate) fn add(&mut self, at: Duration, requests: i64, tokens: i64, day: i64) {
        let is_taken_back = requests < 0 || tokens < 0;
        self.put(SpentThen { at, is_taken_back, requests, tokens, day });
    }

    fn put(&mut self, added: SpentThen) {
        let place_of = |then: &SpentThen| (then.at.as_secs(), then.is_taken_back);
        match self.0.binary_search_by_key(&place_of(&added), place_of) {
            Ok(place) => {
                let then = &mut self.0[place];
                let (first, last) = (then.at.min(added.at), then.at.max(added.at));
                then.at = if added.is_taken_back { first } else { last };
                then.requests = then.requests.saturating_add(added.requests);
                then.tokens = then.tokens.saturating_add(added.tokens);
                then.day = then.day.saturating_add(added.day);
            }
            Err(place) => self.0.insert(place, added),
        }
        let newest = self.0.last().map_or(0, |then| then.at.as_secs());
        while let [first, second, ..] = self.0[..]
            && second.at.as_secs() + COUNTED < newest
        {
            self.0.remove(0);
            self.0[0] = SpentThen { day: first.day.saturating_add(second.day), ..second };
        }
    }

    /// Takes in what another list has.
    fn absorb(&mut self, other: Self) {
        for then in other.0 {
            self.put(then);
        }
    }

    /// Takes in what a lost report carried. It may have been counted all the same: what was spent is reported again, since that
    /// counts too much at worst, and what was taken back is not.
    fn absorb_lost(&mut self, mut lost: Self) {
        lost.0.retain(|then| !then.is_taken_back);
        self.absorb(lost);
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what is to be reported now.
    fn reports(&self, now: Duration) -> Vec<Spend> {
        let report = |then: &SpentThen| {
            let SpentThen { at, is_taken_back, requests, tokens, day } = *then;
            // However long the calls take: it must not end to count before what is taken back for it.
            let older = if is_taken_back { TAKEN_BACK_BEFORE } else { Duration::ZERO };
            let spend = Spend { ago: now.saturating_sub(at) + older, requests, tokens, day };
            ((requests, tokens, day) != (0, 0, 0)).then_some(spend)
        };
        self.0.iter().filter_map(report).collect()
    }
}

/// A report that is on its way.
#[derive(Clone, Debug)]
struct SentReport {
    call: u64,
    at: Duration,
    spends: Spends,
}

/// What the store said was left of a budget, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub units: Units,
    pub at: Duration,
}

/// A node's part in one budget.
#[derive(Clone, Debug, Default)]
pub(crate) struct Share {
    held: Units,
    /// Until when what is held may be spent. Monotonic, as all times here.
    until: Duration,
    spent: Spends,
    sent: Option<SentReport>,
    /// Before this there is nothing to be had.
    opens: Duration,
    /// Until when Google refuses, while the store has not been told.
    full: Option<Duration>,
    /// When the slice was last asked for or renewed.
    renewed: Duration,
    left: Option<Left>,
    /// What the node may do while it cannot ask.
    pub habit: Option<Habit>,
}

/// What is sent of a share with one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sending {
    pub spent: Vec<Spend>,
    pub have: Units,
    pub full_for: Option<Duration>,
}

/// What was answered for a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub call: u64,
    pub units: Units,
    pub left: Units,
    pub opens_in: Duration,
    pub closed_for: Duration,
}

impl Share {
    /// Returns what may be spent now.
    pub(crate) fn held(&self, now: Duration) -> Units {
        if now < self.until { self.held } else { Units::default() }
    }

    /// Whether there is enough for a request of so many tokens, of what is limited.
    pub(crate) fn has_room(&self, [rpm, tpm, rpd]: Caps, tokens: u64, now: Duration) -> bool {
        let held = self.held(now);
        (rpm.is_none() || held.requests > 0)
            && tpm.is_none_or(|limit| held.tokens >= tokens.clamp(1, limit))
            && (rpd.is_none() || held.day > 0)
    }

    /// Returns when something may be drawn: now, unless it is known that there is nothing before.
    pub(crate) fn opens(&self) -> Duration {
        self.opens
    }

    /// Counts a request.
    pub(crate) fn book(&mut self, tokens: u64, now: Duration) {
        self.held = self.held.minus(Units { requests: 1, tokens, day: 1 });
        self.spent.add(now, 1, signed(tokens), 1);
    }

    /// Puts right what was booked at a time: `more` and `less` than that was spent.
    pub(crate) fn correct(&mut self, at: Duration, more: Amount, less: Amount, less_of_day: u64) {
        // What was not spent after all is the store's to give out again.
        self.held = self.held.minus(Units { requests: more.requests, tokens: more.tokens, day: 0 });
        let requests = signed(more.requests).saturating_sub(signed(less.requests));
        let tokens = signed(more.tokens).saturating_sub(signed(less.tokens));
        self.spent.add(at, requests, tokens, signed(less_of_day).saturating_neg());
    }

    /// Takes down that Google refuses until then: nothing is to be had before.
    pub(crate) fn is_full(&mut self, until: Duration) {
        self.held = Units::default();
        self.opens = self.opens.max(until);
        self.full = self.full.max(Some(until));
    }

    /// Whether the store is to hear of this, whether or not something is wanted: of what was spent, of a refusal, or that what
    /// is held is still wanted.
    pub(crate) fn has_to_say(&self, renew_every: Duration, now: Duration) -> bool {
        let spent = !self.spent.is_empty() || self.sent.is_some();
        let renew = !self.held(now).is_zero() && self.renewed + renew_every <= now;
        spent || renew || self.full.is_some()
    }

    /// Whether something would be lost with it.
    pub(crate) fn is_in_use(&self, now: Duration) -> bool {
        !self.held(now).is_zero() || !self.spent.is_empty() || self.sent.is_some()
    }

    /// Gives back so much of what is held.
    pub(crate) fn give_back(&mut self, units: Units) {
        self.held = self.held.minus(units);
    }

    /// Takes out what is to be sent with this call. A call before that was not answered is held for lost: it may have been
    /// counted, and is reported again.
    pub(crate) fn send(&mut self, call: u64, now: Duration) -> Sending {
        self.take_back_sent();
        if self.until <= now {
            self.held = Units::default();
        }
        let spends = std::mem::take(&mut self.spent);
        let full_for = self.full.map(|until| until.saturating_sub(now)).filter(|left| !left.is_zero());
        self.full = full_for.and(self.full);
        let sending = Sending { spent: spends.reports(now), have: self.held, full_for };
        self.sent = Some(SentReport { call, at: now, spends });
        sending
    }

    /// Takes the answer to a call. `spread`, from 0 to 1, keeps nodes from asking again all at once. Returns whether something
    /// may be spent that could not be before.
    pub(crate) fn take(&mut self, answer: Given, now: Duration, spread: f64) -> bool {
        let Given { call, units, left, opens_in, closed_for } = answer;
        // A late answer says nothing: what is held was told anew since.
        let Some(SentReport { at, .. }) = self.sent.take_if(|sent| sent.call == call) else { return false };
        self.held = self.held.plus(units);
        self.until = at + SLICE_LASTS;
        self.renewed = at;
        self.full = None;
        self.left = Some(Left { units: left, at: now });
        let (opens_in, closed_for) = (opens_in.min(LONGEST_WAIT), closed_for.min(LONGEST_WAIT));
        let waits = opens_in.max(closed_for);
        self.opens = if units.is_zero() && (!waits.is_zero() || left.is_zero()) {
            now + waits.max(ASK_AGAIN.mul_f64(1.0 + spread))
        } else if closed_for.is_zero() {
            now
        } else {
            now + closed_for
        };
        !units.is_zero()
    }

    /// Takes down that the last call was lost.
    pub(crate) fn take_back_sent(&mut self) {
        if let Some(sent) = self.sent.take() {
            self.spent.absorb_lost(sent.spends);
        }
    }

    /// Begins anew with a store that knows nothing: nothing is held, and all that counts of the minute is reported. Of the day
    /// what was not reported yet, since the store has kept the rest, or is told it.
    pub(crate) fn begin_anew(&mut self, mut minute: Spends, now: Duration) {
        self.take_back_sent();
        let day = self.spent.0.iter().map(|then| then.day).fold(0, i64::saturating_add);
        minute.add(now, 0, 0, day);
        *self = Self { spent: minute, habit: self.habit, left: self.left, ..Self::default() };
    }

    /// Reports so much in addition, which was reported under another name before.
    pub(crate) fn report_too(&mut self, spends: Spends) {
        self.spent.absorb(spends);
    }

    /// Returns what the store said last.
    pub(crate) fn left(&self) -> Option<Left> {
        self.left
    }
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPS: Caps = [Some(10), None, None];

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn given(call: u64, requests: u64) -> Given {
        let units = Units { requests, ..Units::default() };
        let zero = Duration::ZERO;
        Given { call, units, left: units, opens_in: zero, closed_for: zero }
    }

    #[test]
    fn a_slice_is_spent_until_its_end_counted_from_when_it_was_asked_for() {
        let mut share = Share::default();
        share.send(1, at(1_000));
        assert!(share.take(given(1, 2), at(1_500), 0.0));
        assert!(share.has_room(CAPS, 0, at(3_699)) && !share.has_room(CAPS, 0, at(3_700)));
        share.book(0, at(1_600));
        share.book(0, at(1_600));
        assert!(!share.has_room(CAPS, 0, at(1_600)));
    }

    #[test]
    fn an_answer_that_makes_no_sense_closes_for_a_day_at_most() {
        let mut share = Share::default();
        share.send(1, at(0));
        let most = Units { requests: u64::MAX, tokens: u64::MAX, day: u64::MAX };
        let long = Duration::MAX;
        share.take(Given { call: 1, units: most, left: most, opens_in: long, closed_for: long }, at(10), 1.0);
        share.send(2, at(20));
        share.take(Given { call: 2, units: most, left: most, opens_in: long, closed_for: long }, at(30), 1.0);
        assert!(share.opens() <= at(30) + LONGEST_WAIT);
    }

    #[test]
    fn a_report_that_is_not_answered_is_sent_again_and_a_late_answer_gives_nothing() {
        let mut share = Share::default();
        share.book(7, at(900));
        let first = share.send(1, at(1_000));
        assert_eq!(first.spent, [Spend { ago: at(100), requests: 1, tokens: 7, day: 1 }]);
        let second = share.send(2, at(1_250));
        assert_eq!(second.spent, [Spend { ago: at(350), requests: 1, tokens: 7, day: 1 }]);
        assert!(!share.take(given(1, 5), at(1_300), 0.0));
        assert!(share.take(given(2, 1), at(1_300), 0.0));
        assert_eq!(share.held(at(1_300)).requests, 1);
        assert_eq!(share.send(3, at(1_400)).spent, []);
    }

    #[test]
    fn what_is_spent_without_reports_stays_bounded_and_the_day_whole() {
        let mut spends = Spends::default();
        for second in 0..1_000_u64 {
            spends.add(Duration::from_secs(second), 1, 2, 1);
        }
        assert!(spends.0.len() <= 64, "{}", spends.0.len());
        let reports = spends.reports(Duration::from_secs(999));
        assert_eq!(reports.iter().map(|spend| spend.day).sum::<i64>(), 1_000);
        let in_minute = reports.iter().filter(|spend| spend.ago < Duration::from_secs(61));
        assert_eq!(in_minute.map(|spend| spend.requests).sum::<i64>(), 61);
    }
}
