//! Live sessions through the gateway: who may open one, what passes, how either side's end reaches the other, when a
//! session is begun again on another key, and what binds it to a project.

use crate::support::{
    Gateway, Options, TOKEN, client, key_counts, secret, sha256, simulator, simulator_with, wait_for,
};
use futures_util::{SinkExt, StreamExt};
use gemini_simulator::{End, Fault, GoogleError, Key, KeyState, LoggedRequest, Rule, Simulator};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        protocol::{
            CloseFrame, WebSocketConfig,
            frame::{
                Frame,
                coding::{Data as OpData, OpCode},
            },
        },
    },
};

const LIVE: &str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
const MIB: usize = 1024 * 1024;

pub(crate) struct Session(WebSocketStream<TcpStream>);

/// Opens a WebSocket; the status of the answer if it is refused.
async fn upgrade(authority: &str, target: &str, headers: &[(&str, &str)]) -> Result<Session, u16> {
    let tcp = TcpStream::connect(authority).await.unwrap();
    let mut request = format!("ws://{authority}{target}").into_client_request().unwrap();
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
    match tokio_tungstenite::client_async_with_config(request, tcp, Some(config)).await {
        Ok((socket, _)) => Ok(Session(socket)),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

fn setup() -> Value {
    json!({"setup": {"model": "models/gemini-2.5-flash"}})
}

fn resumable(handle: Option<&str>) -> Value {
    let resumption = handle.map_or_else(|| json!({}), |handle| json!({ "handle": handle }));
    json!({"setup": {"model": "models/gemini-2.5-flash", "sessionResumption": resumption}})
}

fn turn(text: &str) -> Value {
    json!({"clientContent": {"turns": [{"role": "user", "parts": [{"text": text}]}], "turnComplete": true}})
}

/// What a close says: its code and reason.
type Said = Option<(u16, String)>;

#[expect(clippy::unnecessary_wraps, reason = "a close may say nothing")]
fn said(code: u16, reason: &str) -> Said {
    Some((code, reason.to_owned()))
}

impl Session {
    /// On the test's token, without a setup.
    async fn open(gateway: &Gateway) -> Self {
        Self::open_as(gateway, TOKEN).await
    }

    async fn open_as(gateway: &Gateway, token: &str) -> Self {
        upgrade(gateway.authority(), LIVE, &[("x-goog-api-key", token)]).await.unwrap()
    }

    /// The same, set up.
    pub(crate) async fn begin(gateway: &Gateway) -> Self {
        let mut session = Self::open(gateway).await;
        session.say(&setup()).await;
        assert_eq!(session.json().await, json!({"setupComplete": {}}));
        session
    }

    /// On any token: the session, or the close that comes in its place.
    pub(crate) async fn begin_as(gateway: &Gateway, token: &str) -> Result<Self, (u16, String)> {
        let mut session = Self::open_as(gateway, token).await;
        session.say(&setup()).await;
        match session.message().await {
            Message::Close(frame) => {
                Err(frame.map(|frame| (frame.code.into(), frame.reason.to_string())).unwrap_or_default())
            }
            _ => Ok(session),
        }
    }

    /// The status of an upgrade that is refused.
    pub(crate) async fn upgrade_as(gateway: &Gateway, token: &str) -> Result<(), u16> {
        upgrade(gateway.authority(), LIVE, &[("x-goog-api-key", token)]).await.map(|_| ())
    }

    async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn next(&mut self) -> Option<Result<Message, Error>> {
        timeout(Duration::from_secs(10), self.0.next()).await.expect("something comes")
    }

    async fn message(&mut self) -> Message {
        self.next().await.expect("a message").unwrap()
    }

    /// The next message, which is JSON in a binary frame, as Google sends it.
    async fn json(&mut self) -> Value {
        match self.message().await {
            Message::Binary(bytes) => serde_json::from_slice(&bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The text of the next turn.
    async fn answer(&mut self) -> String {
        let mut said = String::new();
        loop {
            let content = self.json().await["serverContent"].take();
            if let Some(text) = content["modelTurn"]["parts"][0]["text"].as_str() {
                said.push_str(text);
            }
            if content["turnComplete"] == true {
                return said;
            }
        }
    }

    pub(crate) async fn ask(&mut self, text: &str) -> String {
        self.say(&turn(text)).await;
        self.answer().await
    }

    /// The close, which is to come next.
    async fn close(&mut self) -> Said {
        match self.message().await {
            Message::Close(frame) => {
                frame.map(|CloseFrame { code, reason }| (code.into(), reason.to_string()))
            }
            other => panic!("{} bytes", other.len()),
        }
    }

    /// Sets up; the close that comes instead of an answer.
    async fn refused(&mut self) -> Said {
        self.say(&setup()).await;
        self.close().await
    }

    /// Says goodbye and reads to the end.
    async fn leave(mut self, code: u16, reason: &str) {
        self.0.close(Some(CloseFrame { code: code.into(), reason: reason.into() })).await.unwrap();
        while let Some(Ok(_)) = self.next().await {}
    }
}

/// The sessions that the simulator has seen, once there are `count` of which `is` holds.
fn upstream(simulator: &Simulator, count: usize, is: impl Fn(&LoggedRequest) -> bool) -> Vec<LoggedRequest> {
    wait_for("sessions upstream", || {
        let sessions = simulator.requests();
        (sessions.iter().filter(|session| is(session)).count() == count).then_some(sessions)
    })
}

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
async fn a_plain_request_to_a_live_path_is_forwarded() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let response = client().get(gateway.url(LIVE)).send().await.unwrap();
    assert_eq!(response.status(), 400);
    assert!(response.text().await.unwrap().contains("not a WebSocket upgrade"));
}

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

async fn handle(session: &mut Session) -> String {
    let update = session.json().await["sessionResumptionUpdate"].take();
    update["newHandle"].as_str().unwrap().to_owned()
}

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

/// Three projects of two keys each.
async fn three_projects() -> Simulator {
    let keys = (0..6).map(|n| Key::valid(secret(n), format!("project-{}", n / 2))).collect();
    simulator_with(0, |config| config.keys = keys).await
}

/// A new session's first handle.
async fn given_handle(gateway: &Gateway, token: &str) -> String {
    let mut session = Session::open_as(gateway, token).await;
    session.say(&resumable(None)).await;
    assert_eq!(session.json().await, json!({"setupComplete": {}}));
    handle(&mut session).await
}

/// What comes of a session that shows a handle.
async fn resumed(gateway: &Gateway, token: &str, handle: &str) -> Message {
    let mut session = Session::open_as(gateway, token).await;
    session.say(&resumable(Some(handle))).await;
    session.message().await
}

fn set_up() -> Message {
    Message::binary(json!({"setupComplete": {}}).to_string())
}

fn not_found() -> Message {
    let reason = "Requested entity was not found.".into();
    Message::Close(Some(CloseFrame { code: 1008.into(), reason }))
}

/// All that a gateway has written into its folder.
fn on_disk(folder: &std::path::Path) -> Vec<u8> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.extend(std::fs::read(path).unwrap());
            }
        }
    }
    all
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
    assert!(gateway.wait(Duration::from_secs(10)).success());
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
    assert!(gateway.wait(Duration::from_secs(10)).success());

    let gateway = Options::new(&simulator.url(), 0).env("GOOGLE_API_KEYS", secret(1)).start_in(folder.path());
    let reason = "The key that the resumption handle belongs to is no longer in the pool: create it again.";
    let close = CloseFrame { code: 1008.into(), reason: reason.into() };
    assert_eq!(resumed(&gateway, TOKEN, &given).await, Message::Close(Some(close)));
    assert_eq!(simulator.stats().requests, 1);
}

