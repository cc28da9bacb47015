//! Why there is no way to Google: a setting that the client cannot be built with. What becomes of a request that is sent is
//! the client's `SendError`.

use std::fmt;

/// The client could not be built: a proxy or certificate is unusable.
#[derive(Clone, Debug)]
pub struct UpstreamError {
    setting: &'static str,
    why: String,
}

impl UpstreamError {
    /// Refuses a setting, or a variable of the environment.
    pub(crate) fn new(setting: &'static str, why: String) -> Self {
        Self { setting, why }
    }

    /// Returns the setting at fault.
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot be used: {}", self.why)
    }
}

impl std::error::Error for UpstreamError {}
