//! Which of Google's models a client's model name means, and what of a model decides how it must be asked: its
//! generation and its tier. The settings build a [`ModelMap`]; both formats look names up in it. Native and chat
//! requests never come here.

use std::collections::HashMap;
use std::fmt;

use wildmatch::WildMatch;

/// The most entries a map may have.
pub const MAX_MAPPED_MODELS: usize = 256;

/// The longest name or glob, in bytes.
pub const MAX_MODEL_NAME_BYTES: usize = 128;

/// Names that are Google's even if no list of Google's was seen yet.
const GOOGLES: [&str; 3] = ["gemini-", "gemma-", "learnlm-"];

/// What a client appends to a name to ask for a context of a million tokens, which Google's models have anyhow.
const LONG_CONTEXT: &str = "[1m]";

/// Which model of Google's stands for which name of another vendor's.
#[derive(Clone, Debug, Default)]
pub struct ModelMap {
    exact: HashMap<Box<str>, Box<str>>,
    /// Pattern, its matcher and its target; the longest pattern first.
    globs: Vec<(Box<str>, WildMatch, Box<str>)>,
}

/// A name as it was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedModel {
    /// What the client asked for, unchanged: its answer repeats it.
    pub asked: String,
    /// Google's name, without `models/`.
    pub target: String,
    /// How a model of this name must be asked.
    pub traits: ModelTraits,
}

/// Why a map cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelMapError {
    /// The name on the left is empty, too long, or has characters no model name has.
    BadName(String),
    /// The target is empty, too long, has wildcards, or characters no model name has.
    BadTarget {
        /// The name on the left.
        name: String,
        /// What it was to stand for.
        target: String,
    },
    /// The same name is there twice.
    Twice(String),
    /// There are more than [`MAX_MAPPED_MODELS`].
    TooMany,
}

impl fmt::Display for ModelMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName(name) => write!(
                f,
                "`{name}` is no model name; letters, digits, `.`, `_`, `-`, `:`, `/`, `@`, and `*` or `?` for any, \
                 {MAX_MODEL_NAME_BYTES} bytes at most"
            ),
            Self::BadTarget { name, target } => {
                write!(f, "`{name}` is mapped to `{target}`, which is no name of a model of Google's")
            }
            Self::Twice(name) => write!(f, "`{name}` is mapped twice"),
            Self::TooMany => write!(f, "more than {MAX_MAPPED_MODELS} models are mapped"),
        }
    }
}

impl std::error::Error for ModelMapError {}

impl ModelMap {
    /// A map of pairs (name or glob, target). `*` stands for any run of characters, `?` for one.
    pub fn new<N, T>(pairs: impl IntoIterator<Item = (N, T)>) -> Result<Self, ModelMapError>
    where
        N: AsRef<str>,
        T: AsRef<str>,
    {
        let mut map = Self::default();
        for (name, target) in pairs {
            let name = bare(name.as_ref().trim());
            let target = bare(target.as_ref().trim());
            if !is_name(name, true) {
                return Err(ModelMapError::BadName(name.to_owned()));
            }
            if !is_name(target, false) {
                return Err(ModelMapError::BadTarget { name: name.to_owned(), target: target.to_owned() });
            }
            if map.exact.len() + map.globs.len() == MAX_MAPPED_MODELS {
                return Err(ModelMapError::TooMany);
            }
            if name.contains(['*', '?']) {
                if map.globs.iter().any(|(glob, ..)| &**glob == name) {
                    return Err(ModelMapError::Twice(name.to_owned()));
                }
                map.globs.push((name.into(), WildMatch::new(name), target.into()));
            } else if map.exact.insert(name.into(), target.into()).is_some() {
                return Err(ModelMapError::Twice(name.to_owned()));
            }
        }
        // The sort is stable: of globs of one length the first written counts.
        map.globs.sort_by_key(|(glob, ..)| std::cmp::Reverse(glob.len()));
        Ok(map)
    }

