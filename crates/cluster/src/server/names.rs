//! How the keys are called. A part in braces is what a Redis Cluster places a key by: all keys of one script share it.

use crate::{node::NodeId, settings::KeyPrefix};

/// Makes the names of keys under one prefix.
#[derive(Clone, Debug)]
pub(super) struct KeyNames {
    prefix: KeyPrefix,
}

impl KeyNames {
    pub(super) fn new(prefix: KeyPrefix) -> Self {
        Self { prefix }
    }

    /// The run of the shared state.
    pub(super) fn meta(&self) -> String {
        self.cluster("meta")
    }

    /// Who was heard when.
    pub(super) fn nodes(&self) -> String {
        self.cluster("nodes")
    }

    /// What a node says of itself.
    pub(super) fn node(&self, node: &NodeId) -> String {
        self.cluster(&format!("node:{node}"))
    }

    /// The fact that holds, by subject.
    pub(super) fn rec(&self) -> String {
        self.cluster("rec")
    }

    /// The facts in order.
    pub(super) fn facts(&self) -> String {
        self.cluster("facts")
    }

    /// Who has claimed a site.
    pub(super) fn claim(&self, site: &str) -> String {
        self.cluster(&format!("pr:{site}"))
    }

    /// Who made the resource of this name. What is a secret itself is called by its hash.
    pub(super) fn holding(&self, name: &str) -> String {
        format!("{}:h:{name}", self.prefix)
    }

    fn cluster(&self, name: &str) -> String {
        format!("{}:{{c}}:{name}", self.prefix)
    }
}
