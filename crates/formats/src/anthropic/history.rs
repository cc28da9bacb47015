//! Tells a Messages history to a [`Conversation`], which puts it in Google's order: instructions, messages of every role,
//! and every kind of block in them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::content::{MessageContent, ShownPiece, kind_of, of_result, show, text_of};
use super::place::{FieldPlace, cut};
use super::wire::{WireBlock, WireMessage};
use crate::conversation::Conversation;
use crate::error::TranslationError;
use crate::gemini::ResultBody;
use crate::json::{as_str, empty_object, is_object};
use crate::names::NameTable;

/// How Claude Code begins a line that differs from request to request: with it, no two would share a prefix that is
/// cached.
const BILLING: &str = "x-anthropic-billing-header:";

/// Who speaks in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessageRole {
    User,
    Assistant,
    /// The operator, in the middle of a conversation.
    System,
}

/// Reads `system` and returns its texts.
pub(super) fn instructions(system: &RawValue) -> Result<Vec<Cow<'_, str>>, TranslationError> {
    let at = FieldPlace::of("system");
    Ok(match MessageContent::read(system, &at)? {
        MessageContent::Text(text) => vec![without_billing(text)],
        MessageContent::Blocks(blocks) => {
            let mut texts = Vec::with_capacity(blocks.len());
            for (place, block) in blocks.iter().enumerate() {
                texts.push(without_billing(text_of(block, &at.index(place))?));
            }
            texts
        }
    })
}

/// A text without the line for billing that it begins with.
fn without_billing(text: Cow<'_, str>) -> Cow<'_, str> {
    let rest = text.trim_start();
    if !rest.starts_with(BILLING) {
        return text;
    }
    Cow::Owned(rest.find('\n').map_or("", |end| rest[end..].trim_start()).to_owned())
}

/// Tells all `messages`, in their order.
pub(super) fn tell<'a>(
    history: &mut Conversation<'a>,
    messages: &'a RawValue,
    names: &'a NameTable,
) -> Result<(), TranslationError> {
    let at = FieldPlace::of("messages");
    let mut teller = Teller { history, names, search: None };
    let messages = at.list(messages)?;
    if messages.is_empty() {
        return Err(at.invalid("has to have one message at least"));
    }
    for (place, message) in messages.into_iter().enumerate() {
        let at = at.index(place);
        let message: WireMessage<'_> = at.object(message)?;
        let at_role = at.member("role");
        let role = at_role.text(at_role.required(message.role)?)?;
        let role = match &*role {
            "user" => MessageRole::User,
            "assistant" => MessageRole::Assistant,
            "system" => MessageRole::System,
            other => {
                let why = format!("`{other}` is not a role; it has to be `user`, `assistant` or `system`");
                return Err(at_role.invalid(why));
            }
        };
        let at = at.member("content");
        if role != MessageRole::System {
            teller.history.message();
        }
        match MessageContent::read(at.required(message.content)?, &at)? {
            MessageContent::Text(text) => teller.text(role, text),
            MessageContent::Blocks(blocks) => {
                for (place, block) in blocks.iter().enumerate() {
                    teller.block(role, block, &at.index(place))?;
                }
            }
        }
    }
    Ok(())
}

struct Teller<'h, 'a> {
    history: &'h mut Conversation<'a>,
    names: &'a NameTable,
    /// What the last search was for, until its result is told.
    search: Option<Cow<'a, str>>,
}

