//! What holds at once, for whom, and what waits for another process.

use super::{ADMIN, ALICE, ALICE_AND_BOB, Configured, STREAM, changed};
use crate::{
    support::{prompt, secret, simulator_with, stranger, wait_for},
    wire::{Wire, request},
};
use gemini_simulator::Shape;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_added_and_removed_and_rules_hold_at_once() {
    let it = Configured::start(&[0], ALICE).await;
    let used = async |count: usize| -> Vec<usize> {
        it.simulator.reset();
        for _ in 0..count {
            assert_eq!(it.status("alice-token-CANARY").await, 200);
        }
        let by_key = it.simulator.stats().by_key;
        (0..5).filter(|n| by_key.contains_key(&secret(*n))).collect()
    };
    assert_eq!(used(4).await, [0]);
    let answer = it.reload(&[1, 2], ALICE).await;
    assert_eq!(changed(&answer), ["keys.k0", "keys.k1", "keys.k2"]);
    assert_eq!(used(4).await, [1, 2]);
    assert_eq!(it.ready().await["keys"]["total"], 2);
    let limits =
        format!("{ALICE}[pool]\nmax_wait_ms = 0\n[[limits]]\nmodel = \"gemini-2.5-flash\"\nrpm = 1\n");
    assert_eq!(
        changed(&it.reload(&[3], &limits).await),
        ["keys.k1", "keys.k2", "keys.k3", "limits", "pool.max_wait_ms"]
    );
    assert_eq!(it.status("alice-token-CANARY").await, 200);
    assert_eq!(it.status("alice-token-CANARY").await, 429);
    it.reload(&[3], ALICE).await;
    assert_eq!(used(3).await, [3]);
    it.no_secret_is_logged();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_keeps_its_counts_when_its_limits_change_and_a_removed_ones_stream_goes_on() {
    let shape = Shape { events: 40, interval_ms: 100, text_bytes: 0 };
    let simulator = simulator_with(5, |config| config.shape = shape).await;
    let token = |limit: &str| {
        format!(
            "[auth]\ntokens = [{{ name = \"alice\", secret = \"alice-token-CANARY\"{limit} }}, \
                 {{ name = \"bob\", secret = \"bob-token-CANARY\" }}]\n"
        )
    };
    let it = Configured::start_before(simulator, &[0], &token(", rpd = 2"));
    let statuses = async |count: usize| -> Vec<u16> {
        let mut statuses = Vec::new();
        for _ in 0..count {
            statuses.push(it.status("alice-token-CANARY").await);
        }
        statuses
    };
    assert_eq!(statuses(3).await, [200, 200, 429]);
    it.reload(&[0], &token(", rpd = 3")).await;
    assert_eq!(statuses(2).await, [200, 429]);
    let mut wire = Wire::connect(it.gateway.authority()).await;
    wire.send(request("POST", STREAM, &[("x-goog-api-key", "bob-token-CANARY")], &prompt("x")))
        .await
        .unwrap();
    wait_for("the stream", || {
        it.simulator.requests().iter().any(|seen| seen.path.contains("stream")).then_some(())
    });
    it.reload(&[1], ALICE).await;
    assert_eq!((it.status("bob-token-CANARY").await, statuses(1).await), (401, vec![200]));
    let answer = wire.answer().await.expect("an answer");
    assert!(answer.whole && answer.text().matches("data: ").count() == 40, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_requests_are_held_to_changes_at_once() {
    let it = Configured::start(&[0], ALICE).await;
    let long = prompt(&"x".repeat(5_000));
    assert_eq!(it.send("alice-token-CANARY", &long).await.status(), 200);
    let more = format!(
        "[server]\nmax_body_bytes = 2000\ncors_origins = [\"https://page.example\"]\n{ALICE}\
         [log]\nlevel = \"warn\"\ndebug_enabled = true\ndebug_file = \"logs/bodies.log\"\n\
         [[prices]]\nmodel = \"gemini-2.5-flash\"\ninput = 1.0\noutput = 1.0\nper_request = 7.0\n"
    );
    let answer = it.reload(&[0], &more).await;
    assert_eq!(
        changed(&answer),
        [
            "log.debug_enabled",
            "log.debug_file",
            "log.level",
            "prices",
            "server.cors_origins",
            "server.max_body_bytes"
        ]
    );
    assert_eq!(it.send("alice-token-CANARY", &long).await.status(), 413);
    let body = prompt("a body to be found");
    assert_eq!(it.send("alice-token-CANARY", &body).await.status(), 200);
    let logged = wait_for("the bodies in the log", || {
        let text = std::fs::read_to_string(it.path().join("logs/bodies.log")).ok()?;
        (text.contains("a body to be found") && text.lines().count() == 2).then_some(text)
    });
    let origin = async |origin: &str| {
        let asked =
            stranger().get(it.gateway.url("/health/live")).header("origin", origin).send().await.unwrap();
        asked.headers().contains_key("access-control-allow-origin")
    };
    assert!(origin("https://page.example").await && !origin("https://other.example").await);
    wait_for("the price of the request", || {
        let (done, table) = {
            let output = it
                .options
                .command(it.path())
                .args(["usage", "--by", "model", "--format", "json"])
                .output()
                .unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        (done && table.contains("7.00")).then_some(())
    });
    // And back.
    it.reload(&[0], ALICE).await;
    assert_eq!(it.send("alice-token-CANARY", &long).await.status(), 200);
    assert!(origin("https://other.example").await);
    assert_eq!(it.send("alice-token-CANARY", &prompt("not to be found")).await.status(), 200);
    it.gateway.transactions(5);
    assert_eq!(std::fs::read_to_string(it.path().join("logs/bodies.log")).unwrap(), logged);
    let output = it.gateway.output();
    assert!(output.contains("server.max_body_bytes is 2000, was 104857600"), "{output}");
    it.no_secret_is_logged();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_a_restart_stays_as_it_is_and_is_told_until_it_is_put_back() {
    let it = Configured::start(&[0], ALICE).await;
    assert_eq!(it.ready().await["restart_needed"], serde_json::json!([]));
    let more = format!("{ALICE_AND_BOB}[log]\nformat = \"json\"\n[usage]\nrecent = 5\n");
    let answer = it.reload(&[0], &more).await;
    assert_eq!(answer["restart_needed"], serde_json::json!(["log.format", "usage.recent"]));
    let waits: Vec<bool> =
        answer["changes"].as_array().unwrap().iter().map(|change| change["live"] == true).collect();
    assert_eq!(
        (changed(&answer), waits),
        (vec!["auth.tokens.bob", "log.format", "usage.recent"], vec![true, false, false])
    );
    assert_eq!(it.status("bob-token-CANARY").await, 200, "the rest holds at once");
    let ready = it.ready().await;
    assert_eq!(
        (&ready["status"], &ready["restart_needed"]),
        (&"ok".into(), &serde_json::json!(["log.format", "usage.recent"]))
    );
    assert!(it.gateway.output().lines().all(|line| !line.starts_with('{')), "the format has changed");
    let answer = it.reload(&[0], &format!("{ALICE}[log]\nformat = \"json\"\n")).await;
    assert_eq!(answer["restart_needed"], serde_json::json!(["log.format"]));
    it.reload(&[0], ALICE).await;
    assert_eq!(it.ready().await["restart_needed"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_token_changes_at_once_and_its_removal_shuts_the_door() {
    let it = Configured::start(&[0], ALICE).await;
    let text = it.config(&[0], ALICE);
    it.write(&text.replace(ADMIN, "another-operators-token-CANARY"));
    assert_eq!(it.admin_with("POST", "/api/reload", ADMIN, &[]).await.0, 200);
    assert_eq!(it.admin_with("GET", "/api/reload", ADMIN, &[]).await.0, 401);
    let (status, _, answer) =
        it.admin_with("GET", "/api/reload", "another-operators-token-CANARY", &[]).await;
    assert_eq!((status, &answer["restart_needed"]), (200, &serde_json::json!([])));
    it.write(&text.replace(&format!("token = \"{ADMIN}\""), ""));
    it.gateway.signal("HUP");
    wait_for("the removal", || it.gateway.output().contains("admin.token is gone").then_some(()));
    assert_eq!(it.admin_with("GET", "/api/reload", "another-operators-token-CANARY", &[]).await.0, 401);
    assert_eq!(it.ready().await["restart_needed"], serde_json::json!(["admin"]));
    it.no_secret_is_logged();
}
