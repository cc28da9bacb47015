//! Where clients come in, and the time in which they cannot: the address is kept while nothing listens there.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;

use crate::line::{Break, Control};

/// How many clients may wait to be let in: thousands may connect at once.
const BACKLOG: u32 = 4096;

/// What becomes of connections while the way is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// They are refused: nothing listens.
    Refuse,
    /// They are accepted, and reset at once.
    Reset,
}

/// A time in which nobody gets through, the control endpoint's callers included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// What new connections meet.
    pub how: Refusal,
    /// How long it lasts; none: until it is ended, which over HTTP nobody can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// Connections that are open stay so; otherwise they are reset.
    #[serde(default)]
    pub keep_open: bool,
}

impl Outage {
    /// Until it is ended; open connections are reset.
    pub fn new(how: Refusal) -> Self {
        Self { how, for_ms: None, keep_open: false }
    }
}

pub(crate) struct Door {
    addr: SocketAddr,
    runtime: Handle,
    state: Mutex<DoorState>,
    accepting: AtomicWaker,
    pub(crate) turned_away: AtomicU64,
}

struct DoorState {
    /// Bound and never listening: nobody else is given the address.
    held: Option<TcpSocket>,
    listener: Option<TcpListener>,
    outage: Option<Outage>,
    /// Counts outages, so that the end of one does not end the next.
    outages: u64,
    open: Vec<Weak<Control>>,
}

impl Door {
    /// Listens; to be called within a runtime.
    pub(crate) fn open(addr: SocketAddr) -> io::Result<Self> {
        let held = bound(addr)?;
        let addr = held.local_addr()?;
        let listener = Some(bound(addr)?.listen(BACKLOG)?);
        let state = DoorState { held: Some(held), listener, outage: None, outages: 0, open: Vec::new() };
        Ok(Self {
            addr,
            runtime: Handle::current(),
            state: Mutex::new(state),
            accepting: AtomicWaker::new(),
            turned_away: AtomicU64::new(0),
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn outage(&self) -> Option<Outage> {
        self.state().outage
    }

    /// When this returns, new connections meet it already.
    pub(crate) fn set_outage(self: &Arc<Self>, outage: Outage) -> io::Result<()> {
        let mut state = self.state();
        state.outages += 1;
        state.outage = Some(outage);
        match outage.how {
            Refusal::Refuse => state.listener = None,
            Refusal::Reset => self.listen(&mut state)?,
        }
        let open = if outage.keep_open { Vec::new() } else { std::mem::take(&mut state.open) };
        let number = state.outages;
        drop(state);
        for control in open.iter().filter_map(Weak::upgrade) {
            control.break_after(Bytes::new(), Break::Reset);
        }
        if let Some(ms) = outage.for_ms {
            let door = Arc::downgrade(self);
            self.runtime.spawn(async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                if let Some(door) = door.upgrade()
                    && door.state().outages == number
                {
                    // Nobody is there to be told; the address is held, so that it can be had again.
                    let _ = door.end_outage();
                }
            });
        }
        Ok(())
    }

    /// When this returns, clients get in.
    pub(crate) fn end_outage(&self) -> io::Result<()> {
        let mut state = self.state();
        state.outages += 1;
        state.outage = None;
        self.listen(&mut state)
    }

    /// Nobody gets in any more, and the address is free for others.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        (state.listener, state.held) = (None, None);
    }

    /// The next client.
    pub(crate) async fn accept(&self) -> io::Result<TcpStream> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Remembers a connection that an outage is to break.
    pub(crate) fn let_in(&self, control: &Arc<Control>) {
        let mut state = self.state();
        if state.open.len() == state.open.capacity() {
            state.open.retain(|control| control.strong_count() > 0);
        }
        state.open.push(Arc::downgrade(control));
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        self.accepting.register(cx.waker());
        let state = self.state();
        let Some(listener) = &state.listener else { return Poll::Pending };
        while let Poll::Ready(accepted) = listener.poll_accept(cx) {
            let (tcp, _) = accepted?;
            if state.outage.is_none() {
                return Poll::Ready(Ok(tcp));
            }
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            // Without it, it is an orderly end that the client meets.
            let _ = tcp.set_zero_linger();
        }
        Poll::Pending
    }

    fn listen(&self, state: &mut DoorState) -> io::Result<()> {
        if state.listener.is_none() {
            let _entered = self.runtime.enter();
            state.listener = Some(bound(self.addr)?.listen(BACKLOG)?);
            self.accepting.wake();
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, DoorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bound(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Several sockets may have the address as long as one of them listens.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}
