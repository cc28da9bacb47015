//! Why the store could not do what it was asked. Each is one line that names the file; none shows a record's body or a holding.

use std::{error, fmt, path::PathBuf};

/// An error of the store. After any of them the records and the ledger are as they were before the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The place cannot be read or written: permissions, a missing volume, a failing disk.
    Unusable {
        /// The file that the error is about.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The disk is full. Trying again helps once there is room.
    Full {
        /// The file that the error is about.
        path: PathBuf,
    },
    /// Another process held the file for longer than the store waits. Trying again may help.
    Busy {
        /// The file that the error is about.
        path: PathBuf,
    },
    /// Another gateway uses the file. Trying again helps once that one has ended.
    InUse {
        /// The file that the error is about.
        path: PathBuf,
        /// What the other one has written of itself.
        holder: String,
    },
    /// The file was removed, or another was put in its place, while it was in use. What was written since went into one that
    /// nobody finds again. Opening it anew helps.
    Replaced {
        /// The file that the error is about.
        path: PathBuf,
    },
    /// The file was written by a newer version. It was left as it is.
    Newer {
        /// The file that the error is about.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// The file turned out to be damaged while it was in use. Opening it again moves it aside or repairs it.
    Damaged {
        /// The file that the error is about.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable { path, reason } => {
                write!(f, "the store {} cannot be used: {reason}", path.display())
            }
            Self::Full { path } => write!(f, "the store {} cannot grow: the disk is full", path.display()),
            Self::Busy { path } => write!(f, "the store {} is held by another process", path.display()),
            Self::InUse { path, holder } => write!(
                f,
                "the store {} is in use by another gateway ({holder}): two cannot share what they learn in it, so this \
                 one keeps its state in memory until the other ends; give each a store.path of its own",
                path.display()
            ),
            Self::Replaced { path } => {
                write!(f, "the store {} was removed or replaced while it was in use", path.display())
            }
            Self::Newer { path, found, known } => write!(
                f,
                "the store {} has schema version {found}, this program knows versions up to {known}: \
                 run the newer program, or name another file",
                path.display()
            ),
            Self::Damaged { path, reason } => write!(f, "the store {} is damaged: {reason}", path.display()),
        }
    }
}

impl error::Error for StoreError {}
