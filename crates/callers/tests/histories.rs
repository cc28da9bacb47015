//! Random histories of one caller against a plain list of everything that happened: who has room is let in, who has none
//! is not, windows open when it was said, and nothing goes over a limit but what was beyond its estimate.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use callers::{
    CallerLimits, CallerSpec, Denial, Directory, Door, Ending, Estimate, InstanceKey, LimitName,
    LimitReached, ModelShown, Opens, Pass, Registered, Spent,
};
use chrono::{DateTime, Datelike, Utc};
use chrono_tz::Tz;
use gemini::path::Surface;
use meter::Now;
use proptest::prelude::*;

/// The price of a token, in billionths.
const PRICE: u64 = 1_000;
/// What a second's use counts for: the rest of that second, and a whole minute.
const COUNTS_S: u64 = 61;

fn start() -> DateTime<Utc> {
    "2026-02-27T21:00:00Z".parse().unwrap()
}

fn at(mono: Duration) -> Now {
    Now { mono, wall: start() + mono }
}

/// One request as it was, and what stands for it.
struct Request {
    entered: Duration,
    spends: bool,
    booked_at: Duration,
    booked: u64,
    input: u64,
    given_back: bool,
    /// What was used, in the second in which it counts by the minute: what the booking covers where it was booked.
    by_minute: Vec<(Duration, u64)>,
    /// What was used, when it was known.
    by_period: Vec<(Duration, u64)>,
    is_open: bool,
}

/// Everything that happened.
struct List {
    limits: CallerLimits,
    requests: Vec<Request>,
}

impl List {
    fn day(mono: Duration) -> (i32, u32) {
        let date = (start() + mono).date_naive();
        (date.year(), date.ordinal())
    }

    fn month(mono: Duration) -> (i32, u32) {
        let date = (start() + mono).date_naive();
        (date.year(), date.month())
    }

    /// What counts against a limit at a time: what is known to be used, and of requests under way what is booked.
    fn used(&self, name: LimitName, now: Duration) -> (u64, u64) {
        let in_minute = |mono: &Duration| mono.as_secs() + COUNTS_S > now.as_secs();
        let same: &dyn Fn(&Duration) -> bool = match name {
            LimitName::Rpm | LimitName::Tpm => &in_minute,
            LimitName::Rpd | LimitName::TokensDay | LimitName::MoneyDay => {
                &|mono| Self::day(*mono) == Self::day(now)
            }
            _ => &|mono| Self::month(*mono) == Self::month(now),
        };
        let counted = self.requests.iter().filter(|request| !request.given_back);
        let sum = |of: &dyn Fn(&Request) -> u64| counted.clone().map(of).sum::<u64>();
        let spent = |list: &Vec<(Duration, u64)>| {
            list.iter().filter(|(mono, _)| same(mono)).map(|(_, tokens)| tokens).sum::<u64>()
        };
        let by_period = || (sum(&|request| spent(&request.by_period)), sum(&|request| request.booked));
        match name {
            LimitName::Concurrent => (sum(&|request| u64::from(request.is_open)), 0),
            LimitName::Rpm | LimitName::Rpd => (sum(&|request| u64::from(same(&request.entered))), 0),
            LimitName::Tpm => {
                let booked = |request: &Request| if same(&request.booked_at) { request.booked } else { 0 };
                (sum(&|request| spent(&request.by_minute) + booked(request)), 0)
            }
            LimitName::TokensDay | LimitName::TokensMonth => by_period(),
            LimitName::MoneyDay | LimitName::MoneyMonth => {
                let (spent, booked) = by_period();
                (spent * PRICE, booked * PRICE)
            }
        }
    }

    /// Whether there is room for so much, and whether there were if requests under way used nothing more.
    fn has_room(&self, name: LimitName, more: u64, now: Duration) -> (bool, bool) {
        let Some(limit) = self.limits.get(name) else { return (true, true) };
        let (spent, booked) = self.used(name, now);
        (spent + booked + more.min(limit) <= limit, spent + more.min(limit) <= limit)
    }

    /// How much a request of so many tokens asks of each limit.
    fn asked(names: &[LimitName], tokens: u64) -> Vec<(LimitName, u64)> {
        let of = |name: &LimitName| match name {
            LimitName::Rpm | LimitName::Rpd | LimitName::Concurrent => 1,
            LimitName::Tpm | LimitName::TokensDay | LimitName::TokensMonth => tokens.max(1),
            LimitName::MoneyDay | LimitName::MoneyMonth => (tokens * PRICE).max(1),
        };
        names.iter().map(|name| (*name, of(name))).collect()
    }

