//! Requests of OpenAI's Responses as Google gets them: bodies shaped like those of Codex, the SDKs and their agents, every
//! kind of item, tool and choice, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

use formats::models::ModelMap;
use formats::responses::{CreateCall, create, input_tokens, previous_id, refusal_message, refusal_of};
use formats::signature::{CallIdPrefix, SignedPart, block, call_id};
use formats::{ThoughtDisplay, TranslationError};
use proptest::prelude::*;
use serde_json::{Value, json};

fn models() -> ModelMap {
    ModelMap::new([("gpt-*", "gemini-3-flash-preview"), ("old", "gemini-2.5-flash")]).unwrap()
}

fn call(body: &Value) -> Result<CreateCall, TranslationError> {
    create(body.to_string().as_bytes(), &models(), &|_| false, None)
}

fn translated(body: &Value) -> Value {
    serde_json::from_slice(&call(body).unwrap().call.body).unwrap()
}

/// Status, field, code and message of a refusal.
fn refusal(body: &Value) -> (u16, Option<String>, Option<&'static str>, String) {
    let error = call(body).unwrap_err();
    let (status, kind, param, code) = refusal_of(&error);
    assert_eq!(kind, "invalid_request_error");
    (status, param, code, refusal_message(&error))
}

#[test]
fn codex_for_an_unknown_model_gets_its_functions_its_namespace_and_its_history() {
    let signed = call_id(CallIdPrefix::Call, Some("ab12"), Some("U0lH"), "x");
    let body = json!({
        "model": "gemini-3-pro-preview",
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "You are Codex."}]},
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Sandbox: none."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "list"}], "internal": 1},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}],
             "content": null, "encrypted_content": block(SignedPart::Call, "U0lH")},
            {"type": "function_call", "id": "fc_1", "name": "exec_command", "arguments": "{\"cmd\":\"ls\"}", "call_id": signed},
            {"type": "function_call_output", "call_id": signed, "output": "a.txt"},
            {"type": "function_call", "name": "spawn", "namespace": "multi_agent_v1", "arguments": "", "call_id": "call_else"},
            {"type": "function_call_output", "call_id": "call_else",
             "output": [{"type": "input_text", "text": "one"}, {"type": "input_text", "text": "two"},
                        {"type": "input_image", "image_url": "data:image/png;base64,QUJD", "detail": "high"}]},
            {"type": "message", "role": "assistant", "phase": "final_answer", "content": [{"type": "output_text", "text": "done", "annotations": []}]},
            {"type": "message", "role": "developer", "content": "Mind the tests."},
            {"role": "user", "content": "go on"}
        ],
        "tools": [
            {"type": "function", "name": "exec_command", "description": "Runs.", "strict": false,
             "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"], "additionalProperties": false}},
            {"type": "namespace", "name": "multi_agent_v1", "description": "Agents.", "tools": [
                {"type": "function", "name": "spawn", "description": "Spawns.", "parameters": {"type": "object", "properties": {}}},
                {"type": "function", "name": "wait", "parameters": null}
            ]},
            {"type": "web_search", "external_web_access": false, "search_content_types": ["text"]}
        ],
        "tool_choice": "auto", "parallel_tool_calls": false, "reasoning": {"effort": "medium", "summary": "auto"},
        "store": false, "stream": true, "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "thread-7", "text": {"verbosity": "low"}, "client_metadata": {"x": "y"}, "unknown_member": [1]
    });
    let call = call(&body).unwrap();
    assert!(call.call.streamed && !call.store && call.draft.is_none());
    assert_eq!(call.call.model, "gemini-3-pro-preview");
    assert_eq!(call.call.sticky, formats::StickyHint::of("thread-7"));
    assert_eq!(call.call.memory.thoughts, ThoughtDisplay::Shown);
    assert_eq!(
        serde_json::from_slice::<Value>(&call.call.body).unwrap(),
        json!({
            "systemInstruction": {"parts": [
                {"text": "You are Codex."}, {"text": "Sandbox: none."},
                {"text": "Call at most one tool at a time, and wait for its result before the next."}
            ]},
            "tools": [{"functionDeclarations": [
                {"name": "exec_command", "description": "Runs.", "parametersJsonSchema":
                 {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"], "additionalProperties": false}},
                {"name": "multi_agent_v1__spawn", "description": "(Tools of `multi_agent_v1`: Agents.)\n\nSpawns.",
                 "parametersJsonSchema": {"type": "object", "properties": {}}},
                {"name": "multi_agent_v1__wait", "parametersJsonSchema": {"type": "object", "properties": {}}}
            ]}],
            "generationConfig": {"thinkingConfig": {"thinkingLevel": "medium", "includeThoughts": true}},
            "contents": [
                {"role": "user", "parts": [{"text": "list"}]},
                {"role": "model", "parts": [
                    {"functionCall": {"id": "ab12", "name": "exec_command", "args": {"cmd": "ls"}}, "thoughtSignature": "U0lH"}]},
                {"role": "user", "parts": [
                    {"functionResponse": {"id": "ab12", "name": "exec_command", "response": {"output": "a.txt"}}}]},
                {"role": "model", "parts": [
                    {"functionCall": {"id": "call_else", "name": "multi_agent_v1__spawn", "args": {}},
                     "thoughtSignature": "skip_thought_signature_validator"}]},
                {"role": "user", "parts": [
                    {"functionResponse": {"id": "call_else", "name": "multi_agent_v1__spawn", "response": {"output": "one\ntwo"},
                     "parts": [{"inlineData": {"mimeType": "image/png", "data": "QUJD"}}]}}]},
                {"role": "model", "parts": [{"text": "done"}]},
                {"role": "user", "parts": [{"text": "<system>\nMind the tests.\n</system>"}, {"text": "go on"}]}
            ]
        })
    );
}

#[test]
fn codex_for_a_known_model_gets_its_patch_tool_with_its_grammar() {
    let body = json!({
        "model": "gpt-5.5",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "patch"}]},
            {"type": "custom_tool_call", "call_id": "call_p", "name": "apply_patch", "input": "*** Begin \"Patch\""},
            {"type": "custom_tool_call_output", "call_id": "call_p", "output": "Done!"}
        ],
        "tools": [
            {"type": "custom", "name": "apply_patch", "description": "Edits files.",
             "format": {"type": "grammar", "syntax": "lark", "definition": "start: begin\nbegin: \"***\""}},
            {"type": "tool_search", "execution": "client", "description": "Finds tools.", "parameters": {}},
            {"type": "image_generation"},
            {"type": "function", "name": "exec", "strict": true, "defer_loading": true,
             "parameters": {"$schema": "x", "type": "object", "properties": {}}}
        ],
        "tool_choice": {"type": "custom", "name": "apply_patch"}
    });
    let made = translated(&body);
    assert_eq!(
        made["tools"],
        json!([{"functionDeclarations": [
            {"name": "apply_patch",
             "description": "Edits files.\n\n`input` has to match this grammar (lark) exactly:\n```\nstart: begin\nbegin: \"***\"\n```",
             "parametersJsonSchema": {"type": "object", "properties": {"input":
                {"type": "string", "description": "The tool's whole input as plain text, not JSON."}}, "required": ["input"]}},
            {"name": "exec", "parametersJsonSchema": {"type": "object", "properties": {}}}
        ]}])
    );
    assert_eq!(
        made["toolConfig"],
        json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["apply_patch"]}})
    );
    assert_eq!(
        made["contents"][1]["parts"][0]["functionCall"],
        json!({"id": "call_p", "name": "apply_patch", "args": {"input": "*** Begin \"Patch\""}})
    );
    assert_eq!(made["contents"][2]["parts"][0]["functionResponse"]["response"], json!({"output": "Done!"}));
}

