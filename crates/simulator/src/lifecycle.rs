//! How resources come about and where they are fetched from: what tests turn.

use serde::{Deserialize, Serialize};

/// How long work takes, and the addresses the simulator gives out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lifecycle {
    /// How often a video file is seen `PROCESSING` before it is `ACTIVE`. Files of other types are `ACTIVE` at once.
    pub file_polls: u32,
    /// How often a batch, an operation or an interaction in the background is seen unfinished. 0 finishes it at once.
    pub work_polls: u32,
    /// After so many seconds, by the clock that can be set, all of these are finished even if nobody asks.
    pub work_s: u64,
    /// Scheme and authority of upload URLs; none means those by which the client came.
    pub upload_base: Option<String>,
    /// Where the native `:download` sends the client (302), `{name}` standing for `files/ID`; none means it answers itself.
    /// `/media/{name}` of this simulator is such a place: it asks for no key, and its requests are in the log.
    pub download_redirect: Option<String>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { file_polls: 2, work_polls: 2, work_s: 30, upload_base: None, download_redirect: None }
    }
}
