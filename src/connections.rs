//! The clients' connections of one worker: who holds how many, on which of them somebody was let in, and which are closed
//! first where there are too many. Strangers cannot keep others out: what they hold goes before what callers hold, and
//! nothing that a caller's request is under way on is ever closed. `service` opens each, `http` says what comes on it.

mod stream;
mod upgrade;

pub(crate) use stream::{ClientStream, SheddableStream};

use crate::settings;
use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    rc::Rc,
    task::Waker,
    time::{Duration, Instant},
};

/// How often connections are looked at that are idle for too long.
const SWEEP: Duration = Duration::from_secs(1);

/// The bounds that a worker's connections are held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionBounds {
    /// Beyond so many, one that is idle is closed for each that comes.
    pub(crate) most: usize,
    /// Beyond so many of one address on which nobody was let in yet, its oldest is closed.
    pub(crate) most_unknown: usize,
    /// How long one may be without a request on which nobody was let in.
    pub(crate) unknown_idle: Duration,
    /// The same of the others, with the time for another request's head.
    pub(crate) known_idle: Duration,
}

impl ConnectionBounds {
    pub(crate) fn of(server: &settings::Server) -> Self {
        Self {
            most: server.max_connections,
            most_unknown: server.max_unknown_connections,
            unknown_idle: Duration::from_secs(server.head_timeout_s),
            known_idle: Duration::from_secs(server.keep_alive_s + server.head_timeout_s),
        }
    }

    /// How many are accepted. Where nothing can be closed, as many as are open are in use; a few more get in, so that
    /// health is still answered.
    pub(crate) fn most_accepted(&self) -> usize {
        self.most.saturating_add((self.most / 64).max(16))
    }
}

/// The connections of a worker.
#[derive(Debug)]
pub(crate) struct Connections {
    bounds: ConnectionBounds,
    open: RefCell<HashMap<u64, Rc<Connection>>>,
    /// How many each address holds on which nobody was let in.
    unknown: RefCell<HashMap<IpAddr, usize>>,
    next: Cell<u64>,
}

/// One connection, as far as others have to know of it.
#[derive(Debug)]
pub(crate) struct Connection {
    all: Rc<Connections>,
    number: u64,
    /// The peer; of IPv6 its network, since whoever has one address there has all of them. `None` for a proxy whose word
    /// is trusted, behind which there are many clients.
    address: Option<IpAddr>,
    is_secure: bool,
    /// Whether somebody was let in on it.
    is_known: Cell<bool>,
    /// Requests that are under way on it.
    requests: Cell<u32>,
    /// Those of callers who were let in.
    callers_requests: Cell<u32>,
    /// Since when no request is under way.
    idle_since: Cell<Instant>,
    /// Whether it is to end.
    is_shed: Cell<bool>,
    /// Whether what comes next is the head of a request.
    expects_head: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A request that is under way on a connection, until its answer's body is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(Rc<Connection>);

impl Connections {
    pub(crate) fn new(bounds: ConnectionBounds) -> Rc<Self> {
        Rc::new(Self { bounds, open: RefCell::default(), unknown: RefCell::default(), next: Cell::new(0) })
    }

    /// Closes what is idle for too long, for as long as the worker lives.
    pub(crate) async fn sweep(self: Rc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            self.sweep_at(Instant::now());
        }
    }

    fn sweep_at(&self, now: Instant) {
        for connection in self.open.borrow().values() {
            let most =
                if connection.is_known.get() { self.bounds.known_idle } else { self.bounds.unknown_idle };
            if connection.requests.get() == 0 && now.duration_since(connection.idle_since.get()) > most {
                connection.shed();
            }
        }
    }

    /// Enters a connection, and closes others where there are too many. `is_proxy` says that its peer's word is trusted.
    pub(crate) fn open(
        self: &Rc<Self>,
        peer: Option<IpAddr>,
        is_proxy: bool,
        is_secure: bool,
    ) -> Rc<Connection> {
        let number = self.next.replace(self.next.get().wrapping_add(1));
        let address = peer.filter(|_| !is_proxy).map(network);
        if self.open.borrow().len() >= self.bounds.most {
            self.make_room();
        }
        if let Some(address) = address {
            let held = {
                let mut unknown = self.unknown.borrow_mut();
                let held = unknown.entry(address).or_default();
                *held += 1;
                *held
            };
            if held > self.bounds.most_unknown {
                self.shed_oldest(self.bounds.most_unknown, |connection| {
                    !connection.is_known.get() && connection.address == Some(address)
                });
            }
        }
        let connection = Rc::new(Connection {
            all: Rc::clone(self),
            number,
            address,
            is_secure,
            is_known: Cell::new(false),
            requests: Cell::new(0),
            callers_requests: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            is_shed: Cell::new(false),
            expects_head: Cell::new(true),
            waker: RefCell::new(None),
        });
        self.open.borrow_mut().insert(number, Rc::clone(&connection));
        connection
    }

    fn make_room(&self) {
        self.shed_oldest(self.bounds.most, |_| true);
    }

    /// Closes some of those that `may_go`: strangers' first, of those the address's that holds most, and the oldest. More
    /// than one at a time, as finding them takes a look at each.
    fn shed_oldest(&self, most: usize, may_go: impl Fn(&Connection) -> bool) {
        let open = self.open.borrow();
        let unknown = self.unknown.borrow();
        let mut candidates: Vec<_> = open
            .values()
            .filter(|connection| !connection.is_shed.get() && connection.is_idle() && may_go(connection))
            .map(|connection| {
                let held =
                    connection.address.and_then(|address| unknown.get(&address)).copied().unwrap_or_default();
                let rank = (connection.is_known.get(), Reverse(held), connection.idle_since.get());
                (rank, connection)
            })
            .collect();
        candidates.sort_unstable_by_key(|(rank, _)| *rank);
        for (_, connection) in candidates.into_iter().take((most / 128).max(1)) {
            connection.shed();
        }
    }

    /// One less on which nobody was let in.
    fn forget_unknown(&self, address: Option<IpAddr>) {
        let Some(address) = address else { return };
        let mut unknown = self.unknown.borrow_mut();
        if let Some(held) = unknown.get_mut(&address) {
            *held -= 1;
            if *held == 0 {
                unknown.remove(&address);
            }
        }
    }
}

impl Connection {
    /// Whether it is under TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// A request has come on it.
    pub(crate) fn begin(self: &Rc<Self>) -> UnderWay {
        self.requests.set(self.requests.get() + 1);
        self.expects_head.set(false);
        UnderWay(Rc::clone(self))
    }

    /// Somebody was let in with the request that has come last.
    pub(crate) fn let_in(&self) {
        if !self.is_known.replace(true) {
            self.all.forget_unknown(self.address);
        }
        self.callers_requests.set(self.requests.get());
    }

    /// Whether it may be closed for another: what a stranger asks for is no reason to keep it.
    fn is_idle(&self) -> bool {
        self.callers_requests.get() == 0
    }

    fn shed(&self) {
        self.is_shed.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// It is gone.
    fn close(&self) {
        if self.all.open.borrow_mut().remove(&self.number).is_some() && !self.is_known.get() {
            self.all.forget_unknown(self.address);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let connection = &self.0;
        let left = connection.requests.get().saturating_sub(1);
        connection.requests.set(left);
        connection.callers_requests.set(connection.callers_requests.get().min(left));
        if left == 0 {
            connection.idle_since.set(Instant::now());
            connection.expects_head.set(true);
        }
    }
}

/// Of IPv6 the network that a subscriber is given; of IPv4, also where it comes as IPv6, the address.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}
