//! What one gateway's clients have made, through another gateway.

use super::Gateways;
use crate::{
    live::Session,
    projects::{CHUNK, Caller},
    support::simulator,
};
use gemini_balance_cluster::conformance::RedisServer;
use serde_json::{Value, json};

const FILES: &str = "/upload/v1beta/files";

impl Gateways {
    fn caller(&self, n: usize, name: &str) -> Caller {
        Caller::new(&self.gateway(n).url(""), &format!("{name}-token"))
    }

    /// An address that one gateway gave, at another.
    fn moved(&self, url: &str, to: usize) -> String {
        let (_, path) = url.split_once("://").unwrap().1.split_once('/').unwrap();
        self.gateway(to).url(&format!("/{path}"))
    }
}

async fn three(simulator: &gemini_simulator::Simulator) -> Gateways {
    let tokens = "alice=alice-token,bob=bob-token";
    Gateways::start_with(simulator, 3, 3, |options| options.without_token().env("ACCESS_TOKENS", tokens))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_made_through_one_gateway_is_used_listed_and_deleted_through_others_at_once() {
    let simulator = simulator(3).await;
    let gateways = three(&simulator).await;
    for round in 0..6 {
        let [at, next, last] = [round % 3, (round + 1) % 3, (round + 2) % 3];
        let started = gateways.caller(at, "alice").begin_upload(FILES, "text/plain", 5).await;
        let url = started.header("x-goog-upload-url").unwrap();
        // The upload goes on at another gateway, and the file is read at the third.
        let url = gateways.moved(url, next);
        let done = gateways.caller(next, "alice").chunk(&url, "upload, finalize", 0, "hello").await;
        assert_eq!(done.status, 200, "{}", done.text());
        let name = done.json()["file"]["name"].as_str().unwrap().to_owned();
        let path = format!("/v1beta/{name}");
        assert_eq!(gateways.caller(last, "alice").get(&path).await["mimeType"], "text/plain");
        let body = json!({"contents": [{"role": "user", "parts": [
            {"text": "what is it?"}, {"fileData": {"fileUri": format!("https://generativelanguage.googleapis.com{path}"), "mimeType": "text/plain"}},
        ]}]});
        for n in 0..3 {
            gateways.caller(n, "alice").post(super::MODEL, &body).await;
            let listed = gateways.caller(n, "alice").get("/v1beta/files").await;
            let has = |listed: &Value| {
                listed["files"].as_array().is_some_and(|files| files.iter().any(|it| it["name"] == *name))
            };
            assert!(has(&listed), "round {round}, gateway {n}: {listed}");
            // To bob it is not there, whoever is asked; in Google's own words.
            assert_eq!(gateways.caller(n, "bob").send("GET", &path, &Value::Null).await.status, 403);
            assert!(!has(&gateways.caller(n, "bob").get("/v1beta/files").await));
        }
        gateways.caller(next, "alice").delete(&path).await;
        for n in 0..3 {
            assert_eq!(
                gateways.caller(n, "alice").send("GET", &path, &Value::Null).await.status,
                403,
                "deleted"
            );
        }
    }
    assert_eq!(simulator.stats().wrong_owner, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_of_many_chunks_wanders_and_what_is_made_stays_together() {
    let simulator = simulator(3).await;
    let gateways = three(&simulator).await;
    let file = vec![7_u8; 2 * CHUNK + 5];
    let started =
        gateways.caller(0, "alice").begin_upload(FILES, "application/octet-stream", file.len()).await;
    let url = started.header("x-goog-upload-url").unwrap();
    for (n, (from, to, command)) in
        [(0, CHUNK, "upload"), (CHUNK, 2 * CHUNK, "upload"), (2 * CHUNK, file.len(), "upload, finalize")]
            .into_iter()
            .enumerate()
    {
        let sent = gateways
            .caller(n, "alice")
            .chunk(&gateways.moved(url, n), command, from, file[from..to].to_vec())
            .await;
        assert_eq!(sent.status, 200, "{}", sent.text());
    }
    // What one caller makes within the window goes to one project, through whichever gateway.
    let mut owners = std::collections::BTreeSet::new();
    for n in 0..6 {
        let cache = json!({"model": "models/gemini-2.5-flash", "contents": [{"role": "user", "parts": [{"text": "x".repeat(40_000)}]}]});
        let made = gateways.caller(n % 3, "alice").post("/v1beta/cachedContents", &cache).await;
        let name = made["name"].as_str().unwrap().to_owned();
        let owner = simulator.resources().into_iter().find(|it| it.name == name).unwrap().project;
        owners.insert(owner);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(owners.len(), 1, "{owners:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_session_goes_on_through_another_gateway() {
    let simulator = simulator(3).await;
    let gateways = three(&simulator).await;
    for round in 0..3 {
        let handle = Session::handle_of(gateways.gateway(round), "alice-token").await;
        for n in 0..3 {
            assert!(Session::resumes(gateways.gateway(n), "alice-token", &handle).await, "at gateway {n}");
            assert!(!Session::resumes(gateways.gateway(n), "bob-token", &handle).await, "bob at gateway {n}");
        }
    }
    assert_eq!(simulator.stats().wrong_owner, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_while_redis_was_away_is_known_when_it_is_back_and_nothing_was_lost() {
    let simulator = simulator(3).await;
    let gateways = three(&simulator).await;
    // Made before, and not met by the others.
    let file = gateways.caller(0, "alice").upload_to(FILES, "text/plain", b"hello").await;
    let earlier = file["file"]["name"].as_str().unwrap().to_owned();
    let Gateways { redis, all } = gateways;
    let port = redis.port();
    drop(redis);
    let gateways = Gateways { redis: RedisServer::start(&[]), all };
    let upload = async |n: usize| {
        let alice = gateways.caller(n, "alice");
        let started = alice.begin_upload(FILES, "text/plain", 5).await;
        let url = started.header("x-goog-upload-url").unwrap().to_owned();
        let done = alice.chunk(&url, "upload, finalize", 0, "hello").await;
        assert_eq!(done.status, 200, "{}", done.text());
        done.json()["file"]["name"].as_str().unwrap().to_owned()
    };
    let mut names = Vec::new();
    for n in 0..3 {
        names.push((n, upload(n).await));
    }
    for (n, name) in &names {
        gateways.caller(*n, "alice").get(&format!("/v1beta/{name}")).await;
        // Whose it is nobody can tell elsewhere, and that is said.
        let other =
            gateways.caller((n + 1) % 3, "alice").send("GET", &format!("/v1beta/{name}"), &Value::Null).await;
        assert_eq!((other.status, other.header("retry-after")), (503, Some("1")), "{}", other.text());
    }
    let gateways = Gateways { redis: RedisServer::start_on(port, &[]), all: gateways.all };
    names.push((0, earlier));
    for (_, name) in &names {
        let path = format!("/v1beta/{name}");
        for n in 0..3 {
            let found = async |it: &Gateways| {
                it.caller(n, "alice").send("GET", &path, &Value::Null).await.status == 200
            };
            gateways.until("it is known", found).await;
        }
    }
}
