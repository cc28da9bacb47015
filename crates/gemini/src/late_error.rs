//! Looks for an error among the later events of a streamed answer while it passes in chunks, wherever they are cut. From the
//! first mention of one on the stream has to be looked through for secrets as well. A chunk of events that mentions none costs one
//! search; an array is followed byte by byte, since nothing else tells its elements from what a model says in one.

use memchr::memmem::{self, Finder};
use std::sync::LazyLock;

use crate::stream_error::stream_error;

/// How much of what has passed is kept, in bytes: enough for the start of an error event up to its `"error"`.
const TAIL: usize = 64;
/// More of one event than this is not gathered to be read.
const MAX_EVENT: usize = 256 * 1024;
/// More of one element of an array is not, which is gathered whether or not it mentions an error. Google's errors are far shorter.
const MAX_ELEMENT: usize = 32 * 1024;
/// The longest mention, `event: error`, in bytes.
const MENTION: usize = 12;

/// An error that came after the first event: the answer's status had said success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateError {
    /// The status it states.
    pub status: u16,
    /// The error document.
    pub body: Vec<u8>,
}

/// The search for a mention of an error in a body that passes in chunks, its content coding undone: Google may quote the key in
/// one, so what passes has to be looked through for secrets from then on.
#[derive(Clone, Debug, Default)]
pub struct ErrorMentions {
    /// The last bytes that passed.
    tail: Vec<u8>,
    is_found: bool,
}

impl ErrorMentions {
    /// Whether an error was mentioned.
    pub fn is_found(&self) -> bool {
        self.is_found
    }

    /// Looks at the next bytes.
    pub fn see(&mut self, bytes: &[u8]) {
        if !self.is_found {
            self.find(bytes);
            self.keep_tail(bytes);
        }
    }

    /// Whether `bytes` mention an error, or the last of one's mention are among them.
    fn find(&mut self, bytes: &[u8]) -> bool {
        let is_mention = mentions_error(bytes) || self.mentions_across(bytes);
        self.is_found |= is_mention;
        is_mention
    }

    /// Whether a mention begins in what has passed and ends in `bytes`.
    fn mentions_across(&self, bytes: &[u8]) -> bool {
        let before = &self.tail[self.tail.len().saturating_sub(MENTION)..];
        let after = &bytes[..bytes.len().min(MENTION)];
        let mut seam = [0; 2 * MENTION];
        seam[..before.len()].copy_from_slice(before);
        seam[before.len()..before.len() + after.len()].copy_from_slice(after);
        mentions_error(&seam[..before.len() + after.len()])
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        let new = &bytes[bytes.len().saturating_sub(TAIL)..];
        let stays = self.tail.len().min(TAIL - new.len());
        self.tail.drain(..self.tail.len() - stays);
        self.tail.extend_from_slice(new);
    }
}

/// The search for a late error in one body, its content coding undone.
#[derive(Clone, Debug)]
pub struct LateErrors {
    /// Where in the array, if the events are elements of one.
    array: Option<ArrayPlace>,
    mentions: ErrorMentions,
    /// An event that mentions an error and goes on.
    event: Vec<u8>,
    found: Option<LateError>,
}

impl LateErrors {
    /// Begins behind the first event, `passed` being the body up to there.
    pub fn after(passed: &[u8]) -> Self {
        let is_array = passed.trim_ascii_start().starts_with(b"[");
        let mut late = Self {
            array: is_array.then(ArrayPlace::default),
            mentions: ErrorMentions { tail: Vec::with_capacity(TAIL), is_found: false },
            event: Vec::new(),
            found: None,
        };
        late.mentions.keep_tail(passed);
        if let Some(place) = &mut late.array {
            // Of the elements up to there nothing is asked, and the last one may go on.
            place.pass(passed, &mut late.event, |_| ());
        }
        late
    }

    /// Whether an error was mentioned, so that what passes has to be looked through for secrets.
    pub fn is_mentioned(&self) -> bool {
        self.mentions.is_found
    }

    /// The error, when one was found.
    pub fn take(&mut self) -> Option<LateError> {
        self.found.take()
    }

