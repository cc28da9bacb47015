//! Where a worker leaves its finished transactions: summed by class, and written down briefly for whoever wants to see single
//! ones. Each worker has its own, so that none waits for another, nor for the accountant, who swaps what is there for
//! something empty. All of it is bounded; what finds no room in the sums is lost, and counted as that.

use super::{groups::RequestGroups, recent::RecentPart};
use crate::{failure::Failure, transaction::Transaction};
use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How many groups of a kind a worker tells apart at most before they are counted.
pub(super) const MOST_GROUPS: usize = 16_384;

/// A worker's place to leave its transactions in.
#[derive(Clone, Debug)]
pub struct Account {
    left: Arc<Mutex<LeftTransactions>>,
    lost: Arc<AtomicU64>,
    status_of: fn(&Failure) -> u16,
}

/// What a worker has left since the accountant came last.
#[derive(Debug, Default)]
struct LeftTransactions {
    groups: RequestGroups,
    recent: RecentPart,
    rules: AccountRules,
}

/// What the workers must know to sum up.
#[derive(Clone, Debug, Default)]
pub(super) struct AccountRules {
    /// The lengths of prompts beyond which there are other prices.
    pub(super) prompt_bounds: Arc<[u64]>,
    /// Whether any of the newest transactions are kept.
    pub(super) keeps_recent: bool,
}

impl Account {
    /// Leaves a transaction to be counted. Never waits longer than it takes the accountant to swap what is there.
    pub fn leave(&self, transaction: &Transaction) {
        let mut left = self.left();
        let LeftTransactions { groups, recent, rules } = &mut *left;
        if !groups.add(transaction, MOST_GROUPS, &rules.prompt_bounds, self.status_of) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        if rules.keeps_recent {
            recent.push(transaction);
        }
    }

    fn left(&self) -> MutexGuard<'_, LeftTransactions> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The accounts of all workers.
#[derive(Debug)]
pub(super) struct WorkerAccounts {
    accounts: Mutex<(Vec<Account>, AccountRules)>,
    lost: Arc<AtomicU64>,
    status_of: fn(&Failure) -> u16,
}

/// The groups that the accountant has taken from a worker. Given back when it is empty, since it has room already.
#[derive(Debug, Default)]
pub(super) struct TakenGroups {
    pub(super) groups: RequestGroups,
    /// What the models of those classes count as that are counted already.
    pub(super) models: Vec<Option<CountedModel>>,
}

/// The model of a class that is counted.
#[derive(Clone, Debug)]
pub(super) struct CountedModel {
    /// The name under which it counts.
    pub(super) model: Arc<str>,
    /// Whether metrics tell all of the class apart.
    pub(super) is_named: bool,
}

impl WorkerAccounts {
    pub(super) fn new(rules: AccountRules, status_of: fn(&Failure) -> u16) -> Self {
        Self { accounts: Mutex::new((Vec::new(), rules)), lost: Arc::default(), status_of }
    }

    /// Makes one more.
    pub(super) fn account(&self) -> Account {
        let mut accounts = self.accounts();
        let left = LeftTransactions { rules: accounts.1.clone(), ..LeftTransactions::default() };
        let account = Account {
            left: Arc::new(Mutex::new(left)),
            lost: Arc::clone(&self.lost),
            status_of: self.status_of,
        };
        accounts.0.push(account.clone());
        account
    }

    /// Has the workers sum up by other rules from now on.
    pub(super) fn revise(&self, prompt_bounds: Vec<u64>) {
        let mut accounts = self.accounts();
        accounts.1.prompt_bounds = prompt_bounds.into();
        for account in &accounts.0 {
            account.left().rules = accounts.1.clone();
        }
    }

    /// Takes the groups that each has left, in the order in which they were made. `spare` is what was taken before, empty again.
    pub(super) fn take(&self, spare: &mut Vec<TakenGroups>) -> Vec<TakenGroups> {
        let accounts = self.accounts();
        let take = |account: &Account| {
            let mut taken = spare.pop().unwrap_or_default();
            mem::swap(&mut account.left().groups, &mut taken.groups);
            taken
        };
        accounts.0.iter().map(take).collect()
    }

    /// Takes what each has written down of its newest transactions, for something empty.
    pub(super) fn take_recent(&self, empty: &mut Vec<RecentPart>) -> Vec<RecentPart> {
        let accounts = self.accounts();
        let take =
            |account: &Account| mem::replace(&mut account.left().recent, empty.pop().unwrap_or_default());
        accounts.0.iter().map(take).collect()
    }

    /// Whether one of them may soon have no room for more groups.
    pub(super) fn are_filling(&self) -> bool {
        self.accounts().0.iter().any(|account| account.left().groups.most() >= MOST_GROUPS / 2)
    }

    /// How many found no room.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn accounts(&self) -> MutexGuard<'_, (Vec<Account>, AccountRules)> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
