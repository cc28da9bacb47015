//! Many answers on few connections: over HTTP/2, which Google speaks, none of them holds up the others.

use crate::{
    support::{Gateway, Options, TOKEN, client, prompt, simulator_with, wait_for},
    wire::{Wire, exchange, request},
};
use futures_util::future::join_all;
use gemini_simulator::{Config, Shape, Simulator, Tls};
use std::{
    io::Write,
    time::{Duration, Instant},
};
use tempfile::NamedTempFile;

const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

/// A simulator that speaks HTTP/2, and the file with its certificate, which a gateway is to trust as long as that is there.
pub(crate) async fn over_http_2(change: impl FnOnce(&mut Config)) -> (Simulator, NamedTempFile) {
    let simulator = simulator_with(2, |config| {
        config.tls = Some(Tls::default());
        change(config);
    })
    .await;
    let mut ca_file = NamedTempFile::new().unwrap();
    ca_file.write_all(simulator.ca_pem().unwrap().as_bytes()).unwrap();
    (simulator, ca_file)
}

/// The same with a gateway that has spoken to it.
async fn multiplexed(change: impl FnOnce(&mut Config)) -> (Simulator, Gateway, NamedTempFile) {
    let (simulator, ca_file) = over_http_2(change).await;
    let gateway = Options::new(&simulator.url(), 2).set("upstream.ca_file", ca_file.path().display()).start();
    let status = client().get(gateway.url("/v1beta/models")).send().await.unwrap().status();
    assert_eq!((status.as_u16(), simulator.requests()[0].http.as_str()), (200, "2"));
    simulator.reset();
    (simulator, gateway, ca_file)
}

/// How many requests are under way upstream.
fn open(simulator: &Simulator) -> usize {
    usize::try_from(simulator.stats().open_requests).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_hold_up_nobody_on_the_same_connection() {
    const CLIENTS: usize = 180;
    let endless = Shape { events: u64::MAX, interval_ms: 0, text_bytes: 16 * 1024 };
    let (simulator, gateway, _ca_file) = multiplexed(|config| config.shape = endless).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut wire = Wire::connect_with_window(gateway.authority(), 16 * 1024).await;
        wire.send(request("POST", STREAM, &[("x-goog-api-key", TOKEN)], &prompt("x"))).await.unwrap();
        clients.push(wire);
    }
    wait_for("streams", || (open(&simulator) == CLIENTS).then_some(()));
    // Each lies with as much as may lie unread of it.
    let sent = || simulator.requests().iter().map(|it| it.answer_bytes).sum::<u64>();
    let (mut last, mut since) = (sent(), Instant::now());
    while since.elapsed() < Duration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if sent() != last {
            (last, since) = (sent(), Instant::now());
        }
    }
    assert_eq!(open(&simulator), CLIENTS);
    // Each on a connection of its own, so that each worker has some of them.
    for _ in 0..20 {
        let text = request("GET", "/v1beta/models", &[("x-goog-api-key", TOKEN)], "");
        let answer = exchange(gateway.authority(), text).await;
        assert!(answer.whole && answer.status == 200, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_answers_at_once_than_a_connection_carries_wait_for_none_of_the_others() {
    // Two workers, and a hundred for each connection.
    const CLIENTS: usize = 300;
    let slow = Shape { events: 6, interval_ms: 1_000, text_bytes: 0 };
    let change = |config: &mut Config| (config.shape, config.h2_max_streams) = (slow, 100);
    let (simulator, gateway, _ca_file) = multiplexed(change).await;
    let text = request("POST", STREAM, &[("x-goog-api-key", TOKEN)], &prompt("x"));
    let since = Instant::now();
    let begun = join_all((0..CLIENTS).map(async |_| {
        let mut wire = Wire::connect(gateway.authority()).await;
        wire.send(&text).await.unwrap();
        wire.until(b"data: ").await;
        let begun = since.elapsed();
        assert!(wire.answer().await.is_some_and(|it| it.whole && it.status == 200));
        begun
    }))
    .await;
    let last = begun.iter().max().unwrap();
    assert!(*last < Duration::from_secs(4), "the last of {CLIENTS} began after {last:.1?}");
    assert_eq!(simulator.stats().requests, CLIENTS as u64);
}