#[test]
fn tools_within_the_input_are_declared_and_a_later_one_of_a_name_counts() {
    let body = json!({
        "model": "gpt-6",
        "input": [
            {"type": "additional_tools", "role": "developer", "tools": [
                {"type": "namespace", "name": "code", "description": "", "tools": [
                    {"type": "custom", "name": "exec", "description": "Old.", "format": {"type": "text"}}]}]},
            {"role": "user", "content": "run"},
            {"type": "tool_search_call", "call_id": "s1", "arguments": {}, "execution": "client"},
            {"type": "tool_search_output", "call_id": "s1", "tools": [
                {"type": "function", "name": "found", "parameters": {"type": "object", "properties": {}}}]},
            {"type": "additional_tools", "role": "developer", "tools": [
                {"type": "namespace", "name": "code", "description": "", "tools": [
                    {"type": "custom", "name": "exec", "description": "New."}]}]}
        ]
    });
    let made = translated(&body);
    let declared = made["tools"][0]["functionDeclarations"].as_array().unwrap();
    let told: Vec<_> = declared.iter().map(|one| (&one["name"], &one["description"])).collect();
    assert_eq!(told, [(&json!("code__exec"), &json!("New.")), (&json!("found"), &Value::Null)]);
    assert_eq!(made["contents"], json!([{"role": "user", "parts": [{"text": "run"}]}]));
}

