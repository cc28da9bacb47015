//! Messages requests as Google gets them: tables of every block and setting, and bodies shaped like those of Claude Code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "a broken rule may panic, and tables read better with values"
)]

use std::fmt::Write as _;

use formats::anthropic::{self, ErrorType, refusal_of};
use formats::models::ModelMap;
use formats::signature::{CallIdPrefix, PLACEHOLDER, SignedPart, block, call_id};
use formats::{GeminiCall, StickyHint, ThoughtDisplay, TranslationError};
use proptest::prelude::*;
use serde_json::{Value, json};

fn models() -> ModelMap {
    ModelMap::new([("claude-opus-*", "gemini-3-pro-preview"), ("claude-haiku-*", "gemini-2.5-flash")])
        .unwrap()
}

fn called(body: &Value) -> Result<GeminiCall, TranslationError> {
    anthropic::messages(body.to_string().as_bytes(), &models(), &|_| false, None)
}

/// A request of one user's text, with more members.
fn with(more: Value) -> Value {
    let mut body =
        json!({"model": "claude-opus-5", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn google(body: &Value) -> Value {
    let call = called(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    serde_json::from_slice(&call.body).unwrap()
}

fn refused(body: &Value) -> String {
    let error = called(body).expect_err("it should be refused");
    assert_eq!(refusal_of(&error).0, 400, "{error}");
    error.to_string()
}

fn refused_with(more: Value) -> String {
    refused(&with(more))
}

fn contents(messages: Value) -> Value {
    google(&with(json!({"messages": messages})))["contents"].clone()
}

fn user(content: Value) -> Value {
    json!([{"role": "user", "content": content}])
}

#[test]
fn a_small_request_is_written_in_one_way() {
    let call = called(&with(json!({"system": "be kind", "stream": true, "temperature": 0.5}))).unwrap();
    assert_eq!(
        std::str::from_utf8(&call.body).unwrap(),
        concat!(
            r#"{"systemInstruction":{"parts":[{"text":"be kind"}]},"#,
            r#""generationConfig":{"maxOutputTokens":100,"temperature":0.5},"#,
            r#""contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#
        )
    );
    assert_eq!((call.model.as_str(), call.streamed), ("gemini-3-pro-preview", true));
    assert_eq!(call.memory.asked_model, "claude-opus-5");
    assert_eq!(call.memory.thoughts, ThoughtDisplay::Hidden);
    assert_eq!(call.sticky, None);
}

#[test]
fn every_block_of_a_users_message_has_its_part() {
    let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "QUJD"});
    for (block, parts) in [
        (
            json!({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}, "citations": null}),
            json!([{"text": "a"}]),
        ),
        (
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}),
            json!([{"inlineData": {"mimeType": "image/png", "data": "QUJD"}}]),
        ),
        (
            json!({"type": "image", "source": {"type": "url", "url": "https://example.com/a.webp"}}),
            json!([{"fileData": {"mimeType": "image/webp", "fileUri": "https://example.com/a.webp"}}]),
        ),
        (
            json!({"type": "document", "title": "T", "context": "C", "citations": {"enabled": true}, "source": pdf}),
            json!([{"text": "T"}, {"text": "C"}, {"inlineData": {"mimeType": "application/pdf", "data": "QUJD"}}]),
        ),
        (
            json!({"type": "image", "source": {"type": "url", "url": "https://example.com/picture"}}),
            json!([{"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/picture"}}]),
        ),
        (
            json!({"type": "document", "source": {"type": "url", "url": "https://example.com/paper"}}),
            json!([{"fileData": {"mimeType": "application/pdf", "fileUri": "https://example.com/paper"}}]),
        ),
        (
            json!({"type": "document", "source": {"type": "url", "url": "https://example.com/notes.txt"}}),
            json!([{"fileData": {"mimeType": "text/plain", "fileUri": "https://example.com/notes.txt"}}]),
        ),
        (
            json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}}),
            json!([{"text": "plain"}]),
        ),
        (
            json!({"type": "document", "source": {"type": "content", "content": "flat"}}),
            json!([{"text": "flat"}]),
        ),
        (
            json!({"type": "document", "source": {"type": "content", "content": [
                {"type": "text", "text": "one"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "R0lG"}}]}}),
            json!([{"text": "one"}, {"inlineData": {"mimeType": "image/gif", "data": "R0lG"}}]),
        ),
        (
            json!({"type": "search_result", "title": "T", "source": "https://e/1", "content": [
                {"type": "text", "text": "x"}, {"type": "text", "text": "y"}]}),
            json!([{"text": "T\nhttps://e/1\nx\ny"}]),
        ),
    ] {
        assert_eq!(contents(user(json!([block]))), json!([{"role": "user", "parts": parts}]), "{block}");
    }
}

