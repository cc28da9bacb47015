//! Draws, in memory: which bucket is meant, and the index of those that have room.

use std::time::Duration;

use super::{
    CommonState,
    bucket::{Asked, Run},
};
use crate::{
    bucket::{AnyDraw, AnyDrawn, BucketName, BucketScope, Draw, Drawn},
    millis::millis,
    node::NodeId,
};

/// How many buckets one wish is asked of, at most.
const MOST: usize = 24;

impl CommonState {
    pub(super) fn take(&mut self, node: &NodeId, draw: &Draw) -> Drawn {
        let run = self.run_of();
        let bucket = self.buckets.entry(draw.bucket.clone()).or_default();
        bucket.limits = draw.limits.counted();
        let asked = Asked {
            node,
            have: Some(draw.have.counted()),
            want: draw.want.counted(),
            lives_ms: counted_millis(draw.lives),
            day_ends: draw.day_ends_ms.map_or(0, |ends| i64::try_from(ends).unwrap_or(i64::MAX)),
            day_used: draw.day_used.map(|used| i64::try_from(used).unwrap_or(i64::MAX)),
            reports: draw.reports(),
        };
        let counted = bucket.draw(run, &asked);
        self.index(&draw.bucket, run.now, counted.opens_in);
        counted.drawn(draw.bucket.clone(), self.now_ms, self.meta.generation)
    }

    pub(super) fn take_any(&mut self, node: &NodeId, draw: &AnyDraw) -> AnyDrawn {
        let run = self.run_of();
        let (want, want_tokens) = (draw.want.counted().0.max(1), draw.want.counted().1);
        let mut drawn = Vec::new();
        let mut rest = want;
        let scope = BucketScope::Model(draw.model.clone());
        for owner in self.with_room(&scope, run.now, draw.start) {
            if rest <= 0 {
                break;
            }
            if draw.except.contains(&owner) {
                continue;
            }
            let Ok(name) = BucketName::new(&owner, &draw.model) else { continue };
            let known = self.buckets.get_mut(&name).filter(|bucket| bucket.limits != [-1; 3]);
            let Some(bucket) = known else {
                self.open.entry(scope.clone()).or_default().remove(&owner);
                continue;
            };
            let asked = Asked {
                node,
                have: None,
                want: (rest, (want_tokens * rest + want - 1) / want),
                lives_ms: counted_millis(draw.lives),
                day_ends: 0,
                day_used: None,
                reports: Vec::new(),
            };
            let counted = bucket.draw(run, &asked);
            rest -= counted.given[0];
            self.index(&name, run.now, counted.opens_in);
            drawn.push(counted.drawn(name, self.now_ms, self.meta.generation));
        }
        let opening = self.open.get(&scope).into_iter().flat_map(|open| open.values());
        let opens = opening.filter(|at| **at > run.now).min();
        AnyDrawn { drawn, opens_in: opens.map(|at| Duration::from_millis((at - run.now).unsigned_abs())) }
    }

    pub(super) fn close(&mut self, name: &BucketName, time: Duration) {
        let now = i64::try_from(self.now_ms).unwrap_or(i64::MAX);
        let bucket = self.buckets.entry(name.clone()).or_default();
        bucket.closed_until =
            if time.is_zero() { 0 } else { bucket.closed_until.max(now + counted_millis(time)) };
        let at = bucket.closed_until;
        self.open.entry(name.scope().clone()).or_default().insert(name.owner().into(), at);
    }

    /// Owners with room, from somewhere on.
    fn with_room(&self, scope: &BucketScope, now: i64, start: u32) -> Vec<Box<str>> {
        let mut open: Vec<_> = self
            .open
            .get(scope)
            .into_iter()
            .flatten()
            .filter(|(_, at)| **at <= now)
            .map(|(owner, at)| (*at, owner.clone()))
            .collect();
        open.sort();
        let first = start as usize % open.len().max(1);
        open.rotate_left(first);
        open.into_iter().take(MOST).map(|(_, owner)| owner).collect()
    }

    fn index(&mut self, bucket: &BucketName, now: i64, opens_in: i64) {
        let at = if opens_in > 0 { now + opens_in } else { 0 };
        self.open.entry(bucket.scope().clone()).or_default().insert(bucket.owner().into(), at);
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
