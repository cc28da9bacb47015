//! The items of a request's input, and of the responses before it, as a history for Google: messages, calls and their
//! results, what carries signatures, references to items that are kept here. Called by `request`.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::content::{ContentPiece, read_content};
use super::reader::{FieldWay, ObjectReader, member_text, object_at, objects_of};
use super::state::StoredResponse;
use super::tools::{ToolCatalog, ToolSource};
use crate::conversation::Conversation;
use crate::error::TranslationError;
use crate::gemini::ResultBody;
use crate::json::{RawObject, as_str, object_of_text, raw_of};
use crate::media::Media;
use crate::names::NameTable;

/// What the id of a reasoning item begins with, here as at OpenAI.
pub(super) const REASONING_ID: &str = "rs_";

/// All items that a request tells, in order.
#[derive(Debug, Default)]
pub(super) struct ItemList<'a> {
    items: Vec<ToldItem<'a>>,
    /// `reasoning` of the last item that changes it.
    pub(super) reasoning: Option<&'a RawValue>,
    /// `text` of the last item that changes it.
    pub(super) text: Option<&'a RawValue>,
}

#[derive(Debug)]
struct ToldItem<'a> {
    place: ItemPlace,
    kind: Cow<'a, str>,
    object: RawObject<'a>,
}

/// Where an item stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ItemPlace {
    /// In a response before.
    Earlier,
    /// In `input`.
    Input(usize),
}

/// What is kept here of earlier answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeptItems<'a> {
    /// The response that is gone on from.
    pub(super) previous: Option<&'a StoredResponse>,
    /// Responses of which single items may be named.
    pub(super) referenced: &'a [StoredResponse],
}

impl<'a> KeptItems<'a> {
    /// All items by their ids; those of the response before are `Earlier`.
    fn by_id(self) -> HashMap<Cow<'a, str>, (ItemPlace, &'a RawValue)> {
        let mut by_id = HashMap::new();
        let referenced = self.referenced.iter().flat_map(StoredResponse::all_items);
        let previous = self.previous.into_iter().flat_map(StoredResponse::all_items);
        for (place, raw) in referenced
            .map(|raw| (ItemPlace::Input(0), raw))
            .chain(previous.map(|raw| (ItemPlace::Earlier, raw)))
        {
            if let Some(id) = item_id(raw) {
                by_id.insert(id, (place, raw));
            }
        }
        by_id
    }
}

impl<'a> ItemList<'a> {
    /// Reads the items of the response before and those of `input`.
    pub(super) fn read(input: Option<&'a RawValue>, kept: KeptItems<'a>) -> Result<Self, TranslationError> {
        let mut list = Self::default();
        if let Some(previous) = kept.previous {
            for raw in previous.all_items() {
                if let Some(object) = RawObject::of(raw) {
                    list.push(ItemPlace::Earlier, object)?;
                }
            }
        }
        let way = FieldWay::Root;
        let way = way.member("input");
        let Some(items) = input.filter(|input| as_str(input).is_none()) else { return Ok(list) };
        // Most requests have no reference.
        let mut by_id = None;
        for (index, object) in objects_of(items, way)?.into_iter().enumerate() {
            let way = way.index(index);
            if kind_of(&object, way)? != "item_reference" {
                list.push(ItemPlace::Input(index), object)?;
                continue;
            }
            let id = ObjectReader::new(&object, way).filled_text("id")?;
            let by_id = by_id.get_or_insert_with(|| kept.by_id());
            match by_id.get(&*id) {
                // It is in the history already.
                Some((ItemPlace::Earlier, _)) => {}
                Some((_, raw)) => list.push(ItemPlace::Input(index), object_at(raw, way)?)?,
                None if id.starts_with(REASONING_ID) => {}
                None => {
                    let at = way.member("id").path();
                    return Err(TranslationError::UnknownState { at, id: id.into_owned() });
                }
            }
        }
        Ok(list)
    }

    fn push(&mut self, place: ItemPlace, object: RawObject<'a>) -> Result<(), TranslationError> {
        let kind = with_way(place, |way| kind_of(&object, way))?;
        if &*kind == "configuration_update" {
            let update = ObjectReader::new(&object, FieldWay::Root);
            self.reasoning = update.raw("reasoning").or(self.reasoning);
            self.text = update.raw("text").or(self.text);
        }
        self.items.push(ToldItem { place, kind, object });
        Ok(())
    }

    /// Adds the tools that items declare.
    pub(super) fn declare_tools(&self, tools: &mut ToolCatalog<'a>) -> Result<(), TranslationError> {
        for item in &self.items {
            if matches!(&*item.kind, "additional_tools" | "tool_search_output") {
                with_way(item.place, |way| {
                    let list = ObjectReader::new(&item.object, way).objects("tools")?.unwrap_or_default();
                    tools.read(&list, way.member("tools"), ToolSource::Item)
                })?;
            }
        }
        Ok(())
    }

    /// Tells all items to a conversation.
    pub(super) fn tell(
        &self,
        conversation: &mut Conversation<'a>,
        names: &NameTable,
    ) -> Result<(), TranslationError> {
        self.items.iter().try_for_each(|item| {
            with_way(item.place, |way| {
                let object = ObjectReader::new(&item.object, way);
                tell_item(&item.kind, object, conversation, names)
            })
        })
    }

    /// The items of `input` itself, references replaced by what they mean.
    pub(super) fn own_items(&self) -> impl Iterator<Item = &RawObject<'a>> {
        self.items.iter().filter(|item| item.place != ItemPlace::Earlier).map(|item| &item.object)
    }
}

