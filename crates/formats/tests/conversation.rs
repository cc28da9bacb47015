//! Histories as clients tell them, and Google's rules for what is made of them: tables of single rules, and a property
//! over any history at all.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

use std::borrow::Cow;
use std::collections::BTreeSet;

use formats::conversation::{Conversation, History, HistoryError};
use formats::gemini::{GenerateRequest, ResultBody};
use formats::json::{empty_object, raw_of};
use formats::media::Media;
use formats::models::{ModelGeneration, ModelTraits};
use formats::signature::{CallIdPrefix, PLACEHOLDER, SignedPart, block, call_id};
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

const THREE: &str = "gemini-3-pro-preview";
const TWO_FIVE: &str = "gemini-2.5-flash";

fn contents(history: History<'_>) -> Vec<Value> {
    let body = GenerateRequest { contents: history.contents, ..GenerateRequest::default() }.write();
    let body: Value = serde_json::from_slice(&body).unwrap();
    body["contents"].as_array().unwrap().clone()
}

fn told<'a>(model: &str, tell: impl FnOnce(&mut Conversation<'a>)) -> Value {
    let mut conversation = Conversation::new(ModelTraits::of(model));
    tell(&mut conversation);
    Value::Array(contents(conversation.finish().unwrap()))
}

fn none() -> Cow<'static, RawValue> {
    Cow::Owned(empty_object())
}

fn output(text: &str) -> ResultBody<'_> {
    ResultBody::Output(text.into())
}

#[test]
fn neighbours_of_one_role_become_one_content() {
    let contents = told(THREE, |history| {
        history.system("be kind");
        history.user_text("a");
        history.user_text("");
        history.system("later");
        history.user_text("b");
        history.assistant_text("");
        history.thinking("EqQBCkgIARABGAIiQA==");
        history.user_text("c");
        history.assistant_text("d");
        history.assistant_text("e");
    });
    assert_eq!(
        contents,
        json!([
            {"role": "user", "parts": [{"text": "a"}, {"text": "<system>\nlater\n</system>"}, {"text": "b"}, {"text": "c"}]},
            {"role": "model", "parts": [{"text": "d"}, {"text": "e"}]},
        ])
    );
}

#[test]
fn results_come_first_and_in_the_order_of_their_calls_from_wherever_they_are() {
    let first = call_id(CallIdPrefix::Toolu, Some("ab12"), Some("S+/=="), "");
    let second = call_id(CallIdPrefix::Toolu, Some("cd34"), None, "");
    let contents = told(THREE, |history| {
        history.user_text("go");
        history.call(first.clone(), "read", Cow::Owned(raw_of(&json!({"z": 1, "a": 2}))));
        history.call(second.clone(), "list", none());
        history.user_text("by the way");
        history.result(&second, output("2"), Vec::new()).unwrap();
        history.assistant_text("well");
        history.result(&first, ResultBody::Error("1".into()), Vec::new()).unwrap();
        history.assistant_text("done");
    });
    assert_eq!(
        contents,
        json!([
            {"role": "user", "parts": [{"text": "go"}]},
            {"role": "model", "parts": [
                {"functionCall": {"id": "ab12", "name": "read", "args": {"z": 1, "a": 2}}, "thoughtSignature": "S+/=="},
                {"functionCall": {"id": "cd34", "name": "list", "args": {}}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "ab12", "name": "read", "response": {"error": "1"}}},
                {"functionResponse": {"id": "cd34", "name": "list", "response": {"output": "2"}}},
                {"text": "by the way"},
            ]},
            {"role": "model", "parts": [{"text": "well"}, {"text": "done"}]},
        ])
    );
}

