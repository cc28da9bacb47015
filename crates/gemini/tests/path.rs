//! Request targets: every path Google and OpenAI clients are known to send, every one that is refused, and what holds
//! of any input at all.

use gemini::operation::Ownership::{self, Bound, Creates, Free, Unknown};
use gemini::operation::{ModelName, Operation, ResourceName, Streaming, Verb};
use gemini::path::{
    CredentialForm, Dialect, ErrorForm, MAX_TARGET_BYTES, PathError, Surface, dialect_of, error_form_of,
    parse,
};
use proptest::prelude::*;

const FORMS: [CredentialForm; 4] =
    [CredentialForm::GoogHeader, CredentialForm::QueryKey, CredentialForm::Bearer, CredentialForm::None];

fn operation(method: &str, path: &str, query: Option<&str>) -> Operation {
    match parse(method, path, query, CredentialForm::GoogHeader) {
        Ok(target) => target.operation,
        Err(error) => panic!("{path}: {error}"),
    }
}

#[test]
fn every_native_path_is_forwarded_as_it_is_with_its_version() {
    for path in [
        "models",
        "models/gemini-x",
        "models/gemini-x:generateContent",
        "models/gemini-x:countTokens",
        "models/gemini-x:batchGenerateContent",
        "models/gemini-x/operations/op1",
        "dynamic/id:streamGenerateContent",
        "files",
        "files/abc",
        "files/abc:download",
        "files:register",
        "generatedFiles/a/operations/b",
        "cachedContents/c",
        "batches/b:cancel",
        "batches/b:updateGenerateContentBatch",
        "fileSearchStores/s/documents/d",
        "fileSearchStores/s/upload/operations/y",
        "fileSearchStores/s:importFile",
        "tunedModels/t:generateContent",
        "corpora/c/permissions",
        "interactions/i/cancel",
        "agents",
        "triggers/t/executions",
        "webhooks/w:rotateSigningSecret",
        "credentials",
        "voices/v",
        "environments/e/files/dir/a:b.txt",
        "environments:create",
        "decisions",
        "auth_tokens",
        "resources-of-next-month/x:newVerb",
    ] {
        for version in ["v1", "v1beta", "v1alpha", "v2", "v3beta1", "v1p1beta1"] {
            let path = format!("/{version}/{path}");
            let target = parse("POST", &path, Some("a=b"), CredentialForm::GoogHeader).unwrap();
            assert_eq!(target.path, path);
            assert_eq!(target.query.as_deref(), Some("a=b"));
            assert_eq!((target.surface, target.dialect), (Surface::Native, Dialect::Gemini), "{path}");
            assert_eq!(target.operation.version.as_str(), version);
        }
    }
}

#[test]
fn the_surfaces_outside_a_version_keep_their_paths() {
    for (path, surface, name) in [
        ("/upload/v1beta/files", Surface::Upload, "files"),
        ("/upload/v1/files", Surface::Upload, "files"),
        (
            "/upload/v1beta/fileSearchStores/s:uploadToFileSearchStore",
            Surface::Upload,
            "uploadToFileSearchStore",
        ),
        ("/upload/v1beta/environments/e/files/p", Surface::Upload, "environments"),
        ("/download/v1beta/files/abc:download", Surface::Download, "download"),
        (
            "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
            Surface::Live,
            "BidiGenerateContent",
        ),
        (
            "/ws/google.ai.generativelanguage.v1.GenerativeService.BidiGenerateMusic",
            Surface::Live,
            "BidiGenerateMusic",
        ),
        (
            "/ws/google.ai.generativelanguage.v1alpha.GenerativeService/BidiGenerateContentConstrained",
            Surface::Live,
            "BidiGenerateContentConstrained",
        ),
        ("/$discovery/rest", Surface::Native, "$discovery"),
    ] {
        let target = parse("POST", path, None, CredentialForm::GoogHeader).unwrap();
        assert_eq!((target.path.as_str(), target.surface), (path, surface));
        assert_eq!(target.operation.name(), name, "{path}");
    }
    let live = "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContent";
    assert_eq!(operation("GET", live, None).version.as_str(), "v1alpha");
    assert_eq!(operation("GET", live, None).streaming, Streaming::Unknown);
}

