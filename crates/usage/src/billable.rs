//! What of an answer's token counts is charged, brought into one form: each token once, in one kind.

use crate::count::add;
use gemini::usage::{Usage, UsageForm};

/// Tokens by what is charged for them. No token is in two of the counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Billable {
    /// Of the prompt, without what came from a cache.
    pub input: u64,
    /// Of the prompt, what came from a cache.
    pub cached: u64,
    /// Of the answer, without the thoughts.
    pub output: u64,
    /// The thoughts, charged as output.
    pub thoughts: u64,
    /// What tools put into the prompt, charged as input.
    pub tool: u64,
    /// How long the prompt was, for the choice of a price that depends on it; 0 where the counts are of a whole session.
    pub prompt: u64,
}

impl Billable {
    /// Adds what another request used, whose prompt has the same price.
    pub fn merge(&mut self, other: &Self) {
        let Self { input, cached, output, thoughts, tool, prompt } = other;
        add(&mut self.input, *input);
        add(&mut self.cached, *cached);
        add(&mut self.output, *output);
        add(&mut self.thoughts, *thoughts);
        add(&mut self.tool, *tool);
        self.prompt = *prompt;
    }
}

/// Reads a usage object, whichever its form. Counts that contradict one another (more cached than there was prompt) are
/// cut to what makes sense, never added twice. `None` where no more is known than how many tokens there were in all: what they cost
/// depends on their kind.
pub fn billable(usage: &Usage) -> Option<Billable> {
    let cached = usage.cached_tokens.unwrap_or(0);
    let known = [
        usage.prompt_tokens,
        usage.output_tokens,
        usage.thoughts_tokens,
        usage.cached_tokens,
        usage.tool_tokens,
    ];
    if known.iter().all(Option::is_none) && usage.total_tokens != Some(0) {
        return None;
    }
    let (prompt, (output, thoughts)) = match usage.form {
        UsageForm::OpenAi => {
            let prompt = usage.prompt_tokens.unwrap_or(cached);
            (prompt, openai_output(usage, prompt))
        }
        UsageForm::Native | UsageForm::Live | UsageForm::Interactions => googles_counts(usage),
    };
    let cached = cached.min(prompt);
    Some(Billable {
        input: prompt - cached,
        cached,
        output,
        thoughts,
        tool: usage.tool_tokens.unwrap_or(0),
        // A session's counts are the sum of its turns, each with a prompt of its own.
        prompt: if usage.form == UsageForm::Live { 0 } else { prompt },
    })
}

/// Prompt, output and thoughts in Google's own words. What is not said is what the others leave of the total.
fn googles_counts(usage: &Usage) -> (u64, (u64, u64)) {
    let thoughts = usage.thoughts_tokens.unwrap_or(0);
    let said = [usage.prompt_tokens, usage.output_tokens, Some(thoughts), usage.tool_tokens];
    let said = said.into_iter().flatten().fold(0, u64::saturating_add);
    let rest = usage.total_tokens.map_or(0, |total| total.saturating_sub(said));
    let (prompt, output) = match (usage.prompt_tokens, usage.output_tokens) {
        (Some(prompt), output) => (prompt, output.unwrap_or(rest)),
        (None, Some(output)) => (rest.max(usage.cached_tokens.unwrap_or(0)), output),
        (None, None) => (usage.cached_tokens.unwrap_or(0), 0),
    };
    (prompt, (output, thoughts))
}

/// Output and thoughts of the OpenAI layer. `completion_tokens` contains the thoughts. Where the total says otherwise, the
/// total is right: answers are known that leave the thoughts out of `completion_tokens`, or that do not name them at all.
fn openai_output(usage: &Usage, prompt: u64) -> (u64, u64) {
    let completion = usage.output_tokens.unwrap_or(0);
    let beyond = usage
        .total_tokens
        .filter(|_| usage.output_tokens.is_some())
        .map_or(0, |total| total.saturating_sub(prompt).saturating_sub(completion));
    match usage.thoughts_tokens {
        None => (completion, beyond),
        Some(thoughts) if beyond > 0 => (completion, thoughts.max(beyond)),
        // More thoughts than completion cannot be contained in it.
        Some(thoughts) if thoughts > completion => (completion, thoughts),
        Some(thoughts) => (completion - thoughts, thoughts),
    }
}
