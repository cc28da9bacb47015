//! What a node asks of what all nodes share. One call at a time, each blocking and bounded; the actor of the cluster owns
//! the handles. Two kinds keep it: [`Redis`](crate::Redis), and [`CommonNode`](crate::CommonNode) in memory for tests.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    away::Away,
    bucket::{BucketName, Draw, Drawn},
    fact::{Fact, FactId, KnownFacts, Reading, TellReply},
    node::{Beat, ClusterMember, ClusterState},
    sums::{AddReply, Addition},
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

    /// Tells facts in their order; `seen` is the last fact this node has applied. What becomes of each is in the same order.
    /// A call that failed may be repeated: what was written is written once more and says the same.
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
}

/// Whether a claim was won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimReply {
    /// It is this node's.
    Won,
    /// Another node has it.
    Taken,
}
