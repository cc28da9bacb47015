//! The clients' listener: its sockets, TLS, and on each worker the connections and the HTTP/1.1 server over them. What is
//! answered is the business of `http`; when it ends, that of `service`; how the listener closes, that of `closing`.

use crate::{
    closing::Closing,
    connections::{ClientStream, Connection, ConnectionBounds, Connections, Newcomers, SheddableStream},
    http::{WorkerState, around, routes},
    memory_return::give_back,
    settings, socket,
};
use actix_http::{Extensions, HttpService, error::DispatchError};
use actix_server::{GracefulShutdownSignal, Server, ServerBuilder};
use actix_service::{
    IntoServiceFactory as _, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_web::{App, Error, dev::AppConfig, rt::net::TcpStream};
use socket2::{Domain, Socket, Type};
use std::{
    future::ready,
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;

/// How much of an answer is gathered before it is written: more than a piece usually has, so that the last one goes out in
/// one write with the end. As much, and one more piece, lies there for a client that does not read.
const WRITE_BUFFER_BYTES: usize = 24 * 1024;

/// How long an answer's last bytes may take where its connection ends with it.
const DISCONNECT_WITHIN: Duration = Duration::from_secs(2);

/// The listener, bound and not yet served.
pub(crate) struct ClientListener {
    sockets: Vec<TcpListener>,
    address: SocketAddr,
}

/// What the workers serve with.
pub(crate) struct Serving<F> {
    pub(crate) settings: settings::Server,
    /// How long the server may take to end after the drain.
    pub(crate) shutdown_timeout_s: u64,
    pub(crate) tls: Option<ServerConfig>,
    /// Makes what the handlers of a worker share, on that worker.
    pub(crate) state: F,
}

impl ClientListener {
    /// Binds every address that `host` stands for, as far as they can be; the error is that of the last.
    pub(crate) fn bind(host: &str, port: u16) -> io::Result<Self> {
        let mut sockets = Vec::new();
        let mut failed = io::Error::new(io::ErrorKind::AddrNotAvailable, "it stands for no address");
        for address in (host, port).to_socket_addrs()? {
            match listen(address) {
                Ok(socket) => sockets.push(socket),
                Err(error) => failed = error,
            }
        }
        let address = sockets.first().ok_or(failed)?.local_addr()?;
        Ok(Self { sockets, address })
    }

    /// The first address that is listened on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts the workers. The second is for the end of it.
    pub(crate) fn serve<F>(self, serving: Serving<F>) -> io::Result<(Server, Closing)>
    where
        F: Fn() -> Rc<WorkerState> + Clone + Send + 'static,
    {
        let Serving { settings, shutdown_timeout_s, tls, state } = serving;
        let bounds = ConnectionBounds::of(&settings);
        let mut server = Server::build()
            .max_concurrent_connections(bounds.most_accepted())
            .shutdown_timeout(shutdown_timeout_s)
            .disable_signals();
        if settings.workers > 0 {
            server = server.workers(settings.workers);
        }
        let tls = tls.map(|mut tls| {
            tls.alpn_protocols.push(b"http/1.1".to_vec());
            Arc::new(tls)
        });
        let newcomers = Newcomers::default();
        let closing = Closing::of(&self.sockets, newcomers.clone())?;
        for socket in self.sockets {
            let door = DoorPlan { settings: settings.clone(), newcomers: newcomers.clone() };
            server = listen_with(server, socket, door, tls.clone(), state.clone())?;
        }
        Ok((server.run(), closing))
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// What a worker makes its door from.
#[derive(Clone)]
struct DoorPlan {
    settings: settings::Server,
    newcomers: Newcomers,
}

fn listen_with<F>(
    server: ServerBuilder,
    socket: TcpListener,
    plan: DoorPlan,
    tls: Option<Arc<ServerConfig>>,
    state: F,
) -> io::Result<ServerBuilder>
where
    F: Fn() -> Rc<WorkerState> + Clone + Send + 'static,
{
    let ending = server.graceful_shutdown_signal();
    let worker = move || {
        let state = state();
        Worker {
            door: Rc::new(Door::new(&plan, Rc::clone(&state))),
            settings: plan.settings.clone(),
            ending: ending.clone(),
            state,
        }
    };
    match tls {
        None => server.listen("clients", socket, move || {
            let worker = worker();
            let door = Rc::clone(&worker.door);
            fn_service(move |socket| {
                let (stream, connection, peer) = door.enter(socket, false);
                ready(Ok((ClientStream::new(stream, connection), peer)))
            })
            .and_then(worker.http())
        }),
        Some(tls) => server.listen("clients", socket, move || {
            let worker = worker();
            let (door, acceptor) = (Rc::clone(&worker.door), TlsAcceptor::from(Arc::clone(&tls)));
            fn_service(move |socket| {
                let (door, acceptor) = (Rc::clone(&door), acceptor.clone());
                async move {
                    let (stream, connection, peer) = door.enter(socket, true);
                    let handshake =
                        tokio::time::timeout(door.handshake_within, acceptor.accept(stream)).await;
                    let stream = handshake
                        .map_err(|_| DispatchError::SlowRequestTimeout)?
                        .map_err(DispatchError::Io)?;
                    Ok((ClientStream::new(stream, connection), peer))
                }
            })
            .and_then(worker.http())
        }),
    }
}

/// Where connections come in on a worker.
struct Door {
    connections: Rc<Connections>,
    state: Rc<WorkerState>,
    handshake_within: Duration,
}

impl Door {
    fn new(plan: &DoorPlan, state: Rc<WorkerState>) -> Self {
        let DoorPlan { settings, newcomers } = plan;
        let connections = Connections::new(ConnectionBounds::of(settings), newcomers.clone());
        actix_web::rt::spawn(Rc::clone(&connections).sweep());
        actix_web::rt::spawn(give_back(Rc::clone(&connections)));
        Self { connections, state, handshake_within: Duration::from_secs(settings.head_timeout_s) }
    }

    fn enter(
        &self,
        socket: TcpStream,
        is_secure: bool,
    ) -> (SheddableStream, Rc<Connection>, Option<SocketAddr>) {
        let _ = socket.set_nodelay(true); // or Nagle's algorithm holds back the small events of streams
        let (state, _) = self.state.take();
        socket::bound(&socket, Duration::from_secs(state.settings.write_timeout_s));
        let peer = socket.peer_addr().ok();
        let is_proxy = peer.is_some_and(|peer| state.origins.is_proxy(peer.ip()));
        let connection = self.connections.open(peer.map(|peer| peer.ip()), is_proxy, is_secure);
        (SheddableStream::new(socket, Rc::clone(&connection)), connection, peer)
    }
}

/// What a worker serves its connections with.
struct Worker {
    door: Rc<Door>,
    settings: settings::Server,
    ending: GracefulShutdownSignal,
    state: Rc<WorkerState>,
}

impl Worker {
    /// HTTP/1.1 over streams of either kind.
    fn http<S>(
        self,
    ) -> impl ServiceFactory<
        (ClientStream<S>, Option<SocketAddr>),
        Config = (),
        Response = (),
        Error = DispatchError,
        InitError = (),
    >
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let Self { settings, ending, state, .. } = self;
        let app = App::new()
            .wrap_fn(move |request, routes| around(&state, request, routes))
            .configure(routes)
            .into_factory()
            .map_err(|error: Error| error.error_response());
        HttpService::build()
            .graceful_shutdown_signal(move || {
                let ending = ending.clone();
                async move { ending.notified().await }
            })
            .keep_alive(Duration::from_secs(settings.keep_alive_s))
            .client_request_timeout(Duration::from_secs(settings.head_timeout_s))
            .client_disconnect_timeout(DISCONNECT_WITHIN)
            .h1_allow_half_closed(false) // or a client that has left is noticed only at the next write
            .h1_write_buffer_size(WRITE_BUFFER_BYTES)
            .on_connect_ext(|stream: &ClientStream<S>, data: &mut Extensions| {
                data.insert(Rc::clone(stream.connection()));
            })
            .h1(map_config(app, |()| AppConfig::default()))
    }
}
