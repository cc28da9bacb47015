//! A request of OpenAI's Responses as a call of Google's. It reads the settings and puts together what `items`, `tools`
//! and `choice` make of the rest; nothing is asked of Google that it is known to refuse.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::choice::tool_use;
use super::echo::echo;
use super::items::{ItemList, KeptItems};
use super::reader::{FieldWay, ObjectReader};
use super::references::mentions;
use super::state::{ResponseDraft, StoredResponse};
use super::tools::{ToolCatalog, ToolSource};
use super::wire::InputText;
use crate::call::{AnswerMemory, GeminiCall, StickyHint, ThoughtDisplay};
use crate::conversation::Conversation;
use crate::error::{FieldPath, TranslationError};
use crate::gemini::{GenerateRequest, GenerationConfig, ONE_CALL_ONLY, ToolSet};
use crate::json::{RawObject, as_str, raw_of, without_half_surrogates};
use crate::models::{MappedModel, ModelMap};
use crate::names::NameTable;
use crate::schema::answer_schema;
use crate::thinking::{ThinkingEffort, ThinkingRequest, thinking_config};

/// Members that ask for what is not served, and why.
const REFUSED: [(&str, &str); 3] = [
    ("background", "is not served here: ask in the foreground"),
    ("conversation", "is not served here: send the items in `input`, or name a `previous_response_id`"),
    ("prompt", "is not served here: send the instructions themselves"),
];

/// A translated request, and what its answer is kept with.
#[derive(Debug)]
pub struct CreateCall {
    /// What to ask Google.
    pub call: GeminiCall,
    /// Whether the client wants its response kept (it does unless it says no).
    pub store: bool,
    /// What to keep beside the response; `None` where nothing is kept.
    pub draft: Option<ResponseDraft>,
}

/// Returns the response that a request goes on from, if it names one. It looks at nothing else, and finds nothing in what
/// is no JSON.
pub fn previous_id(body: &[u8]) -> Option<String> {
    if !mentions(body, "previous_response_id") {
        return None;
    }
    let body = without_half_surrogates(body);
    let body: RawObject<'_> = serde_json::from_slice(&body).ok()?;
    body.get("previous_response_id").and_then(as_str).filter(|id| !id.is_empty()).map(|id| id.to_string())
}

/// Translates a request for `POST /v1/responses`. `is_listed` says whether Google lists a model; `previous` is what is
/// kept of the response that [`previous_id`] names, if it is.
pub fn create(
    body: &[u8],
    models: &ModelMap,
    is_listed: &dyn Fn(&str) -> bool,
    previous: Option<&StoredResponse>,
) -> Result<CreateCall, TranslationError> {
    create_with(body, models, is_listed, previous, &[])
}

/// As [`create`], with other responses of which the input names single items
/// ([`referenced_ids`](super::referenced_ids)).
pub fn create_with(
    body: &[u8],
    models: &ModelMap,
    is_listed: &dyn Fn(&str) -> bool,
    previous: Option<&StoredResponse>,
    referenced: &[StoredResponse],
) -> Result<CreateCall, TranslationError> {
    let body = without_half_surrogates(body);
    let object: RawObject<'_> = serde_json::from_slice(&body)?;
    let asked = AskedRequest::read(&object, models, is_listed, KeptItems { previous, referenced })?;
    let reader = ObjectReader::new(&object, FieldWay::Root);
    let streamed = reader.flag("stream")?.unwrap_or_default();
    let store = reader.flag("store")?.unwrap_or(true);
    let body = Bytes::from(asked.request.write());
    let draft = store.then(|| asked.draft(reader.raw("input"), previous));
    let sticky = match reader.text("prompt_cache_key")? {
        Some(key) => StickyHint::of(&key),
        None => previous.and_then(|previous| StickyHint::of(&previous.first_id())),
    };
    let memory = AnswerMemory {
        asked_model: asked.model.asked,
        names: asked.names,
        thoughts: asked.thoughts,
        echo: Some(echo(&object, store)),
    };
    Ok(CreateCall {
        call: GeminiCall { model: asked.model.target, streamed, body, sticky, memory },
        store,
        draft,
    })
}