    /// Looks at the next bytes.
    pub fn see(&mut self, bytes: &[u8]) {
        let is_mention = self.mentions.find(bytes);
        if let Some(place) = &mut self.array {
            place.pass(bytes, &mut self.event, |element| {
                if self.found.is_none() {
                    let error = stream_error(element);
                    self.found = error.map(|it| LateError { status: it.status, body: it.body.into_owned() });
                }
            });
        } else if self.found.is_none() && (is_mention || !self.event.is_empty()) {
            self.read(bytes);
        }
        self.mentions.keep_tail(bytes);
    }

    /// Reads the event that goes on, or the first of `bytes` on.
    fn read(&mut self, bytes: &[u8]) {
        if !self.event.is_empty() {
            self.event.extend_from_slice(bytes);
        } else if let Some(start) = self.event_start() {
            self.event.extend_from_slice(&self.mentions.tail[start..]);
            self.event.extend_from_slice(bytes);
        } else {
            // The blank line, too, may be cut.
            self.event.extend_from_slice(&self.mentions.tail[self.mentions.tail.len().saturating_sub(3)..]);
            self.event.extend_from_slice(bytes);
            self.event.drain(..first_end(&self.event));
        }
        let has_ended = ends_an_event(&self.event);
        match stream_error(&self.event) {
            // Of an event whose type says error the document may still be coming.
            Some(error) if has_ended || is_json(&error.body) => {
                let body = error.body[..error.body.len().min(MAX_EVENT)].to_vec();
                self.found = Some(LateError { status: error.status, body });
                self.event = Vec::new();
            }
            _ if has_ended || self.event.len() > MAX_EVENT => self.event = Vec::new(),
            _ => {}
        }
    }

    /// Where the event that goes on begins in the tail; `None` where it began before that.
    fn event_start(&self) -> Option<usize> {
        let end = |blank: &[u8]| memmem::rfind(&self.mentions.tail, blank).map(|at| at + blank.len());
        let start = end(b"\n\n").max(end(b"\r\n\r\n")).max(end(b"\r\r"));
        // A short tail is all that has passed.
        start.or((self.mentions.tail.len() < TAIL).then_some(0))
    }
}

/// Where in a JSON array its bytes have come to: what a model says may look like an element, deep within one.
#[derive(Clone, Copy, Debug, Default)]
struct ArrayPlace {
    /// How many brackets and braces are open.
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// Whether the element that goes on is too long to be read.
    is_too_long: bool,
}

impl ArrayPlace {
    /// Takes the next bytes. Each element that ends in them is shown; `element` is what has come of the one that goes on.
    fn pass(&mut self, bytes: &[u8], element: &mut Vec<u8>, mut whole: impl FnMut(&[u8])) {
        let mut from = (self.depth > 1).then_some(0);
        for (at, &byte) in bytes.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.depth += 1;
                    if self.depth == 2 {
                        from = Some(at);
                    }
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 1
                        && let Some(from) = from.take()
                    {
                        self.gather(&bytes[from..=at], element);
                        if !std::mem::take(&mut self.is_too_long) {
                            whole(element);
                        }
                        element.clear();
                    }
                }
                _ => {}
            }
        }
        if let Some(from) = from {
            self.gather(&bytes[from..], element);
        }
    }

    fn gather(&mut self, bytes: &[u8], element: &mut Vec<u8>) {
        if self.is_too_long || element.len() + bytes.len() > MAX_ELEMENT {
            self.is_too_long = true;
            *element = Vec::new();
        } else {
            element.extend_from_slice(bytes);
        }
    }
}

/// Whether a blank line ends here.
fn ends_an_event(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\n\n") || bytes.ends_with(b"\r\n\r\n") || bytes.ends_with(b"\r\r")
}

/// The end of the first blank line, or of the whole.
fn first_end(bytes: &[u8]) -> usize {
    let end = |blank: &[u8]| memmem::find(bytes, blank).map_or(bytes.len(), |at| at + blank.len());
    end(b"\n\n").min(end(b"\r\n\r\n")).min(end(b"\r\r"))
}

fn is_json(document: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(document).is_ok()
}

/// Whether an event may state an error: a member of that name, or an event of that type. Inside a text the quotes are
/// escaped, so that prose about errors is none.
fn mentions_error(bytes: &[u8]) -> bool {
    /// Made once: making it costs as much as a search.
    static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"error"));
    ERROR.find_iter(bytes).any(|at| {
        let before = &bytes[..at];
        let after = bytes.get(at + b"error".len());
        (before.ends_with(b"\"") && after == Some(&b'"'))
            || before.ends_with(b"event: ")
            || before.ends_with(b"event:")
    })
}
