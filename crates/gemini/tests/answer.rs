//! Which 200s say nothing. The valid empty ones are those of the wire notes.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use gemini::answer::Says::{self, Nothing, NothingYet, Something};
use gemini::answer::{event_says, is_empty_answer};
use proptest::prelude::*;

/// What a document says as a whole answer (is it empty?) and as an event of a stream.
fn table() -> Vec<(String, bool, Says)> {
    let mut rows = Vec::new();
    let mut row = |document: &str, empty, event| rows.push((document.to_owned(), empty, event));
    let candidate = |fields: &str| {
        format!(
            r#"{{"candidates":[{{{fields}"index":0}}],"usageMetadata":{{"promptTokenCount":9,"thoughtsTokenCount":70}},"modelVersion":"m","responseId":"r"}}"#
        )
    };
    let parts = |parts: &str, finish: &str| {
        candidate(&format!(r#""content":{{"parts":[{parts}],"role":"model"}},{finish}"#))
    };
    let stop = r#""finishReason":"STOP","#;

    // Nothing, and no reason.
    row("{}", true, NothingYet);
    row(r#"{"candidates":[]}"#, true, NothingYet);
    row(r#"{"candidates":null,"modelStatus":{},"createTime":"t"}"#, true, NothingYet);
    row(r#"{"usageMetadata":{"promptTokenCount":9},"modelVersion":"m","responseId":"r"}"#, true, NothingYet);
    row(r#"{"promptFeedback":{}}"#, true, NothingYet);
    row(r#"{"promptFeedback":{"blockReason":"BLOCK_REASON_UNSPECIFIED"}}"#, true, NothingYet);
    row(&candidate(""), true, NothingYet);
    row(&candidate(r#""content":{},"#), true, NothingYet);
    row(&candidate(r#""finishReason":"FINISH_REASON_UNSPECIFIED","#), true, NothingYet);
    row(&candidate(stop), true, Nothing);
    row(&candidate(&format!(r#""content":{{}},{stop}"#)), true, Nothing);
    row(&candidate(&format!(r#""content":{{"role":"model"}},{stop}"#)), true, Nothing);
    row(&candidate(&format!(r#""content":{{"parts":null}},"safetyRatings":[],{stop}"#)), true, Nothing);
    row(&parts("", stop), true, Nothing);
    row(&parts("{}", stop), true, Nothing);
    row(&parts(r#"{"text":""}"#, stop), true, Nothing);
    row(&parts(r#"{"text":"","thoughtSignature":"c2ln"}"#, stop), true, Nothing);
    row(&parts(r#"{"text":""}"#, ""), true, NothingYet);
    row(&parts(r#"{"text":"hm","thought":true}"#, stop), true, Nothing);
    // The answer may follow the thoughts in the next event.
    row(&parts(r#"{"thought":true,"text":"hm"}"#, ""), true, Something);

    // A reason: valid, and not to be asked again.
    for reason in [
        "SAFETY",
        "OTHER",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "IMAGE_SAFETY",
        "MODEL_ARMOR",
        "JAILBREAK",
        "NEW",
    ] {
        row(&format!(r#"{{"promptFeedback":{{"blockReason":"{reason}"}}}}"#), false, Something);
        row(
            &format!(
                r#"{{"candidates":[],"promptFeedback":{{"safetyRatings":[],"blockReason":"{reason}"}}}}"#
            ),
            false,
            Something,
        );
    }
    for reason in [
        "MAX_TOKENS",
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "OTHER",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_OTHER",
        "NO_IMAGE",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "NEW_ONE",
    ] {
        let finish = format!(r#""finishReason":"{reason}","#);
        row(&candidate(&finish), false, Something);
        row(&candidate(&format!(r#""content":{{}},{finish}"#)), false, Something);
        row(&parts(r#"{"text":""}"#, &finish), false, Something);
        row(&parts(r#"{"text":"hm","thought":true}"#, &finish), false, Something);
    }

    // Something.
    for part in [
        r#"{"text":"hi"}"#,
        r#"{"text":" "}"#,
        r#"{"text":"hi","thought":false}"#,
        r#"{"functionCall":{"name":"f"}}"#,
        r#"{"inlineData":{"mimeType":"image/png","data":"AAAA"}}"#,
        r#"{"executableCode":{}}"#,
        r#"{"codeExecutionResult":{}}"#,
        r#"{"fileData":{}}"#,
        r#"{"brandNew":1}"#,
        r#"{"text":"hm","thought":true},{"text":"hi"}"#,
        r#"{"text":""},{"text":"hi"}"#,
    ] {
        row(&parts(part, stop), false, Something);
        row(&parts(part, ""), false, Something);
    }
    row(
        r#"{"candidates":[{"finishReason":"STOP"},{"content":{"parts":[{"text":"hi"}]}}]}"#,
        false,
        Something,
    );
    row(r#"{"candidates":[{"finishReason":"STOP"},{"index":1}]}"#, true, Nothing);

    // The OpenAI layer, whole and in chunks.
    let chat = |choice: &str| {
        format!(
            r#"{{"id":"c","object":"x","created":1,"model":"m","choices":[{{"index":0,{choice}}}],"usage":{{"total_tokens":9}}}}"#
        )
    };
    row(r#"{"object":"chat.completion","choices":[]}"#, true, NothingYet);
    for name in ["message", "delta"] {
        for (says, finish, empty, event) in [
            (r#""role":"assistant""#, "null", true, NothingYet),
            (r#""role":"assistant""#, r#""stop""#, true, Nothing),
            (r#""role":"assistant","content":null"#, r#""stop""#, true, Nothing),
            (r#""role":"assistant","content":"","refusal":null,"tool_calls":[]"#, r#""stop""#, true, Nothing),
            (
                r#""content":[],"extra_content":{"google":{"thought_signature":"c2ln"}}"#,
                r#""stop""#,
                true,
                Nothing,
            ),
            (r#""role":"assistant""#, r#""length""#, false, Something),
            (r#""role":"assistant""#, r#""content_filter""#, false, Something),
            (r#""role":"assistant","content":"hi""#, r#""stop""#, false, Something),
            (r#""role":"assistant","content":"hi""#, "null", false, Something),
            (r#""role":"assistant","content":[{"type":"text"}]"#, r#""stop""#, false, Something),
            (r#""content":"","tool_calls":[{"type":"function"}]"#, r#""stop""#, false, Something),
            (r#""content":null,"refusal":"no""#, r#""stop""#, false, Something),
            (r#""content":null,"audio":{}"#, r#""stop""#, false, Something),
        ] {
            row(&chat(&format!(r#""{name}":{{{says}}},"finish_reason":{finish}"#)), empty, event);
        }
    }

    // No answer of these operations, or none that can be read: not for this rule to judge.
    for document in [
        r#"{"error":{"code":503}}"#,
        r#"{"error":{"code":503},"choices":[]}"#,
        r#"{"totalTokens":7}"#,
        r#"{"embedding":{"values":[1]}}"#,
        r#"{"models":[]}"#,
        r#"{"candidates":{}}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"h"#,
        r#"{"candidates":["#,
        "{",
    ] {
        row(document, false, Something);
    }
    rows
}

#[test]
fn only_an_answer_without_a_word_and_without_a_reason_is_empty() {
    for (document, empty, _) in table() {
        assert_eq!(is_empty_answer(document.as_bytes()), empty, "{document}");
        let framed = document.replace('\n', " ");
        assert_eq!(is_empty_answer(format!("data: {framed}\r\n\r\n").as_bytes()), empty, "{document}");
        if let Ok(document) = serde_json::from_str::<serde_json::Value>(&document) {
            let pretty = serde_json::to_string_pretty(&document).unwrap();
            assert_eq!(is_empty_answer(format!("\n{pretty}\n").as_bytes()), empty, "{pretty}");
            assert_eq!(is_empty_answer(format!("[{pretty}\n]").as_bytes()), empty, "{pretty}");
        }
    }
}

#[test]
fn an_event_says_something_nothing_or_nothing_yet() {
    for (document, _, says) in table() {
        assert_eq!(event_says(format!("data: {document}\r\n\r\n").as_bytes()), says, "{document}");
        assert_eq!(event_says(format!("[{document}").as_bytes()), says, "{document}");
        assert_eq!(event_says(format!(",\r\n{document}\n").as_bytes()), says, "{document}");
        assert_eq!(event_says(format!(": comment\n\ndata: {document}\n\n").as_bytes()), says, "{document}");
    }
    assert_eq!(event_says(b"data: [DONE]\n\n"), Nothing);
    assert_eq!(event_says(b""), NothingYet);
    assert_eq!(event_says(b"[]"), NothingYet);
}

#[test]
fn a_streams_answer_is_empty_only_if_every_event_is() {
    let event = |document: &str| format!("data: {document}\r\n\r\n");
    let open = event(r#"{"candidates":[{"content":{"parts":[{"text":""}]}}]}"#);
    let stop = event(r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{}}"#);
    let thought = event(r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true}]}}]}"#);
    let word = event(r#"{"candidates":[{"content":{"parts":[{"text":"hi"}]}}]}"#);
    for (events, empty) in [
        (vec![&open, &stop], true),
        (vec![&thought, &stop], true),
        (vec![&open], true),
        (vec![&open, &word, &stop], false),
        (vec![&thought, &word], false),
        (vec![&stop, &word], false),
    ] {
        let stream: String = events.into_iter().map(String::as_str).collect();
        assert_eq!(is_empty_answer(stream.as_bytes()), empty, "{stream}");
    }
    assert!(is_empty_answer(b"data: {\"choices\":[]}\n\ndata: [DONE]\n\n"));
    for nothing in ["", "\r\n", "[]", "[\n]\n"] {
        assert!(is_empty_answer(nothing.as_bytes()), "{nothing:?}");
    }
}

#[test]
fn what_is_not_json_or_long_is_not_called_empty() {
    assert!(!is_empty_answer(b"<html>200</html>"));
    assert!(!is_empty_answer(b"\x1f\x8b\x08"));
    let padded = |bytes: usize| format!("{{}}{}", " ".repeat(bytes - 2));
    assert!(is_empty_answer(padded(64 * 1024).as_bytes()));
    assert!(!is_empty_answer(padded(64 * 1024 + 1).as_bytes()));
    assert_eq!(event_says(padded(64 * 1024 + 1).as_bytes()), Something);
}

proptest! {
    #[test]
    fn an_answer_with_a_word_is_never_empty(word in "\\PC{1,40}", thought: bool, finish in "STOP|MAX_TOKENS", pretty: bool) {
        let mut parts = vec![serde_json::json!({"text": word})];
        if thought {
            parts.insert(0, serde_json::json!({"text": "hm", "thought": true}));
        }
        let answer = serde_json::json!({"candidates": [{"content": {"parts": parts}, "finishReason": finish}]});
        let body = if pretty { serde_json::to_string_pretty(&answer) } else { serde_json::to_string(&answer) }.unwrap();
        prop_assert!(!is_empty_answer(body.as_bytes()));
        prop_assert_eq!(event_says(body.as_bytes()), Something);
    }

    #[test]
    fn any_bytes_are_borne(body: Vec<u8>) {
        is_empty_answer(&body);
        event_says(&body);
    }
}
