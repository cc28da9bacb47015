//! An account that is counted on all gateways of a cluster: what it tells of its own use, and how a request is judged once the
//! others' is known. The sums themselves are in `shared`.

use super::{Booking, Counts};
use crate::denial::{LimitReached, Opens};
use crate::limits::CallerLimits;
use crate::period::Used;
use crate::shared::{Asks, OwnUse, SharedUse};
use crate::use_report::{UseReply, UseReport};
use meter::{Now, Second};

impl Counts {
    /// Counts from now on together with other gateways.
    pub(crate) fn share(&mut self) {
        self.shared.get_or_insert_with(|| Box::new(SharedUse::new()));
    }

    /// Whether what other gateways use was heard too long ago to judge by.
    pub(crate) fn is_stale(&self, now: Now) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.is_stale(now.mono))
    }

    /// Whether what other gateways use has been heard, and was not lost since.
    pub(super) fn has_heard(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.has_heard())
    }

    /// Has a request that was let in wait for what other gateways use, if it has to.
    pub(crate) fn wait(&mut self, limits: &CallerLimits, booking: &mut Booking, now: Now) -> bool {
        let Some(shared) = &self.shared else { return false };
        if !shared.is_stale(now.mono) && !shared.must_tell(limits, &self.own(), Second::of(now.mono)) {
            return false;
        }
        let counted = booking.counted();
        // What was let in at the door is not to be refused for those who came later.
        let asks = Asks { requests: counted.requests > 0 && !booking.is_reserved, spending: booking.spends };
        booking.ticket = self.shared.as_mut().map(|shared| {
            // It may have waited at the door, for longer than it could.
            booking.ticket.into_iter().for_each(|ticket| shared.end_wait(ticket));
            shared.wait(counted, asks)
        });
        true
    }

    /// Whether there was room for a request that has waited, when the others were told of it.
    pub(crate) fn confirm(
        &mut self,
        limits: &CallerLimits,
        booking: &Booking,
        now: Now,
    ) -> Result<(), LimitReached> {
        self.advance(now);
        let (Some(ticket), Some(shared)) = (booking.ticket, &mut self.shared) else { return Ok(()) };
        let Some(name) = shared.refused_by(ticket) else { return Ok(()) };
        let (limit, counted) = (limits.get(name).unwrap_or_default(), booking.counted());
        let more = Used { tokens: counted.tokens.max(1), money: counted.money.max(1), ..counted };
        let opens = match self.opens(name, limit, more, counted, now) {
            // What was in the way has ended meanwhile.
            Opens::Now => Opens::WhenOthersEnd,
            opens => opens,
        };
        Err(LimitReached { name, limit, opens })
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
    pub(crate) fn heard(&mut self, limits: &CallerLimits, report: UseReport, reply: &UseReply, now: Now) {
        self.advance(now);
        if let Some(shared) = &mut self.shared {
            shared.heard(limits, report, reply, now.mono);
        }
    }

    /// What was told is to be told anew, if anything was used, by this life of the gateway or a former one.
    pub(crate) fn tell_anew(&mut self, now: Now) {
        let has_used = self.minute.is_some() || self.month.all_used() != Used::default();
        if let Some(shared) = self.shared.as_mut().filter(|shared| has_used || shared.has_former()) {
            shared.tell_anew(now.mono);
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
