//! Several gateways, one pool: three processes, a real Redis, and what each knows of what the others have found out.

mod agreement;
mod callers;
mod faults;
mod former_lives;
mod ledger;
mod limits;
mod outages;
mod usage;

use crate::support::{
    Gateway, Options, client, exhausted, fingerprint, free_port, prompt, secret, simulator,
};
use gemini_balance_cluster::conformance::RedisServer;
use gemini_simulator::{Fault, KeyState, Rule, Simulator};
use serde_json::Value;
use std::time::{Duration, Instant};

const MODEL: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
/// Far more than it takes, on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(30);
const ADMIN: &str = "operator-token-5b1e";

/// Some gateways on one Redis.
struct Gateways {
    redis: RedisServer,
    all: Vec<(Options, Gateway)>,
}

impl Gateways {
    async fn start(simulator: &Simulator, keys: usize, count: usize) -> Self {
        Self::start_with(simulator, keys, count, |options| options).await
    }

    async fn start_with(
        simulator: &Simulator,
        keys: usize,
        count: usize,
        set: impl Fn(Options) -> Options,
    ) -> Self {
        let redis = RedisServer::start(&[]);
        let url = format!("redis://127.0.0.1:{}", redis.port());
        let start = |n: usize| {
            let options = Options::new(&simulator.url(), keys)
                .env("ADMIN_TOKEN", ADMIN)
                .set("admin.port", free_port())
                .set("cluster.url", &url)
                .set("cluster.node", format!("gw-{n}"));
            let options = set(options);
            let gateway = options.start();
            (options, gateway)
        };
        let gateways = Self { redis, all: (1..=count).map(start).collect() };
        for n in 0..count {
            let all_there = format!("gw-{n} sees all");
            gateways
                .until(&all_there, async |it| {
                    it.cluster(n).await["gateways"].as_array().map(Vec::len) == Some(count)
                })
                .await;
        }
        gateways
    }

    fn gateway(&self, n: usize) -> &Gateway {
        &self.all[n].1
    }

    async fn send(&self, n: usize) -> u16 {
        client().post(self.gateway(n).url(MODEL)).body(prompt("x")).send().await.unwrap().status().as_u16()
    }

    /// Runs a command on the machine of one of them: its exit status, and what it printed.
    fn command(&self, n: usize, arguments: &[&str]) -> (i32, String) {
        let (options, gateway) = &self.all[n];
        let output = options.command(&gateway.folder()).args(arguments).output().unwrap();
        let text =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(!text.contains("Canary") && !text.contains(ADMIN), "a secret: {text}");
        (output.status.code().unwrap(), text)
    }

    async fn ask(&self, n: usize, path: &str) -> Value {
        let (options, _) = &self.all[n];
        let port = options.setting("admin.port");
        let answer = client().get(format!("http://127.0.0.1:{port}{path}")).bearer_auth(ADMIN).send().await;
        serde_json::from_slice(&answer.unwrap().bytes().await.unwrap()).unwrap()
    }

    async fn cluster(&self, n: usize) -> Value {
        self.ask(n, "/api/cluster").await
    }

    /// How a key stands, as one of them sees it.
    async fn key(&self, n: usize, key: usize) -> Value {
        let keys = self.ask(n, "/keys").await;
        let keys = keys["keys"].as_array().unwrap().clone();
        keys.into_iter().find(|view| view["id"] == fingerprint(key)).unwrap()
    }

