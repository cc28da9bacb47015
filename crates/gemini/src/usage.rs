//! How many tokens an answer used: the last usage object of a body, found while it passes in chunks, wherever they are
//! cut. It counts where an answer says it of itself, not in what the model has written, such as the arguments of a call. All of that
//! is skipped at `memchr`'s speed, and what is held between chunks has a fixed size, so a relay can look at every byte.

mod beside;
mod object;

use beside::{Beside, Next};
use memchr::memmem::Finder;
use object::Object;
use std::sync::LazyLock;

/// What an answer says it used, in tokens. Streams repeat it, cumulative, so the last one counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// `promptTokenCount`; OpenAI `prompt_tokens`, `input_tokens`; Interactions `total_input_tokens`.
    pub prompt_tokens: Option<u64>,
    /// `candidatesTokenCount` (Live: `responseTokenCount`); OpenAI `completion_tokens`, `output_tokens`; Interactions
    /// `total_output_tokens`. As stated: OpenAI's form includes the thoughts, Google's does not.
    pub output_tokens: Option<u64>,
    /// `thoughtsTokenCount`; OpenAI `reasoning_tokens`; Interactions `total_thought_tokens`.
    pub thoughts_tokens: Option<u64>,
    /// `cachedContentTokenCount`; OpenAI `cached_tokens`; Interactions `total_cached_tokens`.
    pub cached_tokens: Option<u64>,
    /// `toolUsePromptTokenCount`; Interactions `total_tool_use_tokens`.
    pub tool_tokens: Option<u64>,
    /// `totalTokenCount`; OpenAI and Interactions `total_tokens`.
    pub total_tokens: Option<u64>,
    /// In whose words it was said, which decides how the counts relate.
    pub form: UsageForm,
}

impl Usage {
    /// Returns what is known once this was said after that. Streams repeat all of it, so the last one counts; one that does not say
    /// how long the prompt was, which is never empty, says only what has changed.
    fn after(self, before: Option<Self>) -> Self {
        let Some(before) =
            before.filter(|before| self.prompt_tokens.is_none() && before.form.goes_on_as(self.form))
        else {
            return self;
        };
        Self {
            prompt_tokens: before.prompt_tokens,
            output_tokens: self.output_tokens.or(before.output_tokens),
            thoughts_tokens: self.thoughts_tokens.or(before.thoughts_tokens),
            cached_tokens: self.cached_tokens.or(before.cached_tokens),
            tool_tokens: self.tool_tokens.or(before.tool_tokens),
            total_tokens: self.total_tokens.or(before.total_tokens),
            form: before.form,
        }
    }
}

/// In whose words an answer says what it used. Each counts differently, so the numbers alone do not tell what is charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UsageForm {
    /// `usageMetadata` of an answer: the thoughts stand beside `candidatesTokenCount`.
    #[default]
    Native,
    /// `usageMetadata` of a Live session, one a turn: the thoughts stand beside `responseTokenCount`. Of several turns
    /// together the counts are sums.
    Live,
    /// `usage` of the OpenAI layer: `completion_tokens` contains the thoughts.
    OpenAi,
    /// `usage` of the Interactions API: the thoughts stand beside `total_output_tokens`.
    Interactions,
}

impl UsageForm {
    /// Whether what is said in the other form can go on where this was said: where no field told, it is taken for Google's own.
    fn goes_on_as(self, other: Self) -> bool {
        self == other || other == Self::Native
    }

    /// The form in which a field of this name occurs; `None` where it occurs in more than one.
    fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"candidatesTokenCount" => Self::Native,
            b"responseTokenCount" => Self::Live,
            b"prompt_tokens" | b"completion_tokens" | b"input_tokens" | b"output_tokens" => Self::OpenAi,
            b"total_input_tokens" | b"total_output_tokens" => Self::Interactions,
            _ => return None,
        })
    }
}

/// Under which name an answer says what it used, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageKey {
    /// `usageMetadata`: natively, and in Live sessions.
    Metadata,
    /// `usage`: in the OpenAI layer.
    Usage,
    /// `usage`, of the interaction that is the answer or that an event tells of.
    Interaction,
    /// Any of them.
    Any,
}

