//! What outlives a process. Callers see one narrow trait for each thing that is kept ([`Records`] and [`Ledger`] in one
//! file, [`UsageBook`] in another, [`ResponseBook`] in a third, [`Vault`](vault::Vault) in a fourth; another thing gets a trait of its own beside them, not more methods in these), and two
//! implementations of each: [`Sqlite`] and [`UsageFile`], with [`foreign`] the only places in the house with SQL, and [`Memory`] and
//! [`UsageMemory`]. No async, no threads: every call blocks its caller until it is done or has
//! failed.
//!
//! Secrets stay out of all but the vault, which has its own file and its own rules: a record or a holding names keys and callers by their ids, and a caller never puts a key, a token, or
//! a part of one into an id, a body or a name; the address of an upload session, with which Google
//! lets anyone go on with that upload, it seals. The databases are not encrypted.
//!
//! # What can be lost
//!
//! `save` and `record` answer once the batch is in SQLite's write-ahead log, in the operating system's hands
//! (`journal_mode=WAL`, `synchronous=NORMAL`).
//!
//! - The process dies at any moment (SIGKILL, panic, out of memory): nothing that was acknowledged is lost, and a batch
//!   is there whole or not at all.
//! - The machine dies (power, kernel): the batches since the last `sync`, or since the log was last copied into the file
//!   (every 1,000 pages, and on closing), may be lost, newest first. What remains is the state after some earlier batch.
//! - The file is damaged: opening moves it aside, or drops the rows whose checksum is wrong, and says so in [`Condition`].
//! - A row of the ledger is damaged: it counts as not there, from the moment it is read, and if its name is what was
//!   damaged, rows beside it may not be found either. Opening does not check the ledger's rows, of which there may be many,
//!   and of a file of more than 32 MiB it examines only the schema and the records. Pages of the ledger that turn out to be
//!   broken later are an error of the call that meets them; opening the file again then examines all of it, and moves it
//!   aside.
//! - The log beside the file is damaged: SQLite takes the damage for the log's end, as it must after a crash, so the state
//!   is that after an earlier batch; `cut_off_bytes` in [`Opened`] tells. A log cut at exactly the end of a batch, or
//!   deleted, cannot be told from one that never was longer.

#![allow(clippy::doc_markdown, reason = "SQLite is a name, not an item")]

mod error;
pub mod instance_key;
mod ledger;
mod memory;
mod opened;
mod private_file;
mod records;
mod response_book;
mod sqlite;
mod usage_book;
mod usage_memory;
pub mod vault;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use error::StoreError;
pub use ledger::{Holding, Ledger, LedgerChange, Store, Upkeep};
pub use memory::Memory;
pub use opened::{Condition, Opened};
pub use private_file::PrivateFileError;
pub use records::{Change, RecordId, Records, Stored};
pub use response_book::{ResponseBook, ResponseMemory};
pub use sqlite::{ResponseFile, Sqlite, UsageFile, foreign};
pub use usage_book::{
    BookAnswer, BookError, BookOverview, FoldReport, JournalRow, Pruned, Retention, UsageBook,
};
pub use usage_memory::UsageMemory;

use std::path::Path;

/// Says why a store, or a book, that the setting `path` names could not be opened. A look that makes and changes nothing: it finds
/// what the system forbids, not what is wrong in the file.
pub fn look(path: &Path) -> Result<(), StoreError> {
    if path.as_os_str().is_empty() { Ok(()) } else { sqlite::look(path) }
}

/// Opens the store that the setting `path` names: a SQLite file, or for an empty path one in memory. The file
/// is for one process at a time. Takes up to a few seconds when another program reads or writes it.
pub fn open(path: &Path) -> Result<Opened<Box<dyn Store>>, StoreError> {
    if path.as_os_str().is_empty() {
        let store: Box<dyn Store> = Box::new(Memory::default());
        return Ok(Opened { store, condition: Condition::Fresh, exposed_mode: None, cut_off_bytes: None });
    }
    Ok(Sqlite::open_alone(path)?.map(|store| Box::new(store) as Box<dyn Store>))
}

/// Opens the usage book that the setting `path` names, in the same way.
pub fn open_usage(path: &Path) -> Result<Opened<Box<dyn UsageBook>>, StoreError> {
    if path.as_os_str().is_empty() {
        let store: Box<dyn UsageBook> = Box::new(UsageMemory::default());
        return Ok(Opened { store, condition: Condition::Fresh, exposed_mode: None, cut_off_bytes: None });
    }
    Ok(UsageFile::open(path)?.map(|book| Box::new(book) as Box<dyn UsageBook>))
}

/// Opens the response book that `path` names, in the same way.
pub fn open_responses(path: &Path) -> Result<Opened<Box<dyn ResponseBook>>, StoreError> {
    if path.as_os_str().is_empty() {
        let store: Box<dyn ResponseBook> = Box::new(ResponseMemory::default());
        return Ok(Opened { store, condition: Condition::Fresh, exposed_mode: None, cut_off_bytes: None });
    }
    Ok(ResponseFile::open(path)?.map(|book| Box::new(book) as Box<dyn ResponseBook>))
}
