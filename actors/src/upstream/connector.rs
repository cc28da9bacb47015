//! Makes the connections to the upstream: direct, through an HTTP proxy's tunnel, or through a SOCKS proxy, with TLS where
//! the destination wants it. Each failure says at which step it came and which way was tried.

use super::{
    answer_first::AnswerFirst,
    names::{Names, NoAddress},
    proxy::{Proxies, Proxy},
};
use http::Uri;
use hyper_util::{
    client::{
        legacy::connect::{
            Connected, Connection, HttpConnector,
            proxy::{SocksV4, SocksV5, Tunnel},
        },
        proxy::matcher::Intercept,
    },
    rt::TokioIo,
};
use rustls::pki_types::ServerName;
use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower_service::Service;

/// What one stream's connection may hold in the kernel before it is read, in bytes; the kernel counts twice as much. Of
/// a connection that carries many streams HTTP/2's own windows bound each stream's share.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// At which step no connection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectStep {
    /// The name's address was asked for.
    Name,
    /// The host, or the proxy, was called.
    Call,
    /// The proxy was asked to connect.
    Proxy,
    /// TLS was spoken.
    Tls,
    /// The time for all of it was up.
    Time(Duration),
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct NoConnection {
    pub(crate) step: ConnectStep,
    /// The host that was to be reached, and through what.
    pub(crate) way: String,
    pub(super) source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl fmt::Display for NoConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            ConnectStep::Name => write!(f, "the name cannot be resolved"),
            ConnectStep::Call => write!(f, "no connection"),
            ConnectStep::Proxy => write!(f, "the proxy makes no connection"),
            ConnectStep::Tls => write!(f, "TLS fails"),
            ConnectStep::Time(time) => write!(f, "no connection within {} ms", time.as_millis()),
        }
    }
}

impl std::error::Error for NoConnection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

type Tcp = HttpConnector<Names>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes connections. See the module.
#[derive(Clone)]
pub(super) struct Connector {
    shared: Arc<ConnectorState>,
}

struct ConnectorState {
    tcp: Tcp,
    tls: Arc<rustls::ClientConfig>,
    /// To a proxy that speaks TLS itself.
    proxy_tls: Arc<rustls::ClientConfig>,
    proxies: Proxies,
    timeout: Arc<ConnectTimeout>,
}

/// How long making a connection may take. It may change while there are connections.
#[derive(Debug)]
pub(super) struct ConnectTimeout(AtomicU64);

impl ConnectTimeout {
    pub(super) fn new(timeout: Duration) -> Self {
        let this = Self(AtomicU64::new(0));
        this.set(timeout);
        this
    }

    /// Holds for connections that are begun from now on.
    pub(super) fn set(&self, timeout: Duration) {
        self.0.store(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

impl Connector {
    pub(super) fn new(
        tls: Arc<rustls::ClientConfig>,
        proxy_tls: Arc<rustls::ClientConfig>,
        proxies: Proxies,
        timeout: Arc<ConnectTimeout>,
    ) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Names::new());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        Self { shared: Arc::new(ConnectorState { tcp, tls, proxy_tls, proxies, timeout }) }
    }
}

impl Service<Uri> for Connector {
    type Response = Conn;
    type Error = NoConnection;
    type Future = Pin<Box<dyn Future<Output = Result<Conn, NoConnection>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoConnection>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let timeout = shared.timeout.get();
            let connecting = tokio::time::timeout(timeout, shared.connect(&destination));
            let (step, source) = match connecting.await {
                Ok(Ok(conn)) => return Ok(conn),
                Ok(Err((step, source))) => (step_of(step, &*source), Some(source)),
                Err(_) => (ConnectStep::Time(timeout), None),
            };
            Err(NoConnection { step, way: shared.way(&destination), source })
        })
    }
}

