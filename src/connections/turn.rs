//! Where a request ends. actix-http reads ahead of its answers, and frames the answer to a request by the one that it has read
//! last: behind a `HEAD` an answer lost its body, behind another request `Connection: close` was not heeded. So it is shown one
//! request at a time, and of this one's trailers only what a trailer may hold, as it looks for nothing but the end of them.
//! Where these bytes mean nothing it is shown them all: it refuses them, and nothing comes after.

use super::trailers::{Trailers, Trailing};

/// How far the request is read whose turn it is.
#[derive(Debug, Default)]
pub struct Turn(State);

#[derive(Debug)]
enum State {
    Head(Head),
    /// So many bytes of its body are still to come.
    Body(u64),
    /// The size of a chunk, so far, and whether it has a digit.
    Size(u64, bool),
    /// What may stand behind the size.
    Extension(u64),
    /// The line feed behind the size's line.
    SizeEnd(u64),
    /// So many bytes of a chunk are still to come.
    Chunk(u64),
    /// The line's end behind a chunk.
    ChunkEnd(u8),
    Trailers(Trailers),
    /// All of it has passed.
    Over,
    /// All that comes is of this request, or was refused.
    Endless,
}

/// A head that has not come to its end.
#[derive(Debug, Default)]
struct Head {
    bytes: Vec<u8>,
    /// Where its last line begins.
    line: usize,
    /// Whether there was another line than empty ones.
    has_begun: bool,
}

impl Default for State {
    fn default() -> Self {
        Self::Head(Head::default())
    }
}

/// How many of some bytes are to be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// So many: all of them, or those up to the request's end.
    Up(usize),
    /// So many, and no other, as what follows is no trailer.
    ThenRefused(usize),
}

impl Turn {
    /// Whether the next bytes are the first ones of a request.
    pub(super) fn begins(&self) -> bool {
        matches!(&self.0, State::Head(head) if head.bytes.is_empty())
    }

    /// Whether all of the request has passed.
    pub fn is_over(&self) -> bool {
        matches!(self.0, State::Over)
    }

    /// Reads on in what has come.
    pub fn pass(&mut self, bytes: &[u8]) -> Passed {
        self.0.pass(bytes)
    }
}

impl State {
    fn pass(&mut self, bytes: &[u8]) -> Passed {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match self {
                Self::Over => break,
                Self::Endless => return Passed::Up(bytes.len()),
                Self::Head(head) => match head.end(rest) {
                    None => {
                        head.bytes.extend_from_slice(rest);
                        return Passed::Up(bytes.len());
                    }
                    Some(end) => {
                        let next = if head.bytes.is_empty() {
                            body_of(&rest[..end])
                        } else {
                            head.bytes.extend_from_slice(&rest[..end]);
                            body_of(&head.bytes)
                        };
                        *self = next;
                        at += end;
                    }
                },
                Self::Body(left) | Self::Chunk(left) => {
                    let there = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= there as u64;
                    at += there;
                    if *left == 0 {
                        *self =
                            if matches!(self, Self::Body(_)) { Self::Over } else { Self::ChunkEnd(b'\r') };
                    }
                }
                Self::Trailers(trailers) => match trailers.pass(rest) {
                    Trailing::On => return Passed::Up(bytes.len()),
                    Trailing::Ended(used) => {
                        at += used;
                        *self = Self::Over;
                    }
                    Trailing::Refused(used) => {
                        *self = Self::Endless;
                        return Passed::ThenRefused(at + used);
                    }
                },
                Self::Size(..) | Self::Extension(_) | Self::SizeEnd(_) | Self::ChunkEnd(_) => {
                    self.read_between_chunks(rest[0]);
                    at += 1;
                }
            }
        }
        Passed::Up(at)
    }

    fn read_between_chunks(&mut self, byte: u8) {
        *self = match (&*self, byte) {
            (Self::Size(size, _), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if size.leading_zeros() >= 4 => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Self::Size(size << 4 | u64::from(digit), true)
            }
            (Self::Size(size, true) | Self::Extension(size), b'\r') => Self::SizeEnd(*size),
            (Self::Size(size, true), b' ' | b'\t' | b';')
            | (Self::Extension(size), b'\t' | b' '..=b'~' | 0x80..) => Self::Extension(*size),
            (Self::SizeEnd(0), b'\n') => Self::Trailers(Trailers::default()),
            (Self::SizeEnd(size), b'\n') => Self::Chunk(*size),
            (Self::ChunkEnd(b'\r'), b'\r') => Self::ChunkEnd(b'\n'),
            (Self::ChunkEnd(b'\n'), b'\n') => Self::Size(0, false),
            _ => Self::Endless,
        };
    }
}

