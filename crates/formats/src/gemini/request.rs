//! The body of a `generateContent` request, and of a `countTokens` request for the same. Members, tools and keywords come
//! in one fixed order, and nothing of ours (ids, times) is in it, so that equal requests are equal bytes.

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use serde_json::value::RawValue;

use super::part::{TextParts, TurnContent};
use crate::json::{RawObject, as_str};
use crate::models::{ModelGeneration, ModelTraits};
use crate::thinking::ThinkingConfig;

/// The most `stopSequences` that Google takes.
pub const MAX_STOP_SEQUENCES: usize = 5;

/// What `systemInstruction` says where a client wants no parallel calls, which Google has no field for.
pub const ONE_CALL_ONLY: &str = "Call at most one tool at a time, and wait for its result before the next.";

/// What a client wants of a web search, for which Google's has no fields.
#[derive(Clone, Debug, Default)]
pub struct SearchWishes<'a> {
    /// The only sites that may be used, if there are any.
    pub allowed: Vec<Cow<'a, str>>,
    /// Sites that may not be used.
    pub blocked: Vec<Cow<'a, str>>,
    /// Where the user is: city, region, country, time zone, as far as they are said.
    pub place: Vec<Cow<'a, str>>,
}

impl SearchWishes<'_> {
    /// What `systemInstruction` says of them, a sentence each.
    pub fn sentences(&self) -> impl Iterator<Item = String> {
        [
            ("Of what a web search finds, use only pages of these sites:", &self.allowed),
            ("Of what a web search finds, use no pages of these sites:", &self.blocked),
            ("For a web search, take it that the user is about here:", &self.place),
        ]
        .into_iter()
        .filter(|(_, named)| !named.is_empty())
        .map(|(before, named)| format!("{before} {}.", named.join(", ")))
    }
}

/// Reads `user_location` of a search, which has the same members in both formats. It is a hint, so that nothing about it is
/// an error.
pub fn place_of(location: Option<&RawValue>) -> Vec<Cow<'_, str>> {
    let location = location.and_then(RawObject::of).unwrap_or_default();
    let members = ["city", "region", "country", "timezone"].into_iter();
    let named = members.filter_map(|name| Some(as_str(location.get(name)?)?.into_inner()));
    named.filter(|place| !place.is_empty()).collect()
}

/// What `generateContent` is asked.
#[derive(Clone, Debug, Default)]
pub struct GenerateRequest<'a> {
    /// The texts of `systemInstruction`, one part each.
    pub system: Vec<Cow<'a, str>>,
    /// `tools`.
    pub tools: ToolSet<'a>,
    /// `toolConfig.functionCallingConfig`.
    pub calling: Option<CallingConfig<'a>>,
    /// `generationConfig`.
    pub generation: GenerationConfig<'a>,
    /// `contents`.
    pub contents: Vec<TurnContent<'a>>,
}

/// `tools`.
#[derive(Clone, Debug, Default)]
pub struct ToolSet<'a> {
    /// `functionDeclarations`, in the client's order.
    pub functions: Vec<FunctionDeclaration<'a>>,
    /// Whether there is `googleSearch`.
    pub google_search: bool,
}

/// One of `functionDeclarations`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionDeclaration<'a> {
    /// Google's name of it.
    pub name: Cow<'a, str>,
    /// What it is for; Google refuses none, but an empty one is left out.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub description: Cow<'a, str>,
    /// The schema whole, as `crate::schema` returns it: never in `parameters`, which knows few keywords.
    pub parameters_json_schema: Cow<'a, RawValue>,
}

/// `functionCallingConfig`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallingConfig<'a> {
    /// Whether functions are called.
    pub mode: CallingMode,
    /// Which of them only; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_function_names: Vec<Cow<'a, str>>,
}

/// Google's `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CallingMode {
    /// As the model sees fit.
    Auto,
    /// One at least.
    Any,
    /// No function may be called.
    None,
    /// As the model sees fit, but by the schema.
    Validated,
}

/// `generationConfig`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerationConfig<'a> {
    /// The most tokens of the answer, thoughts included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// 0 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// 1 and more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// [`MAX_STOP_SEQUENCES`] at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop_sequences: Vec<Cow<'a, str>>,
    /// `application/json` with structured output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_mime_type: Option<&'static str>,
    /// The schema of structured output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_json_schema: Option<Cow<'a, RawValue>>,
    /// How much the model thinks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_config: Option<ThinkingConfig>,
}

