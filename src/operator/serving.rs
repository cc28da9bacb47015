//! The connections of the operator's listener: its socket, TLS where it has some, and HTTP/1.1 over both. What is answered is in
//! `api`, `events` and `assets`; `mod.rs` starts it.

use actix_http::{HttpService, Request, error::DispatchError};
use actix_server::Server;
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::{
    Error,
    body::MessageBody,
    dev::{AppConfig, ServiceResponse},
    rt::net::TcpStream,
};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// How many connections there may be at once. Programs and pages of one operator need few.
const MOST_CONNECTIONS: usize = 1024;
/// How long a client may take for its handshake, and as long again for a request's head.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
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
    let server = Server::build().workers(1).max_concurrent_connections(MOST_CONNECTIONS).disable_signals();
    let Some(mut tls) = tls else {
        let plain = move || fn_service(async |socket| Ok(accepted(socket))).and_then(http(app()));
        return Ok(server.listen("operator", socket, plain)?.run());
    };
    tls.alpn_protocols.push(b"http/1.1".to_vec());
    let tls = Arc::new(tls);
    let sealed = move || {
        let acceptor = TlsAcceptor::from(Arc::clone(&tls));
        let shake_hands = move |socket| {
            let acceptor = acceptor.clone();
            async move {
                let (socket, peer) = accepted(socket);
                let stream = tokio::time::timeout(HEAD_WITHIN, acceptor.accept(socket)).await;
                let stream =
                    stream.map_err(|_| DispatchError::SlowRequestTimeout)?.map_err(DispatchError::Io)?;
                Ok((stream, peer))
            }
        };
        fn_service(shake_hands).and_then(http(app()))
    };
    Ok(server.listen("operator", socket, sealed)?.run())
}

fn accepted(socket: TcpStream) -> (TcpStream, Option<SocketAddr>) {
    let _ = socket.set_nodelay(true); // or Nagle's algorithm holds back the small events of the page
    let peer = socket.peer_addr().ok();
    (socket, peer)
}

/// HTTP/1.1 over streams of either kind.
fn http<T, F, S, B>(
    app: F,
) -> impl ServiceFactory<(T, Option<SocketAddr>), Config = (), Response = (), Error = DispatchError, InitError = ()>
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
        .client_request_timeout(HEAD_WITHIN)
        .client_disconnect_timeout(DISCONNECT_WITHIN)
        .h1(map_config(app, |()| AppConfig::default()))
}
