//! Where finished transactions wait to be counted: a bounded buffer a worker, so that no worker waits for another, nor for
//! the accountant. What does not fit is lost, and counted as that.

use crate::transaction::Transaction;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// How many transactions wait at most in each.
pub(super) const CAPACITY: usize = 16_384;

/// A worker's place to leave its transactions in.
#[derive(Clone, Debug)]
pub struct Account {
    buffer: Arc<Mutex<Vec<Arc<Transaction>>>>,
    lost: Arc<AtomicU64>,
}

impl Account {
    /// Leaves a transaction to be counted. Never waits longer than the buffer takes to be emptied, a pointer's swap.
    pub fn leave(&self, transaction: Transaction) {
        // A list of pointers is cheap to grow and to put in order.
        let transaction = Arc::new(transaction);
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.len() < CAPACITY {
            buffer.push(transaction);
        } else {
            drop(buffer);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The buffers of all workers.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    accounts: Mutex<Vec<Account>>,
    lost: Arc<AtomicU64>,
}

impl Buffers {
    /// Makes one more.
    pub(super) fn account(&self) -> Account {
        let account = Account { buffer: Arc::default(), lost: Arc::clone(&self.lost) };
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).push(account.clone());
        account
    }

    /// Empties all of them, in the order in which they were made.
    pub(super) fn take(&self) -> Vec<Vec<Arc<Transaction>>> {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let take = |account: &Account| {
            std::mem::take(&mut *account.buffer.lock().unwrap_or_else(PoisonError::into_inner))
        };
        accounts.iter().map(take).filter(|taken| !taken.is_empty()).collect()
    }

    /// How many did not fit.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
