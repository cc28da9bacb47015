//! The way to Google: one HTTP client a worker, so that a connection's task runs on the thread that uses it. It sends a
//! request once, and says of one that failed whether it can have been processed.

use super::{
    base_url::BaseUrl,
    causes::{self, Causes},
    connector::{ConnectTimeout, Connector, NoConnection},
    error::UpstreamError,
    lanes::{AnswerStream, Lanes},
    outage::OutageLog,
    proxy::{Proxies, ProxyUrl},
    redirect_hosts,
    tls::{self, Offer},
};
use bytes::Bytes;
use gemini::path::Surface;
use http::{HeaderMap, Method, Request, Response, Uri, header};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use std::{
    cell::OnceCell,
    fmt,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

/// How to reach the upstream.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// The native API's base URL: scheme, authority and perhaps a path that is put before every path.
    pub gemini_base: BaseUrl,
    /// The same for the OpenAI-compatible layer.
    pub openai_base: BaseUrl,
    /// For a connection to be made, TLS included.
    pub connect_timeout: Duration,
    /// For an answer's head to arrive.
    pub head_timeout: Duration,
    /// For the next bytes of an answer's body.
    pub idle_timeout: Duration,
    /// For a client to take the next bytes.
    pub write_timeout: Duration,
    /// A proxy for all upstream connections; without one the environment's `HTTPS_PROXY` and its like hold.
    pub proxy: Option<ProxyUrl>,
    /// Certificates (PEM) to trust besides the system's.
    pub extra_roots: Vec<Vec<u8>>,
    /// Hosts to which a redirect is followed, without a key: `storage.googleapis.com`, `*.googleapis.com`, `host:port`.
    pub redirect_hosts: Vec<String>,
}

impl UpstreamSettings {
    /// Returns these settings with what of `newer` can hold while the client is used: the times, and where redirects may
    /// lead. Where the upstream is, and how it is reached, stays.
    #[must_use]
    pub fn revised(&self, newer: &Self) -> Self {
        Self {
            connect_timeout: newer.connect_timeout,
            head_timeout: newer.head_timeout,
            idle_timeout: newer.idle_timeout,
            write_timeout: newer.write_timeout,
            redirect_hosts: newer.redirect_hosts.clone(),
            ..self.clone()
        }
    }
}

/// The longest head of an answer, in bytes, and the most that may lie read and unasked for of a connection that carries one
/// answer at a time.
const READ_BUFFER: usize = 24 * 1024;
/// HTTP/2's window of one answer, in bytes: what may lie unread of it.
const STREAM_WINDOW: u32 = 64 * 1024;
/// HTTP/2's window of a connection with all its answers: as large as can be. What lies unread of one answer, since its client does
/// not read, takes its part of it: were it less than all the answers' windows together, some of those would hold up the others.
const CONNECTION_WINDOW: u32 = i32::MAX.unsigned_abs();

/// How long a connection that is not in use is kept for the next request.
const IDLE: Duration = Duration::from_secs(90);
/// How many are. After a peak of streams over HTTP/1.1 there is one for each of them, at some 30 KiB.
const MOST_IDLE: usize = 128;

/// What all workers' clients meet on their way.
static OUTAGES: OutageLog = OutageLog::new();

/// One worker's way to the upstream.
pub(crate) struct Upstream {
    clients: Rc<Clients>,
    outages: &'static OutageLog,
    pub(crate) settings: UpstreamSettings,
}

/// One worker's clients, whatever of the settings changes.
struct Clients {
    client: HttpClient,
    /// For Live sessions, which begin with an upgrade of HTTP/1.1; made for the first of them.
    live: OnceCell<HttpClient>,
    /// For whether Google refuses a key as such: one question at a time.
    key_check: Semaphore,
}

impl Upstream {
    pub(crate) fn new(settings: UpstreamSettings) -> Result<Self, UpstreamError> {
        let client = HttpClient::new(&settings, Offer::Both)?;
        let clients = Clients { client, live: OnceCell::new(), key_check: Semaphore::new(1) };
        Ok(Self { clients: Rc::new(clients), outages: &OUTAGES, settings })
    }

