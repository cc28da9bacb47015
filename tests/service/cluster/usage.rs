//! What all gateways have used, as each of them answers it: also of one that was killed, after Redis has lost everything, and
//! while it is away.

use super::{ADMIN, Gateways, callers::copy};
use crate::support::{client, fingerprint, free_port, prompt, secret, simulator, stranger};
use gemini_balance_cluster::conformance::RedisServer;
use gemini_simulator::{Rule, Simulator};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// Far more than it takes, on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: &str = "step=hour&from=-3h";

/// What one gateway answers: the sums by what was asked for, of how many gateways they are, and why they may be less.
#[derive(Clone, Debug, PartialEq)]
struct Answered {
    requests: BTreeMap<String, u64>,
    counted: u64,
    why: Option<String>,
}

fn sums(all: &[(&str, u64)]) -> BTreeMap<String, u64> {
    all.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

impl Gateways {
    async fn used_by(&self, n: usize, column: &str, span: &str) -> Answered {
        let body = self.ask(n, &format!("/api/usage?by={column}&{span}")).await;
        let mut requests = BTreeMap::new();
        for row in body["rows"].as_array().unwrap_or_else(|| panic!("{body}")) {
            let name = row[column].as_str().unwrap().to_owned();
            *requests.entry(name).or_default() += row["requests"].as_u64().unwrap();
        }
        let gateways = &body["gateways"];
        let why = gateways["why"].as_str().map(str::to_owned);
        assert_eq!(gateways["whole"], why.is_none(), "{gateways}");
        Answered { requests, counted: gateways["counted"].as_u64().unwrap(), why }
    }

    /// Waits until these gateways answer with these sums, and say that they are the whole, of so many gateways.
    async fn until_all_answer(
        &self,
        of: &[usize],
        column: &str,
        span: &str,
        expected: &BTreeMap<String, u64>,
        counted: u64,
    ) {
        let since = Instant::now();
        let whole = Answered { requests: expected.clone(), counted, why: None };
        for &n in of {
            loop {
                let answered = self.used_by(n, column, span).await;
                if answered == whole {
                    break;
                }
                assert!(since.elapsed() < PATIENCE, "{n}: {answered:?} and not {whole:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    async fn send_as(&self, n: usize, name: &str) {
        let secret = format!("{name}-secret-0123456789");
        let request = stranger().post(self.gateway(n).url(super::MODEL)).header("x-goog-api-key", secret);
        assert_eq!(request.body(prompt("x")).send().await.unwrap().status(), 200);
    }
}

async fn three(simulator: &Simulator) -> Gateways {
    let token = |name: &str| format!("{{name=\"{name}\",secret=\"{name}-secret-0123456789\"}}");
    let tokens = format!("[{},{}]", token("alice"), token("bob"));
    Gateways::start_with(simulator, 3, 3, |options| options.without_token().set("auth.tokens", &tokens)).await
}

/// Has Redis forget everything.
pub(super) fn forget_all(redis: &RedisServer) {
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    stream.write_all(b"FLUSHALL\r\n").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+OK\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_gateway_answers_what_all_have_used() {
    let simulator = simulator(3).await;
    let gateways = three(&simulator).await;
    // One of the keys is tried and refused, so that there are tries without an answer.
    simulator.set_faults([Rule::new(super::asks_for(3_600)).on_key(secret(0))]);
    for n in 0..3 {
        for _ in 0..=n {
            gateways.send_as(n, "alice").await;
        }
    }
    gateways.send_as(2, "bob").await;
    let expected = sums(&[("alice", 6), ("bob", 1)]);
    for span in [HOUR, "step=day", "step=all&from=-1d", "step=all&from=-10d", "step=month&from=-20d"] {
        gateways.until_all_answer(&[0, 1, 2], "caller", span, &expected, 3).await;
    }
    gateways.until_all_answer(&[0, 1, 2], "caller", "step=day&caller=bob", &sums(&[("bob", 1)]), 3).await;
    let model = sums(&[("gemini-2.5-flash", 7)]);
    gateways.until_all_answer(&[0, 1, 2], "model", HOUR, &model, 3).await;
    let by_key = gateways.used_by(0, "key", HOUR).await;
    assert_eq!(by_key.requests.values().sum::<u64>(), 7, "{by_key:?}");
    for key in by_key.requests.keys() {
        assert!((0..3).any(|n| *key == fingerprint(n)), "{by_key:?}");
    }
    for n in [1, 2] {
        assert_eq!(gateways.used_by(n, "key", HOUR).await, by_key);
    }
    let tokens = gateways.ask(1, "/api/usage?by=&step=all&from=-1d").await;
    let row = &tokens["rows"][0];
    assert!(row["answered"] == 7 && row["attempts"].as_u64() > Some(7), "{row}");
    assert!(row["input_tokens"].as_u64() > Some(0) && row["cost"].as_f64() > Some(0.0), "{row}");

    // What cannot be of all is this one's, and says so.
    let minutes = gateways.used_by(0, "caller", "step=minute&from=-30m").await;
    assert_eq!((minutes.requests, minutes.counted), (sums(&[("alice", 1)]), 1));
    assert_eq!(minutes.why.unwrap(), "minutes are counted by each gateway for itself");
    for span in ["step=hour&from=-90h", "step=day&from=-90d"] {
        let longer = gateways.used_by(0, "caller", span).await;
        assert_eq!((longer.requests, longer.counted), (expected.clone(), 3), "{span}");
        assert!(longer.why.unwrap().contains("of the other gateways are kept for"), "{span}");
    }

    // The command says it beside each kind of answer.
    for format in ["table", "csv", "json"] {
        let (status, text) = gateways.command(2, &["usage", "--by", "caller", "--format", format]);
        assert!(status == 0 && text.contains("alice") && text.ends_with("counted: 3 gateways\n"), "{text}");
    }
    let (_, text) = gateways.command(0, &["usage", "--step", "minute", "--from=-30m", "--format", "csv"]);
    assert!(
        text.ends_with(
            "counted: 1 gateway, which may not be all: minutes are counted by each gateway for itself\n"
        ),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gateway_has_used_counts_on_when_it_ends_and_once_when_it_comes_back() {
    let simulator = simulator(3).await;
    let mut gateways = three(&simulator).await;
    for n in 0..3 {
        gateways.send_as(n, "alice").await;
    }
    let all = sums(&[("alice", 3)]);
    gateways.until_all_answer(&[0, 1, 2], "caller", HOUR, &all, 3).await;
    let (options, mut killed) = gateways.all.pop().unwrap();
    killed.signal("KILL");
    killed.wait_for_end();
    let folder = tempfile::tempdir().unwrap();
    copy(&killed.folder(), folder.path());
    // Before and after it is missed.
    gateways.until_all_answer(&[0, 1], "caller", HOUR, &all, 3).await;
    let since = Instant::now();
    while gateways.cluster(0).await["gateways"].as_array().map(Vec::len) != Some(2) {
        assert!(since.elapsed() < PATIENCE, "it is listed still");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    gateways.until_all_answer(&[0, 1], "caller", HOUR, &all, 3).await;
    // Its next life keeps the same book.
    gateways.all.push((options.clone(), options.start_in(folder.path())));
    gateways.until_all_answer(&[2, 0, 1], "caller", HOUR, &all, 3).await;
    gateways.send_as(2, "bob").await;
    gateways.until_all_answer(&[2, 0, 1], "caller", HOUR, &sums(&[("alice", 3), ("bob", 1)]), 3).await;
    // One that ends in good order has told all before.
    for _ in 0..5 {
        gateways.send_as(2, "bob").await;
    }
    let (_, mut leaving) = gateways.all.pop().unwrap();
    leaving.signal("TERM");
    assert!(leaving.wait(Duration::from_secs(20)).success());
    let answered = gateways.used_by(0, "caller", HOUR).await;
    assert_eq!((answered.requests, answered.counted), (sums(&[("alice", 3), ("bob", 6)]), 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_has_lost_everything_is_told_all_anew_and_meanwhile_nobody_says_it_is_the_whole() {
    let simulator = simulator(3).await;
    let gateways = three(&simulator).await;
    for n in 0..3 {
        gateways.send_as(n, "alice").await;
    }
    let all = sums(&[("alice", 3)]);
    gateways.until_all_answer(&[0, 1, 2], "caller", HOUR, &all, 3).await;
    forget_all(&gateways.redis);
    let since = Instant::now();
    let mut seen_less = false;
    let mut whole = [false; 3];
    while whole != [true; 3] {
        for (n, whole) in whole.iter_mut().enumerate() {
            let answered = gateways.used_by(n, "caller", HOUR).await;
            assert!(answered.requests["alice"] >= 1, "its own are always there: {answered:?}");
            *whole = answered.why.is_none();
            seen_less |= answered.requests != all;
            assert!(!*whole || (answered.requests == all && answered.counted == 3), "{n}: {answered:?}");
        }
        assert!(since.elapsed() < PATIENCE);
    }
    assert!(seen_less, "it was lost, after all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_each_answers_its_own_and_says_why() {
    let simulator = simulator(3).await;
    let gateways = three(&simulator).await;
    for n in 0..3 {
        gateways.send_as(n, "alice").await;
    }
    gateways.until_all_answer(&[0, 1, 2], "caller", HOUR, &sums(&[("alice", 3)]), 3).await;
    let port = gateways.redis.port();
    let Gateways { redis, all } = gateways;
    drop(redis);
    let gateways = Gateways { redis: RedisServer::start_on(free_port(), &[]), all };
    for n in 0..3 {
        let answered = gateways.used_by(n, "caller", HOUR).await;
        assert_eq!((answered.requests, answered.counted), (sums(&[("alice", 1)]), 1));
        assert!(answered.why.unwrap().contains("Redis"));
        gateways.send_as(n, "bob").await;
    }
    let (status, text) = gateways.command(1, &["usage", "--by", "caller"]);
    assert!(status == 0 && text.contains("counted: 1 gateway, which may not be all: Redis"), "{text}");
    // It comes back empty: what was counted meanwhile is there as well.
    let gateways = Gateways { redis: RedisServer::start_on(port, &[]), ..gateways };
    gateways.until_all_answer(&[0, 1, 2], "caller", HOUR, &sums(&[("alice", 3), ("bob", 3)]), 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_tells_nothing_of_its_usage_is_named() {
    let simulator = simulator(1).await;
    let started = std::sync::atomic::AtomicUsize::new(0);
    let gateways = Gateways::start_with(&simulator, 1, 2, |options| {
        let counts = started.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        options.set("usage.enabled", counts)
    })
    .await;
    let since = Instant::now();
    loop {
        let answered = gateways.used_by(0, "caller", HOUR).await;
        assert_eq!(answered.counted, 1);
        if answered.why.as_deref() == Some("gw-2 has not told all that it has counted") {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{answered:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let port = gateways.all[1].0.setting("admin.port");
    let asked = client().get(format!("http://127.0.0.1:{port}/api/usage")).bearer_auth(ADMIN).send().await;
    assert_eq!(asked.unwrap().status(), 404);
}