#[test]
fn the_openai_layer_is_reached_by_all_its_names() {
    for (path, upstream) in [
        ("/v1beta/openai/chat/completions", "/v1beta/openai/chat/completions"),
        ("/v1/openai/chat/completions", "/v1/openai/chat/completions"),
        ("/v1alpha/openai/models", "/v1alpha/openai/models"),
        ("/v1beta/openai", "/v1beta/openai"),
        ("/v1beta/openai/", "/v1beta/openai/"),
        ("/v1beta/openai//chat/completions", "/v1beta/openai/chat/completions"),
        ("/openai/v1/chat/completions", "/v1beta/openai/chat/completions"),
        ("/openai/v1alpha/chat/completions", "/v1alpha/openai/chat/completions"),
        ("/openai/chat/completions", "/v1beta/openai/chat/completions"),
        ("/openai/", "/v1beta/openai/"),
        ("/v1/chat/completions", "/v1beta/openai/chat/completions"),
        ("/v1/completions", "/v1beta/openai/completions"),
        ("/v1/responses", "/v1beta/openai/responses"),
        ("/v1/responses/r1", "/v1beta/openai/responses/r1"),
        ("/v1/embeddings", "/v1beta/openai/embeddings"),
        ("/v1/images/generations", "/v1beta/openai/images/generations"),
        ("/v1/images/edits", "/v1beta/openai/images/edits"),
        ("/v1/audio/speech", "/v1beta/openai/audio/speech"),
        ("/v1/audio/transcriptions", "/v1beta/openai/audio/transcriptions"),
        ("/v1/videos", "/v1beta/openai/videos"),
        ("/v1/videos/v1", "/v1beta/openai/videos/v1"),
        ("/v1/moderations", "/v1beta/openai/moderations"),
    ] {
        for form in FORMS {
            let target = parse("POST", path, None, form).unwrap();
            assert_eq!(target.path, upstream, "{path}");
            assert_eq!((target.surface, target.dialect), (Surface::OpenAi, Dialect::OpenAi), "{path}");
        }
    }
}

#[test]
fn a_path_that_both_dialects_know_goes_by_the_callers_credential() {
    for path in [
        "/models",
        "/models/gemini-x",
        "/models/models/gemini-x",
        "/files",
        "/files/f/content",
        "/batches",
        "/batches/b/cancel",
    ] {
        for form in FORMS {
            let target = parse("GET", &format!("/v1{path}"), None, form).unwrap();
            let openai = form == CredentialForm::Bearer;
            let (prefix, dialect) =
                if openai { ("/v1beta/openai", Dialect::OpenAi) } else { ("/v1", Dialect::Gemini) };
            assert_eq!(target.path, format!("{prefix}{path}"), "{form:?}");
            assert_eq!(target.dialect, dialect);
            assert_eq!(dialect_of(&format!("/v1{path}"), form), dialect);
        }
    }
}

#[test]
fn an_openai_sdk_may_ask_after_what_was_listed_by_the_id_it_was_listed_with() {
    for (path, upstream) in [
        ("/v1/batches/batches%2Fb/cancel", "/v1beta/openai/batches/b/cancel"),
        ("/v1/files/files%2Ff", "/v1beta/openai/files/f"),
        ("/v1/models/models%2Fgemini-x", "/v1beta/openai/models/gemini-x"),
        ("/v1beta/openai/models/models%2fgemini-x", "/v1beta/openai/models/gemini-x"),
        ("/openai/v1/models/models%2Fa%20b", "/v1beta/openai/models/a%20b"),
    ] {
        let target = parse("GET", path, None, CredentialForm::Bearer).unwrap();
        assert_eq!(target.path, upstream);
        assert_eq!(target.surface, Surface::OpenAi);
    }
    // Nothing else gets by with it.
    for (id, error) in [
        ("models%2F%2F", PathError::EncodedSlash),
        ("models%2Fmodels%2Fx", PathError::EncodedSlash),
        ("models%2F..", PathError::DotSegment),
        ("models%2F%2e%2e/x", PathError::DotSegment),
        ("models%2Fa%5Cb", PathError::Backslash),
        ("models%2", PathError::MalformedEscape),
        ("tunedModels%2Fx", PathError::EncodedSlash),
    ] {
        let path = format!("/v1/models/{id}");
        assert_eq!(parse("GET", &path, None, CredentialForm::Bearer).err(), Some(error), "{path}");
    }
}

