//! The vault's file: read whole, replaced whole by a new one that takes its name, and never written over what somebody else
//! has written since.

use super::{KeptKey, MAX_KEPT_KEYS, MasterKey, Vault, VaultError, content};
use crate::{PrivateFileError, private_file};
use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Keys in a file that only its owner can read, sealed if there is a master key.
#[derive(Debug)]
pub struct VaultFile {
    path: PathBuf,
    master: Option<MasterKey>,
    /// Which file was read or written last; `None` before that.
    seen: Option<Seen>,
}

/// Which file there was, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    File { device: u64, inode: u64, bytes: u64, changed: (i64, i64) },
}

impl VaultFile {
    /// Names the file, which need not be there yet.
    pub fn new(path: &Path, master: Option<MasterKey>) -> Self {
        Self { path: path.to_owned(), master, seen: None }
    }

    /// Seals the keys that are there under another master key, or writes them in the clear for `None`; returns how many.
    pub fn rekey(&mut self, master: Option<MasterKey>) -> Result<usize, VaultError> {
        let keys = self.load()?;
        let former = std::mem::replace(&mut self.master, master);
        self.replace(&keys).inspect_err(|_| self.master = former)?;
        Ok(keys.len())
    }

    /// Tells whether there is a file.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    fn failed(&self) -> impl Fn(io::Error) -> VaultError + use<'_> {
        |error| VaultError::File(PrivateFileError::Io(self.path.clone(), error))
    }

    fn look(&self) -> Result<Seen, VaultError> {
        match fs::metadata(&self.path) {
            Ok(file) => Ok(Seen::File {
                device: file.dev(),
                inode: file.ino(),
                bytes: file.len(),
                changed: (file.mtime(), file.mtime_nsec()),
            }),
            Err(error) if private_file::is_absent(&error) => Ok(Seen::Nothing),
            Err(error) => Err(self.failed()(error)),
        }
    }
}

impl Vault for VaultFile {
    fn load(&mut self) -> Result<Vec<KeptKey>, VaultError> {
        // Before it is read: what is written meanwhile is noticed then.
        let seen = self.look()?;
        let keys = match private_file::read(&self.path).map_err(VaultError::File)? {
            Some(bytes) => content::decode(bytes, self.master.as_ref(), &self.path)?,
            None => Vec::new(),
        };
        self.seen = Some(seen);
        Ok(keys)
    }

    fn replace(&mut self, keys: &[KeptKey]) -> Result<(), VaultError> {
        if keys.len() > MAX_KEPT_KEYS {
            return Err(VaultError::TooMany);
        }
        if self.seen.is_none() {
            // What cannot be read is not written over.
            self.load()?;
        }
        let bytes = content::encode(keys, self.master.as_ref())?;
        if Some(self.look()?) != self.seen {
            return Err(VaultError::Changed(self.path.clone()));
        }
        private_file::replace(&self.path, &bytes).map_err(self.failed())?;
        self.seen = self.look().ok();
        Ok(())
    }

    fn outlives_the_process(&self) -> bool {
        true
    }
}