#[test]
fn an_agents_history_keeps_what_its_items_say() {
    let body = json!({
        "model": "gpt-5", "instructions": "Be brief.",
        "input": [
            {"role": "system", "content": "House rules."},
            {"role": "user", "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "detail": "auto", "image_url": "https://example.com/a.webp"},
                {"type": "input_image", "detail": "auto", "image_url": "https://example.com/picture?id=7"},
                {"type": "input_file", "filename": "paper.pdf", "file_data": "data:application/pdf;base64,UERG"},
                {"type": "input_file", "filename": "notes.txt", "file_data": "QUJD"},
                {"type": "input_file", "file_url": "https://example.com/b.pdf"},
                {"type": "input_audio", "input_audio": {"format": "wav", "data": "UklG"}}]},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [
                {"type": "output_text", "text": "a", "annotations": [], "logprobs": []},
                {"type": "refusal", "refusal": "no"}]},
            {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": block(SignedPart::Text, "VFhU")},
            {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
            {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "SU1H"},
            {"type": "item_reference", "id": "rs_gone"},
            {"id": "rs_gone_too"},
            {"role": "user", "content": ""},
            {"role": "user", "content": "next"}
        ],
        "store": true, "metadata": {"a": "b"}
    });
    let made = translated(&body);
    assert_eq!(
        made["systemInstruction"],
        json!({"parts": [{"text": "Be brief."}, {"text": "House rules."}]})
    );
    assert_eq!(
        made["contents"],
        json!([
            {"role": "user", "parts": [
                {"text": "look"},
                {"fileData": {"mimeType": "image/webp", "fileUri": "https://example.com/a.webp"}},
                {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/picture?id=7"}},
                {"inlineData": {"mimeType": "application/pdf", "data": "UERG"}},
                {"inlineData": {"mimeType": "text/plain", "data": "QUJD"}},
                {"fileData": {"mimeType": "application/pdf", "fileUri": "https://example.com/b.pdf"}},
                {"inlineData": {"mimeType": "audio/wav", "data": "UklG"}}]},
            {"role": "model", "parts": [
                {"text": "a"}, {"text": "no", "thoughtSignature": "VFhU"}, {"inlineData": {"mimeType": "image/png", "data": "SU1H"}}]},
            {"role": "user", "parts": [{"text": "next"}]}
        ])
    );
}

#[test]
fn a_call_that_the_model_left_without_a_name_does_not_end_the_conversation() {
    let made = translated(&json!({"model": "gpt-5", "input": [
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "call_1", "name": "", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "unsupported call: "}]}));
    assert_eq!(made["contents"][1]["parts"][0]["functionCall"]["name"], "_");
    assert_eq!(made["contents"][2]["parts"][0]["functionResponse"]["name"], "_");
}

#[test]
fn a_string_is_a_users_message_and_instructions_alone_are_answered() {
    let made = translated(&json!({"model": "gpt-5", "input": "hi"}));
    assert_eq!(
        made,
        json!({"generationConfig": {"thinkingConfig": {"includeThoughts": true}},
               "contents": [{"role": "user", "parts": [{"text": "hi"}]}]})
    );
    let made = translated(&json!({"model": "gpt-5", "instructions": "Greet.", "input": null}));
    assert_eq!(made["contents"], json!([{"role": "user", "parts": [{"text": "Greet."}]}]));
    assert_eq!(refusal(&json!({"model": "gpt-5"})).1.as_deref(), Some("input"));
}

