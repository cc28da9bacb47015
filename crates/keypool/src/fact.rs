//! What of a record the other nodes of a cluster are told, and which of two words on one subject holds. What a pool makes of
//! a fact that it hears is in `heard`; how facts travel and are put in order is the owner's matter.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::reason::Reason;
use crate::record::{CooldownState, LimitState, Record, Subject};

/// Ends that are no further apart are one and the same, as two nodes read them from their clocks.
pub(crate) const SAME_MOMENT: Duration = Duration::from_millis(10);
/// The rank of a word that nothing is wrong.
const OPEN: u64 = 1;
/// The rank from which on the later moment holds, above that of all cooldowns: retirements, and an operator's resets.
const LATEST_HOLDS: u64 = 1 << 52;
/// The highest rank: the largest number that a float of 64 bits counts up to, since scripts in Redis know no other.
const HIGHEST: u64 = (1 << 53) - 1;

impl Record {
    /// Returns what others are told of this; `None` where nothing is left to tell.
    ///
    /// Left out are counts and sums, which are shared by other ways, and a cooldown for lost connections, which says something
    /// of this node's own network. A clear record of limits is told: it says that what was learnt of them is forgotten.
    pub fn to_tell(&self) -> Option<Self> {
        match (&self.subject, &self.limits) {
            (Subject::Usage { .. } | Subject::ModelUsage { .. }, _) => None,
            (Subject::Limits { .. }, Some(limits)) => limits
                .without_counts()
                .map(|limits| Self { limits: Some(Box::new(limits)), ..Self::clear(self.subject.clone()) }),
            _ if self.is_local() => {
                let told = Self { state: CooldownState::Open, since: None, ..self.clone() };
                Some(told).filter(|told| !told.is_clear())
            }
            _ => Some(self.clone()),
        }
    }

    /// Returns the rank of this word: of two nodes that knew the same of a subject, the word of the higher rank holds. Open
    /// is lowest, and of two cooldowns the one that ends later is higher. Above them are retirements and what an operator has
    /// reset: of these the later one, so that a reset undoes the retirements before it, heard of or not, and none after it.
    /// Learnt limits rank alike, above none: they add up, so whoever has not heard the others' tells both (see
    /// [`Pool::overruled`](crate::Pool::overruled)). At most 2^53 - 1.
    pub fn rank(&self) -> u64 {
        match (&self.state, self.reset_at) {
            // Of a moment that is not known any more: it was long ago.
            (CooldownState::Retired { .. }, _) => self.since.map_or(LATEST_HOLDS, moment),
            (_, Some(at)) => moment(at),
            (CooldownState::Cooling { until, .. }, None) => ends(*until),
            (CooldownState::Open, None) if self.limits.is_some() => OPEN + 1,
            (CooldownState::Open, None) => OPEN,
        }
    }

    /// Whether its cooldown is this node's own matter.
    fn is_local(&self) -> bool {
        matches!(self.state, CooldownState::Cooling { reason: Reason::Transport, .. })
    }
}

impl LimitState {
    /// Returns what refusals taught, if they taught something, with no counts.
    fn without_counts(&self) -> Option<Self> {
        let learnt = self.learnt.clone();
        (!learnt.is_empty()).then(|| Self {
            learnt,
            counted_at: DateTime::UNIX_EPOCH,
            minute: Vec::new(),
            day_requests: 0,
            day_ends: None,
        })
    }
}

/// The rank of what ends then, by the millisecond: above open, and below what was retired or reset.
fn ends(until: DateTime<Utc>) -> u64 {
    millis(until).clamp(OPEN + 1, LATEST_HOLDS - 1)
}

/// The rank of what was retired or reset then.
fn moment(at: DateTime<Utc>) -> u64 {
    LATEST_HOLDS.saturating_add(millis(at)).min(HIGHEST)
}

