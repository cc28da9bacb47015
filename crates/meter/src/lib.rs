//! How use is counted: minute windows, days and months of the calendar, and the moment as both clocks show it. Pure:
//! time is an argument. Knows nothing of keys and limits; the key pool counts with it, and so do callers' accounts.

pub mod calendar;
mod clocks;
pub mod daily_reset;
mod gauge;
mod minute;
mod now;

pub use clocks::{Clocks, Parted};
pub use gauge::Gauge;
pub use minute::{Amount, Minute, Second, opening};
pub use now::Now;
