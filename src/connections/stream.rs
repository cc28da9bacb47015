//! A client's connection as actix-http reads and writes it: one that can be told to end, and one that says nothing of
//! upgrades which are not served. Neither holds bytes back.

use super::{Connection, upgrade};
use actix_web::rt::net::TcpStream;
use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The socket itself. Where its connection is shed it reads as ended, unless something has come that was not read yet.
#[derive(Debug)]
pub(crate) struct SheddableStream {
    socket: TcpStream,
    connection: Rc<Connection>,
}

/// The bytes of HTTP, over the socket or over TLS.
#[derive(Debug)]
pub(crate) struct ClientStream<S> {
    stream: S,
    connection: Rc<Connection>,
}

impl SheddableStream {
    pub(crate) fn new(socket: TcpStream, connection: Rc<Connection>) -> Self {
        Self { socket, connection }
    }
}

impl Drop for SheddableStream {
    fn drop(&mut self) {
        self.connection.close();
    }
}

impl<S> ClientStream<S> {
    pub(crate) fn new(stream: S, connection: Rc<Connection>) -> Self {
        Self { stream, connection }
    }

    /// Its entry among the worker's.
    pub(crate) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }
}

impl AsyncRead for SheddableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            // It was not idle after all.
            this.connection.is_shed.set(false);
        }
        if read.is_pending() {
            if this.connection.is_shed.get() {
                return Poll::Ready(Ok(()));
            }
            let mut waker = this.connection.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        heed(&this.connection, read)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if this.connection.expects_head.get() && buffer.filled().len() > before {
            this.connection.expects_head.set(false);
            upgrade::pass_over(&mut buffer.filled_mut()[before..]);
        }
        read
    }
}

/// Looks at what became of reading or writing: the kernel gives up a connection whose client acknowledges nothing.
fn heed<T>(connection: &Connection, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
    if let Poll::Ready(Err(error)) = &done
        && error.kind() == io::ErrorKind::TimedOut
    {
        connection.stall().note();
    }
    done
}

macro_rules! writes_to {
    ($stream:ident, $($impl:tt)*) => {
        $($impl)* {
            fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                let done = Pin::new(&mut self.$stream).poll_write(cx, bytes);
                heed(&self.connection, done)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                pieces: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let done = Pin::new(&mut self.$stream).poll_write_vectored(cx, pieces);
                heed(&self.connection, done)
            }

            fn is_write_vectored(&self) -> bool {
                self.$stream.is_write_vectored()
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let done = Pin::new(&mut self.$stream).poll_flush(cx);
                heed(&self.connection, done)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$stream).poll_shutdown(cx)
            }
        }
    };
}

writes_to!(socket, impl AsyncWrite for SheddableStream);
writes_to!(stream, impl<S: AsyncWrite + Unpin> AsyncWrite for ClientStream<S>);
