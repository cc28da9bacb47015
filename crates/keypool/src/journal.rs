//! What changed and is not kept yet: counts change with every request, so they are written up twice a second at most.

use std::time::Duration;

use crate::ids::{KeyIx, Model, ProjectIx};
use crate::moves::Moves;

/// The least time between two write-ups.
const PAUSE: Duration = Duration::from_millis(500);

/// What is written up as one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JournalPage {
    /// The limits and counts of a model on a project.
    Limits(ProjectIx, Model),
    /// The totals of a key.
    Usage(KeyIx),
    /// The totals of a model on a key.
    ModelUsage(KeyIx, Model),
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    pages: Vec<JournalPage>,
    due: Option<Duration>,
    last: Option<Duration>,
}

impl Journal {
    /// Something is to be written up. The caller sees to it that it is noted once.
    pub(crate) fn note(&mut self, page: JournalPage, now: Duration) {
        self.pages.push(page);
        if self.due.is_none() {
            self.due = Some(self.last.map_or(now, |last| now.max(last + PAUSE)));
        }
    }

    /// Looks at what is not written up yet.
    pub(crate) fn pages(&self) -> &[JournalPage] {
        &self.pages
    }

    /// Moves what is noted of keys to their present places, and drops what is noted of keys that are gone.
    pub(crate) fn move_keys(&mut self, moves: &Moves) {
        self.pages.retain_mut(|page| {
            let key = match page {
                JournalPage::Usage(key) | JournalPage::ModelUsage(key, _) => key,
                JournalPage::Limits(..) => return true,
            };
            let present = moves.of(*key);
            *key = present.unwrap_or(*key);
            present.is_some()
        });
    }

    /// When to write up.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// What is to be written up now.
    pub(crate) fn take(&mut self, now: Duration) -> Vec<JournalPage> {
        self.due = None;
        self.last = Some(now);
        std::mem::take(&mut self.pages)
    }

    /// Gives the emptied list back, to save the allocation.
    pub(crate) fn give_back(&mut self, mut pages: Vec<JournalPage>) {
        if self.pages.is_empty() {
            pages.clear();
            self.pages = pages;
        }
    }
}
