//! How use is counted: minute windows, days and months of the calendar, and the moment as both clocks show it. Pure: time is an argument. Knows nothing of keys, callers or limits; the key pool counts with it, and
//! whoever else counts in the same windows.

pub mod calendar;
pub mod daily_reset;
mod gauge;
mod minute;
mod now;

pub use gauge::Gauge;
pub use minute::{Amount, Minute, Second, opening};
pub use now::Now;