#[test]
fn a_call_without_a_result_gets_one_and_a_call_from_elsewhere_the_placeholder() {
    let call = |model| {
        told(model, |history| {
            history.call("functions.read:0", "read", none());
            history.call("x", "read", none());
            history.call("x", "read", none());
            history.result("x", output("first"), Vec::new()).unwrap();
        })
    };
    let three = call(THREE);
    assert_eq!(three[0]["role"], "user");
    assert_eq!(three[1]["parts"][0]["thoughtSignature"], PLACEHOLDER);
    assert_eq!(three[1]["parts"][1].get("thoughtSignature"), None);
    let result = |id: &str, response: Value| json!({"functionResponse": {"id": id, "name": "read", "response": response}});
    let parts = [
        result("functions.read:0", json!({"error": "no result"})),
        result("x", json!({"output": "first"})),
        result("x-2", json!({"error": "no result"})),
    ];
    assert_eq!(three[2]["parts"], json!(parts));
    assert_eq!(call(TWO_FIVE)[1]["parts"][0].get("thoughtSignature"), None);
}

#[test]
fn an_id_is_taken_anew_by_a_later_call() {
    let contents = told(THREE, |history| {
        history.user_text("a");
        for answer in ["1", "2"] {
            history.call("same", "f", none());
            history.result("same", output(answer), Vec::new()).unwrap();
        }
    });
    assert_eq!(contents.as_array().unwrap().len(), 5);
    for (place, answer) in [(2, "1"), (4, "2")] {
        assert_eq!(contents[place]["parts"][0]["functionResponse"]["response"]["output"], answer);
    }
}

#[test]
fn a_block_signs_the_next_call_unless_its_id_does() {
    let carried = block(SignedPart::Call, "FROM-BLOCK");
    let signed = call_id(CallIdPrefix::Call, Some("g"), Some("FROM-ID"), "");
    let contents = told(THREE, |history| {
        history.user_text("a");
        history.thinking(&carried);
        history.assistant_text("I look");
        history.call("foreign", "f", none());
        history.call("other", "f", none());
        history.user_text("b");
        history.thinking(&carried);
        history.call(signed, "f", none());
        history.user_text("c");
        history.thinking(&carried);
        history.user_text("d");
        history.call("late", "f", none());
    });
    assert_eq!(contents[1]["parts"][0].get("thoughtSignature"), None, "no text takes a call's");
    assert_eq!(contents[1]["parts"][1]["thoughtSignature"], "FROM-BLOCK");
    assert_eq!(contents[1]["parts"][2].get("thoughtSignature"), None);
    assert_eq!(contents[3]["parts"][0]["thoughtSignature"], "FROM-ID");
    assert_eq!(contents[5]["parts"][0]["thoughtSignature"], PLACEHOLDER, "none crosses a turn");
}

#[test]
fn a_texts_signature_stays_with_the_text() {
    let carried = block(SignedPart::Text, "T");
    let contents = told(THREE, |history| {
        history.user_text("a");
        history.assistant_text("one");
        history.thinking(&carried);
        history.assistant_text("two");
        history.user_text("b");
        history.thinking(&carried);
        history.assistant_text("three");
        history.assistant_text("four");
        history.user_text("c");
        history.thinking(&carried);
        history.user_text("d");
    });
    assert_eq!(contents[1]["parts"], json!([{"text": "one", "thoughtSignature": "T"}, {"text": "two"}]));
    assert_eq!(contents[3]["parts"], json!([{"text": "three"}, {"text": "four", "thoughtSignature": "T"}]));
    assert_eq!(contents[4]["parts"], json!([{"text": "c"}, {"text": "d"}]));
}

#[test]
fn a_signature_of_a_part_that_says_nothing_makes_no_turn_and_takes_no_texts_place() {
    let apart = |signature| block(SignedPart::Apart, signature);
    let contents = told(THREE, |history| {
        history.user_text("a");
        history.thinking(&apart("lost"));
        history.user_text("b");
        history.thinking(&apart("1"));
        history.assistant_text("one");
        history.thinking(&block(SignedPart::Text, "T"));
        history.thinking(&block(SignedPart::Text, "T"));
        history.thinking(&block(SignedPart::Text, "2"));
        history.assistant_text("two");
        history.user_text("c");
    });
    let alone = |signature: &str| json!({"text": "", "thoughtSignature": signature});
    let model = json!([alone("1"), {"text": "one", "thoughtSignature": "T"}, alone("2"), {"text": "two"}]);
    assert_eq!(contents[1]["parts"], model);
    assert_eq!(contents.as_array().unwrap().len(), 3);
}

