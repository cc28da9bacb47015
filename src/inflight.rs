//! Counts the requests under way, so that a drain knows when the last one is done, and operators what they are.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use tokio::sync::Notify;

/// What a request under way is, as far as operators tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// One body up, one down. Each is until it is known to be another.
    Unary,
    /// Its answer streams.
    Stream,
    /// A WebSocket session.
    Live,
    /// Its body passes as it comes.
    Upload,
}

impl RequestKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Unary, Self::Stream, Self::Live, Self::Upload];

    /// The word in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::Stream => "stream",
            Self::Live => "live",
            Self::Upload => "upload",
        }
    }
}

#[derive(Debug, Default)]
struct InFlightState {
    count: AtomicUsize,
    /// How many of them are of each kind, by its place in `RequestKind::ALL`. Those that are unary are not counted here,
    /// so that they cost nothing more.
    of_kind: [AtomicUsize; RequestKind::ALL.len()],
    draining: AtomicBool,
    idle: Notify,
    cut: AtomicBool,
    cutting: Notify,
}

/// The count, and whether the service is draining. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<InFlightState>);

/// One request under way: from its arrival until its answer's last byte was handed to the socket.
#[derive(Debug)]
pub struct InFlightGuard {
    shared: Arc<InFlightState>,
    kind: RequestKind,
}

impl InFlight {
    /// A request has arrived.
    pub fn enter(&self) -> InFlightGuard {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        InFlightGuard { shared: Arc::clone(&self.0), kind: RequestKind::Unary }
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
    }

    /// How many are under way of each kind.
    pub fn by_kind(&self) -> [(RequestKind, usize); RequestKind::ALL.len()] {
        let others = || self.0.of_kind.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        RequestKind::ALL.map(|kind| match kind {
            RequestKind::Unary => (kind, self.count().saturating_sub(others())),
            _ => (kind, self.0.of_kind[kind as usize].load(Ordering::Relaxed)),
        })
    }

    /// From now on answers close their connections, and readiness says no.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
    }

    /// Whether `drain` was called.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }

    /// The time to finish is over: what can still say goodbye is to do so now.
    pub fn cut_off(&self) {
        self.0.cut.store(true, Ordering::SeqCst);
        self.0.cutting.notify_waiters();
    }

    /// Resolves with [`Self::cut_off`].
    pub async fn cut(&self) {
        loop {
            let cutting = self.0.cutting.notified();
            if self.0.cut.load(Ordering::SeqCst) {
                return;
            }
            cutting.await;
        }
    }

    /// Resolves when none is under way.
    pub async fn idle(&self) {
        loop {
            let idle = self.0.idle.notified();
            if self.count() == 0 {
                return;
            }
            idle.await;
        }
    }
}

impl InFlightGuard {
    /// It has turned out to be of this kind.
    pub fn set_kind(&mut self, kind: RequestKind) {
        self.count_kind(|count| count.fetch_sub(1, Ordering::Relaxed));
        self.kind = kind;
        self.count_kind(|count| count.fetch_add(1, Ordering::Relaxed));
    }

    fn count_kind(&self, change: impl FnOnce(&AtomicUsize) -> usize) {
        if self.kind != RequestKind::Unary {
            change(&self.shared.of_kind[self.kind as usize]);
        }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.count_kind(|count| count.fetch_sub(1, Ordering::Relaxed));
        if self.shared.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.shared.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_of_one_kind_until_it_ends() {
        let in_flight = InFlight::default();
        let counts = || in_flight.by_kind().map(|(_, count)| count);
        let (mut one, mut other) = (in_flight.enter(), in_flight.enter());
        assert_eq!(counts(), [2, 0, 0, 0]);
        one.set_kind(RequestKind::Stream);
        other.set_kind(RequestKind::Upload);
        other.set_kind(RequestKind::Live);
        assert_eq!((counts(), in_flight.count()), ([0, 1, 1, 0], 2));
        drop(one);
        other.set_kind(RequestKind::Unary);
        assert_eq!(counts(), [1, 0, 0, 0]);
        drop(other);
        assert_eq!((counts(), in_flight.count()), ([0; 4], 0));
    }
}