/// Calls `read` with the way to an item.
fn with_way<T>(place: ItemPlace, read: impl FnOnce(FieldWay<'_>) -> T) -> T {
    let root = FieldWay::Root;
    match place {
        ItemPlace::Earlier => read(root.member("previous_response_id")),
        ItemPlace::Input(index) => read(root.member("input").index(index)),
    }
}

/// The type of an item. Messages and references may leave it out.
fn kind_of<'a>(object: &RawObject<'a>, way: FieldWay<'_>) -> Result<Cow<'a, str>, TranslationError> {
    if let Some(kind) = ObjectReader::new(object, way).text("type")? {
        return Ok(kind);
    }
    if object.get("role").is_some() {
        Ok("message".into())
    } else if object.get("id").is_some() {
        Ok("item_reference".into())
    } else {
        Err(way.member("type").invalid("is required"))
    }
}

/// Tells one item.
fn tell_item<'a>(
    kind: &str,
    item: ObjectReader<'_, 'a, '_>,
    conversation: &mut Conversation<'a>,
    names: &NameTable,
) -> Result<(), TranslationError> {
    match kind {
        "message" => tell_message(item, conversation),
        "function_call" => {
            let arguments = object_of_text(item.text("arguments")?.unwrap_or_default());
            let arguments = arguments
                .ok_or_else(|| item.invalid("arguments", "has to be a JSON object, written as a string"))?;
            tell_call(item, arguments, conversation, names)
        }
        "custom_tool_call" => {
            #[derive(Serialize)]
            struct CustomInput<'s> {
                input: &'s str,
            }
            let input = item.required_text("input")?;
            let arguments = Cow::Owned(raw_of(&CustomInput { input: &input }));
            tell_call(item, arguments, conversation, names)
        }
        "function_call_output" | "custom_tool_call_output" => tell_result(item, conversation),
        "reasoning" => {
            if let Some(carrier) = item.text("encrypted_content")? {
                conversation.thinking(&carrier);
            }
            Ok(())
        }
        "image_generation_call" => {
            if let Some(base64) = item.text("result")?.filter(|base64| !base64.is_empty()) {
                let format = item.text("output_format")?.unwrap_or("png".into());
                let mime_type = format!("image/{format}").into();
                conversation.assistant_media(Media::Inline { mime_type, base64 });
            }
            Ok(())
        }
        // What these did is in the texts and the tools of the request.
        "web_search_call"
        | "tool_search_call"
        | "tool_search_output"
        | "additional_tools"
        | "configuration_update" => Ok(()),
        other => Err(item.unsupported("type", format!("`{other}` items are not served here"))),
    }
}

fn tell_message<'a>(
    item: ObjectReader<'_, 'a, '_>,
    conversation: &mut Conversation<'a>,
) -> Result<(), TranslationError> {
    #[derive(Clone, Copy)]
    enum MessageAuthor {
        User,
        Model,
        Operator,
    }
    let role = item.required_text("role")?;
    let author = match &*role {
        "user" => MessageAuthor::User,
        "assistant" => MessageAuthor::Model,
        "system" | "developer" => MessageAuthor::Operator,
        other => {
            let why = format!("`{other}` is none of `user`, `assistant`, `system`, `developer`");
            return Err(item.invalid("role", why));
        }
    };
    let content = item.raw("content").ok_or_else(|| item.invalid("content", "is required"))?;
    if !matches!(author, MessageAuthor::Operator) {
        conversation.message();
    }
    read_content(content, item.way.member("content"), |piece| match (piece, author) {
        (ContentPiece::Text(text), MessageAuthor::User) => conversation.user_text(text),
        (ContentPiece::Text(text), MessageAuthor::Model) => conversation.assistant_text(text),
        (ContentPiece::Text(text), MessageAuthor::Operator) => conversation.system(text),
        (ContentPiece::Media(media), MessageAuthor::Model) => conversation.assistant_media(media),
        (ContentPiece::Media(media), MessageAuthor::User | MessageAuthor::Operator) => {
            conversation.user_media(media);
        }
    })
}

fn tell_call<'a>(
    item: ObjectReader<'_, 'a, '_>,
    arguments: Cow<'a, RawValue>,
    conversation: &mut Conversation<'a>,
    names: &NameTable,
) -> Result<(), TranslationError> {
    // A name that the model left empty came here with the call, and must not end the conversation.
    let (id, name) = (item.filled_text("call_id")?, item.required_text("name")?);
    let namespace = item.text("namespace")?;
    let name = names.google_name(namespace.as_deref(), &name).into_owned();
    conversation.call(id, name, arguments);
    Ok(())
}

fn tell_result<'a>(
    item: ObjectReader<'_, 'a, '_>,
    conversation: &mut Conversation<'a>,
) -> Result<(), TranslationError> {
    let id = item.filled_text("call_id")?;
    let output = item.raw("output").ok_or_else(|| item.invalid("output", "is required"))?;
    let (mut texts, mut media) = (Vec::new(), Vec::new());
    read_content(output, item.way.member("output"), |piece| match piece {
        ContentPiece::Text(text) => texts.push(text),
        ContentPiece::Media(one) => media.push(one),
    })?;
    let text = match texts.len() {
        0 | 1 => texts.pop().unwrap_or_default(),
        _ => Cow::Owned(texts.join("\n")),
    };
    conversation
        .result(&id, ResultBody::Output(text), media)
        .map_err(|error| error.at(item.way.member("call_id").path()))
}

/// The id of an item, where it has one.
pub(super) fn item_id(item: &RawValue) -> Option<Cow<'_, str>> {
    member_text(&RawObject::of(item)?, "id").map(crate::json::JsonStr::into_inner)
}
