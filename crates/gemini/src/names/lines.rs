//! The framing of an answer: of server-sent events the `data` goes to the walk, a blank line ends one; anything else is
//! JSON as it stands, one document or several.

use memchr::memchr2;

use super::walk::{Reader, Walk};

const FIELD: &[u8] = b"data:";

/// How an answer is framed, told by its first byte, and where in a line it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lines {
    /// Nothing but white space so far.
    Unknown,
    /// No lines: `{` or `[` came first.
    Json,
    /// A line begins. The byte before may be the `\r` of a line's end: a `\n` now belongs to it.
    Start { after_return: bool },
    /// This many bytes of [`FIELD`] began the line.
    Field(usize),
    /// The value of `data` goes on.
    Data,
    /// A line that says nothing here goes on.
    Other,
}

impl Lines {
    /// Hands the documents in the next bytes of the body to the walk.
    pub(super) fn push<R: Reader>(&mut self, chunk: &[u8], walk: &mut Walk<R::Place>, reader: &mut R) {
        let mut rest = chunk;
        while let Some(&byte) = rest.first() {
            let mut taken = 1;
            *self = match *self {
                Self::Unknown if byte.is_ascii_whitespace() => Self::Unknown,
                Self::Unknown => {
                    taken = 0;
                    match byte {
                        b'{' | b'[' => Self::Json,
                        _ => Self::Start { after_return: false },
                    }
                }
                Self::Json => return walk.push(rest, reader),
                Self::Start { after_return: true } if byte == b'\n' => Self::Start { after_return: false },
                Self::Start { .. } if matches!(byte, b'\n' | b'\r') => {
                    walk.restart(reader);
                    Self::Start { after_return: byte == b'\r' }
                }
                Self::Start { .. } => {
                    taken = 0;
                    Self::Field(0)
                }
                Self::Field(matched) if byte == FIELD[matched] && matched + 1 == FIELD.len() => Self::Data,
                Self::Field(matched) if byte == FIELD[matched] => Self::Field(matched + 1),
                Self::Field(_) => {
                    taken = 0;
                    Self::Other
                }
                Self::Data | Self::Other => {
                    let end = memchr2(b'\n', b'\r', rest);
                    let line = &rest[..end.unwrap_or(rest.len())];
                    if matches!(self, Self::Data) {
                        walk.push(line, reader);
                    }
                    taken = line.len() + usize::from(end.is_some());
                    match end {
                        Some(end) => Self::Start { after_return: rest[end] == b'\r' },
                        None => *self,
                    }
                }
            };
            rest = &rest[taken..];
        }
    }
}
