//! The board on which log files that cannot be written stand. The writing threads put them there; the service reads it for
//! the health endpoints.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};
use tokio::sync::watch;

/// Each file that cannot be written, with the reason.
#[derive(Default)]
pub(super) struct Troubles(watch::Sender<BTreeMap<PathBuf, String>>);

impl Troubles {
    /// Puts a file on the board.
    pub(super) fn met(&self, setting: &str, path: &Path, error: &io::Error) {
        let reason = format!("{setting}: {} cannot be written: {error}", path.display());
        self.0.send_if_modified(|files| files.insert(path.to_owned(), reason.clone()) != Some(reason));
    }

    /// Takes a file off the board.
    pub(super) fn over(&self, path: &Path) {
        self.0.send_if_modified(|files| files.remove(path).is_some());
    }

    /// Whether a file is on the board.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.0.borrow().contains_key(path)
    }

    /// Returns what stands on the board, in one line.
    pub(super) fn reason(&self) -> Option<String> {
        let files = self.0.borrow();
        (!files.is_empty()).then(|| files.values().cloned().collect::<Vec<_>>().join("; "))
    }

    /// Resolves when the board is another than it was when this was called last.
    pub(super) fn changes(&self) -> watch::Receiver<BTreeMap<PathBuf, String>> {
        self.0.subscribe()
    }
}
