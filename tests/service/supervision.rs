//! What panics costs as little as can be: a key manager is replaced with its memory, a request takes nobody along. The
//! switches that cause panics are in debug builds alone.

use crate::{
    binary,
    support::{
        Gateway, Options, TOKEN, client, exhausted, prompt, secret, simulator, simulator_with, wait_for,
    },
    wire::{Wire, exchange, request},
};
use gemini_simulator::{Rule, Shape};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

async fn ready(gateway: &Gateway) -> Value {
    exchange(gateway.authority(), request("GET", "/health/ready", &[], "")).await.json()
}

async fn panic(gateway: &Gateway) {
    let answer = exchange(gateway.authority(), request("POST", "/debug/panic/key_manager", &[], "")).await;
    assert_eq!(answer.status, 202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_a_panicking_key_manager_fails_no_request_and_forgets_no_cooldown() {
    if !binary::has_doors("under_load_a_panicking_key_manager_fails_no_request_and_forgets_no_cooldown") {
        return;
    }
    let simulator = simulator_with(4, |config| {
        config.faults = vec![Rule::new(exhausted()).on_key(secret(0))];
        config.log_capacity = 100_000;
    })
    .await;
    let gateway = Options::new(&simulator.url(), 4).start();
    let client = client();
    let send = |n: usize| {
        let request = client.post(gateway.url(GENERATE)).body(prompt(&n.to_string()));
        async move { request.send().await.map(|answer| answer.status().as_u16()) }
    };
    for n in 0..4 {
        assert_eq!(send(n).await.unwrap(), 200);
    }
    assert_eq!(simulator.stats().by_key[&secret(0)], 1, "the first key is cooling now");

    let mut running = JoinSet::new();
    let begun = Instant::now();
    let mut panics = 0;
    for n in 0..400u32 {
        tokio::time::sleep_until((begun + Duration::from_millis(5) * n).into()).await;
        running.spawn(send(n as usize));
        if [100, 200, 300].contains(&n) {
            panic(&gateway).await;
            panics += 1;
        }
    }
    let mut served = 0;
    while let Some(answer) = running.join_next().await {
        assert_eq!(answer.unwrap().unwrap(), 200);
        served += 1;
    }
    assert_eq!((served, panics), (400, 3));
    assert_eq!(simulator.stats().by_key[&secret(0)], 1, "a key was called that should be cooling");
    let health = ready(&gateway).await;
    assert_eq!(health["components"]["key_manager"]["restarts"], 3);
    assert_eq!(health["components"]["key_manager"]["state"], "up");
    assert_eq!(health["status"], "ok");
    assert_eq!(health["keys"]["in_flight"], 0, "{health}");
}

#[tokio::test]
async fn leases_of_a_former_life_are_settled_in_the_next() {
    if !binary::has_doors("leases_of_a_former_life_are_settled_in_the_next") {
        return;
    }
    let shape = Shape { events: 40, interval_ms: 25, text_bytes: 0 };
    let simulator = simulator_with(1, |config| config.shape = shape).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let url = gateway.url("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse");
    let stream = client().post(url).body(prompt("x")).send().await.unwrap();
    panic(&gateway).await;
    let text = stream.text().await.unwrap();
    assert_eq!(text.matches("data: ").count(), 40);
    let health = ready(&gateway).await;
    assert_eq!(
        (&health["keys"]["in_flight"], &health["keys"]["available"]),
        (&0.into(), &1.into()),
        "{health}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_ends_the_process() {
    if !binary::has_doors("a_crash_loop_ends_the_process") {
        return;
    }
    let simulator = simulator(1).await;
    let mut gateway = Options::new(&simulator.url(), 1).set("supervisor.max_restarts", 2).start();
    let authority = gateway.authority().to_owned();
    // Each panic finds it up again, and the third is one too many.
    for n in 0..3 {
        wait_for("restart", || {
            gateway.output().contains(&format!("key_manager is Up (restarts: {n})")).then_some(())
        });
        let mut wire = Wire::connect(&authority).await;
        wire.send(request("POST", "/debug/panic/key_manager", &[], "")).await.unwrap();
    }
    let begun = Instant::now();
    // Not ready, or gone.
    while let Ok(stream) = tokio::net::TcpStream::connect(&authority).await {
        drop(stream);
        assert!(begun.elapsed() < Duration::from_secs(1), "still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let status = gateway.wait(Duration::from_secs(3));
    assert!(status.code().is_some_and(|code| code != 0), "{status:?}");
    assert!(gateway.output().contains("key_manager was given up"), "{}", gateway.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panicking_request_gets_a_500_in_its_dialect_and_takes_nobody_along() {
    if !binary::has_doors("a_panicking_request_gets_a_500_in_its_dialect_and_takes_nobody_along") {
        return;
    }
    let shape = Shape { events: 40, interval_ms: 50, text_bytes: 0 };
    let simulator = simulator_with(1, |config| config.shape = shape).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let mut others = JoinSet::new();
    let client = client();
    for _ in 0..20 {
        let url = gateway.url("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse");
        let request = client.post(url).body(prompt("x"));
        others.spawn(async move { request.send().await.unwrap().text().await.unwrap() });
    }
    wait_for("streams", || (simulator.stats().requests == 20).then_some(()));
    let headers = [("x-goog-api-key", TOKEN), ("x-test-panic", "1")];
    for _ in 0..5 {
        let native = exchange(gateway.authority(), request("POST", GENERATE, &headers, &prompt("x"))).await;
        assert_eq!(native.status, 500);
        assert_eq!(native.json()["error"]["status"], "INTERNAL");
        let openai =
            exchange(gateway.authority(), request("POST", "/v1/chat/completions", &headers, "{}")).await;
        assert_eq!(openai.status, 500);
        assert_eq!(openai.json()["error"]["type"], "server_error");
        assert!(openai.header("x-request-id").is_some());
    }
    while let Some(text) = others.join_next().await {
        assert_eq!(text.unwrap().matches("data: ").count(), 40);
    }
    let health = ready(&gateway).await;
    assert_eq!(health["keys"]["in_flight"], 0, "{health}");
    assert_eq!(health["requests_in_flight"], 0, "{health}");
    assert_eq!(health["keys"]["available"], 1, "{health}");
    assert_eq!(health["components"]["key_manager"]["restarts"], 0, "{health}");
    let crashed: Vec<_> = gateway.transactions(30).into_iter().filter(|line| line["status"] == 500).collect();
    assert_eq!(crashed.len(), 10);
    assert_eq!(simulator.stats().requests, 20, "a request that panicked went up");
}

/// Without the variable the switches of the tests do nothing, even in a debug build.
#[tokio::test]
async fn without_the_tests_variable_there_is_nothing_to_panic() {
    if !binary::has_doors("without_the_tests_variable_there_is_nothing_to_panic") {
        return;
    }
    let simulator = simulator(1).await;
    let options = Options::new(&simulator.url(), 1);
    let folder = tempfile::tempdir().unwrap();
    let mut command = options.command(folder.path());
    let mut child =
        command.env_remove("GEMINI_BALANCE_TEST_PANICS").stdout(std::process::Stdio::null()).spawn().unwrap();
    let log = folder.path().join("logs/app.log");
    let address = wait_for("address", || {
        let text = std::fs::read_to_string(&log).ok()?;
        Some(text.split_once("listening on http://")?.1.lines().next()?.to_owned())
    });
    let switch = exchange(&address, request("POST", "/debug/panic/key_manager", &[], "")).await;
    let headers = [("x-goog-api-key", TOKEN), ("x-test-panic", "1")];
    let header = exchange(&address, request("POST", GENERATE, &headers, &prompt("x"))).await;
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!((switch.status, header.status), (404, 200));
}

#[tokio::test]
async fn a_release_build_has_no_switch_to_panic_by() {
    if !binary::has_no_doors("a_release_build_has_no_switch_to_panic_by") {
        return;
    }
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let switch = exchange(gateway.authority(), request("POST", "/debug/panic/key_manager", &[], "")).await;
    let headers = [("x-goog-api-key", TOKEN), ("x-test-panic", "1")];
    let header = exchange(gateway.authority(), request("POST", GENERATE, &headers, &prompt("x"))).await;
    assert_eq!((switch.status, header.status), (401, 200), "an unknown path, and an unknown header");
}
