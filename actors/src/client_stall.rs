//! Whether a client's connection was given up because the client took nothing for too long. The HTTP face learns it from the
//! socket; the actors that pass something on, to whom such a client looks as if it had left, say so in the transaction.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The word of one connection.
#[derive(Clone, Debug, Default)]
pub struct ClientStall(Arc<AtomicBool>);

impl ClientStall {
    /// Says that the client took nothing.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether that was said.
    pub fn is_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