#[test]
fn what_is_wanted_of_a_search_is_said() {
    let search = json!({"type": "web_search", "filters": {"allowed_domains": ["a.example", "b.example"]},
        "user_location": {"type": "approximate", "city": "Lyon", "country": "FR"}});
    let body = json!({"model": "gpt-5", "instructions": "Be brief.", "input": "news", "tools": [search]});
    assert_eq!(
        translated(&body)["systemInstruction"]["parts"],
        json!([
            {"text": "Be brief."},
            {"text": "Of what a web search finds, use only pages of these sites: a.example, b.example."},
            {"text": "For a web search, take it that the user is about here: Lyon, FR."},
        ])
    );
    let mut beside = body;
    beside["tools"].as_array_mut().unwrap().push(json!({"type": "function", "name": "f"}));
    assert_eq!(translated(&beside)["systemInstruction"]["parts"], json!([{"text": "Be brief."}]));
}

#[test]
fn a_file_is_of_the_type_that_its_name_says_or_a_pdf() {
    let file = |members: Value| {
        let mut part = json!({"type": "input_file"});
        part.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        json!({"model": "gpt-5", "input": [{"role": "user", "content": [part]}]})
    };
    let part = |members: Value| translated(&file(members))["contents"][0]["parts"][0].clone();
    for (members, mime_type) in [
        (json!({"file_data": "QUJD"}), "application/pdf"),
        (json!({"filename": "paper", "file_data": "QUJD"}), "application/pdf"),
        (json!({"filename": "notes.py", "file_data": "QUJD"}), "text/plain"),
    ] {
        assert_eq!(part(members.clone())["inlineData"]["mimeType"], mime_type, "{members}");
    }
    let fetched = part(json!({"file_url": "https://example.com/paper?v=2"}));
    assert_eq!(fetched["fileData"]["mimeType"], "application/pdf");
    let (_, param, ..) = refusal(&file(json!({"filename": "sheet.xlsx", "file_data": "QUJD"})));
    assert_eq!(param.as_deref(), Some("input[0].content[0].filename"));
}

