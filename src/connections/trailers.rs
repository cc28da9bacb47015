//! The trailers behind a body in chunks: lines as those of a head, each ended by both bytes of a line's end.

/// How far they are read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Trailers {
    /// A line begins: a trailer, or the end.
    #[default]
    Line,
    Name,
    Value,
    /// The line feed behind a trailer.
    LineEnd,
    /// The line feed behind all of them.
    End,
}

/// What bytes of trailers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trailing {
    /// All of them are, and more must follow.
    On,
    /// So many are, the last one at their end.
    Ended(usize),
    /// So many are, and the next byte cannot be.
    Refused(usize),
}

impl Trailers {
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Trailing {
        for (at, byte) in bytes.iter().enumerate() {
            *self = match (*self, byte) {
                (Self::Line, b'\r') => Self::End,
                (Self::End, b'\n') => return Trailing::Ended(at + 1),
                (Self::Line | Self::Name, byte) if is_of_a_name(*byte) => Self::Name,
                (Self::Value, b'\r') => Self::LineEnd,
                (Self::Name, b':') | (Self::Value, b'\t' | b' '..=b'~' | 0x80..) => Self::Value,
                (Self::LineEnd, b'\n') => Self::Line,
                _ => return Trailing::Refused(at),
            };
        }
        Trailing::On
    }
}

/// RFC 9110 §5.6.2.
fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
