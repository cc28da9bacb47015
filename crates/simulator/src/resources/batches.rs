//! `batches`: requests of a model given at once, inline or as a file of lines, and answered by and by in the same form.
//! The OpenAI layer shows the same batches in its own words.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::files;
use super::mentions;
use super::paging;
use crate::answer::Answer;
use crate::call::Call;
use crate::error::{ApiError, Frame};
use crate::models::{Model, ModelKind};
use crate::native;
use crate::prompt::field;
use crate::route::{Act, Kind, Place};
use crate::world::{LOWER, Resource, World, merge, stamp};

/// What a batch consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchForm {
    Generate,
    Embed,
}

impl BatchForm {
    fn named(name: &str) -> Option<Self> {
        match name {
            "batchGenerateContent" => Some(Self::Generate),
            "asyncBatchEmbedContent" => Some(Self::Embed),
            _ => None,
        }
    }

    /// The protobuf messages of a batch and of its output.
    fn message(self) -> &'static str {
        match self {
            Self::Generate => "GenerateContentBatch",
            Self::Embed => "EmbedContentBatch",
        }
    }

    /// Where the inline answers are.
    fn inlined(self) -> &'static str {
        match self {
            Self::Generate => "inlinedResponses",
            Self::Embed => "inlinedEmbedContentResponses",
        }
    }

    fn answer(self, world: &World, model: &Model, request: &Value) -> Result<Value, ApiError> {
        match self {
            Self::Generate => native::generated(world, model, request),
            Self::Embed => native::embedded(request),
        }
    }
}

pub(super) fn answer(call: &Call<'_>, place: &Place) -> Result<Answer, ApiError> {
    let (registry, now) = (&call.world.resources, call.world.clock());
    let what = (call.key.project.as_str(), Kind::Batch, place.name.as_str());
    match &place.act {
        Act::List => {
            paging::page(call, Kind::Batch, &place.name, Some("operations"), |batch| batch.body.clone())
        }
        Act::Get => Ok(Answer::pretty(&registry.poll(what, now)?)),
        Act::Delete => registry.remove(what, now).map(|()| Answer::pretty(&json!({}))),
        Act::Patch => {
            let new = call.json.get("batch").unwrap_or(&call.json).clone();
            registry.with(what, now, |batch| {
                let mut changed = json!({"updateTime": stamp(now)});
                for name in ["displayName", "priority"] {
                    if let Some(value) = new.get(name) {
                        changed[name] = value.clone();
                    }
                }
                merge(&mut batch.body["metadata"], changed);
                Answer::pretty(&batch.body["metadata"])
            })
        }
        Act::Verb(verb) if verb == "cancel" => cancel(call, &place.name).map(|_| Answer::pretty(&json!({}))),
        Act::Verb(verb) => match BatchForm::named(verb) {
            Some(form) => create(call, place, form).map(|batch| Answer::pretty(&batch)),
            None => Ok(Answer::no_such_page(call.path)),
        },
        Act::Create => Ok(Answer::no_such_page(call.path)),
    }
}

/// Ends a batch that is not finished; returns it.
pub(crate) fn cancel(call: &Call<'_>, name: &str) -> Result<Value, ApiError> {
    let now = call.world.clock();
    call.world.resources.with((call.key.project.as_str(), Kind::Batch, name), now, |batch| {
        if batch.work.take().is_some() {
            let new = json!({
                "done": true,
                "error": {"code": 1, "message": "The batch was cancelled."},
                "metadata": {"state": "BATCH_STATE_CANCELLED", "endTime": stamp(now), "updateTime": stamp(now)},
            });
            merge(&mut batch.body, new);
        }
        batch.body.clone()
    })
}

fn create(call: &Call<'_>, place: &Place, form: BatchForm) -> Result<Value, ApiError> {
    let kind = if form == BatchForm::Generate { ModelKind::Generate } else { ModelKind::Embed };
    let model = call.model(place.model().unwrap_or_default(), &[kind], "batchGenerateContent")?;
    let Some(batch) = call.json.get("batch") else {
        return Err(ApiError::new(400, "* BatchGenerateContentRequest.batch: batch is not specified\n"));
    };
    let Some(input) = field(batch, "inputConfig", "input_config") else {
        return Err(ApiError::new(
            400,
            "* GenerateContentBatch.input_config: input_config is not specified\n",
        ));
    };
    let inline = input.get("requests").map(|list| list.get("requests").unwrap_or(list));
    let output = if let Some(requests) = inline.and_then(Value::as_array) {
        Output::Inline(requests.iter().map(|item| answered(call, model, form, item, "metadata")).collect())
    } else if let Some(name) = field(input, "fileName", "file_name").and_then(Value::as_str) {
        let lines = lines(call, name)?;
        Output::Lines(lines.iter().map(|line| answered(call, model, form, line, "key")).collect())
    } else {
        return Err(ApiError::new(400, "* InputConfig.source: requests or a file_name must be given\n"));
    };
    let asked = BatchDetails {
        form,
        model: &model.id,
        display_name: field(batch, "displayName", "display_name").cloned(),
        more: Value::Null,
    };
    Ok(begin(call, &asked, output))
}

