//! Which gateway has written a document, and in which form. How that is told is `document`'s to say.

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    SnailypVariables,
    SnailypDump,
    SnailypDatabase,
    GptLoadKeys,
    GptLoadDatabase,
    LiteLlm,
    Keys,
    /// The `.env` beside another document, which refers to it.
    Variables,
}

impl Source {
    /// Returns what people call it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::SnailypVariables => "the variables of snailyp's gemini-balance",
            Self::SnailypDump => "a dump of the database of snailyp's gemini-balance",
            Self::SnailypDatabase => "the database of snailyp's gemini-balance",
            Self::GptLoadKeys => "keys exported from gpt-load",
            Self::GptLoadDatabase => "the database of gpt-load",
            Self::LiteLlm => "the configuration of LiteLLM",
            Self::Keys => "a text with keys",
            Self::Variables => "the variables that the others refer to",
        }
    }
}