#[test]
fn what_the_assistant_showed_stays_the_models() {
    let image =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}});
    let messages = json!([
        {"role": "user", "content": "draw"},
        {"role": "assistant", "content": [{"type": "text", "text": "here"}, image]},
        {"role": "user", "content": "again"},
    ]);
    assert_eq!(
        contents(messages)[1],
        json!({"role": "model", "parts": [{"text": "here"}, {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}]})
    );
}

#[test]
fn what_cannot_be_shown_is_refused_by_name() {
    let image =
        |source: Value| user(json!([{"type": "text", "text": "a"}, {"type": "image", "source": source}]));
    for (messages, start) in [
        (image(json!({"type": "file", "file_id": "file_1"})), "messages.0.content.1.source.type: files of"),
        (image(json!({"type": "gopher"})), "messages.0.content.1.source.type: `gopher`"),
        (
            image(json!({"type": "url", "url": "http://a/b.png"})),
            "messages.0.content.1.source.url: has to be an https",
        ),
        (
            image(json!({"type": "base64", "media_type": "image/png", "data": ""})),
            "messages.0.content.1.source.data: is empty",
        ),
        (
            image(json!({"type": "base64", "data": "QUJD"})),
            "messages.0.content.1.source.media_type: is required",
        ),
        (image(json!("x")), "messages.0.content.1.source: has to be an object"),
        (
            user(json!([{"type": "container_upload", "file_id": "f"}])),
            "messages.0.content.0.type: `container_upload`",
        ),
        (
            user(json!([{"type": "tool_use", "id": "a", "name": "b", "input": {}}])),
            "messages.0.content.0.type: `tool_use` belongs",
        ),
        (user(json!([{"type": "text"}])), "messages.0.content.0.text: is required"),
        (user(json!([{"text": "a"}])), "messages.0.content.0.type: is required"),
        (user(json!(["a"])), "messages.0.content.0: has to be an object"),
        (user(json!(3)), "messages.0.content: has to be a string or a list"),
        (user(Value::Null), "messages.0.content: is required"),
        (json!([{"role": "tool", "content": "a"}]), "messages.0.role: `tool` is not a role"),
        (json!([{"content": "a"}]), "messages.0.role: is required"),
        (json!(["a"]), "messages.0: has to be an object"),
        (json!([]), "messages: has to have one message"),
        (json!({}), "messages: has to be a list"),
        (
            json!([{"role": "assistant", "content": [{"type": "web_fetch_tool_result", "content": {}}]}]),
            "messages.0.content.0.type:",
        ),
        (
            json!([{"role": "system", "content": [{"type": "image"}]}]),
            "messages.0.content.0.type: `image` is not served in a system",
        ),
        (user(json!("")), "messages: has nothing"),
    ] {
        let error = refused_with(json!({"messages": messages}));
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn results_have_the_shape_that_google_wants() {
    let result = |block: Value| {
        let mut block = block;
        block.as_object_mut().unwrap().extend([
            ("type".to_owned(), json!("tool_result")),
            ("tool_use_id".to_owned(), json!("toolu_01A")),
        ]);
        let messages = json!([
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_01A", "name": "Read", "input": {"p": 1}}]},
            {"role": "user", "content": [block, {"type": "text", "text": "and?"}]},
        ]);
        contents(messages)[2]["parts"].clone()
    };
    let response = |response: Value| json!([{"functionResponse": {"id": "toolu_01A", "name": "Read", "response": response}}, {"text": "and?"}]);
    assert_eq!(result(json!({"content": "ok"})), response(json!({"output": "ok"})));
    assert_eq!(result(json!({"content": "no", "is_error": true})), response(json!({"error": "no"})));
    assert_eq!(result(json!({})), response(json!({"output": ""})));
    assert_eq!(result(json!({"content": null, "is_error": false})), response(json!({"output": ""})));
    assert_eq!(
        result(
            json!({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": ""}, {"type": "text", "text": "b"}]})
        ),
        response(json!({"output": "a\nb"}))
    );
    assert_eq!(
        result(json!({"content": [{"type": "tool_reference", "tool_name": "mcp__x"}]})),
        response(json!({"output": "The tool `mcp__x` can be called."}))
    );
    assert_eq!(
        result(json!({"content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
            {"type": "document", "title": "T", "source": {"type": "base64", "media_type": "application/pdf", "data": "UERG"}}]})),
        json!([
            {"functionResponse": {"id": "toolu_01A", "name": "Read", "response": {"output": "T"}, "parts": [
                {"inlineData": {"mimeType": "image/png", "data": "QUJD"}},
                {"inlineData": {"mimeType": "application/pdf", "data": "UERG"}}]}},
            {"text": "and?"}
        ])
    );
    let before_three = google(&json!({"model": "claude-haiku-4", "max_tokens": 9, "messages": [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_01A", "name": "Read", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_01A", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}]}]}]}));
    assert_eq!(
        before_three["contents"][2]["parts"],
        json!([
            {"functionResponse": {"id": "toolu_01A", "name": "Read", "response": {"output": "(attached)"}}},
            {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}
        ])
    );
}