/// A file's URI, uploaded through the gateway.
async fn uploaded(gateway: &Gateway, token: &str) -> String {
    let request = client()
        .post(gateway.url("/upload/v1beta/files"))
        .header("x-goog-api-key", token)
        .header("x-goog-upload-protocol", "raw")
        .header("content-type", "text/plain");
    let response = request.body("a file").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let made: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    made["file"]["uri"].as_str().unwrap().to_owned()
}

/// A turn that shows a file.
fn showing(uri: &str, text: &str) -> Value {
    let parts = json!([{"fileData": {"fileUri": uri, "mimeType": "text/plain"}}, {"text": text}]);
    json!({"clientContent": {"turns": [{"role": "user", "parts": parts}], "turnComplete": true}})
}

fn is_session(request: &LoggedRequest) -> bool {
    request.path == LIVE
}

#[tokio::test]
async fn a_setup_that_names_a_file_made_outside_goes_to_its_project_and_the_asking_is_recorded() {
    let simulator = three_projects().await;
    let gateway = Options::new(&simulator.url(), 6).start();
    for (round, key) in [4, 0, 2].into_iter().enumerate() {
        let direct = crate::projects::Caller::new(&simulator.url(), &secret(key));
        let file = direct.file("v1beta", "text/plain", "one").await;
        let part = json!({"fileData": {"mimeType": "text/plain", "fileUri": file.uri}});
        let mut setup = resumable(None);
        setup["setup"]["systemInstruction"] = json!({"parts": [part]});
        let mut session = Session::open(&gateway).await;
        session.say(&setup).await;
        assert_eq!(session.json().await, json!({"setupComplete": {}}));
        session.leave(1000, "").await;
        let line = gateway.transactions(round + 1).remove(round);
        let statuses: Vec<_> = line["attempts"].as_array().unwrap().iter().map(|it| &it["status"]).collect();
        assert!(statuses.len() > 1 && statuses.last() == Some(&&json!(101)), "{line}");
        // Projects that were asked as well may hear of it later.
        let last = simulator.requests().into_iter().rfind(is_session).unwrap();
        assert_eq!(last.project, Some(format!("project-{}", key / 2)), "{last:#?}");
    }
}

