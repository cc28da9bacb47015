//! Errors inside a streamed answer whose head said 200: which event or chunk is one, and which status it states. An
//! error event is classified like an answer of that status.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error_body;

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
    // Nearly every chunk leaves here: inside a text the quotes are escaped.
    if memmem::find(chunk, b"\"error\"").is_none() && memmem::find(chunk, b"event: error").is_none() {
        return None;
    }
    let mut rest = chunk;
    loop {
        rest = rest.trim_ascii_start();
        rest = match rest.first()? {
            b'[' | b',' | b']' => &rest[1..],
            b'{' => {
                let document = Document::first(rest)?;
                if document.is_error {
                    return Some(StreamError::new(Cow::Borrowed(&rest[..document.len])));
                }
                &rest[document.len..]
            }
            _ => {
                let event = SseEvent::first(rest);
                let is_error = Document::first(&event.data).is_some_and(|document| document.is_error);
                if is_error || event.named_error {
                    return Some(StreamError::new(event.data));
                }
                &rest[event.len..]
            }
        };
    }
}

impl<'a> StreamError<'a> {
    fn new(body: Cow<'a, [u8]>) -> Self {
        Self { status: error_body::stated_status(&body).unwrap_or(500), body }
    }
}

struct SseEvent<'a> {
    /// Its `data`, several lines joined.
    data: Cow<'a, [u8]>,
    named_error: bool,
    /// With its blank line; at least one byte.
    len: usize,
}

impl<'a> SseEvent<'a> {
    fn first(chunk: &'a [u8]) -> Self {
        let mut event = Self { data: Cow::Borrowed(b""), named_error: false, len: 0 };
        for line in chunk.split_inclusive(|&byte| byte == b'\n') {
            event.len += line.len();
            let line = line.trim_ascii_end();
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
            let value = line.get(colon + 1..).unwrap_or_default();
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &line[..colon] {
                b"event" => event.named_error = value == b"error",
                b"data" if event.data.is_empty() => event.data = Cow::Borrowed(value),
                b"data" => {
                    event.data.to_mut().push(b'\n');
                    event.data.to_mut().extend_from_slice(value);
                }
                _ => {}
            }
        }
        event
    }
}

struct Document {
    is_error: bool,
    len: usize,
}

impl Document {
    /// The object at the start of `json`, or of the array there; what follows it is not looked at. `None` when it is
    /// not whole.
    fn first(json: &[u8]) -> Option<Self> {
        let json = json.strip_prefix(b"[").unwrap_or(json).trim_ascii_start();
        if !json.starts_with(b"{") {
            return None;
        }
        let mut documents = serde_json::Deserializer::from_slice(json).into_iter::<Top<'_>>();
        let top = documents.next()?.ok()?;
        let is_error = top.error.is_some_and(|error| error.get().starts_with(['{', '"']));
        Some(Self { is_error, len: documents.byte_offset() })
    }
}

#[derive(Deserialize)]
struct Top<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}
