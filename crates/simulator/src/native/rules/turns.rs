//! How the turns of a conversation must follow each other: who speaks, calls and their answers, and the signatures that the
//! model wants back.

use serde_json::Value;

use crate::error::ApiError;
use crate::models::Model;
use crate::prompt::{answers_calls, by_model, field, items, text};
use crate::signature::{Genuineness, Signed};
use crate::stats::SignatureCounts;
use crate::strictness::Strictness;

const NO_PARTS: &str = "contents.parts must not be empty.";
const USER_FIRST: &str = "Please ensure that multiturn requests begin with a user turn.";
const CALLS_AFTER: &str = "Please ensure that function call turn comes immediately after a user turn or after a function response turn.";
const RESPONSES_AFTER: &str =
    "Please ensure that function response turn comes immediately after a function call turn.";
const AS_MANY: &str = "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.";
const ENDS_WITH_MODEL: &str =
    "Requests ending with a model turn are not supported unless the last part is a function response.";
const ROLES: &str = "Please use a valid role: user, model.";

fn refuse<T>(message: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::new(400, message))
}

fn invalid<T>(path: &str, wrong: &str) -> Result<T, ApiError> {
    refuse(format!("* GenerateContentRequest.{path}: {wrong}\n"))
}

fn calls(content: &Value) -> impl Iterator<Item = &Value> {
    items(content.get("parts")).iter().filter_map(|part| field(part, "functionCall", "function_call"))
}

/// The calls of a whole turn.
fn called(turn: &[Value]) -> impl Iterator<Item = &Value> {
    turn.iter().flat_map(calls)
}

fn responses(content: &Value) -> impl Iterator<Item = &Value> {
    items(content.get("parts")).iter().filter_map(|part| field(part, "functionResponse", "function_response"))
}

/// The id of a call or an answer; an empty one is none.
fn id(value: &Value) -> Option<&str> {
    value.get("id").and_then(Value::as_str).filter(|id| !id.is_empty())
}

/// Checks the contents in order, then the signatures.
pub(super) fn check(
    request: &Value,
    model: &Model,
    strictness: Strictness,
    counts: &mut SignatureCounts,
) -> Result<(), ApiError> {
    let contents = items(request.get("contents"));
    for (at, content) in contents.iter().enumerate() {
        well_formed(at, content, model)?;
    }
    if contents.first().is_some_and(by_model) {
        let calling = calls(&contents[0]).next().is_some();
        return refuse(if calling { CALLS_AFTER } else { USER_FIRST });
    }
    // Neighbours of the model's are one turn, or each is one.
    let turns: Vec<&[Value]> = contents
        .chunk_by(|before, after| !strictness.split_turns && by_model(before) && by_model(after))
        .collect();
    let mut before: &[Value] = &[];
    for turn in turns {
        if called(turn).next().is_some() && before.last().is_none_or(by_model) {
            return refuse(CALLS_AFTER);
        }
        let expected = called(before).count();
        let answers = turn.iter().flat_map(responses).count();
        if expected == 0 && answers > 0 {
            return refuse(RESPONSES_AFTER);
        }
        if answers != expected {
            return refuse(AS_MANY);
        }
        if model.wants_signatures() {
            matched(before, turn, strictness, counts)?;
        }
        before = turn;
    }
    if called(before).next().is_some() {
        return refuse(AS_MANY);
    }
    if contents.last().is_some_and(by_model) && !model.goes_on_from_itself() {
        return refuse(ENDS_WITH_MODEL);
    }
    signed(contents, model, counts)
}

fn well_formed(at: usize, content: &Value, model: &Model) -> Result<(), ApiError> {
    match text(content.get("role")) {
        "" | "user" | "model" => {}
        // Older models still know the role that answers of functions once had.
        "function" if !model.wants_signatures() => {}
        _ => return refuse(ROLES),
    }
    if items(content.get("parts")).is_empty() {
        return invalid(&format!("contents[{at}].parts"), NO_PARTS);
    }
    for (part, value) in items(content.get("parts")).iter().enumerate() {
        for (camel, snake) in [("functionCall", "function_call"), ("functionResponse", "function_response")] {
            if field(value, camel, snake).is_some_and(|named| text(named.get("name")).is_empty()) {
                return invalid(
                    &format!("contents[{at}].parts[{part}].{snake}.name"),
                    "Name cannot be empty.",
                );
            }
        }
    }
    if !by_model(content) && calls(content).next().is_some() {
        return refuse(CALLS_AFTER);
    }
    if by_model(content) && answers_calls(content) {
        return refuse(RESPONSES_AFTER);
    }
    Ok(())
}

/// Checks that answers name the calls that they answer.
fn matched(
    calling: &[Value],
    answering: &[Value],
    strictness: Strictness,
    counts: &mut SignatureCounts,
) -> Result<(), ApiError> {
    let mut open: Vec<(Option<&str>, &str)> =
        called(calling).map(|call| (id(call), text(call.get("name")))).collect();
    for response in answering.iter().flat_map(responses) {
        let (id, name) = (id(response), text(response.get("name")));
        if id.is_none() {
            let missing = open.iter().any(|(id, _)| id.is_some());
            counts.ids_missing += u64::from(missing);
            if !missing || !strictness.missing_ids {
                continue;
            }
        }
        let Some(answered) = open.iter().position(|call| *call == (id, name)) else {
            return refuse(format!(
                "Please ensure that function response parts match the function call parts of the function call turn: there is no open call of `{name}` with id `{}`.",
                id.unwrap_or_default()
            ));
        };
        open.swap_remove(answered);
    }
    Ok(())
}

/// Checks the signatures: in the turn under way, which has begun with the user's newest text, the first call of each content
/// must have one; what there is anywhere must be genuine.
fn signed(contents: &[Value], model: &Model, counts: &mut SignatureCounts) -> Result<(), ApiError> {
    let strict = model.wants_signatures();
    let begun = contents
        .iter()
        .rposition(|content| !by_model(content) && !answers_calls(content))
        .unwrap_or_default();
    let mut outcome = Ok(());
    for (at, content) in contents.iter().enumerate().filter(|(_, content)| by_model(content)) {
        let mut first = true;
        for part in items(content.get("parts")) {
            let given = text(field(part, "thoughtSignature", "thought_signature"));
            let call = field(part, "functionCall", "function_call");
            let no_args = Value::Null;
            let subject = call.map_or(Signed::Text, |call| Signed::Call {
                id: id(call),
                name: text(call.get("name")),
                args: call.get("args").unwrap_or(&no_args),
            });
            let demanded = strict && at > begun && call.is_some() && std::mem::take(&mut first);
            if given.is_empty() {
                if demanded {
                    counts.missing += 1;
                    let name = call.map_or("", |call| text(call.get("name")));
                    outcome = outcome.and(Err(ApiError::signature_missing(name, Some(at + 1))));
                }
                continue;
            }
            match subject.judge(given) {
                Genuineness::Genuine => counts.returned += 1,
                Genuineness::Skipped => counts.skipped += 1,
                Genuineness::Corrupted => {
                    counts.corrupted += 1;
                    if strict {
                        outcome = outcome.and(Err(ApiError::signature_corrupted()));
                    }
                }
            }
        }
    }
    outcome
}
