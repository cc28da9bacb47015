//! The actor system of gemini-balance: the `KeyManagerActor` that owns the key pool, one `ForwardActor` a request, one
//! `LiveActor` a Live session, and the supervisor that keeps the long-lived ones running. The service above wires it up
//! and gives it an HTTP face; what is known of the pool's rules and of Google's wire lies below, in `keypool` and `gemini`.

pub mod accounting;
mod attempts;
mod binding;
pub mod caller;
pub mod caller_account;
pub mod caller_cuts;
pub mod client_stall;
pub mod clock;
pub mod cluster;
pub mod current_keys;
pub mod exporter;
pub mod failure;
pub mod forward;
pub mod health;
pub mod key_checker;
pub mod key_manager;
pub mod key_ring;
pub mod ledger;
pub mod listeners;
pub mod live;
pub mod secret;
pub mod store;
pub mod supervisor;
#[cfg(test)]
mod testing;
pub mod trace_parent;
pub mod transaction;
pub mod upstream;

pub use attempts::RetryLimits;
pub use caller::{Caller, Visibility};
pub use caller_account::{CallerAccount, SharedPrices};
pub use client_stall::ClientStall;
pub use current_keys::CurrentKeys;
pub use failure::Failure;
pub use forward::{ForwardActor, Job};
pub use key_manager::{KeyManager, KeyManagerActor};
pub use secret::Secret;