#[test]
fn settings_become_googles_within_its_ranges() {
    for (body, config) in [
        (
            json!({"model": "gpt-5", "max_output_tokens": 9_000_000_000_u64, "temperature": 5, "top_p": 0.5, "reasoning": {"effort": "xhigh"}}),
            json!({"maxOutputTokens": 65536, "temperature": 2.0, "topP": 0.5, "thinkingConfig": {"thinkingLevel": "high", "includeThoughts": true}}),
        ),
        (
            json!({"model": "old", "max_output_tokens": -1, "reasoning": {"effort": "none", "summary": "auto"}}),
            json!({"maxOutputTokens": 1, "thinkingConfig": {"thinkingBudget": 0}}),
        ),
        (
            json!({"model": "old", "reasoning": {"effort": "low", "summary": "none"}}),
            json!({"thinkingConfig": {"thinkingBudget": 1024}}),
        ),
        (
            json!({"model": "gpt-5", "reasoning": {"effort": "not yet known"}}),
            json!({"thinkingConfig": {"includeThoughts": true}}),
        ),
        (json!({"model": "gemma-3", "reasoning": {"effort": "low"}}), Value::Null),
        (
            json!({"model": "gpt-5", "text": {"format": {"type": "json_schema", "name": "n", "strict": true,
                   "schema": {"$schema": "s", "type": "object", "properties": {}}}}}),
            json!({"responseMimeType": "application/json", "responseJsonSchema": {"type": "object", "properties": {}},
                   "thinkingConfig": {"includeThoughts": true}}),
        ),
        (
            json!({"model": "gpt-5", "text": {"format": {"type": "json_object"}}}),
            json!({"responseMimeType": "application/json", "thinkingConfig": {"includeThoughts": true}}),
        ),
    ] {
        let mut body = body;
        body["input"] = json!("hi");
        assert_eq!(translated(&body)["generationConfig"], config, "{body}");
    }
    let with_tools = json!({"model": "old", "input": "hi", "text": {"format": {"type": "json_schema", "schema": {"type": "array"}}},
        "tools": [{"type": "function", "name": "f"}]});
    let made = translated(&with_tools);
    assert!(made["systemInstruction"]["parts"][0]["text"].as_str().unwrap().ends_with(r#"{"type":"array"}"#));
}

#[test]
fn an_item_may_change_the_effort_and_the_form() {
    let body = json!({"model": "gpt-5", "reasoning": {"effort": "high"}, "input": [
        {"role": "user", "content": "a"},
        {"type": "configuration_update", "reasoning": {"effort": "low"}},
        {"type": "configuration_update", "text": {"format": {"type": "json_object"}}}]});
    let config = &translated(&body)["generationConfig"];
    assert_eq!(config["thinkingConfig"]["thinkingLevel"], "low");
    assert_eq!(config["responseMimeType"], "application/json");
}

#[test]
fn every_choice_has_its_mode_and_names() {
    let tools = json!([
        {"type": "function", "name": "f"},
        {"type": "namespace", "name": "n", "description": "", "tools": [
            {"type": "function", "name": "f"}, {"type": "custom", "name": "c"}]},
        {"type": "web_search"}
    ]);
    let functions = |names: &[&str], mode: &str| {
        if names.is_empty() {
            json!({"mode": mode})
        } else {
            json!({"mode": mode, "allowedFunctionNames": names})
        }
    };
    for (choice, calling) in [
        (json!("auto"), Value::Null),
        (json!(null), Value::Null),
        (json!("none"), functions(&[], "NONE")),
        (json!("required"), functions(&[], "ANY")),
        (json!({"type": "function", "name": "f"}), functions(&["f"], "ANY")),
        (json!({"type": "function", "name": "f", "namespace": "n"}), functions(&["n__f"], "ANY")),
        (json!({"type": "custom", "name": "c", "namespace": "n"}), functions(&["n__c"], "ANY")),
        (
            json!({"type": "allowed_tools", "mode": "required", "tools": [
                {"type": "function", "name": "f"}, {"type": "web_search"}, {"type": "image_generation"}]}),
            functions(&["f"], "ANY"),
        ),
        (
            json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "namespace", "name": "n"}]}),
            functions(&["n__f", "n__c"], "VALIDATED"),
        ),
        (json!({"type": "allowed_tools", "mode": "auto", "tools": []}), functions(&[], "NONE")),
    ] {
        let body = json!({"model": "gpt-5", "input": "hi", "tools": tools, "tool_choice": choice});
        let made = translated(&body);
        assert_eq!(made["toolConfig"]["functionCallingConfig"], calling, "{choice}");
        assert_eq!(made["tools"].as_array().unwrap().len(), 1, "the search gives way: {choice}");
    }
    let strict = json!({"model": "gpt-5", "input": "hi", "tools": [{"type": "function", "name": "f", "strict": true}]});
    assert_eq!(translated(&strict)["toolConfig"]["functionCallingConfig"], json!({"mode": "VALIDATED"}));
}

#[test]
fn a_search_is_googles_when_it_is_alone_or_forced() {
    let search = json!([{"googleSearch": {}}]);
    for (tools, choice, made) in [
        (json!([{"type": "web_search"}]), json!("auto"), &search),
        (
            json!([{"type": "web_search_preview_2025_03_11"}, {"type": "image_generation"}]),
            json!("required"),
            &search,
        ),
        (json!([{"type": "web_search"}]), json!("none"), &Value::Null),
        (
            json!([{"type": "web_search_preview"}, {"type": "function", "name": "f"}]),
            json!({"type": "web_search_preview"}),
            &search,
        ),
    ] {
        let body = json!({"model": "gpt-5", "input": "hi", "tools": tools, "tool_choice": choice});
        let asked = translated(&body);
        assert_eq!(&asked["tools"], made, "{body}");
        assert_eq!(asked["toolConfig"], Value::Null);
    }
}

