//! The forms in which a value of a body names a resource: the plain name, a path, a URL of Google's or of a gateway, a
//! bare id, an opaque string of Google's.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::OwnedName;
use crate::operation::{Version, split_verb};

/// The collection under which a Live session's resumption handle is named.
pub(super) const LIVE_HANDLES: &str = "liveHandles";
/// The collection under which an interaction's continuation token is named.
pub(super) const CONTINUATION_TOKENS: &str = "continuationTokens";

/// A name with its collection: `files/ID`, `/v1beta/files/ID:download?alt=media`, or an HTTP URL whose path ends so,
/// whichever its host: the gateway's own origin is one that only its callers know. Escapes are decoded.
pub(super) fn named(collection: &str, text: &str) -> Option<OwnedName> {
    let (text, _) = text.split_once(['?', '#']).unwrap_or((text, ""));
    let text = decoded(text)?;
    let Some(path) = path(&text) else {
        return owned(collection, text.strip_prefix(collection)?.strip_prefix('/')?);
    };
    let mut segments = path.rsplit('/').filter(|segment| !segment.is_empty());
    let id = segments.next()?;
    (segments.next()? == collection).then_some(())?;
    Version::parse(segments.next()?)?;
    owned(collection, id)
}

/// A bare id, or one of the forms of [`named`].
pub(super) fn bare(collection: &str, text: &str) -> Option<OwnedName> {
    if text.contains('/') {
        return named(collection, text);
    }
    is_id(text).then(|| join(collection, text))
}

/// What the OpenAI layer calls a video: an id, or the operation that makes it.
pub(super) fn video(text: &str) -> Option<OwnedName> {
    if text.starts_with("models/") { OwnedName::parse(text) } else { bare("videos", text) }
}

/// A string that only Google can read.
pub(super) fn opaque(collection: &str, text: &str) -> Option<OwnedName> {
    (!text.is_empty()).then(|| join(collection, text))
}

/// A name that Google gave, of the resource itself or of what lies under it.
pub(super) fn given(text: &str) -> Option<OwnedName> {
    let name = OwnedName::parse(text)?;
    name.as_str().split('/').all(is_id).then_some(name)
}

fn owned(collection: &str, id: &str) -> Option<OwnedName> {
    let (id, _) = split_verb(id);
    is_id(id).then(|| join(collection, id))
}

fn join(collection: &str, id: &str) -> OwnedName {
    OwnedName([collection, "/", id].concat().into())
}

/// One segment of a name.
fn is_id(id: &str) -> bool {
    !id.is_empty() && !id.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
}

/// The path of an HTTP URL, or a text that is one.
fn path(text: &str) -> Option<&str> {
    if text.starts_with('/') {
        return Some(text);
    }
    let (scheme, rest) = text.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    rest.find('/').map(|end| &rest[end..])
}

fn decoded(text: &str) -> Option<Cow<'_, str>> {
    match memchr::memchr(b'%', text.as_bytes()) {
        None => Some(Cow::Borrowed(text)),
        Some(_) => percent_decode_str(text).decode_utf8().ok(),
    }
}
