//! The key ring as it is now: one handle for all who look a key up, behind which the ring is swapped when the set of keys
//! changes. Only the key manager swaps it, together with the pool; whoever reads it gets a whole ring, old or new.

use crate::key_ring::KeyRing;
use arc_swap::ArcSwap;
use std::{fmt, sync::Arc};

/// A handle to the ring in use. Cheap to clone, and to read.
#[derive(Clone)]
pub struct CurrentKeys {
    ring: Arc<ArcSwap<KeyRing>>,
}

impl CurrentKeys {
    /// Begins with this ring.
    pub fn new(ring: KeyRing) -> Self {
        Self { ring: Arc::new(ArcSwap::from_pointee(ring)) }
    }

    /// Returns the ring in use. Ask again for each request: it may be another one by then.
    pub fn ring(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// Puts another ring in its place, and returns the one before.
    pub(crate) fn swap(&self, ring: Arc<KeyRing>) -> Arc<KeyRing> {
        self.ring.swap(ring)
    }
}

impl fmt::Debug for CurrentKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ring().fmt(f)
    }
}
