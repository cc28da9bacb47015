//! Why an answer ended: Google's finish reasons, and what they mean for a client of either format. Google's set is open,
//! so a reason that is not known ends an answer as `STOP` does.

use std::fmt;

/// Google's `finishReason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// `STOP`.
    Stop,
    /// `MAX_TOKENS`.
    MaxTokens,
    /// The content was refused or held back: `SAFETY`, `RECITATION`, `IMAGE_SAFETY`, ...
    Withheld(String),
    /// The model failed to form its call or its answer: `MALFORMED_FUNCTION_CALL`, ...
    Misformed(String),
    /// Any other: `OTHER`, `LANGUAGE`, what is not known.
    Other(String),
}

impl FinishReason {
    /// Reads Google's word.
    pub fn parse(word: &str) -> Self {
        match word {
            "STOP" => Self::Stop,
            "MAX_TOKENS" => Self::MaxTokens,
            "SAFETY" | "PROHIBITED_CONTENT" | "BLOCKLIST" | "SPII" | "RECITATION" => {
                Self::Withheld(word.to_owned())
            }
            "MALFORMED_FUNCTION_CALL"
            | "UNEXPECTED_TOOL_CALL"
            | "MALFORMED_RESPONSE"
            | "MISSING_THOUGHT_SIGNATURE"
            | "TOO_MANY_TOOL_CALLS" => Self::Misformed(word.to_owned()),
            image if image.starts_with("IMAGE_") => Self::Withheld(word.to_owned()),
            _ => Self::Other(word.to_owned()),
        }
    }

    /// Google's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Stop => "STOP",
            Self::MaxTokens => "MAX_TOKENS",
            Self::Withheld(word) | Self::Misformed(word) | Self::Other(word) => word,
        }
    }
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a client is told of an answer's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// The model calls tools.
    ToolUse,
    /// The model has said all.
    EndTurn,
    /// The bound of output tokens is reached.
    MaxTokens,
    /// Google refused the prompt or held content back. What was said stays.
    Refusal,
    /// No answer: the model failed to form one. It must never look like an empty success, which agents repeat for ever.
    Misformed(FinishReason),
}

impl StopCause {
    /// What an answer's end means: its finish reason, whether the prompt was blocked (`promptFeedback.blockReason`),
    /// and whether the answer has a call.
    pub fn of(finish: Option<&FinishReason>, blocked: bool, called: bool) -> Self {
        match finish {
            _ if called => Self::ToolUse,
            _ if blocked => Self::Refusal,
            Some(FinishReason::MaxTokens) => Self::MaxTokens,
            Some(FinishReason::Withheld(_)) => Self::Refusal,
            Some(reason @ FinishReason::Misformed(_)) => Self::Misformed(reason.clone()),
            Some(FinishReason::Stop | FinishReason::Other(_)) | None => Self::EndTurn,
        }
    }

    /// `stop_reason` of Anthropic's Messages; `None` where the answer is an error.
    pub fn messages_stop_reason(&self) -> Option<&'static str> {
        Some(match self {
            Self::ToolUse => "tool_use",
            Self::EndTurn => "end_turn",
            Self::MaxTokens => "max_tokens",
            Self::Refusal => "refusal",
            Self::Misformed(_) => return None,
        })
    }

    /// `incomplete_details.reason` of OpenAI's Responses; `None` where the answer is complete, or an error.
    pub fn responses_incomplete(&self) -> Option<&'static str> {
        match self {
            Self::MaxTokens => Some("max_output_tokens"),
            Self::Refusal => Some("content_filter"),
            Self::ToolUse | Self::EndTurn | Self::Misformed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_googles_has_its_end() {
        let end = |word: &str, called| StopCause::of(Some(&FinishReason::parse(word)), false, called);
        for (word, stop_reason) in [
            ("STOP", Some("end_turn")),
            ("MAX_TOKENS", Some("max_tokens")),
            ("SAFETY", Some("refusal")),
            ("PROHIBITED_CONTENT", Some("refusal")),
            ("BLOCKLIST", Some("refusal")),
            ("SPII", Some("refusal")),
            ("RECITATION", Some("refusal")),
            ("IMAGE_PROHIBITED_CONTENT", Some("refusal")),
            ("MALFORMED_FUNCTION_CALL", None),
            ("UNEXPECTED_TOOL_CALL", None),
            ("MALFORMED_RESPONSE", None),
            ("MISSING_THOUGHT_SIGNATURE", None),
            ("TOO_MANY_TOOL_CALLS", None),
            ("OTHER", Some("end_turn")),
            ("LANGUAGE", Some("end_turn")),
            ("NOT_YET_INVENTED", Some("end_turn")),
        ] {
            assert_eq!(end(word, false).messages_stop_reason(), stop_reason, "{word}");
            assert_eq!(end(word, true), StopCause::ToolUse, "{word}");
            assert_eq!(FinishReason::parse(word).as_str(), word);
        }
        assert_eq!(end("MAX_TOKENS", false).responses_incomplete(), Some("max_output_tokens"));
        assert_eq!(StopCause::of(None, true, false).responses_incomplete(), Some("content_filter"));
        assert_eq!(StopCause::of(None, false, false), StopCause::EndTurn);
    }
}
