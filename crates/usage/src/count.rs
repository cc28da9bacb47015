//! One count: the most that it can hold, and how more is added to it. What is counted is told by the cell, the spread and
//! the sample; an amount of money is bounded alike.

/// No count grows beyond this: a database's integers are signed. Adding that saturates is the same in any order.
pub(crate) const MOST: u64 = i64::MAX as u64;

/// Adds to a count, up to [`MOST`].
pub(crate) fn add(count: &mut u64, more: u64) {
    *count = count.saturating_add(more).min(MOST);
}
