//! Google's rules for the turns of a conversation, over real sockets, each with the words in which it is refused.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking
#![allow(clippy::needless_pass_by_value)] // JSON reads better where it stands

mod wire;

use gemini_simulator::{Simulator, Strictness};
use serde_json::{Value, json};
use wire::*;

const THREE: &str = "/v1beta/models/gemini-3.7-flash:generateContent";

const AS_MANY: &str = "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.";
const CALLS_AFTER: &str = "Please ensure that function call turn comes immediately after a user turn or after a function response turn.";
const RESPONSES_AFTER: &str =
    "Please ensure that function response turn comes immediately after a function call turn.";

fn user(parts: Value) -> Value {
    json!({"role": "user", "parts": parts})
}

fn model(parts: Value) -> Value {
    json!({"role": "model", "parts": parts})
}

fn said(text: &str) -> Value {
    json!([{"text": text}])
}

fn called(name: &str) -> Value {
    json!({"functionCall": {"name": name, "args": {"a": 1}}})
}

fn answered(name: &str) -> Value {
    json!({"functionResponse": {"name": name, "response": {"b": 2}}})
}

/// The message with which 2.5 refuses these contents; nothing if it takes them.
async fn refusal(sim: &Simulator, target: &str, contents: &[Value]) -> String {
    let reply = native(sim, target, &json!({"contents": contents})).await;
    if reply.status == 200 {
        return String::new();
    }
    assert_eq!((reply.status, reply.json()["error"]["status"].as_str()), (400, Some("INVALID_ARGUMENT")));
    reply.json()["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn turns_follow_each_other_as_google_wants_them() {
    let sim = simulator().await;
    let hello = || user(said("hi"));
    let oneof = "* GenerateContentRequest.contents[0].parts[0].data: required oneof field 'data' must have one initialized field\n";
    let cases = [
        (vec![hello(), model(said("a")), hello()], ""),
        (vec![hello(), hello(), model(said("a"))], ""),
        (vec![json!({"parts": [{"text": "no role"}]})], ""),
        (vec![hello(), model(json!([called("f")])), user(json!([answered("f")]))], ""),
        (
            vec![
                hello(),
                model(json!([called("f"), called("g")])),
                user(json!([answered("g"), answered("f")])),
            ],
            "",
        ),
        (
            vec![
                hello(),
                model(json!([{"text": "x"}, called("f")])),
                user(json!([answered("f"), {"text": "y"}])),
                model(json!([called("f")])),
                user(json!([answered("f")])),
            ],
            "",
        ),
        (vec![model(said("a")), hello()], "Please ensure that multiturn requests begin with a user turn."),
        (vec![json!({"role": "system", "parts": [{"text": "x"}]})], "Please use a valid role: user, model."),
        (
            vec![user(json!([]))],
            "* GenerateContentRequest.contents[0].parts: contents.parts must not be empty.\n",
        ),
        (
            vec![json!({"role": "user"})],
            "* GenerateContentRequest.contents[0].parts: contents.parts must not be empty.\n",
        ),
        (vec![user(json!([{}]))], oneof),
        (vec![hello(), model(json!([called("f")])), hello()], AS_MANY),
        (vec![hello(), model(json!([called("f")]))], AS_MANY),
        (vec![hello(), model(json!([called("f"), called("g")])), user(json!([answered("f")]))], AS_MANY),
        (
            vec![
                hello(),
                model(json!([called("f"), called("g")])),
                user(json!([answered("f")])),
                user(json!([answered("g")])),
            ],
            AS_MANY,
        ),
        (vec![hello(), model(json!([called("f")])), user(json!([answered("f"), answered("f")]))], AS_MANY),
        (vec![hello(), user(json!([answered("f")]))], RESPONSES_AFTER),
        (
            vec![hello(), model(said("a")), model(json!([called("f")])), user(json!([answered("f")]))],
            CALLS_AFTER,
        ),
        (vec![model(json!([called("f")])), user(json!([answered("f")]))], CALLS_AFTER),
        (
            vec![hello(), model(json!([called("")])), user(json!([answered("")]))],
            "* GenerateContentRequest.contents[1].parts[0].function_call.name: Name cannot be empty.\n",
        ),
    ];
    for (contents, expected) in cases {
        assert_eq!(refusal(&sim, FLASH, &contents).await, expected, "{contents:?}");
    }
}

/// A conversation on Gemini 3 whose first call has come with its id and signature.
async fn begun(sim: &Simulator, prompt: &str) -> (Vec<Value>, Value) {
    let tool = json!({"name": "f"});
    let body = json!({"contents": [user(said(prompt))], "tools": [{"functionDeclarations": [tool]}]});
    let answer = native(sim, THREE, &body).await.json();
    let content = answer["candidates"][0]["content"].clone();
    let responses: Vec<Value> = content["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| {
            let call = &part["functionCall"];
            json!({"functionResponse": {"id": call["id"], "name": call["name"], "response": {}}})
        })
        .collect();
    (vec![user(said(prompt)), content, user(json!(responses))], answer)
}

