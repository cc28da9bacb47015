//! Live sessions through the gateway, from a client's side: a session to speak on, and what it says and hears in most tests.
//! What is tested of them is in the folder beside this file.

mod beginning;
mod ends;
mod handles;
mod named;
mod passing;

use crate::support::{Gateway, TOKEN, secret, simulator_with, wait_for};
use futures_util::{SinkExt, StreamExt};
use gemini_simulator::{Key, LoggedRequest, Simulator};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        protocol::{CloseFrame, WebSocketConfig},
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
pub(crate) type Said = Option<(u16, String)>;

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

    /// A new session's first resumption handle.
    pub(crate) async fn handle_of(gateway: &Gateway, token: &str) -> String {
        let mut session = Self::open_as(gateway, token).await;
        session.say(&resumable(None)).await;
        assert_eq!(session.json().await, json!({"setupComplete": {}}));
        handle(&mut session).await
    }

    /// Whether a session goes on from this handle.
    pub(crate) async fn resumes(gateway: &Gateway, token: &str, known: &str) -> bool {
        let mut session = Self::open_as(gateway, token).await;
        session.say(&resumable(Some(known))).await;
        match session.message().await {
            Message::Binary(bytes) => {
                bytes.starts_with(b"{") && String::from_utf8_lossy(&bytes).contains("setupComplete")
            }
            _ => false,
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
    pub(crate) async fn close(&mut self) -> Said {
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

async fn handle(session: &mut Session) -> String {
    let update = session.json().await["sessionResumptionUpdate"].take();
    update["newHandle"].as_str().unwrap().to_owned()
}

/// Three projects of two keys each.
async fn three_projects() -> Simulator {
    let keys = (0..6).map(|n| Key::valid(secret(n), format!("project-{}", n / 2))).collect();
    simulator_with(0, |config| config.keys = keys).await
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

fn is_session(request: &LoggedRequest) -> bool {
    request.path == LIVE
}
