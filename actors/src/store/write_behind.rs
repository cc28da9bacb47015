//! What the `StoreActor` asks of those whose state outlives the process. Each keeps its newest state in memory, and knows
//! its own rows; the actor knows when to write, and what to do when that fails.

use gemini_balance_store::{Store, StoreError};

/// State in memory of which the store has a copy. Called on the store's own thread, which may wait for the disk.
pub trait WriteBehind: Send + Sync {
    /// Takes over what a former process has left. Called once, before anybody else looks.
    fn load(&self, store: &mut dyn Store) -> Result<(), StoreError>;

    /// Writes what has changed since the last time. What an error kept from being written still waits.
    fn write(&self, store: &mut dyn Store) -> Result<(), StoreError>;

    /// Hears that the store is another one, or that nobody knows what it has: all is to be written again.
    fn all_is_unwritten(&self) {}
}
