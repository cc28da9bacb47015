//! Ends that were asked for, and those that were not.

use super::{Row, STREAM, Size, ready, status};
use crate::{
    support::{Gateway, Options, TOKEN, prompt, simulator, simulator_with},
    wire::{Wire, request},
};
use gemini_simulator::{Shape, Simulator};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Streams that have begun: whether each came whole.
async fn streams(gateway: &Gateway, simulator: &Simulator, count: usize) -> JoinSet<bool> {
    let mut running = JoinSet::new();
    for _ in 0..count {
        let authority = gateway.authority().to_owned();
        running.spawn(async move {
            let mut wire = Wire::connect(&authority).await;
            wire.send(request("POST", STREAM, &[("x-goog-api-key", TOKEN)], &prompt("x"))).await.unwrap();
            wire.answer().await.is_some_and(|it| it.whole && it.status == 200)
        });
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while simulator.requests().iter().filter(|it| it.answer_bytes > 0).count() < count {
        assert!(Instant::now() < deadline, "the streams did not begin");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running
}

pub(super) async fn drained(size: Size) -> Row {
    let count = size.of(100, 500);
    let shape = Shape { events: size.of(40, 100), interval_ms: 50, text_bytes: 0 };
    let simulator = simulator_with(2, |config| config.shape = shape).await;
    let mut gateway = Options::new(&simulator.url(), 2).set("server.drain_accept_ms", 500).start();
    let authority = gateway.authority().to_owned();
    let mut running = streams(&gateway, &simulator, count).await;
    // Two hundred a second, each on a connection of its own, until no more are taken.
    let load = tokio::spawn(async move {
        let begun = tokio::time::Instant::now();
        let (mut sent, mut lost) = (JoinSet::new(), 0);
        for n in 0.. {
            tokio::time::sleep_until(begun + Duration::from_millis(5) * n).await;
            let Ok(stream) = tokio::net::TcpStream::connect(&authority).await else { break };
            let mut wire = Wire::of(stream);
            sent.spawn(async move {
                let text = request("GET", "/v1beta/models", &[("x-goog-api-key", TOKEN)], "");
                wire.send(text).await.is_ok()
                    && wire.answer().await.is_some_and(|it| it.status == 200 && it.whole)
            });
        }
        let count = sent.len();
        while let Some(answered) = sent.join_next().await {
            lost += usize::from(!answered.unwrap());
        }
        (count, lost)
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let signalled = Instant::now();
    gateway.signal("TERM");
    while ready(&gateway).await["status"] == "ok" {}
    let mut row = Row::new("SIGTERM under load");
    row.within("not ready after", signalled.elapsed(), Duration::from_millis(100));
    let (mut whole, mut last) = (0, Instant::now());
    while let Some(ended) = running.join_next().await {
        whole += usize::from(ended.unwrap());
        last = Instant::now();
    }
    let code = gateway.wait(Duration::from_secs(20)).code();
    row.within("end after the last stream's", last.elapsed(), Duration::from_secs(1));
    row.exactly("streams that came whole", whole, count);
    let (sent, lost) = load.await.unwrap();
    eprintln!("{sent} requests were taken");
    row.exactly("accepted, then dropped", lost, 0);
    row.exactly("exit code", code.unwrap_or(-1), 0);
    row
}

pub(super) async fn grace_expires(_size: Size) -> Row {
    let shape = Shape { events: 100_000, interval_ms: 50, text_bytes: 0 };
    let simulator = simulator_with(2, |config| config.shape = shape).await;
    let mut gateway = Options::new(&simulator.url(), 2).set("server.drain_s", 2).start();
    let mut running = streams(&gateway, &simulator, 50).await;
    let signalled = Instant::now();
    gateway.signal("TERM");
    gateway.wait(Duration::from_secs(20));
    let mut row = Row::new("Grace expires");
    // Before the grace begins, half a second goes by in which nobody comes any more.
    row.within("exit (grace is 2 s, after 550 ms)", signalled.elapsed(), Duration::from_millis(3_550));
    let mut cut = 0;
    while let Some(whole) = running.join_next().await {
        cut += usize::from(!whole.unwrap());
    }
    row.exactly("streams that are seen to be cut", cut, 50);
    row
}

/// How soon a gateway serves after a kill. What it then knows is asked by `memory`, `usage` and `tokens`.
pub(super) async fn killed(size: Size) -> Row {
    let simulator = simulator(3).await;
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(&simulator.url(), 3);
    let (mut took, mut leases) = (Vec::new(), 0);
    let lives = size.of(4, 100);
    for _ in 0..lives {
        let begun = Instant::now();
        let mut gateway = options.start_in(folder.path());
        assert_eq!(status(&gateway).await, 200);
        took.push(begun.elapsed());
        leases += ready(&gateway).await["keys"]["in_flight"].as_u64().unwrap();
        let url = gateway.url(STREAM);
        let load = tokio::spawn(async move {
            let client = crate::support::client();
            loop {
                let _ = client.post(&url).body(prompt("x")).send().await;
            }
        });
        tokio::time::sleep(Duration::from_millis(fastrand::u64(5..400))).await;
        gateway.signal("KILL");
        gateway.wait_for_end();
        load.abort();
    }
    let mut row = Row::new("SIGKILL at random moments");
    row.slowest("served after", took, Duration::from_secs(2));
    row.exactly("leases of a former life", leases, 0);
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_was_asked_for_under_load_cuts_and_drops_nothing() {
    drained(Size::Small).await.counts_are_met();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grace_that_expires_cuts_visibly() {
    grace_expires(Size::Small).await.counts_are_met();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lease_outlives_a_kill() {
    killed(Size::Small).await.counts_are_met();
}
