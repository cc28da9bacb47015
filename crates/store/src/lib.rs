//! What outlives a process. Callers see one narrow trait for each thing that is kept ([`Records`] today; another thing gets a
//! trait of its own beside it, not more methods in this one), and two implementations: [`Sqlite`], the only place in the
//! house with SQL, and [`Memory`]. No async, no threads: every call blocks its caller until it is done or has failed.
//!
//! Secrets stay out: a record names keys and callers by their ids, and a caller never puts a key, a token, or a part of
//! one into an id or a body. The file is not encrypted.
//!
//! # What can be lost
//!
//! `save` answers once the batch is in SQLite's write-ahead log, in the operating system's hands (`journal_mode=WAL`,
//! `synchronous=NORMAL`).
//!
//! - The process dies at any moment (SIGKILL, panic, out of memory): nothing that was acknowledged is lost, and a batch
//!   is there whole or not at all.
//! - The machine dies (power, kernel): the batches since the last `sync`, or since the log was last copied into the file
//!   (every 1,000 pages, and on closing), may be lost, newest first. What remains is the state after some earlier batch.
//! - The file is damaged: opening moves it aside, or drops the rows whose checksum is wrong, and says so in [`Condition`].
//! - The log beside the file is damaged: SQLite takes the damage for the log's end, as it must after a crash, so the state
//!   is that after an earlier batch; `cut_off_bytes` in [`Opened`] tells. A log cut at exactly the end of a batch, or
//!   deleted, cannot be told from one that never was longer.

#![allow(clippy::doc_markdown, reason = "SQLite is a name, not an item")]

mod error;
mod memory;
mod opened;
mod records;
mod sqlite;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use error::StoreError;
pub use memory::Memory;
pub use opened::{Condition, Opened};
pub use records::{Change, RecordId, Records, Stored};
pub use sqlite::Sqlite;

use std::path::Path;

/// Opens the store that the setting `path` names: a SQLite file, or for an empty path one in memory. Takes up to a few
/// seconds when another process holds the file.
pub fn open(path: &Path) -> Result<Opened<Box<dyn Records>>, StoreError> {
    if path.as_os_str().is_empty() {
        let store: Box<dyn Records> = Box::new(Memory::default());
        return Ok(Opened { store, condition: Condition::Fresh, exposed_mode: None, cut_off_bytes: None });
    }
    Ok(Sqlite::open(path)?.map(|store| Box::new(store) as Box<dyn Records>))
}
