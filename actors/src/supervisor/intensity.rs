//! Restart intensity: how often a child may die before the supervisor gives it up, and how long to pause between.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// At most `restarts` deaths within `window`, with a pause that doubles from the second death of a window on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// Deaths allowed within the window.
    pub restarts: usize,
    /// The sliding window.
    pub window: Duration,
    /// The pause before the second restart of a window; the first comes at once.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Self {
            restarts: 5,
            window: Duration::from_secs(30),
            first_pause: Duration::from_millis(20),
            longest_pause: Duration::from_secs(2),
        }
    }
}

/// The deaths of one child inside the window.
#[derive(Debug)]
pub(super) struct RestartWindow {
    intensity: Intensity,
    deaths: VecDeque<Instant>,
}

impl RestartWindow {
    pub(super) fn new(intensity: Intensity) -> Self {
        Self { intensity, deaths: VecDeque::new() }
    }

    /// Counts a death: the pause before the restart, or `None` when the child is to be given up.
    pub(super) fn record(&mut self, now: Instant) -> Option<Duration> {
        while self.deaths.front().is_some_and(|death| now.duration_since(*death) > self.intensity.window) {
            self.deaths.pop_front();
        }
        self.deaths.push_back(now);
        if self.deaths.len() > self.intensity.restarts {
            return None;
        }
        let doublings = match self.deaths.len() {
            1 => return Some(Duration::ZERO),
            deaths => u32::try_from(deaths - 2).unwrap_or(u32::MAX).min(16),
        };
        Some((self.intensity.first_pause * 2u32.pow(doublings)).min(self.intensity.longest_pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_comes_at_once_and_the_pauses_double() {
        let mut window = RestartWindow::new(Intensity::default());
        let start = Instant::now();
        let pauses: Vec<_> =
            (0..5).map(|n| window.record(start + Duration::from_millis(n)).unwrap()).collect();
        assert_eq!(pauses, [0, 20, 40, 80, 160].map(Duration::from_millis));
    }

    #[test]
    fn the_sixth_death_within_the_window_is_the_last() {
        let mut window = RestartWindow::new(Intensity::default());
        let start = Instant::now();
        for n in 0..5 {
            assert!(window.record(start + Duration::from_secs(n)).is_some());
        }
        assert_eq!(window.record(start + Duration::from_secs(29)), None);
    }

    #[test]
    fn deaths_outside_the_window_are_forgotten() {
        let mut window = RestartWindow::new(Intensity::default());
        let start = Instant::now();
        for n in 0..50 {
            assert_eq!(window.record(start + Duration::from_secs(n * 31)), Some(Duration::ZERO));
        }
    }
}
