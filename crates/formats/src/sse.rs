//! Events as both vendors frame them: `event:` with the name, which Python's Anthropic SDK insists on, and `data:` with
//! one line of JSON.

use serde::Serialize;

/// Frames one event behind others, so that those of one moment are one piece. `data` must be of a type whose serialisation
/// cannot fail.
pub fn append_event<T: Serialize + ?Sized>(frames: &mut Vec<u8>, name: &str, data: &T) {
    frames.extend_from_slice(b"event: ");
    frames.extend_from_slice(name.as_bytes());
    frames.extend_from_slice(b"\ndata: ");
    // JSON of serde's has no line breaks, but for those that a raw value brings along.
    let start = frames.len();
    let written = serde_json::to_writer(&mut *frames, data);
    debug_assert!(written.is_ok());
    for byte in &mut frames[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    frames.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn an_event_is_two_lines_whatever_is_in_it() {
        let raw: &RawValue = serde_json::from_str("{\"a\":\r\n\"b\\n\"}").unwrap();
        let mut frames = Vec::new();
        append_event(&mut frames, "ping", raw);
        assert_eq!(frames, b"event: ping\ndata: {\"a\":  \"b\\n\"}\n\n");
    }
}
