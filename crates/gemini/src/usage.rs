//! How many tokens an answer used: the last usage object of a body, found while it passes in chunks, wherever they are
//! cut. It counts where an answer says it of itself, not in what the model has written, such as the arguments of a call. All of that
//! is skipped at `memchr`'s speed, and what is held between chunks has a fixed size, so a relay can look at every byte.

mod opaque;
mod text;

use opaque::Opaque;
use text::Text;

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

/// Under which name an answer says what it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageKey {
    /// `usageMetadata`: natively, and in Live sessions.
    Metadata,
    /// `usage`: in the OpenAI layer and the Interactions API.
    Usage,
    /// Either.
    Any,
}

/// Finds the last usage object of a body that comes in chunks: JSON, several documents of it, or events with JSON as their data.
/// It must be decoded (no content coding).
#[derive(Clone, Debug)]
pub struct UsageScanner {
    key: UsageKey,
    state: ScanState,
    /// The last string between tokens.
    text: Text,
    /// What the value that comes next is.
    next: Value,
    /// How many containers are open in which the answer speaks of itself.
    depth: u32,
    last: Option<Usage>,
}

#[derive(Clone, Debug)]
enum ScanState {
    /// Before, between and behind documents.
    Outside(Line),
    /// In a container in which the answer speaks of itself.
    Own,
    /// In any other, of which nothing matters but its end.
    Opaque(Opaque),
    /// In a usage object.
    Usage(Object),
}

/// Where a line stands that belongs to no document.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// So much of [`DATA`] was there, and nothing else.
    Begun(usize),
    /// A document may begin.
    Ready,
    /// It is another field of an event, a comment, or nothing that is known.
    Other,
}

/// What stands before the data of an event.
const DATA: &[u8] = b"data:";

/// What a value is to whoever looks for the usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// An element of a list of answers.
    Element,
    /// The usage.
    Usage,
    /// The answer itself, in what tells of it.
    Answer,
    Other,
}

impl Value {
    /// Of a name in an object in which the answer speaks of itself.
    fn of(name: &[u8], key: UsageKey) -> Self {
        match name {
            b"usageMetadata" if key != UsageKey::Usage => Self::Usage,
            b"usage" if key != UsageKey::Metadata => Self::Usage,
            // An event of the Interactions API; an operation that is done.
            b"interaction" | b"response" => Self::Answer,
            _ => Self::Other,
        }
    }
}

impl UsageScanner {
    /// At the start of a body that says it under this name.
    pub fn new(key: UsageKey) -> Self {
        let state = ScanState::Outside(Line::Begun(0));
        Self { key, state, text: Text::default(), next: Value::Element, depth: 0, last: None }
    }

    /// The next bytes of the body.
    pub fn push(&mut self, chunk: &[u8]) {
        let mut at = 0;
        while at < chunk.len() {
            let rest = &chunk[at..];
            at += match &mut self.state {
                ScanState::Outside(_) => self.outside(rest),
                ScanState::Own => self.own(rest),
                ScanState::Opaque(opaque) => {
                    let (taken, is_over) = opaque.push(rest);
                    if is_over {
                        self.state = ScanState::Own;
                    }
                    taken
                }
                ScanState::Usage(object) => {
                    let (taken, is_over) = object.push(rest);
                    if is_over {
                        if let Some(found) = object.found() {
                            self.last = Some(found.after(self.last));
                        }
                        self.state = ScanState::Own;
                    }
                    taken
                }
            };
        }
    }

    /// The last complete usage object so far; `None` when there was none.
    pub fn finish(&self) -> Option<Usage> {
        self.last
    }

