//! The `AccountantActor`: counts what the workers have left, writes each second's sums into the usage book, folds and
//! prunes it. It runs on an arbiter of its own, whose thread may wait for the disk. A book that cannot be opened or written
//! makes the service degraded, never unwell: counting goes on in memory, and opening is tried again.

use super::AccountsState;
use crate::{
    health::{Health, State},
    supervisor::{Child, Intensity, Link, supervise},
};
use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult};
use chrono::Utc;
use gemini_balance_store::{Condition, StoreError, UsageBook, open_usage};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use usage::{Column, Query, QueryStep};

/// Its name on the health board.
const NAME: &str = "accountant";
/// How often is looked whether there is something to do. What a killed process forgets is a second.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a book that failed is left alone. One that is being replaced is whole by then.
const REOPEN_AFTER: Duration = Duration::from_secs(3);
/// How many rows are removed at once.
const PRUNE_AT_ONCE: usize = 20_000;

/// Counts and writes. See the module.
pub struct AccountantActor {
    shared: Arc<AccountsState>,
    health: Arc<Health>,
    book: Option<Box<dyn UsageBook>>,
    /// The second in which all was counted that had come in the one before.
    counted_at: i64,
    /// When opening or writing failed last.
    failed_at: Option<Instant>,
    /// What was said of it: the same is not said again with each try.
    failure: Option<String>,
    /// Whether the file was removed or replaced since it was opened.
    is_replaced: bool,
    /// The minute up to which the journal is folded.
    folded_to: i64,
    /// Whether there is more to remove than was removed.
    prune_more: bool,
}

/// Counts and writes all there is, now.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "bool")]
pub(super) struct Flush;

pub(super) fn start(
    arbiter: &actix_rt::ArbiterHandle,
    shared: Arc<AccountsState>,
    intensity: Intensity,
    health: Arc<Health>,
) -> Link<AccountantActor> {
    let factory = {
        let health = Arc::clone(&health);
        move || AccountantActor {
            shared: Arc::clone(&shared),
            health: Arc::clone(&health),
            book: None,
            counted_at: 0,
            failed_at: None,
            failure: None,
            is_replaced: false,
            folded_to: 0,
            prune_more: false,
        }
    };
    supervise(arbiter, Child { name: NAME, mailbox: 16, intensity, factory }, health)
}

impl AccountantActor {
    /// Counts what has come in the second before, once it has ended: where there are many groups of requests, each is
    /// counted once a second. Earlier only what would soon find no room, and whatever somebody asks for.
    fn tick(&mut self, now: i64) {
        let AccountsState { workers, keys, .. } = &*self.shared;
        let mut counting = self.shared.counting();
        if self.counted_at != now {
            self.counted_at = now;
            counting.count_second(workers, now - 1, &keys.ring());
        } else if workers.are_filling() {
            counting.count(workers, now, &keys.ring());
        } else {
            counting.take_recent(workers);
        }
        drop(counting);
        self.write(now);
    }

    /// Writes what waits, and keeps the book in order; whether all is written.
    fn write(&mut self, now: i64) -> bool {
        if self.book.is_none() && self.failed_at.is_none_or(|at| at.elapsed() >= REOPEN_AFTER) {
            self.open(now);
        }
        let Some(mut book) = self.book.take() else { return false };
        match self.keep(&mut *book, now) {
            Ok(()) => {
                self.book = Some(book);
                true
            }
            Err(error) => {
                self.fail(&error);
                false
            }
        }
    }

    fn keep(&mut self, book: &mut dyn UsageBook, now: i64) -> Result<(), StoreError> {
        book.check_place()?;
        loop {
            // The lock is not held while the disk is waited for: queries and workers go on.
            let Some(row) = self.shared.counting().first_waiting() else { break };
            book.append(&row)?;
            self.shared.counting().written(row.seq);
        }
        let minute = now - now.rem_euclid(60);
        if minute > self.folded_to {
            let report = book.fold(minute)?;
            if report.damaged > 0 {
                let remark = format!("{} damaged rows of the usage count as not there", report.damaged);
                log::error!(target: NAME, "{remark}");
                self.health.note(NAME, remark);
            }
            self.folded_to = minute;
            self.prune_more = true;
            self.shared.counting().set_rows(book.overview()?.rows);
        } else if self.prune_more {
            let retention = self.shared.counting().retention();
            let pruned = book.prune(now, &retention, PRUNE_AT_ONCE)?;
            self.prune_more = pruned.more;
            if pruned.by_cap > 0 {
                let reason =
                    "there are more sums than usage.max_rows: the oldest are removed before their time";
                self.say_degraded(reason.to_owned());
            } else if !pruned.more {
                self.recover();
            }
        }
        Ok(())
    }

