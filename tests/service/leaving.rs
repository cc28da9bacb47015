//! Clients that leave and clients that do not read: the first free everything at once, the second cost a bounded amount.

use crate::{
    support::{Gateway, Options, TOKEN, client, prompt, secret, simulator_with, wait_for},
    wire::{Wire, exchange, request},
};
use gemini_simulator::{End, Fault, Rule, Shape, Simulator};
use serde_json::Value;
use std::time::{Duration, Instant};

const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

fn stream_request() -> String {
    request("POST", STREAM, &[("x-goog-api-key", TOKEN)], &prompt("x"))
}

async fn keys(gateway: &Gateway) -> Value {
    exchange(gateway.authority(), request("GET", "/health/ready", &[], "")).await.json()["keys"].clone()
}

fn descriptors(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count()
}

/// Resident memory in KiB.
fn resident(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A hundred clients come, see `begun` and leave; the upstream must see all of them leave, and nobody is blamed.
async fn a_hundred_leave(simulator: &Simulator, begun: impl Fn(&gemini_simulator::LoggedRequest) -> bool) {
    const CLIENTS: usize = 100;
    // One fault would cool a key down.
    let gateway = Options::new(&simulator.url(), 2).set("pool.failure_threshold", 1).start();
    assert_eq!(exchange(gateway.authority(), request("GET", "/health", &[], "")).await.status, 200);
    let before = descriptors(&gateway);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut wire = Wire::connect(gateway.authority()).await;
        wire.send(stream_request()).await.unwrap();
        clients.push(wire);
    }
    wait_for("requests upstream", || {
        (simulator.requests().iter().filter(|request| begun(request)).count() == CLIENTS).then_some(())
    });
    drop(clients);
    let left = Instant::now();
    let unfinished = || simulator.requests().iter().filter(|request| request.end == End::Open).count();
    while unfinished() > 0 {
        assert!(left.elapsed() < Duration::from_millis(500), "{} are still open", unfinished());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(simulator.requests().iter().all(|request| request.end == End::ClientLeft));
    assert_eq!(
        simulator.stats().requests,
        CLIENTS as u64,
        "an attempt was repeated for a client that had left"
    );
    let keys = keys(&gateway).await;
    assert_eq!((&keys["available"], &keys["in_flight"]), (&2.into(), &0.into()), "{keys}");
    let transactions = gateway.transactions(CLIENTS);
    assert!(transactions.iter().all(|line| line["end"] == "client_left"), "{:?}", transactions[0]);
    wait_for("descriptors to be closed", || (descriptors(&gateway) <= before + 4).then_some(()));
}

#[tokio::test]
async fn clients_that_leave_before_the_head_free_their_upstream_at_once() {
    let simulator = simulator_with(2, |config| config.faults = vec![Rule::new(Fault::StallHead)]).await;
    a_hundred_leave(&simulator, |_| true).await;
}

#[tokio::test]
async fn clients_that_leave_mid_stream_free_their_upstream_at_once() {
    let simulator =
        simulator_with(2, |config| config.faults = vec![Rule::new(Fault::Stall { after_events: 2 })]).await;
    a_hundred_leave(&simulator, |request| request.answer_bytes > 200).await;
}

#[tokio::test]
async fn a_client_that_leaves_the_line_for_a_key_takes_no_key() {
    let fault = Fault::Status {
        status: 429,
        headers: [("retry-after".to_owned(), "2".to_owned())].into(),
        body: None,
    };
    let simulator = simulator_with(1, |config| config.faults = vec![Rule::new(fault).times(1)]).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let status = exchange(gateway.authority(), stream_request()).await.status;
    assert_eq!(status, 429, "Google's own, after which the only key cools");
    let mut first = Wire::connect(gateway.authority()).await;
    first.send(stream_request()).await.unwrap();
    let mut waiting = 0;
    for _ in 0..200 {
        waiting = keys(&gateway).await["waiting"].as_u64().unwrap();
        if waiting == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(waiting, 1);
    drop(first);
    let left = Instant::now();
    while keys(&gateway).await["waiting"] != 0 {
        assert!(left.elapsed() < Duration::from_millis(500), "it still waits");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(simulator.stats().requests, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_cost_little_and_are_cut_off() {
    const CLIENTS: usize = 50;
    let endless = Shape { events: u64::MAX, interval_ms: 0, text_bytes: 16 * 1024 };
    let simulator = simulator_with(2, |config| config.shape = endless).await;
    let gateway = Options::new(&simulator.url(), 2).set("server.write_timeout_s", 1).start();
    let small = gateway.url("/v1beta/models");
    for _ in 0..20 {
        assert_eq!(client().get(&small).send().await.unwrap().status(), 200);
    }
    let (descriptors_before, memory_before) = (descriptors(&gateway), resident(&gateway));
    let begun = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        // A small window, or the kernel takes megabytes for each.
        let mut wire = Wire::connect_with_window(gateway.authority(), 16 * 1024).await;
        wire.send(stream_request()).await.unwrap();
        clients.push(wire);
    }
    // Others are served meanwhile, and the memory is watched.
    let (mut most, mut slowest) = (0, Duration::ZERO);
    let cut = loop {
        let asked = Instant::now();
        assert_eq!(client().get(&small).send().await.unwrap().status(), 200);
        slowest = slowest.max(asked.elapsed());
        most = most.max(resident(&gateway));
        let open = simulator.stats().open_requests;
        if begun.elapsed() > Duration::from_millis(500) && open == 0 {
            break begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(8), "{open} are still fed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(cut < Duration::from_secs(6), "cut after {cut:?}");
    assert!(slowest < Duration::from_secs(1), "others waited {slowest:?}");
    let growth = most.saturating_sub(memory_before);
    assert!(growth <= 32 * 1024, "{growth} KiB for {CLIENTS} clients that do not read");
    // The clients' own connections go as well, though they never read a byte.
    let deadline = Instant::now() + Duration::from_secs(4);
    while descriptors(&gateway) > descriptors_before + 4 {
        assert!(
            Instant::now() < deadline,
            "{} descriptors more than before",
            descriptors(&gateway) - descriptors_before
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wait_for("transactions of all that were cut", || {
        let ends = gateway.transactions(0);
        (ends.iter().filter(|line| line["end"] == "client_stalled").count() == CLIENTS).then_some(())
    });
    for mut wire in clients {
        let answer = wire.answer().await;
        assert!(answer.is_none_or(|answer| !answer.whole), "a stream that was cut looks whole");
    }
    let keys = keys(&gateway).await;
    assert_eq!((&keys["available"], &keys["in_flight"]), (&2.into(), &0.into()), "{keys}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_slowly_gets_everything() {
    let shape = Shape { events: 64, interval_ms: 0, text_bytes: 128 * 1024 };
    let simulator = simulator_with(1, |config| config.shape = shape).await;
    let gateway = Options::new(&simulator.url(), 1).set("server.write_timeout_s", 1).start();
    let mut stream = client().post(gateway.url(STREAM)).body(prompt("x")).send().await.unwrap();
    let mut bytes = 0;
    let begun = Instant::now();
    // A pause of half the timeout again and again, for longer than the timeout.
    let mut next_pause = 0;
    while let Some(chunk) = stream.chunk().await.unwrap() {
        bytes += chunk.len();
        if bytes >= next_pause {
            next_pause += 2 * 1024 * 1024;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    assert!(begun.elapsed() > Duration::from_millis(1500));
    let arrived = &simulator.requests()[0];
    assert_eq!(bytes as u64, arrived.answer_bytes);
    assert_eq!(arrived.key.as_deref(), Some(secret(0).as_str()));
    assert_eq!(gateway.transactions(1)[0]["end"], "complete");
}
