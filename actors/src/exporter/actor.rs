//! The `TraceExporterActor`: takes what waits, a batch at a time, makes spans of it and posts them. A collector that does not
//! answer costs the traces that find no room meanwhile, and no request; the service is degraded until it answers again.

use super::{BATCH, Collector, TraceQueue, posting::NotPosted, spans};
use crate::{
    health::State,
    supervisor::{Child, Intensity, Link, supervise},
};
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// Its name on the health board.
pub(super) const NAME: &str = "exporter";
/// How often what waits is sent, where there is no whole batch before.
const SEND_EVERY: Duration = Duration::from_secs(5);
/// How often a batch is tried, with a pause that doubles.
const TRIES: u32 = 5;
/// The first pause.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends traces. See the module.
pub struct TraceExporterActor {
    shared: Arc<TraceQueue>,
    is_sending: bool,
}

impl TraceQueue {
    /// Puts up how a try with a collector went, where that is news.
    fn say(&self, collector: &Arc<Collector>, posted: &Result<(), NotPosted>) {
        let current = self.collector.load();
        if !current.as_ref().is_some_and(|current| Arc::ptr_eq(current, collector)) {
            return; // another one is in use, of which this says nothing
        }
        let was_degraded = collector.is_degraded.swap(posted.is_err(), Ordering::Relaxed);
        match posted {
            Err(NotPosted { why, .. }) if !was_degraded => {
                let reason = format!("traces cannot be sent: {why}");
                self.health.set(NAME, State::Degraded, Some(reason));
            }
            Ok(()) if was_degraded => self.health.set(NAME, State::Up, None),
            _ => {}
        }
    }
}

/// A whole batch waits.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Send512;

/// Sends all there is, each batch tried once; whether nothing is left.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "bool")]
pub(super) struct Flush;

/// Sends what waits to the last collector, since there is none any more.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(super) struct SendLast(pub(super) Arc<Collector>);

pub(super) fn start(
    arbiter: &actix_rt::ArbiterHandle,
    shared: Arc<TraceQueue>,
    intensity: Intensity,
) -> Link<TraceExporterActor> {
    let health = Arc::clone(&shared.health);
    let factory = move || {
        if let Some(collector) = &*shared.collector.load() {
            // A new life is up, as far as the board knows.
            collector.is_degraded.store(false, Ordering::Relaxed);
        }
        TraceExporterActor { shared: Arc::clone(&shared), is_sending: false }
    };
    supervise(arbiter, Child { name: NAME, mailbox: 16, intensity, factory }, health)
}

impl TraceExporterActor {
    /// Sends what waits, unless that is being done.
    fn send(&mut self, ctx: &mut Context<Self>) {
        if self.is_sending || self.shared.queue().is_empty() {
            return;
        }
        let Some(collector) = self.shared.collector.load_full() else { return };
        self.is_sending = true;
        let shared = Arc::clone(&self.shared);
        let sending = async move { send_batch(&shared, collector, TRIES).await };
        ctx.spawn(sending.into_actor(self).map(|_, actor, ctx| {
            actor.is_sending = false;
            if actor.shared.queue().len() >= BATCH {
                actor.send(ctx);
            }
        }));
    }
}

/// Sends all there is, each batch tried once. Returns whether nothing is left.
async fn send_all(shared: &TraceQueue, collector: &Arc<Collector>) -> bool {
    while !shared.queue().is_empty() {
        if !send_batch(shared, Arc::clone(collector), 1).await {
            return false;
        }
    }
    true
}

/// Sends one batch, and counts what became of it. Where another collector has been put in this one's place, that one gets the
/// next try. Returns whether a collector has taken it.
async fn send_batch(shared: &TraceQueue, mut collector: Arc<Collector>, tries: u32) -> bool {
    let transactions = shared.take();
    let count = transactions.len() as u64;
    let spans: Vec<_> = transactions
        .iter()
        .flat_map(|transaction| spans::of(transaction, &shared.hosts, shared.status_of))
        .collect();
    drop(transactions);
    let mut pause = PAUSE;
    for tried in 1..=tries {
        let posted = collector.poster.post(spans.clone()).await;
        shared.say(&collector, &posted);
        let Err(NotPosted { may_help, why }) = posted else {
            shared.sent.fetch_add(count, Ordering::Relaxed);
            return true;
        };
        let next = shared.collector.load_full().filter(|_| tried < tries);
        let next = match next {
            Some(next) if may_help || !Arc::ptr_eq(&next, &collector) => next,
            _ => {
                shared.dropped.fetch_add(count, Ordering::Relaxed);
                log::warn!(target: NAME, "the traces of {count} requests are lost: {why}");
                return false;
            }
        };
        if Arc::ptr_eq(&next, &collector) {
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        collector = shared.collector.load_full().unwrap_or(next);
    }
    false
}

impl Actor for TraceExporterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(SEND_EVERY, Self::send);
    }
}

impl Handler<Send512> for TraceExporterActor {
    type Result = ();

    fn handle(&mut self, _: Send512, ctx: &mut Self::Context) {
        self.send(ctx);
    }
}

impl Handler<Flush> for TraceExporterActor {
    type Result = ResponseActFuture<Self, bool>;

    fn handle(&mut self, _: Flush, _: &mut Self::Context) -> Self::Result {
        let shared = Arc::clone(&self.shared);
        let flush = async move {
            match shared.collector.load_full() {
                Some(collector) => send_all(&shared, &collector).await,
                None => shared.queue().is_empty(),
            }
        };
        Box::pin(flush.into_actor(self))
    }
}

impl Handler<SendLast> for TraceExporterActor {
    type Result = ();

    fn handle(&mut self, SendLast(last): SendLast, ctx: &mut Self::Context) {
        let shared = Arc::clone(&self.shared);
        let sending = async move { send_all(&shared, &last).await };
        ctx.spawn(sending.into_actor(self).map(|_, _, _| ()));
    }
}