    /// Reads on to where a document begins. How many bytes were taken.
    fn outside(&mut self, bytes: &[u8]) -> usize {
        let ScanState::Outside(mut line) = self.state else { return 0 };
        for (at, &byte) in bytes.iter().enumerate() {
            line = match (line, byte) {
                (_, b'\n' | b'\r') => Line::Begun(0),
                (Line::Begun(0) | Line::Ready, b'{' | b'[') => {
                    (self.state, self.next, self.depth) = (ScanState::Own, Value::Element, 1);
                    return at + 1;
                }
                (Line::Begun(matched), _) if byte == DATA[matched] => {
                    if matched + 1 == DATA.len() {
                        Line::Ready
                    } else {
                        Line::Begun(matched + 1)
                    }
                }
                // A byte order mark, and what may stand between documents.
                (Line::Begun(0) | Line::Ready, b' ' | b'\t' | b',' | 0x80..) => line,
                _ => Line::Other,
            };
        }
        self.state = ScanState::Outside(line);
        bytes.len()
    }

    /// Reads on between the tokens of what the answer says of itself. How many bytes were taken.
    fn own(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            if self.text.is_open() {
                self.text.take(byte);
                continue;
            }
            match byte {
                b'"' => at += self.text.open(&bytes[at..]),
                b':' => self.next = Value::of(self.text.name(), self.key),
                b',' => self.next = Value::Element,
                b'{' if self.next == Value::Usage => {
                    self.state = ScanState::Usage(Object::default());
                    return at;
                }
                b'{' if self.next != Value::Other => {
                    self.depth = self.depth.saturating_add(1);
                    self.next = Value::Element;
                }
                b'{' | b'[' => {
                    self.state = ScanState::Opaque(Opaque::opened_by(byte));
                    return at;
                }
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        self.state = ScanState::Outside(Line::Ready);
                        return at;
                    }
                }
                _ => {}
            }
        }
        bytes.len()
    }
}

/// A usage object that is being read, byte by byte. Of what is nested in it, only OpenAI's `*_tokens_details` matter.
#[derive(Clone, Debug, Default)]
struct Object {
    usage: Usage,
    /// Braces and brackets open inside the object.
    depth: u32,
    /// The last string.
    text: Text,
    count: Count,
}

/// The value after a name that counts.
#[derive(Clone, Copy, Debug, Default)]
enum Count {
    /// None, or one that does not count.
    #[default]
    Skipped,
    /// A colon after a field's name: digits may follow.
    Awaited(Field),
    /// So far.
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
    fn push(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            if self.text.is_open() {
                self.text.take(byte);
                continue;
            }
            match byte {
                b'"' => at += self.text.open(&bytes[at..]),
                b':' => {
                    let name = self.text.name();
                    if self.depth == 0
                        && let Some(form) = UsageForm::of(name)
                    {
                        self.usage.form = form;
                    }
                    self.count = Field::of(name, self.depth).map_or(Count::Skipped, Count::Awaited);
                }
                b'0'..=b'9' => {
                    let digit = u64::from(byte - b'0');
                    self.count = match self.count {
                        Count::Awaited(field) => Count::Digits(field, digit),
                        Count::Digits(field, so_far) => {
                            Count::Digits(field, so_far.saturating_mul(10).saturating_add(digit))
                        }
                        Count::Skipped => Count::Skipped,
                    };
                }
                b'{' | b'[' => {
                    self.count = Count::Skipped;
                    self.depth = self.depth.saturating_add(1);
                }
                b',' => self.end_count(),
                b'}' | b']' => {
                    self.end_count();
                    if self.depth == 0 {
                        return (at, true);
                    }
                    self.depth -= 1;
                }
                b' ' | b'\t' | b'\n' | b'\r' => {}
                // A sign, a fraction, an exponent, a word: no count of tokens.
                _ => self.count = Count::Skipped,
            }
        }
        (bytes.len(), false)
    }

    fn end_count(&mut self) {
        if let Count::Digits(field, count) = self.count {
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
        self.count = Count::Skipped;
    }

    /// Nothing, when no field was there: some other object of that name.
    fn found(&self) -> Option<Usage> {
        (self.usage != Usage { form: self.usage.form, ..Usage::default() }).then_some(self.usage)
    }
}
