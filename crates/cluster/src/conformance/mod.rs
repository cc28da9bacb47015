//! What tests of shared state need: the rules that every kind of it keeps, and a Redis of their own to keep them on.

#![allow(clippy::expect_used, reason = "a check that fails is to panic")]

mod buckets;
mod facts;
mod members;
mod place;
mod server;
mod sums;
mod tables;

pub use buckets::buckets;
pub use facts::facts;
pub use members::members;
pub use place::{RedisPlace, SharedPlace};
pub use server::{RedisServer, free_port};
pub use sums::sums;
pub use tables::tables;
