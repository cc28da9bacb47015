//! The number of a conversation: the same at each of its turns, another for another conversation.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use gemini::dialect::Dialect::{self, Gemini, OpenAi};
use gemini::prefix::fingerprint;
use proptest::prelude::*;
use serde_json::{Value, json};

fn of(dialect: Dialect, body: &str) -> Option<u64> {
    fingerprint(dialect, body.as_bytes())
}

fn native(contents: &[&str]) -> Value {
    let contents: Vec<_> =
        contents.iter().map(|text| json!({"role": "user", "parts": [{"text": text}]})).collect();
    json!({"contents": contents})
}

fn chat(messages: &[(&str, &str)]) -> Value {
    let messages: Vec<_> =
        messages.iter().map(|(role, content)| json!({"role": role, "content": content})).collect();
    json!({"model": "m", "messages": messages})
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

/// All of them have a number, and no two the same.
fn all_differ(dialect: Dialect, bodies: &[Value]) {
    let numbers: Vec<_> = bodies.iter().map(|body| of(dialect, &body.to_string()).unwrap()).collect();
    for (at, number) in numbers.iter().enumerate() {
        assert!(!numbers[..at].contains(number), "{}", bodies[at]);
    }
}

#[test]
fn the_number_is_the_same_in_every_process() {
    let body = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"systemInstruction":{"parts":[{"text":"be brief"}]}}"#;
    assert_eq!(of(Gemini, body), Some(NATIVE));
    let body =
        r#"{"model":"m","messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}]}"#;
    assert_eq!(of(OpenAi, body), Some(CHAT));
}

#[test]
fn whatever_the_cache_would_tell_apart_has_another_number() {
    let system = |text: &str| json!({"parts": [{"text": text}]});
    let tool = |name: &str| json!([{"functionDeclarations": [{"name": name}]}]);
    all_differ(
        Gemini,
        &[
            native(&["a"]),
            native(&["b"]),
            with(native(&["a"]), "systemInstruction", system("x")),
            with(native(&["a"]), "systemInstruction", system("y")),
            with(native(&["b"]), "systemInstruction", system("x")),
            with(native(&["a"]), "tools", tool("x")),
            with(native(&["a"]), "tools", tool("y")),
            with(native(&["a"]), "tools", system("x")),
            with(native(&["a"]), "cachedContent", json!("cachedContents/x")),
            with(native(&["a"]), "cachedContent", json!("cachedContents/y")),
        ],
    );
    let cached = |name: &str| json!({"google": {"cached_content": name}});
    all_differ(
        OpenAi,
        &[
            chat(&[("user", "a")]),
            chat(&[("user", "b")]),
            chat(&[("system", "x"), ("user", "a")]),
            chat(&[("developer", "x"), ("user", "a")]),
            chat(&[("system", "y"), ("user", "a")]),
            chat(&[("system", "x"), ("system", "y"), ("user", "a")]),
            chat(&[("system", "x"), ("user", "b")]),
            with(chat(&[("user", "a")]), "tools", tool("x")),
            with(chat(&[("user", "a")]), "extra_body", cached("x")),
            with(chat(&[("user", "a")]), "extra_body", cached("y")),
        ],
    );
}

#[test]
fn what_may_change_from_turn_to_turn_does_not_count() {
    let conversation = of(Gemini, &native(&["a"]).to_string());
    for (name, value) in [
        ("generationConfig", json!({"temperature": 1})),
        ("toolConfig", json!({"functionCallingConfig": {"mode": "ANY"}})),
        ("safetySettings", json!([])),
        ("labels", json!({"turn": "2"})),
        ("tools", Value::Null),
    ] {
        assert_eq!(of(Gemini, &with(native(&["a"]), name, value).to_string()), conversation, "{name}");
    }
    let conversation = of(OpenAi, &chat(&[("user", "a")]).to_string());
    for (name, value) in [
        ("model", json!("other")),
        ("stream", json!(true)),
        ("tool_choice", json!("none")),
        ("extra_body", json!({"google": {"thinking_config": {}}})),
        ("extra_body", json!({})),
    ] {
        assert_eq!(
            of(OpenAi, &with(chat(&[("user", "a")]), name, value).to_string()),
            conversation,
            "{name}"
        );
    }
}

