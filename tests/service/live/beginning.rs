//! How a Live session begins: who may open one, what must be said first, and when it is begun again on another key.

use super::{LIVE, Session, said, setup, turn, upgrade, upstream};
use crate::support::{Options, TOKEN, key_counts, secret, simulator, wait_for};
use futures_util::SinkExt;
use gemini_simulator::{Fault, GoogleError, KeyState, Rule};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn who_may_call_may_open_a_session_in_every_form() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let bearer = format!("Bearer {TOKEN}");
    let query = format!("{LIVE}?key={TOKEN}");
    let prefixed = format!("/v1beta{LIVE}");
    let good: [(&str, &[(&str, &str)]); 5] = [
        (LIVE, &[("x-goog-api-key", TOKEN)]),
        (LIVE, &[("authorization", &bearer)]),
        (&query, &[]),
        (&query, &[("x-goog-api-key", "")]),
        (&prefixed, &[("x-goog-api-key", TOKEN)]),
    ];
    for (target, headers) in good {
        let mut session = upgrade(gateway.authority(), target, headers).await.unwrap();
        session.say(&setup()).await;
        assert_eq!(session.json().await, json!({"setupComplete": {}}), "{target}");
    }
    let pool = format!("{LIVE}?key={}", secret(0));
    let made_up = format!("{LIVE}?access_token=auth_tokens/made-up");
    let bad: [(&str, &[(&str, &str)]); 5] = [
        (LIVE, &[]),
        (LIVE, &[("x-goog-api-key", "wrong")]),
        (&pool, &[]),
        (&made_up, &[]),
        (LIVE, &[("authorization", "Token auth_tokens/made-up")]),
    ];
    for (target, headers) in bad {
        assert_eq!(upgrade(gateway.authority(), target, headers).await.err(), Some(401), "{target}");
    }
    assert_eq!(simulator.stats().requests, good.len() as u64);
}

#[tokio::test]
async fn a_session_refused_for_its_key_is_begun_again_on_another() {
    let simulator = simulator(3).await;
    simulator.set_key_state(&secret(0), KeyState::Expired);
    simulator.set_key_state(&secret(1), KeyState::Suspended);
    let gateway = Options::new(&simulator.url(), 3).start();
    for _ in 0..3 {
        let mut session = Session::begin(&gateway).await;
        assert_eq!(session.ask("hello").await, "you said: hello");
    }
    assert_eq!(key_counts(&gateway).await["retired"], 2);
    assert_eq!(simulator.stats().requests, 5, "a bad key is tried once");
    let bad = upstream(&simulator, 5, |_| true);
    let setups: Vec<_> =
        bad.iter().filter(|session| session.key != Some(secret(2))).map(|s| s.body_bytes).collect();
    assert_eq!(setups, [setup().to_string().len() as u64; 2], "the setup is said again, and nothing else");
}

#[tokio::test]
async fn what_the_client_says_early_waits_for_the_session() {
    let simulator = simulator(2).await;
    simulator.set_key_state(&secret(0), KeyState::Invalid);
    let gateway = Options::new(&simulator.url(), 2).start();
    let mut session = Session::open(&gateway).await;
    session.say(&setup()).await;
    session.say(&turn("first")).await;
    session.say(&turn("second")).await;
    assert_eq!(session.json().await, json!({"setupComplete": {}}));
    assert_eq!(session.answer().await, "you said: first");
    assert_eq!(session.answer().await, "you said: second");
}

#[tokio::test]
async fn a_quota_named_in_a_close_cools_the_key_and_another_takes_the_next_session() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).start();
    let quota = "You exceeded your current quota, please check your plan and billing details.";
    let mut session = Session::begin(&gateway).await;
    session.say(&turn(&format!("close 1011 {quota}"))).await;
    assert_eq!(session.close().await, said(1011, quota));
    let first = simulator.requests()[0].key.clone();
    let line = gateway.transactions(1).remove(0);
    assert_eq!(line["attempts"][0]["fault"], "QuotaBare", "{line}");
    for _ in 0..3 {
        Session::begin(&gateway).await.leave(1000, "").await;
    }
    assert!(simulator.requests()[1..].iter().all(|session| session.key != first));

    // Before the session has begun the client does not hear of it, as long as there is another key.
    let refuse = Fault::LiveClose { after_messages: 1, code: Some(1011), reason: quota.to_owned() };
    simulator.set_faults([Rule::new(refuse).on_key(simulator.requests()[1].key.clone().unwrap())]);
    let gateway = Options::new(&simulator.url(), 2).start();
    for _ in 0..3 {
        Session::begin(&gateway).await.leave(1000, "").await;
    }
}

