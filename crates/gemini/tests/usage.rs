//! Token usage, found in whole and in cut bodies, and not where it is only spoken of.

use gemini::usage::{Usage, UsageForm, UsageKey, UsageScanner};
use proptest::prelude::*;
use serde_json::{Value, json};

fn scan(chunks: &[&[u8]]) -> Option<Usage> {
    let mut scanner = UsageScanner::new(UsageKey::Any);
    for chunk in chunks {
        scanner.push(chunk);
    }
    scanner.finish()
}

fn usage(body: &str) -> Option<Usage> {
    scan(&[body.as_bytes()])
}

const NATIVE: &str = r#"{"candidates":[{"content":{"parts":[{"text":"hi"}]}}],"usageMetadata":{"promptTokenCount":11,"candidatesTokenCount":22,"totalTokenCount":66,"promptTokensDetails":[{"modality":"TEXT","tokenCount":9}],"cachedContentTokenCount":4,"thoughtsTokenCount":33,"toolUsePromptTokenCount":5,"trafficType":"ON_DEMAND"},"modelVersion":"m"}"#;

const NATIVE_USAGE: Usage = Usage {
    prompt_tokens: Some(11),
    output_tokens: Some(22),
    thoughts_tokens: Some(33),
    cached_tokens: Some(4),
    tool_tokens: Some(5),
    total_tokens: Some(66),
    form: UsageForm::Native,
};

#[test]
fn googles_usage_is_read_plain_and_pretty() {
    assert_eq!(usage(NATIVE), Some(NATIVE_USAGE));
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<Value>(NATIVE).unwrap()).unwrap();
    assert_eq!(usage(&pretty), Some(NATIVE_USAGE));
    assert_eq!(usage(&pretty.replace('\n', "\r\n").replace("\": ", "\" \t\r\n:\n ")), Some(NATIVE_USAGE));
    let live =
        usage(r#"{"usageMetadata":{"promptTokenCount":1,"responseTokenCount":2,"totalTokenCount":3}}"#);
    let live = live.unwrap();
    assert_eq!((live.output_tokens, live.form), (Some(2), UsageForm::Live));
}