fn millis(at: DateTime<Utc>) -> u64 {
    u64::try_from(at.timestamp_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{LearntLimit, Owner, SecondUsed};
    use meter::Gauge;

    fn cooling(subject: Subject, until_s: i64, reason: Reason) -> Record {
        let until = DateTime::from_timestamp(until_s, 0).unwrap();
        let state = CooldownState::Cooling { until, steps: 1, reason, daily: false };
        Record { state, ..Record::clear(subject) }
    }

    fn key() -> Subject {
        Subject::Key { key: "k".into() }
    }

    #[test]
    fn what_lasts_longer_ranks_higher() {
        let retired =
            Record { state: CooldownState::Retired { reason: Reason::KeyInvalid }, ..Record::clear(key()) };
        let ranks = [
            Record::clear(key()).rank(),
            cooling(key(), -5, Reason::Forbidden).rank(),
            cooling(key(), 1_800_000_000, Reason::Forbidden).rank(),
            cooling(key(), 1_800_000_001, Reason::Forbidden).rank(),
            retired.rank(),
        ];
        assert!(ranks.is_sorted_by(|one, next| one < next), "{ranks:?}");
        assert!(ranks.iter().all(|rank| *rank < 1 << 53), "a float holds it exactly");
    }

    #[test]
    fn of_retirements_and_resets_the_later_ranks_higher_and_all_above_cooldowns() {
        let at = |s: i64| DateTime::from_timestamp(s, 0);
        let retired = |since: Option<_>| Record {
            state: CooldownState::Retired { reason: Reason::KeyInvalid },
            since,
            ..Record::clear(key())
        };
        let reset = |s: i64, record: Record| Record { reset_at: at(s), ..record };
        let ranks = [
            cooling(key(), i64::from(u32::MAX) * 1000, Reason::Forbidden),
            retired(None),
            reset(1_800_000_000, Record::clear(key())),
            retired(at(1_800_000_001)),
            // It cools again before the others have heard of the reset.
            reset(1_800_000_002, cooling(key(), 1_800_000_009, Reason::Forbidden)),
            // So does one that is retired again: that it was reset before does not count.
            reset(1_800_000_002, retired(at(1_800_000_003))),
            retired(Some(DateTime::<Utc>::MAX_UTC)),
        ];
        let ranks = ranks.map(|record| record.rank());
        assert!(ranks.is_sorted_by(|one, next| one < next), "{ranks:?}");
        assert!(ranks.iter().all(|rank| *rank < 1 << 53), "a float holds it exactly");
    }

    #[test]
    fn lost_connections_are_not_told_and_the_operators_word_beside_them_is() {
        let local = cooling(key(), 1_800_000_000, Reason::Transport);
        assert_eq!(local.to_tell(), None);
        let disabled = Record { disabled: true, ..local };
        assert_eq!(disabled.to_tell(), Some(Record { disabled: true, ..Record::clear(key()) }));
        let told = cooling(key(), 1_800_000_000, Reason::Forbidden);
        assert_eq!(told.to_tell(), Some(told));
        assert_eq!(Record::clear(key()).to_tell(), Some(Record::clear(key())), "that it is back is told");
    }

    #[test]
    fn counts_are_not_told_and_learnt_limits_are() {
        let until = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let learnt = LearntLimit { gauge: Gauge::Rpm, limit: 5, until };
        let subject = Subject::Limits { project: Owner::Key("k".into()), model: None };
        let limits = |learnt: &[LearntLimit]| Record {
            limits: Some(Box::new(LimitState {
                learnt: learnt.to_vec(),
                counted_at: until,
                minute: vec![SecondUsed { ago_s: 1, requests: 2, tokens: 3 }],
                day_requests: 4,
                day_ends: Some(until),
            })),
            ..Record::clear(subject.clone())
        };
        assert_eq!(limits(&[]).to_tell(), None);
        let told = limits(&[learnt]).to_tell().and_then(|told| told.limits).unwrap();
        assert_eq!((told.learnt.as_slice(), told.minute.len()), (&[learnt][..], 0));
        assert_eq!((told.day_requests, told.day_ends), (0, None));
        assert!(limits(&[learnt]).rank() > Record::clear(subject.clone()).rank());
        assert_eq!(Record::clear(subject.clone()).to_tell(), Some(Record::clear(subject)));
        let usage = Record::clear(Subject::Usage { key: "k".into() });
        assert_eq!(usage.to_tell(), None);
    }
}
