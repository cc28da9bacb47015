//! A listener's connections on one worker: who holds how many, on which of them somebody was let in, and which are closed
//! first where there are too many. Strangers cannot keep others out: what they hold goes before what callers hold, and
//! nothing that a caller's request is under way on is ever closed. `server` and `operator::serving` open each, what answers
//! says what comes on it.

mod exchange;
mod newcomers;
mod stream;
mod trailers;
mod turn;
mod upgrade;

pub(crate) use exchange::{CountedBody, HttpExchange};
pub(crate) use newcomers::Newcomers;
pub(crate) use stream::{ClientStream, SheddableStream};
pub use turn::{Passed, Turn};

use self::newcomers::Newcomer;
use crate::settings;
use gemini_balance_actors::ClientStall;
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
    /// How many connections and requests have ended.
    ended: Cell<u64>,
    newcomers: Newcomers,
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
    /// Its place among those without a request, while it has one.
    newcomer: RefCell<Option<Newcomer>>,
    /// How many requests have been answered to their end.
    answered: Cell<u64>,
    /// Whoever waits for the end of an answer.
    turn_waker: RefCell<Option<Waker>>,
    /// Whether it was given up since the client took nothing.
    stall: ClientStall,
    /// Whether it is to end so that its client cannot take what it has for the whole.
    is_broken_off: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A request that is under way on a connection, until its answer's body is dropped.
#[derive(Debug)]
struct UnderWay(Rc<Connection>);

impl Connections {
    pub(crate) fn new(bounds: ConnectionBounds, newcomers: Newcomers) -> Rc<Self> {
        Rc::new(Self {
            bounds,
            open: RefCell::default(),
            unknown: RefCell::default(),
            next: Cell::new(0),
            ended: Cell::new(0),
            newcomers,
        })
    }

    /// Returns how many connections and requests have ended so far.
    pub(crate) fn ended(&self) -> u64 {
        self.ended.get()
    }

    fn has_ended(&self) {
        self.ended.set(self.ended.get().wrapping_add(1));
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
            newcomer: RefCell::new(Some(self.newcomers.enter())),
            answered: Cell::new(0),
            turn_waker: RefCell::new(None),
            stall: ClientStall::default(),
            is_broken_off: Cell::new(false),
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

    /// What is to be said of a client that takes nothing.
    pub(crate) fn stall(&self) -> &ClientStall {
        &self.stall
    }

    /// A request has come on it.
    fn begin(self: &Rc<Self>) -> UnderWay {
        self.requests.set(self.requests.get() + 1);
        self.newcomer.take();
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
        self.newcomer.take();
        self.all.has_ended();
        if self.all.open.borrow_mut().remove(&self.number).is_some() && !self.is_known.get() {
            self.all.forget_unknown(self.address);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let connection = &self.0;
        connection.all.has_ended();
        let left = connection.requests.get().saturating_sub(1);
        connection.requests.set(left);
        connection.callers_requests.set(connection.callers_requests.get().min(left));
        if left == 0 {
            connection.idle_since.set(Instant::now());
        }
        connection.answered.set(connection.answered.get() + 1);
        if let Some(waker) = connection.turn_waker.borrow_mut().take() {
            waker.wake();
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn connections(most: usize, most_unknown: usize) -> Rc<Connections> {
        let (unknown_idle, known_idle) = (Duration::from_secs(10), Duration::from_secs(85));
        let bounds = ConnectionBounds { most, most_unknown, unknown_idle, known_idle };
        Connections::new(bounds, Newcomers::default())
    }

    fn open(connections: &Rc<Connections>, address: u8) -> Rc<Connection> {
        let address = Ipv4Addr::new(192, 0, 2, address);
        connections.open(Some(address.into()), false, false)
    }

    fn shed(all: &[Rc<Connection>]) -> Vec<usize> {
        all.iter().enumerate().filter(|(_, one)| one.is_shed.get()).map(|(place, _)| place).collect()
    }

    #[test]
    fn strangers_go_first_of_the_address_that_holds_most_and_the_oldest_of_them() {
        let all = connections(6, 100);
        let mut open_ones = vec![open(&all, 1)];
        open_ones[0].let_in();
        open_ones.extend([2, 3, 3, 2, 3].map(|address| open(&all, address)));
        // In this order: of the three of one address, then of the two, and the caller's last.
        for expected in [vec![2], vec![2, 3], vec![2, 3, 5], vec![1, 2, 3, 5], vec![1, 2, 3, 4, 5]] {
            all.make_room();
            assert_eq!(shed(&open_ones), expected);
        }
        all.make_room();
        assert_eq!(shed(&open_ones), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn what_a_callers_request_is_under_way_on_is_never_closed() {
        let all = connections(2, 1);
        let (caller, stranger) = (open(&all, 1), open(&all, 2));
        let asked = caller.begin();
        caller.let_in();
        let _health = stranger.begin();
        all.make_room();
        all.make_room();
        all.sweep_at(Instant::now() + Duration::from_secs(1_000));
        assert!(!caller.is_shed.get() && stranger.is_shed.get());
        drop(asked);
        all.make_room();
        assert!(caller.is_shed.get());
    }

    #[test]
    fn an_address_holds_no_more_strangers_than_it_may_and_what_goes_is_not_counted() {
        let all = connections(100, 2);
        let held: Vec<_> = (0..3).map(|_| open(&all, 1)).collect();
        let others: Vec<_> = (2..50).map(|address| open(&all, address)).collect();
        let proxied: Vec<_> =
            (0..9).map(|_| all.open(Some(Ipv4Addr::LOCALHOST.into()), true, false)).collect();
        assert_eq!(shed(&held), [0]);
        assert!(shed(&others).is_empty() && shed(&proxied).is_empty());
        for one in held.iter().chain(&others).chain(&proxied) {
            one.close();
        }
        assert!(all.open.borrow().is_empty() && all.unknown.borrow().is_empty());
        let networks = ["2001:db8::1", "2001:db8::2", "2001:db8::ffff"];
        let held: Vec<_> =
            networks.iter().map(|address| all.open(address.parse().ok(), false, false)).collect();
        assert_eq!(shed(&held), [0], "a subscriber has a whole network");
    }

    #[test]
    fn idle_ones_end_strangers_sooner() {
        let all = connections(100, 100);
        let (caller, stranger) = (open(&all, 1), open(&all, 1));
        drop(caller.begin());
        caller.let_in();
        let start = Instant::now();
        for (seconds, expected) in
            [(9, [false, false]), (12, [true, false]), (84, [true, false]), (87, [true, true])]
        {
            all.sweep_at(start + Duration::from_secs(seconds));
            assert_eq!([stranger.is_shed.get(), caller.is_shed.get()], expected, "{seconds}");
        }
    }
}
