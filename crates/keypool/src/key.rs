//! The names of keys and projects, what the configuration says of a key, and the set of keys a request has used. No
//! secret passes through this crate: the caller keeps those, by the same names.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// What a key is called: a label or a fingerprint, never the secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(Arc<str>);

/// The operator's label of a Google project. Keys with the same label share what Google counts by project, unless
/// Google names different numbers for them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Project(Arc<str>);

/// A project's number, which Google names in some faults as `projects/N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProjectNumber(u64);

impl ProjectNumber {
    /// What stands after `projects/`. `None` for a project's id, which is not a number.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl fmt::Display for ProjectNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! name {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(KeyId);
name!(Project);

/// One key, as the configuration gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Its name, unique in the pool.
    pub id: KeyId,
    /// The project it belongs to. A key without one is a project of its own, until Google names its number.
    pub project: Option<Project>,
    /// Its share under [`Strategy::Weighted`](crate::Strategy::Weighted), at least 1.
    pub weight: u32,
}

impl KeySpec {
    /// A key of its own project, with weight 1.
    pub fn new(id: impl Into<KeyId>) -> Self {
        Self { id: id.into(), project: None, weight: 1 }
    }
}

/// The keys that one request has used already. Up to two cost no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried(SmallVec<[KeyId; 2]>);

impl Tried {
    /// Makes an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key; a second time changes nothing.
    pub fn insert(&mut self, key: KeyId) {
        if !self.contains(&key) {
            self.0.push(key);
        }
    }

    /// Whether the request has used this key.
    pub fn contains(&self, key: &KeyId) -> bool {
        self.0.contains(key)
    }

    /// How many keys it has used.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has used none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys, in the order of use.
    pub fn iter(&self) -> impl Iterator<Item = &KeyId> {
        self.0.iter()
    }
}

impl FromIterator<KeyId> for Tried {
    fn from_iter<I: IntoIterator<Item = KeyId>>(keys: I) -> Self {
        let mut tried = Self::new();
        keys.into_iter().for_each(|key| tried.insert(key));
        tried
    }
}
