//! The time, as an argument: one moment as both clocks show it. Who reads the clocks is the caller's matter.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic, since the process started. All waits run on this clock, so a stepped wall clock does not matter.
    pub mono: Duration,
    /// The wall clock. Only for midnights, and for what must outlive the process.
    pub wall: DateTime<Utc>,
}

impl Now {
    /// Returns what the wall clock shows at this moment of the monotonic clock.
    pub fn wall_at(self, mono: Duration) -> DateTime<Utc> {
        let shifted = match mono.checked_sub(self.mono) {
            Some(ahead) => self.wall.checked_add_signed(delta(ahead)),
            None => self.wall.checked_sub_signed(delta(self.mono.saturating_sub(mono))),
        };
        shifted.unwrap_or(self.wall)
    }

    /// Returns how long it is until the wall clock shows this, zero when it is past.
    pub fn until(self, wall: DateTime<Utc>) -> Duration {
        (wall - self.wall).to_std().unwrap_or_default()
    }

    /// Returns how long ago the wall clock showed this, zero when it is yet to come.
    pub fn since(self, wall: DateTime<Utc>) -> Duration {
        (self.wall - wall).to_std().unwrap_or_default()
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
