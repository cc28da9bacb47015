//! Takes a chunk of a body apart into the documents it carries, whichever way they are framed: one object, the elements
//! of a JSON array, server-sent events, and objects between them. What a document says is its readers' business.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// One event, element or object.
pub(crate) struct Piece<'a> {
    /// An object as it stands; of an event its `data`, several lines joined.
    pub(crate) data: Cow<'a, [u8]>,
    /// It is an event of the type `error`.
    pub(crate) named_error: bool,
}

/// The pieces of a chunk that starts where one does. An object that is not whole, or not JSON, is the last.
pub(crate) fn pieces(chunk: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = chunk;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_ascii_start();
            match rest.first()? {
                b'[' | b',' | b']' => rest = &rest[1..],
                b'{' => {
                    let mut objects = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
                    let whole = objects.next().and_then(Result::ok).map(|object| object.get().as_bytes());
                    let object = whole.unwrap_or(rest);
                    rest = &rest[object.len()..];
                    return Some(Piece { data: Cow::Borrowed(object), named_error: false });
                }
                _ => {
                    let (event, len) = event(rest);
                    rest = &rest[len..];
                    return Some(event);
                }
            }
        }
    })
}

/// The event at the start, and its length with its blank line; at least one byte.
fn event(chunk: &[u8]) -> (Piece<'_>, usize) {
    let mut event = Piece { data: Cow::Borrowed(b""), named_error: false };
    let mut len = 0;
    for line in chunk.split_inclusive(|&byte| byte == b'\n') {
        len += line.len();
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
    (event, len)
}
