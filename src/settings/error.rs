//! Why the settings are refused: one line that names the setting, where its value came from, and what is allowed; never the
//! value, which may be a secret.

use keypool::PoolError;
use std::{fmt, io, path::Path};

/// Why the service does not start: one line that says which setting, from where, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    pub(super) setting: String,
    pub(super) source: Option<String>,
    /// What follows the setting's name, with the sign or space between them.
    pub(super) why: String,
}

impl SettingsError {
    /// A setting whose value is of the right type and still no good.
    pub fn refused(setting: &str, why: impl fmt::Display) -> Self {
        Self { setting: setting.to_owned(), source: None, why: format!(" {why}") }
    }

    /// Says something of a place that is no setting; `why` begins with what stands between the two.
    pub(super) fn said(place: &str, why: impl fmt::Display) -> Self {
        Self { setting: place.to_owned(), source: None, why: why.to_string() }
    }

    /// What the pool's rules refuse.
    pub(crate) fn of_pool(error: &PoolError) -> Self {
        let setting = if matches!(error, PoolError::Setting { .. }) { "pool" } else { "keys" };
        Self::said(setting, format!(": {error}"))
    }

    /// A file that a setting names and that cannot be read.
    pub fn unreadable(setting: &str, path: impl AsRef<Path>, error: &io::Error) -> Self {
        let why = format!(": cannot read {}: {error}", path.as_ref().display());
        Self { setting: setting.to_owned(), source: None, why }
    }

    /// A file that the settings in use were read from, and that is missing.
    pub(super) fn has_gone(path: &Path) -> Self {
        let why = " is not there any more; put it back, or an empty file in its place if nothing of what it said is to hold";
        Self::said(&path.display().to_string(), why)
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.setting)?;
        if let Some(source) = &self.source {
            write!(f, " (from {source})")?;
        }
        f.write_str(&self.why)
    }
}

impl std::error::Error for SettingsError {}
