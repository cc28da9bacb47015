//! Ends what a caller has under way, on an operator's word: streams, sessions, and requests that still wait. Each worker
//! knows its own requests, so that a request takes no lock that others hold; whoever carries one awaits its [`CutSignal`]. What the
//! client is told is the carrier's matter.

use slab::Slab;
use std::{
    cell::RefCell,
    collections::HashMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// How long a cut holds for requests that had arrived before it and whose body was not in yet.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// What a client reads of a cut.
pub const CUT_MESSAGE: &str =
    "This token was disabled or removed, and what ran under it was ended: ask the gateway's operator.";

/// The operator's end of it: shared by all workers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CallerCuts {
    workers: Arc<Mutex<Vec<mpsc::UnboundedSender<CutOrder>>>>,
}

/// What is to end: all of this caller's that arrived before.
#[derive(Clone, Debug)]
struct CutOrder {
    caller: Arc<str>,
    at: Instant,
}

/// What one worker has under way. Cheap to clone.
#[derive(Clone, Default)]
pub struct WorkerCuts(Rc<RefCell<Running>>);

#[derive(Default)]
struct Running {
    requests: Slab<WatchedRequest>,
    /// The newest cut of each caller, while it may meet a request that arrived before it.
    cuts: HashMap<Arc<str>, Instant>,
}

/// One request under way.
struct WatchedRequest {
    caller: Arc<str>,
    is_cut: bool,
    waker: Option<Waker>,
}

/// Resolves when the request is to end. Until it is dropped the request counts as under way.
pub(crate) struct CutSignal {
    worker: WorkerCuts,
    key: usize,
}

impl CallerCuts {
    /// Ends all that this caller has under way now.
    pub fn cut(&self, caller: &str) {
        let order = CutOrder { caller: caller.into(), at: Instant::now() };
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.retain(|worker| worker.send(order.clone()).is_ok());
    }

    /// Begins to know what is under way on this worker, whose thread this is.
    pub fn on_this_worker(&self) -> WorkerCuts {
        let (sender, mut orders) = mpsc::unbounded_channel();
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        let cuts = WorkerCuts::default();
        let running = Rc::downgrade(&cuts.0);
        actix_rt::spawn(async move {
            while let Some(order) = orders.recv().await {
                let Some(running) = running.upgrade() else { return };
                WorkerCuts(running).carry_out(order);
            }
        });
        cuts
    }
}

impl WorkerCuts {
    /// Enters a request.
    pub(crate) fn watch(&self, caller: &Arc<str>, arrived: Instant) -> CutSignal {
        let mut running = self.0.borrow_mut();
        let is_cut = !running.cuts.is_empty() && running.cuts.get(caller).is_some_and(|at| arrived <= *at);
        let key = running.requests.insert(WatchedRequest { caller: Arc::clone(caller), is_cut, waker: None });
        CutSignal { worker: self.clone(), key }
    }

    fn carry_out(&self, CutOrder { caller, at }: CutOrder) {
        let mut wakers = Vec::new();
        let mut running = self.0.borrow_mut();
        running.cuts.retain(|_, cut| at.saturating_duration_since(*cut) < REMEMBERED);
        for (_, request) in running.requests.iter_mut().filter(|(_, request)| request.caller == caller) {
            request.is_cut = true;
            wakers.extend(request.waker.take());
        }
        running.cuts.insert(caller, at);
        drop(running);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Future for CutSignal {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut running = self.worker.0.borrow_mut();
        let Some(request) = running.requests.get_mut(self.key) else { return Poll::Pending };
        if request.is_cut {
            return Poll::Ready(());
        }
        match &mut request.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for CutSignal {
    fn drop(&mut self) {
        self.worker.0.borrow_mut().requests.try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_cut_ends_its_callers_requests_and_nobody_elses() {
        let worker = WorkerCuts::default();
        let (alice, bob): (Arc<str>, Arc<str>) = ("alice".into(), "bob".into());
        let now = Instant::now();
        let (mut hers, mut his) = (worker.watch(&alice, now), worker.watch(&bob, now));
        assert!((&mut hers).now_or_never().is_none());
        worker.carry_out(CutOrder { caller: Arc::clone(&alice), at: now });
        assert!((&mut hers).now_or_never().is_some() && (&mut his).now_or_never().is_none());
        let later = worker.watch(&alice, now + Duration::from_secs(1));
        assert!(later.now_or_never().is_none(), "what comes after a cut is the gate's to refuse");
        let slow = worker.watch(&alice, now);
        assert!(slow.now_or_never().is_some(), "its body was not in when the cut came");
        worker.carry_out(CutOrder { caller: bob, at: now + REMEMBERED });
        assert!(worker.watch(&alice, now).now_or_never().is_none());
        assert_eq!(worker.0.borrow().requests.len(), 2, "who is gone is forgotten");
    }

    #[tokio::test]
    async fn a_cut_wakes_whoever_awaits_it_on_every_worker() {
        tokio::task::LocalSet::new()
            .run_until(async {
                let cuts = CallerCuts::default();
                let workers = [cuts.on_this_worker(), cuts.on_this_worker()];
                let alice: Arc<str> = "alice".into();
                let waiting = workers.each_ref().map(|worker| worker.watch(&alice, Instant::now()));
                let awaited = tokio::task::spawn_local(futures_util::future::join_all(waiting));
                tokio::task::yield_now().await;
                cuts.cut("alice");
                awaited.await.unwrap();
            })
            .await;
    }
}
