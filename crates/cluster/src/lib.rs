//! What the gateways of a cluster share.

#![allow(clippy::doc_markdown, reason = "Redis' names are names, not items")]

mod address;
mod away;
mod password;
mod server;
mod settings;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use address::{AddressError, ClusterAddress};
pub use away::Away;
pub use password::RedisPassword;
pub use server::Redis;
pub use settings::{BadPrefix, KeyPrefix, RedisSettings};
