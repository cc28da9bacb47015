//! The operator's listener and `gemini-balance keys`: there for who has the operator's token on this machine, and for nobody
//! else; and the checks that bring retired keys back.

use crate::{
    support::{
        Gateway, Options, TOKEN, client, fingerprint, free_port, key_counts, prompt, secret, simulator,
        wait_for,
    },
    wire::{exchange, request},
};
use gemini_simulator::{KeyState, Simulator};
use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const ADMIN: &str = "operator-token-5b1e";

/// With an operator's listener, and its port.
fn options(simulator: &Simulator, keys: usize) -> (Options, u16) {
    let port = free_port();
    (Options::new(&simulator.url(), keys).env("ADMIN_TOKEN", ADMIN).set("admin.port", port), port)
}

/// Runs `gemini-balance keys` with the gateway's settings: whether it succeeded, and all it printed.
fn keys(options: &Options, gateway: &Gateway, arguments: &[&str]) -> (bool, String) {
    let output = options.command(&gateway.folder()).arg("keys").args(arguments).output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(!text.contains("Canary") && !text.contains("AIza") && !text.contains(ADMIN), "a secret: {text}");
    (output.status.success(), text)
}

/// The line of the `n`th key in the list, as its words.
fn row(options: &Options, gateway: &Gateway, n: usize) -> Vec<String> {
    let (done, list) = keys(options, gateway, &[]);
    assert!(done, "{list}");
    let line = list.lines().find(|line| line.starts_with(&fingerprint(n)));
    line.unwrap_or_else(|| panic!("no such key: {list}")).split_whitespace().map(str::to_owned).collect()
}

async fn send(gateway: &Gateway) -> u16 {
    let answer = client().post(gateway.url(GENERATE)).body(prompt("x")).send().await.unwrap();
    answer.status().as_u16()
}

fn calls(simulator: &Simulator, n: usize) -> u64 {
    simulator.stats().by_key.get(&secret(n)).copied().unwrap_or(0)
}

