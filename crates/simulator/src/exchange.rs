//! One request from its arrival to its end: keeps the log honest whichever way the exchange ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sha2::{Digest as _, Sha256};

use crate::journal::{Arrival, Digest, End, Entry};
use crate::world::World;

/// Dropped before it ended, it means that the client left.
pub(crate) struct Exchange {
    world: Arc<World>,
    entry: Arc<Entry>,
    answer: Sha256,
    ended: bool,
}

impl Exchange {
    pub(crate) fn begin(world: &Arc<World>, arrival: Arrival) -> Self {
        Self { world: Arc::clone(world), entry: world.arrived(arrival), answer: Sha256::new(), ended: false }
    }

    pub(crate) fn key(&self) -> Option<&str> {
        self.entry.arrival.key.as_deref()
    }

    pub(crate) fn project(&self) -> Option<&str> {
        self.entry.arrival.project.as_deref()
    }

    /// The body is read: which model it is for, if it names one.
    pub(crate) fn asked_for(&self, model: Option<&str>) {
        self.entry.update(|progress| progress.model = model.map(str::to_owned));
        self.world.asked_for(&self.entry.arrival, model);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.entry.body_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn body(&self, digest: Digest) {
        self.entry.update(|progress| progress.body = Some(digest));
    }

    pub(crate) fn fault(&self, kind: &'static str) {
        self.entry.update(|progress| progress.fault = Some(kind));
        self.world.struck(kind);
    }

    pub(crate) fn status(&self, status: u16) {
        self.entry.update(|progress| {
            progress.status = Some(status);
            self.world.answered(&self.entry.arrival, progress.model.as_deref(), status);
        });
    }

    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        self.answer.update(bytes);
        self.entry.answer_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }

    /// The client of a Live session closed it.
    pub(crate) fn closed(&self, how: String) {
        self.entry.update(|progress| progress.closed = Some(how));
    }

    /// The first end counts.
    pub(crate) fn end(&mut self, end: End) {
        if !self.ended {
            self.ended = true;
            let digest = self.answer.finalize_reset().into();
            let at_ms = self.world.now_ms();
            self.entry.update(|progress| progress.ended = Some((end, at_ms, digest)));
            self.world.ended(end);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end(End::ClientLeft);
    }
}
