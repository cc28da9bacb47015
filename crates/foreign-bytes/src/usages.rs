//! What an answer says it used: the same however the body is cut, and of a body that is JSON what a whole parse finds, with no
//! thought of speed.

use crate::pieces;
use gemini::usage::{Usage, UsageForm, UsageKey, UsageScanner};

/// A reading of valid JSON, token by token.
struct Walk<'a> {
    rest: &'a [u8],
    /// The name that is looked for.
    key: &'static [u8],
    is_list: bool,
    last: Option<Usage>,
}

/// What holds a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    Nothing,
    /// An object in which the answer speaks of itself.
    Answer,
    List,
    Other,
}

impl<'a> Walk<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// The raw text of a string, without its quotes.
    fn string(&mut self) -> &'a [u8] {
        let mut end = 1;
        while self.rest[end] != b'"' {
            end += if self.rest[end] == b'\\' { 2 } else { 1 };
        }
        let (text, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        &text[1..end]
    }

    /// Reads one value. `inside` is the usage object that it belongs to, and how deep; the name is of the member that it is.
    fn value(
        &mut self,
        name: Option<&[u8]>,
        mut inside: Option<(&mut Usage, u32)>,
        holder: Holder,
    ) -> Option<Usage> {
        self.skip_space();
        match self.rest[0] {
            b'"' => {
                self.string();
            }
            b'{' => {
                let begins = holder == Holder::Answer && name == Some(self.key);
                let is_answer = match holder {
                    Holder::Nothing => true,
                    Holder::List => self.is_list,
                    Holder::Answer | Holder::Other => false,
                };
                let mut own = Usage::default();
                let mut of = if begins {
                    Some((&mut own, 0))
                } else {
                    inside.map(|(usage, depth)| (usage, depth + 1))
                };
                // In a usage object no other is looked for.
                let is_answer = is_answer && of.is_none();
                self.members(&mut of, if is_answer { Holder::Answer } else { Holder::Other });
                return (begins && own != (Usage { form: own.form, ..Usage::default() })).then_some(own);
            }
            b'[' => {
                self.rest = &self.rest[1..];
                loop {
                    self.skip_space();
                    if self.rest[0] == b']' {
                        break;
                    }
                    self.value(
                        None,
                        inside.as_mut().map(|(usage, depth)| (&mut **usage, *depth + 1)),
                        Holder::List,
                    );
                    self.skip_space();
                    self.rest = if self.rest[0] == b',' { &self.rest[1..] } else { self.rest };
                }
                self.rest = &self.rest[1..];
            }
            _ => {
                let end =
                    self.rest.iter().position(|byte| b",]}".contains(byte) || byte.is_ascii_whitespace());
                let (text, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                self.rest = rest;
                if let (Some(name), Some((usage, depth))) = (name, inside)
                    && text.iter().all(u8::is_ascii_digit)
                    && let Some(slot) = slot(usage, name, depth)
                {
                    let text = std::str::from_utf8(text).expect("digits");
                    *slot = Some(text.parse().unwrap_or(u64::MAX));
                }
            }
        }
        None
    }

    fn members(&mut self, of: &mut Option<(&mut Usage, u32)>, holder: Holder) {
        self.rest = &self.rest[1..];
        let mut said = None;
        loop {
            self.skip_space();
            if self.rest[0] == b'}' {
                break;
            }
            let name = self.string();
            self.skip_space();
            self.rest = &self.rest[1..];
            if let Some((usage, 0)) = of
                && let Some(form) = form(name)
            {
                usage.form = form;
            }
            let found =
                self.value(Some(name), of.as_mut().map(|(usage, depth)| (&mut **usage, *depth)), holder);
            // What stands beside the first is not looked at.
            if said.is_some() {
                self.last = said;
            } else if let Some(found) = found {
                said = Some(after(self.last, found));
                self.last = said;
            }
            self.skip_space();
            self.rest = if self.rest[0] == b',' { &self.rest[1..] } else { self.rest };
        }
        self.rest = &self.rest[1..];
    }
}

fn form(name: &[u8]) -> Option<UsageForm> {
    Some(match name {
        b"candidatesTokenCount" => UsageForm::Native,
        b"responseTokenCount" => UsageForm::Live,
        b"prompt_tokens" | b"completion_tokens" | b"input_tokens" | b"output_tokens" => UsageForm::OpenAi,
        b"total_input_tokens" | b"total_output_tokens" => UsageForm::Interactions,
        _ => return None,
    })
}

fn slot<'u>(usage: &'u mut Usage, name: &[u8], depth: u32) -> Option<&'u mut Option<u64>> {
    Some(match (depth, name) {
        (0, b"promptTokenCount" | b"prompt_tokens" | b"input_tokens" | b"total_input_tokens") => {
            &mut usage.prompt_tokens
        }
        (
            0,
            b"candidatesTokenCount"
            | b"responseTokenCount"
            | b"completion_tokens"
            | b"output_tokens"
            | b"total_output_tokens",
        ) => &mut usage.output_tokens,
        (0, b"thoughtsTokenCount" | b"total_thought_tokens") | (1, b"reasoning_tokens") => {
            &mut usage.thoughts_tokens
        }
        (0, b"cachedContentTokenCount" | b"total_cached_tokens") | (1, b"cached_tokens") => {
            &mut usage.cached_tokens
        }
        (0, b"toolUsePromptTokenCount" | b"total_tool_use_tokens") => &mut usage.tool_tokens,
        (0, b"totalTokenCount" | b"total_tokens") => &mut usage.total_tokens,
        _ => return None,
    })
}

/// What is known once the one was said after the other: no prompt is empty, so what does not tell of it says what has changed.
fn after(before: Option<Usage>, said: Usage) -> Usage {
    match before {
        Some(before)
            if said.prompt_tokens.is_none()
                && (said.form == before.form || said.form == UsageForm::Native) =>
        {
            Usage {
                prompt_tokens: before.prompt_tokens,
                output_tokens: said.output_tokens.or(before.output_tokens),
                thoughts_tokens: said.thoughts_tokens.or(before.thoughts_tokens),
                cached_tokens: said.cached_tokens.or(before.cached_tokens),
                tool_tokens: said.tool_tokens.or(before.tool_tokens),
                total_tokens: said.total_tokens.or(before.total_tokens),
                form: before.form,
            }
        }
        _ => said,
    }
}

fn scanned(body: &[u8], size: u8, key: UsageKey) -> Option<Usage> {
    let mut scanner = UsageScanner::new(key);
    for piece in pieces(body, size) {
        scanner.push(piece);
    }
    scanner.finish()
}

/// See the module.
pub fn run(input: &[u8]) {
    let [size, body @ ..] = input else { return };
    let named: [(UsageKey, &[u8]); 2] = [(UsageKey::Metadata, b"usageMetadata"), (UsageKey::Usage, b"usage")];
    for key in [UsageKey::Metadata, UsageKey::Usage, UsageKey::Interaction, UsageKey::Any] {
        let whole = scanned(body, 0, key);
        assert_eq!(scanned(body, 1, key), whole);
        assert_eq!(scanned(body, *size, key), whole);
    }
    if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() {
        for (key, name) in named {
            let is_list = body.trim_ascii_start().starts_with(b"[");
            let mut walk = Walk { rest: body, key: name, is_list, last: None };
            walk.value(None, None, Holder::Nothing);
            assert_eq!(scanned(body, 0, key), walk.last, "{key:?}");
        }
    }
}
