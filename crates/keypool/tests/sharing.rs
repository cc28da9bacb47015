//! Slices of shared budgets: that no limit is passed while the store is heard, and that next to nothing is left unused.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]
#![allow(clippy::cast_precision_loss, reason = "some thousand requests")]

mod buckets;
mod world;

use keypool::Limit;
use proptest::prelude::*;
use world::{Setup, Trouble, World, mixed, ms, percent, rpm, secs, usable};

#[test]
fn three_nodes_use_what_there_is_and_no_more() {
    let world = World::new(Setup { bound: 0.0, ..Setup::of(mixed(20, 3), 3, 0.9) }).run();
    let sums = world.sums;
    assert_eq!(sums.over, 0, "{sums:?}");
    assert!(usable(&world) > 99.0, "{sums:?}");
    assert!(percent(sums.at_once, sums.asked) > 90.0, "{sums:?}");
}

#[test]
fn fifty_unequal_nodes_use_nearly_all_of_few_limits() {
    let world = World::new(Setup::of(mixed(10, 3), 50, 0.9)).run();
    let sums = world.sums;
    assert_eq!(sums.over, 0, "{sums:?}");
    assert!(percent(sums.stranded, sums.asked) < 1.0, "{sums:?}");
    assert!(usable(&world) > 98.0, "{sums:?}");
}

/// What the larger clusters use: `cargo test --locked -p keypool --test sharing -- --ignored --nocapture`, better with
/// `--config 'profile.dev.opt-level=2'`; a minute then.
#[test]
#[ignore = "large: see its doc"]
fn large_clusters_use_nearly_all() {
    let small = |projects: u64| (0..projects).map(|at| rpm(5 + at * 7 % 11)).collect::<Vec<_>>();
    for (name, limits, nodes, load, least) in [
        ("50 nodes on 1,000 limits", mixed(1_000, 3), 50, 0.9, 99.0),
        ("50 nodes on 100 limits", mixed(100, 3), 50, 0.9, 99.0),
        ("50 nodes on 100 small limits", small(100), 50, 0.9, 99.0),
        ("50 nodes on 10 limits, 120 %", mixed(10, 3), 50, 1.2, 97.0),
        ("3 nodes on 100 limits", mixed(100, 3), 3, 0.9, 99.0),
    ] {
        let world = World::new(Setup::of(limits, nodes, load)).run();
        let sums = world.sums;
        let at_once = percent(sums.at_once, sums.asked);
        println!("{name}: {:.2} % usable, {at_once:.2} % at once, {sums:?}", usable(&world));
        assert_eq!(sums.over, 0, "{name}");
        assert!(usable(&world) >= least, "{name}");
    }
}

fn limit() -> impl Strategy<Value = Limit> {
    let requests = 1_u64..60;
    prop_oneof![
        4 => requests.clone().prop_map(rpm),
        1 => (requests.clone(), 500_u64..5_000)
            .prop_map(|(requests, tokens)| Limit { tpm: Some(tokens), ..rpm(requests) }),
        1 => (requests, 5_u64..200).prop_map(|(requests, day)| Limit { rpd: Some(day), ..rpm(requests) }),
        1 => (500_u64..5_000).prop_map(|tokens| Limit { tpm: Some(tokens), ..Limit::default() }),
    ]
}

fn setup() -> impl Strategy<Value = Setup> {
    let rates = (0.1_f64..1.6, 0.0_f64..1.5, 0.0_f64..0.3);
    let answers = (0.0_f64..0.1, 0.0_f64..0.2);
    (any::<u32>(), 2..6_usize, prop::collection::vec(limit(), 1..7), rates, answers).prop_map(
        |(seed, nodes, limits, (load, uneven, bound), (lost, late))| Setup {
            seed: seed.into(),
            uneven,
            bound,
            tokens: 200,
            lost,
            late,
            time: secs(150),
            warm: secs(0),
            clock_set: seed % 2 == 0,
            ..Setup::of(limits, nodes, load)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the load, whatever answers of the store are lost or late, and whatever wall clocks show.
    #[test]
    fn no_limit_is_passed_while_the_store_is_heard(setup in setup()) {
        let sums = World::new(setup).run().sums;
        prop_assert_eq!(sums.over, 0, "{:?}", sums);
    }

    /// What a node held that dies counts as spent; what it had not reported of a day is lost with it.
    #[test]
    fn no_minute_is_passed_when_a_node_dies(setup in setup(), at in 5_000..100_000_u64) {
        let mut setup = Setup { fault: Some(Trouble::Kill { at: ms(at) }), ..setup };
        for limit in &mut setup.limits {
            limit.rpd = None;
        }
        let sums = World::new(setup).run().sums;
        prop_assert_eq!(sums.over, 0, "{:?}", sums);
    }

    /// What a node does that stood still goes by slices that have ended meanwhile, and what it reports late is booked by its age.
    #[test]
    fn no_limit_is_passed_when_a_node_stands_still(setup in setup(), from in 5_000..100_000_u64, lasts in 500..20_000_u64) {
        let fault = Some(Trouble::Freeze { from: ms(from), lasts: ms(lasts) });
        let sums = World::new(Setup { fault, ..setup }).run().sums;
        prop_assert_eq!(sums.over, 0, "{:?}", sums);
    }
}

/// The others have more to do than the limits let them: so what is not served is what lies with the dead.
#[test]
fn a_node_that_dies_strands_no_more_than_a_second_and_a_half_of_its_load() {
    for seed in 1..=5 {
        let setup = Setup { seed, uneven: 0.0, bound: 0.0, ..Setup::of(mixed(20, 3), 5, 1.5) };
        let (rate, nodes) = (setup.rate, setup.nodes as f64);
        let dead = World::new(Setup { fault: Some(Trouble::Kill { at: secs(100) }), ..setup.clone() }).run();
        let healthy = World::new(setup).run();
        let stranded = healthy.sums.served.saturating_sub(dead.sums.served) as f64;
        assert!(stranded <= 1.5 * rate / nodes, "seed {seed}: {stranded} of {rate} a second");
        assert_eq!((healthy.sums.over, dead.sums.over), (0, 0), "seed {seed}");
    }
}
