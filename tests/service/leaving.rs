//! Clients that leave and clients that do not read: the first free everything at once, the second cost a bounded amount.

use crate::{
    support::{
        Gateway, Options, TOKEN, client, prompt, resident_kib, secret, simulator, simulator_with, wait_for,
    },
    wire::{Wire, exchange, request},
};
use gemini_simulator::{End, Fault, Rule, Shape, Simulator};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

/// What the kernel holds for a gateway's connections: bytes from upstream that it has not read, and bytes that its clients
/// have not taken.
fn kernel_bytes(gateway: &Gateway, upstream: &Simulator) -> (u64, u64) {
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next().unwrap(), 16).unwrap();
    let own: u16 = gateway.authority().rsplit(':').next().unwrap().parse().unwrap();
    let (mut received, mut unsent) = (0, 0);
    for line in std::fs::read_to_string("/proc/net/tcp").unwrap().lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (sending, receiving) = fields[4].split_once(':').unwrap();
        if port(fields[2]) == upstream.addr().port() {
            received += u64::from_str_radix(receiving, 16).unwrap();
        }
        if port(fields[1]) == own {
            unsent += u64::from_str_radix(sending, 16).unwrap();
        }
    }
    (received, unsent)
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
        assert!(left.elapsed() < Duration::from_secs(10), "{} are still open", unfinished());
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
        assert!(left.elapsed() < Duration::from_secs(10), "it still waits");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The key comes back and serves the next: had the one who left taken it, Google would have heard of that too.
    while keys(&gateway).await["available"] != 1 {
        assert!(left.elapsed() < Duration::from_secs(20), "the key does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(exchange(gateway.authority(), stream_request()).await.status, 200);
    assert_eq!(simulator.stats().requests, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_cost_little_and_are_cut_off() {
    const CLIENTS: usize = 200;
    // For each. Usual in a debug build are 120 in the process and up to 260 in the kernel.
    const PROCESS_KIB: u64 = 160;
    const KERNEL_KIB: u64 = 384;
    let endless = Shape { events: u64::MAX, interval_ms: 0, text_bytes: 16 * 1024 };
    let simulator = simulator_with(2, |config| config.shape = endless).await;
    let gateway = Options::new(&simulator.url(), 2).set("server.write_timeout_s", 1).start();
    let small = gateway.url("/v1beta/models");
    for _ in 0..20 {
        assert_eq!(client().get(&small).send().await.unwrap().status(), 200);
    }
    let (descriptors_before, memory_before) = (descriptors(&gateway), resident_kib(&gateway));
    let begun = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        // A small window, or the kernel takes megabytes for each.
        let mut wire = Wire::connect_with_window(gateway.authority(), 16 * 1024).await;
        wire.send(stream_request()).await.unwrap();
        clients.push(wire);
    }
    // Others are served meanwhile, and the memory is watched.
    let (mut most, mut most_received, mut most_unsent) = (0, 0, 0);
    loop {
        assert_eq!(client().get(&small).send().await.unwrap().status(), 200);
        let (received, unsent) = kernel_bytes(&gateway, &simulator);
        most_received = most_received.max(received);
        most_unsent = most_unsent.max(unsent);
        most = most.max(resident_kib(&gateway));
        let open = simulator.stats().open_requests;
        if begun.elapsed() > Duration::from_millis(500) && open == 0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{open} are still fed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let growth = most.saturating_sub(memory_before) / CLIENTS as u64;
    let [received, unsent] = [most_received, most_unsent].map(|bytes| bytes / 1024 / CLIENTS as u64);
    eprintln!("KiB a client that does not read: {growth} in the process, {received} unread, {unsent} unsent");
    assert!(growth <= PROCESS_KIB, "{growth} KiB for each of {CLIENTS} clients that do not read");
    assert!(received + unsent <= KERNEL_KIB, "{received} and {unsent} KiB in the kernel for each");
    // The clients' own connections go as well, though they never read a byte.
    let deadline = Instant::now() + Duration::from_secs(20);
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
        let cut = ends.iter().filter(|line| line["end"] == "client_stalled").count();
        assert_eq!(ends.iter().filter(|line| line["end"] == "client_left").count(), 0, "nobody has left");
        (cut == CLIENTS).then_some(())
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

/// A client of HTTP/1.0 is told the end of a stream by the connection's, so a clean one would make a whole of what broke off.
#[tokio::test]
async fn a_break_is_told_to_a_client_that_knows_no_chunks() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    for (fault, is_whole) in [(Fault::Truncate { after_events: 2 }, false), (Fault::None, true)] {
        simulator.set_faults([Rule::new(fault)]);
        let body = prompt("x");
        let mut socket = tokio::net::TcpStream::connect(gateway.authority()).await.unwrap();
        let head = format!(
            "POST /v1beta/models/gemini-2.5-flash:streamGenerateContent HTTP/1.0\r\nhost: gate\r\nx-goog-api-key: {TOKEN}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut read = Vec::new();
        let end = socket.read_to_end(&mut read).await;
        let read = String::from_utf8_lossy(&read);
        assert!(read.starts_with("HTTP/1.0 200") || read.starts_with("HTTP/1.1 200"), "{read}");
        assert!(read.contains("candidates"), "{read}");
        assert_eq!(end.is_ok(), is_whole, "{end:?} behind {read}");
    }
}
