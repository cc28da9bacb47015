//! What the pool refuses to be made of or to do. All of it is the operator's to mend; none of it comes from requests,
//! whose answers are [`Refusal`](crate::Refusal)s.

use std::fmt;

use crate::key::KeyId;

/// Why a pool cannot be made, or an operator's verb cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolError {
    /// A pool needs a key.
    NoKeys,
    /// Two keys have this name.
    DuplicateKey(KeyId),
    /// A weight of zero; a key that shall not be used is disabled instead.
    ZeroWeight(KeyId),
    /// A setting that makes no sense.
    Setting {
        /// Its name in [`Settings`](crate::Settings).
        name: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
    /// No key has this name.
    UnknownKey(KeyId),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKeys => f.write_str("the pool has no keys"),
            Self::DuplicateKey(id) => write!(f, "two keys are called `{id}`"),
            Self::ZeroWeight(id) => write!(f, "the weight of key `{id}` is 0: allowed is 1 or more"),
            Self::Setting { name, allowed } => write!(f, "`{name}`: allowed is {allowed}"),
            Self::UnknownKey(id) => write!(f, "no key is called `{id}`"),
        }
    }
}

impl std::error::Error for PoolError {}
