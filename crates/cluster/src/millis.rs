//! How long a time is in whole milliseconds, as the shared state counts it.

use std::time::Duration;

/// Nothing is kept for longer than a year, in milliseconds.
const LONGEST: u64 = 366 * 86_400_000;

/// Returns a time in milliseconds: at least one, at most a year.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, LONGEST)
}