/// A name that is not found stops a call, whichever was called.
fn step_of(step: ConnectStep, source: &(dyn std::error::Error + 'static)) -> ConnectStep {
    let mut next = Some(source);
    while let Some(cause) = next {
        if cause.is::<NoAddress>() {
            return ConnectStep::Name;
        }
        next = cause.source();
    }
    step
}

impl ConnectorState {
    /// Says which way a destination is reached.
    fn way(&self, destination: &Uri) -> String {
        let host = destination.host().unwrap_or_default();
        let port = port_of(destination);
        match self.proxies.of(destination) {
            Some((proxy, _)) => format!("{host}:{port} through the proxy {proxy}"),
            None => format!("{host}:{port}"),
        }
    }

    /// Returns what makes a connection within the time that holds now.
    fn tcp(&self) -> Tcp {
        let mut tcp = self.tcp.clone();
        // So much for all the addresses of a name together: one that is dead must not take the time of all.
        tcp.set_connect_timeout(Some(self.timeout.get()));
        tcp
    }

    async fn connect(&self, destination: &Uri) -> Result<Conn, (ConnectStep, BoxError)> {
        let is_tls = destination.scheme_str() == Some("https");
        let Some((proxy, intercept)) = self.proxies.of(destination) else {
            let tcp = self.call(destination).await?;
            if !is_tls {
                return Ok(Conn::plain(tcp));
            }
            return self.secure(destination, tcp).await;
        };
        match intercept.uri().scheme_str() {
            Some("socks4" | "socks4a" | "socks5" | "socks5h") => {
                let tcp = self.through_socks(destination, proxy, &intercept).await?;
                if is_tls {
                    return self.secure(destination, tcp).await;
                }
                Ok(Conn::plain(tcp))
            }
            Some("https") if is_tls => {
                let to_proxy = ToProxy { tcp: self.tcp(), tls: Arc::clone(&self.proxy_tls) };
                let stream = tunnel(destination, &intercept, to_proxy).await?;
                self.secure(destination, stream.into_inner()).await
            }
            Some("https") => {
                let mut to_proxy = ToProxy { tcp: self.tcp(), tls: Arc::clone(&self.proxy_tls) };
                let stream = to_proxy.call(intercept.uri().clone()).await.map_err(at(ConnectStep::Proxy))?;
                Ok(Conn { is_to_proxy: true, ..Conn::new(stream) })
            }
            _ if is_tls => {
                let stream = tunnel(destination, &intercept, self.tcp()).await?;
                self.secure(destination, stream.into_inner()).await
            }
            _ => {
                let tcp = self.call(intercept.uri()).await?;
                Ok(Conn { is_to_proxy: true, ..Conn::plain(tcp) })
            }
        }
    }

    async fn call(&self, host: &Uri) -> Result<TcpStream, (ConnectStep, BoxError)> {
        let stream = self.tcp().call(host.clone()).await.map_err(at(ConnectStep::Call))?;
        Ok(stream.into_inner())
    }

    async fn through_socks(
        &self,
        destination: &Uri,
        proxy: &Proxy,
        intercept: &Intercept,
    ) -> Result<TcpStream, (ConnectStep, BoxError)> {
        let scheme = intercept.uri().scheme_str().unwrap_or_default();
        let is_v4 = scheme.starts_with("socks4");
        let mut host = destination.host().unwrap_or_default().to_owned();
        let port = port_of(destination);
        if matches!(scheme, "socks4" | "socks5") {
            let name = host.trim_matches(['[', ']']).to_owned();
            let addresses = tokio::net::lookup_host((name, port)).await;
            let mut addresses = addresses.map_err(|error| at(ConnectStep::Name)(NoAddress(error)))?;
            let fitting = addresses.find(|address| address.is_ipv4() || !is_v4);
            host = match fitting {
                Some(address) if address.is_ipv6() => format!("[{}]", address.ip()),
                Some(address) => address.ip().to_string(),
                None => {
                    return Err((
                        ConnectStep::Name,
                        format!("{host} has no IPv4 address for {proxy}").into(),
                    ));
                }
            };
        }
        let target = format!("http://{host}:{port}/").parse::<Uri>().map_err(at(ConnectStep::Proxy))?;
        let authority = intercept.uri().authority().map_or("", http::uri::Authority::as_str);
        let with_port =
            if intercept.uri().port().is_some() { authority.to_owned() } else { format!("{authority}:1080") };
        let at_proxy = format!("http://{with_port}/").parse::<Uri>().map_err(at(ConnectStep::Proxy))?;
        // The library's errors hide what it wraps, so the proxy is called here.
        let called = Called(Some(self.call(&at_proxy).await?));
        let stream = if is_v4 {
            SocksV4::new(at_proxy, called).call(target).await.map_err(at(ConnectStep::Proxy))
        } else {
            let mut socks = SocksV5::new(at_proxy, called);
            if let Some((user, password)) = intercept.raw_auth() {
                socks = socks.with_auth(user.to_owned(), password.to_owned());
            }
            socks.call(target).await.map_err(at(ConnectStep::Proxy))
        };
        Ok(stream?.into_inner())
    }

    async fn secure<S>(&self, destination: &Uri, stream: S) -> Result<Conn, (ConnectStep, BoxError)>
    where
        S: AsyncRead + AsyncWrite + LowestTcp + Send + Unpin + 'static,
    {
        let stream = handshake(&self.tls, destination, stream).await.map_err(at(ConnectStep::Tls))?;
        let (below, session) = stream.get_ref();
        let is_h2 = session.alpn_protocol() == Some(b"h2");
        if !is_h2 {
            bound(below.tcp());
        }
        Ok(Conn { is_h2, ..Conn::new(TokioIo::new(stream)) })
    }
}

/// The system's own connection below TLS.
trait LowestTcp {
    fn tcp(&self) -> &TcpStream;
}

impl LowestTcp for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl LowestTcp for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Bounds what the kernel keeps for a reader that is slow.
fn bound(tcp: &TcpStream) {
    // What cannot be set is the system's default.
    let _ = socket2::SockRef::from(tcp).set_recv_buffer_size(RECEIVE_BUFFER);
}

fn port_of(destination: &Uri) -> u16 {
    let default = if destination.scheme_str() == Some("https") { 443 } else { 80 };
    destination.port_u16().unwrap_or(default)
}

fn at<E: Into<BoxError>>(step: ConnectStep) -> impl Fn(E) -> (ConnectStep, BoxError) {
    move |error| (step, error.into())
}

async fn tunnel<C>(
    destination: &Uri,
    intercept: &Intercept,
    to_proxy: C,
) -> Result<C::Response, (ConnectStep, BoxError)>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
    C::Response: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
{
    let mut tunnel = Tunnel::new(intercept.uri().clone(), to_proxy);
    if let Some(authorization) = intercept.basic_auth() {
        tunnel = tunnel.with_auth(authorization.clone());
    }
    tunnel.call(destination.clone()).await.map_err(at(ConnectStep::Proxy))
}

async fn handshake<S>(
    tls: &Arc<rustls::ClientConfig>,
    destination: &Uri,
    stream: S,
) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let host = destination.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    TlsConnector::from(Arc::clone(tls)).connect(name, stream).await
}