#[test]
fn order_space_and_spelling_at_the_top_do_not_count() {
    let plain =
        r#"{"contents":[{"parts":[{"text":"a"}]}],"systemInstruction":{"parts":[]},"cachedContent":"c"}"#;
    for same in [
        r#"{"cachedContent":"c","systemInstruction":{"parts":[]},"contents":[{"parts":[{"text":"a"}]}]}"#,
        r#"{"cached_content":"c","system_instruction":{"parts":[]},"contents":[{"parts":[{"text":"a"}]}]}"#,
        "\n{ \"cachedContent\" :\t\"c\",\"systemInstruction\": {\"parts\":[]} ,\"contents\":\r\n[ {\"parts\":[{\"text\":\"a\"}]} , {} ] } ",
    ] {
        assert_eq!(of(Gemini, same), of(Gemini, plain), "{same}");
    }
    let spaced = plain.replace(r#"{"text":"a"}"#, r#"{"text": "a"}"#);
    assert_ne!(of(Gemini, &spaced), of(Gemini, plain), "inside a value every byte counts");
}

#[test]
fn what_is_no_conversation_has_no_number() {
    for body in [
        "",
        "{",
        "null",
        "[]",
        "{}",
        r#"{"contents":[]}"#,
        r#"{"contents":{"parts":[]}}"#,
        r#"{"contents":null,"systemInstruction":{}}"#,
        r#"{"contents":[{}]"#,
        r#"{"contents":[{}]} trailing"#,
        r#"{"content":{"parts":[]}}"#,
        r#"{"messages":[]}"#,
        r#"{"messages":[{"role":"system","content":"x"}]}"#,
        r#"{"input":"text"}"#,
        "--boundary\r\n",
    ] {
        assert_eq!(of(Gemini, body), None, "{body}");
        assert_eq!(of(OpenAi, body), None, "{body}");
    }
    assert_eq!(fingerprint(Gemini, b"{\"contents\":[\"\xff\"]}"), None);
    assert_eq!(of(OpenAi, r#"{"contents":[{}]}"#), None);
    assert_eq!(of(Gemini, r#"{"messages":[{}]}"#), None);
}

#[test]
fn a_deep_body_is_read_without_a_deep_stack() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = |turns: &str| format!(r#"{{"x":{deep},"contents":[{deep}{turns}]}}"#);
    assert!(of(Gemini, &body("")).is_some());
    assert_eq!(of(Gemini, &body("")), of(Gemini, &body(&format!(",{deep}"))));
}

fn turns() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("\\PC{0,20}", 1..6)
}

fn pretty_or_not(body: &Value, pretty: bool) -> String {
    if pretty { serde_json::to_string_pretty(body) } else { serde_json::to_string(body) }.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_native_conversation_keeps_its_number_as_it_grows(turns in turns(), system: Option<String>, pretty: bool) {
        let mut numbers = Vec::new();
        for upto in 1..=turns.len() {
            let mut body = native(&turns[..upto].iter().map(String::as_str).collect::<Vec<_>>());
            if let Some(system) = &system {
                body["systemInstruction"] = json!({"parts": [{"text": system}]});
            }
            numbers.push(of(Gemini, &pretty_or_not(&body, pretty)));
        }
        prop_assert!(numbers[0].is_some());
        prop_assert!(numbers.iter().all(|number| *number == numbers[0]));
    }

    #[test]
    fn a_chat_keeps_its_number_as_it_grows(
        instructions in proptest::collection::vec(("system|developer", "\\PC{0,20}"), 0..3),
        first in "\\PC{0,20}",
        later in proptest::collection::vec(("system|user|assistant|tool", "\\PC{0,20}"), 0..5),
        pretty: bool,
    ) {
        let mut messages = instructions;
        messages.push(("user".to_owned(), first));
        let opening = messages.len();
        messages.extend(later);
        let numbers: Vec<_> = (opening..=messages.len()).map(|upto| {
            let messages: Vec<_> =
                messages[..upto].iter().map(|(role, text)| (role.as_str(), text.as_str())).collect();
            of(OpenAi, &pretty_or_not(&chat(&messages), pretty))
        }).collect();
        prop_assert!(numbers[0].is_some());
        prop_assert!(numbers.iter().all(|number| *number == numbers[0]));
    }

    #[test]
    fn different_system_instructions_have_different_numbers(one: String, other: String) {
        prop_assume!(one != other);
        let body = |system: &str| with(native(&["a"]), "systemInstruction", json!({"parts": [{"text": system}]}));
        prop_assert_ne!(of(Gemini, &body(&one).to_string()), of(Gemini, &body(&other).to_string()));
        let body = |system: &str| chat(&[("system", system), ("user", "a")]);
        prop_assert_ne!(of(OpenAi, &body(&one).to_string()), of(OpenAi, &body(&other).to_string()));
    }

    #[test]
    fn any_bytes_are_borne(body: Vec<u8>) {
        fingerprint(Gemini, &body);
        fingerprint(OpenAi, &body);
    }
}

const NATIVE: u64 = 10_478_158_267_858_252_452;
const CHAT: u64 = 10_920_626_013_011_342_363;
