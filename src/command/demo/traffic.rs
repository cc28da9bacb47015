//! The demo's made-up callers: they send requests through the gateway for some minutes, so that usage, keys, tokens and
//! explanations have something to show. What comes of a request is the gateway's and the simulator's to say. Bounded in
//! number and in time, and slow enough to be in nobody's way.

use super::ADMIN;
use crate::{
    local_http::{self, LocalRequest, PATIENCE, reachable},
    settings::TokenEntry,
};
use callers::SurfaceName;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How long the callers go on.
const LASTS: Duration = Duration::from_secs(5 * 60);
/// How often a caller looks whether the demo has ended.
const LOOK: Duration = Duration::from_millis(100);
/// How long a request to explain is waited for.
const FIND_WITHIN: Duration = Duration::from_secs(5);

/// A made-up caller.
#[derive(Clone, Copy)]
struct MadeUp {
    name: &'static str,
    token: &'static str,
    /// How many requests it sends at once as it begins.
    first: u32,
    /// The pause between later ones.
    pause: Duration,
    /// What it sends as its `n`th request.
    sends: fn(u32) -> Sent,
}

/// A request that a made-up caller has sent.
struct Sent {
    path: String,
    body: Value,
}

const CALLERS: [MadeUp; 3] = [
    // Asks a model whose quota is small in the simulator.
    MadeUp { name: "alice", token: "demo-alice", first: 14, pause: Duration::from_secs(4), sends: alice },
    // Asks more often than its own limit allows.
    MadeUp { name: "bob", token: "demo-bob", first: 8, pause: Duration::from_secs(6), sends: bob },
    // Streams in OpenAI's format.
    MadeUp { name: "carol", token: "demo-carol", first: 2, pause: Duration::from_secs(5), sends: carol },
];

/// Returns the callers' tokens, each with limits.
pub(super) fn tokens() -> Vec<TokenEntry> {
    let entry = |caller: MadeUp| TokenEntry {
        name: caller.name.to_owned(),
        secret: caller.token.to_owned(),
        note: "made up by the demo".to_owned(),
        ..TokenEntry::default()
    };
    let [alice, bob, carol] = CALLERS.map(entry);
    let mut budget = carol.budget;
    budget.tokens_day = Some(200_000);
    vec![
        TokenEntry { rpm: Some(60), tpm: Some(100_000), ..alice },
        TokenEntry { rpm: Some(5), models: Some(vec!["gemini-2.5-flash".to_owned()]), ..bob },
        TokenEntry { surfaces: Some(vec![SurfaceName::OpenAi]), concurrent: Some(2), budget, ..carol },
    ]
}

fn native(model: &str, text: &str) -> Sent {
    let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": text }] }] });
    Sent { path: format!("/v1beta/models/{model}:generateContent"), body }
}

fn alice(n: u32) -> Sent {
    let model = if n % 5 == 4 { "gemini-2.5-flash" } else { "gemini-2.5-pro" };
    native(model, &format!("Summarise report {n}. {}", "It is about water. ".repeat(10)))
}

fn bob(n: u32) -> Sent {
    native("gemini-2.5-flash", &format!("What is {n} times {n}?"))
}

fn carol(n: u32) -> Sent {
    let messages = json!([{ "role": "user", "content": format!("Tell me story {n}.") }]);
    let options = json!({ "include_usage": true });
    let body = json!({
        "model": "gemini-2.5-flash-lite", "stream": true, "stream_options": options, "messages": messages,
    });
    Sent { path: "/v1/chat/completions".to_owned(), body }
}

/// The callers, until this is dropped or their time is over.
pub(super) struct Traffic {
    has_ended: Arc<AtomicBool>,
}

impl Traffic {
    /// Lets the callers begin, each on a thread of its own, and calls `found` with the id of a request that is worth an
    /// explanation, once there is one.
    pub(super) fn start(
        clients: SocketAddr,
        operator: SocketAddr,
        found: impl FnOnce(&str) + Send + 'static,
    ) -> Self {
        let has_ended = Arc::new(AtomicBool::new(false));
        let clients = reachable(clients);
        for caller in CALLERS {
            let has_ended = Arc::clone(&has_ended);
            std::thread::spawn(move || caller.call(clients, &has_ended));
        }
        let ended = Arc::clone(&has_ended);
        std::thread::spawn(move || {
            if let Some(id) = worth_explaining(operator, &ended) {
                found(&id);
            }
        });
        Self { has_ended }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }
}

impl MadeUp {
    /// Sends one request after the other; ends with the first that finds no gateway.
    fn call(self, gateway: SocketAddr, has_ended: &AtomicBool) {
        let begun = Instant::now();
        let header = format!("authorization: Bearer {}\r\n", self.token);
        let native = format!("x-goog-api-key: {}\r\n", self.token);
        for n in 0.. {
            let Sent { path, body } = (self.sends)(n);
            let credential = if path.starts_with("/v1beta/") { &native } else { &header };
            let headers = format!("{credential}content-type: application/json\r\n");
            let body = body.to_string();
            let request = LocalRequest { method: "POST", path: &path, headers: &headers, body: &body };
            let sent = local_http::ask(gateway, request, PATIENCE);
            let is_gone = sent.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
            let until = Instant::now() + if n < self.first { LOOK } else { self.pause };
            while Instant::now() < until && !has_ended.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
            }
            if is_gone || has_ended.load(Ordering::Relaxed) || begun.elapsed() > LASTS {
                return;
            }
        }
    }
}

/// A request that Google refused on one key and answered on another.
fn worth_explaining(operator: SocketAddr, has_ended: &AtomicBool) -> Option<String> {
    let begun = Instant::now();
    let header = format!("authorization: Bearer {ADMIN}\r\n");
    let path = "/api/requests?fault=QuotaMinute&status=200&limit=1";
    while begun.elapsed() < FIND_WITHIN && !has_ended.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
        let request = LocalRequest { method: "GET", path, headers: &header, body: "" };
        let Ok(answer) = local_http::ask(operator, request, PATIENCE) else { continue };
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        if let Some(id) = body["requests"][0]["id"].as_str() {
            return Some(id.to_owned());
        }
    }
    None
}