/// Translates a request for `POST /v1/responses/input_tokens` into one for `:countTokens`.
pub fn input_tokens(
    body: &[u8],
    models: &ModelMap,
    is_listed: &dyn Fn(&str) -> bool,
) -> Result<GeminiCall, TranslationError> {
    input_tokens_with(body, models, is_listed, None, &[])
}

/// As [`input_tokens`], with what is kept of the response that [`previous_id`] names, and with those of which the input
/// names single items ([`referenced_ids`](super::referenced_ids)).
pub fn input_tokens_with(
    body: &[u8],
    models: &ModelMap,
    is_listed: &dyn Fn(&str) -> bool,
    previous: Option<&StoredResponse>,
    referenced: &[StoredResponse],
) -> Result<GeminiCall, TranslationError> {
    let body = without_half_surrogates(body);
    let object: RawObject<'_> = serde_json::from_slice(&body)?;
    let asked = AskedRequest::read(&object, models, is_listed, KeptItems { previous, referenced })?;
    let body = Bytes::from(asked.request.write_count(&asked.model.target));
    let memory = AnswerMemory { asked_model: asked.model.asked, ..AnswerMemory::default() };
    Ok(GeminiCall { model: asked.model.target, streamed: false, body, sticky: None, memory })
}

/// A request as it was understood.
struct AskedRequest<'a> {
    model: MappedModel,
    request: GenerateRequest<'a>,
    items: ItemList<'a>,
    names: NameTable,
    thoughts: ThoughtDisplay,
}

impl<'a> AskedRequest<'a> {
    fn read(
        object: &RawObject<'a>,
        models: &ModelMap,
        is_listed: &dyn Fn(&str) -> bool,
        kept: KeptItems<'a>,
    ) -> Result<Self, TranslationError> {
        let way = FieldWay::Root;
        let reader = ObjectReader::new(object, way);
        refuse_unserved(reader)?;
        let asked = reader.filled_text("model")?;
        let model = models
            .resolve(&asked, is_listed)
            .ok_or_else(|| TranslationError::UnknownModel(asked.clone().into_owned()))?;
        check_previous(reader, kept.previous)?;

        let input = reader.raw("input");
        let items = ItemList::read(input, kept)?;
        let mut tools = ToolCatalog::default();
        let asked_tools = reader.objects("tools")?.unwrap_or_default();
        tools.read(&asked_tools, way.member("tools"), ToolSource::Request)?;
        items.declare_tools(&mut tools)?;
        tools.check_left_out()?;
        let names = tools.names();
        let in_use = tool_use(reader.raw("tool_choice"), &tools, &names)?;

        let mut conversation = Conversation::new(model.traits);
        if let Some(instructions) = reader.text("instructions")? {
            conversation.system(instructions);
        }
        items.tell(&mut conversation, &names)?;
        if let Some(text) = input.and_then(as_str) {
            conversation.message();
            conversation.user_text(text.into_inner());
        }
        if in_use.functions && reader.flag("parallel_tool_calls")? == Some(false) {
            conversation.instruct(ONE_CALL_ONLY);
        }
        for sentence in tools.wishes.sentences().filter(|_| in_use.web_search) {
            conversation.instruct(sentence);
        }
        let history = conversation.finish().map_err(|error| error.at("input"))?;

        let functions = if in_use.functions { tools.declarations(&names) } else { Vec::new() };
        let mut request = GenerateRequest {
            system: history.system,
            tools: ToolSet { functions, google_search: in_use.web_search },
            calling: in_use.calling,
            generation: GenerationConfig {
                max_output_tokens: reader.count("max_output_tokens")?,
                temperature: reader.number("temperature")?,
                top_p: reader.number("top_p")?,
                ..GenerationConfig::default()
            },
            contents: history.contents,
        };
        if let Some(format) = AnswerFormat::read(reader, items.text)? {
            request.ask_for_json(format.schema, model.traits);
        }
        let reasoning = AskedReasoning::read(reader, items.reasoning)?;
        let wants_thoughts = reasoning.thoughts == ThoughtDisplay::Shown;
        request.generation.thinking_config = thinking_config(reasoning.effort, model.traits, wants_thoughts);
        request.generation.clamp(model.traits);
        Ok(Self { model, request, items, names, thoughts: reasoning.thoughts })
    }

