//! A client's connection as actix-http reads and writes it: one that can be told to end, and one that shows a request at a
//! time and says nothing of upgrades which are not served. Only what comes behind a request is held back, until its answer.

use super::{
    Connection,
    turn::{Passed, Turn},
    upgrade,
};
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

/// The most bytes that are held back: what comes behind them waits in the kernel.
const MOST_HELD: usize = 16 * 1024;

/// What actix-http refuses wherever trailers may stand.
const NO_TRAILER: &[u8] = b"\r\r";

/// The bytes of HTTP, over the socket or over TLS.
#[derive(Debug)]
pub(crate) struct ClientStream<S> {
    stream: S,
    connection: Rc<Connection>,
    turn: Turn,
    /// How many requests have passed before this one.
    passed: u64,
    /// What has come and is still to pass.
    held: Vec<u8>,
}

impl SheddableStream {
    pub(crate) fn new(socket: TcpStream, connection: Rc<Connection>) -> Self {
        Self { socket, connection }
    }

    /// Its entry among the worker's.
    pub(crate) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }
}

impl Drop for SheddableStream {
    fn drop(&mut self) {
        if self.connection.is_broken_off.get() {
            let _ = self.socket.set_zero_linger();
        }
        self.connection.close();
    }
}

impl<S> ClientStream<S> {
    pub(crate) fn new(stream: S, connection: Rc<Connection>) -> Self {
        Self { stream, connection, turn: Turn::default(), passed: 0, held: Vec::new() }
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

impl<S> ClientStream<S> {
    /// Whether the request is answered whose bytes have all passed: then it is the next one's turn.
    fn takes_turn(&mut self) -> bool {
        if self.turn.is_over() && self.connection.answered.get() > self.passed {
            self.passed += 1;
            self.turn = Turn::default();
        }
        !self.turn.is_over()
    }

    /// Leaves of the bytes that have come since `before` what is to pass now, and holds back the others.
    fn pass(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let new = &mut buffer.filled_mut()[before..];
        if self.turn.begins() {
            upgrade::pass_over(new);
        }
        match self.turn.pass(new) {
            Passed::Up(passed) => {
                // What is behind came before what is held already.
                self.held.splice(..0, new[passed..].iter().copied());
                buffer.set_filled(before + passed);
            }
            Passed::ThenRefused(passed) => {
                buffer.set_filled(before + passed);
                // One at least, as a byte was taken away; or this would be read as the end.
                let fits = NO_TRAILER.len().min(buffer.remaining());
                buffer.put_slice(&NO_TRAILER[..fits]);
                self.held = NO_TRAILER[fits..].to_vec();
            }
        }
    }
}

impl<S: AsyncRead + Unpin> ClientStream<S> {
    /// Waits for the answer, and looks whether the client still does.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waker = self.connection.turn_waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        let mut bytes = [0; 1024];
        while self.held.len() < MOST_HELD {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.held.extend_from_slice(buffer.filled());
                }
                ended_or_pending => return ended_or_pending,
            }
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.takes_turn() {
            return this.poll_answer(cx);
        }
        let before = buffer.filled().len();
        if this.held.is_empty() {
            let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
            if buffer.filled().len() == before {
                return read;
            }
        } else {
            let fits = this.held.len().min(buffer.remaining());
            buffer.put_slice(&this.held[..fits]);
            this.held.drain(..fits);
        }
        this.pass(buffer, before);
        Poll::Ready(Ok(()))
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
