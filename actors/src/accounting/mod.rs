//! Accounting: what requests have used, counted from their transactions on a thread of its own. Here is the handle,
//! [`Accounts`]: workers leave finished transactions in buffers, the [`AccountantActor`] counts them and writes the sums
//! into the usage book, and whoever asks gets an answer from the book and from what is not written yet. What a transaction
//! counts as is in `sampling`, in which sums is in the crate `usage`.

mod accountant;
mod buffer;
mod counting;
mod sampling;

pub use accountant::AccountantActor;
pub use buffer::Account;

use crate::{
    health::Health,
    key_ring::KeyRing,
    supervisor::{Intensity, Link},
    transaction::Transaction,
};
use buffer::Buffers;
use counting::Counting;
use gemini_balance_store::{BookError, Retention, StoreError, UsageBook};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use usage::{Days, Prices, Query, ReportRow, Sums};

/// How usage is counted and kept.
#[derive(Clone, Debug)]
pub struct AccountingSettings {
    /// The usage book's file; empty for memory only.
    pub path: PathBuf,
    /// Where days begin.
    pub days: Days,
    /// How long sums are kept.
    pub retention: Retention,
    /// How many models count by themselves.
    pub max_models: usize,
    /// How many of the newest transactions are kept.
    pub recent: usize,
    /// What tokens cost.
    pub prices: Prices,
}

/// What is known of the accounting itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountingState {
    /// Requests that were never counted: there were more than fitted, or the disk was in trouble for too long.
    pub lost: u64,
    /// Rows in the usage book.
    pub rows: u64,
    /// Seconds that are counted, but not written down yet.
    pub waiting: usize,
}

/// The handle: made once, shared by all.
#[derive(Clone)]
pub struct Accounts {
    shared: Arc<Shared>,
    link: Link<AccountantActor>,
}

/// What outlives the actor: it lies outside, so that one that dies loses nothing.
struct Shared {
    settings: AccountingSettings,
    ring: Arc<KeyRing>,
    buffers: Buffers,
    counting: Mutex<Counting>,
    /// A handle to read the book with, while it can be read.
    reader: Mutex<Option<Box<dyn UsageBook>>>,
}

impl Shared {
    fn counting(&self) -> MutexGuard<'_, Counting> {
        self.counting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self) -> MutexGuard<'_, Option<Box<dyn UsageBook>>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    /// Starts the accountant on `arbiter`, whose thread may wait for the disk.
    pub fn start(
        arbiter: &actix_rt::ArbiterHandle,
        settings: AccountingSettings,
        ring: Arc<KeyRing>,
        intensity: Intensity,
        health: Arc<Health>,
    ) -> Self {
        let counting = Counting::new(&settings);
        let shared = Arc::new(Shared {
            settings,
            ring,
            buffers: Buffers::default(),
            counting: Mutex::new(counting),
            reader: Mutex::new(None),
        });
        let link = accountant::start(arbiter, Arc::clone(&shared), intensity, health);
        Self { shared, link }
    }

    /// Opens an account for one worker: the place where it leaves its finished transactions.
    pub fn account(&self) -> Account {
        self.shared.buffers.account()
    }

    /// Counts and writes all there is; whether it is written.
    pub async fn flush(&self, at_most: Duration) -> bool {
        self.link.send(accountant::Flush, Instant::now() + at_most).await.unwrap_or(false)
    }

    /// Answers a question, from the book and from what is not written yet. Blocks on the disk.
    pub fn query(&self, query: &Query) -> Result<Vec<ReportRow>, BookError> {
        let (node, unwritten) = self.shared.counting().unwritten();
        let mut reader = self.shared.reader();
        let Some(book) = &mut *reader else {
            let reason = "it could not be opened; see the log and /health/ready".to_owned();
            return Err(StoreError::Unusable { path: self.shared.settings.path.clone(), reason }.into());
        };
        let mut answer = book.query(query, &node)?;
        drop(reader);
        // What was written since the first line of this is in the book's answer already.
        let rest = unwritten.iter().filter(|(seq, _)| *seq > answer.last_seq).map(|(_, sums)| sums);
        answer.report.add_unfolded(rest);
        Ok(answer.report.rows())
    }

    /// Where days begin, by the book.
    pub fn days(&self) -> Days {
        self.shared.counting().days()
    }

    /// The currency of all costs.
    pub fn currency(&self) -> &str {
        self.shared.settings.prices.currency()
    }

    /// What was counted since the process began.
    pub fn since_start(&self) -> Sums {
        self.shared.counting().since_start()
    }

    /// The newest transactions that have been counted, newest first.
    pub fn recent(&self, at_most: usize) -> Vec<Arc<Transaction>> {
        self.shared.counting().recent(at_most)
    }

    /// What is known of the accounting itself.
    pub fn state(&self) -> AccountingState {
        let mut state = self.shared.counting().state();
        state.lost += self.shared.buffers.lost();
        state
    }

    /// Makes the actor panic, for the tests of its supervision.
    #[cfg(debug_assertions)]
    pub fn panic(&self) {
        self.link.nudge(accountant::Panic);
    }
}
