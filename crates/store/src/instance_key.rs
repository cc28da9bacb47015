//! The file with the instance key, under which tokens are hashed. It lies beside the store and not in it: a copied database
//! tells nothing of the tokens in it without this file. Made when the first token is.

use crate::private_file::{self, PrivateFileError};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    error, fmt, io,
    path::{Path, PathBuf},
};

/// The key's length in bytes.
pub const INSTANCE_KEY_BYTES: usize = 32;

/// Why there is no instance key.
#[derive(Debug)]
pub enum InstanceKeyError {
    /// The file cannot be read or written, or others may read it.
    File(PrivateFileError),
    /// It holds something else.
    NotAKey(PathBuf),
    /// It is there, where none was before.
    Appeared(PathBuf),
}

impl fmt::Display for InstanceKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::NotAKey(path) => write!(
                f,
                "{} is not an instance key, which is {INSTANCE_KEY_BYTES} bytes, as they are or in base64",
                path.display()
            ),
            Self::Appeared(path) => write!(
                f,
                "{} was put there after this gateway had started, which goes by another key and left the file as it is: \
                 restart the gateway to have it take the key in the file, or remove the file",
                path.display()
            ),
        }
    }
}

impl error::Error for InstanceKeyError {}

/// Reads the key; `None` where no file is.
pub fn read(path: &Path) -> Result<Option<[u8; INSTANCE_KEY_BYTES]>, InstanceKeyError> {
    let Some(text) = private_file::read(path).map_err(InstanceKeyError::File)? else { return Ok(None) };
    let as_is = <[u8; INSTANCE_KEY_BYTES]>::try_from(&text[..]).ok();
    let decoded = || STANDARD.decode(text.trim_ascii()).ok()?.try_into().ok();
    as_is.or_else(decoded).map(Some).ok_or_else(|| InstanceKeyError::NotAKey(path.to_owned()))
}

/// Writes the key into a new file that only its owner can read. A file that is there already is left as it is, and is an
/// error.
pub fn create(path: &Path, key: &[u8; INSTANCE_KEY_BYTES]) -> Result<(), InstanceKeyError> {
    let text = format!("{}\n", STANDARD.encode(key));
    private_file::create(path, text.as_bytes()).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => InstanceKeyError::Appeared(path.to_owned()),
        _ => InstanceKeyError::File(PrivateFileError::Io(path.to_owned(), error)),
    })
}
