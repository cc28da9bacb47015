//! HTTP/1.1 written and read byte by byte, for requests that no HTTP library would send and answers whose end matters.

use std::{fmt::Write as _, io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Longer than any answer of a test may take to move on.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body ended as its framing says it must.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }
}

/// A request with a `Host` and, where there is a body, its length.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: gateway\r\n");
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    if !body.is_empty() {
        let _ = write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    text + "\r\n" + body
}

/// Sends one request on a connection of its own.
pub(crate) async fn exchange(authority: &str, request: impl AsRef<[u8]>) -> Answer {
    let mut wire = Wire::connect(authority).await;
    wire.send(request).await.unwrap();
    wire.answer().await.expect("an answer")
}

impl Wire {
    pub(crate) async fn connect(authority: &str) -> Self {
        Self::of(TcpStream::connect(authority).await.unwrap())
    }

    /// Over a connection that was made already.
    pub(crate) fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Takes so many bytes at most without reading them.
    pub(crate) async fn connect_with_window(authority: &str, bytes: u32) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(bytes).unwrap();
        Self { stream: socket.connect(authority.parse().unwrap()).await.unwrap(), read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Reads more; false at the end of the connection, whether it is orderly or not.
    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        read.expect("the connection is silent").is_ok_and(|count| count > 0)
    }

    /// Reads an answer's head; `None` when the connection ends before.
    pub(crate) async fn head(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Answer { status, headers, body: Vec::new(), whole: false })
    }

    /// Reads until these bytes have come, and keeps all. Fails when the connection ends before.
    pub(crate) async fn until(&mut self, bytes: &[u8]) {
        while !self.read.windows(bytes.len()).any(|window| window == bytes) {
            assert!(self.more().await, "the connection ended: {}", String::from_utf8_lossy(&self.read));
        }
    }

    /// Returns what was read and not taken yet.
    pub(crate) fn taken(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.read)
    }

    /// Reads an answer to anything but HEAD; `None` when the connection ends before its head.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let mut answer = self.head().await?;
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.whole = self.chunks(&mut answer.body).await;
        } else if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().unwrap();
            while self.read.len() < length && self.more().await {}
            answer.whole = self.read.len() >= length;
            answer.body = self.read.drain(..length.min(self.read.len())).collect();
        } else if answer.status == 100 || answer.status == 204 || answer.status == 304 {
            answer.whole = true;
        } else {
            while self.more().await {}
            answer.body = std::mem::take(&mut self.read);
        }
        Some(answer)
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let end = loop {
                if let Some(at) = self.read.windows(2).position(|bytes| bytes == b"\r\n") {
                    break at;
                }
                if !self.more().await {
                    return false;
                }
            };
            let size = usize::from_str_radix(std::str::from_utf8(&self.read[..end]).unwrap(), 16).unwrap();
            self.read.drain(..end + 2);
            while self.read.len() < size + 2 {
                if !self.more().await {
                    body.append(&mut self.read);
                    return false;
                }
            }
            body.extend(self.read.drain(..size));
            self.read.drain(..2);
            if size == 0 {
                return true;
            }
        }
    }

    /// Waits until the other side has closed, throwing away what it sends; false when it has not in time.
    pub(crate) async fn is_closed_within(&mut self, time: Duration) -> bool {
        let drain = async {
            while self.stream.read_buf(&mut self.read).await.is_ok_and(|count| count > 0) {
                self.read.clear();
            }
        };
        timeout(time, drain).await.is_ok()
    }
}
