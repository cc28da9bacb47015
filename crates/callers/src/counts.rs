//! What one caller has used and has under way, and whether there is room for more. Estimates are booked when a request is
//! let in and put right when it is known what it used, so that requests at the same time cannot all slip through what is
//! left. Reads no clock and takes no lock: see `account`.

mod room;
mod together;

use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;

use crate::denial::{LimitReached, Opens};
use crate::limits::{CallerLimits, LimitName};
use crate::output_means::OutputMeans;
use crate::period::{Period, Used};
use crate::shared::SharedUse;
use meter::calendar::CalendarUnit;
use meter::{Amount, Clocks, Minute, Now, Second};

/// The limits on what a request uses, as against those on requests.
const SPENDING: [LimitName; 5] = [
    LimitName::Tpm,
    LimitName::TokensDay,
    LimitName::TokensMonth,
    LimitName::MoneyDay,
    LimitName::MoneyMonth,
];

/// What a request is thought to use.
#[derive(Clone, Copy)]
pub struct Estimate<'a> {
    /// The model, if the request names one. Without `models/`.
    pub model: Option<&'a Arc<str>>,
    /// Its input tokens.
    pub input_tokens: u64,
    /// What so many input and output tokens cost; 0 when the model has no price.
    pub price: &'a dyn Fn(u64, u64) -> u64,
}

/// What a request has used, by Google's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Input, output and thoughts.
    pub tokens: u64,
    /// Output and thoughts alone.
    pub output_tokens: u64,
    /// What that costs; 0 when the model has no price.
    pub money: u64,
}

/// How a request that was let in ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The gateway has refused it itself: it does not count at all.
    GivenBack,
    /// It has used so much; nothing, where Google has refused it.
    Spent(Spent),
    /// Google has served it, and nobody knows what it used: its estimated input stands.
    Unknown,
}

/// What stands for one request until it ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Booking {
    /// When it was let in and counted. Monotonic. `None` for the repeat of a request that counts already.
    entered: Option<Duration>,
    /// When its estimate was booked. Monotonic.
    at: Duration,
    /// What is booked of its estimate, and what of that is input.
    booked: Used,
    input: Used,
    /// The model whose answers it is to be counted among.
    model: Option<Arc<str>>,
    /// Whether it uses tokens.
    spends: bool,
    /// Whether its estimate is booked, so that it was let in at the door.
    is_reserved: bool,
    /// By which it is known while it waits for other gateways.
    ticket: Option<u64>,
}

impl Booking {
    /// What of it is counted.
    fn counted(&self) -> Used {
        Used { requests: u64::from(self.entered.is_some()), ..self.booked }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Counts {
    zone: Tz,
    in_flight: u64,
    /// What is booked for requests under way. It is part of what is used.
    booked: Used,
    /// Where anything is limited by the minute.
    minute: Option<Box<Minute>>,
    day: Period,
    month: Period,
    outputs: OutputMeans,
    clocks: Clocks,
    /// What it uses on other gateways too, in a cluster.
    shared: Option<Box<SharedUse>>,
    /// The newest time seen: requests that end without a word end then.
    latest: Option<Now>,
}

/// One limit as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReading {
    /// The limit that is read.
    pub name: LimitName,
    /// What it is set to.
    pub limit: u64,
    /// What counts against it now.
    pub used: u64,
    /// When there is room for the smallest request.
    pub opens: Opens,
    /// Whether what other gateways use is among it.
    pub is_shared: bool,
}

/// What a caller has used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountReading {
    /// Requests under way.
    pub in_flight: u64,
    /// In this day, and how long it goes on.
    pub day: (Used, Duration),
    /// In this month, and how long it goes on.
    pub month: (Used, Duration),
    /// Whether what other gateways use is among the day's.
    pub is_day_shared: bool,
    /// Whether it is among the month's.
    pub is_month_shared: bool,
    /// Each limit that is set, with what is used of it.
    pub limits: Vec<LimitReading>,
}

/// What a former process counted, from the usage book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seed {
    /// In this day.
    pub day: Used,
    /// In this month.
    pub month: Used,
    /// In single seconds of the last minute: how long ago, and how much.
    pub seconds: Vec<(Duration, Used)>,
    /// How many tokens an answer had in the mean, by model, the one that was used last at the end.
    pub outputs: Vec<(Arc<str>, u64)>,
}

impl Counts {
    pub(crate) fn new(zone: Tz) -> Self {
        Self {
            zone,
            in_flight: 0,
            booked: Used::default(),
            minute: None,
            day: Period::new(CalendarUnit::Day),
            month: Period::new(CalendarUnit::Month),
            outputs: OutputMeans::default(),
            clocks: Clocks::default(),
            shared: None,
            latest: None,
        }
    }

