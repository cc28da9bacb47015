//! The keys that were added while the service ran, with their secrets: the one thing kept here that is secret. Not in the
//! database, which is backed up and attached to reports; in a small file of its own, [`VaultFile`], or in memory. What a key
//! may do, and which of them counts beside the configuration's, is the caller's affair.

mod content;
mod error;
mod file;
mod master_key;
mod memory;
mod sealing;

pub use error::VaultError;
pub use file::VaultFile;
pub use master_key::{MasterKey, NotAMasterKey};
pub use memory::VaultMemory;

use chrono::{DateTime, Utc};
use std::fmt;
use zeroize::Zeroizing;

/// The most keys that a vault holds.
pub const MAX_KEPT_KEYS: usize = 50_000;

/// A key as it was added.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptKey {
    /// The secret itself; wiped when dropped.
    pub secret: Zeroizing<String>,
    /// The operator's name for it.
    pub label: Option<String>,
    /// The operator's label of its project.
    pub project: Option<String>,
    /// Its share where keys are chosen by weight.
    pub weight: u32,
    /// When it was added, in whole seconds.
    pub added: DateTime<Utc>,
}

impl fmt::Debug for KeptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptKey")
            .field("label", &self.label)
            .field("project", &self.project)
            .field("weight", &self.weight)
            .field("added", &self.added)
            .finish_non_exhaustive()
    }
}

/// Keeps keys. Not for sharing: one owner calls it, and each call blocks.
pub trait Vault: Send {
    /// Returns the keys as they were put last, in their order.
    fn load(&mut self) -> Result<Vec<KeptKey>, VaultError>;

    /// Puts these keys in the place of those that are there. After an error those are there still; after success these are,
    /// for the next process too, and if the machine loses its power.
    fn replace(&mut self, keys: &[KeptKey]) -> Result<(), VaultError>;

    /// Whether what is put outlives the process.
    fn outlives_the_process(&self) -> bool;
}