#[test]
fn a_path_of_native_form_is_native_for_a_bearer_caller_too() {
    for path in [
        "/v1/models/x:generateContent",
        "/v1/models/x%3AgenerateContent",
        "/v1/models/x/operations/o",
        "/v1/files/f:download",
        "/v1/batches/b:cancel",
        "/v1beta/models",
        "/v1beta/files/f",
        "/v1/interactions",
    ] {
        let target = parse("POST", path, None, CredentialForm::Bearer).unwrap();
        assert_eq!((target.path.as_str(), target.surface), (path, Surface::Native));
    }
}

#[test]
fn doubled_slashes_and_versions_before_other_roots_are_mended() {
    for (path, upstream) in [
        (
            "//ws/google.ai.generativelanguage.v1.GenerativeService.BidiGenerateContent",
            "/ws/google.ai.generativelanguage.v1.GenerativeService.BidiGenerateContent",
        ),
        ("/v1beta//models", "/v1beta/models"),
        ("///v1beta///models///x:generateContent", "/v1beta/models/x:generateContent"),
        ("//evil.example/v1beta/models", ""),
        ("/v1beta/upload/v1beta/files", "/upload/v1beta/files"),
        ("/v1beta//upload/v1/files", "/upload/v1/files"),
        ("/v1beta/download/v1beta/files/f:download", "/download/v1beta/files/f:download"),
        ("/v1beta/upload", "/v1beta/upload"),
        ("/v1beta/models/", "/v1beta/models/"),
        ("/v1", "/v1"),
    ] {
        let parsed = parse("POST", path, None, CredentialForm::GoogHeader).map(|target| target.path);
        assert_eq!(parsed.unwrap_or_default(), upstream, "{path}");
    }
}

#[test]
fn a_base_url_that_says_what_the_library_adds_is_passed_over() {
    let generate = "/v1beta/models/x:generateContent";
    let chat = "/v1beta/openai/chat/completions";
    for (path, upstream) in [
        // A version after a version: the library's own stands last.
        ("/v1beta/v1beta/models/x:generateContent", generate),
        ("/v1/v1beta/models/x:generateContent", generate),
        ("/v1beta/v1/models/x:generateContent", "/v1/models/x:generateContent"),
        ("/v1alpha/v1alpha/v1alpha/files/f", "/v1alpha/files/f"),
        ("/v1beta/v1beta/upload/v1beta/files", "/upload/v1beta/files"),
        ("/v1beta/$discovery/rest", "/$discovery/rest"),
        ("/upload/v1beta/v1beta/files", "/upload/v1beta/files"),
        ("/upload/v1/v1beta/files", "/upload/v1beta/files"),
        ("/upload/upload/v1beta/files", "/upload/v1beta/files"),
        ("/upload/v1beta/upload/v1beta/files", "/upload/v1beta/files"),
        ("/download/v1beta/v1beta/files/f:download", "/download/v1beta/files/f:download"),
        ("/v1beta/models/v1beta/models/x:generateContent", generate),
        // The layer without its name, or with it twice, or with a version more.
        ("/v1beta/chat/completions", chat),
        ("/v1alpha/embeddings", "/v1alpha/openai/embeddings"),
        ("/v1beta/v1/chat/completions", chat),
        ("/v1/v1/chat/completions", chat),
        ("/v1beta/openai/v1/chat/completions", chat),
        ("/v1/openai/v1/chat/completions", chat),
        ("/openai/v1/v1/chat/completions", chat),
        ("/openai/v1beta/chat/completions", chat),
        ("/v1beta/openai/v1beta/openai/chat/completions", chat),
        ("/v1beta/openai/openai/chat/completions", chat),
        ("/openai/openai/chat/completions", chat),
        ("/openai/v1/openai/v1/images/generations", "/v1beta/openai/images/generations"),
        // Down to the endpoint.
        ("/v1/chat/completions/chat/completions", chat),
        ("/v1beta/openai/chat/completions/v1/chat/completions", chat),
        ("/openai/chat/completions/models", "/v1beta/openai/models"),
        // Down to the models.
        ("/v1beta/openai/models/v1/chat/completions", chat),
        ("/openai/models/v1beta/models/x:generateContent", generate),
        ("/v1/chat/completions/v2/models/v1/models/x:generateContent", "/v2/models/x:generateContent"),
        // A native library on the layer's base URL.
        ("/v1beta/openai/v1beta/models/x:generateContent", generate),
        ("/openai/models/x:generateContent", generate),
        ("/v1beta/openai/models/x:streamGenerateContent", "/v1beta/models/x:streamGenerateContent"),
    ] {
        for form in FORMS {
            let target = parse("POST", path, None, form).unwrap();
            assert_eq!(target.path, upstream, "{path}");
            // What it is folded onto is what it would have been without the fold.
            let straight = parse("POST", upstream, None, form).unwrap();
            assert_eq!(target, straight, "{path}");
            assert_eq!(error_form_of(path, form), error_form_of(upstream, form), "{path}");
        }
    }
}

