//! A store that is slow, full or damaged.

use super::{Baseline, Row, Size, figures::percentile, needs_root, ready, status};
use crate::support::{
    Gateway, Options, exhausted, fingerprint, secret, simulator, simulator_with, wait_for_stored,
};
use gemini_simulator::{Rule, Simulator};
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long it takes until the store is in this state.
async fn store_becomes(gateway: &Gateway, state: &str) -> Duration {
    let since = Instant::now();
    loop {
        let health = ready(gateway).await;
        if health["components"]["store"]["state"] == state {
            return since.elapsed();
        }
        assert!(since.elapsed() < Duration::from_secs(20), "the store is not {state}: {health}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What makes every write of the store's thread take its time, as long as it is held.
struct Slowed {
    child: Child,
    written: tempfile::NamedTempFile,
}

impl Slowed {
    fn new(gateway: &Gateway, delay: Duration) -> Self {
        // In the order in which they were begun: the key manager's, then those that may wait for a disk.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap();
        let name = |path: &Path| std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        let mut threads: Vec<u32> = tasks
            .map(|it| it.unwrap().path())
            .filter(|it| name(it).starts_with("actix-rt"))
            .map(|it| it.file_name().unwrap().to_str().unwrap().parse().unwrap())
            .collect();
        threads.sort_unstable();
        let thread = threads[1].to_string();
        let delay = format!("inject=pwrite64,fsync,fdatasync:delay_enter={}", delay.as_micros());
        let written = tempfile::NamedTempFile::new().unwrap();
        let mut child = Command::new("strace")
            .args(["-e", "trace=pwrite64,fsync,fdatasync", "-e", &delay, "-p", &thread, "-o"])
            .arg(written.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("apt-get install strace");
        let mut line = String::new();
        let mut told = std::io::BufReader::new(child.stderr.take().unwrap());
        std::io::BufRead::read_line(&mut told, &mut line).unwrap();
        assert!(line.contains("attached"), "{line}");
        Self { child, written }
    }

    /// How many writes were slowed.
    fn count(&self) -> usize {
        std::fs::read_to_string(self.written.path()).unwrap().matches("(DELAYED)").count()
    }
}

impl Drop for Slowed {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// How long requests take, each of which must be well.
async fn served(gateway: &Gateway, count: usize) -> (usize, Vec<Duration>) {
    let (mut failed, mut took) = (0, Vec::new());
    let client = crate::support::client();
    for _ in 0..count {
        let begun = Instant::now();
        let request = client.post(gateway.url(super::GENERATE)).body(crate::support::prompt("x"));
        failed += usize::from(request.send().await.unwrap().status() != 200);
        took.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (failed, took)
}

pub(super) async fn slow(size: Size) -> Row {
    needs_root();
    let count = size.of(200, 1_000);
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).start();
    let calm = served(&gateway, count).await.1;
    let before = Baseline::of(&gateway);
    let slowed = Slowed::new(&gateway, Duration::from_secs(2));
    let (failed, took) = served(&gateway, count).await;
    let mut row = Row::new("Store 2 s slow");
    row.exactly("requests that failed", failed, 0);
    let added = percentile(took, 99).saturating_sub(percentile(calm, 99));
    row.within("added to the 99th of 100", added, Duration::from_millis(5));
    // A write is told of when it is done, which may be after the last request.
    let deadline = Instant::now() + Duration::from_secs(10);
    while slowed.count() == 0 {
        assert!(Instant::now() < deadline, "nothing was slowed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(slowed);
    row.within("up again", store_becomes(&gateway, "up").await, Duration::from_secs(5));
    before.returns(&gateway, 8).await;
    row
}

/// Unmounts what a test has mounted, even when it fails.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

fn calls(simulator: &Simulator, n: usize) -> u64 {
    simulator.stats().by_key.get(&secret(n)).copied().unwrap_or(0)
}

pub(super) async fn full(_size: Size) -> Row {
    const KEYS: usize = 40;
    needs_root();
    let mut row = Row::new("Disk full (store)");
    let simulator = simulator(KEYS).await;
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("data");
    std::fs::create_dir(&disk).unwrap();
    let mounting = ["-t", "tmpfs", "-o", "size=2m", "tmpfs"];
    let done = Command::new("mount").args(mounting).arg(&disk).status().unwrap();
    assert!(done.success(), "a disk of its own cannot be mounted");
    let mounted = Mounted(&disk);
    let options = Options::new(&simulator.url(), KEYS).set("retry.max_attempts", KEYS);
    let mut gateway = options.start_in(folder.path());
    assert_eq!(status(&gateway).await, 200);
    store_becomes(&gateway, "up").await;
    let before = Baseline::of(&gateway);
    let ballast = disk.join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    // What is to be kept, and no room for it.
    let ill = 0..KEYS / 2;
    simulator.set_faults(ill.clone().map(|n| Rule::new(exhausted()).on_key(secret(n))));
    let mut failed = 0;
    for _ in 0..100 {
        failed += usize::from(status(&gateway).await != 200);
    }
    row.exactly("requests that failed", failed, 0);
    row.within("known to be degraded", store_becomes(&gateway, "degraded").await, Duration::from_secs(2));
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    row.within("written again", store_becomes(&gateway, "up").await, Duration::from_secs(5));
    before.returns(&gateway, 8).await;
    wait_for_stored(folder.path(), &fingerprint(0));
    gateway.signal("TERM");
    gateway.wait_for_end();
    simulator.reset();
    let gateway = options.start_in(folder.path());
    for _ in 0..KEYS {
        assert_eq!(status(&gateway).await, 200);
    }
    let forgotten = ill.filter(|n| calls(&simulator, *n) > 0).count();
    row.exactly("cooldowns that the next life has forgotten", forgotten, 0);
    drop((gateway, mounted));
    row
}

/// A gateway's files, one of them damaged at random: the next life knows what it knew, or says that it does not.
pub(super) async fn damaged(size: Size) -> Row {
    let turns = size.of(4, 1_000);
    let simulator =
        simulator_with(2, |config| config.faults = vec![Rule::new(exhausted()).on_key(secret(0))]).await;
    let sound = tempfile::tempdir().unwrap();
    let options = Options::new(&simulator.url(), 2);
    let mut gateway = options.start_in(sound.path());
    while calls(&simulator, 0) == 0 {
        assert_eq!(status(&gateway).await, 200);
    }
    gateway.signal("TERM");
    gateway.wait_for_end();
    let bytes = std::fs::read(sound.path().join("data/state.db")).unwrap();
    simulator.set_faults([]);
    let (mut silent, mut refused, mut kept, mut told) = (0, 0, 0, 0);
    for turn in 0..turns {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let mut bytes = bytes.clone();
        let at = fastrand::usize(..bytes.len());
        if turn % 2 == 0 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << fastrand::u32(..8);
        }
        std::fs::write(folder.path().join("data/state.db"), bytes).unwrap();
        simulator.reset();
        let mut gateway = options.start_in(folder.path());
        for _ in 0..3 {
            refused += usize::from(status(&gateway).await != 200);
        }
        gateway.signal("TERM");
        gateway.wait_for_end();
        let said = ["damaged", "unreadable", "lost"].iter().any(|word| gateway.output().contains(word));
        match (calls(&simulator, 0) == 0, said) {
            (true, _) => kept += 1,
            (false, true) => told += 1,
            (false, false) => {
                eprintln!("turn {turn}, byte {at}: {}", gateway.output());
                silent += 1;
            }
        }
    }
    let mut row = Row::new("Store corrupt");
    row.exactly("truncations and flipped bits that reset silently", silent, 0);
    row.exactly("requests that failed", refused, 0);
    eprintln!("{kept} of {turns} lives knew what the last one did, {told} said that they do not");
    row
}

#[ignore = "needs root, to slow a thread"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_store_costs_no_request_anything() {
    slow(Size::Small).await.counts_are_met();
}

#[ignore = "needs root, for a disk of its own"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_below_the_store_costs_no_request_and_once_freed_no_record() {
    full(Size::Small).await.counts_are_met();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_never_forgets_in_silence() {
    damaged(Size::Small).await.counts_are_met();
}
