//! What an examination of a file finds. `integrity` and a layout's own check find it, `opening` acts on it.

/// What an examination found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Sound,
    /// All pages are sound and so is what matters, but there are rows that are not in their order.
    Askew,
    /// What is wrong.
    Damaged(String),
}
