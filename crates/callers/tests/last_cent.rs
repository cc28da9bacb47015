//! Many requests of one caller at the same moment, when little is left: as many get through as there is room for, and
//! what they use all together is not more than was left.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

use std::sync::{Arc, Barrier};
use std::time::Duration;

use callers::{
    CallerLimits, CallerSpec, Denial, Directory, Door, Ending, Estimate, InstanceKey, LimitName, ModelShown,
    Opens, Pass, Registered, Seed, Spent, Used,
};
use chrono_tz::Tz;
use gemini::path::Surface;
use meter::Now;

const REQUESTS: usize = 200;
const INPUT: u64 = 100;
const OUTPUT: u64 = 50;
/// Of a token, in billionths.
const PRICE: u64 = 2_000;

fn at(seconds: u64) -> Now {
    let mono = Duration::from_secs(seconds);
    Now { mono, wall: "2026-07-15T12:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() + mono }
}

fn price(input: u64, output: u64) -> u64 {
    (input + output) * PRICE
}

fn spent(tokens: u64) -> Spent {
    Spent { tokens, output_tokens: tokens.saturating_sub(INPUT), money: tokens * PRICE }
}

/// A caller whose answers have [`OUTPUT`] tokens, as one request has shown.
fn caller(limits: CallerLimits) -> Arc<Registered> {
    let directory = Directory::new(InstanceKey::new(&[7; 32]), Tz::UTC);
    directory.set_given([(CallerSpec { limits, ..CallerSpec::new("alice") }, &b"secret"[..])]);
    let caller = directory.identify(b"secret", at(0).wall).unwrap().caller;
    let pass = ask(&caller, at(0)).unwrap();
    pass.settle(Ending::Spent(spent(INPUT + OUTPUT)), at(0));
    caller
}

fn ask(caller: &Arc<Registered>, now: Now) -> Result<Pass, Denial> {
    let model: Arc<str> = "gemini-2.5-flash".into();
    let door = Door { surface: Surface::Native, model: ModelShown::Named(&model), spends: true };
    let mut pass = caller.admit(door, now)?;
    match pass.reserve(Estimate { model: Some(&model), input_tokens: INPUT, price: &price }, now) {
        Ok(()) => Ok(pass),
        Err(denial) => {
            pass.settle(Ending::GivenBack, now);
            Err(denial)
        }
    }
}

/// Asks from many threads at once, and gives the passes that were had.
fn rush(caller: &Arc<Registered>, now: Now) -> (Vec<Pass>, Vec<Denial>) {
    let barrier = Barrier::new(REQUESTS);
    let verdicts = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..REQUESTS)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    ask(caller, now)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let mut passes = Vec::new();
    let mut denials = Vec::new();
    for verdict in verdicts {
        match verdict {
            Ok(pass) => passes.push(pass),
            Err(denial) => denials.push(denial),
        }
    }
    (passes, denials)
}

/// Each kind of limit, with room for the first request and so many more.
fn with_room_for(more: u64) -> [(LimitName, CallerLimits); 5] {
    let tokens = Some((more + 1) * (INPUT + OUTPUT) + 1);
    // The first request is thought to have 500 tokens of output.
    let tokens = tokens.map(|tokens| tokens.max(600));
    let money = tokens.map(|tokens| tokens * PRICE);
    let none = CallerLimits::default();
    [
        (LimitName::Tpm, CallerLimits { tpm: tokens, ..none }),
        (LimitName::TokensDay, CallerLimits { tokens_day: tokens, ..none }),
        (LimitName::TokensMonth, CallerLimits { tokens_month: tokens, ..none }),
        (LimitName::MoneyDay, CallerLimits { money_day: money, ..none }),
        (LimitName::MoneyMonth, CallerLimits { money_month: money, ..none }),
    ]
}

