//! One caller on several gateways, against a plain list of everything: all together keep to its limits, whoever has room on
//! one has it on all once they have told each other, and what is lost on the way is made good.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use callers::{
    CallerLimits, CallerSpec, Denial, Directory, Door, Ending, Estimate, InstanceKey, LimitName, MinuteReply,
    ModelShown, Pass, PeriodChange, PeriodReply, Registered, Seed, Spent, UseReply, Used,
};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use gemini::path::Surface;
use meter::{Amount, Now};
use proptest::prelude::*;

/// What a second's use counts for: the rest of that second, and a whole minute.
const COUNTS_S: u64 = 61;
const PRICE: u64 = 1_000;

fn at(mono: Duration) -> Now {
    let start: DateTime<Utc> = "2026-02-27T21:00:00Z".parse().unwrap();
    Now { mono, wall: start + mono }
}

/// Requests, tokens, money.
type Sums = [i64; 3];

fn used(sums: Sums) -> Used {
    let [requests, tokens, money] = sums.map(|sum| u64::try_from(sum).unwrap_or_default());
    Used { requests, tokens, money }
}

/// What all gateways add to, as it is shared.
#[derive(Default)]
struct Place {
    run: u64,
    /// Second, requests, tokens.
    minute: Vec<(u64, i64, i64)>,
    /// By period and by gateway; `None` for all together.
    periods: HashMap<(&'static str, NaiveDate, Option<usize>), Sums>,
}

impl Place {
    fn add(&mut self, kind: &'static str, gateway: usize, change: &PeriodChange) -> PeriodReply {
        let mut add = |of| {
            let sums: &mut Sums = self.periods.entry((kind, change.first, of)).or_default();
            for (sum, more) in sums.iter_mut().zip([change.requests, change.tokens, change.money]) {
                *sum += more;
            }
            used(*sums)
        };
        PeriodReply { total: add(None), own: add(Some(gateway)) }
    }

    /// Carries one report there, and the reply back unless that is lost.
    fn tell(&mut self, gateway: usize, gateways: usize, caller: &Registered, now: Duration, is_lost: bool) {
        let Some(report) = caller.report(at(now)) else { panic!("there are others") };
        let minute = report.minute.as_ref().map(|changes| {
            let booked = changes.iter().map(|change| {
                (now.as_secs().saturating_sub(change.age.as_secs()), change.requests, change.tokens)
            });
            self.minute.extend(booked);
            let counted = self.minute.iter().filter(|(second, ..)| second + COUNTS_S > now.as_secs());
            let sum = counted.fold((0, 0), |sum, (_, requests, tokens)| (sum.0 + requests, sum.1 + tokens));
            let count = |count: i64| u64::try_from(count).unwrap_or_default();
            MinuteReply { total: Amount { requests: count(sum.0), tokens: count(sum.1) }, run: self.run }
        });
        let day = report.day.as_ref().map(|change| self.add("day", gateway, change));
        let month = report.month.as_ref().map(|change| self.add("month", gateway, change));
        let reply = UseReply { gateways: gateways as u64, minute, day, month };
        caller.hear(report, &if is_lost { UseReply::default() } else { reply }, at(now));
    }
}

fn gateway(limits: CallerLimits) -> Arc<Registered> {
    let directory = Directory::new(InstanceKey::new(&[7; 32]), Tz::UTC);
    directory.share();
    directory.set_given([(CallerSpec { limits, ..CallerSpec::new("alice") }, &b"secret"[..])]);
    directory.identify(b"secret", at(Duration::ZERO).wall).unwrap().caller
}

/// Gateways, and what they share.
struct Cluster {
    place: Place,
    gateways: Vec<Arc<Registered>>,
    now: Duration,
}

impl Cluster {
    fn new(limits: CallerLimits, count: usize) -> Self {
        let gateways = (0..count).map(|_| gateway(limits)).collect();
        Self { place: Place::default(), gateways, now: Duration::from_secs(100) }
    }

    fn tell(&mut self, gateway: usize) {
        let count = self.gateways.len();
        self.place.tell(gateway, count, &self.gateways[gateway], self.now, false);
    }