/// A connection that is there already.
struct Called(Option<TcpStream>);

impl Service<Uri> for Called {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<TokioIo<TcpStream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        std::future::ready(self.0.take().map(TokioIo::new).ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

/// Connects to a proxy over TLS.
#[derive(Clone)]
struct ToProxy {
    tcp: Tcp,
    tls: Arc<rustls::ClientConfig>,
}

impl Service<Uri> for ToProxy {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, proxy: Uri) -> Self::Future {
        let (calling, tls) = (self.tcp.call(proxy.clone()), Arc::clone(&self.tls));
        Box::pin(async move {
            let stream = calling.await?.into_inner();
            Ok(TokioIo::new(handshake(&tls, &proxy, stream).await?))
        })
    }
}

/// What is read and written of a connection.
trait Stream: hyper::rt::Read + hyper::rt::Write + Send + Unpin {}

impl<S: hyper::rt::Read + hyper::rt::Write + Send + Unpin> Stream for S {}

/// A connection to the upstream, over whatever it was made: plain, TLS, or either through a proxy.
pub(super) struct Conn {
    stream: Box<dyn Stream>,
    /// Whether it speaks HTTP/2.
    is_h2: bool,
    /// Whether it ends at a proxy, which is told the whole URL.
    is_to_proxy: bool,
}

impl Conn {
    /// Makes one of a connection that speaks HTTP/1.1 without TLS.
    fn plain(tcp: TcpStream) -> Self {
        bound(&tcp);
        Self::new(TokioIo::new(tcp))
    }

    fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(AnswerFirst::new(stream)), is_h2: false, is_to_proxy: false }
    }
}

impl Connection for Conn {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.is_to_proxy);
        if self.is_h2 { connected.negotiated_h2() } else { connected }
    }
}

impl hyper::rt::Read for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write_vectored(cx, bufs)
    }
}
