//! Sums that all nodes add to: usage, and what has been spent of a budget. What the fields mean is the callers' affair.

use std::{error, fmt, time::Duration};

/// The longest name of sums or of a field, in bytes.
const MAX_NAME: usize = 512;
/// How many fields one addition may have.
const MAX_FIELDS: usize = 2_000;
/// The largest difference, so that sums stay far from what an integer holds.
const MAX_DELTA: i64 = 1 << 53;

/// What a node adds to sums of one name, all of it at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    name: Box<str>,
    number: u64,
    deltas: Vec<(Box<str>, i64)>,
    keep: Duration,
}

/// A name is empty or longer than 512 bytes, there are more than 2,000 fields, or a difference is larger than 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAddition;

impl fmt::Display for BadAddition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an addition has names of 1 to 512 bytes, at most 2,000 fields, and no difference beyond 2^53",
        )
    }
}

impl error::Error for BadAddition {}

impl Addition {
    /// Makes an addition to the sums `name`. `number` is higher than that of all additions which this node has made to them:
    /// one that is repeated, because its answer was lost, is told by it. The sums are kept for `keep` after the last
    /// addition.
    pub fn new(
        name: &str,
        number: u64,
        deltas: Vec<(Box<str>, i64)>,
        keep: Duration,
    ) -> Result<Self, BadAddition> {
        let is_named = |name: &str| !name.is_empty() && name.len() <= MAX_NAME;
        let fits =
            |(field, delta): &(Box<str>, i64)| is_named(field) && delta.unsigned_abs() <= MAX_DELTA as u64;
        // Compared as an integer of Redis' scripts, which is exact up to there.
        let is_counted = number > 0 && number <= 1 << 53;
        if !is_named(name) || !is_counted || deltas.len() > MAX_FIELDS || !deltas.iter().all(fits) {
            return Err(BadAddition);
        }
        Ok(Self { name: name.into(), number, deltas, keep })
    }

    /// Returns which sums it is for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the fields and what is added to each.
    pub fn deltas(&self) -> &[(Box<str>, i64)] {
        &self.deltas
    }

    /// Returns how long the sums are kept.
    pub fn keep(&self) -> Duration {
        self.keep
    }
}

/// What became of an addition; with what its fields come to now, over all nodes, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddReply {
    /// It was added.
    Added(Vec<i64>),
    /// It, or one after it, had been added before.
    AddedBefore(Vec<i64>),
}

impl AddReply {
    /// Returns what the fields come to.
    pub fn sums(&self) -> &[i64] {
        let (Self::Added(sums) | Self::AddedBefore(sums)) = self;
        sums
    }
}
