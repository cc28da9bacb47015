//! Counts the requests under way, so that a drain knows when the last one is done.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Shared {
    count: AtomicUsize,
    draining: AtomicBool,
    idle: Notify,
    cut: AtomicBool,
    cutting: Notify,
}

/// The count, and whether the service is draining. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<Shared>);

/// One request under way: from its arrival until its answer's last byte was handed to the socket.
#[derive(Debug)]
pub struct InFlightGuard(Arc<Shared>);

impl InFlight {
    /// A request has arrived.
    pub fn enter(&self) -> InFlightGuard {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        InFlightGuard(Arc::clone(&self.0))
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
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

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
