//! What came of a simulation.

use super::World;
use super::setup::Setup;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) asked: u64,
    pub(crate) served: u64,
    /// Requests that Google refused.
    pub(crate) over: u64,
    /// Requests that the pools refused, and of these those for which there was room.
    pub(crate) refused: u64,
    pub(crate) stranded: u64,
    /// Requests that Google refused as often as they may be tried.
    pub(crate) failed: u64,
    /// Leases that were granted at once.
    pub(crate) at_once: u64,
    pub(crate) calls: u64,
    pub(crate) buckets: u64,
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        let Self { asked, served, over, refused, stranded, failed, at_once, calls, buckets } = self;
        *asked += other.asked;
        *served += other.served;
        *over += other.over;
        *refused += other.refused;
        *stranded += other.stranded;
        *failed += other.failed;
        *at_once += other.at_once;
        *calls += other.calls;
        *buckets += other.buckets;
    }
}

pub(crate) fn percent(part: u64, of: u64) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}

/// What was served of what a pool that knows all could have: of what was asked, but for requests that were refused when there was
/// no room anywhere for them, and no more than all limits allow.
pub(crate) fn usable(world: &World) -> f64 {
    let Setup { time, warm, limits, .. } = &world.setup;
    let minutes = (*time - *warm).as_secs_f64() / 60.0;
    let all = limits.iter().map(Setup::weight).sum::<u64>() as f64 * minutes;
    let Sums { asked, served, refused, stranded, .. } = world.sums;
    let hopeless = refused - stranded;
    percent(served, (asked - hopeless).min(all as u64))
}