/// The one line of a gateway that cannot start.
fn refusal(options: &Options) -> String {
    let line = crate::settings::refusal(options);
    assert!(!line.contains(ADMIN) && !line.contains(TOKEN) && !line.contains("Canary"), "a secret: {line}");
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_there_is_no_operators_listener() {
    let simulator = simulator(1).await;
    let port = free_port();
    let options = Options::new(&simulator.url(), 1).set("admin.port", port);
    let gateway = options.start();
    assert_eq!(send(&gateway).await, 200);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "somebody listens");
    let (done, text) = keys(&options, &gateway, &[]);
    assert!(!done && text.contains("ADMIN_TOKEN") && text.lines().count() == 1, "{text}");
    // Nor is it among the clients' routes, whoever asks.
    let headers = [("authorization", "Bearer operator-token-5b1e")];
    assert_eq!(exchange(gateway.authority(), request("GET", "/keys", &headers, "")).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_others_could_reach_is_refused_at_the_start() {
    let simulator = simulator(1).await;
    for host in ["0.0.0.0", "::", "192.0.2.1"] {
        let line = refusal(&options(&simulator, 1).0.set("admin.host", host));
        assert!(line.contains("admin.host") && line.contains("loopback"), "{line}");
        assert!(line.contains("GEMINI_BALANCE__ADMIN__HOST"), "it does not say from where: {line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_a_clients_as_well_is_refused_at_the_start() {
    let simulator = simulator(1).await;
    let line = refusal(&Options::new(&simulator.url(), 1).env("ADMIN_TOKEN", TOKEN));
    assert!(line.contains("admin.token") && line.contains("client"), "{line}");
    // Without tokens the pool's keys are the clients' credentials.
    let line = refusal(&Options::new(&simulator.url(), 1).without_token().env("ADMIN_TOKEN", secret(0)));
    assert!(line.contains("admin.token") && line.contains("client"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_file_that_cannot_be_read_is_named() {
    let simulator = simulator(1).await;
    let line = refusal(&Options::new(&simulator.url(), 1).set("admin.token_file", "no-such-file"));
    assert!(line.contains("admin.token_file (from ") && line.contains("no-such-file"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_operators_token_opens_it_and_no_browser_gets_in() {
    let simulator = simulator(1).await;
    let (options, port) = options(&simulator, 1);
    let gateway = options.start();
    let authority = format!("127.0.0.1:{port}");
    let disable = format!("/keys/{}/disable", fingerprint(0));
    let operator = format!("Bearer {ADMIN}");
    for (method, path) in [("GET", "/keys"), ("POST", disable.as_str())] {
        let ask = async |headers: &[(&str, &str)]| {
            let answer = exchange(&authority, request(method, path, headers, "")).await;
            assert!(!answer.text().contains("Canary"), "{}", answer.text());
            answer.status
        };
        assert_eq!(ask(&[]).await, 401);
        assert_eq!(ask(&[("authorization", "Bearer ")]).await, 401);
        assert_eq!(ask(&[("authorization", "Bearer operator-token-5b1f")]).await, 401);
        assert_eq!(ask(&[("authorization", &format!("Bearer {TOKEN}"))]).await, 401, "a client's token");
        assert_eq!(ask(&[("authorization", &format!("Bearer {}", secret(0)))]).await, 401, "a pool key");
        for origin in ["http://127.0.0.1", "null"] {
            assert_eq!(ask(&[("authorization", &operator), ("origin", origin)]).await, 403);
        }
    }
    assert_eq!(key_counts(&gateway).await["disabled"], 0, "a refused request has had its way");
    let list = exchange(&authority, request("GET", "/keys", &[("authorization", &operator)], "")).await;
    assert_eq!((list.status, list.json()["keys"][0]["id"].as_str()), (200, Some(fingerprint(0).as_str())));
    // And the operator's token is no client's.
    let headers = [("x-goog-api-key", ADMIN)];
    let client = exchange(gateway.authority(), request("POST", GENERATE, &headers, &prompt("x"))).await;
    assert_eq!(client.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_disables_enables_and_resets_keys_and_a_restart_does_not_undo_it() {
    let simulator = simulator(2).await;
    let folder = tempfile::tempdir().unwrap();
    let (options, _) = options(&simulator, 2);
    let mut gateway = options.start_in(folder.path());
    let id = fingerprint(0);
    assert_eq!(row(&options, &gateway, 0)[2], "available");

    let (done, text) = keys(&options, &gateway, &["disable", &id]);
    assert!(done, "{text}");
    assert_eq!(row(&options, &gateway, 0)[2], "disabled");
    for _ in 0..4 {
        assert_eq!(send(&gateway).await, 200);
    }
    assert_eq!((calls(&simulator, 0), calls(&simulator, 1)), (0, 4));
    assert_eq!(row(&options, &gateway, 1)[6], "4", "served");

    gateway.signal("TERM");
    gateway.wait_for_end();
    let gateway = options.start_in(folder.path());
    assert_eq!(row(&options, &gateway, 0)[2], "disabled");
    assert!(keys(&options, &gateway, &["enable", &id]).0);
    assert_eq!(row(&options, &gateway, 0)[2], "available");
    simulator.set_key_state(&secret(0), KeyState::Suspended);
    for _ in 0..4 {
        assert_eq!(send(&gateway).await, 200);
    }
    assert_eq!(calls(&simulator, 0), 1);
    assert_eq!(row(&options, &gateway, 0)[2..4], ["retired", "key_suspended"]);

    simulator.set_key_state(&secret(0), KeyState::Valid);
    assert!(keys(&options, &gateway, &["reset", &id]).0);
    assert_eq!(row(&options, &gateway, 0)[2], "available");
    for _ in 0..4 {
        assert_eq!(send(&gateway).await, 200);
    }
    assert!(calls(&simulator, 0) > 1, "the key is not used again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_command_cannot_do_is_one_line_and_a_failure() {
    let simulator = simulator(1).await;
    let (options, port) = options(&simulator, 1);
    let mut gateway = options.start();
    for id in ["nobody", "a/b ?#%", "../health"] {
        let (done, text) = keys(&options, &gateway, &["reset", id]);
        assert!(!done && text.lines().count() == 1, "{text}");
        assert!(text.contains("no key has this id"), "{text}");
    }
    let other = Options::new(&simulator.url(), 1).env("ADMIN_TOKEN", "another").set("admin.port", port);
    let (done, text) = keys(&other, &gateway, &[]);
    assert!(!done && text.contains("401") && text.lines().count() == 1, "{text}");
    gateway.signal("KILL");
    gateway.wait_for_end();
    let (done, text) = keys(&options, &gateway, &[]);
    assert!(!done && text.contains("is the gateway running?") && text.lines().count() == 1, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retired_key_that_is_well_again_comes_back_by_itself_and_no_check_spends_quota() {
    let simulator = simulator(3).await;
    simulator.set_key_state(&secret(0), KeyState::Suspended);
    simulator.set_key_state(&secret(1), KeyState::Invalid);
    let gateway = Options::new(&simulator.url(), 3).set("pool.check_retired_s", 1).start();
    for _ in 0..3 {
        assert_eq!(send(&gateway).await, 200);
    }
    assert_eq!(key_counts(&gateway).await["retired"], 2);
    simulator.reset();
    let checks = |n: usize| {
        let requests = simulator.requests();
        for request in &requests {
            assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/v1beta/models"));
        }
        requests.iter().filter(|request| request.key == Some(secret(n))).count()
    };
    // Refused again, it stays as it is.
    wait_for("checks", || (checks(0) >= 2 && checks(1) >= 2).then_some(()));
    assert_eq!(key_counts(&gateway).await["retired"], 2);
    assert_eq!(checks(2), 0, "a key that is well was checked");

    simulator.set_key_state(&secret(0), KeyState::Valid);
    let deadline = Instant::now() + Duration::from_secs(10);
    while key_counts(&gateway).await["retired"] != 1 {
        assert!(Instant::now() < deadline, "it did not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = checks(0);
    simulator.reset();
    wait_for("a check", || (checks(1) >= 1).then_some(()));
    assert_eq!(checks(0), 0, "it was checked {before} times, and is well");
    for _ in 0..4 {
        assert_eq!(send(&gateway).await, 200);
    }
    assert!(calls(&simulator, 0) >= 1, "the key is not used again");
}

#[tokio::test]
async fn strangers_are_refused_on_every_path_before_their_body_is_read() {
    let simulator = simulator(1).await;
    let (options, port) = options(&simulator, 1);
    let _gateway = options.start();
    let authority = format!("127.0.0.1:{port}");
    for (method, path) in [
        ("GET", "/keys"),
        ("POST", "/keys/key-1/disable"),
        ("POST", "/api/keys"),
        ("GET", "/api/keys/export"),
        ("DELETE", "/api/keys/key-1"),
        ("POST", "/api/import"),
        ("POST", "/api/tokens"),
        ("GET", "/api/usage"),
        ("GET", "/api/requests/abc"),
        ("POST", "/api/reload"),
        ("POST", "/api/playground"),
        ("GET", "/api/settings"),
        ("GET", "/metrics"),
        ("GET", "/api/what-comes-one-day"),
        ("POST", "/what-comes-one-day"),
    ] {
        for credential in ["", "authorization: Bearer wrong\r\n"] {
            // A body is announced, and none of it sent: whoever waits for it gives no answer.
            let length = if method == "POST" { "content-length: 30000000\r\n" } else { "" };
            let head = format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\n{credential}{length}\r\n");
            let answer = crate::raw::Connection::open(&authority).ask(head.as_bytes());
            assert_eq!(answer.status, 401, "{method} {path} {credential}");
        }
    }
}
