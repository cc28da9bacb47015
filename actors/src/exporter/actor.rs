//! The `TraceExporterActor`: takes what waits, a batch at a time, makes spans of it and posts them. A collector that does not
//! answer costs the traces that find no room meanwhile, and no request; the service is degraded until it answers again.

use super::{
    BATCH, TraceQueue,
    posting::{NotPosted, Poster},
    spans,
};
use crate::{
    health::{Health, State},
    supervisor::{Child, Intensity, Link, supervise},
};
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Its name on the health board.
const NAME: &str = "exporter";
/// How often what waits is sent, where there is no whole batch before.
const SEND_EVERY: Duration = Duration::from_secs(5);
/// How often a batch is tried, with a pause that doubles.
const TRIES: u32 = 5;
/// The first pause.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends traces. See the module.
pub struct TraceExporterActor {
    shared: Arc<TraceQueue>,
    poster: Poster,
    board: Board,
    is_sending: bool,
}

/// What the health board says of the exporter. Cheap to clone.
#[derive(Clone)]
struct Board {
    health: Arc<Health>,
    is_degraded: Arc<AtomicBool>,
}

impl Board {
    /// Puts up how a try went, where that is news.
    fn say(&self, posted: &Result<(), NotPosted>) {
        let was_degraded = self.is_degraded.swap(posted.is_err(), Ordering::Relaxed);
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

pub(super) fn start(
    arbiter: &actix_rt::ArbiterHandle,
    shared: Arc<TraceQueue>,
    poster: Poster,
    intensity: Intensity,
    health: Arc<Health>,
) -> Link<TraceExporterActor> {
    let factory = {
        let health = Arc::clone(&health);
        move || TraceExporterActor {
            shared: Arc::clone(&shared),
            poster: poster.clone(),
            // A new life is up, as far as the board knows.
            board: Board { health: Arc::clone(&health), is_degraded: Arc::default() },
            is_sending: false,
        }
    };
    supervise(arbiter, Child { name: NAME, mailbox: 16, intensity, factory }, health)
}

impl TraceExporterActor {
    /// Sends what waits, unless that is being done.
    fn send(&mut self, ctx: &mut Context<Self>) {
        if self.is_sending || self.shared.queue().is_empty() {
            return;
        }
        self.is_sending = true;
        let (shared, poster, board) = self.parts();
        let sending = async move { send_batch(&shared, &poster, &board, TRIES).await };
        ctx.spawn(sending.into_actor(self).map(|_, actor, ctx| {
            actor.is_sending = false;
            if actor.shared.queue().len() >= BATCH {
                actor.send(ctx);
            }
        }));
    }

    fn parts(&self) -> (Arc<TraceQueue>, Poster, Board) {
        (Arc::clone(&self.shared), self.poster.clone(), self.board.clone())
    }
}

/// Sends one batch, and counts what became of it. Returns whether a collector has taken it.
async fn send_batch(shared: &TraceQueue, poster: &Poster, board: &Board, tries: u32) -> bool {
    let transactions = shared.take();
    let count = transactions.len() as u64;
    let spans: Vec<_> = transactions
        .iter()
        .flat_map(|transaction| spans::of(transaction, &shared.settings, shared.status_of))
        .collect();
    drop(transactions);
    let mut pause = PAUSE;
    for tried in 1..=tries {
        let posted = poster.post(spans.clone()).await;
        board.say(&posted);
        match posted {
            Ok(()) => {
                shared.sent.fetch_add(count, Ordering::Relaxed);
                return true;
            }
            Err(not_posted) if tried == tries || !not_posted.may_help => {
                shared.dropped.fetch_add(count, Ordering::Relaxed);
                log::warn!(target: NAME, "the traces of {count} requests are lost: {}", not_posted.why);
                return false;
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause *= 2;
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
        let (shared, poster, board) = self.parts();
        let flush = async move {
            while !shared.queue().is_empty() {
                if !send_batch(&shared, &poster, &board, 1).await {
                    return false;
                }
            }
            true
        };
        Box::pin(flush.into_actor(self))
    }
}
