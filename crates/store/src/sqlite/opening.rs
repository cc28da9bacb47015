//! Opening a file: making it, examining it, bringing it up to date, and deciding what to do with a damaged one.
//!
//! Nothing here opens the file but SQLite: POSIX drops a process's locks on a file when the process closes any handle on
//! it, so a look through a handle of our own could break another connection's locks.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};
use rustix::fs::Access;

use super::{
    BUSY_TIMEOUT, failed, integrity, migrations,
    open_file::{OpenFile, identity},
    quarantine, sidecars,
    verdict::Verdict,
};
use crate::{Condition, Opened, StoreError};

/// What a kind of file is like.
pub(super) struct Layout {
    /// The steps that lead to its schema.
    pub(super) steps: &'static [&'static str],
    /// Settings that only an empty file takes.
    pub(super) first: &'static str,
    /// Examines a file whose schema need not be right. Damage asks for it to be moved aside.
    pub(super) check: fn(&Path, &Connection) -> rusqlite::Result<Verdict>,
    /// Puts right what `check` found askew.
    pub(super) straighten: fn(&mut Connection) -> rusqlite::Result<()>,
    /// Drops what of the content is wrong, from a file of which it makes a copy.
    pub(super) repair: fn(&Path, &mut Connection) -> Result<Option<Condition>, StoreError>,
}

/// Making a file and moving one aside each lead to another look; more looks than this mean that another process does the
/// same to the same path.
const LOOKS: usize = 6;

/// Opens a file of this layout.
pub(super) fn open(path: &Path, layout: &Layout) -> Result<Opened<OpenFile>, StoreError> {
    // SQLite takes some relative names (`:memory:`) for more than a name.
    let path = std::path::absolute(path).map_err(|e| unusable(path, &e))?;
    // SQLite puts its log beside what a symbolic link points to, so that is the path to go by.
    let path = path.canonicalize().unwrap_or(path);
    let mut condition = Condition::Intact;
    for _ in 0..LOOKS {
        let identity = identity(&path).ok();
        match examine(&path, layout) {
            Ok(FileState::Sound { connection, repair, cut_off_bytes }) => {
                let mode = fs::metadata(&path).map_err(|e| unusable(&path, &e))?.permissions().mode();
                return Ok(Opened {
                    store: OpenFile::new(path, connection),
                    condition: repair.unwrap_or(condition),
                    exposed_mode: (mode & 0o077 != 0).then_some(mode & 0o7777),
                    cut_off_bytes,
                });
            }
            Ok(FileState::Nothing) => {
                create(&path, layout)?;
                if condition == Condition::Intact {
                    condition = Condition::Fresh;
                }
            }
            // Another process has moved it aside already, and what is there now may be what that one writes to.
            Err(StoreError::Damaged { .. }) if self::identity(&path).ok() != identity => {}
            Err(StoreError::Damaged { reason, .. }) => {
                let to = quarantine::move_aside(&path).map_err(|e| unusable(&path, &e))?;
                condition = Condition::Quarantined { to, reason };
            }
            Err(other) => return Err(other),
        }
    }
    Err(StoreError::Unusable { path, reason: "other processes keep replacing it".to_owned() })
}

/// Says why the file could not be opened, or made, without making or changing anything, and as far as the system can tell.
pub(super) fn look(path: &Path) -> Result<(), StoreError> {
    let path = std::path::absolute(path).map_err(|e| unusable(path, &e))?;
    let path = path.canonicalize().unwrap_or(path);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // The folders down to it are made with it.
            let there = path.ancestors().skip(1).find(|folder| fs::symlink_metadata(folder).is_ok());
            let folder = there.unwrap_or(&path);
            if !fs::metadata(folder).map_err(|e| unusable(folder, &e))?.is_dir() {
                return Err(unusable(folder, &io::Error::other("it is not a folder")));
            }
            may_write_in(folder)
        }
        Err(error) => Err(unusable(&path, &error)),
        Ok(found) if !found.is_file() => Err(not_a_file(&path)),
        Ok(_) => may_write(&path),
    }
}

fn not_a_file(path: &Path) -> StoreError {
    unusable(path, &io::Error::other("it is not a file"))
}

/// Whether the file and its folder can be written. Asked of the system, because SQLite would fall back to reading only, and
/// does not pass on the reason.
fn may_write(path: &Path) -> Result<(), StoreError> {
    let allows = Access::READ_OK | Access::WRITE_OK;
    rustix::fs::access(path, allows).map_err(|e| unusable(path, &e.into()))?;
    may_write_in(path.parent().unwrap_or(path))
}

fn may_write_in(folder: &Path) -> Result<(), StoreError> {
    let allows = Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::access(folder, allows).map_err(|e| unusable(folder, &e.into()))
}

enum FileState {
    Nothing,
    Sound { connection: Connection, repair: Option<Condition>, cut_off_bytes: Option<u64> },
}

