//! A log file that rotates by size. One that has vanished, with or without its folder, or has been replaced is made again.
//! Where it cannot be written the board of troubles says so. Written to by a queue's thread alone.

use super::{outlet::Outlet, troubles::Troubles};
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a place that could not be opened is left alone.
const REOPEN_AFTER: Duration = Duration::from_millis(900);

/// Who may read a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// The owner and its group.
    Group,
    /// The owner: it holds what clients say. A file that others can read is closed to them.
    Owner,
}

/// How a file rotates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    pub(super) bytes: u64,
    pub(super) keep_files: usize,
}

/// The file, and how it rotates.
pub(super) struct LogFile {
    setting: &'static str,
    path: PathBuf,
    readers: Readers,
    rotation: Rotation,
    /// It is not opened before there is something to write.
    is_awaited: bool,
    open: Option<OpenFile>,
    /// When it could not be opened last.
    failed_at: Option<Instant>,
    troubles: Arc<Troubles>,
}

struct OpenFile {
    file: File,
    /// Which file it is, whatever its name.
    identity: (u64, u64),
    bytes: u64,
    is_at_line_start: bool,
}

impl LogFile {
    /// Opens the file, making its folder if it is missing. Where it cannot be, that stands on the board, and it is tried
    /// again. `setting` is what names its place.
    pub(super) fn open(
        setting: &'static str,
        path: &Path,
        readers: Readers,
        rotation: Rotation,
        troubles: Arc<Troubles>,
    ) -> Self {
        let mut file = Self::unopened(setting, path, readers, rotation, troubles);
        file.is_awaited = false;
        file.reopen();
        file
    }

    /// Names a file that is opened, and made, for its first line alone: where lines are rare, what stood in the way of one
    /// should not stand on the board until the next.
    pub(super) fn unopened(
        setting: &'static str,
        path: &Path,
        readers: Readers,
        rotation: Rotation,
        troubles: Arc<Troubles>,
    ) -> Self {
        let path = path.to_owned();
        Self { setting, path, readers, rotation, is_awaited: true, open: None, failed_at: None, troubles }
    }

    /// Returns the file as it is on the disk now, for lines to be put at its end.
    fn there(&mut self) -> io::Result<&mut OpenFile> {
        let there = fs::metadata(&self.path).map(|file| (file.dev(), file.ino()));
        let mut open =
            self.open.take().filter(|open| there.as_ref().is_ok_and(|there| *there == open.identity));
        if open.as_ref().is_some_and(|open| open.is_at_line_start && open.bytes > self.rotation.bytes) {
            self.put_aside()?;
            open = None;
        }
        let open = match open {
            Some(open) => open,
            None if self.failed_at.is_some_and(|at| at.elapsed() < REOPEN_AFTER) => {
                return Err(io::Error::other("it could not be opened"));
            }
            None => self.make()?,
        };
        Ok(self.open.insert(open))
    }

    fn make(&mut self) -> io::Result<OpenFile> {
        self.failed_at = Some(Instant::now());
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mode = match self.readers {
            Readers::Group => 0o640,
            Readers::Owner => 0o600,
        };
        let file = OpenOptions::new().create(true).append(true).mode(mode).open(&self.path)?;
        let found = file.metadata()?;
        if self.readers == Readers::Owner && found.is_file() && found.permissions().mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        self.failed_at = None;
        Ok(OpenFile {
            file,
            identity: (found.dev(), found.ino()),
            bytes: found.len(),
            is_at_line_start: true,
        })
    }

