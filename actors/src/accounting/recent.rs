//! The newest transactions, in a ring: what an operator is told of single requests, as long as they are young. Each has a
//! number, by which a list of them is read on page by page while newer ones come.

use crate::transaction::Transaction;
use std::{collections::VecDeque, sync::Arc};

/// The newest transactions, oldest first, up to a bound.
#[derive(Debug)]
pub(super) struct RecentTransactions {
    most: usize,
    /// The number of the oldest.
    first: u64,
    kept: VecDeque<Arc<Transaction>>,
}

/// A transaction with its number.
pub type NumberedTransaction = (u64, Arc<Transaction>);

impl RecentTransactions {
    /// Makes an empty one that keeps so many.
    pub(super) fn new(most: usize) -> Self {
        Self { most, first: 0, kept: VecDeque::new() }
    }

    /// Takes the newest, in the place of the oldest if it is full.
    pub(super) fn push(&mut self, transaction: Arc<Transaction>) {
        if self.most == 0 {
            return;
        }
        if self.kept.len() >= self.most {
            self.kept.pop_front();
            self.first += 1;
        }
        self.kept.push_back(transaction);
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Returns those that are wanted, newest first, older than the one with this number, and so many at most.
    pub(super) fn before(
        &self,
        number: Option<u64>,
        most: usize,
        wanted: impl Fn(&Transaction) -> bool,
    ) -> Vec<NumberedTransaction> {
        let end = number.map_or(self.kept.len(), |number| {
            usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.kept.len())
        });
        let older = self.kept.range(..end).enumerate().rev();
        let older = older.map(|(at, transaction)| (self.first + at as u64, transaction));
        let found = older.filter(|(_, transaction)| wanted(transaction)).take(most);
        found.map(|(number, transaction)| (number, Arc::clone(transaction))).collect()
    }
}
