//! An account that is counted on all gateways of a cluster: what it tells of its own use, and how a request is judged once the
//! others' is known. The sums themselves are in `shared`.

use super::{Booking, Counts, SPENDING};
use crate::denial::LimitReached;
use crate::limits::{CallerLimits, LimitName};
use crate::period::Used;
use crate::shared::{OwnUse, SharedUse, UseReply, UseReport};
use meter::{Now, Second};

/// The limits on requests that all gateways count together.
const REQUESTS: [LimitName; 2] = [LimitName::Rpm, LimitName::Rpd];

impl Counts {
    /// Counts from now on together with other gateways.
    pub(crate) fn share(&mut self) {
        self.shared.get_or_insert_with(|| Box::new(SharedUse::new()));
    }

    /// Whether what other gateways use was heard too long ago to judge by.
    pub(crate) fn is_stale(&self, now: Now) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.is_stale(now.mono))
    }

    /// Whether a request that was let in has to wait for what other gateways use.
    pub(crate) fn must_tell(&self, limits: &CallerLimits, now: Now) -> bool {
        let Some(shared) = &self.shared else { return false };
        shared.is_stale(now.mono) || shared.must_tell(limits, &self.own(), Second::of(now.mono))
    }

    /// Whether what is booked for a request still has room, now that other gateways' use is known.
    pub(crate) fn confirm(
        &mut self,
        limits: &CallerLimits,
        booking: &Booking,
        now: Now,
    ) -> Result<(), LimitReached> {
        self.advance(now);
        let counted = Used { requests: u64::from(booking.entered.is_some()), ..booking.booked };
        let more = Used { tokens: counted.tokens.max(1), money: counted.money.max(1), ..counted };
        let requests: &[LimitName] = if booking.entered.is_some() { &REQUESTS } else { &[] };
        let spending: &[LimitName] = if booking.spends { &SPENDING } else { &[] };
        let names: Vec<LimitName> = requests.iter().chain(spending).copied().collect();
        self.room(limits, &names, more, counted, now)
    }

    /// Whether there is something to tell other gateways, or to hear of them.
    pub(crate) fn has_news(&mut self, limits: &CallerLimits, now: Now) -> bool {
        self.advance(now);
        self.shared.as_ref().is_some_and(|shared| shared.has_news(limits, &self.own()))
    }

    /// Says what other gateways are to know. `None` where there are none.
    pub(crate) fn report(&mut self, limits: &CallerLimits, now: Now) -> Option<UseReport> {
        self.advance(now);
        Some(self.shared.as_ref()?.report(limits, &self.own(), now))
    }

    /// Hears what other gateways have used.
    pub(crate) fn heard(&mut self, report: UseReport, reply: &UseReply, now: Now) {
        self.advance(now);
        if let Some(shared) = &mut self.shared {
            shared.heard(report, reply, now.mono);
        }
    }

    /// What was told is to be told anew.
    pub(crate) fn tell_anew(&mut self) {
        if let Some(shared) = &mut self.shared {
            shared.tell_anew();
        }
    }

    pub(super) fn touch(&mut self) {
        if let Some(shared) = &mut self.shared {
            shared.touch();
        }
    }

    fn own(&self) -> OwnUse<'_> {
        OwnUse { minute: self.minute.as_deref(), day: self.day.all_used(), month: self.month.all_used() }
    }
}