    /// A map in which every name stands for `target`: for a request that another model is to answer than it names.
    pub fn all_to(target: &str) -> Result<Self, ModelMapError> {
        Self::new([("*", target)])
    }

    /// Finds the model for a name: an exact entry, else the longest glob, else the name itself where it is Google's.
    /// `is_listed` says whether Google lists a name. `None` for a name that nobody knows.
    pub fn resolve(&self, asked: &str, is_listed: impl FnOnce(&str) -> bool) -> Option<MappedModel> {
        let name = bare(asked.trim());
        let name = name.strip_suffix(LONG_CONTEXT).unwrap_or(name);
        let mapped = || {
            self.exact.get(name).or_else(|| {
                self.globs.iter().find(|(_, glob, _)| glob.matches(name)).map(|(_, _, target)| target)
            })
        };
        let target = match mapped() {
            Some(target) => &**target,
            // The name becomes a part of a path.
            None if !is_name(name, false) => return None,
            None if GOOGLES.iter().any(|start| name.starts_with(start)) || is_listed(name) => name,
            None => return None,
        };
        Some(MappedModel {
            asked: asked.to_owned(),
            target: target.to_owned(),
            traits: ModelTraits::of(target),
        })
    }

    /// The names without wildcards and their targets, by name: what lists of models can show.
    pub fn fixed(&self) -> Vec<(&str, &str)> {
        let mut fixed: Vec<_> = self.exact.iter().map(|(name, target)| (&**name, &**target)).collect();
        fixed.sort_unstable();
        fixed
    }

    /// All targets, each once: what a check asks Google about.
    pub fn targets(&self) -> Vec<&str> {
        let globs = self.globs.iter().map(|(_, _, target)| &**target);
        let mut targets: Vec<_> = self.exact.values().map(|target| &**target).chain(globs).collect();
        targets.sort_unstable();
        targets.dedup();
        targets
    }
}

fn bare(name: &str) -> &str {
    name.strip_prefix("models/").unwrap_or(name)
}

fn is_name(name: &str, wild: bool) -> bool {
    let is_fit = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'.' | b'_' | b'-' | b':')
            || (wild && matches!(byte, b'*' | b'?' | b'/' | b'@'))
    };
    !name.is_empty()
        && name.len() <= MAX_MODEL_NAME_BYTES
        && name.bytes().all(is_fit)
        && !name.contains("..")
        && name != "."
}

/// What of a model decides how it must be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ModelTraits {
    /// Which rules of Google's hold for it.
    pub generation: ModelGeneration,
    /// Which limits of thinking hold for it.
    pub tier: ModelTier,
    /// Which levels of thinking it knows; before Gemini 3 none counts.
    pub levels: KnownLevels,
    /// Whether it takes a history that ends with its own turn, and goes on from there. Google refuses that for Gemini 3.5
    /// Flash-Lite, 3.6 Flash and all that came after, and so it is not taken for granted of aliases and unknown names.
    pub goes_on_from_itself: bool,
    /// Whether it makes pictures and thinks: such a model wants signatures on more parts than calls.
    pub signs_pictures: bool,
    /// The most output tokens that a request may ask for.
    pub max_output_tokens: u32,
}

/// The generations that differ on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelGeneration {
    /// Gemini 3 and later: thinking levels, signatures that must return. Aliases (`*-latest`) and names that are not
    /// known count as these.
    Three,
    /// Gemini 2.5: thinking budgets, signatures that need not return.
    TwoFive,
    /// Models that do not think: Gemini 2.0 and before, Gemma, `LearnLM`, 2.5's image and speech models. They refuse
    /// every `thinkingConfig`.
    Unthinking,
}

/// The tiers that differ in how far their thinking can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelTier {
    /// Pro, and every name that does not say.
    Pro,
    /// `flash`: may be asked not to think.
    Flash,
    /// Flash-Lite.
    FlashLite,
}

