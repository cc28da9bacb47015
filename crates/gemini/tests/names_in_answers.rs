//! The names that answers teach, operation by operation, however they are framed and cut.

#[path = "reference/names.rs"]
mod reference;
#[path = "reference/trees.rs"]
mod trees;

use gemini::names::{AnswerNames, Learnt, MAX_NAME_BYTES};
use gemini::operation::Operation;
use gemini::path::{CredentialForm, parse};
use proptest::prelude::*;
use reference::Tree;
use trees::{trees, written};

fn operation(method: &str, target: &str) -> Operation {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let parsed = parse(method, path, query, CredentialForm::GoogHeader);
    parsed.unwrap_or_else(|error| panic!("{method} {target}: {error}")).operation
}

fn learnt_from<'a>(method: &str, target: &str, chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Learnt> {
    let mut names =
        AnswerNames::new(&operation(method, target)).unwrap_or_else(|| panic!("{method} {target}"));
    let mut learnt = Vec::new();
    for chunk in chunks {
        names.see(chunk);
        learnt.extend(names.take());
    }
    learnt.extend(names.finish());
    learnt
}

/// Each name, with `@` and its expiry.
fn shown(learnt: &[Learnt]) -> String {
    let show = |learnt: &Learnt| match &learnt.expires {
        Some(expires) => format!("{}@{expires}", learnt.name),
        None => learnt.name.to_string(),
    };
    learnt.iter().map(show).collect::<Vec<_>>().join(" ")
}

/// Of the body as a whole, after checking that each cut and every byte alone give the same.
fn learnt(method: &str, target: &str, body: &str) -> String {
    let body = body.as_bytes();
    let whole = learnt_from(method, target, std::iter::once(body));
    assert_eq!(learnt_from(method, target, body.chunks(1)), whole, "{target}, byte by byte");
    for cut in 0..=body.len() {
        let (head, tail) = body.split_at(cut);
        assert_eq!(learnt_from(method, target, [head, tail].into_iter()), whole, "{target}, cut at {cut}");
    }
    shown(&whole)
}

const STORE_UPLOAD: &str = "/upload/v1beta/fileSearchStores/s:uploadToFileSearchStore?upload_id=x";

