//! Events as both vendors frame them: `event:` with the name, which Python's Anthropic SDK insists on, and `data:` with
//! one line of JSON.

use memchr::memchr2;
use serde::Serialize;

use crate::json_text::append_escaped;

/// Frames one event behind others, so that those of one moment are one piece. `data` must be of a type whose serialisation
/// cannot fail.
pub fn append_event<T: Serialize + ?Sized>(frames: &mut Vec<u8>, name: &str, data: &T) {
    append_name(frames, name);
    append_value(frames, data);
    frames.extend_from_slice(b"\n\n");
}

fn append_name(frames: &mut Vec<u8>, name: &str) {
    frames.extend_from_slice(b"event: ");
    frames.extend_from_slice(name.as_bytes());
    frames.extend_from_slice(b"\ndata: ");
}

fn append_value<T: Serialize + ?Sized>(frames: &mut Vec<u8>, value: &T) {
    let start = frames.len();
    let written = serde_json::to_writer(&mut *frames, value);
    debug_assert!(written.is_ok());
    join_lines(&mut frames[start..]);
}

/// Makes one line of JSON. serde's has no line breaks, but for those that a raw value brings along.
fn join_lines(json: &mut [u8]) {
    let mut from = 0;
    while let Some(at) = memchr2(b'\n', b'\r', &json[from..]) {
        json[from + at] = b' ';
        from += at + 1;
    }
}

/// An event that is written member by member: those of which a stream has many. Its name is its `type`, its first member.
#[derive(Debug)]
pub struct EventFrame<'f> {
    frames: &'f mut Vec<u8>,
}

impl<'f> EventFrame<'f> {
    /// Begins one behind others. `room` is about how many bytes its members take.
    pub fn begin(frames: &'f mut Vec<u8>, name: &str, room: usize) -> Self {
        const AROUND: usize = r#"event: data: {"type":""}"#.len() + 4;
        frames.reserve(AROUND + 2 * name.len() + room);
        append_name(frames, name);
        frames.extend_from_slice(br#"{"type":""#);
        frames.extend_from_slice(name.as_bytes());
        frames.push(b'"');
        Self { frames }
    }

    /// Adds what is already written: members with the comma before them, on one line.
    pub fn written(&mut self, members: &str) -> &mut Self {
        self.frames.extend_from_slice(members.as_bytes());
        self
    }

    /// Adds a member.
    pub fn value<T: Serialize + ?Sized>(&mut self, member: &str, value: &T) -> &mut Self {
        self.name(member);
        append_value(self.frames, value);
        self
    }

    /// Adds a member that is JSON already.
    pub fn json(&mut self, member: &str, json: &[u8]) -> &mut Self {
        self.name(member);
        let start = self.frames.len();
        self.frames.extend_from_slice(json);
        join_lines(&mut self.frames[start..]);
        self
    }

    /// Adds a text.
    pub fn text(&mut self, member: &str, text: &str) -> &mut Self {
        self.name(member);
        self.frames.push(b'"');
        append_escaped(self.frames, text);
        self.frames.push(b'"');
        self
    }

    /// Adds a text that is escaped already.
    pub fn escaped(&mut self, member: &str, text: &[u8]) -> &mut Self {
        self.name(member);
        self.frames.push(b'"');
        self.frames.extend_from_slice(text);
        self.frames.push(b'"');
        self
    }

    /// Begins a member that is an object, of this `type`. The members that follow are its own.
    pub fn object(&mut self, member: &str, kind: &str) -> &mut Self {
        self.name(member);
        self.frames.extend_from_slice(br#"{"type":""#);
        self.frames.extend_from_slice(kind.as_bytes());
        self.frames.push(b'"');
        self
    }

    /// Ends the member that is an object.
    pub fn end_object(&mut self) -> &mut Self {
        self.frames.push(b'}');
        self
    }

    /// Ends it.
    pub fn end(self) {
        self.frames.extend_from_slice(b"}\n\n");
    }

    fn name(&mut self, member: &str) {
        self.frames.extend_from_slice(b",\"");
        self.frames.extend_from_slice(member.as_bytes());
        self.frames.extend_from_slice(b"\":");
    }
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

    #[test]
    fn an_event_of_members_is_the_same_two_lines() {
        let mut frames = b"before\n\n".to_vec();
        let mut frame = EventFrame::begin(&mut frames, "told", 0);
        frame.value("n", &3).text("t", "a\n\"").escaped("e", b"b\\n").json("j", b"[1,\n\r2]");
        frame.object("o", "k").text("x", "y").end_object().written(r#","w":[]"#);
        frame.end();
        let expected = concat!(
            "before\n\nevent: told\n",
            r#"data: {"type":"told","n":3,"t":"a\n\"","e":"b\n","j":[1,  2],"o":{"type":"k","x":"y"},"w":[]}"#,
            "\n\n"
        );
        assert_eq!(String::from_utf8(frames).unwrap(), expected);
    }
}
