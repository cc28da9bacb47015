//! One caller on several gateways, against a plain list of everything: all together keep to its limits, whoever has room on
//! one has it on all once they have told each other. What is lost on the way is in `lives`.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod gateways;

use std::sync::Arc;
use std::time::Duration;

use callers::{
    CallerLimits, CallerSpec, Denial, Directory, Door, Ending, InstanceKey, LimitName, ModelShown, Pass,
    Spent,
};
use chrono_tz::Tz;
use gateways::{COUNTS_S, Cluster, PRICE, at, gateway, refused};
use gemini::path::Surface;
use proptest::prelude::*;

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
