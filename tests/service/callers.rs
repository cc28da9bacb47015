//! Whose resource: what one caller has made does not exist for another, by whatever way it is named, and nothing of such a
//! request reaches Google; for a caller in whose sight everything is, it does.

use crate::{
    projects::{Caller, File, MODEL, Projects, batch_of, cache_of, contents, tokens},
    support::{Options, fingerprint, free_port, prompt, simulator, stranger, wait_for_stored},
    wire::{exchange, request},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

async fn pool() -> Projects {
    Projects::start_with(3, 2, &tokens(&["alice", "bob"], &["carol"]), |_| {}, |options, _| options).await
}

/// One of each kind of resource.
struct Belongings {
    file: File,
    jsonl: File,
    video: File,
    operation: String,
    cache: String,
    batch: String,
    store: String,
    document: String,
    store_operation: String,
    interaction: String,
    background: String,
}

async fn belongings(caller: &Caller) -> Belongings {
    let name = |made: &Value| made["name"].as_str().unwrap().to_owned();
    let file = caller.file("v1beta", "text/plain", "mine").await;
    let line = json!({"key": "1", "request": contents(&[])}).to_string() + "\n";
    let jsonl = caller.file("v1beta", "application/jsonl", &line).await;
    let (video, operation) = caller.video("v1beta", json!({"prompt": "waves"})).await;
    let cache = caller.cache("v1beta").await;
    let input = batch_of(json!({"fileName": jsonl.name}));
    let batch = name(&caller.post(&format!("/v1beta/models/{MODEL}:batchGenerateContent"), &input).await);
    let store = name(&caller.post("/v1beta/fileSearchStores", &json!({"displayName": "mine"})).await);
    let import = caller.post(&format!("/v1beta/{store}:importFile"), &json!({"fileName": file.name})).await;
    let store_operation = name(&import);
    let imported = caller.done(&format!("/v1beta/{store_operation}")).await;
    let document = imported["response"]["documentName"].as_str().unwrap().to_owned();
    let interaction = caller.interaction("v1beta").await;
    let body = json!({"model": MODEL, "input": "x", "background": true});
    let background = caller.post("/v1beta/interactions", &body).await["id"].as_str().unwrap().to_owned();
    Belongings {
        file,
        jsonl,
        video,
        operation,
        cache,
        batch,
        store,
        document,
        store_operation,
        interaction,
        background,
    }
}

/// How Google refuses.
#[derive(Clone, Copy)]
enum Refusal {
    File,
    Cache,
    Entity,
    Interaction,
}

type Attempt = (&'static str, String, Value, Refusal);

/// What the answer to a stranger must be.
fn check(answer: &crate::projects::Answer, what: &str, refusal: Refusal, names: &Belongings) {
    let (status, messages) = match refusal {
        Refusal::File => {
            let ids = [names.file.id(), names.jsonl.id(), names.video.id()];
            let message =
                |id| format!("You do not have permission to access the File {id} or it may not exist.");
            (403, ids.map(message).to_vec())
        }
        Refusal::Cache => (403, vec!["CachedContent not found (or permission denied)".to_owned()]),
        Refusal::Entity | Refusal::Interaction => (404, vec!["Requested entity was not found.".to_owned()]),
    };
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    let error = answer.error();
    let said = error["message"].as_str().unwrap_or_default();
    assert!(messages.iter().any(|message| said == message), "{what}: {said}");
    if let Refusal::Interaction = refusal {
        assert_eq!(error["code"], "not_found", "{what}");
    }
}

/// Paths that name them. Whoever may take them all one after another finds what each needs.
fn paths(it: &Belongings) -> Vec<Attempt> {
    let null = || Value::Null;
    let at = |rest: String| format!("/v1beta/{rest}");
    let (file, video, interaction) = (&it.file.name, &it.video.name, &it.interaction);
    vec![
        ("GET", at(file.clone()), null(), Refusal::File),
        ("GET", format!("/v1/{file}"), null(), Refusal::File),
        ("GET", at(format!("{video}:download?alt=media")), null(), Refusal::File),
        ("GET", format!("/download/v1beta/{video}:download?alt=media"), null(), Refusal::File),
        ("GET", at(it.cache.clone()), null(), Refusal::Cache),
        ("PATCH", at(format!("{}?updateMask=ttl", it.cache)), json!({"ttl": "9s"}), Refusal::Cache),
        ("DELETE", at(it.cache.clone()), null(), Refusal::Cache),
        ("GET", at(it.batch.clone()), null(), Refusal::Entity),
        ("POST", at(format!("{}:cancel", it.batch)), json!({}), Refusal::Entity),
        ("DELETE", at(it.batch.clone()), null(), Refusal::Entity),
        ("GET", at(it.operation.clone()), null(), Refusal::Entity),
        ("GET", at(it.store.clone()), null(), Refusal::Entity),
        ("GET", at(format!("{}/documents", it.store)), null(), Refusal::Entity),
        ("GET", at(it.document.clone()), null(), Refusal::Entity),
        ("GET", at(it.store_operation.clone()), null(), Refusal::Entity),
        ("POST", at(format!("{}:importFile", it.store)), json!({"fileName": file}), Refusal::Entity),
        ("POST", format!("/upload/v1beta/{}:uploadToFileSearchStore", it.store), json!({}), Refusal::Entity),
        ("DELETE", at(format!("{}?force=true", it.document)), null(), Refusal::Entity),
        ("DELETE", at(format!("{}?force=true", it.store)), null(), Refusal::Entity),
        ("GET", at(format!("interactions/{interaction}")), null(), Refusal::Interaction),
        ("GET", at(format!("interactions/{interaction}?stream=true")), null(), Refusal::Interaction),
        ("POST", at(format!("interactions/{}/cancel", it.background)), json!({}), Refusal::Interaction),
        ("DELETE", at(format!("interactions/{interaction}")), null(), Refusal::Interaction),
        ("DELETE", at(file.clone()), null(), Refusal::File),
    ]
}

/// Bodies that name them, to places that are anybody's.
fn bodies(it: &Belongings) -> Vec<Attempt> {
    let post = |target: &str, body: Value, refusal| ("POST", format!("/v1beta/{target}"), body, refusal);
    let model = |verb: &str, body: Value, refusal| post(&format!("models/{MODEL}:{verb}"), body, refusal);
    let with = |field: &str, value: Value| {
        let mut body = contents(&[]);
        body[field] = value;
        body
    };
    let (name, uri) = (it.file.name.as_str(), it.file.uri.as_str());
    let used = contents(&[uri]);
    let stores = json!([{"fileSearch": {"fileSearchStoreNames": [it.store]}}]);
    let snake_stores = json!([{"file_search": {"file_search_store_names": [it.store]}}]);
    let mut whole = used.clone();
    whole["model"] = json!(format!("models/{MODEL}"));
    let asked = |more: Value| {
        let mut body = json!({"model": MODEL, "input": "x"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    vec![
        model("generateContent", used.clone(), Refusal::File),
        model("generateContent", contents(&[name]), Refusal::File),
        model("generateContent", contents(&[&format!("{uri}:download?alt=media")]), Refusal::File),
        model(
            "generateContent",
            with("system_instruction", json!({"parts": [{"file_data": {"file_uri": uri}}]})),
            Refusal::File,
        ),
        model("streamGenerateContent", used.clone(), Refusal::File),
        model("countTokens", json!({"generateContentRequest": whole}), Refusal::File),
        model(
            "batchGenerateContent",
            batch_of(json!({"requests": {"requests": [{"request": used}]}})),
            Refusal::File,
        ),
        model("batchGenerateContent", batch_of(json!({"fileName": it.jsonl.name})), Refusal::File),
        model("batchGenerateContent", batch_of(json!({"file_name": it.jsonl.name})), Refusal::File),
        post(
            "models/veo-3.0-generate-001:predictLongRunning",
            json!({"instances": [{"prompt": "x", "video": {"uri": it.video.uri}}]}),
            Refusal::File,
        ),
        post("cachedContents", cache_of(contents(&[uri])), Refusal::File),
        model("generateContent", with("cachedContent", json!(it.cache)), Refusal::Cache),
        model("generateContent", with("cached_content", json!(it.cache)), Refusal::Cache),
        model("generateContent", with("tools", stores), Refusal::Entity),
        model("generateContent", with("tools", snake_stores), Refusal::Entity),
        post("interactions", asked(json!({"previous_interaction_id": it.interaction})), Refusal::Interaction),
        post(
            "interactions",
            asked(json!({"previous_interaction_id": it.interaction, "stream": true})),
            Refusal::Interaction,
        ),
    ]
}

/// Sends all that a stranger may try; none of it may arrive.
async fn refused(pool: &Projects, stranger: &Caller, it: &Belongings, attempts: Vec<Attempt>) {
    for (method, target, body, refusal) in attempts {
        let what = format!("{method} {target} {body}");
        let before = pool.count();
        let answer = stranger.send(method, &target, &body).await;
        check(&answer, &what, refusal, it);
        assert_eq!(pool.count(), before, "{what} reached Google");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_do_not_lead_to_what_another_has_made() {
    let pool = pool().await;
    let (alice, bob, carol) =
        (pool.caller("alice-token"), pool.caller("bob-token"), pool.caller("carol-token"));
    let it = belongings(&alice).await;
    refused(&pool, &bob, &it, paths(&it)).await;
    // By other spellings neither; how these are refused is a matter of the paths.
    for spelling in ["//v1beta/", "/v1beta//", "/v1beta/./", "/v1beta/models/../", "/v1/v1beta/../"] {
        let before = pool.count();
        let answer = bob.send("GET", &format!("{spelling}{}", it.file.name), &Value::Null).await;
        assert!((400..500).contains(&answer.status), "{spelling}: {}", answer.text());
        assert_eq!(pool.count(), before, "{spelling}");
    }
    for name in [format!("%66iles/{}", it.file.id()), format!("files%2F{}", it.file.id())] {
        let before = pool.count();
        let answer = bob.send("GET", &format!("/v1beta/{name}"), &Value::Null).await;
        assert!((400..500).contains(&answer.status), "{name}: {}", answer.text());
        assert_eq!(pool.count(), before, "{name}");
    }
    // It is all still there, and there for carol.
    let upload = "uploadToFileSearchStore";
    for (method, target, body, _) in
        paths(&it).into_iter().filter(|(_, target, ..)| !target.ends_with(upload))
    {
        if method == "GET" {
            alice.well(method, &target, &body).await;
        }
        let answer = carol.send(method, &target, &body).await;
        assert_eq!(answer.status, 200, "{method} {target}: {}", answer.text());
    }
    assert_eq!(pool.simulator.wrong_owners(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_do_not_lead_to_what_another_has_made() {
    let pool = pool().await;
    let (bob, carol) = (pool.caller("bob-token"), pool.caller("carol-token"));
    let it = belongings(&pool.caller("alice-token")).await;
    refused(&pool, &bob, &it, bodies(&it)).await;

    // Into a store of bob's own.
    let store = bob.post("/v1beta/fileSearchStores", &json!({"displayName": "bobs"})).await;
    let import = format!("/v1beta/{}:importFile", store["name"].as_str().unwrap());
    for field in ["fileName", "file_name"] {
        let before = pool.count();
        let answer = bob.send("POST", &import, &json!({field: it.file.name})).await;
        check(&answer, field, Refusal::File, &it);
        assert_eq!(pool.count(), before);
    }
    // Names and fields may be spelt with escapes.
    let body = contents(&[&it.file.uri]).to_string();
    for (plain, escaped) in
        [("fileUri", "file\\u0055ri"), ("files/", "files\\/"), ("/files/", "\\u002ffiles/")]
    {
        let escaped = body.replace(plain, escaped);
        assert_ne!(escaped, body);
        let before = pool.count();
        let answer = bob.send_with("POST", GENERATE, &[("content-type", "application/json")], escaped).await;
        check(&answer, plain, Refusal::File, &it);
        assert_eq!(pool.count(), before);
    }
    // An interaction's errors have a form of their own, whatever they are about.
    let before = pool.count();
    let input = json!([{"type": "document", "uri": it.file.uri}]);
    let answer = bob.send("POST", "/v1beta/interactions", &json!({"model": MODEL, "input": input})).await;
    assert!(matches!(answer.status, 403 | 404), "{}", answer.text());
    assert_eq!(pool.count(), before);

    for (method, target, body, _) in bodies(&it) {
        carol.well(method, &target, &body).await;
    }
    assert_eq!(pool.simulator.wrong_owners(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_layer_does_not_lead_to_what_another_has_made() {
    let pool = pool().await;
    let (alice, bob, carol) =
        (pool.caller("alice-token"), pool.caller("bob-token"), pool.caller("carol-token"));
    let it = belongings(&alice).await;
    let bare = it.batch.trim_start_matches("batches/");
    let chat = json!({
        "model": MODEL, "messages": [{"role": "user", "content": "x"}],
        "extra_body": {"google": {"cached_content": it.cache}},
    });
    let batch = json!({
        "input_file_id": it.jsonl.name, "endpoint": "/v1/chat/completions", "completion_window": "24h",
    });
    let attempts = [
        ("POST", "chat/completions".to_owned(), chat, 403),
        ("POST", "batches".to_owned(), batch, 403),
        ("GET", format!("batches/{bare}"), Value::Null, 404),
        ("GET", format!("batches/{}", it.batch), Value::Null, 404),
        ("GET", format!("batches/batches%2F{bare}"), Value::Null, 404),
        ("POST", format!("batches/{bare}/cancel"), json!({}), 404),
    ];
    for (method, rest, body, status) in &attempts {
        let before = pool.count();
        let answer = bob.openai(method, rest, body).await;
        assert_eq!(answer.status, *status, "{method} {rest}: {}", answer.text());
        assert_eq!(pool.count(), before, "{method} {rest} reached Google");
    }
    for (method, rest, body, _) in &attempts {
        carol.openai_well(method, rest, body).await;
    }
    alice.openai_well("GET", &format!("batches/{bare}"), &Value::Null).await;
    assert_eq!(pool.simulator.wrong_owners(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_show_each_caller_its_own() {
    let pool = pool().await;
    let callers = ["alice", "bob", "carol"].map(|name| pool.caller(&format!("{name}-token")));
    let it = belongings(&callers[0]).await;
    let own = callers[1].file("v1beta", "text/plain", "bobs").await;
    let interaction = format!("interactions/{}", it.interaction);
    let lists = [
        ("files", it.file.name.as_str()),
        ("files", it.video.name.as_str()),
        ("cachedContents", it.cache.as_str()),
        ("batches", it.batch.as_str()),
        ("fileSearchStores", it.store.as_str()),
        ("interactions", interaction.as_str()),
    ];
    for (list, name) in lists {
        let id = name.rsplit('/').next().unwrap();
        let mut shown = Vec::new();
        for caller in &callers {
            shown.push(caller.get(&format!("/v1beta/{list}")).await.to_string().contains(id));
        }
        assert_eq!(shown, [true, false, true], "{name}");
    }
    let bobs = callers[1].get("/v1beta/files").await;
    let names: BTreeSet<_> =
        bobs["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from([own.name.as_str()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anothers_upload_is_not_gone_on_with() {
    let pool = pool().await;
    let (alice, bob) = (pool.caller("alice-token"), pool.caller("bob-token"));
    let started = alice.begin_upload("/upload/v1beta/files", "text/plain", 4).await;
    let url = started.header("x-goog-upload-url").unwrap();
    for command in ["query", "upload, finalize", "cancel"] {
        let before = pool.count();
        let headers = [("x-goog-upload-command", command), ("x-goog-upload-offset", "0")];
        let answer = bob.send_with("POST", url, &headers, "bobs").await;
        assert!(matches!(answer.status, 401 | 403 | 404), "{command}: {}", answer.text());
        assert_eq!(pool.count(), before, "{command} reached Google");
    }
    let done = alice.chunk(url, "upload, finalize", 0, "mine").await;
    assert_eq!((done.status, &done.json()["file"]["sizeBytes"]), (200, &json!("4")), "{}", done.text());
    let name = done.json()["file"]["name"].as_str().unwrap().to_owned();
    assert_eq!(bob.send("GET", &format!("/v1beta/{name}"), &Value::Null).await.status, 403);
    alice.get(&format!("/v1beta/{name}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_before_a_restart_is_still_only_its_makers() {
    let mut pool = pool().await;
    let it = belongings(&pool.caller("alice-token")).await;
    for name in [&it.file.name, &it.cache, &it.interaction, &it.background] {
        wait_for_stored(&pool.gateway.folder(), name.rsplit('/').next().unwrap());
    }
    pool.restart("KILL");
    let bob = pool.caller("bob-token");
    refused(&pool, &bob, &it, bodies(&it)).await;
    refused(&pool, &bob, &it, paths(&it)).await;
    let unbound = bob.send_with("POST", GENERATE, &[("content-type", "application/json")], prompt("x")).await;
    assert_eq!(unbound.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_outside_the_gateway_is_nobodys_by_being_named() {
    for projects in [1, 2] {
        let tokens = tokens(&["alice", "bob"], &[]);
        let pool = Projects::start_with(projects, 1, &tokens, |_| {}, |options, _| options).await;
        let file = pool.direct(projects - 1).file("v1beta", "text/plain", "made elsewhere").await;
        for _ in 0..2 {
            for token in ["bob-token", "alice-token"] {
                let caller = pool.caller(token);
                caller.get(&format!("/v1beta/{}", file.name)).await;
                assert!(
                    !caller.get("/v1beta/files").await.to_string().contains(file.id()),
                    "{projects} {token}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_no_key_may_serve_a_caller_is_told_as_it_is() {
    const ADMIN: &str = "operator-token-5b1e";
    let (simulator, port) = (simulator(2).await, free_port());
    let options = Options::new(&simulator.url(), 2).without_token().env("ADMIN_TOKEN", ADMIN);
    let options = options.set("admin.port", port).env(
        "GEMINI_BALANCE__AUTH__TOKENS",
        r#"[{name="alice",secret="alice-token",projects=["nosuch"]},{name="bob",secret="bob-token"}]"#,
    );
    let gateway = options.start();
    let ask = async |token: &str| {
        let request = stranger().post(gateway.url(GENERATE)).header("x-goog-api-key", token);
        let answer = request.body(prompt("x")).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap())
    };
    let operator = async |path: &str, body: &str| {
        let headers = [("authorization", &*format!("Bearer {ADMIN}")), ("content-type", "application/json")];
        exchange(&format!("127.0.0.1:{port}"), request("POST", path, &headers, body)).await
    };
    let (status, answer) = ask("alice-token").await;
    let error = &answer["error"];
    assert_eq!((status, &error["status"]), (403, &"PERMISSION_DENIED".into()), "{answer}");
    assert!(error["message"].as_str().unwrap().contains("projects"), "{answer}");
    let warning = "the token of alice names the project nosuch, which no key of the pool is of";
    assert!(gateway.output().contains(warning), "{}", gateway.output());
    let made = operator("/api/tokens", r#"{"name":"carol","projects":["nosuch","*"]}"#).await.json();
    assert_eq!(made["projects_without_keys"], json!(["nosuch"]), "{made}");
    for n in 0..2 {
        let answer = operator(&format!("/api/keys/{}/disable", fingerprint(n)), "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let (status, answer) = ask("bob-token").await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert_eq!(status, 503, "{answer}");
    assert!(message.contains("disabled") && !message.contains("retired"), "{message}");
}