#[test]
fn as_many_get_through_at_once_as_there_is_room_for() {
    for room in [3, 7, 100] {
        for (name, limits) in with_room_for(room) {
            let caller = caller(limits);
            let (passes, denials) = rush(&caller, at(1));
            assert_eq!(passes.len() as u64, room, "{name}");
            let by = |denial: &Denial| matches!(denial, Denial::Limit(reached) if reached.name == name);
            assert!(denials.iter().all(by), "{name}: {denials:?}");
            let reading = caller.read(at(1)).limits[0];
            assert!(reading.used <= reading.limit);
            for pass in passes {
                pass.settle(Ending::Spent(spent(INPUT + OUTPUT)), at(2));
            }
            let reading = caller.read(at(2)).limits[0];
            assert!(reading.used <= reading.limit, "{name}: {reading:?}");
            assert_eq!(caller.read(at(2)).in_flight, 0);
        }
    }
}

#[test]
fn what_is_over_is_what_was_under_way_beyond_its_estimate() {
    for (name, limits) in with_room_for(7) {
        let caller = caller(limits);
        let (passes, _) = rush(&caller, at(1));
        let count = passes.len() as u64;
        for pass in passes {
            pass.settle(Ending::Spent(spent(INPUT + 3 * OUTPUT)), at(2));
        }
        let unit = if matches!(name, LimitName::MoneyDay | LimitName::MoneyMonth) { PRICE } else { 1 };
        let reading = caller.read(at(2)).limits[0];
        assert!(reading.used > reading.limit, "the test's answers are longer than was thought");
        assert!(reading.used - reading.limit <= count * 2 * OUTPUT * unit, "{name}: {reading:?}");
        // From now on nobody gets through, however many ask.
        assert!(rush(&caller, at(3)).0.is_empty(), "{name}");
    }
}

#[test]
fn what_was_not_used_is_there_for_others() {
    for (name, limits) in with_room_for(3) {
        let caller = caller(limits);
        let mut served = 0;
        for second in 1..50 {
            let (passes, denials) = rush(&caller, at(second));
            if passes.is_empty() {
                break;
            }
            // Others are told that these may use less, not that the budget is spent.
            let soon = |denial: &Denial| match denial {
                Denial::Limit(reached) => reached.opens.ask_again_in().unwrap() <= Duration::from_secs(61),
                _ => false,
            };
            assert!(denials.iter().all(soon), "{name}: {denials:?}");
            for pass in passes {
                served += 1;
                pass.settle(Ending::Spent(spent(INPUT / 10)), at(second));
            }
        }
        assert!(served > 10, "{name}: {served}");
        let reading = caller.read(at(49)).limits[0];
        assert!(reading.used <= reading.limit);
    }
}

#[test]
fn what_google_refused_costs_nothing_and_what_the_gateway_refused_does_not_count() {
    let limits = CallerLimits { rpd: Some(3), tokens_day: Some(100_000), ..CallerLimits::default() };
    let caller = caller(limits);
    let before = caller.read(at(1)).day.0;
    ask(&caller, at(1)).unwrap().settle(Ending::GivenBack, at(2));
    assert_eq!(caller.read(at(2)).day.0, before);
    ask(&caller, at(3)).unwrap().settle(Ending::Spent(Spent::default()), at(4));
    assert_eq!(caller.read(at(4)).day.0, Used { requests: 2, ..before });
    drop(ask(&caller, at(5)).unwrap());
    let input = Used { requests: 3, tokens: before.tokens + INPUT, money: before.money + INPUT * PRICE };
    assert_eq!(caller.read(at(5)).day.0, input, "nobody knows what it used: its input stands");
    assert!(ask(&caller, at(6)).is_err());
}

