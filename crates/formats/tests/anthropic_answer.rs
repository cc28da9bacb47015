//! Google's answers as Messages, whole and in events: tables of what ends an answer, faults before and within it, and
//! properties over any answer however it is cut.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "a broken rule may panic, and tables read better with values"
)]

mod messages_client;

use formats::anthropic::{MessagesAnswer, MessagesStream, PING};
use formats::finish::FinishReason;
use formats::names::{ClientTool, NameTable};
use formats::{AnswerFault, AnswerMemory, AnswerSeed, AnswerStream, StreamEnd, ThoughtDisplay, UnaryAnswer};
use messages_client::ReceivedMessage;
use proptest::prelude::*;
use serde_json::{Value, json};

fn memory(thoughts: ThoughtDisplay) -> AnswerMemory {
    let tools = ["read", "3d-x"].map(ClientTool::function);
    AnswerMemory {
        asked_model: "claude-opus-5".to_owned(),
        names: NameTable::of(tools).unwrap(),
        thoughts,
        echo: None,
    }
}

fn seed() -> AnswerSeed {
    AnswerSeed::new("01ab", 1_700_000_000)
}

fn streamed(thoughts: ThoughtDisplay, events: &[Value], how: StreamEnd) -> (MessagesStream, ReceivedMessage) {
    let mut stream = MessagesStream::new(memory(thoughts), seed());
    let mut frames = Vec::new();
    for event in events {
        frames.extend(stream.push(event.to_string().as_bytes()).concat());
    }
    frames.extend(stream.end(how).concat());
    assert_eq!(stream.has_begun(), !frames.is_empty());
    let received = ReceivedMessage::of(&frames);
    (stream, received)
}

fn whole(thoughts: ThoughtDisplay, answer: &Value) -> Result<Value, AnswerFault> {
    let body = MessagesAnswer::new(memory(thoughts), seed()).translate(answer.to_string().as_bytes())?;
    Ok(serde_json::from_slice(&body).unwrap())
}

fn said(parts: Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}}], "usageMetadata": {"promptTokenCount": 20}})
}

fn ended(parts: Value, finish: &str) -> Value {
    json!({
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish}],
        "usageMetadata": {"promptTokenCount": 20, "cachedContentTokenCount": 5, "candidatesTokenCount": 7, "thoughtsTokenCount": 3},
    })
}

#[test]
fn what_cannot_be_read_behind_the_end_is_no_loss() {
    let end = [ended(json!([{"text": "all"}]), "STOP"), json!("[DONE]")];
    let (stream, received) = streamed(ThoughtDisplay::Hidden, &end, StreamEnd::Complete);
    assert!(stream.fault().is_none() && received.error.is_none());
    let error = json!({"error": {"code": 503, "status": "UNAVAILABLE", "message": "busy"}});
    let end = [ended(json!([{"text": "all"}]), "STOP"), error.clone()];
    let (stream, received) = streamed(ThoughtDisplay::Hidden, &end, StreamEnd::Complete);
    assert!(stream.fault().is_none() && received.error.is_none(), "nor is an error");
    let before = [said(json!([{"text": "some"}])), error];
    assert!(streamed(ThoughtDisplay::Hidden, &before, StreamEnd::Complete).1.error.is_some());
    let (stream, _) = streamed(ThoughtDisplay::Hidden, &[json!("[DONE]")], StreamEnd::Complete);
    assert!(matches!(stream.fault(), Some(AnswerFault::Unreadable)));
}

#[test]
fn a_draft_among_the_thoughts_is_no_answer() {
    let draft = json!({"inlineData": {"mimeType": "image/png", "data": "QUJD"}, "thought": true});
    let answer = whole(ThoughtDisplay::Shown, &ended(json!([draft, {"text": "done"}]), "STOP")).unwrap();
    assert_eq!(answer["content"], json!([{"type": "text", "text": "done"}]));
}

