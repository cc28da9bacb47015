//! A connection whose peer may answer before it has read the request, and close: what it has said is still to be read then,
//! and tells more than that nothing can be written any longer.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

/// A stream that takes what its peer no longer reads for written. Its end is found by reading, behind the answer if there is
/// one; a peer that has gone without a word is as lost then as by the write.
pub(super) struct AnswerFirst<S> {
    stream: S,
    is_heard: bool,
}

impl<S> AnswerFirst<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, is_heard: true }
    }

    /// Returns `done` for a result that says that the peer has closed.
    fn unless_gone<T>(&mut self, result: io::Result<T>, done: T) -> io::Result<T> {
        let is_gone = |error: &io::Error| {
            matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
            )
        };
        match result {
            Err(error) if is_gone(&error) => {
                self.is_heard = false;
                Ok(done)
            }
            result => result,
        }
    }
}

impl<S: hyper::rt::Read + Unpin> hyper::rt::Read for AnswerFirst<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: hyper::rt::Write + Unpin> hyper::rt::Write for AnswerFirst<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if !self.is_heard {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        Poll::Ready(self.unless_gone(written, buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_heard {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(self.unless_gone(flushed, ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_heard {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if !self.is_heard {
            return Poll::Ready(Ok(length));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        Poll::Ready(self.unless_gone(written, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper_util::rt::TokioIo;
    use std::time::Duration;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    #[tokio::test]
    async fn what_a_peer_has_said_before_it_closed_is_read_though_nothing_can_be_written() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut stream = TokioIo::new(AnswerFirst::new(TokioIo::new(stream)));
        stream.write_all(b"a request that nobody reads").await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        peer.write_all(b"too long").await.unwrap();
        peer.readable().await.unwrap();
        drop(peer); // with bytes unread: the system resets the connection
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            stream.write_all(&vec![b'a'; 64 * 1024]).await.unwrap();
            stream.flush().await.unwrap();
        }
        let mut said = [0; 8];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"too long");
        assert!(!matches!(stream.read(&mut said).await, Ok(1..)), "the end is found by reading");
    }
}
