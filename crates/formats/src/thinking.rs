//! How much a model is to think: what clients of every format ask, as what Google's generations understand. A pure
//! table. Never both a level and a budget, which Google answers with 400.

use bytes::Bytes;
use serde::Serialize;

use crate::json::{RawObject, raw_of};
use crate::models::{KnownLevels, ModelGeneration, ModelTier, ModelTraits};

/// What a client asks of thinking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ThinkingRequest {
    /// Nothing: the model's own default.
    #[default]
    Unsaid,
    /// None at all, or as little as the model knows.
    Disabled,
    /// So many tokens.
    Tokens(u32),
    /// As much as the model sees fit, within an effort where one is named.
    Adaptive(Option<ThinkingEffort>),
    /// As hard as a client's word for it says.
    Effort(ThinkingEffort),
}

/// An effort, as both vendors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThinkingEffort {
    /// Next to nothing.
    Minimal,
    /// `low`: 1,024 tokens on 2.5.
    Low,
    /// `medium`: 8,192 tokens on 2.5.
    Medium,
    /// Much: `high`, `xhigh`, `max`.
    High,
}

impl ThinkingEffort {
    /// Reads an effort's name. `none` is no effort but [`ThinkingRequest::Disabled`]; `None` for unknown names.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" | "xhigh" | "max" => Self::High,
            _ => return None,
        })
    }
}

/// Google's `thinkingConfig`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ThinkingConfig {
    /// Gemini 3 and later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_level: Option<ThinkingLevel>,
    /// Gemini 2.5, in tokens; -1 is the model's own choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_budget: Option<i32>,
    /// Whether the answer has thoughts as parts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub include_thoughts: bool,
}

/// Google's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ThinkingLevel {
    /// `minimal`, which few Flash models know.
    Minimal,
    /// The least that most models know.
    Low,
    /// Between the others.
    Medium,
    /// `high`: as much as the model likes.
    High,
}

const GENERATION: &str = "generationConfig";
const THINKING: &str = "thinkingConfig";
const LEVEL: &str = "thinkingLevel";

/// From here on a budget is more than little.
const MEDIUM_TOKENS: u32 = 4_096;
/// From here on a budget is much.
const HIGH_TOKENS: u32 = 16_384;

/// Returns the `thinkingConfig` for a model, `None` where there is nothing to say. `shown` is whether the answer needs
/// thoughts; with thinking disabled there are none.
pub fn thinking_config(request: ThinkingRequest, model: ModelTraits, shown: bool) -> Option<ThinkingConfig> {
    let shown = shown && request != ThinkingRequest::Disabled;
    let config = match model.generation {
        ModelGeneration::Unthinking => return None,
        ModelGeneration::Three => ThinkingConfig {
            thinking_level: level(request, model.levels),
            thinking_budget: None,
            include_thoughts: shown,
        },
        ModelGeneration::TwoFive => ThinkingConfig {
            thinking_level: None,
            thinking_budget: budget(request, model.tier),
            include_thoughts: shown,
        },
    };
    (config != ThinkingConfig::default()).then_some(config)
}

fn level(request: ThinkingRequest, known: KnownLevels) -> Option<ThinkingLevel> {
    let of = |effort| match (effort, known) {
        (ThinkingEffort::Minimal, KnownLevels::FromMinimal | KnownLevels::MinimalOrHigh)
        | (ThinkingEffort::Low, KnownLevels::MinimalOrHigh) => ThinkingLevel::Minimal,
        (ThinkingEffort::Minimal | ThinkingEffort::Low, _) => ThinkingLevel::Low,
        (ThinkingEffort::Medium, KnownLevels::MinimalOrHigh) | (ThinkingEffort::High, _) => {
            ThinkingLevel::High
        }
        (ThinkingEffort::Medium, _) => ThinkingLevel::Medium,
    };
    match request {
        ThinkingRequest::Unsaid => None,
        ThinkingRequest::Disabled => Some(of(ThinkingEffort::Minimal)),
        ThinkingRequest::Tokens(..MEDIUM_TOKENS) => Some(of(ThinkingEffort::Low)),
        ThinkingRequest::Tokens(..HIGH_TOKENS) => Some(of(ThinkingEffort::Medium)),
        ThinkingRequest::Tokens(_) => Some(of(ThinkingEffort::High)),
        ThinkingRequest::Adaptive(effort) => effort.map(of),
        ThinkingRequest::Effort(effort) => Some(of(effort)),
    }
}

