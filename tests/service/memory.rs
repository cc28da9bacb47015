//! What outlives the process, however it ends, and what becomes of it where there is no place to keep it: serving goes on.

use crate::{
    binary,
    support::{
        Gateway, Options, client, exhausted, fingerprint, free_port, key_counts, prompt, secret, simulator,
        simulator_with, until_written, wait_for, wait_for_stored,
    },
    wire::{exchange, request},
};
use gemini_simulator::{Fault, GoogleError, KeyState, LoggedRequest, Rule, Simulator};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant, SystemTime},
};
use tokio::task::JoinSet;

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const ADMIN: &str = "operator-token-5b1e";

async fn send(gateway: &Gateway) -> u16 {
    let answer = client().post(gateway.url(GENERATE)).body(prompt("x")).send().await.unwrap();
    answer.status().as_u16()
}

async fn ready(gateway: &Gateway) -> (u16, Value) {
    let answer = exchange(gateway.authority(), request("GET", "/health/ready", &[], "")).await;
    (answer.status, answer.json())
}

/// Polls until it may be given requests: it listens before all that it consists of has said that it is there.
async fn until_ready(gateway: &Gateway) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (status, health) = ready(gateway).await;
        if status == 200 {
            return;
        }
        assert!(Instant::now() < deadline, "{health}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Polls until the store is in this state; returns why it is.
async fn store_becomes(gateway: &Gateway, state: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (status, health) = ready(gateway).await;
        assert_eq!(status, 200, "{health}");
        let store = &health["components"]["store"];
        if store["state"] == state {
            return store["reason"].as_str().unwrap_or_default().to_owned();
        }
        assert!(Instant::now() < deadline, "the store is not {state}: {health}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How often the simulator was called with the `n`th key.
fn calls(simulator: &Simulator, n: usize) -> u64 {
    simulator.stats().by_key.get(&secret(n)).copied().unwrap_or(0)
}

/// How many lines of the output speak of something.
fn lines(gateway: &Gateway, words: &str) -> usize {
    gateway.output().lines().filter(|line| line.contains(words)).count()
}

async fn outlives(signal: &str) {
    let simulator =
        simulator_with(3, |config| config.faults = vec![Rule::new(exhausted()).on_key(secret(0))]).await;
    simulator.set_key_state(&secret(1), KeyState::Suspended);
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(&simulator.url(), 3);
    let mut gateway = options.start_in(folder.path());
    for _ in 0..3 {
        assert_eq!(send(&gateway).await, 200);
    }
    assert_eq!((calls(&simulator, 0), calls(&simulator, 1)), (1, 1));
    if signal == "KILL" {
        for key in [0, 1] {
            wait_for_stored(folder.path(), &fingerprint(key));
        }
    }
    gateway.signal(signal);
    gateway.wait_for_end();

    // Whoever is called again now would be served, and be seen.
    simulator.set_faults([]);
    simulator.set_key_state(&secret(1), KeyState::Valid);
    let gateway = options.start_in(folder.path());
    assert_eq!(key_counts(&gateway).await["retired"], 1);
    for _ in 0..6 {
        assert_eq!(send(&gateway).await, 200);
    }
    assert_eq!((calls(&simulator, 0), calls(&simulator, 1)), (1, 1), "a key was called that should rest");
    assert!(calls(&simulator, 2) >= 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cooldowns_and_retirements_outlive_a_sigterm() {
    outlives("TERM").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cooldowns_and_retirements_outlive_a_sigkill() {
    outlives("KILL").await;
}

/// The answers that each key has given well, added up, as the operator's listener shows them.
async fn successes(port: u16) -> u64 {
    let answer =
        client().get(format!("http://127.0.0.1:{port}/keys")).bearer_auth(ADMIN).send().await.unwrap();
    let list: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    list["keys"].as_array().unwrap().iter().map(|key| key["totals"]["successes"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_outlive_a_sigkill_but_for_the_last_second() {
    let simulator = simulator(3).await;
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let options = Options::new(&simulator.url(), 3).env("ADMIN_TOKEN", ADMIN).set("admin.port", port);
    for life in 1..=3 {
        let mut gateway = options.start_in(folder.path());
        assert_eq!(successes(port).await, (life - 1) * 20, "life {life}");
        until_written(folder.path(), async {
            for _ in 0..20 {
                assert_eq!(send(&gateway).await, 200);
            }
        })
        .await;
        gateway.signal("KILL");
        gateway.wait_for_end();
    }
}

/// A key that rests, wholly or for a model, as the operator's listener shows it.
async fn resting(port: u16) -> BTreeSet<String> {
    let answer =
        client().get(format!("http://127.0.0.1:{port}/keys")).bearer_auth(ADMIN).send().await.unwrap();
    let list: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let rests = |key: &&Value| key["state"] != "available" || key["models"] != serde_json::json!([]);
    let keys = list["keys"].as_array().unwrap().iter().filter(rests);
    keys.map(|key| key["id"].as_str().unwrap().to_owned()).collect()
}

fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(elapsed.as_millis()).unwrap()
}

/// Kills one gateway after another on the same file, each at a random moment under load, while keys fall ill. Returns how
/// many faults were old enough when their process was killed.
async fn killed_again_and_again(lives: usize) -> usize {
    const KEYS: usize = 160;
    let simulator = simulator_with(KEYS, |config| config.log_capacity = 100_000).await;
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let options = Options::new(&simulator.url(), KEYS).env("ADMIN_TOKEN", ADMIN).set("admin.port", port);
    // Keys of which the store must know, for good.
    let mut kept: BTreeSet<String> = BTreeSet::new();
    let mut old_enough = 0;
    for life in 0..lives {
        let mut gateway = options.start_in(folder.path());
        until_ready(&gateway).await;
        let found = resting(port).await;
        let lost: Vec<_> = kept.difference(&found).collect();
        assert!(lost.is_empty(), "life {life} has forgotten {lost:?}");
        kept.extend(found);
        simulator.reset();
        let ill = [Fault::google(GoogleError::KeySuspended), exhausted()];
        simulator.set_faults(ill.map(|fault| Rule::new(fault).after(fastrand::u64(0..5)).times(2)));

        let load = tokio::spawn({
            let (client, url) = (client(), gateway.url(GENERATE));
            async move {
                loop {
                    let _ = client.post(&url).body(prompt("x")).send().await;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
        let life_ms = if life % 4 == 3 { fastrand::u64(1_100..1_400) } else { fastrand::u64(5..600) };
        tokio::time::sleep(Duration::from_millis(life_ms)).await;
        let killed_ms = now_ms();
        gateway.signal("KILL");
        gateway.wait_for_end();
        load.abort();

        let key_of = |request: &LoggedRequest| {
            let n = (0..KEYS).find(|n| request.key == Some(secret(*n))).unwrap();
            fingerprint(n)
        };
        let requests = simulator.requests();
        let rested = requests.iter().all(|request| !kept.contains(&key_of(request)));
        assert!(rested, "life {life} has called a key that rests");
        let fell_ill_in_time = requests.iter().filter(|request| {
            let ended_ms = request.ended_at_ms.unwrap_or(killed_ms);
            matches!(request.status, Some(403 | 429)) && ended_ms + 1_000 < killed_ms
        });
        for request in fell_ill_in_time {
            old_enough += 1;
            kept.insert(key_of(request));
        }
    }
    assert!(kept.len() >= lives, "only {} keys fell ill", kept.len());
    old_enough
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_hundred_kills_at_random_moments_lose_nothing_older_than_a_second() {
    let mut chains = JoinSet::new();
    for _ in 0..4 {
        chains.spawn(killed_again_and_again(25));
    }
    let mut old_enough = 0;
    while let Some(count) = chains.join_next().await {
        old_enough += count.unwrap();
    }
    assert!(old_enough >= 20, "only {old_enough} faults were older than a second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_given_to_another_key_inherits_nothing() {
    let simulator = simulator(4).await;
    simulator.set_key_state(&secret(1), KeyState::Suspended);
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(&simulator.url(), 0).set("pool.max_wait_ms", 100);
    let life = |a: usize, b: usize| {
        let key = |label, n| format!("[[keys]]\nlabel = \"{label}\"\nsecret = \"{}\"\n", secret(n));
        let limit = "[[limits]]\nmodel = \"gemini-2.5-flash\"\nrpd = 1\n";
        std::fs::write(folder.path().join("config.toml"), key("a", a) + &key("b", b) + limit).unwrap();
        options.start_in(folder.path())
    };
    let end = |mut gateway: Gateway| {
        gateway.signal("TERM");
        gateway.wait_for_end();
    };
    // One has used up its day, the other is suspended.
    let gateway = life(0, 1);
    send(&gateway).await;
    send(&gateway).await;
    assert_eq!((calls(&simulator, 0), calls(&simulator, 1)), (1, 1));
    end(gateway);
    let gateway = life(0, 1);
    assert_ne!(send(&gateway).await, 200, "nobody is left to serve");
    assert_eq!((calls(&simulator, 0), calls(&simulator, 1)), (1, 1));
    end(gateway);

    let gateway = life(2, 3);
    let health = ready(&gateway).await.1;
    assert_eq!(health["keys"]["available"], 2, "{health}");
    assert_eq!((send(&gateway).await, send(&gateway).await), (200, 200));
    assert_eq!((calls(&simulator, 2), calls(&simulator, 3)), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_put_aside_with_one_line_and_a_new_one_begun() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let damage = "these are not the pages of a database ".repeat(300);
    std::fs::write(data.join("state.db"), &damage).unwrap();
    let gateway = Options::new(&simulator.url(), 1).start_in(folder.path());
    assert_eq!(send(&gateway).await, 200);
    let (status, health) = ready(&gateway).await;
    assert_eq!((status, &health["components"]["store"]["state"]), (200, &"up".into()), "{health}");
    let reason = health["components"]["store"]["reason"].as_str().unwrap();
    assert!(reason.contains("damaged") && reason.contains("state.db.damaged-"), "{reason}");
    assert_eq!(lines(&gateway, "damaged"), 1, "{}", gateway.output());
    let names = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
    let aside: Vec<_> = names.filter(|path| path.display().to_string().contains(".damaged-")).collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(std::fs::read_to_string(&aside[0]).unwrap(), damage);
    assert!(data.join("state.db").is_file());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_place_for_it_serving_goes_on_and_what_was_learnt_is_kept_once_there_is_one() {
    let simulator =
        simulator_with(2, |config| config.faults = vec![Rule::new(exhausted()).on_key(secret(0))]).await;
    let folder = tempfile::tempdir().unwrap();
    // Nothing can be made below a file.
    let place = folder.path().join("data");
    std::fs::write(&place, "a file").unwrap();
    let options = Options::new(&simulator.url(), 2);
    let mut gateway = options.start_in(folder.path());
    let reason = store_becomes(&gateway, "degraded").await;
    assert!(reason.contains("state.db") || reason.contains("data"), "{reason}");
    for _ in 0..4 {
        assert_eq!(send(&gateway).await, 200);
    }
    assert_eq!(calls(&simulator, 0), 1);
    assert_eq!(ready(&gateway).await.0, 200);

    std::fs::remove_file(&place).unwrap();
    store_becomes(&gateway, "up").await;
    gateway.signal("TERM");
    gateway.wait_for_end();
    let gateway = options.start_in(folder.path());
    for _ in 0..4 {
        assert_eq!(send(&gateway).await, 200);
    }
    assert_eq!(calls(&simulator, 0), 1, "what was learnt without a store is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_stays_away_is_spoken_of_once() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data"), "a file").unwrap();
    let gateway = Options::new(&simulator.url(), 1).start_in(folder.path());
    store_becomes(&gateway, "degraded").await;
    tokio::time::sleep(Duration::from_secs(6)).await; // past the next try
    assert_eq!(lines(&gateway, "store is Degraded"), 1, "{}", gateway.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_of_a_newer_program_is_left_as_it_is() {
    // Where SQLite keeps `user_version`: https://www.sqlite.org/fileformat2.html#database_header
    const VERSION: std::ops::Range<usize> = 60..64;
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(&simulator.url(), 1);
    let mut gateway = options.start_in(folder.path());
    gateway.signal("TERM");
    gateway.wait_for_end();
    let path = folder.path().join("data/state.db");
    let mut file = std::fs::read(&path).unwrap();
    file[VERSION].copy_from_slice(&99_u32.to_be_bytes());
    std::fs::write(&path, &file).unwrap();

    let mut gateway = options.start_in(folder.path());
    let reason = store_becomes(&gateway, "degraded").await;
    assert!(reason.contains("schema version 99"), "{reason}");
    assert_eq!(send(&gateway).await, 200);
    gateway.signal("TERM");
    assert_eq!(gateway.wait_for_end().code(), Some(0));
    assert!(std::fs::read(&path).unwrap() == file, "the file was changed");
}

/// Everything in a folder, as bytes in a row.
fn contents(folder: &Path) -> Vec<u8> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| std::fs::read(path).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_kept_and_nobody_else_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let simulator =
        simulator_with(3, |config| config.faults = vec![Rule::new(exhausted()).on_key(secret(0))]).await;
    simulator.set_key_state(&secret(1), KeyState::Suspended); // its answer repeats the key
    let gateway = Options::new(&simulator.url(), 3).start();
    for _ in 0..3 {
        assert_eq!(send(&gateway).await, 200);
    }
    let data = gateway.folder().join("data");
    let rows = wait_for("rows", || {
        let found = contents(&data);
        let has = |n| memchr::memmem::find(&found, fingerprint(n).as_bytes()).is_some();
        (has(0) && has(1)).then_some(found)
    });
    for canary in ["Canary", "AIzaTest", crate::support::TOKEN] {
        assert!(memchr::memmem::find(&rows, canary.as_bytes()).is_none(), "{canary} is in the store");
    }
    let mode = std::fs::metadata(data.join("state.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_sigterm_each_file_alone_is_whole() {
    let simulator =
        simulator_with(2, |config| config.faults = vec![Rule::new(exhausted()).on_key(secret(0))]).await;
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = Options::new(&simulator.url(), 2).start_in(folder.path());
    for _ in 0..2 {
        assert_eq!(send(&gateway).await, 200);
    }
    gateway.signal("TERM");
    gateway.wait_for_end();
    let names = std::fs::read_dir(folder.path().join("data")).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["state.db", "usage.db"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panicking_store_actor_costs_no_request_and_no_record() {
    if !binary::has_doors("a_panicking_store_actor_costs_no_request_and_no_record") {
        return;
    }
    let simulator =
        simulator_with(4, |config| config.faults = vec![Rule::new(exhausted()).on_key(secret(0))]).await;
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(&simulator.url(), 4);
    let mut gateway = options.start_in(folder.path());
    let client = client();
    let mut running = JoinSet::new();
    for n in 0..200 {
        let sent = client.post(gateway.url(GENERATE)).body(prompt("x"));
        running.spawn(async move { sent.send().await.unwrap().status().as_u16() });
        if [20, 80, 140].contains(&n) {
            let panic = request("POST", "/debug/panic/store", &[], "");
            assert_eq!(exchange(gateway.authority(), panic).await.status, 202);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    while let Some(status) = running.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    store_becomes(&gateway, "up").await;
    assert_eq!(ready(&gateway).await.1["components"]["store"]["restarts"], 3);
    let called = calls(&simulator, 0);
    gateway.signal("TERM");
    gateway.wait_for_end();
    let gateway = options.start_in(folder.path());
    for _ in 0..8 {
        assert_eq!(send(&gateway).await, 200);
    }
    assert_eq!(calls(&simulator, 0), called, "the cooldown is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_gateway_on_one_file_says_so_and_takes_it_over_when_the_first_has_ended() {
    let simulator = simulator(2).await;
    let folder = tempfile::tempdir().unwrap();
    let others = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let path = folder.path().join("data/state.db");
    std::os::unix::fs::symlink(folder.path().join("data"), others[1].path().join("link")).unwrap();
    for (other, signal, name) in
        [(&others[0], "TERM", path.clone()), (&others[1], "KILL", others[1].path().join("link/state.db"))]
    {
        let mut first = Options::new(&simulator.url(), 2).set("store.path", path.display()).start();
        let second =
            Options::new(&simulator.url(), 2).set("store.path", name.display()).start_in(other.path());
        let reason = store_becomes(&second, "degraded").await;
        assert!(reason.contains("state.db is in use by another gateway"), "{reason}");
        assert!(reason.contains(&format!("process {} on ", first.pid())), "{reason}");
        assert_eq!((send(&first).await, send(&second).await), (200, 200));
        assert_eq!(store_becomes(&first, "up").await, "");
        first.signal(signal);
        first.wait_for_end();
        store_becomes(&second, "up").await;
        assert_eq!(send(&second).await, 200);
    }
}
