//! The bytes of one connection, each call on it bounded by a moment at which it ends, however few bytes come at a time. The
//! client library's own connection bounds each read alone, and trusts either the system's authorities or the operator's.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use crate::address::Endpoint;

/// A connection, with TLS or without.
pub(super) enum RedisStream {
    Plain(TimedSocket),
    Tls(Box<StreamOwned<ClientConnection, TimedSocket>>),
}

impl RedisStream {
    /// Connects to the first address of the endpoint that answers until `end`.
    pub(super) fn connect(
        endpoint: &Endpoint,
        tls: Option<&Arc<ClientConfig>>,
        end: Instant,
    ) -> io::Result<Self> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (endpoint.host.as_str(), endpoint.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, left(end)?) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    return Self::over(TimedSocket { socket, end }, endpoint, tls);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn over(
        mut socket: TimedSocket,
        endpoint: &Endpoint,
        tls: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Self> {
        let Some(config) = tls else { return Ok(Self::Plain(socket)) };
        let name = ServerName::try_from(endpoint.host.clone()).map_err(io::Error::other)?;
        let mut session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(session, socket))))
    }

    /// Sets when all that is read and written from now on has to be over.
    pub(super) fn set_end(&mut self, end: Instant) {
        match self {
            Self::Plain(socket) => socket.end = end,
            Self::Tls(stream) => stream.sock.end = end,
        }
    }

    /// Returns whether the other side has closed, as far as this one has heard. What it says unasked (an error before it
    /// closes) counts as that.
    pub(super) fn has_ended(&mut self) -> bool {
        let ended = self.socket().set_nonblocking(true).is_err() || self.hears_something();
        self.socket().set_nonblocking(false).is_err() || ended
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => &socket.socket,
            Self::Tls(stream) => &stream.sock.socket,
        }
    }

    /// On a socket that does not block. Under TLS the other side may say something of the session, which is nothing.
    fn hears_something(&mut self) -> bool {
        let heard = match self {
            Self::Plain(socket) => socket.socket.peek(&mut [0]),
            Self::Tls(stream) => loop {
                match stream.conn.read_tls(&mut &stream.sock.socket) {
                    Ok(length) if length > 0 => {
                        let Ok(state) = stream.conn.process_new_packets() else { return true };
                        if state.peer_has_closed() || state.plaintext_bytes_to_read() > 0 {
                            return true;
                        }
                    }
                    ended => break ended,
                }
            },
        };
        !heard.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Read for RedisStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for RedisStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A socket on which nothing lasts beyond `end`.
pub(super) struct TimedSocket {
    socket: TcpStream,
    end: Instant,
}

impl Read for TimedSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.end)?))?;
        self.socket.read(buffer).map_err(timed_out)
    }
}

impl Write for TimedSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.end)?))?;
        self.socket.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// The time until `end`; an error if there is none.
fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A socket whose time is up says that it would block.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}
