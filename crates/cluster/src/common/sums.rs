//! Sums, in memory.

use std::collections::{BTreeMap, HashMap};

use super::CommonState;
use crate::{
    millis::millis,
    node::NodeId,
    sums::{AddReply, Addition},
};

/// Sums of one name.
#[derive(Debug, Default)]
pub(super) struct CommonSums {
    fields: BTreeMap<String, i64>,
    numbers: HashMap<NodeId, u64>,
    until_ms: u64,
}

impl CommonState {
    pub(super) fn add(&mut self, node: &NodeId, addition: &Addition) -> AddReply {
        let now = self.now_ms;
        let sums = self.sums.entry(addition.name().to_owned()).or_default();
        if sums.until_ms <= now {
            *sums = CommonSums::default();
        }
        let is_new = sums.numbers.get(node).is_none_or(|last| addition.number() > *last);
        if is_new {
            sums.numbers.insert(node.clone(), addition.number());
            sums.until_ms = now + millis(addition.keep());
            for (field, delta) in addition.deltas() {
                *sums.fields.entry(field.to_string()).or_default() += delta;
            }
        }
        let fields = addition.deltas().iter().map(|(field, _)| field);
        let totals = fields.map(|field| sums.fields.get(&**field).copied().unwrap_or(0)).collect();
        if is_new { AddReply::Added(totals) } else { AddReply::AddedBefore(totals) }
    }

    pub(super) fn sums(&self, name: &str) -> BTreeMap<String, i64> {
        let sums = self.sums.get(name).filter(|sums| sums.until_ms > self.now_ms);
        sums.map(|sums| sums.fields.clone()).unwrap_or_default()
    }
}