#[test]
fn a_request_that_the_gateway_repeats_counts_once_and_spends_each_time() {
    let requests =
        CallerLimits { rpm: Some(2), rpd: Some(2), concurrent: Some(1), ..CallerLimits::default() };
    let caller = caller(CallerLimits { tokens_day: Some(600), ..requests });
    ask(&caller, at(1)).unwrap().settle(Ending::Spent(spent(INPUT + OUTPUT)), at(2));
    assert!(ask(&caller, at(2)).is_err(), "there is no room for another request");
    let day = |now| caller.read(now).day.0;
    let again = caller.admit_again(true, at(3)).unwrap();
    assert_eq!((caller.read(at(3)).in_flight, day(at(3)).requests), (1, 2));
    again.settle(Ending::GivenBack, at(4));
    assert_eq!((caller.read(at(4)).in_flight, day(at(4)).requests, day(at(4)).tokens), (0, 2, 300));
    caller.admit_again(true, at(5)).unwrap().settle(Ending::Spent(spent(300)), at(6));
    assert_eq!((day(at(6)).requests, day(at(6)).tokens), (2, 600));
    let Err(Denial::Limit(reached)) = caller.admit_again(true, at(7)) else {
        panic!("nothing is left to spend")
    };
    assert_eq!(reached.name, LimitName::TokensDay);
    assert!(caller.admit_again(false, at(7)).is_ok(), "what spends nothing goes on");
}

#[test]
fn a_session_that_goes_on_counts_when_it_uses() {
    let limits = CallerLimits { tokens_day: Some(2_000), tpm: Some(1_000), ..CallerLimits::default() };
    let caller = caller(limits);
    let used = |now| caller.read(now).limits.iter().map(|reading| reading.used).collect::<Vec<_>>();
    let mut session = ask(&caller, at(100)).unwrap();
    assert_eq!(used(at(100)), [150, 300]);
    session.spend(spent(100), at(110));
    assert_eq!(used(at(110)), [150, 300], "its estimate covers that");
    session.spend(spent(950), at(300));
    assert_eq!(used(at(300)), [900, 1_200]);
    session.spend(spent(900), at(301));
    assert_eq!(used(at(301)), [1_800, 2_100], "nothing is cut");
    let Err(Denial::Limit(reached)) = ask(&caller, at(302)) else { panic!("the next one is refused") };
    assert_eq!(reached.name, LimitName::TokensDay);
    session.settle(Ending::Spent(Spent::default()), at(303));
    assert_eq!(used(at(303)), [1_800, 2_100]);
}

#[test]
fn a_restart_forgets_nothing_that_was_written() {
    let limits = CallerLimits {
        rpm: Some(10),
        tpm: Some(1_000),
        tokens_day: Some(5_000),
        money_month: Some(9_000),
        ..CallerLimits::default()
    };
    let directory = Directory::new(InstanceKey::new(&[7; 32]), Tz::UTC);
    directory.set_given([(CallerSpec { limits, ..CallerSpec::new("alice") }, &b"secret"[..])]);
    let caller = directory.identify(b"secret", at(0).wall).unwrap().caller;
    let sums = |requests, tokens, money| Used { requests, tokens, money };
    caller.seed(
        &Seed {
            day: sums(40, 4_000, 4_000),
            month: sums(90, 9_000, 8_999),
            seconds: vec![
                (Duration::from_secs(70), sums(5, 5, 5)),
                (Duration::from_secs(30), sums(10, 400, 9)),
            ],
            ..Seed::default()
        },
        at(0),
    );
    let used = |now| caller.read(now).limits.iter().map(|reading| reading.used).collect::<Vec<_>>();
    assert_eq!(used(at(0)), [10, 400, 4_000, 8_999]);
    let Err(Denial::Limit(reached)) = ask(&caller, at(0)) else { panic!("its minute is full") };
    assert_eq!((reached.name, reached.opens.ask_again_in()), (LimitName::Rpm, Some(Duration::from_secs(31))));
    assert_eq!(used(at(31)), [0, 0, 4_000, 8_999]);
    let Err(Denial::Limit(reached)) = ask(&caller, at(31)) else { panic!("its money does not suffice") };
    assert_eq!(reached.name, LimitName::MoneyMonth);
}

