//! What stands beside a usage object: it tells how many others are around it.

use super::end_of_string;

/// What is read between a usage object and the end of one that is around it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beside {
    /// How many around it have ended.
    pub(super) ended: u32,
    /// How many have begun since.
    begun: u32,
    in_string: bool,
    escaped: bool,
    /// How much of [`SHORT_NAME`] the last string is; `None` where it is another.
    name: Option<usize>,
}

/// What comes behind what was read.
pub(super) enum Next {
    More,
    /// The object has ended.
    End,
    /// A usage object that fewer are around.
    Usage,
}

const SHORT_NAME: &[u8] = b"usage";

impl Beside {
    pub(super) fn behind(ended: u32) -> Self {
        Self { ended, ..Self::default() }
    }

    /// Reads on. How many bytes were taken, and what comes behind them.
    pub(super) fn push(&mut self, bytes: &[u8]) -> (usize, Next) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            if self.in_string {
                at += self.string(&bytes[at - 1..]) - 1;
                continue;
            }
            match byte {
                b'"' => {
                    // One that stands beside the first cannot be nearer.
                    self.name = (self.ended > 0 && self.begun == 0).then_some(0);
                    match end_of_string(&bytes[at..]).filter(|_| self.name.is_none()) {
                        Some(end) => at += end + 1,
                        None => self.in_string = true,
                    }
                }
                b'{' if self.name == Some(SHORT_NAME.len()) => return (at, Next::Usage),
                b'{' | b'[' => (self.begun, self.name) = (self.begun.saturating_add(1), None),
                b'}' | b']' if self.begun == 0 => return (at, Next::End),
                b'}' | b']' => self.begun -= 1,
                b':' | b' ' | b'\t' | b'\n' | b'\r' => {}
                _ => self.name = None,
            }
        }
        (bytes.len(), Next::More)
    }

    /// Reads on in a string. How many bytes were taken: one at least.
    fn string(&mut self, bytes: &[u8]) -> usize {
        if self.escaped {
            (self.escaped, self.name) = (false, None);
            return 1;
        }
        let end = memchr::memchr2(b'"', b'\\', bytes);
        let part = &bytes[..end.unwrap_or(bytes.len())];
        self.name = self
            .name
            .filter(|&so_far| SHORT_NAME[so_far..].starts_with(part))
            .map(|so_far| so_far + part.len());
        let Some(end) = end else { return bytes.len() };
        (self.in_string, self.escaped) = (bytes[end] != b'"', bytes[end] != b'"');
        end + 1
    }
}