    fn draft(&self, input: Option<&RawValue>, previous: Option<&StoredResponse>) -> ResponseDraft {
        #[derive(Serialize)]
        struct TextMessage<'s> {
            r#type: &'static str,
            role: &'static str,
            content: [InputText<'s>; 1],
        }
        let own = match input.and_then(as_str) {
            Some(text) => {
                let content = [InputText { r#type: "input_text", text: &text }];
                raw_of(&[TextMessage { r#type: "message", role: "user", content }])
            }
            None => raw_of(&self.items.own_items().collect::<Vec<_>>()),
        };
        ResponseDraft::new(previous, own)
    }
}

fn refuse_unserved(reader: ObjectReader<'_, '_, '_>) -> Result<(), TranslationError> {
    for (name, why) in REFUSED {
        if reader.raw(name).is_some_and(|value| value.get() != "false") {
            return Err(reader.unsupported(name, why));
        }
    }
    Ok(())
}

fn check_previous(
    reader: ObjectReader<'_, '_, '_>,
    previous: Option<&StoredResponse>,
) -> Result<(), TranslationError> {
    match reader.text("previous_response_id")? {
        Some(id) if previous.is_none() && !id.is_empty() => Err(TranslationError::UnknownState {
            at: FieldPath::of("previous_response_id"),
            id: id.into_owned(),
        }),
        _ => Ok(()),
    }
}

/// What form an answer has, where it is JSON.
struct AnswerFormat<'a> {
    schema: Option<Cow<'a, RawValue>>,
}

impl<'a> AnswerFormat<'a> {
    /// Reads `text.format` of the request, or of the last item that changes it.
    fn read(
        request: ObjectReader<'_, 'a, '_>,
        changed: Option<&'a RawValue>,
    ) -> Result<Option<Self>, TranslationError> {
        let text = match changed.and_then(RawObject::of) {
            Some(text) => Some(text),
            None => request.object("text")?,
        };
        let Some(text) = text else { return Ok(None) };
        let text = ObjectReader::new(&text, request.way.member("text"));
        let Some(format) = text.object("format")? else { return Ok(None) };
        let format = ObjectReader::new(&format, text.way.member("format"));
        let kind = format.required_text("type")?;
        match &*kind {
            "text" => Ok(None),
            "json_object" => Ok(Some(Self { schema: None })),
            "json_schema" => {
                let schema = format.raw("schema").ok_or_else(|| format.invalid("schema", "is required"))?;
                let schema = answer_schema(schema).map_err(|error| format.invalid("schema", error.why()))?;
                Ok(Some(Self { schema: Some(schema) }))
            }
            other => {
                let why = format!("`{other}` is none of `text`, `json_object`, `json_schema`");
                Err(format.invalid("type", why))
            }
        }
    }
}

/// What is asked of thinking.
struct AskedReasoning {
    effort: ThinkingRequest,
    thoughts: ThoughtDisplay,
}

impl AskedReasoning {
    /// Reads `reasoning` of the request, or of the last item that changes it.
    fn read(request: ObjectReader<'_, '_, '_>, changed: Option<&RawValue>) -> Result<Self, TranslationError> {
        let asked = request.object("reasoning")?.unwrap_or_default();
        let asked = ObjectReader::new(&asked, request.way.member("reasoning"));
        let effort = match changed.and_then(RawObject::of) {
            Some(changed) => ObjectReader::new(&changed, asked.way).text("effort")?.map(Cow::into_owned),
            None => asked.text("effort")?.map(Cow::into_owned),
        };
        // An effort of a name yet to come is none that Google knows, and no reason to refuse.
        let effort = match effort.as_deref() {
            Some("none") => ThinkingRequest::Disabled,
            Some(name) => {
                ThinkingEffort::parse(name).map_or(ThinkingRequest::Unsaid, ThinkingRequest::Effort)
            }
            None => ThinkingRequest::Unsaid,
        };
        // Thoughts are shown unasked too: they are what reasoning items are made of.
        let thoughts = match asked.text("summary")?.as_deref() {
            _ if effort == ThinkingRequest::Disabled => ThoughtDisplay::Hidden,
            Some("none") => ThoughtDisplay::Omitted,
            _ => ThoughtDisplay::Shown,
        };
        Ok(Self { effort, thoughts })
    }
}
