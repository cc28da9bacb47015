//! What slices are for: however nodes draw, spend, fall silent and come back, Google never counts more than a limit in any
//! minute or day, and most of it is used. In memory, by a clock that the test drives.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use std::{collections::VecDeque, time::Duration};

use fastrand::Rng;
use gemini_balance_cluster::{
    Beat, BucketLimits, BucketName, BucketUnits, Common, CommonNode, Draw, Generation, NodeId, Shared,
    SpendReport, Trouble,
};
use proptest::prelude::*;

const TICK: u64 = 50;
const RPM: u64 = 60;
const RPD: u64 = 250;
const LIVES: u64 = 3_000;
/// A request takes so long to Google, at most.
const WAY: u64 = 450;
const DAY_MS: u64 = 360_000;

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Faults {
    /// Answers are lost and nodes are cut off, killed and replaced.
    OfNodes,
    /// Another server takes over, with the same content.
    OfTheServer,
}

/// A gateway that spends its slice at random.
struct Gateway {
    id: NodeId,
    shared: CommonNode,
    have: u64,
    until: u64,
    /// When each request went out that was not reported yet.
    unreported: Vec<u64>,
    /// When each of the last minute's did.
    ring: VecDeque<u64>,
    day_used: u64,
    generation: Generation,
    next_draw: u64,
    cut_until: u64,
}

impl Gateway {
    fn new(common: &Common, number: usize, generation: Generation) -> Self {
        let id = NodeId::new(&format!("node-{number}")).unwrap();
        let shared = common.node(id.clone());
        Self {
            id,
            shared,
            have: 0,
            until: 0,
            unreported: Vec::new(),
            ring: VecDeque::new(),
            day_used: 0,
            generation,
            next_draw: 0,
            cut_until: 0,
        }
    }

    /// Sends what it may; when each request reaches Google.
    fn spend(&mut self, now: u64, random: &mut Rng) -> Vec<u64> {
        let mut arrivals = Vec::new();
        while self.have > 0 && now < self.until && random.u8(..3) == 0 {
            self.have -= 1;
            self.day_used += 1;
            self.unreported.push(now);
            self.ring.push_back(now);
            arrivals.push(now + random.u64(..=WAY));
        }
        arrivals
    }

    fn draw(&mut self, now: u64, day_ends: u64, random: &mut Rng) {
        let report = |at: &u64| SpendReport { age: Duration::from_millis(now - at), requests: 1, tokens: 0 };
        if now >= self.until {
            self.have = 0;
        }
        let bucket = BucketName::new("owner", "model").unwrap();
        let limits = BucketLimits { rpm: Some(RPM), tpm: None, rpd: Some(RPD) };
        let draw = Draw {
            reports: self.unreported.iter().map(report).collect(),
            have: BucketUnits { requests: self.have, tokens: 0 },
            want: BucketUnits { requests: random.u64(..6), tokens: 0 },
            lives: Duration::from_millis(LIVES),
            day_ends_ms: Some(day_ends),
            ..Draw::new(bucket, limits)
        };
        let Ok(drawn) = self.shared.take(std::slice::from_ref(&draw)) else { return };
        let drawn = &drawn[0];
        if drawn.generation == self.generation {
            self.unreported.clear();
            self.have += drawn.given.requests;
        } else {
            // All it remembers, once; what this draw said of it is said again, which counts too much and never too little.
            self.generation = drawn.generation;
            let all = Draw {
                reports: self.ring.iter().map(report).collect(),
                want: BucketUnits::default(),
                day_used: Some(self.day_used),
                ..draw
            };
            self.have += drawn.given.requests;
            let all = Draw { have: BucketUnits { requests: self.have, tokens: 0 }, ..all };
            self.shared.take(&[all]).unwrap();
            self.unreported.clear();
        }
        self.until = now + LIVES * 9 / 10;
    }
}

/// Lets gateways run for so many ticks. Returns when each request arrived at Google, in order, and when the day turned.
fn run(seed: u64, ticks: u64, faults: Faults) -> (Vec<u64>, u64) {
    let mut random = Rng::with_seed(seed);
    let common = Common::default();
    let mut number = 3;
    let generation = common.node(NodeId::new("first").unwrap()).hello().unwrap().generation;
    let mut nodes: Vec<_> = (0..number).map(|number| Gateway::new(&common, number, generation)).collect();
    let day_turns = common.now_ms() + DAY_MS;
    let mut arrivals = Vec::new();
    for _ in 0..ticks {
        common.pass(Duration::from_millis(TICK));
        let now = common.now_ms();
        let day_ends = if now < day_turns { day_turns } else { day_turns + 86_400_000 };
        for node in &mut nodes {
            node.ring.retain(|at| at + 61_000 > now);
            if now >= day_turns && now < day_turns + TICK {
                node.day_used = 0;
            }
            // What goes out just before midnight may arrive after it: the gateways leave that time out.
            if !(day_turns - WAY..=day_turns).contains(&now) {
                arrivals.extend(node.spend(now, &mut random));
            }
            if node.cut_until > 0 && now >= node.cut_until {
                node.cut_until = 0;
                common.heal(&node.id);
            }
            if now >= node.next_draw {
                node.next_draw = now + random.u64(100..400);
                node.draw(now, day_ends, &mut random);
            }
        }
        let victim = random.usize(..nodes.len());
        match (faults, random.u16(..1_000)) {
            (Faults::OfNodes, 0..20) => common.trouble(&nodes[victim].id, Trouble::LostAnswer),
            (Faults::OfNodes, 20..23) => {
                common.trouble(&nodes[victim].id, Trouble::Cut);
                nodes[victim].cut_until = now + random.u64(..20_000);
            }
            (Faults::OfNodes, 23..25) => {
                nodes[victim] = Gateway::new(&common, number, generation);
                number += 1;
            }
            (Faults::OfTheServer, 0..2) => {
                common.fail_over();
                nodes[victim].shared.beat(&Beat::default()).unwrap();
            }
            _ => {}
        }
    }
    arrivals.sort_unstable();
    (arrivals, day_turns)
}

/// The most that arrived in any sixty seconds.
fn most_in_a_minute(arrivals: &[u64]) -> usize {
    let mut window = VecDeque::new();
    let mut most = 0;
    for at in arrivals {
        window.push_back(*at);
        while window.front().is_some_and(|first| first + 60_000 <= *at) {
            window.pop_front();
        }
        most = most.max(window.len());
    }
    most
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_minute_is_above_its_limit_whatever_becomes_of_the_nodes(seed: u64) {
        let (arrivals, _) = run(seed, 6_000, Faults::OfNodes);
        prop_assert!(most_in_a_minute(&arrivals) <= usize::try_from(RPM).unwrap());
    }

    #[test]
    fn neither_minute_nor_day_is_above_its_limit_across_failovers(seed: u64) {
        let (arrivals, day_turns) = run(seed, 12_000, Faults::OfTheServer);
        prop_assert!(most_in_a_minute(&arrivals) <= usize::try_from(RPM).unwrap());
        let before = arrivals.iter().filter(|at| **at < day_turns).count();
        let after = arrivals.len() - before;
        let day = usize::try_from(RPD).unwrap();
        prop_assert!(before <= day && after <= day, "{before} and {after}");
        prop_assert!(before > day * 8 / 10, "most of the day is used: {before}");
    }
}

#[test]
fn most_of_a_limit_is_used() {
    let (arrivals, _) = run(1, 4_000, Faults::OfNodes);
    assert!(arrivals.len() > 160, "three windows of {RPM} and more: {}", arrivals.len());
}
