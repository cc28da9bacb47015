//! A log file that rotates by size. One that has vanished, with or without its folder, is made again. Written to by a
//! queue's thread alone.

use file_rotate::{ContentLimit, FileRotate, compression::Compression, suffix::AppendCount};
use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The file, and how it rotates.
pub(super) struct LogFile {
    path: PathBuf,
    rotate_bytes: usize,
    keep_files: usize,
    open: Option<FileRotate<AppendCount>>,
}

impl LogFile {
    /// Opens the file, making its folder if it is missing.
    pub(super) fn open(path: &Path, rotate_bytes: usize, keep_files: usize) -> io::Result<Self> {
        let mut file = Self { path: path.to_owned(), rotate_bytes, keep_files, open: None };
        file.there()?;
        Ok(file)
    }

    /// The file as it is on the disk now. `FileRotate` itself goes on with a deleted one, and panics where it cannot make
    /// the folder.
    fn there(&mut self) -> io::Result<&mut FileRotate<AppendCount>> {
        let open = if let Some(open) = self.open.take().filter(|_| self.path.exists()) {
            open
        } else {
            if let Some(folder) = self.path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            OpenOptions::new().create(true).append(true).open(&self.path)?;
            let limit = ContentLimit::BytesSurpassed(self.rotate_bytes);
            FileRotate::new(&self.path, AppendCount::new(self.keep_files), limit, Compression::None, None)
        };
        Ok(self.open.insert(open))
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.there()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), Write::flush)
    }
}
