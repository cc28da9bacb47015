//! Who hears of the transactions of one worker, and the account that keeps them. What each makes of a transaction is its
//! own matter; the HTTP face, the `ForwardActor` and the `LiveActor` end theirs here.

use crate::{accounting::Account, trace_parent::TraceParent, transaction::Transaction};
use chrono::Utc;
use std::rc::Rc;

/// Hears of each transaction that has ended: the log, what counts usage. It must not block.
pub trait TransactionListener {
    /// Takes one that has ended.
    fn ended(&self, transaction: &Transaction);

    /// Says whether it wants to know, at the moment, of which client's trace a request is part.
    fn reads_trace_parents(&self) -> bool {
        false
    }
}

impl<F: Fn(&Transaction)> TransactionListener for F {
    fn ended(&self, transaction: &Transaction) {
        self(transaction);
    }
}

/// All who hear of the transactions of one worker, and who keeps them. Cheap to clone.
#[derive(Clone)]
pub struct Listeners {
    told: Rc<[Box<dyn TransactionListener>]>,
    account: Option<Account>,
}

impl Listeners {
    /// Makes the list, to be told in this order. At last the transaction itself goes into the account.
    pub fn new(listeners: Vec<Box<dyn TransactionListener>>, account: Option<Account>) -> Self {
        Self { told: listeners.into(), account }
    }

    /// Reads of which client's trace a request is part, if anybody wants to know.
    pub fn trace_parent(&self, headers: impl FnOnce() -> Option<TraceParent>) -> Option<TraceParent> {
        if self.told.iter().any(|listener| listener.reads_trace_parents()) { headers() } else { None }
    }

    /// Ends a transaction: tells all of it. Taken by value, since it ends once.
    pub fn end(&self, mut transaction: Transaction) {
        transaction.ended = Utc::now();
        for listener in &*self.told {
            listener.ended(&transaction);
        }
        if let Some(account) = &self.account {
            account.leave(&transaction);
        }
    }
}