    /// Waits until it is so; returns how long that took.
    async fn until(&self, what: &str, is_so: impl AsyncFn(&Self) -> bool) -> Duration {
        let since = Instant::now();
        while !is_so(self).await {
            assert!(since.elapsed() < Duration::from_secs(10), "not within ten seconds: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        since.elapsed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gateway_finds_out_all_know() {
    let simulator = simulator(4).await;
    simulator.set_key_state(&secret(0), KeyState::Invalid);
    let gateways = Gateways::start(&simulator, 4, 3).await;
    // The first one meets the key that is none, and a project that is spent for an hour.
    simulator.set_faults([Rule::new(exhausted()).on_key(secret(1))]);
    gateways
        .until("the first has tried all keys", async |it| {
            it.send(0).await;
            it.key(0, 0).await["state"] == "retired" && it.key(0, 1).await["models"][0]["state"] == "cooling"
        })
        .await;
    for n in 1..3 {
        let took = gateways
            .until("the others know of it", async |it| {
                it.key(n, 0).await["state"] == "retired"
                    && it.key(n, 1).await["models"][0]["state"] == "cooling"
            })
            .await;
        assert!(took < Duration::from_secs(1), "within a second: {took:?}");
        let back_in = gateways.key(n, 1).await["models"][0]["back_in_ms"].as_u64().unwrap();
        // A second of jitter may be added.
        assert!((3_590_000..=3_601_500).contains(&back_in), "{back_in}");
    }
    let before = simulator.stats().by_key;
    for n in [1, 2, 1, 2, 1, 2] {
        assert_eq!(gateways.send(n).await, 200);
    }
    let after = simulator.stats().by_key;
    for key in [0, 1] {
        assert_eq!(before.get(&secret(key)), after.get(&secret(key)), "nobody tries it again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_word_is_done_on_all_gateways() {
    let simulator = simulator(2).await;
    let gateways = Gateways::start(&simulator, 2, 3).await;
    let key = fingerprint(0);
    assert_eq!(
        gateways.command(0, &["keys", "disable", &key]),
        (0, "disabled on 3 of 3 gateways\n".to_owned())
    );
    for n in 0..3 {
        assert_eq!(gateways.key(n, 0).await["state"], "disabled");
    }
    assert_eq!(
        gateways.command(2, &["keys", "enable", &key]),
        (0, "enabled on 3 of 3 gateways\n".to_owned())
    );
    for n in 0..3 {
        assert_eq!(gateways.key(n, 0).await["state"], "available");
    }
    let (status, text) = gateways.command(1, &["cluster"]);
    assert_eq!(status, 0, "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines.len() == 4 && lines[2].starts_with("gw-2 (this one)") && text.matches("agree").count() == 3,
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_nothing_fails_and_what_is_said_meanwhile_is_heard_when_it_is_back() {
    let simulator = simulator(3).await;
    let gateways = Gateways::start(&simulator, 3, 3).await;
    let (port, key) = (gateways.redis.port(), fingerprint(0));
    let Gateways { redis, all } = gateways;
    drop(redis);
    let gateways = Gateways { redis: RedisServer::start_on(free_port(), &[]), all };
    for n in [0, 1, 2] {
        for _ in 0..20 {
            assert_eq!(gateways.send(n).await, 200);
        }
        gateways
            .until("it knows that it is alone", async |it| it.cluster(n).await["alone"].is_string())
            .await;
    }
    let (status, text) = gateways.command(0, &["keys", "disable", &key]);
    assert_eq!(status, 2, "{text}");
    assert!(
        text.starts_with("disabled here alone; the other gateways hear of it when Redis is back"),
        "{text}"
    );
    assert_eq!(gateways.key(1, 0).await["state"], "available");
    let (status, text) = gateways.command(1, &["cluster"]);
    assert!(status == 2 && text.contains("alone for"), "{status} {text}");
    // It comes back and has forgotten everything.
    let gateways = Gateways { redis: RedisServer::start_on(port, &[]), ..gateways };
    let took = gateways
        .until("all have heard", async |it| {
            it.key(1, 0).await["state"] == "disabled" && it.key(2, 0).await["state"] == "disabled"
        })
        .await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(
        gateways.command(2, &["keys", "enable", &key]),
        (0, "enabled on 3 of 3 gateways\n".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_reset_and_a_retirement_without_redis_the_later_holds_on_all_once_it_is_back() {
    let simulator = simulator(3).await;
    let gateways = Gateways::start(&simulator, 3, 3).await;
    let port = gateways.redis.port();
    let Gateways { redis, all } = gateways;
    drop(redis);
    let gateways = Gateways { redis: RedisServer::start_on(free_port(), &[]), all };
    for n in 0..3 {
        gateways
            .until("it knows that it is alone", async |it| it.cluster(n).await["alone"].is_string())
            .await;
    }
    let retires = async |key: usize| {
        simulator.set_key_state(&secret(key), KeyState::Invalid);
        gateways
            .until("the second retires it", async |it| {
                it.send(1).await;
                it.key(1, key).await["state"] == "retired"
            })
            .await;
    };
    let resets = |key: usize| {
        let (status, text) = gateways.command(0, &["keys", "reset", &fingerprint(key)]);
        assert!(status == 2 && text.contains("here alone"), "{text}");
    };
    retires(0).await;
    resets(0);
    resets(1);
    retires(1).await;
    assert_eq!(gateways.key(0, 1).await["state"], "available", "the first knows of neither");
    let gateways = Gateways { redis: RedisServer::start_on(port, &[]), ..gateways };
    gateways
        .until("all agree", async |it| {
            let mut agree = true;
            for n in 0..3 {
                agree &= it.cluster(n).await["facts"]["untold"] == 0
                    && it.key(n, 0).await["state"] == "available"
                    && it.key(n, 1).await["state"] == "retired";
            }
            agree
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_stops_is_missed_and_one_that_ends_is_not() {
    let simulator = simulator(1).await;
    let mut gateways = Gateways::start(&simulator, 1, 3).await;
    gateways.gateway(2).signal("STOP");
    let (status, text) = gateways.command(0, &["keys", "disable", &fingerprint(0)]);
    gateways.gateway(2).signal("CONT");
    assert_eq!((status, text.as_str()), (2, "disabled on 2 of 3 gateways; gw-3 has not answered\n"));
    gateways
        .until("it hears of it when it is back", async |it| it.key(2, 0).await["state"] == "disabled")
        .await;
    let (_, mut leaving) = gateways.all.remove(2);
    leaving.signal("TERM");
    assert!(leaving.wait_for_end().success());
    let two = |it: &Value| it["gateways"].as_array().map(Vec::len) == Some(2);
    let took = gateways.until("it is listed no more", async |it| two(&it.cluster(0).await)).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// A 429 that asks for so many seconds.
fn asks_for(seconds: u64) -> Fault {
    let body = serde_json::json!({"error": {
        "code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s")}],
    }});
    Fault::Status { status: 429, headers: [].into(), body: Some(body) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gateway_probes_for_all() {
    let simulator = simulator(2).await;
    let gateways = Gateways::start(&simulator, 2, 3).await;
    simulator.set_faults([Rule::new(asks_for(2)).on_key(secret(0))]);
    let since = Instant::now();
    let mut sent = 0;
    while since.elapsed() < Duration::from_secs(8) {
        for n in 0..3 {
            assert_eq!(gateways.send(n).await, 200);
            sent += 1;
        }
    }
    // Each cooldown takes two to three seconds: of each the first one told, and one gateway found out how it ended.
    let tried = simulator.stats().by_key[&secret(0)];
    assert!((3..=5).contains(&tried), "{tried} times, with {sent} requests");
    // It is back, and all know it from the one that has tried.
    simulator.set_faults([]);
    let all_use_it = async |it: &Gateways| {
        for n in 0..3 {
            it.send(n).await;
        }
        for n in 0..3 {
            if it.key(n, 0).await["models"].as_array().is_some_and(|models| !models.is_empty()) {
                return false;
            }
        }
        true
    };
    gateways.until("all use it again", all_use_it).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_one_gateway_finds_down_is_left_alone_by_all() {
    let simulator = simulator(3).await;
    let gateways = Gateways::start(&simulator, 3, 3).await;
    let body = serde_json::json!({"error": {
        "code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "6s"}],
    }});
    let overloaded = Fault::Status { status: 503, headers: [].into(), body: Some(body) };
    simulator.set_faults([Rule::new(overloaded).on_model("gemini-2.5-flash")]);
    let back_in = async |it: &Gateways, n: usize| {
        let down = &it.ask(n, "/keys").await["models_down"][0];
        (down["model"] == "gemini-2.5-flash").then(|| down["back_in_ms"].as_u64().unwrap())
    };
    let is_down = async |it: &Gateways, n: usize| back_in(it, n).await.is_some_and(|back_in| back_in > 0);
    gateways
        .until("the first has given it up", async |it| {
            it.send(0).await;
            is_down(it, 0).await
        })
        .await;
    for n in [1, 2] {
        let took = gateways.until("the others have heard", async |it| is_down(it, n).await).await;
        assert!(took < Duration::from_secs(1), "within a second: {took:?}");
        assert!(back_in(&gateways, n).await.unwrap() <= 6_000);
    }
    let before = simulator.requests().len();
    for n in [1, 2].repeat(20) {
        assert_eq!(gateways.send(n).await, 503);
    }
    assert_eq!(simulator.requests().len(), before, "nobody asks for it again");
    // The first success of any of them opens it for all.
    simulator.set_faults([]);
    gateways.until("it is served", async |it| it.send(1).await == 200).await;
    for n in [0, 2] {
        let opened = gateways.until("the others use it", async |it| back_in(it, n).await.is_none()).await;
        assert!(opened < Duration::from_secs(1), "within a second: {opened:?}");
        assert_eq!(gateways.send(n).await, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gateway_asks_google_about_retired_keys_for_all() {
    let simulator = simulator(2).await;
    simulator.set_key_state(&secret(0), KeyState::Suspended);
    let gateways =
        Gateways::start_with(&simulator, 2, 3, |options| options.set("pool.check_retired_s", 1)).await;
    gateways
        .until("all know that it is retired", async |it| {
            it.send(1).await;
            it.key(0, 0).await["state"] == "retired" && it.key(2, 0).await["state"] == "retired"
        })
        .await;
    let before = simulator.stats().by_key[&secret(0)];
    tokio::time::sleep(Duration::from_secs(4)).await;
    let asked = simulator.stats().by_key[&secret(0)] - before;
    assert!((2..=6).contains(&asked), "{asked} times in four seconds, once a second and not by each");
    simulator.set_key_state(&secret(0), KeyState::Valid);
    gateways
        .until("all use it again", async |it| {
            it.key(0, 0).await["state"] == "available"
                && it.key(1, 0).await["state"] == "available"
                && it.key(2, 0).await["state"] == "available"
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_how_the_cluster_stands() {
    let simulator = simulator(1).await;
    let gateways = Gateways::start(&simulator, 1, 2).await;
    gateways.command(0, &["keys", "disable", &fingerprint(0)]);
    let port = gateways.all[0].0.setting("admin.port");
    let scrape = async || {
        let asked = client().get(format!("http://127.0.0.1:{port}/metrics")).bearer_auth(ADMIN);
        asked.send().await.unwrap().text().await.unwrap()
    };
    let figure_in = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("gemini_balance_cluster_{name} ")));
        line.unwrap_or_else(|| panic!("no {name}: {text}")).split(' ').nth(1).unwrap().parse::<f64>().unwrap()
    };
    let expected = [
        ("together", 1.0),
        ("gateways", 2.0),
        ("gateways_that_differ", 0.0),
        ("facts_untold", 0.0),
        ("lag_seconds", 0.0),
    ];
    // A call that a busy machine answers late has failed, and what it told is told again.
    let since = Instant::now();
    let text = loop {
        let text = scrape().await;
        let is_well = expected.iter().all(|(name, value)| (figure_in(&text, name) - value).abs() < 0.001);
        if is_well {
            break text;
        }
        assert!(since.elapsed() < PATIENCE, "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let figure = |name: &str| figure_in(&text, name);
    assert!(figure("calls_failed_total") < 10.0);
    assert!(figure("facts_total{way=\"told\"}") >= 1.0);
}
