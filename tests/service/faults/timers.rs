//! How soon a client hears of an upstream that refuses, keeps silent or trickles.

use super::{Baseline, GENERATE, Row, STREAM, Size, figures::percentile, ready, status};
use crate::{
    support::{Options, TOKEN, client, prompt, simulator, simulator_with},
    wire::{Wire, request},
};
use futures_util::future::join_all;
use gemini_simulator::{Fault, Rule, Shape};
use std::time::{Duration, Instant};

/// What `docs/reliability.md` calls T.
const T: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_millis(250);

pub(super) async fn refused(size: Size) -> Row {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Options::new(&format!("http://{nobody}"), 2).set("pool.failure_threshold", 1).start();
    let count = size.of(50, 500);
    let (mut failed, mut took) = (0, Vec::new());
    for _ in 0..count {
        let begun = Instant::now();
        failed += usize::from(status(&gateway).await == 502);
        took.push(begun.elapsed());
    }
    let attempts = |line: &serde_json::Value| line["attempts"].as_array().unwrap().len();
    let most = gateway.transactions(count).iter().map(attempts).max().unwrap();
    let mut row = Row::new("Connect refused");
    row.exactly("answered with 502", failed, count);
    row.at_most("attempts of a request", most, 3);
    row.within("99 of 100", percentile(took.clone(), 99), Duration::from_millis(100));
    // The first ones are tried again after pauses, until the way is known to be closed.
    row.slowest("the slowest", took, Duration::from_secs(1));
    row.exactly(
        "keys that are penalised",
        2 - ready(&gateway).await["keys"]["available"].as_u64().unwrap(),
        0,
    );
    row
}

/// The same request by so many at once: the status, whether it came whole, and the time.
async fn asked(authority: &str, path: &str, count: usize) -> Vec<(u16, bool, Duration)> {
    let text = request("POST", path, &[("x-goog-api-key", TOKEN)], &prompt("x"));
    join_all((0..count).map(async |_| {
        let mut wire = Wire::connect(authority).await;
        let begun = Instant::now();
        wire.send(&text).await.unwrap();
        let answer = wire.answer().await.expect("an answer");
        (answer.status, answer.whole, begun.elapsed())
    }))
    .await
}

pub(super) async fn silence(size: Size) -> Row {
    let count = size.of(20, 100);
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2)
        .set("upstream.head_timeout_s", T.as_secs())
        .set("upstream.idle_timeout_s", T.as_secs())
        .start();
    assert_eq!(status(&gateway).await, 200);
    let before = Baseline::of(&gateway);
    let mut row = Row::new("Stall before headers, in mid-stream");
    simulator.set_faults([Rule::new(Fault::StallHead)]);
    let answers = asked(gateway.authority(), GENERATE, count).await;
    row.exactly("504 before headers", answers.iter().filter(|it| it.0 == 504).count(), count);
    row.slowest("the slowest 504 (T is 1 s)", answers.iter().map(|it| it.2), T + GRACE);
    simulator.set_faults([Rule::new(Fault::Stall { after_events: 2 })]);
    let answers = asked(gateway.authority(), STREAM, count).await;
    row.exactly("cut visibly in mid-stream", answers.iter().filter(|it| !it.1).count(), count);
    row.slowest("the slowest cut (T is 1 s)", answers.iter().map(|it| it.2), T + GRACE);
    simulator.set_faults([]);
    // The way may be taken for closed for a second.
    while status(&gateway).await != 200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    before.returns(&gateway, 8).await;
    row
}

pub(super) async fn trickle(_size: Size) -> Row {
    const EVERY: Duration = Duration::from_millis(20);
    let shape = Shape { events: 3, interval_ms: 0, text_bytes: 0 };
    let simulator = simulator_with(1, |config| config.shape = shape).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    simulator.set_faults([Rule::new(Fault::Slow { bytes: 1, every_ms: 20 })]);
    let count = GENERATE.replace("generateContent", "countTokens");
    let mut answer = client().post(gateway.url(&count)).body(prompt("x")).send().await.unwrap();
    let (mut pieces, mut bytes, mut longest, mut last) = (0, 0, Duration::ZERO, None::<Instant>);
    while let Some(piece) = answer.chunk().await.unwrap() {
        (pieces, bytes) = (pieces + 1, bytes + piece.len());
        let now = Instant::now();
        longest = longest.max(last.map_or(Duration::ZERO, |last| now - last));
        last = Some(now);
    }
    let mut row = Row::new("Slow bytes");
    row.at_most("bytes a piece", bytes / pieces, 1);
    row.within(
        "a byte's longest delay beyond its 20 ms",
        longest.saturating_sub(EVERY),
        Duration::from_millis(50),
    );
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_is_a_502_after_three_attempts_at_most() {
    refused(Size::Small).await.counts_are_met();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_a_504_or_a_visible_cut() {
    silence(Size::Small).await.counts_are_met();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_trickle_are_passed_on_one_by_one() {
    trickle(Size::Small).await.counts_are_met();
}
