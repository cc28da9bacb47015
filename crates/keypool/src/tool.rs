//! The tools of a request that Google counts a quota of their own for. Used in requests, and in what cools when such a
//! quota is used up.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A tool with a quota of its own, counted by project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// `google_search`: grounding with Google Search.
    GoogleSearch,
    /// `url_context`: fetching what URLs in the prompt name.
    UrlContext,
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::GoogleSearch, Self::UrlContext];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GoogleSearch => "google_search",
            Self::UrlContext => "url_context",
        })
    }
}

/// The tools that one request uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tools(u8);

impl Tools {
    /// None.
    pub const NONE: Self = Self(0);

    /// These and one more.
    #[must_use]
    pub const fn with(self, tool: Tool) -> Self {
        Self(self.0 | tool.bit())
    }

    /// Whether the request uses this one.
    pub fn contains(self, tool: Tool) -> bool {
        self.0 & tool.bit() != 0
    }

    /// Whether it uses none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them, in the order of [`Tool::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Tool> {
        Tool::ALL.into_iter().filter(move |tool| self.contains(*tool))
    }
}

impl FromIterator<Tool> for Tools {
    fn from_iter<I: IntoIterator<Item = Tool>>(tools: I) -> Self {
        tools.into_iter().fold(Self::NONE, Self::with)
    }
}
