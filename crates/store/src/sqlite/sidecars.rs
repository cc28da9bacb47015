//! The names of what lies beside a store's file. What they mean is with those who make them: SQLite, `integrity`.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Ends the name of the mark that `integrity` makes.
pub(super) const SUSPECT: &str = "-suspect";

/// Ends the name of the lock of the process that uses a file. It is moved nowhere with the file.
pub(super) const LOCK: &str = "-lock";

/// Ends the names of all that belongs to a file: `-journal` belongs to files that never were in WAL mode.
pub(super) const SIDECARS: [&str; 4] = ["-wal", "-shm", "-journal", SUSPECT];

/// Returns the file beside `path` whose name ends so.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
