//! The connections, of all workers together, on which no request has come yet. Who closes the listener waits for them: what
//! was let in is answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How often is looked.
const TICK: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct Counts {
    /// All that ever came.
    came: AtomicU64,
    /// Those whose first request has not come.
    waiting: AtomicUsize,
}

/// The count. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Newcomers(Arc<Counts>);

/// A connection's place in the count, until its first request or its end.
#[derive(Debug)]
pub(crate) struct Newcomer(Arc<Counts>);

impl Newcomers {
    pub(super) fn enter(&self) -> Newcomer {
        self.0.came.fetch_add(1, Ordering::Relaxed);
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        Newcomer(Arc::clone(&self.0))
    }

    /// Resolves when for `quiet` none has come and all have had their request, or after `at_most`.
    pub(crate) async fn settle(&self, quiet: Duration, at_most: Duration) {
        let begun = Instant::now();
        let mut busy = begun;
        let mut came = self.0.came.load(Ordering::Relaxed);
        while busy.elapsed() < quiet && begun.elapsed() < at_most {
            sleep(TICK).await;
            let now = self.0.came.load(Ordering::Relaxed);
            if now != came || self.0.waiting.load(Ordering::Relaxed) > 0 {
                busy = Instant::now();
            }
            came = now;
        }
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn settled_after(newcomers: &Newcomers) -> u128 {
        let begun = Instant::now();
        newcomers.settle(Duration::from_millis(200), Duration::from_secs(2)).await;
        begun.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_newcomers_waits_for_the_last_ones_first_request_and_not_for_ever() {
        let newcomers = Newcomers::default();
        assert!((200..300).contains(&settled_after(&newcomers).await));
        let silent = newcomers.enter();
        assert!((2000..2100).contains(&settled_after(&newcomers).await));
        let served = async {
            sleep(Duration::from_millis(500)).await;
            drop(silent);
            sleep(Duration::from_millis(100)).await;
            drop(newcomers.enter());
        };
        let (took, ()) = tokio::join!(settled_after(&newcomers), served);
        assert!((800..900).contains(&took), "{took}");
    }
}
