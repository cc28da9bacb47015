//! Answers of Google's as responses: what a client puts together of the events is the final response, which is what it
//! gets unstreamed, however Google's answer is cut; events keep their order; signatures come back with their parts.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

use formats::models::ModelMap;
use formats::responses::{ResponsesAnswer, ResponsesStream, create};
use formats::{AnswerFault, AnswerMemory, AnswerSeed, AnswerStream, StreamEnd, UnaryAnswer};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn asked() -> Value {
    json!({
        "model": "gpt-5", "input": "hi", "metadata": {"k": "v"}, "max_output_tokens": 7, "store": false,
        "tools": [
            {"type": "function", "name": "f"},
            {"type": "namespace", "name": "ns", "description": "", "tools": [{"type": "function", "name": "g"}]},
            {"type": "custom", "name": "patch"}
        ],
        "reasoning": {"effort": "low", "summary": "auto"}
    })
}

fn memory_of(body: &Value) -> AnswerMemory {
    let models = ModelMap::new([("gpt-*", "gemini-3-pro")]).unwrap();
    create(body.to_string().as_bytes(), &models, &|_| false, None).unwrap().call.memory
}

fn seed() -> AnswerSeed {
    AnswerSeed::new("abc123", 1_700_000_000)
}

fn unary(google: &Value) -> Result<Value, AnswerFault> {
    let answer = ResponsesAnswer::new(memory_of(&asked()), seed());
    answer.translate(google.to_string().as_bytes()).map(|body| serde_json::from_slice(&body).unwrap())
}

/// All events of a stream: name and content.
fn events(stream: &mut ResponsesStream, chunks: &[Value], how: StreamEnd) -> Vec<Value> {
    let mut frames = Vec::new();
    for chunk in chunks {
        frames.extend(stream.push(chunk.to_string().as_bytes()));
    }
    frames.extend(stream.end(how));
    let text = String::from_utf8(frames.concat()).unwrap();
    let event = |frame: &str| {
        let (name, rest) = frame.strip_prefix("event: ").unwrap().split_once('\n').unwrap();
        let event: Value =
            serde_json::from_str(rest.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap()).unwrap();
        assert_eq!(event["type"], name);
        event
    };
    text.split_inclusive("\n\n").map(event).collect()
}

fn streamed(chunks: &[Value]) -> Vec<Value> {
    let mut stream = ResponsesStream::new(memory_of(&asked()), seed());
    events(&mut stream, chunks, StreamEnd::Complete)
}

/// What a client makes of events, with a look at their order.
#[derive(Default)]
struct EventReader {
    response: Value,
    output: Vec<Value>,
    open: Option<Value>,
    steps: Vec<&'static str>,
    is_over: bool,
}