#[test]
fn what_only_looks_like_a_doubled_base_url_stays_as_it_is() {
    for path in [
        "/v1beta/models/v1",
        "/v1beta/models/v1:generateContent",
        "/v1beta/environments/e/files/v1/v1beta/openai/x",
        "/v1beta/fileSearchStores/v1/documents/v1",
        "/v1beta/files/v1beta",
        "/v1beta/openai/chat/completions/chatcmpl-1",
        "/v1beta/openai/chat/completions/chatcmpl-1/messages",
        "/v1beta/openai/chat/completionsv1/models",
        "/v1beta/openai/models/ft:gemini:own",
        "/v1beta/openai/models/v1",
        "/upload/v1beta/environments/e/files/upload/v1",
    ] {
        let target = parse("GET", path, None, CredentialForm::GoogHeader).unwrap();
        assert_eq!(target.path, path);
    }
}

#[test]
fn errors_have_the_form_of_what_was_asked() {
    use CredentialForm::{Bearer, GoogHeader, None as Nobody};
    for (path, form, expected) in [
        ("/v1beta/models/x:generateContent", Bearer, ErrorForm::Status),
        ("/v1beta/interactions", GoogHeader, ErrorForm::Worded),
        ("/v1/interactions/i/cancel", GoogHeader, ErrorForm::Worded),
        ("/v1beta/v1beta/agents/a", GoogHeader, ErrorForm::Worded),
        ("/v1beta/environments:create", Nobody, ErrorForm::Worded),
        ("/v1beta/files/interactions", GoogHeader, ErrorForm::Status),
        ("/v1/chat/completions", Nobody, ErrorForm::OpenAi),
        ("/v1beta/openai/v1/embeddings", GoogHeader, ErrorForm::OpenAi),
        ("/nowhere", Bearer, ErrorForm::OpenAi),
        ("/nowhere", Nobody, ErrorForm::Status),
    ] {
        assert_eq!(error_form_of(path, form), expected, "{path}");
    }
}

#[test]
fn a_model_that_nobody_can_have_is_forwarded_without_one() {
    let long = "m".repeat(257);
    for name in [&*long, "a%22b", "a'b", "%C3%BC"] {
        let path = format!("/v1beta/models/{name}:generateContent");
        let target = parse("POST", &path, None, CredentialForm::GoogHeader).unwrap();
        assert_eq!((target.path, target.operation.model), (path, None));
    }
    let longest = "m".repeat(256);
    assert!(operation("POST", &format!("/v1beta/models/{longest}:generateContent"), None).model.is_some());
}

#[test]
fn percent_encoding_goes_upstream_as_it_came() {
    let path = "/v1beta/models/tuned%20one%3AgenerateContent";
    let target = parse("POST", path, None, CredentialForm::GoogHeader).unwrap();
    assert_eq!(target.path, path);
    assert_eq!(target.operation.verb.unwrap().as_str(), "generateContent");
    assert_eq!(target.operation.model.unwrap().as_str(), "tuned one");
    let unreadable = operation("GET", "/v1beta/files/%ff", None);
    assert_eq!(unreadable.resource.unwrap().as_str(), "files/%ff");
}

