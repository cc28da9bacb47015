//! The end of a client's day and month over a start in its last seconds, by a wall clock that is set for the test.

use crate::{
    faults::clock::library,
    support::{Gateway, Options, client, prompt, simulator, wait_for},
};
use serde_json::Value;
use std::time::Duration;

async fn send(gateway: &Gateway) -> u16 {
    let url = gateway.url("/v1beta/models/gemini-2.5-flash:generateContent");
    client().post(url).body(prompt("x")).send().await.unwrap().status().as_u16()
}

async fn used(gateway: &Gateway) -> Value {
    let answer = client().get(gateway.url("/me")).send().await.unwrap();
    serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap()["use"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_in_the_last_seconds_of_a_month_ends_its_day_and_month_at_midnight() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens.toml");
    let token = "[auth]\ntokens = [{ name = \"tester\", secret = \"client-token\", rpd = 3 }]\n";
    std::fs::write(&tokens, token.replace("client-token", crate::support::TOKEN)).unwrap();
    let at = |moment: &str| {
        let options = Options::new(&simulator.url(), 1).without_token();
        options
            .args(&["--config", tokens.to_str().unwrap()])
            .set("usage.day_zone", "\"UTC\"")
            .env("TZ", "UTC")
            .env("LD_PRELOAD", library().display())
            .env("FAKETIME", format!("@{moment}"))
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    };
    let mut gateway = at("2026-11-30 23:50:00").start_in(folder.path());
    assert_eq!((send(&gateway).await, send(&gateway).await), (200, 200));
    wait_for("both requests on the log", || (gateway.transactions(2).len() == 2).then_some(()));
    gateway.signal("TERM");
    gateway.wait_for_end();

    let gateway = at("2026-11-30 23:59:45").start_in(folder.path());
    let before = used(&gateway).await;
    for period in ["day", "month"] {
        assert_eq!(before[period]["requests"], 2, "{before}");
        assert!(before[period]["ends_in_s"].as_u64().unwrap() <= 15, "{before}");
    }
    assert_eq!((send(&gateway).await, send(&gateway).await), (200, 429));
    tokio::time::sleep(Duration::from_secs(before["day"]["ends_in_s"].as_u64().unwrap() + 1)).await;
    let after = used(&gateway).await;
    for period in ["day", "month"] {
        assert_eq!(after[period]["requests"], 0, "{after}");
        assert!(after[period]["ends_in_s"].as_u64().unwrap() > 80_000, "{after}");
    }
    assert_eq!(send(&gateway).await, 200);
}