#[test]
fn events_are_written_in_one_way() {
    let mut stream = MessagesStream::new(memory(ThoughtDisplay::Hidden), seed());
    assert!(stream.push(br#"{"usageMetadata":{"promptTokenCount":20}}"#).is_empty(), "nothing is said yet");
    assert!(!stream.has_begun());
    let text = |frames: Vec<bytes::Bytes>| String::from_utf8(frames.concat()).unwrap();
    assert_eq!(
        text(stream.push(said(json!([{"text": "Hel"}])).to_string().as_bytes())),
        concat!(
            "event: message_start\n",
            r#"data: {"type":"message_start","message":{"id":"msg_01ab","type":"message","role":"assistant","#,
            r#""model":"claude-opus-5","content":[],"stop_reason":null,"stop_sequence":null,"stop_details":null,"#,
            r#""usage":{"input_tokens":20,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}"#,
            "\n\n",
            "event: content_block_start\n",
            r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            "\n\n",
            "event: content_block_delta\n",
            r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}"#,
            "\n\n",
        )
    );
    let last = ended(
        json!([{"functionCall": {"id": "ab12", "name": "_3d-x", "args": {"z": 1}}, "thoughtSignature": "QUJD"}]),
        "STOP",
    );
    let (start, call) =
        (text(stream.push(last.to_string().as_bytes())), text(stream.end(StreamEnd::Complete)));
    assert!(
        start.starts_with(concat!(
            "event: content_block_stop\n",
            r#"data: {"type":"content_block_stop","index":0}"#,
            "\n\n",
            "event: content_block_start\n",
            r#"data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_ab12_s1_a"#,
        )),
        "{start}"
    );
    assert!(
        start.ends_with(concat!(
            r#"QUJD","name":"3d-x","input":{}}}"#,
            "\n\n",
            "event: content_block_delta\n",
            r#"data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"z\":1}"}}"#,
            "\n\n",
            "event: content_block_stop\n",
            r#"data: {"type":"content_block_stop","index":1}"#,
            "\n\n",
        )),
        "{start}"
    );
    assert_eq!(
        call,
        concat!(
            "event: message_delta\n",
            r#"data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null,"stop_details":null},"#,
            r#""usage":{"input_tokens":15,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,"output_tokens":10}}"#,
            "\n\n",
            "event: message_stop\n",
            r#"data: {"type":"message_stop"}"#,
            "\n\n",
        )
    );
    assert!(stream.end(StreamEnd::Complete).is_empty(), "it ends once");
    assert!(stream.push(said(json!([{"text": "more"}])).to_string().as_bytes()).is_empty());
    ReceivedMessage::of(&[b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{}}}\n\n", PING].concat());
}

#[test]
fn every_end_has_its_reason() {
    let call = json!([{"functionCall": {"name": "read", "args": {}}}]);
    for (parts, finish, expected) in [
        (json!([{"text": "a"}]), "STOP", "end_turn"),
        (json!([{"text": "a"}]), "MAX_TOKENS", "max_tokens"),
        (json!([]), "MAX_TOKENS", "max_tokens"),
        (json!([{"text": "a"}]), "SAFETY", "refusal"),
        (json!([]), "PROHIBITED_CONTENT", "refusal"),
        (json!([]), "STOP", "end_turn"),
        (json!([{"text": "a"}]), "OTHER", "end_turn"),
        (call.clone(), "STOP", "tool_use"),
        (call.clone(), "MAX_TOKENS", "tool_use"),
        (call, "MALFORMED_FUNCTION_CALL", "tool_use"),
    ] {
        let answer = ended(parts, finish);
        let message = whole(ThoughtDisplay::Hidden, &answer).unwrap();
        assert_eq!(message["stop_reason"], expected, "{finish}");
        let (stream, received) = streamed(ThoughtDisplay::Hidden, &[answer], StreamEnd::Complete);
        assert!(received.is_whole && stream.fault().is_none());
        assert_eq!(received.message, message);
    }
    let blocked =
        json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}});
    let message = whole(ThoughtDisplay::Shown, &blocked).unwrap();
    assert_eq!((&message["stop_reason"], &message["content"]), (&json!("refusal"), &json!([])));
    assert_eq!(
        message["stop_details"],
        json!({"type": "refusal", "category": null, "explanation": "Google refused the prompt: SAFETY"})
    );
    let held = whole(ThoughtDisplay::Shown, &ended(json!([]), "RECITATION")).unwrap();
    assert_eq!(held["stop_details"]["explanation"], "Google held the answer back: RECITATION");
    let (_, received) = streamed(ThoughtDisplay::Shown, &[blocked], StreamEnd::Complete);
    assert!(received.is_whole);
    assert_eq!(received.message, message);
}

