//! Errors inside a streamed answer whose head said 200: which event or chunk is one, and which status it states. An
//! error event is classified like an answer of that status.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error_body;
use crate::pieces::pieces;

/// An error found in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError<'a> {
    /// The HTTP status it states, by number or by name; 500 when it states none.
    pub status: u16,
    /// The error document, for [`classify`](crate::classify::classify).
    pub body: Cow<'a, [u8]>,
}

/// The first error among the events of a chunk, which starts where an event does: `data: {"error":...}`, the bare
/// `{"error":...}` that Google writes into an event stream, an element of a JSON array, and the Interactions API's
/// `event: error`. An `error` that is null, or not at its document's top level, is none.
pub fn stream_error(chunk: &[u8]) -> Option<StreamError<'_>> {
    static MARKS: LazyLock<[Finder<'static>; 3]> =
        LazyLock::new(|| [&b"\"error\""[..], b"event: error", b"event:error"].map(Finder::new));
    // Nearly every chunk leaves here: inside a text the quotes are escaped.
    if MARKS.iter().all(|mark| mark.find(chunk).is_none()) {
        return None;
    }
    let error = pieces(chunk).find(|piece| piece.named_error || is_error(&piece.data))?;
    // An event that is an error by its type may be the error itself.
    let is_bare = error.named_error && error.data.starts_with(b"{") && !is_error(&error.data);
    let body =
        if is_bare { Cow::Owned([&b"{\"error\":"[..], &error.data, b"}"].concat()) } else { error.data };
    Some(StreamError::new(body))
}

impl<'a> StreamError<'a> {
    fn new(body: Cow<'a, [u8]>) -> Self {
        Self { status: error_body::stated_status(&body).unwrap_or(500), body }
    }
}

/// Whether the object at the start of `json`, or of the array there, is an error; what follows it is not looked at.
fn is_error(json: &[u8]) -> bool {
    let json = json.strip_prefix(b"[").unwrap_or(json).trim_ascii_start();
    if !json.starts_with(b"{") {
        return false;
    }
    let top = serde_json::Deserializer::from_slice(json).into_iter::<Top<'_>>().next();
    let error = top.and_then(Result::ok).and_then(|top| top.error);
    error.is_some_and(|error| error.get().starts_with(['{', '"']))
}

#[derive(Deserialize)]
struct Top<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}