#[test]
fn media_of_a_result_are_where_the_model_takes_them() {
    let contents = |model| {
        told(model, |history| {
            history.call("one", "shot", none());
            history.call("two", "shot", none());
            let picture = Media::Inline { mime_type: "image/png".into(), base64: "QUJD".into() };
            history.result("one", output(""), vec![picture]).unwrap();
        })
    };
    let blob = json!({"inlineData": {"mimeType": "image/png", "data": "QUJD"}});
    let three = contents(THREE);
    assert_eq!(three[2]["parts"][0]["functionResponse"]["parts"], json!([blob]));
    let two_five = contents(TWO_FIVE);
    assert_eq!(two_five[2]["parts"].as_array().unwrap().len(), 3);
    assert_eq!(two_five[2]["parts"][2], blob);
}

#[test]
fn what_cannot_be_placed_is_told() {
    let mut history = Conversation::new(ModelTraits::of(THREE));
    assert_eq!(history.result("a", output(""), Vec::new()), Err(HistoryError::NoCall("a".to_owned())));
    history.call("a", "f", none());
    assert_eq!(history.result("a", output(""), Vec::new()), Ok(()));
    let error = history.result("a", output(""), Vec::new()).unwrap_err();
    assert_eq!(error, HistoryError::SecondResult("a".to_owned()));
    assert_eq!(error.at("input").to_string(), "input: is a second result of `a`");
    assert_eq!(Conversation::new(ModelTraits::of(THREE)).finish().unwrap_err(), HistoryError::Empty);
}

#[test]
fn instructions_alone_are_answered() {
    let mut history = Conversation::new(ModelTraits::of(THREE));
    history.system("be brief");
    history.system("say hello");
    let history = history.finish().unwrap();
    assert_eq!(history.system, ["be brief"]);
    assert_eq!(json!(contents(history)), json!([{"role": "user", "parts": [{"text": "say hello"}]}]));
}

#[test]
fn instructions_are_no_users_words_where_there_is_a_message() {
    let mut history = Conversation::new(ModelTraits::of(THREE));
    history.system("be brief");
    history.message();
    history.user_text("");
    assert_eq!(history.finish().unwrap_err(), HistoryError::Empty);
    let mut history = Conversation::new(ModelTraits::of(THREE));
    history.instruct("of ours");
    assert_eq!(history.finish().unwrap_err(), HistoryError::Empty);
    let mut history = Conversation::new(ModelTraits::of(THREE));
    history.instruct("of ours");
    history.system("say hello");
    let history = history.finish().unwrap();
    assert_eq!(history.system, ["of ours"]);
    assert_eq!(json!(contents(history)), json!([{"role": "user", "parts": [{"text": "say hello"}]}]));
}

#[test]
fn a_model_that_does_not_go_on_from_its_own_turn_is_told_to() {
    for (model, is_told) in [
        ("gemini-2.5-flash", false),
        ("gemini-3-pro-preview", false),
        ("gemini-3.1-pro-preview", false),
        ("gemma-3-27b-it", false),
        ("gemini-3.5-flash-lite", true),
        ("gemini-3.7-flash", true),
        ("gemini-flash-latest", true),
    ] {
        let begun = told(model, |history| {
            history.user_text("in JSON");
            history.assistant_text("{");
        });
        assert_eq!(begun[1], json!({"role": "model", "parts": [{"text": "{"}]}));
        assert_eq!(begun.as_array().unwrap().len(), if is_told { 3 } else { 2 }, "{model}");
        assert!(!is_told || begun[2]["role"] == "user" && begun[2]["parts"][0]["text"].is_string());
        let called = told(model, |history| history.call("a", "f", none()));
        assert_eq!(called.as_array().unwrap().len(), 3, "{model}: a call has its result behind it");
    }
}

