//! What a handle on Redis is made with. The service's settings make it, once for all handles of a gateway.

use std::{error, fmt, num::NonZeroU16, time::Duration};

use crate::{address::ClusterAddress, password::RedisPassword};

/// How a handle reaches Redis and what it may cost.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Where it is.
    pub address: ClusterAddress,
    /// An ACL user, in place of the one in the address.
    pub username: Option<String>,
    /// In place of the one in the address.
    pub password: Option<RedisPassword>,
    /// Certificate authorities in PEM, trusted besides the system's.
    pub extra_roots: Vec<Vec<u8>>,
    /// What all keys begin with.
    pub prefix: KeyPrefix,
    /// How long a call may take, answer included.
    pub call_timeout: Duration,
    /// How long it may take to get a connection that is ready for calls, looking for the primary included. What is not
    /// within it is the system's resolver: host names are best served from the hosts file or a near resolver.
    pub connect_timeout: Duration,
    /// Into how many parts the buckets of a model are cut. More than one is of use on a Redis Cluster only.
    pub shards: NonZeroU16,
}

impl RedisSettings {
    /// Returns the settings with their defaults: 100 ms for a call, 200 ms for a connection, one shard.
    pub fn new(address: ClusterAddress, prefix: KeyPrefix) -> Self {
        Self {
            address,
            username: None,
            password: None,
            extra_roots: Vec::new(),
            prefix,
            call_timeout: Duration::from_millis(100),
            connect_timeout: Duration::from_millis(200),
            shards: NonZeroU16::MIN,
        }
    }

    pub(crate) fn username(&self) -> Option<&str> {
        self.username.as_deref().or(self.address.username.as_deref())
    }

    pub(crate) fn password(&self) -> Option<&RedisPassword> {
        self.password.as_ref().or(self.address.password.as_ref())
    }
}

/// What the names of all keys begin with: one to 32 letters, digits, `-`, `_` or `.`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyPrefix(Box<str>);

/// The prefix holds what a key's name must not begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPrefix;

impl fmt::Display for BadPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it must be one to 32 letters, digits, -, _ or .")
    }
}

impl error::Error for BadPrefix {}

impl KeyPrefix {
    /// Takes a prefix. Braces and colons are refused: they part the rest of a key's name.
    pub fn new(prefix: &str) -> Result<Self, BadPrefix> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if prefix.is_empty() || prefix.len() > 32 || !prefix.bytes().all(is_plain) {
            return Err(BadPrefix);
        }
        Ok(Self(prefix.into()))
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_that_would_break_a_keys_name_is_refused() {
        for (prefix, good) in
            [("gb1", true), ("a-b_c.9", true), ("", false), ("gb{1}", false), ("gb:1", false), ("é", false)]
        {
            assert_eq!(KeyPrefix::new(prefix).is_ok(), good, "{prefix}");
        }
        assert!(KeyPrefix::new(&"a".repeat(33)).is_err());
    }
}