/// Looks at what is there. `StoreError::Damaged` asks for it to be moved aside.
fn examine(path: &Path, layout: &Layout) -> Result<FileState, StoreError> {
    let damaged = |reason: &str| StoreError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return if quarantine::is_orphaned(path) {
                Err(damaged("there is a log but the file is missing"))
            } else {
                Ok(FileState::Nothing)
            };
        }
        Err(error) => return Err(unusable(path, &error)),
        Ok(found) if !found.is_file() => return Err(not_a_file(path)),
        Ok(found) if found.len() == 0 => return Err(damaged("the file is empty")),
        Ok(_) => {}
    }
    may_write(path)?;

    let failed = |error: rusqlite::Error| failed_opening(path, &error);
    let mut connection = connect(path).map_err(failed)?;
    let found = migrations::version(&connection).map_err(failed)?;
    let known = migrations::newest(layout.steps);
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    let verdict = (layout.check)(path, &connection).map_err(failed)?;
    if let Verdict::Damaged(reason) = &verdict {
        return Err(damaged(reason));
    }
    let Some(steps) = usize::try_from(found).ok().filter(|&n| n > 0).and_then(|n| layout.steps.get(..n))
    else {
        return Err(damaged("it has no schema version"));
    };
    if !migrations::has_schema_of(&connection, steps).map_err(failed)? {
        return Err(damaged("it has another schema"));
    }
    // The system lets us write, so it is the file's header that asks for a newer SQLite's hand.
    if connection.is_readonly("main").map_err(failed)? {
        return Err(damaged("its header says it is read-only"));
    }

    let cut_off_bytes = cut_off_bytes(path, &connection).map_err(failed)?;
    migrations::migrate(&mut connection, layout.steps).map_err(|e| super::failed(path, &e))?;
    keep_a_log(path, &connection)?;
    if verdict == Verdict::Askew {
        (layout.straighten)(&mut connection).map_err(failed)?;
    }
    integrity::trust(path);
    let repair = (layout.repair)(path, &mut connection)?;
    tidy_on_close(&connection).map_err(failed)?;
    Ok(FileState::Sound { connection, repair, cut_off_bytes })
}

/// A connection with the settings this store relies on. Until `tidy_on_close`, closing it leaves the file and its log as
/// they were found.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // First of all: some of the other settings read the file, and fail if it is damaged.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // The log shrinks when it starts over, so that what follows its last batch is never a leftover; see `cut_off_bytes`.
    connection.pragma_update(None, "journal_size_limit", 0)?;
    Ok(connection)
}

/// From now on the last connection that closes copies the log into the file and removes it.
pub(super) fn tidy_on_close(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map(drop)
}

/// WAL mode, which the file remembers, and which `synchronous=NORMAL` is safe with.
fn keep_a_log(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0));
    if mode.map_err(|e| failed_opening(path, &e))? == "wal" {
        return Ok(());
    }
    Err(unusable(path, &io::Error::other("the file system cannot keep a write-ahead log")))
}

/// How far the log goes on after what SQLite accepted of it. Copies what it accepted into the file.
fn cut_off_bytes(path: &Path, connection: &Connection) -> rusqlite::Result<Option<u64>> {
    // The log's size, by <https://www.sqlite.org/fileformat2.html#walformat>: a header, then a header a page.
    const HEADER: u64 = 32;
    const FRAME_HEADER: u64 = 24;
    // Its owners hold no POSIX locks on the log, and this opens nothing.
    let size = fs::metadata(sidecars::beside(path, "-wal")).map_or(0, |log| log.len());
    if size == 0 {
        return Ok(None);
    }
    let page: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let frames: i64 = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1))?;
    let frames = u64::try_from(frames).unwrap_or(0);
    let accepted = if frames == 0 { 0 } else { HEADER + frames * (FRAME_HEADER + u64::from(page)) };
    Ok(size.checked_sub(accepted).filter(|&rest| rest > 0))
}

/// Copies the database into a file that is there and empty.
pub(super) fn copy_into(copy: &Path, connection: &Connection) -> rusqlite::Result<()> {
    let name = copy.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(copy.to_owned()))?;
    connection.execute("VACUUM INTO ?1", [name]).map(drop)
}

/// Makes the file under another name and gives it its own once it is complete: no other process, and no later one, meets a
/// half-made file.
fn create(path: &Path, layout: &Layout) -> Result<(), StoreError> {
    let io = |error: io::Error| unusable(path, &error);
    let folder = path.parent().unwrap_or(path);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    let draft = tempfile::Builder::new()
        .prefix(".store-")
        .suffix(".new")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(io)?
        .into_temp_path();
    fill(&draft, layout)?;
    match draft.persist_noclobber(path) {
        Ok(()) => {}
        // Another process was faster; its file is as good.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io(error.error)),
    }
    // So that the name outlives a power loss. Some file systems know no such thing and need none.
    drop(fs::File::open(folder).and_then(|folder| folder.sync_all()));
    Ok(())
}

fn fill(draft: &Path, layout: &Layout) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| failed(draft, &error);
    let mut connection = connect(draft).map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection.execute_batch(layout.first).map_err(failed)?;
    migrations::migrate(&mut connection, layout.steps).map_err(failed)?;
    keep_a_log(draft, &connection)?;
    tidy_on_close(&connection).map_err(failed)?;
    connection.close().map_err(|(_, error)| failed(error))
}

/// What an error means while a file is examined: the questions are right, so an answer that makes no sense is the file's.
pub(super) fn failed_opening(path: &Path, error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        // "Unsupported file format", a schema that does not parse; a file we may write that asks to be left alone.
        Some(ErrorCode::Unknown | ErrorCode::ReadOnly | ErrorCode::TooBig) => {
            StoreError::Damaged { path: path.to_owned(), reason: error.to_string() }
        }
        _ => failed(path, error),
    }
}

pub(super) fn unusable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unusable { path: PathBuf::from(path), reason: error.to_string() }
}