impl UsageKey {
    fn is_short(self) -> bool {
        self != Self::Metadata
    }

    fn is_long(self) -> bool {
        matches!(self, Self::Metadata | Self::Any)
    }

    /// How many objects there are around the usage at most.
    fn most_around(self) -> u32 {
        if matches!(self, Self::Interaction | Self::Any) { 2 } else { 1 }
    }
}

/// Finds the last usage object of a body that comes in chunks: JSON, or events with JSON as their data. It must be decoded (no
/// content coding).
///
/// An object of that name is the answer's own if there is one object around it (two of an interaction, of which an event tells), which
/// is seen from what closes behind it: so nothing need be known of what comes before. In a body that is a list of answers it is in an
/// element of a list.
#[derive(Clone, Debug)]
pub struct UsageScanner {
    key: UsageKey,
    state: ScanState,
    /// Whether the body is a list of answers; `None` before it has begun.
    is_list: Option<bool>,
    /// What was read last, while it is not known whose it is.
    read: Option<Usage>,
    /// The last byte of the chunk before: whether it is a backslash decides about a quote at a chunk's start.
    previous: u8,
    last: Option<Usage>,
}

/// Both keys, `"usageMetadata"` and `"usage"`, start so. No other quote follows in it, so a mismatch can only be the
/// start of another match at the mismatched byte itself.
const STEM: &[u8] = b"\"usage";
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(STEM));
const LONG_REST: &[u8] = b"Metadata\"";

#[derive(Clone, Debug)]
enum ScanState {
    /// Looking for the key.
    Seek,
    /// This many bytes of [`STEM`] ended the last chunk.
    Stem(usize),
    /// The stem was there; so were this many bytes of [`LONG_REST`].
    Rest(usize),
    /// The key was there, a colon may follow.
    Colon,
    /// A brace may follow.
    Brace,
    /// Inside a usage object.
    Object(Object),
    /// Behind it, among what else is in the object around it.
    Beside(Beside),
    /// Behind so many of those around it.
    Behind(u32),
}

/// Where a string ends that begins here, if it does so in this chunk and has no escapes.
fn end_of_string(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(b'"', b'\\', bytes).filter(|&end| bytes[end] == b'"')
}

impl UsageScanner {
    /// At the start of a body that says it under this name.
    pub fn new(key: UsageKey) -> Self {
        Self { key, state: ScanState::Seek, is_list: None, read: None, previous: 0, last: None }
    }

    /// The next bytes of the body.
    pub fn push(&mut self, chunk: &[u8]) {
        let Some(&last_byte) = chunk.last() else { return };
        if self.is_list.is_none() {
            let begin = chunk.iter().find(|byte| !byte.is_ascii_whitespace());
            self.is_list = begin.map(|&begin| begin == b'[');
        }
        let mut at = 0;
        while at < chunk.len() {
            at = match &mut self.state {
                ScanState::Seek => self.seek(chunk, at),
                ScanState::Object(object) => {
                    let (taken, done) = object.push(&chunk[at..]);
                    if done {
                        self.read = object.found();
                        self.state = match self.read {
                            Some(_) => ScanState::Beside(Beside::behind(0)),
                            None => ScanState::Seek,
                        };
                    }
                    at + taken
                }
                ScanState::Beside(beside) => {
                    let (taken, next) = beside.push(&chunk[at..]);
                    match next {
                        Next::More => {}
                        Next::End => self.state = ScanState::Behind(beside.ended + 1),
                        Next::Usage => (self.state, self.read) = (ScanState::Object(Object::default()), None),
                    }
                    at + taken
                }
                ScanState::Behind(ended) => {
                    let ended = *ended;
                    let space = chunk[at..].iter().position(|byte| !byte.is_ascii_whitespace());
                    match space.map(|space| at + space) {
                        Some(at) => self.behind(ended, chunk[at], at),
                        None => chunk.len(),
                    }
                }
                _ => self.step(chunk[at], at),
            };
        }
        self.previous = last_byte;
    }