#[test]
fn a_result_needs_its_call_and_arguments_are_an_object() {
    let history = |last: Value| {
        json!({"messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f"}]},
            {"role": "user", "content": [last]},
        ]})
    };
    let result =
        |id: &str, content: Value| json!({"type": "tool_result", "tool_use_id": id, "content": content});
    assert!(
        refused_with(history(result("b", json!("x"))))
            .starts_with("messages.2.content.0.tool_use_id: is the result of `b`")
    );
    assert!(
        refused_with(history(json!({"type": "tool_result"})))
            .starts_with("messages.2.content.0.tool_use_id: is required")
    );
    assert!(
        refused_with(history(result("a", json!([{"type": "video"}]))))
            .starts_with("messages.2.content.0.content.0.type: `video`")
    );
    let call = json!([{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": "{}"}]}]);
    assert!(
        refused_with(json!({"messages": call}))
            .starts_with("messages.0.content.0.input: has to be an object")
    );
}

#[test]
fn thoughts_stay_away_and_what_they_carry_of_ours_comes_back() {
    let first = call_id(CallIdPrefix::Toolu, Some("ab12"), Some("SIG+/="), "");
    let second = call_id(CallIdPrefix::Toolu, Some("cd34"), None, "");
    let messages = json!([
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "gemini-n1-"},
            {"type": "text", "text": "so"},
            {"type": "thinking", "thinking": "", "signature": block(SignedPart::Text, "TXT=")},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "tool_use", "id": first, "name": "f", "input": {"z": 1, "a": 12_345_678_901_234_567_890_u64}},
            {"type": "tool_use", "id": second, "name": "g", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": second, "content": "2"},
            {"type": "tool_result", "tool_use_id": first, "content": "1"}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": block(SignedPart::Call, "BLOCK")},
            {"type": "tool_use", "id": "changed", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "changed", "content": "3"}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "EqQBCkgIARABGAIiQA=="},
            {"type": "tool_use", "id": "toolu_01", "name": "f", "input": {}}]},
    ]);
    assert_eq!(
        contents(messages),
        json!([
            {"role": "user", "parts": [{"text": "go"}]},
            {"role": "model", "parts": [
                {"text": "so", "thoughtSignature": "TXT="},
                {"functionCall": {"id": "ab12", "name": "f", "args": {"z": 1, "a": 12_345_678_901_234_567_890_u64}}, "thoughtSignature": "SIG+/="},
                {"functionCall": {"id": "cd34", "name": "g", "args": {}}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "ab12", "name": "f", "response": {"output": "1"}}},
                {"functionResponse": {"id": "cd34", "name": "g", "response": {"output": "2"}}}]},
            {"role": "model", "parts": [
                {"functionCall": {"id": "changed", "name": "f", "args": {}}, "thoughtSignature": "BLOCK"}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "changed", "name": "f", "response": {"output": "3"}}}]},
            {"role": "model", "parts": [
                {"functionCall": {"id": "toolu_01", "name": "f", "args": {}}, "thoughtSignature": PLACEHOLDER}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "toolu_01", "name": "f", "response": {"error": "no result"}}}]},
        ])
    );
}

#[test]
fn a_search_of_before_is_told_in_words_or_not_at_all() {
    let messages = |content: Value| {
        json!([
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [
                {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "rust"}},
                {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": content},
                {"type": "text", "text": "found", "citations": [{"type": "web_search_result_location"}]}]},
            {"role": "user", "content": "and?"},
        ])
    };
    let found = json!([
        {"type": "web_search_result", "url": "https://a/1", "title": "A", "encrypted_content": "x"},
        {"type": "web_search_result", "url": "https://b/2", "title": null}]);
    assert_eq!(
        contents(messages(found))[1]["parts"],
        json!([{"text": "[Web search: rust]\n- A: https://a/1\n- https://b/2"}, {"text": "found"}])
    );
    let failed = json!({"type": "web_search_tool_result_error", "error_code": "unavailable"});
    assert_eq!(contents(messages(failed))[1]["parts"], json!([{"text": "found"}]));
    let other = json!([{"role": "assistant", "content": [
        {"type": "server_tool_use", "id": "s", "name": "code_execution", "input": {}}]}]);
    assert!(
        refused_with(json!({"messages": other})).starts_with("messages.0.content.0.name: `code_execution`")
    );
}

