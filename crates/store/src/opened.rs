//! What opening a store found. Values, not log lines: the caller decides what the operator hears.

use std::{fmt, path::PathBuf};

use crate::RecordId;

/// An open store, and what is to be said about it.
#[derive(Debug)]
pub struct Opened<S> {
    /// The store, ready for use.
    pub store: S,
    /// What was found in its place.
    pub condition: Condition,
    /// The file's permission bits, if they let anyone but its owner read or write it.
    pub exposed_mode: Option<u32>,
    /// The log beside the file went on for so many bytes after its last whole batch. Usually that is a batch that the end
    /// of its process cut off, and nobody was told it was saved; after damage to the log it can be more.
    pub cut_off_bytes: Option<u64>,
}

impl<S> Opened<S> {
    pub(crate) fn map<T>(self, to: impl FnOnce(S) -> T) -> Opened<T> {
        let Self { store, condition, exposed_mode, cut_off_bytes } = self;
        Opened { store: to(store), condition, exposed_mode, cut_off_bytes }
    }
}

/// What was found in the store's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing; a new store was made.
    Fresh,
    /// A store, and all its records are right.
    Intact,
    /// A store of which only some records are right. The others are gone from it, the copy has them still.
    Repaired {
        /// Those whose checksum was wrong, named as well as could be read.
        dropped: Vec<RecordId>,
        /// How many records there should have been, by the store's own count.
        rows_expected: i64,
        /// How many are left.
        rows_kept: i64,
        /// The store as it was found.
        copy: PathBuf,
    },
    /// Something that is no store, or no longer. It was moved aside and a new store was made.
    Quarantined {
        /// Where it is now.
        to: PathBuf,
        /// What was wrong with it.
        reason: String,
    },
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh => f.write_str("new"),
            Self::Intact => f.write_str("intact"),
            Self::Repaired { dropped, rows_expected, rows_kept, copy } => write!(
                f,
                "{} damaged records were dropped; {rows_kept} are left where {rows_expected} should be; \
                 the store as it was found is in {}",
                dropped.len(),
                copy.display()
            ),
            Self::Quarantined { to, reason } => {
                write!(f, "started empty: what was found is damaged ({reason}) and is now {}", to.display())
            }
        }
    }
}
