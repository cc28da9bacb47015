//! The scripts for buckets against the slow ones in memory, by random calls; and what no calls may bring about.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use std::{collections::BTreeSet, num::NonZeroU16, sync::Arc, time::Duration};

use fastrand::Rng;
use gemini_balance_cluster::{
    BucketLimits, BucketName, BucketUnits, Common, Draw, Drawn, NodeId, Redis, RedisSettings, Shared,
    SpendReport,
    conformance::{RedisPlace, RedisServer, SharedPlace},
};

fn id(n: usize) -> NodeId {
    NodeId::new(&format!("node-{n}")).unwrap()
}

/// The same nodes on a real Redis and in memory, by the same clock.
struct Both {
    redis: RedisPlace,
    common: Common,
    nodes: Vec<[Box<dyn Shared>; 2]>,
}

impl Both {
    fn new(nodes: usize) -> Self {
        let (redis, common) = (RedisPlace::new(), Common::default());
        let clock: String = redis.raw(&["GET", &redis.key("clock")]);
        common.set_clock(clock.parse().unwrap());
        let handles = |n| -> [Box<dyn Shared>; 2] {
            [Box::new(SharedPlace::node(&redis, &id(n))), Box::new(common.node(id(n)))]
        };
        let mut nodes: Vec<_> = (0..nodes).map(handles).collect();
        for [redis, common] in &mut nodes {
            assert_eq!(redis.hello(), common.hello());
        }
        Self { redis, common, nodes }
    }

    fn pass(&self, time: Duration) {
        SharedPlace::pass(&self.redis, time);
        self.common.pass(time);
    }

    fn set_back(&self, time: Duration) {
        SharedPlace::set_back(&self.redis, time);
        SharedPlace::set_back(&self.common, time);
    }

    fn fail_over(&self) {
        SharedPlace::fail_over(&self.redis);
        self.common.fail_over();
    }
}

fn limits(random: &mut Rng) -> BucketLimits {
    let mut limit = |most: u64| match random.u8(..20) {
        0..7 => None,
        7 => Some(random.u64(..3)),
        _ => Some(random.u64(most / 2..=most)),
    };
    BucketLimits { rpm: limit(40), tpm: limit(12_000), rpd: limit(50) }
}

fn units(random: &mut Rng) -> BucketUnits {
    BucketUnits { requests: random.u64(..6), tokens: if random.bool() { random.u64(..1_200) } else { 0 } }
}

fn random_draw(random: &mut Rng, bucket: BucketName, limits: BucketLimits, now: u64) -> Draw {
    let mut reports = Vec::new();
    for _ in 0..random.usize(..4) {
        let age = if random.u8(..3) == 0 { random.u64(..90_000) } else { random.u64(..400) };
        let sign = if random.u8(..4) == 0 { -1 } else { 1 };
        reports.push(SpendReport {
            age: Duration::from_millis(age),
            requests: random.i64(0..3) * sign,
            tokens: random.i64(0..500) * sign,
        });
    }
    Draw {
        reports,
        have: if random.bool() { BucketUnits::default() } else { units(random) },
        want: units(random),
        lives: Duration::from_millis(random.u64(..12_000)),
        day_ends_ms: random.bool().then(|| now / 1_800_000 * 1_800_000 + 1_800_000),
        day_used: (random.u8(..30) == 0).then(|| random.u64(..20)),
        ..Draw::new(bucket, limits)
    }
}

/// What the calls met with, so that it is seen that they went everywhere.
#[derive(Debug, Default)]
struct Met {
    given: usize,
    nothing_left: usize,
    day_over: usize,
    closed: usize,
}

impl Met {
    fn note(&mut self, drawn: &Drawn) {
        self.given += usize::from(drawn.given.requests > 0 && drawn.given.tokens > 0);
        self.nothing_left += usize::from(drawn.left_requests == Some(0) || drawn.left_tokens == Some(0));
        self.day_over += usize::from(drawn.left_of_day == Some(0) && drawn.limits.rpd > Some(0));
        self.closed += usize::from(!drawn.closed_for.is_zero());
    }
}

