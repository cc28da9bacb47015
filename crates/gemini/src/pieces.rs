//! Takes a chunk of a body apart into the documents it carries, whichever way they are framed: one object, the elements
//! of a JSON array, server-sent events, and objects between them. What a document says is its readers' business.

use std::borrow::Cow;

use memchr::memchr2;
use serde_json::value::RawValue;

/// A stream of events may begin with one, which says nothing.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event, element or object.
pub(crate) struct Piece<'a> {
    /// An object as it stands; of an event its `data`, several lines joined.
    pub(crate) data: Cow<'a, [u8]>,
    /// It is an event of the type `error`.
    pub(crate) named_error: bool,
}

/// The pieces of a chunk that starts where one does. An object that is not whole, or not JSON, is the last.
pub(crate) fn pieces(chunk: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = chunk.strip_prefix(BYTE_ORDER_MARK).unwrap_or(chunk);
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

/// The line at the start, and its length with its end: `\n`, `\r\n` or `\r`.
fn line(text: &[u8]) -> (&[u8], usize) {
    match memchr2(b'\n', b'\r', text) {
        Some(end) if text[end..].starts_with(b"\r\n") => (&text[..end], end + 2),
        Some(end) => (&text[..end], end + 1),
        None => (text, text.len()),
    }
}

/// The event at the start, and its length with its blank line; at least one byte.
fn event(chunk: &[u8]) -> (Piece<'_>, usize) {
    let mut event = Piece { data: Cow::Borrowed(b""), named_error: false };
    let mut len = 0;
    while len < chunk.len() {
        let (line, line_len) = line(&chunk[len..]);
        len += line_len;
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
