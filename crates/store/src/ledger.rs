//! The ledger: which project owns a resource that Google keeps, who made it, and until when. What a name means and when
//! it is learnt is its caller's affair.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::{Records, StoreError};

/// Keeps holdings, tens of millions if need be: nothing reads more than it is asked for. Not for sharing: one owner calls
/// it, and each call blocks.
pub trait Ledger: Send {
    /// In the order asked; `None` for what is not there, has expired by `now`, or is damaged. A damaged holding is removed
    /// at the next `record`. All of them are from the state after some whole batch.
    fn find(&mut self, names: &[&str], now: DateTime<Utc>) -> Result<Vec<Option<Holding>>, StoreError>;

    /// Carries out the changes in their order: all of them, or, on an error, none. A later `find` on this or any other
    /// handle sees them, and so does the next process. [`Records::sync`] makes them survive the machine's sudden end too.
    fn record(&mut self, batch: &[LedgerChange]) -> Result<(), StoreError>;
}

/// What a ledger needs that does not drop by itself what has expired, and is a process's own: nobody else fills it.
pub trait Upkeep: Ledger {
    /// Removes at most `at_most` of the holdings that have expired by `now`, those that expired first before others; how
    /// many it removed.
    fn expire(&mut self, now: DateTime<Utc>, at_most: usize) -> Result<usize, StoreError>;

    /// The holdings made last that have not expired by `now`, at most `at_most`: newest first, and of one moment in the
    /// order of their names. To warm a cache with.
    fn newest(&mut self, at_most: usize, now: DateTime<Utc>) -> Result<Vec<Holding>, StoreError>;
}

/// Records and ledger in one place.
pub trait Store: Records + Upkeep {}

impl<T: Records + Upkeep> Store for T {}

/// One resource that a project owns. Times are kept to the microsecond.
#[derive(Clone, PartialEq, Eq)]
pub struct Holding {
    /// What the resource is called: `files/abc`. At most one holding has it. What is a secret itself (upload tokens, Live
    /// handles, ephemeral tokens) the caller hands in as a hash: `uploads/<hex>`.
    pub name: String,
    /// The fingerprint of the key that made it.
    pub key: String,
    /// The operator's label of that key's project at that time, if it had one.
    pub project: Option<String>,
    /// Who made it; `None`: made outside the gateway.
    pub caller: Option<String>,
    /// From then on it is gone; `None`: it is there for as long as Google keeps it.
    pub expires: Option<DateTime<Utc>>,
    /// Of an upload session: where it goes upstream, sealed, since Google lets in whoever knows it.
    pub address: Option<String>,
    /// When it was made, or became known.
    pub made: DateTime<Utc>,
}

impl Holding {
    /// Whether it has expired by `now`.
    pub fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// Without the address, which serves as a credential.
impl fmt::Debug for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holding")
            .field("name", &self.name)
            .field("key", &self.key)
            .field("project", &self.project)
            .field("caller", &self.caller)
            .field("expires", &self.expires)
            .field("address", &self.address.as_ref().map(|_| "***"))
            .field("made", &self.made)
            .finish()
    }
}

/// A change to the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerChange {
    /// The holding is there now, in place of any other with its name.
    Put(Holding),
    /// There is no holding with this name any more. None needs to have been there.
    Forget(String),
}
