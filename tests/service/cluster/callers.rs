//! What a client's token may do on all gateways together: its limits and budgets, and tokens that are made on one of them.

use super::Gateways;
use crate::support::{Options, free_port, prompt, simulator, simulator_with, stranger};
use gemini_balance_cluster::conformance::RedisServer;
use gemini_simulator::Simulator;
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

const LIMIT: &str = "x-gemini-balance-limit";

/// How a request ended: its status, the limit that was reached, and in how many seconds to come back.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) status: u16,
    limit: Option<String>,
    retry_after_s: Option<u64>,
}

impl Asked {
    pub(super) fn is_refused_by(&self, limit: &str) -> bool {
        self.status == 429 && self.limit.as_deref() == Some(limit)
    }
}

impl Gateways {
    /// One request of a caller at one of them.
    pub(super) async fn ask_as(&self, n: usize, name: &str) -> Asked {
        let secret = format!("{name}-secret-0123456789");
        self.ask_with(n, &secret).await
    }

    pub(super) async fn ask_with(&self, n: usize, token: &str) -> Asked {
        let request = stranger().post(self.gateway(n).url(super::MODEL)).header("x-goog-api-key", token);
        let response = request.body(prompt("x")).send().await.unwrap();
        let header = |name: &str| Some(response.headers().get(name)?.to_str().unwrap().to_owned());
        let asked = Asked {
            status: response.status().as_u16(),
            limit: header(LIMIT),
            retry_after_s: header("retry-after").map(|seconds| seconds.parse().unwrap()),
        };
        response.bytes().await.unwrap();
        asked
    }

    /// What is used of a caller's first limit, as one of them knows it.
    pub(super) async fn used(&self, n: usize, name: &str) -> Value {
        let secret = format!("{name}-secret-0123456789");
        let request = stranger().get(self.gateway(n).url("/me")).header("x-goog-api-key", secret);
        let me: Value =
            serde_json::from_slice(&request.send().await.unwrap().bytes().await.unwrap()).unwrap();
        me["use"]["limits"][0]["used"].clone()
    }
}

pub(super) fn entry(name: &str, limits: &str) -> String {
    format!("{{name=\"{name}\",secret=\"{name}-secret-0123456789\",{limits}}},")
}

pub(super) async fn three(simulator: &Simulator, tokens: &[String]) -> Gateways {
    let tokens = format!("[{}]", tokens.concat());
    Gateways::start_with(simulator, 3, 3, |options| options.without_token().set("auth.tokens", &tokens)).await
}