#[tokio::test]
async fn anothers_file_named_in_a_later_message_ends_the_session_and_google_never_hears_of_it() {
    let simulator = simulator(1).await;
    let gateway =
        Options::new(&simulator.url(), 1).env("ACCESS_TOKENS", "alice=alice-token,bob=bob-token").start();
    let file = uploaded(&gateway, "alice-token").await;
    let showing = showing(&file, "look").to_string();
    let said_before = [setup().to_string(), turn("hello").to_string()].concat();
    for (round, message) in [Message::text(showing.clone()), Message::binary(showing)].into_iter().enumerate()
    {
        let mut session = Session::open_as(&gateway, "bob-token").await;
        session.say(&setup()).await;
        assert_eq!(session.json().await, json!({"setupComplete": {}}));
        assert_eq!(session.ask("hello").await, "you said: hello");
        session.0.send(message.clone()).await.unwrap();
        assert_eq!(session.message().await, not_found());
        let ended = |request: &LoggedRequest| is_session(request) && request.body_sha256.is_some();
        let seen = upstream(&simulator, 2 * round + 1, ended).pop().unwrap();
        assert_eq!(seen.body_sha256, Some(sha256(said_before.as_bytes())), "{message:?}");

        // Said so early that it waits for the session.
        let mut session = Session::open_as(&gateway, "bob-token").await;
        session.say(&setup()).await;
        session.0.send(message.clone()).await.unwrap();
        let next = match session.message().await {
            Message::Binary(_) => session.message().await,
            close => close,
        };
        assert_eq!(next, not_found());
        let seen = upstream(&simulator, 2 * round + 2, ended).pop().unwrap();
        assert_eq!(seen.body_sha256, Some(sha256(setup().to_string().as_bytes())), "{message:?}");
    }
    // One line is the upload's.
    let lines = gateway.transactions(5);
    let refused = lines.iter().filter(|line| line["path"] == LIVE && line["end"] == "refused").count();
    assert_eq!(refused, 4, "{lines:?}");
    assert_eq!(key_counts(&gateway).await["available"], 1);
}

#[tokio::test]
async fn ones_own_file_and_what_nobody_knows_pass_in_later_messages() {
    let simulator = simulator(1).await;
    let gateway =
        Options::new(&simulator.url(), 1).env("ACCESS_TOKENS", "alice=alice-token,bob=bob-token").start();
    let file = uploaded(&gateway, "alice-token").await;
    let mut session = Session::open_as(&gateway, "alice-token").await;
    session.say(&setup()).await;
    assert_eq!(session.json().await, json!({"setupComplete": {}}));
    let unknown = "https://generativelanguage.googleapis.com/v1beta/files/unheard-of";
    let turns = [showing(&file, "mine"), turn("and"), showing(unknown, "whose")];
    for turn in &turns {
        session.say(turn).await;
    }
    for text in ["mine", "and", "whose"] {
        assert_eq!(session.answer().await, format!("you said: {text}"));
    }
    session.leave(1000, "done").await;
    let seen = upstream(&simulator, 1, |request| is_session(request) && request.body_sha256.is_some());
    let all: String = [setup()].iter().chain(&turns).map(Value::to_string).collect();
    assert_eq!(seen.last().unwrap().body_sha256, Some(sha256(all.as_bytes())));
}

