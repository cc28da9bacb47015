//! What may happen to a cluster: the rows of the table in `docs/cluster.md`, each with traffic on all gateways while it happens.
//! No request fails for any of it.

use super::{Gateways, MODEL, callers::redis_says};
use crate::support::{Options, client, exhausted, fingerprint, free_port, prompt, secret, simulator};
use gemini_balance_cluster::conformance::RedisServer;
use gemini_simulator::{Rule, Simulator};
use std::{
    cell::Cell,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

/// Requests on some gateways, one after the other on each, until it is ended.
pub(super) struct Traffic {
    goes_on: Arc<AtomicBool>,
    tasks: JoinSet<(usize, Vec<u16>, Duration)>,
}

impl Traffic {
    pub(super) fn on(gateways: &Gateways, which: &[usize]) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let mut tasks = JoinSet::new();
        for n in which {
            let (url, goes_on, client) = (gateways.gateway(*n).url(MODEL), Arc::clone(&goes_on), client());
            tasks.spawn(async move {
                let (mut well, mut failed, mut longest) = (0, Vec::new(), Duration::ZERO);
                while goes_on.load(Ordering::Relaxed) {
                    let since = Instant::now();
                    let status = client.post(&url).body(prompt("x")).send().await.unwrap().status().as_u16();
                    longest = longest.max(since.elapsed());
                    if status == 200 {
                        well += 1;
                    } else {
                        failed.push(status);
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                (well, failed, longest)
            });
        }
        Self { goes_on, tasks }
    }

    /// How many were answered, and how long the slowest took; all of them well.
    pub(super) async fn end(mut self) -> (usize, Duration) {
        self.goes_on.store(false, Ordering::Relaxed);
        let (mut all, mut longest) = (0, Duration::ZERO);
        while let Some(ended) = self.tasks.join_next().await {
            let (well, failed, slowest) = ended.unwrap();
            assert_eq!(failed, Vec::<u16>::new(), "beside {well} that went well");
            all += well;
            longest = longest.max(slowest);
        }
        (all, longest)
    }
}

impl Gateways {
    pub(super) async fn is_alone(&self, n: usize) -> bool {
        self.cluster(n).await["alone"].is_string()
    }

    pub(super) async fn until_all_are_together(&self, which: &[usize]) -> Duration {
        self.until("they are together", async |it| {
            for n in which {
                if it.is_alone(*n).await {
                    return false;
                }
            }
            true
        })
        .await
    }
}

const LIMITS: &str = "[{rpm=100000,rpd=1000000}]";

pub(super) async fn three(simulator: &Simulator) -> Gateways {
    Gateways::start_with(simulator, 3, 3, |options| options.set("limits", LIMITS)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_is_left_alone_and_taken_up_again() {
    let simulator = simulator(3).await;
    let gateways = three(&simulator).await;
    let traffic = Traffic::on(&gateways, &[0, 1, 2]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    signal(gateways.redis.pid(), "STOP");
    gateways
        .until("they know", async |it| it.is_alone(0).await && it.is_alone(1).await && it.is_alone(2).await)
        .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let connections = gateways.open_connections();
    signal(gateways.redis.pid(), "CONT");
    let took = gateways.until_all_are_together(&[0, 1, 2]).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    let (count, longest) = traffic.end().await;
    assert!(count > 100 && longest < Duration::from_secs(2), "{count}, {longest:?}");
    assert!(connections < 30, "{connections} connections to a Redis that does not answer");
}

impl Gateways {
    /// How many connections to Redis are open on this side of it.
    fn open_connections(&self) -> usize {
        let port = format!(":{:04X}", self.redis.port());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        // What this side has closed is in another state, until the other answers.
        let is_open = |words: &[&str]| words[2].ends_with(&port) && words[3] == "01";
        table.lines().skip(1).filter(|line| is_open(&line.split_whitespace().collect::<Vec<_>>())).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_killed_is_missed_and_the_others_serve_on() {
    let simulator = simulator(3).await;
    let mut gateways = three(&simulator).await;
    let warm = Traffic::on(&gateways, &[0, 1, 2]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    warm.end().await;
    let traffic = Traffic::on(&gateways, &[0, 1]);
    let (_, mut killed) = gateways.all.remove(2);
    killed.signal("KILL");
    killed.wait_for_end();
    let gone = async |it: &Gateways| {
        let view = it.cluster(0).await;
        let gateways = view["gateways"].as_array().unwrap().clone();
        gateways.iter().all(|it| it["name"] != "gw-3" || it["there"] == false)
    };
    let took = gateways.until("it is missed", gone).await;
    assert!(took < Duration::from_secs(7), "{took:?}");
    assert_eq!(gateways.command(0, &["cluster"]).0, 2, "not all are there");
    let (count, longest) = traffic.end().await;
    assert!(count > 100 && longest < Duration::from_secs(2), "{count}, {longest:?}");
    assert_eq!(simulator.stats().by_status.get(&429), None);
    gateways
        .until("it is forgotten", async |it| it.cluster(0).await["gateways"].as_array().unwrap().len() == 2)
        .await;
    assert_eq!(gateways.command(0, &["cluster"]).0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_stood_still_undoes_nothing() {
    let simulator = simulator(3).await;
    let gateways = three(&simulator).await;
    simulator.set_faults([Rule::new(exhausted()).on_key(secret(0))]);
    let cools = async |it: &Gateways, n: usize| it.key(n, 0).await["models"][0]["state"] == "cooling";
    gateways
        .until("the third has met it", async |it| {
            it.send(2).await;
            cools(it, 0).await && cools(it, 1).await && cools(it, 2).await
        })
        .await;
    gateways.gateway(2).signal("STOP");
    simulator.set_faults([]);
    // The operator knows better.
    let (status, text) = gateways.command(0, &["keys", "reset", &fingerprint(0)]);
    assert_eq!(status, 2, "{text}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    gateways.gateway(2).signal("CONT");
    gateways.until("it has heard of it", async |it| !cools(it, 2).await).await;
    for n in 0..2 {
        assert!(!cools(&gateways, n).await, "what it knew before has come back to {n}");
    }
}

/// A way to Redis that can be cut.
struct Way {
    port: u16,
    is_open: Arc<AtomicBool>,
    carries: JoinHandle<()>,
}

impl Way {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let is_open = Arc::new(AtomicBool::new(true));
        let open = Arc::clone(&is_open);
        let carries = tokio::spawn(async move {
            let mut carried = JoinSet::new();
            while let Ok((mut here, _)) = listener.accept().await {
                let open = Arc::clone(&open);
                carried.spawn(async move {
                    if !open.load(Ordering::Relaxed) {
                        return;
                    }
                    let Ok(mut there) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let cut = async {
                        while open.load(Ordering::Relaxed) {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    };
                    tokio::select! { _ = copy_bidirectional(&mut here, &mut there) => {}, () = cut => {} }
                });
            }
        });
        Self { port: own, is_open, carries }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.carries.abort();
    }
}

/// Has all bytes wait for so long on each way.
async fn delayed(port: u16, by: Duration) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let carries = tokio::spawn(async move {
        let mut carried = JoinSet::new();
        while let Ok((here, _)) = listener.accept().await {
            carried.spawn(async move {
                let Ok(there) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                let ((mut from_here, mut to_here), (mut from_there, mut to_there)) =
                    (here.into_split(), there.into_split());
                tokio::select! {
                    () = carry(&mut from_here, &mut to_there, by) => {}
                    () = carry(&mut from_there, &mut to_here, by) => {}
                }
            });
        }
    });
    (own, carries)
}

async fn carry(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin), by: Duration) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        tokio::time::sleep(by).await;
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_slow_counts_as_away_and_one_that_is_a_little_slow_does_not() {
    let simulator = simulator(3).await;
    for (ms, is_alone) in [(20, false), (200, true)] {
        let redis = RedisServer::start(&[]);
        let (port, way) = delayed(redis.port(), Duration::from_millis(ms) / 2).await;
        let options = Options::new(&simulator.url(), 3)
            .env("ADMIN_TOKEN", super::ADMIN)
            .set("admin.port", free_port())
            .set("limits", LIMITS)
            .set("cluster.url", format!("redis://127.0.0.1:{port}"));
        let gateway = options.start();
        let gateways = Gateways { redis, all: vec![(options, gateway)] };
        let traffic = Traffic::on(&gateways, &[0]);
        tokio::time::sleep(Duration::from_secs(3)).await;
        // A busy machine may hold up a call for longer than its way takes: it then is alone for a moment.
        let settled = format!("{ms} ms a call: alone is {is_alone}");
        gateways.until(&settled, async |it| it.is_alone(0).await == is_alone).await;
        let (count, longest) = traffic.end().await;
        // One draw at a time may be waited for; nothing else is.
        assert!(count > 30 && longest < Duration::from_secs(2), "{count}, {longest:?}");
        way.abort();
    }
}

/// One gateway of three is cut off from Redis, for as long as what is said meanwhile takes, and no shorter than this.
async fn cut_off(at_least: Duration) {
    let simulator = simulator(3).await;
    let mut gateways = three(&simulator).await;
    let way = Way::to(gateways.redis.port()).await;
    gateways.all.pop();
    let options = Options::new(&simulator.url(), 3)
        .env("ADMIN_TOKEN", super::ADMIN)
        .set("admin.port", free_port())
        .set("limits", LIMITS)
        .set("cluster.url", format!("redis://127.0.0.1:{}", way.port))
        .set("cluster.node", "far");
    let gateway = options.start();
    gateways.all.push((options, gateway));
    gateways.until_all_are_together(&[2]).await;
    let traffic = Traffic::on(&gateways, &[0, 1, 2]);
    way.is_open.store(false, Ordering::Relaxed);
    let since = Instant::now();
    gateways.until("it knows", async |it| it.is_alone(2).await).await;
    // More is told meanwhile than is kept in order.
    for _ in 0..20 {
        for verb in ["disable", "enable", "disable"] {
            let path = format!("/api/keys/{}/{verb}", fingerprint(0));
            let url = format!("http://127.0.0.1:{}{path}", gateways.all[0].0.setting("admin.port"));
            let said = client().post(url).bearer_auth(super::ADMIN).header("x-goog-api-key", "");
            assert_eq!(said.send().await.unwrap().status(), 200);
        }
    }
    // And one of its own.
    let (status, text) = gateways.command(2, &["keys", "disable", &fingerprint(1)]);
    assert!(status == 2 && text.starts_with("disabled here alone"), "{status} {text}");
    assert_eq!(gateways.key(0, 1).await["state"], "available");
    assert_eq!(gateways.key(2, 0).await["state"], "available");
    let trimmed = redis_says(&gateways.redis, "XTRIM gb1:{c}:facts MAXLEN 1");
    assert!(trimmed.strip_prefix(':').is_some_and(|count| !count.starts_with('0')), "{trimmed}");
    tokio::time::sleep(at_least.saturating_sub(since.elapsed())).await;
    assert!(gateways.is_alone(2).await);
    way.is_open.store(true, Ordering::Relaxed);
    let took = gateways
        .until("all agree", async |it| {
            for n in 0..3 {
                if it.key(n, 0).await["state"] != "disabled" || it.key(n, 1).await["state"] != "disabled" {
                    return false;
                }
            }
            true
        })
        .await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    let (count, longest) = traffic.end().await;
    eprintln!("all agree {took:.1?} after its return; {count} requests, the slowest took {longest:.1?}");
    assert!(count > 100 && longest < Duration::from_secs(2), "{count}, {longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_cut_off_goes_on_and_hears_all_when_it_is_back() {
    cut_off(Duration::ZERO).await;
}

#[ignore = "a minute and more: docs/reliability.md has the command"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_cut_off_for_a_minute_goes_on_and_hears_all_when_it_is_back() {
    cut_off(Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_does_not_let_in_or_has_no_room_is_told_in_one_line_and_costs_nothing() {
    let simulator = simulator(2).await;
    for (options, url, told) in [
        (
            vec!["--requirepass", "CANARY-password"],
            "redis://:CANARY-wrong@127.0.0.1",
            "cluster.password_file",
        ),
        (
            vec!["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"],
            "redis://127.0.0.1",
            "no memory left",
        ),
        (vec!["--replicaof", "127.0.0.1", "9"], "redis://127.0.0.1", "replica"),
    ] {
        let redis = RedisServer::start(&options);
        let options = Options::new(&simulator.url(), 2)
            .env("ADMIN_TOKEN", super::ADMIN)
            .set("admin.port", free_port())
            .set("cluster.url", format!("{url}:{}", redis.port()));
        let (status, text) = options.clone().args(&["check"]).run();
        assert!(
            !status.success() && text.contains("cluster: NOT WELL") && text.contains(told),
            "{told}: {text}"
        );
        let gateway = options.start();
        for _ in 0..5 {
            let answer = client().post(gateway.url(MODEL)).body(prompt("x")).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{told}");
        }
        tokio::time::sleep(Duration::from_millis(800)).await;
        let output = gateway.output();
        assert!(!output.contains("CANARY") && !text.contains("CANARY"), "a secret: {output}{text}");
        let lines = output.lines().filter(|line| line.contains("cluster is Degraded")).count();
        assert!(lines == 1 && output.contains(told), "{told}: {output}");
        let ready = client().get(gateway.url("/health/ready")).send().await.unwrap();
        assert_eq!(ready.status(), 200, "it serves");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_fails_nothing_and_nothing_is_forgotten() {
    let simulator = simulator(3).await;
    let (first, folder) = (RedisServer::start(&[]), tempfile::tempdir().unwrap());
    let port = first.port().to_string();
    let second = RedisServer::start(&["--replicaof", "127.0.0.1", &port]);
    let sentinels: Vec<RedisServer> = (0..3)
        .map(|n| {
            let config = folder.path().join(format!("sentinel-{n}.conf"));
            let text = format!(
                "sentinel monitor pool 127.0.0.1 {port} 2\nsentinel down-after-milliseconds pool 1000\n\
                 sentinel failover-timeout pool 5000\n"
            );
            std::fs::write(&config, text).unwrap();
            RedisServer::start(&[config.to_str().unwrap(), "--sentinel"])
        })
        .collect();
    let log = |n: usize| std::fs::read_to_string(sentinels[n].folder().join("log")).unwrap();
    let since = Instant::now();
    while (0..3).any(|n| !log(n).contains("+slave") || log(n).matches("+sentinel").count() < 2) {
        assert!(since.elapsed() < Duration::from_secs(30), "{}", log(0));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let hosts: Vec<_> = sentinels.iter().map(|it| format!("127.0.0.1:{}", it.port())).collect();
    let url = format!("redis+sentinel://{}/pool", hosts.join(","));
    let start = |n: usize| {
        let options = Options::new(&simulator.url(), 3)
            .env("ADMIN_TOKEN", super::ADMIN)
            .set("admin.port", free_port())
            .set("limits", LIMITS)
            .set("cluster.url", &url)
            .set("cluster.node", format!("gw-{n}"));
        let gateway = options.start();
        (options, gateway)
    };
    let gateways = Gateways { redis: second, all: (1..=3).map(start).collect() };
    gateways.until_all_are_together(&[0, 1, 2]).await;
    gateways
        .until("all are seen", async |it| it.cluster(0).await["gateways"].as_array().unwrap().len() == 3)
        .await;
    assert_eq!(gateways.command(1, &["keys", "disable", &fingerprint(0)]).0, 0);
    let traffic = Traffic::on(&gateways, &[0, 1, 2]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(first);
    // Each for itself: the first may be back before the last has noticed.
    let knows = [const { Cell::new(false) }; 3];
    gateways
        .until("they know", async |it| {
            for (n, knows) in knows.iter().enumerate() {
                knows.set(knows.get() || it.is_alone(n).await);
            }
            knows.iter().all(Cell::get)
        })
        .await;
    let took = gateways.until_all_are_together(&[0, 1, 2]).await;
    let (count, longest) = traffic.end().await;
    assert!(count > 100 && longest < Duration::from_secs(2), "{count}, {longest:?}");
    assert!(took < Duration::from_secs(8), "a second until it is missed, and the election: {took:?}");
    assert_eq!(
        gateways.command(0, &["keys", "enable", &fingerprint(0)]),
        (0, "enabled on 3 of 3 gateways\n".to_owned())
    );
}
