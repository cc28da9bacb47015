//! The set of keys that a pool is to have from now on, and how it differs from the one before. Who gives it, knows the
//! secrets: that a key has another one, or only another name, cannot be seen in here.

use std::collections::{HashMap, HashSet};

use crate::key::{KeyId, KeySpec};

/// All keys that there shall be. Those of the pool that it does not name are removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    /// The keys, in the order of the configuration.
    pub keys: Vec<KeySpec>,
    /// Those of them that are others than the keys of the same name before: their secrets are new, and what is known of
    /// the former keys does not concern them.
    pub replaced: HashSet<KeyId>,
    /// The former names of those that have another name now. One counts only where the former name is no key's any more,
    /// and the new one was none's; else the key is taken for a new one.
    pub renamed: HashMap<KeyId, KeyId>,
    /// What tells each key apart whatever it is called, of those for which that is not their name: by it prefixes find the
    /// same key under another name, and in another life of the pool.
    pub identities: HashMap<KeyId, KeyId>,
}

impl From<Vec<KeySpec>> for KeySet {
    /// Keys of the same name are the same keys.
    fn from(keys: Vec<KeySpec>) -> Self {
        Self { keys, ..Self::default() }
    }
}

/// How the set of keys has changed, each list in the order of the configuration it is from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// The new keys. One whose secret is another than before is new, and nothing is held against it.
    pub added: Vec<KeyId>,
    /// The keys that are gone. One whose secret is another now is among them too.
    pub removed: Vec<KeyId>,
    /// The keys that stay, with another name, project or weight; by their present names.
    pub changed: Vec<KeyId>,
}

impl Reconciled {
    /// Tells whether the set is the same as before, but perhaps for its order.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}
