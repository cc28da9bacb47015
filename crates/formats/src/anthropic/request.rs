//! A Messages request as a [`GeminiCall`]: which model, how much it may say and think, in which form it answers. The
//! history is `history`'s, the tools are `tools`'. The HTTP face calls [`messages`].

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::history;
use super::place::{FieldPlace, cut};
use super::tools::RequestTools;
use super::wire::{WireFormat, WireMetadata, WireOutput, WireRequest, WireThinking, WireThread};
use crate::call::{AnswerMemory, GeminiCall, StickyHint, ThoughtDisplay};
use crate::conversation::Conversation;
use crate::error::TranslationError;
use crate::gemini::{GenerateRequest, GenerationConfig};
use crate::json::{JsonStr, as_str, without_half_surrogates};
use crate::models::{MappedModel, ModelMap};
use crate::schema::answer_schema;
use crate::thinking::{ThinkingEffort, ThinkingRequest, thinking_config};

/// What a request is translated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestPurpose {
    /// To be answered.
    Answer,
    /// To have its tokens counted.
    Count,
}

/// Translates the body of `POST /v1/messages`. `is_listed` says whether Google lists a model of this name; `session` is
/// the header `X-Claude-Code-Session-Id`. A last message of the assistant's goes up as it is where the model goes on
/// from it, loosely, not to the letter; to others the user says to go on.
pub fn messages(
    body: &[u8],
    models: &ModelMap,
    is_listed: &dyn Fn(&str) -> bool,
    session: Option<&str>,
) -> Result<GeminiCall, TranslationError> {
    translate(body, models, is_listed, session, RequestPurpose::Answer)
}

/// Translates a body for either purpose.
pub(super) fn translate(
    body: &[u8],
    models: &ModelMap,
    is_listed: &dyn Fn(&str) -> bool,
    session: Option<&str>,
    purpose: RequestPurpose,
) -> Result<GeminiCall, TranslationError> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(TranslationError::NotJson("it has to be a JSON object".to_owned()));
    }
    let body = without_half_surrogates(body);
    let wire: WireRequest<'_> = serde_json::from_slice(&body)?;
    refuse_unserved(&wire)?;
    let model = read_model(&wire, models, is_listed)?;
    let tools = RequestTools::read(wire.tools, wire.tool_choice)?;
    let names = tools.names()?;
    let output = read_output(&wire)?;
    let (thinking, thoughts) = read_thinking(wire.thinking, output.effort)?;
    let format = read_format(&output, wire.output_format)?;

    let mut history = Conversation::new(model.traits);
    for text in wire.system.map_or(Ok(Vec::new()), history::instructions)? {
        history.system(text);
    }
    let at_messages = FieldPlace::of("messages");
    history::tell(&mut history, at_messages.required(wire.messages)?, &names)?;
    for sentence in tools.sentences() {
        history.instruct(sentence);
    }

    let mut generation = match purpose {
        RequestPurpose::Answer => read_generation(&wire)?,
        RequestPurpose::Count => GenerationConfig::default(),
    };
    if purpose == RequestPurpose::Answer {
        generation.clamp(model.traits);
        let is_shown = thoughts == ThoughtDisplay::Shown;
        generation.thinking_config = thinking_config(thinking, model.traits, is_shown);
    }

    let told = history.finish().map_err(|error| error.at(at_messages.path()))?;
    let mut request = GenerateRequest {
        system: told.system,
        tools: tools.set(&names),
        calling: tools.calling(&names),
        generation,
        contents: told.contents,
    };
    if let Some(schema) = format {
        request.ask_for_json(Some(schema), model.traits);
    }
    let (body, streamed) = match purpose {
        RequestPurpose::Answer => (request.write(), FieldPlace::of("stream").flag(wire.stream)?),
        RequestPurpose::Count => (request.write_count(&model.target), false),
    };
    let sticky = read_sticky(session, wire.metadata);
    Ok(GeminiCall {
        model: model.target,
        streamed,
        body: Bytes::from(body),
        sticky,
        memory: AnswerMemory { asked_model: model.asked, names, thoughts, echo: None },
    })
}

/// Refuses what must not be lost silently. Of `thread`, the vendor's SDKs go on without one after this answer.
fn refuse_unserved(wire: &WireRequest<'_>) -> Result<(), TranslationError> {
    if let Some(thread) = wire.thread {
        let at = FieldPlace::of("thread");
        let thread: WireThread<'_> = at.object(thread)?;
        let kind = thread.r#type.and_then(as_str).unwrap_or_default();
        let previous = thread.previous_message_id.and_then(as_str);
        return Err(match previous {
            Some(id) if &*kind == "continue" => TranslationError::UnknownState {
                at: at.member("previous_message_id").path(),
                id: cut(id.into_inner().into_owned()),
            },
            _ => at.unsupported("conversations are not kept here; send all messages, without `thread`"),
        });
    }
    if let Some(servers) = wire.mcp_servers {
        let at = FieldPlace::of("mcp_servers");
        if !at.list(servers)?.is_empty() {
            let why = "servers of tools are not called from here; declare their tools in `tools`";
            return Err(at.unsupported(why));
        }
    }
    if wire.container.is_some() {
        let why = "containers are Anthropic's, which Google's models do not know";
        return Err(FieldPlace::of("container").unsupported(why));
    }
    Ok(())
}