#[tokio::test]
async fn a_file_of_another_project_named_in_a_later_message_is_refused_with_a_reason() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).seeing_all().start();
    let file = uploaded(&gateway, TOKEN).await;
    let owner = simulator.requests().pop().unwrap().project;
    let name = file.rsplit_once("files/").unwrap().1;
    let reason = format!("files/{name} and this session are of different projects: create both again.");
    let mut elsewhere = 0;
    for _ in 0..4 {
        let mut session = Session::begin(&gateway).await;
        let project = simulator.requests().pop().unwrap().project;
        session.say(&showing(&file, "look")).await;
        if project == owner {
            assert_eq!(session.answer().await, "you said: look");
        } else {
            elsewhere += 1;
            assert_eq!(session.close().await, said(1007, &reason));
        }
    }
    assert!((1..4).contains(&elsewhere), "{elsewhere} of 4 sessions were of the other project");
}

/// An ephemeral token, made through the gateway.
async fn ephemeral_token(gateway: &Gateway, version: &str, token: &str) -> String {
    let request = client().post(gateway.url(&format!("/{version}/auth_tokens")));
    let response = request.header("x-goog-api-key", token).body("{}").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let made: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    made["name"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_ephemeral_token_opens_a_session_in_the_project_that_made_it() {
    let constrained =
        "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContentConstrained";
    let simulator = three_projects().await;
    let options = Options::new(&simulator.url(), 6).env("ACCESS_TOKENS", "alice=alice-token,bob=bob-token");
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    for round in 0..6 {
        let version = ["v1beta", "v1alpha"][round % 2];
        let token = ephemeral_token(&gateway, version, "alice-token").await;
        let project = simulator.requests().pop().unwrap().project;
        let in_query = format!("{constrained}?access_token={token}");
        let authorization = format!("Token {token}");
        let in_header = [("authorization", authorization.as_str())];
        let (target, headers): (&str, &[(&str, &str)]) =
            if round < 3 { (&*in_query, &[]) } else { (constrained, &in_header) };
        let mut session = upgrade(gateway.authority(), target, headers).await.unwrap();
        session.say(&resumable(None)).await;
        assert_eq!(session.json().await, json!({"setupComplete": {}}), "round {round}");
        let given = handle(&mut session).await;
        assert_eq!(resumed(&gateway, "alice-token", &given).await, set_up());
        assert_eq!(resumed(&gateway, "bob-token", &given).await, not_found());
        session.leave(1000, "").await;

        let seen = simulator.requests().into_iter().rfind(|session| session.path == constrained).unwrap();
        assert_eq!(seen.project, project, "round {round}");
        assert_eq!((seen.header("authorization"), seen.query.as_deref()), (Some(&*authorization), None));
        assert_eq!(seen.header("x-goog-api-key"), None, "a token and a key");
        let spent = upgrade(gateway.authority(), target, headers).await.unwrap().refused().await;
        assert_eq!(spent.unwrap().0, 1007, "it has had its one use, which is for Google to say");
    }
    assert_eq!(simulator.stats().wrong_owner, 0);
    let keys = key_counts(&gateway).await;
    assert_eq!(keys["available"], 6, "nobody is to blame: {keys}");

    let token = ephemeral_token(&gateway, "v1alpha", "alice-token").await;
    let target = format!("{constrained}?access_token={token}");
    gateway.signal("TERM");
    assert!(gateway.wait(Duration::from_secs(10)).success());
    let disk = on_disk(folder.path());
    assert!(memchr::memmem::find(&disk, token.as_bytes()).is_none(), "a token stands on the disk");
    let mut without_alice = options.env("ACCESS_TOKENS", "bob=bob-token").start_in(folder.path());
    assert_eq!(
        upgrade(without_alice.authority(), &target, &[]).await.err(),
        Some(401),
        "its caller may not call"
    );
    without_alice.signal("TERM");
    assert!(without_alice.wait(Duration::from_secs(10)).success());
    let again =
        Options::new(&simulator.url(), 6).env("ACCESS_TOKENS", "alice=alice-token").start_in(folder.path());
    let mut session = upgrade(again.authority(), &target, &[]).await.unwrap();
    session.say(&setup()).await;
    assert_eq!(session.json().await, json!({"setupComplete": {}}));
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