/// Which of Google's thinking levels a model knows (its page on thinking, August to October 2026); with any other it refuses
/// a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KnownLevels {
    /// `minimal`, `low`, `medium` and `high`: Gemini 3 Flash and 3.1 Flash-Lite.
    FromMinimal,
    /// `low`, `medium` and `high`: what all newer ones know. So it is taken of aliases, which move to the newest, and of names
    /// that are not known.
    FromLow,
    /// `minimal` and `high`: the Flash models that make images.
    MinimalOrHigh,
}

impl KnownLevels {
    fn of(model: &str) -> Self {
        let is = |start: &str| model.starts_with(start);
        if model.contains("flash") && model.contains("-image") {
            Self::MinimalOrHigh
        } else if is("gemini-3-flash") || is("gemini-3.1-flash-lite") {
            Self::FromMinimal
        } else {
            Self::FromLow
        }
    }
}

impl ModelTraits {
    /// The traits of a model of Google's, by its name.
    pub fn of(model: &str) -> Self {
        let model = bare(model);
        let tier = if !model.contains("flash") {
            ModelTier::Pro
        } else if model.contains("flash-lite") {
            ModelTier::FlashLite
        } else {
            ModelTier::Flash
        };
        let is = |starts: &[&str]| starts.iter().any(|start| model.starts_with(start));
        let generation = if is(&["gemini-2.5-"]) {
            if ["-image", "-tts", "native-audio"].iter().any(|kind| model.contains(kind)) {
                ModelGeneration::Unthinking
            } else {
                ModelGeneration::TwoFive
            }
        } else if is(&["gemini-2.0", "gemini-1", "gemini-pro-vision", "gemini-exp", "gemma-", "learnlm-"]) {
            ModelGeneration::Unthinking
        } else {
            ModelGeneration::Three
        };
        let goes_on_from_itself = generation != ModelGeneration::Three || is(&["gemini-3-", "gemini-3.1-"]);
        Self {
            generation,
            tier,
            levels: KnownLevels::of(model),
            goes_on_from_itself,
            signs_pictures: generation == ModelGeneration::Three && makes_pictures(model),
            max_output_tokens: output_limit(model),
        }
    }

    /// Whether a call of the model's must return with a signature.
    pub fn needs_signatures(self) -> bool {
        self.generation == ModelGeneration::Three
    }
}

/// Whether a model's answers have pictures.
fn makes_pictures(model: &str) -> bool {
    model.contains("-image") || model.starts_with("nano-banana")
}

