//! How Redis may fail all gateways at once, and what that costs the requests that are sent meanwhile.

use super::{
    Gateways, MODEL,
    callers::redis_says,
    faults::{Traffic, three},
};
use crate::support::{client, prompt, simulator};
use gemini_balance_cluster::conformance::RedisServer;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_whose_memory_is_full_costs_nothing_and_is_taken_up_again_when_it_has_some() {
    let simulator = simulator(3).await;
    let gateways = three(&simulator).await;
    let traffic = Traffic::on(&gateways, &[0, 1, 2]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(redis_says(&gateways.redis, "CONFIG SET maxmemory 1").starts_with("+OK"));
    gateways
        .until("they know", async |it| it.is_alone(0).await && it.is_alone(1).await && it.is_alone(2).await)
        .await;
    let alone = gateways.cluster(0).await["alone"].to_string();
    assert!(alone.contains("no memory left"), "{alone}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(redis_says(&gateways.redis, "CONFIG SET maxmemory 0").starts_with("+OK"));
    let took = gateways.until_all_are_together(&[0, 1, 2]).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    let (count, longest) = traffic.end().await;
    assert!(count > 100 && longest < Duration::from_secs(2), "{count}, {longest:?}");
}

impl Gateways {
    /// How long requests take, sorted: one after the other, at each in its turn, all of them answered well.
    async fn timed(&self, time: Duration) -> Vec<Duration> {
        let (began, mut found) = (Instant::now(), Vec::new());
        while began.elapsed() < time {
            let url = self.gateway(found.len() % self.all.len()).url(MODEL);
            let since = Instant::now();
            let answer = client().post(url).body(prompt("x")).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.bytes().await.unwrap();
            found.push(since.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        found.sort();
        found
    }
}

#[ignore = "more than a minute, and a question of time: docs/cluster.md has the command"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_dead_for_a_minute_fails_nothing_and_costs_no_request_five_milliseconds() {
    let simulator = simulator(3).await;
    let gateways = three(&simulator).await;
    let p99 = |found: &[Duration]| found[found.len() * 99 / 100];
    gateways.timed(Duration::from_secs(2)).await;
    let before = gateways.timed(Duration::from_secs(20)).await;
    let port = gateways.redis.port();
    let Gateways { redis, all } = gateways;
    drop(redis);
    let gateways = Gateways { redis: RedisServer::start(&[]), all };
    let first = gateways.timed(Duration::from_secs(1)).await;
    let alone = gateways.timed(Duration::from_secs(59)).await;
    let gateways = Gateways { redis: RedisServer::start_on(port, &[]), all: gateways.all };
    let took = gateways.until_all_are_together(&[0, 1, 2]).await;
    let [p99_before, p99_alone] = [&before, &alone].map(|found| p99(found));
    eprintln!(
        "{} requests, p99 {p99_before:.1?}; {} without Redis, p99 {p99_alone:.1?}; the slowest as it died {:.1?}; \
         together {took:.1?} after its return",
        before.len(),
        alone.len(),
        first.last().unwrap()
    );
    assert!(p99_alone <= p99_before + Duration::from_millis(5));
    assert!(took < Duration::from_secs(2));
}
