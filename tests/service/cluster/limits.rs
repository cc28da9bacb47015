//! Limits that several gateways share: together they use them up, and Google refuses nothing.

use super::{Gateways, MODEL};
use crate::support::{client, prompt, simulator_with};
use futures_util::{StreamExt, stream};
use gemini_balance_cluster::conformance::RedisServer;
use gemini_simulator::{MinuteWindow, Quota, Simulator};
use std::time::{Duration, Instant};

const PROJECTS: usize = 10;
const RPM: u64 = 60;

/// Ten projects of sixty requests a minute each.
async fn google(window: MinuteWindow) -> Simulator {
    simulator_with(PROJECTS, |config| {
        config.quotas = vec![Quota { rpm: Some(RPM), ..Quota::default() }];
        config.quota_window = window;
    })
    .await
}

async fn gateways(simulator: &Simulator) -> Gateways {
    Gateways::start_with(simulator, PROJECTS, 3, |options| {
        options.set("limits", format!("[{{rpm={RPM}}}]")).set("pool.max_wait_ms", 2_000)
    })
    .await
}

/// What Google itself has refused.
fn refused(simulator: &Simulator) -> u64 {
    simulator.stats().by_status.get(&429).copied().unwrap_or_default()
}

impl Gateways {
    /// Sends so many requests, round robin and so many at a time: how many of them were answered with each status.
    async fn race(&self, count: usize, at_once: usize) -> std::collections::BTreeMap<u16, usize> {
        let client = client();
        let urls: Vec<_> = (0..self.all.len()).map(|n| self.gateway(n).url(MODEL)).collect();
        let sent = (0..count).map(|n| {
            let request = client.post(&urls[n % urls.len()]).body(prompt("x"));
            async move { request.send().await.unwrap().status().as_u16() }
        });
        let mut found = std::collections::BTreeMap::new();
        let mut answers = stream::iter(sent).buffer_unordered(at_once);
        while let Some(status) = answers.next().await {
            *found.entry(status).or_default() += 1;
        }
        found
    }
}

impl Gateways {
    /// Sends so many requests one after the other, twenty a second.
    async fn pace(&self, count: usize) -> std::collections::BTreeMap<u16, usize> {
        let mut found = std::collections::BTreeMap::new();
        let mut next = tokio::time::interval(Duration::from_millis(50));
        for n in 0..count {
            next.tick().await;
            let at = n % self.all.len();
            let answer = client().post(self.gateway(at).url(MODEL)).body(prompt("x")).send().await.unwrap();
            let status = answer.status().as_u16();
            if status != 200 {
                let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
                tokio::time::sleep(Duration::from_millis(400)).await;
                eprintln!("REFUSED {n} at {at}: {}", self.command(at, &["explain", &id]).1);
            }
            *found.entry(status).or_default() += 1;
        }
        found
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_use_up_limits_and_google_refuses_nothing() {
    for window in [MinuteWindow::Sliding, MinuteWindow::Fixed] {
        let simulator = google(window).await;
        let gateways = gateways(&simulator).await;
        let since = Instant::now();
        let found = gateways.race(1_000, 60).await;
        let took = since.elapsed();
        let (served, waits) = (found[&200], found.get(&429).copied().unwrap_or_default());
        assert_eq!(served + waits, 1_000, "{found:?}");
        assert_eq!(refused(&simulator), 0, "Google's own refusals: {found:?}");
        let most = PROJECTS * usize::try_from(RPM).unwrap();
        // In a fixed minute's turn there may be two of them.
        assert!(served * 100 >= most * 98, "{served} of {most} in {took:?}");
    }
}

#[ignore = "ten thousand requests twice, half a minute of both processors each: docs/cluster.md has the command"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_racing_requests_use_up_a_minute_and_a_day_and_google_refuses_nothing() {
    const LIMIT: u64 = 900;
    for (name, quota) in [
        ("rpm", Quota { rpm: Some(LIMIT), ..Quota::default() }),
        ("rpd", Quota { rpd: Some(LIMIT), ..Quota::default() }),
    ] {
        let simulator = simulator_with(PROJECTS, |config| config.quotas = vec![quota]).await;
        let gateways = Gateways::start_with(&simulator, PROJECTS, 3, |options| {
            options.set("limits", format!("[{{{name}={LIMIT}}}]")).set("pool.max_wait_ms", 2_000)
        })
        .await;
        let since = Instant::now();
        let found = gateways.race(10_000, 200).await;
        let (served, waits) = (found[&200], found.get(&429).copied().unwrap_or_default());
        eprintln!("{name}: {served} served, {waits} told to wait, in {:?}", since.elapsed());
        assert_eq!(served + waits, 10_000, "{found:?}");
        assert_eq!(refused(&simulator), 0, "Google's own refusals: {found:?}");
        let most = PROJECTS * usize::try_from(LIMIT).unwrap();
        assert!(served * 100 >= most * 98, "{name}: {served} of {most}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_gateways_go_by_habit_and_fail_nothing() {
    let simulator = google(MinuteWindow::Sliding).await;
    let Gateways { redis, all } = gateways(&simulator).await;
    let port = redis.port();
    let gateways = Gateways { redis, all };
    let warm = gateways.pace(60).await;
    assert_eq!(warm.get(&200), Some(&60), "{warm:?}");
    let Gateways { redis, all } = gateways;
    drop(redis);
    let gateways = Gateways { redis: RedisServer::start(&[]), all };
    let since = Instant::now();
    let alone = gateways.pace(60).await;
    assert_eq!(alone.get(&200), Some(&60), "{alone:?} in {:?}", since.elapsed());
    // What one of them cannot know that another has used, Google may refuse once; it is served elsewhere.
    let before = refused(&simulator);
    assert!(before <= 6, "{before} of 60");
    let gateways = Gateways { redis: RedisServer::start_on(port, &[]), all: gateways.all };
    let all_back = async |it: &Gateways| {
        for n in 0..3 {
            if it.cluster(n).await["alone"].is_string() {
                return false;
            }
        }
        true
    };
    let took = gateways.until("all are back", all_back).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    // All that was used meanwhile is known again: what is left, and no more.
    let found = gateways.race(700, 60).await;
    let served = 120 + found[&200];
    // A Redis that came back empty begins to count anew: hardly more than what was under way is not known to it.
    let after = refused(&simulator) - before;
    assert!(after <= 18, "{after} of 600 are more than 3 in 100: {found:?}");
    assert!((590..=600).contains(&served) || since.elapsed() > Duration::from_secs(50), "{served} {found:?}");
}
