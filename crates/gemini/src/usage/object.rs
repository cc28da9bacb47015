//! A usage object, read as it comes.

use super::{Usage, UsageForm, end_of_string};

/// The longest name of a field, `cachedContentTokenCount` and `toolUsePromptTokenCount`, in bytes.
const LONGEST_NAME: usize = 23;

/// A usage object that is being read, byte by byte. Of what is nested in it, only OpenAI's `*_tokens_details` matter.
#[derive(Clone, Debug, Default)]
pub(super) struct Object {
    usage: Usage,
    /// Braces and brackets open inside the object.
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// The last string, as far as it fits.
    name: [u8; LONGEST_NAME],
    /// Its length; more than [`LONGEST_NAME`] when it does not fit.
    name_len: usize,
    value: Value,
}

/// The value after a name that counts.
#[derive(Clone, Copy, Debug, Default)]
enum Value {
    /// None, or one that does not count.
    #[default]
    Skipped,
    /// A colon after a field's name: digits may follow.
    Awaited(Field),
    /// The digits that were read of its number.
    Digits(Field, u64),
}

#[derive(Clone, Copy, Debug)]
enum Field {
    Prompt,
    Output,
    Thoughts,
    Cached,
    Tool,
    Total,
}

impl Field {
    /// Of a name at a depth: 0 is the usage object itself.
    fn of(name: &[u8], depth: u32) -> Option<Self> {
        Some(match (depth, name) {
            (0, b"promptTokenCount" | b"prompt_tokens" | b"input_tokens" | b"total_input_tokens") => {
                Self::Prompt
            }
            (
                0,
                b"candidatesTokenCount"
                | b"responseTokenCount"
                | b"completion_tokens"
                | b"output_tokens"
                | b"total_output_tokens",
            ) => Self::Output,
            (0, b"thoughtsTokenCount" | b"total_thought_tokens") | (1, b"reasoning_tokens") => Self::Thoughts,
            (0, b"cachedContentTokenCount" | b"total_cached_tokens") | (1, b"cached_tokens") => Self::Cached,
            (0, b"toolUsePromptTokenCount" | b"total_tool_use_tokens") => Self::Tool,
            (0, b"totalTokenCount" | b"total_tokens") => Self::Total,
            _ => return None,
        })
    }
}

impl Object {
    /// Reads on. How many bytes were taken, and whether the last of them closed the object.
    pub(super) fn push(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            if self.in_string {
                self.string_byte(byte);
                continue;
            }
            match byte {
                b'"' => {
                    let rest = &bytes[at..];
                    let end = end_of_string(rest);
                    // A name is not kept unless its colon comes later.
                    if let Some(end) = end
                        && rest.get(end + 1) == Some(&b':')
                    {
                        (self.usage.form, self.value) = self.named(&rest[..end]);
                        self.name_len = 0;
                        at += end + 2;
                    } else {
                        at += self.open_string(rest, end);
                    }
                }
                b':' => {
                    let name = self.name.get(..self.name_len).unwrap_or_default();
                    (self.usage.form, self.value) = self.named(name);
                    self.name_len = 0;
                }
                b'0'..=b'9' => {
                    let rest = &bytes[at..];
                    let more = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
                    let (field, so_far) = match self.value {
                        Value::Awaited(field) => (field, 0),
                        Value::Digits(field, so_far) => (field, so_far),
                        Value::Skipped => continue,
                    };
                    let digits = bytes[at - 1..at + more].iter();
                    let count = digits.fold(so_far, |count: u64, digit| {
                        count.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
                    });
                    self.value = Value::Digits(field, count);
                    at += more;
                }
                b'{' | b'[' => {
                    self.value = Value::Skipped;
                    self.depth = self.depth.saturating_add(1);
                }
                b',' => self.end_value(),
                b'}' | b']' => {
                    self.end_value();
                    if self.depth == 0 {
                        return (at, true);
                    }
                    self.depth -= 1;
                }
                b' ' | b'\t' | b'\n' | b'\r' => {}
                // A sign, a fraction, an exponent, a word: no count of tokens.
                _ => self.value = Value::Skipped,
            }
        }
        (bytes.len(), false)
    }

    /// In whose words this is, and what counts, now that a value of this name comes.
    fn named(&self, name: &[u8]) -> (UsageForm, Value) {
        let form = if self.depth == 0 { UsageForm::of(name) } else { None };
        let value = Field::of(name, self.depth).map_or(Value::Skipped, Value::Awaited);
        (form.unwrap_or(self.usage.form), value)
    }

    /// Takes a whole string at once where it ends in this chunk and has no escapes. How many bytes were taken.
    fn open_string(&mut self, rest: &[u8], end: Option<usize>) -> usize {
        let Some(end) = end else {
            self.in_string = true;
            self.name_len = 0;
            return 0;
        };
        self.name_len = end.min(LONGEST_NAME + 1);
        if let Some(name) = self.name.get_mut(..end) {
            name.copy_from_slice(&rest[..end]);
        }
        end + 1
    }

    fn string_byte(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => {
                self.in_string = false;
                return;
            }
            _ => {}
        }
        if let Some(slot) = self.name.get_mut(self.name_len) {
            *slot = byte;
        }
        // One past the end says that it does not fit.
        self.name_len = (self.name_len + 1).min(LONGEST_NAME + 1);
    }

    fn end_value(&mut self) {
        if let Value::Digits(field, count) = self.value {
            let slot = match field {
                Field::Prompt => &mut self.usage.prompt_tokens,
                Field::Output => &mut self.usage.output_tokens,
                Field::Thoughts => &mut self.usage.thoughts_tokens,
                Field::Cached => &mut self.usage.cached_tokens,
                Field::Tool => &mut self.usage.tool_tokens,
                Field::Total => &mut self.usage.total_tokens,
            };
            *slot = Some(count);
        }
        self.value = Value::Skipped;
    }

    /// Nothing, when no field was there: some other object of that name.
    pub(super) fn found(&self) -> Option<Usage> {
        (self.usage != Usage { form: self.usage.form, ..Usage::default() }).then_some(self.usage)
    }
}