#[test]
fn every_credential_leaves_the_query_and_nothing_else_does() {
    let query = |raw| parse("POST", "/v1beta/models", Some(raw), CredentialForm::QueryKey).unwrap().query;
    assert_eq!(query("key=secret"), None);
    assert_eq!(query(""), None);
    assert_eq!(query("alt=sse&key=secret&%zz&k%65y=other&x=%2F").as_deref(), Some("alt=sse&%zz&x=%2F"));
}

#[test]
fn what_could_be_read_as_another_path_is_refused() {
    use PathError::{
        Backslash, ControlCharacter, DotSegment, EncodedSlash, MalformedEscape, NotAbsolute, NotServed,
        UnencodedByte,
    };
    for (path, error) in [
        ("/v1beta/../v1/models", DotSegment),
        ("/v1beta/./models", DotSegment),
        ("/v1beta/models/..", DotSegment),
        ("/v1beta/%2e%2e/x", DotSegment),
        ("/v1beta/.%2E/x", DotSegment),
        ("/v1beta/%2e./x", DotSegment),
        ("/v1beta/%2E/x", DotSegment),
        ("/..", DotSegment),
        ("/v1beta/models/a%2fb", EncodedSlash),
        ("/v1beta/models/a%2Fb", EncodedSlash),
        ("/v1beta%2fmodels", EncodedSlash),
        ("/v1beta/models/a%5cb", Backslash),
        ("/v1beta/models/a%5Cb", Backslash),
        ("/v1beta/models\\a", Backslash),
        ("/v1beta/models/a%00", ControlCharacter),
        ("/v1beta/models/a%0d%0ahost:evil", ControlCharacter),
        ("/v1beta/models/a%7F", ControlCharacter),
        ("/v1beta/models/a\r\nhost: evil", ControlCharacter),
        ("/v1beta/models/a\u{7f}", ControlCharacter),
        ("/v1beta/models/a%", MalformedEscape),
        ("/v1beta/models/a%2", MalformedEscape),
        ("/v1beta/models/a%zz", MalformedEscape),
        ("/v1beta/models/\u{e9}", UnencodedByte(0xc3)),
        ("/v1beta/models/a b", UnencodedByte(b' ')),
        ("/v1beta/models#a", UnencodedByte(b'#')),
        ("/v1beta/models?a", UnencodedByte(b'?')),
        ("", NotAbsolute),
        ("*", NotAbsolute),
        ("v1beta/models", NotAbsolute),
        ("http://evil.example/v1beta/models", NotAbsolute),
        ("/", NotServed),
        ("/foo", NotServed),
        ("/v/models", NotServed),
        ("/vbeta/models", NotServed),
        ("/V1beta/models", NotServed),
        ("/v1-beta/models", NotServed),
        ("/v1.evil.example/models", NotServed),
        ("/%761beta/models", NotServed),
        ("/upload", NotServed),
        ("/upload/files", NotServed),
        ("/download/x/files", NotServed),
        ("/ws", NotServed),
        ("/ws/google.example.v1.Service.Method", NotServed),
        ("/ws/google.ai.generativelanguage.x.GenerativeService.BidiGenerateContent", NotServed),
        ("/$discovery", NotServed),
        ("/$discovery/rest/x", NotServed),
        ("/chat/completions", NotServed),
    ] {
        assert_eq!(parse("GET", path, None, CredentialForm::GoogHeader).err(), Some(error), "{path:?}");
    }
    for (query, error) in [
        ("a=\r\nhost:evil", ControlCharacter),
        ("a=%0d%0a", ControlCharacter),
        ("a=%00", ControlCharacter),
        ("a=b#c", UnencodedByte(b'#')),
        ("a=\u{e9}", UnencodedByte(0xc3)),
    ] {
        let parsed = parse("GET", "/v1beta/models", Some(query), CredentialForm::GoogHeader);
        assert_eq!(parsed.err(), Some(error), "{query:?}");
    }
}

