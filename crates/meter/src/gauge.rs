//! What a limit counts, and over which window.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a limit counts, and over which window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gauge {
    /// Requests in a minute.
    Rpm,
    /// Input tokens in a minute.
    Tpm,
    /// Requests in a day.
    Rpd,
}

impl Gauge {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rpm, Self::Tpm, Self::Rpd];
}

impl fmt::Display for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rpm => "requests a minute",
            Self::Tpm => "input tokens a minute",
            Self::Rpd => "requests a day",
        })
    }
}