fn same_answers_to_random_calls(calls: usize, seed: u64, met: &mut Met) {
    const NODES: usize = 4;
    let mut random = Rng::with_seed(seed);
    let mut both = Both::new(NODES);
    let buckets: Vec<_> = (0..5)
        .flat_map(|owner| ["gemini-flash", "pro:{x}"].map(|model| (format!("owner {owner}"), model)))
        .map(|(owner, model)| (BucketName::new(&owner, model).unwrap(), limits(&mut random)))
        .collect();
    for call in 0..calls {
        let node = random.usize(..NODES);
        let (bucket, limits_now) = random.choice(&buckets).unwrap().clone();
        let now = both.common.now_ms();
        let say = |kind: &str| format!("call {call} of seed {seed}: {kind}");
        match random.u8(..100) {
            0..10 => {
                let time = match random.u8(..10) {
                    0 => random.u64(..200_000),
                    1..6 => random.u64(..12_000),
                    _ => random.u64(..1_500),
                };
                both.pass(Duration::from_millis(time));
            }
            10 => both.set_back(Duration::from_millis(random.u64(..4_000))),
            11 if random.u8(..5) == 0 => {
                both.fail_over();
                let [redis, common] = &mut both.nodes[node];
                let [redis, common] = [redis.hello(), common.hello()];
                assert_eq!(redis, common, "{}", say("hello"));
            }
            11..14 => {
                let time = Duration::from_millis(if random.bool() { random.u64(..9_000) } else { 0 });
                for shared in &mut both.nodes[node] {
                    shared.close(&bucket, time).unwrap();
                }
            }
            _ => {
                let limits = if random.u8(..20) == 0 { limits(&mut random) } else { limits_now };
                let draws: Vec<_> = (0..random.usize(1..3))
                    .map(|_| random_draw(&mut random, bucket.clone(), limits, now))
                    .collect();
                let [redis, common] = &mut both.nodes[node];
                let answers = [redis.take(&draws).unwrap(), common.take(&draws).unwrap()];
                assert_eq!(answers[0], answers[1], "{}", say(&format!("{draws:?}")));
                answers[0].iter().for_each(|drawn| met.note(drawn));
            }
        }
    }
}

fn went_everywhere(calls: usize, seeds: std::ops::Range<u64>) {
    let mut all = Met::default();
    let least = calls * seeds.clone().count() / 100;
    for seed in seeds {
        same_answers_to_random_calls(calls, seed, &mut all);
    }
    let Met { given, nothing_left, day_over, closed } = all;
    let rarest = [given, nothing_left, day_over, closed].into_iter().min();
    assert!(rarest > Some(least), "{all:?}");
}

#[test]
fn redis_answers_random_draws_as_memory_does() {
    went_everywhere(2_000, 0..3);
}

#[test]
#[ignore = "takes a minute"]
fn redis_answers_100000_random_draws_as_memory_does() {
    went_everywhere(5_000, 100..120);
}

#[test]
fn every_shard_can_be_drawn_from() {
    let server = RedisServer::shared();
    let settings = Arc::new(RedisSettings { shards: NonZeroU16::new(4).unwrap(), ..server.settings() });
    let mut node = Redis::new(settings, id(0));
    node.hello().unwrap();
    let owners: BTreeSet<_> = (0..20).map(|n| format!("owner {n}")).collect();
    let limits = BucketLimits { rpm: Some(10), ..BucketLimits::default() };
    let bucket = |owner: &String| BucketName::new(owner, "model").unwrap();
    let used = |ago: u64, requests: i64| SpendReport { age: Duration::from_secs(ago), requests, tokens: 0 };
    for owner in &owners {
        let draw = Draw { reports: vec![used(1, 3)], ..Draw::new(bucket(owner), limits) };
        assert_eq!(node.take(&[draw]).unwrap()[0].left_requests, Some(7));
    }
    // Each is found again where it was put.
    for owner in &owners {
        let drawn = node.take(&[Draw::new(bucket(owner), limits)]).unwrap();
        assert_eq!((drawn[0].bucket.owner(), drawn[0].left_requests), (owner.as_str(), Some(7)));
    }
}
