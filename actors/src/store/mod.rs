//! The `StoreActor`: the only one that touches the store. It writes for several [`WriteBehind`], the [`Memory`] of the key
//! pool's state and the ledger, so that no request ever waits for a write, and looks up the names that the ledger has not
//! in memory. It runs on an arbiter of its own, whose thread may block, under
//! the same supervisor as the rest.
//!
//! A store that cannot be opened or written makes the service degraded, never unwell: serving goes on from memory, the
//! board says so, and opening is tried again.

mod memory;
mod prices;
mod row;
mod tokens;
mod write_behind;

pub use memory::Memory;
pub use prices::KeptPrices;
pub use tokens::KeptTokens;
pub use write_behind::WriteBehind;

use crate::{
    health::{Health, State},
    supervisor::{Child, Intensity, Link, supervise},
};
use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult};
use chrono::Utc;
use gemini_balance_store::{Condition, Holding, StoreError};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Its name on the health board.
const NAME: &str = "store";
/// How long a change lies in memory before it is written. What a killed process forgets is not older.
const WRITE_EVERY: Duration = Duration::from_millis(200);
/// How long a store that failed is left alone.
const REOPEN_AFTER: Duration = Duration::from_secs(3);
/// How often holdings that have expired are removed, and how many at once.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
const EXPIRE_AT_ONCE: usize = 10_000;

/// Writes behind. See the module.
pub struct StoreActor {
    path: PathBuf,
    state: Arc<[Arc<dyn WriteBehind>]>,
    health: Arc<Health>,
    store: Option<Box<dyn gemini_balance_store::Store>>,
    /// What an operator should know of how it was found.
    remark: Option<String>,
    /// When opening or writing failed last.
    failed_at: Option<Instant>,
    /// What was said of it: the same is not said again with each try.
    failure: Option<String>,
    /// Whether the file was removed or replaced since it was opened.
    is_replaced: bool,
}

/// Writes all that is waiting, now.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "bool")]
pub struct Flush;

/// Looks names up in the ledger's table. `None` when the store cannot be read.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Option<Vec<Option<Holding>>>")]
struct Find(Arc<[String]>);

/// A handle to the store actor.
#[derive(Clone)]
pub struct Store {
    link: Link<StoreActor>,
}

impl Store {
    /// Opens the store at `path`, lets each of `state` take over what it holds, and starts the actor on `arbiter`. A store
    /// that cannot be opened leaves them empty and the service degraded.
    pub fn start(
        arbiter: &actix_rt::ArbiterHandle,
        path: PathBuf,
        state: Vec<Arc<dyn WriteBehind>>,
        intensity: Intensity,
        health: Arc<Health>,
    ) -> Self {
        let state: Arc<[_]> = state.into();
        let first = match open(&path).and_then(|(mut store, condition)| {
            state.iter().try_for_each(|state| state.load(&mut *store))?;
            Ok((store, condition))
        }) {
            Ok(opened) => Some(opened),
            Err(error) => {
                log::error!(target: "store", "{error}; state lives in memory until it can be kept");
                None
            }
        };
        let first = Mutex::new(first);
        let factory = {
            let health = Arc::clone(&health);
            move || {
                let taken = first.lock().unwrap_or_else(PoisonError::into_inner).take();
                let (store, remark) = match taken {
                    Some((store, condition)) => (Some(store), complaint(&condition)),
                    None => (None, None),
                };
                // What a former life had taken and perhaps not written is written again.
                state.iter().for_each(|state| state.all_is_unwritten());
                StoreActor {
                    path: path.clone(),
                    state: Arc::clone(&state),
                    health: Arc::clone(&health),
                    store,
                    remark,
                    failed_at: None,
                    failure: None,
                    is_replaced: false,
                }
            }
        };
        Self { link: supervise(arbiter, Child { name: NAME, mailbox: 16, intensity, factory }, health) }
    }

    /// Writes what is waiting; whether it is written.
    pub async fn flush(&self, at_most: Duration) -> bool {
        self.link.send(Flush, Instant::now() + at_most).await.unwrap_or(false)
    }

