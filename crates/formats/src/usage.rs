//! What an answer used, read from Google's `usageMetadata` and put as each vendor counts it: Anthropic's input leaves
//! the cached part out, OpenAI's contains it. Google repeats cumulative counts, so the last one is taken.
//! What is charged is counted elsewhere, from Google's own bytes.

use serde::{Deserialize, Serialize};

/// Google's `usageMetadata`, in tokens. What it leaves out is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenUsage {
    /// The prompt, its cached part included.
    pub prompt: u64,
    /// The part of the prompt that came from a cache.
    pub cached: u64,
    /// What Google's own tools added to the prompt.
    pub tool_use_prompt: u64,
    /// The answer without the thoughts.
    pub candidates: u64,
    /// `thoughtsTokenCount`: not part of the candidates' tokens.
    pub thoughts: u64,
}

impl<'de> Deserialize<'de> for TokenUsage {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct UsageMetadata {
            #[serde(rename = "promptTokenCount")]
            prompt: Option<u64>,
            #[serde(rename = "cachedContentTokenCount")]
            cached: Option<u64>,
            #[serde(rename = "toolUsePromptTokenCount")]
            tool_use_prompt: Option<u64>,
            #[serde(rename = "candidatesTokenCount")]
            candidates: Option<u64>,
            #[serde(rename = "thoughtsTokenCount")]
            thoughts: Option<u64>,
        }

        let said = UsageMetadata::deserialize(deserializer)?;
        Ok(Self {
            prompt: said.prompt.unwrap_or_default(),
            cached: said.cached.unwrap_or_default(),
            tool_use_prompt: said.tool_use_prompt.unwrap_or_default(),
            candidates: said.candidates.unwrap_or_default(),
            thoughts: said.thoughts.unwrap_or_default(),
        })
    }
}

/// `usage` of Anthropic's Messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MessagesUsage {
    /// What was read anew.
    pub input_tokens: u64,
    /// Google does not count what it put into a cache.
    pub cache_creation_input_tokens: u64,
    /// What came from a cache, not in `input_tokens`.
    pub cache_read_input_tokens: u64,
    /// The answer and the thoughts.
    pub output_tokens: u64,
}

/// `usage` of OpenAI's Responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ResponsesUsage {
    /// All that was read.
    pub input_tokens: u64,
    /// What of the input came from a cache.
    pub input_tokens_details: ResponsesInputDetails,
    /// The answer and the thoughts.
    pub output_tokens: u64,
    /// What of the output were thoughts.
    pub output_tokens_details: ResponsesOutputDetails,
    /// Input and output.
    pub total_tokens: u64,
}

/// What of the input of [`ResponsesUsage`] was what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ResponsesInputDetails {
    /// What came from a cache.
    pub cached_tokens: u64,
    /// Google does not count what it put into a cache.
    pub cache_write_tokens: u64,
}

/// What of the output of [`ResponsesUsage`] was what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ResponsesOutputDetails {
    /// `thoughtsTokenCount`, which is part of the output tokens here.
    pub reasoning_tokens: u64,
}

impl TokenUsage {
    fn input(self) -> u64 {
        self.prompt.saturating_add(self.tool_use_prompt)
    }

    fn output(self) -> u64 {
        self.candidates.saturating_add(self.thoughts)
    }

    /// As Anthropic counts.
    pub fn of_messages(self) -> MessagesUsage {
        MessagesUsage {
            input_tokens: self.input().saturating_sub(self.cached),
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: self.cached,
            output_tokens: self.output(),
        }
    }

    /// As OpenAI counts.
    pub fn of_responses(self) -> ResponsesUsage {
        ResponsesUsage {
            input_tokens: self.input(),
            input_tokens_details: ResponsesInputDetails { cached_tokens: self.cached, cache_write_tokens: 0 },
            output_tokens: self.output(),
            output_tokens_details: ResponsesOutputDetails { reasoning_tokens: self.thoughts },
            total_tokens: self.input().saturating_add(self.output()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USED: &str = r#"{"promptTokenCount":1000,"cachedContentTokenCount":600,"toolUsePromptTokenCount":30,
        "candidatesTokenCount":50,"thoughtsTokenCount":70,"totalTokenCount":1150,"trafficType":"ON_DEMAND"}"#;

    #[test]
    fn the_cached_part_is_counted_once_in_either_way() {
        let used: TokenUsage = serde_json::from_str(USED).unwrap();
        let messages = used.of_messages();
        assert_eq!((messages.input_tokens, messages.cache_read_input_tokens), (430, 600));
        assert_eq!((messages.output_tokens, messages.cache_creation_input_tokens), (120, 0));
        assert_eq!(
            serde_json::to_string(&used.of_responses()).unwrap(),
            concat!(
                r#"{"input_tokens":1030,"input_tokens_details":{"cached_tokens":600,"cache_write_tokens":0},"#,
                r#""output_tokens":120,"output_tokens_details":{"reasoning_tokens":70},"total_tokens":1150}"#
            )
        );
    }

    #[test]
    fn what_google_leaves_out_is_nothing_and_nothing_underflows() {
        let used: TokenUsage =
            serde_json::from_str(r#"{"cachedContentTokenCount":5,"thoughtsTokenCount":null}"#).unwrap();
        assert_eq!(used.of_messages().input_tokens, 0);
        let most = TokenUsage { candidates: u64::MAX, thoughts: 1, ..TokenUsage::default() };
        assert_eq!(most.of_responses().total_tokens, u64::MAX);
    }
}
