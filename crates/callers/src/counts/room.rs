//! Whether there is room under a caller's limits, and when there will be: on this gateway, or in a cluster on all of them by
//! what is known.

use super::Counts;
use crate::denial::{LimitReached, Opens};
use crate::limits::{CallerLimits, LimitName};
use crate::period::{Period, Used};
use meter::{Amount, Now, Second, opening};

impl Counts {
    /// What is used in this day and month, on all gateways.
    pub(super) fn periods(&self, now: Now) -> (Used, Used) {
        let (day, month) = (self.day.used(self.booked, now), self.month.used(self.booked, now));
        let Some(shared) = &self.shared else { return (day, month) };
        let of = |period: &Period, others| if period.is_over(now) { Used::default() } else { others };
        let others_of_day = of(&self.day, shared.others_of_day());
        (day.plus(others_of_day), month.plus(of(&self.month, shared.others_of_month())))
    }

    /// Whether there is room for so much under each of these limits. Otherwise the one that opens last.
    pub(super) fn room(
        &self,
        limits: &CallerLimits,
        names: &[LimitName],
        more: Used,
        now: Now,
    ) -> Result<(), LimitReached> {
        let reached = names.iter().filter_map(|&name| {
            let limit = limits.get(name)?;
            let opens = match self.opens(name, limit, more, Used::default(), now) {
                Opens::Now => return None,
                opens => opens,
            };
            Some(LimitReached { name, limit, opens })
        });
        reached.max_by_key(|reached| reached.opens).map_or(Ok(()), Err)
    }

    /// When there is room for so much under a limit, of which so much is counted already. What is larger than the whole limit
    /// has room when nothing else counts, since its output is a guess; whose input alone is larger than a budget has not come
    /// so far ([`CallerLimits::fit`]).
    pub(super) fn opens(&self, name: LimitName, limit: u64, more: Used, counted: Used, now: Now) -> Opens {
        let fits = |used: u64, counted: u64, more: u64| {
            used.saturating_sub(counted).saturating_add(more.min(limit)) <= limit
        };
        let by_minute = |fits: &dyn Fn(Amount) -> bool| {
            let opens = match &self.shared {
                None => self.minute.as_ref().map(|minute| {
                    let second = minute.opens(Second::of(now.mono), fits);
                    opening(second, now.mono)
                }),
                Some(shared) => Some(shared.minute_opens(self.minute.as_deref(), fits, now.mono)),
            };
            Opens::after(opens.map(|opens| opens.saturating_sub(now.mono)).unwrap_or_default())
        };
        let by_period = |period: &Period, used: u64, booked: u64, counted: u64, more: u64| {
            if fits(used, counted, more) {
                Opens::Now
            } else if fits(used.saturating_sub(booked), 0, more) {
                Opens::WhenOthersEnd
            } else {
                Opens::after(period.ends_in(now))
            }
        };
        let (booked, (day, month)) = (self.booked, self.periods(now));
        match name {
            LimitName::Rpm => by_minute(&|used| fits(used.requests, counted.requests, more.requests)),
            LimitName::Tpm => by_minute(&|used| fits(used.tokens, counted.tokens, more.tokens)),
            LimitName::Rpd => by_period(&self.day, day.requests, 0, counted.requests, more.requests),
            LimitName::Concurrent if fits(self.in_flight, 0, more.requests) => Opens::Now,
            LimitName::Concurrent => Opens::WhenOthersEnd,
            LimitName::TokensDay => {
                by_period(&self.day, day.tokens, booked.tokens, counted.tokens, more.tokens)
            }
            LimitName::TokensMonth => {
                by_period(&self.month, month.tokens, booked.tokens, counted.tokens, more.tokens)
            }
            LimitName::MoneyDay => by_period(&self.day, day.money, booked.money, counted.money, more.money),
            LimitName::MoneyMonth => {
                by_period(&self.month, month.money, booked.money, counted.money, more.money)
            }
        }
    }

    /// What counts against a limit, on all gateways.
    pub(super) fn used(&self, name: LimitName, now: Now) -> u64 {
        let second = Second::of(now.mono);
        let own = self.minute.as_deref();
        let minute = match &self.shared {
            None => own.map(|minute| minute.total(second)).unwrap_or_default(),
            Some(shared) => shared.minute_total(own, second),
        };
        let (day, month) = self.periods(now);
        match name {
            LimitName::Rpm => minute.requests,
            LimitName::Tpm => minute.tokens,
            LimitName::Rpd => day.requests,
            LimitName::Concurrent => self.in_flight,
            LimitName::TokensDay => day.tokens,
            LimitName::TokensMonth => month.tokens,
            LimitName::MoneyDay => day.money,
            LimitName::MoneyMonth => month.money,
        }
    }
}
