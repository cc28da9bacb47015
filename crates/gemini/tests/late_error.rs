//! Errors that come after a stream's first event, wherever the chunks are cut.

use gemini::classify::{LateErrors, NamedKeys, ends_in_part_of, redact_in_place};

const KEY: &str = "AIzaCanary-1_2";

fn error() -> String {
    format!(r#"{{"error":{{"code":403,"message":"Consumer 'api_key:{KEY}' has been suspended."}}}}"#)
}

/// The status found when the stream comes in chunks of `size`, and whether an error was mentioned.
fn found(first: &str, rest: &str, size: usize) -> (Option<u16>, bool) {
    let mut late = LateErrors::after(first.as_bytes());
    for chunk in rest.as_bytes().chunks(size) {
        late.see(chunk);
    }
    (late.take().map(|error| error.status), late.is_mentioned())
}

#[test]
fn a_late_error_is_found_wherever_the_chunks_are_cut() {
    let error = error();
    let pretty = "{\n  \"error\": {\n    \"code\": 403,\n    \"message\": \"m\"\n  }\n}\n";
    for (first, rest) in [
        ("data: {\"a\":1}\r\n\r\n", format!("data: {error}\r\n\r\n")),
        ("data: {\"a\":1}\n\n", format!("data: {{\"text\":\"{}\"}}\n\ndata: {error}\n\n", "x".repeat(200))),
        ("data: {\"a\":1}\n\n", format!(": comment\n\n{pretty}")),
        ("event: a\ndata: {}\n\n", format!("event: error\ndata: {error}\n\n")),
        ("[{\"a\":1}", format!("\n,\r\n{pretty}]")),
        ("[{\"a\":1}", format!(",{error}]")),
    ] {
        for size in 1..rest.len() {
            assert_eq!(found(first, &rest, size), (Some(403), true), "{size}: {rest}");
        }
    }
}

#[test]
fn what_only_speaks_of_errors_is_none() {
    for rest in [
        "data: {\"text\":\"an \\\"error\\\" here\"}\n\n",
        "data: {\"text\":\"errors and error\"}\n\ndata: {}\n\n",
        "data: {\"terror\":1}\n\n",
    ] {
        for size in 1..rest.len() {
            assert_eq!(found("data: {}\n\n", rest, size), (None, false), "{size}: {rest}");
        }
    }
    // A member of that name deeper down is looked through for secrets, and is no error.
    let call = "data: {\"functionCall\":{\"args\":[{\"error\":{\"code\":500}}]}}\n\n";
    for size in 1..call.len() {
        assert_eq!(found("data: {}\n\n", call, size), (None, true), "{size}");
    }
}

#[test]
fn an_error_that_a_model_speaks_of_in_an_array_is_none_however_long_and_deep() {
    let filler = "{},".repeat(400);
    let inner = r#"{"error":{"code":400,"message":"API key not valid."}}"#;
    let call = format!(
        r#",{{"functionCall":{{"args":{{"entries":[{filler}{inner},"}} {{ \" [",[{{}},{inner}]]}}}},"tail":[{{"error":1}}]}}"#
    );
    let after = format!("{call},\n{}", error());
    for first in ["[{\"a\":1}", "[{\"a\":[{},\"}\"]}\n", "[", "[{\"a\""] {
        // The beginning of an element may have passed already.
        let rest = if first.ends_with("\"a\"") { ":1}" } else { "" };
        let (call, after) = if first == "[" { (&call[1..], &after[1..]) } else { (&call[..], &after[..]) };
        for size in [1, 2, 3, 7, 64, 65, 100, 1_400, 100_000] {
            assert_eq!(found(first, &format!("{rest}{call}]"), size), (None, true), "{first} {size}");
            assert_eq!(found(first, &format!("{rest}{after}]"), size), (Some(403), true), "{first} {size}");
        }
    }
    // One that is longer than what is gathered is not read, and the next one is.
    let long = format!(r#",{{"a":"{}","error":{{"code":500}}}}"#, "x".repeat(300 * 1024));
    assert_eq!(found("[{}", &long, 8_192), (None, true));
    assert_eq!(found("[{}", &format!("{long},{}", error()), 8_192), (Some(403), true));
}

#[test]
fn a_secret_is_struck_out_in_place() {
    let mut body = format!("a {KEY} and api_key:other-1, {KEY}").into_bytes();
    let length = body.len();
    assert!(redact_in_place(&mut body, KEY, NamedKeys::All));
    assert_eq!(body.len(), length);
    let text = String::from_utf8(body).unwrap();
    assert!(!text.contains(KEY) && !text.contains("other"), "{text}");
    for (named, struck) in [
        (NamedKeys::All, "api_key:*** api_key:********"),
        (NamedKeys::Googles, "api_key:own api_key:********"),
        (NamedKeys::None, "api_key:own api_key:AIzaELSE"),
    ] {
        let mut body = b"api_key:own api_key:AIzaELSE".to_vec();
        assert_eq!(redact_in_place(&mut body, KEY, named), named != NamedKeys::None);
        assert_eq!(String::from_utf8(body).unwrap(), struck);
    }
    assert!(!redact_in_place(&mut b"nothing here".to_vec(), KEY, NamedKeys::All));
    let mut spelt = br#"a%2Fb%22c a\/b\"c"#.to_vec();
    assert!(redact_in_place(&mut spelt, "a/b\"c", NamedKeys::All));
    assert!(!String::from_utf8(spelt).unwrap().contains('b'));
}

#[test]
fn what_could_become_a_secret_is_waited_for() {
    for len in 1..KEY.len() {
        assert!(ends_in_part_of(format!("text {}", &KEY[..len]).as_bytes(), KEY), "{len}");
    }
    for part in ["'api_ke", "api_key:", "api_key:AIzaOther"] {
        assert!(ends_in_part_of(part.as_bytes(), KEY), "{part}");
    }
    for whole in ["", "}\n\n", "api_key:other'", &format!("{KEY}\"}}"), "AIzb"] {
        assert!(!ends_in_part_of(whole.as_bytes(), KEY), "{whole}");
    }
}
