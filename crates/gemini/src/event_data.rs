//! The data of server-sent events as Google sends them, taken out of a body that comes in pieces. What it may have to hold
//! is one event.

use memchr::memchr;

/// No event is longer: an image of the largest kind, in base64, is below it.
const MAX_EVENT_BYTES: usize = 64 * 1024 * 1024;

/// An event longer than any that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTooLong;

/// See the module.
#[derive(Debug, Default)]
pub struct EventData {
    /// A line that is not whole yet.
    line: Vec<u8>,
    /// The data of the event under way.
    data: Vec<u8>,
    /// Google states an error in mid-stream as a bare document, over several lines and without `data:`.
    is_bare: bool,
}

impl EventData {
    /// Takes the next bytes of the body, and hands the data of each event that ends in them to `event`.
    pub fn push(&mut self, bytes: &[u8], mut event: impl FnMut(&[u8])) -> Result<(), EventTooLong> {
        let mut rest = bytes;
        while let Some(end) = memchr(b'\n', rest) {
            let (head, tail) = rest.split_at(end);
            rest = &tail[1..];
            if self.line.is_empty() {
                self.take(head, &mut event);
            } else {
                self.line.extend_from_slice(head);
                let line = std::mem::take(&mut self.line);
                self.take(&line, &mut event);
                self.line = line;
                self.line.clear();
            }
        }
        self.line.extend_from_slice(rest);
        if self.line.len() + self.data.len() > MAX_EVENT_BYTES { Err(EventTooLong) } else { Ok(()) }
    }

    /// Ends the body: hands on an event that was not followed by an empty line.
    pub fn finish(&mut self, mut event: impl FnMut(&[u8])) {
        let line = std::mem::take(&mut self.line);
        self.take(&line, &mut event);
        self.is_bare = false;
        self.take(b"", &mut event);
    }

    fn take(&mut self, line: &[u8], event: &mut impl FnMut(&[u8])) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.is_bare {
            self.data.extend_from_slice(line);
        } else if line.is_empty() {
            if !self.data.is_empty() {
                event(&self.data);
                self.data.clear();
            }
        } else if let Some(data) = line.strip_prefix(b"data:") {
            if !self.data.is_empty() {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
        } else if line.trim_ascii_start().first().is_some_and(|first| matches!(first, b'{' | b'[')) {
            self.is_bare = true;
            self.data.extend_from_slice(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BODY: &[u8] =
        b": hello\r\n\r\ndata: {\"a\":1}\r\n\r\nevent: x\ndata: {\"b\":\ndata:2}\n\ndata: {\"c\":3}\r\n\r\n\
        {\r\n  \"error\": {\r\n\r\n \"code\": 503}\r\n}\r\n";

    fn events(body: &[u8], cuts: &[usize]) -> Vec<String> {
        let (mut found, mut data, mut from) = (Vec::new(), EventData::default(), 0);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
        cuts.push(body.len());
        cuts.sort_unstable();
        for cut in cuts {
            let event = |event: &[u8]| found.push(String::from_utf8(event.to_vec()).unwrap());
            data.push(&body[from..cut], event).unwrap();
            from = cut;
        }
        data.finish(|event| found.push(String::from_utf8(event.to_vec()).unwrap()));
        found
    }

    proptest! {
        #[test]
        fn events_are_the_same_in_whatever_pieces_they_come(cuts in proptest::collection::vec(0..200_usize, 0..12)) {
            let expected = ["{\"a\":1}", "{\"b\":\n2}", "{\"c\":3}", "{  \"error\": { \"code\": 503}}"];
            prop_assert_eq!(events(BODY, &cuts), expected);
        }
    }

    #[test]
    fn an_event_without_its_empty_line_is_there_at_the_end() {
        assert_eq!(events(b"data: {}", &[]), ["{}"]);
        assert_eq!(events(b"", &[]), Vec::<String>::new());
        assert_eq!(events(b": only a comment\n\n", &[]), Vec::<String>::new());
    }
}