/// What a client says next.
#[derive(Clone, Debug)]
enum Saying {
    System(bool),
    User(bool),
    Picture,
    Assistant(bool),
    Thinking { kind: u8 },
    Call { id: u8, form: u8, signed: bool },
    Result { id: u8, form: u8, signed: bool, picture: bool },
}

fn saying() -> impl Strategy<Value = Saying> {
    let (id, form) = (0_u8..4, 0_u8..3);
    prop_oneof![
        any::<bool>().prop_map(Saying::System),
        any::<bool>().prop_map(Saying::User),
        Just(Saying::Picture),
        any::<bool>().prop_map(Saying::Assistant),
        (0_u8..5).prop_map(|kind| Saying::Thinking { kind }),
        (id.clone(), form.clone(), any::<bool>()).prop_map(|(id, form, signed)| Saying::Call {
            id,
            form,
            signed
        }),
        (id.clone(), form.clone(), any::<bool>()).prop_map(|(id, form, signed)| Saying::Call {
            id,
            form,
            signed
        }),
        (id.clone(), form.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(id, form, signed, picture)| Saying::Result { id, form, signed, picture }),
        (id, form, any::<bool>(), any::<bool>()).prop_map(|(id, form, signed, picture)| Saying::Result {
            id,
            form,
            signed,
            picture
        }),
    ]
}

fn id_of(id: u8, form: u8, signed: bool) -> String {
    let signature = signed.then(|| format!("sig{id}+/="));
    match form {
        0 => format!("foreign_{id}"),
        1 => call_id(CallIdPrefix::Toolu, Some(&format!("g{id}")), signature.as_deref(), ""),
        _ => call_id(CallIdPrefix::Toolu, None, signature.as_deref(), &format!("u{id}")),
    }
}

