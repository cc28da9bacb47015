//! The Gemini Developer API as an upstream: its URLs, how a leased key is shown to it on each surface, what it serves, and
//! how its errors are read.

use super::client::{SendError, Upstream};
use crate::key_ring::Key;
use gemini::{
    classify::{self, classify, classify_by_status},
    fault::Fault,
    media_type::may_answer,
    path::{Surface, Target},
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

/// Where a target is asked for, always on the configured authority: the target's path begins with one slash.
pub(super) fn uri(upstream: &Upstream, target: &Target) -> Result<Uri, SendError> {
    let base = upstream.base(target.surface);
    let path = match target.surface {
        // A base that already names the layer's root, as OpenAI clients' base URLs do.
        Surface::OpenAi if base.has_path() => {
            target.path.strip_prefix("/v1beta/openai").unwrap_or(&target.path)
        }
        _ => &target.path,
    };
    base.join(path, target.query.as_deref()).map_err(|_| SendError::unsendable())
}

/// The credential header of a surface.
pub(super) fn credential(surface: Surface, key: &Key) -> (HeaderName, HeaderValue) {
    match surface {
        Surface::OpenAi => (header::AUTHORIZATION, key.bearer_header()),
        _ => (HeaderName::from_static("x-goog-api-key"), key.goog_header()),
    }
}

/// Whether an answer's head can be its own. What begins or goes on with an upload says so in a header, and has no body.
pub(super) fn may_have_answered(target: &Target, headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    may_answer(target, content_type) || headers.contains_key("x-goog-upload-status")
}

/// The fault that a whole error answer states.
pub(super) fn fault(answer: &classify::Answer<'_>, now_wall_secs: i64) -> Fault {
    classify(answer, now_wall_secs)
}

/// The fault of an error that came inside a stream, or broke off.
pub(super) fn fault_of_part(answer: &classify::Answer<'_>, now_wall_secs: i64) -> Fault {
    classify_by_status(answer, now_wall_secs)
}
