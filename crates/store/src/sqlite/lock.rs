//! One process a file: a lock beside the file, which the system lets go when its holder ends, however it ends. SQLite keeps
//! the file whole whoever writes to it; what the lock guards is what the records say, since each process would overwrite
//! what another has learnt. It lies beside the file and not on it, for the reason that `opening` gives.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::sidecars::{LOCK, beside};
use crate::StoreError;

/// Another process may end, and take its lock with it, between two looks at it.
const LOOKS: usize = 5;

/// Held for as long as it lives.
#[derive(Debug)]
pub(super) struct FileLock {
    path: PathBuf,
    _file: File,
}

impl FileLock {
    /// Takes the lock of the store at `path`. `None` where the place knows no locks, or cannot be written at all, which
    /// opening the store will tell.
    pub(super) fn take(path: &Path) -> Result<Option<Self>, StoreError> {
        let lock = beside(path, LOCK);
        if let Some(folder) = lock.parent() {
            let _ = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        }
        let mut holder = String::new();
        for _ in 0..LOOKS {
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&lock);
            let Ok(mut file) = opened else { return Ok(None) };
            match file.try_lock() {
                // It may have been removed by its former holder since it was opened.
                Ok(()) if is_still_there(&file, &lock) => {
                    let _ = sign(&mut file);
                    return Ok(Some(Self { path: lock, _file: file }));
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    holder = signature(&mut file);
                    if is_still_there(&file, &lock) {
                        break;
                    }
                }
                Err(TryLockError::Error(_)) => return Ok(None),
            }
        }
        Err(StoreError::InUse { path: path.to_owned(), holder })
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // While it is held: nobody else can have taken it meanwhile.
        let _ = fs::remove_file(&self.path);
    }
}

fn is_still_there(file: &File, path: &Path) -> bool {
    let identity = |found: fs::Metadata| (found.dev(), found.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(there)) => identity(held) == identity(there),
        _ => false,
    }
}

/// Writes who holds the lock.
fn sign(file: &mut File) -> io::Result<()> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    file.set_len(0)?;
    writeln!(file, "process {} on {}", std::process::id(), host.trim())
}

/// Reads who holds the lock.
fn signature(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let _ = file.take(100).read_to_end(&mut bytes);
    let text: String = bytes
        .iter()
        .map(|byte| char::from(*byte))
        .filter(|sign| sign.is_ascii_graphic() || *sign == ' ')
        .collect();
    if text.is_empty() { "another process".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("a.db"), folder.path().join("new/folder/b.db")] {
            let held = FileLock::take(&path).unwrap().unwrap();
            let error = FileLock::take(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
            assert!(error.contains(&path.display().to_string()), "{error}");
            drop(held);
            assert!(!beside(&path, LOCK).exists());
            drop(FileLock::take(&path).unwrap().unwrap());
        }
    }

    #[test]
    fn what_a_killed_process_has_left_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        fs::write(beside(&path, LOCK), "process 1 on \u{1b}[31melsewhere\n".repeat(100)).unwrap();
        let held = FileLock::take(&path).unwrap();
        assert!(held.is_some());
        let error = FileLock::take(&path).unwrap_err().to_string();
        assert!(!error.contains('\u{1b}') && error.len() < 400, "{error}");
    }

    #[test]
    fn a_place_without_room_for_a_lock_is_no_reason_to_fail_here() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        for path in
            [folder.path().join("file/a.db"), PathBuf::from("/proc/a.db"), PathBuf::from("/dev/null/x/a.db")]
        {
            assert!(FileLock::take(&path).unwrap().is_none(), "{}", path.display());
        }
    }
}
