//! The state of one response, as a store keeps it: its own input items, its response object with the output items, and
//! the items of all responses before it, so that one record is enough to go on. It is bytes in and bytes out; who keeps
//! it, for how long and for whom, is the caller's business.

use std::fmt::Write as _;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::items::item_id;
use super::reader::{list_of, member_text};
use super::wire::{InputText, OutputPart};
use crate::json::{JsonStr, RawObject, as_str, raw_of};

/// The most items that one page of input items has (OpenAI's bound).
const MAX_PAGE: usize = 100;

/// One response as it is kept.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    /// The items of the responses before, a list.
    history: Box<RawValue>,
    /// The items of its own request, a list.
    input: Box<RawValue>,
    /// The response object.
    response: Box<RawValue>,
}

/// What of a request is kept once its response is there.
#[derive(Clone, Debug)]
pub struct ResponseDraft {
    history: Box<RawValue>,
    input: Box<RawValue>,
}

/// In which order a list of items is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ItemOrder {
    /// As they were told.
    Ascending,
    /// The last first: what is meant where nothing is said.
    #[default]
    Descending,
}

impl ItemOrder {
    /// Reads the query's `order`; `None` for an unknown word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "asc" => Some(Self::Ascending),
            "desc" => Some(Self::Descending),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct WireStored<'a> {
    history: &'a RawValue,
    input: &'a RawValue,
    response: &'a RawValue,
}

#[derive(Deserialize)]
struct OwnedStored {
    history: Box<RawValue>,
    input: Box<RawValue>,
    response: Box<RawValue>,
}

impl ResponseDraft {
    /// A draft of a request's items, a list, that goes on from `previous`.
    pub(super) fn new(previous: Option<&StoredResponse>, input: Box<RawValue>) -> Self {
        let history: Vec<&RawValue> = previous.map(StoredResponse::all_items).unwrap_or_default();
        Self { history: raw_of(&history), input }
    }

    /// What is to be stored once the response object is known: the body that the client gets. `None` if that is no
    /// JSON object.
    pub fn finish(self, response: &[u8]) -> Option<StoredResponse> {
        let response: Box<RawValue> = serde_json::from_slice(response).ok()?;
        crate::json::is_object(&response).then_some(StoredResponse {
            history: self.history,
            input: self.input,
            response,
        })
    }
}

impl StoredResponse {
    /// Writes it down.
    pub fn encode(&self) -> Vec<u8> {
        let (history, input, response) = (&*self.history, &*self.input, &*self.response);
        let around = 64 + history.get().len() + input.get().len();
        let mut encoded = Vec::with_capacity(around + response.get().len());
        let written = serde_json::to_writer(&mut encoded, &WireStored { history, input, response });
        debug_assert!(written.is_ok());
        encoded
    }