    /// Compares a verdict with the list.
    fn judge(
        &self,
        verdict: Result<(), LimitReached>,
        asked: &[(LimitName, u64)],
        now: Duration,
    ) -> Result<(), TestCaseError> {
        let full: Vec<_> = asked.iter().filter(|(name, more)| !self.has_room(*name, *more, now).0).collect();
        let Err(LimitReached { name, limit, opens }) = verdict else {
            prop_assert!(full.is_empty(), "let in although {full:?} had no room");
            return Ok(());
        };
        let more = full.iter().find(|(full, _)| *full == name).map(|(_, more)| *more);
        let Some(more) = more else {
            return Err(TestCaseError::fail(format!("refused by {name} although it had room")));
        };
        prop_assert_eq!(self.limits.get(name), Some(limit));
        let waits_for_others =
            |name: LimitName, more: u64| name == LimitName::Concurrent || self.has_room(name, more, now).1;
        if opens == Opens::WhenOthersEnd {
            let all = full.iter().all(|(name, more)| waits_for_others(*name, *more));
            prop_assert!(all, "{full:?}: another limit says better when to come back");
            return Ok(());
        }
        // What was said holds for all limits together, and not a moment too late.
        let wait = opens.ask_again_in().unwrap();
        prop_assert!(!waits_for_others(name, more) && !wait.is_zero());
        let opens = now + wait;
        for (full, more) in asked.iter().filter(|(name, _)| *name != LimitName::Concurrent) {
            prop_assert!(self.has_room(*full, *more, opens).1, "{full} is full when {name} was to open");
        }
        let before = opens.saturating_sub(Duration::from_nanos(1));
        prop_assert!(!self.has_room(name, more, before).1, "{name} was open earlier than said");
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Ask {
        spends: bool,
        input: u64,
    },
    /// Ends one of those under way.
    End {
        which: usize,
        how: u8,
        tokens: u64,
    },
    /// Goes on.
    Spend {
        which: usize,
        tokens: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop_oneof![0..3_000_u64, 0..90_000_u64, 0..40_000_000_u64, 0..400_000_000_u64].prop_map(Step::Pass),
        6 => (any::<bool>(), 0..200_u64).prop_map(|(spends, input)| Step::Ask { spends, input }),
        5 => (any::<usize>(), 0..4_u8, 0..1_500_u64).prop_map(|(which, how, tokens)| Step::End { which, how, tokens }),
        1 => (any::<usize>(), 0..400_u64).prop_map(|(which, tokens)| Step::Spend { which, tokens }),
    ]
}

fn limits() -> impl Strategy<Value = CallerLimits> {
    let few = || proptest::option::of(1..6_u64);
    let tokens = || proptest::option::weighted(0.3, 700..4_000_u64);
    (few(), tokens(), proptest::option::of(1..12_u64), few(), tokens(), tokens(), tokens(), tokens())
        .prop_map(|(rpm, tpm, rpd, concurrent, tokens_day, tokens_month, money_day, money_month)| {
            CallerLimits {
                rpm,
                tpm,
                rpd,
                concurrent,
                tokens_day,
                tokens_month,
                money_day: money_day.map(|tokens| tokens * PRICE),
                money_month: money_month.map(|tokens| tokens * PRICE),
            }
        })
}

fn caller(limits: CallerLimits) -> Arc<Registered> {
    let directory = Directory::new(InstanceKey::new(&[7; 32]), Tz::UTC);
    directory.set_given([(CallerSpec { limits, ..CallerSpec::new("alice") }, &b"secret"[..])]);
    directory.identify(b"secret", start()).unwrap().caller
}

const DOOR: [LimitName; 3] = [LimitName::Rpm, LimitName::Rpd, LimitName::Concurrent];
const SPENDING: [LimitName; 5] = [
    LimitName::Tpm,
    LimitName::TokensDay,
    LimitName::TokensMonth,
    LimitName::MoneyDay,
    LimitName::MoneyMonth,
];

/// Where every answer is as long as was thought or shorter, no limit is ever passed.
fn run(limits: CallerLimits, steps: Vec<Step>, is_honest: bool) -> Result<(), TestCaseError> {
    let caller = caller(limits);
    let model: Arc<str> = "gemini-2.5-flash".into();
    let estimates = SPENDING.iter().any(|name| limits.get(*name).is_some());
    let mut list = List { limits, requests: Vec::new() };
    let mut open: Vec<(usize, Pass)> = Vec::new();
    let mut now = Duration::ZERO;
    for step in steps {
        match step {
            Step::Pass(ms) => {
                now += Duration::from_millis(ms);
                // The last minute of a day may count as the next one's, if nothing was counted before it.
                let second = (start() + now).timestamp() % 86_400;
                if second >= 86_340 {
                    now += Duration::from_secs(60);
                }
            }
            Step::Ask { spends, input } => {
                let names: &[LimitName] = if spends { &LimitName::ALL } else { &DOOR };
                let door = Door { surface: Surface::Native, model: ModelShown::None, spends };
                let admitted = caller.admit(door, at(now));
                let verdict = admitted.as_ref().map(|_| ()).map_err(|denial| reached(*denial));
                list.judge(verdict, &List::asked(names, 1), now)?;
                let Ok(mut pass) = admitted else { continue };
                list.requests.push(Request {
                    entered: now,
                    spends,
                    booked_at: now,
                    booked: 0,
                    input: 0,
                    given_back: false,
                    by_minute: Vec::new(),
                    by_period: Vec::new(),
                    is_open: true,
                });
                if spends {
                    let thought = Cell::new(0);
                    let price = |input: u64, output: u64| {
                        thought.set(thought.get().max(input + output));
                        (input + output) * PRICE
                    };
                    let estimate = Estimate { model: Some(&model), input_tokens: input, price: &price };
                    let verdict = pass.reserve(estimate, at(now)).map_err(reached);
                    if estimates {
                        list.judge(verdict, &List::asked(&SPENDING, thought.get()), now)?;
                    } else {
                        prop_assert_eq!(verdict, Ok(()));
                    }
                    let last = list.requests.last_mut().unwrap();
                    if verdict.is_err() {
                        pass.settle(Ending::GivenBack, at(now));
                        (last.given_back, last.is_open) = (true, false);
                        continue;
                    }
                    if estimates {
                        (last.booked, last.input) = (thought.get(), input);
                    }
                }
                open.push((list.requests.len() - 1, pass));
            }
            Step::End { which, how, tokens } if !open.is_empty() => {
                let (index, pass) = open.swap_remove(which % open.len());
                let request = &mut list.requests[index];
                request.is_open = false;
                let tokens = match (request.spends, is_honest) {
                    (false, _) => 0,
                    (true, false) => tokens,
                    (true, true) => tokens.min(request.booked),
                };
                match how {
                    0 if request.by_period.is_empty() => {
                        pass.settle(Ending::GivenBack, at(now));
                        request.given_back = true;
                    }
                    1 => {
                        pass.settle(Ending::Unknown, at(now));
                        settle(request, request.input, now);
                    }
                    _ => {
                        let spent = Spent { tokens, output_tokens: tokens / 2, money: tokens * PRICE };
                        pass.settle(Ending::Spent(spent), at(now));
                        settle(request, tokens, now);
                    }
                }
            }
            Step::Spend { which, tokens } if !open.is_empty() => {
                let at_index = which % open.len();
                let (index, pass) = &mut open[at_index];
                let request = &mut list.requests[*index];
                if !request.spends || is_honest {
                    continue;
                }
                pass.spend(Spent { tokens, output_tokens: tokens, money: tokens * PRICE }, at(now));
                let covered = tokens.min(request.booked);
                replace(request, covered, tokens, now);
                request.booked -= covered;
                request.input = request.input.saturating_sub(covered);
            }
            Step::End { .. } | Step::Spend { .. } => {}
        }
        let reading = caller.read(at(now));
        for reading in &reading.limits {
            let (spent, booked) = list.used(reading.name, now);
            let used = spent + booked;
            prop_assert_eq!(reading.used, used, "{} after {:?}", reading.name, now);
            if is_honest {
                prop_assert!(used <= reading.limit, "{} of {} {}", used, reading.limit, reading.name);
            }
        }
    }
    let under_way = open.len();
    drop(open);
    let is_over = caller.read(at(now)).in_flight == 0;
    prop_assert!(is_over, "{under_way} passes were dropped and none is under way");
    Ok(())
}

/// Puts what was used in the place of all that is booked.
fn settle(request: &mut Request, tokens: u64, now: Duration) {
    let booked = std::mem::take(&mut request.booked);
    replace(request, booked, tokens, now);
}

fn replace(request: &mut Request, covered: u64, tokens: u64, now: Duration) {
    let within = tokens.min(covered);
    request.by_minute.extend([(request.booked_at, within), (now, tokens - within)]);
    request.by_period.push((now, tokens));
}

fn reached(denial: Denial) -> LimitReached {
    match denial {
        Denial::Limit(reached) => reached,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

    #[test]
    fn who_has_room_is_let_in_and_nobody_else(limits in limits(), steps in prop::collection::vec(step(), 1..60)) {
        run(limits, steps, false)?;
    }

    #[test]
    fn no_limit_is_passed_where_estimates_hold(limits in limits(), steps in prop::collection::vec(step(), 1..60)) {
        run(limits, steps, true)?;
    }
}
