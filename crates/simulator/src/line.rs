//! The socket under hyper: carries out orders to write bytes of its own or to break the connection, and keeps the request
//! head as it came.
//! It sits above TLS, so that "all is flushed" means what hyper means by it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::frames::{Frames, PREFACE};

/// Largest request head kept.
const HEAD_LIMIT: usize = 128 * 1024;

/// How a connection is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// RST.
    Reset,
    /// FIN, without what HTTP (or TLS) says at an orderly end.
    Fin,
}

#[derive(Debug)]
struct Order {
    first_write: Bytes,
    /// None: the connection goes on.
    then: Option<Break>,
}

/// The side of a connection that request handlers reach.
#[derive(Debug, Default)]
pub(crate) struct Control {
    ordered: AtomicBool,
    orders: Mutex<VecDeque<Order>>,
    waker: AtomicWaker,
    tap: Mutex<Tap>,
}

/// Where a request came from: its connection, and its stream where that has several.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) control: Arc<Control>,
    /// None over HTTP/1.
    pub(crate) stream: Option<u32>,
}

/// What is kept of the bytes that come in.
#[derive(Debug)]
struct Tap {
    open: bool,
    bytes: Vec<u8>,
    /// Over HTTP/2.
    frames: Option<Frames>,
    /// What becomes of the connection when another request begins.
    at_next_request: Option<Break>,
}

impl Default for Tap {
    fn default() -> Self {
        Self { open: true, bytes: Vec::new(), frames: None, at_next_request: None }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    /// Breaks the connection as soon as everything handed to hyper so far is in the kernel's hands, `first_write` after it.
    pub(crate) fn break_after(&self, first_write: Bytes, then: Break) {
        self.order(Order { first_write, then: Some(then) });
    }

    /// Writes bytes of HTTP/2 between two frames of hyper's.
    pub(crate) fn write_between(&self, frames: impl Into<Bytes>) {
        self.order(Order { first_write: frames.into(), then: None });
    }

    fn order(&self, order: Order) {
        lock(&self.orders).push_back(order);
        self.ordered.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Breaks the connection as soon as the first byte of another request arrives, which hyper never sees.
    pub(crate) fn break_at_next_request(&self, how: Break) {
        lock(&self.tap).at_next_request = Some(how);
    }

    /// The stream of the request that hyper hands on now; none over HTTP/1.
    pub(crate) fn next_stream(&self) -> Option<u32> {
        lock(&self.tap).frames.as_mut()?.next_stream()
    }

    /// The bytes of the head that begins with `request_line`, if they were seen; from now on nothing is kept.
    pub(crate) fn take_head(&self, request_line: &str) -> Option<Box<[u8]>> {
        let mut tap = lock(&self.tap);
        tap.open = false;
        let bytes = std::mem::take(&mut tap.bytes);
        drop(tap);
        // Clients may send an empty line between requests (RFC 9112 §2.2).
        let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
        let head = bytes[start..].strip_prefix(request_line.as_bytes())?;
        let lines = &head[head.iter().position(|&b| b == b'\n')? + 1..];
        let mut end = 0;
        for line in lines.split_inclusive(|&b| b == b'\n') {
            if line == b"\r\n" || line == b"\n" {
                return Some(lines[..end].into());
            }
            end += line.len();
        }
        None
    }

    /// What arrives next is a new head.
    pub(crate) fn expect_head(&self) {
        let mut tap = lock(&self.tap);
        tap.open = true;
        tap.bytes.clear();
    }

    /// Looks at what came in; returns how the connection is to be broken because of it.
    fn saw(&self, bytes: &[u8]) -> Option<Break> {
        if bytes.is_empty() {
            return None;
        }
        let mut tap = lock(&self.tap);
        if tap.open && tap.frames.is_none() {
            let room = HEAD_LIMIT.saturating_sub(tap.bytes.len()).min(bytes.len());
            tap.bytes.extend_from_slice(&bytes[..room]);
            if tap.bytes.starts_with(PREFACE) {
                let seen = std::mem::take(&mut tap.bytes);
                tap.open = false;
                tap.frames.insert(Frames::after_preface()).read(&seen);
            }
            return tap.at_next_request;
        }
        let goes_on = tap.frames.as_mut().is_some_and(|frames| !frames.read(bytes));
        if goes_on { None } else { tap.at_next_request }
    }
}

/// A plain or TLS connection.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_mut().0,
        }
    }
}

/// The connection as hyper sees it.
#[derive(Debug)]
pub(crate) struct Line {
    stream: Stream,
    control: Arc<Control>,
    broken: bool,
}

impl Line {
    pub(crate) fn plain(tcp: TcpStream, control: Arc<Control>) -> Self {
        Self { stream: Stream::Plain(tcp), control, broken: false }
    }

    pub(crate) fn tls(tls: TlsStream<TcpStream>, control: Arc<Control>) -> Self {
        Self { stream: Stream::Tls(Box::new(tls)), control, broken: false }
    }

    fn poll_stream_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_stream_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    /// Carries out the orders that there are. An error makes hyper drop the connection.
    fn poll_orders(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if !self.control.ordered.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        loop {
            let Some(mut order) = lock(&self.control.orders).pop_front() else {
                return Poll::Ready(Ok(()));
            };
            let written = self.poll_first_write(cx, &mut order.first_write);
            if written.is_pending() {
                lock(&self.control.orders).push_front(order);
                return Poll::Pending;
            }
            ready!(written)?;
            if let Some(how) = order.then {
                return self.poll_break(cx, how);
            }
        }
    }

    fn poll_first_write(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<()>> {
        while bytes.has_remaining() {
            let written = ready!(self.poll_stream_write(cx, bytes))?;
            bytes.advance(written);
        }
        self.poll_stream_flush(cx)
    }

    /// Always an error, at which hyper lets go of the connection.
    fn poll_break(&mut self, cx: &mut Context<'_>, how: Break) -> Poll<io::Result<()>> {
        let tcp = self.stream.tcp();
        match how {
            Break::Reset => tcp.set_zero_linger()?,
            Break::Fin => ready!(Pin::new(tcp).poll_shutdown(cx))?,
        }
        self.broken = true;
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // An order may be given by a task other than the connection's (HTTP/2): this is what wakes the connection.
        self.control.waker.register(cx.waker());
        let before = buf.filled().len();
        let polled = match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        };
        let broken = self.control.saw(&buf.filled()[before..]);
        if let Some(how) = broken {
            buf.set_filled(before);
            return self.poll_break(cx, how);
        }
        polled
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_stream_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Stream::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self.stream, Stream::Plain(_))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_stream_flush(cx))?;
        self.poll_orders(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
