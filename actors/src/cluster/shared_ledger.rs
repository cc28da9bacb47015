//! The ledger that all gateways share: what is learnt by one is written at once, so that whichever of them a client asks next
//! knows it. The [`SharedLedgerActor`] writes and looks up on a connection and a thread of its own, so that neither waits for
//! facts or limits. While Redis is away what is to be written waits in memory, and names that are not there cannot be told.

use super::{Outbox, note::Note};
use crate::{
    health::Health,
    ledger::Ledger,
    supervisor::{Child, Intensity, Link, supervise},
};
use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult};
use chrono::Utc;
use gemini_balance_store::{Holding, Ledger as LedgerStore, StoreError};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Its name on the health board and in the log.
const NAME: &str = "cluster_ledger";
/// How often what could not be written is tried again.
const WRITE_EVERY: Duration = Duration::from_millis(250);
/// How long the gateways may take to write anew what Redis has lost.
const WRITTEN_ANEW: Duration = Duration::from_millis(1_500);
/// How long a look-up is tried again, while Redis changes its primary.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// Makes a handle on the ledger.
pub(crate) type OpenLedger = dyn Fn() -> Box<dyn LedgerStore> + Send + Sync;

/// See the module.
pub struct SharedLedgerActor {
    ledger: Ledger,
    shared: Box<dyn LedgerStore>,
    /// What was said of the last failure: the same is not said again with each try.
    failure: Option<String>,
}

/// Something is to be written.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct Write;

/// Writes all that is waiting, now; whether it is written.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "bool")]
struct WriteNow;

/// Looks names up. `None` when Redis cannot be asked.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Option<Vec<Option<Holding>>>")]
struct LookUp(Arc<[String]>);

/// Redis may have lost some of what it had.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct WriteLost;

/// A handle to the shared ledger. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SharedLedger {
    link: Link<SharedLedgerActor>,
    outbox: Arc<Outbox>,
    /// Until when a name that is not there may yet come: the gateways write anew what Redis has lost.
    unsure_until: Arc<Mutex<Option<Instant>>>,
}

impl SharedLedger {
    /// Starts the actor on `arbiter`, whose thread may wait.
    pub(crate) fn start(
        arbiter: &actix_rt::ArbiterHandle,
        ledger: Ledger,
        open: Box<OpenLedger>,
        outbox: Arc<Outbox>,
        intensity: Intensity,
        health: Arc<Health>,
    ) -> Self {
        let factory = move || SharedLedgerActor { ledger: ledger.clone(), shared: open(), failure: None };
        let link = supervise(arbiter, Child { name: NAME, mailbox: 256, intensity, factory }, health);
        Self { link, outbox, unsure_until: Arc::default() }
    }

    /// Tells the others that what they know of this name is true no more.
    pub(crate) fn tell_moved(&self, name: &str) {
        self.outbox.note(Note::Moved(name.to_owned()));
    }

    /// Tells the others that this caller makes things on this key.
    pub(crate) fn tell_creation(&self, caller: &str, fingerprint: &str) {
        self.outbox.note(Note::Creation { caller: caller.to_owned(), key: fingerprint.to_owned() });
    }

    /// Says that something is to be written.
    pub(crate) fn nudge(&self) {
        self.link.nudge(Write);
    }

    /// Says that Redis may have lost some of what it had.
    pub(crate) fn write_what_is_lost(&self) {
        *self.unsure_until.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Instant::now() + WRITTEN_ANEW);
        self.link.nudge(WriteLost);
    }

    /// Writes what is waiting; whether it is written.
    pub(crate) async fn flush(&self, at_most: Duration) -> bool {
        let deadline = Instant::now() + at_most;
        let written = self.link.send(WriteNow, deadline);
        tokio::time::timeout_at(deadline, written).await.is_ok_and(|written| written.unwrap_or(false))
    }

    /// Who holds these, in their order. `None` when Redis cannot be asked in this time: a failover is waited for.
    pub(crate) async fn find(&self, names: Arc<[String]>, at_most: Duration) -> Option<Vec<Option<Holding>>> {
        let deadline = Instant::now() + at_most;
        loop {
            if let Ok(Some(found)) = self.link.send(LookUp(Arc::clone(&names)), deadline).await
                && (found.iter().all(Option::is_some) || self.is_sure())
            {
                return Some(found);
            }
            if Instant::now() + TRY_AGAIN >= deadline {
                return None;
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
}

impl SharedLedger {
    /// Whether a name that is not there will not come.
    fn is_sure(&self) -> bool {
        let until = *self.unsure_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_none_or(|until| Instant::now() >= until)
    }
}

impl SharedLedgerActor {
    fn write(&mut self) -> bool {
        match self.ledger.write_to(&mut *self.shared) {
            Ok(()) => {
                if self.failure.take().is_some() {
                    log::info!(target: NAME, "what the gateways hold is written again");
                }
                true
            }
            Err(error) => {
                self.fail(&error);
                false
            }
        }
    }

    fn fail(&mut self, error: &StoreError) {
        let reason = error.to_string();
        if self.failure.as_ref() != Some(&reason) {
            log::warn!(target: NAME, "{reason}");
            self.failure = Some(reason);
        }
    }
}

impl Actor for SharedLedgerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(WRITE_EVERY, |actor, _| {
            if actor.ledger.has_unwritten() {
                actor.write();
            }
        });
    }
}

impl Handler<Write> for SharedLedgerActor {
    type Result = ();

    fn handle(&mut self, Write: Write, _: &mut Self::Context) {
        // After a failure the interval tries again, so that no caller's message does.
        if self.failure.is_none() && self.ledger.has_unwritten() {
            self.write();
        }
    }
}

impl Handler<WriteLost> for SharedLedgerActor {
    type Result = ();

    fn handle(&mut self, WriteLost: WriteLost, _: &mut Self::Context) {
        match self.ledger.write_what_is_lost(&mut *self.shared) {
            Ok(0) => {}
            Ok(lost) => log::info!(target: NAME, "{lost} names that Redis had lost are written again"),
            Err(error) => self.fail(&error),
        }
    }
}

impl Handler<WriteNow> for SharedLedgerActor {
    type Result = bool;

    fn handle(&mut self, WriteNow: WriteNow, _: &mut Self::Context) -> bool {
        !self.ledger.has_unwritten() || self.write()
    }
}

impl Handler<LookUp> for SharedLedgerActor {
    type Result = MessageResult<LookUp>;

    fn handle(&mut self, LookUp(names): LookUp, _: &mut Self::Context) -> Self::Result {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        MessageResult(match self.shared.find(&names, Utc::now()) {
            Ok(found) => Some(found),
            Err(error) => {
                self.fail(&error);
                None
            }
        })
    }
}
