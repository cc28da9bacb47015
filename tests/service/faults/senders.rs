//! A thousand clients that begin a request and never end it, while others are served.

use super::{Baseline, GENERATE, Row, Size, status};
use crate::{
    support::{Options, TOKEN, simulator},
    wire::Wire,
};
use futures_util::future::join_all;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(1);

async fn senders(name: &'static str, setting: &str, size: Size, begun: String, bytes: &str) -> Row {
    let count = size.of(200, 1_000);
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set(setting, TIMEOUT.as_secs()).start();
    assert_eq!(status(&gateway).await, 200);
    let before = Baseline::of(&gateway);
    let slow = join_all((0..count).map(async |_| {
        let mut wire = Wire::connect(gateway.authority()).await;
        let since = Instant::now();
        wire.send(&begun).await.unwrap();
        // A byte now and then buys no time.
        let trickle = async {
            loop {
                tokio::time::sleep(Duration::from_millis(300)).await;
                // What comes after the refusal resets the connection, and the refusal with it: only a sender that is in time.
                if since.elapsed() > TIMEOUT * 3 / 4 {
                    std::future::pending::<()>().await;
                }
                let _ = wire.stream.try_write(bytes.as_bytes());
            }
        };
        let _ = tokio::time::timeout(TIMEOUT * 3 / 4, trickle).await;
        let refused = wire.answer().await.is_none_or(|answer| answer.status == 408);
        // The connection may stay for a while, for the refusal to be read.
        let took = since.elapsed();
        let closed = wire.is_closed_within(Duration::from_secs(10)).await;
        (refused && closed, took)
    }));
    let normal = async {
        let mut failed = 0;
        for _ in 0..200 {
            failed += usize::from(status(&gateway).await != 200);
        }
        failed
    };
    let (slow, failed) = tokio::join!(slow, normal);
    let mut row = Row::new(name);
    row.exactly("refused and closed", slow.iter().filter(|(refused, _)| *refused).count(), count);
    row.slowest("the last of them (T is 1 s)", slow.iter().map(|it| it.1), TIMEOUT + Duration::from_secs(1));
    row.exactly("of 200 others that failed", failed, 0);
    before.returns(&gateway, 8).await;
    row
}

pub(super) async fn of_heads(size: Size) -> Row {
    let begun = "POST / HTTP/1.1\r\nhost: gateway\r\nx-begun: ".to_owned();
    senders("Slow senders: head", "server.head_timeout_s", size, begun, "x").await
}

pub(super) async fn of_bodies(size: Size) -> Row {
    let begun = format!(
        "POST {GENERATE} HTTP/1.1\r\nhost: gateway\r\nx-goog-api-key: {TOKEN}\r\ncontent-length: 1000\r\n\r\n{{"
    );
    senders("Slow senders: body", "server.body_timeout_s", size, begun, " ").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_that_never_end_a_head_are_cut_and_cost_nobody_anything() {
    of_heads(Size::Small).await.counts_are_met();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_that_never_end_a_body_are_cut_and_cost_nobody_anything() {
    of_bodies(Size::Small).await.counts_are_met();
}
