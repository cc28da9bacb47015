//! How a Live session ends: either side's close reaches the other, who leaves frees everything, and a drain is heard of.

use super::{Session, said, setup, turn, upstream};
use crate::support::{Options, key_counts, simulator, simulator_with};
use futures_util::SinkExt;
use gemini_simulator::{End, Fault, Rule};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn the_upstreams_close_reaches_the_client_code_and_reason() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let cases = [
        ("close 1000", said(1000, "")),
        (
            "close 1008 Operation is not implemented, or supported, or enabled.",
            said(1008, "Operation is not implemented, or supported, or enabled."),
        ),
        ("close 4321 é", said(4321, "é")),
        ("close", None),
    ];
    for (order, expected) in cases {
        let mut session = Session::begin(&gateway).await;
        session.say(&turn(order)).await;
        assert_eq!(session.close().await, expected, "{order}");
        assert!(session.next().await.is_none(), "{order}");
    }
    let broke_off = said(1011, "The Gemini API broke off in the middle of the session: connect again.");
    for order in ["reset", "drop"] {
        let mut session = Session::begin(&gateway).await;
        session.say(&turn(order)).await;
        assert_eq!(session.close().await, broke_off, "{order}");
    }
    let ends: Vec<Value> = gateway.transactions(6).into_iter().map(|mut line| line["end"].take()).collect();
    assert_eq!(ends[..4], ["complete"; 4]);
    assert_eq!(ends[4..], ["upstream_broke"; 2]);
}

#[tokio::test]
async fn the_clients_close_reaches_the_upstream_code_and_reason() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let session = Session::begin(&gateway).await;
    session.leave(4000, "enough").await;
    let mut session = Session::begin(&gateway).await;
    session.0.send(Message::Close(None)).await.unwrap();
    while let Some(Ok(_)) = session.next().await {}
    let seen = upstream(&simulator, 2, |session| session.end == End::Complete);
    let closes: Vec<_> = seen.iter().map(|session| session.closed.as_deref()).collect();
    assert_eq!(closes, [Some("4000 enough"), Some("no code")]);
}

#[tokio::test]
async fn clients_that_leave_free_their_upstream_at_once() {
    const CLIENTS: usize = 50;
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).set("pool.failure_threshold", 1).start();
    let mut sessions = Vec::new();
    for _ in 0..CLIENTS {
        sessions.push(Session::begin(&gateway).await);
    }
    drop(sessions);
    let left = Instant::now();
    while simulator.stats().open_requests > 0 {
        assert!(left.elapsed() < Duration::from_secs(10), "{:?}", simulator.stats());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let lines = gateway.transactions(CLIENTS);
    assert!(lines.iter().all(|line| line["end"] == "client_left"), "{:?}", lines[0]);
    let keys = key_counts(&gateway).await;
    assert_eq!((&keys["available"], &keys["in_flight"]), (&2.into(), &0.into()), "{keys}");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_session_began_frees_everything() {
    for early in [false, true] {
        let faults = vec![Rule::new(Fault::StallHead)];
        let simulator = simulator_with(1, |config| config.faults = faults).await;
        let gateway = Options::new(&simulator.url(), 1).start();
        let mut session = Session::open(&gateway).await;
        session.say(&setup()).await;
        if early {
            session.say(&turn("too early")).await;
        }
        upstream(&simulator, 1, |_| true);
        drop(session);
        upstream(&simulator, 1, |session| session.end == End::ClientLeft);
        assert_eq!(gateway.transactions(1)[0]["end"], "client_left");
        assert_eq!(key_counts(&gateway).await["in_flight"], 0);
    }
}

#[tokio::test]
async fn sessions_hear_of_the_end_of_the_drain() {
    let simulator = simulator(1).await;
    let mut gateway = Options::new(&simulator.url(), 1).set("server.drain_s", 1).start();
    let mut session = Session::begin(&gateway).await;
    gateway.signal("TERM");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(session.ask("still served").await, "you said: still served");
    assert_eq!(session.close().await, said(1001, "The gateway is shutting down: connect again."));
    while let Some(Ok(_)) = session.next().await {}
    assert!(gateway.wait(Duration::from_secs(3)).success());
    let seen = upstream(&simulator, 1, |session| session.end == End::Complete).remove(0);
    assert_eq!(seen.closed.as_deref(), Some("1001 The gateway is shutting down: connect again."));
}

#[tokio::test]
async fn a_session_that_ends_lets_the_drain_end() {
    let simulator = simulator(1).await;
    let mut gateway = Options::new(&simulator.url(), 1).set("server.drain_s", 30).start();
    let session = Session::begin(&gateway).await;
    gateway.signal("TERM");
    tokio::time::sleep(Duration::from_millis(200)).await;
    session.leave(1000, "done").await;
    assert!(gateway.wait(Duration::from_secs(3)).success());
}