impl EventReader {
    fn hear(events: &[Value]) -> Self {
        let mut client = Self::default();
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], number, "no gaps");
            assert!(!client.is_over, "nothing comes after the end");
            match number {
                0 => assert_eq!(event["type"], "response.created"),
                1 => assert_eq!(event["type"], "response.in_progress"),
                _ => client.take(event),
            }
            if number < 2 {
                assert_eq!(event["response"]["status"], "in_progress");
                assert_eq!(event["response"]["output"], json!([]));
                assert_eq!(event["response"]["usage"], Value::Null);
            }
        }
        assert!(client.is_over, "there is an end");
        client
    }

    fn take(&mut self, event: &Value) {
        let kind = event["type"].as_str().unwrap().strip_prefix("response.").unwrap().to_owned();
        if matches!(kind.as_str(), "completed" | "incomplete" | "failed") {
            assert!(self.open.is_none() || kind == "failed");
            self.response = event["response"].clone();
            assert_eq!(self.response["status"], kind.as_str());
            assert_eq!(self.response["output"], json!(self.output), "the items that were told");
            self.is_over = true;
            return;
        }
        assert_eq!(event["output_index"], self.output.len());
        if kind == "output_item.added" {
            assert!(self.open.is_none(), "one item at a time");
            let item = event["item"].clone();
            assert!(item.get("encrypted_content").is_none());
            self.open = Some(item);
            self.steps.clear();
            return;
        }
        let steps = &mut self.steps;
        let item = self.open.as_mut().unwrap();
        if kind == "output_item.done" {
            let done = &event["item"];
            // What no event tells piece by piece.
            for name in ["status", "encrypted_content", "result"] {
                if let Some(value) = done.get(name) {
                    item[name] = value.clone();
                }
            }
            assert_eq!(item, done, "the pieces make the item");
            let expected: &[&str] = match done["type"].as_str().unwrap() {
                "reasoning" if done["summary"] == json!([]) => &[],
                "message" | "reasoning" => &["part", "delta", "text", "part done"],
                "function_call" | "custom_tool_call" => &["delta", "text"],
                "image_generation_call" => &["in_progress", "generating", "completed"],
                "web_search_call" => &["in_progress", "searching", "completed"],
                other => panic!("{other}"),
            };
            steps.dedup();
            assert_eq!(steps, expected);
            self.output.push(self.open.take().unwrap());
            return;
        }
        assert_eq!(event["item_id"], item["id"]);
        let push = |text: &mut Value, more: &Value| {
            *text = json!(text.as_str().unwrap().to_owned() + more.as_str().unwrap());
        };
        steps.push(match kind.as_str() {
            "content_part.added" => {
                assert_eq!(event["content_index"], item["content"].as_array().unwrap().len());
                item["content"].as_array_mut().unwrap().push(event["part"].clone());
                "part"
            }
            "output_text.delta" => {
                assert_eq!(event["logprobs"], json!([]));
                push(&mut item["content"][0]["text"], &event["delta"]);
                "delta"
            }
            "output_text.done" => {
                assert_eq!(event["text"], item["content"][0]["text"]);
                "text"
            }
            "output_text.annotation.added" => {
                let annotations = item["content"][0]["annotations"].as_array_mut().unwrap();
                assert_eq!(event["annotation_index"], annotations.len());
                annotations.push(event["annotation"].clone());
                "text"
            }
            "content_part.done" => {
                assert_eq!(event["part"], item["content"][0]);
                "part done"
            }
            "reasoning_summary_part.added" => {
                assert_eq!(event["summary_index"], item["summary"].as_array().unwrap().len());
                item["summary"].as_array_mut().unwrap().push(event["part"].clone());
                "part"
            }
            "reasoning_summary_text.delta" => {
                push(&mut item["summary"][0]["text"], &event["delta"]);
                "delta"
            }
            "reasoning_summary_text.done" => {
                assert_eq!(event["text"], item["summary"][0]["text"]);
                "text"
            }
            "reasoning_summary_part.done" => {
                assert_eq!(event["part"], item["summary"][0]);
                "part done"
            }
            "function_call_arguments.delta" => {
                push(&mut item["arguments"], &event["delta"]);
                "delta"
            }
            "function_call_arguments.done" => {
                assert_eq!(event["arguments"], item["arguments"]);
                "text"
            }
            "custom_tool_call_input.delta" => {
                push(&mut item["input"], &event["delta"]);
                "delta"
            }
            "custom_tool_call_input.done" => {
                assert_eq!(event["input"], item["input"]);
                "text"
            }
            "web_search_call.in_progress" | "image_generation_call.in_progress" => "in_progress",
            "web_search_call.searching" => "searching",
            "image_generation_call.generating" => "generating",
            "web_search_call.completed" | "image_generation_call.completed" => "completed",
            other => panic!("{other}"),
        });
    }
}

fn chunk(parts: &Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}}]})
}