    /// Who holds these, in their order. `None` when the store cannot say, or not in time.
    pub(crate) async fn find(&self, names: Vec<String>, at_most: Duration) -> Option<Vec<Option<Holding>>> {
        self.link.send(Find(names.into()), Instant::now() + at_most).await.ok().flatten()
    }

    /// Makes the actor panic, for the tests of its supervision.
    #[cfg(debug_assertions)]
    pub fn panic(&self) {
        self.link.nudge(Panic);
    }
}

fn open(path: &Path) -> Result<(Box<dyn gemini_balance_store::Store>, Condition), StoreError> {
    let opened = gemini_balance_store::open(path)?;
    if let Some(mode) = opened.exposed_mode {
        log::warn!(target: "store", "{} may be read by others (mode {mode:o}): chmod 600 it", path.display());
    }
    Ok((opened.store, opened.condition))
}

/// What an operator should know of how the store was found.
fn complaint(condition: &Condition) -> Option<String> {
    if matches!(condition, Condition::Fresh | Condition::Intact) {
        return None;
    }
    log::error!(target: "store", "{condition}");
    Some(condition.to_string())
}

impl StoreActor {
    fn open(&mut self) {
        match open(&self.path) {
            Ok((store, condition)) => {
                self.store = Some(store);
                self.failed_at = None;
                let failure = self.failure.take();
                self.state.iter().for_each(|state| state.all_is_unwritten());
                self.health.set(NAME, State::Up, None);
                let replaced = failure.filter(|_| std::mem::take(&mut self.is_replaced)).map(|failure| {
                    let remark = format!(
                        "{failure}; what is known in memory is written into the one that is there now"
                    );
                    log::error!(target: "store", "{remark}");
                    remark
                });
                if let Some(reason) = complaint(&condition).or(replaced) {
                    self.health.note(NAME, reason);
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Goes on without the store.
    fn fail(&mut self, error: &StoreError) {
        self.store = None;
        self.is_replaced |= matches!(error, StoreError::Replaced { .. });
        self.failed_at = Some(Instant::now());
        let reason = error.to_string();
        if self.failure.as_ref() != Some(&reason) {
            self.failure = Some(reason.clone());
            self.health.set(NAME, State::Degraded, Some(reason));
        }
    }

    /// Writes what has changed since the last time; whether all is written.
    fn write(&mut self) -> bool {
        if self.store.is_none() && self.failed_at.is_none_or(|at| at.elapsed() >= REOPEN_AFTER) {
            self.open();
        }
        let Some(store) = &mut self.store else { return false };
        let written = store
            .check_place()
            .and_then(|()| self.state.iter().try_for_each(|state| state.write(&mut **store)));
        if let Err(error) = written {
            self.fail(&error);
            return false;
        }
        true
    }

    fn expire(&mut self) {
        let Some(store) = &mut self.store else { return };
        if let Err(error) = store.expire(Utc::now(), EXPIRE_AT_ONCE) {
            self.fail(&error);
        }
    }
}

impl Actor for StoreActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        match self.remark.take() {
            Some(remark) => self.health.note(NAME, remark),
            None if self.store.is_none() => self.open(),
            None => {}
        }
        ctx.run_interval(WRITE_EVERY, |actor, _| {
            actor.write();
        });
        ctx.run_interval(EXPIRE_EVERY, |actor, _| actor.expire());
    }
}

impl Handler<Flush> for StoreActor {
    type Result = MessageResult<Flush>;

    fn handle(&mut self, Flush: Flush, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.write())
    }
}

impl Handler<Find> for StoreActor {
    type Result = MessageResult<Find>;

    fn handle(&mut self, Find(names): Find, _: &mut Self::Context) -> Self::Result {
        // What is not written yet lies in the ledger's own memory, so the store's word is enough.
        let Some(store) = &mut self.store else { return MessageResult(None) };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match store.find(&names, Utc::now()) {
            Ok(found) => MessageResult(Some(found)),
            Err(error) => {
                self.fail(&error);
                MessageResult(None)
            }
        }
    }
}

/// Makes the actor panic.
#[cfg(debug_assertions)]
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct Panic;

#[cfg(debug_assertions)]
impl Handler<Panic> for StoreActor {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("a test asked for this panic");
    }
}
