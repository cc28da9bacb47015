//! A file that is open, and which file that is. Where somebody removes it or puts another in its place, what is written goes on
//! into one that nobody finds again: each owner of one asks now and then, and opens what is there anew.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, config::DbConfig};

use crate::StoreError;

/// The path, the connection that was opened by it, and the file that was found there then.
pub(super) struct OpenFile {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    identity: Option<FileIdentity>,
}

/// Tells a file from all others, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
}

/// Returns which file it is.
pub(super) fn identity(path: &Path) -> io::Result<FileIdentity> {
    fs::metadata(path).map(|found| FileIdentity { device: found.dev(), inode: found.ino() })
}

impl OpenFile {
    /// Takes a connection that was opened by `path` just now.
    pub(super) fn new(path: PathBuf, connection: Connection) -> Self {
        let identity = identity(&path).ok();
        Self { path, connection, identity }
    }

    /// Says whether the file is where it was opened. What cannot be looked at counts as there.
    pub(super) fn check_place(&self) -> Result<(), StoreError> {
        if self.is_in_place() { Ok(()) } else { Err(StoreError::Replaced { path: self.path.clone() }) }
    }

    fn is_in_place(&self) -> bool {
        match identity(&self.path) {
            Ok(found) => self.identity.is_none_or(|opened| opened == found),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if !self.is_in_place() {
            // The last connection that closes removes the log by its name, which may be another file's by now.
            let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }
}