#[tokio::test]
async fn an_answer_has_the_id_of_its_call() {
    let sim = simulator().await;
    let (contents, _) = begun(&sim, r#"call f {"a":1} and call f {"a":2}"#).await;
    assert_eq!(refusal(&sim, THREE, &contents).await, "");
    let mut swapped = contents.clone();
    swapped[2]["parts"].as_array_mut().unwrap().reverse();
    assert_eq!(refusal(&sim, THREE, &swapped).await, "", "ids tell them apart");
    let mut other = contents.clone();
    other[2]["parts"][1]["functionResponse"]["id"] = json!("toolu_1");
    assert!(refusal(&sim, THREE, &other).await.contains("no open call of `f` with id `toolu_1`"));
    let mut twice = contents.clone();
    twice[2]["parts"][1] = twice[2]["parts"][0].clone();
    assert!(refusal(&sim, THREE, &twice).await.contains("no open call of `f`"));
    assert_eq!(refusal(&sim, FLASH, &other).await, "", "2.5 gives no ids");
}

#[tokio::test]
async fn a_signature_belongs_to_its_call() {
    let sim = simulator().await;
    let (contents, _) = begun(&sim, r#"call f {"a":1} and call f {"a":2}"#).await;
    let corrupted = "Corrupted thought signature.";
    let signature = contents[1]["parts"][0]["thoughtSignature"].clone();
    let changes: [fn(&mut Value); 4] = [
        |call| call["name"] = json!("g"),
        |call| call["args"] = json!({"a": 3}),
        |call| call["args"] = json!({"a": "1"}),
        |call| call["id"] = json!("other"),
    ];
    for change in changes {
        let mut contents = contents.clone();
        change(&mut contents[1]["parts"][0]["functionCall"]);
        contents[2]["parts"][0]["functionResponse"]["id"] =
            contents[1]["parts"][0]["functionCall"]["id"].clone();
        contents[2]["parts"][0]["functionResponse"]["name"] =
            contents[1]["parts"][0]["functionCall"]["name"].clone();
        assert_eq!(refusal(&sim, THREE, &contents).await, corrupted, "{contents:?}");
    }
    let mut moved = contents.clone();
    moved[1]["parts"][0].as_object_mut().unwrap().remove("thoughtSignature");
    moved[1]["parts"][1]["thoughtSignature"] = signature;
    let message = refusal(&sim, THREE, &moved).await;
    assert_eq!(
        message,
        "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance. Additional data, function call `default_api:f` , position 2. Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
    );
    let mut made_up = contents.clone();
    made_up[1]["parts"][0]["thoughtSignature"] = json!("bm90IGEgc2lnbmF0dXJl");
    assert_eq!(refusal(&sim, THREE, &made_up).await, corrupted);
    assert_eq!(refusal(&sim, FLASH, &made_up).await, "", "2.5 does not insist");
    assert_eq!(
        refusal(&sim, "/v1beta/models/gemini-flash-latest:generateContent", &made_up).await,
        corrupted
    );
}

#[tokio::test]
async fn only_the_turn_under_way_must_be_signed() {
    let sim = simulator().await;
    let (mut contents, _) = begun(&sim, r#"call f {"a":1}"#).await;
    contents[1]["parts"][0].as_object_mut().unwrap().remove("thoughtSignature");
    assert!(refusal(&sim, THREE, &contents).await.contains("missing a thought_signature"));
    // A text beside the answer of a function begins no turn.
    let mut beside = contents.clone();
    beside[2]["parts"].as_array_mut().unwrap().push(json!({"text": "a reminder"}));
    assert!(refusal(&sim, THREE, &beside).await.contains("missing a thought_signature"));
    contents.extend([model(said("done")), user(said("and now?"))]);
    assert_eq!(refusal(&sim, THREE, &contents).await, "");
    // What was never the model's: a call in the history of another's.
    let foreign = [
        user(said("hi")),
        model(json!([{"functionCall": {"name": "f", "args": {}, "id": "toolu_1"}}])),
        user(json!([{"functionResponse": {"name": "f", "id": "toolu_1", "response": {}}}])),
        model(said("done")),
        user(said("hi again")),
    ];
    assert_eq!(refusal(&sim, THREE, &foreign).await, "");
}

#[tokio::test]
async fn a_texts_signature_is_not_demanded_but_must_be_one() {
    let sim = simulator().await;
    let answer = native(&sim, THREE, &hello()).await.json();
    let content = answer["candidates"][0]["content"].clone();
    let contents = |content: &Value| [user(said("hello over there")), content.clone(), user(said("more"))];
    assert_eq!(refusal(&sim, THREE, &contents(&content)).await, "");
    let mut joined = content.clone();
    joined["parts"] = json!([{"text": "in other words"}, {"text": "", "thought_signature": content["parts"][0]["thoughtSignature"]}]);
    assert_eq!(refusal(&sim, THREE, &contents(&joined)).await, "");
    let mut bare = content.clone();
    bare["parts"][0].as_object_mut().unwrap().remove("thoughtSignature");
    assert_eq!(refusal(&sim, THREE, &contents(&bare)).await, "");
    let mut altered = content;
    altered["parts"][0]["thoughtSignature"] = json!("AAAA");
    assert_eq!(refusal(&sim, THREE, &contents(&altered)).await, "Corrupted thought signature.");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_its_place() {
    let sim = simulator().await;
    let mut body = hello();
    body["tools"] = json!([{"functionDeclarations": [{
        "name": "f",
        "parameters": {"type": "object", "$schema": "x", "properties": {"a": {"type": "string", "const": "x"}}},
    }]}]);
    let reply = native(&sim, FLASH, &body).await.json();
    let unknown = |name: &str, path: &str| {
        format!("Invalid JSON payload received. Unknown name \"{name}\" at '{path}': Cannot find field.")
    };
    let path = "tools[0].function_declarations[0].parameters";
    let (first, second) =
        (unknown("$schema", path), unknown("const", &format!("{path}.properties[0].value")));
    assert_eq!(reply["error"]["message"], format!("{first}\n{second}"));
    let violations = &reply["error"]["details"][0]["fieldViolations"];
    assert_eq!(violations[0], json!({"field": path, "description": first}));

    body["tools"][0]["functionDeclarations"][0] = json!({
        "name": "f", "parametersJsonSchema": {"type": "object", "$schema": "x", "properties": {"a": {"const": 1}}},
    });
    assert_eq!(native(&sim, FLASH, &body).await.status, 200, "JSON Schema is taken whole");
    body["generation_config"] = json!({"thinking_config": {"thinking_budget": 31_999}});
    let reply = native(&sim, FLASH, &body).await.json();
    let message = "The thinking budget 31999 is invalid. Please choose a value between 0 and 24576.";
    assert_eq!(reply["error"]["message"], message);
}

#[tokio::test]
async fn how_strict_some_rules_are_can_be_set() {
    let sim = simulator().await;
    let (contents, _) = begun(&sim, r#"call f {"a":1} and call f {"a":2}"#).await;
    let mut without_id = contents.clone();
    without_id[2]["parts"][0]["functionResponse"].as_object_mut().unwrap().remove("id");
    assert_eq!(refusal(&sim, THREE, &without_id).await, "");

    // As Google's Python SDK sends a streamed answer back: a content for each event.
    let calls = contents[1]["parts"].as_array().unwrap();
    let thought = model(json!([{"text": "hm", "thought": true}]));
    let one = [
        contents[0].clone(),
        thought.clone(),
        model(json!([calls[0]])),
        user(json!([contents[2]["parts"][0]])),
    ];
    let parallel = [
        contents[0].clone(),
        thought,
        model(json!([calls[0]])),
        model(json!([calls[1]])),
        contents[2].clone(),
    ];
    assert_eq!(refusal(&sim, THREE, &one).await, CALLS_AFTER);
    assert_eq!(refusal(&sim, THREE, &parallel).await, CALLS_AFTER);

    let other = Strictness { split_turns: false, missing_ids: true };
    let set = serde_json::to_string(&other).unwrap();
    assert_eq!(call(&sim, "PUT", "/_simulator/strictness", &[], &set).await.status, 200);
    assert_eq!(refusal(&sim, THREE, &one).await, "");
    assert!(
        refusal(&sim, THREE, &parallel).await.contains("missing a thought_signature"),
        "each content is signed"
    );
    assert_eq!(refusal(&sim, FLASH, &parallel).await, "");
    assert!(refusal(&sim, THREE, &without_id).await.contains("no open call of `f` with id ``"));
    sim.set_strictness(Strictness::default());
    assert_eq!(refusal(&sim, THREE, &one).await, CALLS_AFTER);
}