#[test]
fn every_answer_that_teaches_a_name_is_read() {
    for (method, target, body, expected) in [
        // Uploads.
        (
            "POST",
            "/upload/v1beta/files?upload_id=x",
            r#"{"file":{"name":"files/a","displayName":"files/no","expirationTime":"2026-11-24T00:00:00Z","uri":"https://generativelanguage.googleapis.com/v1beta/files/a","state":"ACTIVE"}}"#,
            "files/a@2026-11-24T00:00:00Z",
        ),
        (
            "POST",
            "/v1beta/files",
            r#"{"file":{"uri":"https://g.googleapis.com/v1/files/a","name":"files/a"}}"#,
            "files/a",
        ),
        ("GET", "/v1beta/files/a", r#"{"expirationTime":"T","name":"files/a","uri":"gs://x"}"#, "files/a@T"),
        (
            "GET",
            "/v1/files?pageSize=2",
            r#"{"files":[{"name":"files/a","expirationTime":"T"},{"name":"files/b"}],"nextPageToken":"files/no"}"#,
            "files/a@T files/b",
        ),
        ("POST", "/v1beta/files:register", r#"{"files":[{"name":"files/a","uri":"gs://b/o"}]}"#, "files/a"),
        // Creations and lists.
        (
            "POST",
            "/v1beta/cachedContents",
            r#"{"name":"cachedContents/c","model":"models/m","expireTime":"2026-11-24T01:00:00.5Z"}"#,
            "cachedContents/c@2026-11-24T01:00:00.5Z",
        ),
        (
            "PATCH",
            "/v1beta/cachedContents/c",
            r#"{"expireTime":"T","name":"cachedContents/c"}"#,
            "cachedContents/c@T",
        ),
        (
            "GET",
            "/v1beta/cachedContents",
            r#"{"cachedContents":[{"name":"cachedContents/c","expireTime":"T"},{"name":"cachedContents/d","expireTime":"U"}]}"#,
            "cachedContents/c@T cachedContents/d@U",
        ),
        (
            "POST",
            "/v1beta/models/m:batchGenerateContent",
            r#"{"name":"batches/b","metadata":{"@type":"x","name":"batches/b","displayName":"files/no","inputConfig":{"fileName":"files/no"}}}"#,
            "batches/b",
        ),
        ("POST", "/v1beta/models/m:asyncBatchEmbedContent", r#"{"name":"batches/b"}"#, "batches/b"),
        (
            "GET",
            "/v1beta/batches",
            r#"{"operations":[{"name":"batches/a"},{"name":"batches/b"}]}"#,
            "batches/a batches/b",
        ),
        (
            "POST",
            "/v1beta/models/veo:predictLongRunning",
            r#"{"name":"models/veo/operations/op"}"#,
            "models/veo/operations/op",
        ),
        (
            "POST",
            "/v1beta/fileSearchStores",
            r#"{"name":"fileSearchStores/s","displayName":"files/no"}"#,
            "fileSearchStores/s",
        ),
        (
            "POST",
            "/v1beta/fileSearchStores/s:importFile",
            r#"{"name":"fileSearchStores/s/operations/o"}"#,
            "fileSearchStores/s",
        ),
        ("POST", STORE_UPLOAD, r#"{"name":"fileSearchStores/s/upload/operations/o"}"#, "fileSearchStores/s"),
        (
            "GET",
            "/v1beta/fileSearchStores/s/documents",
            r#"{"documents":[{"name":"fileSearchStores/s/documents/d","customMetadata":[{"name":"fileSearchStores/no"}]}]}"#,
            "fileSearchStores/s",
        ),
        ("POST", "/v1alpha/auth_tokens", r#"{"name":"auth_tokens/t","expireTime":"T"}"#, "auth_tokens/t@T"),
        (
            "POST",
            "/v1beta/tunedModels",
            r#"{"name":"tunedModels/t/operations/o","metadata":{}}"#,
            "tunedModels/t",
        ),
        ("POST", "/v1beta/corpora", r#"{"name":"corpora/c"}"#, "corpora/c"),
        (
            "GET",
            "/v1beta/generatedFiles",
            r#"{"generatedFiles":[{"name":"generatedFiles/g"}]}"#,
            "generatedFiles/g",
        ),
        // What operations led to.
        (
            "GET",
            "/v1beta/fileSearchStores/s/upload/operations/o",
            r#"{"name":"fileSearchStores/s/upload/operations/o","done":true,"response":{"@type":"x","parent":"fileSearchStores/s","documentName":"fileSearchStores/s2/documents/d"}}"#,
            "fileSearchStores/s2 fileSearchStores/s",
        ),
        (
            "GET",
            "/v1beta/models/veo/operations/op",
            r#"{"name":"models/veo/operations/op","done":true,"response":{"generateVideoResponse":{"generatedSamples":[{"video":{"uri":"https://generativelanguage.googleapis.com/v1beta/files/v1:download?alt=media"}},{"video":{"uri":"https://generativelanguage.googleapis.com/v1beta/files/v2:download?alt=media"}}]}}}"#,
            "files/v1 files/v2 models/veo/operations/op",
        ),
        (
            "GET",
            "/v1beta/batches/b",
            r#"{"name":"batches/b","metadata":{"output":{"responsesFile":"files/out"}},"done":true}"#,
            "files/out batches/b",
        ),
        (
            "GET",
            "/v1beta/batches/b",
            r#"{"name":"batches/b","response":{"@type":"x","responsesFile":"files/out"}}"#,
            "files/out batches/b",
        ),
        (
            "GET",
            "/v1beta/batches/b",
            r#"{"name":"batches/b","response":{"inlinedResponses":{"inlinedResponses":[{"response":{"name":"files/no"},"metadata":{"key":"files/no"}}]}}}"#,
            "batches/b",
        ),
        // Interactions.
        (
            "POST",
            "/v1beta/interactions",
            r#"{"id":"i1","environment_id":"e1","status":"completed","steps":[{"id":"no","type":"function_call","arguments":{"id":"no"}}]}"#,
            "interactions/i1 environments/e1",
        ),
        (
            "GET",
            "/v1beta/interactions/i1",
            r#"{"id":"i1","continuation_token":"t/1"}"#,
            "interactions/i1 continuationTokens/t/1",
        ),
        (
            "GET",
            "/v1beta/interactions",
            r#"{"interactions":[{"id":"i1"},{"id":"i2"}]}"#,
            "interactions/i1 interactions/i2",
        ),
        (
            "POST",
            "/v1beta/interactions",
            "event: interaction.created\ndata: {\"event_type\":\"interaction.created\",\"event_id\":\"no\",\"interaction\":{\"id\":\"i1\",\"object\":\"interaction\"}}\n\nevent: step.delta\ndata: {\"event_type\":\"step.delta\",\"delta\":{\"id\":\"no\",\"text\":\"{\\\"id\\\":\"}}\n\ndata: [DONE]\n\n",
            "interactions/i1",
        ),
        // Agents and the like.
        ("POST", "/v1beta/agents", r#"{"id":"my-agent","system_instruction":"x"}"#, "agents/my-agent"),
        ("GET", "/v1beta/agents", r#"{"agents":[{"id":"a"},{"id":"agents/b"}]}"#, "agents/a agents/b"),
        (
            "POST",
            "/v1beta/triggers",
            r#"{"id":"t","interaction":{"id":"no"},"environment_id":"no","previous_interaction_id":"i"}"#,
            "triggers/t interactions/i",
        ),
        (
            "GET",
            "/v1beta/triggers/t/executions",
            r#"{"trigger_executions":[{"id":"no","trigger_id":"t","environment_id":"e","interaction_id":"i"}]}"#,
            "environments/e interactions/i",
        ),
        (
            "POST",
            "/v1beta/webhooks",
            r#"{"id":"w","name":"webhooks/no","uri":"https://h/v1/files/no"}"#,
            "webhooks/w",
        ),
        ("POST", "/v1beta/environments", r#"{"id":"e","status":"active"}"#, "environments/e"),
        ("POST", "/v1beta/credentials", r#"{"id":"c","type":"http_bearer"}"#, "credentials/c"),
        (
            "GET",
            "/v1beta/voices",
            r#"{"voices":[{"id":"voice_1","type":"prompted","expire_time":"T"},{"id":"Puck","type":"prebuilt"}]}"#,
            "voices/voice_1@T",
        ),
        // The OpenAI layer.
        (
            "GET",
            "/v1beta/openai/batches/b",
            r#"{"id":"batches/b","object":"batch","input_file_id":"files/in","output_file_id":"files/out","metadata":{"output":"files/no"}}"#,
            "batches/b files/out",
        ),
        (
            "GET",
            "/v1beta/openai/batches",
            r#"{"object":"list","data":[{"id":"batches/a"},{"id":"b"}]}"#,
            "batches/a batches/b",
        ),
        ("POST", "/v1beta/openai/videos", r#"{"id":"vid","status":"processing"}"#, "videos/vid"),
        ("POST", "/v1beta/openai/videos", r#"{"id":"models/veo/operations/o"}"#, "models/veo/operations/o"),
        // Live, message after message.
        (
            "GET",
            "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
            r#"{"setupComplete":{}}{"sessionResumptionUpdate":{"newHandle":"h/1","resumable":true}}{"serverContent":{"newHandle":"no"}}{"sessionResumptionUpdate":{}}"#,
            "liveHandles/h/1",
        ),
        // What is yet to come.
        ("POST", "/v1beta/novelties", r#"{"name":"novelties/n","x":{"name":"novelties/no"}}"#, "novelties/n"),
        ("POST", "/v1beta/novelties", r#"{"id":"n","name":"files/no"}"#, "novelties/n"),
    ] {
        assert_eq!(learnt(method, target, body), expected, "{method} {target} {body}");
        let streamed = format!("[{}]", body.replace("}{", "},{"));
        assert!(body.contains("data:") || learnt(method, target, &streamed) == expected, "{streamed}");
    }
}

#[test]
fn answers_without_names_are_not_looked_at() {
    for (method, target) in [
        ("POST", "/v1beta/models/m:generateContent"),
        ("POST", "/v1beta/models/m:streamGenerateContent?alt=sse"),
        ("POST", "/v1beta/models/m:countTokens"),
        ("POST", "/v1beta/models/m:batchEmbedContents"),
        ("GET", "/v1beta/models"),
        ("GET", "/v1beta/models/m"),
        ("POST", "/v1beta/tunedModels/t:generateContent"),
        ("POST", "/v1beta/openai/chat/completions"),
        ("POST", "/v1beta/openai/embeddings"),
        ("GET", "/v1beta/openai/models"),
        ("GET", "/v1beta/files/a:download?alt=media"),
        ("GET", "/download/v1beta/files/a:download?alt=media"),
        ("GET", "/v1beta/environments/e/files/x"),
        ("PUT", "/upload/v1beta/environments/e/files/x"),
        ("GET", "/v1beta/fileSearchStores/s/media/x?alt=media"),
    ] {
        assert!(AnswerNames::new(&operation(method, target)).is_none(), "{method} {target}");
    }
}

#[test]
fn what_a_caller_can_write_into_an_answer_claims_nothing() {
    for (method, target, body) in [
        ("POST", "/v1beta/agents", r#"{"name":"agents/b","description":"files/b"}"#),
        ("POST", "/v1beta/cachedContents", r#"{"displayName":"x","name":"files/b"}"#),
        ("POST", "/v1beta/fileSearchStores", r#"{"name":"cachedContents/b"}"#),
        ("GET", "/v1beta/triggers/t/executions", r#"{"id":"t2"}"#),
        (
            "POST",
            "/v1beta/interactions",
            r#"{"error":{"id":"x"},"outputs":[{"id":"y","name":"interactions/z"}]}"#,
        ),
        ("POST", "/v1beta/models/m:predictLongRunning", r#"{"name":"models/m"}"#),
    ] {
        assert_eq!(learnt(method, target, body), "", "{body}");
    }
}

#[test]
fn events_are_read_whatever_ends_their_lines() {
    let event = |id: &str| format!(r#"{{"event_type":"interaction.created","interaction":{{"id":"{id}"}}}}"#);
    for end in ["\n", "\r\n", "\r"] {
        let stream = format!(
            ": {{\"interaction\":{{\"id\":\"no\"{end}{end}id: {{\"id\":\"no\"}}{end}data:{}{end}{end}event: x{end}data: {}{end}{end}{{\"interaction\":{{\"id\":\"no\"}}}}{end}{end}",
            event("a"),
            event("b"),
        );
        assert_eq!(
            learnt("POST", "/v1beta/interactions", &stream),
            "interactions/a interactions/b",
            "{end:?}"
        );
    }
    // One event in several lines, and one that breaks off.
    let lines = "data: {\"interaction\":\ndata: {\"id\":\"a\"}}\n\ndata: {\"x\":[{\"y\":\"\n\ndata: {\"interaction\":{\"id\":\"b\"}}\n\n";
    assert_eq!(learnt("POST", "/v1beta/interactions", lines), "interactions/a interactions/b");
}

#[test]
fn a_name_whose_object_breaks_off_is_learnt_at_the_end() {
    assert_eq!(learnt("POST", "/v1beta/interactions", r#"{"id":"i1","steps":[{"text":"#), "interactions/i1");
    let mut names = AnswerNames::new(&operation("POST", "/v1beta/interactions")).unwrap();
    names.see(br#"{"id":"i1","steps":["#);
    assert!(names.take().is_empty());
    assert_eq!(shown(&names.finish()), "interactions/i1");
    assert!(names.finish().is_empty());
}

#[test]
fn however_long_a_name_or_deep_a_body_it_ends() {
    let id = |len| format!(r#"{{"id":"{}","environment_id":"e"}}"#, "x".repeat(len));
    let count = |body: &str| learnt_from("POST", "/v1/interactions", body.as_bytes().chunks(100)).len();
    assert_eq!(count(&id(MAX_NAME_BYTES)), 2);
    assert_eq!(count(&id(MAX_NAME_BYTES + 1)), 1);
    assert_eq!(count(&format!("{}{}{}", "[".repeat(100_000), id(1), "]".repeat(100_000))), 0);
    assert_eq!(count(&format!(r#"{{"x":{}{},"id":"i"}}"#, "[".repeat(100_000), "]".repeat(100_000))), 1);
    assert_eq!(count(&"{".repeat(100_000)), 0);
    let many = (0..1000).map(|id| format!(r#""id":"{id}","#)).collect::<Vec<_>>().concat();
    assert!(count(&format!(r#"{{{many}"x":1}}"#)) < 10);
}

const KEYS: &[&str] = &[
    "name",
    "id",
    "uri",
    "downloadUri",
    "file",
    "files",
    "operations",
    "data",
    "interaction",
    "interactions",
    "environment_id",
    "continuation_token",
    "output_file_id",
    "error_file_id",
    "metadata",
    "output",
    "responsesFile",
    "response",
    "documentName",
    "generateVideoResponse",
    "generatedSamples",
    "video",
    "expireTime",
    "expirationTime",
    "expire_time",
    "batches",
    "x",
    "",
];

/// Ways that chance alone seldom goes.
const WAYS: &[&[&str]] = &[
    &["x"],
    &["metadata", "output"],
    &["response"],
    &["response", "generateVideoResponse", "generatedSamples", "video"],
    &["operations", "response", "generatedVideos", "video"],
    &["interaction"],
    &["file"],
];

/// An object with a tree at the end of each way.
fn grown(branches: Vec<(&[&str], Tree)>) -> Tree {
    let branch = |(way, tree): (&[&str], Tree)| {
        let inner = way[1..].iter().rev().fold(tree, |tree, &key| Tree::Object(vec![(key.to_owned(), tree)]));
        (way[0].to_owned(), inner)
    };
    Tree::Object(branches.into_iter().map(branch).collect())
}

const TEXTS: &[&str] = &[
    "files/a",
    "https://g.googleapis.com/v1/files/v:download?alt=media",
    "batches/b",
    "batches/b/c",
    "batches/",
    "fileSearchStores/s/documents/d",
    "models/m/operations/o",
    "bare",
    "interactions/i",
    "environments/e",
    "t/1",
    "2026-11-24T00:00:00Z",
    "",
    "a b",
    "\"id\":\"no\"",
    "\\",
    "gs://b/o",
    "\u{1F600}",
    "a text that is too long to be the time at which anything expires, ever",
];

/// Bodies out of the pieces that matter.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let piece = proptest::sample::select(
        &[
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "\\",
            "\\\"",
            "\n",
            "\r",
            "\r\n",
            "\n\n",
            "data:",
            "data: ",
            " ",
            "event: x",
            ": c",
            "\"id\":\"i\"",
            "\"name\":\"batches/b\"",
            "\"expireTime\":\"T\"",
            "\"response\":{",
            "\"responsesFile\":\"files/f\"",
            "\"metadata\":{\"output\":{",
            "\"operations\":[{",
            "\"data\":[",
            "\"output_file_id\":\"files\\/o\"",
            "{\"na\\u006de\":\"batches/c\"}",
            "null",
            "7",
            "\u{1F600}",
        ][..],
    );
    let random = proptest::collection::vec(any::<u8>(), 0..4);
    let piece = prop_oneof![12 => piece.prop_map(|piece| piece.as_bytes().to_vec()), 1 => random];
    proptest::collection::vec(piece, 0..50).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn learnt_is_what_a_whole_parse_finds(
        branches in proptest::collection::vec((proptest::sample::select(WAYS), trees(KEYS, TEXTS)), 0..4),
        tree in trees(KEYS, TEXTS),
        noise in proptest::collection::vec(0..12_u8, 1..64),
        size in 1..40_usize,
    ) {
        let tree = if branches.is_empty() { tree } else { grown(branches) };
        let mut body = String::new();
        written(&tree, &mut noise.iter().copied().cycle(), &mut body);
        // A text at the top is no document.
        prop_assume!(body.trim_start().starts_with(['{', '[']));
        for (method, target, answers) in [
            ("GET", "/v1beta/batches", &reference::BATCHES),
            ("POST", "/v1beta/interactions", &reference::INTERACTIONS),
            ("POST", "/v1beta/files", &reference::FILES),
        ] {
            let expected = reference::in_answer(body.as_bytes(), answers).unwrap();
            let learnt = learnt_from(method, target, body.as_bytes().chunks(size));
            let learnt: Vec<_> = learnt.into_iter().map(|it| (it.name.to_string(), it.expires)).collect();
            prop_assert_eq!(learnt, expected, "{} {}", target, body);
        }
    }

    #[test]
    fn however_a_body_is_cut_the_names_are_the_same(
        body in bodies(),
        cuts in proptest::collection::vec(0..400_usize, 0..20),
    ) {
        let target = "/v1beta/batches/";
        let whole = learnt_from("GET", target, std::iter::once(&*body));
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|cut| &body[cut[0]..cut[1]]);
        prop_assert_eq!(learnt_from("GET", target, chunks), whole.clone());
        prop_assert_eq!(learnt_from("GET", target, body.chunks(1)), whole);
    }
}