#[test]
fn a_budget_with_room_serves_on_after_a_restart() {
    let limits = CallerLimits { tokens_day: Some(800), ..CallerLimits::default() };
    let directory = Directory::new(InstanceKey::new(&[7; 32]), Tz::UTC);
    directory.set_given([(CallerSpec { limits, ..CallerSpec::new("alice") }, &b"secret"[..])]);
    let caller = directory.identify(b"secret", at(0).wall).unwrap().caller;
    let day = Used { requests: 3, tokens: 465, money: 0 };
    let outputs = vec![("gemini-2.5-flash".into(), OUTPUT)];
    caller.seed(&Seed { day, month: day, outputs, ..Seed::default() }, at(0));
    let pass = ask(&caller, at(0)).unwrap();
    assert_eq!(caller.read(at(0)).limits[0].used, 465 + INPUT + OUTPUT, "its answers are known");
    pass.settle(Ending::Spent(spent(INPUT + OUTPUT)), at(1));
    assert!(ask(&caller, at(1)).is_ok());
}

#[test]
fn what_is_certain_of_a_request_fits_into_the_whole_budget_or_is_refused_for_good() {
    let budget = |name: LimitName, tokens: u64| match name {
        LimitName::TokensDay => CallerLimits { tokens_day: Some(tokens), ..CallerLimits::default() },
        LimitName::TokensMonth => CallerLimits { tokens_month: Some(tokens), ..CallerLimits::default() },
        LimitName::MoneyDay => CallerLimits { money_day: Some(tokens * PRICE), ..CallerLimits::default() },
        LimitName::MoneyMonth => {
            CallerLimits { money_month: Some(tokens * PRICE), ..CallerLimits::default() }
        }
        _ => CallerLimits { tpm: Some(tokens), ..CallerLimits::default() },
    };
    let fresh = |limits| {
        let directory = Directory::new(InstanceKey::new(&[7; 32]), Tz::UTC);
        directory.set_given([(CallerSpec { limits, ..CallerSpec::new("alice") }, &b"secret"[..])]);
        directory.identify(b"secret", at(0).wall).unwrap().caller
    };
    for name in [LimitName::TokensDay, LimitName::TokensMonth, LimitName::MoneyDay, LimitName::MoneyMonth] {
        let Err(Denial::Limit(reached)) = ask(&fresh(budget(name, INPUT - 1)), at(0)) else {
            panic!("{name}: the input alone is too much")
        };
        assert_eq!((reached.name, reached.opens), (name, Opens::Never));
        assert_eq!(reached.opens.ask_again_in(), None);
        // Its answer is a guess: it may be short.
        assert!(ask(&fresh(budget(name, INPUT)), at(0)).is_ok(), "{name}");
    }
    assert!(ask(&fresh(budget(LimitName::Tpm, 1)), at(0)).is_ok(), "a minute is no budget");
}

#[test]
fn a_caller_that_was_not_seen_yet_reads_when_its_day_and_month_end() {
    let directory = Directory::new(InstanceKey::new(&[7; 32]), Tz::UTC);
    directory.set_given([(CallerSpec::new("alice"), &b"secret"[..])]);
    let caller = directory.identify(b"secret", at(0).wall).unwrap().caller;
    let ends = |now| {
        let reading = caller.read(now);
        (reading.day.1.as_secs(), reading.month.1.as_secs())
    };
    let (half_a_day, half_a_month) = (12 * 3_600, (16 * 24 + 12) * 3_600);
    assert_eq!(ends(at(0)), (half_a_day, half_a_month));
    drop(ask(&caller, at(10)).unwrap());
    assert_eq!(ends(at(10)), (half_a_day - 10, half_a_month - 10));
    // The next day, on which it was not seen either.
    assert_eq!(ends(at(86_400)), (half_a_day, half_a_month - 86_400));
}