/// Google's rules, as far as they can be seen in the contents.
fn assert_rules(contents: &[Value], model: ModelTraits) {
    assert!(!contents.is_empty());
    let mut awaited: Vec<Value> = Vec::new();
    for (place, content) in contents.iter().enumerate() {
        let role = if place % 2 == 0 { "user" } else { "model" };
        assert_eq!(content["role"], role, "turns alternate and the user begins");
        let parts = content["parts"].as_array().unwrap();
        assert!(!parts.is_empty(), "no content is empty");
        assert!(
            parts.iter().all(|part| part["text"] != "" || part["thoughtSignature"].is_string()),
            "no text is empty, but for what is a signature alone"
        );
        let named = |part: &Value, kind: &str| json!([part[kind]["id"], part[kind]["name"]]);
        let all = |kind: &'static str| parts.iter().filter(move |part| part.get(kind).is_some());
        let results: Vec<_> = all("functionResponse").map(|part| named(part, "functionResponse")).collect();
        assert_eq!(results, awaited, "every call is answered once, in order");
        assert!(
            parts.iter().take(results.len()).all(|part| part.get("functionResponse").is_some()),
            "results come first"
        );
        awaited = all("functionCall").map(|part| named(part, "functionCall")).collect();
        let ids: BTreeSet<_> =
            awaited.iter().filter(|call| !call[0].is_null()).map(|call| call[0].to_string()).collect();
        assert_eq!(
            ids.len(),
            awaited.iter().filter(|call| !call[0].is_null()).count(),
            "ids of a step differ"
        );
        for (nth, call) in all("functionCall").enumerate() {
            let signature = call.get("thoughtSignature");
            if model.needs_signatures() && nth == 0 {
                assert!(signature.is_some(), "a step's first call is signed");
            } else {
                assert!(signature.is_none_or(|text| text != PLACEHOLDER), "no other has the placeholder");
            }
        }
    }
    assert!(awaited.is_empty(), "the last calls are answered too");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_googles_rules_and_loses_nothing(
        sayings in proptest::collection::vec(saying(), 0..24),
        is_three: bool,
    ) {
        let model = ModelTraits::of(if is_three { THREE } else { TWO_FIVE });
        let mut history = Conversation::new(model);
        // In the order told: texts of each role, calls with their own signature, results that were taken.
        let (mut texts, mut calls, mut results, mut pictures) = (Vec::new(), Vec::new(), BTreeSet::new(), 0);
        for (nth, saying) in sayings.iter().enumerate() {
            let text = |is_empty: bool| if is_empty { String::new() } else { format!("text {nth}.") };
            match *saying {
                Saying::System(is_empty) => {
                    history.system(text(is_empty));
                    texts.extend((!is_empty).then(|| text(false)));
                }
                Saying::User(is_empty) => {
                    history.user_text(text(is_empty));
                    texts.extend((!is_empty).then(|| text(false)));
                }
                Saying::Picture => {
                    history.user_media(Media::Inline { mime_type: "image/png".into(), base64: "QUJD".into() });
                    pictures += 1;
                }
                Saying::Assistant(is_empty) => {
                    history.assistant_text(text(is_empty));
                    texts.extend((!is_empty).then(|| text(false)));
                }
                Saying::Thinking { kind } => history.thinking(&match kind {
                    0 => block(SignedPart::Call, &format!("call-block-{nth}")),
                    1 => block(SignedPart::Text, &format!("text-block-{nth}")),
                    2 => block(SignedPart::Picture, &format!("picture-block-{nth}")),
                    3 => block(SignedPart::Apart, &format!("apart-block-{nth}")),
                    _ => "EqQBforeign==".to_owned(),
                }),
                Saying::Call { id, form, signed } => {
                    history.call(id_of(id, form, signed), "tool", Cow::Owned(raw_of(&json!({"nth": nth}))));
                    calls.push((nth, (signed && form > 0).then(|| format!("sig{id}+/="))));
                }
                Saying::Result { id, form, signed, picture } => {
                    let media = Media::Inline { mime_type: "image/png".into(), base64: "QUJD".into() };
                    let media = if picture { vec![media] } else { Vec::new() };
                    let answer = ResultBody::Output(format!("result {nth}.").into());
                    if history.result(&id_of(id, form, signed), answer, media).is_ok() {
                        results.insert(format!("result {nth}."));
                        pictures += usize::from(picture);
                    }
                }
            }
        }
        let history = match history.finish() {
            Ok(history) => history,
            Err(error) => {
                prop_assert_eq!(error, HistoryError::Empty);
                prop_assert!(texts.is_empty() && calls.is_empty() && pictures == 0);
                return Ok(());
            }
        };
        let system = history.system.concat();
        let contents = contents(history);
        assert_rules(&contents, model);

        let everything = format!("{system}{}", json!(contents));
        for text in &texts {
            prop_assert_eq!(everything.matches(text.as_str()).count(), 1, "{}", text);
        }
        for result in &results {
            prop_assert_eq!(everything.matches(result.as_str()).count(), 1, "{}", result);
        }
        prop_assert_eq!(everything.matches("QUJD").count(), pictures);
        let parts: Vec<&Value> = contents.iter().flat_map(|content| content["parts"].as_array().unwrap()).collect();
        let made: Vec<&Value> = parts.iter().copied().filter(|part| part.get("functionCall").is_some()).collect();
        prop_assert_eq!(made.len(), calls.len());
        for (part, (nth, signature)) in made.iter().zip(&calls) {
            prop_assert_eq!(&part["functionCall"]["args"]["nth"], *nth, "calls keep their order");
            let found = part.get("thoughtSignature").and_then(Value::as_str);
            match signature {
                Some(signature) => prop_assert_eq!(found, Some(signature.as_str())),
                None => prop_assert!(found.is_none_or(|found| found == PLACEHOLDER || found.starts_with("call-block-"))),
            }
        }
        for part in parts.iter().filter(|part| part.get("text").is_some()) {
            let signature = part.get("thoughtSignature").and_then(Value::as_str);
            let is_apart = part["text"] == "";
            let is_its_own = |found: &str| {
                found.starts_with("text-block-") || is_apart && found.starts_with("apart-block-")
            };
            prop_assert!(signature.is_none_or(is_its_own));
        }
        prop_assert!(model.generation == ModelGeneration::Three || !everything.contains(PLACEHOLDER));
    }
}