/// Whether Google's message about a 400 says that the model does not know the level of thinking, so that [`without_level`] is
/// worth a try.
pub fn is_about_levels(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("thinking level") || message.contains("thinking_level")
}

/// Returns the body without its level of thinking, so that the model thinks as it does by itself. `None` if there is none in
/// it, or the body is not one that was written here.
pub fn without_level(body: &[u8]) -> Option<Bytes> {
    let request: RawObject<'_> = serde_json::from_slice(body).ok()?;
    let generation = RawObject::of(request.get(GENERATION)?)?;
    let thinking = RawObject::of(generation.get(THINKING)?)?;
    thinking.get(LEVEL)?;
    let thinking = raw_of(&thinking.without(LEVEL));
    let generation = raw_of(&generation.with(THINKING, &thinking));
    serde_json::to_vec(&request.with(GENERATION, &generation)).ok().map(Bytes::from)
}

/// Google's ranges (its page on thinking): Pro 128 to 32,768 and cannot stop, Flash 0 to 24,576, Flash-Lite 512 to 24,576
/// or 0.
fn budget(request: ThinkingRequest, tier: ModelTier) -> Option<i32> {
    let (least, most) = match tier {
        ModelTier::Pro => (128, 32_768),
        ModelTier::Flash => (0, 24_576),
        ModelTier::FlashLite => (512, 24_576),
    };
    let clamped = |tokens: u32| i32::try_from(tokens).unwrap_or(most).clamp(least, most);
    match request {
        ThinkingRequest::Unsaid => None,
        ThinkingRequest::Disabled => Some(if tier == ModelTier::Pro { least } else { 0 }),
        ThinkingRequest::Tokens(tokens) => Some(clamped(tokens)),
        ThinkingRequest::Adaptive(_) => Some(-1),
        // What Google's own OpenAI layer makes of an effort.
        ThinkingRequest::Effort(effort) => Some(match effort {
            ThinkingEffort::Minimal => 512,
            ThinkingEffort::Low => 1_024,
            ThinkingEffort::Medium => 8_192,
            ThinkingEffort::High => 24_576,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(request: ThinkingRequest, model: &str, shown: bool) -> String {
        let config = thinking_config(request, ModelTraits::of(model), shown);
        config.map_or(String::new(), |config| serde_json::to_string(&config).unwrap())
    }

    #[test]
    fn every_wish_becomes_what_the_generation_knows() {
        use ThinkingEffort::{High, Low, Medium, Minimal};
        use ThinkingRequest::{Adaptive, Disabled, Effort, Tokens, Unsaid};
        let (pro3, flash3) = ("gemini-3-pro-preview", "gemini-3-flash-preview");
        let (pro, flash, lite) = ("gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite");
        let level = |name: &str| format!(r#"{{"thinkingLevel":"{name}"}}"#);
        let budget = |tokens: i32| format!(r#"{{"thinkingBudget":{tokens}}}"#);
        for (request, model, expected) in [
            (Unsaid, pro3, String::new()),
            (Unsaid, pro, String::new()),
            (Disabled, pro3, level("low")),
            (Disabled, flash3, level("minimal")),
            (Disabled, "gemini-flash-lite-latest", level("low")),
            (Disabled, "gemini-flash-latest", level("low")),
            (Disabled, "gemini-3.1-flash-lite", level("minimal")),
            (Disabled, "gemini-3.7-flash", level("low")),
            (Disabled, "gemini-3.8-flash", level("low")),
            (Disabled, "something-new-flash", level("low")),
            (Disabled, "gemini-3.1-flash-image", level("minimal")),
            (Effort(Low), "gemini-3.1-flash-image", level("minimal")),
            (Effort(Medium), "gemini-3.1-flash-image", level("high")),
            (Effort(Medium), "gemini-3.1-pro-preview", level("medium")),
            (Effort(Medium), "gemini-3.7-flash", level("medium")),
            (Effort(Minimal), "gemini-3.8-flash", level("low")),
            (Disabled, pro, budget(128)),
            (Disabled, flash, budget(0)),
            (Disabled, lite, budget(0)),
            (Tokens(1_024), pro3, level("low")),
            (Tokens(4_096), pro3, level("medium")),
            (Tokens(31_999), pro3, level("high")),
            (Tokens(31_999), flash, budget(24_576)),
            (Tokens(31_999), pro, budget(31_999)),
            (Tokens(u32::MAX), pro, budget(32_768)),
            (Tokens(100), pro, budget(128)),
            (Tokens(100), lite, budget(512)),
            (Adaptive(None), pro3, String::new()),
            (Adaptive(Some(Medium)), pro3, level("medium")),
            (Adaptive(Some(Medium)), flash, budget(-1)),
            (Effort(Minimal), pro3, level("low")),
            (Effort(Minimal), flash3, level("minimal")),
            (Effort(Minimal), flash, budget(512)),
            (Effort(Low), pro, budget(1_024)),
            (Effort(Medium), lite, budget(8_192)),
            (Effort(High), flash, budget(24_576)),
            (Effort(High), "gemini-2.0-flash", String::new()),
        ] {
            assert_eq!(json(request, model, false), expected, "{request:?} {model}");
        }
    }

    #[test]
    fn thoughts_are_asked_for_where_they_are_shown() {
        assert_eq!(json(ThinkingRequest::Unsaid, "gemini-3-pro", true), r#"{"includeThoughts":true}"#);
        assert_eq!(
            json(ThinkingRequest::Adaptive(None), "gemini-2.5-pro", true),
            r#"{"thinkingBudget":-1,"includeThoughts":true}"#
        );
        assert_eq!(json(ThinkingRequest::Disabled, "gemini-3-pro", true), r#"{"thinkingLevel":"low"}"#);
        assert_eq!(json(ThinkingRequest::Unsaid, "gemma-3", true), "");
    }

    #[test]
    fn a_level_that_a_model_does_not_know_can_be_left_out() {
        for words in [
            "Thinking level MINIMAL is not supported for this model. Please retry with other thinking level.",
            "'minimal' is not a supported thinking level for this model. Allowed values are: medium, low, high.",
            "Thinking level is unsupported: THINKING_LEVEL_MINIMAL",
        ] {
            assert!(is_about_levels(words), "{words}");
        }
        assert!(!is_about_levels("The thinking budget 7 is invalid."));
        let body = r#"{"generationConfig":{"topK":1,"thinkingConfig":{"thinkingLevel":"low","includeThoughts":true}},"contents":[{ "x":1}]}"#;
        let without = without_level(body.as_bytes()).unwrap();
        assert_eq!(std::str::from_utf8(&without).unwrap(), body.replace(r#""thinkingLevel":"low","#, ""));
        assert_eq!(without_level(&without), None, "there is no third try");
        assert_eq!(without_level(b"{}"), None);
    }

    #[test]
    fn efforts_have_the_names_of_both_vendors() {
        assert_eq!(ThinkingEffort::parse("xhigh"), Some(ThinkingEffort::High));
        assert_eq!(ThinkingEffort::parse("max"), Some(ThinkingEffort::High));
        assert_eq!(ThinkingEffort::parse("none"), None);
    }
}