#[test]
fn instructions_come_from_every_place_but_billing_lines_do_not() {
    let body = with(json!({
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.197; cch=8f2;"},
            {"type": "text", "text": "You are Claude Code.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "Rules."}],
        "messages": [
            {"role": "system", "content": "first"},
            {"role": "user", "content": "hi"},
            {"role": "system", "content": [{"type": "text", "text": "later"}, {"type": "text", "text": "x-anthropic-billing-header: y"}]},
            {"role": "assistant", "content": "ok"},
            {"role": "system", "content": "last"},
            {"role": "user", "content": "go"}],
    }));
    let google = google(&body);
    assert_eq!(
        google["systemInstruction"],
        json!({"parts": [{"text": "You are Claude Code."}, {"text": "Rules."}, {"text": "first"}]})
    );
    assert_eq!(
        google["contents"],
        json!([
            {"role": "user", "parts": [{"text": "hi"}, {"text": "<system>\nlater\n</system>"}]},
            {"role": "model", "parts": [{"text": "ok"}]},
            {"role": "user", "parts": [{"text": "<system>\nlast\n</system>"}, {"text": "go"}]},
        ])
    );
    let of = |system: &str| self::google(&with(json!({"system": system})))["systemInstruction"].clone();
    assert_eq!(of("x-anthropic-billing-header: a\nbe kind"), json!({"parts": [{"text": "be kind"}]}));
    assert_eq!(of("x-anthropic-billing-header: a"), Value::Null);
    let together =
        with(json!({"system": [{"type": "text", "text": "\nx-anthropic-billing-header: a\nbe kind"}]}));
    assert_eq!(self::google(&together)["systemInstruction"], json!({"parts": [{"text": "be kind"}]}));
    assert!(refused_with(json!({"system": [{"type": "image"}]})).starts_with("system.0.type: `image`"));
    assert!(refused_with(json!({"system": 3})).starts_with("system: has to be a string or a list"));
}

#[test]
fn instructions_are_never_taken_for_an_empty_message() {
    for content in [json!(""), json!([]), json!([{"type": "text", "text": ""}])] {
        let body = json!({"system": "You are X.", "messages": [{"role": "user", "content": content}],
            "tools": [tool("f")], "tool_choice": {"type": "auto", "disable_parallel_tool_use": true}});
        assert!(refused_with(body).starts_with("messages: has nothing for the model to answer"), "{content}");
    }
}

#[test]
fn an_answer_that_is_begun_goes_up_as_it_is() {
    let messages = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "{"}]);
    assert_eq!(contents(messages)[1], json!({"role": "model", "parts": [{"text": "{"}]}));
}

fn tool(name: &str) -> Value {
    json!({"name": name, "description": "d", "input_schema": {"type": "object", "properties": {}}})
}

#[test]
fn choices_are_googles_modes() {
    let strict = json!({"name": "a", "strict": true, "input_schema": {"type": "object", "properties": {}}});
    let config = |tools: Value, choice: Value| {
        google(&with(json!({"tools": tools, "tool_choice": choice})))["toolConfig"]["functionCallingConfig"]
            .clone()
    };
    let tools = json!([tool("a"), tool("3-b c")]);
    for (tools, choice, expected) in [
        (&tools, Value::Null, Value::Null),
        (&tools, json!({"type": "auto"}), json!({"mode": "AUTO"})),
        (&tools, json!({"type": "any"}), json!({"mode": "ANY"})),
        (&tools, json!({"type": "none"}), json!({"mode": "NONE"})),
        (
            &tools,
            json!({"type": "tool", "name": "3-b c"}),
            json!({"mode": "ANY", "allowedFunctionNames": ["_3-b_c"]}),
        ),
        (&json!([strict]), json!({"type": "auto"}), json!({"mode": "VALIDATED"})),
        (&json!([strict]), Value::Null, json!({"mode": "VALIDATED"})),
        (&json!([]), json!({"type": "any"}), Value::Null),
    ] {
        assert_eq!(config(tools.clone(), choice.clone()), expected, "{choice}");
    }
    let one = google(&with(
        json!({"tools": tools, "tool_choice": {"type": "auto", "disable_parallel_tool_use": true}}),
    ));
    assert!(one["systemInstruction"]["parts"][0]["text"].as_str().unwrap().contains("one tool at a time"));
    let of = |choice: Value| refused_with(json!({"tools": tools, "tool_choice": choice}));
    assert!(of(json!({"type": "tool", "name": "z"})).starts_with("tool_choice.name: `z`"));
    assert!(of(json!({"type": "tool"})).starts_with("tool_choice.name: is required"));
    assert!(of(json!({"type": "some"})).starts_with("tool_choice.type: `some`"));
}