fn ended(parts: &Value, finish: &str) -> Value {
    let mut last = chunk(parts);
    last["candidates"][0]["finishReason"] = json!(finish);
    last["usageMetadata"] = json!({"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 5, "thoughtsTokenCount": 3});
    last
}

#[test]
fn a_turn_of_thoughts_text_and_calls_is_told_whole() {
    let parts = json!([
        {"text": "Let me ", "thought": true}, {"text": "see.", "thought": true},
        {"functionCall": {"id": "ab12", "name": "ns__g", "args": {"n": 1}}, "thoughtSignature": "U0lH"},
        {"functionCall": {"name": "patch", "args": {"input": "*** Begin\n"}}},
        {"functionCall": {"name": "default_api:f"}},
        {"functionCall": {"name": "nobody's", "args": {}}}
    ]);
    let response = unary(&ended(&parts, "STOP")).unwrap();
    assert_eq!(
        response,
        json!({
            "id": "resp_abc123", "object": "response", "created_at": 1_700_000_000, "status": "completed", "error": null,
            "incomplete_details": null, "model": "gpt-5", "background": false, "instructions": null,
            "max_output_tokens": 7, "max_tool_calls": null, "metadata": {"k": "v"}, "parallel_tool_calls": true,
            "previous_response_id": null, "prompt_cache_key": null, "reasoning": {"effort": "low", "summary": "auto"},
            "safety_identifier": null, "service_tier": "default", "store": false, "temperature": 1.0,
            "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": asked()["tools"], "top_logprobs": 0,
            "top_p": 1.0, "truncation": "disabled", "user": null,
            "usage": {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
                      "output_tokens": 8, "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": 18},
            "output": [
                {"type": "reasoning", "id": "rs_abc123_0", "summary": [{"type": "summary_text", "text": "Let me see."}],
                 "encrypted_content": formats::signature::block(formats::signature::SignedPart::Call, "U0lH")},
                {"type": "function_call", "id": "fc_abc123_1", "status": "completed", "name": "g", "namespace": "ns",
                 "call_id": response["output"][1]["call_id"], "arguments": "{\"n\":1}"},
                {"type": "custom_tool_call", "id": "ctc_abc123_2", "status": "completed", "name": "patch",
                 "call_id": "call_abc12302_n1_", "input": "*** Begin\n"},
                {"type": "function_call", "id": "fc_abc123_3", "status": "completed", "name": "f",
                 "call_id": "call_abc12303_n1_", "arguments": "{}"},
                {"type": "function_call", "id": "fc_abc123_4", "status": "completed", "name": "nobody's",
                 "call_id": "call_abc12304_n1_", "arguments": "{}"}
            ]
        })
    );
    assert!(response["output"][1]["call_id"].as_str().unwrap().starts_with("call_ab12_s1_"));
}

#[test]
fn the_events_of_a_text_come_in_openais_order() {
    let heard = streamed(&[
        json!({"usageMetadata": {"promptTokenCount": 10}}),
        chunk(&json!([{"text": "He"}])),
        chunk(&json!([{"text": "y"}])),
        ended(&json!([{"text": "", "thoughtSignature": "VFhU"}]), "STOP"),
    ]);
    let kinds: Vec<_> = heard.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let client = EventReader::hear(&heard);
    assert_eq!(client.output[0]["content"][0]["text"], "Hey");
    assert!(client.output[1]["encrypted_content"].as_str().unwrap().starts_with("gemini-t1-"));
}

#[test]
fn a_search_is_told_with_its_pages_and_counts_characters() {
    let mut last = ended(&json!([{"text": "\u{e4}\u{f6} is so."}]), "STOP");
    last["candidates"][0]["groundingMetadata"] = json!({
        "webSearchQueries": ["what is"], "groundingChunks": [{"web": {"uri": "https://v/1", "title": "a.org"}}],
        "groundingSupports": [{"segment": {"startIndex": 5, "endIndex": 12}, "groundingChunkIndices": [0]}]});
    let chunks = [chunk(&json!([{"text": "\u{e9} "}])), last];
    let client = EventReader::hear(&streamed(&chunks));
    let text = &client.output[0]["content"][0];
    let whole = text["text"].as_str().unwrap();
    let cited: String = whole.chars().skip(3).take(6).collect();
    assert_eq!(cited, whole[5..12]);
    assert_eq!(
        text["annotations"],
        json!([{"type": "url_citation", "start_index": 3, "end_index": 9, "url": "https://v/1", "title": "a.org"}])
    );
    assert_eq!(
        client.output[1],
        json!({"type": "web_search_call", "id": "ws_abc123_1", "status": "completed", "action": {"type": "search",
               "query": "what is", "queries": ["what is"], "sources": [{"type": "url", "url": "https://v/1"}]}})
    );
}

#[test]
fn every_end_has_its_status() {
    for (parts, finish, status, reason) in [
        (json!([{"text": "a"}]), "MAX_TOKENS", "incomplete", json!("max_output_tokens")),
        (json!([{"text": "a"}]), "SAFETY", "incomplete", json!("content_filter")),
        (json!([]), "RECITATION", "incomplete", json!("content_filter")),
        (json!([]), "STOP", "completed", Value::Null),
        (json!([{"text": "a"}]), "OTHER", "completed", Value::Null),
        (json!([{"functionCall": {"name": "f"}}]), "MAX_TOKENS", "completed", Value::Null),
        (json!([{"functionCall": {"name": "f"}}]), "MALFORMED_FUNCTION_CALL", "completed", Value::Null),
    ] {
        let last = ended(&parts, finish);
        let whole = unary(&last).unwrap();
        assert_eq!(
            (&whole["status"], &whole["incomplete_details"]["reason"]),
            (&json!(status), &reason),
            "{finish}"
        );
        assert_eq!(EventReader::hear(&streamed(&[last])).response, whole);
    }
    let blocked =
        json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}});
    assert_eq!(unary(&blocked).unwrap()["incomplete_details"]["reason"], "content_filter");
    assert_eq!(
        EventReader::hear(&streamed(std::slice::from_ref(&blocked))).response,
        unary(&blocked).unwrap()
    );
    let cut = unary(&ended(&json!([{"text": "a"}]), "MAX_TOKENS")).unwrap();
    assert_eq!(cut["output"][0]["status"], "incomplete");
}

