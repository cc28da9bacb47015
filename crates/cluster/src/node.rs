//! Who takes part: the name of a node's life, what it says of itself each second, and what the others see of it.

use std::{error, fmt, time::Duration};

use crate::fact::FactId;

/// How long after its last beat a node counts as one that is there.
const COUNTED: Duration = Duration::from_secs(5);

/// One life of a gateway: a new one for each start of the process, so that nobody takes what a former life said for its
/// own. One to 64 letters, digits, `-`, `_` or `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Box<str>);

/// The text cannot be a node's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadNodeId;

impl fmt::Display for BadNodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a node's id is one to 64 letters, digits, -, _ or .")
    }
}

impl error::Error for BadNodeId {}

impl NodeId {
    /// Takes an id.
    pub fn new(id: &str) -> Result<Self, BadNodeId> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if id.is_empty() || id.len() > 64 || !id.bytes().all(is_plain) {
            return Err(BadNodeId);
        }
        Ok(Self(id.into()))
    }

    /// Returns the id as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a node says of itself, each second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// What the operator calls it.
    pub name: String,
    /// The version it runs.
    pub version: String,
    /// A fingerprint of its settings.
    pub settings: String,
    /// When it started, in milliseconds of the shared clock.
    pub since_ms: u64,
    /// The last fact it has applied.
    pub applied: FactId,
    /// What it has to do and what it has used, by model: JSON of its writer's, not read here.
    pub load: String,
}

/// A node as the others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterMember {
    /// Which life of which gateway.
    pub node: NodeId,
    /// How long ago it was heard.
    pub silent_for: Duration,
    /// What it said then.
    pub beat: Beat,
}

impl ClusterMember {
    /// Returns whether it counts as one that is there. One that does not is still listed for some seconds.
    pub fn is_there(&self) -> bool {
        self.silent_for <= COUNTED
    }
}

/// A run of the shared state. Another one means that what was counted before may be lost, and that each node has to report
/// all it remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// What a node is told at its hello and at each beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterState {
    /// The shared clock, in milliseconds since 1970. Moments of days are reckoned by it.
    pub at_ms: u64,
    /// The run of the shared state.
    pub generation: Generation,
    /// How long nothing is given to anybody yet, so that all report first.
    pub hold: Duration,
}