impl Head {
    /// Where in `more` it ends: behind its first empty line that another one comes before.
    fn end(&mut self, more: &[u8]) -> Option<usize> {
        let before = self.bytes.len();
        for found in memchr::memchr_iter(b'\n', more) {
            let is_empty = match before + found - self.line {
                0 => true,
                1 => found.checked_sub(1).map_or(self.bytes.last(), |at| more.get(at)) == Some(&b'\r'),
                _ => false,
            };
            if is_empty && self.has_begun {
                return Some(found + 1);
            }
            self.has_begun |= !is_empty;
            self.line = before + found + 1;
        }
        None
    }
}

/// What comes behind a head, as actix-http reads it.
fn body_of(head: &[u8]) -> State {
    let mut lines = head.split(|byte| *byte == b'\n').skip_while(|line| line.trim_ascii().is_empty());
    let method = lines.next().and_then(|line| line.split(|byte| *byte == b' ').next());
    let (mut length, mut coding, mut is_websocket) = (None, None, false);
    for line in lines {
        // The names that count are of these letters.
        if !matches!(line, [b'c' | b'C' | b't' | b'T' | b'u' | b'U', ..]) {
            continue;
        }
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let is_second = if name.eq_ignore_ascii_case(b"content-length") {
            length.replace(value).is_some()
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            coding.replace(value).is_some()
        } else {
            is_websocket |= name.eq_ignore_ascii_case(b"upgrade") && value.eq_ignore_ascii_case(b"websocket");
            false
        };
        if is_second {
            return State::Endless;
        }
    }
    match (length, coding) {
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => State::Size(0, false),
        (_, Some(_)) => State::Endless,
        _ if is_websocket => State::Endless,
        (length, None) => match length.map_or(Some(0), read_length) {
            Some(0) if method == Some(b"CONNECT") => State::Endless,
            Some(0) => State::Over,
            Some(length) => State::Body(length),
            None => State::Endless,
        },
    }
}

fn read_length(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEHIND: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    /// What is passed of bytes that come in pieces of this size, and whether the request is over.
    fn passed(bytes: &[u8], size: usize) -> (usize, bool, bool) {
        let mut turn = Turn::default();
        let mut all = 0;
        for piece in bytes.chunks(size) {
            match turn.pass(piece) {
                Passed::Up(some) => all += some,
                Passed::ThenRefused(some) => return (all + some, false, true),
            }
            if turn.is_over() {
                break;
            }
        }
        (all, turn.is_over(), false)
    }

    fn check(request: &str, expected: impl Fn(usize) -> (usize, bool, bool)) {
        let bytes = [request, BEHIND].concat();
        for size in 1..=bytes.len() {
            assert_eq!(passed(bytes.as_bytes(), size), expected(bytes.len()), "{request:?} by {size}");
        }
    }

    #[test]
    fn a_request_passes_to_its_end_and_no_further_however_it_comes() {
        for request in [
            "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
            "\r\n\nGET / HTTP/1.1\r\nhost: x\r\n\r\n",
            "GET / HTTP/1.1\nhost: x\n\n",
            "GET / HTTP/1.1\nhost: x\r\n\n",
            "GET / HTTP/1.0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length:\t04 \r\n\r\n0\r\n\r",
            "POST / HTTP/1.1\r\nX-Content-Length: 9\r\ncontent-lengths: 9\r\ncontent-length: 1\r\n\r\n\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n0\r\r\n00A \t;x=\"y\"\r\n0123456789\r\n0;x\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n0\r\n0\r\nx: y\r\na_b:\r\n\r\n",
            "POST / HTTP/1.1\r\nupgrade: h2c\r\ncontent-length: 1\r\n\r\n0",
            "CONNECT x:1 HTTP/1.1\r\ncontent-length: 1\r\n\r\n0",
            "CONNECT x:1 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            check(request, |_| (request.len(), true, false));
        }
    }

    #[test]
    fn what_is_refused_or_has_no_end_passes_whole() {
        for request in [
            "CONNECT x:1 HTTP/1.1\r\n\r\n",
            "CONNECT x:1 HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
            "GET /ws/ HTTP/1.1\r\nUpgrade: WebSocket\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 1,\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\n0\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n00\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;\n\r\n0\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n11111111111111111\r\n",
        ] {
            check(request, |all| (all, false, false));
        }
    }

    #[test]
    fn nothing_passes_behind_what_is_no_trailer() {
        for (trailers, fit) in [
            ("\n", 0),
            ("x\r\n", 1),
            ("x: y\n\r\n", 4),
            ("x: y\rz", 5),
            (" x: y\r\n", 0),
            ("x: y\r\n:", 6),
            ("x: \0", 3),
        ] {
            let start = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n0\r\n0\r\n";
            check(&format!("{start}{trailers}"), |_| (start.len() + fit, false, true));
        }
    }
}