#[tokio::test]
async fn an_upgrade_that_is_refused_moves_on_and_its_words_are_a_close_in_the_end() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).start();
    simulator.set_faults([Rule::new(Fault::google(GoogleError::QuotaMinute)).times(1)]);
    Session::begin(&gateway).await.leave(1000, "").await;
    let line = gateway.transactions(1).remove(0);
    let attempts: Vec<_> =
        line["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["status"]).collect();
    assert_eq!(attempts, [429, 101]);

    simulator.set_faults([Rule::new(Fault::google(GoogleError::UnknownField))]);
    let unknown = "Invalid JSON payload received. Unknown name \"x\": Cannot find field.";
    assert_eq!(Session::open(&gateway).await.refused().await, said(1007, unknown));
    let line = gateway.transactions(2).remove(1);
    assert_eq!((&line["status"], &line["end"]), (&json!(400), &json!("complete")));

    simulator.set_faults([Rule::new(Fault::google(GoogleError::QuotaMinute))]);
    let (code, reason) = Session::open(&gateway).await.refused().await.unwrap();
    assert!(code == 1011 && reason.starts_with("You exceeded your current quota"), "{code} {reason}");
    let (code, reason) = Session::open(&gateway).await.refused().await.unwrap();
    assert!(code == 1013 && reason.starts_with("No key of the pool is free"), "{code} {reason}");
    let line = gateway.transactions(4).remove(3);
    assert_eq!((&line["status"], &line["end"]), (&json!(429), &json!("refused")));
}

#[tokio::test]
async fn an_upstream_out_of_reach_is_told_by_a_close() {
    let gateway = Options::new("http://127.0.0.1:9", 1).start();
    let (code, reason) = Session::open(&gateway).await.refused().await.unwrap();
    assert!(code == 1011 && reason.starts_with("The Gemini API cannot be reached"), "{code} {reason}");
    assert!(reason.len() <= 123);
}

#[tokio::test]
async fn a_session_without_a_setup_is_closed_in_time() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("server.body_timeout_s", 1).start();
    let mut session = Session::open(&gateway).await;
    let late = said(1008, "No setup came in time: send it as the session's first message.");
    assert_eq!(session.close().await, late);
    let line = gateway.transactions(1).remove(0);
    assert_eq!((&line["end"], line["attempts"].as_array().unwrap().len()), (&json!("refused"), 0));
}

#[tokio::test]
async fn a_session_begins_with_a_setup_or_not_at_all() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let no_setup = said(1007, "The first message is no setup: send {\"setup\":{\"model\":...}} as JSON.");
    for first in [turn("too early").to_string(), "{".to_owned(), String::new()] {
        let mut session = Session::open(&gateway).await;
        session.0.send(Message::text(first)).await.unwrap();
        assert_eq!(session.close().await, no_setup);
    }
    assert_eq!(simulator.stats().requests, 0);
}

#[tokio::test]
async fn what_is_no_websocket_is_told_so() {
    use tokio::io::AsyncWriteExt;
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let mut session = Session::begin(&gateway).await;
    session.0.get_mut().write_all(&[0xff; 16]).await.unwrap();
    let malformed = said(1002, "What came is not framed as a WebSocket's messages are: connect again.");
    assert_eq!(session.close().await, malformed);
    wait_for("the upstream to be let go", || (simulator.stats().open_requests == 0).then_some(()));
}

#[tokio::test]
async fn a_session_for_a_model_that_is_left_alone_ends_in_googles_last_words() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).start();
    simulator.set_faults([Rule::new(Fault::google(GoogleError::Overloaded))]);
    for _ in 0..12 {
        let (code, reason) = Session::open(&gateway).await.refused().await.unwrap();
        assert!(code == 1011 && reason.contains("overloaded"), "{code} {reason}");
    }
    assert!(simulator.stats().requests < 24, "the model was never left alone");
}