    /// All tell each other all they know, and hear it.
    fn tell_all(&mut self) {
        for _ in 0..3 {
            (0..self.gateways.len()).for_each(|gateway| self.tell(gateway));
        }
    }

    /// Lets time pass. What is news is told four times a second.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        if time < Duration::from_millis(250) {
            return;
        }
        for gateway in 0..self.gateways.len() {
            if self.gateways[gateway].has_news(at(self.now)) {
                self.tell(gateway);
            }
        }
    }

    /// Lets a request in as a gateway does: it waits for the others where it has to.
    /// With how many tokens it is thought to use.
    fn ask(&mut self, gateway: usize, input: u64) -> Result<(Pass, u64), Denial> {
        let (caller, now) = (Arc::clone(&self.gateways[gateway]), at(self.now));
        if caller.is_stale(now) {
            self.tell(gateway);
        }
        let door = Door { surface: Surface::Native, model: ModelShown::None, spends: true };
        let mut pass = caller.admit(door, now)?;
        self.confirmed(gateway, &mut pass, |_| Ok(()))?;
        let thought = Cell::new(0);
        let price = |input: u64, output: u64| {
            thought.set(thought.get().max(input + output));
            (input + output) * PRICE
        };
        let model: Arc<str> = "m".into();
        let estimate = Estimate { model: Some(&model), input_tokens: input, price: &price };
        self.confirmed(gateway, &mut pass, |pass| pass.reserve(estimate, now))?;
        Ok((pass, thought.get()))
    }

    fn confirmed(
        &mut self,
        gateway: usize,
        pass: &mut Pass,
        book: impl FnOnce(&mut Pass) -> Result<(), Denial>,
    ) -> Result<(), Denial> {
        let now = at(self.now);
        book(pass)?;
        if pass.wait(now) {
            self.tell(gateway);
            pass.confirm(now)?;
        }
        Ok(())
    }
}

