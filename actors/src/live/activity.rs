//! When a connection last moved. A Live session may be silent for long, so what tells a dead one from a quiet one is
//! whether it answers a ping; and a message of 16 MiB on a slow line is a sign of life long before it is whole.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// See the module. Shared by the connection and whoever watches it, on one thread.
#[derive(Debug)]
pub(super) struct Activity {
    read: Cell<Instant>,
    wrote: Cell<Instant>,
    /// Since when somebody waits for the next message; `None` while nobody reads.
    reading: Cell<Option<Instant>>,
}

impl Activity {
    fn new() -> Self {
        let now = Instant::now();
        Self { read: Cell::new(now), wrote: Cell::new(now), reading: Cell::new(None) }
    }

    /// When the other side last took a byte.
    pub(super) fn wrote(&self) -> Instant {
        self.wrote.get()
    }

    /// From now on a message is waited for.
    pub(super) fn begin_reading(&self) {
        self.reading.set(Some(Instant::now()));
    }

    /// The messages that came are being dealt with: what the other side sends now is not read, however much it is.
    pub(super) fn stop_reading(&self) {
        self.reading.set(None);
    }

    /// Since when nothing has come that was waited for; `None` while nobody waits.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        Some(self.reading.get()?.max(self.read.get()))
    }
}

/// A connection whose activity is noted.
#[derive(Debug)]
pub(super) struct Watched<S> {
    inner: S,
    activity: Rc<Activity>,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S) -> (Self, Rc<Activity>) {
        let activity = Rc::new(Activity::new());
        (Self { inner, activity: Rc::clone(&activity) }, activity)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.read.set(Instant::now());
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(1..)) = polled {
            self.activity.wrote.set(Instant::now());
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
