//! The client's side of a session as the HTTP face hands it over: the bytes that come, a place for the bytes that go,
//! and a word when the client's connection is gone. Neutral types, so that this room never sees actix-web.

use bytes::{Buf, Bytes};
use futures_util::{Stream, stream::LocalBoxStream};
use std::{
    convert::Infallible,
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    sync::oneshot,
};

/// How many bytes may lie between the session and the client's socket.
const UNSENT_BYTES: usize = 64 * 1024;

/// The client's connection, upgraded.
pub struct ClientPipe {
    incoming: LocalBoxStream<'static, io::Result<Bytes>>,
    unread: Bytes,
    outgoing: DuplexStream,
}

/// Resolves when the client's connection is gone.
pub type Gone = oneshot::Receiver<Infallible>;

/// What the HTTP face writes to the client. To be dropped with the connection.
#[derive(Debug)]
pub struct Outlet {
    /// The bytes, until their end.
    pub bytes: DuplexStream,
    _here: oneshot::Sender<Infallible>,
}

impl ClientPipe {
    /// A pipe fed by what comes from the client, with what is to be written to it.
    pub fn new(incoming: LocalBoxStream<'static, io::Result<Bytes>>) -> (Self, Gone, Outlet) {
        let (outgoing, bytes) = tokio::io::duplex(UNSENT_BYTES);
        let (here, gone) = oneshot::channel();
        (Self { incoming, unread: Bytes::new(), outgoing }, gone, Outlet { bytes, _here: here })
    }
}

impl fmt::Debug for ClientPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientPipe").finish_non_exhaustive()
    }
}

impl AsyncRead for ClientPipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.incoming).poll_next(cx)) {
                Some(bytes) => self.unread = bytes?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let taken = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..taken]);
        self.unread.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientPipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.outgoing).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.outgoing).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.outgoing).poll_shutdown(cx)
    }
}
