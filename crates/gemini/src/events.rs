//! Where the first event of a streamed body ends, found while the body comes in chunks. The relay holds an answer's
//! head back until then, so that an error there can still be retried. Nothing is kept but a few flags.

use memchr::memchr2;

use crate::pieces::BYTE_ORDER_MARK;

/// What is known after a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The first event goes on.
    NeedMore,
    /// It is whole.
    Complete {
        /// Its length from the body's start, its end of line or closing brace included, in bytes.
        end: usize,
    },
    /// It is longer than the limit: it is not to be waited for.
    TooLong,
}

/// Finds the end of the first event. The framing is told by the first byte: `[` a JSON array, whose first element
/// counts; `{` one object, as Google writes errors into event streams; anything else server-sent events. Of those a
/// comment, and a block without data (`retry: 100`, `data:`), are no event: no reader of events is handed one.
#[derive(Clone, Debug)]
pub struct FirstEvent {
    limit: usize,
    /// Bytes pushed so far.
    seen: usize,
    framing: Framing,
    progress: Progress,
}

#[derive(Clone, Debug)]
enum Framing {
    Unknown,
    Sse(Sse),
    /// An object, or the first element of an array.
    Json(Json),
}

impl FirstEvent {
    /// At the start of a body. `limit_bytes` is how much may be held back.
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit: limit_bytes, seen: 0, framing: Framing::Unknown, progress: Progress::NeedMore }
    }

    /// Whether some of an event is there. Comments, blank lines and blocks without data are none: who holds them back may
    /// let them pass.
    pub fn has_begun(&self) -> bool {
        match &self.framing {
            Framing::Unknown => false,
            Framing::Sse(sse) => sse.has_field || !matches!(sse.line, Line::Start),
            Framing::Json(_) => true,
        }
    }

    /// The next bytes of the body. Once the answer is not `NeedMore` it stays what it is.
    pub fn push(&mut self, chunk: &[u8]) -> Progress {
        if self.progress != Progress::NeedMore {
            return self.progress;
        }
        let mut rest = chunk;
        if matches!(self.framing, Framing::Unknown) {
            rest = chunk.strip_prefix(BYTE_ORDER_MARK).filter(|_| self.seen == 0).unwrap_or(chunk);
            rest = rest.trim_ascii_start();
            self.framing = match rest.first() {
                None => Framing::Unknown,
                Some(b'[' | b'{') => Framing::Json(Json::default()),
                Some(_) => Framing::Sse(Sse::default()),
            };
        }
        let end = match &mut self.framing {
            Framing::Unknown => None,
            Framing::Sse(sse) => sse.push(rest),
            Framing::Json(json) => json.push(rest),
        };
        let end = end.map(|end| self.seen + (chunk.len() - rest.len()) + end);
        self.seen += chunk.len();
        self.progress = match end {
            Some(end) if end <= self.limit => Progress::Complete { end },
            Some(_) => Progress::TooLong,
            None if self.seen > self.limit => Progress::TooLong,
            None => Progress::NeedMore,
        };
        self.progress
    }
}

/// Lines end in `\n`, `\r\n` or `\r`, and a blank one ends the event.
#[derive(Clone, Debug)]
struct Sse {
    line: Line,
    /// Whether the block has a field.
    has_field: bool,
    /// Whether the block has data, which makes it an event.
    has_data: bool,
    /// The last byte was the `\r` of a line's end: a `\n` now belongs to it.
    after_return: bool,
}

/// The field that makes a block an event.
const DATA: &[u8] = b"data:";

#[derive(Clone, Copy, Debug)]
enum Line {
    /// Nothing of it is there yet.
    Start,
    /// So many bytes of it are [`DATA`]'s first.
    Name(usize),
    /// It is a data field, so far without a value.
    Empty,
    /// A comment or a field goes on.
    Inside,
    /// It was blank and ended the event, if only in `\r` so far.
    Blank,
}

impl Default for Sse {
    fn default() -> Self {
        Self { line: Line::Start, has_field: false, has_data: false, after_return: false }
    }
}

impl Sse {
    fn push(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let returned = std::mem::take(&mut self.after_return);
            match (self.line, byte) {
                (Line::Blank, b'\n') => return Some(at + 1),
                (Line::Blank, _) => return Some(at),
                (Line::Start, b'\n') if returned => at += 1,
                (Line::Start, b'\n') if self.has_data => return Some(at + 1),
                // What follows decides whether the end is `\r` or `\r\n`.
                (Line::Start, b'\r') if self.has_data => {
                    self.line = Line::Blank;
                    at += 1;
                }
                (Line::Start, b'\n' | b'\r') => {
                    self.has_field = false;
                    self.after_return = byte == b'\r';
                    at += 1;
                }
                (Line::Start, _) => {
                    self.has_field |= byte != b':';
                    self.line = if byte == DATA[0] { Line::Name(1) } else { Line::Inside };
                    at += 1;
                }
                (Line::Name(_) | Line::Empty, b'\n' | b'\r') => {
                    self.after_return = byte == b'\r';
                    self.line = Line::Start;
                    at += 1;
                }
                (Line::Name(come), _) if DATA.get(come) == Some(&byte) => {
                    self.line = if come + 1 == DATA.len() { Line::Empty } else { Line::Name(come + 1) };
                    at += 1;
                }
                (Line::Empty, b' ' | b'\t') => at += 1,
                (Line::Name(_) | Line::Empty, _) => {
                    self.has_data |= matches!(self.line, Line::Empty);
                    self.line = Line::Inside;
                }
                (Line::Inside, _) => {
                    let end = memchr2(b'\n', b'\r', &bytes[at..])?;
                    at += end + 1;
                    self.after_return = bytes[at - 1] == b'\r';
                    self.line = Line::Start;
                }
            }
        }
        None
    }
}

/// One object, or the first element of an array.
#[derive(Clone, Debug, Default)]
struct Json {
    begun: bool,
    /// Braces and brackets open in the object or element.
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Json {
    fn push(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        if !self.begun {
            self.begun = true;
            at = usize::from(bytes.first() == Some(&b'['));
        }
        while let Some(&byte) = bytes.get(at) {
            if self.escaped {
                self.escaped = false;
                at += 1;
                continue;
            }
            if self.in_string {
                let next = memchr2(b'"', b'\\', &bytes[at..])?;
                at += next + 1;
                self.escaped = bytes[at - 1] == b'\\';
                self.in_string = self.escaped;
                continue;
            }
            at += 1;
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    // The array itself closes where it is empty.
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(at);
                    }
                }
                // An element that is no object: not Google's, and nothing to wait for.
                b',' if self.depth == 0 => return Some(at - 1),
                _ => {}
            }
        }
        None
    }
}
