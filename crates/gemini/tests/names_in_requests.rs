//! The names that a request's body mentions, by the table of what Google takes, and against a whole parse.

#[path = "reference/names.rs"]
mod reference;
#[path = "reference/trees.rs"]
mod trees;

use gemini::names::{Certainty, MAX_NAME_BYTES, Mention, in_request};
use proptest::prelude::*;
use trees::{trees, written};

/// Each name; what is only possible with a `?` behind it.
fn found(body: impl AsRef<[u8]>) -> Vec<String> {
    let mark = |mention: Mention| match mention.certainty {
        Certainty::Certain => mention.name.to_string(),
        Certainty::Possible => format!("{}?", mention.name),
    };
    in_request(body.as_ref()).into_iter().map(mark).collect()
}

#[test]
fn every_place_of_a_request_that_names_a_resource_is_found() {
    for (body, expected) in [
        // `fileData.fileUri`, wherever content stands.
        (
            r#"{"contents":[{"parts":[{"text":"x"},{"fileData":{"mimeType":"a/b","fileUri":"files/a"}}]}]}"#,
            "files/a",
        ),
        (r#"{"contents":{"parts":{"file_data":{"file_uri":"files/a"}}}}"#, "files/a"),
        (r#"{"systemInstruction":{"parts":[{"fileData":{"fileUri":"files/a"}}]}}"#, "files/a"),
        (
            r#"{"contents":[{"parts":[{"functionResponse":{"name":"f","response":{"fileUri":"files/no"},"parts":[{"fileData":{"fileUri":"files/a"}}]}}]}]}"#,
            "files/a",
        ),
        (
            r#"{"generateContentRequest":{"contents":[{"parts":[{"fileData":{"fileUri":"files/a"}}]}]}}"#,
            "files/a",
        ),
        (
            r#"{"model":"models/m","contents":[{"parts":[{"fileData":{"fileUri":"files/a"}}]}],"ttl":"300s"}"#,
            "files/a",
        ),
        (
            r#"{"batch":{"inputConfig":{"requests":{"requests":[{"request":{"contents":[{"parts":[{"fileData":{"fileUri":"files/a"}}]}]},"metadata":{"uri":"files/no"}}]}}}}"#,
            "files/a",
        ),
        (r#"{"cachedContent":"cachedContents/c"}"#, "cachedContents/c"),
        (r#"{"cached_content":"cachedContents/c"}"#, "cachedContents/c"),
        (
            r#"{"tools":[{"fileSearch":{"fileSearchStoreNames":["fileSearchStores/s","fileSearchStores/t"]}}]}"#,
            "fileSearchStores/s fileSearchStores/t",
        ),
        (
            r#"{"tools":[{"file_search":{"file_search_store_names":["fileSearchStores/s"]}}]}"#,
            "fileSearchStores/s",
        ),
        (r#"{"batch":{"displayName":"x","inputConfig":{"fileName":"files/in"}}}"#, "files/in"),
        (r#"{"batch":{"input_config":{"file_name":"files/in"}}}"#, "files/in"),
        (r#"{"fileName":"files/a","customMetadata":[{"key":"uri","uri":"files/no"}]}"#, "files/a"),
        (
            r#"{"instances":[{"prompt":"more","video":{"uri":"https://generativelanguage.googleapis.com/v1beta/files/v:download?alt=media"}}],"parameters":{"uri":"files/no"}}"#,
            "files/v",
        ),
        // Interactions.
        (r#"{"model":"m","previous_interaction_id":"i1","input":"files/no"}"#, "interactions/i1"),
        (r#"{"previousInteractionId":"interactions/i1"}"#, "interactions/i1"),
        (r#"{"input":[{"type":"document","uri":"files/a","mime_type":"application/pdf"}]}"#, "files/a"),
        (
            r#"{"tools":[{"type":"file_search","file_search_store_names":["fileSearchStores/s"]}]}"#,
            "fileSearchStores/s",
        ),
        (r#"{"environment":"env-1"}"#, "environments/env-1?"),
        (r#"{"environment":{"type":"remote","environment_id":"env-1"}}"#, "environments/env-1"),
        (
            r#"{"environment":{"environment_id":"e","env":{"TOKEN":{"credential":"c1"}},"network":{"allowlist":[{"domain":"x","credential":"credentials/c2"}]}}}"#,
            "environments/e credentials/c1 credentials/c2",
        ),
        (r#"{"agent":"my-agent"}"#, "agents/my-agent?"),
        (r#"{"agent":"agents/my-agent"}"#, "agents/my-agent?"),
        (r#"{"generation_config":{"speech_config":[{"voice":"voice_1"}]}}"#, "voices/voice_1?"),
        (r#"{"continuation_token":"a/b+c="}"#, "continuationTokens/a/b+c=?"),
        // Agents, environments, triggers.
        (r#"{"id":"x","base_agent":"y","base_environment":"e"}"#, "agents/y? environments/e?"),
        (r#"{"base_environment":{"type":"remote","environment_id":"e"}}"#, "environments/e"),
        (r#"{"from_environment":"e"}"#, "environments/e"),
        (
            r#"{"schedule":"* * * * *","environment_id":"e","interaction":{"agent":"a","previous_interaction_id":"i"}}"#,
            "environments/e agents/a? interactions/i",
        ),
        // The OpenAI layer.
        (
            r#"{"messages":[],"extra_body":{"google":{"cached_content":"cachedContents/c"}}}"#,
            "cachedContents/c",
        ),
        (
            r#"{"extra_body":{"extra_body":{"google":{"cached_content":"cachedContents/c"}}}}"#,
            "cachedContents/c",
        ),
        (r#"{"input_file_id":"files/in","endpoint":"/v1/chat/completions"}"#, "files/in"),
        (r#"{"extend_video_id":"vid"}"#, "videos/vid"),
        (r#"{"extend_video_id":"models/veo/operations/op"}"#, "models/veo/operations/op"),
        // Live.
        (r#"{"setup":{"model":"models/m","sessionResumption":{"handle":"h/1=="}}}"#, "liveHandles/h/1==?"),
        (r#"{"setup":{"session_resumption":{"handle":"h","transparent":true}}}"#, "liveHandles/h?"),
        // Once each, in order, as certain as the surest.
        (
            r#"{"a":[{"fileUri":"files/b"},{"fileUri":"files/a"},{"fileUri":"https://x.googleapis.com/v1/files/b"}]}"#,
            "files/b files/a",
        ),
        (r#"{"environment":"e","environment_id":"e"}"#, "environments/e"),
        // A function's result that is a list holds content.
        (r#"{"input":[{"type":"function_result","result":[{"type":"image","uri":"files/a"}]}]}"#, "files/a"),
    ] {
        assert_eq!(found(body).join(" "), expected, "{body}");
        let whole: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(found(serde_json::to_string_pretty(&whole).unwrap()).len(), found(body).len(), "{body}");
    }
}

#[test]
fn a_file_is_told_by_every_form_of_its_uri() {
    for (uri, expected) in [
        ("files/abc-1", "files/abc-1"),
        ("https://generativelanguage.googleapis.com/v1beta/files/abc", "files/abc"),
        ("https://generativelanguage.googleapis.com/v1/files/abc", "files/abc"),
        ("HTTPS://other.googleapis.com/v1alpha/files/abc?x=y", "files/abc"),
        ("http://127.0.0.1:8000/v1beta/files/abc", "files/abc"),
        ("https://gateway.example/prefix/v1beta/files/abc", "files/abc"),
        ("https://gateway.example//v1beta//files/abc", "files/abc"),
        ("https://gateway.example/download/v1beta/files/abc:download?alt=media#x", "files/abc"),
        ("/v1beta/files/abc:download?alt=media", "files/abc"),
        ("/prefix/v1beta/files/abc", "files/abc"),
        ("files/abc:download", "files/abc"),
        ("https://generativelanguage.googleapis.com/v1beta/files/a%62c", "files/abc"),
        ("https://generativelanguage.googleapis.com/v1beta/files%2Fabc", "files/abc"),
        ("https://generativelanguage.googleapis.com/v1beta/%66iles/abc%3Adownload", "files/abc"),
        // Not bound.
        ("https://www.youtube.com/watch?v=files/abc", ""),
        ("https://youtu.be/abc", ""),
        ("https://example.com/files/abc", ""),
        ("https://example.com/a.pdf", ""),
        ("https://example.com/v1beta/files/", ""),
        ("https://example.com/v1beta/files/abc/def", ""),
        ("https://example.com/?u=/v1beta/files/abc", ""),
        ("https://example.com/version/files/abc", ""),
        ("gs://v1/v1beta/files/abc", ""),
        ("ftp://x/v1beta/files/abc", ""),
        ("data:text/plain,/v1beta/files/abc", ""),
        ("files/", ""),
        ("files", ""),
        ("", ""),
        ("files/a/b", ""),
        ("files/a b", ""),
        ("files/%ff", ""),
        ("files/:download", ""),
        ("cachedContents/abc", ""),
        ("abc", ""),
    ] {
        let body = serde_json::json!({"contents": [{"parts": [{"fileData": {"fileUri": uri}}]}]}).to_string();
        assert_eq!(found(&body).join(" "), expected, "{uri}");
        assert_eq!(reference::in_request(body.as_bytes()).unwrap().len(), usize::from(!expected.is_empty()));
    }
}

#[test]
fn the_fields_of_a_form_are_read_and_its_files_are_not() {
    let form = |parts: &[(&str, &str)]| {
        let part = |(head, value): &(&str, &str)| format!("--b0undary\r\n{head}\r\n\r\n{value}\r\n");
        parts.iter().map(part).collect::<Vec<_>>().concat() + "--b0undary--\r\n"
    };
    let body = form(&[
        ("Content-Disposition: form-data; name=\"prompt\"", "files/no\r\n\r\nextend_video_id"),
        ("content-disposition: form-data; name=\"extend_video_id\"\r\nContent-Type: text/plain", "vid"),
        ("Content-Disposition: form-data; name=input_file_id", "files/a"),
        (
            "Content-Disposition: form-data; name=\"uri\"; filename=\"x\"\r\nContent-Type: video/mp4",
            "files/no",
        ),
        ("X: name=\"uri\"", "files/no"),
    ]);
    assert_eq!(found(&body), ["videos/vid", "files/a"]);
    for cut in 0..body.len() {
        assert!(found(&body[..cut]).len() <= 2, "cut at {cut}");
    }
    for body in [
        "--",
        "--\r\n",
        "--\r\n--\r\n",
        "--b\r\n\r\n\r\n--b",
        "--b\r\nContent-Disposition: name=uri\r\n\r\n--b",
    ] {
        assert!(found(body).is_empty(), "{body}");
    }
}

#[test]
fn keys_and_values_may_be_escaped() {
    for body in [
        r#"{"\u0066ileUri":"files/a"}"#,
        r#"{"fileUri":"\u0066iles\/a"}"#,
        r#"{"file\u005furi":"https:\/\/generativelanguage.googleapis.com\/v1beta\/files\/\u0061"}"#,
    ] {
        assert_eq!(found(body), ["files/a"], "{body}");
    }
    assert!(found(r#"{"fileUri\"":"files/a","\\fileUri":"files/b","fileUri":"\u00zz"}"#).is_empty());
}

#[test]
fn a_text_that_reads_like_a_name_is_none() {
    for body in [
        r#"{"contents":[{"parts":[{"text":"files/abc"},{"text":"\"fileUri\":\"files/abc\""}]}]}"#,
        r#"["fileUri","files/abc"]"#,
        r#"{"name":"files/abc","text":["fileUri","files/abc"],"fileUri":null,"uri":7}"#,
        r#"{"handle":"h","x":{"sessionResumption":"h"},"sessionResumption":{"x":{"handle":"h"}}}"#,
        r#""fileUri":"files/abc""#,
        r#"{"environment":"","agent":"two words","voice":"a/b","previous_interaction_id":"agents/x"}"#,
    ] {
        assert!(found(body).is_empty(), "{body}");
    }
}

#[test]
fn what_is_the_callers_own_is_not_looked_into() {
    let own = r#"{"fileUri":"files/no","deep":[{"previous_interaction_id":"no"}]}"#;
    for key in [
        "args",
        "arguments",
        "response",
        "result",
        "parameters",
        "parametersJsonSchema",
        "parameters_json_schema",
        "responseSchema",
        "response_schema",
        "responseJsonSchema",
        "response_json_schema",
        "schema",
        "json_schema",
        "input_schema",
        "metadata",
        "labels",
        "headers",
    ] {
        let body =
            format!(r#"{{"a":{{"{key}":{own},"fileUri":"files/a"}},"cachedContent":"cachedContents/c"}}"#);
        assert_eq!(found(&body), ["files/a", "cachedContents/c"], "{key}");
        if key != "result" {
            assert_eq!(found(format!(r#"{{"{key}":[{own}],"uri":"files/a"}}"#)), ["files/a"], "{key}");
        }
    }
}

#[test]
fn a_body_without_a_name_allocates_no_list() {
    for body in
        ["", "{}", "--boundary\r\n{\"fileUri\":\"files/a\"}", r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#]
    {
        assert_eq!(in_request(body.as_bytes()).capacity(), 0, "{body}");
    }
}

#[test]
fn depth_is_no_trouble() {
    for depth in [10_000, 200_000] {
        let arrays = format!("{}{{\"fileUri\":\"files/a\"}}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(found(arrays), ["files/a"]);
        let objects = format!("{}\"files/a\"{}", r#"{"uri":"#.repeat(depth), "}".repeat(depth));
        assert_eq!(found(objects), ["files/a"]);
        let own = format!(r#"{{"args":{}{},"uri":"files/a"}}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(found(own), ["files/a"]);
        let unclosed = format!("{}{{\"fileUri\":\"files/a\"", "{\"x\":[".repeat(depth));
        assert_eq!(found(unclosed), ["files/a"]);
    }
}

#[test]
fn of_a_broken_body_what_can_be_made_out_is_found_or_nothing() {
    for (body, expected) in [
        (&br#"{"fileUri":"files/a"#[..], ""),
        (br#"{"fileUri":"files/a""#, "files/a"),
        (br#"{"fileUri":"files/a"}}}]],"fileUri":"files/b"}"#, "files/a"),
        (b"{\"fileUri\":\"files/\xff\",\"\xfe\":1,\"uri\":\"files/a\"}", "files/a"),
        (br#"{{"fileUri":"files/b"}"#, ""),
        (br"{\", ""),
        (b"{\"\\", ""),
    ] {
        assert_eq!(found(body).join(" "), expected, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn a_string_too_long_for_a_name_is_none() {
    let body = |len| format!(r#"{{"previous_interaction_id":"{}","uri":"files/a"}}"#, "x".repeat(len));
    assert_eq!(found(body(MAX_NAME_BYTES)).len(), 2);
    assert_eq!(found(body(MAX_NAME_BYTES + 1)), ["files/a"]);
}

const KEYS: &[&str] = &[
    "fileUri",
    "file_uri",
    "uri",
    "fileName",
    "input_file_id",
    "cachedContent",
    "cached_content",
    "fileSearchStoreNames",
    "previous_interaction_id",
    "environment",
    "environment_id",
    "agent",
    "credential",
    "voice",
    "extend_video_id",
    "continuation_token",
    "sessionResumption",
    "session_resumption",
    "handle",
    "result",
    "args",
    "response",
    "parameters",
    "metadata",
    "schema",
    "contents",
    "parts",
    "x",
    "",
    "a\"b",
    "file\\Uri",
    "name",
];

const TEXTS: &[&str] = &[
    "files/a",
    "files/b",
    "https://generativelanguage.googleapis.com/v1beta/files/a",
    "http://h/p/v1/files/a:download?alt=media",
    "/v1beta/files/%61",
    "https://youtu.be/x",
    "gs://b/v1/files/a",
    "cachedContents/c",
    "fileSearchStores/s",
    "interactions/i",
    "bare",
    "agents/a",
    "environments/bare",
    "models/veo/operations/op",
    "videos/v",
    "h/a=",
    "",
    "a b",
    "\"fileUri\":\"files/c\"",
    "\\",
    "\\\"",
    "{[,:]}",
    "ÄŒ\u{1F600}",
    "files/\u{1F600}",
    "%ff/",
    "http://",
    "//",
    "/",
];

/// As the reference has it.
fn pairs(body: &[u8]) -> Vec<(String, bool)> {
    let pair = |mention: Mention| (mention.name.to_string(), mention.certainty == Certainty::Certain);
    in_request(body).into_iter().map(pair).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn found_is_what_a_whole_parse_finds(tree in trees(KEYS, TEXTS), noise in proptest::collection::vec(0..12_u8, 1..64)) {
        let mut body = String::new();
        written(&tree, &mut noise.iter().copied().cycle(), &mut body);
        prop_assert_eq!(pairs(body.as_bytes()), reference::in_request(body.as_bytes()).unwrap(), "{}", body);
    }

    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), tree in trees(KEYS, TEXTS), cut in 0..400_usize) {
        in_request(&bytes);
        let mut body = String::new();
        written(&tree, &mut std::iter::empty(), &mut body);
        let mut body = body.into_bytes();
        let at = cut.min(body.len());
        in_request(&body[..at]);
        body.splice(at..at, bytes);
        in_request(&body);
        body.splice(..0, *b"--b\r\n");
        in_request(&body);
    }
}
