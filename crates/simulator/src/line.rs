//! The socket under hyper: carries out orders to break the connection, and keeps the request head as it came.
//! It sits above TLS, so that "all is flushed" means what hyper means by it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

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
    then: Break,
}

/// The side of a connection that request handlers reach.
#[derive(Debug, Default)]
pub(crate) struct Control {
    ordered: AtomicBool,
    order: Mutex<Option<Order>>,
    waker: AtomicWaker,
    tap: Mutex<Tap>,
}

#[derive(Debug)]
struct Tap {
    open: bool,
    bytes: Vec<u8>,
}

impl Default for Tap {
    fn default() -> Self {
        Self { open: true, bytes: Vec::new() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    /// Breaks the connection as soon as everything handed to hyper so far is in the kernel's hands, `first_write` after it.
    pub(crate) fn break_after(&self, first_write: Bytes, then: Break) {
        *lock(&self.order) = Some(Order { first_write, then });
        self.ordered.store(true, Ordering::Release);
        self.waker.wake();
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

    fn saw(&self, bytes: &[u8]) {
        let mut tap = lock(&self.tap);
        if tap.open && !bytes.is_empty() {
            if tap.bytes.is_empty() && bytes.starts_with(b"PRI * HTTP/2") {
                tap.open = false;
                return;
            }
            let room = HEAD_LIMIT.saturating_sub(tap.bytes.len()).min(bytes.len());
            tap.bytes.extend_from_slice(&bytes[..room]);
        }
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
    control: std::sync::Arc<Control>,
}

impl Line {
    pub(crate) fn plain(tcp: TcpStream, control: std::sync::Arc<Control>) -> Self {
        Self { stream: Stream::Plain(tcp), control }
    }

    pub(crate) fn tls(tls: TlsStream<TcpStream>, control: std::sync::Arc<Control>) -> Self {
        Self { stream: Stream::Tls(Box::new(tls)), control }
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

    /// Carries out an order, if there is one. An error makes hyper drop the connection.
    fn poll_order(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.control.ordered.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        let Some(mut order) = lock(&self.control.order).take() else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        };
        while order.first_write.has_remaining() {
            match self.poll_stream_write(cx, &order.first_write) {
                Poll::Ready(Ok(written)) => order.first_write.advance(written),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    *lock(&self.control.order) = Some(order);
                    return Poll::Pending;
                }
            }
        }
        if self.poll_stream_flush(cx).is_pending() {
            *lock(&self.control.order) = Some(order);
            return Poll::Pending;
        }
        let tcp = self.stream.tcp();
        match order.then {
            Break::Reset => tcp.set_zero_linger()?,
            Break::Fin => ready!(Pin::new(tcp).poll_shutdown(cx))?,
        }
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
        self.control.saw(&buf.filled()[before..]);
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
        self.poll_order(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