#[test]
fn a_target_over_eight_kib_is_refused() {
    let path = format!("/v1beta/files/{}", "a".repeat(MAX_TARGET_BYTES - "/v1beta/files/".len()));
    assert!(parse("GET", &path, None, CredentialForm::None).is_ok());
    assert_eq!(parse("GET", &path, Some("q"), CredentialForm::None).err(), Some(PathError::TooLong));
}

#[test]
fn an_error_about_a_refused_path_still_has_a_dialect() {
    for (path, form, dialect) in [
        ("/v1/chat/completions/%2e%2e", CredentialForm::None, Dialect::OpenAi),
        ("//openai/..", CredentialForm::GoogHeader, Dialect::OpenAi),
        ("/v1beta/models/%00", CredentialForm::Bearer, Dialect::Gemini),
        ("/nowhere", CredentialForm::Bearer, Dialect::OpenAi),
        ("/nowhere", CredentialForm::QueryKey, Dialect::Gemini),
        ("nowhere", CredentialForm::None, Dialect::Gemini),
    ] {
        assert_eq!(dialect_of(path, form), dialect, "{path}");
    }
}

#[test]
fn every_refusal_says_what_is_wrong_in_a_sentence() {
    for error in [
        PathError::TooLong,
        PathError::NotAbsolute,
        PathError::DotSegment,
        PathError::EncodedSlash,
        PathError::Backslash,
        PathError::ControlCharacter,
        PathError::MalformedEscape,
        PathError::UnencodedByte(0xc3),
        PathError::NotServed,
    ] {
        let message = error.to_string();
        assert!(
            message.ends_with('.') && (message.contains(';') || message.contains("Served are")),
            "{message}"
        );
    }
}

#[test]
fn an_operation_knows_its_model_its_resource_and_its_verb() {
    for (path, verb, model, resource, owned) in [
        ("models", None, None, None, None),
        ("models/gemini-x", None, Some("gemini-x"), None, None),
        ("models/gemini-x:generateContent", Some("generateContent"), Some("gemini-x"), None, None),
        ("models/gemini-x:brandNew", Some("brandNew"), Some("gemini-x"), None, None),
        (
            "models/veo/operations/op",
            None,
            Some("veo"),
            Some("models/veo/operations/op"),
            Some("models/veo/operations/op"),
        ),
        (
            "tunedModels/t:generateContent",
            Some("generateContent"),
            Some("tunedModels/t"),
            Some("tunedModels/t"),
            Some("tunedModels/t"),
        ),
        (
            "tunedModels/t/permissions/p",
            None,
            Some("tunedModels/t"),
            Some("tunedModels/t/permissions/p"),
            Some("tunedModels/t"),
        ),
        ("tunedModels", None, None, Some("tunedModels"), None),
        ("dynamic/d:generateContent", Some("generateContent"), Some("dynamic/d"), None, None),
        ("files", None, None, Some("files"), None),
        ("files/abc:download", Some("download"), None, Some("files/abc"), Some("files/abc")),
        (
            "fileSearchStores/s/upload/operations/y",
            None,
            None,
            Some("fileSearchStores/s/upload/operations/y"),
            Some("fileSearchStores/s"),
        ),
        (
            "environments/e/files/a:b.txt",
            None,
            None,
            Some("environments/e/files/a:b.txt"),
            Some("environments/e"),
        ),
    ] {
        let operation = operation("POST", &format!("/v1beta/{path}/"), None);
        assert_eq!(operation.verb.as_ref().map(Verb::as_str), verb, "{path}");
        assert_eq!(operation.model.as_ref().map(ModelName::as_str), model, "{path}");
        assert_eq!(operation.resource.as_ref().map(ResourceName::as_str), resource, "{path}");
        assert_eq!(operation.resource.as_ref().and_then(|it| it.owned()), owned, "{path}");
    }
    let openai = |path: &str| operation("GET", &format!("/v1beta/openai/{path}"), None);
    assert_eq!(openai("models/models/gemini-x").model.unwrap().as_str(), "gemini-x");
    assert_eq!(openai("models").name(), "models");
    assert_eq!(openai("videos/v").resource.unwrap().owned(), Some("videos/v"));
    assert_eq!(openai("chat/completions").name(), "chat/completions");
}