    fn open(&mut self, now: i64) {
        match self.try_open(now) {
            Ok(remark) => {
                self.failed_at = None;
                let failure = self.recover();
                let replaced = failure.filter(|_| std::mem::take(&mut self.is_replaced)).map(|failure| {
                    let remark = format!("{failure}; what is counted goes on into the one that is there now");
                    log::error!(target: NAME, "{remark}");
                    remark
                });
                if let Some(remark) = remark.or(replaced) {
                    self.health.note(NAME, remark);
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    fn try_open(&mut self, now: i64) -> Result<Option<String>, StoreError> {
        let path = &self.shared.settings.path;
        // A book in memory is lost with its last handle, which the reader is.
        let kept = if path.as_os_str().is_empty() {
            self.shared.reader().as_ref().map(|it| it.reader())
        } else {
            None
        };
        let (mut book, remark) = if let Some(book) = kept {
            (book?, None)
        } else {
            let opened = open_usage(path)?;
            if let Some(mode) = opened.exposed_mode {
                log::warn!(target: NAME, "{} may be read by others (mode {mode:o}): chmod 600 it", path.display());
            }
            (opened.store, complaint(&opened.condition))
        };
        let days = book.set_days(&self.shared.settings.days, now)?;
        let overview = book.overview()?;
        let hour = Query {
            from: now - 3_600,
            to: now,
            step: QueryStep::Minute,
            by: vec![Column::Key],
            filter: Vec::new(),
            most_rows: Query::MOST_ROWS,
        };
        // With too many keys it is refused, and the hour begins with the process.
        let hour = book.query(&hour, "").map(|answer| answer.report.rows()).unwrap_or_default();
        *self.shared.reader() = Some(book.reader()?);
        let mut counting = self.shared.counting();
        counting.opened(overview, days);
        counting.seed_hour(&hour);
        drop(counting);
        self.book = Some(book);
        Ok(remark)
    }

    /// Goes on without the book.
    fn fail(&mut self, error: &StoreError) {
        self.book = None;
        if matches!(error, StoreError::Replaced { .. }) {
            self.is_replaced = true;
            // What it reads nobody finds again either, and another file may be opened only once this one is closed.
            *self.shared.reader() = None;
        }
        self.failed_at = Some(Instant::now());
        self.say_degraded(error.to_string());
    }

    /// Returns what was said last of a failure that is over.
    fn recover(&mut self) -> Option<String> {
        let failure = self.failure.take();
        if failure.is_some() {
            self.health.set(NAME, State::Up, None);
        }
        failure
    }

    fn say_degraded(&mut self, reason: String) {
        if self.failure.as_ref() != Some(&reason) {
            self.failure = Some(reason.clone());
            self.health.set(NAME, State::Degraded, Some(reason));
        }
    }
}

/// What an operator should know of how the book was found.
fn complaint(condition: &Condition) -> Option<String> {
    if matches!(condition, Condition::Fresh | Condition::Intact) {
        return None;
    }
    log::error!(target: NAME, "{condition}");
    Some(condition.to_string())
}

impl Actor for AccountantActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.tick(Utc::now().timestamp());
        ctx.run_interval(LOOK_EVERY, |actor, _| actor.tick(Utc::now().timestamp()));
    }
}

impl Handler<Flush> for AccountantActor {
    type Result = MessageResult<Flush>;

    fn handle(&mut self, _: Flush, _: &mut Self::Context) -> Self::Result {
        let now = Utc::now().timestamp();
        let mut counting = self.shared.counted();
        counting.end_second();
        drop(counting);
        MessageResult(self.write(now))
    }
}

/// Makes the actor panic, for tests.
#[cfg(debug_assertions)]
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Panic;

#[cfg(debug_assertions)]
impl Handler<Panic> for AccountantActor {
    type Result = ();

    #[expect(clippy::panic, reason = "what it is for")]
    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("asked to");
    }
}
