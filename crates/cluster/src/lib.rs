//! What the gateways of a cluster share.

#![allow(clippy::doc_markdown, reason = "Redis' names are names, not items")]

mod address;
mod away;
mod bucket;
mod common;
mod fact;
mod node;
mod password;
mod server;
mod settings;
mod shared;
mod sums;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use address::{AddressError, ClusterAddress};
pub use away::Away;
pub use bucket::{
    AnyDraw, AnyDrawn, BadBucketName, BucketLimits, BucketName, BucketScope, BucketUnits, Draw, Drawn,
    SpendReport,
};
pub use common::{Common, CommonNode, Trouble};
pub use fact::{BadFact, Fact, FactId, KnownFacts, PlacedFact, Reading, TellReply};
pub use node::{BadNodeId, Beat, ClusterMember, ClusterState, Generation, NodeId};
pub use password::RedisPassword;
pub use server::{Redis, RedisLedger};
pub use settings::{BadPrefix, KeyPrefix, RedisSettings};
pub use shared::{ClaimReply, Shared};
pub use sums::{AddReply, Addition, BadAddition};

/// The version of what is written. One that is higher than this was written by a gateway that this one does not understand;
/// fields that are added do not raise it.
pub const SCHEMA: u64 = 1;
