//! The state of Responses: what is kept of a response, how a request goes on from it, lists of input items; and errors in
//! OpenAI's words.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

use formats::gemini::GoogleFailure;
use formats::models::ModelMap;
use formats::responses::{
    CreateCall, ItemOrder, ResponsesAnswer, StoredResponse, create_with, deleted_body, error_body,
    fault_error, google_error, input_tokens_answer, input_tokens_with, referenced_ids, refusal_of,
};
use formats::{AnswerFault, AnswerSeed, TranslationError, UnaryAnswer};
use serde_json::{Value, json};

fn ask(
    body: &Value,
    previous: Option<&StoredResponse>,
    referenced: &[StoredResponse],
) -> Result<CreateCall, TranslationError> {
    let models = ModelMap::new([("gpt-*", "gemini-3-pro")]).unwrap();
    create_with(body.to_string().as_bytes(), &models, &|_| false, previous, referenced)
}

/// Asks, answers with `parts`, and keeps the response as a store does: in bytes.
fn step(id: &str, body: &Value, previous: Option<&StoredResponse>, parts: &Value) -> StoredResponse {
    let CreateCall { call, store, draft } = ask(body, previous, &[]).unwrap();
    assert!(store);
    let google = json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]});
    let answer = ResponsesAnswer::new(call.memory, AnswerSeed::new(id, 1));
    let response = answer.translate(google.to_string().as_bytes()).unwrap();
    let stored = draft.unwrap().finish(&response).unwrap();
    assert_eq!(stored.response_body(), response);
    assert_eq!(stored.id(), format!("resp_{id}"));
    StoredResponse::decode(&stored.encode()).unwrap()
}

fn contents(call: &CreateCall) -> Value {
    serde_json::from_slice::<Value>(&call.call.body).unwrap()["contents"].clone()
}