    /// Returns the same way, with its connections, under settings that have changed.
    pub(crate) fn revised(&self, newer: &UpstreamSettings) -> Self {
        let settings = self.settings.revised(newer);
        for client in std::iter::once(&self.clients.client).chain(self.clients.live.get()) {
            client.connect_timeout.set(settings.connect_timeout);
        }
        Self { clients: Rc::clone(&self.clients), outages: self.outages, settings }
    }

    /// Returns the base URL of a surface.
    pub(crate) fn base(&self, surface: Surface) -> &BaseUrl {
        match surface {
            Surface::OpenAi => &self.settings.openai_base,
            _ => &self.settings.gemini_base,
        }
    }

    /// Whether a redirect to `url` may be followed.
    pub(super) fn may_lead_to(&self, url: &Url) -> bool {
        let without_tls = self.settings.gemini_base.root.scheme() == "http";
        redirect_hosts::is_allowed(&self.settings.redirect_hosts, url, without_tls)
    }

    /// Returns where a native path of our own is asked for.
    pub(crate) fn native_uri(&self, path: &str, query: Option<&str>) -> Result<Uri, SendError> {
        self.settings.gemini_base.join(path, query).map_err(|_| SendError::unsendable())
    }

    pub(crate) fn client(&self) -> &HttpClient {
        &self.clients.client
    }

    /// Returns the client that Live sessions are opened with.
    pub(crate) fn live_client(&self) -> Result<&HttpClient, UpstreamError> {
        if let Some(client) = self.clients.live.get() {
            return Ok(client);
        }
        let client = HttpClient::new(&self.settings, Offer::Http1)?;
        Ok(self.clients.live.get_or_init(|| client))
    }

    /// Returns the turn to ask about a key, if nobody is asking.
    pub(super) fn turn_to_check(&self) -> Option<SemaphorePermit<'_>> {
        self.clients.key_check.try_acquire().ok()
    }

    /// Hears that Google itself has answered.
    pub(crate) fn works(&self) {
        self.outages.works();
    }

    /// Hears that something on the way has answered in Google's place.
    pub(crate) fn met_another(&self, status: http::StatusCode, headers: &HeaderMap, surface: Surface) {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("no type");
        let kind: String = kind.chars().take(60).filter(|sign| !sign.is_control()).collect();
        let way = self.clients.client.way(self.base(surface));
        self.outages
            .failed(&format!("{way}: something on the way answers in Google's place ({status}, {kind})"));
    }
}

/// A request's body.
pub(crate) enum RequestBody {
    /// None, or one that is whole.
    Whole(Bytes),
    /// One that passes as it comes.
    Streamed(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyBroken> + Send>>),
}

/// Why a streamed body broke off.
pub(crate) type BodyBroken = Box<dyn std::error::Error + Send + Sync>;

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyBroken>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(http_body::Frame::data(std::mem::take(bytes))))),
            Self::Streamed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Whole(bytes) => http_body::SizeHint::with_exact(bytes.len() as u64),
            Self::Streamed(body) => body.size_hint(),
        }
    }
}

/// What is known of a request that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// There was no connection to send it on.
    NotConnected,
    /// The upstream has shown that it did not process it, or nothing of it went out.
    NotDone,
    /// Something went out, and it is not known what became of it.
    Unknown,
}

/// A request got no answer.
#[derive(Debug)]
pub(crate) struct SendError {
    pub(crate) fate: Fate,
    source: Option<legacy::Error>,
}

impl SendError {
    /// Of a request that has no address.
    pub(super) fn unsendable() -> Self {
        Self { fate: Fate::NotDone, source: None }
    }

    /// Says why, for the operator: the way that was tried, and the cause.
    pub(super) fn why(&self) -> String {
        let no_connection = self.source.as_ref().and_then(|error| causes::find::<NoConnection>(error));
        no_connection.map_or_else(|| self.to_string(), causes::why)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(error) => write!(f, "{}", Causes(error)),
            None => write!(f, "the request cannot be sent"),
        }
    }
}

