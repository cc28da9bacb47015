//! What a node may use of a shared budget while it cannot ask the others: in any minute what it used in the last one, what it
//! holds, and its part of what was left, by what it was told last, or else by how full the model's limits were. Over all nodes
//! that is hardly ever more than the limit. What goes beyond it is a chance that a request may take once, where nothing is left
//! within it; how soon is told by how full the limits were.

use std::time::Duration;

use meter::Amount;

use crate::limit::Caps;
use crate::slice::{Left, Units};

/// How old what was left may be to be counted on.
const LEFT_COUNTS_FOR: Duration = Duration::from_secs(3);
/// How long a request waits before it goes beyond habit, where limits were as full as `FULL`.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Up to how full limits had to be for a request to go beyond habit at once, and from when on it waits longest.
const HALF_EMPTY: f64 = 0.5;
const FULL: f64 = 0.9;

/// What may be used: of a minute in any minute, of the day as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Habit {
    pub minute: Amount,
    /// Up to which count of this node's own requests of the day.
    pub day: u64,
}

/// A node's part in what it shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NodePart {
    /// Its part of the load of this model, from 0 to 1.
    pub part: f64,
    /// How full the limits of the model are over all nodes, 1 when they are spent.
    pub full: f64,
}

impl Habit {
    /// Returns what a node may use that has used so much in the last minute and today, holds a slice, and was told what was left.
    pub(crate) fn of(
        caps: Caps,
        used: Amount,
        today: u64,
        held: Units,
        left: Option<Left>,
        node: NodePart,
        now: Duration,
    ) -> Self {
        let told = left.filter(|left| now < left.at + LEFT_COUNTS_FOR).map(|left| left.units);
        let in_minute = told.unwrap_or_else(|| node.guess(caps));
        let of_day = left.map_or(0, |left| left.units.day);
        // Of what is not limited, as much is left as can be.
        let sum = |used: u64, held: u64, left: u64| {
            used.saturating_add(held).saturating_add(share_of(left, node.part))
        };
        Self {
            minute: Amount {
                requests: sum(used.requests, held.requests, in_minute.requests),
                tokens: sum(used.tokens, held.tokens, in_minute.tokens),
            },
            day: sum(today, held.day, of_day),
        }
    }

    /// Returns what a node may use of a budget that it has not used.
    pub(crate) fn unused(caps: Caps, node: NodePart, now: Duration) -> Self {
        Self::of(caps, Amount::default(), 0, Units::default(), None, node, now)
    }

    /// Returns what a node may use that was never told anything: its part of the limits, by how many nodes there are.
    pub(crate) fn by_number([rpm, tpm, rpd]: Caps, nodes: u32) -> Self {
        let part = |limit: Option<u64>| limit.map_or(u64::MAX, |limit| limit / u64::from(nodes.max(1)));
        Self { minute: Amount { requests: part(rpm), tokens: part(tpm) }, day: part(rpd) }
    }

    /// Returns of each figure the larger.
    pub(crate) fn or_more(self, other: Self) -> Self {
        Self {
            minute: Amount {
                requests: self.minute.requests.max(other.minute.requests),
                tokens: self.minute.tokens.max(other.minute.tokens),
            },
            day: self.day.max(other.day),
        }
    }
}

impl NodePart {
    /// Takes what was told of a node's part; figures that make no sense stand for no part, and for full limits.
    pub(crate) fn told(part: f64, full: f64) -> Self {
        let sensible = |figure: f64, instead: f64| if figure.is_finite() { figure.max(0.0) } else { instead };
        Self { part: sensible(part, 0.0).min(1.0), full: sensible(full, 1.0) }
    }

    /// Returns the part of a node of which nothing is known but how many there are: limits are taken to be full.
    pub(crate) fn by_number(nodes: u32) -> Self {
        Self { part: 1.0 / f64::from(nodes.max(1)), full: 1.0 }
    }

    /// Returns what may be left of a minute of which nothing was told lately, where it is as full as the model's limits are on
    /// the mean: nothing where they are `FULL`. Nothing is left of a day that nothing was told of, since it may be spent, nor of a
    /// limit that is not known yet.
    fn guess(self, [rpm, tpm, _]: Caps) -> Units {
        let left = |limit: Option<u64>| limit.map_or(0, |limit| share_of(limit, 1.0 - self.full / FULL));
        Units { requests: left(rpm), tokens: left(tpm), day: 0 }
    }