#[test]
fn streaming_is_read_from_the_verb_and_the_query() {
    let stream = "/v1beta/models/m:streamGenerateContent";
    for (method, path, query, streaming) in [
        ("POST", stream, Some("alt=sse"), Streaming::Sse),
        ("POST", stream, Some("x=1&%61lt=s%73e"), Streaming::Sse),
        ("POST", stream, Some("$alt=sse"), Streaming::Sse),
        ("POST", stream, None, Streaming::JsonArray),
        ("POST", stream, Some("alt=json"), Streaming::JsonArray),
        ("POST", stream, Some("alt=proto"), Streaming::Unknown),
        ("POST", "/v1beta/models/m:streamNewThing", None, Streaming::JsonArray),
        ("POST", "/v1beta/models/m:generateContent", None, Streaming::No),
        ("GET", "/v1beta/models", None, Streaming::No),
        ("POST", "/v1beta/interactions", None, Streaming::Unknown),
        ("GET", "/v1beta/interactions/i", Some("stream=true&last_event_id=e"), Streaming::Sse),
        ("GET", "/v1beta/interactions/i", None, Streaming::No),
        ("POST", "/v1beta/openai/chat/completions", None, Streaming::Unknown),
        ("GET", "/v1beta/openai/models", None, Streaming::No),
        ("POST", "/upload/v1beta/files", None, Streaming::No),
    ] {
        assert_eq!(operation(method, path, query).streaming, streaming, "{path}?{query:?}");
    }
}

#[test]
fn binding_follows_the_wire_pages_table() {
    let expect = |method: &str, path: &str, query: Option<&str>, ownership: Ownership| {
        assert_eq!(operation(method, path, query).ownership, ownership, "{method} {path}");
    };
    for (method, path, binding) in [
        ("GET", "models", Free),
        ("GET", "models/m", Free),
        ("POST", "models/m:generateContent", Free),
        ("POST", "models/m:streamGenerateContent", Free),
        ("POST", "models/m:countTokens", Free),
        ("POST", "models/m:embedContent", Free),
        ("POST", "models/m:batchEmbedContents", Free),
        ("POST", "models/m:predict", Free),
        ("POST", "models/m:generateText", Free),
        ("POST", "models/m:predictLongRunning", Creates),
        ("POST", "models/m:batchGenerateContent", Creates),
        ("POST", "models/m:asyncBatchEmbedContent", Creates),
        ("POST", "models/m:someNewVerb", Creates),
        ("GET", "models/m/operations/o", Bound),
        ("POST", "dynamic/d:generateContent", Free),
        ("GET", "files", Bound),
        ("POST", "files", Creates),
        ("POST", "files:register", Creates),
        ("GET", "files/f", Bound),
        ("DELETE", "files/f", Bound),
        ("POST", "cachedContents", Creates),
        ("PATCH", "cachedContents/c", Bound),
        ("POST", "batches/b:cancel", Bound),
        ("POST", "fileSearchStores", Creates),
        ("POST", "fileSearchStores/s:importFile", Bound),
        ("POST", "tunedModels/t:generateContent", Bound),
        ("POST", "interactions", Creates),
        ("GET", "interactions/i", Bound),
        ("POST", "interactions/i/cancel", Bound),
        ("POST", "auth_tokens", Creates),
        ("POST", "decisions", Creates),
        ("POST", "openai/chat/completions", Free),
        ("POST", "openai/embeddings", Free),
        ("POST", "openai/images/generations", Free),
        ("GET", "openai/models/m", Free),
        ("DELETE", "openai/models/m", Unknown),
        ("POST", "openai/chat/completions/c", Unknown),
        ("DELETE", "openai/chat/completions/c", Unknown),
        ("DELETE", "models/m", Unknown),
        ("POST", "openai/responses", Creates),
        ("POST", "openai/videos", Creates),
        ("GET", "openai/videos/v", Bound),
        ("POST", "openai/batches", Creates),
        ("POST", "openai/batches/b/cancel", Bound),
        // What is no collection that is known here is nobody's, as far as anybody has said.
        ("GET", "fils", Unknown),
        ("GET", "things/t", Unknown),
        ("GET", "things/t/parts/p", Unknown),
        ("DELETE", "things/t", Unknown),
        ("POST", "things/t:cancel", Unknown),
        ("POST", "things", Creates),
        ("POST", "x/chat/completions", Unknown),
        ("GET", "openai/assistants/a", Unknown),
        ("POST", "openai/x/chat/completions", Unknown),
    ] {
        expect(method, &format!("/v1beta/{path}"), None, binding);
    }
    expect("POST", "/upload/v1beta/files", None, Creates);
    expect("POST", "/upload/v1beta/files", Some("upload_id=u&upload_protocol=resumable"), Bound);
    expect("POST", "/upload/v1beta/fileSearchStores/s:uploadToFileSearchStore", None, Bound);
    expect("PUT", "/upload/v1beta/environments/e/files/p", None, Bound);
    expect("GET", "/download/v1beta/files/f:download", Some("alt=media"), Bound);
    expect("GET", "/download/v1beta/fils/f:download", Some("alt=media"), Unknown);
    expect("PUT", "/upload/v1beta/things/t/p", None, Unknown);
    expect("PUT", "/upload/v1beta/things/t", Some("upload_id=u"), Bound);
    let live = "/ws/google.ai.generativelanguage.v1.GenerativeService.BidiGenerateContent";
    expect("GET", live, None, Free);
    expect("GET", "/$discovery/rest", Some("version=v1beta"), Free);
}

