//! What passes in a Live session, either way: messages of any size and kind, pings, and who slows whom down.

use super::{LIVE, MIB, Session, said, setup, turn, upgrade, upstream};
use crate::support::{Gateway, Options, TOKEN, client, secret, simulator, simulator_with, wait_for};
use futures_util::SinkExt;
use gemini_simulator::{End, Fault, KeyState, Rule};
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data as OpData, OpCode},
    },
};

#[tokio::test]
async fn a_session_passes_as_it_is_and_shows_google_one_key_in_a_header() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let target = format!("/{LIVE}?key={TOKEN}&alt=x");
    let headers = [("x-own-header", "1"), ("cookie", "a=b"), ("authorization", &format!("Bearer {TOKEN}"))];
    let mut session = upgrade(gateway.authority(), &target, &headers).await.unwrap();
    session.say(&setup()).await;
    assert_eq!(session.json().await, json!({"setupComplete": {}}));
    assert_eq!(session.ask("hello").await, "you said: hello");
    session.0.send(Message::binary(turn("in binary").to_string())).await.unwrap();
    assert_eq!(session.answer().await, "you said: in binary");
    session.leave(1000, "done").await;

    let seen = upstream(&simulator, 1, |session| session.end == End::Complete).remove(0);
    assert_eq!((seen.path.as_str(), seen.query.as_deref()), (LIVE, Some("alt=x")));
    assert_eq!((seen.header("x-goog-api-key"), seen.header("x-own-header")), (Some(&*secret(0)), Some("1")));
    assert_eq!(seen.closed.as_deref(), Some("1000 done"));
    for name in ["authorization", "cookie", "sec-websocket-extensions", "x-forwarded-for"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    let line = gateway.transactions(1).remove(0);
    assert_eq!(
        (&line["status"], &line["end"], &line["caller"]),
        (&json!(101), &json!("complete"), &json!("tester"))
    );
    assert_eq!((&line["path"], &line["model"]), (&json!(LIVE), &json!("gemini-2.5-flash")));
    assert_eq!(line["bytes_in"], json!(seen.body_bytes));
    assert_eq!(line["bytes_out"], json!(seen.answer_bytes));
    assert_eq!(line["attempts"].as_array().unwrap().len(), 1);
    assert!(!gateway.output().contains(&secret(0)));
}

#[tokio::test]
async fn text_stays_text() {
    let simulator = simulator_with(1, |config| config.faults = vec![Rule::new(Fault::LiveText)]).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let mut session = Session::open(&gateway).await;
    session.say(&setup()).await;
    assert_eq!(session.message().await, Message::text(r#"{"setupComplete":{}}"#));
}

#[tokio::test]
async fn a_plain_request_to_a_live_path_is_forwarded() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let response = client().get(gateway.url(LIVE)).send().await.unwrap();
    assert_eq!(response.status(), 400);
    assert!(response.text().await.unwrap().contains("not a WebSocket upgrade"));
}

#[tokio::test]
async fn pings_are_answered_and_passed_on() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let mut session = Session::begin(&gateway).await;
    session.0.send(Message::Ping("client's".into())).await.unwrap();
    assert_eq!(session.message().await, Message::Pong("client's".into()));
    assert_eq!(session.ask("pings").await, "1 pings");
    session.say(&turn("ping upstream's")).await;
    assert_eq!(session.message().await, Message::Ping("upstream's".into()));
    assert_eq!(session.answer().await, "pong upstream's");
}

#[tokio::test]
async fn messages_of_16_mib_pass_and_larger_ones_close_the_session() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let too_long = said(1009, "A message is over this gateway's limit of 16777216 bytes: send it in parts.");
    let mut session = Session::begin(&gateway).await;
    let largest = "y".repeat(16 * MIB - turn("").to_string().len());
    assert!(session.ask(&largest).await == format!("you said: {largest}"), "it comes back whole");
    let setup_bytes = setup().to_string().len();
    assert_eq!(simulator.requests()[0].body_bytes, (16 * MIB + setup_bytes) as u64);
    let _ = session.0.send(Message::text(turn(&format!("{largest}z")).to_string())).await;
    assert!(session.close().await == too_long);

    let mut session = Session::begin(&gateway).await;
    let down = 16 * MIB - 100;
    assert!(session.ask(&format!("flood 2 {down}")).await == "x".repeat(2 * down));
    session.say(&turn(&format!("flood 1 {}", 16 * MIB))).await;
    assert!(session.close().await == too_long);
    wait_for("the upstream to be let go", || (simulator.stats().open_requests == 0).then_some(()));
}

