//! What the gateways of a cluster share: who is there, facts, claims, slices of limits, sums, tables of usage, and the ledger of resources.
//! [`Shared`] is what a node asks; [`Redis`] and, for tests with several nodes in one process, [`Common`] answer it, and
//! [`RedisLedger`] is the store's [`Ledger`](gemini_balance_store::Ledger) on the same server. No async, no threads: every
//! call blocks its caller, for a bounded time. What facts mean, who owns a bucket and when to ask for what is decided above;
//! no secret comes here. Redis' words are in this crate only.
//!
//! # The protocol
//!
//! - **Runs.** A connection begins with a hello. Where the server is another one than before, or empty, a new
//!   [`Generation`] begins: buckets are empty, and nothing is given for a second, so that all nodes report first. The same
//!   second is kept by whoever comes back when nobody was heard for two. All moments are the server's clock's; a node's own clock only
//!   measures how long ago something was.
//! - **Facts.** One that is told replaces what holds of its subject and goes into one ordered stream that each node reads,
//!   unless its teller had not heard of what holds and that has the same rank or a higher one: then the teller gets it
//!   instead. A reader that was away for longer than the stream remembers reads all that holds.
//! - **Slices.** A node draws ahead of need from a bucket, spends in memory, and reports with its next draw. What it says it
//!   has replaces what it was believed to have, so a lost answer does no harm. Slices that are not renewed count as spent
//!   when they end. What is left is never more than the limit less what was used and what all hold.
//! - **Claims** are won by the first, and end by themselves. **Additions** to sums have running numbers, so that each counts
//!   once.
//! - **Tables** say what a usage book has counted, whole. Who writes one says of which state it is a change; where another
//!   state is found nothing is written, and the table is read again.
//!
//! # The keys
//!
//! `docs/cluster.md` lists them; `server/names.rs` makes their names, and the scripts in `lua/` say what is in them. All
//! keys of one script share the part in braces. The schema's number, [`SCHEMA`], is in `PREFIX:{c}:meta`: a node that knows
//! a lower one writes nothing.

#![allow(clippy::doc_markdown, reason = "Redis' names are names, not items")]

mod address;
mod away;
mod bucket;
mod common;
mod fact;
mod millis;
mod node;
mod password;
mod server;
mod settings;
mod shared;
mod sums;
mod tables;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use address::{AddressError, ClusterAddress};
pub use away::Away;
pub use bucket::{
    BadBucketName, BucketLimits, BucketName, BucketScope, BucketUnits, Draw, Drawn, SpendReport,
};
pub use common::{Common, CommonNode, Trouble};
pub use fact::{BadFact, Fact, FactId, KnownFacts, PlacedFact, Reading, TellReply};
pub use node::{BadNodeId, Beat, ClusterMember, ClusterState, Generation, NodeId};
pub use password::RedisPassword;
pub use server::{Redis, RedisLedger};
pub use settings::{BadPrefix, KeyPrefix, RedisSettings};
pub use shared::{ClaimReply, Shared};
pub use sums::{AddReply, Addition, BadAddition};
pub use tables::{
    BadBookId, BadTableChange, BookId, TableCells, TableChange, TableContent, TableReply, TableStamp,
    TableStep, UsageTable,
};

/// The version of what is written. One that is higher than this was written by a gateway that this one does not understand;
/// fields that are added do not raise it.
pub const SCHEMA: u64 = 1;
