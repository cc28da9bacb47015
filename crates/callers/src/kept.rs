//! A token made while the service runs, as it is kept: what it says of its caller, and the keyed hashes of its secrets.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::spec::CallerSpec;
use crate::token::TokenHash;

/// How many replaced secrets of a token are let in at the same time.
pub(crate) const MAX_FORMER: usize = 4;

/// A token at rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptToken {
    /// What the token may do, as its operator has said.
    #[serde(flatten)]
    pub spec: CallerSpec,
    /// When it was made.
    pub made: DateTime<Utc>,
    /// Its secret, by its keyed hash.
    pub secret: TokenHash,
    /// Secrets that newer ones have replaced, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<FormerSecret>,
}

/// A secret that a newer one has replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerSecret {
    /// By its keyed hash.
    pub secret: TokenHash,
    /// Until when it is let in.
    pub until: DateTime<Utc>,
}

/// What is to be written of a token that was made or changed.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenChange {
    /// This is how it is now.
    Put(Box<KeptToken>),
    /// It is no more.
    Forget(Arc<str>),
    /// A token was made, so that keys of the pool open nothing any more, whatever becomes of it. With it stands a hash
    /// by which a later process can tell whether it has the same instance key.
    EverMade(TokenHash),
}
