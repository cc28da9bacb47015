//! Files that hold a secret: made for their owner alone, and refused where others can read them. For the instance key and the
//! vault; what is in them is theirs.

use std::{
    error, fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Why such a file is of no use.
#[derive(Debug)]
pub enum PrivateFileError {
    /// It cannot be read or written.
    Io(PathBuf, io::Error),
    /// Others than its owner may read it: its mode.
    Exposed(PathBuf, u32),
}

impl fmt::Display for PrivateFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Exposed(path, mode) => {
                write!(f, "{} may be read by others (mode {mode:o}): chmod 600 it", path.display())
            }
        }
    }
}

impl error::Error for PrivateFileError {}

/// Reads a file; `None` where none is.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, PrivateFileError> {
    let io = |error| PrivateFileError::Io(path.to_owned(), error);
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode() & 0o7777,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    if mode & 0o077 != 0 {
        return Err(PrivateFileError::Exposed(path.to_owned(), mode));
    }
    fs::read(path).map(Some).map_err(io)
}

/// Whether a file cannot be read because there is none.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Writes a new file to the disk. One that is there already is left as it is, and is an error.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a secret would keep the next process from starting.
        let _ = fs::remove_file(path);
    }
    written
}

/// Writes a file to the disk in the place of the one that is there, if any: whoever reads it, at whatever moment, reads the
/// one or the other whole.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Where the name is a link, the file that it leads to is meant.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = path.clone().into_os_string();
    name.push(".new");
    let new = PathBuf::from(name);
    match fs::remove_file(&new) {
        // A process that was killed has left it.
        Err(error) if !is_absent(&error) => return Err(error),
        _ => {}
    }
    create(&new, bytes)?;
    fs::rename(&new, &path).inspect_err(|_| drop(fs::remove_file(&new)))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}