impl GenerationConfig<'_> {
    /// Brings every value into the range that Google takes of this model; it is never a reason to refuse a request.
    pub fn clamp(&mut self, model: ModelTraits) {
        self.max_output_tokens = self.max_output_tokens.map(|most| most.clamp(1, model.max_output_tokens));
        self.temperature = self.temperature.map(|value| value.clamp(0.0, 2.0));
        self.top_p = self.top_p.map(|value| value.clamp(0.0, 1.0));
        self.top_k = self.top_k.map(|value| value.max(1));
        self.stop_sequences.retain(|sequence| !sequence.is_empty());
        self.stop_sequences.truncate(MAX_STOP_SEQUENCES);
    }

    fn is_empty(&self) -> bool {
        self.max_output_tokens.is_none()
            && self.temperature.is_none()
            && self.top_p.is_none()
            && self.top_k.is_none()
            && self.stop_sequences.is_empty()
            && self.response_mime_type.is_none()
            && self.response_json_schema.is_none()
            && self.thinking_config.is_none()
    }
}

impl ToolSet<'_> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty() && !self.google_search
    }
}

impl Serialize for ToolSet<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Declarations<'s, 'a> {
            function_declarations: &'s [FunctionDeclaration<'a>],
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Search {
            google_search: NoSettings,
        }
        #[derive(Serialize)]
        struct NoSettings {}

        let mut list = serializer.serialize_seq(None)?;
        if !self.functions.is_empty() {
            list.serialize_element(&Declarations { function_declarations: &self.functions })?;
        }
        if self.google_search {
            list.serialize_element(&Search { google_search: NoSettings {} })?;
        }
        list.end()
    }
}

impl<'a> GenerateRequest<'a> {
    /// Asks for an answer in JSON, of a schema if there is one. To be called when the tools are known: before Gemini 3,
    /// Google refuses this beside functions, and the system text asks for it instead.
    pub fn ask_for_json(&mut self, schema: Option<Cow<'a, RawValue>>, model: ModelTraits) {
        if model.generation == ModelGeneration::Three || self.tools.is_empty() {
            self.generation.response_mime_type = Some("application/json");
            self.generation.response_json_schema = schema;
            return;
        }
        self.system.push(match schema {
            Some(schema) => {
                Cow::Owned(format!("Answer with JSON alone that fits this JSON Schema:\n{}", schema.get()))
            }
            None => Cow::Borrowed("Answer with JSON alone."),
        });
    }

    /// The body for `generateContent` and `streamGenerateContent`.
    pub fn write(&self) -> Vec<u8> {
        self.write_with(None)
    }

    /// The body for `countTokens`: the whole request inside `generateContentRequest`, with its model, since beside
    /// `contents` Google knows neither the instruction nor the tools there. `model` is without `models/`.
    pub fn write_count(&self, model: &str) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Count<'s> {
            generate_content_request: &'s RawValue,
        }

        let inner = String::from_utf8(self.write_with(Some(format!("models/{model}"))));
        let inner = inner.ok().and_then(|json| RawValue::from_string(json).ok());
        write_json(&Count { generate_content_request: inner.as_deref().unwrap_or(RawValue::NULL) })
    }

    fn write_with(&self, model: Option<String>) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct GenerateBody<'s, 'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            model: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            system_instruction: Option<TextParts<'s, 'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            tools: Option<&'s ToolSet<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            tool_config: Option<ToolConfig<'s, 'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            generation_config: Option<&'s GenerationConfig<'a>>,
            contents: &'s [TurnContent<'a>],
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct ToolConfig<'s, 'a> {
            function_calling_config: &'s CallingConfig<'a>,
        }

        let tool_config =
            self.calling.as_ref().map(|calling| ToolConfig { function_calling_config: calling });
        write_json(&GenerateBody {
            model,
            system_instruction: (!self.system.is_empty()).then_some(TextParts(&self.system)),
            tools: (!self.tools.is_empty()).then_some(&self.tools),
            tool_config,
            generation_config: (!self.generation.is_empty()).then_some(&self.generation),
            contents: &self.contents,
        })
    }
}

fn write_json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut body = Vec::with_capacity(4096);
    // Strings and numbers into memory: nothing of it can fail.
    let written = serde_json::to_writer(&mut body, value);
    debug_assert!(written.is_ok());
    body
}
