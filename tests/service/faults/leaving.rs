//! Clients that leave, before the head and in mid-stream: all at once and by hundreds.

use super::{Baseline, Row, STREAM, Size, status};
use crate::{
    support::{Options, TOKEN, prompt, simulator_with, wait_for},
    wire::{Wire, request},
};
use gemini_simulator::{End, Fault, Rule};
use std::time::{Duration, SystemTime};

fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(elapsed.as_millis()).unwrap()
}

/// Clients come in waves and leave: once they are asked for upstream, or once they have read something.
async fn leave(name: &'static str, size: Size, fault: Fault, is_begun: bool) -> Row {
    const ALL: usize = 1_000;
    let at_once = size.of(100, ALL);
    let simulator = simulator_with(2, |config| config.log_capacity = 10 * ALL).await;
    // One fault would cool a key down.
    let gateway = Options::new(&simulator.url(), 2).set("pool.failure_threshold", 1).start();
    assert_eq!(status(&gateway).await, 200);
    let before = Baseline::of(&gateway);
    simulator.set_faults([Rule::new(fault)]);
    let text = request("POST", STREAM, &[("x-goog-api-key", TOKEN)], &prompt("x"));
    let (mut cancelled, mut calls, mut took) = (0, 0, Vec::new());
    for _ in 0..ALL / at_once {
        simulator.reset();
        let mut clients = Vec::new();
        for _ in 0..at_once {
            let mut wire = Wire::connect(gateway.authority()).await;
            wire.send(&text).await.unwrap();
            clients.push(wire);
        }
        wait_for("requests upstream", || (simulator.requests().len() == at_once).then_some(()));
        if is_begun {
            // What is booked is what has passed.
            for client in &mut clients {
                client.until(b"usageMetadata").await;
            }
        }
        let left_ms = now_ms();
        drop(clients);
        wait_for("end of all", || simulator.requests().iter().all(|it| it.end != End::Open).then_some(()));
        let requests = simulator.requests();
        calls += requests.len();
        cancelled += requests.iter().filter(|it| it.end == End::ClientLeft).count();
        took.extend(
            requests.iter().map(|it| Duration::from_millis(it.ended_at_ms.unwrap().saturating_sub(left_ms))),
        );
    }
    let mut row = Row::new(name);
    row.exactly("cancelled upstream", cancelled, ALL);
    row.exactly("calls upstream: none is repeated", calls, ALL);
    row.slowest("the slowest of all to be cancelled", took, Duration::from_millis(500));
    let lines = gateway.transactions(ALL + 1);
    let left: Vec<_> = lines.iter().filter(|line| line["end"] == "client_left").collect();
    row.exactly("written down as left", left.len(), ALL);
    if is_begun {
        let counted = left.iter().filter(|line| line["usage"]["prompt"].as_u64() > Some(0)).count();
        row.exactly("partial usage booked", counted, ALL);
    }
    simulator.set_faults([]);
    before.returns(&gateway, 8).await;
    row
}

pub(super) async fn before_the_head(size: Size) -> Row {
    leave("Client leaves before the head", size, Fault::StallHead, false).await
}

pub(super) async fn mid_stream(size: Size) -> Row {
    leave("Client leaves in mid-stream", size, Fault::Stall { after_events: 2 }, true).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_leave_before_the_head_free_their_upstream() {
    before_the_head(Size::Small).await.counts_are_met();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_leave_in_mid_stream_free_their_upstream() {
    mid_stream(Size::Small).await.counts_are_met();
}