    /// Names the file `.1`, the one before `.2`, and so on; the oldest goes.
    fn put_aside(&self) -> io::Result<()> {
        let name = |number: usize| {
            let mut name = self.path.clone().into_os_string();
            if number > 0 {
                name.push(format!(".{number}"));
            }
            PathBuf::from(name)
        };
        if self.rotation.keep_files == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (0..self.rotation.keep_files).rev() {
            match fs::rename(name(number), name(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn note<T>(&self, result: &io::Result<T>) {
        match result {
            Ok(_) => self.troubles.over(&self.path),
            Err(_) if self.failed_at.is_some() && self.troubles.has(&self.path) => {} // the reason is there already
            Err(error) => self.troubles.met(self.setting, &self.path, error),
        }
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.there().and_then(|open| {
            let written = open.file.write(bytes)?;
            open.bytes += written as u64;
            open.is_at_line_start = bytes[..written].ends_with(b"\n");
            Ok(written)
        });
        self.note(&written);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Outlet for LogFile {
    fn reopen(&mut self) {
        (self.open, self.failed_at) = (None, None);
        if self.is_awaited {
            return;
        }
        let opened = self.there().map(drop);
        self.note(&opened);
    }

    fn take_back(&mut self, bytes: u64) -> bool {
        let Some(open) = &mut self.open else { return false };
        let Some(kept) = open.bytes.checked_sub(bytes) else { return false };
        // Not where something else writes to it as well.
        let is_ours = open.file.metadata().is_ok_and(|file| file.is_file() && file.len() == open.bytes);
        if !is_ours || open.file.set_len(kept).is_err() {
            return false;
        }
        (open.bytes, open.is_at_line_start) = (kept, true);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn open(path: &Path, readers: Readers, bytes: u64) -> (LogFile, Arc<Troubles>) {
        let troubles = Arc::new(Troubles::default());
        let rotation = Rotation { bytes, keep_files: 2 };
        (LogFile::open("log.dir", path, readers, rotation, Arc::clone(&troubles)), troubles)
    }

    #[test]
    fn files_are_for_their_readers_only() {
        let folder = tempfile::tempdir().unwrap();
        let (logs, bodies) = (folder.path().join("new/app.log"), folder.path().join("bodies.log"));
        fs::write(&bodies, "").unwrap();
        fs::set_permissions(&bodies, Permissions::from_mode(0o644)).unwrap();
        open(&logs, Readers::Group, 100);
        open(&bodies, Readers::Owner, 100);
        assert_eq!((mode(&logs) & !0o640, mode(&bodies)), (0, 0o600));
    }

    #[test]
    fn a_file_that_waits_for_its_first_line_stands_in_nobodys_way_before() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("logs");
        fs::write(&place, "in the way").unwrap();
        let troubles = Arc::new(Troubles::default());
        let rotation = Rotation { bytes: 8, keep_files: 2 };
        let path = place.join("a.log");
        let mut file = LogFile::unopened("log.dir", &path, Readers::Group, rotation, Arc::clone(&troubles));
        file.reopen();
        assert_eq!(troubles.reason(), None);
        fs::remove_file(&place).unwrap();
        file.reopen();
        assert!(!place.exists());
        file.write_all(b"one\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
    }

    #[test]
    fn a_file_that_is_full_is_put_aside_at_the_end_of_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let (mut file, _) = open(&path, Readers::Group, 8);
        for text in ["one\n", "two ", "three ", "four\n", "five five\n", "six six six\n", "seven\n"] {
            file.write_all(text.as_bytes()).unwrap();
        }
        let text = |end: &str| fs::read_to_string(folder.path().join(format!("a.log{end}"))).unwrap();
        assert_eq!(
            (text(""), text(".1"), text(".2")),
            ("seven\n".into(), "six six six\n".into(), "five five\n".into())
        );
        assert!(!folder.path().join("a.log.3").exists());
    }

    #[test]
    fn a_file_that_is_moved_away_is_made_again_and_what_was_written_last_can_be_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("a.log"), folder.path().join("moved"));
        let (mut file, _) = open(&path, Readers::Group, 1000);
        file.write_all(b"one\ntw").unwrap();
        assert!(file.take_back(2));
        fs::rename(&path, &moved).unwrap();
        fs::write(&path, "").unwrap();
        file.write_all(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn a_place_that_cannot_be_written_stands_on_the_board_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("logs");
        fs::write(&place, "in the way").unwrap();
        let (mut file, troubles) = open(&place.join("app.log"), Readers::Group, 1000);
        let reason = troubles.reason().unwrap();
        assert!(reason.contains("log.dir") && reason.contains("logs/app.log"), "{reason}");
        assert!(file.write_all(b"lost\n").is_err());
        assert_eq!(troubles.reason(), Some(reason));
        fs::remove_file(&place).unwrap();
        file.reopen();
        assert!(troubles.reason().is_some(), "it is told before it is taken off");
        troubles.clear();
        assert_eq!(troubles.reason(), None);
        file.write_all(b"kept\n").unwrap();
        assert_eq!(fs::read_to_string(place.join("app.log")).unwrap(), "kept\n");
    }
}