    /// The last complete usage object so far; `None` when there was none. Of a document that breaks off before it is known whose
    /// its last one is, that one counts only where nothing was known before.
    pub fn finish(&self) -> Option<Usage> {
        match (self.read, &self.state) {
            (None, _) => self.last,
            (Some(read), ScanState::Beside(_)) => self.last.or(Some(read)),
            (Some(read), _) => Some(read.after(self.last)),
        }
    }

    /// Takes a byte behind so many of those around a usage object, to see whether there are more. One that belongs to what comes next is
    /// sought from again.
    fn behind(&mut self, ended: u32, byte: u8, at: usize) -> usize {
        let is_listed = ended == 1 && self.is_list == Some(true);
        let may_be_more = ended < self.key.most_around();
        let is_own = match byte {
            b'}' if may_be_more => {
                self.state = ScanState::Behind(ended + 1);
                return at + 1;
            }
            b',' if may_be_more && !is_listed => {
                self.state = ScanState::Beside(Beside::behind(ended));
                return at + 1;
            }
            b',' | b']' => is_listed,
            b'}' => false,
            // An event, or a document, comes.
            _ => true,
        };
        if let Some(read) = self.read.take().filter(|_| is_own) {
            self.last = Some(read.after(self.last));
        }
        self.state = ScanState::Seek;
        at
    }

    /// Moves to behind the next stem.
    fn seek(&mut self, chunk: &[u8], from: usize) -> usize {
        // A quote after a backslash is part of a string.
        let escaped = |at: usize| match at {
            0 => self.previous == b'\\',
            _ => chunk[at - 1] == b'\\',
        };
        if let Some(found) = FINDER.find(&chunk[from..]) {
            let start = from + found;
            if escaped(start) {
                return start + STEM.len();
            }
            // As nearly every answer has it.
            let rest = &chunk[start..];
            if let Some(whole) =
                [&b"\"usageMetadata\":{"[..], b"\"usageMetadata\": {"].iter().find(|it| rest.starts_with(it))
                && self.key.is_long()
            {
                self.state = ScanState::Object(Object::default());
                return start + whole.len();
            }
            self.state = ScanState::Rest(0);
            return start + STEM.len();
        }
        let tail = from.max((chunk.len() + 1).saturating_sub(STEM.len()));
        if let Some(quote) = memchr::memrchr(b'"', &chunk[tail..]).map(|quote| tail + quote)
            && !escaped(quote)
            && STEM.starts_with(&chunk[quote..])
        {
            self.state = ScanState::Stem(chunk.len() - quote);
        }
        chunk.len()
    }

    /// Takes one byte between the stem and the brace. A byte that does not fit is sought from again.
    fn step(&mut self, byte: u8, at: usize) -> usize {
        let next = match self.state {
            ScanState::Stem(matched) if byte == STEM[matched] && matched + 1 == STEM.len() => {
                ScanState::Rest(0)
            }
            ScanState::Stem(matched) if byte == STEM[matched] => ScanState::Stem(matched + 1),
            ScanState::Rest(0) if byte == b'"' && self.key.is_short() => ScanState::Colon,
            ScanState::Rest(0) if !self.key.is_long() => {
                self.state = ScanState::Seek;
                return at;
            }
            ScanState::Rest(matched) if byte == LONG_REST[matched] && matched + 1 == LONG_REST.len() => {
                ScanState::Colon
            }
            ScanState::Rest(matched) if byte == LONG_REST[matched] => ScanState::Rest(matched + 1),
            ScanState::Colon if byte == b':' => ScanState::Brace,
            ScanState::Brace if byte == b'{' => ScanState::Object(Object::default()),
            ScanState::Colon if byte.is_ascii_whitespace() => ScanState::Colon,
            ScanState::Brace if byte.is_ascii_whitespace() => ScanState::Brace,
            _ => {
                self.state = ScanState::Seek;
                return at;
            }
        };
        self.state = next;
        at + 1
    }
}
