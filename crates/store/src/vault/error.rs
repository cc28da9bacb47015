//! Why the vault could not do what it was asked. Each is one line that names the file and says what to do; none shows what
//! is in it.

use super::{MAX_KEPT_KEYS, content::VERSION};
use crate::PrivateFileError;
use std::{error, fmt, path::PathBuf};

/// An error of the vault. After any of them it is as it was before the call.
#[derive(Debug)]
pub enum VaultError {
    /// The file cannot be read or written, or others may read it.
    File(PrivateFileError),
    /// It is no vault.
    Foreign(PathBuf),
    /// It was a vault before it was damaged: what is wrong.
    Damaged(PathBuf, &'static str),
    /// A newer version of this program wrote it: its version.
    Newer(PathBuf, u32),
    /// It is sealed, and there is no master key.
    Sealed(PathBuf),
    /// It was sealed under another master key.
    WrongMasterKey(PathBuf),
    /// Somebody else has written it since it was read.
    Changed(PathBuf),
    /// More keys than it may hold.
    TooMany,
    /// The system has no randomness to give.
    NoRandomness,
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Foreign(path) => write!(
                f,
                "{} does not hold keys that this program has written: name another file, or move it away",
                path.display()
            ),
            Self::Damaged(path, why) => write!(
                f,
                "{} is damaged ({why}): put a copy of it back, or move it away to go on without its keys",
                path.display()
            ),
            Self::Newer(path, version) => write!(
                f,
                "{} has version {version}, this program knows version {VERSION}: run the newer program",
                path.display()
            ),
            Self::Sealed(path) => write!(
                f,
                "{} is sealed: give the master key (MASTER_KEY or store.master_key_file) that it was sealed under",
                path.display()
            ),
            Self::WrongMasterKey(path) => write!(
                f,
                "{} was sealed under another master key than the one given (MASTER_KEY or store.master_key_file), or \
                 its beginning is damaged",
                path.display()
            ),
            Self::Changed(path) => write!(
                f,
                "{} was written by another program since it was read: restart the gateway, so that it reads it again",
                path.display()
            ),
            Self::TooMany => {
                write!(f, "there may be at most {MAX_KEPT_KEYS} keys that were added at runtime")
            }
            Self::NoRandomness => f.write_str("the system gives no random numbers"),
        }
    }
}

impl error::Error for VaultError {}
