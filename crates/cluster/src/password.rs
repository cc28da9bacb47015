//! The password for Redis: shown as `***`, and wiped from memory when dropped.

use std::fmt;

use zeroize::Zeroizing;

/// A password. Only the connection that sends it reads it.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisPassword(Zeroizing<String>);

impl RedisPassword {
    /// Takes the password as it is, without trimming anything.
    pub fn new(password: String) -> Self {
        Self(Zeroizing::new(password))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RedisPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
