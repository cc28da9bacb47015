//! How strict some rules of Google's are of which reports and Google's own clients disagree. Asked by `native`.

use serde::{Deserialize, Serialize};

/// What is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Strictness {
    /// Function calls in a content right after another one of the model's. Reports say so; but Google's Python SDK (3.4.0)
    /// sends a streamed answer back with a content for each event. Where it is not refused, neighbours are one turn, each
    /// content of which must still be signed.
    pub split_turns: bool,
    /// Answers of functions that leave out their call's id, from Gemini 3 on. Google's page demands it; but Google's Python
    /// SDK (3.4.0) leaves it out when it calls functions by itself.
    pub missing_ids: bool,
}

impl Default for Strictness {
    fn default() -> Self {
        Self { split_turns: true, missing_ids: false }
    }
}