#[test]
fn tools_that_nobody_here_can_run_are_refused_by_name() {
    for kind in [
        "code_execution_20250825",
        "web_fetch_20250910",
        "bash_20250124",
        "text_editor_20250728",
        "computer_20251124",
        "memory_20250818",
        "mcp_toolset",
        "not_yet_invented_20300101",
    ] {
        let error = refused_with(json!({"tools": [tool("a"), {"type": kind, "name": "x"}]}));
        assert!(error.starts_with(&format!("tools.1.type: `{kind}`")), "{error}");
    }
    for (tools, start) in [
        (json!([tool("a"), tool("a")]), "tools.1.name: `a` is another"),
        (json!([{"name": "", "input_schema": {}}]), "tools.0.name: is empty"),
        (json!([{"input_schema": {}}]), "tools.0.name: is required"),
        (json!([{"name": "a"}]), "tools.0.input_schema: is required"),
        (json!([{"name": "a", "input_schema": {"type": "string"}}]), "tools.0.input_schema: has to be"),
        (json!({}), "tools: has to be a list"),
        (json!([3]), "tools.0: has to be an object"),
    ] {
        let error = refused_with(json!({"tools": tools}));
        assert!(error.starts_with(start), "{error}");
    }
    let searched = google(&with(
        json!({"tools": [tool("a"), {"type": "tool_search_tool_regex_20251119", "name": "t"}]}),
    ));
    assert_eq!(searched["tools"][0]["functionDeclarations"].as_array().unwrap().len(), 1);
}

#[test]
fn a_web_search_alone_is_googles_and_beside_functions_it_is_left_out() {
    let search = json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 8, "allowed_domains": ["a.org", "b.org"]});
    let alone =
        google(&with(json!({"tools": [search], "tool_choice": {"type": "tool", "name": "web_search"}})));
    assert_eq!(alone["tools"], json!([{"googleSearch": {}}]));
    assert_eq!(alone["toolConfig"], Value::Null);
    assert_eq!(
        alone["systemInstruction"]["parts"],
        json!([{"text": "Of what a web search finds, use only pages of these sites: a.org, b.org."}])
    );
    let beside = google(&with(json!({"tools": [tool("a"), search]})));
    assert_eq!(beside["tools"].as_array().unwrap().len(), 1);
    assert_eq!(beside["systemInstruction"], Value::Null);
    let forced = google(&with(
        json!({"tools": [tool("a"), search], "tool_choice": {"type": "tool", "name": "web_search"}}),
    ));
    assert_eq!(forced["tools"], json!([{"googleSearch": {}}]));
}