impl<'a> Teller<'_, 'a> {
    fn text(&mut self, role: MessageRole, text: Cow<'a, str>) {
        match role {
            MessageRole::User => self.history.user_text(text),
            MessageRole::Assistant => self.history.assistant_text(text),
            MessageRole::System => self.history.system(without_billing(text)),
        }
    }

    fn block(
        &mut self,
        role: MessageRole,
        block: &WireBlock<'a>,
        at: &FieldPlace<'_>,
    ) -> Result<(), TranslationError> {
        use MessageRole::{Assistant, System, User};

        let kind = kind_of(block, at)?;
        match (role, &*kind) {
            (_, "text") => {
                let text = text_of(block, at)?;
                self.text(role, text);
            }
            (User, "tool_result") => self.result(block, at)?,
            (Assistant, "tool_use") => self.call(block, at)?,
            // Thoughts are not told again; what their block carries of ours is.
            (Assistant, "thinking") => {
                if let Some(signature) = block.signature {
                    self.history.thinking(&at.member("signature").text(signature)?);
                }
            }
            // Nobody else can read the one, and the other is of tools that are all declared anyhow.
            (Assistant, "redacted_thinking" | "tool_search_tool_result") => {}
            (Assistant, "server_tool_use") => self.server_call(block, at)?,
            (Assistant, "web_search_tool_result") => self.search_result(block),
            (System, _) => {
                return Err(at
                    .member("type")
                    .unsupported(format!("`{kind}` is not served in a system message")));
            }
            (User | Assistant, _) => {
                let mut shown = Vec::new();
                if !show(&kind, block, at, &mut shown)? {
                    return Err(at.member("type").unsupported(unserved(role, &kind)));
                }
                for piece in shown {
                    match (role, piece) {
                        (_, ShownPiece::Text(text)) => self.text(role, text),
                        (Assistant, ShownPiece::Media(media)) => self.history.assistant_media(media),
                        (_, ShownPiece::Media(media)) => self.history.user_media(media),
                    }
                }
            }
        }
        Ok(())
    }

    fn call(&mut self, block: &WireBlock<'a>, at: &FieldPlace<'_>) -> Result<(), TranslationError> {
        let (at_id, at_name) = (at.member("id"), at.member("name"));
        let id = at_id.text(at_id.required(block.id)?)?;
        let name = match at_name.text(at_name.required(block.name)?)? {
            Cow::Borrowed(name) => self.names.google_name(None, name),
            Cow::Owned(name) => Cow::Owned(self.names.google_name(None, &name).into_owned()),
        };
        let args = match block.input {
            None => Cow::Owned(empty_object()),
            Some(input) if is_object(input) => Cow::Borrowed(input),
            Some(_) => return Err(at.member("input").invalid("has to be an object")),
        };
        self.history.call(id, name, args);
        Ok(())
    }

    fn result(&mut self, block: &WireBlock<'a>, at: &FieldPlace<'_>) -> Result<(), TranslationError> {
        let at_id = at.member("tool_use_id");
        let id = at_id.text(at_id.required(block.tool_use_id)?)?;
        let is_error = at.member("is_error").flag(block.is_error)?;
        let (text, media) = of_result(block.content, &at.member("content"))?;
        let response = if is_error { ResultBody::Error(text) } else { ResultBody::Output(text) };
        self.history.result(&id, response, media).map_err(|error| match error.at(at_id.path()) {
            // Ids of ours are long: they carry signatures.
            TranslationError::Invalid { at, why } => TranslationError::Invalid { at, why: cut(why) },
            other => other,
        })
    }

    fn server_call(&mut self, block: &WireBlock<'a>, at: &FieldPlace<'_>) -> Result<(), TranslationError> {
        let at_name = at.member("name");
        let name = at_name.text(at_name.required(block.name)?)?;
        if name == "web_search" {
            let input = block.input.and_then(crate::json::RawObject::of);
            let query = input.and_then(|input| input.get("query")).and_then(as_str);
            self.search = query.map(crate::json::JsonStr::into_inner);
            Ok(())
        } else if name.starts_with("tool_search_tool") {
            Ok(())
        } else {
            Err(at_name.unsupported(format!(
                "`{name}` ran on Anthropic's servers, which Google's models do not know"
            )))
        }
    }

    /// Tells what was searched and found. What Anthropic encrypted, nobody else can read; a search that failed has
    /// nothing to tell.
    fn search_result(&mut self, block: &WireBlock<'a>) {
        #[derive(Deserialize)]
        struct Found<'a> {
            #[serde(borrow)]
            url: Option<&'a RawValue>,
            title: Option<&'a RawValue>,
        }

        let query = self.search.take().unwrap_or_default();
        let found = block.content.filter(|content| content.get().starts_with('['));
        let found = found.and_then(|content| serde_json::from_str::<Vec<Found<'_>>>(content.get()).ok());
        let mut text = String::new();
        for Found { url, title } in found.into_iter().flatten() {
            let (Some(url), title) = (url.and_then(as_str), title.and_then(as_str).unwrap_or_default())
            else {
                continue;
            };
            text.extend(["\n- ", &*title, if title.is_empty() { "" } else { ": " }, &*url]);
        }
        if !text.is_empty() {
            self.history.assistant_text(format!("[Web search: {query}]{text}"));
        }
    }
}

fn unserved(role: MessageRole, kind: &str) -> String {
    match (role, kind) {
        (MessageRole::User, "tool_use" | "thinking" | "redacted_thinking" | "server_tool_use") => {
            format!("`{kind}` belongs in a message of the assistant's")
        }
        (MessageRole::Assistant, "tool_result") => format!("`{kind}` belongs in a message of the user's"),
        _ => format!("`{kind}` is not served"),
    }
}
