//! A clock that jumps.

use super::{Row, Size, status};
use crate::support::{Gateway, Options, secret, simulator};
use gemini_simulator::{Fault, Rule, Simulator};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const REST: Duration = Duration::from_secs(2);

/// The library that moves a process's clock.
pub(crate) fn library() -> PathBuf {
    let places = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let found =
        places.iter().map(|it| Path::new(it).join("faketime/libfaketimeMT.so.1")).find(|it| it.exists());
    found.expect("libfaketime: apt-get install faketime")
}

fn calls(simulator: &Simulator) -> u64 {
    simulator.stats().by_key.get(&secret(0)).copied().unwrap_or(0)
}

/// How long the first key rests after Google has asked for `REST`, while the clock jumps in between.
async fn rested(jump: &str) -> Duration {
    let simulator = simulator(2).await;
    let folder = tempfile::tempdir().unwrap();
    let offset = folder.path().join("offset");
    std::fs::write(&offset, "+0\n").unwrap();
    let gateway: Gateway = Options::new(&simulator.url(), 2)
        .env("LD_PRELOAD", library().display())
        .env("FAKETIME_TIMESTAMP_FILE", offset.display())
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start();
    let body = serde_json::json!({"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{}s", REST.as_secs())}]}});
    let fault = Fault::Status { status: 429, headers: [].into(), body: Some(body) };
    simulator.set_faults([Rule::new(fault).on_key(secret(0)).times(1)]);
    while calls(&simulator) == 0 {
        assert_eq!(status(&gateway).await, 200);
    }
    std::fs::write(&offset, format!("{jump}\n")).unwrap();
    let since = Instant::now();
    while calls(&simulator) == 1 {
        assert_eq!(status(&gateway).await, 200);
        assert!(since.elapsed() < Duration::from_secs(20), "the key does not come back: {jump}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let of_the_first: Vec<_> =
        simulator.requests().into_iter().filter(|it| it.key == Some(secret(0))).collect();
    let rested = Duration::from_millis(of_the_first[1].at_ms - of_the_first[0].at_ms);
    // It was moved: what the gateway writes down is an hour away.
    let lines = gateway.transactions(3);
    let written: chrono::DateTime<chrono::Utc> =
        lines.last().unwrap()["time"].as_str().unwrap().parse().unwrap();
    let away = (written - chrono::Utc::now()).num_minutes().abs();
    assert!((58..=61).contains(&away), "the clock was not moved: {away} minutes");
    rested
}

pub(super) async fn jumps(_size: Size) -> Row {
    let mut row = Row::new("Clock an hour forward, back");
    let (forward, back) = tokio::join!(rested("+3600"), rested("-3600"));
    for (what, rested) in [("an hour forward: error", forward), ("an hour back: error", back)] {
        row.exactly("called before its time", usize::from(rested < REST), 0);
        // A cooldown lasts up to a second longer than it was asked for, or all would come back at once.
        let late = rested.saturating_sub(REST + Duration::from_secs(1));
        row.within(what, late, Duration::from_secs(1));
    }
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cooldown_lasts_as_long_whatever_the_clock_says() {
    jumps(Size::Small).await.counts_are_met();
}