#[test]
fn openais_usage_is_read_with_its_details() {
    let chat = r#"{"usage":{"prompt_tokens":1,"prompt_tokens_details":{"audio_tokens":9,"cached_tokens":2},"completion_tokens":3,"completion_tokens_details":{"reasoning_tokens":4},"total_tokens":5}}"#;
    let expected = Usage {
        prompt_tokens: Some(1),
        cached_tokens: Some(2),
        output_tokens: Some(3),
        thoughts_tokens: Some(4),
        total_tokens: Some(5),
        tool_tokens: None,
        form: UsageForm::OpenAi,
    };
    assert_eq!(usage(chat), Some(expected));
    let responses = r#"{"usage":{"input_tokens":1,"input_tokens_details":{"cached_tokens":2},"output_tokens":3,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":5}}"#;
    assert_eq!(usage(responses), Some(expected));
    let embeddings = usage(r#"{"data":[],"usage":{"prompt_tokens":7,"total_tokens":7}}"#).unwrap();
    assert_eq!((embeddings.prompt_tokens, embeddings.output_tokens), (Some(7), None));
}

#[test]
fn the_interactions_apis_usage_is_read() {
    let body = r#"{"interaction":{"usage":{"total_input_tokens":11,"total_output_tokens":22,"total_thought_tokens":33,"total_cached_tokens":4,"total_tool_use_tokens":5,"total_tokens":66}}}"#;
    assert_eq!(usage(body), Some(Usage { form: UsageForm::Interactions, ..NATIVE_USAGE }));
}

#[test]
fn the_form_is_told_by_the_names_of_the_fields_and_never_makes_a_usage_by_itself() {
    for (body, form) in [
        (r#"{"usageMetadata":{"promptTokenCount":1,"totalTokenCount":1}}"#, UsageForm::Native),
        (r#"{"usage":{"prompt_tokens":1,"total_tokens":1}}"#, UsageForm::OpenAi),
        (r#"{"usage":{"total_tokens":1,"output_tokens":1}}"#, UsageForm::OpenAi),
        (r#"{"usage":{"total_input_tokens":1}}"#, UsageForm::Interactions),
        (
            r#"{"usageMetadata":{"totalTokenCount":1,"details":{"prompt_tokens":1},"candidatesTokenCount":1}}"#,
            UsageForm::Native,
        ),
    ] {
        assert_eq!(usage(body).unwrap().form, form, "{body}");
    }
    assert_eq!(usage(r#"{"usage":{"completion_tokens":null,"prompt_tokens":"7"}}"#), None);
}

#[test]
fn the_last_usage_of_a_stream_counts() {
    let event = |count: u64| format!("data: {{\"usageMetadata\":{{\"totalTokenCount\":{count}}}}}\r\n\r\n");
    let stream = [event(1), event(2), event(3)].concat();
    assert_eq!(usage(&stream).unwrap().total_tokens, Some(3));
    // What an earlier one says and the last one does not is gone.
    let changed = r#"{"usage":{"prompt_tokens":1,"completion_tokens":5}}{"usage":{"prompt_tokens":2,"total_tokens":3}}"#;
    let last = Usage { form: UsageForm::OpenAi, ..Usage::default() };
    assert_eq!(usage(changed), Some(Usage { prompt_tokens: Some(2), total_tokens: Some(3), ..last }));
    // No prompt is empty: what does not tell of it goes on where the one before has ended.
    for (changed, form) in [
        (
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":5}}{"usage":{"total_tokens":9}}"#,
            UsageForm::OpenAi,
        ),
        (
            r#"[{"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":5}},{"usageMetadata":{"totalTokenCount":9}}]"#,
            UsageForm::Native,
        ),
    ] {
        let whole = Usage { prompt_tokens: Some(1), output_tokens: Some(5), total_tokens: Some(9), ..last };
        assert_eq!(usage(changed), Some(Usage { form, ..whole }), "{changed}");
    }
}

#[test]
fn a_cut_or_empty_last_usage_leaves_the_one_before() {
    for tail in [
        r#"{"usage":null}"#,
        r#"{"usage":{}}"#,
        r#"{"usage":{"total_tokens":"#,
        r#"{"usage":{"total_tokens":9"#,
        r#"{"usage":{"miles":{"total_tokens":9}}}"#,
        r#"{"usage":7}"#,
        r#"{"usageMeta":{"totalTokenCount":9}}"#,
        r#"{"usages":{"total_tokens":9}}"#,
        r#"{"my_usage":{"total_tokens":9}}"#,
        r#"{"usage"#,
        r#"{"args":{"usage":{"total_tokens":9}"#,
        r#"{"args":{"usage":{"total_tokens":9},"more":["#,
    ] {
        let body = format!("{NATIVE}\n{tail}");
        assert_eq!(usage(&body), Some(NATIVE_USAGE), "{tail}");
    }
}

#[test]
fn a_text_that_speaks_of_usage_is_no_usage() {
    for text in [
        r#"{"usageMetadata":{"totalTokenCount":9}}"#,
        r#""usageMetadata""#,
        "usageMetadata",
        "usage",
        r#"\"usage":{"total_tokens":9}"#,
        r#"\\"usage\\":{"total_tokens":9}"#,
    ] {
        let body = json!({ "text": text, "more": [text, text] }).to_string();
        assert_eq!(usage(&body), None, "{body}");
        for cut in 0..body.len() {
            let (head, tail) = body.as_bytes().split_at(cut);
            assert_eq!(scan(&[head, tail]), None, "{body} cut at {cut}");
        }
    }
    assert_eq!(usage(r#"{"a\"usage":{"total_tokens":9}}"#), None);
}

#[test]
fn strings_inside_a_usage_do_not_confuse_it() {
    let body = r#"{"usage":{"note":"}, \"total_tokens\":1, {[","x\\":"\\","total_tokens":2,"a_name_longer_than_any_that_counts_total_tokens":3,"":4}}"#;
    assert_eq!(usage(body), Some(Usage { total_tokens: Some(2), ..Usage::default() }));
}

#[test]
fn only_whole_counts_are_counts() {
    for value in ["-1", "1.5", "1e3", "\"7\"", "null", "true", "[7]", "{\"x\":7}"] {
        let body = format!(r#"{{"usage":{{"prompt_tokens":{value},"total_tokens":2}}}}"#);
        assert_eq!(
            usage(&body),
            Some(Usage { total_tokens: Some(2), form: UsageForm::OpenAi, ..Usage::default() }),
            "{value}"
        );
    }
    let huge = usage(r#"{"usage":{"total_tokens":99999999999999999999999999}}"#).unwrap();
    assert_eq!(huge.total_tokens, Some(u64::MAX));
}

#[test]
fn a_usage_longer_than_any_buffer_is_read_to_its_end() {
    let details: Vec<_> = (0..5_000).map(|at| json!({ "modality": "TEXT", "tokenCount": at })).collect();
    let body =
        json!({ "usageMetadata": { "promptTokensDetails": details, "totalTokenCount": 8 } }).to_string();
    let chunks: Vec<&[u8]> = body.as_bytes().chunks(7).collect();
    assert_eq!(scan(&chunks).unwrap().total_tokens, Some(8));
    assert!(std::mem::size_of::<UsageScanner>() <= 1024);
}

/// Bodies out of the pieces that matter.
fn bodies() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => Just("\"usage\"".to_owned()),
        2 => Just("\"usageMetadata\"".to_owned()),
        2 => Just("\"usa".to_owned()),
        2 => Just("ge\"".to_owned()),
        4 => Just(":".to_owned()),
        4 => Just("{".to_owned()),
        2 => Just("}".to_owned()),
        1 => Just("[".to_owned()),
        1 => Just("]".to_owned()),
        1 => Just("\\".to_owned()),
        1 => Just("\"".to_owned()),
        1 => Just(" \n".to_owned()),
        1 => Just(",".to_owned()),
        2 => Just("\"usage\":{".to_owned()),
        2 => Just("\"total_tokens\":".to_owned()),
        2 => (0..1000_u32).prop_map(|count| count.to_string()),
        2 => (0..1000_u32).prop_map(|count| format!("\"usageMetadata\": {{\"totalTokenCount\": {count}}}")),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Any JSON, with keys that matter among others.
fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<u32>().prop_map(Value::from),
        "[a-z\"\\\\{}:]{0,12}".prop_map(Value::from),
        Just(Value::from("\"usage\":{\"total_tokens\":1}")),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let key = prop_oneof![Just("total_tokens"), Just("prompt_tokens"), Just("candidates"), Just("x\"y")];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((key, inner), 0..4)
                .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn however_a_body_is_cut_its_usage_is_the_same(
        body in bodies(),
        cuts in proptest::collection::vec(0..300_usize, 0..20),
    ) {
        let whole = usage(&body);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let chunks: Vec<_> = cuts.windows(2).map(|cut| &body.as_bytes()[cut[0]..cut[1]]).collect();
        prop_assert_eq!(scan(&chunks), whole);
        let bytes: Vec<_> = body.as_bytes().chunks(1).collect();
        prop_assert_eq!(scan(&bytes), whole);
    }

    #[test]
    fn in_a_real_document_it_is_what_a_parser_finds(before in documents(), details in documents(), total in any::<u32>(), pretty: bool) {
        let document = json!({
            "candidates": before,
            "usageMetadata": { "details": details, "totalTokenCount": total, "promptTokenCount": 3 },
        });
        let body =
            if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
        let expected = Usage { total_tokens: Some(total.into()), prompt_tokens: Some(3), ..Usage::default() };
        prop_assert_eq!(usage(&body), Some(expected));
    }
}

/// What a model may have written, with counts in it that are not its own.
const WRITTEN: &[&str] = &[
    r#""candidates":[{"content":{"parts":[{"functionCall":{"args":{"usageMetadata":{"promptTokenCount":70000}}}}]}}]"#,
    r#""candidates":[{"usageMetadata":{"promptTokenCount":70000},"content":{"parts":[{"text":"}]\"\\"}]}}]"#,
    r#""candidates":[{"content":{"parts":[{"functionCall":{"args":{"usage":{"input_tokens":70000}}}}]}}]"#,
    r#""outputs":[{"arguments":{"usage":{"total_input_tokens":70000},"interaction":{"usage":{"total_input_tokens":7}}}}]"#,
    r#""choices":[{"message":{"tool_calls":[{"extra_content":{"google":{"usage":{"prompt_tokens":70000}}}}]}}]"#,
    r#""toolCall":{"functionCalls":[{"args":{"usageMetadata":{"promptTokenCount":70000}}}]}"#,
    r#""a":[{"b":{"usage":{"prompt_tokens":70000},"usageMetadata":{"promptTokenCount":70000}}}]"#,
    r#""step":{"interaction":{"usage":{"total_input_tokens":70000}}},"x":[{"y":{"z":{"usage":{"input_tokens":7}}}}]"#,
];

/// How an answer says that it has used one token.
const OWN: &[(UsageKey, &str)] = &[
    (UsageKey::Metadata, r#""usageMetadata":{"promptTokenCount":1}"#),
    (UsageKey::Usage, r#""usage":{"prompt_tokens":1}"#),
    (UsageKey::Interaction, r#""usage":{"total_input_tokens":1}"#),
    (
        UsageKey::Interaction,
        r#""interaction":{"id":"i","labels":{"usage":{"total_input_tokens":70000},"\u0075sage":1},"usage":{"total_input_tokens":1},"outputs":[{"usage":{"total_input_tokens":70000}}]}"#,
    ),
    (
        UsageKey::Interaction,
        r#""interaction":{"steps":[{"arguments":{"usage":{"total_input_tokens":70000}},"usage":"}"}],"usage" : {"total_input_tokens":1}}"#,
    ),
];

#[test]
fn what_a_model_has_written_is_not_what_it_used() {
    for written in WRITTEN {
        for (key, own) in OWN {
            for (members, expected) in [
                (format!("{own},{written}"), Some(1)),
                (format!("{written},{own}"), Some(1)),
                (written.to_string(), None),
            ] {
                let mut bodies = vec![
                    format!("{{{members}}}"),
                    format!(" {{\n {members}\n }}\n"),
                    format!(
                        ": a {{comment}}\nevent: x\ndata: {{{members}}}\r\n\r\nid:7\r\ndata:{{{written}}}\n\ndata: [DONE]\n\n"
                    ),
                ];
                // Of what is directly in an element of a list it cannot be told whose list that is.
                if *key != UsageKey::Interaction && !written.contains(":[{\"usage") {
                    bodies.push(format!("[{{{members}}}\n,\r\n{{{written}}}]"));
                }
                for body in bodies {
                    for size in [1, 2, 3, 7, 64, body.len()] {
                        let mut scanner = UsageScanner::new(*key);
                        body.as_bytes().chunks(size).for_each(|chunk| scanner.push(chunk));
                        let found = scanner.finish().and_then(|usage| usage.prompt_tokens);
                        assert_eq!(found, expected, "{key:?} {body} by {size}");
                    }
                }
            }
        }
    }
}

#[test]
fn it_counts_under_its_own_name_alone() {
    let body = r#"{"usageMetadata":{"promptTokenCount":1},"usage":{"prompt_tokens":2}}"#;
    for (key, expected) in [(UsageKey::Metadata, 1), (UsageKey::Usage, 2)] {
        let mut scanner = UsageScanner::new(key);
        scanner.push(body.as_bytes());
        assert_eq!(scanner.finish().unwrap().prompt_tokens, Some(expected));
    }
}