fn read_model(
    wire: &WireRequest<'_>,
    models: &ModelMap,
    is_listed: &dyn Fn(&str) -> bool,
) -> Result<MappedModel, TranslationError> {
    let at = FieldPlace::of("model");
    let asked = at.text(at.required(wire.model)?)?;
    models.resolve(&asked, is_listed).ok_or_else(|| TranslationError::UnknownModel(cut(asked.into_owned())))
}

fn read_generation<'a>(wire: &WireRequest<'a>) -> Result<GenerationConfig<'a>, TranslationError> {
    let number = |name: &'static str, value: Option<&RawValue>| {
        value.map(|value| FieldPlace::of(name).number(value)).transpose()
    };
    let at_most = FieldPlace::of("max_tokens");
    let max_output_tokens = at_most.count(at_most.required(wire.max_tokens)?)?;
    let top_k = wire.top_k.map(|value| FieldPlace::of("top_k").count(value)).transpose()?;
    let at = FieldPlace::of("stop_sequences");
    let stops = wire.stop_sequences.map_or(Ok(Vec::new()), |list| at.list(list))?;
    let stops = stops.into_iter().enumerate().map(|(place, stop)| at.index(place).text(stop));
    Ok(GenerationConfig {
        max_output_tokens: Some(max_output_tokens),
        temperature: number("temperature", wire.temperature)?,
        top_p: number("top_p", wire.top_p)?,
        top_k,
        stop_sequences: stops.collect::<Result<_, _>>()?,
        ..GenerationConfig::default()
    })
}

fn read_output<'a>(wire: &WireRequest<'a>) -> Result<WireOutput<'a>, TranslationError> {
    wire.output_config
        .map_or(Ok(WireOutput::default()), |value| FieldPlace::of("output_config").object(value))
}

/// Reads what is asked of thinking, and what the client sees of it. An effort of an unknown name is none.
fn read_thinking(
    thinking: Option<&RawValue>,
    effort: Option<&RawValue>,
) -> Result<(ThinkingRequest, ThoughtDisplay), TranslationError> {
    let effort = effort.and_then(as_str);
    let is_none = effort.as_deref() == Some("none");
    let effort = effort.as_deref().and_then(ThinkingEffort::parse);
    let Some(thinking) = thinking else {
        let request = match effort {
            _ if is_none => ThinkingRequest::Disabled,
            Some(effort) => ThinkingRequest::Effort(effort),
            None => ThinkingRequest::Unsaid,
        };
        return Ok((request, ThoughtDisplay::Hidden));
    };
    let at = FieldPlace::of("thinking");
    let thinking: WireThinking<'_> = at.object(thinking)?;
    let at_type = at.member("type");
    let kind = at_type.text(at_type.required(thinking.r#type)?)?;
    let request = match &*kind {
        "disabled" => return Ok((ThinkingRequest::Disabled, ThoughtDisplay::Hidden)),
        "enabled" => match thinking.budget_tokens {
            Some(budget) => ThinkingRequest::Tokens(at.member("budget_tokens").count(budget)?),
            None => ThinkingRequest::Adaptive(effort),
        },
        "adaptive" | "between_tools" => ThinkingRequest::Adaptive(effort),
        _ => return Err(at_type.invalid(format!("`{kind}` is none of `enabled`, `adaptive`, `disabled`"))),
    };
    let is_omitted = thinking.display.and_then(as_str).is_some_and(|display| &*display == "omitted");
    Ok((request, if is_omitted { ThoughtDisplay::Omitted } else { ThoughtDisplay::Shown }))
}

/// Reads the schema that the answer is to follow, from its place of now or of before.
fn read_format<'a>(
    output: &WireOutput<'a>,
    before: Option<&'a RawValue>,
) -> Result<Option<Cow<'a, RawValue>>, TranslationError> {
    let config = FieldPlace::of("output_config");
    let (at, format) = match (output.format, before) {
        (Some(format), _) => (config.member("format"), format),
        (None, Some(format)) => (FieldPlace::of("output_format"), format),
        (None, None) => return Ok(None),
    };
    let format: WireFormat<'_> = at.object(format)?;
    let at_type = at.member("type");
    let kind = at_type.text(at_type.required(format.r#type)?)?;
    if kind != "json_schema" {
        return Err(at_type.unsupported(format!("`{kind}` is not served, only `json_schema`")));
    }
    let at = at.member("schema");
    let schema = answer_schema(at.required(format.schema)?);
    schema.map(Some).map_err(|error| at.invalid(error.why()))
}

/// Finds what names the conversation. It is a hint, so that nothing about it is an error.
fn read_sticky(session: Option<&str>, metadata: Option<&RawValue>) -> Option<StickyHint> {
    if let Some(hint) = session.and_then(StickyHint::of) {
        return Some(hint);
    }
    let metadata: WireMetadata<'_> = serde_json::from_str(metadata?.get()).ok()?;
    let user = as_str(metadata.user_id?)?;
    StickyHint::of(&session_of(&user)?)
}

/// The session in Claude Code's `metadata.user_id`: a member of the JSON that it is, before 2026 the last part of a name.
fn session_of(user: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct User<'a> {
        #[serde(borrow)]
        session_id: JsonStr<'a>,
    }

    if user.starts_with('{') {
        return serde_json::from_str::<User<'_>>(user).ok().map(|user| user.session_id.into_inner());
    }
    user.rsplit_once("_session_").map(|(_, session)| Cow::Borrowed(session))
}