/// How many output tokens a model gives at most, by its family: told from names, and not read from Google's list of models. Google refuses
/// what is asked beyond its own.
fn output_limit(model: &str) -> u32 {
    let is = |starts: &[&str]| starts.iter().any(|start| model.starts_with(start));
    if is(&["gemini-2.0-flash-thinking"]) {
        65_536
    } else if is(&["gemini-2.0", "gemini-1", "gemini-pro-vision", "gemini-exp", "gemma-2", "gemma-3"]) {
        8_192
    } else if model.contains("-tts") {
        16_384
    } else if makes_pictures(model) || is(&["gemma-", "learnlm-"]) {
        32_768
    } else {
        65_536
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> ModelMap {
        ModelMap::new([
            ("claude-opus-*", "gemini-3-pro-preview"),
            ("claude-*", "models/gemini-3-flash-preview"),
            ("claude-opus-4-1", "gemini-2.5-pro"),
            ("gpt-*", "gemini-flash-latest"),
        ])
        .unwrap()
    }

    #[test]
    fn a_name_is_looked_up_exactly_then_by_the_longest_glob_then_as_googles() {
        for (asked, target) in [
            ("claude-opus-4-1", Some("gemini-2.5-pro")),
            ("claude-opus-4-1[1m]", Some("gemini-2.5-pro")),
            ("claude-opus-5", Some("gemini-3-pro-preview")),
            ("models/claude-haiku", Some("gemini-3-flash-preview")),
            ("gpt-5.5", Some("gemini-flash-latest")),
            ("gemini-9-ultra", Some("gemini-9-ultra")),
            ("models/gemma-3", Some("gemma-3")),
            ("nano-banana", Some("nano-banana")),
            ("o3", None),
            ("gemini-x/../y", None),
            ("gemini-x?key=1", None),
            ("", None),
        ] {
            let found = map().resolve(asked, |name| name == "nano-banana");
            assert_eq!(found.as_ref().map(|model| model.target.as_str()), target, "{asked}");
            assert!(found.is_none_or(|model| model.asked == asked));
        }
    }

    #[test]
    fn one_model_can_stand_for_every_name() {
        let map = ModelMap::all_to("models/gemini-2.5-flash").unwrap();
        for asked in ["gemini-3-pro-preview", "claude opus/4[1m]", "models/x", "\u{e9}*"] {
            let found = map.resolve(asked, |_| false).unwrap();
            assert_eq!((found.asked.as_str(), found.target.as_str()), (asked, "gemini-2.5-flash"));
            assert_eq!(found.traits.generation, ModelGeneration::TwoFive);
        }
        assert!(ModelMap::all_to("no such model").is_err());
    }

    #[test]
    fn a_map_with_a_mistake_is_refused_by_name() {
        let of = |name: &str, target: &str| ModelMap::new([(name, target)]).unwrap_err();
        assert!(matches!(of("", "gemini-x"), ModelMapError::BadName(_)));
        assert!(matches!(of("a b", "gemini-x"), ModelMapError::BadName(_)));
        assert!(matches!(of(&"x".repeat(200), "gemini-x"), ModelMapError::BadName(_)));
        for target in ["", "gemini-*", "a/b", "gemini..x"] {
            assert!(matches!(of("gpt-*", target), ModelMapError::BadTarget { .. }), "{target}");
        }
        let twice = ModelMap::new([("a*", "gemini-x"), ("models/a*", "gemini-y")]);
        assert_eq!(twice.unwrap_err(), ModelMapError::Twice("a*".to_owned()));
        assert_eq!(map().fixed(), [("claude-opus-4-1", "gemini-2.5-pro")]);
        assert_eq!(map().targets().len(), 4);
    }

    #[test]
    fn the_most_output_tokens_are_the_models_own() {
        for (model, most) in [
            ("gemini-3-pro-preview", 65_536),
            ("gemini-flash-latest", 65_536),
            ("models/gemini-2.5-flash", 65_536),
            ("something-new", 65_536),
            ("gemini-2.5-flash-image", 32_768),
            ("gemini-3-pro-image-preview", 32_768),
            ("gemma-4-31b-it", 32_768),
            ("gemini-2.5-flash-preview-tts", 16_384),
            ("gemini-2.0-flash", 8_192),
            ("gemma-3-27b-it", 8_192),
        ] {
            assert_eq!(ModelTraits::of(model).max_output_tokens, most, "{model}");
        }
    }

    #[test]
    fn traits_follow_from_the_name() {
        use ModelGeneration::{Three, TwoFive, Unthinking};
        use ModelTier::{Flash, FlashLite, Pro};
        for (model, generation, tier) in [
            ("gemini-3-pro-preview", Three, Pro),
            ("gemini-3.7-flash", Three, Flash),
            ("gemini-flash-lite-latest", Three, FlashLite),
            ("gemini-pro-latest", Three, Pro),
            ("something-new", Three, Pro),
            ("models/gemini-2.5-pro", TwoFive, Pro),
            ("gemini-2.5-flash-preview-09-2025", TwoFive, Flash),
            ("gemini-2.5-flash-lite", TwoFive, FlashLite),
            ("gemini-2.5-flash-image", Unthinking, Flash),
            ("gemini-2.0-flash", Unthinking, Flash),
            ("gemma-3-27b-it", Unthinking, Pro),
        ] {
            let traits = ModelTraits::of(model);
            assert_eq!((traits.generation, traits.tier), (generation, tier), "{model}");
        }
    }
}
