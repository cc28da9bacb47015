//! What one project owns is asked of that project's keys: every use of every kind of resource, resources the gateway has
//! not seen made, the pool's troubles where no other key can help, and where new things are put.

use crate::{
    projects::{Caller, File, MODEL, Projects, asked, batch_of, cache_of, contents, tokens},
    support::{exhausted, key_counts, secret, wait_for_stored},
};
use gemini_simulator::{Fault, KeyState, Lifecycle, Rule};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const ROTATIONS: usize = 50;
/// What bound requests never ask, to tell those that are free apart.
const FREE_MODEL: &str = "gemini-2.5-flash-lite";

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no string: {value}")).to_owned()
}

async fn rotate(caller: &Caller) {
    assert_eq!(caller.generate().await.status, 200);
}

async fn files_in_pairs(caller: &Caller, v: &str) -> (File, File) {
    let first = caller.file(v, "text/plain", "one").await;
    rotate(caller).await;
    let second = caller.file(v, "text/plain", "two").await;
    rotate(caller).await;
    let both = contents(&[&first.uri, &second.name]);
    let model = format!("/{v}/models/{MODEL}");
    caller.post(&format!("{model}:generateContent"), &both).await;
    rotate(caller).await;
    let snake = json!({"contents": [{"parts": [
        {"text": "x"}, {"file_data": {"mime_type": "text/plain", "file_uri": second.uri}},
        {"file_data": {"mime_type": "text/plain", "file_uri": first.uri}},
    ]}]});
    caller.well("POST", &format!("{model}:streamGenerateContent?alt=sse"), &snake).await;
    rotate(caller).await;
    caller.post(&format!("{model}:countTokens"), &both).await;
    let mut whole = both.clone();
    whole["model"] = json!(format!("models/{MODEL}"));
    caller.post(&format!("{model}:countTokens"), &json!({"generateContentRequest": whole})).await;
    rotate(caller).await;
    let cache = word(&caller.post(&format!("/{v}/cachedContents"), &cache_of(both)).await["name"]);
    rotate(caller).await;
    caller.delete(&format!("/{v}/{cache}")).await;
    caller.get(&format!("/{v}/{}", first.name)).await;
    (first, second)
}

async fn caches(caller: &Caller, v: &str) {
    let cache = caller.cache(v).await;
    for field in ["cachedContent", "cached_content"] {
        rotate(caller).await;
        let mut body = contents(&[]);
        body[field] = json!(cache);
        caller.post(&format!("/{v}/models/{MODEL}:generateContent"), &body).await;
    }
    rotate(caller).await;
    caller.get(&format!("/{v}/{cache}")).await;
    rotate(caller).await;
    caller.well("PATCH", &format!("/{v}/{cache}?updateMask=ttl"), &json!({"ttl": "7200s"})).await;
    rotate(caller).await;
    let chat = json!({
        "model": MODEL, "messages": [{"role": "user", "content": "hello"}],
        "extra_body": {"google": {"cached_content": cache}},
    });
    caller.openai_well("POST", "chat/completions", &chat).await;
    rotate(caller).await;
    caller.delete(&format!("/{v}/{cache}")).await;
}

async fn batches(caller: &Caller, v: &str, file: &File) {
    let model = format!("/{v}/models/{MODEL}:batchGenerateContent");
    let request = json!({"request": contents(&[&file.uri]), "metadata": {"key": "1"}});
    let inline = batch_of(json!({"requests": {"requests": [request]}}));
    let batch = word(&caller.post(&model, &inline).await["name"]);
    rotate(caller).await;
    caller.done(&format!("/{v}/{batch}")).await;
    rotate(caller).await;
    caller.delete(&format!("/{v}/{batch}")).await;

    let line = json!({"key": "1", "request": contents(&[&file.uri])}).to_string() + "\n";
    let input = caller.file(v, "application/jsonl", &line).await;
    rotate(caller).await;
    let batch = word(&caller.post(&model, &batch_of(json!({"fileName": input.name}))).await["name"]);
    rotate(caller).await;
    let done = caller.done(&format!("/{v}/{batch}")).await;
    rotate(caller).await;
    let output = word(&done["response"]["responsesFile"]);
    let answers =
        caller.well("GET", &format!("/download/{v}/{output}:download?alt=media"), &Value::Null).await;
    assert_eq!(answers.text().lines().count(), 1);
    assert!(answers.json().get("response").is_some(), "{}", answers.text());

    let batch = word(&caller.post(&model, &inline).await["name"]);
    rotate(caller).await;
    caller.well("POST", &format!("/{v}/{batch}:cancel"), &json!({})).await;
}