/// What a batch is told by besides its output.
pub(crate) struct BatchDetails<'a> {
    pub(crate) form: BatchForm,
    pub(crate) model: &'a str,
    pub(crate) display_name: Option<Value>,
    /// More fields of the metadata.
    pub(crate) more: Value,
}

/// The answers, in the form of the requests.
pub(crate) enum Output {
    Inline(Vec<Value>),
    Lines(Vec<Value>),
}

/// The lines of an input file.
pub(crate) fn lines(call: &Call<'_>, name: &str) -> Result<Vec<Value>, ApiError> {
    let what = (call.key.project.as_str(), Kind::File, name);
    let content = call.world.resources.with(what, call.world.clock(), |file| file.content.clone())?;
    // The content of large files is not kept; such a batch has no requests.
    let text =
        content.map(|content| String::from_utf8_lossy(&content.bytes).into_owned()).unwrap_or_default();
    let bad = |error| ApiError::new(400, format!("The input file is not JSON Lines: {error}"));
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).map_err(bad))
        .collect()
}

/// A request in a file is looked at only when its turn comes.
pub(crate) fn check(call: &Call<'_>, request: &Value) -> Result<(), ApiError> {
    mentions::check_body(call.world, &call.key.project, request, false)
}

/// One answer with what identifies it, which is under `mark` in the request.
fn answered(call: &Call<'_>, model: &Model, form: BatchForm, item: &Value, mark: &str) -> Value {
    let request = item.get("request").unwrap_or(item);
    let mut answer = match check(call, request).and_then(|()| form.answer(call.world, model, request)) {
        Ok(response) => json!({"response": response}),
        Err(error) => {
            let told: Value = serde_json::from_str(&error.pretty(Frame::Object)).unwrap_or_default();
            json!({"error": told["error"]})
        }
    };
    if let Some(value) = item.get(mark) {
        answer[mark] = value.clone();
    }
    answer
}

/// Puts a batch on the shelf; returns it as it is at the beginning.
pub(crate) fn begin(call: &Call<'_>, asked: &BatchDetails<'_>, output: Output) -> Value {
    let (world, project, now) = (call.world, call.key.project.as_str(), call.world.clock());
    let id = world.resources.ids.id(LOWER, 32);
    let mut batch = Resource::new(Kind::Batch, "batches", &id, project, now);
    let message = format!("type.googleapis.com/google.ai.generativelanguage.v1main.{}", asked.form.message());
    let (Output::Inline(answers) | Output::Lines(answers)) = &output;
    let count = answers.len().to_string();
    batch.body = json!({
        "name": batch.name,
        "metadata": {
            "@type": message,
            "name": batch.name,
            "model": format!("models/{}", asked.model),
            "state": "BATCH_STATE_PENDING",
            "createTime": stamp(now),
            "updateTime": stamp(now),
            "batchStats": {"requestCount": count, "pendingRequestCount": count},
        },
    });
    merge_some(&mut batch.body["metadata"], asked);
    let body = batch.body.clone();
    let project = project.to_owned();
    let file_id = format!("batch-{id}");
    let inlined = asked.form.inlined();
    let mut work = world.work(
        now,
        Box::new(move |shelf, now| {
            let output = match output {
                Output::Inline(answers) => json!({inlined: {"inlinedResponses": answers}}),
                Output::Lines(answers) => {
                    let lines: String =
                        answers.iter().flat_map(|answer| [answer.to_string(), "\n".to_owned()]).collect();
                    let file =
                        files::generated(&file_id, &project, "application/jsonl", &Bytes::from(lines), now);
                    let name = file.name.clone();
                    shelf.insert(file, now);
                    json!({"responsesFile": name})
                }
            };
            finished(&output, &message, &count, now)
        }),
    );
    work.meanwhile = Some(json!({"metadata": {"state": "BATCH_STATE_RUNNING", "updateTime": stamp(now)}}));
    batch.work = Some(work);
    world.resources.insert(batch, now);
    body
}

fn merge_some(metadata: &mut Value, asked: &BatchDetails<'_>) {
    if let Some(name) = &asked.display_name {
        metadata["displayName"] = name.clone();
    }
    if asked.more.is_object() {
        merge(metadata, asked.more.clone());
    }
}

/// The output stands in two places.
fn finished(output: &Value, message: &str, count: &str, now: Duration) -> Value {
    let mut response = output.clone();
    response["@type"] = json!(format!("{message}Output"));
    json!({
        "done": true,
        "response": response,
        "metadata": {
            "state": "BATCH_STATE_SUCCEEDED",
            "output": output,
            "endTime": stamp(now),
            "updateTime": stamp(now),
            "batchStats": {"requestCount": count, "successfulRequestCount": count, "pendingRequestCount": "0"},
        },
    })
}
