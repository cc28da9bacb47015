//! Beats, the list of nodes, and claims, in memory.

use std::time::Duration;

use super::CommonState;
use crate::{
    away::Away,
    millis::millis,
    node::{Beat, ClusterMember, ClusterState, NodeId},
    shared::ClaimReply,
};

/// How long a node that is silent is listed.
const LISTED_MS: u64 = 10_000;

impl CommonState {
    pub(super) fn beat(&mut self, node: &NodeId, beat: &Beat) -> Result<ClusterState, Away> {
        let state = self.greet(false)?;
        self.members.insert(node.clone(), (self.now_ms, beat.clone()));
        Ok(state)
    }

    pub(super) fn nodes(&mut self) -> Vec<ClusterMember> {
        let now = self.now_ms;
        self.members.retain(|_, (at, _)| now.saturating_sub(*at) <= LISTED_MS);
        let member = |(node, (at, beat)): (&NodeId, &(u64, Beat))| ClusterMember {
            node: node.clone(),
            silent_for: Duration::from_millis(now.saturating_sub(*at)),
            beat: beat.clone(),
        };
        self.members.iter().map(member).collect()
    }

    pub(super) fn claim(&mut self, node: &NodeId, site: &str, patience: Duration) -> ClaimReply {
        let now = self.now_ms;
        self.claims.retain(|_, (_, until)| *until > now);
        if self.claims.get(site).is_some_and(|(holder, _)| holder != node) {
            return ClaimReply::Taken;
        }
        let until = now + millis(patience);
        self.claims.insert(site.to_owned(), (node.clone(), until));
        ClaimReply::Won
    }
}
