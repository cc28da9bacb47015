//! No file descriptor is left.

use super::{Baseline, Row, STREAM, Size, listed, open_descriptors};
use crate::{
    support::{Gateway, Options, TOKEN, prompt, simulator_with, wait_for},
    wire::{Wire, request},
};
use gemini_simulator::Shape;
use std::time::{Duration, Instant};
use tokio::{net::TcpStream, task::JoinSet};

/// What the gateway has spent of the processor's time.
pub(super) fn spent(gateway: &Gateway) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap();
    let of = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
    };
    Duration::from_nanos(tasks.map(|task| of(task.unwrap().path())).sum())
}

pub(super) async fn exhausted(size: Size) -> Row {
    const LIMIT: usize = 160;
    const STREAMS: usize = 20;
    let watched = size.of(Duration::from_secs(1), Duration::from_secs(10));
    let events = size.of(40, 140);
    let simulator =
        simulator_with(2, |config| config.shape = Shape { events, interval_ms: 100, text_bytes: 0 }).await;
    let script = format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\"");
    let gateway = Options::new(&simulator.url(), 2)
        .set("pool.failure_threshold", 1)
        .set("server.head_timeout_s", 60)
        .under(&["sh", "-c", &script])
        .start();
    assert_eq!(listed(&gateway).await, 200);
    let before = Baseline::of(&gateway);
    let mut running = JoinSet::new();
    for _ in 0..STREAMS {
        let authority = gateway.authority().to_owned();
        running.spawn(async move {
            let mut wire = Wire::connect(&authority).await;
            wire.send(request("POST", STREAM, &[("x-goog-api-key", TOKEN)], &prompt("x"))).await.unwrap();
            wire.answer().await.is_some_and(|it| it.whole && it.status == 200)
        });
    }
    wait_for("streams", || {
        let begun = simulator.requests().iter().filter(|it| it.answer_bytes > 0).count();
        (begun > STREAMS).then_some(())
    });
    // More than there can be: the kernel completes their connections, and the gateway has no descriptor for them.
    let mut idle = Vec::new();
    for _ in 0..LIMIT {
        idle.push(TcpStream::connect(gateway.authority()).await.unwrap());
    }
    wait_for("descriptors to be used up", || {
        open_descriptors(&gateway).is_none_or(|open| open >= LIMIT - 2).then_some(())
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (at_first, since) = (spent(&gateway), Instant::now());
    tokio::time::sleep(watched).await;
    let share =
        spent(&gateway).saturating_sub(at_first).as_secs_f64() / since.elapsed().as_secs_f64() * 100.0;
    let mut row = Row::new("Descriptors used up");
    row.amount("of a processor, 20 streams included", share, 5.0, "%");
    drop(idle);
    let freed = Instant::now();
    assert_eq!(listed(&gateway).await, 200);
    row.within("served again", freed.elapsed(), Duration::from_secs(1));
    let mut whole = 0;
    while let Some(ended) = running.join_next().await {
        whole += usize::from(ended.unwrap());
    }
    row.exactly("streams that went on to their end", whole, STREAMS);
    before.returns(&gateway, 2 * STREAMS).await;
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_descriptor_left_streams_go_on_and_the_next_is_served_when_there_is_one() {
    exhausted(Size::Small).await.counts_are_met();
}
