//! Memory after a peak: what many streams or large bodies have taken goes back to the system when they are over, though
//! nothing comes after them.

use crate::{
    support::{Gateway, Options, TOKEN, client, prompt, resident_kib, simulator_with, wait_for},
    wire::{Wire, request},
};
use gemini_simulator::Shape;
use std::time::Duration;
use tokio::task::JoinSet;

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

/// Resident memory of a gateway that has served a little.
async fn usual_kib(gateway: &Gateway) -> u64 {
    for _ in 0..20 {
        let answer = client().post(gateway.url(GENERATE)).body(prompt("x")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    resident_kib(gateway)
}

/// The most that is resident until all have ended well.
async fn peak_kib(gateway: &Gateway, mut running: JoinSet<bool>) -> u64 {
    let mut most = 0;
    while !running.is_empty() {
        while let Some(ended) = running.try_join_next() {
            assert!(ended.unwrap());
        }
        most = most.max(resident_kib(gateway));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    most
}

/// Waits, without a request, until no more than so much is resident.
fn wait_for_no_more_than(gateway: &Gateway, kib: u64, peak: u64) {
    wait_for(&format!("return to {kib} KiB after {peak}, of which stay {}", resident_kib(gateway)), || {
        (resident_kib(gateway) <= kib).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_large_bodies_have_taken_goes_back() {
    let simulator = simulator_with(2, |_| {}).await;
    let gateway = Options::new(&simulator.url(), 2).start();
    let usual = usual_kib(&gateway).await;
    // Of those below a megabyte the allocator keeps some pages, once and for all.
    for (count, bytes, left_mib) in
        [(16, 16_000_000, 24), (200, 600_000, 64), (16, 16_000_000, 64), (200, 600_000, 64)]
    {
        let body = bytes::Bytes::from(prompt(&"x".repeat(bytes)));
        let mut running = JoinSet::new();
        for _ in 0..count {
            let (url, body) = (gateway.url(GENERATE), body.clone());
            running.spawn(async move { client().post(url).body(body).send().await.unwrap().status() == 200 });
        }
        let peak = peak_kib(&gateway, running).await;
        assert!(peak > usual + 60 * 1024, "{peak} KiB is no peak above {usual}");
        wait_for_no_more_than(&gateway, usual + left_mib * 1024, peak);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_streams_have_taken_goes_back_and_another_peak_leaves_no_more() {
    const STREAMS: u64 = 1_000;
    /// Of each stream when all are over. Usual in a debug build are 25, most of them of connections kept for the next.
    const LEFT_KIB: u64 = 40;
    let shape = Shape { events: 40, interval_ms: 50, text_bytes: 200 };
    let simulator = simulator_with(2, |config| config.shape = shape).await;
    let gateway = Options::new(&simulator.url(), 2).start();
    let usual = usual_kib(&gateway).await;
    for _ in 0..2 {
        let mut running = JoinSet::new();
        for _ in 0..STREAMS {
            let authority = gateway.authority().to_owned();
            running.spawn(async move {
                let mut wire = Wire::connect(&authority).await;
                let text = request("POST", STREAM, &[("x-goog-api-key", TOKEN)], &prompt("x"));
                wire.send(text).await.unwrap();
                wire.answer().await.is_some_and(|answer| answer.status == 200 && answer.whole)
            });
        }
        let peak = peak_kib(&gateway, running).await;
        wait_for_no_more_than(&gateway, usual + LEFT_KIB * STREAMS, peak);
    }
}
