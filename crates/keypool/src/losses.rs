//! Which keys lose their connections while others keep theirs on the same route. A loss that all keys share is the
//! route's, so a key's own counts only when the others are well: each needs one that was answered since the key's loss
//! before, in the same minute, and more of those than of keys that lost a connection too. One key alone is never blamed.

use std::time::Duration;

use crate::ids::KeyIx;
use crate::moves::Moves;

/// How long an answer or a loss of another key says something.
const SAME_TIME: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Losses {
    keys: Vec<Connections>,
    /// The number of the next report: several may come at the same time.
    next: u64,
}

/// How a key's connections fared.
#[derive(Clone, Copy, Debug, Default)]
struct Connections {
    /// Losses in a row that were the key's own.
    own: u32,
    lost: Option<Report>,
    answered: Option<Report>,
}

#[derive(Clone, Copy, Debug)]
struct Report {
    at: Duration,
    number: u64,
}

impl Report {
    fn is_recent(self, now: Duration) -> bool {
        now.saturating_sub(self.at) < SAME_TIME
    }
}

impl Losses {
    pub(crate) fn new(keys: usize) -> Self {
        Self { keys: vec![Connections::default(); keys], next: 0 }
    }

    /// Moves what is kept of keys to their present places.
    pub(crate) fn move_keys(&mut self, moves: &Moves) {
        moves.carry(&mut self.keys);
    }

    /// Returns how many connections in a row a key has lost while others kept theirs.
    pub(crate) fn own(&self, key: KeyIx) -> u32 {
        self.keys[key.position()].own
    }

    pub(crate) fn set_own(&mut self, key: KeyIx, own: u32) {
        self.keys[key.position()].own = own;
    }

    /// Google has answered a request on this key, whatever it said.
    pub(crate) fn answered(&mut self, key: KeyIx, now: Duration) {
        let report = self.report(now);
        let connections = &mut self.keys[key.position()];
        connections.answered = Some(report);
        connections.own = 0;
    }

    /// This key has lost a connection. Returns how many in a row are now its own.
    pub(crate) fn lost(&mut self, key: KeyIx, now: Duration) -> u32 {
        let report = self.report(now);
        let before = self.keys[key.position()];
        let since = before.lost.map_or(0, |lost| lost.number);
        let (mut well, mut unwell) = (0, 0);
        for (at, other) in self.keys.iter().enumerate() {
            if at == key.position() {
                continue;
            }
            if other.lost.is_some_and(|lost| lost.is_recent(now)) {
                unwell += 1;
            } else if other.answered.is_some_and(|answer| answer.number >= since && answer.is_recent(now)) {
                well += 1;
            }
        }
        let own = if well > unwell { before.own.saturating_add(1) } else { 0 };
        self.keys[key.position()] = Connections { own, lost: Some(report), ..before };
        own
    }

    fn report(&mut self, now: Duration) -> Report {
        self.next += 1;
        Report { at: now, number: self.next }
    }
}
