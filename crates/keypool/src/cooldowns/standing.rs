//! Since when something stands as it does: for people, who are told with its state. On the wall clock, since it may have
//! begun before the process.

use std::mem::{Discriminant, discriminant};

use chrono::{DateTime, Utc};

use super::Cooldown;

/// How a cooldown was seen last, and since when it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    seen: Discriminant<Cooldown>,
    since: Option<DateTime<Utc>>,
}

impl Default for Standing {
    /// Open, for as long as anybody knows.
    fn default() -> Self {
        Self { seen: discriminant(&Cooldown::Open), since: None }
    }
}

impl Standing {
    /// Looks at the cooldown now.
    pub(super) fn look(&mut self, cooldown: &Cooldown, wall: DateTime<Utc>) {
        let seen = discriminant(cooldown);
        if seen != self.seen {
            *self = Self { seen, since: Some(wall) };
        }
    }

    /// Says since when it stands so, as that is known from elsewhere.
    pub(super) fn began(&mut self, since: Option<DateTime<Utc>>) {
        self.since = since;
    }

    /// Takes over since when it stands so from what it inherits from, if it has come to stand so by that, or nobody knows
    /// otherwise.
    pub(super) fn inherit(&mut self, before: Self, from: Self) {
        if self.seen == from.seen && (self.seen != before.seen || self.since.is_none()) {
            self.since = from.since;
        }
    }

    /// Returns since when this cooldown stands so, if that is known.
    pub(super) fn since(self, cooldown: &Cooldown) -> Option<DateTime<Utc>> {
        self.since.filter(|_| discriminant(cooldown) == self.seen)
    }
}
