//! What is recorded of one request: made up by the `ForwardActor` or `LiveActor` as it goes (or by the HTTP face, for a
//! request that never came so far), handed to the [`Listeners`] at its end. It holds ids and counts, never a secret or a
//! body.

use crate::{accounting::Account, failure::Failure};
use gemini::{path::Dialect, usage::Usage};
use std::{rc::Rc, sync::Arc, time::Duration};

/// Hears of each transaction that has ended: the log, what counts usage. It must not block.
pub trait TransactionListener {
    /// Takes one that has ended.
    fn ended(&self, transaction: &Transaction);
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

    /// Ends a transaction: tells all of it. Taken by value, since it ends once.
    pub fn end(&self, transaction: Transaction) {
        for listener in &*self.told {
            listener.ended(&transaction);
        }
        if let Some(account) = &self.account {
            account.leave(transaction);
        }
    }
}

/// One request, from its arrival to its last byte.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The request's id, also in its `x-request-id` header.
    pub id: String,
    /// Who called; `None` when nobody was let in.
    pub caller: Option<Arc<str>>,
    /// The format spoken.
    pub dialect: Dialect,
    /// The HTTP method.
    pub method: http::Method,
    /// The path without its query, which could hold a credential.
    pub path: String,
    /// The model asked for.
    pub model: Option<Arc<str>>,
    /// Each attempt upstream, in order.
    pub attempts: Vec<Attempt>,
    /// The status of the answer that was passed on; 0 when there was none.
    pub status: u16,
    /// Why the gateway answered itself, if it did; the HTTP face knows the status of that.
    pub failure: Option<Failure>,
    /// How it ended.
    pub end: End,
    /// From arrival to the first byte of the answer's body or its head.
    pub first_byte: Option<Duration>,
    /// From arrival to the end.
    pub total: Duration,
    /// The request body's length.
    pub bytes_in: u64,
    /// How much of the answer's body was passed on.
    pub bytes_out: u64,
    /// What the upstream said it used.
    pub usage: Option<Usage>,
}

/// One try on one key.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The key's id.
    pub key: keypool::KeyId,
    /// The upstream's status; `None` when no answer came.
    pub status: Option<u16>,
    /// The fault found, if any.
    pub fault: Option<gemini::fault::Kind>,
    /// How long it took to know.
    pub took: Duration,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The answer was passed on to its last byte.
    Complete,
    /// The gateway answered itself.
    Refused,
    /// The client went away.
    ClientLeft,
    /// The client stopped reading for too long and was cut off.
    ClientStalled,
    /// The upstream broke off in the middle, and the client was shown so.
    UpstreamBroke,
}

impl End {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Refused => "refused",
            Self::ClientLeft => "client_left",
            Self::ClientStalled => "client_stalled",
            Self::UpstreamBroke => "upstream_broke",
        }
    }
}
