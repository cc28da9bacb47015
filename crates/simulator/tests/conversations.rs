//! Conversations with tools, scripted and made up, over real sockets: what the model says, how it is cut into events, and
//! what comes of sending it back.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use gemini_simulator::{
    AfterSteps, ConversationState, ScriptedConversation, ScriptedStep, SignatureCounts, Simulator,
};
use serde_json::{Value, json};
use wire::*;

const THREE: &str = "gemini-3.7-flash";
const OLD: &str = "gemini-2.5-flash";

fn target(model: &str) -> String {
    format!("/v1beta/models/{model}:generateContent")
}

/// A request with three tools, as agents make them.
fn prompt(text: &str) -> Value {
    let tool = |name: &str| {
        let schema =
            json!({"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": false});
        json!({"name": name, "description": "A tool.", "parametersJsonSchema": schema})
    };
    json!({
        "contents": [{"role": "user", "parts": [{"text": text}]}],
        "tools": [{"functionDeclarations": [tool("Bash"), tool("Read"), tool("mcp__a__b")]}],
    })
}

async fn set(sim: &Simulator, conversations: &Value) {
    let reply = call(sim, "PUT", "/_simulator/conversations", &[], &conversations.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

async fn unary(sim: &Simulator, model: &str, body: &Value) -> Value {
    let reply = native(sim, &target(model), body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn streamed(sim: &Simulator, model: &str, body: &Value) -> Vec<Value> {
    let target = format!("/v1beta/models/{model}:streamGenerateContent?alt=sse");
    let reply = native(sim, &target, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    let events = text.split("\r\n\r\n").filter(|event| !event.is_empty());
    events.map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap()).collect()
}

fn parts(answer: &Value) -> &Vec<Value> {
    answer["candidates"][0]["content"]["parts"].as_array().unwrap()
}

/// The same request with the model's content and the answers of functions, each quoting the command.
fn followed(body: &Value, answer: &Value) -> Value {
    let mut body = body.clone();
    let content = answer["candidates"][0]["content"].clone();
    let mut responses = Vec::new();
    for call in content["parts"].as_array().unwrap().iter().filter_map(|part| part.get("functionCall")) {
        let mut response =
            json!({"name": call["name"], "response": {"output": format!("did {}", call["args"])}});
        if let Some(id) = call.get("id") {
            response["id"] = id.clone();
        }
        responses.push(json!({"functionResponse": response}));
    }
    let contents = body["contents"].as_array_mut().unwrap();
    contents.extend([content, json!({"role": "user", "parts": responses})]);
    body
}

#[tokio::test]
async fn a_script_is_played_step_by_step_and_shows_what_was_asked() {
    let sim = simulator().await;
    set(
        &sim,
        &json!([{
            "match": {"model": THREE},
            "when": {"tools": true},
            "steps": [
                {"parts": [
                    {"thought": "I should look."},
                    {"text": "Let me see. "},
                    {"call": {"name": "Bash", "args": {"x": "1"}}},
                    {"call": {"name": "Read", "args": {"n": 9_007_199_254_740_993_u64}}},
                ]},
                {"parts": [{"text": "All "}, {"text": "done."}]},
            ],
        }]),
    )
    .await;
    let body = prompt("go");
    let other = unary(&sim, OLD, &body).await;
    assert_eq!(parts(&other)[0]["text"], "You said: go", "another model");

    let first = unary(&sim, THREE, &body).await;
    let said = parts(&first);
    assert_eq!(said.len(), 3, "thoughts were not asked for: {first}");
    assert_eq!(said[0], json!({"text": "Let me see. "}));
    assert_eq!(
        (&said[1]["functionCall"]["name"], &said[2]["functionCall"]["name"]),
        (&json!("Bash"), &json!("Read"))
    );
    assert!(said[1]["thoughtSignature"].as_str().unwrap().len() > 200);
    assert_eq!(said[2].get("thoughtSignature"), None, "of parallel calls the first is signed");
    assert_ne!(said[1]["functionCall"]["id"], said[2]["functionCall"]["id"]);
    assert_eq!(first["candidates"][0]["finishReason"], "STOP");

    let second = unary(&sim, THREE, &followed(&body, &first)).await;
    assert_eq!(parts(&second).len(), 1);
    assert_eq!(parts(&second)[0]["text"], "All done.");
    assert!(parts(&second)[0]["thoughtSignature"].is_string(), "a text is signed too");
    let third = unary(&sim, THREE, &body).await;
    assert_eq!(parts(&third)[0]["text"], "You said: go", "the script has ended");

    let state: Vec<ConversationState> =
        serde_json::from_value(call(&sim, "GET", "/_simulator/conversations", &[], "").await.json()).unwrap();
    assert_eq!(state[0].answered, 2);
    assert_eq!(state[0].seen, [body.clone(), followed(&body, &first)]);
    assert_eq!(sim.conversations(), state);
    assert_eq!(call(&sim, "DELETE", "/_simulator/conversations", &[], "").await.status, 200);
    assert_eq!(sim.conversations(), []);
}

#[tokio::test]
async fn requests_can_be_seen_without_a_script() {
    let sim = simulator().await;
    let conversation = ScriptedConversation::new([ScriptedStep::echo()]).then(AfterSteps::Repeat);
    sim.set_conversations([conversation.on_model(THREE)]);
    for text in ["a", "b", r#"call Read {"x":"1"}"#] {
        unary(&sim, THREE, &prompt(text)).await;
    }
    let answer = unary(&sim, THREE, &prompt(r#"call Read {"x":"2"}"#)).await;
    assert_eq!(parts(&answer)[0]["functionCall"]["args"], json!({"x": "2"}));
    let seen = &sim.conversations()[0].seen;
    assert_eq!((seen.len(), &seen[1]), (4, &prompt("b")));
}

#[tokio::test]
async fn a_streamed_step_is_one_part_an_event_with_the_signature_at_the_very_end() {
    let sim = simulator().await;
    let steps = [ScriptedStep::texts(["Hel", "lo"]).after_thought("hm")];
    sim.set_conversations([ScriptedConversation::new(steps).then(AfterSteps::Stay)]);
    let mut body = hello();
    body["generationConfig"] = json!({"thinkingConfig": {"includeThoughts": true}});
    let events = streamed(&sim, THREE, &body).await;
    let said: Vec<_> = events.iter().map(|event| parts(event)[0].clone()).collect();
    assert_eq!(
        said[..3],
        [json!({"text": "hm", "thought": true}), json!({"text": "Hel"}), json!({"text": "lo"})]
    );
    assert_eq!(said[3]["text"], "");
    assert!(said[3]["thoughtSignature"].is_string());
    let ended: Vec<_> = events.iter().map(|event| event["candidates"][0]["finishReason"].as_str()).collect();
    assert_eq!(ended, [None, None, None, Some("STOP")]);
    let usage = &events[3]["usageMetadata"];
    assert_eq!((&usage["thoughtsTokenCount"], &usage["candidatesTokenCount"]), (&json!(1), &json!(2)));
    assert_eq!(usage["totalTokenCount"], 4 + 1 + 2);
    assert_eq!(events[0]["usageMetadata"].get("candidatesTokenCount"), None, "zero is not written");

    let whole = unary(&sim, THREE, &body).await;
    assert_eq!(parts(&whole)[0], json!({"text": "hm", "thought": true}));
    assert_eq!((parts(&whole).len(), &parts(&whole)[1]["text"]), (2, &json!("Hello")));
    let quiet = streamed(&sim, OLD, &hello()).await;
    assert_eq!(quiet.len(), 2, "2.5 signs no texts, and no thoughts were asked for");
    assert_eq!(quiet[1]["usageMetadata"].get("thoughtsTokenCount"), None);
}

#[tokio::test]
async fn a_step_may_end_in_any_way() {
    let sim = simulator().await;
    set(
        &sim,
        &json!([{"steps": [
            {"finish": "MALFORMED_FUNCTION_CALL", "finish_message": "Malformed function call: f("},
            {"parts": [{"text": "Half"}], "finish": "MAX_TOKENS"},
            {"block": "PROHIBITED_CONTENT"},
            {"parts": [{"text": "a"}, {"raw": {"executableCode": {"language": "PYTHON", "code": "1"}}}], "together": true},
            {"parts": [{"text": "a"}, {"text": "b"}], "signing": "last_text"},
            {"parts": [{"call": {"name": "f", "id": "own"}}], "signing": "none"},
        ]}]),
    )
    .await;
    let malformed = streamed(&sim, THREE, &hello()).await;
    assert_eq!(malformed.len(), 1);
    assert_eq!(
        malformed[0]["candidates"][0],
        json!({
            "content": {"role": "model"}, "finishReason": "MALFORMED_FUNCTION_CALL",
            "finishMessage": "Malformed function call: f(", "index": 0,
        })
    );
    let cut = unary(&sim, OLD, &hello()).await;
    assert_eq!(
        (&parts(&cut)[0]["text"], &cut["candidates"][0]["finishReason"]),
        (&json!("Half"), &json!("MAX_TOKENS"))
    );
    let blocked = unary(&sim, THREE, &hello()).await;
    assert_eq!(blocked["promptFeedback"], json!({"blockReason": "PROHIBITED_CONTENT"}));
    assert_eq!(blocked.get("candidates"), None);
    let together = streamed(&sim, THREE, &hello()).await;
    assert_eq!((together.len(), parts(&together[0]).len()), (2, 2));
    let signed = streamed(&sim, THREE, &hello()).await;
    assert_eq!(signed.len(), 2);
    assert!(parts(&signed[1])[0]["thoughtSignature"].is_string());
    let bare = unary(&sim, THREE, &hello()).await;
    assert_eq!(parts(&bare)[0], json!({"functionCall": {"name": "f", "args": {}, "id": "own"}}));
}

#[tokio::test]
async fn a_search_grounds_the_answer_in_bytes() {
    let sim = simulator().await;
    let mut body = json!({"contents": [{"parts": [{"text": "Wie groß ist der Bär"}]}]});
    body["tools"] = json!([{"googleSearch": {}}]);
    let events = streamed(&sim, OLD, &body).await;
    let text: String = events.iter().map(|event| parts(event)[0]["text"].as_str().unwrap()).collect();
    assert!(events[..4].iter().all(|event| event["candidates"][0].get("groundingMetadata").is_none()));
    let grounding = &events[4]["candidates"][0]["groundingMetadata"];
    assert_eq!(grounding["webSearchQueries"], json!(["Wie groß ist der Bär"]));
    assert_eq!(grounding["groundingChunks"].as_array().unwrap().len(), 2);
    let segment = &grounding["groundingSupports"][0]["segment"];
    let at = |name: &str| usize::try_from(segment[name].as_u64().unwrap()).unwrap();
    assert_eq!(text[at("startIndex")..at("endIndex")], *segment["text"].as_str().unwrap());
    assert!(events[4]["usageMetadata"]["toolUsePromptTokenCount"].as_u64().unwrap() > 0);

    set(
        &sim,
        &json!([{"steps": [{
            "parts": [{"text": "Grün ist "}, {"text": "die Heide."}],
            "grounding": {
                "queries": ["heide"],
                "sources": [{"uri": "https://example.com/", "title": "Example"}],
                "supports": [{"text": "Grün", "sources": [0]}, {"text": "die Heide", "sources": [0]}],
            },
        }]}]),
    )
    .await;
    let answer = unary(&sim, THREE, &body).await;
    let supports = &answer["candidates"][0]["groundingMetadata"]["groundingSupports"];
    assert_eq!(
        *supports,
        json!([
            {"segment": {"endIndex": 5, "text": "Grün"}, "groundingChunkIndices": [0]},
            {"segment": {"startIndex": 10, "endIndex": 19, "text": "die Heide"}, "groundingChunkIndices": [0]},
        ])
    );
}

#[tokio::test]
async fn a_prompt_that_demands_calls_gets_them_and_then_an_answer_that_quotes_the_results() {
    let sim = simulator().await;
    let text = r#"Please call Bash {"command":"echo hi"} and call Read {"path":"a"}, then use the tool mcp__a__b with {"n":1}"#;
    for model in [THREE, OLD, "gemini-flash-latest"] {
        let body = prompt(text);
        let events = streamed(&sim, model, &body).await;
        assert_eq!(events.len(), 2, "each call is an event");
        let first = unary(&sim, model, &body).await;
        let calls: Vec<_> = parts(&first)
            .iter()
            .map(|part| (&part["functionCall"]["name"], &part["functionCall"]["args"]))
            .collect();
        let (bash, read) = (json!({"command": "echo hi"}), json!({"path": "a"}));
        assert_eq!(calls, [(&json!("Bash"), &bash), (&json!("Read"), &read)]);
        assert_eq!(parts(&first)[0]["functionCall"].get("id").is_some(), model != OLD);

        let body = followed(&body, &first);
        let second = unary(&sim, model, &body).await;
        assert_eq!(parts(&second).len(), 1);
        assert_eq!(parts(&second)[0]["functionCall"]["args"], json!({"n": 1}));
        assert!(parts(&second)[0]["thoughtSignature"].is_string(), "each step has its own signature");

        let third = unary(&sim, model, &followed(&body, &second)).await;
        let said = parts(&third)[0]["text"].as_str().unwrap();
        assert!(said.contains("The function said: ") && said.contains(r#"did {\"n\":1}"#), "{said}");
    }
    let counts = sim.stats().signatures;
    assert_eq!((counts.returned, counts.skipped, counts.missing, counts.corrupted), (9, 0, 0, 0));
    assert_eq!(counts.ids_missing, 0);
}

#[tokio::test]
async fn a_tool_among_many_is_called_only_in_so_many_words() {
    let sim = simulator().await;
    let mut body = prompt("Say that Bash and Read are there.");
    assert!(parts(&unary(&sim, THREE, &body).await)[0]["functionCall"].is_object(), "few tools");
    let tools: Vec<_> = ["Bash", "Read", "c", "d", "e"].iter().map(|name| json!({"name": name})).collect();
    body["tools"][0]["functionDeclarations"] = json!(tools);
    assert!(parts(&unary(&sim, THREE, &body).await)[0]["text"].is_string(), "many tools");
}

#[tokio::test]
async fn an_answer_may_have_to_fit_a_schema() {
    let sim = simulator().await;
    let mut body = hello();
    let schema = json!({"type": "object", "properties": {"title": {"type": "string"}, "n": {"type": ["integer", "null"]}}});
    body["generationConfig"] = json!({"responseMimeType": "application/json", "responseJsonSchema": schema});
    let answer = unary(&sim, THREE, &body).await;
    let said: Value = serde_json::from_str(parts(&answer)[0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(said, json!({"title": "hello over there", "n": 1}));
}

#[tokio::test]
async fn thoughts_are_shown_to_whom_asks() {
    let sim = simulator().await;
    let mut body = prompt(r#"call Bash {"command":"a"}"#);
    body["generationConfig"] = json!({"thinkingConfig": {"includeThoughts": true, "thinkingLevel": "low"}});
    let answer = unary(&sim, THREE, &body).await;
    assert_eq!(parts(&answer)[0]["thought"], true);
    assert!(parts(&answer)[1]["functionCall"].is_object());
    assert!(answer["usageMetadata"]["thoughtsTokenCount"].as_u64().unwrap() > 0);
    body["generationConfig"] = json!({"thinkingConfig": {"thinkingLevel": "low"}});
    let answer = unary(&sim, THREE, &body).await;
    assert!(parts(&answer)[0]["functionCall"].is_object());
    assert_eq!(answer["usageMetadata"].get("thoughtsTokenCount"), None);
}

#[tokio::test]
async fn a_prompt_over_the_limit_is_refused_in_googles_words() {
    let sim = simulator().await;
    sim.set_input_limits([(THREE, 3)]);
    let reply = native(&sim, &target(THREE), &hello()).await;
    assert_eq!(reply.status, 400);
    assert_eq!(
        reply.json()["error"]["message"],
        "The input token count (4) exceeds the maximum number of tokens allowed (3)."
    );
    assert_eq!(native(&sim, &target(OLD), &hello()).await.status, 200);
    let set = call(&sim, "PUT", "/_simulator/input_limits", &[], &json!({THREE: 4}).to_string()).await;
    assert_eq!(set.status, 200);
    assert_eq!(native(&sim, &target(THREE), &hello()).await.status, 200);
    assert_eq!(call(&sim, "GET", "/_simulator/input_limits", &[], "").await.json(), json!({THREE: 4}));
}

#[tokio::test]
async fn what_becomes_of_signatures_is_counted() {
    let sim = simulator().await;
    let body = prompt(r#"call Bash {"command":"a"}"#);
    let answer = unary(&sim, THREE, &body).await;
    let good = followed(&body, &answer);
    let with = |signature: Value| {
        let mut body = good.clone();
        body["contents"][1]["parts"][0]["thoughtSignature"] = signature;
        body
    };
    let mut without_id = good.clone();
    without_id["contents"][2]["parts"][0]["functionResponse"].as_object_mut().unwrap().remove("id");
    let requests = [
        (good.clone(), 200),
        (with(json!("skip_thought_signature_validator")), 200),
        (with(json!("AAAA")), 400),
        (with(json!("")), 400),
        (without_id, 200),
    ];
    for (request, status) in requests {
        assert_eq!(native(&sim, &target(THREE), &request).await.status, status, "{request}");
    }
    let counts = sim.stats().signatures;
    let expected =
        SignatureCounts { issued: 4, returned: 2, skipped: 1, missing: 1, corrupted: 1, ids_missing: 1 };
    assert_eq!(counts, expected);
    assert_eq!(call(&sim, "GET", "/_simulator/stats", &[], "").await.json()["signatures"]["skipped"], 1);
    sim.reset();
    assert_eq!(sim.stats().signatures, SignatureCounts::default());
}