    /// Takes over what a former process counted, as of `now`: what was of a day or month that is over meanwhile is none of
    /// the next one's. In a cluster that process has told it, as any other gateway has.
    pub(crate) fn seed(&mut self, seed: &Seed, now: Now) {
        self.advance(now);
        self.outputs.seed(&seed.outputs);
        let of =
            |period: &Period, used| if period.is_of(self.zone, now.wall) { used } else { Used::default() };
        let (day, month) = (of(&self.day, seed.day), of(&self.month, seed.month));
        let second = Second::of(now.mono);
        if let Some(shared) = &mut self.shared {
            shared.seed(day, month);
            seconds_of(&seed.seconds, second).for_each(|(at, amount)| shared.seed_second(at, second, amount));
            return;
        }
        self.day.add(day);
        self.month.add(month);
        self.begin_minute(&seed.seconds, now);
    }

    /// Counts by the minute from now on, with what was used in the last one.
    pub(crate) fn begin_minute(&mut self, seconds: &[(Duration, Used)], now: Now) {
        let second = Second::of(now.mono);
        let minute = self.minute.get_or_insert_with(|| Box::new(Minute::new()));
        seconds_of(seconds, second).for_each(|(at, amount)| minute.add(at, second, amount));
    }

    /// Whether requests were counted, and none by the minute.
    pub(crate) fn lacks_minute(&self) -> bool {
        self.minute.is_none() && self.day.all_used().requests > 0
    }

    /// Whether anything was counted, or is under way.
    pub(crate) fn has_used(&self) -> bool {
        self.in_flight > 0 || self.minute.is_some() || self.month.all_used() != Used::default()
    }

    /// Changes the zone. It holds from the next day and month on.
    pub(crate) fn set_zone(&mut self, zone: Tz) {
        self.zone = zone;
    }

    /// Lets a request in, if there is room for one more. One that will spend is refused here as well where nothing is
    /// left to spend.
    pub(crate) fn enter(
        &mut self,
        limits: &CallerLimits,
        spends: bool,
        now: Now,
    ) -> Result<Booking, LimitReached> {
        self.advance(now);
        self.touch();
        if limits.count_minutes() && self.minute.is_none() {
            self.minute = Some(Box::new(Minute::new()));
        }
        let names: &[LimitName] =
            if spends { &LimitName::ALL } else { &[LimitName::Rpm, LimitName::Rpd, LimitName::Concurrent] };
        self.room(limits, names, Used { requests: 1, tokens: 1, money: 1 }, now)?;
        self.in_flight += 1;
        let second = Second::of(now.mono);
        if let Some(minute) = &mut self.minute {
            minute.add(second, second, Amount { requests: 1, tokens: 0 });
        }
        self.add(Used { requests: 1, ..Used::default() });
        Ok(Booking { entered: Some(now.mono), at: now.mono, spends, ..Booking::default() })
    }

    /// Lets a request go on that was let in and has ended, since the gateway itself asks once more: it counts as one. What
    /// it spends counts for both, so it is refused where nothing is left to spend.
    pub(crate) fn enter_again(
        &mut self,
        limits: &CallerLimits,
        spends: bool,
        now: Now,
    ) -> Result<Booking, LimitReached> {
        self.advance(now);
        self.touch();
        let names: &[LimitName] = if spends { &SPENDING } else { &[] };
        self.room(limits, names, Used { requests: 0, tokens: 1, money: 1 }, now)?;
        self.in_flight += 1;
        Ok(Booking { entered: None, at: now.mono, spends, ..Booking::default() })
    }

    /// Books what a request is thought to use, if there is room for that.
    pub(crate) fn book(
        &mut self,
        limits: &CallerLimits,
        booking: &mut Booking,
        estimate: Estimate<'_>,
        now: Now,
    ) -> Result<(), LimitReached> {
        self.advance(now);
        self.touch();
        let output = self.outputs.expect(estimate.model.map(|model| &**model));
        let sums = |output: u64| Used {
            requests: 0,
            tokens: estimate.input_tokens.saturating_add(output),
            money: (estimate.price)(estimate.input_tokens, output),
        };
        let (whole, input) = (sums(output), sums(0));
        limits.fit(input)?;
        // Even what is thought to use nothing finds no room where nothing is left.
        let least = Used { requests: 0, tokens: whole.tokens.max(1), money: whole.money.max(1) };
        self.room(limits, &SPENDING, least, now)?;
        booking.at = now.mono;
        booking.booked = whole;
        booking.is_reserved = true;
        booking.input = input;
        booking.model = estimate.model.map(Arc::clone);
        let second = Second::of(now.mono);
        if let Some(minute) = &mut self.minute {
            minute.add(second, second, Amount { requests: 0, tokens: whole.tokens });
        }
        self.booked = self.booked.plus(whole);
        self.add(whole);
        Ok(())
    }

