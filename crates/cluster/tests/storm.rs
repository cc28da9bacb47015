//! How soon fifty gateways know of a thousand cooldowns that are found out within a second, over a real server.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use gemini_balance_cluster::{Fact, FactId, NodeId, Reading, Redis, Shared, conformance::RedisServer};

const NODES: usize = 50;
const SITES: usize = 1_000;

#[test]
#[ignore = "a hundred threads, and a question of time: docs/cluster.md has the command"]
#[allow(clippy::print_stdout, reason = "the figures are worth reading: cargo test --locked -- --nocapture")]
fn fifty_nodes_know_of_a_thousand_cooldowns_within_two_seconds() {
    let server = RedisServer::start(&[]);
    let settings = Arc::new(server.settings());
    let node = |n: usize| NodeId::new(&format!("node-{n}")).unwrap();
    let told: Arc<Mutex<BTreeMap<usize, Instant>>> = Arc::default();
    let began = Instant::now();
    let readers: Vec<_> = (0..NODES)
        .map(|n| {
            let mut redis = Redis::new(Arc::clone(&settings), node(n));
            thread::spawn(move || {
                let (mut heard, mut after) = (BTreeMap::new(), FactId::START);
                while heard.len() < SITES && began.elapsed() < Duration::from_secs(60) {
                    let Reading::Facts(facts) = redis.facts(after, Duration::from_secs(1)).unwrap() else {
                        panic!("nothing was cut off")
                    };
                    for placed in facts {
                        after = placed.id;
                        heard.insert(
                            placed.fact.subject()["site-".len()..].parse::<usize>().unwrap(),
                            Instant::now(),
                        );
                    }
                }
                heard
            })
        })
        .collect();
    let tellers: Vec<_> = (0..NODES)
        .map(|n| {
            let (told, mut redis) = (Arc::clone(&told), Redis::new(Arc::clone(&settings), node(n)));
            thread::spawn(move || {
                // Each finds out a part of them, over a second.
                for at in (n..SITES).step_by(NODES) {
                    let due = Duration::from_secs(1).mul_f64(f64::from(u32::try_from(at).unwrap()) / 1_000.0);
                    thread::sleep(due.saturating_sub(began.elapsed()));
                    told.lock().unwrap().insert(at, Instant::now());
                    let fact = Fact::new(&format!("site-{at}"), 2, &"x".repeat(200), node(n)).unwrap();
                    redis.tell(&[fact], FactId::START).unwrap();
                }
            })
        })
        .collect();
    for teller in tellers {
        teller.join().unwrap();
    }
    let told = told.lock().unwrap().clone();
    let last = *told.values().max().unwrap();
    let mut took = Vec::new();
    let mut known = Duration::ZERO;
    for reader in readers {
        let heard = reader.join().unwrap();
        assert_eq!(heard.len(), SITES);
        known = known.max(heard.values().max().unwrap().saturating_duration_since(last));
        took.extend(heard.iter().map(|(at, heard)| heard.saturating_duration_since(told[at])));
    }
    took.sort();
    let p99 = took[took.len() * 99 / 100];
    println!(
        "told within {:.2?}; known to one in {p99:.1?} (p99), to all {known:.1?} after the last",
        last - began
    );
    assert!(known <= Duration::from_secs(2), "{known:?}");
    assert!(p99 <= Duration::from_secs(1), "{p99:?}");
}