async fn openai_batches(caller: &Caller, v: &str) {
    let line = json!({
        "custom_id": "1", "method": "POST", "url": "/v1/chat/completions",
        "body": {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]},
    });
    let input = caller.file(v, "application/jsonl", &(line.to_string() + "\n")).await;
    rotate(caller).await;
    let body = json!({
        "input_file_id": input.name, "endpoint": "/v1/chat/completions", "completion_window": "24h",
    });
    let id = word(&caller.openai_well("POST", "batches", &body).await["id"]);
    let mut output = None;
    let bare = id.trim_start_matches("batches/");
    // OpenAI's SDKs encode the slash of an id.
    for form in [id.as_str(), bare, &format!("batches%2F{bare}"), &id] {
        rotate(caller).await;
        let batch = caller.openai_well("GET", &format!("batches/{form}"), &Value::Null).await;
        output = batch["output_file_id"].as_str().map(str::to_owned);
    }
    let output = output.expect("the batch is completed");
    rotate(caller).await;
    caller.well("GET", &format!("/download/v1beta/{output}:download?alt=media"), &Value::Null).await;
    let id = word(&caller.openai_well("POST", "batches", &body).await["id"]);
    rotate(caller).await;
    caller.openai_well("POST", &format!("batches/{id}/cancel"), &json!({})).await;
}

async fn operations(caller: &Caller, v: &str) {
    let (video, _) = caller.video(v, json!({"prompt": "waves"})).await;
    rotate(caller).await;
    let download = format!("/{v}/{}:download?alt=media", video.name);
    let bytes = caller.well("GET", &download, &Value::Null).await;
    assert_eq!(&bytes.body[4..8], b"ftyp");
    rotate(caller).await;
    caller.video(v, json!({"prompt": "more waves", "video": {"uri": video.uri}})).await;
}

async fn stores(caller: &Caller, v: &str, file: &File) {
    let made = caller.post(&format!("/{v}/fileSearchStores"), &json!({"displayName": "Books"})).await;
    let store = word(&made["name"]);
    rotate(caller).await;
    let import = caller.post(&format!("/{v}/{store}:importFile"), &json!({"fileName": file.name})).await;
    rotate(caller).await;
    let imported = caller.done(&format!("/{v}/{}", word(&import["name"]))).await;
    let document = word(&imported["response"]["documentName"]);
    rotate(caller).await;
    let target = format!("/upload/{v}/{store}:uploadToFileSearchStore");
    let upload = caller.upload_to(&target, "text/plain", b"a book").await;
    rotate(caller).await;
    let uploaded = caller.done(&format!("/{v}/{}", word(&upload["name"]))).await;
    rotate(caller).await;
    let documents = caller.get(&format!("/{v}/{store}/documents")).await;
    assert_eq!(documents["documents"].as_array().map(Vec::len), Some(2), "{documents}");
    for document in [document, word(&uploaded["response"]["documentName"])] {
        rotate(caller).await;
        caller.get(&format!("/{v}/{document}")).await;
    }
    let mut search = contents(&[]);
    search["tools"] = json!([{"fileSearch": {"fileSearchStoreNames": [store]}}]);
    rotate(caller).await;
    caller.post(&format!("/{v}/models/{MODEL}:generateContent"), &search).await;
    rotate(caller).await;
    caller.delete(&format!("/{v}/{store}/documents/{}?force=true", last(&imported))).await;
    rotate(caller).await;
    caller.delete(&format!("/{v}/{store}?force=true")).await;
}

/// The id of the document an operation ended with.
fn last(done: &Value) -> String {
    word(&done["response"]["documentName"]).rsplit('/').next().unwrap().to_owned()
}

/// The data of each event.
fn events(text: &str) -> Vec<Value> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

