//! Whether files have changed: looked at from time to time, since bind mounts, renames and network folders tell nobody. A
//! change counts once two looks in a row have seen the same, so that files half written, or one of a pair, wait.

use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What a look at a file shows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    stamp: Stamp,
    content: FileContent,
}

/// By what a file that may have changed is known without reading it: which one it is, its size, its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp([i64; 7]);

/// What is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum FileContent {
    There([u8; 32]),
    /// It is not there, or cannot be read.
    Not(io::ErrorKind),
    /// It is a pipe, a device or a folder, which is not read.
    NoFile,
}

type Look = BTreeMap<PathBuf, Seen>;

/// The watch. See the module.
#[derive(Debug, Default)]
pub(super) struct FileWatch {
    last: Look,
    /// What the configuration that was considered last was read from.
    considered: BTreeMap<PathBuf, FileContent>,
}

impl FileWatch {
    /// Looks at these files. Tells whether they are other than those that were considered last, and have not changed since
    /// the look before.
    pub(super) fn look(&mut self, files: &[PathBuf]) -> bool {
        let look: Look = files.iter().map(|file| (file.clone(), seen(file, self.last.get(file)))).collect();
        let is_quiet = look == self.last;
        self.last = look;
        is_quiet && self.last.iter().any(|(file, seen)| self.considered.get(file) != Some(&seen.content))
    }

    /// Takes these files, as they are now, for considered. To be called before they are read: what changes meanwhile is then
    /// seen by the looks that follow.
    pub(super) fn consider(&mut self, files: &[PathBuf]) {
        for file in files {
            let seen = seen(file, self.last.get(file));
            self.considered.insert(file.clone(), seen.content.clone());
            self.last.insert(file.clone(), seen);
        }
    }
}

/// Looks at a file, and reads it unless it is as it was at the last look.
fn seen(file: &Path, last: Option<&Seen>) -> Seen {
    let stamp = match fs::metadata(file) {
        Ok(found) if !found.is_file() => return Seen { stamp: Stamp([0; 7]), content: FileContent::NoFile },
        Ok(found) => Stamp([
            found.dev().cast_signed(),
            found.ino().cast_signed(),
            found.len().cast_signed(),
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
            found.ctime_nsec(),
        ]),
        Err(error) => return Seen { stamp: Stamp([0; 7]), content: FileContent::Not(error.kind()) },
    };
    if let Some(last) = last.filter(|last| last.stamp == stamp) {
        return last.clone();
    }
    let content = match fs::read(file) {
        Ok(bytes) => FileContent::There(Sha256::digest(&bytes).into()),
        Err(error) => FileContent::Not(error.kind()),
    };
    Seen { stamp, content }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Watched {
        folder: tempfile::TempDir,
        files: Vec<PathBuf>,
        watch: FileWatch,
    }

    impl Watched {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let files = ["a", "b"].map(|name| folder.path().join(name)).to_vec();
            fs::write(&files[0], "one").unwrap();
            let mut watch = FileWatch::default();
            watch.consider(&files);
            Self { folder, files, watch }
        }

        fn look(&mut self) -> bool {
            self.watch.look(&self.files)
        }

        /// Takes the change, as a reload does.
        fn acts_at_the_second_look(&mut self) {
            assert_eq!([self.look(), self.look()], [false, true]);
            self.watch.consider(&self.files);
            assert_eq!([self.look(), self.look()], [false, false]);
        }
    }

    #[test]
    fn a_change_counts_at_the_second_look_that_sees_it() {
        let mut it = Watched::new();
        assert_eq!([it.look(), it.look(), it.look()], [false; 3]);
        fs::write(&it.files[0], "two").unwrap();
        it.acts_at_the_second_look();
        fs::write(&it.files[1], "a file that was not there").unwrap();
        it.acts_at_the_second_look();
        fs::remove_file(&it.files[0]).unwrap();
        it.acts_at_the_second_look();
    }

    #[test]
    fn a_file_that_an_editor_has_put_in_the_place_of_the_other_is_seen() {
        let mut it = Watched::new();
        let new = it.folder.path().join("a.swp");
        fs::write(&new, "eno").unwrap();
        let time = fs::metadata(&it.files[0]).unwrap().modified().unwrap();
        fs::File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
        fs::rename(new, &it.files[0]).unwrap();
        it.acts_at_the_second_look();
    }

    #[test]
    fn a_file_that_is_still_being_written_waits() {
        let mut it = Watched::new();
        for part in ["t", "tw", "two", "two th"] {
            fs::write(&it.files[0], part).unwrap();
            assert!(!it.look(), "{part}");
        }
        assert!(it.look());
    }

    #[test]
    fn what_is_written_back_in_time_never_happened() {
        let mut it = Watched::new();
        fs::write(&it.files[0], "two").unwrap();
        assert!(!it.look());
        fs::write(&it.files[0], "one").unwrap();
        assert_eq!([it.look(), it.look(), it.look()], [false; 3]);
        // Touched, and the same.
        fs::File::options()
            .write(true)
            .open(&it.files[0])
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
        assert_eq!([it.look(), it.look(), it.look()], [false; 3]);
    }

    #[test]
    fn files_that_are_watched_from_now_on_are_compared_from_now_on() {
        let mut it = Watched::new();
        it.files.push(it.folder.path().join("c"));
        it.watch.consider(&it.files);
        assert_eq!([it.look(), it.look()], [false; 2]);
        fs::write(&it.files[2], "three").unwrap();
        it.acts_at_the_second_look();
    }
}
