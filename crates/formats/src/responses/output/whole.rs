//! Items that come whole, whatever the chunks: calls of functions and of custom tools, pictures, the search. Each is
//! begun, told and ended at once.

use serde_json::value::RawValue;

use super::OutputWriter;
use crate::call::AnswerMemory;
use crate::json::{RawObject, as_str, raw_of};
use crate::names::ClientToolForm;
use crate::responses::search::FoundPages;
use crate::responses::wire::{ItemStatus, OutputItem, ResponseEvent, compact};
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
        (self.has_call, self.ends_in_text) = (true, false);
        let unique = self.seed.item("", self.done.len());
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
            let item = |status, input| {
                raw_of(&OutputItem::CustomToolCall { id: &id, status, call_id, name, namespace, input })
            };
            self.emit_item("response.output_item.added", &item(status, ""));
            let event = self.place(&id);
            self.emit(
                "response.custom_tool_call_input.delta",
                ResponseEvent { delta: Some(&input), ..event },
            );
            let event = self.place(&id);
            self.emit("response.custom_tool_call_input.done", ResponseEvent { input: Some(&input), ..event });
            self.finish_item(item(ItemStatus::Completed, &input));
        } else {
            let id = self.item_id("fc_");
            let item = |status, arguments| {
                raw_of(&OutputItem::FunctionCall { id: &id, status, call_id, name, namespace, arguments })
            };
            self.emit_item("response.output_item.added", &item(status, ""));
            let event = self.place(&id);
            self.emit(
                "response.function_call_arguments.delta",
                ResponseEvent { delta: Some(&arguments), ..event },
            );
            let event = self.place(&id);
            self.emit(
                "response.function_call_arguments.done",
                ResponseEvent { arguments: Some(&arguments), ..event },
            );
            self.finish_item(item(ItemStatus::Completed, &arguments));
        }
    }

    /// An id that no other call of this answer has: clients tell parallel calls apart by it.
    fn distinct(&mut self, google_id: &str) -> String {
        let mut distinct = google_id.to_owned();
        while !self.google_ids.insert(distinct.clone()) {
            distinct = format!("{google_id}-{}", self.google_ids.len());
        }
        distinct
    }

    /// Adds a picture that the model made.
    pub(super) fn add_picture(&mut self, mime_type: &str, base64: &str) {
        // No other medium was asked for.
        let Some(output_format) = mime_type.strip_prefix("image/") else { return };
        self.held_bytes += base64.len();
        self.ends_in_text = false;
        let id = self.item_id("ig_");
        let item = |status, result| {
            raw_of(&OutputItem::ImageGenerationCall { id: &id, status, result, output_format })
        };
        self.emit_item("response.output_item.added", &item(ItemStatus::InProgress, None));
        for kind in ["in_progress", "generating", "completed"] {
            let event = self.place(&id);
            self.emit(&format!("response.image_generation_call.{kind}"), event);
        }
        self.finish_item(item(ItemStatus::Completed, Some(base64)));
    }

    /// Adds the search that the answer rests on.
    pub(super) fn add_search(&mut self, found: &FoundPages) {
        let id = self.item_id("ws_");
        let item = |status| raw_of(&OutputItem::WebSearchCall { id: &id, status, action: found.action() });
        self.emit_item("response.output_item.added", &item(ItemStatus::InProgress));
        for kind in ["in_progress", "searching", "completed"] {
            let event = self.place(&id);
            self.emit(&format!("response.web_search_call.{kind}"), event);
        }
        self.finish_item(item(ItemStatus::Completed));
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
