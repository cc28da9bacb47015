//! The time, as an argument. The pool never asks a clock.

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
    /// What the wall clock shows at this moment of the monotonic clock.
    pub(crate) fn wall_at(self, mono: Duration) -> DateTime<Utc> {
        let shifted = match mono.checked_sub(self.mono) {
            Some(ahead) => self.wall.checked_add_signed(delta(ahead)),
            None => self.wall.checked_sub_signed(delta(self.mono.saturating_sub(mono))),
        };
        shifted.unwrap_or(self.wall)
    }

    /// How long until the wall clock shows this, zero when it is past.
    pub(crate) fn until(self, wall: DateTime<Utc>) -> Duration {
        (wall - self.wall).to_std().unwrap_or_default()
    }

    /// How long ago the wall clock showed this, zero when it is yet to come.
    pub(crate) fn since(self, wall: DateTime<Utc>) -> Duration {
        (self.wall - wall).to_std().unwrap_or_default()
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