#[test]
fn what_cannot_be_done_is_refused_by_the_name_of_its_field() {
    let with = |name: &str, value: Value| {
        let mut body = json!({"model": "gpt-5", "input": "hi"});
        body[name] = value;
        body
    };
    let tool = |kind: &str| with("tools", json!([{"type": "function", "name": "f"}, {"type": kind}]));
    let item = |item: Value| with("input", json!([{"role": "user", "content": "hi"}, item]));
    let unsupported = Some("unsupported_parameter");
    let invalid = Some("invalid_value");
    for (body, param, code) in [
        (with("background", json!(true)), "background", unsupported),
        (with("conversation", json!("conv_1")), "conversation", unsupported),
        (with("prompt", json!({"id": "pmpt_1"})), "prompt", unsupported),
        (tool("code_interpreter"), "tools[1].type", unsupported),
        (tool("file_search"), "tools[1].type", unsupported),
        (tool("mcp"), "tools[1].type", unsupported),
        (tool("computer_use_preview"), "tools[1].type", unsupported),
        (tool("local_shell"), "tools[1].type", unsupported),
        (tool("shell"), "tools[1].type", unsupported),
        (tool("apply_patch"), "tools[1].type", unsupported),
        (with("tools", json!([{"type": "image_generation"}])), "tools[0].type", unsupported),
        (
            with("tools", json!([{"type": "function", "name": "f"}, {"type": "function", "name": "f"}])),
            "tools[1].name",
            invalid,
        ),
        (
            with("tools", json!([{"type": "function", "name": "f", "parameters": []}])),
            "tools[0].parameters",
            invalid,
        ),
        (with("tools", json!([{"type": "function"}])), "tools[0].name", invalid),
        (with("tools", json!({})), "tools", invalid),
        (with("tool_choice", json!("sometimes")), "tool_choice", invalid),
        (with("tool_choice", json!({"type": "function", "name": "gone"})), "tool_choice.name", invalid),
        (with("tool_choice", json!({"type": "file_search"})), "tool_choice.type", unsupported),
        (with("tool_choice", json!({"type": "web_search"})), "tool_choice", invalid),
        (with("text", json!({"format": {"type": "xml"}})), "text.format.type", invalid),
        (with("text", json!({"format": {"type": "json_schema"}})), "text.format.schema", invalid),
        (with("temperature", json!("hot")), "temperature", invalid),
        (with("stream", json!(1)), "stream", invalid),
        (with("model", json!(7)), "model", invalid),
        (with("input", json!(7)), "input", invalid),
        (with("input", json!(["hi"])), "input[0]", invalid),
        (item(json!({"role": "tool", "content": "x"})), "input[1].role", invalid),
        (item(json!({"role": "user"})), "input[1].content", invalid),
        (item(json!({"text": "x"})), "input[1].type", invalid),
        (item(json!({"role": "user", "content": [{"type": "video"}]})), "input[1].content[0].type", invalid),
        (
            item(json!({"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]})),
            "input[1].content[0].file_id",
            unsupported,
        ),
        (
            item(json!({"role": "user", "content": [{"type": "input_image", "image_url": "ftp://x"}]})),
            "input[1].content[0].image_url",
            invalid,
        ),
        (
            item(
                json!({"role": "user", "content": [{"type": "input_audio", "input_audio": {"format": "txt", "data": "x"}}]}),
            ),
            "input[1].content[0].input_audio.format",
            invalid,
        ),
        (
            item(json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "[1]"})),
            "input[1].arguments",
            invalid,
        ),
        (item(json!({"type": "function_call", "name": "f", "arguments": "{}"})), "input[1].call_id", invalid),
        (
            item(json!({"type": "function_call_output", "call_id": "c", "output": "x"})),
            "input[1].call_id",
            invalid,
        ),
        (
            item(json!({"type": "function_call_output", "call_id": "c", "output": {"x": 1}})),
            "input[1].output",
            invalid,
        ),
        (item(json!({"type": "custom_tool_call", "call_id": "c", "name": "f"})), "input[1].input", invalid),
        (item(json!({"type": "computer_call", "call_id": "c"})), "input[1].type", unsupported),
        (item(json!({"type": "compaction", "encrypted_content": "c"})), "input[1].type", unsupported),
        (item(json!({"type": "item_reference", "id": "msg_gone"})), "input[1].id", Some("item_not_found")),
    ] {
        let (status, named, told, message) = refusal(&body);
        assert_eq!((status, named.as_deref(), told), (400, Some(param), code), "{body}");
        assert!(message.contains(param) || code == Some("item_not_found"), "{message}");
    }
}

#[test]
fn models_and_states_that_are_not_known_have_their_own_codes() {
    let (status, param, code, message) = refusal(&json!({"model": "claude-1", "input": "hi"}));
    assert_eq!((status, param.as_deref(), code), (404, Some("model"), Some("model_not_found")));
    assert!(message.contains("formats.models"), "{message}");
    let body = json!({"model": "gpt-5", "input": "hi", "previous_response_id": "resp_gone"});
    assert_eq!(previous_id(body.to_string().as_bytes()).as_deref(), Some("resp_gone"));
    let (status, param, code, message) = refusal(&body);
    assert_eq!((status, param.as_deref()), (400, Some("previous_response_id")));
    assert_eq!(code, Some("previous_response_not_found"));
    assert_eq!(message, "Previous response with id 'resp_gone' not found.");
    for (body, id) in [("{}", None), ("{", None), ("[]", None), (r#"{"previous_response_id":null}"#, None)] {
        assert_eq!(previous_id(body.as_bytes()), id, "{body}");
    }
    let error = create(b"{", &models(), &|_| false, None).unwrap_err();
    assert_eq!(refusal_of(&error).0, 400);
}

#[test]
fn tokens_are_counted_of_the_same_request() {
    let body = json!({"model": "gpt-5", "instructions": "i", "input": "hi", "tools": [{"type": "function", "name": "f"}]});
    let counted = input_tokens(body.to_string().as_bytes(), &models(), &|_| false).unwrap();
    assert_eq!(counted.model, "gemini-3-flash-preview");
    let mut inner = translated(&body);
    inner["model"] = json!("models/gemini-3-flash-preview");
    let counted: Value = serde_json::from_slice(&counted.body).unwrap();
    assert_eq!(counted, json!({"generateContentRequest": inner}));
}

#[test]
fn the_same_prefix_is_the_same_bytes_from_step_to_step() {
    let first = json!({"model": "gpt-5", "input": [{"role": "user", "content": "a"},
        {"type": "function_call", "call_id": "call_x", "name": "f", "arguments": "{ \"z\":1,\"a\":12345678901234567890123}"},
        {"type": "function_call_output", "call_id": "call_x", "output": "r"}]});
    let mut second = first.clone();
    second["input"].as_array_mut().unwrap().push(json!({"role": "assistant", "content": "b"}));
    let [first, second] =
        [first, second].map(|body| String::from_utf8(call(&body).unwrap().call.body.to_vec()).unwrap());
    let prefix = first.strip_suffix("]}").unwrap();
    assert!(second.starts_with(prefix), "{first}\n{second}");
    assert!(first.contains(r#"{ "z":1,"a":12345678901234567890123}"#), "arguments keep their bytes");
}

/// One step of a client's history.
#[derive(Clone, Debug)]
enum HistoryStep {
    Says(&'static str, String),
    Reasons,
    Calls {
        is_custom: bool,
    },
    /// The result of the so-and-so-manieth call without one.
    Answers(usize),
}

fn history_step() -> impl Strategy<Value = HistoryStep> {
    let role = proptest::sample::select(vec!["user", "assistant", "system", "developer"]);
    prop_oneof![
        (role, "[a-z]{0,3}").prop_map(|(role, text)| HistoryStep::Says(role, text)),
        Just(HistoryStep::Reasons),
        any::<bool>().prop_map(|is_custom| HistoryStep::Calls { is_custom }),
        (0_usize..4).prop_map(HistoryStep::Answers),
    ]
}

proptest! {
    #[test]
    fn any_order_of_items_becomes_a_history_that_google_takes(
        steps in proptest::collection::vec(history_step(), 0..16),
        model in proptest::sample::select(vec!["gpt-5", "old"]),
    ) {
        let mut items = vec![json!({"role": "user", "content": "hi"})];
        let (mut calls, mut open) = (0, Vec::new());
        for step in steps {
            items.push(match step {
                HistoryStep::Says(role, text) => json!({"role": role, "content": text}),
                HistoryStep::Reasons => json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}),
                HistoryStep::Calls { is_custom } => {
                    calls += 1;
                    let id = format!("call_{calls}");
                    open.push((id.clone(), is_custom));
                    if is_custom {
                        json!({"type": "custom_tool_call", "call_id": id, "name": "c", "input": "x"})
                    } else {
                        json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"})
                    }
                }
                HistoryStep::Answers(which) => {
                    if open.is_empty() {
                        continue;
                    }
                    let (id, is_custom) = open.remove(which % open.len());
                    let kind = if is_custom { "custom_tool_call_output" } else { "function_call_output" };
                    json!({"type": kind, "call_id": id, "output": "done"})
                }
            });
        }
        let made = translated(&json!({"model": model, "input": items}));
        let contents = made["contents"].as_array().unwrap();
        let mut asked: Vec<(Value, Value)> = Vec::new();
        let mut told = 0;
        for (place, content) in contents.iter().enumerate() {
            let is_user = place % 2 == 0;
            prop_assert_eq!(&content["role"], if is_user { "user" } else { "model" });
            let parts = content["parts"].as_array().unwrap();
            prop_assert!(!parts.is_empty());
            let named = |kind: &str| -> Vec<(Value, Value)> {
                let found = parts.iter().filter_map(|part| part.get(kind));
                found.map(|found| (found["id"].clone(), found["name"].clone())).collect()
            };
            if is_user {
                prop_assert_eq!(&named("functionResponse"), &asked, "each call, once, in order");
                let first = &parts[..asked.len()];
                prop_assert!(first.iter().all(|part| part.get("functionResponse").is_some()), "before all else");
                prop_assert!(named("functionCall").is_empty());
            } else {
                asked = named("functionCall");
                told += asked.len();
                prop_assert!(named("functionResponse").is_empty());
                if model == "gpt-5" && let Some(first) = parts.iter().find(|part| part.get("functionCall").is_some()) {
                    prop_assert!(first.get("thoughtSignature").is_some());
                }
            }
            prop_assert!(parts.iter().all(|part| part.get("text") != Some(&json!(""))));
        }
        prop_assert_eq!(told, calls, "no call is lost");
        prop_assert!(contents.len() % 2 == 1 || asked.is_empty(), "the last calls are answered too");
    }
}

#[test]
fn a_text_that_was_cut_in_the_middle_of_a_pair_goes_up_with_the_replacement_character() {
    let body = json!({
        "model": "gpt-5", "instructions": "sys HALF", "previous_response_id": null,
        "tools": [{"type": "function", "name": "f", "description": "HALF", "parameters": {"type": "object", "properties": {"HALF": {"const": "HALF"}}}}],
        "input": [
            {"role": "user", "content": "a HALF"},
            {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{\"x\":\"HALF\",\"y\":\"\\uINNER\"}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "cut HALF"},
        ],
    });
    let with = |half: &str, inner: &str| body.to_string().replace("HALF", half).replace("uINNER", inner);
    let cut = with(r"\ud83d", "ud83d");
    let sent = create(cut.as_bytes(), &models(), &|_| false, None).unwrap().call.body;
    let sent: Value = serde_json::from_slice(&sent).unwrap();
    let whole = translated(&serde_json::from_str(&with("\u{fffd}", "ufffd")).unwrap());
    assert_eq!(sent, whole);
    assert_eq!(
        sent["contents"][1]["parts"][0]["functionCall"]["args"],
        json!({"x": "\u{fffd}", "y": "\u{fffd}"})
    );
    let named = r#"{"\ud83d":1,"previous_response_id":"resp_1"}"#;
    assert_eq!(previous_id(named.as_bytes()).as_deref(), Some("resp_1"));
}
