//! Items that come whole, whatever the chunks: calls of functions and of custom tools, pictures, the search. Each is
//! begun, told and ended at once.

use serde_json::value::RawValue;

use super::OutputWriter;
use crate::call::AnswerMemory;
use crate::json::{RawObject, as_str};
use crate::names::ClientToolForm;
use crate::responses::events::EventPlace;
use crate::responses::search::FoundPages;
use crate::responses::wire::{ItemStatus, OutputItem, compact};
use crate::signature::{CallIdPrefix, call_id};

impl OutputWriter {
    /// Adds a call. The client's id of it carries Google's and the signature.
    pub(super) fn add_call(
        &mut self,
        google_id: Option<&str>,
        google_name: &str,
        args: Option<&RawValue>,
        signature: Option<&str>,
        memory: &AnswerMemory,
    ) {
        (self.has_call, self.ends_unsigned) = (true, false);
        let unique = self.seed.item("", self.done.count());
        let google_id = google_id.map(|id| self.distinct(id));
        let call_id = call_id(CallIdPrefix::Call, google_id.as_deref(), signature, &unique);
        let arguments = compact(args.map_or("{}", RawValue::get));
        self.held_bytes += arguments.len() + 2 * call_id.len();
        // A tool that nobody declared goes to the client as well: it tells the model so.
        let tool = memory.names.client_tool(google_name);
        let name = tool.map_or(google_name, |tool| &tool.name);
        let namespace = tool.and_then(|tool| tool.namespace.as_deref());
        let (call_id, status) = (call_id.as_str(), ItemStatus::InProgress);
        if tool.is_some_and(|tool| tool.form == ClientToolForm::Custom) {
            let id = self.item_id("ctc_");
            let input = input_of(&arguments);
            let item = |status, input| OutputItem::CustomToolCall {
                id: &id,
                status,
                call_id,
                name,
                namespace,
                input,
            };
            let place = self.begin_whole(&id, &item(status, ""));
            self.events.emit_at("response.custom_tool_call_input.delta", &place, 16 + input.len(), |event| {
                event.text("delta", &input);
            });
            self.events.emit_at("response.custom_tool_call_input.done", &place, 16 + input.len(), |event| {
                event.text("input", &input);
            });
            self.finish_item(&item(ItemStatus::Completed, &input), call_id.len() + input.len());
        } else {
            let id = self.item_id("fc_");
            let item = |status, arguments| OutputItem::FunctionCall {
                id: &id,
                status,
                call_id,
                name,
                namespace,
                arguments,
            };
            let place = self.begin_whole(&id, &item(status, ""));
            let room = 32 + arguments.len();
            self.events.emit_at("response.function_call_arguments.delta", &place, room, |event| {
                event.text("delta", &arguments);
            });
            self.events.emit_at("response.function_call_arguments.done", &place, room, |event| {
                event.text("arguments", &arguments);
            });
            self.finish_item(&item(ItemStatus::Completed, &arguments), call_id.len() + arguments.len());
        }
    }

    /// Begins an item, and returns its place.
    fn begin_whole(&mut self, id: &str, item: &OutputItem<'_>) -> EventPlace {
        self.events.emit_item("response.output_item.added", self.done.count(), item);
        EventPlace::of_item(self.done.count(), id)
    }

    /// An id that no other call of this answer has: clients tell parallel calls apart by it.
    fn distinct(&mut self, google_id: &str) -> String {
        let mut distinct = google_id.to_owned();
        while !self.google_ids.insert(distinct.clone()) {
            distinct = format!("{google_id}-{}", self.google_ids.len());
        }
        distinct
    }

    /// Adds a picture that the model made, of this format.
    pub(super) fn add_picture(&mut self, output_format: &str, base64: &str) {
        self.held_bytes += base64.len();
        self.ends_unsigned = false;
        let id = self.item_id("ig_");
        let item =
            |status, result| OutputItem::ImageGenerationCall { id: &id, status, result, output_format };
        let place = self.begin_whole(&id, &item(ItemStatus::InProgress, None));
        for kind in ["in_progress", "generating", "completed"] {
            self.events.emit_at(&format!("response.image_generation_call.{kind}"), &place, 0, |_| {});
        }
        self.finish_item(&item(ItemStatus::Completed, Some(base64)), base64.len());
    }

    /// Adds the search that the answer rests on.
    pub(super) fn add_search(&mut self, found: &FoundPages) {
        let id = self.item_id("ws_");
        let item = |status| OutputItem::WebSearchCall { id: &id, status, action: found.action() };
        let place = self.begin_whole(&id, &item(ItemStatus::InProgress));
        for kind in ["in_progress", "searching", "completed"] {
            self.events.emit_at(&format!("response.web_search_call.{kind}"), &place, 0, |_| {});
        }
        self.finish_item(&item(ItemStatus::Completed), 0);
    }
}

/// What a custom tool is called with: the text that was asked for or, where the model has named it otherwise, the only
/// text there is.
fn input_of(arguments: &str) -> String {
    let object: RawObject<'_> = serde_json::from_str(arguments).unwrap_or_default();
    let text = |value: &RawValue| as_str(value).map(|text| text.to_string());
    match (object.get("input").and_then(text), &object.0[..]) {
        (Some(input), _) => input,
        (None, [(_, only)]) => text(only).unwrap_or_else(|| arguments.to_owned()),
        (None, []) => String::new(),
        (None, _) => arguments.to_owned(),
    }
}
