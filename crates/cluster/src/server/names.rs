//! How the keys are called. A part in braces is what a Redis Cluster places a key by: all keys of one script share it.

use std::num::NonZeroU16;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{
    bucket::{BucketName, BucketScope},
    node::NodeId,
    settings::KeyPrefix,
    tables::{TableStep, UsageTable},
};

/// What would end the part in braces, or look like its end.
const IN_BRACES: &AsciiSet = &CONTROLS.add(b'{').add(b'}').add(b':').add(b'%');

/// Makes the names of keys under one prefix.
#[derive(Clone, Debug)]
pub(super) struct KeyNames {
    prefix: KeyPrefix,
    shards: NonZeroU16,
}

impl KeyNames {
    pub(super) fn new(prefix: KeyPrefix, shards: NonZeroU16) -> Self {
        Self { prefix, shards }
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

    /// What is used of a bucket, and held of it.
    pub(super) fn bucket(&self, bucket: &BucketName) -> String {
        let owner = bucket.owner();
        match bucket.scope() {
            BucketScope::Model(model) => {
                let (model, shard) = (utf8_percent_encode(model, IN_BRACES), self.shard(owner));
                format!("{}:{{{model}:{shard}}}:b:{owner}", self.prefix)
            }
            BucketScope::Token => {
                format!("{}:t:{{{}}}:b", self.prefix, utf8_percent_encode(owner, IN_BRACES))
            }
        }
    }

    /// Returns the shard in which an owner's buckets are.
    fn shard(&self, owner: &str) -> u16 {
        // FNV-1a: the same on every node and in every version.
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = owner.bytes().fold(0xcbf2_9ce4_8422_2325, step);
        u16::try_from(hash % u64::from(self.shards.get())).unwrap_or_default()
    }

    /// Sums of this name.
    pub(super) fn sums(&self, name: &str) -> String {
        format!("{}:u:{name}", self.prefix)
    }

    /// Which usage books are kept, and by whom.
    pub(super) fn books(&self) -> String {
        format!("{}:{{u}}:books", self.prefix)
    }

    /// Of which times and books there are tables.
    pub(super) fn tables(&self, step: TableStep) -> String {
        format!("{}:{{u}}:{}", self.prefix, step.size().as_str())
    }

    /// A table of a usage book.
    pub(super) fn table(&self, table: &UsageTable) -> String {
        let UsageTable { book, step, at, by } = table;
        format!("{}:{at}:{book}:{}", self.tables(*step), by.as_str())
    }

    fn cluster(&self, name: &str) -> String {
        format!("{}:{{c}}:{name}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lies_where_its_model_and_shard_or_its_token_says_whatever_the_names() {
        let names = KeyNames::new(KeyPrefix::new("gb1").unwrap(), NonZeroU16::new(64).unwrap());
        let tag = |key: &str| {
            let (start, end) = (key.find('{').unwrap(), key.find('}').unwrap());
            key[start..=end].to_owned()
        };
        for (owner, model) in [("p-1", "gemini-2.5-flash"), ("}{", "a:0}:b:{x}"), ("ä", "models/ü%7D")] {
            let of = |owner: &str, model: &str| names.bucket(&BucketName::new(owner, model).unwrap());
            let key = of(owner, model);
            assert!(
                tag(&key).ends_with(&format!(":{}}}", names.shard(owner))) && key.ends_with(owner),
                "{key}"
            );
            assert_ne!(tag(&key), tag(&of(owner, "other")));
            let token = names.bucket(&BucketName::of_token(owner).unwrap());
            assert!(token.ends_with("}:b") && token != key, "{token}");
        }
        assert_eq!(names.shard("p-1"), names.shard("p-1"));
        let used: std::collections::BTreeSet<_> = (0..2_000).map(|n| names.shard(&n.to_string())).collect();
        assert_eq!((used.len(), used.last()), (64, Some(&63)));
    }
}
