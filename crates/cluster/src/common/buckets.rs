//! Draws, in memory: which bucket is meant.

use std::time::Duration;

use super::{
    CommonState,
    bucket::{Asked, Run},
};
use crate::{
    bucket::{BucketName, Draw, Drawn},
    millis::millis,
    node::NodeId,
};

impl CommonState {
    pub(super) fn take(&mut self, node: &NodeId, draw: &Draw) -> Drawn {
        let run = self.run_of();
        let bucket = self.buckets.entry(draw.bucket.clone()).or_default();
        bucket.limits = draw.limits.counted();
        let asked = Asked {
            node,
            have: draw.have.counted(),
            want: draw.want.counted(),
            lives_ms: counted_millis(draw.lives),
            day_ends: draw.day_ends_ms.map_or(0, |ends| i64::try_from(ends).unwrap_or(i64::MAX)),
            day_used: draw.day_used.map(|used| i64::try_from(used).unwrap_or(i64::MAX)),
            reports: draw.reports(),
        };
        let counted = bucket.draw(run, &asked);
        counted.drawn(draw.bucket.clone(), self.now_ms, self.meta.generation)
    }

    pub(super) fn close(&mut self, name: &BucketName, time: Duration) {
        let now = i64::try_from(self.now_ms).unwrap_or(i64::MAX);
        let bucket = self.buckets.entry(name.clone()).or_default();
        bucket.closed_until =
            if time.is_zero() { 0 } else { bucket.closed_until.max(now + counted_millis(time)) };
    }

    fn run_of(&mut self) -> Run {
        if self.meta.generation > 0 && self.now_ms.saturating_sub(self.meta.heard) > 200 {
            self.meta.heard = self.now_ms;
        }
        let count = |number| i64::try_from(number).unwrap_or(i64::MAX);
        Run {
            now: count(self.now_ms),
            generation: count(self.meta.generation),
            hold_until: count(self.meta.hold_until),
        }
    }
}

fn counted_millis(time: Duration) -> i64 {
    i64::try_from(millis(time)).unwrap_or(i64::MAX)
}
