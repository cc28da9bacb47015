//! The surfaces that a token opens, by the words of the configuration.

use std::fmt;

use gemini::path::Surface;
use serde::{Deserialize, Serialize};

/// One word of a token's `surfaces`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SurfaceName {
    /// Google's own API.
    Native,
    /// The OpenAI-compatible layer.
    #[serde(rename = "openai")]
    OpenAi,
    /// Live sessions over a WebSocket.
    Live,
    /// What lies under `/upload/` and `/download/`.
    Upload,
}

impl SurfaceName {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Native, Self::OpenAi, Self::Live, Self::Upload];

    /// Returns the word that settings and answers use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::OpenAi => "openai",
            Self::Live => "live",
            Self::Upload => "upload",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == word)
    }
}

impl fmt::Display for SurfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Surface> for SurfaceName {
    fn from(surface: Surface) -> Self {
        match surface {
            Surface::Native => Self::Native,
            Surface::Upload | Surface::Download => Self::Upload,
            Surface::Live => Self::Live,
            Surface::OpenAi => Self::OpenAi,
        }
    }
}

/// A set of surfaces. All by default.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<SurfaceName>", into = "Vec<SurfaceName>")]
pub struct Surfaces(u8);

impl Surfaces {
    /// Whether the set holds this one.
    pub fn allow(self, name: SurfaceName) -> bool {
        self.0 & 1 << name as u8 != 0
    }

    /// Whether it holds none: a token that opens nothing.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that it holds.
    pub fn iter(self) -> impl Iterator<Item = SurfaceName> {
        SurfaceName::ALL.into_iter().filter(move |name| self.allow(*name))
    }
}

impl Default for Surfaces {
    fn default() -> Self {
        Self::from_iter(SurfaceName::ALL)
    }
}

impl FromIterator<SurfaceName> for Surfaces {
    fn from_iter<I: IntoIterator<Item = SurfaceName>>(names: I) -> Self {
        Self(names.into_iter().fold(0, |set, name| set | 1 << name as u8))
    }
}

impl From<Vec<SurfaceName>> for Surfaces {
    fn from(names: Vec<SurfaceName>) -> Self {
        names.into_iter().collect()
    }
}

impl From<Surfaces> for Vec<SurfaceName> {
    fn from(surfaces: Surfaces) -> Self {
        surfaces.iter().collect()
    }
}

impl fmt::Debug for Surfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(SurfaceName::as_str)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_it_was_made_of() {
        for mask in 0..16_u8 {
            let chosen = SurfaceName::ALL.into_iter().filter(|name| mask & 1 << *name as u8 != 0);
            let set: Surfaces = chosen.clone().collect();
            assert!(set.iter().eq(chosen));
            assert_eq!(set.is_empty(), mask == 0);
        }
        assert_eq!(Surfaces::default().iter().count(), 4);
    }

    #[test]
    fn the_words_are_those_of_the_configuration() {
        let words = ["native", "openai", "live", "upload"];
        assert_eq!(SurfaceName::ALL.map(SurfaceName::as_str), words);
        for name in SurfaceName::ALL {
            assert_eq!(SurfaceName::parse(name.as_str()), Some(name));
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
        }
        assert_eq!(SurfaceName::parse("Native"), None);
    }
}