    /// Counts what a request that goes on has used since the last time: first out of its estimate, then beyond it.
    pub(crate) fn spend(&mut self, booking: &mut Booking, spent: Spent, now: Now) {
        self.advance(now);
        self.touch();
        let covered = Used { requests: 0, tokens: spent.tokens, money: spent.money }.at_most(booking.booked);
        self.replace(booking.at, covered, spent, now);
        booking.booked = booking.booked.minus(covered);
        booking.input = booking.input.minus(covered);
    }

    /// Ends a request.
    pub(crate) fn leave(&mut self, booking: &Booking, ending: Ending, now: Now) {
        self.advance(now);
        self.touch();
        self.in_flight = self.in_flight.saturating_sub(1);
        if let (Some(ticket), Some(shared)) = (booking.ticket, &mut self.shared) {
            shared.end_wait(ticket);
        }
        match ending {
            Ending::GivenBack => {
                self.replace(booking.at, booking.booked, Spent::default(), now);
                let Some(entered) = booking.entered else { return };
                self.day.take_back_request(entered);
                self.month.take_back_request(entered);
                if let Some(minute) = &mut self.minute {
                    let (at, now) = (Second::of(entered), Second::of(now.mono));
                    minute.take_back(at, now, Amount { requests: 1, tokens: 0 });
                }
            }
            Ending::Spent(spent) => {
                self.replace(booking.at, booking.booked, spent, now);
                if let Some(model) = booking.model.as_ref().filter(|_| spent.tokens > 0) {
                    self.outputs.observe(model, spent.output_tokens);
                }
            }
            Ending::Unknown => {
                let Used { tokens, money, .. } = booking.input;
                self.replace(booking.at, booking.booked, Spent { tokens, output_tokens: 0, money }, now);
            }
        }
    }

    /// What stands of each limit, and what is used.
    pub(crate) fn read(&self, limits: &CallerLimits, now: Now) -> AccountReading {
        let least = Used { requests: 1, tokens: 1, money: 1 };
        let has_heard = self.has_heard();
        let reading = |name| {
            let limit = limits.get(name)?;
            let opens = self.opens(name, limit, least, Used::default(), now);
            let is_shared = has_heard && name != LimitName::Concurrent;
            Some(LimitReading { name, limit, used: self.used(name, now), opens, is_shared })
        };
        let (day, month) = self.periods(now);
        AccountReading {
            in_flight: self.in_flight,
            day: (day, self.day.current_ends_in(self.zone, now)),
            month: (month, self.month.current_ends_in(self.zone, now)),
            is_day_shared: has_heard && limits.count_days(),
            is_month_shared: has_heard && limits.count_months(),
            limits: LimitName::ALL.into_iter().filter_map(reading).collect(),
        }
    }

    /// The newest time that was seen.
    pub(crate) fn latest(&self) -> Option<Now> {
        self.latest
    }

    fn advance(&mut self, now: Now) {
        if self.clocks.look(now).is_some() {
            self.day.clocks_have_parted(self.zone, now);
            self.month.clocks_have_parted(self.zone, now);
        }
        self.day.advance(self.zone, self.booked, now);
        self.month.advance(self.zone, self.booked, now);
        if let Some(shared) = &mut self.shared {
            shared.turn_to(self.day.first(), self.month.first());
        }
        if self.latest.is_none_or(|latest| latest.mono < now.mono) {
            self.latest = Some(now);
        }
    }

    fn add(&mut self, more: Used) {
        if let Some(shared) = &mut self.shared {
            shared.book(more);
        }
        self.day.add(more);
        self.month.add(more);
    }

    /// Puts what was used in the place of what was booked. What goes beyond it counts from now on.
    fn replace(&mut self, at: Duration, booked: Used, spent: Spent, now: Now) {
        let spent = Used { requests: 0, tokens: spent.tokens, money: spent.money };
        self.booked = self.booked.minus(booked);
        for period in [&mut self.day, &mut self.month] {
            period.take_back(booked);
            period.add(spent);
        }
        let Some(minute) = &mut self.minute else { return };
        let (at, now) = (Second::of(at), Second::of(now.mono));
        let less = booked.tokens.saturating_sub(spent.tokens);
        let more = spent.tokens.saturating_sub(booked.tokens);
        minute.take_back(at, now, Amount { requests: 0, tokens: less });
        minute.add(now, now, Amount { requests: 0, tokens: more });
    }
}

/// What was used so long ago, by whole seconds, the younger where it is between two: what counts must not end to count too early.
fn seconds_of(seconds: &[(Duration, Used)], now: Second) -> impl Iterator<Item = (Second, Amount)> {
    seconds.iter().map(move |(age, used)| {
        (now.earlier(age.as_secs()), Amount { requests: used.requests, tokens: used.tokens })
    })
}