async fn interactions(caller: &Caller, v: &str, file: &File) {
    let target = format!("/{v}/interactions");
    let input = json!([
        {"type": "text", "text": "read"},
        {"type": "document", "uri": file.uri, "mime_type": "text/plain"},
    ]);
    let first = word(&caller.post(&target, &json!({"model": MODEL, "input": input})).await["id"]);
    rotate(caller).await;
    let follow = json!({
        "model": MODEL, "input": "and on", "previous_interaction_id": first, "stream": true,
    });
    let streamed = caller.well("POST", &target, &follow).await.text();
    let told = events(&streamed);
    assert_eq!(told[0]["event_type"], "interaction.created");
    let second = word(&told[0]["interaction"]["id"]);
    rotate(caller).await;
    caller.get(&format!("{target}/{second}?include_input=true")).await;
    rotate(caller).await;
    let after = word(&told[1]["event_id"]);
    let resume = format!("{target}/{second}?stream=true&last_event_id={after}");
    let resumed = caller.well("GET", &resume, &Value::Null).await.text();
    assert!(streamed.ends_with(&resumed) && events(&resumed).len() == told.len() - 2, "{resumed}");
    rotate(caller).await;
    let third =
        caller.post(&target, &json!({"model": MODEL, "input": "x", "previous_interaction_id": second})).await;
    rotate(caller).await;
    let background = caller
        .post(&target, &json!({"model": MODEL, "input": "x", "background": true, "previous_interaction_id": third["id"]}))
        .await;
    rotate(caller).await;
    caller.post(&format!("{target}/{}/cancel", word(&background["id"])), &json!({})).await;
    for id in [first, second] {
        rotate(caller).await;
        caller.delete(&format!("{target}/{id}")).await;
    }
}

/// Every kind of resource is made and used, each use at another turn of the pool.
async fn use_everything(caller: &Caller, v: &str) {
    let (first, second) = files_in_pairs(caller, v).await;
    caches(caller, v).await;
    batches(caller, v, &first).await;
    openai_batches(caller, v).await;
    operations(caller, v).await;
    stores(caller, v, &second).await;
    interactions(caller, v, &first).await;
    for file in [first, second] {
        rotate(caller).await;
        caller.delete(&format!("/{v}/{}", file.name)).await;
    }
}

fn version(n: usize) -> &'static str {
    ["v1beta", "v1"][n % 2]
}

/// Free requests are not drawn to where bound ones go, and where nothing is bound in between they go to every project.
async fn free_requests_rotate(pool: &Projects, caller: &Caller) {
    let mut by_project = BTreeMap::<String, usize>::new();
    for request in pool.simulator.requests() {
        if request.model.as_deref() == Some(FREE_MODEL) {
            *by_project.entry(request.project.unwrap()).or_default() += 1;
        }
    }
    let all: usize = by_project.values().sum();
    assert!(by_project.values().all(|count| *count < all * 3 / 10), "{by_project:?}");
    let before = pool.count();
    for _ in 0..10 {
        rotate(caller).await;
    }
    let round = asked(&pool.arrived_after(before));
    assert_eq!(round.len(), 5, "only {round:?} are asked");
}

