//! The listener and its thread: accepts connections and leads each request to an answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::coding::Coding;
use crate::config::{Config, Shape};
use crate::control;
use crate::conversation::{ConversationState, ScriptedConversation};
use crate::dispatch;
use crate::door::{Door, Outage};
use crate::journal::LoggedRequest;
use crate::keys::{Key, KeyState};
use crate::lifecycle::Lifecycle;
use crate::line::{Control, Line, Peer};
use crate::live;
use crate::quota::Quota;
use crate::respond::AnyBody;
use crate::rule::{Rule, RuleState};
use crate::stats::Stats;
use crate::strictness::Strictness;
use crate::tls;
use crate::world::{OwnedResource, World, WrongOwner};

/// A running simulator, on threads of its own. Dropping it stops it and closes every connection.
pub struct Simulator {
    ca_pem: Option<String>,
    world: Arc<World>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Simulator {
    /// Starts to listen.
    ///
    /// # Errors
    /// When the address cannot be had, or threads or certificates cannot be made.
    pub async fn start(config: Config) -> io::Result<Self> {
        let (ca_pem, acceptor) = config.tls.map(tls::acceptor).transpose()?.unzip();
        let http = http(&config);
        let (stop, stopped) = oneshot::channel();
        let (started, starting) = oneshot::channel();
        let thread = std::thread::Builder::new().name("gemini-simulator".to_owned()).spawn(move || {
            match listening(config) {
                Ok((runtime, world)) => {
                    runtime.spawn(accept(acceptor, http, Arc::clone(&world)));
                    // Whoever waits for it may have given up; then `stop` is gone too.
                    let _ = started.send(Ok(world));
                    // Sent or dropped, the meaning is the same.
                    let _: Result<(), _> = stopped.blocking_recv();
                    runtime.shutdown_timeout(Duration::from_millis(500));
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        })?;
        let world: Arc<World> = starting.await.map_err(io::Error::other)??;
        Ok(Self { ca_pem, world, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.world.door.addr()
    }

    /// Its base URL, `http://127.0.0.1:PORT` or with `https`.
    pub fn url(&self) -> String {
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr())
    }

    /// The authority that signed its certificate; none without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Replaces the fault rules; each counts its matches from zero.
    pub fn set_faults(&self, rules: impl IntoIterator<Item = Rule>) {
        self.world.set_faults(rules.into_iter().collect());
    }

    /// The fault rules and how often each was met.
    pub fn faults(&self) -> Vec<RuleState> {
        self.world.faults()
    }

    /// Replaces the scripted conversations; each begins with its first step.
    pub fn set_conversations(&self, conversations: impl IntoIterator<Item = ScriptedConversation>) {
        self.world.set_conversations(conversations.into_iter().collect());
    }

    /// The scripted conversations, how far each has come, and the requests that it has answered.
    pub fn conversations(&self) -> Vec<ConversationState> {
        self.world.conversations()
    }

    /// Changes how strict the rules for conversations are.
    pub fn set_strictness(&self, strictness: Strictness) {
        self.world.set_strictness(strictness);
    }

    /// Replaces the longest prompts of models, in tokens; a model that is not named takes any.
    pub fn set_input_limits<S: Into<String>>(&self, limits: impl IntoIterator<Item = (S, u64)>) {
        self.world.set_input_limits(limits.into_iter().map(|(model, limit)| (model.into(), limit)).collect());
    }

    /// Lets nobody in until the outage is over. When this returns, new connections meet it already; those that are open
    /// break at once, unless they are to stay.
    ///
    /// # Errors
    /// When the address cannot be had again after an earlier one.
    pub fn set_outage(&self, outage: Outage) -> io::Result<()> {
        self.world.door.set_outage(outage)
    }

    /// Ends an outage; when this returns, clients get in.
    ///
    /// # Errors
    /// When the address cannot be had again.
    pub fn end_outage(&self) -> io::Result<()> {
        self.world.door.end_outage()
    }

    /// Replaces the content codings of answers; the first that a client takes counts.
    pub fn set_codings(&self, codings: impl IntoIterator<Item = Coding>) {
        self.world.set_codings(codings.into_iter().collect());
    }

    /// Replaces the limits; counting starts again.
    pub fn set_quotas(&self, quotas: impl IntoIterator<Item = Quota>) {
        self.world.set_quotas(quotas.into_iter().collect());
    }

    /// Sets the clock that quotas go by so many seconds ahead of the real one (behind, if negative): a minute or a day
    /// passes without waiting for it. The log keeps the real time.
    pub fn set_clock_offset_s(&self, offset_s: i64) {
        self.world.set_clock_offset_s(offset_s);
    }

    /// Replaces the keys.
    pub fn set_keys(&self, keys: impl IntoIterator<Item = Key>) {
        self.world.set_keys(keys.into_iter().collect());
    }

    /// Changes what Google thinks of one key; false if there is no such key.
    pub fn set_key_state(&self, secret: &str, state: KeyState) -> bool {
        self.world.set_key_state(secret, state)
    }

    /// Changes how generated answers look.
    pub fn set_shape(&self, shape: Shape) {
        self.world.set_shape(shape);
    }

    /// Changes how files, batches and the like come about.
    pub fn set_lifecycle(&self, lifecycle: Lifecycle) {
        self.world.set_lifecycle(lifecycle);
    }

    /// Every resource there is and the project that owns it, in the order of making.
    pub fn resources(&self) -> Vec<OwnedResource> {
        self.world.resources.all(self.world.clock())
    }

    /// The uses of resources by projects that do not own them since the last reset, the newest 1000 in order. All of
    /// them are counted in [`Stats::wrong_owner`].
    pub fn wrong_owners(&self) -> Vec<WrongOwner> {
        self.world.resources.refusals()
    }

    /// What arrived since the last reset, in order, as far back as the log reaches.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.world.requests()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.world.stats()
    }

    /// Forgets requests, counters, quota windows and cached prefixes; keys, faults, conversations, limits, shape and
    /// resources stay.
    pub fn reset(&self) {
        self.world.reset();
    }

    /// Stops it; when this returns nothing listens any more and every connection is closed.
    // Async to match `start`; the wait is for threads that are told to stop and takes milliseconds.
    #[allow(clippy::unused_async)]
    pub async fn stop(self) {
        drop(self);
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook already.
            let _ = thread.join();
        }
        self.world.door.close();
    }
}

fn listening(config: Config) -> io::Result<(Runtime, Arc<World>)> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(config.threads.max(1))
        .thread_name("gemini-simulator")
        .enable_all()
        .build()?;
    let door = {
        let _entered = runtime.enter();
        Door::open(config.listen)?
    };
    Ok((runtime, Arc::new(World::new(config, door))))
}

type Http = auto::Builder<TokioExecutor>;

fn http(config: &Config) -> Http {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        // Google's front end keeps idle connections for minutes.
        .header_read_timeout(None)
        // A client that closes its side has left.
        .half_close(false)
        .max_headers(1000);
    http.http2().max_concurrent_streams(config.h2_max_streams);
    if let Some(bytes) = config.h2_window_bytes {
        http.http2().initial_stream_window_size(bytes);
    }
    http
}

/// Counts itself out when dropped.
struct Counted(Arc<World>);

impl Counted {
    fn new(world: Arc<World>) -> Self {
        add(&world.connections);
        add(&world.open_connections);
        Self(world)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

async fn accept(acceptor: Option<TlsAcceptor>, http: Http, world: Arc<World>) {
    loop {
        match world.door.accept().await {
            Ok(tcp) => {
                let counted = Counted::new(Arc::clone(&world));
                tokio::spawn(connection(tcp, acceptor.clone(), http.clone(), counted));
            }
            // Out of descriptors: those in use will come free.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(tcp: TcpStream, acceptor: Option<TlsAcceptor>, http: Http, counted: Counted) {
    if tcp.set_nodelay(true).is_err() {
        return;
    }
    let control = Arc::new(Control::default());
    counted.0.door.let_in(&control);
    let line = match acceptor {
        None => Line::plain(tcp, Arc::clone(&control)),
        Some(acceptor) => match acceptor.accept(tcp).await {
            Ok(tls) => Line::tls(tls, Arc::clone(&control)),
            // The client did not like the certificate, which is what some tests are about.
            Err(_) => return,
        },
    };
    let world = &counted.0;
    let service = service_fn(|request| {
        // Asked for here, since hyper calls in the order of the streams.
        let peer = Peer { control: Arc::clone(&control), stream: control.next_stream() };
        answer(Arc::clone(world), peer, request)
    });
    if let Err(error) = http.serve_connection_with_upgrades(TokioIo::new(line), service).await
        && error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
    {
        add(&world.malformed);
    }
}

async fn answer(
    world: Arc<World>,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<Response<AnyBody>, h2::Error> {
    if request.uri().path().starts_with(control::PREFIX) {
        let response = control::answer(&world, request).await;
        peer.control.expect_head();
        return Ok(response.map(Either::Right));
    }
    if live::claims(request.uri().path()) {
        return Ok(live::serve(&world, peer, request).await?);
    }
    Ok(dispatch::serve(&world, peer, request).await?.map(Either::Left))
}