/// Sends requests, over connections that it keeps.
pub(crate) struct HttpClient {
    lanes: Lanes<legacy::Client<Connector, RequestBody>>,
    proxies: Proxies,
    connect_timeout: Arc<ConnectTimeout>,
    /// Who hears of a way to Google that is gone; nobody of a way to others.
    outages: Option<&'static OutageLog>,
}

impl HttpClient {
    fn new(settings: &UpstreamSettings, offer: Offer) -> Result<Self, UpstreamError> {
        let schemes = [settings.gemini_base.root.scheme(), settings.openai_base.root.scheme()];
        let variable = |name: &str| std::env::var(name).ok();
        let proxies = Proxies::new(settings.proxy.as_ref(), &schemes, variable)?;
        Self::build(&settings.extra_roots, offer, proxies, settings.connect_timeout, Some(&OUTAGES))
    }

    /// Makes one that goes straight to hosts that are not Google's, whatever the proxies.
    pub(super) fn direct(extra_roots: &[Vec<u8>], connect_timeout: Duration) -> Result<Self, UpstreamError> {
        let proxies = Proxies::new(None, &[], |_| None)?;
        Self::build(extra_roots, Offer::Http1, proxies, connect_timeout, None)
    }

    fn build(
        extra_roots: &[Vec<u8>],
        offer: Offer,
        proxies: Proxies,
        connect_timeout: Duration,
        outages: Option<&'static OutageLog>,
    ) -> Result<Self, UpstreamError> {
        let connect_timeout = Arc::new(ConnectTimeout::new(connect_timeout));
        let to_host = tls::config(extra_roots, offer)?;
        let to_proxy = tls::config(extra_roots, Offer::Http1)?;
        let connector = Connector::new(to_host, to_proxy, proxies.clone(), Arc::clone(&connect_timeout));
        let lanes = Lanes::new(move || {
            legacy::Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(MOST_IDLE)
                .http1_max_buf_size(READ_BUFFER)
                .http2_initial_stream_window_size(STREAM_WINDOW)
                .http2_initial_connection_window_size(CONNECTION_WINDOW)
                .http2_keep_alive_interval(Duration::from_secs(20))
                .http2_keep_alive_timeout(Duration::from_secs(10))
                .build(connector.clone())
        });
        Ok(Self { lanes, proxies, connect_timeout, outages })
    }

    /// Sends a request and returns the head of its answer. What was certainly not sent on a connection that had gone is
    /// sent on another by the library itself; all else that is tried again is the pool's to decide.
    pub(crate) async fn send(
        &self,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: RequestBody,
    ) -> Result<Response<AnswerStream>, SendError> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        if let Some(authorization) = self.proxies.authorization(&uri) {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization);
        }
        *request.uri_mut() = uri;
        let (client, place) = self.lanes.take();
        let response = client.request(request).await.map_err(|error| {
            let fate = fate(&error);
            if let (Some(outages), Some(no_connection)) = (self.outages, causes::find::<NoConnection>(&error))
            {
                outages.failed(&causes::why(no_connection));
            }
            SendError { fate, source: Some(error) }
        })?;
        self.lanes.speaks(response.version());
        Ok(response.map(|body| AnswerStream::new(body, place)))
    }

    /// Says which way an address is reached.
    fn way(&self, base: &BaseUrl) -> String {
        let host = base.origin();
        match host.parse::<Uri>().ok().as_ref().and_then(|uri| self.proxies.of(uri)) {
            Some((proxy, _)) => format!("{host} through the proxy {proxy}"),
            None => host.to_owned(),
        }
    }
}

/// Reads from an error's causes what has become of its request.
fn fate(error: &legacy::Error) -> Fate {
    if error.is_connect() {
        return Fate::NotConnected;
    }
    let is_canceled = causes::find::<hyper::Error>(error).is_some_and(hyper::Error::is_canceled);
    let is_refused = causes::find::<h2::Error>(error).is_some_and(|error| {
        // A GOAWAY ends with its error only what lies above its last stream; that was not processed (RFC 9113 §6.8).
        let is_above = error.is_go_away() && error.is_remote();
        let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        is_above || (is_refused && error.is_remote())
    });
    if is_canceled || is_refused { Fate::NotDone } else { Fate::Unknown }
}
