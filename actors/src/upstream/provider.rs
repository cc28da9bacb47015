//! Whose API a key opens. A provider is a file that answers: the address of what is asked for, the credential, which answers
//! can be its own, and how its errors are read. The leased key says which one it is.

use super::{
    client::{SendError, Upstream},
    gemini,
};
use crate::key_ring::Key;
use ::gemini::{
    classify,
    fault::Fault,
    path::{Surface, Target},
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

/// A provider of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The Gemini Developer API.
    Gemini,
}

impl Provider {
    /// Whether it serves what `target` asks for.
    pub(crate) fn serves(self, _target: &Target) -> bool {
        match self {
            // All that there is, and whatever there will be.
            Self::Gemini => true,
        }
    }

    /// Returns where `target` is asked for.
    pub(crate) fn uri(self, upstream: &Upstream, target: &Target) -> Result<Uri, SendError> {
        match self {
            Self::Gemini => gemini::uri(upstream, target),
        }
    }

    /// Returns the header that shows `key` on a surface.
    pub(crate) fn credential(self, surface: Surface, key: &Key) -> (HeaderName, HeaderValue) {
        match self {
            Self::Gemini => gemini::credential(surface, key),
        }
    }

    /// Whether the head of a success can be its answer to what `target` asks for.
    pub(crate) fn may_have_answered(self, target: &Target, headers: &HeaderMap) -> bool {
        match self {
            Self::Gemini => gemini::may_have_answered(target, headers),
        }
    }

    /// Returns the fault that a whole error answer states.
    pub(crate) fn fault(self, answer: &classify::Answer<'_>) -> Fault {
        let now_wall_secs = chrono::Utc::now().timestamp();
        match self {
            Self::Gemini => gemini::fault(answer, now_wall_secs),
        }
    }

    /// Returns the fault of an error that came inside a stream, or broke off.
    pub(crate) fn fault_of_part(self, answer: &classify::Answer<'_>) -> Fault {
        let now_wall_secs = chrono::Utc::now().timestamp();
        match self {
            Self::Gemini => gemini::fault_of_part(answer, now_wall_secs),
        }
    }
}