fn brisk(config: &mut gemini_simulator::Config) {
    config.lifecycle = Lifecycle { work_polls: 1, ..Lifecycle::default() };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_use_of_every_resource_arrives_at_its_project() {
    let pool = Projects::start_with(5, 2, "", brisk, |options, _| options).await;
    let caller = pool.caller(&secret(0));
    for n in 0..ROTATIONS {
        use_everything(&caller, version(n)).await;
    }
    assert_eq!(pool.simulator.wrong_owners(), [], "asked of a project that does not own it");
    free_requests_rotate(&pool, &caller).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_callers_make_is_spread_and_still_found() {
    let names: Vec<String> = (0..ROTATIONS).map(|n| format!("caller-{n}")).collect();
    let own: Vec<&str> = names.iter().map(String::as_str).collect();
    let pool = Projects::start_with(5, 2, &tokens(&own, &[]), brisk, |options, _| options).await;
    // One after another, or it would be chance who comes to which project.
    for name in &names[..10] {
        pool.caller(&format!("{name}-token")).file("v1beta", "text/plain", "first").await;
    }
    let made: Vec<_> = names
        .chunks(10)
        .map(|names| {
            let callers: Vec<Caller> =
                names.iter().map(|name| pool.caller(&format!("{name}-token"))).collect();
            tokio::spawn(async move {
                for (n, caller) in callers.iter().enumerate() {
                    use_everything(caller, version(n)).await;
                }
            })
        })
        .collect();
    for task in made {
        task.await.unwrap();
    }
    assert_eq!(pool.simulator.wrong_owners(), [], "asked of a project that does not own it");
    let owners: BTreeSet<_> = pool.simulator.resources().into_iter().map(|made| made.project).collect();
    assert_eq!(owners.len(), 5, "all was made in {owners:?}");
    free_requests_rotate(&pool, &pool.caller("caller-0-token")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_files_of_different_projects_in_one_request_are_refused_by_name() {
    let pool = Projects::start(3, 2).await;
    let first = pool.direct(0).file("v1beta", "text/plain", "one").await;
    let second = pool.direct(2).file("v1beta", "text/plain", "two").await;
    let caller = pool.caller(&secret(5));
    let before = pool.count();
    // The second time both are known.
    for _ in 0..2 {
        let answer = caller.send("POST", GENERATE, &contents(&[&first.uri, &second.uri])).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        let error = answer.error();
        assert_eq!(error["status"], "INVALID_ARGUMENT");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&first.name) && message.contains(&second.name), "{message}");
        assert!(!message.contains("project-"), "an operator's label reaches the client: {message}");
    }
    assert!(pool.arrived_after(before).iter().all(|request| request.method == "GET"));
    caller.post(GENERATE, &contents(&[&first.uri])).await;
    caller.post(GENERATE, &contents(&[&second.uri])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_unknown_is_asked_for_once_in_each_project() {
    let pool = Projects::start(5, 2).await;
    let caller = pool.caller(&secret(0));
    let mut seen = 0;
    for (n, v) in [(7, "v1beta"), (3, "v1")] {
        let file = pool.direct(n).file(v, "text/plain", "one").await;
        let before = pool.count();
        let target = format!("/{v}/models/{MODEL}:generateContent");
        caller.post(&target, &contents(&[&file.uri])).await;
        let mut asked_for = pool.arrived_after(before);
        let used = asked_for.pop().unwrap();
        assert_eq!(
            (used.method.as_str(), used.path.as_str(), used.project),
            ("POST", target.as_str(), Some(pool.owner(&file.name)))
        );
        let path = format!("/{v}/{}", file.name);
        assert!(asked_for.iter().all(|get| get.method == "GET" && get.path == path), "{asked_for:#?}");
        assert_eq!(asked(&asked_for).len(), asked_for.len(), "a project was asked twice: {asked_for:#?}");
        assert!(asked(&asked_for).contains(&pool.owner(&file.name)));
        let line = pool.gateway.transactions(seen + 1).remove(seen);
        let attempts: Vec<_> = line["attempts"].as_array().unwrap().iter().map(|it| &it["status"]).collect();
        // A question that is given up, as the answer is there, may not have left.
        let given_up = attempts.iter().filter(|status| ***status == json!(0)).count();
        let sent = asked_for.len() + 1;
        let recorded = attempts.len() - given_up..=attempts.len();
        assert!(recorded.contains(&sent), "asking is recorded: {sent} were seen of {line}");
        assert_eq!(attempts.last(), Some(&&json!(200)));
        seen += 2;

        let before = pool.count();
        caller.post(&target, &contents(&[&file.uri])).await;
        assert_eq!(pool.arrived_after(before).len(), 1, "it was asked for again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_has_is_answered_as_google_does_and_not_asked_for_again_at_once() {
    let pool = Projects::start(5, 2).await;
    let caller = pool.caller(&secret(0));
    let cached = {
        let mut body = contents(&[]);
        body["cachedContent"] = json!("cachedContents/nobodys");
        body
    };
    let file = "You do not have permission to access the File nobodys or it may not exist.";
    let entity = "Requested entity was not found.";
    let cases = [
        ("GET", "/v1beta/files/nobodys", Value::Null, 403, file),
        ("POST", GENERATE, contents(&["files/nobodys2"]), 403, "access the File nobodys2 or it"),
        ("POST", GENERATE, cached, 403, "CachedContent not found (or permission denied)"),
        ("GET", "/v1beta/batches/nobodys", Value::Null, 404, entity),
        ("DELETE", "/v1beta/fileSearchStores/nobodys", Value::Null, 404, entity),
        ("GET", "/v1beta/interactions/nobodys", Value::Null, 404, entity),
    ];
    for (method, target, body, status, message) in cases {
        let before = pool.count();
        let answer = caller.send(method, target, &body).await;
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
        assert!(answer.text().contains(message), "{}", answer.text());
        let first = pool.arrived_after(before);
        let asking = first.iter().filter(|request| request.method == "GET").count();
        assert!(asking <= 6 && asked(&first).len() == 5, "{first:#?}");

        let before = pool.count();
        let again = caller.send(method, target, &body).await;
        assert_eq!((again.status, again.text()), (status, answer.text()));
        let second = pool.arrived_after(before);
        assert!(second.len() <= 1, "{method} {target} asks everybody again: {second:#?}");
    }
    assert_eq!(key_counts(&pool.gateway).await["available"], 10, "nobody is to blame");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_is_out_goes_back_as_it_is_and_nobody_else_is_asked() {
    let pool = Projects::start(3, 2).await;
    let caller = pool.caller(&secret(0));
    let file = caller.file("v1beta", "text/plain", "one").await;
    let owner = pool.owner(&file.name);
    pool.simulator.set_faults([Rule::new(exhausted()).on_project(&owner).on_path(GENERATE)]);
    let Fault::Status { body: Some(refusal), .. } = exhausted() else { unreachable!() };
    let before = pool.count();
    let answer = caller.send("POST", GENERATE, &contents(&[&file.uri])).await;
    assert_eq!((answer.status, answer.json()), (429, refusal));
    let again = caller.send("POST", GENERATE, &contents(&[&file.uri])).await;
    assert_eq!(again.status, 429, "{}", again.text());
    assert_eq!(asked(&pool.arrived_after(before)), BTreeSet::from([owner.clone()]));
    // The others serve what is bound to nothing.
    for _ in 0..6 {
        assert_eq!(caller.send("POST", GENERATE, &contents(&[])).await.status, 200);
    }
    assert_eq!(pool.simulator.wrong_owners(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_wait_for_the_owners_quota_is_waited_out() {
    let pool = Projects::start(3, 1).await;
    let caller = pool.caller(&secret(0));
    let file = caller.file("v1beta", "text/plain", "one").await;
    let owner = pool.owner(&file.name);
    let body = json!({"error": {
        "code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}],
    }});
    let short = Fault::Status { status: 429, headers: [].into(), body: Some(body) };
    pool.simulator.set_faults([Rule::new(short).on_path(GENERATE).times(1)]);
    let (before, begun) = (pool.count(), Instant::now());
    caller.post(GENERATE, &contents(&[&file.uri])).await;
    let waited = begun.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&waited), "{waited:?}");
    let requests = pool.arrived_after(before);
    assert_eq!((requests.len(), asked(&requests)), (2, BTreeSet::from([owner])));
}

fn is_gone(answer: &crate::projects::Answer, name: &str) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    let error = answer.error();
    assert_eq!(error["status"], "UNAVAILABLE");
    assert!(error["message"].as_str().unwrap().contains(name), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_whose_only_key_is_retired_is_spoken_of_clearly() {
    let pool = Projects::start(3, 1).await;
    let caller = pool.caller(&secret(0));
    let file = caller.file("v1beta", "text/plain", "one").await;
    let owner = pool.owner(&file.name);
    let n = (0..3).find(|n| owner == format!("project-{n}")).unwrap();
    pool.simulator.set_key_state(&secret(n), KeyState::Suspended);
    for _ in 0..3 {
        rotate(&caller).await;
    }
    assert_eq!(key_counts(&pool.gateway).await["retired"], 1);
    let before = pool.count();
    is_gone(&caller.send("POST", GENERATE, &contents(&[&file.uri])).await, &file.name);
    is_gone(&caller.send("GET", &format!("/v1beta/{}", file.name), &Value::Null).await, &file.name);
    assert_eq!(pool.arrived_after(before).len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sibling_key_serves_when_one_is_retired() {
    let pool = Projects::start(3, 2).await;
    let caller = pool.caller(&secret(0));
    let file = caller.file("v1beta", "text/plain", "one").await;
    let owner = pool.owner(&file.name);
    let n = (0..3).find(|n| owner == format!("project-{n}")).unwrap() * 2;
    pool.simulator.set_key_state(&secret(n), KeyState::Suspended);
    for _ in 0..4 {
        caller.post(GENERATE, &contents(&[&file.uri])).await;
    }
    assert_eq!(pool.simulator.wrong_owners(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_that_is_no_longer_configured_is_spoken_of_clearly() {
    let mut pool = Projects::start(3, 1).await;
    let file = pool.caller(&secret(0)).file("v1beta", "text/plain", "one").await;
    let owner = pool.owner(&file.name);
    let left: Vec<usize> = (0..3).filter(|n| owner != format!("project-{n}")).collect();
    pool.restart_with_keys(&left, 1);
    let caller = pool.caller(&secret(left[0]));
    is_gone(&caller.send("GET", &format!("/v1beta/{}", file.name), &Value::Null).await, &file.name);
    assert_eq!(pool.simulator.wrong_owners(), []);
}

/// The projects in which a caller's creations end up, with other requests in between.
async fn homes_of_creations(pool: &Projects) -> BTreeSet<String> {
    let caller = pool.caller(&secret(0));
    let mut homes = BTreeSet::new();
    for _ in 0..5 {
        homes.insert(pool.owner(&caller.file("v1beta", "text/plain", "one").await.name));
        rotate(&caller).await;
        homes.insert(pool.owner(&caller.cache("v1beta").await));
        rotate(&caller).await;
        let id = caller.interaction("v1beta").await;
        homes.insert(pool.owner(&format!("interactions/{id}")));
        rotate(&caller).await;
        rotate(&caller).await;
    }
    homes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_makes_close_together_lives_together() {
    let pool = Projects::start(5, 2).await;
    assert_eq!(homes_of_creations(&pool).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_window_creations_are_spread() {
    let pool = Projects::start_with(5, 2, "", |_| {}, |options, _| options.set("affinity.window_s", 0)).await;
    assert!(homes_of_creations(&pool).await.len() >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_window_slides_and_ends() {
    let pool = Projects::start_with(5, 1, "", |_| {}, |options, _| options.set("affinity.window_s", 2)).await;
    let caller = pool.caller(&secret(0));
    let mut homes = Vec::new();
    for pause_ms in [1_200, 1_200, 2_400, 0] {
        homes.push(pool.owner(&caller.file("v1beta", "text/plain", "one").await.name));
        rotate(&caller).await;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
    assert!(homes[0] == homes[1] && homes[1] == homes[2], "it did not slide: {homes:?}");
    assert_ne!(homes[2], homes[3], "it did not end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creations_move_when_their_project_cools_and_stay_where_they_moved() {
    let pool = Projects::start(5, 2).await;
    let caller = pool.caller(&secret(0));
    let home = |id: String| pool.owner(&format!("interactions/{id}"));
    let first = home(caller.interaction("v1beta").await);
    assert_eq!(home(caller.interaction("v1beta").await), first);
    pool.simulator.set_faults([Rule::new(exhausted()).on_project(&first)]);
    let second = home(caller.interaction("v1beta").await);
    assert_ne!(second, first);
    pool.simulator.set_faults([]);
    assert_eq!(home(caller.interaction("v1beta").await), second);
    assert_eq!(pool.owner(&caller.file("v1beta", "text/plain", "one").await.name), second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_stay_with_their_project_after_a_sigkill() {
    let names: Vec<String> = (0..10).map(|n| format!("caller-{n}")).collect();
    let own: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut pool = Projects::start_with(5, 2, &tokens(&own, &[]), |_| {}, |options, _| options).await;
    let mut made = Vec::new();
    for name in &own {
        let caller = pool.caller(&format!("{name}-token"));
        made.push((
            caller.file("v1beta", "text/plain", "one").await,
            caller.interaction("v1beta").await,
            caller.cache("v1beta").await,
        ));
    }
    for (file, interaction, cache) in &made {
        for name in [&file.name, interaction, cache] {
            wait_for_stored(&pool.gateway.folder(), name.rsplit('/').next().unwrap());
        }
    }
    pool.restart("KILL");
    let before = pool.count();
    for (name, (file, interaction, cache)) in own.iter().zip(&made) {
        let caller = pool.caller(&format!("{name}-token"));
        caller.get(&format!("/v1beta/{}", file.name)).await;
        caller.post(GENERATE, &contents(&[&file.uri])).await;
        let follow = json!({"model": MODEL, "input": "x", "previous_interaction_id": interaction});
        caller.post("/v1beta/interactions", &follow).await;
        caller.delete(&format!("/v1beta/interactions/{interaction}")).await;
        caller.delete(&format!("/v1beta/{cache}")).await;
    }
    assert_eq!(pool.simulator.wrong_owners(), []);
    assert_eq!(pool.arrived_after(before).len(), 5 * own.len(), "somebody was asked who need not be");
}