/// Puts another Redis in the place of the one that is there.
pub(super) fn without_redis(gateways: Gateways) -> (Gateways, u16) {
    let port = gateways.redis.port();
    let Gateways { redis, all } = gateways;
    drop(redis);
    (Gateways { redis: RedisServer::start_on(free_port(), &[]), all }, port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_requests_a_minute_are_ten_on_three_gateways_together() {
    let simulator = simulator(3).await;
    let gateways = three(&simulator, &[entry("alice", "rpm=10"), entry("bob", "rpm=10")]).await;
    // All at once, and at each of them more than it may have alone.
    let rush = async |name: &str| {
        let all = (0..45).map(|n| gateways.ask_as(n % 3, name));
        futures_util::future::join_all(all).await
    };
    let asked = rush("alice").await;
    let served = asked.iter().filter(|asked| asked.status == 200).count();
    assert_eq!(served, 10, "{asked:?}");
    assert!(asked.iter().all(|asked| asked.status == 200 || asked.is_refused_by("rpm")), "{asked:?}");
    for n in 0..3 {
        let asked = gateways.ask_as(n, "alice").await;
        assert!(asked.is_refused_by("rpm"), "{asked:?}");
        assert!((50..=63).contains(&asked.retry_after_s.unwrap()), "{asked:?}");
    }
    // One who calls on another's heels has a minute of his own, and one after the other it is ten as well.
    let mut served = 0;
    for n in 0..30 {
        served += usize::from(gateways.ask_as(n % 3, "bob").await.status == 200);
    }
    assert_eq!(served, 10);
    assert_eq!(simulator.requests().len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_is_spent_on_one_gateway_is_refused_by_the_others_within_a_second() {
    // The first request fits into each budget, and uses it up.
    let simulator = simulator_with(3, |config| config.shape.text_bytes = 400).await;
    let tokens = [
        entry("day", "budget={tokens_day=20}"),
        entry("month", "budget={tokens_month=20}"),
        entry("money", "budget={money_month=0.000006}"),
        entry("rpd", "rpd=1"),
        entry("tpm", "tpm=2"),
        entry("rich", "budget={tokens_month=10000000}"),
    ];
    let gateways = three(&simulator, &tokens).await;
    let limits = [
        ("day", "tokens_day"),
        ("month", "tokens_month"),
        ("money", "money_month"),
        ("rpd", "rpd"),
        ("tpm", "tpm"),
    ];
    for (name, limit) in limits {
        // Two have heard of the caller before, and one has not.
        assert!([json!(0), json!(0.0)].contains(&gateways.used(1, name).await), "{name}");
        assert_eq!(gateways.ask_as(0, name).await.status, 200, "{name}");
        let since = Instant::now();
        while !gateways.ask_as(1, name).await.is_refused_by(limit) {
            assert!(since.elapsed() < Duration::from_secs(1), "{name}");
        }
        assert!(gateways.ask_as(2, name).await.is_refused_by(limit), "{name}");
    }
    for n in [0, 1, 2, 0] {
        assert_eq!(gateways.ask_as(n, "rich").await.status, 200, "what others spend is not held against it");
    }
    let used = gateways.used(0, "rich").await;
    assert!(used.as_u64() > Some(0), "{used}");
    gateways
        .until("all count the same", async |it| {
            it.ask_as(1, "day").await;
            it.used(1, "rich").await == it.used(2, "rich").await
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_each_goes_by_what_it_knows_and_afterwards_all_count_together_again() {
    let simulator = simulator(3).await;
    let tokens = [entry("spent", "rpd=3"), entry("free", "rpd=1000"), entry("new", "rpd=2")];
    let gateways = three(&simulator, &tokens).await;
    for n in 0..3 {
        assert_eq!(gateways.ask_as(n, "spent").await.status, 200);
    }
    for n in 0..3 {
        assert!(gateways.ask_as(n, "spent").await.is_refused_by("rpd"));
    }
    let (gateways, port) = without_redis(gateways);
    let mut slowest = Duration::ZERO;
    for round in 0..20 {
        for n in 0..3 {
            let since = Instant::now();
            assert_eq!(gateways.ask_as(n, "free").await.status, 200);
            if round > 0 {
                slowest = slowest.max(since.elapsed());
            }
            assert!(since.elapsed() < Duration::from_secs(1));
            assert!(gateways.ask_as(n, "spent").await.is_refused_by("rpd"), "it knows that much");
        }
    }
    // One that has not been there before is judged by each alone.
    assert_eq!(gateways.ask_as(0, "new").await.status, 200);
    assert_eq!(gateways.ask_as(1, "new").await.status, 200);
    assert_eq!(gateways.ask_as(0, "new").await.status, 200);
    assert!(gateways.ask_as(0, "new").await.is_refused_by("rpd"));
    // It comes back and has forgotten everything: all tell what they know.
    let gateways = Gateways { redis: RedisServer::start_on(port, &[]), ..gateways };
    let took = gateways
        .until("all have told", async |it| {
            let mut used = Vec::new();
            for n in 0..3 {
                it.ask_as(n, "spent").await;
                used.push([it.used(n, "spent").await, it.used(n, "new").await]);
            }
            used.iter().all(|used| *used == [json!(3), json!(3)])
        })
        .await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(gateways.ask_as(2, "new").await.is_refused_by("rpd"), "what was spent alone counts for all");
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_waits_for_a_redis_that_hangs_longer_than_a_moment() {
    let simulator = simulator(3).await;
    let gateways = three(&simulator, &[entry("alice", "rpm=1000"), entry("free", "models=[\"*\"]")]).await;
    let took = async |name: &str| {
        let since = Instant::now();
        assert_eq!(gateways.ask_as(0, name).await.status, 200);
        since.elapsed()
    };
    took("alice").await;
    took("free").await;
    let signal = |name: &str| {
        let pid = gateways.redis.pid().to_string();
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    signal("-STOP");
    let mut waited = Vec::new();
    for _ in 0..100 {
        waited.push(took("alice").await);
    }
    signal("-CONT");
    // At most two look at the same time: one at the door, one before the lease.
    let slow = waited.iter().filter(|took| **took > Duration::from_millis(90)).count();
    assert!(slow <= 10, "{slow} of 100 have waited: {waited:?}");
    assert!(waited.iter().all(|took| *took < Duration::from_secs(1)), "{waited:?}");
    gateways.until("it has joined again", async |it| it.cluster(0).await["alone"].is_null()).await;
    took("alice").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gateway_that_is_killed_has_let_in_counts_on() {
    let simulator = simulator(3).await;
    let tokens = [entry("alice", "rpm=4"), entry("bob", "rpd=4")];
    let mut gateways = three(&simulator, &tokens).await;
    for name in ["alice", "bob"] {
        for _ in 0..3 {
            assert_eq!(gateways.ask_as(2, name).await.status, 200);
        }
    }
    // What was let in untold is told within a quarter of a second; of limits as small as these nothing is let in untold.
    let (options, mut killed) = gateways.all.pop().unwrap();
    let folder = tempfile::tempdir().unwrap();
    copy(&killed.folder(), folder.path());
    killed.signal("KILL");
    killed.wait_for_end();
    for name in ["alice", "bob"] {
        assert_eq!(gateways.ask_as(0, name).await.status, 200, "{name}");
        for n in [0, 1] {
            assert_eq!(gateways.ask_as(n, name).await.status, 429, "{name} at {n}");
        }
    }
    // Its next life, with what it had written, counts nothing twice and forgives nothing.
    let next = options.start_in(folder.path());
    gateways.all.push((options, next));
    gateways
        .until("it has joined", async |it| {
            it.cluster(2).await["alone"].is_null() && it.used(2, "bob").await == 4
        })
        .await;
    assert!(gateways.ask_as(2, "bob").await.is_refused_by("rpd"));
    assert_eq!(gateways.used(2, "bob").await, 4);
    assert_eq!(gateways.used(0, "bob").await, 4);
}

/// Copies a folder with the files in it.
pub(super) fn copy(from: &std::path::Path, to: &std::path::Path) {
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let place = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&place).unwrap();
            copy(&file.path(), &place);
        } else {
            std::fs::copy(file.path(), place).unwrap();
        }
    }
}

/// What a server answers to one command.
pub(super) fn redis_says(server: &RedisServer, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    write!(stream, "{command}\r\nQUIT\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_token_without_limits_the_others_are_told_nothing() {
    let simulator = simulator(3).await;
    let tokens = [entry("free", "models=[\"*\"]"), entry("few", "concurrent=5"), entry("limited", "rpm=50")];
    let gateways = three(&simulator, &tokens).await;
    for n in 0..30 {
        assert_eq!(gateways.ask_as(n % 3, ["free", "few", "limited"][n / 3 % 3]).await.status, 200);
    }
    gateways.until("all count the same", async |it| it.used(1, "limited").await == 9).await;
    let keys = |name: &str| redis_says(&gateways.redis, &format!("KEYS *{name}*"));
    assert!(keys("limited").contains("gb1:t:{limited}:b"), "{}", keys("limited"));
    for name in ["free", "few"] {
        assert!(keys(name).starts_with("*0\r\n"), "{}", keys(name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_said_over_how_many_gateways_a_figure_counts() {
    let simulator = simulator(3).await;
    let tokens =
        [entry("alice", "rpm=50,concurrent=9"), entry("day", "rpd=50"), entry("free", "models=[\"*\"]")];
    let gateways = three(&simulator, &tokens).await;
    for name in ["alice", "day", "free"] {
        for n in 0..3 {
            assert_eq!(gateways.ask_as(n, name).await.status, 200, "{name}");
        }
    }
    // What is limited and of which limits in order, then its day and its month.
    let figures = async |it: &Gateways, n: usize, name: &str| {
        let answer = it.ask(n, "/api/tokens").await;
        let tokens = answer["tokens"].as_array().unwrap();
        let used = tokens.iter().find(|token| token["name"] == name).unwrap()["use"].clone();
        let limits = used["limits"].as_array().unwrap().iter().map(|limit| limit["gateways"].clone());
        json!([limits.collect::<Vec<_>>(), used["day"]["gateways"], used["month"]["gateways"]])
    };
    for n in 0..3 {
        gateways
            .until("all count together", async |it| {
                it.ask(n, "/api/tokens").await["gateways"] == json!({"counted": 3, "alone": null})
            })
            .await;
        assert_eq!(figures(&gateways, n, "alice").await, json!([[3, 1], 1, 1]));
        assert_eq!(figures(&gateways, n, "day").await, json!([[3], 3, 1]));
        assert_eq!(figures(&gateways, n, "free").await, json!([[], 1, 1]), "nobody is told of it");
    }
    let (status, text) = gateways.command(1, &["tokens"]);
    assert!(status == 0 && text.ends_with("limits count over 3 gateways\n"), "{status} {text}");
    let (gateways, _) = without_redis(gateways);
    gateways
        .until("it counts alone", async |it| it.ask(1, "/api/tokens").await["gateways"]["counted"] == 1)
        .await;
    let alone = gateways.ask(1, "/api/tokens").await["gateways"]["alone"].clone();
    assert!(alone.as_str().unwrap().contains("Redis"), "{alone}");
    assert_eq!(figures(&gateways, 1, "alice").await, json!([[1, 1], 1, 1]));
    let (status, text) = gateways.command(1, &["tokens"]);
    assert!(status == 0 && text.contains("limits count on this gateway alone"), "{status} {text}");
}

/// Three gateways with one instance key, and tokens that are made while they run.
async fn three_of_one_key(simulator: &Simulator, folder: &std::path::Path) -> Gateways {
    let file = folder.join("instance.key");
    std::fs::write(&file, [7_u8; 32]).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    Gateways::start_with(simulator, 3, 3, |options| {
        options.without_token().set("store.instance_key_file", format!("\"{}\"", file.display()))
    })
    .await
}

/// Makes a token on one of them.
fn made(gateways: &Gateways, n: usize, arguments: &[&str]) -> (String, String) {
    let (status, text) = gateways.command(n, &[&["tokens"], arguments].concat());
    assert_eq!(status, 0, "{text}");
    let (token, reach) = text.trim().split_once('\n').unwrap();
    assert!(token.starts_with("gbt_"), "{text}");
    (token.to_owned(), reach.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_made_on_one_gateway_is_let_in_limited_and_removed_on_all() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator(3).await;
    let gateways = three_of_one_key(&simulator, folder.path()).await;
    let (token, reach) = made(&gateways, 0, &["add", "alice", "--rpm", "4"]);
    assert_eq!(reach, "made on 3 of 3 gateways");
    let all = async |token: &str| {
        let mut statuses = Vec::new();
        for n in 0..3 {
            statuses.push(gateways.ask_with(n, token).await.status);
        }
        statuses
    };
    assert_eq!(all(&token).await, [200, 200, 200]);
    assert_eq!(all(&token).await, [200, 429, 429], "its limit holds over all of them");
    let word = |n: usize, arguments: &[&str]| gateways.command(n, &[&["tokens"], arguments].concat());
    assert_eq!(word(1, &["disable", "alice"]), (0, "disabled on 3 of 3 gateways\n".to_owned()));
    assert_eq!(all(&token).await, [401, 401, 401]);
    assert_eq!(word(2, &["enable", "alice"]), (0, "enabled on 3 of 3 gateways\n".to_owned()));
    assert_eq!(all(&token).await, [429, 429, 429], "what it has used is not forgotten");
    let (next, reach) = made(&gateways, 2, &["rotate", "alice", "--grace", "0s"]);
    assert_eq!(reach, "rotated on 3 of 3 gateways");
    assert_eq!((all(&token).await, all(&next).await), (vec![401; 3], vec![429; 3]));
    assert_eq!(word(0, &["remove", "alice"]), (0, "removed on 3 of 3 gateways\n".to_owned()));
    assert_eq!(all(&next).await, [401, 401, 401]);
    assert!(!redis_says(&gateways.redis, "HGETALL gb1:{c}:rec").contains(&token[4..]), "no secret is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_of_tokens_without_redis_holds_on_all_once_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator(3).await;
    let gateways = three_of_one_key(&simulator, folder.path()).await;
    let (gone, _) = made(&gateways, 0, &["add", "gone"]);
    let (gateways, port) = without_redis(gateways);
    for n in 0..3 {
        gateways
            .until("it knows that it is alone", async |it| it.cluster(n).await["alone"].is_string())
            .await;
    }
    let (status, text) = gateways.command(1, &["tokens", "remove", "gone"]);
    assert!(status == 2 && text.starts_with("removed here alone; the other gateways hear of it"), "{text}");
    let (status, text) = gateways.command(2, &["tokens", "add", "new"]);
    assert_eq!(status, 2, "{text}");
    let new = text.lines().next().unwrap().to_owned();
    let statuses = async |it: &Gateways| {
        let mut statuses = Vec::new();
        for n in 0..3 {
            statuses.push((it.ask_with(n, &gone).await.status, it.ask_with(n, &new).await.status));
        }
        statuses
    };
    assert_eq!(statuses(&gateways).await, [(200, 401), (401, 401), (200, 200)]);
    let gateways = Gateways { redis: RedisServer::start_on(port, &[]), ..gateways };
    // Strangers are not asked so often: who guesses is told to wait.
    let names = async |it: &Gateways, n: usize| {
        let tokens = it.ask(n, "/api/tokens").await;
        let names = tokens["tokens"].as_array().unwrap().iter().map(|token| token["name"].clone());
        names.collect::<Vec<_>>()
    };
    let took = gateways
        .until("all know both", async |it| {
            names(it, 0).await == ["new"] && names(it, 1).await == ["new"] && names(it, 2).await == ["new"]
        })
        .await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(statuses(&gateways).await, [(401, 200); 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_another_instance_key_is_named() {
    let simulator = simulator(2).await;
    let gateways = Gateways::start_with(&simulator, 2, 2, Options::without_token).await;
    // Each has made one of its own.
    let (status, text) = gateways.command(0, &["tokens", "add", "alice"]);
    assert_eq!(status, 2, "{text}");
    assert!(text.ends_with("made on 1 of 2 gateways; gw-2 has not answered\n"), "{text}");
    let (status, text) = gateways.command(0, &["cluster"]);
    assert!(status == 2 && text.contains("differ in instance_key"), "{text}");
}