#[test]
fn numbers_are_brought_into_googles_ranges_and_never_refused_for_them() {
    let config = |more: Value| google(&with(more))["generationConfig"].clone();
    assert_eq!(
        config(json!({"max_tokens": 1_000_000, "temperature": 1, "top_p": 0.9, "top_k": 40,
            "stop_sequences": ["a", "", "b", "c", "d", "e", "f"]})),
        json!({"maxOutputTokens": 65_536, "temperature": 1.0, "topP": 0.9, "topK": 40, "stopSequences": ["a", "b", "c", "d", "e"]})
    );
    assert_eq!(config(json!({"max_tokens": 0}))["maxOutputTokens"], 1);
    for (more, start) in [
        (json!({"max_tokens": null}), "max_tokens: is required"),
        (json!({"max_tokens": "9"}), "max_tokens: has to be a number"),
        (json!({"max_tokens": -1}), "max_tokens: has to be a whole"),
        (json!({"temperature": "warm"}), "temperature: has to be"),
        (json!({"stop_sequences": [1]}), "stop_sequences.0: has to be"),
        (json!({"stream": 1}), "stream: has to be true or false"),
        (json!({"model": null}), "model: is required"),
    ] {
        let error = refused_with(more);
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn thinking_is_said_as_the_generation_knows_it() {
    use ThoughtDisplay::{Hidden, Omitted, Shown};
    for (model, more, config, display) in [
        ("claude-opus-5", json!({"thinking": {"type": "adaptive"}}), json!({"includeThoughts": true}), Shown),
        (
            "claude-opus-5",
            json!({"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "medium"}}),
            json!({"thinkingLevel": "medium", "includeThoughts": true}),
            Shown,
        ),
        (
            "claude-opus-5",
            json!({"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "xhigh"}}),
            json!({"thinkingLevel": "high"}),
            Omitted,
        ),
        ("claude-opus-5", json!({"thinking": {"type": "disabled"}}), json!({"thinkingLevel": "low"}), Hidden),
        (
            "claude-opus-5",
            json!({"thinking": {"type": "enabled", "budget_tokens": 31_999}}),
            json!({"thinkingLevel": "high", "includeThoughts": true}),
            Shown,
        ),
        (
            "claude-opus-5",
            json!({"output_config": {"effort": "low"}}),
            json!({"thinkingLevel": "low"}),
            Hidden,
        ),
        ("claude-opus-5", json!({"output_config": {"effort": "ludicrous"}}), Value::Null, Hidden),
        (
            "claude-haiku-4",
            json!({"thinking": {"type": "enabled", "budget_tokens": 31_999}}),
            json!({"thinkingBudget": 24_576, "includeThoughts": true}),
            Shown,
        ),
        ("claude-haiku-4", json!({"thinking": {"type": "disabled"}}), json!({"thinkingBudget": 0}), Hidden),
        (
            "claude-haiku-4",
            json!({"thinking": {"type": "adaptive"}}),
            json!({"thinkingBudget": -1, "includeThoughts": true}),
            Shown,
        ),
    ] {
        let mut body = with(more.clone());
        body["model"] = json!(model);
        let call = called(&body).unwrap();
        assert_eq!(call.memory.thoughts, display, "{more}");
        let google: Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!(google["generationConfig"]["thinkingConfig"], config, "{model} {more}");
    }
    assert!(refused_with(json!({"thinking": {"type": "deep"}})).starts_with("thinking.type: `deep`"));
}

#[test]
fn a_form_of_the_answer_is_googles_or_is_said_in_words() {
    let schema = json!({"$schema": "x", "type": "object", "properties": {"title": {"type": "string"}}, "additionalProperties": false});
    let format = json!({"type": "json_schema", "schema": schema});
    let kept =
        json!({"type": "object", "properties": {"title": {"type": "string"}}, "additionalProperties": false});
    for more in [json!({"output_config": {"format": format}, "tools": []}), json!({"output_format": format})]
    {
        let config = google(&with(more))["generationConfig"].clone();
        assert_eq!(
            (&config["responseMimeType"], &config["responseJsonSchema"]),
            (&json!("application/json"), &kept)
        );
    }
    let mut beside = with(json!({"output_config": {"format": format}, "tools": [tool("a")]}));
    assert_eq!(google(&beside)["generationConfig"]["responseJsonSchema"], kept);
    beside["model"] = json!("claude-haiku-4");
    let google = google(&beside);
    assert_eq!(google["generationConfig"]["responseJsonSchema"], Value::Null);
    assert!(google["systemInstruction"]["parts"][0]["text"].as_str().unwrap().contains(r#""title""#));
    assert!(
        refused_with(json!({"output_config": {"format": {"type": "xml"}}}))
            .starts_with("output_config.format.type: `xml`")
    );
    assert!(
        refused_with(json!({"output_format": {"type": "json_schema"}}))
            .starts_with("output_format.schema: is required")
    );
}

#[test]
fn what_is_not_served_is_refused_and_what_may_be_ignored_is() {
    assert!(refused_with(json!({"mcp_servers": [{"url": "x"}]})).starts_with("mcp_servers: "));
    assert!(refused_with(json!({"container": "c"})).starts_with("container: "));
    let threads = called(&with(json!({"thread": {"type": "create"}}))).unwrap_err();
    let (status, kind, details) = refusal_of(&threads);
    assert_eq!((status, kind), (400, ErrorType::InvalidRequest));
    assert_eq!(
        serde_json::to_value(details).unwrap(),
        json!({"error_code": "thread_unsupported_request", "unsupported": ["thread"]})
    );
    let going_on =
        called(&with(json!({"thread": {"type": "continue", "previous_message_id": "msg_1"}}))).unwrap_err();
    let details = serde_json::to_value(refusal_of(&going_on).2).unwrap();
    assert_eq!(details, json!({"error_code": "thread_not_found"}));
    let plain = google(&with(json!({})));
    let ignored = with(json!({
        "metadata": {"user_id": "u", "more": 1}, "service_tier": "auto", "speed": "fast", "diagnostics": {"x": 1},
        "context_management": {"edits": [{"type": "clear_thinking_20251015"}]}, "betas": ["a"], "mcp_servers": [],
        "inference_geo": null, "not_yet_invented": [1, 2], "container": null, "thread": null, "cache_control": {"type": "ephemeral"},
    }));
    assert_eq!(google(&ignored), plain);
}

#[test]
fn a_model_that_nobody_knows_is_not_found() {
    let error = called(&with(json!({"model": "claude-sonnet-9"}))).unwrap_err();
    assert_eq!(refusal_of(&error), (404, ErrorType::NotFound, None));
    assert!(error.to_string().contains("formats.models"), "{error}");
}

#[test]
fn a_body_that_is_no_object_is_refused() {
    for body in
        ["", "[]", "null", "{", "\"x\"", "[\"claude-opus-5\",[]]", "{\"model\":1,\"model\":2}", "\u{feff}{}"]
    {
        let error = anthropic::messages(body.as_bytes(), &models(), &|_| true, None).unwrap_err();
        assert!(matches!(error, TranslationError::NotJson(_)), "{body}: {error}");
    }
}

#[test]
fn a_conversation_has_a_hint_wherever_it_is_named() {
    let hint = |session: Option<&str>, user: Value| {
        let body = with(json!({"metadata": {"user_id": user}})).to_string();
        anthropic::messages(body.as_bytes(), &models(), &|_| false, session).unwrap().sticky
    };
    let session = StickyHint::of("0e5b");
    assert!(session.is_some());
    assert_eq!(hint(Some("0e5b"), Value::Null), session);
    assert_eq!(hint(None, json!(r#"{"device_id":"d","account_uuid":"","session_id":"0e5b"}"#)), session);
    assert_eq!(hint(None, json!("user_abc_account__session_0e5b")), session);
    assert_eq!(hint(Some(""), json!("user_abc_account__session_0e5b")), session);
    for none in [json!("someone"), json!(3), Value::Null, json!("{"), json!("{\"session_id\":3}")] {
        assert_eq!(hint(None, none.clone()), None, "{none}");
    }
}

/// The tools of a body of Claude Code's: keywords that Google's `parameters` would refuse, each of them seen there.
fn hard_tools() -> Value {
    let schemas = [
        json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": {"file_path": {"type": "string"}, "limit": {"type": "integer", "exclusiveMinimum": 0, "maximum": 9_007_199_254_740_991_u64}}, "required": ["file_path"], "additionalProperties": false}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {"answers": {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {"type": "string"}}, "kind": {"const": "a"}}}),
        json!({"type": "object", "properties": {"x": {"anyOf": [{"type": ["string", "null"]}, {"enum": [1, 2]}]}, "$id": {"type": "string"}}, "patternProperties": {"^a": {}}}),
        json!({"type": "object", "properties": {"node": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}}}),
        json!({"properties": {"lost": {"$ref": "#/definitions/Nowhere"}}}),
    ];
    let tool = |place: usize| {
        json!({
            "name": if place == 7 { format!("mcp__server__{}", "long_name_".repeat(8)) } else { format!("Tool{place}") },
            "description": format!("Does {place}.\n\n- \"quoted\""),
            "input_schema": schemas[place % schemas.len()],
            "eager_input_streaming": true,
        })
    };
    (0..25).map(tool).collect()
}

fn claude_code() -> Value {
    json!({
        "model": "claude-opus-5[1m]",
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "<system-reminder>\nToday\n</system-reminder>\n"},
                {"type": "text", "text": "fix it", "cache_control": {"type": "ephemeral"}}]},
            {"role": "system", "content": "# MCP servers\nchanged"}],
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.197.ab1; cc_entrypoint=sdk-cli; cch=00000;"},
            {"type": "text", "text": "You are Claude Code, Anthropic's official CLI for Claude.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "\nYou are an agent.", "cache_control": {"type": "ephemeral"}}],
        "tools": hard_tools(),
        "metadata": {"user_id": "{\"device_id\":\"d\",\"account_uuid\":\"\",\"session_id\":\"5f\"}"},
        "max_tokens": 64_000,
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "stream": true,
    })
}

#[test]
fn a_body_of_claude_codes_goes_up_whole() {
    let call = called(&claude_code()).unwrap();
    assert!(call.streamed && call.sticky == StickyHint::of("5f"));
    assert_eq!(call.memory.asked_model, "claude-opus-5[1m]");
    let google: Value = serde_json::from_slice(&call.body).unwrap();
    assert_eq!(
        google["systemInstruction"]["parts"],
        json!([{"text": "You are Claude Code, Anthropic's official CLI for Claude."}, {"text": "\nYou are an agent."}])
    );
    assert_eq!(
        google["contents"],
        json!([{"role": "user", "parts": [
            {"text": "<system-reminder>\nToday\n</system-reminder>\n"},
            {"text": "fix it"},
            {"text": "<system>\n# MCP servers\nchanged\n</system>"}]}])
    );
    assert_eq!(
        google["generationConfig"],
        json!({"maxOutputTokens": 64_000, "thinkingConfig": {"thinkingLevel": "high", "includeThoughts": true}})
    );
    let tools = google["tools"][0]["functionDeclarations"].as_array().unwrap();
    assert_eq!(tools.len(), 25);
    let schema = |place: usize| &tools[place]["parametersJsonSchema"];
    assert_eq!(
        schema(0)["properties"]["limit"],
        json!({"type": "integer", "exclusiveMinimum": 0, "maximum": 9_007_199_254_740_991_u64})
    );
    assert_eq!(schema(1)["properties"]["answers"]["propertyNames"], json!({"type": "string"}));
    assert_eq!(schema(2)["properties"]["$id"], json!({"type": "string"}));
    assert_eq!(schema(2)["patternProperties"], json!({"^a": {}}));
    assert_eq!(schema(4)["properties"]["lost"], json!({}));
    for (place, tool) in tools.iter().enumerate() {
        assert_eq!(tool["parametersJsonSchema"]["$schema"], Value::Null);
        assert_eq!(tool["parametersJsonSchema"]["type"], "object");
        assert!(tool["parameters"].is_null() && tool["name"].as_str().unwrap().len() <= 64, "{place}");
    }
    assert_eq!(google.as_object().unwrap().len(), 4, "nothing else goes up");
}

#[test]
fn requests_that_differ_in_what_is_ignored_share_every_byte() {
    let mut other = claude_code();
    other["system"][0]["text"] = json!("x-anthropic-billing-header: cc_version=2.1.198.zz9; cch=12345;");
    other["metadata"] = json!({"user_id": "x"});
    other["messages"][0]["content"][1]["cache_control"] = Value::Null;
    assert_eq!(called(&other).unwrap().body, called(&claude_code()).unwrap().body);
}

#[test]
fn a_request_is_counted_whole_and_needs_less() {
    let mut body = claude_code();
    body.as_object_mut().unwrap().remove("max_tokens");
    let call = anthropic::count_tokens(body.to_string().as_bytes(), &models(), &|_| false).unwrap();
    assert_eq!((call.model.as_str(), call.streamed), ("gemini-3-pro-preview", false));
    let count: Value = serde_json::from_slice(&call.body).unwrap();
    let counted = &count["generateContentRequest"];
    assert_eq!(count.as_object().unwrap().len(), 1);
    assert_eq!(counted["model"], "models/gemini-3-pro-preview");
    let mut asked = google(&claude_code());
    for member in ["systemInstruction", "tools", "contents"] {
        assert_eq!(counted[member], asked[member].take(), "{member}");
    }
    let word =
        json!({"model": "claude-haiku-4", "messages": [{"role": "user", "content": "foo"}]}).to_string();
    assert!(anthropic::count_tokens(word.as_bytes(), &models(), &|_| false).is_ok());
}

/// Any JSON, with the members and types of this format more often than others.
fn any_json() -> impl Strategy<Value = Value> {
    let word = proptest::sample::select(vec![
        "user",
        "assistant",
        "system",
        "text",
        "image",
        "document",
        "tool_use",
        "tool_result",
        "thinking",
        "base64",
        "url",
        "content",
        "server_tool_use",
        "web_search",
        "web_search_tool_result",
        "a",
        "",
        "toolu_a_s1_aAAAAAx",
        "gemini-t1-aAAAAAx",
        "json_schema",
        "auto",
        "tool",
        "claude-opus-1",
        "web_search_20250305",
        "object",
        "https://a/b.png",
        "custom",
        "search_result",
    ]);
    let member = proptest::sample::select(vec![
        "type",
        "text",
        "role",
        "content",
        "source",
        "id",
        "name",
        "input",
        "tool_use_id",
        "signature",
        "data",
        "media_type",
        "url",
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "max_tokens",
        "input_schema",
        "thinking",
        "output_config",
        "format",
        "schema",
        "metadata",
        "properties",
        "title",
        "is_error",
        "strict",
        "allowed_domains",
        "query",
    ]);
    let leaf = prop_oneof![
        3 => word.prop_map(|word| json!(word)),
        1 => any::<i64>().prop_map(|number| json!(number)),
        1 => any::<bool>().prop_map(|flag| json!(flag)),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            3 => proptest::collection::vec((member.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_body_is_translated_or_refused(messages in any_json(), more in any_json(), tools in any_json()) {
        let mut body = with(json!({"messages": [{"role": "user", "content": [messages]}], "tools": [tools]}));
        let _ = called(&body);
        body["messages"] = json!([{"role": "assistant", "content": [messages]}, messages]);
        body["tools"] = tools;
        let _ = called(&body);
        if let Value::Object(more) = &more {
            body.as_object_mut().unwrap().extend(more.clone());
        }
        let _ = called(&body);
        let _ = anthropic::count_tokens(more.to_string().as_bytes(), &models(), &|_| true);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        prop_assert!(anthropic::messages(&bytes, &models(), &|_| true, None).is_err());
    }
}

#[test]
fn a_deep_body_is_refused_and_not_followed() {
    let mut deep = String::new();
    for _ in 0..100_000 {
        let _ = write!(deep, "[");
    }
    let body = format!(r#"{{"model":"claude-opus-5","max_tokens":1,"messages":{deep}"#);
    assert!(anthropic::messages(body.as_bytes(), &models(), &|_| true, None).is_err());
}

#[test]
fn a_text_that_was_cut_in_the_middle_of_a_pair_goes_up_with_the_replacement_character() {
    let body = json!({
        "model": "claude-opus-5", "max_tokens": 100, "system": "sys HALF",
        "tools": [{"name": "f", "description": "HALF", "input_schema": {"type": "object", "properties": {"HALF": {"const": "HALF"}}}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a HALF"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": "HALF"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "cut HALF"}]},
        ],
    });
    let cut = body.to_string().replace("HALF", r"\ud83d");
    let call = anthropic::messages(cut.as_bytes(), &models(), &|_| false, None).unwrap();
    let sent: Value = serde_json::from_slice(&call.body).unwrap();
    let whole = google(&serde_json::from_str(&body.to_string().replace("HALF", "\u{fffd}")).unwrap());
    assert_eq!(sent, whole);
    assert_eq!(sent["contents"][0]["parts"][0]["text"], "a \u{fffd}");
}
