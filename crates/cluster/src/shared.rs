//! What a node asks of what all nodes share. One call at a time, each blocking and bounded; the actor of the cluster owns
//! the handles. Two kinds keep it: [`Redis`](crate::Redis), and [`CommonNode`](crate::CommonNode) in memory for tests.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    away::Away,
    bucket::{BucketName, Draw, Drawn},
    fact::{Fact, FactId, KnownFacts, Reading, TellReply},
    node::{Beat, ClusterMember, ClusterState, NodeId},
    sums::{AddReply, Addition},
    tables::{BookId, TableChange, TableContent, TableReply, TableStep, UsageTable},
};

/// A handle on the shared state. After an [`Away`] the next call tries anew; whoever was away first says `hello`.
pub trait Shared: Send {
    /// Joins, or comes back: says of which generation the shared state is, begins a new one if it is not what it was, and
    /// keeps all from taking for a second if nobody was heard for two. Every new connection begins with it.
    fn hello(&mut self) -> Result<ClusterState, Away>;

    /// Says that this node is there, and how it is. To be called each second.
    fn beat(&mut self, beat: &Beat) -> Result<ClusterState, Away>;

    /// Returns who was heard in the last ten seconds, this node included, in the order of their ids.
    fn nodes(&mut self) -> Result<Vec<ClusterMember>, Away>;

    /// Leaves: the others do not see this node any more.
    fn leave(&mut self) -> Result<(), Away>;

    /// Tells facts in their order; `seen` is the last fact this node had applied when it said so. What becomes of each is in the
    /// same order. A call that failed may be repeated: what was written is written once more and says the same.
    fn tell(&mut self, facts: &[Fact], seen: FactId) -> Result<Vec<TellReply>, Away>;

    /// Returns all that holds, as of one moment. It may take some seconds: for a start, and after [`Reading::Trimmed`].
    fn known(&mut self) -> Result<KnownFacts, Away>;

    /// Returns the facts after this one, some hundred at once, and waits at most so long for the first. A node's own are
    /// among them. For a handle that nobody else waits for.
    fn facts(&mut self, after: FactId, wait: Duration) -> Result<Reading, Away>;

    /// Claims what only one node is to do, for at most so long: whether this node may do it. Who has it already has it
    /// again.
    fn claim(&mut self, site: &str, patience: Duration) -> Result<ClaimReply, Away>;

    /// Gives a claim of this node's up; nothing happens to one that another has.
    fn release(&mut self, site: &str) -> Result<(), Away>;

    /// Reports what was used and asks for slices, each draw by itself and in their order. A call that failed may have been
    /// carried out: what it reported is then counted twice if it is reported again, which gives too little for a minute and
    /// never too much.
    fn take(&mut self, draws: &[Draw]) -> Result<Vec<Drawn>, Away>;

    /// Gives nothing from a bucket for so long, since its owner was refused. A refusal that ends later stays; no time at all
    /// opens it again.
    fn close(&mut self, bucket: &BucketName, time: Duration) -> Result<(), Away>;

    /// Adds to sums, all of it at once, and says what its fields come to over all nodes. One whose answer was lost is made
    /// again under its number, and adds once.
    fn add(&mut self, addition: &Addition) -> Result<AddReply, Away>;

    /// Returns the sums of this name by field; none if there are none.
    fn sums(&mut self, name: &str) -> Result<BTreeMap<String, i64>, Away>;

    /// Notes that this node keeps a usage book, and tells what it says. To be called every few seconds.
    fn keep_book(&mut self, book: &BookId) -> Result<(), Away>;

    /// Returns the usage books that were kept in the last fifteen seconds, and by whom.
    fn books(&mut self) -> Result<Vec<(BookId, NodeId)>, Away>;

    /// Changes a table of a usage book, if it is what it is thought to be. A call that failed may be repeated.
    fn write_table(&mut self, change: &TableChange) -> Result<TableReply, Away>;

    /// Returns of which books there are tables whose time begins from the first second on and before the other, with those
    /// times, in their order.
    fn tables(&mut self, step: TableStep, from: i64, to: i64) -> Result<Vec<(i64, BookId)>, Away>;

    /// Returns what is in these tables, in their order.
    fn read_tables(&mut self, tables: &[UsageTable]) -> Result<Vec<TableContent>, Away>;
}

/// Whether a claim was won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimReply {
    /// It is this node's.
    Won,
    /// Another node has it.
    Taken,
}
