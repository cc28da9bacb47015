//! The board on which log files that cannot be written stand. The writing threads put them there; the service reads it for
//! the health endpoints, and takes off what is over once it was told: a disk with a little room now and then is full all the
//! same.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};
use tokio::sync::watch;

/// Each file that could not be written, with the reason.
#[derive(Default)]
pub(super) struct Troubles(watch::Sender<Board>);

type Board = BTreeMap<PathBuf, Trouble>;

/// Why a file could not be written.
pub(super) struct Trouble {
    reason: String,
    /// It has been written since.
    is_over: bool,
}

impl Troubles {
    /// Puts a file on the board.
    pub(super) fn met(&self, setting: &str, path: &Path, error: &io::Error) {
        let reason = format!("{setting}: {} cannot be written: {error}", path.display());
        self.0.send_if_modified(|board| {
            let before = board.insert(path.to_owned(), Trouble { reason: reason.clone(), is_over: false });
            before.is_none_or(|before| before.is_over || before.reason != reason)
        });
    }

    /// Hears that a file could be written.
    pub(super) fn over(&self, path: &Path) {
        self.0.send_if_modified(|board| {
            board.get_mut(path).is_some_and(|trouble| !std::mem::replace(&mut trouble.is_over, true))
        });
    }

    /// Takes off the board what is over.
    pub(super) fn clear(&self) {
        self.0.send_if_modified(|board| {
            let before = board.len();
            board.retain(|_, trouble| !trouble.is_over);
            board.len() != before
        });
    }

    /// Whether a file cannot be written now.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.0.borrow().get(path).is_some_and(|trouble| !trouble.is_over)
    }

    /// Returns what stands on the board, in one line.
    pub(super) fn reason(&self) -> Option<String> {
        let board = self.0.borrow();
        let reasons: Vec<&str> = board.values().map(|trouble| trouble.reason.as_str()).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Returns what resolves when the board has changed.
    pub(super) fn changes(&self) -> watch::Receiver<Board> {
        self.0.subscribe()
    }
}
