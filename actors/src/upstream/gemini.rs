//! The Gemini Developer API as an upstream: how a leased key is shown to it on each surface.

use crate::key_ring::Key;
use gemini::path::Surface;
use http::{HeaderName, HeaderValue, header};

/// The credential header of a surface.
pub(crate) fn credential(surface: Surface, key: &Key) -> (HeaderName, HeaderValue) {
    match surface {
        Surface::OpenAi => (header::AUTHORIZATION, key.bearer_header()),
        _ => (HeaderName::from_static("x-goog-api-key"), key.goog_header()),
    }
}