    /// Reads what [`StoredResponse::encode`] wrote; `None` if it is something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let OwnedStored { history, input, response } = serde_json::from_slice(bytes).ok()?;
        let is_sound =
            list_of(&history).is_some() && list_of(&input).is_some() && crate::json::is_object(&response);
        is_sound.then_some(Self { history, input, response })
    }

    /// The response's id.
    pub fn id(&self) -> String {
        let object = RawObject::of(&self.response).unwrap_or_default();
        member_text(&object, "id").unwrap_or_default().to_string()
    }

    /// The id of the conversation's first item: what all responses of one chain have in common.
    pub(super) fn first_id(&self) -> String {
        let first = self.all_items().into_iter().find_map(item_id);
        first.map_or_else(|| self.id(), std::borrow::Cow::into_owned)
    }

    /// The body of `GET /v1/responses/{id}`.
    pub fn response_body(&self) -> Bytes {
        Bytes::copy_from_slice(self.response.get().as_bytes())
    }

    /// The body of `GET /v1/responses/{id}/input_items`: `limit` items of its own request (20 where none is said, 1 to
    /// 100), after the item of the id `after`. After an id that is not there come none.
    pub fn input_items_body(&self, limit: Option<usize>, order: ItemOrder, after: Option<&str>) -> Bytes {
        #[derive(Serialize)]
        struct InputItems<'s> {
            object: &'static str,
            data: &'s [Box<RawValue>],
            first_id: Option<&'s str>,
            last_id: Option<&'s str>,
            has_more: bool,
        }
        let mut items: Vec<(String, Box<RawValue>)> = self.identified_items();
        if order == ItemOrder::Descending {
            items.reverse();
        }
        if let Some(after) = after {
            let start = items.iter().position(|(id, _)| id == after).map_or(items.len(), |at| at + 1);
            items.drain(..start);
        }
        let limit = limit.unwrap_or(20).clamp(1, MAX_PAGE);
        let has_more = items.len() > limit;
        items.truncate(limit);
        let (ids, page): (Vec<String>, Vec<Box<RawValue>>) = items.into_iter().unzip();
        let body = InputItems {
            object: "list",
            data: &page,
            first_id: ids.first().map(String::as_str),
            last_id: ids.last().map(String::as_str),
            has_more,
        };
        super::answer::bytes_of(raw_of(&body))
    }

    /// The items of its own request with ids: the client's, or made of the response's.
    fn identified_items(&self) -> Vec<(String, Box<RawValue>)> {
        let own = self.id();
        let own = own.strip_prefix(super::RESPONSE_ID).unwrap_or(&own);
        let items = list_of(&self.input).unwrap_or_default();
        let identified = items.into_iter().enumerate().map(|(index, item)| match item_id(item) {
            Some(id) if !id.is_empty() => (id.to_string(), listed(item, &id)),
            _ => {
                let id = format!("item_{own}_{index}");
                let listed = listed(item, &id);
                (id, listed)
            }
        });
        identified.collect()
    }

    /// The items of the whole conversation so far: those of the responses before, of its request, of its output.
    pub(super) fn all_items(&self) -> Vec<&RawValue> {
        let mut items = list_of(&self.history).unwrap_or_default();
        items.extend(list_of(&self.input).unwrap_or_default());
        let response = RawObject::of(&self.response).unwrap_or_default();
        items.extend(response.get("output").and_then(list_of).unwrap_or_default());
        items
    }
}

/// An item as lists have it: with an id, a type and a status, a message's content as a list of parts. Requests may leave
/// these out, but the SDKs' types of what is listed want them.
fn listed(item: &RawValue, id: &str) -> Box<RawValue> {
    let Some(mut object) = RawObject::of(item) else { return item.to_owned() };
    let kind = member_text(&object, "type").map_or_else(|| "message".to_owned(), |kind| kind.to_string());
    let is_assistants = member_text(&object, "role").is_some_and(|role| &*role == "assistant");
    let text = object.get("content").and_then(as_str);
    let part = text.as_ref().map(|text| {
        if is_assistants {
            raw_of(&[OutputPart::OutputText { text: &raw_of(text), annotations: &[], logprobs: [] }])
        } else {
            raw_of(&[InputText { r#type: "input_text", text }])
        }
    });
    let (id, kind_raw, completed) = (raw_of(id), raw_of(&kind), raw_of("completed"));
    let mut put = |name: &'static str, value| {
        object.0.retain(|(other, _)| &**other != name);
        object.0.insert(0, (JsonStr(name.into()), value));
    };
    if let Some(part) = part.as_deref() {
        put("content", part);
    }
    put("type", &kind_raw);
    put("id", &id);
    let has_status =
        ["message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"];
    if has_status.contains(&kind.as_str()) && object.get("status").is_none() {
        object.0.push((JsonStr("status".into()), &completed));
    }
    raw_of(&object)
}

/// The body of `DELETE /v1/responses/{id}`.
pub fn deleted_body(id: &str) -> String {
    let mut body = String::from(r#"{"id":"#);
    // Writing to a string cannot fail.
    let _ = write!(body, "{},\"object\":\"response\",\"deleted\":true}}", raw_of(id).get());
    body
}
