//! The key manager panics under load.

use super::{GENERATE, Row, Size, ready};
use crate::{
    binary,
    support::{Gateway, Options, client, prompt, simulator},
    wire::{exchange, request},
};
use chrono::{DateTime, Utc};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Since when the log says that the key manager is up for the so manieth time again.
fn up_since(gateway: &Gateway, restarts: usize) -> DateTime<Utc> {
    let text = std::fs::read_to_string(gateway.folder().join("logs/app.log")).unwrap();
    let said = format!("key_manager is Up (restarts: {restarts})");
    let line = text.lines().find(|line| line.contains(&said)).unwrap_or_else(|| panic!("{said}: {text}"));
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Two hundred requests a second, beside which it panics three times. From the second time on the supervisor pauses, twice as long
/// each time.
pub(super) async fn of_the_key_manager(size: Size) -> Row {
    let mut row = Row::new("Key manager panics, 200 requests a second");
    if !binary::doors() {
        eprintln!("LEFT OUT: {}: a release build has no door to panic through", row.name);
        return row;
    }
    let (panics, between) = (3, size.of(100, 400));
    let simulator = simulator(4).await;
    let gateway = Options::new(&simulator.url(), 4).start();
    let client = client();
    let (mut running, mut asked) = (JoinSet::new(), Vec::new());
    let begun = Instant::now();
    let count = (panics + 1) * between;
    for n in 0..count {
        let at = begun + Duration::from_millis(5) * u32::try_from(n).unwrap();
        tokio::time::sleep_until(at.into()).await;
        let request = client.post(gateway.url(GENERATE)).body(prompt("x"));
        running.spawn(async move {
            let since = Instant::now();
            let status = request.send().await.map_or(0, |answer| answer.status().as_u16());
            (status, since.elapsed())
        });
        if n > 0 && n % between == 0 {
            asked.push(Utc::now());
            let panic = request_to_panic(&gateway);
            assert_eq!(panic.await, 202);
        }
    }
    let (mut failed, mut took) = (0, Vec::new());
    while let Some(ended) = running.join_next().await {
        let (status, time) = ended.unwrap();
        failed += usize::from(status != 200);
        took.push(time);
    }
    row.exactly("panics", asked.len(), panics);
    row.exactly("requests that failed", failed, 0);
    let health = ready(&gateway).await;
    row.exactly("restarts", health["components"]["key_manager"]["restarts"].as_u64().unwrap(), panics as u64);
    let replaced = asked
        .iter()
        .enumerate()
        .map(|(n, at)| (up_since(&gateway, n + 1) - *at).to_std().unwrap_or_default());
    let replaced: Vec<_> = replaced.collect();
    eprintln!("replaced after {replaced:.1?}");
    row.slowest("replaced, from the order to panic on", replaced, Duration::from_millis(100));
    took.sort_unstable();
    eprintln!("requests took {:.1?} in the middle, {:.1?} at most", took[count / 2], took[count - 1]);
    row
}

async fn request_to_panic(gateway: &Gateway) -> u16 {
    exchange(gateway.authority(), request("POST", "/debug/panic/key_manager", &[], "")).await.status
}
