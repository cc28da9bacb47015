//! The pool in figures: the same as its snapshot says, and bounded.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod stage;

use gemini::fault::{Kind, Wait};
use keypool::{Gauge, Limit, Outcome, PoolReading, Settings};
use stage::{MODEL, Stage, exact, fault, keys, labelled, secs};

fn reading(stage: &Stage, most: usize) -> PoolReading {
    stage.pool.reading(most, stage.now)
}

#[test]
fn keys_are_counted_in_the_states_that_the_snapshot_shows() {
    let mut stage = Stage::new(exact(), keys(6));
    stage.serve(MODEL, fault(Kind::KeyInvalid, Wait::Retire));
    stage.serve(MODEL, fault(Kind::CreditsGone, Wait::For(secs(60))));
    stage.serve(MODEL, fault(Kind::QuotaMinute, Wait::For(secs(60))));
    stage.serve(MODEL, Outcome::Success);
    stage.pool.disable(&"k5".into(), stage.now, &mut stage.effects).unwrap();
    let counts = reading(&stage, 10).counts;
    assert_eq!(counts, stage.pool.snapshot(stage.now).counts);
    assert_eq!((counts.available, counts.cooling, counts.retired, counts.disabled), (3, 1, 1, 1));
}

#[test]
fn the_fullest_limits_come_first_and_no_more_than_asked_for() {
    let limits = [
        Limit { rpm: Some(4), ..Limit::default() },
        Limit { rpd: Some(8), project: Some("labelled".into()), ..Limit::default() },
    ];
    let specs = [labelled("a", "labelled"), labelled("b", "labelled")].into_iter().chain(keys(3)).collect();
    let mut stage = Stage::new(Settings { limits: limits.to_vec(), ..exact() }, specs);
    for _ in 0..7 {
        stage.serve(MODEL, Outcome::Success);
    }
    let all = reading(&stage, 100).quotas;
    assert!(all.is_sorted_by(|one, other| one.used >= other.used), "{all:?}");
    let of = |project: &str, gauge: Gauge| {
        all.iter().find(|quota| &*quota.project == project && quota.gauge == gauge).map(|quota| quota.used)
    };
    let labelled = of("labelled", Gauge::Rpd).unwrap();
    assert!(labelled > 0.0 && (of("labelled", Gauge::Rpm).unwrap() - 2.0 * labelled).abs() < 1e-9);
    assert!(of("k0", Gauge::Rpm).is_some(), "without a label a project goes by its first key");
    assert!(of("k0", Gauge::Rpd).is_none(), "only known limits");
    assert!(all.iter().all(|quota| quota.model.as_deref() == Some(MODEL)));
    let sum: f64 = all.iter().filter(|quota| quota.gauge == Gauge::Rpm).map(|quota| quota.used * 4.0).sum();
    assert!((sum - 7.0).abs() < 1e-9, "{sum}");
    for most in 0..3 {
        assert_eq!(reading(&stage, most).quotas, all[..most]);
    }
}

#[test]
fn a_pool_of_ten_thousand_keys_with_a_limit_each_is_read_in_bounded_figures() {
    let limits = [Limit { rpm: Some(10), rpd: Some(100), ..Limit::default() }];
    let mut stage = Stage::new(Settings { limits: limits.to_vec(), ..exact() }, keys(10_000));
    for _ in 0..10_000 {
        stage.serve(MODEL, Outcome::Success);
    }
    let begun = std::time::Instant::now();
    let reading = reading(&stage, 2_000);
    println!("read in {:?}", begun.elapsed());
    assert_eq!((reading.counts.total, reading.quotas.len()), (10_000, 2_000));
}
