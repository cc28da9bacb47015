//! Resumption handles: a session that goes on goes to the project that gave its handle, for the caller who was given it.

use super::{Session, handle, not_found, on_disk, resumable, resumed, said, set_up, three_projects};
use crate::support::{Gateway, Options, TOKEN, key_counts, secret, simulator, simulator_with};
use futures_util::SinkExt;
use gemini_simulator::{Fault, Key, Rule};
use serde_json::json;
use std::time::Duration;
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

#[tokio::test]
async fn a_handle_goes_back_to_its_project_and_only_for_its_caller() {
    let keys: Vec<Key> = (0..6).map(|n| Key::valid(secret(n), format!("project-{}", n / 2))).collect();
    let simulator = simulator_with(0, |config| config.keys = keys).await;
    let gateway =
        Options::new(&simulator.url(), 6).env("ACCESS_TOKENS", "alice=alice-token,bob=bob-token").start();
    for round in 0..6 {
        let mut session = Session::open_as(&gateway, "alice-token").await;
        session.say(&resumable(None)).await;
        assert_eq!(session.json().await, json!({"setupComplete": {}}));
        let first = handle(&mut session).await;
        session.ask("hello").await;
        let second = handle(&mut session).await;
        for known in [&first, &second] {
            let mut session = Session::open_as(&gateway, "alice-token").await;
            session.say(&resumable(Some(known))).await;
            assert_eq!(session.json().await, json!({"setupComplete": {}}), "round {round}");
        }
        let before = simulator.stats().requests;
        let mut session = Session::open_as(&gateway, "bob-token").await;
        session.say(&resumable(Some(&first))).await;
        assert_eq!(session.close().await, said(1008, "Requested entity was not found."));
        let mut session = Session::open_as(&gateway, "bob-token").await;
        let hidden = resumable(Some("mine")).to_string().replace(
            "\"sessionResumption\"",
            &format!("\"sessionResumption\":{{\"handle\":\"{first}\"}},\"session_resumption\""),
        );
        session.0.send(Message::text(hidden)).await.unwrap();
        assert_eq!(session.close().await, said(1008, "Requested entity was not found."));
        assert_eq!(simulator.stats().requests, before, "another's handle was shown to Google");
    }
    assert_eq!(simulator.stats().wrong_owner, 0);
    let mut session = Session::open_as(&gateway, "bob-token").await;
    session.say(&resumable(Some("unheard-of"))).await;
    assert_eq!(session.close().await, said(1008, "Requested entity was not found."));
    let keys = key_counts(&gateway).await;
    assert_eq!(keys["available"], 6, "nobody is to blame: {keys}");
}

/// A new session's first handle.
async fn given_handle(gateway: &Gateway, token: &str) -> String {
    let mut session = Session::open_as(gateway, token).await;
    session.say(&resumable(None)).await;
    assert_eq!(session.json().await, json!({"setupComplete": {}}));
    handle(&mut session).await
}

#[tokio::test]
async fn a_handle_goes_back_to_its_project_after_a_restart() {
    let simulator = three_projects().await;
    let options = Options::new(&simulator.url(), 6).env("ACCESS_TOKENS", "alice=alice-token,bob=bob-token");
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    let mut handles = Vec::new();
    for _ in 0..6 {
        handles.push(given_handle(&gateway, "alice-token").await);
    }
    gateway.signal("TERM");
    assert!(gateway.wait_for_end().success());
    let disk = on_disk(folder.path());
    for handle in &handles {
        assert!(memchr::memmem::find(&disk, handle.as_bytes()).is_none(), "a handle stands on the disk");
    }

    let gateway = options.start_in(folder.path());
    for handle in &handles {
        assert_eq!(resumed(&gateway, "alice-token", handle).await, set_up());
        let before = simulator.stats().requests;
        assert_eq!(resumed(&gateway, "bob-token", handle).await, not_found());
        assert_eq!(simulator.stats().requests, before, "another's handle was shown to Google");
    }
    assert_eq!(simulator.stats().wrong_owner, 0);
}

#[tokio::test]
async fn a_session_bound_by_its_handle_waits_for_a_short_quota_and_is_served() {
    let refusal = json!({"error": {
        "code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}],
    }});
    let short = Fault::Status { status: 429, headers: [].into(), body: Some(refusal) };
    let simulator = three_projects().await;
    let gateway = Options::new(&simulator.url(), 6).start();
    for _ in 0..3 {
        let given = given_handle(&gateway, TOKEN).await;
        simulator.set_faults([Rule::new(short.clone()).times(1)]);
        let begun = std::time::Instant::now();
        assert_eq!(resumed(&gateway, TOKEN, &given).await, set_up());
        assert!(begun.elapsed() >= Duration::from_millis(900), "it was not waited for");
    }
    assert_eq!(simulator.stats().wrong_owner, 0);
}

#[tokio::test]
async fn with_no_tokens_configured_handles_are_everybodys() {
    let simulator = three_projects().await;
    let gateway = Options::new(&simulator.url(), 6).without_token().start();
    for _ in 0..6 {
        let given = given_handle(&gateway, &secret(0)).await;
        assert_eq!(resumed(&gateway, &secret(5), &given).await, set_up());
    }
    assert_eq!(simulator.stats().wrong_owner, 0);
}

#[tokio::test]
async fn handles_of_two_projects_in_one_setup_are_refused_with_a_reason() {
    let simulator = three_projects().await;
    let gateway = Options::new(&simulator.url(), 6).start();
    let mut handles = Vec::new();
    for _ in 0..6 {
        handles.push(given_handle(&gateway, TOKEN).await);
    }
    let projects: Vec<_> = simulator.requests().into_iter().map(|session| session.project).collect();
    let other = projects.iter().position(|project| *project != projects[0]).unwrap();
    let both = resumable(Some(&handles[other])).to_string().replace(
        "\"sessionResumption\"",
        &format!("\"sessionResumption\":{{\"handle\":\"{}\"}},\"session_resumption\"", handles[0]),
    );
    let mut session = Session::open(&gateway).await;
    session.0.send(Message::text(both)).await.unwrap();
    let reason =
        "the resumption handle and the resumption handle are of different projects: create both again.";
    assert_eq!(session.close().await, said(1007, reason));
    assert_eq!(simulator.stats().requests, 6);
}

#[tokio::test]
async fn a_handle_of_a_key_that_is_gone_is_refused_with_a_reason() {
    let simulator = simulator(2).await;
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = Options::new(&simulator.url(), 1).start_in(folder.path());
    let given = given_handle(&gateway, TOKEN).await;
    gateway.signal("TERM");
    assert!(gateway.wait_for_end().success());

    let gateway = Options::new(&simulator.url(), 0).env("GOOGLE_API_KEYS", secret(1)).start_in(folder.path());
    let reason = "The key that the resumption handle belongs to is no longer in the pool: create it again.";
    let close = CloseFrame { code: 1008.into(), reason: reason.into() };
    assert_eq!(resumed(&gateway, TOKEN, &given).await, Message::Close(Some(close)));
    assert_eq!(simulator.stats().requests, 1);
}
