//! The catalogue of models and how Google lists it on either surface.

use serde_json::{Value, json};

/// What a model can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// generateContent, streamGenerateContent, countTokens.
    Generate,
    /// embedContent, batchEmbedContents, countTokens.
    Embed,
    /// predict: one request, pictures back.
    Image,
    /// predictLongRunning; the OpenAI layer's `/videos`.
    Video,
}

impl ModelKind {
    fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Generate => {
                &["generateContent", "countTokens", "createCachedContent", "batchGenerateContent"]
            }
            Self::Embed => &["embedContent", "countTextTokens", "countTokens", "asyncBatchEmbedContent"],
            Self::Image => &["predict"],
            Self::Video => &["predictLongRunning"],
        }
    }
}

/// A model on offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Its id, without `models/`.
    pub id: String,
    /// What it can do.
    pub kind: ModelKind,
}

impl Model {
    /// A model named `id`.
    pub fn new(id: impl Into<String>, kind: ModelKind) -> Self {
        Self { id: id.into(), kind }
    }

    /// The models offered by default.
    pub fn usual() -> Vec<Self> {
        use ModelKind::{Embed, Generate, Image, Video};
        [
            ("gemini-2.5-flash", Generate),
            ("gemini-2.5-flash-lite", Generate),
            ("gemini-2.5-pro", Generate),
            ("gemini-3.5-flash", Generate),
            ("gemini-3.7-flash", Generate),
            ("gemini-3.7-pro", Generate),
            ("gemini-3.8-flash", Generate),
            ("gemini-flash-latest", Generate),
            ("gemini-flash-lite-latest", Generate),
            ("gemini-pro-latest", Generate),
            ("gemini-3-flash-preview", Generate),
            ("gemini-3-pro-preview", Generate),
            ("gemini-2.5-flash-image", Generate),
            ("gemini-embedding-001", Embed),
            ("imagen-4.0-generate-001", Image),
            ("veo-3.0-generate-001", Video),
        ]
        .into_iter()
        .map(|(id, kind)| Self::new(id, kind))
        .collect()
    }

    /// From Gemini 3 on, function calls have ids and must come back with the signature they were issued with.
    pub(crate) fn wants_signatures(&self) -> bool {
        self.id.starts_with("gemini-3") || self.id.ends_with("-latest")
    }

    /// Whether it takes a request that ends with its own turn: the newest, where aliases lead, do not.
    pub(crate) fn goes_on_from_itself(&self) -> bool {
        let starts = |names: &[&str]| names.iter().any(|name| self.id.starts_with(name));
        !self.wants_signatures() || starts(&["gemini-3-", "gemini-3.1-"])
    }

    /// As `GET models` shows it.
    pub(crate) fn native(&self) -> Value {
        json!({
            "name": format!("models/{}", self.id),
            "version": "001",
            "displayName": self.id,
            "description": "A simulated model.",
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": self.kind.methods(),
            "temperature": 1,
            "topP": 0.95,
            "topK": 64,
            "maxTemperature": 2,
        })
    }

    /// As the OpenAI layer's `GET models` shows it.
    pub(crate) fn openai(&self) -> Value {
        json!({
            "id": format!("models/{}", self.id),
            "object": "model",
            "owned_by": "google",
            "display_name": self.id,
        })
    }
}
