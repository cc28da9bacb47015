//! A thousand clients that ask for streams without an end and do not read them.

use super::{
    Baseline, Row, STREAM, Size,
    figures::{number, percentile},
    listed,
};
use crate::{
    multiplexed,
    support::{Gateway, Options, TOKEN, prompt, resident_kib, simulator_with},
    wire::{Wire, request},
};
use gemini_simulator::{Shape, Simulator};
use std::{
    process::Command,
    time::{Duration, Instant},
};

/// What the kernel holds for a gateway's connections: the bytes, and what it needs around them.
#[derive(Clone, Copy, Debug, Default)]
struct InKernel {
    to_clients: u64,
    from_upstream: u64,
}

impl InKernel {
    fn of(gateway: &Gateway, upstream: &Simulator) -> Self {
        let own = gateway.authority().rsplit(':').next().unwrap();
        Self {
            to_clients: socket_bytes(&format!("sport = :{own}")),
            from_upstream: socket_bytes(&format!("dport = :{}", upstream.addr().port())),
        }
    }

    fn all(self) -> u64 {
        self.to_clients + self.from_upstream
    }
}

fn socket_bytes(which: &str) -> u64 {
    let output = Command::new("ss").args(["-tmnHO", which]).output().expect("apt-get install iproute2");
    assert!(output.status.success(), "{output:?}");
    // What was received, what is to be sent, and what is set aside for either.
    let of = |memory: &str| -> u64 {
        let is_counted = |it: &&str| ["r", "f", "w"].contains(&it.trim_end_matches(char::is_numeric));
        memory.split(',').filter(is_counted).map(|it| it[1..].parse::<u64>().unwrap()).sum()
    };
    let text = String::from_utf8(output.stdout).unwrap();
    text.split("skmem:(").skip(1).map(|rest| of(rest.split(')').next().unwrap())).sum()
}

/// How long a request of one's own connection takes that is answered at once.
async fn small(gateway: &Gateway) -> Duration {
    let since = Instant::now();
    assert_eq!(listed(gateway).await, 200);
    since.elapsed()
}

async fn stalled(name: &'static str, size: Size, simulator: Simulator, options: Options) -> Row {
    let count = size.of(50, 1_000);
    let timeout = size.of(Duration::from_secs(2), Duration::from_secs(60));
    let gateway = options.set("server.write_timeout_s", timeout.as_secs()).start();
    let mut calm = Vec::new();
    for _ in 0..size.of(50, 500) {
        calm.push(small(&gateway).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = Baseline::of(&gateway);
    let memory = resident_kib(&gateway);
    let text = request("POST", STREAM, &[("x-goog-api-key", TOKEN)], &prompt("x"));
    let authority = gateway.authority().to_owned();
    let come = tokio::spawn(async move {
        let mut clients = Vec::new();
        for _ in 0..count {
            // A small window, or the client's own side of the kernel takes megabytes for each.
            let mut wire = Wire::connect_with_window(&authority, 16 * 1024).await;
            wire.send(&text).await.unwrap();
            clients.push(wire);
        }
        clients
    });
    let begun = Instant::now();
    let (mut most, mut most_in_kernel, mut last_held, mut fed) = (0, 0, 0, 0);
    let (mut took, mut while_cut) = (Vec::new(), Vec::new());
    let (mut looked, mut to_clients, mut last_taken, mut last_fed) = (begun, 0, begun, begun);
    let mut is_calm = false;
    loop {
        let time = small(&gateway).await;
        let open = simulator.stats().open_requests;
        fed = fed.max(open);
        if come.is_finished() && open < fed {
            while_cut.push(time);
        } else {
            took.push(time);
        }
        if looked.elapsed() > Duration::from_millis(500) {
            most = most.max(resident_kib(&gateway));
            let now = match size {
                Size::Small => InKernel::default(),
                Size::Table => tokio::task::block_in_place(|| InKernel::of(&gateway, &simulator)),
            };
            looked = Instant::now();
            // Less is what others, who come and go, take.
            let grown = |now: u64, before: u64| now > before + 64 * 1024;
            if grown(now.to_clients, to_clients) {
                (to_clients, last_taken) = (now.to_clients, looked);
            }
            if grown(now.all(), last_held) {
                (last_held, last_fed) = (now.all(), looked);
            }
            most_in_kernel = most_in_kernel.max(now.all());
            if come.is_finished() && open == 0 {
                break;
            }
            assert!(begun.elapsed() < timeout + Duration::from_secs(60), "{open} are still fed");
            // What feeds them takes the machine's time until there is no room left.
            if come.is_finished() && open == fed && !is_calm && last_fed.elapsed() > Duration::from_secs(1) {
                eprintln!(
                    "all stand still after {:.1?}; until then {:.1?}",
                    begun.elapsed(),
                    percentile(took, 99)
                );
                (is_calm, took) = (true, Vec::new());
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let over = Instant::now();
    let clients = come.await.unwrap();
    let mut row = Row::new(name);
    row.exactly("stalled at the same time", usize::try_from(fed).unwrap(), count);
    row.amount("more memory", number(most.saturating_sub(memory)) / 1024.0, 128.0, "MiB");
    if size == Size::Table {
        row.exactly("all stand still before the first is cut", is_calm, true);
        row.amount("memory of its sockets", number(most_in_kernel / 1024) / 1024.0, 256.0, "MiB");
    }
    let [calm, stalled, while_cut] = [calm, took, while_cut].map(|times| percentile(times, 99));
    eprintln!(
        "99 of 100 others: {calm:.1?} before, {stalled:.1?} meanwhile, {while_cut:.1?} while all are cut"
    );
    row.within("99 of 100 others, while all stand still", stalled, 2 * calm);
    row.within("the last is cut, after all were full", over - last_taken, timeout + Duration::from_secs(2));
    let ended = |end| gateway.transactions(0).iter().filter(|line| line["end"] == end).count();
    let deadline = Instant::now() + Duration::from_secs(10);
    while ended("client_stalled") < count && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    row.exactly("written down as stalled", ended("client_stalled"), count);
    let mut whole = 0;
    for mut wire in clients {
        whole += usize::from(wire.answer().await.is_some_and(|it| it.whole));
    }
    row.exactly("streams that look whole", whole, 0);
    // Over HTTP/2 a connection carries a hundred.
    before.returns(&gateway, 8 + count / 100).await;
    row
}

fn endless() -> Shape {
    Shape { events: u64::MAX, interval_ms: 0, text_bytes: 16 * 1024 }
}

pub(super) async fn over_http_1(size: Size) -> Row {
    let simulator = simulator_with(2, |config| config.shape = endless()).await;
    let options = Options::new(&simulator.url(), 2);
    stalled("Readers that stall (HTTP/1.1 upstream)", size, simulator, options).await
}

pub(super) async fn over_http_2(size: Size) -> Row {
    let (simulator, ca_file) = multiplexed::over_http_2(|config| config.shape = endless()).await;
    let options = Options::new(&simulator.url(), 2).set("upstream.ca_file", ca_file.path().display());
    stalled("Readers that stall (HTTP/2 upstream)", size, simulator, options).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_do_not_read_are_cut_over_http_1() {
    over_http_1(Size::Small).await.counts_are_met();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_do_not_read_are_cut_over_http_2() {
    over_http_2(Size::Small).await.counts_are_met();
}