/// Paths out of the pieces that matter, as well as any text.
fn paths() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/"),
        Just("//"),
        Just("v1"),
        Just("v1beta"),
        Just("openai"),
        Just("upload"),
        Just("download"),
        Just("ws"),
        Just("google.ai.generativelanguage.v1.S.M"),
        Just("models"),
        Just("files"),
        Just("chat"),
        Just("$discovery"),
        Just("rest"),
        Just("."),
        Just(".."),
        Just("%2e"),
        Just("%2f"),
        Just("%5c"),
        Just("\\"),
        Just("%00"),
        Just("%"),
        Just(":generateContent"),
        Just("@evil.example:443"),
        Just("?"),
        Just("#"),
        Just("\r\n"),
        Just("x"),
    ];
    prop_oneof![
        3 => proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.join("/"))
            .replace("///", "/")),
        2 => "/(v1|v1beta|openai|upload/v1|v1/models)/[!-~]{0,30}",
        1 => ".{0,60}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn an_accepted_path_cannot_leave_the_allow_listed_roots(
        path in paths(),
        query in proptest::option::of("[ -~]{0,30}"),
        form in proptest::sample::select(&FORMS[..]),
    ) {
        let Ok(target) = parse("POST", &path, query.as_deref(), form) else {
            // A refused path has a dialect all the same.
            dialect_of(&path, form);
            return Ok(());
        };
        prop_assert_eq!(target.dialect, dialect_of(&path, form));

        let out = target.path.as_str();
        let root = out.strip_prefix('/').unwrap_or("").split('/').next().unwrap_or("");
        let version = root.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        prop_assert!(version || ["upload", "download", "ws", "$discovery"].contains(&root), "{}", out);
        prop_assert!(out.bytes().all(|byte| byte.is_ascii_graphic()), "{}", out);
        let lower = out.to_ascii_lowercase();
        for never in ["//", "\\", "%2f", "%5c", "%00", "%0", "%1", "%7f", "?", "#"] {
            prop_assert!(!lower.contains(never), "{} in {}", never, out);
        }
        let dots = |segment: &str| matches!(segment.replace("%2e", ".").as_str(), "." | "..");
        prop_assert!(!lower.split('/').any(dots), "{}", out);

        let again = parse("POST", out, target.query.as_deref(), form);
        prop_assert_eq!(again.as_ref(), Ok(&target));
    }

    #[test]
    fn no_key_stays_in_a_query(
        before in "[a-z=&%0-9]{0,20}",
        name in "(k|%6b|%6B|K)(e|%65)(y|%79|Y)",
        after in "[a-z=&%0-9]{0,20}",
    ) {
        let raw = format!("{before}&{name}=S3CR3T&{after}");
        if let Ok(target) = parse("GET", "/v1beta/models", Some(&raw), CredentialForm::QueryKey) {
            prop_assert!(!target.query.unwrap_or_default().contains("S3CR3T"));
        }
    }
}