#[test]
fn an_answer_that_the_model_could_not_form_is_never_an_empty_success() {
    for finish in
        ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE", "TOO_MANY_TOOL_CALLS"]
    {
        let fault = AnswerFault::Misformed(FinishReason::parse(finish));
        let nothing = ended(json!([]), finish);
        assert_eq!(whole(ThoughtDisplay::Shown, &nothing), Err(fault.clone()));
        let (stream, received) = streamed(ThoughtDisplay::Shown, &[nothing], StreamEnd::Complete);
        assert_eq!(stream.fault(), Some(&fault));
        assert!(received.message.is_null() && stream.fault().unwrap().may_be_retried());

        let begun = [said(json!([{"text": "I will"}])), ended(json!([]), finish)];
        let (stream, received) = streamed(ThoughtDisplay::Shown, &begun, StreamEnd::Complete);
        assert_eq!(stream.fault(), Some(&fault));
        assert!(!received.is_whole);
        assert_eq!(received.error.unwrap()["type"], "api_error");

        let at_once = ended(json!([{"text": "I will"}]), finish);
        assert!(whole(ThoughtDisplay::Shown, &at_once).is_err());
        let (stream, received) = streamed(ThoughtDisplay::Shown, &[at_once], StreamEnd::Complete);
        assert!(received.message.is_null() && !stream.has_begun(), "it can be asked for again");
    }
}

