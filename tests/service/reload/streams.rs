//! Streams that begin, go on and end while the configuration is reloaded again and again.

use super::{ALICE, Configured, STREAM};
use crate::{
    support::{prompt, sha256, simulator_with},
    wire::{Wire, request},
};
use gemini_simulator::Shape;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Streams that begin, go on and end while the configuration is reloaded again and again, each time another one.
async fn streams_across_reloads(streams: usize, reloads: usize, events: u64, interval_ms: u64) {
    let shape = Shape { events, interval_ms, text_bytes: 0 };
    let simulator = simulator_with(5, |config| config.shape = shape).await;
    let it = Configured::start_before(simulator, &[0, 1, 2, 3], ALICE);
    let mut running = tokio::task::JoinSet::new();
    for n in 0..streams {
        let authority = it.gateway.authority().to_owned();
        running.spawn(async move {
            let body = prompt(&format!("stream number {n}"));
            let mut wire = Wire::connect(&authority).await;
            wire.send(request("POST", STREAM, &[("x-goog-api-key", "alice-token-CANARY")], &body))
                .await
                .unwrap();
            let answer = wire.answer().await.expect("an answer");
            (sha256(body.as_bytes()), answer)
        });
    }
    let begun = || it.simulator.requests().iter().filter(|seen| seen.answer_bytes > 0).count();
    let deadline = Instant::now() + Duration::from_secs(60);
    while begun() < streams {
        assert!(Instant::now() < deadline, "{} of {streams} streams have begun", begun());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let unary = Shape { events: 1, interval_ms: 0, text_bytes: 0 };
    it.simulator.set_shape(unary);
    for n in 0..reloads {
        let (keys, limit) = ([[0, 1], [2, 3], [1, 4], [0, 3]][n % 4], streams + n + 10);
        let token = ALICE.replace(" }]", &format!(", rpm = 100000, concurrent = {limit} }}]"));
        let more = format!(
            "[server]\nmax_body_bytes = {}\n{token}[upstream]\nidle_timeout_s = {limit}\n[retry]\nmax_attempts = {}\n",
            100_000 + n,
            n % 4 + 1
        );
        let answer = it.reload(&keys, &more).await;
        assert_eq!(answer["revision"], n + 2, "{answer}");
        assert_eq!(it.status("alice-token-CANARY").await, 200, "reload {n}");
    }
    let under_way = it.ready().await["requests_in_flight"].as_u64().unwrap();
    assert!(under_way >= streams as u64, "the streams ended before the reloads did: {under_way}");
    let mut answers = HashMap::new();
    while let Some(ended) = running.join_next().await {
        let (asked, answer) = ended.unwrap();
        assert!(answer.status == 200 && answer.whole, "a stream ended early");
        assert_eq!(answer.text().matches("data: ").count() as u64, events);
        assert!(answers.insert(asked, sha256(&answer.body)).is_none());
    }
    let sent = it.simulator.requests();
    let sent = sent.iter().filter(|seen| seen.path.contains("stream"));
    let sent: HashMap<String, String> = sent
        .map(|seen| {
            (seen.body_sha256.clone().unwrap(), seen.answer_sha256.clone().expect("a stream that has ended"))
        })
        .collect();
    assert_eq!((answers.len(), answers == sent), (streams, true), "streams are mixed");
    assert!(it.refusals().is_empty());
    it.no_secret_is_logged();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stream_notices_any_of_a_hundred_reloads() {
    streams_across_reloads(200, 100, 120, 200).await;
}

#[ignore = "a minute and more of both processors in a debug build; run it with --release: see docs/operations.md"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_of_a_thousand_streams_notices_any_of_a_hundred_reloads() {
    streams_across_reloads(1_000, 100, 240, 250).await;
}
