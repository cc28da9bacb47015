//! The one place that reads the clocks for the key pool, whose rules take time as an argument.

use keypool::Now;
use tokio::time::Instant;

/// A monotonic clock that starts with the process, and the wall clock beside it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at zero.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Both clocks at this moment.
    pub fn now(&self) -> Now {
        Now { mono: self.start.elapsed(), wall: chrono::Utc::now() }
    }
}
