//! Gives the memory of a peak back to the system, though nothing comes after it. The allocator does so by itself, a second
//! after memory was freed, but only in the course of many allocations, which an idle gateway never makes. Each worker of
//! `server` runs this on its own thread, whose memory it is.

use crate::connections::Connections;
use std::{hint::black_box, ops::Range, rc::Rc, time::Duration};

/// How often is looked whether something has ended. No shorter than mimalloc's `purge_delay`.
const EVERY: Duration = Duration::from_secs(1);

/// After the last end, in looks: a quarter of what is free goes at a time, and some of it is not yet due. Once more when the
/// connections to the upstream that the peak has left were closed.
const ROUNDS: [Range<u32>; 2] = [0..6, 100..104];

/// After so many allocations that are no small ones mimalloc looks for what it can give back (`generic_collect`).
const ALLOCATIONS: usize = 10_000;

/// What mimalloc takes for small is less (`MI_SMALL_SIZE_MAX`).
const BYTES: usize = 4096;

/// Gives back what requests and connections have left, for as long as the worker lives.
pub(crate) async fn give_back(connections: Rc<Connections>) {
    let mut ended = 0;
    let mut looks = u32::MAX;
    loop {
        tokio::time::sleep(EVERY).await;
        let now = connections.ended();
        if now != ended {
            ended = now;
            looks = 0;
        }
        if ROUNDS.iter().any(|round| round.contains(&looks)) {
            collect();
        }
        looks = looks.saturating_add(1);
    }
}

/// Has the allocator look. Takes about a millisecond; the library's own function for it is not safe Rust.
fn collect() {
    for _ in 0..ALLOCATIONS {
        drop(black_box(Vec::<u8>::with_capacity(black_box(BYTES))));
    }
}
