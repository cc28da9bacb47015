//! Damaged files, set aside under names that tell what they are. Nothing is deleted and nothing overwritten.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use chrono::Utc;

use super::sidecars::{SIDECARS, beside};

/// Whether a log lies beside a place where there is no file: it would be read into the next file there.
pub(super) fn is_orphaned(path: &Path) -> bool {
    SIDECARS.iter().any(|suffix| beside(path, suffix).symlink_metadata().is_ok_and(|found| found.len() > 0))
}

/// Moves the file, and what belongs to it, to `<name>.damaged-<time>`. The file goes first: without its log it could pass
/// for a whole one of an earlier time, a log without its file passes for nothing.
pub(super) fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let to = free_name(path)?;
    for suffix in [""].into_iter().chain(SIDECARS) {
        match fs::rename(beside(path, suffix), beside(&to, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(to)
}

/// An empty file of that kind of name, for the owner's eyes only, to copy a database into.
pub(super) fn place_for_copy(path: &Path) -> io::Result<PathBuf> {
    let to = free_name(path)?;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&to)?;
    Ok(to)
}

fn free_name(path: &Path) -> io::Result<PathBuf> {
    let stem = format!(".damaged-{}", Utc::now().format("%Y%m%dT%H%M%SZ"));
    for turn in 1..1_000 {
        let to = beside(path, &if turn == 1 { stem.clone() } else { format!("{stem}-{turn}") });
        if ["", "-wal"].iter().all(|suffix| beside(&to, suffix).symlink_metadata().is_err()) {
            return Ok(to);
        }
    }
    Err(io::Error::other("too many damaged files beside it"))
}