    /// Returns how long a request has to wait before it may go beyond habit.
    pub(crate) fn wait_beyond(self) -> Duration {
        let full = (self.full - HALF_EMPTY) / (FULL - HALF_EMPTY);
        LONGEST_WAIT.mul_f64(full.clamp(0.0, 1.0))
    }
}

/// The whole units in a part of so many.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a part of a limit, rounded down"
)]
pub(crate) fn share_of(units: u64, part: f64) -> u64 {
    (units as f64 * part.clamp(0.0, 1.0)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_beyond_habit_waits_the_longer_the_fuller_the_limits_were() {
        let wait = |full| NodePart { part: 1.0, full }.wait_beyond().as_millis();
        assert_eq!([0.0, 0.5, 0.7, 0.9, 1.3].map(wait), [0, 0, 1_000, 2_000, 2_000]);
    }

    #[test]
    fn figures_that_make_no_sense_do_no_harm() {
        assert_eq!(NodePart::told(f64::NAN, f64::INFINITY), NodePart { part: 0.0, full: 1.0 });
        assert_eq!(NodePart::told(-1.0, 2.0).wait_beyond(), Duration::from_secs(2));
        let most = Units { requests: u64::MAX, tokens: u64::MAX, day: u64::MAX };
        let left = Some(Left { units: most, at: Duration::ZERO });
        let used = Amount { requests: 5, tokens: 5 };
        let node = NodePart { part: 1.0, full: 0.0 };
        let habit = Habit::of([None; 3], used, 5, most, left, node, Duration::ZERO);
        assert_eq!((habit.minute.requests, habit.day), (u64::MAX, u64::MAX));
    }

    #[test]
    fn what_was_left_counts_for_three_seconds_and_for_the_day_longer() {
        let used = Amount { requests: 5, tokens: 50 };
        let units = Units { requests: 10, tokens: 101, day: 8 };
        let left = Some(Left { units, at: Duration::from_secs(10) });
        let held = Units { requests: 1, tokens: 2, day: 3 };
        let (caps, node) = ([Some(50); 3], NodePart { part: 0.5, full: 1.0 });
        let habit = |now| Habit::of(caps, used, 20, held, left, node, Duration::from_secs(now));
        assert_eq!(habit(12), Habit { minute: Amount { requests: 11, tokens: 102 }, day: 27 });
        let unlimited = Units { tokens: u64::MAX, day: u64::MAX, ..units };
        let left = Some(Left { units: unlimited, at: Duration::from_secs(10) });
        let whole = NodePart { part: 1.0, ..node };
        let habit_of = Habit::of(caps, used, 20, held, left, whole, Duration::from_secs(11));
        assert_eq!((habit_of.minute.tokens, habit_of.day), (u64::MAX, u64::MAX));
        assert_eq!(habit(13), Habit { minute: Amount { requests: 6, tokens: 52 }, day: 27 });
    }

    #[test]
    fn where_nothing_was_told_lately_it_is_as_empty_as_the_models_limits_were() {
        let node = NodePart { part: 0.1, full: 0.18 };
        let left = Some(Left { units: Units { requests: 7, tokens: 7, day: 50 }, at: Duration::ZERO });
        let now = Duration::from_secs(3);
        let caps = [Some(100), Some(1_000), Some(9)];
        let minute = Amount { requests: 8, tokens: 80 };
        assert_eq!(Habit::unused(caps, node, now), Habit { minute, day: 0 });
        let once_told = Habit::of(caps, Amount::default(), 0, Units::default(), left, node, now);
        assert_eq!(once_told, Habit { minute, day: 5 });
        let minute = |caps| Habit::unused(caps, node, now).minute;
        assert_eq!(
            minute([Some(12), None, None]),
            Amount::default(),
            "rounded down, and for limits that are known"
        );
        assert_eq!(minute([None, Some(1_000), None]), Amount { requests: 0, tokens: 80 });
    }
}
