//! A string of JSON, of which no more is kept than a name can be long.

/// The longest name that is looked for, `cachedContentTokenCount` and `toolUsePromptTokenCount`, in bytes.
const LONGEST_NAME: usize = 23;

/// The last string, which may still be open where a chunk ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    is_open: bool,
    is_escaped: bool,
    /// As far as it fits.
    name: [u8; LONGEST_NAME],
    /// Its length; more than [`LONGEST_NAME`] when it does not fit.
    len: usize,
}

impl Text {
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// The string; nothing where it is too long for a name.
    pub(super) fn name(&self) -> &[u8] {
        self.name.get(..self.len).unwrap_or_default()
    }

    /// Begins behind a quote. Takes a whole string at once where it ends in this chunk and has no escapes. How many bytes were taken.
    pub(super) fn open(&mut self, rest: &[u8]) -> usize {
        let end = memchr::memchr2(b'"', b'\\', rest);
        if let Some(end) = end.filter(|&end| rest[end] == b'"') {
            self.len = end.min(LONGEST_NAME + 1);
            if let Some(name) = self.name.get_mut(..end) {
                name.copy_from_slice(&rest[..end]);
            }
            return end + 1;
        }
        self.is_open = true;
        self.len = 0;
        0
    }

    /// Takes the next byte of an open one.
    pub(super) fn take(&mut self, byte: u8) {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' => self.is_escaped = true,
            b'"' => {
                self.is_open = false;
                return;
            }
            _ => {}
        }
        if let Some(slot) = self.name.get_mut(self.len) {
            *slot = byte;
        }
        // One past the end says that it does not fit.
        self.len = (self.len + 1).min(LONGEST_NAME + 1);
    }
}