#[test]
fn a_chain_goes_on_from_its_last_link_alone() {
    let tools = json!([{"type": "function", "name": "f"}]);
    let first = step(
        "one",
        &json!({"model": "gpt-5", "instructions": "Never repeated.", "input": "start", "tools": tools}),
        None,
        &json!([{"text": "hm", "thought": true},
                {"functionCall": {"id": "g1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "U0lH"}]),
    );
    let call_id =
        serde_json::from_slice::<Value>(&first.response_body()).unwrap()["output"][1]["call_id"].clone();
    let second = step(
        "two",
        &json!({"model": "gpt-5", "previous_response_id": "resp_one", "tools": tools,
                "input": [{"type": "function_call_output", "call_id": call_id, "output": "r"}]}),
        Some(&first),
        &json!([{"text": "done", "thoughtSignature": "VFhU"}]),
    );
    let third = ask(
        &json!({"model": "gpt-5", "previous_response_id": "resp_two", "input": "more"}),
        Some(&second),
        &[],
    )
    .unwrap();
    assert_eq!(
        contents(&third),
        json!([
            {"role": "user", "parts": [{"text": "start"}]},
            {"role": "model", "parts": [{"functionCall": {"id": "g1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "U0lH"}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "g1", "name": "f", "response": {"output": "r"}}}]},
            {"role": "model", "parts": [{"text": "done", "thoughtSignature": "VFhU"}]},
            {"role": "user", "parts": [{"text": "more"}]}
        ])
    );
    assert!(!String::from_utf8_lossy(&third.call.body).contains("Never repeated"));
    let at_second = ask(
        &json!({"model": "gpt-5", "previous_response_id": "resp_one", "input": [
            {"type": "function_call_output", "call_id": call_id, "output": "r"}]}),
        Some(&first),
        &[],
    )
    .unwrap();
    assert!(third.call.sticky.is_some());
    assert_eq!(third.call.sticky, at_second.call.sticky, "all steps of a chain prefer one key");
    let models = ModelMap::new([("gpt-*", "gemini-3-pro")]).unwrap();
    let body = json!({"model": "gpt-5", "previous_response_id": "resp_two", "input": "more"}).to_string();
    let counted = input_tokens_with(body.as_bytes(), &models, &|_| false, Some(&second), &[]).unwrap();
    let counted: Value = serde_json::from_slice(&counted.body).unwrap();
    assert_eq!(counted["generateContentRequest"]["contents"], contents(&third));
}

#[test]
fn a_reference_is_found_in_the_chain_or_in_another_response() {
    let first = step(
        "one",
        &json!({"model": "gpt-5", "input": "a"}),
        None,
        &json!([{"text": "b", "thoughtSignature": "VFhU"}]),
    );
    let body = json!({"model": "gpt-5", "input": [
        {"role": "user", "content": "a"},
        {"type": "item_reference", "id": "msg_one_0"},
        {"type": "item_reference", "id": "rs_one_1"},
        {"type": "item_reference", "id": "rs_other_3"},
        {"type": "item_reference", "id": "fc_68_9a"},
        {"role": "user", "content": "c"}]});
    assert_eq!(referenced_ids(body.to_string().as_bytes()), ["resp_other", "resp_one"]);
    let error = ask(&body, None, std::slice::from_ref(&first)).unwrap_err();
    assert_eq!(refusal_of(&error).2.as_deref(), Some("input[4].id"));

    let mut body = body;
    body["input"].as_array_mut().unwrap().remove(4);
    let call = ask(&body, None, std::slice::from_ref(&first)).unwrap();
    let whole = json!([
        {"role": "user", "parts": [{"text": "a"}]},
        {"role": "model", "parts": [{"text": "b", "thoughtSignature": "VFhU"}]},
        {"role": "user", "parts": [{"text": "c"}]}
    ]);
    assert_eq!(contents(&call), whole);
    let models = ModelMap::new([("gpt-*", "gemini-3-pro")]).unwrap();
    let text = body.to_string();
    let counted = input_tokens_with(text.as_bytes(), &models, &|_| false, None, std::slice::from_ref(&first));
    let counted: Value = serde_json::from_slice(&counted.unwrap().body).unwrap();
    assert_eq!(counted["generateContentRequest"]["contents"], whole, "what is counted is what is asked");
    // What is kept is the item itself, so that the next step needs no other response.
    let response = json!({"id": "resp_x", "output": []}).to_string();
    let stored = call.draft.unwrap().finish(response.as_bytes()).unwrap();
    let page: Value =
        serde_json::from_slice(&stored.input_items_body(None, ItemOrder::Ascending, None)).unwrap();
    assert_eq!(page["data"][1]["content"][0]["text"], "b");

    // Beside `previous_response_id` it is there already.
    body["previous_response_id"] = json!("resp_one");
    body["input"].as_array_mut().unwrap().remove(0);
    assert_eq!(contents(&ask(&body, Some(&first), &[]).unwrap()), whole);
}

#[test]
fn input_items_come_in_pages_of_either_order() {
    let items: Vec<Value> = (0..5)
        .map(|n| match n {
            2 => json!({"type": "message", "id": "msg_mine", "role": "user", "content": "2"}),
            _ => json!({"role": "user", "content": n.to_string()}),
        })
        .collect();
    let stored = step("one", &json!({"model": "gpt-5", "input": items}), None, &json!([{"text": "x"}]));
    let page = |limit, order, after| -> Value {
        serde_json::from_slice(&stored.input_items_body(limit, order, after)).unwrap()
    };
    let ids = |page: &Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = page(None, ItemOrder::Ascending, None);
    assert_eq!(ids(&all), ["item_one_0", "item_one_1", "msg_mine", "item_one_3", "item_one_4"]);
    assert_eq!(
        all["data"][0],
        json!({"id": "item_one_0", "type": "message", "role": "user", "status": "completed", "content": [{"type": "input_text", "text": "0"}]})
    );
    assert_eq!((&all["has_more"], &all["object"]), (&json!(false), &json!("list")));
    let last_two = page(Some(2), ItemOrder::Descending, None);
    assert_eq!(ids(&last_two), ["item_one_4", "item_one_3"]);
    assert_eq!((&last_two["has_more"], &last_two["last_id"]), (&json!(true), &json!("item_one_3")));
    let rest = page(Some(0), ItemOrder::Descending, Some("item_one_3"));
    assert_eq!(ids(&rest), ["msg_mine"], "a page has one item at least");
    let none = page(None, ItemOrder::Ascending, Some("gone"));
    assert_eq!((&none["data"], &none["first_id"]), (&json!([]), &Value::Null));
    assert_eq!(ItemOrder::parse("asc"), Some(ItemOrder::Ascending));
    assert_eq!(ItemOrder::parse("up"), None);

    let text = step("two", &json!({"model": "gpt-5", "input": "hi"}), None, &json!([{"text": "x"}]));
    let page: Value =
        serde_json::from_slice(&text.input_items_body(None, ItemOrder::default(), None)).unwrap();
    assert_eq!(
        page["data"],
        json!([{"id": "item_two_0", "type": "message", "role": "user", "status": "completed", "content": [{"type": "input_text", "text": "hi"}]}])
    );
}

#[test]
fn nothing_is_kept_where_the_client_says_so_and_what_is_damaged_is_not_read() {
    let kept = ask(&json!({"model": "gpt-5", "input": "a", "store": false}), None, &[]).unwrap();
    assert!(!kept.store && kept.draft.is_none());
    for bytes in [
        &b""[..],
        b"{}",
        b"[]",
        br#"{"history":[],"input":{},"response":{}}"#,
        br#"{"history":[],"input":[],"response":[]}"#,
    ] {
        assert!(StoredResponse::decode(bytes).is_none());
    }
    let draft = ask(&json!({"model": "gpt-5", "input": "a"}), None, &[]).unwrap().draft.unwrap();
    assert!(draft.finish(b"[]").is_none());
    assert_eq!(deleted_body("resp_\"x"), r#"{"id":"resp_\"x","object":"response","deleted":true}"#);
}

#[test]
fn errors_are_in_openais_words() {
    assert_eq!(
        serde_json::from_str::<Value>(&error_body(
            "invalid_request_error",
            "no \"x\"",
            Some("input[0]"),
            None
        ))
        .unwrap(),
        json!({"error": {"message": "no \"x\"", "type": "invalid_request_error", "param": "input[0]", "code": null}})
    );
    let invalid = "invalid_request_error";
    let server = "server_error";
    for (status, message, told) in [
        (400, "bad", (400, invalid, None)),
        (
            400,
            "The input token count (2) exceeds the maximum number of tokens allowed (1).",
            (400, invalid, Some("context_length_exceeded")),
        ),
        (400, "API key not valid. Please pass a valid API key.", (503, server, Some(server))),
        (401, "who", (503, server, Some(server))),
        (403, "no", (403, invalid, None)),
        (404, "gone", (404, invalid, Some("model_not_found"))),
        (413, "large", (413, invalid, Some("request_too_large"))),
        (429, "quota", (429, "rate_limit_error", Some("rate_limit_exceeded"))),
        (500, "oops", (500, server, Some(server))),
        (503, "overloaded", (503, server, Some(server))),
        (504, "late", (504, server, Some(server))),
        (0, "odd", (500, server, Some(server))),
        (200, "odd", (500, server, Some(server))),
    ] {
        let (status_told, kind, code, message_told) = google_error(status, message);
        assert_eq!(((status_told, kind, code), message_told.as_str()), (told, message), "{status}");
    }
    assert!(!google_error(500, "").3.is_empty());
    let large = google_error(400, "Request payload size exceeds the limit: 20971520 bytes.");
    assert_eq!((large.0, large.2), (413, Some("request_too_large")));
    let failure = GoogleFailure { code: 503, message: "overloaded".to_owned(), ..GoogleFailure::default() };
    assert_eq!(fault_error(&AnswerFault::Google(failure)).0, 503);
    assert_eq!(
        fault_error(&AnswerFault::Broken("cut".to_owned())),
        (502, server, Some(server), "cut".to_owned())
    );
    assert_eq!(fault_error(&AnswerFault::Unreadable).0, 502);
}

#[test]
fn counted_tokens_are_told() {
    assert_eq!(
        input_tokens_answer(br#"{"totalTokens":31,"promptTokensDetails":[]}"#).unwrap(),
        r#"{"object":"response.input_tokens","input_tokens":31}"#
    );
    assert!(
        matches!(input_tokens_answer(br#"{"error":{"code":429}}"#), Err(AnswerFault::Google(failure)) if failure.code == 429)
    );
    for bytes in [&b"{}"[..], b"", b"[]"] {
        assert!(matches!(input_tokens_answer(bytes), Err(AnswerFault::Unreadable)));
    }
}
