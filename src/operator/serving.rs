//! The connections of the operator's listener: its socket, TLS where it has some, and HTTP/1.1 over both, framed and bounded as
//! the clients' are. What is answered is in `api`, `events` and `assets`; `mod.rs` starts it.

use crate::{
    connections::{
        ClientStream, ConnectionBounds, Connections, CountedBody, HttpExchange, Newcomers, SheddableStream,
    },
    socket,
};
use actix_http::{Extensions, HttpService, Request, error::DispatchError};
use actix_server::Server;
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::{
    Error,
    body::MessageBody,
    dev::{AppConfig, ServiceRequest, ServiceResponse},
    middleware::Next,
    rt::net::TcpStream,
};
use std::{
    future::ready,
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// How long a client may take for its handshake, and as long again for a request's head.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection may lie idle.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How many connections there may be. Programs and pages of one operator need few.
const BOUNDS: ConnectionBounds = ConnectionBounds {
    most: 1024,
    most_unknown: 256,
    unknown_idle: HEAD_WITHIN,
    known_idle: Duration::from_secs(KEEP_ALIVE.as_secs() + HEAD_WITHIN.as_secs()),
};
/// How long a client may take nothing of an answer.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// How long an answer's last bytes may take where its connection ends with it.
const DISCONNECT_WITHIN: Duration = Duration::from_secs(1);

/// Serves what `app` makes on this socket.
pub(super) fn serve<A, F, S, B>(socket: TcpListener, tls: Option<ServerConfig>, app: A) -> io::Result<Server>
where
    A: Fn() -> F + Clone + Send + 'static,
    F: IntoServiceFactory<S, Request>,
    S: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    socket.set_nonblocking(true)?;
    let most = BOUNDS.most_accepted();
    let server = Server::build().workers(1).max_concurrent_connections(most).disable_signals();
    let Some(mut tls) = tls else {
        let plain = move || {
            let connections = connections();
            fn_service(move |socket| {
                let (stream, peer) = accepted(socket, &connections, false);
                let connection = Rc::clone(stream.connection());
                ready(Ok((ClientStream::new(stream, connection), peer)))
            })
            .and_then(http(app()))
        };
        return Ok(server.listen("operator", socket, plain)?.run());
    };
    tls.alpn_protocols.push(b"http/1.1".to_vec());
    let tls = Arc::new(tls);
    let sealed = move || {
        let (connections, acceptor) = (connections(), TlsAcceptor::from(Arc::clone(&tls)));
        let shake_hands = move |socket| {
            let (connections, acceptor) = (Rc::clone(&connections), acceptor.clone());
            async move {
                let (stream, peer) = accepted(socket, &connections, true);
                let connection = Rc::clone(stream.connection());
                let stream = tokio::time::timeout(HEAD_WITHIN, acceptor.accept(stream)).await;
                let stream =
                    stream.map_err(|_| DispatchError::SlowRequestTimeout)?.map_err(DispatchError::Io)?;
                Ok((ClientStream::new(stream, connection), peer))
            }
        };
        fn_service(shake_hands).and_then(http(app()))
    };
    Ok(server.listen("operator", socket, sealed)?.run())
}

/// Wraps every request: says how its connection goes on, and counts it there.
pub(super) async fn exchange<B: MessageBody + Unpin>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<CountedBody<B>>, Error> {
    let exchange = HttpExchange::begin(&request);
    Ok(exchange.answer(next.call(request).await?))
}

/// The connections of a worker.
fn connections() -> Rc<Connections> {
    let connections = Connections::new(BOUNDS, Newcomers::default());
    actix_web::rt::spawn(Rc::clone(&connections).sweep());
    connections
}

fn accepted(
    socket: TcpStream,
    connections: &Rc<Connections>,
    is_secure: bool,
) -> (SheddableStream, Option<SocketAddr>) {
    let _ = socket.set_nodelay(true); // or Nagle's algorithm holds back the small events of the page
    socket::bound(&socket, WRITE_WITHIN);
    let peer = socket.peer_addr().ok();
    let connection = connections.open(peer.map(|peer| peer.ip()), false, is_secure);
    (SheddableStream::new(socket, connection), peer)
}

/// HTTP/1.1 over streams of either kind.
fn http<T, F, S, B>(
    app: F,
) -> impl ServiceFactory<
    (ClientStream<T>, Option<SocketAddr>),
    Config = (),
    Response = (),
    Error = DispatchError,
    InitError = (),
>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    F: IntoServiceFactory<S, Request>,
    S: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    let app = app.into_factory().map_err(|error: Error| error.error_response());
    HttpService::build()
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_WITHIN)
        .client_disconnect_timeout(DISCONNECT_WITHIN)
        .on_connect_ext(|stream: &ClientStream<T>, data: &mut Extensions| {
            data.insert(Rc::clone(stream.connection()));
        })
        .h1(map_config(app, |()| AppConfig::default()))
}
