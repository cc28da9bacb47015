//! The identity of an item, and of a project, as a token keeps it: short, and the same in every process.

use twox_hash::XxHash3_64;

/// How many bytes of the hash are kept. That one of a hundred items is taken for one of a hundred others by chance
/// happens once in 10^8 pages.
pub(super) const MARK_BYTES: usize = 5;

/// A shortened hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Mark(pub(super) [u8; MARK_BYTES]);

impl Mark {
    /// Of an item's name, or of a project's tag.
    pub(super) fn of(text: &str) -> Self {
        Self::short(XxHash3_64::oneshot(text.as_bytes()))
    }

    /// Of an item without a name: its place in its project's page is all that tells it from its like.
    pub(super) fn of_place(page: Option<&str>, at: usize) -> Self {
        Self::short(XxHash3_64::oneshot_with_seed(at as u64 + 1, page.unwrap_or_default().as_bytes()))
    }

    fn short(hash: u64) -> Self {
        let mut mark = [0; MARK_BYTES];
        mark.copy_from_slice(&hash.to_le_bytes()[..MARK_BYTES]);
        Self(mark)
    }
}