#[test]
fn a_fault_before_the_start_is_the_callers_and_after_it_an_event() {
    let overloaded = json!({"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}});
    let begin = said(json!([{"text": "a"}]));
    let broken = || StreamEnd::Broken("the upstream was silent".to_owned());
    for (last, how, kind, message) in [
        (Some(overloaded), StreamEnd::Complete, "overloaded_error", "busy"),
        (Some(json!([1])), StreamEnd::Complete, "api_error", "the upstream's answer could not be read"),
        (None, StreamEnd::Complete, "api_error", "the upstream's stream ended before the answer did"),
        (None, broken(), "api_error", "the upstream was silent"),
    ] {
        let (stream, received) = streamed(ThoughtDisplay::Hidden, last.as_slice(), how.clone());
        assert!(stream.fault().is_some() && received.message.is_null(), "{kind}");
        let events: Vec<Value> = [begin.clone()].into_iter().chain(last).collect();
        let (stream, received) = streamed(ThoughtDisplay::Hidden, &events, how);
        assert!(stream.fault().is_some() && !received.is_whole);
        assert_eq!(received.error, Some(json!({"type": kind, "message": message})));
    }
    let (stream, received) = streamed(ThoughtDisplay::Hidden, &[begin, ended(json!([]), "STOP")], broken());
    assert!(received.is_whole && stream.fault().is_none(), "Google had said that it was all");
    for nothing in [json!({}), json!({"candidates": []}), json!([])] {
        assert!(whole(ThoughtDisplay::Hidden, &nothing).is_err(), "{nothing}");
    }
}

#[test]
fn a_message_begins_with_what_is_known_of_its_usage_and_ends_with_the_last() {
    let mut stream = MessagesStream::new(memory(ThoughtDisplay::Hidden), seed());
    stream.push(br#"{"usageMetadata":{"promptTokenCount":20,"cachedContentTokenCount":5}}"#);
    let start = stream.push(br#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#).concat();
    let usage = ReceivedMessage::of(&start).message["usage"].clone();
    assert_eq!((&usage["input_tokens"], &usage["cache_read_input_tokens"]), (&json!(15), &json!(5)));
    let _ = stream.push(br#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":21,"toolUsePromptTokenCount":4,"candidatesTokenCount":2,"thoughtsTokenCount":3}}"#);
    let end = String::from_utf8(stream.end(StreamEnd::Complete).concat()).unwrap();
    assert!(end.contains(r#""usage":{"input_tokens":25,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":5}"#), "{end}");
}

fn kinds(message: &Value) -> Vec<&str> {
    message["content"].as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap()).collect()
}

#[test]
fn thoughts_are_shown_as_far_as_the_client_asked() {
    let answer = ended(
        json!([
            {"text": "hm ", "thought": true}, {"text": "so", "thought": true}, {"text": "I read."},
            {"functionCall": {"id": "ab12", "name": "read", "args": {}}, "thoughtSignature": "QUJD"},
            {"functionCall": {"id": "cd34", "name": "read", "args": {}}}]),
        "STOP",
    );
    let of = |display| whole(display, &answer).unwrap();
    let shown = of(ThoughtDisplay::Shown);
    assert_eq!(kinds(&shown), ["thinking", "text", "thinking", "tool_use", "tool_use"]);
    assert_eq!(
        shown["content"][0],
        json!({"type": "thinking", "thinking": "hm so", "signature": "gemini-n1-"})
    );
    assert_eq!(shown["content"][2]["thinking"], "");
    assert!(shown["content"][2]["signature"].as_str().unwrap().starts_with("gemini-c1-a"));
    let omitted = of(ThoughtDisplay::Omitted);
    assert_eq!(kinds(&omitted), ["text", "thinking", "tool_use", "tool_use"]);
    let hidden = of(ThoughtDisplay::Hidden);
    assert_eq!(kinds(&hidden), ["text", "tool_use", "tool_use"]);
    for message in [&shown, &omitted, &hidden] {
        let calls: Vec<&Value> = message["content"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|block| block["type"] == "tool_use")
            .collect();
        assert!(calls[0]["id"].as_str().unwrap().ends_with("QUJD"));
        assert_eq!(calls[1]["id"], "toolu_cd34_s1_");
    }
    let directly = whole(
        ThoughtDisplay::Shown,
        &ended(
            json!([{"text": "hm", "thought": true}, {"functionCall": {"name": "read"}, "thoughtSignature": "QUJD"}]),
            "STOP",
        ),
    );
    assert_eq!(kinds(&directly.unwrap()), ["thinking", "tool_use"]);
}

#[test]
fn what_an_answer_says_is_in_its_last_block() {
    for last in [
        json!({"text": "done", "thoughtSignature": "QUJD"}),
        json!({"text": "", "thoughtSignature": "QUJD"}),
        json!({"thoughtSignature": "QUJD"}),
    ] {
        let answer = ended(json!([{"text": "hm", "thought": true}, {"text": "well "}, last]), "STOP");
        assert_eq!(kinds(&whole(ThoughtDisplay::Shown, &answer).unwrap()), ["thinking", "text"]);
    }
    let before_a_call = ended(
        json!([{"text": "well", "thoughtSignature": "QUJD"}, {"functionCall": {"name": "read"}}]),
        "STOP",
    );
    let message = whole(ThoughtDisplay::Omitted, &before_a_call).unwrap();
    assert_eq!(kinds(&message), ["text", "thinking", "tool_use"]);
    assert!(message["content"][1]["signature"].as_str().unwrap().starts_with("gemini-t1-"));
}

#[test]
fn calls_have_ids_of_their_own_and_the_clients_names() {
    let call = |id: Value, name: &str| json!({"functionCall": {"id": id, "name": name, "args": {"a": 12_345_678_901_234_567_890_u64}}});
    let answer = ended(
        json!([
            call(json!("x"), "_3d-x"),
            call(json!("x"), "default_api:read"),
            call(Value::Null, "READ"),
            call(json!(""), "unheard_of")
        ]),
        "STOP",
    );
    let message = whole(ThoughtDisplay::Hidden, &answer).unwrap();
    let calls = message["content"].as_array().unwrap();
    let names: Vec<&Value> = calls.iter().map(|call| &call["name"]).collect();
    assert_eq!(names, ["3d-x", "read", "read", "unheard_of"]);
    let ids: std::collections::BTreeSet<&str> =
        calls.iter().map(|call| call["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 4, "{ids:?}");
    assert_eq!(calls[0]["input"]["a"], 12_345_678_901_234_567_890_u64);
    let inline = ended(json!([{"inlineData": {"mimeType": "image/png", "data": "QUJD"}}]), "STOP");
    let text = whole(ThoughtDisplay::Hidden, &inline).unwrap()["content"][0]["text"].clone();
    assert!(text.as_str().unwrap().contains("image/png"), "it is not lost silently: {text}");
}

fn grounding() -> Value {
    json!({
        "webSearchQueries": ["rust", "rust news"],
        "groundingChunks": [{"web": {"uri": "https://v/1", "title": "a.org"}}, {"other": {}}, {"web": {"uri": "https://v/2", "title": "b.org"}}],
        "groundingSupports": [
            {"segment": {"startIndex": 0, "endIndex": 4, "text": "It is."}, "groundingChunkIndices": [0, 2]},
            {"segment": {"endIndex": 4, "text": "lost"}, "groundingChunkIndices": [1, 9]}],
    })
}

#[test]
fn a_search_is_shown_with_its_pages_and_citations() {
    let mut answer = ended(json!([{"text": "It is."}]), "STOP");
    answer["candidates"][0]["groundingMetadata"] = grounding();
    let message = whole(ThoughtDisplay::Hidden, &answer).unwrap();
    let citation = |url: &str, title: &str| json!({"type": "web_search_result_location", "cited_text": "It is.", "url": url, "title": title, "encrypted_index": ""});
    let result = |url: &str, title: &str| json!({"type": "web_search_result", "url": url, "title": title, "encrypted_content": "", "page_age": null});
    assert_eq!(
        message["content"],
        json!([
            {"type": "text", "text": "It is.", "citations": [citation("https://v/1", "a.org"), citation("https://v/2", "b.org")]},
            {"type": "server_tool_use", "id": "srvtoolu_01ab00", "name": "web_search", "input": {"query": "rust; rust news"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_01ab00", "content": [result("https://v/1", "a.org"), result("https://v/2", "b.org")]},
        ])
    );
    assert_eq!(message["stop_reason"], "end_turn");
    // Google says what it found at the end, and may say a part of it before, or all of it twice.
    let mut first = said(json!([{"text": "It "}]));
    first["candidates"][0]["groundingMetadata"] =
        json!({"webSearchQueries": ["rust"], "groundingChunks": []});
    let mut last = ended(json!([{"text": "is."}]), "STOP");
    last["candidates"][0]["groundingMetadata"] = grounding();
    let mut again = ended(json!([]), "STOP");
    again["candidates"][0]["groundingMetadata"] = grounding();
    for events in [vec![first.clone(), last.clone()], vec![first, last, again]] {
        let (_, received) = streamed(ThoughtDisplay::Hidden, &events, StreamEnd::Complete);
        assert!(received.is_whole);
        assert_eq!(received.message["content"], message["content"]);
    }
}

#[test]
fn a_stream_holds_little_however_much_comes() {
    let mut stream = MessagesStream::new(memory(ThoughtDisplay::Shown), seed());
    let long = "x".repeat(20_000);
    let chunks: Vec<Value> =
        (0..500).map(|place| json!({"web": {"uri": format!("https://v/{place}"), "title": long}})).collect();
    let indices: Vec<usize> = (0..500).collect();
    for round in 0..60 {
        let mut event = said(json!([
            {"text": long, "thought": true}, {"text": long, "thoughtSignature": "QUJD"},
            {"functionCall": {"id": format!("id{round}"), "name": "read", "args": {"text": long}}, "thoughtSignature": long}]));
        if round % 20 == 0 {
            event["candidates"][0]["groundingMetadata"] = json!({
                "webSearchQueries": [long, long], "groundingChunks": chunks,
                "groundingSupports": [{"segment": {"text": long}, "groundingChunkIndices": indices}]});
        }
        assert!(!stream.push(event.to_string().as_bytes()).is_empty());
    }
    let held = format!("{stream:?}").len();
    assert!(held < 150_000, "{held} bytes are held");
}

/// A part of an answer: what it is, and its signature.
#[derive(Clone, Debug)]
enum Said {
    Thought(String),
    Text(String, Option<String>),
    Call(Option<String>, Option<String>),
}

impl Said {
    fn part(&self) -> Value {
        let (mut part, signature) = match self {
            Self::Thought(text) => (json!({"text": text, "thought": true}), &None),
            Self::Text(text, signature) => (json!({"text": text}), signature),
            Self::Call(id, signature) => {
                (json!({"functionCall": {"id": id, "name": "read", "args": {"p": [1, "é"]}}}), signature)
            }
        };
        if let Some(signature) = signature {
            part["thoughtSignature"] = json!(signature);
        }
        part
    }

    /// The same in pieces, as a stream has it: a text anywhere, its signature at the last or behind it.
    fn pieces(&self, cut: usize, behind: bool) -> Vec<Self> {
        let split = |text: &str| {
            let at =
                (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
            (text[..at].to_owned(), text[at..].to_owned())
        };
        match self {
            Self::Thought(text) => {
                let (first, second) = split(text);
                vec![Self::Thought(first), Self::Thought(second)]
            }
            Self::Text(text, Some(signature)) if behind => {
                vec![Self::Text(text.clone(), None), Self::Text(String::new(), Some(signature.clone()))]
            }
            Self::Text(text, signature) => {
                let (first, second) = split(text);
                vec![Self::Text(first, None), Self::Text(second, signature.clone())]
            }
            Self::Call(..) => vec![self.clone()],
        }
    }
}

fn any_said() -> impl Strategy<Value = Said> {
    let signature = || proptest::option::of("[A-Za-z0-9+/]{4,20}={0,2}");
    prop_oneof![
        "[a-zé😀 \"\\n]{1,12}".prop_map(Said::Thought),
        ("[a-zé😀 \"\\n]{1,12}", signature()).prop_map(|(text, signature)| Said::Text(text, signature)),
        (proptest::option::of("[a-z0-9]{1,4}|[.:é]{1,3}"), signature())
            .prop_map(|(id, signature)| Said::Call(id, signature)),
    ]
}

fn any_display() -> impl Strategy<Value = ThoughtDisplay> {
    proptest::sample::select(vec![ThoughtDisplay::Hidden, ThoughtDisplay::Omitted, ThoughtDisplay::Shown])
}

proptest! {
    #[test]
    fn an_answer_is_the_same_however_it_comes(
        said in proptest::collection::vec(any_said(), 0..8),
        display in any_display(),
        cuts in proptest::collection::vec((0..8_usize, any::<bool>(), any::<bool>()), 8),
        finish in proptest::sample::select(vec!["STOP", "MAX_TOKENS", "SAFETY", "OTHER"]),
        searched: bool,
    ) {
        let mut answer = ended(said.iter().map(Said::part).collect(), finish);
        if searched {
            answer["candidates"][0]["groundingMetadata"] = grounding();
        }
        let message = whole(display, &answer).unwrap();

        let mut events = vec![Vec::new()];
        for (said, (cut, behind, is_apart)) in said.iter().zip(cuts) {
            for piece in said.pieces(cut, behind) {
                if is_apart {
                    events.push(Vec::new());
                }
                let last = events.len() - 1;
                events[last].push(piece.part());
            }
        }
        let mut events: Vec<Value> = events.into_iter().map(|parts| self::said(Value::Array(parts))).collect();
        answer["candidates"][0]["content"]["parts"] = json!([]);
        events.push(answer);
        let (stream, received) = streamed(display, &events, StreamEnd::Complete);
        prop_assert!(received.is_whole && stream.fault().is_none());
        prop_assert_eq!(&received.message, &message);
        if let Some(last) = message["content"].as_array().unwrap().last() {
            let is_thought = matches!(said.last(), Some(Said::Thought(_)));
            prop_assert!(is_thought || last["type"] != "thinking", "a carrier is never last: {}", last);
        }
    }

    #[test]
    fn any_events_are_taken_without_a_panic(
        events in proptest::collection::vec(prop_oneof![
            3 => any_said().prop_map(|part| said(json!([part.part()])).to_string()),
            1 => Just(json!({"error": {"code": 500, "message": "x"}}).to_string()),
            1 => Just(json!({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}).to_string()),
            1 => Just(json!({"candidates": [{"finishReason": "STOP", "groundingMetadata": {"groundingChunks": 3}}]}).to_string()),
            1 => ".{0,20}",
        ], 0..8),
        display in any_display(),
        is_broken: bool,
    ) {
        let mut stream = MessagesStream::new(memory(display), seed());
        let mut frames = Vec::new();
        for event in &events {
            frames.extend(stream.push(event.as_bytes()).concat());
            let _ = MessagesAnswer::new(memory(display), seed()).translate(event.as_bytes());
        }
        let how = if is_broken { StreamEnd::Broken("gone".to_owned()) } else { StreamEnd::Complete };
        frames.extend(stream.end(how).concat());
        prop_assert_eq!(stream.has_begun(), !frames.is_empty());
        let received = ReceivedMessage::of(&frames);
        prop_assert_eq!(received.is_whole, stream.fault().is_none(), "an answer is whole or says why not");
        prop_assert_eq!(received.error.is_some(), stream.fault().is_some() && stream.has_begun());
    }
}
