//! Names that cannot be resolved, and can be again.

use super::{Baseline, Row, Size, needs_root, ready, status};
use crate::support::{Options, simulator};
use std::{
    path::Path,
    time::{Duration, Instant},
};

const NAME: &str = "upstream.test";

/// Has the gateway read its addresses from files in a folder: its own view of the file system, in which they are mounted.
fn with_addresses(options: Options, folder: &Path, nameserver: &str) -> Options {
    std::fs::write(folder.join("hosts"), "127.0.0.1 localhost\n").unwrap();
    std::fs::write(folder.join("resolv.conf"), format!("nameserver {nameserver}\n")).unwrap();
    let script = "mount --bind \"$0/hosts\" /etc/hosts && mount --bind \"$0/resolv.conf\" /etc/resolv.conf && exec \"$@\"";
    options.under(&["unshare", "--mount", "sh", "-c", script, &folder.display().to_string()])
}

/// How long it takes until a request is answered so.
async fn until(gateway: &crate::support::Gateway, wanted: u16) -> Duration {
    let since = Instant::now();
    while status(gateway).await != wanted {
        assert!(since.elapsed() < Duration::from_secs(30), "no {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    since.elapsed()
}

pub(super) async fn unresolved(size: Size) -> Row {
    const T: Duration = Duration::from_secs(1);
    needs_root();
    let mut row = Row::new("DNS failure");
    // One that nobody answers, and one that hears and keeps silent.
    let _silent = std::net::UdpSocket::bind("127.0.0.77:53").expect("port 53 of 127.0.0.77");
    for (is_silent, nameserver) in [(false, "127.0.0.76"), (true, "127.0.0.77")] {
        let simulator = simulator(2).await;
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("hosts");
        let port = simulator.addr().port();
        let options = Options::new(&format!("http://{NAME}:{port}"), 2)
            .set("pool.failure_threshold", 1)
            .set("upstream.connect_timeout_ms", T.as_millis());
        let gateway = with_addresses(options, folder.path(), nameserver).start();
        let mut took = Vec::new();
        for _ in 0..if is_silent { size.of(1, 5) } else { 5 } {
            let begun = Instant::now();
            assert_eq!(status(&gateway).await, 502, "{nameserver}");
            took.push(begun.elapsed());
        }
        eprintln!("{nameserver}: {took:?}");
        if is_silent {
            // Each of the three attempts waits for it.
            row.slowest("502, the nameserver keeps silent, 3 attempts of T (1 s)", took, 3 * T + T / 4);
        } else {
            row.slowest("502, the nameserver refuses (T is 1 s)", took, T);
        }
        let available = |health: serde_json::Value| health["keys"]["available"].as_u64().unwrap();
        row.exactly("keys that are penalised", 2 - available(ready(&gateway).await), 0);
        std::fs::write(&hosts, format!("127.0.0.1 {NAME}\n")).unwrap();
        row.within("served after the name is there", until(&gateway, 200).await, Duration::from_secs(5));
        let before = Baseline::of(&gateway);
        // Gone again: connections that are there go on, and others are made by what was known last.
        std::fs::write(&hosts, "").unwrap();
        let mut served = 0;
        for _ in 0..20 {
            served += usize::from(status(&gateway).await == 200);
        }
        row.exactly("of 20 served once the name is gone again", served, 20);
        before.returns(&gateway, 8).await;
    }
    row
}

#[ignore = "needs root, for names of its own"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_cannot_be_resolved_is_a_502_until_it_can() {
    unresolved(Size::Small).await.counts_are_met();
}