#[tokio::test]
async fn the_key_never_reaches_the_client() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("log.level", "\"trace\"").start();
    let mut session = Session::begin(&gateway).await;
    assert_eq!(session.ask("secret").await, "***");
    session.say(&turn(&format!("close 1008 the key is {}", secret(0)))).await;
    assert_eq!(session.close().await, said(1008, "the key is ***"));
    simulator.set_key_state(&secret(0), KeyState::Suspended);
    let suspended = said(1008, "Permission denied: Consumer 'api_key:***' has been suspended.");
    assert_eq!(Session::open(&gateway).await.refused().await, suspended);
    gateway.transactions(2);
    let log = std::fs::read_to_string(gateway.folder().join("logs/app.log")).unwrap();
    assert!(!log.contains(&secret(0)) && !gateway.output().contains(&secret(0)));
}

/// Resident memory in bytes.
fn resident(gateway: &Gateway) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn a_client_that_reads_slowly_slows_the_upstream_and_loses_nothing() {
    const MESSAGES: usize = 1_000;
    const SIZE: usize = 128 * 1024;
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let mut session = Session::begin(&gateway).await;
    let before = resident(&gateway);
    session.say(&turn(&format!("flood {MESSAGES} {SIZE}"))).await;
    let mut sent = 0;
    // Until it stands still.
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = simulator.requests()[0].answer_bytes;
        if now == sent {
            break;
        }
        sent = now;
    }
    assert!(sent < 32 * MIB as u64, "{sent} bytes were taken for a client that does not read");
    let grown = resident(&gateway).saturating_sub(before);
    assert!(grown < 16 * MIB, "the gateway has grown by {grown} bytes");
    assert_eq!(session.answer().await.len(), MESSAGES * SIZE);
    assert_eq!(session.ask("still there?").await, "you said: still there?");
}

#[tokio::test]
async fn an_upstream_that_reads_nothing_slows_the_client() {
    let faults = vec![Rule::new(Fault::Stall { after_events: 1 })];
    let simulator = simulator_with(1, |config| config.faults = faults).await;
    let gateway = Options::new(&simulator.url(), 1).set("upstream.idle_timeout_s", 2).start();
    let mut session = Session::begin(&gateway).await;
    let before = resident(&gateway);
    let chunk = turn(&"x".repeat(128 * 1024)).to_string();
    let mut sent = 0;
    while sent < 256 * MIB {
        let sending = session.0.send(Message::text(chunk.clone()));
        if timeout(Duration::from_millis(500), sending).await.is_err() {
            break;
        }
        sent += chunk.len();
    }
    assert!(sent < 64 * MIB, "{sent} bytes were taken for an upstream that does not read");
    let grown = resident(&gateway).saturating_sub(before);
    assert!(grown < 16 * MIB, "the gateway has grown by {grown} bytes");
    let broke_off = said(1011, "The Gemini API broke off in the middle of the session: connect again.");
    assert_eq!(session.close().await, broke_off);
    assert_eq!(gateway.transactions(1)[0]["end"], "upstream_broke");
}

#[tokio::test]
async fn a_quiet_session_outlives_the_timeouts_of_requests() {
    let simulator = simulator(1).await;
    let timeouts = ["head_timeout_s", "body_timeout_s", "write_timeout_s", "keep_alive_s"]
        .map(|name| format!("server.{name}"))
        .into_iter()
        .chain(["upstream.head_timeout_s".to_owned(), "upstream.idle_timeout_s".to_owned()]);
    let gateway =
        timeouts.fold(Options::new(&simulator.url(), 1), |options, name| options.set(&name, 1)).start();
    let mut session = Session::begin(&gateway).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(session.ask("quiet is no fault").await, "you said: quiet is no fault");
    session.leave(1000, "").await;
    assert_eq!(gateway.transactions(1)[0]["end"], "complete");
}

#[tokio::test]
async fn a_message_in_pieces_arrives_whole() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let mut session = Session::begin(&gateway).await;
    let text = turn("in three pieces").to_string();
    let (first, rest) = text.split_at(10);
    let (second, third) = rest.split_at(30);
    let piece = |text: &str, code: OpData, last: bool| {
        Message::Frame(Frame::message(text.to_owned(), OpCode::Data(code), last))
    };
    session.0.send(piece(first, OpData::Text, false)).await.unwrap();
    session.0.send(Message::Ping("between".into())).await.unwrap();
    session.0.send(piece(second, OpData::Continue, false)).await.unwrap();
    session.0.send(piece(third, OpData::Continue, true)).await.unwrap();
    assert_eq!(session.message().await, Message::Pong("between".into()));
    assert_eq!(session.answer().await, "you said: in three pieces");
}
