//! The file with the instance key, under which tokens are hashed. It lies beside the store and not in it: a copied database
//! tells nothing of the tokens in it without this file. Made when the first token is.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    error, fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// The key's length in bytes.
pub const INSTANCE_KEY_BYTES: usize = 32;

/// Why there is no instance key.
#[derive(Debug)]
pub enum InstanceKeyError {
    /// The file cannot be read or written.
    Io(PathBuf, io::Error),
    /// Others than its owner may read it: its mode.
    Exposed(PathBuf, u32),
    /// It holds something else.
    NotAKey(PathBuf),
}

impl fmt::Display for InstanceKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Exposed(path, mode) => {
                write!(f, "{} may be read by others (mode {mode:o}): chmod 600 it", path.display())
            }
            Self::NotAKey(path) => write!(
                f,
                "{} is not an instance key, which is {INSTANCE_KEY_BYTES} bytes, as they are or in base64",
                path.display()
            ),
        }
    }
}

impl error::Error for InstanceKeyError {}

/// Reads the key; `None` where no file is.
pub fn read(path: &Path) -> Result<Option<[u8; INSTANCE_KEY_BYTES]>, InstanceKeyError> {
    let io = |error| InstanceKeyError::Io(path.to_owned(), error);
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode() & 0o7777,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(io(error)),
    };
    if mode & 0o077 != 0 {
        return Err(InstanceKeyError::Exposed(path.to_owned(), mode));
    }
    let text = fs::read(path).map_err(io)?;
    let as_is = <[u8; INSTANCE_KEY_BYTES]>::try_from(&text[..]).ok();
    let decoded = || STANDARD.decode(text.trim_ascii()).ok()?.try_into().ok();
    as_is.or_else(decoded).map(Some).ok_or_else(|| InstanceKeyError::NotAKey(path.to_owned()))
}

/// Writes the key into a new file that only its owner can read. A file that is there already is left as it is, and is an
/// error.
pub fn create(path: &Path, key: &[u8; INSTANCE_KEY_BYTES]) -> Result<(), InstanceKeyError> {
    let write = || {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let written = writeln!(file, "{}", STANDARD.encode(key)).and_then(|()| file.sync_all());
        if written.is_err() {
            // Half a key would keep the next process from starting.
            let _ = fs::remove_file(path);
        }
        written
    };
    write().map_err(|error| InstanceKeyError::Io(path.to_owned(), error))
}