#[test]
fn a_failure_before_anything_is_sent_is_left_to_the_caller() {
    let misformed = ended(&json!([]), "MALFORMED_FUNCTION_CALL");
    let overloaded = json!({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}});
    for (chunks, how, may_be_retried) in [
        (vec![misformed.clone()], StreamEnd::Complete, true),
        (vec![ended(&json!([{"text": "half"}]), "MALFORMED_RESPONSE")], StreamEnd::Complete, true),
        (
            vec![chunk(&json!([{"text": ""}, {"thoughtSignature": "U0lH"}])), misformed.clone()],
            StreamEnd::Complete,
            true,
        ),
        (vec![json!({}), overloaded.clone()], StreamEnd::Complete, false),
        (vec![], StreamEnd::Complete, true),
        (vec![], StreamEnd::Broken("gone".to_owned()), true),
        (vec![json!(3)], StreamEnd::Complete, false),
    ] {
        let mut stream = ResponsesStream::new(memory_of(&asked()), seed());
        assert_eq!(events(&mut stream, &chunks, how), Vec::<Value>::new());
        assert!(!stream.has_begun() && stream.response().is_none());
        assert_eq!(stream.fault().unwrap().may_be_retried(), may_be_retried, "{chunks:?}");
    }
    assert!(matches!(unary(&misformed), Err(AnswerFault::Misformed(_))));
    assert!(matches!(unary(&overloaded), Err(AnswerFault::Google(_))));
    assert!(matches!(unary(&json!({})), Err(AnswerFault::Broken(_))));
    assert!(matches!(unary(&json!([])), Err(AnswerFault::Unreadable)));
}

#[test]
fn what_cannot_be_read_behind_the_end_is_no_loss() {
    let error = json!({"error": {"code": 503, "status": "UNAVAILABLE", "message": "busy"}});
    let done = [ended(&json!([{"text": "all"}]), "STOP"), json!("[DONE]"), json!({}), error];
    let response = EventReader::hear(&streamed(&done)).response;
    assert_eq!(
        (&response["status"], &response["output"][0]["content"][0]["text"]),
        (&json!("completed"), &json!("all"))
    );
}

#[test]
fn a_draft_is_no_answer_and_what_cannot_be_carried_is_told() {
    let blob = |mime_type: &str| json!({"mimeType": mime_type, "data": "QUJD"});
    let answer = unary(&ended(
        &json!([{"inlineData": blob("image/png"), "thought": true}, {"inlineData": blob("image/png")}, {"inlineData": blob("audio/L16")}]),
        "STOP",
    ));
    let answer = answer.unwrap();
    let output = answer["output"].as_array().unwrap();
    let kinds: Vec<&str> = output.iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["image_generation_call", "message"], "{answer}");
    assert!(output[1]["content"][0]["text"].as_str().unwrap().contains("audio/L16"));
}

