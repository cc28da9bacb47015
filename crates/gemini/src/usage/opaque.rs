//! A list or an object of which nothing matters but where it ends. Only its own kind of bracket is counted: in JSON the others
//! come in pairs.

use memchr::{memchr2, memchr3};

/// Where a container stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opaque {
    opening: u8,
    closing: u8,
    /// How many of its kind are open, itself included.
    open: u32,
    in_text: bool,
    is_escaped: bool,
}

/// Names and marks lie close together: so far it is cheaper to look at each byte than to begin a search.
const NEAR: usize = 12;

impl Opaque {
    /// Begins behind its bracket.
    pub(super) fn opened_by(opening: u8) -> Self {
        let closing = if opening == b'{' { b'}' } else { b']' };
        Self { opening, closing, open: 1, in_text: false, is_escaped: false }
    }

    /// Reads on. How many bytes were taken, and whether the last of them closed it.
    pub(super) fn push(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while at < bytes.len() {
            if self.is_escaped {
                self.is_escaped = false;
                at += 1;
                continue;
            }
            let Some(found) = self.next_mark(&bytes[at..]) else { break };
            at += found + 1;
            match bytes[at - 1] {
                b'"' => self.in_text = !self.in_text,
                b'\\' => self.is_escaped = true,
                mark if mark == self.opening => self.open = self.open.saturating_add(1),
                _ => {
                    self.open -= 1;
                    if self.open == 0 {
                        return (at, true);
                    }
                }
            }
        }
        (bytes.len(), false)
    }

    /// Where the next byte is that matters.
    fn next_mark(&self, bytes: &[u8]) -> Option<usize> {
        let (near, far) = bytes.split_at(bytes.len().min(NEAR));
        let in_far = |found: Option<usize>| found.map(|at| at + near.len());
        if self.in_text {
            let close = near.iter().position(|&byte| byte == b'"' || byte == b'\\');
            return close.or_else(|| in_far(memchr2(b'"', b'\\', far)));
        }
        let (opening, closing) = (self.opening, self.closing);
        let close = near.iter().position(|&byte| byte == b'"' || byte == opening || byte == closing);
        close.or_else(|| in_far(memchr3(b'"', opening, closing, far)))
    }
}
