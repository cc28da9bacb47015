//! A raw HTTP/1.1 client for the tests: what is read here is what was on the wire.
#![allow(dead_code, unreachable_pub, missing_docs)] // each test file uses a part

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gemini_simulator::{Config, Key, LoggedRequest, Simulator};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub const KEY: &str = "AIzaAlpha";
pub const FLASH: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
pub const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
pub const CHAT: &str = "/v1beta/openai/chat/completions";

pub fn config() -> Config {
    Config { keys: vec![Key::valid(KEY, "alpha"), Key::valid("AQ.Beta", "beta")], ..Config::default() }
}

pub async fn simulator() -> Simulator {
    Simulator::start(config()).await.unwrap()
}

pub fn hello() -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": "hello over there"}]}]})
}

pub fn chat() -> Value {
    json!({"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hello over there"}]})
}

/// The bytes of a request that asks for the connection to be closed after it.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut lines =
        vec![format!("{method} {target} HTTP/1.1"), "Host: simulator".into(), "Connection: close".into()];
    lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
    if !body.is_empty() {
        lines.push("Content-Type: application/json".into());
        lines.push(format!("Content-Length: {}", body.len()));
    }
    (lines.join("\r\n") + "\r\n\r\n" + body).into_bytes()
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    /// As on the wire, transfer framing included.
    pub raw: Vec<u8>,
    /// How reading ended.
    pub end: std::io::Result<()>,
}

impl Reply {
    pub fn of(bytes: &[u8], end: std::io::Result<()>) -> Self {
        let cut = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
        let head = String::from_utf8(bytes[..cut].to_vec()).unwrap();
        let status = head[9..12].parse().unwrap();
        Self { status, head, raw: bytes[cut..].to_vec(), end }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (n, value) = line.split_once(": ")?;
            n.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub fn chunked(&self) -> bool {
        self.header("transfer-encoding") == Some("chunked")
    }

    /// The chunks of the body, and whether the final one came.
    pub fn chunks(&self) -> (Vec<Vec<u8>>, bool) {
        assert!(self.chunked(), "{}", self.head);
        let (mut chunks, mut rest) = (Vec::new(), &self.raw[..]);
        while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            rest = &rest[line + 2..];
            if size == 0 {
                assert_eq!(rest, b"\r\n");
                return (chunks, true);
            }
            chunks.push(rest[..size].to_vec());
            assert_eq!(&rest[size..size + 2], b"\r\n");
            rest = &rest[size + 2..];
        }
        assert!(rest.is_empty());
        (chunks, false)
    }

    pub fn body(&self) -> Vec<u8> {
        if self.chunked() { self.chunks().0.concat() } else { self.raw.clone() }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body()).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// Sends bytes and reads until the other side closes or breaks.
pub async fn raw(addr: SocketAddr, bytes: &[u8]) -> (Vec<u8>, std::io::Result<()>) {
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(bytes).await.unwrap();
    let mut got = Vec::new();
    let end = timeout(Duration::from_secs(20), async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match tcp.read(&mut buffer).await {
                Ok(0) => return Ok(()),
                Ok(n) => got.extend_from_slice(&buffer[..n]),
                Err(error) => return Err(error),
            }
        }
    });
    let end = end.await.expect("the answer ends");
    (got, end)
}

pub async fn call(
    sim: &Simulator,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let (bytes, end) = raw(sim.addr(), &request(method, target, headers, body)).await;
    Reply::of(&bytes, end)
}

pub async fn native(sim: &Simulator, target: &str, body: &Value) -> Reply {
    call(sim, "POST", target, &[("x-goog-api-key", KEY)], &body.to_string()).await
}

pub async fn openai(sim: &Simulator, target: &str, body: &Value) -> Reply {
    let bearer = format!("Bearer {KEY}");
    call(sim, "POST", target, &[("Authorization", &bearer)], &body.to_string()).await
}

pub async fn get(sim: &Simulator, target: &str) -> Reply {
    call(sim, "GET", target, &[("x-goog-api-key", KEY)], "").await
}

/// The newest logged request once `is` holds of it; fails after 2 s.
pub async fn logged(sim: &Simulator, is: impl Fn(&LoggedRequest) -> bool) -> LoggedRequest {
    let start = Instant::now();
    loop {
        if let Some(request) = sim.requests().pop()
            && is(&request)
        {
            return request;
        }
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", sim.requests().last());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until something holds; fails after 2 s.
pub async fn eventually(holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