/// Ends what was refused.
fn refused<T>(pass: Result<T, Denial>) -> Option<T> {
    match pass {
        Ok(pass) => Some(pass),
        Err(Denial::Limit(_)) => None,
        Err(other) => panic!("{other:?}"),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Ask {
        gateway: usize,
        input: u64,
    },
    End {
        which: usize,
        tokens: u64,
    },
    Tell {
        gateway: usize,
    },
    /// Its report arrives, and the reply does not.
    LoseReply {
        gateway: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => prop_oneof![0..300_u64, 0..3_000_u64, 0..40_000_u64, 0..40_000_000_u64].prop_map(Step::Pass),
        8 => (0..3_usize, 0..200_u64).prop_map(|(gateway, input)| Step::Ask { gateway, input }),
        5 => (any::<usize>(), 0..1_500_u64).prop_map(|(which, tokens)| Step::End { which, tokens }),
        3 => (0..3_usize).prop_map(|gateway| Step::Tell { gateway }),
        1 => (0..3_usize).prop_map(|gateway| Step::LoseReply { gateway }),
    ]
}

/// Limits so small that no gateway may let anything in untold.
fn limits() -> impl Strategy<Value = CallerLimits> {
    let few = || proptest::option::of(1..12_u64);
    let tokens = || proptest::option::weighted(0.3, 700..4_000_u64);
    (few(), tokens(), few(), tokens(), tokens(), tokens()).prop_map(
        |(rpm, tpm, rpd, tokens_day, tokens_month, money_month)| CallerLimits {
            rpm,
            tpm,
            rpd,
            tokens_day,
            tokens_month,
            money_month: money_month.map(|tokens| tokens * PRICE),
            ..CallerLimits::default()
        },
    )
}

/// One request that was let in.
struct Served {
    entered: Duration,
    booked: u64,
    /// When it was known what it used.
    ended: Option<Duration>,
}

/// What counts of all that was served.
fn counted(served: &[Served], name: LimitName, now: Duration) -> u64 {
    let date = |mono: Duration| (at(mono).wall).date_naive();
    let in_minute = |mono: Duration| mono.as_secs() + COUNTS_S > now.as_secs();
    let in_day = |mono: Duration| date(mono) == date(now);
    let in_month =
        |mono: Duration| date(mono).format("%Y-%m").to_string() == date(now).format("%Y-%m").to_string();
    let sum = |counts: &dyn Fn(&Served) -> bool, of: &dyn Fn(&Served) -> u64| {
        served.iter().filter(|it| counts(it)).map(of).sum::<u64>()
    };
    let under_way_or = |is: &dyn Fn(Duration) -> bool, it: &Served| it.ended.is_none_or(is);
    let tokens = |it: &Served| it.booked;
    match name {
        LimitName::Rpm => sum(&|it| in_minute(it.entered), &|_| 1),
        LimitName::Rpd => sum(&|it| in_day(it.entered), &|_| 1),
        LimitName::Tpm => sum(&|it| in_minute(it.entered), &tokens),
        LimitName::TokensDay => sum(&|it| under_way_or(&in_day, it), &tokens),
        LimitName::TokensMonth => sum(&|it| under_way_or(&in_month, it), &tokens),
        LimitName::MoneyMonth => sum(&|it| under_way_or(&in_month, it), &tokens) * PRICE,
        LimitName::Concurrent | LimitName::MoneyDay => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever is asked where, whatever is told late and whatever reply is lost.
    #[test]
    fn all_gateways_together_let_in_no_more_than_one_would(
        limits in limits(),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut cluster = Cluster::new(limits, 3);
        let mut open: Vec<(usize, Pass)> = Vec::new();
        let mut served: Vec<Served> = Vec::new();
        for step in steps {
            match step {
                Step::Pass(ms) => {
                    // The last minute of a day may count as the next one's.
                    let then = cluster.now + Duration::from_millis(ms);
                    let is_last = at(then).wall.timestamp() % 86_400 >= 86_340;
                    cluster.pass(Duration::from_millis(if is_last { ms + 60_000 } else { ms }));
                }
                Step::Ask { gateway, input } => {
                    let Some((pass, booked)) = refused(cluster.ask(gateway, input)) else { continue };
                    open.push((served.len(), pass));
                    served.push(Served { entered: cluster.now, booked, ended: None });
                }
                Step::End { which, .. } if !open.is_empty() => {
                    // As long as was thought: nothing goes beyond its estimate.
                    let (index, pass) = open.swap_remove(which % open.len());
                    let tokens = served[index].booked;
                    let spent = Spent { tokens, output_tokens: tokens / 2, money: tokens * PRICE };
                    pass.settle(Ending::Spent(spent), at(cluster.now));
                    served[index].ended = Some(cluster.now);
                }
                Step::Tell { gateway } => cluster.tell(gateway),
                Step::LoseReply { gateway } => {
                    let caller = Arc::clone(&cluster.gateways[gateway]);
                    cluster.place.tell(gateway, 3, &caller, cluster.now, true);
                }
                Step::End { .. } => {}
            }
            for name in LimitName::ALL {
                let Some(limit) = limits.get(name) else { continue };
                // What is larger than the whole limit goes by itself.
                let largest = served.iter().map(|it| it.booked).max().unwrap_or_default();
                let alone = match name {
                    LimitName::Rpm | LimitName::Rpd => 1,
                    LimitName::MoneyMonth => largest * PRICE,
                    _ => largest,
                };
                let sum = counted(&served, name, cluster.now);
                prop_assert!(sum <= limit.max(alone), "{sum} of {limit} {name}");
            }
        }
    }

    /// Nobody is refused for what the others have taken back.
    #[test]
    fn who_has_room_on_one_gateway_has_it_on_all_that_have_heard(
        limits in limits(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut cluster = Cluster::new(limits, 3);
        let mut open: Vec<Pass> = Vec::new();
        for step in steps {
            match step {
                Step::Pass(ms) => cluster.pass(Duration::from_millis(ms)),
                Step::Ask { gateway, input } => open.extend(refused(cluster.ask(gateway, input)).map(|(pass, _)| pass)),
                Step::End { which, tokens } if !open.is_empty() => {
                    let pass = open.swap_remove(which % open.len());
                    let spent = Spent { tokens, output_tokens: tokens / 2, money: tokens * PRICE };
                    pass.settle(Ending::Spent(spent), at(cluster.now));
                }
                _ => {}
            }
            cluster.tell_all();
            let readings: Vec<_> = cluster.gateways.iter().map(|caller| caller.read(at(cluster.now))).collect();
            for (gateway, reading) in readings.iter().enumerate().skip(1) {
                for (one, other) in readings[0].limits.iter().zip(&reading.limits) {
                    prop_assert_eq!(one.used, other.used, "{} on gateway {}", one.name, gateway);
                }
            }
            prop_assert!(cluster.gateways.iter().all(|caller| !caller.has_news(at(cluster.now))), "all is told");
        }
    }
}

fn limits_of(rpm: u64) -> CallerLimits {
    CallerLimits { rpm: Some(rpm), ..CallerLimits::default() }
}

#[test]
fn ten_a_minute_on_three_gateways_are_ten_in_all_and_open_on_all_when_it_was_said() {
    let mut cluster = Cluster::new(limits_of(10), 3);
    let served = (0..30).filter_map(|n| refused(cluster.ask(n % 3, 1))).count();
    assert_eq!(served, 10);
    for gateway in 0..3 {
        let Err(Denial::Limit(reached)) = cluster.ask(gateway, 1) else { panic!("it is full") };
        assert!((60..=62).contains(&reached.opens.ask_again_in().unwrap().as_secs()), "{reached:?}");
    }
    cluster.now += Duration::from_secs(62);
    let served = (0..30).filter_map(|n| refused(cluster.ask(n % 3, 1))).count();
    assert_eq!(served, 10);
}

#[test]
fn of_many_that_tell_at_the_same_moment_as_many_are_let_in_as_there_is_room_for() {
    let door = Door { surface: Surface::Native, model: ModelShown::None, spends: false };
    for told in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut cluster = Cluster::new(limits_of(10), 3);
        cluster.tell_all();
        let now = at(cluster.now);
        // Each lets in what it may alone, then all tell, and more come before any of them has heard.
        let mut waiting: Vec<Vec<Pass>> = (0..3).map(|_| Vec::new()).collect();
        for (gateway, count) in [(0, 4), (1, 9), (2, 3)] {
            for _ in 0..count {
                let mut pass = cluster.gateways[gateway].admit(door, now).unwrap();
                assert!(pass.wait(now));
                waiting[gateway].push(pass);
            }
        }
        let mut served = 0;
        for gateway in told {
            cluster.tell(gateway);
            for pass in waiting[gateway].drain(..) {
                if pass.confirm(now).is_ok() {
                    served += 1;
                    pass.settle(Ending::Spent(Spent::default()), now);
                }
                // Another one comes meanwhile, and is judged when it is told.
                if let Ok(mut later) = cluster.gateways[gateway].admit(door, now) {
                    assert!(later.wait(now));
                    later.settle(Ending::GivenBack, now);
                }
            }
        }
        assert_eq!(served, 10, "{told:?}");
    }
}

#[test]
fn large_limits_are_spent_mostly_untold_and_passed_by_what_may_be_untold_at_most() {
    let mut cluster = Cluster::new(limits_of(6_000), 3);
    cluster.tell_all();
    let caller = Arc::clone(&cluster.gateways[0]);
    let door = Door { surface: Surface::Native, model: ModelShown::None, spends: false };
    let mut told = 0;
    for _ in 0..1_000 {
        let mut pass = caller.admit(door, at(cluster.now)).unwrap();
        if pass.wait(at(cluster.now)) {
            cluster.tell(0);
            told += 1;
        }
        pass.settle(Ending::Spent(Spent::default()), at(cluster.now));
    }
    // One fiftieth of 6,000 over three gateways is 40.
    assert!((20..=26).contains(&told), "{told}");
    let mut served = 0;
    for n in 0..20_000 {
        served += usize::from(refused(cluster.ask(n % 3, 1)).is_some());
    }
    assert!((5_000..=5_000 + 120).contains(&served), "{served}");
}

#[test]
fn what_is_spent_on_one_is_spent_on_all_and_a_restart_forgives_nothing() {
    let limits =
        CallerLimits { tokens_month: Some(10_000), tokens_day: Some(8_000), ..CallerLimits::default() };
    let mut cluster = Cluster::new(limits, 2);
    for _ in 0..20 {
        if let Some((pass, _)) = refused(cluster.ask(0, 1_500)) {
            let spent = Spent { tokens: 2_000, output_tokens: 500, money: 0 };
            pass.settle(Ending::Spent(spent), at(cluster.now));
        }
    }
    cluster.tell(0);
    assert!(refused(cluster.ask(1, 1_500)).is_none(), "8,000 are spent");
    // The first one ends, and a new life of it knows by its own book what the former one spent.
    cluster.gateways.remove(0);
    let next = gateway(limits);
    let former = Used { requests: 4, tokens: 8_000, money: 0 };
    next.seed(&Seed { day: former, month: former, ..Seed::default() }, at(cluster.now));
    let reading = |caller: &Registered, now| {
        caller.read(at(now)).limits.iter().map(|reading| reading.used).collect::<Vec<_>>()
    };
    assert_eq!(reading(&next, cluster.now), [8_000, 8_000], "before it has heard anything");
    cluster.place.tell(7, 2, &next, cluster.now, false);
    assert_eq!(reading(&next, cluster.now), [8_000, 8_000], "it does not count twice");
    // Nor does it where the book is gone.
    let empty = gateway(limits);
    cluster.place.tell(8, 2, &empty, cluster.now, false);
    assert_eq!(reading(&empty, cluster.now), [8_000, 8_000]);
    // On the next day the month goes on.
    cluster.now += Duration::from_secs(24 * 3_600);
    let caller = &cluster.gateways[0];
    cluster.place.tell(1, 2, caller, cluster.now, false);
    assert!(caller.read(at(cluster.now)).limits.iter().map(|reading| reading.used).eq([0, 8_000]));
}

#[test]
fn what_was_shared_and_is_lost_is_told_anew() {
    let limits =
        CallerLimits { rpm: Some(10), rpd: Some(20), tokens_month: Some(50_000), ..CallerLimits::default() };
    let mut cluster = Cluster::new(limits, 2);
    for n in 0..6 {
        let (pass, _) = refused(cluster.ask(n % 2, 100)).unwrap();
        let spent = Spent { tokens: 600, output_tokens: 500, money: 0 };
        pass.settle(Ending::Spent(spent), at(cluster.now));
    }
    cluster.tell_all();
    cluster.place = Place { run: 1, ..Place::default() };
    cluster.gateways.iter().for_each(|caller| caller.tell_anew(at(cluster.now)));
    cluster.now += Duration::from_secs(1);
    // Before the other has told it again, what was known of it holds.
    cluster.tell(0);
    let first = cluster.gateways[0].read(at(cluster.now));
    assert!(first.limits.iter().map(|reading| reading.used).eq([6, 6, 3_600]), "{first:?}");
    assert!(cluster.gateways.iter().all(|caller| caller.has_news(at(cluster.now))));
    cluster.tell_all();
    for caller in &cluster.gateways {
        let reading = caller.read(at(cluster.now));
        assert!(reading.limits.iter().map(|reading| reading.used).eq([6, 6, 3_600]), "{reading:?}");
        assert!(!caller.has_news(at(cluster.now)));
    }
}

#[test]
fn a_token_without_limits_has_nothing_to_tell_and_one_gateway_nobody_to_tell_it() {
    let concurrent = CallerLimits { concurrent: Some(3), ..CallerLimits::default() };
    for limits in [CallerLimits::default(), concurrent] {
        let caller = gateway(limits);
        let door = Door { surface: Surface::Native, model: ModelShown::None, spends: true };
        let now = at(Duration::from_secs(1));
        let mut pass = caller.admit(door, now).unwrap();
        assert!(!caller.is_stale(now) && !pass.wait(now) && !caller.has_news(now));
        drop(pass);
        assert!(!caller.has_news(now));
    }
    let directory = Directory::new(InstanceKey::new(&[7; 32]), Tz::UTC);
    directory.set_given([(CallerSpec { limits: limits_of(2), ..CallerSpec::new("alice") }, &b"secret"[..])]);
    let now = at(Duration::from_secs(1));
    let caller = directory.identify(b"secret", now.wall).unwrap().caller;
    let door = Door { surface: Surface::Native, model: ModelShown::None, spends: true };
    let mut pass = caller.admit(door, now).unwrap();
    assert!(!caller.is_stale(now) && !pass.wait(now) && caller.report(now).is_none());
}