#[test]
fn a_failure_in_a_stream_is_told_as_a_failed_response() {
    let said = chunk(&json!([{"functionCall": {"name": "f"}}, {"text": "half"}]));
    let thought = chunk(&json!([{"text": "hm", "thought": true}]));
    let refused = json!({"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}});
    let quota = json!({"error": {"code": 429, "message": "quota; try again in 1.5s"}});
    for (chunks, how, code, message) in [
        (
            vec![said.clone()],
            StreamEnd::Complete,
            "server_error",
            "the upstream's stream ended before the answer did",
        ),
        (vec![said.clone(), refused], StreamEnd::Complete, "invalid_prompt", "no"),
        (vec![said.clone(), quota], StreamEnd::Complete, "rate_limit_exceeded", "quota; try again in 1.5s"),
        (
            vec![said.clone()],
            StreamEnd::Broken("the upstream fell silent".to_owned()),
            "server_error",
            "the upstream fell silent",
        ),
        (
            vec![said, json!("?")],
            StreamEnd::Complete,
            "server_error",
            "the upstream's answer could not be read",
        ),
        (
            vec![thought, ended(&json!([]), "MALFORMED_FUNCTION_CALL")],
            StreamEnd::Complete,
            "server_error",
            "the model's answer could not be used (MALFORMED_FUNCTION_CALL); ask again",
        ),
    ] {
        let mut stream = ResponsesStream::new(memory_of(&asked()), seed());
        let heard = events(&mut stream, &chunks, how);
        let client = EventReader::hear(&heard);
        assert_eq!(client.response["error"], json!({"code": code, "message": message}));
        assert!(stream.has_begun() && stream.fault().is_some() && stream.response().is_none());
        assert!(stream.push(b"{}").is_empty() && stream.end(StreamEnd::Complete).is_empty());
    }
}

#[test]
fn a_break_after_the_answers_end_is_no_loss() {
    let mut stream = ResponsesStream::new(memory_of(&asked()), seed());
    let chunks = [ended(&json!([{"text": "all"}]), "STOP")];
    let reader = EventReader::hear(&events(&mut stream, &chunks, StreamEnd::Broken("reset".to_owned())));
    assert_eq!(reader.response["status"], "completed");
    assert!(unary(&chunk(&json!([{"text": "all"}]))).is_ok(), "what comes whole may lack its reason");
}

#[test]
fn parallel_calls_of_one_id_are_told_apart() {
    let call = json!({"functionCall": {"id": "same", "name": "f", "args": {}}});
    let response = unary(&ended(&json!([call, call, call]), "STOP")).unwrap();
    let mut ids: Vec<_> =
        response["output"].as_array().unwrap().iter().map(|item| item["call_id"].as_str().unwrap()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
}

#[test]
fn a_picture_is_an_item_and_an_answer_has_a_bound() {
    let picture = json!({"inlineData": {"mimeType": "image/png", "data": "QUJD"}});
    let client = EventReader::hear(&streamed(&[ended(&json!([{"text": "Here:"}, picture]), "STOP")]));
    assert_eq!(
        client.output[1],
        json!({"type": "image_generation_call", "id": "ig_abc123_1", "status": "completed", "result": "QUJD", "output_format": "png"})
    );
    let mut stream = ResponsesStream::new(memory_of(&asked()), seed());
    let large = chunk(&json!([{"text": "x".repeat(9 * 1024 * 1024)}]));
    let heard =
        events(&mut stream, &[large.clone(), large.clone(), large.clone(), large], StreamEnd::Complete);
    assert_eq!(heard.last().unwrap()["type"], "response.failed");
    assert!(stream.fault().unwrap().to_string().contains("32 MiB"));
}

#[test]
fn indented_answers_make_compact_arguments_and_hidden_thoughts_stay_hidden() {
    let google = "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"t\",\"thought\":true},{\"functionCall\":{\"name\":\"f\",\"args\":{\n  \"a b\": \"c\\\" \\n d\",\n  \"n\": 12345678901234567890123\n}}}]},\"finishReason\":\"STOP\"}]}";
    let mut body = asked();
    body["reasoning"] = json!({"effort": "none"});
    let answer = ResponsesAnswer::new(memory_of(&body), seed()).translate(google.as_bytes()).unwrap();
    let response: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(response["output"].as_array().unwrap().len(), 1);
    assert_eq!(response["output"][0]["arguments"], r#"{"a b":"c\" \n d","n":12345678901234567890123}"#);
}

#[test]
fn a_custom_tools_text_is_found_where_the_model_put_it() {
    for (args, input) in [
        (json!({"input": "a"}), "a"),
        (json!({"input": "a", "more": 1}), "a"),
        (json!({"patch": "a"}), "a"),
        (json!({}), ""),
        (json!({"input": {"x": 1}}), r#"{"input":{"x":1}}"#),
        (json!({"a": "1", "b": "2"}), r#"{"a":"1","b":"2"}"#),
    ] {
        let part = json!({"functionCall": {"name": "patch", "args": args}});
        assert_eq!(unary(&ended(&json!([part]), "STOP")).unwrap()["output"][0]["input"], input);
    }
}

/// A part of Google's as a script has it.
#[derive(Clone, Debug)]
enum ScriptedPart {
    Thought(String),
    Text(String, Option<String>),
    Call { id: Option<String>, name: &'static str, args: Value, signature: Option<String> },
    Picture,
}

impl ScriptedPart {
    fn part(&self) -> Value {
        let (mut part, signature) = match self {
            Self::Thought(text) => (json!({"text": text, "thought": true}), &None),
            Self::Text(text, signature) => (json!({"text": text}), signature),
            Self::Call { id, name, args, signature } => {
                let mut call = json!({"name": name, "args": args});
                if let Some(id) = id {
                    call["id"] = json!(id);
                }
                (json!({"functionCall": call}), signature)
            }
            Self::Picture => (json!({"inlineData": {"mimeType": "image/png", "data": "QUJD"}}), &None),
        };
        if let Some(signature) = signature {
            part["thoughtSignature"] = json!(signature);
        }
        part
    }

    /// The part in pieces, as streams have texts: the signature with the last, or after it on its own.
    fn pieces(&self, cut: usize, alone: bool) -> Vec<Value> {
        let (Self::Thought(text) | Self::Text(text, _)) = self else { return vec![self.part()] };
        let at = text.char_indices().map(|(at, _)| at).nth(cut % text.chars().count().max(1)).unwrap_or(0);
        let whole = self.part();
        let mut pieces: Vec<Value> = [&text[..at], &text[at..]]
            .into_iter()
            .filter(|piece| !piece.is_empty())
            .map(|piece| {
                let mut part = whole.clone();
                part["text"] = json!(piece);
                part.as_object_mut().unwrap().remove("thoughtSignature");
                part
            })
            .collect();
        if let Some(signature) = whole.get("thoughtSignature") {
            if alone {
                pieces.push(json!({"text": "", "thoughtSignature": signature}));
            } else {
                pieces.last_mut().unwrap()["thoughtSignature"] = signature.clone();
            }
        }
        pieces
    }
}

fn told() -> impl Strategy<Value = ScriptedPart> {
    let signature = || proptest::option::of("[A-Za-z0-9+/]{4,20}={0,2}");
    prop_oneof![
        "[a-zé😀 ]{1,8}".prop_map(ScriptedPart::Thought),
        ("[a-zé😀 \"\\n]{1,12}", signature())
            .prop_map(|(text, signature)| ScriptedPart::Text(text, signature)),
        (
            proptest::option::of("[a-z0-9]{1,3}"),
            proptest::sample::select(vec!["f", "ns__g", "patch"]),
            "[a-z\"é]{0,6}",
            signature()
        )
            .prop_map(|(id, name, text, signature)| {
                let args = if name == "patch" { json!({"input": text}) } else { json!({"a": text, "n": 1}) };
                ScriptedPart::Call { id, name, args, signature }
            }),
        Just(ScriptedPart::Picture),
    ]
}

/// What of a script Google has to get back, as parts without their ids.
fn expected_back(script: &[ScriptedPart]) -> Vec<Value> {
    let mut parts: Vec<Value> = Vec::new();
    let mut goes_on = false;
    for told in script {
        let part = told.part();
        match told {
            ScriptedPart::Thought(_) => {
                goes_on = false;
                continue;
            }
            ScriptedPart::Text(text, signature) => {
                if goes_on {
                    let last = parts.last_mut().unwrap();
                    last["text"] = json!(last["text"].as_str().unwrap().to_owned() + text);
                    if let Some(signature) = signature {
                        last["thoughtSignature"] = json!(signature);
                    }
                } else {
                    parts.push(part);
                }
                goes_on = signature.is_none();
                continue;
            }
            ScriptedPart::Call { .. } | ScriptedPart::Picture => parts.push(part),
        }
        goes_on = false;
    }
    // The first call needs a signature, whatever it is.
    if let Some(first) = parts.iter_mut().find(|part| part.get("functionCall").is_some())
        && first.get("thoughtSignature").is_none()
    {
        first["thoughtSignature"] = json!("skip_thought_signature_validator");
    }
    parts
}

fn without_ids(parts: &Value) -> Vec<Value> {
    let mut parts = parts.as_array().cloned().unwrap_or_default();
    for part in &mut parts {
        if let Some(call) = part.get_mut("functionCall").and_then(Value::as_object_mut) {
            call.remove("id");
        }
    }
    parts
}

proptest! {
    #[test]
    fn any_cut_of_an_answer_makes_the_same_response_and_its_signatures_return(
        script in proptest::collection::vec(told(), 1..8),
        cuts in proptest::collection::vec((0_usize..12, any::<bool>(), any::<bool>()), 8),
        drops_reasoning: bool,
    ) {
        let whole = ended(&json!(script.iter().map(ScriptedPart::part).collect::<Vec<_>>()), "STOP");
        let response = unary(&whole).unwrap();
        let mut chunks = vec![];
        let mut parts = Vec::new();
        for (told, (cut, alone, joined)) in script.iter().zip(cuts) {
            for piece in told.pieces(cut, alone) {
                parts.push(piece);
                if !joined {
                    chunks.push(chunk(&json!(std::mem::take(&mut parts))));
                }
            }
        }
        chunks.push(ended(&json!(parts), "STOP"));
        let mut stream = ResponsesStream::new(memory_of(&asked()), seed());
        let client = EventReader::hear(&events(&mut stream, &chunks, StreamEnd::Complete));
        prop_assert_eq!(&client.response, &response);
        let kept: Value = serde_json::from_slice(stream.response().unwrap()).unwrap();
        prop_assert_eq!(&kept, &response);

        // What comes back in the next request. A client may drop reasoning, which costs texts' signatures only.
        let mut body = asked();
        let mut items = vec![json!({"role": "user", "content": "hi"})];
        items.extend(response["output"].as_array().unwrap().iter()
            .filter(|item| !drops_reasoning || item["type"] != "reasoning").cloned());
        body["input"] = json!(items);
        let models = ModelMap::new([("gpt-*", "gemini-3-pro")]).unwrap();
        let call = create(body.to_string().as_bytes(), &models, &|_| false, None).unwrap().call;
        let asked_again: Value = serde_json::from_slice(&call.body).unwrap();
        let mut expected = without_ids(&json!(expected_back(&script)));
        let calls = |parts: &Value| -> Vec<Value> {
            let calls = parts.as_array().into_iter().flatten().filter_map(|part| part.get("functionCall"));
            calls.map(|call| call["id"].clone()).collect()
        };
        let googles = calls(&whole["candidates"][0]["content"]["parts"]);
        let ids = calls(&asked_again["contents"][1]["parts"]);
        for (google, id) in googles.iter().zip(&ids) {
            // Of calls with one id all but the first get another, so that results can be told apart.
            let is_single = googles.iter().filter(|other| *other == google).count() == 1;
            prop_assert!(!is_single || id == google, "{} became {}", google, id);
            let is_distinct = id.is_null() || ids.iter().filter(|other| *other == id).count() == 1;
            prop_assert!(is_distinct, "{:?}", ids);
        }
        let mut back = without_ids(&asked_again["contents"][1]["parts"]);
        if drops_reasoning {
            for part in expected.iter_mut().chain(&mut back) {
                let members: &mut Map<String, Value> = part.as_object_mut().unwrap();
                if members.contains_key("text") {
                    members.remove("thoughtSignature");
                }
            }
        }
        prop_assert_eq!(back, expected);
    }
}
