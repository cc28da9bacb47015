//! As many streams at once as clients of a whole company may have, what is left of their memory when they are over, and what a
//! gateway costs that has just been started.

use super::{Baseline, Row, STREAM, Size, descriptors::spent, figures::number, listed};
use crate::{
    binary, multiplexed,
    support::{Gateway, Options, TOKEN, prompt, resident_kib, simulator, simulator_with, wait_for},
    wire::{Answer, Wire, request},
};
use gemini_simulator::{Shape, Simulator};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Clients come one after another in so many lines, each when the one before it has its first event: as fast as they are served.
const LINES: usize = 100;

/// Streams that last until all others have begun, however slow the machine.
fn shape(size: Size) -> Shape {
    Shape { events: size.of(20, 45), interval_ms: size.of(150, 2_000), text_bytes: 0 }
}

/// Opens so many streams, each on a connection of its own.
async fn open(gateway: &Gateway, simulator: &Simulator, count: usize) -> JoinSet<Option<Answer>> {
    let begun = Instant::now();
    let text = request("POST", STREAM, &[("x-goog-api-key", TOKEN)], &prompt("x"));
    let mut lines = JoinSet::new();
    for line in 0..LINES {
        let (authority, text) = (gateway.authority().to_owned(), text.clone());
        lines.spawn(async move {
            let mut wires = Vec::new();
            for _ in (line..count).step_by(LINES) {
                let mut wire = Wire::connect(&authority).await;
                wire.send(&text).await.unwrap();
                wire.until(b"data: ").await;
                wires.push(wire);
            }
            wires
        });
    }
    let mut streams = JoinSet::new();
    while let Some(wires) = lines.join_next().await {
        for mut wire in wires.unwrap() {
            streams.spawn(async move { wire.answer().await });
        }
    }
    eprintln!("{count} streams have begun after {:.1?}", begun.elapsed());
    tokio::task::block_in_place(|| {
        wait_for("all streams at once", || (simulator.stats().open_requests == count as u64).then_some(()));
    });
    streams
}

/// Waits for the end of all: how many came whole, with all of their events.
async fn whole(mut streams: JoinSet<Option<Answer>>, shape: Shape) -> usize {
    let mut count = 0;
    while let Some(ended) = streams.join_next().await {
        let is_whole = |answer: Answer| {
            let events = u64::try_from(answer.text().matches("data: ").count()).unwrap();
            answer.status == 200 && answer.whole && events == shape.events
        };
        count += usize::from(ended.unwrap().is_some_and(is_whole));
    }
    count
}

/// Over HTTP/2 towards the upstream, as Google speaks: over HTTP/1.1 each would take two descriptors of the gateway's 20,000.
pub(super) async fn ten_thousand_streams(size: Size) -> Row {
    let count = size.of(200, 10_000);
    let shape = shape(size);
    let (simulator, ca_file) = multiplexed::over_http_2(|config| config.shape = shape).await;
    let gateway = Options::new(&simulator.url(), 2)
        .set("upstream.ca_file", ca_file.path().display())
        // They come from one address, faster than a busy machine lets them in.
        .set("server.max_unknown_connections", 10_000)
        .start();
    assert_eq!(listed(&gateway).await, 200);
    let (before, idle) = (Baseline::of(&gateway), resident_kib(&gateway));
    let streams = open(&gateway, &simulator, count).await;
    let (used, since) = (spent(&gateway), Instant::now());
    tokio::time::sleep(Duration::from_millis(shape.interval_ms * 5)).await;
    let share = spent(&gateway).saturating_sub(used).as_secs_f64() / since.elapsed().as_secs_f64();
    let each = number(resident_kib(&gateway).saturating_sub(idle)) / number(count);
    let mut row = Row::new("10,000 streams at once, an event every two seconds");
    row.exactly("whole, with all of their events", whole(streams, shape).await, count);
    row.amount("memory a stream", each, 64.0, "KiB");
    row.amount("of a processor", share * 100.0, 60.0, "%");
    // A connection to the upstream carries a hundred.
    before.returns(&gateway, count / 100 + 8).await;
    row
}

/// Without another request: what was taken is given back by the clock.
pub(super) async fn after_five_thousand(size: Size) -> Row {
    let count = size.of(200, 5_000);
    let shape = shape(size);
    let simulator = simulator_with(2, |config| config.shape = shape).await;
    let gateway = Options::new(&simulator.url(), 2).set("server.max_unknown_connections", 10_000).start();
    assert_eq!(listed(&gateway).await, 200);
    let before = Baseline::of(&gateway);
    let streams = open(&gateway, &simulator, count).await;
    let most = resident_kib(&gateway);
    let mut row = Row::new("5,000 streams are over");
    row.exactly("whole, with all of their events", whole(streams, shape).await, count);
    let ended = Instant::now();
    let mut kib = resident_kib(&gateway);
    while kib > 64 * 1024 && ended.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        kib = resident_kib(&gateway);
    }
    eprintln!(
        "{} MiB at their most; {} MiB {:.1?} after their end",
        most / 1024,
        kib / 1024,
        ended.elapsed()
    );
    row.amount("memory 10 s after, without a request", number(kib) / 1024.0, 64.0, "MiB");
    before.returns(&gateway, count).await;
    row
}

pub(super) async fn started(size: Size) -> Row {
    let simulator = simulator(2).await;
    let options = Options::new(&simulator.url(), 2);
    let (mut first, mut again, mut idle) = (Vec::new(), Vec::new(), 0);
    for _ in 0..size.of(1, 9) {
        let folder = tempfile::tempdir().unwrap();
        for took in [&mut first, &mut again] {
            let begun = Instant::now();
            let mut gateway = options.start_in(folder.path());
            assert_eq!(listed(&gateway).await, 200);
            took.push(begun.elapsed());
            tokio::time::sleep(size.of(Duration::ZERO, Duration::from_millis(500))).await;
            idle = idle.max(resident_kib(&gateway));
            gateway.signal("TERM");
            gateway.wait_for_end();
        }
    }
    eprintln!("first answers after {first:.0?}, with a store that is there after {again:.0?}");
    let mut row = Row::new("Cold start, nothing asked yet");
    row.slowest("first answer, with an empty folder", first, Duration::from_millis(200));
    row.slowest("first answer, with a store", again, Duration::from_millis(200));
    row.amount("memory after one request", number(idle) / 1024.0, 20.0, "MiB");
    let bytes = std::fs::metadata(binary::path()).unwrap().len();
    row.amount("the program's file", number(bytes) / 1024.0 / 1024.0, 20.0, "MiB");
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_streams_at_once_are_whole_and_leave_nothing() {
    ten_thousand_streams(Size::Small).await.counts_are_met();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_streams_have_taken_is_given_back_without_another_request() {
    after_five_thousand(Size::Small).await.counts_are_met();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_answers_as_soon_as_it_listens() {
    started(Size::Small).await.counts_are_met();
}
