//! A store that is away, or some nodes that do not reach it, in a simulated cluster: that hardly anybody is refused for it, that
//! Google hardly notices, and that the nodes come together again.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod buckets;
mod world;

use std::time::Duration;

use world::{Setup, Sums, Trouble, World, mixed, percent, secs, usable};

const AWAY: Trouble = Trouble::Away { from: secs(100), lasts: secs(60), forgets: false };

/// What came of a fault and of the same time without one, over several seeds: in parts of all requests.
#[derive(Debug)]
struct Figures {
    /// Refused by the pool, or by Google as often as a request may be tried.
    given_up: f64,
    usual: f64,
    /// What Google refused.
    over: f64,
}

/// What is asked of nodes with a fault: requests that are given up because of it, and Google's refusals, in percent at most.
struct Bound {
    given_up: f64,
    over: f64,
}

fn of_all(sums: Sums) -> f64 {
    percent(sums.refused + sums.failed, sums.asked)
}

fn figures(trouble: Trouble, setup: &Setup, seeds: u64) -> Figures {
    let (mut with, mut without) = (Sums::default(), Sums::default());
    for seed in 1..=seeds {
        let setup = Setup { seed, bound: 0.02, ..setup.clone() };
        let faulty = World::new(Setup { fault: Some(trouble), ..setup.clone() }).run();
        let healthy = World::new(setup).run();
        assert!(usable(&healthy) - usable(&faulty) < 1.0, "seed {seed}");
        with += faulty.in_trouble;
        without += healthy.sums;
    }
    assert_eq!(without.over, 0, "{without:?}");
    Figures { given_up: of_all(with), usual: of_all(without), over: percent(with.over, with.asked) }
}

#[track_caller]
#[allow(clippy::print_stdout, reason = "the figures are worth reading: cargo test --locked -- --nocapture")]
fn assert_hardly_noticed(trouble: Trouble, setup: &Setup, seeds: u64, most: &Bound) {
    let figures = figures(trouble, setup, seeds);
    println!("{} nodes on {} limits: {figures:?}", setup.nodes, setup.limits.len());
    assert!(figures.given_up - figures.usual <= most.given_up, "{figures:?}");
    assert!(figures.over <= most.over, "{figures:?}");
}

#[test]
fn a_minute_without_the_store_is_hardly_noticed_by_three_nodes() {
    let setup = |load| Setup::of(mixed(20, 3), 3, load);
    assert_hardly_noticed(AWAY, &setup(0.2), 4, &Bound { given_up: 0.1, over: 3.0 });
    assert_hardly_noticed(AWAY, &setup(0.9), 2, &Bound { given_up: 1.0, over: 3.0 });
}

#[test]
fn a_minute_without_the_store_is_hardly_noticed_by_fifty_unequal_nodes() {
    let setup = |load| Setup::of(mixed(20, 3), 50, load);
    assert_hardly_noticed(AWAY, &setup(0.2), 5, &Bound { given_up: 0.1, over: 3.0 });
    assert_hardly_noticed(AWAY, &setup(0.9), 1, &Bound { given_up: 1.0, over: 5.0 });
}

/// The same on five times as many limits and over more seeds: `cargo test --locked -p keypool --test outages -- --ignored --nocapture`,
/// better with `--config 'profile.dev.opt-level=2'`; two minutes then.
#[test]
#[ignore = "large: see its doc"]
fn a_minute_without_the_store_is_hardly_noticed_by_large_clusters() {
    for (limits, nodes, load, given_up) in [
        (100, 50, 0.2, 0.05),
        (20, 50, 0.2, 0.05),
        (20, 3, 0.2, 0.05),
        (100, 50, 0.9, 0.5),
        (20, 50, 0.9, 1.0),
        (20, 3, 0.9, 0.5),
    ] {
        let setup = Setup::of(mixed(limits, 3), nodes, load);
        assert_hardly_noticed(AWAY, &setup, 20, &Bound { given_up, over: 3.0 });
    }
}

#[test]
fn a_store_that_comes_back_empty_is_told_what_was_spent() {
    let failover = Trouble::Away { from: secs(100), lasts: Duration::from_millis(2_200), forgets: true };
    assert_hardly_noticed(failover, &Setup::of(mixed(20, 3), 5, 0.9), 1, &Bound { given_up: 0.5, over: 0.5 });
}

#[test]
fn a_third_of_the_nodes_can_be_cut_off() {
    let cut = Trouble::Cut { from: secs(100), lasts: secs(60), nodes: 2 };
    assert_hardly_noticed(cut, &Setup::of(mixed(20, 3), 6, 0.9), 1, &Bound { given_up: 1.0, over: 5.0 });
}
