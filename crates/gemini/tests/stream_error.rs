//! Errors inside a stream whose head said 200.

use gemini::classify::stream_error;

fn status(chunk: &str) -> Option<u16> {
    stream_error(chunk.as_bytes()).map(|error| error.status)
}

const ERROR: &str = r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}"#;

#[test]
fn an_error_is_found_in_every_form_that_google_sends() {
    let pretty = "{\n  \"error\": {\n    \"code\": 503,\n    \"message\": \"m\",\n    \"status\": \"UNAVAILABLE\"\n  }\n}\n";
    for (chunk, expected) in [
        (format!("data: {ERROR}\r\n\r\n"), 429),
        (format!("data:{ERROR}\n\n"), 429),
        (format!("data: [{ERROR}]\n\n"), 429),
        (format!(": comment\n\ndata: {ERROR}"), 429),
        (pretty.to_owned(), 503),
        (format!("\n{pretty}"), 503),
        (format!("data: {}\r\n\r\n", pretty.trim_end().replace('\n', "\ndata: ")), 503),
        (format!("[{ERROR}]"), 429),
        (format!("[{pretty}\n]\n"), 503),
        (format!(",\r\n{pretty}]"), 503),
        (format!("data: {{\"candidates\":[]}}\r\n\r\n{pretty}"), 503),
        (format!("data: {{\"candidates\":[]}}\r\n\r\ndata: {ERROR}\r\n\r\n"), 429),
        (format!("[{{\"candidates\":[]}}\n,\n{ERROR}\n]"), 429),
        ("event: error\ndata: not json\n\n".to_owned(), 500),
        ("event:error\rdata:{\"error\":{\"code\":429}}\r\r".to_owned(), 429),
        ("event: error\r\ndata: {\"code\":429,\"message\":\"m\"}\r\n\r\n".to_owned(), 429),
        ("\u{feff}data: {\"error\":{\"code\":503}}\n\n".to_owned(), 503),
    ] {
        assert_eq!(status(&chunk), Some(expected), "{chunk}");
    }
}

#[test]
fn the_status_is_read_from_a_number_a_word_or_assumed() {
    for (error, expected) in [
        (r#"{"code":404}"#, 404),
        (r#"{"code":"404"}"#, 404),
        (r#"{"code":8,"status":"RESOURCE_EXHAUSTED"}"#, 429),
        (r#"{"status":"UNAVAILABLE"}"#, 503),
        (r#"{"status":"PERMISSION_DENIED"}"#, 403),
        (r#"{"status":"DEADLINE_EXCEEDED"}"#, 504),
        (r#"{"status":"INVALID_ARGUMENT"}"#, 400),
        (r#"{"status":"FAILED_PRECONDITION"}"#, 400),
        (r#"{"status":"UNAUTHENTICATED"}"#, 401),
        (r#"{"status":"CANCELLED"}"#, 499),
        (r#"{"status":"INTERNAL"}"#, 500),
        (r#"{"code":"rate_limit_exceeded"}"#, 429),
        (r#"{"code":200}"#, 500),
        (r#"{"code":"brand_new"}"#, 500),
        ("{}", 500),
        (r#""words""#, 500),
    ] {
        assert_eq!(status(&format!("data: {{\"error\":{error}}}\n\n")), Some(expected), "{error}");
    }
}

#[test]
fn the_body_handed_on_is_the_error_document_alone() {
    for chunk in [
        format!("data: {ERROR}\r\n\r\n"),
        format!("[{ERROR}]"),
        format!("{ERROR}\ntrailing"),
        format!("data: {{}}\r\n\r\ndata: {ERROR}\r\n\r\ndata: {{}}\r\n\r\n"),
    ] {
        assert_eq!(stream_error(chunk.as_bytes()).unwrap().body, ERROR.as_bytes(), "{chunk}");
    }
}

#[test]
fn what_only_mentions_an_error_is_none() {
    for chunk in [
        "",
        "\r\n",
        "data: [DONE]\n\n",
        r#"data: {"candidates":[{"content":{"parts":[{"text":"{\"error\":{\"code\":500}}"}]}}]}"#,
        r#"data: {"candidates":[{"content":{"parts":[{"functionCall":{"args":{"error":{"code":500}}}}]}}]}"#,
        r#"data: {"candidates":[{"content":{"parts":[{"text":"error"}]}}]}"#,
        r#"data: {"id":"r","error":null}"#,
        r#"data: {"id":"r","error":false}"#,
        "data: [[\"error\",{}]]",
        r#"[{"candidates":[{"error":{}}]}"#,
        r#"{"error":{"code":5"#,
        "event: error_count\ndata: {\"x\":\"error\"}\n\n",
        "event: step.delta\ndata: {\"event_type\":\"step.delta\",\"delta\":{\"text\":\"event: error\"}}\n\n",
        "[",
        "],[,",
    ] {
        assert_eq!(status(chunk), None, "{chunk}");
    }
}
